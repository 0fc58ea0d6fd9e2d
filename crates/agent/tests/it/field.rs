//! What happens in the field: other transports, inverters that are not there, bad registers.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_agent::{Config, RunError};
use ecowatt_clock::Clock;
use ecowatt_inverter_sim::{
    Config as Plant, RegisterMap, RegisterSource, SerialConfig, ServeConfig, Simulation,
    Tabulation, Weather, serve,
};
use ecowatt_model::{Mark, UnixMs};

use crate::models::good;
use crate::rig::agents::{Agent, assert_stored, config, logged, text, until};
use crate::rig::inverter::Inverter;
use crate::rig::server::{Mode, Server};

/// A simulated plant around noon, at the pace of the agents here.
async fn plant(map: RegisterMap, config: &ServeConfig) -> ecowatt_inverter_sim::Running {
    let clock = Clock::simulated(UnixMs(1_781_953_200_000), 100.0);
    let simulation = Simulation::healthy(Plant { map, ..Plant::default() });
    serve(simulation, config, clock, std::future::pending()).await.unwrap()
}

fn read_count(server: &Server) -> usize {
    let is_read = |marks: &[u8]| marks.contains(&Mark::Read.code());
    server.rows().iter().filter(|row| is_read(&row.marks)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_line_is_polled() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let link = data.path().join("tty");
    let serial = SerialConfig { link: Some(link.clone()), baud: None };
    let serial = ServeConfig { serial: Some(serial), ..ServeConfig::default() };
    let inverter = plant(RegisterMap::Seed, &serial).await;
    let transport = format!("serial://{}?baud=9600&format=8N1", link.display());
    let text = text(&server, &[(&transport, "ecowatt/seed-sim")], data.path());
    let agent = Agent::start(Config::parse(&text, data.path()).unwrap());
    until("samples over the line", || read_count(&server) >= 5).await;
    agent.stop().await;
    inverter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inverters_on_one_gateway_share_its_connection() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    // It refuses a second client while it has one.
    let clock = Clock::simulated(UnixMs(1_781_953_200_000), 100.0);
    let simulation = Simulation::healthy(Plant { single_client: true, ..Plant::default() });
    let fronts =
        ServeConfig { rtu_tcp: Some("127.0.0.1:0".parse().unwrap()), ..ServeConfig::default() };
    let inverter = serve(simulation, &fronts, clock, std::future::pending()).await.unwrap();
    let transport = format!("rtu-over-tcp://{}", inverter.addresses().rtu_tcp.unwrap());
    let twice = [(transport.as_str(), "ecowatt/seed-sim"); 2];
    let agent =
        Agent::start(Config::parse(&text(&server, &twice, data.path()), data.path()).unwrap());
    until("samples of both", || read_count(&server) >= 10).await;
    agent.stop().await;
    assert_eq!(server.rows(), logged(data.path()));
    assert_eq!(server.kept.lock().unwrap().layouts.len(), 2);
    assert!(server.rows().iter().all(|row| !row.marks.contains(&Mark::Unreachable.code())));
    inverter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_while_the_agent_stops_is_sent_as_well() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("samples", || read_count(&server) >= 3).await;
    inverter.slow_down(Duration::from_millis(150));
    server.set_mode(Mode::Slow(Duration::from_millis(220)));
    until("samples to send and a request that waits", || {
        let samples = logged(data.path()).len();
        samples > server.rows().len() && inverter.requests() > samples
    })
    .await;
    agent.stop().await;
    assert_eq!(server.rows(), logged(data.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sunspec_inverter_is_searched_once_and_remembered() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let tcp = ServeConfig { tcp: Some("127.0.0.1:0".parse().unwrap()), ..ServeConfig::default() };
    let inverter = plant(RegisterMap::SunSpec, &tcp).await;
    let transport = format!("tcp://{}", inverter.addresses().tcp.unwrap());
    let mut text = text(&server, &[(&transport, "sunspec/generic-pv")], data.path());
    text += &format!("unit = {}\n", Plant::default().unit);
    let config = Config::parse(&text, data.path()).unwrap();
    let agent = Agent::start(config.clone());
    until("samples of its models", || read_count(&server) >= 3).await;
    // One layout without the rated power, which the inverter tells, and one with it.
    let layouts = || server.kept.lock().unwrap().layouts.len();
    until("a layout with its rated power", || layouts() == 2).await;
    agent.kill().await;
    inverter.stop().await;
    // It sleeps when the agent starts again, and takes part nevertheless.
    let before = server.rows().len();
    let agent = Agent::start(config);
    until("samples that say it is away", || server.rows().len() >= before + 3).await;
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
    assert_eq!(layouts(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inverter_of_the_newer_sunspec_models_is_read_as_it_measures() {
    const NOON: UnixMs = UnixMs(1_782_039_600_000);
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    // It stands still, so that every sample can be compared.
    let config = Plant { map: RegisterMap::Der, ..Plant::default() };
    let second = Duration::from_secs(1);
    let table = Tabulation::compute(config.clone(), Weather::Modelled, NOON, second, 1).unwrap();
    let physics = RegisterSource::Simulated(Weather::Modelled);
    let physics = ecowatt_inverter_sim::Inverter::new(config.clone(), physics, NOON).unwrap();
    let measured = physics.reading().unwrap();
    let simulation = Simulation { source: Arc::new(table).into(), ..Simulation::healthy(config) };
    let tcp = ServeConfig { tcp: Some("127.0.0.1:0".parse().unwrap()), ..ServeConfig::default() };
    let clock = Clock::simulated(NOON, 100.0);
    let inverter = serve(simulation, &tcp, clock, std::future::pending()).await.unwrap();

    let transport = format!("tcp://{}", inverter.addresses().tcp.unwrap());
    let mut text = text(&server, &[(&transport, RegisterMap::Der.profile())], data.path());
    text += &format!("unit = {}\n", Plant::default().unit);
    let agent = Agent::start(Config::parse(&text, data.path()).unwrap());
    let is_read = |point| good(&server, point).len() >= 3;
    until("samples of its models", || is_read("ac.power") && is_read("control.p_limit")).await;
    agent.stop().await;
    inverter.stop().await;
    // Points are integers in units of their decimals.
    let [first, second] = &measured.strings[..] else { panic!("two strings") };
    for (point, value, digits) in [
        ("ac.power", f64::from(measured.ac_w), 0),
        ("ac.l2.voltage", measured.ac_v[1], 1),
        ("ac.frequency", measured.hz, 2),
        ("pv.power", measured.dc_w, 0),
        ("pv.1.voltage", first.volts, 1),
        ("pv.2.current", second.amps, 2),
        ("temp.internal", measured.internal_c, 1),
        ("control.p_limit", 100.0, 1),
        ("info.rated_power", 5_000.0, 0),
    ] {
        let shown = good(&server, point);
        // Half a unit, and as much again where the registers have another number of digits.
        let is_it = |shown: &i64| (*shown as f64 - value * 10_f64.powi(digits)).abs() <= 1.0;
        assert!(!shown.is_empty() && shown.iter().all(is_it), "{point}: {shown:?} for {value}");
    }
    let lifetime = i64::try_from(measured.lifetime_wh).unwrap();
    assert!(good(&server, "ac.energy.total").iter().all(|shown| *shown == lifetime));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inverter_that_comes_later_is_found() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let transport = format!("tcp://{address}");
    let text = text(&server, &[(&transport, "ecowatt/seed-sim")], data.path());
    let agent = Agent::start(Config::parse(&text, data.path()).unwrap());
    until("samples without an inverter", || server.rows().len() >= 3).await;
    assert_eq!(read_count(&server), 0);
    let unreachable = Mark::Unreachable.code();
    assert!(server.rows().iter().all(|row| row.marks.iter().all(|mark| *mark == unreachable)));
    let tcp = ServeConfig { tcp: Some(address), ..ServeConfig::default() };
    let inverter = plant(RegisterMap::Seed, &tcp).await;
    until("samples of it", || read_count(&server) >= 3).await;
    agent.stop().await;
    inverter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_register_costs_nothing_but_itself() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    inverter.break_register(Some(5));
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("a quarantine", || {
        let quarantined = Mark::Quarantined.code();
        server.rows().iter().any(|row| {
            row.marks.iter().filter(|mark| **mark == quarantined).count() == 1
                && row.marks.iter().filter(|mark| **mark == Mark::Read.code()).count() >= 7
        })
    })
    .await;
    assert!(inverter.requests() > 5);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_on_the_same_folder_is_refused() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("a sample", || !server.rows().is_empty()).await;
    let second = config(&server, &inverter, data.path());
    let refused = ecowatt_agent::run(second, Clock::system(), std::future::pending());
    let refused = tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
    assert!(matches!(refused, Err(RunError::Folder(_))), "{refused:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_identity_and_claim_says_so() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let mut config = config(&server, &inverter, data.path());
    config.claim = None;
    let refused = ecowatt_agent::run(config, Clock::system(), std::future::pending()).await;
    assert!(matches!(refused, Err(RunError::Enrol(_))), "{refused:?}");
}

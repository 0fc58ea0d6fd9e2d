//! Inverters behind the HTTP front of the earlier EcoWatt.

use std::net::SocketAddr;

use ecowatt_agent::{Address, Config};
use ecowatt_clock::Clock;
use ecowatt_inverter_sim::fault::{FaultSpec, Kind};
use ecowatt_inverter_sim::{HttpConfig, Running, ServeConfig, Simulation, serve};
use ecowatt_model::{Mark, UnixMs};
use ecowatt_wire::{CommandAction, CommandState};

use crate::commands::execute;
use crate::rig::agents::{Agent, assert_stored, text, until};
use crate::rig::server::Server;

const KEY: &str = "NjhhZWIwNDU1";

async fn inverter(address: SocketAddr, faults: Vec<FaultSpec>) -> Running {
    let http = Some(HttpConfig { address, key: Some(KEY.into()) });
    let config = ServeConfig { http, ..ServeConfig::default() };
    let simulation = Simulation { faults, ..Simulation::healthy(Default::default()) };
    let clock = Clock::simulated(UnixMs(1_781_953_200_000), 100.0);
    serve(simulation, &config, clock, std::future::pending()).await.unwrap()
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A configuration with a key in a file.
fn config(server: &Server, running: &Running, key: &str, data: &std::path::Path) -> Config {
    std::fs::write(data.join("key"), format!("{key}\n")).unwrap();
    let transport = format!("http://{}", running.addresses().http.unwrap());
    let text = text(server, &[(&transport, "ecowatt/seed-sim")], data);
    Config::parse(&format!("{text}api_key_file = \"key\"\n"), data).unwrap()
}

fn with(server: &Server, mark: Mark) -> usize {
    let rows = server.rows();
    rows.iter().filter(|row| row.marks.contains(&mark.code())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inverter_is_read_and_limited_over_http() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    server.set_clock();
    let inverter = inverter(any(), Vec::new()).await;
    let agent = Agent::start(config(&server, &inverter, KEY, data.path()));
    until("samples", || with(&server, Mark::Read) >= 5).await;
    let limited = execute(&server, Some(0), CommandAction::LimitPower { permille: 400 }).await;
    assert_eq!((limited.state, limited.words), (CommandState::Succeeded, vec![0, 40]));
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
    assert_eq!(with(&server, Mark::Unreachable), 0);
    inverter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_and_missing_answers_are_marked_and_no_other_is_taken() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let fault = |kind| FaultSpec { probability: 0.1, ..FaultSpec::always(kind) };
    let kinds = [Kind::WrongCrc, Kind::Truncated, Kind::Silence, Kind::Reset, Kind::StaleAnswer];
    let inverter = inverter(any(), kinds.map(fault).to_vec()).await;
    let agent = Agent::start(config(&server, &inverter, KEY, data.path()));
    until("samples of every kind", || {
        with(&server, Mark::Read) >= 30 && with(&server, Mark::Garbled) >= 2
    })
    .await;
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
    inverter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_unreachable_and_a_service_that_comes_back_is_read() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = inverter(any(), Vec::new()).await;
    let agent = Agent::start(config(&server, &running, "wrong", data.path()));
    until("samples without the inverter", || with(&server, Mark::Unreachable) >= 3).await;
    assert_eq!(with(&server, Mark::Read), 0);
    agent.stop().await;

    let address = running.addresses().http.unwrap();
    let agent = Agent::start(config(&server, &running, KEY, data.path()));
    until("samples", || with(&server, Mark::Read) >= 3).await;
    running.stop().await;
    // The device gives it up after some cycles and asks less often.
    let missing = || server.rows().len() - with(&server, Mark::Read);
    let before = missing();
    until("samples while it is away", || missing() >= before + 3).await;
    let read = with(&server, Mark::Read);
    let running = inverter(address, Vec::new()).await;
    until("samples of it again", || with(&server, Mark::Read) >= read + 3).await;
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
    running.stop().await;
}

#[test]
fn a_key_is_for_http_only_and_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "geheim\n").unwrap();
    std::fs::write(folder.path().join("bad"), "\u{1}\n").unwrap();
    let parse = |transport: &str, file: &str| {
        let text = format!(
            "server = \"http://a\"\ndata = \"d\"\n[[inverter]]\ntransport = \"{transport}\"\n\
             profile = \"ecowatt/seed-sim\"\napi_key_file = \"{file}\"\n"
        );
        Config::parse(&text, folder.path()).map_err(|error| error.to_string())
    };
    let config = parse("http://sim:8080/eco", "key").unwrap();
    let address = &config.inverters[0].address;
    assert!(matches!(address, Address::Http(_)) && address.to_string() == "http://sim:8080/eco");
    assert!(!format!("{config:?}").contains("geheim"));
    for (transport, file, problem) in [
        ("tcp://sim:502", "key", "is for transports that begin with http://"),
        ("http://sim", "bad", "in ASCII"),
        ("http://sim", "none", "cannot be read"),
        ("http://", "key", "must name a host"),
        ("https://sim", "key", "must start with"),
    ] {
        let found = parse(transport, file).unwrap_err();
        assert!(found.contains(problem), "{transport} {file}: {found}");
    }
}

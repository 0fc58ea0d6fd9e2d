//! SunSpec inverters as in the field: silent beyond their map, busy, moved, exchanged, or with
//! other models.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecowatt_agent::Config;
use ecowatt_model::Mark;
use ecowatt_profile::{Layout, Reading, catalogue};

use crate::rig::agents::{Agent, text, until};
use crate::rig::server::Server;

/// What an inverter does about a read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Words(Vec<u16>),
    Exception(u8),
    Silence,
}

type Behaviour = Box<dyn FnMut(u16, u16) -> Answer + Send>;

/// A scripted Modbus TCP inverter.
struct Scripted {
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    is_gone: Arc<AtomicBool>,
}

impl Scripted {
    fn start(behaviour: impl FnMut(u16, u16) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scripted = Self {
            address: listener.local_addr().unwrap(),
            behaviour: Arc::new(Mutex::new(Box::new(behaviour))),
            is_gone: Arc::default(),
        };
        let (behaviour, is_gone) = (scripted.behaviour.clone(), scripted.is_gone.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_gone.load(Ordering::Relaxed) {
                    return;
                }
                let behaviour = behaviour.clone();
                std::thread::spawn(move || converse(stream.unwrap(), &behaviour));
            }
        });
        scripted
    }

    fn becomes(&self, behaviour: impl FnMut(u16, u16) -> Answer + Send + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn converse(mut stream: TcpStream, behaviour: &Mutex<Behaviour>) {
    let mut request = [0; 12];
    while stream.read_exact(&mut request).is_ok() {
        let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let pdu = match (behaviour.lock().unwrap())(word(8), word(10)) {
            Answer::Silence => continue,
            Answer::Exception(code) => vec![request[7] | 0x80, code],
            Answer::Words(words) => {
                let mut pdu = vec![request[7], u8::try_from(2 * words.len()).unwrap()];
                pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
                pdu
            }
        };
        let length = u16::try_from(pdu.len() + 1).unwrap().to_be_bytes();
        let head = [request[0], request[1], 0, 0, length[0], length[1], request[6]];
        if stream.write_all(&[&head[..], &pdu].concat()).is_err() {
            return;
        }
    }
}

/// A model: number, length, and words by offset from its identifier.
type Model<'a> = (u16, u16, &'a [(u16, u16)]);

/// Registers at addresses.
#[derive(Debug, Clone, Default)]
struct Map(BTreeMap<u16, u16>);

impl Map {
    /// A marker at `base` and these models behind it.
    fn of(base: u16, models: &[Model<'_>]) -> Self {
        let mut map = Self::default();
        map.0.extend([(base, 0x5375), (base + 1, 0x6E53)]);
        let mut at = base + 2;
        for (id, length, words) in models {
            map.0.extend((0..*length).map(|offset| (at + 2 + offset, 0)));
            map.0.extend([(at, *id), (at + 1, *length)]);
            map.0.extend(words.iter().map(|(offset, word)| (at + offset, *word)));
            at += 2 + length;
        }
        map
    }

    /// The register after the last model.
    fn end(&self) -> u16 {
        self.0.last_key_value().unwrap().0 + 1
    }

    fn ended(mut self) -> Self {
        let end = self.end();
        self.0.extend([(end, 0xFFFF), (end + 1, 0)]);
        self
    }

    fn read(&self, address: u16, count: u16) -> Option<Vec<u16>> {
        (address..address.checked_add(count)?).map(|at| self.0.get(&at).copied()).collect()
    }

    /// Refuses registers that it does not have.
    fn answer(&self, address: u16, count: u16) -> Answer {
        self.read(address, count).map_or(Answer::Exception(2), Answer::Words)
    }

    /// Does not answer reads of registers that it does not have.
    fn answer_or_not(&self, address: u16, count: u16) -> Answer {
        self.read(address, count).map_or(Answer::Silence, Answer::Words)
    }
}

const COMMON: Model<'static> = (1, 66, &[(2, 0x4163)]);
const NAMEPLATE: Model<'static> = (120, 26, &[(3, 5_000)]);

/// 3,600 W, running.
const INVERTER: Model<'static> = (103, 50, &[(14, 3_600), (38, 4), (24, 1), (25, 0)]);
/// The same with floats.
const FLOATS: Model<'static> = (113, 60, &[(22, 0x4561), (48, 4)]);

fn usual() -> Map {
    Map::of(40_000, &[COMMON, INVERTER, NAMEPLATE]).ended()
}

fn usual_rated(watts: u16) -> Map {
    Map::of(40_000, &[COMMON, INVERTER, (120, 26, &[(3, watts)])]).ended()
}

/// An agent with one inverter under `sunspec/generic-pv`, which is waited for one second.
fn config(server: &Server, inverter: &Scripted, data: &Path) -> Config {
    let entry = catalogue::list().iter().find(|entry| entry.id == "sunspec/generic-pv").unwrap();
    let profile = entry.text.replace("timeout_ms = 3000", "timeout_ms = 1000");
    std::fs::write(data.join("pv.toml"), profile).unwrap();
    let transport = format!("tcp://{}", inverter.address);
    let mut config = Config::parse(&text(server, &[(&transport, "pv.toml")], data), data).unwrap();
    config.sample_interval = Some(Duration::from_secs(20));
    config
}

/// Every reading of a point, oldest first, by the layout that its batch has.
fn readings(server: &Server, point: &str) -> Vec<Reading> {
    let kept = server.kept.lock().unwrap();
    let mut found = Vec::new();
    for (id, rows) in &kept.batches {
        let layout = Layout::from_cbor(&kept.layouts[&kept.streams[id]]).unwrap();
        let Some(point) = layout.find(point) else { continue };
        for row in rows {
            let marks = row.marks.iter().map(|code| Mark::from_code(*code).unwrap());
            found.push(layout.reading(point, &row.words, &marks.collect::<Vec<_>>()));
        }
    }
    found
}

/// The good values of a point, oldest first.
pub(crate) fn good(server: &Server, point: &str) -> Vec<i64> {
    readings(server, point).iter().filter_map(Reading::good).collect()
}

async fn until_power(server: &Server, watts: i64) {
    until("its power", || good(server, "ac.power").ends_with(&[watts, watts])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inverter_that_is_silent_beyond_its_map_is_read() {
    // At the first base without an end; at the last base with one.
    for (base, is_ended) in [(40_000, false), (0, true)] {
        let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
        let map = Map::of(base, &[COMMON, INVERTER, NAMEPLATE]);
        let map = if is_ended { map.ended() } else { map };
        let inverter = Scripted::start(move |address, count| map.answer_or_not(address, count));
        let agent = Agent::start(config(&server, &inverter, data.path()));
        until_power(&server, 3_600).await;
        assert_eq!(good(&server, "info.rated_power").first(), Some(&5_000));
        agent.stop().await;
        let kept = std::fs::read(data.path().join("data/models-0.0")).unwrap();
        let kept = String::from_utf8_lossy(&kept);
        let found = kept.lines().rfind(|line| line.ends_with("complete"));
        assert_eq!(found, Some(if is_ended { "complete" } else { "incomplete" }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_is_no_end_of_the_list() {
    for code in [4, 5, 6, 10, 11] {
        let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
        let (map, mut times) = (usual(), 0);
        let header = 40_002 + 68 + 52;
        let inverter = Scripted::start(move |address, count| {
            times += u32::from(address == header);
            let is_busy = address == header && times == 1;
            if is_busy { Answer::Exception(code) } else { map.answer(address, count) }
        });
        let agent = Agent::start(config(&server, &inverter, data.path()));
        until_power(&server, 3_600).await;
        assert_eq!(good(&server, "info.rated_power").first(), Some(&5_000), "{code}");
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_breaks_off_is_completed_later() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let (map, header) = (usual(), 40_002 + 68 + 52);
    let broken = map.clone();
    let inverter = Scripted::start(move |address, count| match address == header {
        true => Answer::Exception(6),
        false => broken.answer(address, count),
    });
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until_power(&server, 3_600).await;
    assert!(readings(&server, "info.rated_power").is_empty());
    inverter.becomes(move |address, count| map.answer(address, count));
    until("the rest of its models", || good(&server, "info.rated_power") == [5_000]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_map_that_has_moved_is_good() {
    let longer = Map::of(40_000, &[(1, 67, COMMON.2), INVERTER, NAMEPLATE]).ended();
    let floats = Map::of(40_000, &[COMMON, FLOATS, NAMEPLATE]).ended();
    let other_make = Map::of(40_000, &[COMMON, NAMEPLATE, INVERTER]).ended();
    let elsewhere = Map::of(50_000, &[COMMON, INVERTER, NAMEPLATE]).ended();
    let cases = [
        (longer, false),
        (floats, false),
        (other_make, true),
        (elsewhere.clone(), false),
        (elsewhere, true),
    ];
    for (map, is_silent) in cases {
        let watts = 3_600;
        for is_restarted in [false, true] {
            let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
            let before = usual();
            let inverter = Scripted::start(move |address, count| before.answer(address, count));
            let config = config(&server, &inverter, data.path());
            let mut agent = Agent::start(config.clone());
            until_power(&server, 3_600).await;
            let (before_it, after) = (good(&server, "ac.power").len(), map.clone());
            let moved = move |address, count| match is_silent {
                true => after.answer_or_not(address, count),
                false => after.answer(address, count),
            };
            if is_restarted {
                agent.stop().await;
                inverter.becomes(moved);
                agent = Agent::start(config);
            } else {
                inverter.becomes(moved);
            }
            // Many more than may have been on their way.
            until("its power at its new place", || {
                good(&server, "ac.power").len() >= before_it + 10
            })
            .await;
            agent.stop().await;
            let powers = good(&server, "ac.power");
            assert!(powers.iter().all(|power| *power == watts), "{powers:?}");
            let states = good(&server, "state");
            assert!(states.iter().all(|state| *state == 4), "{states:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_measure_nothing_of_the_profile_are_no_inverter() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let map = Map::of(40_000, &[COMMON, (203, 105, &[]), (64_001, 4, &[])]).ended();
    let inverter = Scripted::start(move |address, count| map.answer(address, count));
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("a message", || !server.kept.lock().unwrap().counters.is_empty()).await;
    assert!(server.rows().is_empty());
    // Other firmware has what is wanted: it is found without a restart.
    inverter.becomes(move |address, count| usual().answer(address, count));
    until_power(&server, 3_600).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inverter_of_the_newer_models_alone_is_read() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let ac: &[(u16, u16)] = &[(10, 360), (116, 1), (4, 3), (22, 900), (120, 3)];
    let map = Map::of(
        40_000,
        &[
            COMMON,
            (701, 153, ac),
            (702, 50, &[(2, 50), (45, 2)]),
            (703, 17, &[]),
            (714, 18 + 2 * 25, &[(16, 0xFFFF), (20 + 25 + 11, 5_125)]),
        ],
    )
    .ended();
    let inverter = Scripted::start(move |address, count| map.answer(address, count));
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until_power(&server, 3_600).await;
    assert_eq!(good(&server, "ac.energy.total").last(), Some(&900_000));
    assert_eq!(good(&server, "pv.2.voltage").last(), Some(&5_125));
    // The layout that says what it is rated for takes the place of the first, and nothing is read for it
    // that is read once.
    until_rated(&server, 5_000).await;
    until_power(&server, 3_600).await;
    agent.stop().await;
    assert_eq!(good(&server, "info.rated_power"), [5_000]);
    assert_eq!(epochs(&server), 1);
    // What is kept is known at the next start.
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("a sample of the next start", || epochs(&server) == 2).await;
    agent.stop().await;
    assert_eq!(rated_layouts(&server), [ASSUMED, Some(5_000)]);
}

/// What the profile assumes.
const ASSUMED: Option<u32> = Some(1_000_000);

/// What inverters are rated for by the layouts that were announced, in their order.
fn rated_layouts(server: &Server) -> Vec<Option<u32>> {
    let kept = server.kept.lock().unwrap();
    kept.layouts.values().map(|bytes| Layout::from_cbor(bytes).unwrap().rated_w()).collect()
}

/// Waits for a sample under a layout that says this rated power.
async fn until_rated(server: &Server, watts: u32) {
    until("a sample under its rated power", || {
        let kept = server.kept.lock().unwrap();
        let last = kept.streams.last_key_value();
        let layout = last.and_then(|(_, stream)| kept.layouts.get(stream));
        layout.is_some_and(|bytes| Layout::from_cbor(bytes).unwrap().rated_w() == Some(watts))
    })
    .await;
}

/// In how many epochs samples were taken.
fn epochs(server: &Server) -> usize {
    let mut epochs: Vec<_> = server.rows().iter().map(|row| row.epoch).collect();
    epochs.dedup();
    epochs.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rated_power_that_was_misread_once_bounds_nothing() {
    // Ten times too much, a torn word, what another inverter has.
    for wrong in [50_000, 1_288, 3_000] {
        let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
        let (map, false_map) = (usual(), usual_rated(wrong));
        let (first, mut times) = (40_070 + 52 + 2, 0);
        let inverter = Scripted::start(move |address, count| {
            let holds_it = (address..address + count).contains(&first) && count > 2;
            times += u32::from(holds_it);
            if holds_it && times == 1 { &false_map } else { &map }.answer(address, count)
        });
        let agent = Agent::start(config(&server, &inverter, data.path()));
        until_rated(&server, 5_000).await;
        until("its rated power once more", || {
            good(&server, "info.rated_power").last() == Some(&5_000)
        })
        .await;
        agent.stop().await;
        assert_eq!(good(&server, "info.rated_power"), [i64::from(wrong), 5_000]);
        assert_eq!(rated_layouts(&server), [ASSUMED, Some(5_000)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_that_cannot_be_is_marked_and_kept_as_it_came() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let inverter = Scripted::start(move |address, count| usual().answer(address, count));
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until_rated(&server, 5_000).await;
    until_power(&server, 3_600).await;
    // 8.5 MW by a wrong factor, 7.6 kW by a wrong word, and as much the other way.
    for (wrong, factor, watts) in [(8_545, 3, 8_545_000), (7_600, 0, 7_600), (0x8001, 0, -32_767)] {
        let falsely: &[(u16, u16)] = &[(14, wrong), (15, factor), (38, 4), (24, 1), (25, 0)];
        let misread = Map::of(40_000, &[COMMON, (103, 50, falsely), NAMEPLATE]).ended();
        let (right, mut times) = (usual(), 0);
        let before = readings(&server, "ac.power").len();
        inverter.becomes(move |address, count| {
            let holds_it = (address..address + count).contains(&40_084);
            times += u32::from(holds_it);
            if holds_it && times == 1 { &misread } else { &right }.answer(address, count)
        });
        let marked = || {
            let all = readings(&server, "ac.power");
            let not_good = all[before..].iter().filter(|reading| reading.good().is_none());
            not_good.map(|reading| (reading.quality, reading.value)).collect::<Vec<_>>()
        };
        until("the false reading and right ones", || {
            !marked().is_empty() && good(&server, "ac.power").ends_with(&[3_600, 3_600])
        })
        .await;
        assert_eq!(marked(), [(ecowatt_model::Quality::OutOfRange, Some(watts))]);
    }
    agent.stop().await;
    assert!(good(&server, "ac.power").iter().all(|watts| *watts == 3_600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_factor_that_moves_holds_for_its_own_sample() {
    let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
    let inverter = Scripted::start(move |address, count| usual().answer(address, count));
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until_power(&server, 3_600).await;
    // The word stays, as at dawn, when the inverter finds its range.
    let shows = |factor: i16| {
        let words = [(14, 412), (15, factor.cast_unsigned()), (38, 4), (24, 1), (25, 0)];
        let map = Map::of(40_000, &[COMMON, (103, 50, &words), NAMEPLATE]).ended();
        inverter.becomes(move |address, count| map.answer(address, count));
    };
    let mut expected = vec![3_600];
    for (factor, watts) in [(0, 412), (-1, 41), (-2, 4), (1, 4_120)] {
        shows(factor);
        until_power(&server, watts).await;
        expected.push(watts);
    }
    // "Not implemented", and a power that no inverter has.
    for factor in [i16::MIN, 77] {
        shows(factor);
        let before = readings(&server, "ac.power").len();
        until("samples without a power", || {
            let all = readings(&server, "ac.power");
            all[before..].iter().filter(|reading| reading.good().is_none()).count() >= 2
        })
        .await;
    }
    agent.stop().await;
    let mut powers = good(&server, "ac.power");
    powers.dedup();
    assert_eq!(powers, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_carries_few_registers_is_found_out() {
    for answer in [Answer::Exception(3), Answer::Silence] {
        let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
        let (map, refusal) = (usual(), answer.clone());
        let inverter = Scripted::start(move |address, count| match count > 12 {
            true => refusal.clone(),
            false => map.answer(address, count),
        });
        let agent = Agent::start(config(&server, &inverter, data.path()));
        until_power(&server, 3_600).await;
        // The serial number is a text of sixteen registers.
        until("its texts", || {
            let texts = readings(&server, "info.serial");
            texts.iter().any(|text| text.quality == ecowatt_model::Quality::Good)
        })
        .await;
        agent.stop().await;
    }
}

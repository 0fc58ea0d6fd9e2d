//! An attacker with a device's key reports the worst values that the link allows. After the
//! operator has enrolled the device again, a real agent delivers, its data is shown, and the
//! attacker is refused.

use std::collections::BTreeMap;
use std::fs;

use ecowatt_agent::Folder;
use ecowatt_clock::Clock;
use ecowatt_envelope::{DeviceKey, KeyId};
use ecowatt_model::{
    BatchId, BootEpoch, MonoMs, Sequence, SequenceRange, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_node::storage::Ledger;
use ecowatt_profile::{Transport, catalogue};
use ecowatt_wire::{
    Batch, BootReason, ClockReport, LostSamples, SectionList, SourceState, SourceStatus, Status,
    Stream, UplinkWriter,
};
use serde_json::Value;

use crate::rig::link::{Peer, encoded};
use crate::rig::run::Process;
use crate::rig::server::{Plant, Server, wait_for, wait_until};

/// A power that no inverter here has.
const FORGED_W: u16 = 6666;
/// Epochs that one key can have.
const EPOCHS_OF_KEY: u32 = 1 << 24;
const HOUR_MS: i64 = 3_600_000;
/// Batches in one message.
const EACH: u32 = 20;

/// An attacker who copied a device's data folder.
struct Thief {
    peer: Peer,
    epoch: u32,
    layout: Vec<u8>,
}

impl Thief {
    /// Copies the folder of a device while its agent runs.
    fn rob(plant: &Plant, server: &Server) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in ["ledger.0", "ledger.1"] {
            let from = plant.folder.path().join("agent").join(name);
            fs::copy(from, copy.path().join(name)).unwrap();
        }
        let ledger = Ledger::open(Folder::open(copy.path()).unwrap()).unwrap();
        let record = ledger.record();
        let identity = record.identity.clone().unwrap();
        let kid = KeyId { device: identity.device(), generation: identity.key_generation() };
        let key = DeviceKey::new(identity.key.try_into().unwrap());
        let profile = catalogue::find("ecowatt/seed-sim").unwrap();
        let mut peer = Peer::new(server, &key, kid);
        // Beyond every counter that the device uses meanwhile.
        peer.counter = record.reserved + 1_000_000;
        let layout = profile.compile(Transport::TCP).unwrap().layout.to_cbor();
        Self { peer, epoch: record.epoch, layout }
    }

    fn report(&mut self, write: impl FnOnce(&mut UplinkWriter<'_>)) -> u16 {
        let message = self.peer.seal(write);
        self.peer.send(&message).status
    }

    fn batches(&mut self, ids: &[(u32, u32)], stream: u16, bytes: &[u8]) -> u16 {
        let batch = |(epoch, sequence): &(u32, u32)| Batch {
            id: BatchId { epoch: BootEpoch(*epoch), sequence: Sequence(*sequence) },
            stream: StreamNumber(stream),
            bytes,
            start: None,
        };
        self.report(|writer| {
            writer.batches(&mut ids.iter().map(batch), 0).unwrap();
        })
    }

    fn layouts(&mut self, numbers: &[u16], source: u8) -> u16 {
        let layout = self.layout.clone();
        let stream = |number: &u16| Stream {
            number: StreamNumber(*number),
            source: SourceNumber(source),
            layout: &layout,
        };
        self.report(|writer| {
            writer.streams(&mut numbers.iter().map(stream), 0).unwrap();
        })
    }

    fn clock(&mut self, epoch: u32, at: UnixMs) -> u16 {
        let epoch = BootEpoch(epoch);
        let clock = ClockReport { epoch, mono: MonoMs(1), unix: Some(at) };
        self.report(|writer| writer.clock(&clock).unwrap())
    }

    fn lost(&mut self, epochs: &[u32]) -> u16 {
        let lost = |epoch: &u32| LostSamples {
            epoch: BootEpoch(*epoch),
            batches: Some(SequenceRange { first: Sequence(1), last: Sequence(u32::MAX) }),
            samples: u32::MAX,
        };
        self.report(|writer| {
            writer.dropped(&mut epochs.iter().map(lost), 0).unwrap();
        })
    }

    /// Sends every harmful message, in an order in which none is refused because of an earlier one.
    fn do_harm(&mut self) {
        let now = Clock::system().now();
        let last = EPOCHS_OF_KEY;
        assert_eq!(self.layouts(&[2, 3, 4, 5, 6, 7, 8, 9], 0), 200);
        assert_eq!(self.layouts(&[u16::MAX], 7), 200);

        // Ids of batches that the device has not yet sent, with false samples and without samples.
        let present = batch_at(now);
        let names: Vec<_> = (2..1_002).map(|sequence| (self.epoch, sequence)).collect();
        for names in names.chunks(EACH as usize) {
            assert_eq!(self.batches(names, 2, &present), 200);
        }
        let names: Vec<_> = (1_002..1_022).map(|sequence| (self.epoch, sequence)).collect();
        assert_eq!(self.batches(&names, 2, b"\xff\xff"), 200);
        let holes: Vec<_> = (0..EACH).map(|i| (self.epoch + 1 + i, 2 * i + 2)).collect();
        assert_eq!(self.batches(&holes, 2, &present), 200);

        // Times within the accepted error of a clock and beyond it, one of them the newest of all.
        let hours = [-500_000, -1, 1, 12, 23, 25, 400 * 24, 60_000_000];
        for (sequence, hours) in (1..).zip(hours) {
            let at = UnixMs(now.0 + hours * HOUR_MS - 60_000);
            let status = self.batches(&[(self.epoch + 50, sequence)], 2, &batch_at(at));
            assert_eq!(status, 200, "{hours}");
            assert_eq!(self.clock(self.epoch + 50, at), 200, "{hours}");
        }

        let sources: Vec<_> = (0..8)
            .map(|source| SourceStatus {
                source: SourceNumber(source),
                state: SourceState::Offline,
                requests: u32::MAX,
                failures: u32::MAX,
                quarantined: u16::MAX,
            })
            .collect();
        let status = Status {
            firmware: "\u{1b}[2J99.99",
            boot_reason: BootReason::First,
            samples: u32::MAX,
            backlog_batches: u32::MAX,
            spool_bytes: u64::MAX,
            spool_capacity_bytes: 0,
            link_failures: u32::MAX,
            clock_deviation_ms: i64::MAX,
            sources: SectionList::Given(&sources),
        };
        assert_eq!(self.report(|writer| writer.status(&status).unwrap()), 200);

        let epochs: Vec<_> = (1..=EACH).collect();
        assert_eq!(self.lost(&epochs), 200);
        assert_eq!(self.batches(&[(last, 1), (last, u32::MAX)], 2, &present), 200);
        assert_eq!(self.lost(&[last, last - 1, last - 2]), 200);
        assert_eq!(self.clock(last, UnixMs(i64::MAX)), 200);
        for beyond in [last + 1, u32::MAX] {
            assert_eq!(self.batches(&[(beyond, 1)], 2, &present), 401);
            assert_eq!(self.lost(&[beyond]), 401);
            assert_eq!(self.clock(beyond, now), 401);
        }
        self.peer.counter = u64::MAX - 1;
        assert_eq!(self.clock(1, now), 401);
        self.peer.counter = i64::MAX as u64 - 1;
        assert_eq!(self.clock(last, now), 200);
    }

    fn is_refused(&mut self) -> bool {
        self.peer.counter = i64::MAX as u64 - 1;
        self.clock(1, Clock::system().now()) == 401
    }
}

/// One sample with a power that no inverter has and a lifetime energy that no inverter reaches.
fn batch_at(at: UnixMs) -> Vec<u8> {
    encoded(&[at.0], &[2300, 40, 5001, 3000, 3000, 20, 20, 350, 100, FORGED_W])
}

/// The powers that the agent has read, by the time of the sample, as far as it knew the time.
fn logged(plant: &Plant) -> BTreeMap<i64, f64> {
    let log = fs::read_to_string(plant.file("samples.csv")).unwrap_or_default();
    let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_end().split(',').collect();
            let power = cells[4].rsplit('|').next()?.parse().ok()?;
            Some((cells[3].parse().ok()?, power))
        })
        .collect()
}

/// The powers that the server shows, by the time of the sample; not the forged ones.
fn shown(server: &Server, device: &str) -> BTreeMap<i64, f64> {
    let range = ["--from", "2026-01-01T00:00:00Z", "--resolution", "raw", "--points", "ac.power"];
    let rows = server.json(&[&["telemetry", "export", "--device", device][..], &range].concat());
    rows.as_array()
        .unwrap()
        .iter()
        .filter_map(|row| Some((millis(&row["time"]), row["ac.power"].as_f64()?)))
        .filter(|(_, power)| *power != f64::from(FORGED_W))
        .collect()
}

fn millis(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// Waits until the shown power comes from the device's agent and is no older than `since`.
fn wait_for_present_power(server: &Server, device: &str, since: UnixMs) {
    wait_until(|| {
        let seen = server.json(&["device", "show", device]);
        is_present_power(&seen, since).unwrap_or_default().then_some(()).ok_or(seen.to_string())
    });
}

fn is_present_power(seen: &Value, since: UnixMs) -> Option<bool> {
    // The thief's inverter is not shown.
    let inverters = seen["inverters"].as_array().filter(|inverters| inverters.len() == 1)?;
    let points = inverters[0]["points"].as_array()?;
    let power = points.iter().find(|point| point["point"] == "ac.power")?;
    let read_at = power["read_at"].is_string().then(|| millis(&power["read_at"]))?;
    let last_sample = seen["last_sample"].is_string().then(|| millis(&seen["last_sample"]))?;
    let present = since.0..=Clock::system().now().0;
    Some(
        present.contains(&read_at)
            && present.contains(&last_sample)
            && power["quality"] == "good"
            && power["value"].as_f64()? != f64::from(FORGED_W)
            && seen["power_w"] == power["value"]
            && seen["state"] == "producing",
    )
}

/// A device that delivered until a thief silenced it.
fn robbed(server: &Server) -> (Plant, Process, Thief) {
    let plant = Plant::start();
    let agent = plant.agent(server, &server.enrol("Roof", "Home"));
    server.wait_for_more_samples("dev-1", 3);
    let mut thief = Thief::rob(&plant, server);
    thief.do_harm();
    agent.line("server answered 409");
    let before = logged(&plant).len();
    wait_for("further samples", || (logged(&plant).len() > before + 10).then_some(()));
    (plant, agent, thief)
}

#[test]
fn device_that_is_enrolled_again_delivers_and_the_thief_is_refused() {
    let server = Server::start();
    let (plant, agent, mut thief) = robbed(&server);
    let code = server.done(&["device", "enrol", "--device", "dev-1"]);
    drop(agent);
    let since = Clock::system().now();
    let _agent = plant.agent(&server, &code);
    wait_for_present_power(&server, "dev-1", since);
    let sampled = wait_for("samples since then", || {
        let sampled = logged(&plant).split_off(&since.0);
        (!sampled.is_empty()).then_some(sampled)
    });
    wait_for("delivery of the samples since then", || {
        let shown = shown(&server, "dev-1");
        sampled.iter().all(|(at, power)| shown.get(at) == Some(power)).then_some(())
    });
    assert!(thief.is_refused());
    assert_eq!(server.json(&["keys", "show", "dev-1"])["generation"], 2);
}

#[test]
fn device_that_is_reset_delivers_what_it_kept_as_well() {
    let server = Server::start();
    let (plant, agent, mut thief) = robbed(&server);
    server.done(&["device", "reset", "dev-1"]);
    assert!(thief.is_refused());
    let code = server.done(&["device", "enrol", "--device", "dev-1"]);
    drop(agent);
    let since = Clock::system().now();
    let _agent = plant.agent(&server, &code);
    wait_for_present_power(&server, "dev-1", since);
    let sampled = wait_for("samples from before and after", || {
        let sampled = logged(&plant);
        let (first, last) = (*sampled.first_key_value()?.0, *sampled.last_key_value()?.0);
        (first < since.0 && last >= since.0).then_some(sampled)
    });
    wait_for("delivery of all samples", || {
        let shown = shown(&server, "dev-1");
        sampled.iter().all(|(at, power)| shown.get(at) == Some(power)).then_some(())
    });
    assert!(thief.is_refused());
}

#[test]
fn device_that_is_deleted_comes_back_as_another_one() {
    let server = Server::start();
    let (plant, agent, mut thief) = robbed(&server);
    server.done(&["device", "delete", "dev-1", "--yes"]);
    assert!(thief.is_refused() && server.list("device").is_empty());
    // Its rows, more than are deleted at once, delay no other request.
    let site = server.list("site")[0]["id"].to_string();
    server.done(&["site", "delete", &site]);
    let code = server.enrol("Roof", "Home");
    drop(agent);
    // The agent's data belongs to the deleted device; the log says what to do.
    plant.agent(&server, &code).line("`ecowatt device enrol --device dev-2`");
    let code = server.done(&["device", "enrol", "--device", "dev-2"]);
    let since = Clock::system().now();
    let _agent = plant.agent_in("another", &server, &code);
    wait_for_present_power(&server, "dev-2", since);
    assert!(thief.is_refused());
    assert_eq!(server.list("device")[0]["id"], "dev-2");
}

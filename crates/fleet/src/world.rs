//! Devices and server together, from the first start to the closing audit.
//!
//! The server may deal with a message once no device can send one that arrives before it; a device
//! may go on until an answer could matter. Both bounds rest on the shortest way that the network has,
//! and neither on which thread is quicker: with one thread or two, a seed gives the same run.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use ecowatt_codec::State;
use ecowatt_envelope::{DeviceKey, Kid};
use ecowatt_model::UnixMs;

use crate::audit::{self, Held};
use crate::device::{Device, Standing, sources_of};
use crate::fleetwide::{FAR, FleetTrouble, after};
use crate::network::Message;
use crate::plant::Plants;
use crate::random::Random;
use crate::report::Report;
use crate::scenario::{START, Scenario};
use crate::server::{FromServer, Server, ServerError, drive, number};
use crate::trace::Digest;
use crate::truth::Verdict;
use crate::violation::{Invariant, Violation};

/// How the work is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    One,
    /// Devices on a thread of their own beside the server.
    Two,
}

/// Told how much of the simulation is done, from 0 to 1, and what is at hand.
pub type Progress<'a> = &'a (dyn Fn(f64, &'static str) + Sync);

/// The stream of random numbers beside those of devices and server.
const SALTS_STREAM: u64 = 1 << 41;
/// Violations that a report holds.
const VIOLATIONS_MAX: usize = 16;
/// Sampling intervals for which a device goes on before it is another's turn.
const STRETCH_SAMPLES: u32 = 5;
/// Groups of messages between two reports of progress.
const REPORT_GROUPS: u64 = 512;

/// Runs a simulation to its end and audits everything.
#[must_use]
pub fn run(
    scenario: &Scenario,
    plants: &Plants,
    threads: Threads,
    progress: Progress<'_>,
) -> Report {
    let mut report = Report::new(scenario);
    // Salts of write-ahead logs alone come from there: no answer depends on them, bytes on the disk do.
    let salts = Random::new(scenario.seed, SALTS_STREAM).below(u64::from(u32::MAX));
    ecowatt_vfs::seed_randomness(u32::try_from(salts).unwrap_or(1));
    let prepared = Server::new(*scenario).and_then(|mut server| {
        let keys = server.enrol()?;
        Ok((server, keys))
    });
    let (mut server, keys) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            report.violations.push(server_violation(START, &error, Vec::new()));
            return report;
        }
    };
    let mut fleet = Fleet::new(scenario, plants, &keys);
    let ran = match threads {
        Threads::One => alone(&mut fleet, &mut server, progress),
        Threads::Two => together(&mut fleet, &mut server, progress),
    };
    if let Err((at, error)) = ran {
        report.violations.push(server_violation(at, &error, server.trace.clone()));
    } else if let Err(error) = close(&mut fleet, &mut server, plants, &mut report, progress) {
        report.violations.push(server_violation(scenario.end(), &error, server.trace.clone()));
    }
    fleet.report(&mut report);
    report.counts.server = server.counts;
    if !report.is_clean() {
        report.server.clone_from(&server.trace);
    }
    report.counts.server_disk = server.disk().counts();
    report.counts.store_bytes = server.disk().bytes();
    let mut digest = Digest(report.digest);
    digest.add(server.digest.0);
    report.digest = digest.0;
    report.violations.sort_by_key(|violation| (violation.at_ms, violation.device.clone()));
    report.violations.truncate(VIOLATIONS_MAX);
    report
}

fn server_violation(at: UnixMs, error: &ServerError, trace: Vec<String>) -> Violation {
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        detail.push_str(": ");
        detail.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    Violation { invariant: Invariant::ServerStarts, at_ms: at.0, device: None, detail, trace }
}

/// All devices, and how far each has got.
struct Fleet {
    scenario: Scenario,
    devices: Vec<Device>,
    horizons: BTreeSet<(UnixMs, u32)>,
    /// Those of them that can go on.
    ready: BTreeSet<(UnixMs, u32)>,
    /// When messages arrive that the server has not dealt with.
    due: BTreeSet<(UnixMs, u32, u64)>,
}

impl Fleet {
    fn new(scenario: &Scenario, plants: &Plants, keys: &[(Kid, DeviceKey)]) -> Self {
        let shared = Arc::new(FleetTrouble::all(scenario));
        let devices: Vec<Device> = (0..)
            .zip(keys)
            .map(|(index, keys)| Device::new(*scenario, index, plants, Arc::clone(&shared), keys))
            .collect();
        let horizons: BTreeSet<(UnixMs, u32)> =
            devices.iter().map(|device| (device.horizon(), device.index())).collect();
        Self {
            scenario: *scenario,
            devices,
            ready: horizons.clone(),
            horizons,
            due: BTreeSet::new(),
        }
    }

    /// Hands over what the server said; whoever it concerns can go on.
    fn hear(&mut self, said: Vec<FromServer>) {
        for said in said {
            match said {
                FromServer::Response(response) => {
                    let number = response.device;
                    self.due.remove(&(response.arrives, number, response.serial));
                    let device = &mut self.devices[place(number)];
                    device.hear(response);
                    if !device.has_ended() {
                        self.ready.insert((device.horizon(), number));
                    }
                }
                FromServer::Audit { at, device, batches } => {
                    self.devices[place(device)].audit(at, &batches);
                }
            }
        }
    }

    /// Lets the device that is furthest behind go on for a while; whether there was one that can.
    fn advance(&mut self, out: &mut Vec<Message>) -> bool {
        let Some(before) = self.ready.pop_first() else { return false };
        let device = &mut self.devices[place(before.1)];
        let until = before.0.plus(self.scenario.sample_interval * STRETCH_SAMPLES);
        let first = out.len();
        let standing = catch_unwind(AssertUnwindSafe(|| device.advance(until, out)));
        let standing = standing.unwrap_or_else(|_| {
            let at = device.horizon();
            device.violate(at, Invariant::NoPanic, "the device panicked".to_owned());
            device.give_up();
            Standing::Ended
        });
        for message in &out[first..] {
            self.due.insert((message.arrives, message.device, message.serial));
        }
        let reached = (device.horizon(), device.index());
        self.horizons.remove(&before);
        self.horizons.insert(reached);
        if standing == Standing::Ready {
            self.ready.insert(reached);
        }
        true
    }

    /// No message that has not been given out will arrive before this.
    fn safe(&self) -> UnixMs {
        let slowest = self.horizons.first().map_or(FAR, |(at, _)| *at);
        if slowest == FAR { FAR } else { after(slowest, self.scenario.latency_min_ms()) }
    }

    /// Whether the server can deal with a message if it hears of `safe`, and could not with `told`.
    fn is_news(&self, told: UnixMs, safe: UnixMs) -> bool {
        let span = i64::try_from(self.scenario.group_span_ms()).unwrap_or(0);
        let first = self.due.range((UnixMs(told.0 - span + 1), 0, 0)..).next();
        first.is_some_and(|(arrives, ..)| arrives.0 + span <= safe.0)
    }

    fn report(&mut self, report: &mut Report) {
        let mut digest = Digest::default();
        for device in &mut self.devices {
            digest.add(device.trace.digest());
            report.counts.devices.add(&device.counts);
            report.counts.network.add(&device.network_counts());
            report.counts.device_disks.add(&device.disk().counts());
            for line in device.lines() {
                report.counts.inverters.add(&line.bus_counts());
            }
            report.violations.append(&mut device.violations);
        }
        report.digest = digest.0;
    }
}

fn place(device: u32) -> usize {
    usize::try_from(device).unwrap_or(usize::MAX)
}

fn share(scenario: &Scenario, at: UnixMs) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a progress bar")]
    let share = (at.0 - START.0) as f64 / (scenario.end().0 - START.0) as f64;
    share.clamp(0.0, 1.0)
}

fn alone(
    fleet: &mut Fleet,
    server: &mut Server,
    progress: Progress<'_>,
) -> Result<(), (UnixMs, ServerError)> {
    let mut messages = Vec::new();
    let mut said = Vec::new();
    loop {
        while fleet.advance(&mut messages) {}
        server.expect(messages.drain(..));
        let safe = fleet.safe();
        let mut has_worked = false;
        while server.step(safe, &mut said).map_err(|error| (safe, error))? {
            has_worked = true;
        }
        if !has_worked {
            return Ok(());
        }
        if server.counts.groups.is_multiple_of(REPORT_GROUPS) {
            progress(share(&fleet.scenario, safe), "simulating");
        }
        fleet.hear(std::mem::take(&mut said));
    }
}

/// What the devices' thread tells the server's.
struct Portion {
    messages: Vec<Message>,
    safe: UnixMs,
}

/// Both queues are bounded by the messages that devices have under way, a few each.
fn together(
    fleet: &mut Fleet,
    server: &mut Server,
    progress: Progress<'_>,
) -> Result<(), (UnixMs, ServerError)> {
    let scenario = fleet.scenario;
    let (say, heard) = channel::<Vec<FromServer>>();
    let (send, arrived) = channel::<Portion>();
    // The queues go with whoever ends first, so that the other ends too.
    thread::scope(move |scope| {
        scope.spawn(move || run_devices(fleet, &heard, &send));
        let mut safe = START;
        let mut said = Vec::new();
        loop {
            while let Ok(portion) = arrived.try_recv() {
                server.expect(portion.messages);
                safe = portion.safe;
            }
            if server.step(safe, &mut said).map_err(|error| (safe, error))? {
                if say.send(std::mem::take(&mut said)).is_err() {
                    // The devices' thread has panicked; the scope says so.
                    return Ok(());
                }
                if server.counts.groups.is_multiple_of(REPORT_GROUPS) {
                    progress(share(&scenario, safe), "simulating");
                }
                continue;
            }
            if safe == FAR {
                return Ok(());
            }
            let Ok(portion) = arrived.recv() else { return Ok(()) };
            server.expect(portion.messages);
            safe = portion.safe;
        }
    })
}

/// Devices run ahead of the server as far as they can.
fn run_devices(fleet: &mut Fleet, heard: &Receiver<Vec<FromServer>>, send: &Sender<Portion>) {
    let mut messages = Vec::new();
    let mut told = START;
    loop {
        while let Ok(said) = heard.try_recv() {
            fleet.hear(said);
        }
        let has_worked = fleet.advance(&mut messages);
        let safe = fleet.safe();
        if !has_worked || fleet.is_news(told, safe) {
            told = safe;
            if send.send(Portion { messages: std::mem::take(&mut messages), safe }).is_err() {
                return;
            }
        }
        if !has_worked {
            match heard.recv() {
                Ok(said) => fleet.hear(said),
                Err(_) => return,
            }
        }
    }
}

/// Compares what the store holds with what was sampled.
fn close(
    fleet: &mut Fleet,
    server: &mut Server,
    plants: &Plants,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), ServerError> {
    let end = fleet.scenario.end();
    let clock_errors = server.clock_errors.clone();
    let (store, stepper) = server.store()?;
    let (send, held) = sync_channel::<Held>(4);
    let count = fleet.devices.len();
    let devices = &mut fleet.devices;
    let audited = thread::scope(|scope| {
        let auditor = scope.spawn(move || {
            let mut verdicts = Verdict::default();
            let mut energy = audit::EnergyCounts::default();
            let mut state = Box::new(State::new());
            for held in held {
                let device = &mut devices[place(held.device)];
                let verdict = audit::check(
                    device,
                    &held,
                    plants,
                    (end, &clock_errors),
                    &mut state,
                    &mut energy,
                );
                verdicts.add(&verdict);
                progress(
                    f64::from(held.device + 1) / f64::from(u32::try_from(count).unwrap_or(1)),
                    "auditing",
                );
            }
            (verdicts, energy)
        });
        for index in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            let (device, sources) = (number(index), sources_of(index));
            let held = drive(stepper, audit::hold(store, device, index, sources))
                .map_err(ServerError::Read)?;
            if send.send(held).is_err() {
                break;
            }
        }
        drop(send);
        Ok(auditor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (verdict, energy) = audited?;
    report.verdict = verdict;
    report.counts.energy = energy;
    Ok(())
}

//! Devices and server together, from the first start to the closing audit.
//!
//! The server may deal with a message once no device can send one that arrives before it; a device
//! may go on until an answer could matter. Both bounds rest on the shortest way that the network has,
//! and neither on which thread is quicker: with one thread or two, a seed gives the same run.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use ecowatt_codec::State;
use ecowatt_envelope::{DeviceKey, Kid};
use ecowatt_model::UnixMs;

use crate::audit::{self, Held};
use crate::device::{Device, sources_of};
use crate::fleetwide::{FleetTrouble, after};
use crate::network::Message;
use crate::plant::Plants;
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

/// Violations that a report holds.
const VIOLATIONS_MAX: usize = 16;
/// Portions of work between the two threads.
const QUEUE: usize = 4096;
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
}

impl Fleet {
    fn new(scenario: &Scenario, plants: &Plants, keys: &[(Kid, DeviceKey)]) -> Self {
        let shared = Arc::new(FleetTrouble::all(scenario));
        let devices: Vec<Device> = (0..)
            .zip(keys)
            .map(|(index, keys)| Device::new(*scenario, index, plants, Arc::clone(&shared), keys))
            .collect();
        let horizons = devices.iter().map(|device| (device.horizon(), device.index())).collect();
        Self { scenario: *scenario, devices, horizons }
    }

    fn begin(&mut self, out: &mut Vec<Message>) {
        for index in 0..self.devices.len() {
            self.advance(index, out);
        }
    }

    /// Hands over what the server said, and lets whoever it concerns go on.
    fn hear(&mut self, said: Vec<FromServer>, out: &mut Vec<Message>) {
        let mut concerned = BTreeSet::new();
        for said in said {
            match said {
                FromServer::Response(response) => {
                    let index = place(response.device);
                    self.devices[index].respond(response);
                    concerned.insert(index);
                }
                FromServer::Audit { at, device, batches } => {
                    self.devices[place(device)].audit(at, &batches);
                }
            }
        }
        for index in concerned {
            self.advance(index, out);
        }
    }

    fn advance(&mut self, index: usize, out: &mut Vec<Message>) {
        let device = &mut self.devices[index];
        let before = (device.horizon(), device.index());
        let done = catch_unwind(AssertUnwindSafe(|| device.advance(out)));
        if done.is_err() {
            let at = device.horizon();
            device.violate(at, Invariant::NoPanic, "the device panicked".to_owned());
            device.give_up();
        }
        self.horizons.remove(&before);
        self.horizons.insert((device.horizon(), device.index()));
    }

    /// No message that has not been given out will arrive before this.
    fn safe(&self) -> UnixMs {
        let slowest = self.horizons.first().map_or(START, |(at, _)| *at);
        after(slowest, self.scenario.latency_min_ms())
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
    fleet.begin(&mut messages);
    loop {
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
        fleet.hear(std::mem::take(&mut said), &mut messages);
    }
}

/// What the devices' thread gives for each portion that it takes.
struct Portion {
    messages: Vec<Message>,
    safe: UnixMs,
    taken: usize,
}

fn together(
    fleet: &mut Fleet,
    server: &mut Server,
    progress: Progress<'_>,
) -> Result<(), (UnixMs, ServerError)> {
    let scenario = fleet.scenario;
    let (say, heard) = sync_channel::<Vec<FromServer>>(QUEUE);
    let (send, arrived) = sync_channel::<Portion>(QUEUE);
    // The queues go with whoever ends first, so that the other ends too.
    thread::scope(move |scope| {
        scope.spawn(move || run_devices(fleet, heard, &send));
        let mut safe = START;
        let mut owed = 1;
        let mut said = Vec::new();
        loop {
            while let Ok(portion) = arrived.try_recv() {
                server.expect(portion.messages);
                safe = safe.max(portion.safe);
                owed -= portion.taken;
            }
            if server.step(safe, &mut said).map_err(|error| (safe, error))? {
                owed += 1;
                if say.send(std::mem::take(&mut said)).is_err() {
                    // The devices' thread has panicked; the scope says so.
                    return Ok(());
                }
                if server.counts.groups.is_multiple_of(REPORT_GROUPS) {
                    progress(share(&scenario, safe), "simulating");
                }
            } else if owed == 0 {
                return Ok(());
            } else {
                match arrived.recv() {
                    Ok(portion) => {
                        server.expect(portion.messages);
                        safe = safe.max(portion.safe);
                        owed -= portion.taken;
                    }
                    Err(_) => return Ok(()),
                }
            }
        }
    })
}

fn run_devices(fleet: &mut Fleet, heard: Receiver<Vec<FromServer>>, send: &SyncSender<Portion>) {
    let mut messages = Vec::new();
    fleet.begin(&mut messages);
    let first = Portion { messages, safe: fleet.safe(), taken: 1 };
    if send.send(first).is_err() {
        return;
    }
    while let Ok(mut said) = heard.recv() {
        let mut taken = 1;
        while let Ok(mut more) = heard.try_recv() {
            said.append(&mut more);
            taken += 1;
        }
        let mut messages = Vec::new();
        fleet.hear(said, &mut messages);
        if send.send(Portion { messages, safe: fleet.safe(), taken }).is_err() {
            return;
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
                let verdict = audit::check(device, &held, plants, end, &mut state, &mut energy);
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

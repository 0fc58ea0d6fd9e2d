//! Runs devices and server, from the first start to the closing audit.
//!
//! The server may process a message once no device can send one that arrives before it; a device
//! may go on until an answer could matter. Both bounds follow from the network's shortest way, and
//! neither depends on which thread is faster: with one thread or two, a seed yields the same run.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ecowatt_codec::CodecMemory;
use ecowatt_envelope::{DeviceKey, KeyId};
use ecowatt_model::UnixMs;

use crate::faults::outage::Outage;
use crate::faults::weights::Weights;
use crate::judges::audit::commands::CommandCounts;
use crate::judges::audit::{self, EnergyCounts, Held, Known};
use crate::judges::device::DeviceJudge;
use crate::judges::promises::{Invariant, Violation};
use crate::judges::truth::SampleAudit;
use crate::plant::Plants;
use crate::random::Random;
use crate::report::Report;
use crate::scenario::{START, Scenario, Threads};
use crate::streams;
use crate::time::{FAR, after};
use crate::trace::Digest;
use crate::world::device::{Device, Standing, sources_of};
use crate::world::network::Message;
use crate::world::server::{FromServer, Server, ServerError, drive, number};

/// Called with the fraction done, from 0 to 1, and the current phase.
pub type Progress<'a> = &'a (dyn Fn(f64, &'static str) + Sync);

/// Most violations in a report.
const VIOLATIONS_MAX: usize = 16;
/// Sampling intervals that a device runs before the next device has its turn.
const STRETCH_SAMPLES: u32 = 5;
/// Tries on an empty queue before its reader sleeps.
const LOOKS: u32 = 1_000;
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
    let weights = Arc::new(Weights::of(scenario.faults, scenario.seed));
    let mut report = Report::new(scenario, &weights);
    // Only the salts of write-ahead logs are drawn there: bytes on the disk depend on them, answers
    // not.
    let salts = Random::new(scenario.seed, streams::SALTS).below(u64::from(u32::MAX));
    ecowatt_vfs::seed_randomness(u32::try_from(salts).unwrap_or(1));
    let prepared = Server::new(*scenario, &weights).and_then(|mut server| {
        let keys = server.enrol()?;
        Ok((server, keys))
    });
    let (mut server, keys) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            report.violate(server_violation(START, &error, Vec::new()));
            return report;
        }
    };
    let make_fleet = || Fleet::new(scenario, plants, &weights, &keys);
    let (mut fleet, ran) = match threads {
        Threads::One => {
            let mut fleet = make_fleet();
            let ran = run_on_one_thread(&mut fleet, &mut server, progress);
            (fleet, ran)
        }
        Threads::Two => run_on_two_threads(scenario, make_fleet, &mut server, progress),
    };
    if let Err((at, error)) = ran {
        report.violate(server_violation(at, &error, server.trace.clone()));
    } else if let Err(error) =
        close(&mut fleet, &mut server, plants, threads, &mut report, progress)
    {
        report.violate(server_violation(scenario.end(), &error, server.trace.clone()));
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
    report.keep_violations(VIOLATIONS_MAX);
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

/// All devices, and how far each has run.
struct Fleet {
    scenario: Scenario,
    devices: Vec<Device>,
    horizons: BTreeSet<(UnixMs, u32)>,
    /// The devices that can go on.
    ready: BTreeSet<(UnixMs, u32)>,
    /// Arrivals of messages that the server has not processed.
    due: BTreeSet<(UnixMs, u32, u64)>,
}

impl Fleet {
    fn new(
        scenario: &Scenario,
        plants: &Plants,
        weights: &Arc<Weights>,
        keys: &[(KeyId, DeviceKey)],
    ) -> Self {
        let shared = Arc::new(Outage::all(scenario, weights));
        let devices: Vec<Device> = (0..)
            .zip(keys)
            .map(|(index, keys)| {
                Device::new(*scenario, index, plants, weights, Arc::clone(&shared), keys)
            })
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

    /// Hands the server's answers to their devices, which can then go on.
    fn deliver(&mut self, responses: Vec<FromServer>) {
        for response in responses {
            match response {
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
                    self.devices[place(device)].judge.check_stored(at, &batches);
                }
            }
        }
    }

    /// Runs the device that is furthest behind for a while; returns whether one could go on.
    fn advance(&mut self, out: &mut Vec<Message>) -> bool {
        let Some(before) = self.ready.pop_first() else { return false };
        let device = &mut self.devices[place(before.1)];
        let until = before.0.plus(self.scenario.sample_interval * STRETCH_SAMPLES);
        let first = out.len();
        let standing = catch_unwind(AssertUnwindSafe(|| device.advance(until, out)));
        let standing = standing.unwrap_or_else(|_| {
            let at = device.horizon();
            device.judge.violate(at, Invariant::NoPanic, "the device panicked".to_owned());
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

    /// Returns the instant before which no message can arrive that was not yet handed over.
    fn safe(&self) -> UnixMs {
        let slowest = self.horizons.first().map_or(FAR, |(at, _)| *at);
        if slowest == FAR { FAR } else { after(slowest, self.scenario.latency_min_ms()) }
    }

    /// Whether knowing `safe` lets the server process a message that `announced` did not.
    fn is_news(&self, announced: UnixMs, safe: UnixMs) -> bool {
        let span = i64::try_from(self.scenario.group_span_ms()).unwrap_or(0);
        let first = self.due.range((UnixMs(announced.0 - span + 1), 0, 0)..).next();
        first.is_some_and(|(arrives, ..)| arrives.0 + span <= safe.0)
    }

    fn report(&mut self, report: &mut Report) {
        let mut digest = Digest::default();
        for device in &mut self.devices {
            digest.add(device.judge.trace.digest());
            report.counts.devices.add(&device.counts);
            report.counts.network.add(&device.network_counts());
            report.counts.device_disks.add(&device.disk().counts());
            for line in device.lines() {
                report.counts.inverters.add(&line.bus_counts());
            }
            report.violations_found += device.judge.violations_found;
            report.violations.append(&mut device.judge.violations);
            if device.judge.trace.is_whole() {
                report.trace = device.judge.trace.all_lines();
            }
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

/// Fails if the server could not start again.
type Ran = Result<(), (UnixMs, ServerError)>;

fn run_on_one_thread(fleet: &mut Fleet, server: &mut Server, progress: Progress<'_>) -> Ran {
    let mut messages = Vec::new();
    let mut responses = Vec::new();
    loop {
        while fleet.advance(&mut messages) {}
        server.expect(messages.drain(..));
        let safe = fleet.safe();
        let mut has_worked = false;
        while server.step(safe, &mut responses).map_err(|error| (safe, error))? {
            has_worked = true;
        }
        if !has_worked {
            return Ok(());
        }
        if server.counts.groups.is_multiple_of(REPORT_GROUPS) {
            progress(share(&fleet.scenario, safe), "simulating");
        }
        fleet.deliver(std::mem::take(&mut responses));
    }
}

/// What the devices' thread sends to the server's.
struct Portion {
    messages: Vec<Message>,
    safe: UnixMs,
}

/// Runs devices and server on a thread each. Both queues are bounded by the messages in flight, a
/// few per device.
fn run_on_two_threads(
    scenario: &Scenario,
    make_fleet: impl FnOnce() -> Fleet + Send,
    server: &mut Server,
    progress: Progress<'_>,
) -> (Fleet, Ran) {
    let (respond, answers) = channel();
    let (send, arrived) = channel();
    thread::scope(|scope| {
        // The fleet is built on the thread that uses and frees it: allocators keep memory per
        // thread.
        let devices = scope.spawn(move || {
            let mut fleet = make_fleet();
            run_devices(&mut fleet, &answers, &send);
            fleet
        });
        let ran = run_server(scenario, server, &arrived, &respond, progress);
        // Closing the queues ends the devices' thread.
        drop((arrived, respond));
        let fleet = devices.join().unwrap_or_else(|panic| resume_unwind(panic));
        (fleet, ran)
    })
}

fn run_server(
    scenario: &Scenario,
    server: &mut Server,
    arrived: &Receiver<Portion>,
    respond: &Sender<Vec<FromServer>>,
    progress: Progress<'_>,
) -> Ran {
    let mut safe = START;
    let mut responses = Vec::new();
    loop {
        while let Ok(portion) = arrived.try_recv() {
            server.expect(portion.messages);
            safe = portion.safe;
        }
        if server.step(safe, &mut responses).map_err(|error| (safe, error))? {
            if respond.send(std::mem::take(&mut responses)).is_err() {
                // The devices' thread has panicked; joining it will report that.
                return Ok(());
            }
            if server.counts.groups.is_multiple_of(REPORT_GROUPS) {
                progress(share(scenario, safe), "simulating");
            }
            continue;
        }
        if safe == FAR {
            return Ok(());
        }
        let Ok(portion) = recv_spinning(arrived) else { return Ok(()) };
        server.expect(portion.messages);
        safe = portion.safe;
    }
}

/// Receives from a queue that is seldom empty for long: sleeping and being woken costs both sides
/// more time than trying again.
fn recv_spinning<T>(queue: &Receiver<T>) -> Result<T, RecvError> {
    for _ in 0..LOOKS {
        match queue.try_recv() {
            Ok(next) => return Ok(next),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
            Err(TryRecvError::Empty) => thread::yield_now(),
        }
    }
    queue.recv()
}

/// Runs the devices ahead of the server as far as they can go.
fn run_devices(fleet: &mut Fleet, answers: &Receiver<Vec<FromServer>>, send: &Sender<Portion>) {
    let mut messages = Vec::new();
    let mut announced = START;
    loop {
        while let Ok(responses) = answers.try_recv() {
            fleet.deliver(responses);
        }
        let has_worked = fleet.advance(&mut messages);
        let safe = fleet.safe();
        if !has_worked || fleet.is_news(announced, safe) {
            announced = safe;
            if send.send(Portion { messages: std::mem::take(&mut messages), safe }).is_err() {
                return;
            }
        }
        if !has_worked {
            match recv_spinning(answers) {
                Ok(responses) => fleet.deliver(responses),
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
    threads: Threads,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), ServerError> {
    let scenario = fleet.scenario;
    let end = scenario.end();
    let clock_errors = server.clock_errors.clone();
    let mut orders = server.take_orders();
    let templates = server.take_templates();
    let (store, stepper) = server.store()?;
    // The store is read on one thread; decoding and comparing is done on all. The channel is short,
    // so that only a few devices' data are in memory.
    let (send, read) = sync_channel::<(&mut DeviceJudge, Held)>(2 * threads.count());
    let read = Mutex::new(read);
    let count = scenario.devices;
    let devices = &mut fleet.devices;
    let (verdict, energy, commands) = thread::scope(|scope| {
        let (read, clock_errors, templates) = (&read, &clock_errors, &templates);
        let audit = move || {
            let mut verdicts = SampleAudit::default();
            let mut counts = (EnergyCounts::default(), CommandCounts::default());
            let mut state = Box::new(CodecMemory::new());
            loop {
                let next = read.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((judge, held)) = next else { return (verdicts, counts.0, counts.1) };
                let known = Known { end, clock_errors, templates };
                let (energy, commands) = &mut counts;
                let counted = (energy, commands);
                verdicts.add(&audit::check(judge, &held, plants, known, &mut state, counted));
                progress(f64::from(judge.device().0) / f64::from(count), "auditing");
            }
        };
        let auditors: Vec<_> = (0..threads.count()).map(|_| scope.spawn(audit)).collect();
        for (index, device) in (0..).zip(devices) {
            let ordered = scenario.commands_every.map(|_| orders.remove(&number(index)));
            let ordered = ordered.map(Option::unwrap_or_default);
            let held = audit::hold(store, number(index), sources_of(index), ordered);
            let held = drive(stepper, held).map_err(ServerError::Read)?;
            if send.send((&mut device.judge, held)).is_err() {
                break;
            }
        }
        drop(send);
        let mut all = (SampleAudit::default(), EnergyCounts::default(), CommandCounts::default());
        for auditor in auditors {
            let (verdict, energy, commands) =
                auditor.join().unwrap_or_else(|panic| resume_unwind(panic));
            all.0.add(&verdict);
            all.1.add(&energy);
            all.2.add(&commands);
        }
        Ok(all)
    })?;
    report.verdict = verdict;
    report.counts.energy = energy;
    report.counts.commands = commands;
    Ok(())
}

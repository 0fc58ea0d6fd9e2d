//! One device in virtual time: the real node on a simulated disk, its inverters, its clock, its power
//! and its way to the server.
//!
//! A device runs ahead of the others until what comes next may depend on an answer that it has not
//! got; [`Device::horizon`] says how far that is. Nothing it does depends on how far others are.

mod clock;
mod cycle;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ecowatt_agent::node::{
    Done, Message as AgentMessage, Next, Node, NodeConfig, SourceSetup, StartError,
};
use ecowatt_agent::storage::{
    Dropped, Identity, Ledger, LedgerError, Order, Recovered, SPOOL_BYTES_MIN, StorageError,
};
use ecowatt_device::limits::CLOCK_STEP_MIN;
use ecowatt_device::{Event, LinkFailure};
use ecowatt_envelope::{DeviceKey, Kid, MESSAGE_MAX};
use ecowatt_model::{BatchId, BootEpoch, Counter, MonoMs, SourceNumber, UnixMs};

use crate::disk::Disk;
use crate::fleetwide::{FAR, FleetTrouble, after};
use crate::network::{Answer, Delivered, Delivery, Message, Network, NetworkCounts, Response};
use crate::plant::Plants;
use crate::random::Random;
use crate::scenario::{Level, Rates, START, Scenario};
use crate::trace::{Trace, What};
use crate::truth::Truth;
use crate::violation::{Invariant, Violation};
use clock::DeviceClock;
use cycle::Line;
use trouble::Relief;

/// What befell a device, and what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceCounts {
    pub starts: u64,
    pub stops: u64,
    pub power_cuts: u64,
    pub power_cuts_at_step: u64,
    pub power_cuts_in_recovery: u64,
    pub partitions: u64,
    pub disk_full: u64,
    pub disk_failing: u64,
    pub inverter_disturbed: u64,
    pub clocks_unset: u64,
    pub clocks_wrong: u64,
    pub messages: u64,
    pub bytes: u64,
    pub batches: u64,
    /// Batches that were sent again.
    pub resent: u64,
    pub recovered_samples: u64,
    /// Samples that were in memory alone when the power went, or that no storage could take.
    pub not_durable: u64,
    pub backlog_max: u64,
    pub memory_max_bytes: u64,
    /// Changing operations of its disk.
    pub foreign_replies_refused: u64,
}

impl DeviceCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.starts += other.starts;
        self.stops += other.stops;
        self.power_cuts += other.power_cuts;
        self.power_cuts_at_step += other.power_cuts_at_step;
        self.power_cuts_in_recovery += other.power_cuts_in_recovery;
        self.partitions += other.partitions;
        self.disk_full += other.disk_full;
        self.disk_failing += other.disk_failing;
        self.inverter_disturbed += other.inverter_disturbed;
        self.clocks_unset += other.clocks_unset;
        self.clocks_wrong += other.clocks_wrong;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.batches += other.batches;
        self.resent += other.resent;
        self.recovered_samples += other.recovered_samples;
        self.not_durable += other.not_durable;
        self.backlog_max = self.backlog_max.max(other.backlog_max);
        self.memory_max_bytes = self.memory_max_bytes.max(other.memory_max_bytes);
        self.foreign_replies_refused += other.foreign_replies_refused;
    }
}

/// Registers that one inverter has room for: SunSpec's take the most.
const COLUMNS: usize = ecowatt_model::COLUMNS_MAX;
/// Samples in no batch: two quarters of an hour at 5 s, less than the largest batch twice over.
const ROWS: usize = 400;

/// The real thing, on a simulated disk.
pub(crate) type DeviceNode = Node<Disk, COLUMNS, ROWS>;

/// What a device is doing.
enum Life {
    Off { until: UnixMs },
    On(Box<Running>),
    Ended,
}

/// Whether a device can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Ready,
    /// For an answer of the server.
    Waits,
    Ended,
}

/// A device that runs.
struct Running {
    node: DeviceNode,
    epoch: BootEpoch,
    clock: DeviceClock,
    /// The message under way and when the shell gives up on it.
    sent: Option<(Counter, UnixMs)>,
    is_stopping: bool,
}

/// A copy of a message that the server has not dealt with.
struct InFlight {
    arrives: UnixMs,
    counter: Counter,
    /// Whether the server's answer comes back over the connection that the device waits on.
    is_first: bool,
    is_intact: bool,
}

pub(crate) struct Device {
    index: u32,
    scenario: Scenario,
    rates: Rates,
    random: Random,
    disk: Disk,
    lines: Vec<Line>,
    setups: Vec<SourceSetup>,
    spool_bytes: u64,
    order: Order,
    network: Network,
    kid: Kid,
    life: Life,
    horizon: UnixMs,
    trouble_at: UnixMs,
    reliefs: BTreeMap<(UnixMs, u32), Relief>,
    next_relief: u32,
    shared: Arc<Vec<FleetTrouble>>,
    next_shared: usize,
    partition_until: UnixMs,
    is_calm: bool,
    inbox: BTreeMap<(UnixMs, u64), Delivery>,
    in_flight: BTreeMap<u64, InFlight>,
    responses: BTreeMap<u64, Response>,
    serial: u64,
    counter_last: Option<Counter>,
    /// Newest message that the server replied to, with the instant, and the newest before that.
    replied: Option<(UnixMs, Counter)>,
    replied_before: Option<Counter>,
    /// Gaps in the message under way.
    told: Vec<Dropped>,
    /// The newest batch that was dropped, and how many ever were.
    dropped_to: Option<BatchId>,
    dropped_batches: u64,
    /// Last sequence of each epoch that is durable.
    given: BTreeMap<u32, u32>,
    /// Batches that were sent and are not acknowledged.
    offered: BTreeSet<BatchId>,
    pub(crate) truth: Truth,
    pub(crate) trace: Trace,
    pub(crate) counts: DeviceCounts,
    pub(crate) violations: Vec<Violation>,
}

/// Longest wait of the agent for connection, request and reply together.
const EXCHANGE_TIMEOUT_MS: u64 = 20_000;
/// How long a connection attempt into a partition or to a dead server takes.
const REFUSED_AFTER_MS: u64 = 3_000;
/// Pause of the service supervisor before it starts an agent that gave up.
const SUPERVISOR_PAUSE_MS: u64 = 10_000;
const MESSAGE_BYTES: usize = 16 * 1024;
/// Longest interval between two samples where the spool is small.
const SMALL_SPOOL_INTERVAL: Duration = Duration::from_secs(8);
/// Devices with higher indices have room.
const SMALL_SPOOLS_BELOW: u32 = 16;
/// Most violations that one device reports; after that it has said enough.
const VIOLATIONS_MAX: usize = 8;

impl Device {
    /// A device that has been enrolled and never ran.
    pub(crate) fn new(
        scenario: Scenario,
        index: u32,
        plants: &Plants,
        shared: Arc<Vec<FleetTrouble>>,
        (kid, key): &(Kid, DeviceKey),
    ) -> Self {
        let mut random = Random::new(scenario.seed, u64::from(index));
        let disk = Disk::new(random.draw());
        enrol(&disk, *kid, key);
        let lines: Vec<Line> = (0..sources_of(index))
            .map(|source| Line::new(plants, &mut random, SourceNumber(source), scenario.faults))
            .collect();
        // Every third device sends the newest first.
        let has_small_spool = has_small_spool(index);
        let interval = match has_small_spool {
            true => scenario.sample_interval.min(SMALL_SPOOL_INTERVAL),
            false => scenario.sample_interval,
        };
        let setups =
            lines.iter().map(|line| line.setup(plants.of(line.plant()), interval)).collect();
        let rates = scenario.rates();
        let network = Network::new(Random::new(random.draw(), 1), scenario.latency_min_ms(), rates);
        let spool_bytes = if has_small_spool { SPOOL_BYTES_MIN } else { 8 << 20 };
        let order = if index % 3 == 1 { Order::NewestFirst } else { Order::OldestFirst };
        let first_start = after(START, random.below(60_000));
        let mut device = Self {
            index,
            scenario,
            rates,
            trouble_at: FAR,
            random,
            disk,
            lines,
            setups,
            spool_bytes,
            order,
            network,
            kid: *kid,
            life: Life::Off { until: first_start },
            horizon: START,
            reliefs: BTreeMap::new(),
            next_relief: 0,
            shared,
            next_shared: 0,
            partition_until: START,
            is_calm: scenario.faults == Level::None,
            inbox: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            responses: BTreeMap::new(),
            serial: 0,
            counter_last: None,
            replied: None,
            replied_before: None,
            told: Vec::new(),
            dropped_to: None,
            dropped_batches: 0,
            given: BTreeMap::new(),
            offered: BTreeSet::new(),
            truth: Truth::default(),
            trace: Trace::default(),
            counts: DeviceCounts::default(),
            violations: Vec::new(),
        };
        device.trouble_at = device.next_trouble(START);
        device
    }

    /// Everything before this has happened.
    pub(crate) fn horizon(&self) -> UnixMs {
        self.horizon
    }

    /// Ends it as it stands.
    pub(crate) fn give_up(&mut self) {
        self.life = Life::Ended;
        self.horizon = FAR;
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended)
    }

    pub(crate) fn network_counts(&self) -> NetworkCounts {
        self.network.counts
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Runs up to `until`, or until an answer that is not there may matter, or to its end.
    pub(crate) fn advance(&mut self, until: UnixMs, out: &mut Vec<Message>) -> Standing {
        while !self.has_ended() {
            let at = self.next_event();
            // An answer leaves when its message has arrived, and takes the shortest way at least.
            let next = self.in_flight.iter().map(|(serial, copy)| (copy.arrives, *serial)).min();
            if let Some((arrives, serial)) = next {
                let earliest = after(arrives, self.scenario.latency_min_ms());
                if at > earliest {
                    self.horizon = earliest;
                    match self.responses.remove(&serial) {
                        Some(response) => self.respond(response),
                        None => return Standing::Waits,
                    }
                    continue;
                }
            }
            self.horizon = at;
            if at >= until {
                return Standing::Ready;
            }
            self.happen(at, out);
        }
        self.horizon = FAR;
        Standing::Ended
    }

    /// The server has dealt with a copy. It is looked at when the device has got so far that it may
    /// matter, however early it is known.
    pub(crate) fn hear(&mut self, response: Response) {
        if self.in_flight.contains_key(&response.serial) {
            self.responses.insert(response.serial, response);
        }
    }

    fn respond(&mut self, response: Response) {
        let Response { leaves, serial, answer, clock, .. } = response;
        let Some(copy) = self.in_flight.remove(&serial) else { return };
        let counter = copy.counter;
        let what = match answer {
            Answer::Reply(bytes) => {
                self.check_reply_order(leaves, counter);
                let copies = self.network.reply_copies(counter, bytes);
                if copies.is_empty() {
                    self.trace.note(leaves, What::Lost { counter });
                }
                for (delay, bytes, is_genuine) in copies {
                    let clock_error_ms = clock.0 - leaves.0;
                    let what = Delivered::Reply { bytes, is_genuine, clock_error_ms };
                    self.deliver(after(leaves, delay), Delivery { counter, what });
                }
                return;
            }
            Answer::Busy { retry_after_s } => Delivered::Busy { retry_after_s },
            Answer::Refused(status) => {
                if copy.is_intact && copy.is_first && status != 409 {
                    let detail = format!("message {counter} was answered {status}");
                    self.violate(leaves, Invariant::IntactIsTaken, detail);
                }
                Delivered::Refused(status)
            }
            Answer::Nothing => Delivered::Unreachable,
        };
        if copy.is_first {
            let delay = self.network.delay();
            self.deliver(after(leaves, delay), Delivery { counter, what });
        }
    }

    /// The server replies in the order in which it takes messages, but for those that came together.
    fn check_reply_order(&mut self, leaves: UnixMs, counter: Counter) {
        if let Some((at, newest)) = self.replied
            && at < leaves
        {
            self.replied_before = self.replied_before.max(Some(newest));
        }
        if let Some(newer) = self.replied_before.filter(|newer| counter < *newer) {
            let detail = format!("message {counter} got a reply after {newer} had got one");
            self.violate(leaves, Invariant::OldIsRefused, detail);
        }
        let newest = self.replied.map_or(counter, |(_, newest)| newest.max(counter));
        self.replied = Some((leaves, newest));
    }

    /// The server has just started and holds these batches, ascending.
    pub(crate) fn audit(&mut self, at: UnixMs, stored: &[BatchId]) {
        for id in self.truth.unkept(stored, &self.given) {
            let detail = format!("batch {id} was acknowledged and is gone after a restart");
            self.violate(at, Invariant::AcknowledgedIsStored, detail);
        }
    }

    /// Acknowledged batches that the store has not at the end; `stored` ascends.
    pub(crate) fn unkept(&self, stored: &[BatchId]) -> Vec<BatchId> {
        self.truth.unkept(stored, &self.given)
    }

    pub(crate) fn violate(&mut self, at: UnixMs, invariant: Invariant, detail: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation {
                invariant,
                at_ms: at.0,
                device: Some(self.kid.device.to_string()),
                detail,
                trace: self.trace.lines(),
            });
        }
    }

    fn deliver(&mut self, at: UnixMs, delivery: Delivery) {
        self.serial += 1;
        self.inbox.insert((at, self.serial), delivery);
    }

    fn next_event(&self) -> UnixMs {
        let own = match &self.life {
            Life::Off { until } => *until,
            Life::On(running) => {
                let timer = running.clock.true_time(running.node.poll_at());
                let given_up = running.sent.map_or(FAR, |(_, at)| at);
                let answers = self.lines.iter().filter_map(Line::answer_at).min();
                let flush = if running.is_stopping { FAR } else { self.scenario.flush_at() };
                let end = self.scenario.end();
                timer.min(given_up).min(answers.unwrap_or(FAR)).min(flush).min(end)
            }
            Life::Ended => FAR,
        };
        let delivery = self.inbox.keys().next().map_or(FAR, |(at, _)| *at);
        let relief = self.reliefs.keys().next().map_or(FAR, |(at, _)| *at);
        let shared = self.shared.get(self.next_shared).map_or(FAR, |trouble| trouble.from);
        let calm = if self.is_calm { FAR } else { self.scenario.calm_at() };
        let event = own.min(delivery).min(relief).min(shared).min(self.trouble_at).min(calm);
        // A timer may be due since before the last event.
        event.max(self.horizon)
    }

    fn happen(&mut self, now: UnixMs, out: &mut Vec<Message>) {
        if now >= self.scenario.calm_at() && !self.is_calm {
            self.calm(now);
        }
        while let Some(entry) = self.reliefs.first_entry()
            && entry.key().0 <= now
        {
            let relief = entry.remove();
            self.relieve(now, relief);
        }
        if self.shared.get(self.next_shared).is_some_and(|trouble| trouble.from <= now) {
            self.share(now);
        }
        if self.trouble_at <= now {
            self.trouble(now);
        }
        while let Some(entry) = self.inbox.first_entry()
            && entry.key().0 <= now
        {
            let delivery = entry.remove();
            self.receive(now, delivery);
        }
        match &mut self.life {
            Life::Off { until } if *until <= now => self.start(now),
            Life::Off { .. } | Life::Ended => return,
            Life::On(running) => {
                if let Some((counter, at)) = running.sent
                    && at <= now
                {
                    running.sent = None;
                    let mono = running.clock.mono(now);
                    running.node.handle_link_failure(mono, LinkFailure::Unreachable);
                    self.trace.note(now, What::Failed { counter });
                }
            }
        }
        self.answer_reads(now);
        self.act(now, out);
        if now >= self.scenario.flush_at() {
            self.wind_up(now, out);
        }
    }

    /// Sampling ends and everything is flushed; later the device stops for good.
    fn wind_up(&mut self, now: UnixMs, out: &mut Vec<Message>) {
        let Life::On(running) = &mut self.life else { return };
        if !running.is_stopping {
            running.is_stopping = true;
            running.node.flush(running.clock.mono(now));
            self.act(now, out);
            return;
        }
        if now < self.scenario.end() {
            return;
        }
        let report = running.node.report();
        let buffered = running.node.core().buffered();
        if report.batches > 0 || buffered > 0 {
            let detail = format!(
                "{} batches and {buffered} samples are still on the device",
                report.batches
            );
            self.violate(now, Invariant::Delivered, detail);
        }
        self.life = Life::Ended;
        self.trace.note(now, What::Stopped);
    }

    fn start(&mut self, now: UnixMs) {
        if self.disk.is_off() {
            self.disk.restart();
        }
        // The power may go again while it recovers.
        if !self.is_calm && self.random.happens(100_000) {
            let operations = self.random.between(1, 30);
            self.disk.cut_after(operations);
        }
        let clock = DeviceClock::at_boot(now, &mut self.random, self.rates);
        match clock.system_error_ms() {
            None => self.counts.clocks_unset += 1,
            Some(error) => self.counts.clocks_wrong += u64::from(error.abs() > 10_000),
        }
        let config = NodeConfig {
            spool_bytes: self.spool_bytes,
            message_bytes: MESSAGE_BYTES,
            upload_interval: self.scenario.upload_interval,
            order: self.order,
            seed: u32::try_from(self.random.below(u64::from(u32::MAX))).unwrap_or(1),
            start_tolerance: ecowatt_device::limits::START_TOLERANCE,
            firmware: "ecowatt-fleet",
        };
        let started = Ledger::open(self.disk.clone())
            .map_err(StorageError::from)
            .map_err(StartError::from)
            .and_then(|ledger| {
                let setups = self.setups.clone();
                let at = || (clock.mono(now), Some(clock.system(now)));
                DeviceNode::start(&config, ledger, self.disk.clone(), setups, at)
            });
        let mut node = match started {
            Ok(node) => node,
            Err(_) if self.disk.is_off() => {
                self.counts.power_cuts_in_recovery += 1;
                self.go_off(now, true);
                return;
            }
            Err(StartError::Storage(StorageError::Ledger(LedgerError::Damaged))) => {
                let detail = "both copies of the ledger are damaged".to_owned();
                self.violate(now, Invariant::DeviceStarts, detail);
                self.life = Life::Ended;
                return;
            }
            Err(error) => {
                if self.is_calm {
                    self.violate(now, Invariant::DeviceStarts, format!("{error:?}"));
                    self.give_up();
                    return;
                }
                self.life = Life::Off { until: after(now, SUPERVISOR_PAUSE_MS) };
                return;
            }
        };
        self.counts.starts += 1;
        // Recovery may have finished a removal.
        self.dropped_batches = node.report().dropped_batches;
        let epoch = node.epoch();
        let recovered = self.take_recovered(&mut node);
        let clock_error_ms = clock.system_error_ms();
        self.trace.note(now, What::Started { epoch, recovered, clock_error_ms });
        if self.given.keys().next_back().is_some_and(|last| *last >= epoch.0) {
            let detail = format!("epoch {epoch} begins a second time");
            self.violate(now, Invariant::BatchNamedOnce, detail);
        }
        self.given.insert(epoch.0, 0);
        // Where a disk failed, neither a removal nor its note may have outlasted the cut: then what was
        // to be dropped is there again.
        self.dropped_to = None;
        self.truth.born(epoch.0, clock.birth());
        self.life =
            Life::On(Box::new(Running { node, epoch, clock, sent: None, is_stopping: false }));
    }

    /// Batches that recovery made are of earlier epochs and stand in the spool.
    fn take_recovered(&mut self, node: &mut DeviceNode) -> u64 {
        let mut samples = 0;
        for batch in node.take_recovered() {
            samples += u64::from(batch.rows);
            self.note_recovered(&batch);
        }
        samples
    }

    fn note_recovered(&mut self, batch: &Recovered) {
        let Recovered { id, source, rows, last_ordinal, .. } = *batch;
        let last = self.given.entry(id.epoch.0).or_default();
        *last = (*last).max(id.sequence.0);
        self.truth.batched(id, source, ordinals(last_ordinal, rows));
        self.counts.recovered_samples += u64::from(rows);
    }

    fn receive(&mut self, now: UnixMs, delivery: Delivery) {
        let Life::On(running) = &mut self.life else { return };
        let mono = running.clock.mono(now);
        let Delivery { counter, what } = delivery;
        let is_awaited = running.sent.is_some_and(|(sent, _)| sent == counter);
        let failure = match what {
            Delivered::Reply { bytes, is_genuine, clock_error_ms } => {
                self.trace.note_bytes(&bytes);
                match running.node.handle_reply(&bytes, || mono) {
                    Ok(freed) => {
                        let sent = running.sent.take();
                        if let Some((_, until)) = sent {
                            self.check_clock(now, until, clock_error_ms);
                        }
                        self.trace.note(now, What::Answered { counter, accepted: true });
                        if !is_genuine || !is_awaited {
                            let detail =
                                format!("a reply was accepted that is not the one to {counter}");
                            self.violate(now, Invariant::ReplyIsBound, detail);
                        }
                        if freed.drops_known > 0 {
                            self.told.drain(..).for_each(|gap| self.truth.dropped(gap));
                        }
                        for (first, last) in freed.ranges {
                            self.trace.note(now, What::Acknowledged { first, last });
                            self.truth.acknowledged(first, last);
                            self.offered.retain(|id| !(first <= *id && *id <= last));
                        }
                        return;
                    }
                    Err(_) => {
                        // Whatever comes over its connection ends the exchange.
                        running.sent = None;
                        self.counts.foreign_replies_refused += 1;
                        self.trace.note(now, What::Answered { counter, accepted: false });
                        if is_genuine && is_awaited {
                            let detail = format!("the reply to {counter} was refused");
                            self.violate(now, Invariant::ReplyIsBound, detail);
                        }
                        return;
                    }
                }
            }
            Delivered::Busy { retry_after_s } => {
                LinkFailure::Busy { retry_after: Some(Duration::from_secs(retry_after_s)) }
            }
            Delivered::Refused(status) => LinkFailure::Refused { status },
            Delivered::Unreachable => LinkFailure::Unreachable,
        };
        // What comes late or unasked is no failure of the message under way.
        if is_awaited {
            running.sent = None;
            running.node.handle_link_failure(mono, failure);
            self.trace.note(now, What::Failed { counter });
        }
    }

    /// The server's time has come with a reply. The device cannot know when on the way of message and
    /// reply it was read, and leaves small deviations alone.
    fn check_clock(&mut self, now: UnixMs, until: UnixMs, server_error_ms: i64) {
        let Life::On(running) = &self.life else { return };
        let taken_ms = EXCHANGE_TIMEOUT_MS.saturating_sub(until.0.abs_diff(now.0));
        let tolerated = u64::try_from(CLOCK_STEP_MIN.as_millis()).unwrap_or(0) + 2 * taken_ms;
        let shown = running.node.core().wall().unix(running.clock.mono(now));
        let error_ms = shown.map(|shown| shown.0 - now.0 - server_error_ms);
        if error_ms.is_none_or(|error| error.unsigned_abs() > tolerated) {
            let detail = format!("clock is off by {error_ms:?} ms after {taken_ms} ms for a reply");
            self.violate(now, Invariant::ClockFollows, detail);
        }
    }

    fn answer_reads(&mut self, now: UnixMs) {
        let Life::On(running) = &mut self.life else { return };
        for line in &mut self.lines {
            if line.answer_at().is_some_and(|at| at <= now) {
                let at = running.clock.mono(now);
                line.answer(at, &mut running.node);
            }
        }
    }

    /// Carries out all that the node wants at present.
    fn act(&mut self, now: UnixMs, out: &mut Vec<Message>) {
        loop {
            let Life::On(running) = &mut self.life else { return };
            let mono = running.clock.mono(now);
            while let Some(event) = running.node.poll_event() {
                if let Event::BatchRefused { id, reason } = event {
                    let detail = format!("batch {id} was refused: {reason:?}");
                    self.violations.push(Violation {
                        invariant: Invariant::IntactIsTaken,
                        at_ms: now.0,
                        device: Some(self.kid.device.to_string()),
                        detail,
                        trace: self.trace.lines(),
                    });
                }
                if let Some(name) = name_of(&event) {
                    self.trace.note(now, What::Core(name));
                }
            }
            let work = match running.node.poll(mono) {
                None => return,
                Some(Next::Work(work)) => work,
                Some(Next::Read { source, read, timeout }) => {
                    let line = self.lines.iter_mut().find(|line| line.number() == source);
                    if let Some(line) = line
                        && !running.is_stopping
                    {
                        line.ask(read, timeout, now, &running.clock);
                    }
                    continue;
                }
            };
            let done = running.node.carry_out(work, || mono);
            // What the disk said counts even if the power goes right after.
            self.record(now, mono, done, out);
            if self.disk.is_off() {
                self.counts.power_cuts_at_step += 1;
                self.go_off(now, true);
                return;
            }
        }
    }

    /// Checks what the node did.
    fn record(&mut self, now: UnixMs, mono: MonoMs, done: Done, out: &mut Vec<Message>) {
        match done {
            Done::Drafted { source, result } => {
                self.record_sample(now, mono, source, result.is_ok())
            }
            Done::Persisted { batch, result } => {
                let (id, rows, is_durable) = (batch.id, batch.rows, result.is_ok());
                self.trace.note(now, What::Persisted { id, rows, is_durable });
                let Life::On(running) = &mut self.life else { return };
                running.node.take_recovered().iter().for_each(|batch| self.note_recovered(batch));
                let (first, _) = ordinals(batch.last_ordinal, rows);
                self.truth.batched(id, batch.source, (first, batch.last_ordinal));
                if is_durable {
                    self.counts.batches += 1;
                    self.truth.durable(id.epoch.0, batch.source, first, batch.last_ordinal);
                    let last = self.given.entry(id.epoch.0).or_default();
                    if id.sequence.0 <= *last {
                        let detail = format!("batch {id} is named like one before it");
                        self.violate(now, Invariant::BatchNamedOnce, detail);
                    } else {
                        *last = id.sequence.0;
                    }
                }
                self.check_spool(now);
            }
            Done::Reserved { limit, result } => {
                self.trace.note(now, What::Reserved { limit, is_durable: result.is_ok() });
            }
            Done::Composed { message, .. } => {
                let AgentMessage { request, batches, dropped, bytes, .. } = message;
                self.told.clone_from(&dropped);
                for gap in dropped {
                    self.trace.note(now, What::Dropped(gap));
                    self.dropped_to = self.dropped_to.max(Some(gap.last));
                }
                self.check_oldest_dropped(now, &batches);
                self.send(now, request.counter, bytes, &batches, out);
            }
            Done::NotCut(_) | Done::NotComposed { .. } => {}
        }
    }

    fn record_sample(&mut self, now: UnixMs, mono: MonoMs, source: SourceNumber, is_durable: bool) {
        let Life::On(running) = &self.life else { return };
        let Some(sample) = running.node.newest(source) else { return };
        let (ordinal, t_ms) = (sample.ordinal, sample.t_ms);
        self.trace.note(now, What::Sampled { ordinal, t_ms, is_durable });
        let wall = running.node.core().wall().unix(mono);
        let epoch = running.epoch;
        let Some(line) = self.lines.iter_mut().find(|line| line.number() == source) else { return };
        let checked = line.check(&sample, mono, wall);
        let expected = self.truth.taken(&cycle::row(epoch, &sample));
        if is_durable {
            self.truth.durable(epoch.0, source, ordinal, ordinal);
        } else {
            self.counts.not_durable += 1;
        }
        if let Err((invariant, detail)) = checked {
            self.violate(now, invariant, detail);
        }
        if ordinal != expected {
            let detail = format!("sample {ordinal} comes where {expected} is due");
            self.violate(now, Invariant::NothingDoubled, detail);
        }
    }

    fn send(
        &mut self,
        now: UnixMs,
        counter: Counter,
        bytes: Vec<u8>,
        batches: &[BatchId],
        out: &mut Vec<Message>,
    ) {
        self.counts.messages += 1;
        self.counts.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        self.trace.note(now, What::Sent { counter, batches: batches.len(), bytes: bytes.len() });
        self.trace.note_bytes(&bytes);
        if self.counter_last.is_some_and(|last| counter <= last) {
            let detail = format!("counter {counter} seals a second message");
            self.violate(now, Invariant::CounterUsedOnce, detail);
        }
        self.counter_last = self.counter_last.max(Some(counter));
        if bytes.len() > MESSAGE_BYTES.min(MESSAGE_MAX) {
            let detail = format!("message of {} bytes", bytes.len());
            self.violate(now, Invariant::MemoryWithinLimit, detail);
        }
        for id in batches {
            self.counts.resent += u64::from(!self.offered.insert(*id));
        }
        let Life::On(running) = &mut self.life else { return };
        running.sent = Some((counter, after(now, EXCHANGE_TIMEOUT_MS)));
        if now < self.partition_until {
            self.network.counts.partitioned += 1;
            let what = Delivered::Unreachable;
            self.deliver(after(now, REFUSED_AFTER_MS), Delivery { counter, what });
            return;
        }
        let copies = self.network.copies(bytes);
        if copies.is_empty() {
            self.trace.note(now, What::Lost { counter });
        }
        let mut is_first = true;
        for (delay, bytes, is_intact) in copies {
            self.serial += 1;
            let (serial, arrives) = (self.serial, after(now, delay));
            self.in_flight.insert(serial, InFlight { arrives, counter, is_first, is_intact });
            out.push(Message { arrives, device: self.index, serial, bytes });
            is_first = false;
        }
    }

    fn check_spool(&mut self, now: UnixMs) {
        let Life::On(running) = &self.life else { return };
        let report = running.node.report();
        let memory = running.node.memory_bytes();
        let memory_max = DeviceNode::memory_bytes_max(self.spool_bytes, self.lines.len());
        self.counts.backlog_max = self.counts.backlog_max.max(report.batches);
        self.counts.memory_max_bytes =
            self.counts.memory_max_bytes.max(u64::try_from(memory).unwrap_or(u64::MAX));
        if report.bytes > self.spool_bytes {
            let detail = format!("spool holds {} of {} bytes", report.bytes, self.spool_bytes);
            self.violate(now, Invariant::SpoolWithinLimit, detail);
        }
        // A drop makes room for one batch: a quarter of the limit at most, as is a segment.
        let was_full = report.bytes >= self.spool_bytes / 2;
        if report.dropped_batches > self.dropped_batches && !was_full {
            let (bytes, limit) = (report.bytes, self.spool_bytes);
            let detail = format!("batches were dropped to have {bytes} of {limit} bytes in use");
            self.violate(now, Invariant::OldestDroppedFirst, detail);
        }
        self.dropped_batches = report.dropped_batches;
        if memory > memory_max {
            let detail = format!("node holds {memory} bytes, {memory_max} at most");
            self.violate(now, Invariant::MemoryWithinLimit, detail);
        }
    }

    /// Nothing that is older than a dropped batch waits any more.
    fn check_oldest_dropped(&mut self, now: UnixMs, offered: &[BatchId]) {
        let Some(dropped) = self.dropped_to else { return };
        if let Some(older) = offered.iter().find(|id| **id <= dropped) {
            let detail = format!("batch {older} waits, and batches up to {dropped} were dropped");
            self.violate(now, Invariant::OldestDroppedFirst, detail);
        }
    }

    /// Cuts what is buffered, as far as the disk plays along.
    fn persist_all(&mut self, now: UnixMs) {
        let Life::On(running) = &mut self.life else { return };
        running.node.flush(running.clock.mono(now));
        let mut unsent = Vec::new();
        // A message that comes about here is lost with the connection.
        self.act(now, &mut unsent);
        for message in unsent {
            self.in_flight.remove(&message.serial);
        }
    }

    fn go_off(&mut self, now: UnixMs, is_at_step: bool) {
        let away = match self.random.below(10) {
            0 => self.random.waiting_ms(6 * 3_600_000),
            1..=3 => self.random.waiting_ms(20 * 60_000),
            _ => self.random.waiting_ms(20_000),
        };
        let until = after(now, away);
        let until = if now < self.scenario.calm_at() {
            until.min(self.scenario.calm_at())
        } else {
            after(now, 1_000)
        };
        self.turn_off(now, until, is_at_step);
    }

    fn turn_off(&mut self, now: UnixMs, until: UnixMs, is_at_step: bool) {
        if !self.disk.is_off() {
            self.disk.cut();
        }
        self.counts.power_cuts += 1;
        self.life = Life::Off { until };
        for line in &mut self.lines {
            line.drop_exchange();
        }
        self.trace.note(now, What::PowerCut { is_at_step });
    }
}

/// Whether the device with this index has little room for a backlog, much to put there, and long
/// outages: its spool is full now and then. A few are enough; they sample more often than is asked.
fn has_small_spool(index: u32) -> bool {
    index % 8 == 2 && index < SMALL_SPOOLS_BELOW
}

/// How many inverters the device with this index has: every eighth has two.
pub(crate) fn sources_of(index: u32) -> u8 {
    if index % 8 == 5 { 2 } else { 1 }
}

/// First and last sample of so many up to the last.
fn ordinals(last: u32, rows: u16) -> (u32, u32) {
    ((last + 1).saturating_sub(u32::from(rows)), last)
}

fn enrol(disk: &Disk, kid: Kid, key: &DeviceKey) {
    let mut ledger = Ledger::open(disk.clone()).expect("a new disk works");
    let mut record = ledger.record().clone();
    record.reserved = 1;
    record.identity = Some(Identity {
        device: kid.device.0,
        key_generation: kid.generation.0,
        claim_id: "00000".to_owned(),
        key: key.expose().to_vec(),
    });
    ledger.store(record).expect("a new disk works");
}

fn name_of(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Source { .. } => "inverter's state changes",
        Event::Quarantined { .. } => "registers are left out",
        Event::Released { .. } => "registers can be read again",
        Event::SampleDropped { .. } => "a sample is lost, the buffer is full",
        Event::SampleNotDrafted { .. } => "a sample is in memory alone",
        Event::BatchNotPersisted { .. } => "a batch waits for storage",
        Event::StorageRecovered => "storage works again",
        Event::ClockSet => "clock is set",
        Event::ClockStepped { .. } => "clock is stepped",
        Event::LinkLost { .. } => "link is lost",
        Event::LinkRestored { .. } => "link is back",
        Event::BatchRefused { .. } => "a batch is refused",
    })
}

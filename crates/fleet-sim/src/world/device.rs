//! One device in virtual time: the real node on a simulated disk, with its inverters, clock, power
//! and network.
//!
//! A device runs ahead of the others until the next event may depend on an answer that it does not
//! have; [`Device::horizon`] is that instant. Nothing it does depends on how far the others are.

mod checks;
mod clock;
mod counts;
mod exchange;
mod inverter;
mod medium;
mod power;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ecowatt_device::limits::MESSAGE_BYTES_MIN;
use ecowatt_device::{Event, LinkFailure};
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys};
use ecowatt_model::{BatchId, BootEpoch, CommandId, Counter, SourceNumber, UnixMs};
use ecowatt_node::storage::{SPOOL_BYTES_MIN, SendOrder};
use ecowatt_node::{Node, NodeAction, SourceSetup};

use crate::faults::outage::Outage;
use crate::faults::weights::Weights;
use crate::judges::commands::OwnTime;
use crate::judges::device::{DeviceJudge, Judged, Obeyed};
use crate::judges::promises::Invariant;
use crate::plant::Plants;
use crate::random::Random;
use crate::scenario::{FaultLevel, START, Scenario};
use crate::streams;
use crate::time::{FAR, after};
use crate::trace::{Trace, What};
use crate::world::disk::Disk;
use crate::world::network::{Delivery, Message, Network, NetworkCounts, Response};
use clock::DeviceClock;
pub use counts::DeviceCounts;
use exchange::InFlight;
use inverter::{CommandWords, Line};
use medium::Medium;
use trouble::Relief;

/// Most registers of one inverter; SunSpec inverters have the most.
const COLUMNS: usize = ecowatt_model::COLUMNS_MAX;
/// Room for samples not yet in a batch: half an hour at 5 s, less than two of the largest batches.
const ROWS: usize = 400;

/// The product's node on a simulated disk.
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
    /// It waits for an answer of the server.
    Waits,
    Ended,
}

/// The state of a device that is on.
struct Running {
    node: DeviceNode,
    epoch: BootEpoch,
    clock: DeviceClock,
    /// The current message, and when the shell gives up on it.
    sent: Option<(Counter, UnixMs)>,
    is_stopping: bool,
    /// A command asks for the end of the epoch; the shell gives up on messages then.
    ends_at: Option<UnixMs>,
}

impl Running {
    /// Whether the epoch that a command ends is over: as in the agent, what it has is sent first.
    fn has_settled_up(&self, now: UnixMs) -> bool {
        let is_sending = self.node.report().batches > 0 && self.node.core().is_healthy();
        let is_done = self.sent.is_none() && !is_sending;
        self.ends_at.is_some_and(|at| is_done || at <= now)
    }

    /// Returns the time that the device goes by.
    fn own_time(&self, now: UnixMs) -> OwnTime {
        let wall_clock = self.node.core().wall_clock();
        let shown = wall_clock.unix(self.clock.mono(now));
        let confirmed = shown.filter(|_| wall_clock.is_confirmed());
        OwnTime { epoch: self.epoch, confirmed }
    }
}

pub(crate) struct Device {
    index: u32,
    scenario: Scenario,
    weights: Arc<Weights>,
    random: Random,
    disk: Disk,
    medium: Medium,
    /// Draws when inverters ignore writes, if there are any.
    ignored_writes: Option<Random>,
    lines: Vec<Line>,
    setups: Vec<SourceSetup>,
    spool_bytes: u64,
    /// Longest message, in bytes.
    message_bytes: usize,
    order: SendOrder,
    network: Network,
    life: Life,
    horizon: UnixMs,
    trouble_at: UnixMs,
    reliefs: BTreeMap<(UnixMs, u32), Relief>,
    next_relief: u32,
    shared: Arc<Vec<Outage>>,
    next_shared: usize,
    partition_until: UnixMs,
    is_calm: bool,
    inbox: BTreeMap<(UnixMs, u64), Delivery>,
    in_flight: BTreeMap<u64, InFlight>,
    responses: BTreeMap<u64, Response>,
    serial: u64,
    /// Batches that were sent and not acknowledged.
    offered: BTreeSet<BatchId>,
    pub(crate) judge: DeviceJudge,
    pub(crate) counts: DeviceCounts,
}

/// Longest message, in bytes, except on devices with small messages.
const MESSAGE_BYTES: usize = 16 * 1024;
/// The agent's longest wait for connection, request and reply together.
const EXCHANGE_TIMEOUT_MS: u64 = 20_000;
/// The agent's longest wait for messages before it stops.
const SETTLE_UP_MAX_MS: u64 = 5_000;
/// Longest sampling interval of devices with small messages.
const SMALL_MESSAGES_INTERVAL: Duration = Duration::from_secs(20);
/// Longest sampling interval of devices with a small spool.
const SMALL_SPOOL_INTERVAL: Duration = Duration::from_secs(8);
/// Devices with this index or a higher one have normal spools and messages.
const SMALL_BELOW: u32 = 16;

impl Device {
    /// Returns a device that is enrolled and has never run.
    pub(crate) fn new(
        scenario: Scenario,
        index: u32,
        plants: &Plants,
        weights: &Arc<Weights>,
        shared: Arc<Vec<Outage>>,
        (kid, key): &(KeyId, DeviceKey),
    ) -> Self {
        let mut random = Random::new(scenario.seed, u64::from(index));
        let disk_seed = random.draw();
        let disk = Disk::new(disk_seed).garbling(disk_seed).weighted(weights);
        power::enrol(&disk, *kid, key);
        let lines: Vec<Line> = (0..sources_of(index))
            .map(|source| Line::new(plants, &mut random, SourceNumber(source), weights))
            .collect();
        // Every third device sends the newest batch first.
        let has_small_spool = has_small_spool(index);
        let has_small_messages = has_small_messages(index);
        let interval = match (has_small_spool, has_small_messages) {
            (true, _) => scenario.sample_interval.min(SMALL_SPOOL_INTERVAL),
            (_, true) => scenario.sample_interval.min(SMALL_MESSAGES_INTERVAL),
            (false, false) => scenario.sample_interval,
        };
        let setups =
            lines.iter().map(|line| line.setup(plants.of(line.judged().plant), interval)).collect();
        let network = Random::new(random.draw(), 1);
        let network = Network::new(network, scenario.latency_min_ms(), Arc::clone(weights));
        let spool_bytes = if has_small_spool { SPOOL_BYTES_MIN } else { 8 << 20 };
        let order = if index % 3 == 1 {
            SendOrder::BacklogNewestFirst
        } else {
            SendOrder::BacklogOldestFirst
        };
        let first_start = after(START, random.below(60_000));
        let message_bytes = if has_small_messages { MESSAGE_BYTES_MIN } else { MESSAGE_BYTES };
        let judged = Judged {
            device: kid.device,
            keys: LinkKeys::derive(key, *kid),
            has_bad_medium: medium::is_bad(index),
            spool_bytes,
            memory_bytes_max: DeviceNode::memory_bytes_max(spool_bytes, lines.len()),
            message_bytes_max: message_bytes,
            sources: lines.iter().map(Line::judged).collect(),
            is_commanded: scenario.commands_every.is_some(),
        };
        let is_traced = scenario.traced == Some(kid.device);
        let trace = if is_traced { Trace::whole() } else { Trace::default() };
        let mut device = Self {
            index,
            scenario,
            weights: Arc::clone(weights),
            trouble_at: FAR,
            random,
            disk,
            medium: Medium::new(scenario.seed, index, weights, first_start),
            ignored_writes: scenario
                .commands_every
                .map(|_| Random::new(scenario.seed, streams::IGNORED_WRITES + u64::from(index))),
            lines,
            setups,
            spool_bytes,
            message_bytes,
            order,
            network,
            life: Life::Off { until: first_start },
            horizon: START,
            reliefs: BTreeMap::new(),
            next_relief: 0,
            shared,
            next_shared: 0,
            partition_until: START,
            is_calm: scenario.faults == FaultLevel::None,
            inbox: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            responses: BTreeMap::new(),
            serial: 0,
            offered: BTreeSet::new(),
            judge: DeviceJudge::new(judged, trace),
            counts: DeviceCounts::default(),
        };
        device.trouble_at = device.next_trouble(START);
        device
    }

    /// Returns the instant up to which the device has run.
    pub(crate) fn horizon(&self) -> UnixMs {
        self.horizon
    }

    /// Ends the device in its current state.
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

    /// Runs up to `until`, or until a missing answer may matter, or to its end.
    pub(crate) fn advance(&mut self, until: UnixMs, out: &mut Vec<Message>) -> Standing {
        while !self.has_ended() {
            let at = self.next_event();
            // An answer leaves when its message has arrived, and takes at least the shortest way.
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

    fn next_event(&self) -> UnixMs {
        let own = match &self.life {
            Life::Off { until } => *until,
            Life::On(running) => {
                let timer = running.clock.true_time(running.node.poll_at());
                let given_up = running.sent.map_or(FAR, |(_, at)| at);
                let given_up = given_up.min(running.ends_at.unwrap_or(FAR));
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
        let trouble = self.trouble_at.min(self.medium.fails_at);
        let event = own.min(delivery).min(relief).min(shared).min(trouble).min(calm);
        // A timer may have been due before the last event.
        event.max(self.horizon)
    }

    fn happen(&mut self, now: UnixMs, out: &mut Vec<Message>) {
        // Ends of troubles come before new ones, and both before deliveries, so that what arrives
        // at an instant meets the world of that instant.
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
        if self.medium.fails_at <= now {
            self.fail_medium(now);
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
                    self.judge.trace.note(now, What::Failed { counter });
                }
            }
        }
        self.answer_reads(now);
        self.act(now, out);
        if matches!(&self.life, Life::On(running) if running.has_settled_up(now)) {
            self.restart_in_order(now);
        }
        if now >= self.scenario.flush_at() {
            self.wind_up(now, out);
        }
    }

    fn note_events(&mut self, now: UnixMs) {
        while let Life::On(running) = &mut self.life
            && let Some(event) = running.node.poll_event()
        {
            if let Event::BatchRefused { id, reason } = event {
                let detail = format!("batch {id} was refused: {reason:?}");
                self.judge.violate(now, Invariant::IntactIsTaken, detail);
            }
            if let Event::Command { id, state, .. } = event {
                let time = running.own_time(now);
                self.judge.trace.note(now, What::Command { id, state });
                self.judge.obeyed(now, Obeyed::Moved(id, state), time);
                self.judge_limits(now, id);
            } else if let Some(name) = name_of(&event) {
                self.judge.trace.note(now, What::Core(name));
            }
        }
    }

    /// Notes what the device did for commands before the power failed; no shell sees its other events.
    fn note_commands(&mut self, now: UnixMs) {
        while let Life::On(running) = &mut self.life
            && let Some(event) = running.node.poll_event()
        {
            if let Event::Command { id, state, .. } = event {
                let time = running.own_time(now);
                self.judge.obeyed(now, Obeyed::Moved(id, state), time);
            }
        }
    }

    /// Shows the judge the limits that the inverters have, after a command has moved on.
    fn judge_limits(&mut self, now: UnixMs, id: CommandId) {
        for line in &mut self.lines {
            if let Some(limit) = line.limit(now) {
                self.judge.limited(now, id, line.number(), limit);
            }
        }
    }

    fn answer_reads(&mut self, now: UnixMs) {
        let Life::On(running) = &mut self.life else { return };
        for line in &mut self.lines {
            if line.answer_at().is_some_and(|at| at <= now) {
                let at = running.clock.mono(now);
                if let Some(CommandWords { id, words, are_present }) =
                    line.answer(at, &mut running.node)
                    && let Some(commands) = &mut self.judge.commands
                {
                    commands.read(id, &words, are_present);
                }
            }
        }
    }

    /// Carries out everything that the node asks for.
    fn act(&mut self, now: UnixMs, out: &mut Vec<Message>) {
        loop {
            self.note_events(now);
            let Life::On(running) = &mut self.life else { return };
            let mono = running.clock.mono(now);
            running.node.handle_clock(mono, running.clock.system(now));
            let work = match running.node.poll(mono) {
                None => return,
                Some(NodeAction::Work(work)) => work,
                Some(NodeAction::Read { source, read, timeout }) => {
                    let line = self.lines.iter_mut().find(|line| line.number() == source);
                    if let Some(line) = line
                        && !running.is_stopping
                        && running.ends_at.is_none()
                    {
                        let command = running.node.core().commanded(source);
                        line.ask(read, timeout, command, now, &running.clock);
                        if let Some(id) = command {
                            let time = running.own_time(now);
                            self.judge.obeyed(now, Obeyed::Asked(id), time);
                        }
                    }
                    continue;
                }
                Some(NodeAction::End(_)) => {
                    let id = running.node.core().ending();
                    let time = running.own_time(now);
                    self.judge.obeyed(now, Obeyed::Ending(id), time);
                    running.ends_at = Some(after(now, SETTLE_UP_MAX_MS));
                    running.node.refuse_commands();
                    running.node.flush(mono);
                    continue;
                }
                Some(NodeAction::Write { source, write, timeout }) => {
                    let line = self.lines.iter_mut().find(|line| line.number() == source);
                    let id = running.node.core().commanded(source);
                    if let Some(line) = line
                        && !running.is_stopping
                        && running.ends_at.is_none()
                    {
                        line.write(write, timeout, id, now, &running.clock);
                        let time = running.own_time(now);
                        self.judge.obeyed(now, Obeyed::Written(id), time);
                    }
                    continue;
                }
            };
            let done = running.node.carry_out(work, || mono);
            // The disk's results count even if the power fails right after.
            self.record(now, mono, done, out);
            if self.disk.is_off() {
                self.note_commands(now);
                self.counts.power_cuts_at_step += 1;
                self.go_off(now, true);
                return;
            }
        }
    }
}

/// Whether the device with this index has a small spool, many samples and long outages, so that its
/// spool is sometimes full. A few are enough; they sample more often than the scenario asks.
fn has_small_spool(index: u32) -> bool {
    index % 8 == 2 && index < SMALL_BELOW
}

/// Whether the device with this index builds the smallest allowed messages, as a microcontroller
/// does, so that its backlogs fill many.
fn has_small_messages(index: u32) -> bool {
    index % 8 == 7 && index < SMALL_BELOW
}

/// Whether the device with this index often has long outages of its network.
fn is_cut_off_for_long(index: u32) -> bool {
    has_small_spool(index) || has_small_messages(index)
}

/// Whether the device with this index has no battery for its clock, and a modem that starts slowly.
fn has_no_battery(index: u32) -> bool {
    index % 8 == 6
}

/// Returns how many inverters the device with this index has: every eighth has two.
pub(crate) fn sources_of(index: u32) -> u8 {
    if index % 8 == 5 { 2 } else { 1 }
}

fn name_of(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Source { .. } => "inverter's state changes",
        Event::Quarantined { .. } => "registers are left out",
        Event::Released { .. } => "registers can be read again",
        Event::ReadsShortened { .. } => "reads are split from here on",
        Event::ModelsMoved { .. } => "models are not where they were",
        Event::SampleDropped { .. } => "a sample is lost, the buffer is full",
        Event::SampleNotDrafted { .. } => "a sample is in memory alone",
        Event::BatchNotPersisted { .. } => "a batch waits for storage",
        Event::StorageRecovered => "storage works again",
        Event::Settings { .. } => "settings change",
        Event::Limit { .. } => "limit",
        Event::ClockSet => "clock is set",
        Event::ClockStepped { .. } => "clock is stepped",
        Event::LinkLost { .. } => "link is lost",
        Event::LinkRestored { .. } => "link is back",
        Event::BatchRefused { .. } => "a batch is refused",
        // It has a line of its own.
        Event::Command { .. } => return None,
    })
}

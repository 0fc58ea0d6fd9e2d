//! The judge of one device: what the device did so far, and what must hold from then on.
//!
//! The device reports each of its actions here and takes nothing from here back, so that no
//! judgement changes a run.

use std::collections::BTreeMap;

use ecowatt_device::limits::CLOCK_STEP_MIN;
use ecowatt_envelope::LinkKeys;
use ecowatt_model::{BatchId, BootEpoch, CommandId, Counter, DeviceNumber, SourceNumber, UnixMs};
use ecowatt_node::storage::Dropped;
use ecowatt_wire::{CommandState, SourceState};

use super::commands::{Broken, Commands, OwnTime};
use super::limit::{HeldLimit, LimitRule};
use super::promises::{Invariant, Violation};
use super::reports::Reports;
use super::states::States;
use super::truth::{Birth, Truth};
use crate::trace::{Trace, What};

/// Largest error of a clock that counts as right.
pub(crate) const RIGHT_CLOCK_ERROR_MS: u64 = 1_000;

/// Most violations that one device reports, besides the first of each promise.
const VIOLATIONS_MAX: usize = 8;

/// What a device is, as far as its judge must know.
pub(crate) struct Judged {
    pub(crate) device: DeviceNumber,
    pub(crate) keys: LinkKeys,
    /// Its medium destroys batches, so that its spool lacks some that were not dropped.
    pub(crate) has_bad_medium: bool,
    pub(crate) spool_bytes: u64,
    pub(crate) memory_bytes_max: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) sources: Vec<JudgedSource>,
    /// Whether anything sends it commands.
    pub(crate) is_commanded: bool,
}

/// An inverter of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JudgedSource {
    pub(crate) number: SourceNumber,
    /// Index of its plant.
    pub(crate) plant: usize,
    /// What its limit is, if it has one.
    pub(crate) limit: Option<LimitRule>,
}

/// What a device holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holdings {
    pub(crate) spool_bytes: u64,
    /// Number of all batches that were dropped.
    pub(crate) dropped_batches: u64,
    pub(crate) memory_bytes: usize,
}

/// What a device does for a command, as far as its shell sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Obeyed {
    /// By its own event, the command is in this state.
    Moved(CommandId, CommandState),
    /// It asks for a read.
    Asked(CommandId),
    /// It asks for a write.
    Written(Option<CommandId>),
    /// It asks for the end of its epoch, for this command.
    Ending(Option<CommandId>),
}

/// The clock of a device after a reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownClock {
    /// What it shows, if it is set.
    pub(crate) shown: Option<UnixMs>,
    /// How long the exchange took.
    pub(crate) taken_ms: u64,
    pub(crate) server_error_ms: i64,
}

pub(crate) struct DeviceJudge {
    judged: Judged,
    counter_last: Option<Counter>,
    /// Newest message that the server replied to, with the instant; and the newest before that
    /// instant.
    replied: Option<(UnixMs, Counter)>,
    replied_before: Option<Counter>,
    /// Gaps in the current message.
    told: Vec<Dropped>,
    /// The newest dropped batch, and the number of all dropped ones.
    dropped_to: Option<BatchId>,
    dropped_batches: u64,
    /// Whether its spool was ever half full: from then on it may drop its oldest batches.
    was_full: bool,
    /// Last durable sequence of each epoch.
    last_sequences: BTreeMap<u32, u32>,
    states: States,
    reports: Reports,
    /// Its commands, if anything sends it some; the closing audit takes them.
    pub(crate) commands: Option<Commands>,
    /// Durable content of each slot, where it is known.
    pub(crate) kept: BTreeMap<&'static str, Vec<u8>>,
    /// State of each inverter at the end.
    pub(crate) last_states: Vec<(SourceNumber, SourceState)>,
    pub(crate) truth: Truth,
    pub(crate) trace: Trace,
    pub(crate) violations: Vec<Violation>,
    /// Number of all violations, including those that are not kept.
    pub(crate) violations_found: u64,
}

impl DeviceJudge {
    pub(crate) fn new(judged: Judged, trace: Trace) -> Self {
        Self {
            commands: judged.is_commanded.then(Commands::default),
            judged,
            counter_last: None,
            replied: None,
            replied_before: None,
            told: Vec::new(),
            dropped_to: None,
            dropped_batches: 0,
            was_full: false,
            last_sequences: BTreeMap::new(),
            states: States::default(),
            reports: Reports::default(),
            kept: BTreeMap::new(),
            last_states: Vec::new(),
            truth: Truth::default(),
            trace,
            violations: Vec::new(),
            violations_found: 0,
        }
    }

    pub(crate) fn device(&self) -> DeviceNumber {
        self.judged.device
    }

    pub(crate) fn sources(&self) -> &[JudgedSource] {
        &self.judged.sources
    }

    /// Returns the settings that the device has reported.
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Whether it may have dropped batches that no medium destroyed.
    pub(crate) fn may_drop(&self) -> bool {
        self.was_full
    }

    pub(crate) fn violate(&mut self, at: UnixMs, invariant: Invariant, detail: String) {
        self.violations_found += 1;
        let is_first = self.violations.iter().all(|held| held.invariant != invariant);
        if is_first || self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation {
                invariant,
                at_ms: at.0,
                device: Some(self.judged.device.to_string()),
                detail,
                trace: self.trace.lines(),
            });
        }
    }

    /// Notes how many batches were dropped when recovery ended, which may have completed a removal.
    pub(crate) fn recovered(&mut self, dropped_batches: u64) {
        self.dropped_batches = dropped_batches;
    }

    /// Notes the start of an epoch.
    pub(crate) fn started(&mut self, now: UnixMs, epoch: BootEpoch, birth: Birth) {
        if self.last_sequences.keys().next_back().is_some_and(|last| *last >= epoch.0) {
            let detail = format!("epoch {epoch} begins a second time");
            self.violate(now, Invariant::BatchNamedOnce, detail);
        }
        self.last_sequences.insert(epoch.0, 0);
        self.states = States::default();
        self.commands.iter_mut().for_each(|commands| commands.started(epoch));
        // After a failure of the disk, neither a removal nor its note may have survived the cut;
        // then the dropped batches are back.
        self.dropped_to = None;
        self.truth.born(epoch.0, birth);
    }

    /// Checks the batches that the server holds after a start; `stored` ascends.
    pub(crate) fn check_stored(&mut self, at: UnixMs, stored: &[BatchId]) {
        for id in self.unkept(stored) {
            let detail = format!("batch {id} was acknowledged and is gone after a restart");
            self.violate(at, Invariant::AcknowledgedIsStored, detail);
        }
    }

    /// Returns the acknowledged batches that the store lacks; `stored` ascends.
    pub(crate) fn unkept(&self, stored: &[BatchId]) -> Vec<BatchId> {
        self.truth.unkept(stored, &self.last_sequences)
    }

    /// Notes the name of a durable batch.
    pub(crate) fn named(&mut self, now: UnixMs, id: BatchId) {
        let last = self.last_sequences.entry(id.epoch.0).or_default();
        if id.sequence.0 <= *last {
            let detail = format!("batch {id} is named like one before it");
            self.violate(now, Invariant::BatchNamedOnce, detail);
        } else {
            *last = id.sequence.0;
        }
    }

    /// Checks what the device holds after a batch became durable.
    pub(crate) fn check_holdings(&mut self, now: UnixMs, held: Holdings) {
        let Judged { spool_bytes: limit, memory_bytes_max, has_bad_medium, .. } = self.judged;
        let (bytes, memory) = (held.spool_bytes, held.memory_bytes);
        if bytes > limit {
            let detail = format!("spool holds {bytes} of {limit} bytes");
            self.violate(now, Invariant::SpoolWithinLimit, detail);
        }
        // A drop makes room for one batch, at most a quarter of the limit, like a segment.
        let was_full = bytes >= limit / 2;
        self.was_full |= was_full;
        let is_dropped = held.dropped_batches > self.dropped_batches;
        if is_dropped && !was_full && !has_bad_medium {
            let detail = format!("batches were dropped to have {bytes} of {limit} bytes in use");
            self.violate(now, Invariant::OldestDroppedFirst, detail);
        }
        self.dropped_batches = held.dropped_batches;
        if memory > memory_bytes_max {
            let detail = format!("node holds {memory} bytes, {memory_bytes_max} at most");
            self.violate(now, Invariant::MemoryWithinLimit, detail);
        }
    }

    /// Checks a message that was composed: its gaps, its batches, and what it reports while the
    /// inverters are as in `present`.
    pub(crate) fn composed(
        &mut self,
        now: UnixMs,
        gaps: Vec<Dropped>,
        batches: &[BatchId],
        message: &[u8],
        present: Option<Vec<(SourceNumber, SourceState)>>,
    ) {
        self.told.clone_from(&gaps);
        for gap in gaps {
            self.trace.note(now, What::Dropped(gap));
            if gap.is_batched() {
                self.dropped_to = self.dropped_to.max(Some(gap.last));
            }
        }
        self.check_oldest_dropped(now, batches);
        let reported = present.map(|is| self.states.sent(&self.judged.keys, message, is));
        if let Some(Err(detail)) = reported {
            self.violate(now, Invariant::StatesArrive, detail);
        }
        if let Err(detail) = self.reports.sent(&self.judged.keys, message) {
            self.violate(now, Invariant::ReportedNeverFalls, detail);
        }
        let keys = &self.judged.keys;
        let is_right = self.commands.as_mut().map(|commands| commands.sent(keys, message));
        self.take(now, is_right);
    }

    /// Takes the reply to the current message, which the device has accepted.
    pub(crate) fn commanded(&mut self, now: UnixMs, reply: &[u8]) {
        let keys = &self.judged.keys;
        let is_right = self.commands.as_mut().map(|commands| commands.answered(keys, reply));
        self.take(now, is_right);
    }

    /// Notes what the device did for a command.
    pub(crate) fn obeyed(&mut self, now: UnixMs, act: Obeyed, time: OwnTime) {
        let is_right = match &mut self.commands {
            Some(commands) => match act {
                Obeyed::Moved(id, state) => commands.moved(id, state, time),
                Obeyed::Asked(id) => commands.asked(id, time),
                Obeyed::Written(id) => commands.wrote(id, time),
                Obeyed::Ending(id) => commands.ending(id, time),
            },
            None => Err((Invariant::CommandIsOrdered, format!("{act:?} without a command"))),
        };
        self.take(now, Some(is_right));
    }

    /// Checks the limit that an inverter has after a command has moved on.
    pub(crate) fn limited(
        &mut self,
        now: UnixMs,
        id: CommandId,
        source: SourceNumber,
        limit: HeldLimit,
    ) {
        let rule = self.rule_of(source);
        let commands = self.commands.as_mut().zip(rule);
        let is_right = commands.map(|(commands, rule)| commands.limited(id, source, rule, limit));
        self.take(now, is_right);
    }

    /// Checks the limit that an inverter has at the end.
    pub(crate) fn left(&mut self, now: UnixMs, source: SourceNumber, limit: HeldLimit) {
        let is_right = self.commands.as_ref().map(|commands| commands.left(source, limit));
        self.take(now, is_right);
    }

    fn rule_of(&self, source: SourceNumber) -> Option<LimitRule> {
        self.judged.sources.iter().find(|judged| judged.number == source)?.limit
    }

    fn take(&mut self, now: UnixMs, judgement: Option<Result<(), Broken>>) {
        if let Some(Err((invariant, detail))) = judgement {
            self.violate(now, invariant, detail);
        }
    }

    /// Checks that no batch older than a dropped one still waits.
    fn check_oldest_dropped(&mut self, now: UnixMs, offered: &[BatchId]) {
        let Some(dropped) = self.dropped_to.filter(|_| !self.judged.has_bad_medium) else { return };
        if let Some(older) = offered.iter().find(|id| **id <= dropped) {
            let detail = format!("batch {older} waits, and batches up to {dropped} were dropped");
            self.violate(now, Invariant::OldestDroppedFirst, detail);
        }
    }

    /// Checks the counter and the length of a message that is sent.
    pub(crate) fn check_sent(&mut self, now: UnixMs, counter: Counter, len: usize) {
        if self.counter_last.is_some_and(|last| counter <= last) {
            let detail = format!("counter {counter} seals a second message");
            self.violate(now, Invariant::CounterUsedOnce, detail);
        }
        self.counter_last = self.counter_last.max(Some(counter));
        if len > self.judged.message_bytes_max {
            let detail = format!("message of {len} bytes");
            self.violate(now, Invariant::MemoryWithinLimit, detail);
        }
    }

    /// Checks that the server replies in the order in which messages arrived, except within a
    /// group.
    pub(crate) fn check_reply_order(&mut self, leaves: UnixMs, counter: Counter) {
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

    /// Checks the clock after the reply to the current message brought the server's time, and notes
    /// that the server has what the message reported. The device cannot know at which moment of the
    /// exchange the server read its clock, and ignores small deviations.
    pub(crate) fn answered(&mut self, now: UnixMs, clock: ShownClock) {
        let ShownClock { shown, taken_ms, server_error_ms } = clock;
        let tolerated = u64::try_from(CLOCK_STEP_MIN.as_millis()).unwrap_or(0) + 2 * taken_ms;
        let error_ms = shown.map(|shown| shown.0 - now.0 - server_error_ms);
        if error_ms.is_none_or(|error| error.unsigned_abs() > tolerated) {
            let detail = format!("clock is off by {error_ms:?} ms after {taken_ms} ms for a reply");
            self.violate(now, Invariant::ClockFollows, detail);
        }
        self.states.answered();
        self.reports.answered();
    }

    /// Notes that the server has acknowledged the gaps in the current message.
    pub(crate) fn gaps_known(&mut self) {
        for gap in self.told.drain(..) {
            self.truth.dropped(gap);
        }
    }
}

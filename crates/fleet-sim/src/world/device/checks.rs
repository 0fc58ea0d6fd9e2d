//! Promises that a device must keep whatever happens to it, checked at each of its actions.

use ecowatt_device::Slot;
use ecowatt_device::limits::CLOCK_STEP_MIN;
use ecowatt_model::{BatchId, Counter, MonoMs, SourceNumber, UnixMs};
use ecowatt_node::{Done, Message as AgentMessage};
use ecowatt_wire::Certainty;

use super::{Device, DeviceNode, EXCHANGE_TIMEOUT_MS, Life, cycle, medium};
use crate::judges::violation::{Invariant, Violation};
use crate::trace::What;
use crate::world::network::Message;

/// Largest error of a clock that counts as right.
pub(super) const RIGHT_CLOCK_ERROR_MS: u64 = 1_000;

/// Most violations that one device reports, besides the first of each promise.
const VIOLATIONS_MAX: usize = 8;

impl Device {
    pub(crate) fn violate(&mut self, at: UnixMs, invariant: Invariant, detail: String) {
        self.violations_found += 1;
        let is_first = self.violations.iter().all(|held| held.invariant != invariant);
        if is_first || self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation {
                invariant,
                at_ms: at.0,
                device: Some(self.kid.device.to_string()),
                detail,
                trace: self.trace.lines(),
            });
        }
    }

    /// Checks the batches that the server holds after a start; `stored` ascends.
    pub(crate) fn audit(&mut self, at: UnixMs, stored: &[BatchId]) {
        for id in self.truth.unkept(stored, &self.given) {
            let detail = format!("batch {id} was acknowledged and is gone after a restart");
            self.violate(at, Invariant::AcknowledgedIsStored, detail);
        }
    }

    /// Returns the acknowledged batches that the store lacks at the end; `stored` ascends.
    pub(crate) fn unkept(&self, stored: &[BatchId]) -> Vec<BatchId> {
        self.truth.unkept(stored, &self.given)
    }

    /// Checks that the server replies in the order in which messages arrived, except within a
    /// group.
    pub(super) fn check_reply_order(&mut self, leaves: UnixMs, counter: Counter) {
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

    /// Checks the clock after a reply brought the server's time. The device cannot know at which
    /// moment of the exchange the server read its clock, and ignores small deviations.
    pub(super) fn check_clock(&mut self, now: UnixMs, until: UnixMs, server_error_ms: i64) {
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

    /// Checks that a device starts with the slots that were stored before.
    pub(super) fn check_kept(&mut self, now: UnixMs, node: &DeviceNode) {
        for slot in Slot::ALL {
            let held = kept(node, slot);
            let is_same = |kept: &Vec<u8>| match slot {
                Slot::Sleep => *kept == held,
                // What was seen stays; outcomes change with a start.
                Slot::Commands => kept.get(..SEEN) == held.get(..SEEN),
                // A trial counts its starts and may end with one.
                Slot::Desired => kept.get(..DECIDED) == held.get(..DECIDED),
            };
            if !self.kept.get(slot.name()).is_none_or(is_same) {
                let detail = format!("{} was {:?}, is {held:?}", slot.name(), self.kept);
                self.violate(now, Invariant::KeptIsHandedBack, detail);
            }
        }
    }

    /// Checks that a message reports the state of each inverter, unless the server has it.
    fn check_states(&mut self, now: UnixMs, message: &[u8]) {
        let Life::On(running) = &self.life else { return };
        let sources = running.node.core().sources();
        let present: Vec<_> = sources.map(|status| (status.source, status.state)).collect();
        if let Err(detail) = self.states.sent(&self.keys, message, present) {
            self.violate(now, Invariant::StatesArrive, detail);
        }
    }

    /// Checks what the node did.
    pub(super) fn record(&mut self, now: UnixMs, mono: MonoMs, done: Done, out: &mut Vec<Message>) {
        match done {
            Done::Drafted { source, result } => {
                self.record_sample(now, mono, source, result.is_ok())
            }
            Done::Persisted { batch, result } => {
                let (id, rows, is_durable) = (batch.id, batch.rows, result.is_ok());
                self.trace.note(now, What::Persisted { id, rows, is_durable });
                let Life::On(running) = &mut self.life else { return };
                let recovered = running.node.take_recovered();
                recovered.iter().for_each(|batch| self.note_recovered(now, batch));
                let (first, _) = ordinals(batch.last_ordinal, rows);
                self.truth.batched(id, batch.source, (first, batch.last_ordinal));
                if is_durable {
                    self.counts.batches += 1;
                    self.truth.persisted(&batch);
                    self.note_name(now, id);
                }
                self.check_spool(now);
            }
            Done::Kept { slot, result } => {
                self.trace.note(now, What::Kept { slot, is_durable: result.is_ok() });
                // A failed write may have reached the disk.
                self.kept.remove(slot.name());
                if let Life::On(running) = &self.life
                    && result.is_ok()
                {
                    self.kept.insert(slot.name(), kept(&running.node, slot));
                }
            }
            Done::Reserved { limit, result } => {
                self.trace.note(now, What::Reserved { limit, is_durable: result.is_ok() });
            }
            Done::Composed { message, .. } => {
                let AgentMessage { request, batches, dropped, bytes, .. } = message;
                self.told.clone_from(&dropped);
                for gap in dropped {
                    self.trace.note(now, What::Dropped(gap));
                    if gap.is_batched() {
                        self.dropped_to = self.dropped_to.max(Some(gap.last));
                    }
                }
                self.check_oldest_dropped(now, &batches);
                self.check_states(now, &bytes);
                if let Err(detail) = self.reports.sent(&self.keys, &bytes) {
                    self.violate(now, Invariant::ReportedNeverFalls, detail);
                }
                self.send(now, request.counter, bytes, &batches, out);
            }
            Done::NotComposed { error, .. } => {
                self.violate(now, Invariant::MessageIsMade, error.to_string());
            }
            Done::NotCut(_) => {}
        }
    }

    /// Notes the name of a durable batch.
    pub(super) fn note_name(&mut self, now: UnixMs, id: BatchId) {
        let last = self.given.entry(id.epoch.0).or_default();
        if id.sequence.0 <= *last {
            let detail = format!("batch {id} is named like one before it");
            self.violate(now, Invariant::BatchNamedOnce, detail);
        } else {
            *last = id.sequence.0;
        }
    }

    pub(super) fn record_sample(
        &mut self,
        now: UnixMs,
        mono: MonoMs,
        source: SourceNumber,
        is_durable: bool,
    ) {
        let Life::On(running) = &self.life else { return };
        let Some(sample) = running.node.newest(source) else { return };
        let (ordinal, t_ms) = (sample.ordinal, sample.t_ms);
        self.trace.note(now, What::Sampled { ordinal, t_ms, is_durable });
        let wall = running.node.core().wall().unix(mono);
        let epoch = running.epoch;
        let start = running.node.core().wall().start();
        let confirmed = start.filter(|start| start.certainty == Certainty::Confirmed);
        let confirmed = confirmed.map(|start| start.unix);
        let stepped_ms =
            confirmed.zip(wall).map_or(0, |(start, wall)| stepped_ms(start, wall, mono));
        if is_durable {
            let start = running.node.record().starts.of(epoch);
            let is_kept = running.node.core().wall().start() == Some(start);
            let error_ms = running.clock.system(now).0.abs_diff(now.0);
            let is_confirmed = start.certainty == Certainty::Confirmed;
            self.truth.placed(epoch.0, is_confirmed, is_kept && error_ms <= RIGHT_CLOCK_ERROR_MS);
        }
        let Some(line) = self.lines.iter_mut().find(|line| line.number() == source) else { return };
        let checked = line.check(&sample, now, mono, (wall, stepped_ms));
        let row = cycle::row(epoch, &sample);
        let expected = self.truth.taken(&row, line.plant_wh(now), confirmed);
        if is_durable {
            self.truth.durable(epoch.0, source, ordinal);
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

    pub(super) fn check_spool(&mut self, now: UnixMs) {
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
        // A drop makes room for one batch, at most a quarter of the limit, like a segment.
        let was_full = report.bytes >= self.spool_bytes / 2;
        self.was_full |= was_full;
        let is_dropped = report.dropped_batches > self.dropped_batches;
        if is_dropped && !was_full && !medium::is_bad(self.index) {
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

    /// Checks that no batch older than a dropped one still waits.
    pub(super) fn check_oldest_dropped(&mut self, now: UnixMs, offered: &[BatchId]) {
        let Some(dropped) = self.dropped_to.filter(|_| !medium::is_bad(self.index)) else { return };
        if let Some(older) = offered.iter().find(|id| **id <= dropped) {
            let detail = format!("batch {older} waits, and batches up to {dropped} were dropped");
            self.violate(now, Invariant::OldestDroppedFirst, detail);
        }
    }
}

/// Returns by how many milliseconds a clock was stepped since the epoch's start was confirmed.
fn stepped_ms(start: UnixMs, wall: UnixMs, now: MonoMs) -> i64 {
    wall.0 - start.0 - i64::try_from(now.0).unwrap_or(i64::MAX)
}

/// Returns the first and last ordinal of `rows` samples that end with `last`.
pub(super) fn ordinals(last: u32, rows: u16) -> (u32, u32) {
    ((last + 1).saturating_sub(u32::from(rows)), last)
}

/// Bytes of the slot *desired* that name the generation.
const DECIDED: usize = 5;
/// Bytes of the slot *commands* that name the commands seen.
const SEEN: usize = 13;

/// Returns what the core has in a slot.
fn kept(node: &DeviceNode, slot: Slot) -> Vec<u8> {
    let mut bytes = vec![0; Slot::LEN_MAX];
    let len = node.core().kept(slot, &mut bytes);
    bytes.truncate(len);
    bytes
}

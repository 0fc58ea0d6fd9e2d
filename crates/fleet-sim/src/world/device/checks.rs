//! What the node did, as its judge gets to know it.

use ecowatt_device::Slot;
use ecowatt_model::{MonoMs, SourceNumber, UnixMs};
use ecowatt_node::{Message as AgentMessage, WorkOutcome};
use ecowatt_wire::Certainty;

use super::{Device, DeviceNode, Life, inverter};
use crate::judges::device::{Holdings, RIGHT_CLOCK_ERROR_MS};
use crate::judges::promises::Invariant;
use crate::trace::What;
use crate::world::network::Message;

impl Device {
    /// Checks that a device starts with the slots that were stored before.
    pub(super) fn check_kept(&mut self, now: UnixMs, node: &DeviceNode) {
        for slot in Slot::ALL {
            let held = kept(node, slot);
            let is_same = |kept: &Vec<u8>| match slot {
                Slot::Sleep => *kept == held,
                // What was seen stays; outcomes change with a start.
                Slot::Commands => kept.get(..SEEN) == held.get(..SEEN),
                Slot::Limits => *kept == held,
                // A trial counts its starts and may end with one.
                Slot::Desired => kept.get(..DECIDED) == held.get(..DECIDED),
            };
            if !self.judge.kept.get(slot.name()).is_none_or(is_same) {
                let detail = format!("{} was {:?}, is {held:?}", slot.name(), self.judge.kept);
                self.judge.violate(now, Invariant::KeptIsHandedBack, detail);
            }
        }
    }

    /// Checks what the node did.
    pub(super) fn record(
        &mut self,
        now: UnixMs,
        mono: MonoMs,
        done: WorkOutcome,
        out: &mut Vec<Message>,
    ) {
        match done {
            WorkOutcome::Drafted { source, result } => {
                self.record_sample(now, mono, source, result.is_ok())
            }
            WorkOutcome::Persisted { batch, result } => {
                let (id, rows, is_durable) = (batch.id, batch.rows, result.is_ok());
                self.judge.trace.note(now, What::Persisted { id, rows, is_durable });
                let Life::On(running) = &mut self.life else { return };
                let recovered = running.node.take_recovered();
                recovered.iter().for_each(|batch| self.note_recovered(now, batch));
                let (first, _) = ordinals(batch.last_ordinal, rows);
                self.judge.truth.batched(id, batch.source, (first, batch.last_ordinal));
                if is_durable {
                    self.counts.batches += 1;
                    self.judge.truth.persisted(&batch);
                    self.judge.named(now, id);
                }
                self.check_spool(now);
            }
            WorkOutcome::Kept { slot, result } => {
                self.judge.trace.note(now, What::Kept { slot, is_durable: result.is_ok() });
                // A failed write may have reached the disk.
                self.judge.kept.remove(slot.name());
                if let Life::On(running) = &self.life
                    && result.is_ok()
                {
                    self.judge.kept.insert(slot.name(), kept(&running.node, slot));
                }
            }
            WorkOutcome::Reserved { limit, result } => {
                self.judge.trace.note(now, What::Reserved { limit, is_durable: result.is_ok() });
            }
            WorkOutcome::Composed { message, .. } => {
                let AgentMessage { request, batches, dropped, bytes, .. } = message;
                let present = match &self.life {
                    Life::On(running) => {
                        let sources = running.node.core().sources();
                        Some(sources.map(|status| (status.source, status.state)).collect())
                    }
                    Life::Off { .. } | Life::Ended => None,
                };
                self.judge.composed(now, dropped, &batches, &bytes, present);
                self.send(now, request.counter, bytes, &batches, out);
            }
            WorkOutcome::NotComposed { error, .. } => {
                self.judge.violate(now, Invariant::MessageIsMade, error.to_string());
            }
            WorkOutcome::NotCut(_) => {}
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
        self.judge.trace.note(now, What::Sampled { ordinal, t_ms, is_durable });
        let wall_clock = running.node.core().wall_clock().unix(mono);
        let epoch = running.epoch;
        let start = running.node.core().wall_clock().start();
        let confirmed = start.filter(|start| start.certainty == Certainty::Confirmed);
        let confirmed = confirmed.map(|start| start.unix);
        let stepped_ms = confirmed
            .zip(wall_clock)
            .map_or(0, |(start, wall_clock)| stepped_ms(start, wall_clock, mono));
        if is_durable {
            let start = running.node.record().starts.of(epoch);
            let is_kept = running.node.core().wall_clock().start() == Some(start);
            let error_ms = running.clock.system(now).0.abs_diff(now.0);
            let is_confirmed = start.certainty == Certainty::Confirmed;
            self.judge.truth.placed(
                epoch.0,
                is_confirmed,
                is_kept && error_ms <= RIGHT_CLOCK_ERROR_MS,
            );
        }
        let Some(line) = self.lines.iter_mut().find(|line| line.number() == source) else { return };
        let checked = line.check(&sample, now, mono, (wall_clock, stepped_ms));
        let row = inverter::row(epoch, &sample);
        let expected = self.judge.truth.taken(&row, line.plant_wh(now), confirmed);
        if is_durable {
            self.judge.truth.durable(epoch.0, source, ordinal);
        } else {
            self.counts.not_durable += 1;
        }
        if let Err((invariant, detail)) = checked {
            self.judge.violate(now, invariant, detail);
        }
        if ordinal != expected {
            let detail = format!("sample {ordinal} comes where {expected} is due");
            self.judge.violate(now, Invariant::NothingDoubled, detail);
        }
    }

    pub(super) fn check_spool(&mut self, now: UnixMs) {
        let Life::On(running) = &self.life else { return };
        let report = running.node.report();
        let memory = running.node.memory_bytes();
        self.counts.backlog_max = self.counts.backlog_max.max(report.batches);
        self.counts.memory_max_bytes =
            self.counts.memory_max_bytes.max(u64::try_from(memory).unwrap_or(u64::MAX));
        let held = Holdings {
            spool_bytes: report.bytes,
            dropped_batches: report.dropped_batches,
            memory_bytes: memory,
        };
        self.judge.check_holdings(now, held);
    }
}

/// Returns by how many milliseconds a clock was stepped since the epoch's start was confirmed.
fn stepped_ms(start: UnixMs, wall_clock: UnixMs, now: MonoMs) -> i64 {
    wall_clock.0 - start.0 - i64::try_from(now.0).unwrap_or(i64::MAX)
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

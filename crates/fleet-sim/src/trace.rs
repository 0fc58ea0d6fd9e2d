//! The trace of one device: its last events as text, and all of them as a digest.
//!
//! The digest makes two runs comparable: same seed, same digest.

use std::collections::VecDeque;
use std::fmt;

use ecowatt_device::Slot;
use ecowatt_model::{BatchId, BootEpoch, CommandId, Counter, UnixMs};
use ecowatt_node::storage::Dropped;
use ecowatt_wire::CommandState;

/// Events that are kept, unless the whole trace was requested.
const KEPT: usize = 200;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Started {
        epoch: BootEpoch,
        recovered: u64,
        clock_error_ms: Option<i64>,
    },
    PowerCut {
        is_at_step: bool,
    },
    Stopped,
    Sampled {
        ordinal: u32,
        t_ms: i64,
        is_durable: bool,
    },
    Persisted {
        id: BatchId,
        rows: u16,
        is_durable: bool,
    },
    Reserved {
        limit: Counter,
        is_durable: bool,
    },
    Sent {
        counter: Counter,
        batches: usize,
        bytes: usize,
    },
    Kept {
        slot: Slot,
        is_durable: bool,
    },
    Dropped(Dropped),
    Lost {
        counter: Counter,
    },
    Answered {
        counter: Counter,
        accepted: bool,
    },
    Acknowledged {
        first: BatchId,
        last: BatchId,
    },
    Failed {
        counter: Counter,
    },
    Trouble(&'static str),
    /// A medium destroyed this many samples in a file of this kind, from this batch on.
    Destroyed {
        file: &'static str,
        batch: Option<BatchId>,
        samples: usize,
    },
    Relief(&'static str),
    Command {
        id: CommandId,
        state: CommandState,
    },
    Core(&'static str),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durable = |is: bool| if is { "durable" } else { "not durable" };
        match *self {
            Self::Started { epoch, recovered, clock_error_ms } => {
                write!(f, "start of epoch {epoch}, {recovered} samples recovered, clock ")?;
                match clock_error_ms {
                    Some(error) => write!(f, "off by {error} ms"),
                    None => f.write_str("unset"),
                }
            }
            Self::PowerCut { is_at_step: true } => {
                f.write_str("power cut in the middle of a write")
            }
            Self::PowerCut { is_at_step: false } => f.write_str("power cut"),
            Self::Stopped => f.write_str("stopped in good order"),
            Self::Sampled { ordinal, t_ms, is_durable } => {
                write!(f, "sample {ordinal} at {t_ms}, {}", durable(is_durable))
            }
            Self::Persisted { id, rows, is_durable } => {
                write!(f, "batch {id} of {rows} rows, {}", durable(is_durable))
            }
            Self::Reserved { limit, is_durable } => {
                write!(f, "counters below {limit} reserved, {}", durable(is_durable))
            }
            Self::Kept { slot, is_durable } => {
                write!(f, "{} kept, {}", slot.name(), durable(is_durable))
            }
            Self::Sent { counter, batches, bytes } => {
                write!(f, "message {counter} with {batches} batches, {bytes} bytes")
            }
            Self::Dropped(gap) => {
                write!(f, "gap {} to {}, {} samples, reported", gap.first, gap.last, gap.samples)
            }
            Self::Lost { counter } => write!(f, "message {counter} or its reply lost on the way"),
            Self::Answered { counter, accepted: true } => write!(f, "reply to {counter}"),
            Self::Answered { counter, accepted: false } => {
                write!(f, "refused bytes that are not the reply to {counter}")
            }
            Self::Acknowledged { first, last } => write!(f, "{first} to {last} acknowledged"),
            Self::Failed { counter } => write!(f, "message {counter} failed"),
            Self::Destroyed { file, batch, samples } => {
                write!(f, "destroyed: {samples} samples in a {file}")?;
                batch.map_or(Ok(()), |id| write!(f, ", batch {id}"))
            }
            Self::Trouble(what) => write!(f, "trouble: {what}"),
            Self::Relief(what) => write!(f, "over: {what}"),
            Self::Command { id, state } => write!(f, "command {id}: {state:?}"),
            Self::Core(what) => write!(f, "device: {what}"),
        }
    }
}

/// The trace of one device.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    kept: VecDeque<(UnixMs, What)>,
    is_whole: bool,
    digest: Digest,
}

impl Trace {
    /// Returns a trace that keeps every event.
    pub(crate) fn whole() -> Self {
        Self { is_whole: true, ..Self::default() }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(crate) fn note(&mut self, at: UnixMs, what: What) {
        if self.kept.len() == KEPT && !self.is_whole {
            self.kept.pop_front();
        }
        self.kept.push_back((at, what));
        self.digest.add(at.0.unsigned_abs());
        self.digest.add(what.number());
    }

    /// Adds bytes that were exchanged to the digest.
    pub(crate) fn note_bytes(&mut self, bytes: &[u8]) {
        self.digest.add_bytes(bytes);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.0
    }

    /// Returns the last events.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines_from(self.kept.len().saturating_sub(KEPT))
    }

    /// Returns all events, if the whole trace was requested.
    pub(crate) fn all_lines(&self) -> Vec<String> {
        self.lines_from(0)
    }

    fn lines_from(&self, first: usize) -> Vec<String> {
        self.kept.iter().skip(first).map(|(at, what)| format!("{}  {what}", Instant(*at))).collect()
    }
}

impl What {
    /// Returns a number for the digest that differs between events of one kind.
    fn number(&self) -> u64 {
        let id = |id: BatchId| (u64::from(id.epoch.0) << 32) | u64::from(id.sequence.0);
        match *self {
            Self::Started { epoch, recovered, clock_error_ms } => {
                u64::from(epoch.0)
                    ^ (recovered << 32)
                    ^ clock_error_ms.map_or(1, i64::unsigned_abs).rotate_left(17)
            }
            Self::PowerCut { is_at_step } => 2 + u64::from(is_at_step),
            Self::Stopped => 4,
            Self::Sampled { ordinal, t_ms, is_durable } => {
                u64::from(ordinal) ^ (t_ms.unsigned_abs() << 20) ^ u64::from(is_durable)
            }
            Self::Persisted { id: batch, rows, is_durable } => {
                id(batch) ^ (u64::from(rows) << 16) ^ u64::from(is_durable)
            }
            Self::Reserved { limit, is_durable } => limit.0 ^ u64::from(is_durable),
            Self::Kept { slot: Slot::Sleep, is_durable } => 10 + u64::from(is_durable),
            Self::Kept { slot: Slot::Desired, is_durable } => 12 + u64::from(is_durable),
            Self::Kept { slot: Slot::Commands, is_durable } => 14 + u64::from(is_durable),
            Self::Kept { slot: Slot::Limits, is_durable } => 16 + u64::from(is_durable),
            Self::Sent { counter, batches, bytes } => {
                let sizes = u64::try_from(batches * 1_000_000 + bytes).unwrap_or(0);
                counter.0 ^ (sizes << 20)
            }
            Self::Dropped(gap) => id(gap.first) ^ id(gap.last).rotate_left(7),
            Self::Lost { counter } => counter.0 ^ 5,
            Self::Answered { counter, accepted } => counter.0 ^ 6 ^ u64::from(accepted),
            Self::Acknowledged { first, last } => id(first) ^ id(last).rotate_left(9),
            Self::Failed { counter } => counter.0 ^ 8,
            Self::Destroyed { batch, samples, .. } => {
                batch.map_or(9, id) ^ u64::try_from(samples).unwrap_or(0).rotate_left(40)
            }
            Self::Command { id, state } => (u64::from(id.0) << 8) ^ state as u64,
            Self::Trouble(what) | Self::Relief(what) | Self::Core(what) => {
                let mut digest = Digest::default();
                digest.add_bytes(what.as_bytes());
                digest.0
            }
        }
    }
}

/// A running hash over everything added, in order. Not cryptographic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x243F_6A88_85A3_08D3)
    }
}

impl Digest {
    pub(crate) fn add(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9FB2_1C65_1E98_DF25);
        self.0 = mixed ^ (mixed >> 32);
    }

    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(u64::try_from(bytes.len()).unwrap_or(0));
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }
}

/// Displays an instant of virtual time as day of the simulation and time of day.
pub(crate) struct Instant(pub(crate) UnixMs);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.0 - crate::scenario::START.0;
        let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        let (seconds, ms) = (ms / 1000, ms % 1000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "day {days} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
    }
}

//! The network between one device and the server: late, lossy and untrusted.
//!
//! A message becomes none, one or two copies with a time of arrival each; so does a reply. Some
//! faults cannot happen on a real connection, such as an earlier request's reply in place of the
//! right one: the link must not rely on its transport.

use std::collections::VecDeque;
use std::sync::Arc;

use ecowatt_model::{Counter, UnixMs};

use crate::faults::kinds::{Corruption, Fault, MessageFault, Occasion};
use crate::faults::weights::Weights;
use crate::random::Random;

/// Bytes on their way to the server.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) arrives: UnixMs,
    /// Index of the device that sent it.
    pub(crate) device: u32,
    /// Number of the copy among all copies that the device has sent.
    pub(crate) serial: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The server's answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Reply(Vec<u8>),
    /// 503 with the seconds after which to try again.
    Busy {
        retry_after_s: u64,
    },
    /// Another status than success.
    Refused(u16),
    /// No answer: the server is down, or went down before it answered.
    Nothing,
}

/// The server's answer on its way back.
#[derive(Debug)]
pub(crate) struct Response {
    /// When its message arrived.
    pub(crate) arrives: UnixMs,
    pub(crate) leaves: UnixMs,
    pub(crate) device: u32,
    pub(crate) serial: u64,
    pub(crate) answer: Answer,
    /// The server's clock at that moment.
    pub(crate) clock: UnixMs,
}

/// An answer that reaches the device.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The request that it answers.
    pub(crate) counter: Counter,
    pub(crate) what: Delivered,
}

#[derive(Debug)]
pub(crate) enum Delivered {
    /// Whether the bytes are the server's reply to this request.
    Reply {
        bytes: Vec<u8>,
        is_genuine: bool,
        /// The server's clock minus the true time when it left.
        clock_error_ms: i64,
    },
    Busy {
        retry_after_s: u64,
    },
    Refused(u16),
    Unreachable,
}

/// Counts of what happened to messages and replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct NetworkCounts {
    pub lost: u64,
    pub doubled: u64,
    pub corrupted: u64,
    pub held_back: u64,
    pub swapped: u64,
    pub partitioned: u64,
}

impl NetworkCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.corrupted += other.corrupted;
        self.held_back += other.held_back;
        self.swapped += other.swapped;
        self.partitioned += other.partitioned;
    }
}

/// Longest time that a copy is held back.
const HELD_BACK_MAX_MS: u64 = 30 * 60_000;
/// Earlier replies that may arrive in place of the right one.
const REPLIES_KEPT: usize = 4;

/// The network between one device and the server, both ways.
#[derive(Debug)]
pub(crate) struct Network {
    random: Random,
    latency_min_ms: u64,
    weights: Arc<Weights>,
    earlier: VecDeque<(Counter, Vec<u8>)>,
    pub(crate) counts: NetworkCounts,
}

impl Network {
    pub(crate) fn new(random: Random, latency_min_ms: u64, weights: Arc<Weights>) -> Self {
        let counts = NetworkCounts::default();
        Self { random, latency_min_ms, weights, earlier: VecDeque::new(), counts }
    }

    /// Stops all faults.
    pub(crate) fn calm(&mut self) {
        self.weights = Arc::new(Weights::calm());
    }

    /// Returns the copies that reach the other side, each with its delay; none if the message is
    /// lost.
    pub(crate) fn copies(&mut self, bytes: Vec<u8>) -> Vec<(u64, Vec<u8>, bool)> {
        if self.happens(MessageFault::Lost) {
            self.counts.lost += 1;
            return Vec::new();
        }
        let mut copies = Vec::with_capacity(1);
        if self.happens(MessageFault::Doubled) {
            self.counts.doubled += 1;
            let delay = self.delay() + self.random.below(HELD_BACK_MAX_MS);
            copies.push((delay, bytes.clone(), true));
        }
        let mut delay = self.delay();
        if self.happens(MessageFault::HeldBack) {
            self.counts.held_back += 1;
            delay += self.random.below(HELD_BACK_MAX_MS);
        }
        if self.happens(MessageFault::Corrupted) {
            self.counts.corrupted += 1;
            copies.insert(0, (delay, self.damaged(bytes), false));
        } else {
            copies.insert(0, (delay, bytes, true));
        }
        copies
    }

    /// Does the same for a reply, which may also be swapped for an earlier one.
    pub(crate) fn reply_copies(
        &mut self,
        counter: Counter,
        bytes: Vec<u8>,
    ) -> Vec<(u64, Vec<u8>, bool)> {
        let is_swapped = self.weights.happens(Fault::SwappedReply, &mut self.random);
        if is_swapped && !self.earlier.is_empty() {
            self.counts.swapped += 1;
            let place = self.random.below(u64::try_from(self.earlier.len()).unwrap_or(1));
            let (of, stale) = self.earlier[usize::try_from(place).unwrap_or(0)].clone();
            return vec![(self.delay(), stale, of == counter)];
        }
        if self.weights.of_fault(Fault::SwappedReply) > 0 {
            if self.earlier.len() == REPLIES_KEPT {
                self.earlier.pop_front();
            }
            self.earlier.push_back((counter, bytes.clone()));
        }
        self.copies(bytes)
    }

    fn happens(&mut self, fault: MessageFault) -> bool {
        self.weights.happens(Fault::Message(fault), &mut self.random)
    }

    /// Draws how long one way takes.
    pub(crate) fn delay(&mut self) -> u64 {
        self.latency_min_ms + self.random.waiting_ms((self.latency_min_ms / 4).max(5))
    }

    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let len = u64::try_from(bytes.len()).unwrap_or(0);
        if len == 0 {
            return bytes;
        }
        let how = self.weights.pick(Occasion::Corruption, &mut self.random);
        if how == Fault::Corruption(Corruption::CutShort) {
            let left = usize::try_from(self.random.below(len)).unwrap_or(0);
            bytes.truncate(left);
            return bytes;
        }
        // A run of neighbouring bytes, each changed once, so that no change undoes another.
        let run = self.random.between(1, 4).min(len);
        let first = usize::try_from(self.random.below(len - run + 1)).unwrap_or(0);
        for byte in bytes.iter_mut().skip(first).take(usize::try_from(run).unwrap_or(1)) {
            *byte ^= 1 << self.random.below(8);
        }
        bytes
    }
}

//! A device's messages on their way to the server, and the answers.

use std::time::Duration;

use ecowatt_device::LinkFailure;
use ecowatt_model::{BatchId, Counter, UnixMs};
use ecowatt_node::storage::BatchRange;

use super::{Device, EXCHANGE_TIMEOUT_MS, Life};
use crate::judges::device::{RIGHT_CLOCK_ERROR_MS, ShownClock};
use crate::judges::promises::Invariant;
use crate::time::after;
use crate::trace::What;
use crate::world::network::{Answer, Delivered, Delivery, Message, Response};

/// Time until a connection attempt fails in a partition or while the server is down.
const REFUSED_AFTER_MS: u64 = 3_000;

/// A copy of a message that the server has not processed.
pub(super) struct InFlight {
    pub(super) arrives: UnixMs,
    pub(super) counter: Counter,
    /// Whether the server's answer returns over the connection that the device waits on.
    is_first: bool,
    is_intact: bool,
}

impl Device {
    /// Takes the server's response to a copy. It is processed when the device has reached the
    /// instant at which it matters, however early it arrives here.
    pub(crate) fn hear(&mut self, response: Response) {
        if self.in_flight.contains_key(&response.serial) {
            self.responses.insert(response.serial, response);
        }
    }

    pub(super) fn respond(&mut self, response: Response) {
        let Response { leaves, serial, answer, clock, .. } = response;
        let Some(copy) = self.in_flight.remove(&serial) else { return };
        let counter = copy.counter;
        let what = match answer {
            Answer::Reply(bytes) => {
                self.judge.check_reply_order(leaves, counter);
                let copies = self.network.reply_copies(counter, bytes);
                if copies.is_empty() {
                    self.judge.trace.note(leaves, What::Lost { counter });
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
                    self.judge.violate(leaves, Invariant::IntactIsTaken, detail);
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

    pub(super) fn deliver(&mut self, at: UnixMs, delivery: Delivery) {
        self.serial += 1;
        self.inbox.insert((at, self.serial), delivery);
    }

    pub(super) fn receive(&mut self, now: UnixMs, delivery: Delivery) {
        let Life::On(running) = &mut self.life else { return };
        let mono = running.clock.mono(now);
        let Delivery { counter, what } = delivery;
        let is_awaited = running.sent.is_some_and(|(sent, _)| sent == counter);
        let failure = match what {
            Delivered::Reply { bytes, is_genuine, clock_error_ms } => {
                self.judge.trace.note_bytes(&bytes);
                match running.node.handle_reply(&bytes, || mono) {
                    Ok(freed) => {
                        let sent = running.sent.take();
                        if let Some((_, until)) = sent {
                            let clock = ShownClock {
                                shown: running.node.core().wall_clock().unix(mono),
                                taken_ms: EXCHANGE_TIMEOUT_MS
                                    .saturating_sub(until.0.abs_diff(now.0)),
                                server_error_ms: clock_error_ms,
                            };
                            self.judge.answered(now, clock);
                        }
                        if clock_error_ms.unsigned_abs() > RIGHT_CLOCK_ERROR_MS {
                            self.judge.truth.misled();
                        }
                        self.judge.trace.note(now, What::Answered { counter, accepted: true });
                        self.judge.commanded(now, &bytes);
                        if !is_genuine || !is_awaited {
                            let detail =
                                format!("a reply was accepted that is not the one to {counter}");
                            self.judge.violate(now, Invariant::ReplyIsBound, detail);
                        }
                        if freed.drops_known > 0 {
                            self.judge.gaps_known();
                        }
                        for BatchRange { first, last } in freed.ranges {
                            self.judge.trace.note(now, What::Acknowledged { first, last });
                            self.judge.truth.acknowledged(first, last);
                            self.offered.retain(|id| !(first <= *id && *id <= last));
                        }
                        return;
                    }
                    Err(_) => {
                        // Anything that arrives over its connection ends the exchange.
                        running.sent = None;
                        self.counts.foreign_replies_refused += 1;
                        self.judge.trace.note(now, What::Answered { counter, accepted: false });
                        if is_genuine && is_awaited {
                            let detail = format!("the reply to {counter} was refused");
                            self.judge.violate(now, Invariant::ReplyIsBound, detail);
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
        // A late or unrequested answer is not a failure of the current message.
        if is_awaited {
            running.sent = None;
            running.node.handle_link_failure(mono, failure);
            self.judge.trace.note(now, What::Failed { counter });
        }
    }

    pub(super) fn send(
        &mut self,
        now: UnixMs,
        counter: Counter,
        bytes: Vec<u8>,
        batches: &[BatchId],
        out: &mut Vec<Message>,
    ) {
        self.counts.messages += 1;
        self.judge
            .trace
            .note(now, What::Sent { counter, batches: batches.len(), bytes: bytes.len() });
        self.judge.trace.note_bytes(&bytes);
        self.judge.check_sent(now, counter, bytes.len());
        let Life::On(running) = &mut self.life else { return };
        running.sent = Some((counter, after(now, EXCHANGE_TIMEOUT_MS)));
        if now < self.partition_until {
            self.network.counts.partitioned += 1;
            let what = Delivered::Unreachable;
            self.deliver(after(now, REFUSED_AFTER_MS), Delivery { counter, what });
            return;
        }
        // In a partition there is no connection, so no bytes are sent.
        self.counts.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        for id in batches {
            self.counts.resent += u64::from(!self.offered.insert(*id));
        }
        let copies = self.network.copies(bytes);
        if copies.is_empty() {
            self.judge.trace.note(now, What::Lost { counter });
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
}

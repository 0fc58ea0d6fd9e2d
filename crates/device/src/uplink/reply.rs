//! What a reply means for the messages to come, and what follows if none comes.

use ecowatt_envelope::{OpenError, open_reply};
use ecowatt_model::{ConfigGeneration, MonoMs};
use ecowatt_wire::{
    AckRange, Command, Desired, DesiredLeases, ITEMS_MAX, ParseError, ParsedItems, Reply,
};
use heapless::Vec;

use super::{Contents, Sent, Uplink};
use crate::event::{Event, Events, LinkFailure};
use crate::limits::{CHECK_IN_MAX, CHECK_IN_MIN, LINK_RETRY_MAX, LINK_RETRY_MIN, RETRY_AFTER_MAX};
use crate::wall_clock::{ClockChange, Exchange, WallClock};

/// Why bytes are not the expected reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("no message is in flight")]
    NotExpected,
    #[error("reply cannot be opened")]
    Open(#[source] OpenError),
    #[error("reply cannot be read")]
    Parse(#[source] ParseError),
}

/// What a reply acknowledges: the device can delete it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acknowledged {
    pub ranges: Vec<AckRange, { 2 * ITEMS_MAX }>,
    /// How many of the offered gaps, counted from the first, the server knows: all in the message.
    pub drops_known: usize,
}

/// Effects of a reply beyond the link itself.
pub(crate) struct ReplyEffects<'s> {
    pub(crate) acknowledged: Acknowledged,
    pub(crate) heard: ClockChange,
    pub(crate) follow_up: FollowUp,
    /// The generation that was on trial when the message was made.
    pub(crate) tried: Option<ConfigGeneration>,
    pub(crate) desired: Option<Desired<'s>>,
    pub(crate) commands: ParsedItems<'s, Command<'s>>,
    pub(crate) leases: Option<DesiredLeases<'s>>,
}

/// Whether another message may follow at once if there are batches to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FollowUp {
    #[default]
    No,
    /// Only if the reply freed some; otherwise the next message would carry the same.
    IfFreed,
    Yes,
}

impl Uplink {
    /// Takes a reply. On an error the message stays in flight: the shell reports the failure or
    /// goes on waiting.
    pub(crate) fn handle_reply<'s>(
        &mut self,
        now: MonoMs,
        bytes: &[u8],
        scratch: &'s mut [u8],
        wall_clock: &mut WallClock,
        events: &mut Events,
    ) -> Result<ReplyEffects<'s>, ReplyError> {
        let sent = self.sent.as_ref().ok_or(ReplyError::NotExpected)?;
        let plain =
            open_reply(&self.keys, sent.request, bytes, scratch).map_err(ReplyError::Open)?;
        let reply = Reply::parse(plain).map_err(ReplyError::Parse)?;
        let Some(Sent { at: sent_at, patience_ms, carried, .. }) = self.sent.take() else {
            return Err(ReplyError::NotExpected);
        };
        let mut acknowledged = Acknowledged { ranges: Vec::new(), drops_known: carried.dropped };
        for range in reply.acks() {
            // Both lists are bounded by the wire format; together they fit.
            let _ = acknowledged.ranges.push(range);
        }
        for refused in reply.refused() {
            events.push(Event::BatchRefused { id: refused.id, reason: refused.reason });
            let (epoch, sequence) = (refused.id.epoch, refused.id.sequence);
            let range = AckRange { epoch, first: sequence, last: sequence };
            let _ = acknowledged.ranges.push(range);
        }
        let is_wanting = reply.wanted().len() > 0;
        let was_wanting = core::mem::replace(&mut self.is_wanting, is_wanting);
        reply.wanted().for_each(|stream| self.announce(stream));
        let exchange = Exchange { sent: sent_at, received: now, held: reply.held() };
        let heard = reply.time().map_or(ClockChange::Kept, |time| wall_clock.hear(time, exchange));
        let is_first = !core::mem::replace(&mut self.is_heard, true);
        if self.failures > 0 {
            events.push(Event::LinkRestored { failures: self.failures });
            self.failures = 0;
        }
        let was_fast = self.is_fast;
        self.is_fast &= carried.batches == 0;
        let check_in = reply.check_in().map(|after| after.clamp(CHECK_IN_MIN, CHECK_IN_MAX));
        self.next_at = match check_in {
            Some(after) => now.plus(after),
            // A check-in moves no upload.
            None if carried.is_check_in => self.next_at.max(now),
            // Spreads devices that started together over the interval.
            None if was_fast && !self.is_fast => {
                now.plus(self.random_part(self.intervals.upload()))
            }
            None => sent_at.plus(self.intervals.upload()).max(now),
        };
        self.not_before = if check_in.is_some() { self.next_at } else { now };
        self.check_in_at = now.plus(self.intervals.check_in()).max(self.not_before);
        if patience_ms > 0 {
            let is_worth_it = !reply.held().is_zero() || reply.commands().len() > 0;
            self.wait.answered(now, sent_at, self.intervals.wait(), is_worth_it);
        }
        // Batches had no room beside a report. It does not come again by itself.
        let is_crowded = carried.has_report && carried.batches == 0 && !carried.is_check_in;
        let follow_up = match check_in {
            Some(_) => FollowUp::No,
            // The first reply allows batches. A server that wants a layout again which was just
            // announced, or one that the device does not have, would want it for ever, so that does
            // not count.
            None if is_first
                || is_crowded
                || (is_wanting && !was_wanting && carried.streams.is_empty()) =>
            {
                FollowUp::Yes
            }
            None => FollowUp::IfFreed,
        };
        Ok(ReplyEffects {
            acknowledged,
            heard,
            follow_up,
            tried: carried.trial,
            desired: reply.desired(),
            commands: reply.commands(),
            leases: reply.leases(),
        })
    }

    /// The message in flight got no valid reply: what it carried is due again.
    pub(crate) fn failed(&mut self, now: MonoMs, failure: LinkFailure, events: &mut Events) {
        let Some(Sent { carried, patience_ms, .. }) = self.sent.take() else {
            // No message was made. An immediate retry would fail in the same way.
            self.next_at = now.plus(LINK_RETRY_MIN).max(self.not_before);
            self.check_in_at = self.check_in_at.max(self.next_at);
            return;
        };
        self.put_back(now, &carried);
        self.total_failures = self.total_failures.saturating_add(1);
        let full = LINK_RETRY_MIN.saturating_mul(1 << self.failures.min(8)).min(LINK_RETRY_MAX);
        // Between half and all of it, so that a fleet does not come back all at once.
        let mut retry_in = full / 2 + self.random_part(full / 2);
        if let LinkFailure::Busy { retry_after: Some(after) } = failure {
            // This answer is not authenticated, so it is capped. The rest of the cap is for the
            // spread.
            let after = after.min(RETRY_AFTER_MAX * 4 / 5);
            retry_in = retry_in.max(after + self.random_part(after / 4));
        }
        if self.failures == 0 {
            events.push(Event::LinkLost { failure, retry_in });
        }
        self.failures = self.failures.saturating_add(1);
        self.next_at = now.plus(retry_in);
        // A device that waits asks again as soon as it may.
        let check_in_at = if patience_ms == 0 { self.check_in_at } else { now };
        self.check_in_at = check_in_at.max(self.next_at);
    }

    /// What a message carried that got no reply is due again.
    pub(super) fn put_back(&mut self, now: MonoMs, carried: &Contents) {
        if carried.has_status {
            self.status_due = self.status_due.min(now);
        }
        self.is_report_due |= carried.has_report;
        carried.streams.iter().for_each(|stream| self.announce(*stream));
    }
}

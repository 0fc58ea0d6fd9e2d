//! Waiting for what the server wants: check-ins whose replies it may hold.

use core::time::Duration;

use ecowatt_model::MonoMs;

use super::Uplink;
use crate::limits::WAIT_MIN;

/// When to wait next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wait {
    /// The next wait does not begin before this.
    at: MonoMs,
    /// Replies in a row that could have been held and were not.
    not_held: u8,
}

impl Wait {
    /// Takes the reply to a message that was sent at `sent_at` and could be held. `is_worth_it`: it
    /// was held, or it brought something.
    pub(super) fn answered(
        &mut self,
        now: MonoMs,
        sent_at: MonoMs,
        longest: Duration,
        is_worth_it: bool,
    ) {
        self.not_held = if is_worth_it { 0 } else { self.not_held.saturating_add(1) };
        let pause = WAIT_MIN.saturating_mul(1 << self.not_held.saturating_sub(1).min(8));
        self.at = now.max(sent_at.plus(pause.min(longest)));
    }
}

impl Uplink {
    /// When a wait can begin; `None` if there is no time for one before the next upload, or the
    /// server is not answering.
    pub(super) fn wait_at(&self) -> Option<MonoMs> {
        let at = self.wait.at.max(self.not_before);
        let has_time = self.next_at.since(at) >= WAIT_MIN;
        let waits = self.intervals.wait_ms > 0 && self.is_heard && self.failures == 0;
        (waits && has_time).then_some(at)
    }

    /// For how long the server may hold the reply to a check-in that is sent now. After a failure
    /// the device first learns whether the server is back.
    pub(super) fn patience(&self, now: MonoMs) -> Duration {
        let left = self.next_at.since(now);
        let waits = left >= WAIT_MIN && self.failures == 0;
        if waits { self.intervals.wait().min(left) } else { Duration::ZERO }
    }

    /// Whether the server may be holding the reply to the message in flight, although the device
    /// has something to report.
    pub(crate) fn is_wait_in_the_way(&self, now: MonoMs, has_results: bool) -> bool {
        let is_waiting = self.sent.as_ref().is_some_and(|sent| sent.patience_ms > 0);
        is_waiting && (now >= self.status_due || self.is_report_due || has_results)
    }

    /// Ends a wait without a reply, which is no failure of the link. What the message carried is due
    /// again.
    pub(crate) fn give_up_wait(&mut self, now: MonoMs) {
        if let Some(sent) = self.sent.take_if(|sent| sent.patience_ms > 0) {
            self.put_back(now, &sent.carried);
            self.wait.at = now;
        }
    }
}

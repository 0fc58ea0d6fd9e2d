//! When a message is sent; `compose` fills it and `reply` reads the answer.
//!
//! One message is in flight at a time. Each is sealed under its own counter from a durable
//! reservation, even if it repeats what an earlier one carried: only the sealed reply to a request
//! frees the batches in it. The first messages of an epoch are sent early (the *fast lane*), so
//! that a device appears on the server seconds after its start. After that messages follow the
//! upload interval, sooner with a backlog, and sooner or later if the server asks for it. A
//! *check-in* is a message without batches before the next upload is due: its reply has what the
//! server wants from the device. If settings allow it, the device *waits*: between uploads it always
//! has a check-in under way, and the server holds the reply until it wants something. The wait ends
//! before the next upload is due, so that no batch waits for it.
//!
//! Until the server has answered once in the epoch, messages carry no batches: the reply has the
//! time, which dates the samples taken before it.

mod compose;
mod reply;
mod wait;

use core::time::Duration;

use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, RequestId};
use ecowatt_model::{ConfigGeneration, Counter, MonoMs, StreamNumber};
use heapless::Vec;

pub(crate) use compose::Tail;
pub use compose::{ComposeError, SealedMessage, batch_bytes_max, batch_rows_max};
pub(crate) use reply::FollowUp;
pub use reply::{Acknowledged, ReplyError};
use wait::Wait;

use crate::limits::{
    ANNOUNCED_MAX, COUNTERS_LEFT_MIN, COUNTERS_PER_RESERVATION, MESSAGE_BYTES_MIN, START_SPREAD,
    STATUS_INTERVAL, STORAGE_RETRY,
};

/// What a device needs to seal.
pub struct Credentials {
    pub kid: KeyId,
    pub key: DeviceKey,
    /// All counters below this may have been used in earlier epochs.
    pub reserved: Counter,
}

/// How often to send and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UplinkConfig {
    pub interval: Duration,
    /// Most bytes of one sealed message; raised to [`MESSAGE_BYTES_MIN`] if lower.
    pub message_bytes_max: usize,
    /// Different for each device and start; spreads what devices would otherwise do at the same
    /// time.
    pub seed: u32,
}

pub(crate) struct Uplink {
    intervals: Intervals,
    message_bytes_max: usize,
    kid: KeyId,
    keys: LinkKeys,
    /// Counter of the next message.
    next_counter: u64,
    /// Counters below this are durably reserved.
    counter_limit: u64,
    /// A reservation was requested and not yet answered.
    is_reserving: bool,
    /// When the next message is due.
    next_at: MonoMs,
    /// When a message is sent although no upload is due.
    check_in_at: MonoMs,
    wait: Wait,
    /// The server asked for a pause until here; nothing is sent before it, however urgent.
    not_before: MonoMs,
    /// Messages without a valid reply since the last one with.
    failures: u32,
    /// Messages without a valid reply in this epoch.
    total_failures: u32,
    sent: Option<Sent>,
    /// The fast lane: until a message with batches got its reply.
    is_fast: bool,
    /// Whether the server has answered in this epoch.
    is_heard: bool,
    /// When the next status is due. Moved on when a message takes the status, not when its reply
    /// comes, so that a change while the message is in flight makes it due again. Moved back if no
    /// reply comes.
    status_due: MonoMs,
    /// The settings have changed since they were reported; cleared and set in the same way.
    is_report_due: bool,
    /// Layouts to announce; removed and put back in the same way.
    announce: Vec<StreamNumber, ANNOUNCED_MAX>,
    /// Whether the last reply wanted layouts. Cleared by a reply that wants none.
    is_wanting: bool,
    /// State of the generator that spreads load.
    random: u32,
}

/// How often to send, and how long to wait; in milliseconds, which take a third of the memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    upload_ms: u32,
    check_in_ms: u32,
    wait_ms: u32,
}

impl Intervals {
    /// `wait`: how long the server may hold the reply to a check-in; zero if it may not.
    pub(crate) fn new(upload: Duration, check_in: Duration, wait: Duration) -> Self {
        Self {
            upload_ms: as_millis(upload),
            check_in_ms: as_millis(check_in),
            wait_ms: as_millis(wait),
        }
    }

    fn upload(self) -> Duration {
        Duration::from_millis(self.upload_ms.into())
    }

    fn check_in(self) -> Duration {
        Duration::from_millis(self.check_in_ms.into())
    }

    fn wait(self) -> Duration {
        Duration::from_millis(self.wait_ms.into())
    }
}

fn as_millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// A message in flight.
#[derive(Debug, Clone)]
struct Sent {
    request: RequestId,
    at: MonoMs,
    /// How long the server may hold the reply, in milliseconds; zero if it may not.
    patience_ms: u32,
    carried: Contents,
}

/// Contents of a message: done once its reply has come, due again if none comes.
#[derive(Debug, Clone)]
struct Contents {
    batches: usize,
    /// It was sent before an upload was due.
    is_check_in: bool,
    has_status: bool,
    has_report: bool,
    trial: Option<ConfigGeneration>,
    streams: Vec<StreamNumber, ANNOUNCED_MAX>,
    dropped: usize,
}

impl Uplink {
    pub(crate) fn new(config: UplinkConfig, credentials: &Credentials, now: MonoMs) -> Self {
        let mut uplink = Self {
            intervals: Intervals::new(
                config.interval,
                config.interval.max(STATUS_INTERVAL),
                Duration::ZERO,
            ),
            message_bytes_max: config.message_bytes_max.max(MESSAGE_BYTES_MIN),
            kid: credentials.kid,
            keys: LinkKeys::derive(&credentials.key, credentials.kid),
            next_counter: credentials.reserved.0.max(1),
            counter_limit: credentials.reserved.0.max(1),
            is_reserving: false,
            next_at: now,
            check_in_at: now,
            wait: Wait::default(),
            not_before: now,
            failures: 0,
            total_failures: 0,
            sent: None,
            is_fast: true,
            is_heard: false,
            status_due: now,
            is_report_due: false,
            announce: Vec::new(),
            is_wanting: false,
            random: config.seed | 1,
        };
        uplink.next_at = now.plus(uplink.random_part(START_SPREAD));
        uplink.check_in_at = uplink.next_at.plus(uplink.intervals.check_in());
        uplink
    }

    /// Uses these intervals from here on: the next message is due no later than they say, unless
    /// it repeats one that failed or the server asked for a pause.
    pub(crate) fn set_intervals(&mut self, now: MonoMs, intervals: Intervals) {
        self.intervals = intervals;
        if self.failures == 0 {
            let (upload, check_in) = (intervals.upload(), intervals.check_in());
            self.next_at = self.next_at.min(now.plus(upload)).max(self.not_before);
            self.check_in_at = self.check_in_at.min(now.plus(check_in)).max(self.not_before);
        }
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    /// The server asked for a pause until here.
    pub(crate) fn not_before(&self) -> MonoMs {
        self.not_before
    }

    /// The settings have changed and can be reported; or they have changed and cannot yet.
    pub(crate) fn report(&mut self, is_due: bool) {
        self.is_report_due = is_due;
    }

    pub(crate) fn total_failures(&self) -> u32 {
        self.total_failures
    }

    /// Whether the last message got its reply.
    pub(crate) fn is_healthy(&self) -> bool {
        self.failures == 0
    }

    pub(crate) fn is_fast(&self) -> bool {
        self.is_fast
    }

    /// Whether the server has answered in this epoch.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Whether it is time to reserve counters.
    pub(crate) fn needs_reservation(&self) -> bool {
        !self.is_reserving && self.counter_limit - self.next_counter < COUNTERS_LEFT_MIN
    }

    /// The limit to reserve, if it is time for that.
    pub(crate) fn poll_reservation(&mut self) -> Option<Counter> {
        if !self.needs_reservation() {
            return None;
        }
        self.is_reserving = true;
        Some(Counter(self.counter_limit.saturating_add(COUNTERS_PER_RESERVATION)))
    }

    pub(crate) fn reserved(&mut self, limit: Counter) {
        self.is_reserving = false;
        self.counter_limit = self.counter_limit.max(limit.0);
    }

    pub(crate) fn not_reserved(&mut self) {
        self.is_reserving = false;
    }

    /// Whether the time for a message has come, so that batches should be cut for it.
    pub(crate) fn is_due(&self, now: MonoMs) -> bool {
        self.sent.is_none() && now >= self.next_at
    }

    /// Whether a message can be sent and has contents; `backlog` is the number of batches to send.
    /// `has_results`: the state of a command is due to be reported.
    pub(crate) fn is_ready(&self, now: MonoMs, backlog: u32, has_results: bool) -> bool {
        let has_contents = (backlog > 0 && self.is_heard)
            || now >= self.status_due
            || self.is_report_due
            || has_results;
        self.is_due(now) && self.next_counter < self.counter_limit && has_contents
    }

    /// Whether it is time for a message without batches, because no upload is due yet. `may_wait`:
    /// nothing speaks against waiting for what the server wants.
    pub(crate) fn is_check_in_due(&self, now: MonoMs, may_wait: bool) -> bool {
        let is_wanted =
            now >= self.check_in_at || (may_wait && self.wait_at().is_some_and(|at| now >= at));
        let is_due = self.sent.is_none() && is_wanted && now < self.next_at;
        is_due && self.next_counter < self.counter_limit
    }

    /// When the next message is due, if nothing makes it due sooner.
    pub(crate) fn poll_at(&self, may_wait: bool) -> Option<MonoMs> {
        let can_send = self.sent.is_none() && self.next_counter < self.counter_limit;
        let wait_at = self.wait_at().filter(|_| may_wait).unwrap_or(self.next_at);
        can_send.then_some(self.next_at.min(self.check_in_at).min(wait_at))
    }

    /// Moves a message that is due but has no contents, or cannot be sent yet because
    /// storage is stuck.
    pub(crate) fn postpone(&mut self, now: MonoMs, is_stuck: bool) {
        let pause = if is_stuck { STORAGE_RETRY } else { self.intervals.upload() };
        let next = now.plus(pause.max(Duration::from_millis(1)));
        let next = if self.status_due > now { next.min(self.status_due) } else { next };
        self.next_at = next.max(self.not_before);
    }

    /// Makes a message due as soon as the link allows: there is something urgent to send.
    pub(crate) fn hurry(&mut self, now: MonoMs) {
        if self.failures == 0 && self.sent.is_none() {
            self.next_at = self.next_at.min(now).max(self.not_before);
        }
    }

    /// Makes a check-in due as soon as the link allows. The first message of an epoch has its own
    /// time, which spreads the fleet.
    pub(crate) fn check_in(&mut self, now: MonoMs) {
        if self.failures == 0 && self.sent.is_none() && self.is_heard {
            self.check_in_at = self.check_in_at.min(now).max(self.not_before);
        }
    }

    /// The status changed.
    pub(crate) fn status_changed(&mut self, now: MonoMs) {
        self.status_due = self.status_due.min(now);
    }

    pub(crate) fn announce(&mut self, stream: StreamNumber) {
        if !self.announce.contains(&stream) {
            // There is room for one per source; the server asks again for one that does not fit.
            let _ = self.announce.push(stream);
        }
    }

    /// Announces a layout no more: the shell does not have it.
    pub(crate) fn withdraw(&mut self, stream: StreamNumber) {
        self.announce.retain(|announced| *announced != stream);
    }

    pub(crate) fn announced(&self) -> &[StreamNumber] {
        &self.announce
    }

    /// Makes the next message due at once: the last one could not carry everything.
    pub(crate) fn go_on(&mut self, now: MonoMs) {
        self.next_at = now;
    }

    /// A part of `span`, different each time (xorshift32; it spreads load and protects nothing).
    fn random_part(&mut self, span: Duration) -> Duration {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random = x;
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(u64::from(x).saturating_mul(ms.min(u64::from(u32::MAX))) >> 32)
    }
}

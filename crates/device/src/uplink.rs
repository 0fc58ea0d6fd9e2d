//! When a message is sent, what is in it, and what its reply means.
//!
//! One message is in flight at a time. Each is sealed under its own counter from a durable
//! reservation, even if it repeats what an earlier one carried: only the sealed reply to a request
//! frees the batches in it. The first messages of an epoch are sent early (the *fast lane*), so
//! that a device appears on the server seconds after its start. After that messages follow the
//! upload interval, sooner with a backlog, and sooner or later if the server asks for it. A
//! *check-in* is a message without batches before the next upload is due: its reply has what the
//! server wants from the device.
//!
//! Until the server has answered once in the epoch, messages carry no batches: the reply has the
//! time, which dates the samples taken before it.

use core::time::Duration;

use ecowatt_codec::encoded_len_max;
use ecowatt_envelope::{
    DeviceKey, KeyId, LinkKeys, MESSAGE_MAX, OpenError, RequestId, SealError, UPLINK_OVERHEAD_MAX,
    open_reply, seal_uplink,
};
use ecowatt_model::{
    BootEpoch, ConfigGeneration, Counter, MonoMs, ROWS_MAX, SOURCES_MAX, StreamNumber,
};
use ecowatt_wire::{
    ARGUMENTS_MAX, AckRange, Batch, ClockReport, Command, CommandResult, Desired, ITEMS_MAX,
    LostSamples, ParseError, ParsedItems, Reply, Reported, Status, Stream, UplinkWriter,
    WriteError, list_len_max, reported_len_max, uplink_fixed_len_max,
};
use heapless::Vec;

use crate::event::{Event, Events, LinkFailure};
use crate::limits::{
    ANNOUNCED_MAX, CHECK_IN_MAX, CHECK_IN_MIN, COUNTERS_LEFT_MIN, COUNTERS_PER_RESERVATION,
    LINK_RETRY_MAX, LINK_RETRY_MIN, MESSAGE_BYTES_MIN, RETRY_AFTER_MAX, START_SPREAD,
    STATUS_INTERVAL, STORAGE_RETRY,
};
use crate::wall_clock::{ClockChange, Exchange, WallClock};

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

/// A sealed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedMessage {
    pub request: RequestId,
    /// Length of the message, from the start of the buffer.
    pub len: usize,
    /// How many of the offered batches are in it, counted from the first.
    pub batches: usize,
    /// How many of the layouts, counted from the first.
    pub streams: usize,
    /// How many of the gaps, counted from the first.
    pub dropped: usize,
    /// How many results of commands: all, or none for lack of room.
    pub results: usize,
}

/// Why no message was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("no message is due")]
    NotDue,
    #[error("message cannot be written")]
    Write(#[source] WriteError),
    #[error("message cannot be sealed")]
    Seal(#[source] SealError),
}

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

/// What the core adds to a message besides batches.
#[derive(Clone, Copy)]
pub(crate) struct Tail<'a> {
    pub(crate) clock: ClockReport,
    pub(crate) status: Status<'a>,
    /// The settings in use, if they are durable; written when a report is due.
    pub(crate) reported: Option<Reported<'a>>,
    /// The generation on trial, if its settings are in use.
    pub(crate) trial: Option<ConfigGeneration>,
    /// States of commands that the server may not have.
    pub(crate) results: &'a [CommandResult<'a>],
}

pub(crate) struct Uplink {
    interval: Duration,
    check_in_interval: Duration,
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

/// A message in flight.
#[derive(Debug, Clone)]
struct Sent {
    request: RequestId,
    at: MonoMs,
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

/// Effects of a reply beyond the link itself.
pub(crate) struct ReplyEffects<'s> {
    pub(crate) acknowledged: Acknowledged,
    pub(crate) heard: ClockChange,
    pub(crate) follow_up: FollowUp,
    /// The generation that was on trial when the message was made.
    pub(crate) tried: Option<ConfigGeneration>,
    pub(crate) desired: Option<Desired<'s>>,
    pub(crate) commands: ParsedItems<'s, Command<'s>>,
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

/// Room kept free of batches and layouts: for clock, status and one gap, so that a message can
/// always be made and no section is crowded out for ever.
const KEPT_BYTES: usize = uplink_fixed_len_max(SOURCES_MAX) + list_len_max(LostSamples::LEN_MAX);

impl Uplink {
    pub(crate) fn new(config: UplinkConfig, credentials: &Credentials, now: MonoMs) -> Self {
        let mut uplink = Self {
            interval: config.interval,
            check_in_interval: config.interval.max(STATUS_INTERVAL),
            message_bytes_max: config.message_bytes_max.max(MESSAGE_BYTES_MIN),
            kid: credentials.kid,
            keys: LinkKeys::derive(&credentials.key, credentials.kid),
            next_counter: credentials.reserved.0.max(1),
            counter_limit: credentials.reserved.0.max(1),
            is_reserving: false,
            next_at: now,
            check_in_at: now,
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
        uplink.check_in_at = uplink.next_at.plus(uplink.check_in_interval);
        uplink
    }

    /// Uses these intervals from here on: the next message is due no later than they say, unless
    /// it repeats one that failed or the server asked for a pause.
    pub(crate) fn set_intervals(&mut self, now: MonoMs, upload: Duration, check_in: Duration) {
        (self.interval, self.check_in_interval) = (upload, check_in);
        if self.failures == 0 {
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

    /// Whether it is time for a message without batches, because no upload is due yet.
    pub(crate) fn is_check_in_due(&self, now: MonoMs) -> bool {
        let is_due = self.sent.is_none() && now >= self.check_in_at && now < self.next_at;
        is_due && self.next_counter < self.counter_limit
    }

    /// When the next message is due, if nothing makes it due sooner.
    pub(crate) fn poll_at(&self) -> Option<MonoMs> {
        let can_send = self.sent.is_none() && self.next_counter < self.counter_limit;
        can_send.then_some(self.next_at.min(self.check_in_at))
    }

    /// Moves a message that is due but has no contents, or cannot be sent yet because
    /// storage is stuck.
    pub(crate) fn postpone(&mut self, now: MonoMs, is_stuck: bool) {
        let pause = if is_stuck { STORAGE_RETRY } else { self.interval };
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

    pub(crate) fn compose(
        &mut self,
        now: MonoMs,
        offered: &mut dyn Iterator<Item = Batch<'_>>,
        streams: &[Stream<'_>],
        dropped: &mut dyn Iterator<Item = LostSamples>,
        tail: &Tail<'_>,
        buffer: &mut [u8],
    ) -> Result<SealedMessage, ComposeError> {
        if self.sent.is_some() || self.next_counter >= self.counter_limit {
            return Err(ComposeError::NotDue);
        }
        // Layouts get their room before batches: the server takes no batch without its layout.
        let size = buffer.len().min(self.message_bytes_max).min(MESSAGE_MAX);
        let size = size.saturating_sub(UPLINK_OVERHEAD_MAX);
        let plain = buffer.get_mut(..size).unwrap_or_default();
        let room = plain.len().saturating_sub(KEPT_BYTES);
        let (layouts, layout_bytes) = fitting(streams, room);
        // A report is rare, so no room is kept for it beside layouts: it follows in the next message.
        let report_len = |all: &Reported<'_>| reported_len_max(all.refused.len(), all.values.len());
        let reported = tail.reported.filter(|_| self.is_report_due);
        let reported = reported.filter(|all| report_len(all) <= room - layout_bytes);
        let report_bytes = reported.as_ref().map_or(0, report_len);
        let results_len = results_len_max(tail.results);
        let has_room = results_len <= room - layout_bytes - report_bytes;
        let results = if has_room { tail.results } else { &[] };
        let report_bytes = report_bytes + if has_room { results_len } else { 0 };
        let mut writer = UplinkWriter::new(plain);
        let is_check_in = now < self.next_at;
        let batches = if self.is_heard && !is_check_in {
            let leave = KEPT_BYTES + layout_bytes + report_bytes;
            writer.batches(offered, leave).map_err(ComposeError::Write)?
        } else {
            0
        };
        let has_status = now >= self.status_due;
        if has_status {
            writer.clock(&tail.clock).map_err(ComposeError::Write)?;
        }
        let streams = streams.get(..layouts).unwrap_or_default();
        writer.streams(&mut streams.iter().copied(), 0).map_err(ComposeError::Write)?;
        if has_status {
            writer.status(&tail.status).map_err(ComposeError::Write)?;
        }
        let dropped = writer.dropped(dropped, report_bytes).map_err(ComposeError::Write)?;
        if let Some(reported) = &reported {
            writer.reported(reported).map_err(ComposeError::Write)?;
        }
        let results =
            writer.results(&mut results.iter().copied(), 0).map_err(ComposeError::Write)?;
        let len = writer.finish();
        let request = RequestId { kid: self.kid, counter: Counter(self.next_counter) };
        // Used up even if sealing fails: a counter seals at most one message.
        self.next_counter += 1;
        let sealed = buffer.get_mut(..size + UPLINK_OVERHEAD_MAX).unwrap_or_default();
        let len = seal_uplink(&self.keys, request, sealed, len).map_err(ComposeError::Seal)?;
        if has_status {
            self.status_due = now.plus(STATUS_INTERVAL);
        }
        let has_report = reported.is_some();
        self.is_report_due &= !has_report;
        let streams: Vec<_, ANNOUNCED_MAX> =
            streams.iter().map(|stream| stream.number).take(ANNOUNCED_MAX).collect();
        self.announce.retain(|number| !streams.contains(number));
        let trial = tail.trial;
        let carried =
            Contents { batches, is_check_in, has_status, has_report, trial, streams, dropped };
        self.sent = Some(Sent { request, at: now, carried });
        Ok(SealedMessage { request, len, batches, streams: layouts, dropped, results })
    }

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
        let Some(Sent { at: sent_at, carried, .. }) = self.sent.take() else {
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
            None if was_fast && !self.is_fast => now.plus(self.random_part(self.interval)),
            None => sent_at.plus(self.interval).max(now),
        };
        self.not_before = if check_in.is_some() { self.next_at } else { now };
        self.check_in_at = now.plus(self.check_in_interval).max(self.not_before);
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
        let (tried, desired, commands) = (carried.trial, reply.desired(), reply.commands());
        Ok(ReplyEffects { acknowledged, heard, follow_up, tried, desired, commands })
    }

    /// Makes the next message due at once: the last one could not carry everything.
    pub(crate) fn go_on(&mut self, now: MonoMs) {
        self.next_at = now;
    }

    pub(crate) fn failed(&mut self, now: MonoMs, failure: LinkFailure, events: &mut Events) {
        let Some(Sent { carried, .. }) = self.sent.take() else {
            // No message was made. An immediate retry would fail in the same way.
            self.next_at = now.plus(LINK_RETRY_MIN).max(self.not_before);
            self.check_in_at = self.check_in_at.max(self.next_at);
            return;
        };
        if carried.has_status {
            self.status_due = self.status_due.min(now);
        }
        self.is_report_due |= carried.has_report;
        carried.streams.iter().for_each(|stream| self.announce(*stream));
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
        self.check_in_at = self.check_in_at.max(self.next_at);
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

/// How many streams fit, counted from the first, and the length of their section.
fn fitting(streams: &[Stream<'_>], room: usize) -> (usize, usize) {
    let mut items = 0;
    let mut count = 0;
    for stream in streams.iter().take(ITEMS_MAX.min(ANNOUNCED_MAX)) {
        let with_it = items + Stream::HEAD_LEN_MAX + stream.layout.len();
        if list_len_max(with_it) > room {
            break;
        }
        (items, count) = (with_it, count + 1);
    }
    (count, list_len_max(items))
}

/// Most bytes of the section with these results.
fn results_len_max(results: &[CommandResult<'_>]) -> usize {
    let without_words = CommandResult::LEN_MAX - ARGUMENTS_MAX;
    list_len_max(results.iter().map(|result| without_words + result.words.len()).sum())
}

/// Largest batch, in bytes, that a message has room for.
#[must_use]
pub fn batch_bytes_max(message_bytes_max: usize) -> usize {
    let taken = UPLINK_OVERHEAD_MAX + KEPT_BYTES + list_len_max(Batch::HEAD_LEN_MAX);
    message_bytes_max.clamp(MESSAGE_BYTES_MIN, MESSAGE_MAX).saturating_sub(taken)
}

/// Most rows of a batch that still fits into a message if it does not compress at all.
#[must_use]
pub fn batch_rows_max(columns: usize, message_bytes_max: usize) -> usize {
    let room = batch_bytes_max(message_bytes_max);
    let fixed = encoded_len_max(0, columns);
    let row = encoded_len_max(1, columns).saturating_sub(fixed).max(1);
    // A row's share is rounded up, so the product is never too low.
    (room.saturating_sub(fixed) / row).clamp(1, ROWS_MAX)
}

impl Tail<'_> {
    pub(crate) fn clock(epoch: BootEpoch, now: MonoMs, wall_clock: &WallClock) -> ClockReport {
        ClockReport { epoch, mono: now, unix: wall_clock.unix(now) }
    }
}

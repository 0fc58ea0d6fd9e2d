//! What is in a message: each section has its room, and a batch gets what is left.

use core::time::Duration;

use ecowatt_codec::encoded_len_max;
use ecowatt_envelope::{MESSAGE_MAX, RequestId, SealError, UPLINK_OVERHEAD_MAX, seal_uplink};
use ecowatt_model::{BootEpoch, ConfigGeneration, Counter, MonoMs, ROWS_MAX, SOURCES_MAX};
use ecowatt_wire::{
    ARGUMENTS_MAX, Batch, ClockReport, CommandResult, ITEMS_MAX, LostSamples, Reported,
    ReportedLeases, Status, Stream, UplinkWriter, WriteError, list_len_max,
    reported_leases_len_max, reported_len_max, uplink_fixed_len_max,
};
use heapless::Vec;

use super::{Contents, Sent, Uplink, as_millis};
use crate::limits::{ANNOUNCED_MAX, MESSAGE_BYTES_MIN, STATUS_INTERVAL};
use crate::wall_clock::WallClock;

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
    /// How long the server may hold the reply. The shell waits for it for so much longer.
    pub patience: Duration,
    /// Whether the report of leases is in it.
    pub has_leases: bool,
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

/// What the core adds to a message besides batches.
#[derive(Clone, Copy)]
pub(crate) struct Tail<'a> {
    pub(crate) clock: ClockReport,
    pub(crate) status: Status<'a>,
    /// The settings in use, if they are durable; written when a report is due.
    pub(crate) reported: Option<Reported<'a>>,
    /// The generation on trial, if its settings are in use.
    pub(crate) trial: Option<ConfigGeneration>,
    /// Nothing speaks against waiting for what the server wants.
    pub(crate) may_wait: bool,
    /// States of commands that the server may not have.
    pub(crate) results: &'a [CommandResult<'a>],
    /// The leases and what came of them, if a report is due.
    pub(crate) leases: Option<ReportedLeases<'a>>,
}

impl Tail<'_> {
    pub(crate) fn clock(epoch: BootEpoch, now: MonoMs, wall_clock: &WallClock) -> ClockReport {
        ClockReport { epoch, mono: now, unix: wall_clock.unix(now) }
    }
}

/// Room kept free of batches and layouts: for clock, status and one gap, so that a message can
/// always be made and no section is crowded out for ever.
const KEPT_BYTES: usize = uplink_fixed_len_max(SOURCES_MAX) + list_len_max(LostSamples::LEN_MAX);

impl Uplink {
    /// Writes and seals the message that is due.
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
        let leases_len = |all: &ReportedLeases<'_>| {
            reported_leases_len_max(all.refused.len(), all.changes.len())
        };
        let left = room - layout_bytes - report_bytes;
        let leases = tail.leases.filter(|all| leases_len(all) <= left);
        let report_bytes = report_bytes + leases.as_ref().map_or(0, leases_len);
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
        // The server takes a message when it answers it. One that reports something must not wait for
        // that; the others have room for the section.
        let has_news = has_status || layouts + dropped + results > 0;
        let has_news = has_news || reported.is_some() || leases.is_some();
        let may_wait = tail.may_wait && is_check_in && !has_news;
        let patience = if may_wait { self.patience(now) } else { Duration::ZERO };
        if !patience.is_zero() {
            writer.patience(patience).map_err(ComposeError::Write)?;
        }
        if let Some(leases) = &leases {
            writer.leases(leases).map_err(ComposeError::Write)?;
        }
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
        let patience_ms = as_millis(patience);
        self.sent = Some(Sent { request, at: now, patience_ms, carried });
        let has_leases = leases.is_some();
        let streams = layouts;
        Ok(SealedMessage { request, len, batches, streams, dropped, results, patience, has_leases })
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

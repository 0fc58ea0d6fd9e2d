//! Turns batches as they were received into blocks for the store.
//!
//! A batch is decoded completely before any of it counts: one that breaks off in its last row is
//! refused like one that cannot be read at all.

use std::sync::{Mutex, PoisonError};

use ecowatt_codec::{COLUMNS_MAX, CodecMemory, DecodeError, Decoder, TimeBase};
use ecowatt_model::{BatchId, Mark, SourceNumber, UnixMs};
use ecowatt_store::{NewBlock, StreamId, Summariser, Summary, TimeQuality};
use ecowatt_wire::{BatchRefusal, Certainty, EpochStart};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::local_day::Calendar;
use super::streams::{Decoding, KnownStream};
use crate::limits::BATCH_SPAN_MAX;
use crate::live::{LiveReading, LiveReadings};

/// 2020-01-01T00:00:00Z. No device of ours is older, so a clock before it was never set.
const EARLIEST: UnixMs = UnixMs(1_577_836_800_000);

/// How far a device's clock may be ahead before its times are suspect, in milliseconds.
const AHEAD_MAX_MS: i64 = 24 * 3_600_000;

/// Sets of working memory kept for later messages; more are allocated when more are needed at once.
const SCRATCH_MAX: usize = 8;

/// A batch with its layout, not yet decoded.
#[derive(Debug)]
pub(super) struct Encoded {
    id: BatchId,
    stream_id: StreamId,
    stream: KnownStream,
    bytes: Vec<u8>,
    /// What its times count from; none if its head cannot be read.
    base: Option<TimeBase>,
    /// Rows times columns or points, whichever are more, by its head; 0 if that cannot be read.
    values: usize,
    /// Start of its epoch, if the device reported it.
    start: Option<EpochStart>,
}

impl Encoded {
    pub(super) fn new(
        id: BatchId,
        (bytes, start): (Vec<u8>, Option<EpochStart>),
        stream_id: StreamId,
        stream: KnownStream,
        scratch: &Scratch,
    ) -> Self {
        let head = scratch.with(|working| {
            let decoder = Decoder::new(&bytes, &mut working.codec.state).ok()?;
            let width = decoder.columns().max(stream.decoding.points.len());
            Some((decoder.base(), decoder.rows() * width))
        });
        Self {
            id,
            stream_id,
            stream,
            bytes,
            base: head.map(|(base, _)| base),
            values: head.map_or(0, |(_, values)| values),
            start,
        }
    }

    /// Returns how many values there are to decode.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// Returns the offset to add to its times, in milliseconds, and how reliable it is. The device
    /// reports its epoch's start, because it asks for the time before it sends any batch; so it
    /// does not matter how long the message was under way.
    fn offset(&self) -> Result<(i64, TimeQuality), BatchRefusal> {
        match (self.base, self.start) {
            (Some(TimeBase::SinceBoot), Some(start)) => Ok(match start.certainty {
                Certainty::Confirmed => (start.unix.0, TimeQuality::Anchored),
                Certainty::Estimated => (start.unix.0, TimeQuality::Estimated),
            }),
            (Some(TimeBase::SinceBoot), None) => Err(BatchRefusal::NoStart),
            (Some(TimeBase::Unix) | None, _) => Ok((0, TimeQuality::Device)),
        }
    }
}

/// Working memory for one batch.
pub(super) struct Working {
    codec: Codec,
    summarise: Summariser,
}

/// Working memory of one decoder.
struct Codec {
    state: CodecMemory,
    words: Vec<u16>,
    marks: Vec<Mark>,
}

/// Working memory for reuse: the largest layout needs too much to allocate it for every message.
#[derive(Default)]
pub(super) struct Scratch(Mutex<Vec<Box<Working>>>);

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scratch(..)")
    }
}

impl Scratch {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Working) -> T) -> T {
        let held = self.lock().pop();
        let mut working = held.unwrap_or_else(|| {
            Box::new(Working {
                codec: Codec {
                    state: CodecMemory::new(),
                    words: vec![0; COLUMNS_MAX],
                    marks: vec![Mark::Read; COLUMNS_MAX],
                },
                summarise: Summariser::default(),
            })
        });
        let result = work(&mut working);
        let mut free = self.lock();
        if free.len() < SCRATCH_MAX {
            free.push(working);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<Working>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a batch does not become a block.
pub(super) enum Stop {
    Refused(BatchRefusal),
    /// It brings more cells than the message may still bring.
    TooMany,
}

impl From<BatchRefusal> for Stop {
    fn from(reason: BatchRefusal) -> Self {
        Self::Refused(reason)
    }
}

/// What live views and metrics need of a batch once it is stored.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) rows: u64,
    /// Its newest sample; only in the message's newest batch of each inverter, and only if there
    /// are live readers.
    pub(super) live: Option<Newest>,
}

/// A sample as the device read it.
#[derive(Debug)]
pub(super) struct Newest {
    stream: KnownStream,
    at: UnixMs,
    words: Vec<u16>,
    marks: Vec<Mark>,
}

impl Newest {
    pub(super) fn inverter(&self) -> SourceNumber {
        self.stream.source
    }

    pub(super) fn at(&self) -> UnixMs {
        self.at
    }

    /// Returns the sample for live views.
    pub(super) fn live(&self) -> LiveReadings {
        LiveReadings {
            inverter: self.stream.source,
            at: self.at,
            readings: readings(&self.stream, &self.words, &self.marks),
        }
    }
}

/// Decodes and summarises a stored batch; none if it cannot be read.
pub(super) fn summarise(
    bytes: &[u8],
    offset: i64,
    decoding: &Decoding,
    zone: &TimeZone,
    scratch: &Scratch,
) -> Option<Summary> {
    let columns = decoding.layout.columns().len();
    let mut calendar = Calendar::new(zone);
    scratch.with(|Working { codec, summarise }| {
        summarise.begin(&decoding.points, decoding.energy);
        each_row(
            bytes,
            codec,
            |found| if found == columns { Ok(()) } else { Err(BatchRefusal::WrongColumns) },
            |time, words, marks| {
                let at = UnixMs(time.saturating_add(offset));
                let readings = decoding.layout.decode(words, marks);
                summarise.sample(at, calendar.date(at), readings.map(|r| (r.quality, r.value)));
                Ok(())
            },
        )
        .ok()?;
        Some(summarise.finish())
    })
}

/// Decodes, checks and summarises one batch, unless it brings more than `cells_max` cells.
pub(super) fn block(
    batch: Encoded,
    working: &mut Working,
    calendar: &mut Calendar<'_>,
    received_at: UnixMs,
    is_watched: bool,
    cells_max: usize,
) -> Result<(NewBlock, Samples), Stop> {
    let (offset, mut quality) = batch.offset()?;
    let decoding = &*batch.stream.decoding;
    let columns = decoding.layout.columns().len();
    let Working { codec, summarise } = working;
    summarise.begin(&decoding.points, decoding.energy);
    // One pass over the rows checks the times, fills the roll-ups and keeps the newest sample.
    let mut bounds: Option<(UnixMs, UnixMs)> = None;
    let mut rows = 0u16;
    let mut newest: Option<Newest> = None;
    each_row(
        &batch.bytes,
        codec,
        |found| if found == columns { Ok(()) } else { Err(BatchRefusal::WrongColumns) },
        |time, words, marks| {
            let at = UnixMs(time.saturating_add(offset));
            // A time outside the calendar can only come from a broken clock.
            if Timestamp::from_millisecond(at.0).is_err() {
                return Err(BatchRefusal::Undecodable.into());
            }
            let (first, last) = bounds.unwrap_or((at, at));
            let (first, last) = (first.min(at), last.max(at));
            bounds = Some((first, last));
            if u128::from(last.0.abs_diff(first.0)) > BATCH_SPAN_MAX.as_millis() {
                return Err(BatchRefusal::Span.into());
            }
            rows = rows.saturating_add(1);
            let readings = decoding.layout.decode(words, marks);
            summarise.sample(at, calendar.date(at), readings.map(|r| (r.quality, r.value)));
            if summarise.cells() > cells_max {
                return Err(Stop::TooMany);
            }
            if is_watched && at >= last {
                note(&mut newest, &batch.stream, (at, words, marks));
            }
            Ok(())
        },
    )?;
    let (first, last) = bounds.ok_or(BatchRefusal::Undecodable)?;
    // Implausible times are stored, because the readings are good, but they are marked.
    if first < EARLIEST || last.0 > received_at.0.saturating_add(AHEAD_MAX_MS) {
        quality = TimeQuality::Suspect;
    }
    let source = batch.stream.source;
    let samples = Samples { rows: u64::from(rows), live: newest };
    let block = NewBlock {
        id: batch.id,
        stream: batch.stream_id,
        source,
        rows,
        first,
        last,
        time_offset_ms: offset,
        time_quality: quality,
        bytes: batch.bytes,
        summary: summarise.finish(),
    };
    Ok((block, samples))
}

/// Keeps a sample in place of the previous one, reusing its memory.
fn note(
    newest: &mut Option<Newest>,
    stream: &KnownStream,
    (at, words, marks): (UnixMs, &[u16], &[Mark]),
) {
    let held = newest.get_or_insert_with(|| Newest {
        stream: stream.clone(),
        at,
        words: Vec::with_capacity(words.len()),
        marks: Vec::with_capacity(marks.len()),
    });
    held.at = at;
    held.words.clear();
    held.words.extend_from_slice(words);
    held.marks.clear();
    held.marks.extend_from_slice(marks);
}

/// Passes every row of a batch to `take`; fails unless the whole batch is well formed.
fn each_row(
    bytes: &[u8],
    codec: &mut Codec,
    check_columns: impl FnOnce(usize) -> Result<(), BatchRefusal>,
    mut take: impl FnMut(i64, &[u16], &[Mark]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let undecodable = |_: DecodeError| BatchRefusal::Undecodable;
    let mut decoder = Decoder::new(bytes, &mut codec.state).map_err(undecodable)?;
    let columns = decoder.columns();
    check_columns(columns)?;
    let (words, marks) = (&mut codec.words[..columns], &mut codec.marks[..columns]);
    while let Some(time) = decoder.next_row(words, marks).map_err(undecodable)? {
        take(time, words, marks)?;
    }
    Ok(())
}

fn readings(stream: &KnownStream, words: &[u16], marks: &[Mark]) -> Vec<LiveReading> {
    let layout = &stream.decoding.layout;
    layout
        .decode(words, marks)
        .filter_map(|reading| {
            let point = layout.points().get(reading.point)?;
            let value = scaled(reading.good()?, point.exponent);
            Some(LiveReading { point: point.name.clone(), value })
        })
        .collect()
}

/// Converts a value to the point's unit, to the nearest double.
#[expect(clippy::cast_precision_loss, reason = "readings on a screen; the store keeps integers")]
fn scaled(value: i64, exponent: i8) -> f64 {
    let value = value as f64;
    let power = 10f64.powi(i32::from(exponent.unsigned_abs()));
    // Dividing by an exact power yields the same double as parsing the decimal text.
    if exponent < 0 { value / power } else { value * power }
}

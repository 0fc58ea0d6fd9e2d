//! Samples of one source that are not yet in a persisted batch.
//!
//! A fixed table, oldest first. All its samples have one layout and one time base, as a batch must.
//! If no batch can be persisted until the table is full, the oldest sample is dropped and counted.

use ecowatt_codec::{Batch, EncodeError, State, TimeBase, encode};
use ecowatt_model::{BatchId, Mark, SourceNumber, StreamNumber};

/// One sample, as the shell drafts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    pub source: SourceNumber,
    pub stream: StreamNumber,
    /// Position among the samples of its source in this epoch, from 1.
    pub ordinal: u32,
    pub base: TimeBase,
    /// Milliseconds since the origin named by `base`.
    pub t_ms: i64,
    pub words: &'a [u16],
    pub marks: &'a [Mark],
}

/// An encoded batch that the shell has to persist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub id: BatchId,
    pub source: SourceNumber,
    pub stream: StreamNumber,
    pub base: TimeBase,
    pub rows: u16,
    /// Ordinal of its last sample; once the batch is persisted, drafts up to this one can be
    /// deleted.
    pub last_ordinal: u32,
    /// Length of the encoded batch.
    pub len: usize,
}

/// Why no batch was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    #[error("no batch is due for source {0}")]
    NotDue(SourceNumber),
    #[error("batch cannot be encoded")]
    Encode(#[source] EncodeError),
}

/// The table.
#[derive(Debug)]
pub(crate) struct Buffer<const COLUMNS: usize, const ROWS: usize> {
    columns: usize,
    base: TimeBase,
    len: usize,
    times: [i64; ROWS],
    /// Rows of `columns` words each, from the start; the rest is unused.
    words: [[u16; COLUMNS]; ROWS],
    marks: [[Mark; COLUMNS]; ROWS],
    last_ordinal: u32,
    is_flushed: bool,
}

impl<const COLUMNS: usize, const ROWS: usize> Buffer<COLUMNS, ROWS> {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            columns: columns.clamp(1, COLUMNS),
            base: TimeBase::SinceBoot,
            len: 0,
            times: [0; ROWS],
            words: [[0; COLUMNS]; ROWS],
            marks: [[Mark::NotDue; COLUMNS]; ROWS],
            last_ordinal: 0,
            is_flushed: false,
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The time base that the next sample must share with those before it.
    pub(crate) fn base(&self) -> Option<TimeBase> {
        (self.len > 0).then_some(self.base)
    }

    pub(crate) fn last_ordinal(&self) -> u32 {
        self.last_ordinal
    }

    /// Adds a sample; returns whether the oldest was dropped to make room.
    pub(crate) fn push(
        &mut self,
        base: TimeBase,
        t_ms: i64,
        words: &[u16],
        marks: &[Mark],
    ) -> bool {
        let is_full = self.len == ROWS;
        if is_full {
            self.drop_front(1);
        }
        self.base = base;
        let cells = self.len * self.columns..(self.len + 1) * self.columns;
        self.times[self.len] = t_ms;
        if let Some(row) = self.words.as_flattened_mut().get_mut(cells.clone()) {
            row.copy_from_slice(words);
        }
        if let Some(row) = self.marks.as_flattened_mut().get_mut(cells) {
            row.copy_from_slice(marks);
        }
        self.len += 1;
        self.last_ordinal = self.last_ordinal.saturating_add(1);
        is_full
    }

    /// The sample that was added last.
    pub(crate) fn newest(&self, source: SourceNumber, stream: StreamNumber) -> Option<Sample<'_>> {
        let row = self.len.checked_sub(1)?;
        let cells = row * self.columns..(row + 1) * self.columns;
        Some(Sample {
            source,
            stream,
            ordinal: self.last_ordinal,
            base: self.base,
            t_ms: self.times[row],
            words: self.words.as_flattened().get(cells.clone())?,
            marks: self.marks.as_flattened().get(cells)?,
        })
    }

    /// Makes a cut due, however few samples there are.
    pub(crate) fn flush(&mut self) {
        self.is_flushed = self.len > 0;
    }

    /// Whether a cut is due regardless of the link. Age does not count: every sample is drafted,
    /// and a message that is about to be sent takes what there is.
    pub(crate) fn is_due(&self, rows_max: usize) -> bool {
        self.len > 0 && (self.is_flushed || self.len >= rows_max.min(ROWS))
    }

    /// Encodes the oldest `rows` into `out`.
    pub(crate) fn encode<const N: usize>(
        &self,
        rows: usize,
        state: &mut State<N>,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let rows = rows.min(self.len);
        let cells = rows * self.columns;
        let batch = Batch {
            base: self.base,
            columns: self.columns,
            times: &self.times[..rows],
            words: self.words.as_flattened().get(..cells).unwrap_or_default(),
            marks: self.marks.as_flattened().get(..cells),
        };
        encode(&batch, state, out)
    }

    /// Drops the oldest samples after they were persisted.
    pub(crate) fn drop_front(&mut self, rows: usize) {
        let rows = rows.min(self.len);
        let kept = rows * self.columns..self.len * self.columns;
        self.times.copy_within(rows..self.len, 0);
        self.words.as_flattened_mut().copy_within(kept.clone(), 0);
        self.marks.as_flattened_mut().copy_within(kept, 0);
        self.len -= rows;
        self.is_flushed &= self.len > 0;
    }
}

//! Samples of one source that are not yet in a persisted batch.
//!
//! A fixed table, oldest first. All its samples have one layout and one time base, as a batch must.
//! A sample takes room for the words that were read in it: runs of cells with the same mark, each
//! followed by its words if the mark is [`Mark::Read`]. So registers that are read once per
//! connection cost the samples between nothing. If no batch can be persisted until the table is
//! full, the oldest samples are dropped and counted.

use ecowatt_codec::{BatchRows, CodecMemory, EncodeError, TimeBase, encode_rows};
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
pub struct EncodedBatch {
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
pub enum EncodeBatchError {
    #[error("no batch is due for source {0}")]
    NotDue(SourceNumber),
    #[error("batch cannot be encoded")]
    Encode(#[source] EncodeError),
}

/// Most cells that a sample takes: every second register was read, each in a run of its own.
pub(crate) const fn sample_cells_max(columns: usize) -> usize {
    (3 * columns).div_ceil(2)
}

/// Most registers of a sample of which one fits into a table of so many cells.
pub(crate) const fn columns_max(cells: usize) -> usize {
    2 * cells / 3
}

/// The table: at most `ROWS` samples, and `ROWS` × `COLUMNS` cells for their words and runs.
#[derive(Debug)]
pub(crate) struct Buffer<const COLUMNS: usize, const ROWS: usize> {
    columns: usize,
    base: TimeBase,
    len: usize,
    times: [i64; ROWS],
    /// The samples' runs and words, one after the other.
    cells: [[u16; COLUMNS]; ROWS],
    /// Cells in use, from the start.
    used: usize,
    last_ordinal: u32,
    is_flushed: bool,
}

impl<const COLUMNS: usize, const ROWS: usize> Buffer<COLUMNS, ROWS> {
    pub(crate) const EMPTY: Self = Self {
        columns: 0,
        base: TimeBase::SinceBoot,
        len: 0,
        times: [0; ROWS],
        cells: [[0; COLUMNS]; ROWS],
        used: 0,
        last_ordinal: 0,
        is_flushed: false,
    };

    /// Prepares the empty table for samples of so many registers.
    pub(crate) fn configure(&mut self, columns: usize) {
        self.columns = columns;
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

    /// When the sample that was added last was taken, if it is still here.
    pub(crate) fn last_time(&self) -> Option<i64> {
        Some(self.times[self.len.checked_sub(1)?])
    }

    /// Adds a sample; returns how many of the oldest were dropped to make room.
    pub(crate) fn push(
        &mut self,
        base: TimeBase,
        t_ms: i64,
        words: &[u16],
        marks: &[Mark],
    ) -> usize {
        let runs = || marks.chunk_by(|one, other| one == other);
        let needed = runs().map(|run| 1 + if run[0] == Mark::Read { run.len() } else { 0 }).sum();
        let mut dropped = 0;
        while self.len > 0 && (self.len == ROWS || self.left() < needed) {
            self.drop_front(1);
            dropped += 1;
        }
        self.base = base;
        self.times[self.len] = t_ms;
        let mut column = 0;
        for run in runs() {
            self.put(Run { mark: run[0], len: run.len() }.to_cell());
            if run[0] == Mark::Read {
                words.iter().skip(column).take(run.len()).for_each(|word| self.put(*word));
            }
            column += run.len();
        }
        self.len += 1;
        self.last_ordinal = self.last_ordinal.saturating_add(1);
        dropped
    }

    /// Makes a cut due, however few samples there are.
    pub(crate) fn flush(&mut self) {
        self.is_flushed = self.len > 0;
    }

    /// Whether the samples wait for a cut that was requested.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Whether a cut is due regardless of the link: the batch is full, or the next sample might not
    /// fit. Age does not count: every sample is drafted, and a message that is about to be sent
    /// takes what there is.
    pub(crate) fn is_due(&self, rows_max: usize) -> bool {
        let is_full =
            self.len >= rows_max.min(ROWS) || self.left() < sample_cells_max(self.columns);
        self.len > 0 && (self.is_flushed || is_full)
    }

    /// Encodes the oldest samples into `out`, at most `rows_max` and as many as `state` has room
    /// for: two samples with registers that are read once per connection are two batches. Returns
    /// how many, and the number of bytes.
    pub(crate) fn encode<const N: usize>(
        &self,
        rows_max: usize,
        state: &mut CodecMemory<N>,
        out: &mut [u8],
    ) -> Result<(usize, usize), EncodeError> {
        let mut rows = rows_max.min(self.len);
        loop {
            match encode_rows(&Oldest { buffer: self, rows }, state, out) {
                Err(EncodeError::State { .. }) if rows > 1 => rows -= 1,
                result => return result.map(|len| (rows, len)),
            }
        }
    }

    /// Drops the oldest samples after they were persisted.
    pub(crate) fn drop_front(&mut self, rows: usize) {
        let rows = rows.min(self.len);
        let mut cells = Cells { rest: self.cells.as_flattened(), run: None };
        cells.by_ref().take(rows * self.columns).for_each(|_| ());
        let start = self.cells.as_flattened().len() - cells.rest.len();
        self.cells.as_flattened_mut().copy_within(start..self.used, 0);
        self.used -= start;
        self.times.copy_within(rows..self.len, 0);
        self.len -= rows;
        self.is_flushed &= self.len > 0;
    }

    fn left(&self) -> usize {
        (COLUMNS * ROWS).saturating_sub(self.used)
    }

    fn put(&mut self, cell: u16) {
        // There is room: the oldest samples made it, and one fits by itself.
        if let Some(place) = self.cells.as_flattened_mut().get_mut(self.used) {
            *place = cell;
            self.used += 1;
        }
    }
}

/// Neighbouring cells of a sample with one mark.
#[derive(Debug, Clone, Copy)]
struct Run {
    mark: Mark,
    len: usize,
}

impl Run {
    fn to_cell(self) -> u16 {
        u16::from(self.mark.code()) << 8 | u16::try_from(self.len).unwrap_or(0)
    }

    fn from_cell(cell: u16) -> Self {
        let [mark, len] = cell.to_be_bytes();
        Self { mark: Mark::from_code(mark).unwrap_or_default(), len: len.into() }
    }
}

/// The cells of samples, one after the other.
struct Cells<'a> {
    rest: &'a [u16],
    run: Option<Run>,
}

impl Iterator for Cells<'_> {
    type Item = (Mark, u16);

    fn next(&mut self) -> Option<(Mark, u16)> {
        let mut next = || self.rest.split_off_first().copied();
        let run = match self.run.take() {
            Some(run) => run,
            None => Run::from_cell(next()?),
        };
        let word = if run.mark == Mark::Read { next()? } else { 0 };
        self.run = (run.len > 1).then(|| Run { len: run.len - 1, ..run });
        Some((run.mark, word))
    }
}

/// The oldest samples of a table, as a batch.
struct Oldest<'a, const COLUMNS: usize, const ROWS: usize> {
    buffer: &'a Buffer<COLUMNS, ROWS>,
    rows: usize,
}

impl<const COLUMNS: usize, const ROWS: usize> BatchRows for Oldest<'_, COLUMNS, ROWS> {
    fn base(&self) -> TimeBase {
        self.buffer.base
    }

    fn columns(&self) -> usize {
        self.buffer.columns
    }

    fn times(&self) -> &[i64] {
        &self.buffer.times[..self.rows]
    }

    fn cells(&self) -> impl Iterator<Item = (Mark, u16)> {
        let cells = Cells { rest: self.buffer.cells.as_flattened(), run: None };
        cells.take(self.rows * self.buffer.columns)
    }
}

//! Encodes a batch as bytes.

use ecowatt_model::{COLUMNS_MAX, Mark, ROWS_MAX};

use crate::header::{self, Format, Header, TimeBase};
use crate::range_coder::Encoder;
use crate::state::{CodecMemory, ColumnSet, PLAIN_MARK_BITS, PLAIN_WORD_BITS};
use crate::times::{Shape, Times};

/// A batch that is read where it is kept. The encoder goes through it more than once and must get
/// the same each time.
pub trait BatchRows {
    fn base(&self) -> TimeBase;

    /// Cells per row.
    fn columns(&self) -> usize;

    /// Milliseconds, one per row; constant steps are cheapest, any order is allowed.
    fn times(&self) -> &[i64];

    /// All cells, row by row; the word of a cell that was not read is not stored.
    fn cells(&self) -> impl Iterator<Item = (Mark, u16)>;
}

/// A batch in tables, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    pub base: TimeBase,
    pub columns: usize,
    /// Milliseconds, one per row; constant steps are cheapest, any order is allowed.
    pub times: &'a [i64],
    /// One word per cell; the word of a cell that was not read is not stored.
    pub words: &'a [u16],
    /// One mark per cell, or `None` if every cell was read.
    pub marks: Option<&'a [Mark]>,
}

impl BatchRows for Batch<'_> {
    fn base(&self) -> TimeBase {
        self.base
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn times(&self) -> &[i64] {
        self.times
    }

    fn cells(&self) -> impl Iterator<Item = (Mark, u16)> {
        let mark = |at: usize| self.marks.and_then(|marks| marks.get(at).copied());
        let cells = self.words.iter().enumerate();
        cells.map(move |(at, word)| (mark(at).unwrap_or_default(), *word))
    }
}

/// Why a batch was not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a batch has 1 to {ROWS_MAX} rows, not {0}")]
    Rows(usize),
    #[error("a batch has 1 to {COLUMNS_MAX} columns, not {0}")]
    Columns(usize),
    #[error("the state has room for {room} columns, the batch reads {columns} more than once")]
    State { room: usize, columns: usize },
    #[error("{cells} cells, but {words} words")]
    Words { cells: usize, words: usize },
    #[error("{cells} cells, but {marks} marks")]
    Marks { cells: usize, marks: usize },
    #[error("the batch takes more than {0} bytes")]
    Full(usize),
}

/// Buffer size that is enough for any batch of this size.
#[must_use]
pub const fn encoded_len_max(rows: usize, columns: usize) -> usize {
    encoded_len_max_of(rows, columns, rows * columns)
}

/// The same for a batch in which at most this many cells were read.
#[must_use]
pub const fn encoded_len_max_of(rows: usize, columns: usize, words: usize) -> usize {
    let marks = (rows * columns * PLAIN_MARK_BITS as usize).div_ceil(8);
    HEADER_MAX
        + rows * TIME_MAX
        + marks
        + (words * PLAIN_WORD_BITS as usize).div_ceil(8)
        + LAST_WORD
}

/// First byte, rows, columns, first time; the three bits of each class rounded up.
const HEADER_MAX: usize = 1 + 2 + 2 + 9;

/// A step of 63 bits after eight bits that cost at most 12.1 bits each.
const TIME_MAX: usize = 8 + 13;

/// The last word that the range coder writes.
const LAST_WORD: usize = 4;

/// How many bytes more than plain words the models may use before plain words are tried.
const ADAPTIVE_SLACK: usize = 8;

/// Encodes a batch into the start of `out` and returns the number of bytes.
///
/// # Errors
/// When the parts of the batch do not fit each other, the state or `out`.
pub fn encode<const N: usize>(
    batch: &Batch<'_>,
    state: &mut CodecMemory<N>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let cells = batch.times.len() * batch.columns;
    if batch.words.len() != cells {
        return Err(EncodeError::Words { cells, words: batch.words.len() });
    }
    match batch.marks {
        Some(marks) if marks.len() != cells => {
            Err(EncodeError::Marks { cells, marks: marks.len() })
        }
        _ => encode_rows(batch, state, out),
    }
}

/// Encodes a batch that is not kept in tables, to the same bytes as [`encode`].
///
/// # Errors
/// When the batch is too large, or does not fit the state or `out`.
pub fn encode_rows<const N: usize>(
    batch: &impl BatchRows,
    state: &mut CodecMemory<N>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let (rows, columns) = (batch.times().len(), batch.columns());
    if !(1..=ROWS_MAX).contains(&rows) {
        return Err(EncodeError::Rows(rows));
    }
    if !(1..=COLUMNS_MAX).contains(&columns) {
        return Err(EncodeError::Columns(columns));
    }
    let census = Census::of(batch);
    if census.repeated.len() > N {
        return Err(EncodeError::State { room: N, columns: census.repeated.len() });
    }
    let header = Header {
        format: Format::Adaptive,
        shape: Shape::of(batch.base(), batch.times()),
        is_marked: census.words < rows * columns,
    };
    let plain = Header { format: Format::Plain, ..header };
    let mut write = |header| write(batch, census.repeated, header, state, out);

    let adaptive = write(header);
    if let Some(len) = adaptive.filter(|len| *len <= 2 * census.words + ADAPTIVE_SLACK) {
        return Ok(len);
    }
    match (adaptive, write(plain)) {
        (Some(adaptive), Some(plain)) if plain < adaptive => Some(plain),
        (Some(_), _) => write(header),
        (None, plain) => plain,
    }
    .ok_or(EncodeError::Full(out.len()))
}

/// What is counted before a batch is encoded.
struct Census {
    /// Cells that were read.
    words: usize,
    /// Columns that were read more than once. The word of any other column is not predicted, and
    /// nothing is predicted from it, so it needs no state.
    repeated: ColumnSet,
}

impl Census {
    fn of(batch: &impl BatchRows) -> Self {
        let (mut words, mut once, mut repeated) = (0, ColumnSet::NONE, ColumnSet::NONE);
        let columns = batch.columns();
        for (at, (mark, _)) in batch.cells().enumerate() {
            if mark == Mark::Read {
                words += 1;
                if !once.insert(at % columns) {
                    repeated.insert(at % columns);
                }
            }
        }
        Self { words, repeated }
    }
}

/// Encodes the batch in one format; `None` if `out` is too small.
fn write<const N: usize>(
    batch: &impl BatchRows,
    repeated: ColumnSet,
    header: Header,
    state: &mut CodecMemory<N>,
    out: &mut [u8],
) -> Option<usize> {
    let (first, rest) = out.split_first_mut()?;
    *first = header.to_byte();
    let mut coder = Encoder::new(rest);
    let columns = batch.columns();
    header::size(&mut coder, batch.times().len(), columns);
    let mut times = Times::new(header.shape, batch.times().len());
    state.clear(columns, repeated);
    let mut cells = batch.cells();
    for &time in batch.times() {
        times.code(&mut coder, time);
        let cell = || cells.next().unwrap_or_default();
        state.row(&mut coder, header.format, header.is_marked, columns, cell, |_, _, _| ());
    }
    coder.finish().map(|len| len + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, Decoder};

    /// Encodes three regular rows of whole seconds, all read, with a modified header.
    fn decode_with(change: impl Fn(&mut Header)) -> Result<(), DecodeError> {
        let batch = Batch {
            base: TimeBase::Unix,
            columns: 2,
            times: &[1_700_000_000_000, 1_700_000_005_000, 1_700_000_010_000],
            words: &[1, 2, 3, 4, 5, 6],
            marks: None,
        };
        let shape = Shape::of(batch.base, batch.times);
        let mut header = Header { format: Format::Adaptive, shape, is_marked: false };
        change(&mut header);
        let mut state: CodecMemory<2> = CodecMemory::new();
        let mut out = [0; 100];
        let len = write(&batch, ColumnSet::first(2), header, &mut state, &mut out).unwrap();
        let mut decoder = Decoder::new(&out[..len], &mut state)?;
        while decoder.next_row(&mut [0; 2], &mut [Mark::Read; 2])?.is_some() {}
        Ok(())
    }

    #[test]
    fn a_batch_has_exactly_one_header() {
        assert_eq!(decode_with(|_| ()), Ok(()));
        let refused = Err(DecodeError::Malformed);
        assert_eq!(decode_with(|header| header.shape.is_fine = true), refused);
        assert_eq!(decode_with(|header| header.shape.is_irregular = true), refused);
        assert_eq!(decode_with(|header| header.is_marked = true), refused);
    }
}

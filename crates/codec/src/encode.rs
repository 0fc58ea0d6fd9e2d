//! Encodes a batch as bytes.

use ecowatt_model::{COLUMNS_MAX, Mark, ROWS_MAX};

use crate::header::{self, Format, Header, TimeBase};
use crate::range_coder::Encoder;
use crate::state::{PLAIN_MARK_BITS, PLAIN_WORD_BITS, State};
use crate::times::{Shape, Times};

/// Contents of one batch; tables are row by row.
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

/// Why a batch was not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a batch has 1 to {ROWS_MAX} rows, not {0}")]
    Rows(usize),
    #[error("a batch has 1 to {COLUMNS_MAX} columns, not {0}")]
    Columns(usize),
    #[error("the state has room for {room} columns, the batch has {columns}")]
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
    let cell_bits = (PLAIN_MARK_BITS + PLAIN_WORD_BITS) as usize;
    HEADER_MAX + rows * TIME_MAX + (rows * columns * cell_bits).div_ceil(8) + LAST_WORD
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
    state: &mut State<N>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    check(batch, N)?;
    let marks = batch.marks.filter(|marks| marks.iter().any(|&mark| mark != Mark::Read));
    let header = Header {
        format: Format::Adaptive,
        shape: Shape::of(batch.base, batch.times),
        is_marked: marks.is_some(),
    };
    let plain = Header { format: Format::Plain, ..header };

    let adaptive = write(batch, marks, header, state, out);
    let words = marks.map_or(batch.words.len(), |marks| {
        marks.iter().filter(|&&mark| mark == Mark::Read).count()
    });
    if adaptive.is_some_and(|len| len <= 2 * words + ADAPTIVE_SLACK) {
        return adaptive.ok_or(EncodeError::Full(out.len()));
    }
    match (adaptive, write(batch, marks, plain, state, out)) {
        (Some(adaptive), Some(plain)) if plain < adaptive => Some(plain),
        (Some(_), _) => write(batch, marks, header, state, out),
        (None, plain) => plain,
    }
    .ok_or(EncodeError::Full(out.len()))
}

fn check(batch: &Batch<'_>, room: usize) -> Result<(), EncodeError> {
    let rows = batch.times.len();
    let columns = batch.columns;
    if !(1..=ROWS_MAX).contains(&rows) {
        return Err(EncodeError::Rows(rows));
    }
    if !(1..=COLUMNS_MAX).contains(&columns) {
        return Err(EncodeError::Columns(columns));
    }
    if columns > room {
        return Err(EncodeError::State { room, columns });
    }
    let cells = rows * columns;
    if batch.words.len() != cells {
        return Err(EncodeError::Words { cells, words: batch.words.len() });
    }
    match batch.marks {
        Some(marks) if marks.len() != cells => {
            Err(EncodeError::Marks { cells, marks: marks.len() })
        }
        _ => Ok(()),
    }
}

/// Encodes the batch in one format; `None` if `out` is too small.
fn write<const N: usize>(
    batch: &Batch<'_>,
    marks: Option<&[Mark]>,
    header: Header,
    state: &mut State<N>,
    out: &mut [u8],
) -> Option<usize> {
    let (first, rest) = out.split_first_mut()?;
    *first = header.to_byte();
    let mut coder = Encoder::new(rest);
    let columns = batch.columns;
    header::size(&mut coder, batch.times.len(), columns);
    let mut times = Times::new(header.shape, batch.times.len());
    state.clear(columns);
    for (row, (&time, words)) in batch.times.iter().zip(batch.words.chunks(columns)).enumerate() {
        times.code(&mut coder, time);
        let marks = marks.and_then(|marks| marks.get(row * columns..));
        let cell = |at: usize| {
            let mark = marks.and_then(|marks| marks.get(at).copied()).unwrap_or_default();
            (mark, words.get(at).copied().unwrap_or_default())
        };
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
        let mut state: State<2> = State::new();
        let mut out = [0; 100];
        let len = write(&batch, None, header, &mut state, &mut out).unwrap();
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

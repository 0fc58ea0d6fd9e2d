//! Decodes bytes into a batch, row by row.

use ecowatt_model::{COLUMNS_MAX, Mark};

use crate::header::{self, Header, TimeBase};
use crate::range_coder::{self, EndError};
use crate::state::{CodecMemory, ColumnSet};
use crate::times::Times;

/// Why bytes are not a valid batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("no bytes")]
    Empty,
    #[error("format {0} is not known")]
    UnknownFormat(u8),
    #[error("the state has room for {room} columns, the batch has {columns}")]
    State { room: usize, columns: usize },
    #[error("a row has {columns} columns, not {got}")]
    Row { columns: usize, got: usize },
    #[error("not the output of an encoder")]
    Malformed,
    #[error("bytes follow the batch")]
    Trailing,
}

/// Reads one batch.
///
/// A batch is valid only once [`Decoder::next_row`] has returned `Ok(None)`; discard rows returned
/// before an error.
#[derive(Debug)]
pub struct Decoder<'a, const N: usize = COLUMNS_MAX> {
    header: Header,
    rows: usize,
    columns: usize,
    row: usize,
    has_unread: bool,
    times: Times,
    coder: range_coder::Decoder<'a>,
    state: &'a mut CodecMemory<N>,
}

impl<'a, const N: usize> Decoder<'a, N> {
    /// Decodes everything before the rows.
    ///
    /// # Errors
    /// When the format is unknown, the state is too small, or the size cannot be an encoder's.
    pub fn new(bytes: &'a [u8], state: &'a mut CodecMemory<N>) -> Result<Self, DecodeError> {
        let (&first, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        let header = Header::from_byte(first).ok_or(DecodeError::UnknownFormat(first >> 4))?;
        let mut coder = range_coder::Decoder::new(rest);
        let (rows, columns) = header::size(&mut coder, 1, 1);
        if coder.is_rejected() {
            return Err(DecodeError::Malformed);
        }
        if columns > N {
            return Err(DecodeError::State { room: N, columns });
        }
        state.clear(columns, ColumnSet::first(columns));
        let times = Times::new(header.shape, rows);
        Ok(Self { header, rows, columns, row: 0, has_unread: false, times, coder, state })
    }

    /// Number of rows, 1 to `ROWS_MAX`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, 1 to `COLUMNS_MAX`.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What the times are relative to.
    #[must_use]
    pub fn base(&self) -> TimeBase {
        self.header.shape.base
    }

    /// Decodes the next row into buffers with one entry per column; returns its time in
    /// milliseconds.
    ///
    /// After the last row it checks the end of the bytes and returns `None`.
    ///
    /// # Errors
    /// When the bytes are not an encoder's output, or a buffer's length differs from the row's.
    pub fn next_row(
        &mut self,
        words: &mut [u16],
        marks: &mut [Mark],
    ) -> Result<Option<i64>, DecodeError> {
        if self.row == self.rows {
            return self.finish().map(|()| None);
        }
        for got in [words.len(), marks.len()] {
            if got != self.columns {
                return Err(DecodeError::Row { columns: self.columns, got });
            }
        }
        let time = self.times.code(&mut self.coder, 0);
        let has_unread = &mut self.has_unread;
        let put = |at: usize, mark: Mark, word: u16| {
            *has_unread |= mark != Mark::Read;
            if let (Some(word_place), Some(mark_place)) = (words.get_mut(at), marks.get_mut(at)) {
                *word_place = word;
                *mark_place = mark;
            }
        };
        let Header { format, is_marked, .. } = self.header;
        let nothing = || (Mark::Read, 0);
        self.state.row(&mut self.coder, format, is_marked, self.columns, nothing, put);
        if self.coder.is_rejected() {
            return Err(DecodeError::Malformed);
        }
        self.row += 1;
        Ok(Some(time))
    }

    fn finish(&self) -> Result<(), DecodeError> {
        if self.has_unread != self.header.is_marked {
            return Err(DecodeError::Malformed);
        }
        self.coder.finish().map_err(|error| match error {
            EndError::Trailing => DecodeError::Trailing,
            EndError::Refused => DecodeError::Malformed,
        })
    }
}

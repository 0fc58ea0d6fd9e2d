//! The codec's working memory for one batch.

use ecowatt_model::{COLUMNS_MAX, Mark};

use crate::header::Format;
use crate::marks::{ColumnMarks, Marks};
use crate::range_coder::Coder;
use crate::words::{ColumnWords, Words};

/// Bits of a mark and of a word in a plain batch.
pub(crate) const PLAIN_MARK_BITS: u32 = 3;
pub(crate) const PLAIN_WORD_BITS: u32 = u16::BITS;

#[derive(Debug, Clone, Copy)]
struct Column {
    marks: ColumnMarks,
    words: ColumnWords,
}

impl Column {
    const NEW: Self = Self { marks: ColumnMarks::NEW, words: ColumnWords::NEW };
}

/// Working memory for batches of at most `N` columns; every use first clears what it needs.
///
/// Nothing has to be kept between batches. For 10 columns it is smaller than 8 KiB.
#[derive(Debug, Clone)]
pub struct State<const N: usize = COLUMNS_MAX> {
    marks: Marks,
    words: Words,
    columns: [Column; N],
}

impl<const N: usize> State<N> {
    /// Creates working memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { marks: Marks::NEW, words: Words::NEW, columns: [Column::NEW; N] }
    }

    pub(crate) fn clear(&mut self, columns: usize) {
        self.marks = Marks::NEW;
        self.words = Words::NEW;
        for column in self.columns.iter_mut().take(columns) {
            *column = Column::NEW;
        }
    }

    /// Codes the marks and words of one row: `columns` of each, read with `cell` and passed to
    /// `put`.
    pub(crate) fn row(
        &mut self,
        coder: &mut impl Coder,
        format: Format,
        is_marked: bool,
        columns: usize,
        mut cell: impl FnMut(usize) -> (Mark, u16),
        mut put: impl FnMut(usize, Mark, u16),
    ) {
        self.marks.start_row();
        self.words.start_row();
        for (at, column) in self.columns.iter_mut().enumerate().take(columns) {
            let (mark, word) = cell(at);
            let mark = match (is_marked, format) {
                (false, _) => Mark::Read,
                (true, Format::Adaptive) => self.marks.code(coder, &mut column.marks, mark),
                (true, Format::Plain) => {
                    let code = coder.short(mark.code().into(), PLAIN_MARK_BITS);
                    Mark::ALL[usize::try_from(code).unwrap_or_default() % Mark::ALL.len()]
                }
            };
            let word = match (mark, format) {
                (Mark::Read, Format::Adaptive) => self.words.code(coder, &mut column.words, word),
                (Mark::Read, Format::Plain) => {
                    u16::try_from(coder.short(word.into(), PLAIN_WORD_BITS)).unwrap_or_default()
                }
                _ => 0,
            };
            put(at, mark, word);
        }
    }
}

impl<const N: usize> Default for State<N> {
    fn default() -> Self {
        Self::new()
    }
}

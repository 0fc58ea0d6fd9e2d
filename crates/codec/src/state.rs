//! The codec's working memory for one batch.

use ecowatt_model::{COLUMNS_MAX, Mark};

use crate::header::Format;
use crate::marks::{ColumnMarks, Marks};
use crate::range_coder::Coder;
use crate::words::{ColumnWords, Words};

/// Bits of a mark and of a word in a plain batch.
pub(crate) const PLAIN_MARK_BITS: u32 = 3;
pub(crate) const PLAIN_WORD_BITS: u32 = u16::BITS;

/// Working memory for batches in which at most `N` columns are read more than once, or for decoding
/// batches of at most `N` columns; every use first clears what it needs.
///
/// Nothing has to be kept between batches. For 10 columns it is smaller than 8 KiB.
#[derive(Debug, Clone)]
pub struct CodecMemory<const N: usize = COLUMNS_MAX> {
    marks: Marks,
    words: Words,
    column_marks: [ColumnMarks; COLUMNS_MAX],
    /// Of the repeated columns, in their order.
    column_words: [ColumnWords; N],
    repeated: ColumnSet,
}

/// A set of columns, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColumnSet(u128);

const _: () = assert!(COLUMNS_MAX <= 128, "a set of columns has 128 bits");

impl ColumnSet {
    pub(crate) const NONE: Self = Self(0);

    /// The first `count` columns.
    pub(crate) const fn first(count: usize) -> Self {
        Self(if count < 128 { (1 << count) - 1 } else { u128::MAX })
    }

    /// Adds a column; returns whether it is new.
    pub(crate) fn insert(&mut self, column: usize) -> bool {
        let before = self.0;
        self.0 |= 1 << column;
        self.0 != before
    }

    pub(crate) fn contains(self, column: usize) -> bool {
        (self.0 >> column) & 1 == 1
    }

    pub(crate) fn len(self) -> usize {
        usize::try_from(self.0.count_ones()).unwrap_or(0)
    }
}

impl<const N: usize> CodecMemory<N> {
    /// Unused working memory. A constant, because it is large: what a function returns is on the
    /// stack first.
    pub const NEW: Self = Self {
        marks: Marks::NEW,
        words: Words::NEW,
        column_marks: [ColumnMarks::NEW; COLUMNS_MAX],
        column_words: [ColumnWords::NEW; N],
        repeated: ColumnSet::NONE,
    };

    /// Creates working memory.
    #[must_use]
    pub const fn new() -> Self {
        Self::NEW
    }

    /// Prepares for a batch of so many columns, of which no other than `repeated` are read more
    /// than once.
    pub(crate) fn clear(&mut self, columns: usize, repeated: ColumnSet) {
        self.marks = Marks::NEW;
        self.words = Words::NEW;
        self.column_marks.iter_mut().take(columns).for_each(|marks| *marks = ColumnMarks::NEW);
        self.column_words.iter_mut().take(repeated.len()).for_each(|words| {
            *words = ColumnWords::NEW;
        });
        self.repeated = repeated;
    }

    /// Codes the marks and words of one row: `columns` of each, taken from `cell` and passed to
    /// `put`.
    pub(crate) fn row(
        &mut self,
        coder: &mut impl Coder,
        format: Format,
        is_marked: bool,
        columns: usize,
        mut cell: impl FnMut() -> (Mark, u16),
        mut put: impl FnMut(usize, Mark, u16),
    ) {
        self.marks.start_row();
        self.words.start_row();
        let mut predicted = self.column_words.iter_mut();
        for (at, column_marks) in self.column_marks.iter_mut().enumerate().take(columns) {
            let (mark, word) = cell();
            let kept = if self.repeated.contains(at) { predicted.next() } else { None };
            let mut unkept;
            let column_words = match kept {
                Some(column_words) => column_words,
                None => {
                    unkept = ColumnWords::NEW;
                    &mut unkept
                }
            };
            let mark = match (is_marked, format) {
                (false, _) => Mark::Read,
                (true, Format::Adaptive) => self.marks.code(coder, column_marks, mark),
                (true, Format::Plain) => {
                    let code = coder.short(mark.code().into(), PLAIN_MARK_BITS);
                    Mark::ALL[usize::try_from(code).unwrap_or_default() % Mark::ALL.len()]
                }
            };
            let word = match (mark, format) {
                (Mark::Read, Format::Adaptive) => self.words.code(coder, column_words, word),
                (Mark::Read, Format::Plain) => {
                    u16::try_from(coder.short(word.into(), PLAIN_WORD_BITS)).unwrap_or_default()
                }
                _ => 0,
            };
            put(at, mark, word);
        }
    }
}

impl<const N: usize> Default for CodecMemory<N> {
    fn default() -> Self {
        Self::new()
    }
}

//! The marks of a batch's cells.
//!
//! Registers are read in groups, so the marks of neighbours change together and repeat with the
//! group's period. A cell's mark is expected to follow its left neighbour if both changed alike in
//! the row before, and otherwise to stay; only surprises cost more than a fraction of a bit.

use ecowatt_model::Mark;

use crate::range_coder::{Coder, Quick};

const MARKS: usize = Mark::ALL.len();

/// State kept for one column's marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnMarks {
    last: Mark,
    before: Mark,
    /// Number of rows for which the current mark has held.
    held: u16,
    /// Length in rows of the column's last completed runs: read, and not read.
    runs: [u16; 2],
}

impl ColumnMarks {
    pub(crate) const NEW: Self =
        Self { last: Mark::Read, before: Mark::Read, held: 0, runs: [0; 2] };

    fn is_run_over(&self) -> bool {
        self.runs[usize::from(self.last != Mark::Read)] == self.held && self.held > 0
    }

    fn push(&mut self, mark: Mark) {
        if mark == self.last {
            self.held = self.held.saturating_add(1);
        } else {
            self.runs[usize::from(self.last != Mark::Read)] = self.held;
            self.held = 1;
            self.before = self.last;
            self.last = mark;
        }
    }
}

/// The left neighbour of a cell: its mark, its mark in the row before, and whether it was expected.
#[derive(Debug, Clone, Copy)]
struct Left {
    mark: Mark,
    before: Mark,
    is_hit: bool,
}

/// The adaptive part of the marks, shared by all columns.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    left: Option<Left>,
    /// Indexed by the basis of the expectation.
    is_hit: [Quick; 12],
    /// Indexed by the expected mark.
    mark: [[Quick; MARKS]; MARKS],
}

impl Marks {
    pub(crate) const NEW: Self =
        Self { left: None, is_hit: [Quick::EVEN; 12], mark: [[Quick::EVEN; MARKS]; MARKS] };

    /// Starts a row.
    pub(crate) fn start_row(&mut self) {
        self.left = None;
    }

    /// Codes the mark of the next cell of the row.
    pub(crate) fn code(
        &mut self,
        coder: &mut impl Coder,
        column: &mut ColumnMarks,
        mark: Mark,
    ) -> Mark {
        let stays = if column.is_run_over() { column.before } else { column.last };
        let (expected, context) = match self.left {
            Some(left) if left.before == column.last => (left.mark, 4 + usize::from(left.is_hit)),
            Some(left) => (stays, 2 + usize::from(left.is_hit)),
            None => (stays, 0),
        };
        let context = 2 * context + usize::from(column.is_run_over());
        let is_hit = coder.bit(&mut self.is_hit[context], mark == expected);
        let mark = if is_hit { expected } else { self.surprise(coder, expected, mark) };
        self.left = Some(Left { mark, before: column.last, is_hit });
        column.push(mark);
        mark
    }

    fn surprise(&mut self, coder: &mut impl Coder, expected: Mark, mark: Mark) -> Mark {
        let tree = &mut self.mark[usize::from(expected.code()) % MARKS];
        let mut node = 1;
        for shift in (0..3).rev() {
            let bit = coder.bit(&mut tree[node % MARKS], mark.code() >> shift & 1 != 0);
            node = node << 1 | usize::from(bit);
        }
        let mark = Mark::ALL[node % MARKS];
        if mark == expected {
            coder.reject();
        }
        mark
    }
}

//! The words of a batch's cells: a prediction for each, and what it is off by.

use crate::range_coder::{Coder, Probability};

/// Bit lengths of a 16-bit number.
const CLASSES: usize = 17;

/// What is remembered of one column's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnWords {
    seen: u16,
    last: u16,
    /// Mean magnitude of what the predictions were off by, in 1/16.
    off: u32,
}

impl ColumnWords {
    pub(crate) const NEW: Self = Self { seen: 0, last: 0, off: 0 };
}

/// The adaptive part of the words, shared by all columns.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    first: [[Probability; 32]; CLASSES],
    left: usize,
    class: [[Probability; CLASSES]; 24],
    sign: Probability,
}

impl Words {
    pub(crate) const NEW: Self = Self {
        first: [[Probability::EVEN; 32]; CLASSES],
        left: 0,
        class: [[Probability::EVEN; CLASSES]; 24],
        sign: Probability::EVEN,
    };

    pub(crate) fn start_row(&mut self) {
        self.left = 0;
    }

    /// Codes the word of the next cell that has one.
    pub(crate) fn code(
        &mut self,
        coder: &mut impl Coder,
        column: &mut ColumnWords,
        word: u16,
    ) -> u16 {
        let coded = if column.seen == 0 {
            self.first(coder, word)
        } else {
            let off = word.wrapping_sub(column.last).cast_signed();
            let context = usize::try_from(u32::BITS - column.off.leading_zeros()).unwrap_or(0);
            let off = self.off(coder, context.min(23), off);
            let magnitude = u32::from(off.unsigned_abs()) << 4;
            column.off = (column.off * 3 + magnitude) / 4;
            column.last.wrapping_add(off.cast_unsigned())
        };
        column.seen = column.seen.saturating_add(1);
        column.last = coded;
        coded
    }

    fn first(&mut self, coder: &mut impl Coder, word: u16) -> u16 {
        let class = 16 - word.leading_zeros();
        let tree = &mut self.first[self.left];
        let mut node = 1;
        for shift in (0..5).rev() {
            let bit = coder.bit(&mut tree[node & 31], class >> shift & 1 != 0);
            node = node << 1 | usize::from(bit);
        }
        let class = node & 31;
        if class >= CLASSES {
            coder.reject();
            return 0;
        }
        self.left = class;
        let class = u32::try_from(class).unwrap_or(0);
        u16::try_from(coder.below_highest(word.into(), class)).unwrap_or(0)
    }

    fn off(&mut self, coder: &mut impl Coder, context: usize, off: i16) -> i16 {
        let class = u16::BITS - off.unsigned_abs().leading_zeros();
        let mut coded: u32 = 0;
        for probability in &mut self.class[context][..16] {
            if !coder.bit(probability, class > coded) {
                break;
            }
            coded += 1;
        }
        match coded {
            0 => 0,
            // The only number of this length is -2^15.
            16 => i16::MIN,
            _ => {
                let is_negative = coder.bit(&mut self.sign, off < 0);
                let magnitude = coder.below_highest(off.unsigned_abs().into(), coded);
                let magnitude = i16::try_from(magnitude).unwrap_or(0);
                if is_negative { -magnitude } else { magnitude }
            }
        }
    }
}

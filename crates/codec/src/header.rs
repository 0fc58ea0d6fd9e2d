//! The part of a batch before its rows.
//!
//! The first byte holds the format (upper half) and, from the highest bit of the lower half, *since
//! boot*, *fine* (milliseconds instead of seconds), *irregular* (no constant interval) and *marked*
//! (some cell was not read). Rows and columns are the first numbers of the code word that follows.

use ecowatt_model::{COLUMNS_MAX, ROWS_MAX};

use crate::range_coder::Coder;
use crate::times::Shape;

/// What a batch's times are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeBase {
    /// 1970-01-01T00:00:00Z: the device's clock was set.
    Unix,
    /// The start of the device's boot epoch.
    SinceBoot,
}

/// Returns what the times of an encoded batch are relative to, or `None` if its format is unknown.
#[must_use]
pub fn time_base(bytes: &[u8]) -> Option<TimeBase> {
    Header::from_byte(*bytes.first()?).map(|header| header.shape.base)
}

/// How marks and words are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Verbatim, for words that no model makes smaller.
    Plain,
    /// Predicted, with adaptive probabilities that start from the priors of version 1.
    Adaptive,
}

impl Format {
    const ALL: [(u8, Self); 2] = [(0, Self::Plain), (1, Self::Adaptive)];
}

const SINCE_BOOT: u8 = 8;
const FINE: u8 = 4;
const IRREGULAR: u8 = 2;
const MARKED: u8 = 1;

/// Everything about a batch except its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
    pub(crate) is_marked: bool,
}

impl Header {
    pub(crate) fn to_byte(self) -> u8 {
        let code = Format::ALL.iter().find(|(_, format)| *format == self.format);
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        code.map_or(0, |(code, _)| code << 4)
            | flag(self.shape.base == TimeBase::SinceBoot, SINCE_BOOT)
            | flag(self.shape.is_fine, FINE)
            | flag(self.shape.is_irregular, IRREGULAR)
            | flag(self.is_marked, MARKED)
    }

    /// Decodes the first byte, or returns `None` if its format is unknown.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let (_, format) = Format::ALL.into_iter().find(|(code, _)| *code == byte >> 4)?;
        let base = if byte & SINCE_BOOT == 0 { TimeBase::Unix } else { TimeBase::SinceBoot };
        let shape = Shape { base, is_fine: byte & FINE != 0, is_irregular: byte & IRREGULAR != 0 };
        Some(Self { format, shape, is_marked: byte & MARKED != 0 })
    }
}

const ROWS_CLASS_BITS: u32 = 4;
const COLUMNS_CLASS_BITS: u32 = 3;

// One less than rows and columns is encoded, so that no code is unused or repeated.
const _: () = assert!(ROWS_MAX == 1 << 10 && COLUMNS_MAX == 1 << 7);

/// Codes rows and columns, both at least one.
pub(crate) fn size(coder: &mut impl Coder, rows: usize, columns: usize) -> (usize, usize) {
    let mut number = |value: usize, class_bits| {
        let less = u64::try_from(value.saturating_sub(1)).unwrap_or_default();
        usize::try_from(coder.sized(less, class_bits)).unwrap_or_default() + 1
    };
    let rows = number(rows, ROWS_CLASS_BITS);
    let columns = number(columns, COLUMNS_CLASS_BITS);
    if rows > ROWS_MAX || columns > COLUMNS_MAX {
        coder.reject();
    }
    (rows, columns)
}

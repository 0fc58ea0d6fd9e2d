//! Numbers and dates that name what the store holds.

use ecowatt_model::{KeyGeneration, StreamNumber};

/// A day of a site's calendar, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDate(pub i32);

/// Days from `from` up to and excluding `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateRange {
    pub from: LocalDate,
    pub to: LocalDate,
}

/// Number of a point in the dictionary, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub u32);

/// Number of a layout in the dictionary of all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId(pub(crate) i64);

/// Names a stream of a device: the number that the device chose and the key it was announced under.
/// Devices number their streams themselves, so streams announced with a stolen key do not affect
/// the numbers under the next key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    #[must_use]
    pub const fn new(generation: KeyGeneration, number: StreamNumber) -> Self {
        let ([a, b], [c, d]) = (generation.0.to_be_bytes(), number.0.to_be_bytes());
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// The generation of the key that it was announced under.
    #[must_use]
    pub fn generation(self) -> KeyGeneration {
        let [a, b, _, _] = self.0.to_be_bytes();
        KeyGeneration(u16::from_be_bytes([a, b]))
    }

    pub(crate) fn code(self) -> u32 {
        self.0
    }

    pub(crate) fn from_code(code: u32) -> Self {
        Self(code)
    }

    /// The ids of all streams of the same key.
    pub(crate) fn of_same_key(self) -> std::ops::RangeInclusive<u32> {
        self.0 & 0xffff_0000..=self.0 | 0xffff
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of key {}", self.0 & 0xffff, self.0 >> 16)
    }
}

//! The sizes that pieces of a payload may have.

/// The size of a payload's pieces: a power of two from 4 to 64 KiB.
///
/// A device keeps one piece in memory until it is checked, so a microcontroller's images have
/// small ones; large ones need fewer proofs. The smallest is a sector of NOR flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceSize {
    exponent: u8,
}

impl PieceSize {
    /// 4 KiB.
    pub const SMALLEST: Self = Self { exponent: 12 };
    /// 64 KiB.
    pub const LARGEST: Self = Self { exponent: 16 };

    /// The piece size 2^`exponent`, if it is one that is used.
    #[must_use]
    pub fn from_exponent(exponent: u8) -> Option<Self> {
        (Self::SMALLEST.exponent..=Self::LARGEST.exponent)
            .contains(&exponent)
            .then_some(Self { exponent })
    }

    /// The exponent of two.
    #[must_use]
    pub fn exponent(self) -> u8 {
        self.exponent
    }

    /// Bytes of a piece.
    #[must_use]
    pub fn bytes(self) -> usize {
        1 << self.exponent
    }

    /// Number of pieces that `size` bytes need.
    #[must_use]
    pub fn count(self, size: u32) -> u32 {
        size.div_ceil(1 << self.exponent)
    }
}

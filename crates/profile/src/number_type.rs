//! How numbers are stored in registers.

/// Which of the two tables of 16-bit registers an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Holding registers, read with function 3.
    Holding = 0,
    /// Input registers, read with function 4.
    Input = 1,
}

impl Table {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the table with this code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Holding),
            1 => Some(Self::Input),
            _ => None,
        }
    }

    /// The name used in profiles.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Input => "input",
        }
    }
}

/// Which word of a multi-register number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WordOrder {
    /// The most significant word has the lowest address.
    #[default]
    Big,
    /// The least significant word has the lowest address.
    Little,
}

/// Type of the number in a point's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Unsigned, one register.
    U16 = 0,
    /// Two's complement, one register.
    I16 = 1,
    /// Unsigned, two registers.
    U32 = 2,
    /// Two's complement, two registers.
    I32 = 3,
    /// Unsigned, four registers.
    U64 = 4,
    /// SunSpec accumulator in two registers; zero means "no value".
    Acc32 = 5,
    /// IEEE 754 single precision, two registers.
    F32 = 6,
    /// A code from a list, one register.
    Enum16 = 7,
    /// Flags, one register.
    Bits16 = 8,
    /// Flags, two registers.
    Bits32 = 9,
    /// Text, two bytes per register, padded with zeros.
    Text = 10,
}

impl Kind {
    /// All kinds, in order of their codes.
    pub const ALL: [Self; 11] = [
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::U64,
        Self::Acc32,
        Self::F32,
        Self::Enum16,
        Self::Bits16,
        Self::Bits32,
        Self::Text,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name used in profiles.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::Acc32 => "acc32",
            Self::F32 => "f32",
            Self::Enum16 => "enum16",
            Self::Bits16 => "bits16",
            Self::Bits32 => "bits32",
            Self::Text => "str",
        }
    }

    /// Number of registers of this kind; `None` for text, whose length the point gives.
    #[must_use]
    pub const fn registers(self) -> Option<u8> {
        match self {
            Self::U16 | Self::I16 | Self::Enum16 | Self::Bits16 => Some(1),
            Self::U32 | Self::I32 | Self::Acc32 | Self::F32 | Self::Bits32 => Some(2),
            Self::U64 => Some(4),
            Self::Text => None,
        }
    }

    /// Returns the words of an integer, or `None` if it does not fit or the kind is `f32` or text.
    #[must_use]
    pub fn encode(self, order: WordOrder, raw: i64) -> Option<RawWords> {
        let wire = match self {
            Self::U16 | Self::Enum16 | Self::Bits16 => u64::from(u16::try_from(raw).ok()?),
            Self::I16 => u64::from(i16::try_from(raw).ok()?.cast_unsigned()),
            Self::U32 | Self::Acc32 | Self::Bits32 => u64::from(u32::try_from(raw).ok()?),
            Self::I32 => u64::from(i32::try_from(raw).ok()?.cast_unsigned()),
            Self::U64 => u64::try_from(raw).ok()?,
            Self::F32 | Self::Text => return None,
        };
        self.encode_wire(order, wire)
    }

    /// Returns the words of a float; `None` for any other kind.
    #[must_use]
    pub fn encode_f32(self, order: WordOrder, value: f32) -> Option<RawWords> {
        match self {
            Self::F32 => self.encode_wire(order, u64::from(value.to_bits())),
            _ => None,
        }
    }

    fn encode_wire(self, order: WordOrder, wire: u64) -> Option<RawWords> {
        let count = usize::from(self.registers()?);
        let [a, b, c, d, e, f, g, h] = wire.to_be_bytes();
        let words = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes);
        let mut words = RawWords::from_slice(&words[4 - count..]).ok()?;
        if order == WordOrder::Little {
            words.reverse();
        }
        Some(words)
    }
}

/// The words of one number.
pub type RawWords = heapless::Vec<u16, 4>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_indices_in_all() {
        for (code, kind) in (0u8..).zip(Kind::ALL) {
            assert_eq!(kind.code(), code);
            assert_eq!(Kind::from_code(code), Some(kind));
        }
        assert_eq!(Kind::from_code(11), None);
    }

    #[test]
    fn numbers_become_words_in_the_requested_order() {
        let encode = |kind: Kind, order, raw| kind.encode(order, raw).map(|w| w.to_vec_std());
        assert_eq!(encode(Kind::I16, WordOrder::Big, -2), Some(std::vec![0xFFFE]));
        assert_eq!(encode(Kind::U32, WordOrder::Big, 0x0001_0002), Some(std::vec![1, 2]));
        assert_eq!(encode(Kind::U32, WordOrder::Little, 0x0001_0002), Some(std::vec![2, 1]));
        assert_eq!(encode(Kind::U16, WordOrder::Big, 65_536), None);
        assert_eq!(encode(Kind::U16, WordOrder::Big, -1), None);
        assert_eq!(
            Kind::F32.encode_f32(WordOrder::Big, 1.0).map(|w| w.to_vec_std()),
            Some(std::vec![0x3F80, 0])
        );
    }

    trait ToVecStd {
        fn to_vec_std(&self) -> std::vec::Vec<u16>;
    }

    impl ToVecStd for RawWords {
        fn to_vec_std(&self) -> std::vec::Vec<u16> {
            self.iter().copied().collect()
        }
    }
}

//! What is known about a reading apart from its value.
//!
//! The device records what happened on the bus; the server adds what the profile says about the
//! value. Raw registers are transferred and stored unchanged, so a better profile can judge them
//! again.

/// Outcome of reading one register in one sample, as the device saw it.
///
/// The number is the code on the wire and in the store. A register that was not read has no value:
/// its word is zero and means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Mark {
    /// The inverter answered with this word.
    #[default]
    Read = 0,
    /// The register's group was not due in this sample.
    NotDue = 1,
    /// No answer came in time.
    Timeout = 2,
    /// The inverter answered with a Modbus exception.
    Exception = 3,
    /// The inverter answered, but never with a valid frame for the request.
    Garbled = 4,
    /// The register is skipped because reading it fails; it is retried now and then.
    Quarantined = 5,
    /// The link to the inverter could not be opened or failed.
    Unreachable = 6,
    /// The inverter is known to be asleep, so it was not polled.
    Asleep = 7,
}

impl Mark {
    /// All marks, in order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::NotDue,
        Self::Timeout,
        Self::Exception,
        Self::Garbled,
        Self::Quarantined,
        Self::Unreachable,
        Self::Asleep,
    ];

    /// Returns the mark with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Returns the code used on the wire and in the store.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Whether a reading can be relied on and, if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quality {
    Good,
    /// Not read in this sample: its group was not due.
    NotDue,
    Timeout,
    Exception,
    Garbled,
    Quarantined,
    Unreachable,
    Asleep,
    /// The inverter returned a sentinel that means "no value".
    NotImplemented,
    /// Outside the range that the profile calls plausible.
    OutOfRange,
}

impl Quality {
    /// Returns the name used in the API and in exports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::NotDue => "not_due",
            Self::Timeout => "timeout",
            Self::Exception => "exception",
            Self::Garbled => "garbled",
            Self::Quarantined => "quarantined",
            Self::Unreachable => "unreachable",
            Self::Asleep => "asleep",
            Self::NotImplemented => "not_implemented",
            Self::OutOfRange => "out_of_range",
        }
    }
}

impl From<Mark> for Quality {
    fn from(mark: Mark) -> Self {
        match mark {
            Mark::Read => Self::Good,
            Mark::NotDue => Self::NotDue,
            Mark::Timeout => Self::Timeout,
            Mark::Exception => Self::Exception,
            Mark::Garbled => Self::Garbled,
            Mark::Quarantined => Self::Quarantined,
            Mark::Unreachable => Self::Unreachable,
            Mark::Asleep => Self::Asleep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_a_mark_is_its_index_in_all() {
        for (code, mark) in (0u8..).zip(Mark::ALL) {
            assert_eq!(mark.code(), code);
            assert_eq!(Mark::from_code(code), Some(mark));
        }
        assert_eq!(Mark::from_code(8), None);
    }
}

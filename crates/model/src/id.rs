//! Identifiers and positions, each with its own type.

use core::fmt;
use core::str::FromStr;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Identifies the key of a device that sealed an envelope; rotation and re-enrolment increase
    /// it.
    KeyGeneration(u16)
);
number!(
    /// Position of an envelope under one key; strictly increasing, with gaps after power cuts.
    Counter(u64)
);
number!(
    /// Number of one start of a device; a device never reuses one.
    BootEpoch(u32)
);
number!(
    /// Position of a batch within a boot epoch, from 1, without gaps.
    Sequence(u32)
);
number!(
    /// One inverter of a device, from 0 in the order of the device's configuration.
    SourceNumber(u8)
);
number!(
    /// One register layout of one source. A device never reuses a number for a different layout.
    StreamNumber(u16)
);
number!(
    /// Number of a device's desired configuration, from 1; every change increases it. 0 stands for
    /// a device's own configuration.
    ConfigGeneration(u32)
);
number!(
    /// A command on the wire, numbered for each device in the order in which they are first sent.
    CommandId(u32)
);
number!(
    /// A lease of a limit, numbered by the server; never used again for another.
    LeaseId(u32)
);
number!(
    /// Number of a device's desired leases, from 1; every change increases it. 0 stands for none.
    LeaseGeneration(u32)
);

/// A device as the link protocol identifies it; written `dev-42` in URLs and wherever people read
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber(pub u32);

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dev-{}", self.0)
    }
}

/// The text is not a device id such as `dev-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseDeviceIdError;

impl fmt::Display for ParseDeviceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a device id looks like dev-42")
    }
}

impl core::error::Error for ParseDeviceIdError {}

impl FromStr for DeviceNumber {
    type Err = ParseDeviceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("dev-").ok_or(ParseDeviceIdError)?;
        let is_canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        if !is_canonical {
            return Err(ParseDeviceIdError);
        }
        digits.parse().map(Self).map_err(|_| ParseDeviceIdError)
    }
}

/// Identifies a batch permanently: boot epoch and sequence within its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    pub epoch: BootEpoch,
    pub sequence: Sequence,
}

/// Batches of one epoch, from the first to the last without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceRange {
    pub first: Sequence,
    pub last: Sequence,
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn device_id_has_exactly_one_spelling() {
        assert_eq!("dev-42".parse(), Ok(DeviceNumber(42)));
        assert_eq!(DeviceNumber(42).to_string(), "dev-42");
        for bad in ["42", "dev-", "dev-042", "dev-+1", "dev-4294967296", "DEV-1", "dev-1 "] {
            assert_eq!(bad.parse::<DeviceNumber>(), Err(ParseDeviceIdError), "{bad}");
        }
    }
}

//! Versions of a program.

use core::fmt;
use core::str::FromStr;

/// The version of an image: three numbers, compared in order.
///
/// There are no suffixes such as `-rc1`: a device must be able to tell which of two images is the
/// newer one, and a release candidate is a version of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// Changes with what is not compatible.
    pub major: u16,
    /// Changes with what is new.
    pub minor: u16,
    /// Changes with what is repaired.
    pub patch: u16,
}

/// The text is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is three numbers up to 65535, such as 1.4.0")]
pub struct ParseVersionError;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.').map(number);
        let mut next = || parts.next().flatten().ok_or(ParseVersionError);
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if parts.next().is_some() { Err(ParseVersionError) } else { Ok(version) }
    }
}

/// A number in its one spelling: digits only, no leading zeros.
fn number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    (is_plain && is_short).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn versions_have_one_spelling_and_an_order() {
        for text in ["0.0.0", "1.2.3", "65535.65535.65535"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        for bad in
            ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.+3", "1.2.3-rc1", "1.2.65536", "v1.2.3"]
        {
            assert_eq!(bad.parse::<Version>(), Err(ParseVersionError), "{bad}");
        }
        let ordered = ["0.9.9", "1.0.0", "1.0.10", "1.2.0", "1.10.0", "2.0.0"];
        let versions = ordered.map(|text| text.parse::<Version>().unwrap());
        assert!(versions.is_sorted());
    }
}

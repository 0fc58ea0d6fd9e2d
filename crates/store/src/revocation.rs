//! Permanent revocations, as lines of the file `revoked` next to the database.
//!
//! A backup is older than the database it was made of and lacks later revocations. Each revocation
//! is therefore also a line of this file, which is applied when a server opens its folder and when
//! a backup is restored. A line is a checksum, a kind and what it revokes; applying it twice has
//! the same effect as once.
//!
//! A further kind of revocation is a variant of [`Revocation`], with its arms in `Display`, in
//! [`parse`] and in `sqlite::revocation_file::apply`; the statement that revokes calls `Journal::append`.

use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use ecowatt_model::{DeviceNumber, KeyGeneration, UnixMs};

use crate::SecretHash;

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Something that an older database must not make valid again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// All keys of a device up to a generation.
    Keys { device: DeviceNumber, generation: KeyGeneration, at: UnixMs },
    /// A token and its sessions.
    Token(SecretHash),
    /// A browser session.
    Session(SecretHash),
    /// A claim code, named by its first group: voided, or redeemed.
    Claim(String),
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { device, generation, at } => {
                write!(f, "keys {} {} {}", device.0, generation.0, at.0)
            }
            Self::Token(hash) => write!(f, "token {}", Digits(hash)),
            Self::Session(hash) => write!(f, "session {}", Digits(hash)),
            Self::Claim(id) => write!(f, "claim {id}"),
        }
    }
}

struct Digits<'a>(&'a SecretHash);

impl fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The line of a revocation with its line end.
pub(crate) fn line(revocation: &Revocation) -> String {
    let text = revocation.to_string();
    format!("{:08x} {text}\n", CHECKSUM.checksum(text.as_bytes()))
}

/// Why a line is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadLine {
    #[error("its checksum does not match")]
    Checksum,
    #[error("it has a kind unknown to this version")]
    Kind,
}

/// Parses a line without its end.
pub(crate) fn parse(line: &[u8]) -> Result<Revocation, BadLine> {
    let text = std::str::from_utf8(line).map_err(|_| BadLine::Checksum)?;
    let (sum, text) = text.split_once(' ').ok_or(BadLine::Checksum)?;
    if sum != format!("{:08x}", CHECKSUM.checksum(text.as_bytes())) {
        return Err(BadLine::Checksum);
    }
    let words: Vec<&str> = text.split(' ').collect();
    let found = match words[..] {
        ["keys", device, generation, at] => keys(device, generation, at),
        ["token", hash] => hash_of(hash).map(Revocation::Token),
        ["session", hash] => hash_of(hash).map(Revocation::Session),
        ["claim", id] => Some(Revocation::Claim(id.into())),
        _ => None,
    };
    found.ok_or(BadLine::Kind)
}

fn keys(device: &str, generation: &str, at: &str) -> Option<Revocation> {
    Some(Revocation::Keys {
        device: DeviceNumber(device.parse().ok()?),
        generation: KeyGeneration(generation.parse().ok()?),
        at: UnixMs(at.parse().ok()?),
    })
}

fn hash_of(digits: &str) -> Option<SecretHash> {
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() || !digits.is_ascii() {
        return None;
    }
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_reads_back_and_a_damaged_one_does_not() {
        let keys = Revocation::Keys {
            device: DeviceNumber(7),
            generation: KeyGeneration(2),
            at: UnixMs(-5),
        };
        let others = [
            Revocation::Token([0xa7; 32]),
            Revocation::Session([0x0b; 32]),
            Revocation::Claim("7KQ2M".into()),
        ];
        for revocation in others.into_iter().chain([keys]) {
            let line = line(&revocation);
            let bytes = line.trim_end().as_bytes();
            assert_eq!(parse(bytes), Ok(revocation), "{line}");
            for cut in 0..bytes.len() {
                assert!(parse(&bytes[..cut]).is_err(), "{line} after {cut}");
            }
            for place in 0..bytes.len() {
                let mut damaged = bytes.to_vec();
                damaged[place] ^= 1;
                assert!(parse(&damaged).is_err(), "{line} at {place}");
            }
        }
    }

    #[test]
    fn kind_of_a_later_version_is_told_from_damage() {
        let text = "moon 7";
        let line = format!("{:08x} {text}", CHECKSUM.checksum(text.as_bytes()));
        assert_eq!(parse(line.as_bytes()), Err(BadLine::Kind));
    }
}

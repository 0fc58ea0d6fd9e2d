//! The timestamp: which targets are the newest.

use ecowatt_model::UnixMs;
use minicbor::decode::{Decoder, Error as DecodeError};

use crate::cbor::{self, BufferTooSmall, CursorEncoder, EncodeError};
use crate::tree::Hash;

/// The newest targets, as an online key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Grows with each timestamp.
    pub version: u32,
    /// From then on it counts for nothing: the longest that an attacker between device and server can
    /// hide a newer one.
    pub expires: UnixMs,
    /// Version of the targets.
    pub targets_version: u32,
    /// SHA-256 of the targets with their signatures.
    pub targets: Hash,
}

impl Timestamp {
    /// What a timestamp's signatures are for.
    pub const PURPOSE: &str = "ecowatt timestamp 1";
    /// Longest content.
    pub const CONTENT_MAX: usize = 1 + 5 + 9 + 5 + 34;

    /// Writes the content to sign, and returns its length.
    ///
    /// # Errors
    /// If `out` is shorter than [`Timestamp::CONTENT_MAX`].
    pub fn write(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        cbor::write(out, |encoder| self.write_fields(encoder))
    }

    fn write_fields(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(4)?.u32(self.version)?.i64(self.expires.0)?;
        encoder.u32(self.targets_version)?.bytes(&self.targets)?.ok()
    }

    /// Reads a content in its one encoding.
    #[must_use]
    pub fn read(content: &[u8]) -> Option<Self> {
        let timestamp = cbor::read(content, Self::read_fields)?;
        let mut again = [0; Self::CONTENT_MAX];
        let length = timestamp.write(&mut again).ok()?;
        (again[..length] == *content).then_some(timestamp)
    }

    fn read_fields(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        cbor::array(decoder, 4)?;
        Ok(Self {
            version: decoder.u32()?,
            expires: UnixMs(decoder.i64()?),
            targets_version: decoder.u32()?,
            targets: cbor::hash(decoder)?,
        })
    }
}

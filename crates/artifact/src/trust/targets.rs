//! The targets: the manifests that may be installed.

use ecowatt_model::UnixMs;
use minicbor::decode::{Decoder, Error as DecodeError};

use crate::cbor::{self, BufferTooSmall, CursorEncoder, EncodeError};
use crate::tree::Hash;

/// Most manifests that are offered at a time, over all hardware and payloads.
pub const TARGETS_MAX: usize = 32;

/// The SHA-256 of a signed manifest.
pub type Target = Hash;

/// Which manifests count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Grows with each list.
    pub version: u32,
    /// From then on the list counts for nothing: the longest that a stolen server can hide a newer
    /// one, so it is short, and renewed.
    pub expires: UnixMs,
    /// The manifests, in ascending order.
    pub manifests: heapless::Vec<Target, TARGETS_MAX>,
}

impl Targets {
    /// What a list's signatures are for.
    pub const PURPOSE: &str = "ecowatt targets 1";
    /// Longest content: 32 hashes of 34 bytes each, and 20 bytes for the rest.
    pub const CONTENT_MAX: usize = 1120;

    /// Writes the content to sign, and returns its length.
    ///
    /// # Errors
    /// If `out` is shorter than [`Targets::CONTENT_MAX`].
    pub fn write(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        cbor::write(out, |encoder| self.write_fields(encoder))
    }

    fn write_fields(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        let count = u64::try_from(self.manifests.len()).unwrap_or(u64::MAX);
        encoder.array(3)?.u32(self.version)?.i64(self.expires.0)?.array(count)?;
        self.manifests.iter().try_for_each(|hash| encoder.bytes(hash)?.ok())
    }

    /// Reads a content in its one encoding.
    #[must_use]
    pub fn read(content: &[u8]) -> Option<Self> {
        let targets = cbor::read(content, Self::read_fields)?;
        let mut again = [0; Self::CONTENT_MAX];
        let length = targets.write(&mut again).ok()?;
        let is_sorted = targets.manifests.is_sorted_by(|one, next| one < next);
        (is_sorted && again[..length] == *content).then_some(targets)
    }

    fn read_fields(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        cbor::array(decoder, 3)?;
        let (version, expires) = (decoder.u32()?, UnixMs(decoder.i64()?));
        let count = decoder.array()?.ok_or_else(|| cbor::wrong(decoder))?;
        let mut manifests = heapless::Vec::new();
        for _ in 0..count {
            manifests.push(cbor::hash(decoder)?).map_err(|_| cbor::wrong(decoder))?;
        }
        Ok(Self { version, expires, manifests })
    }
}

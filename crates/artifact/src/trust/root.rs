//! The root: the keys of all roles.

use ecowatt_model::UnixMs;
use minicbor::decode::{Decoder, Error as DecodeError};

use crate::cbor::{self, BufferTooSmall, CursorEncoder, EncodeError};
use crate::trust::role::Role;

/// Which keys count for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Grows by one with each root.
    pub version: u32,
    /// From then on nothing that this root vouches for counts.
    pub expires: UnixMs,
    /// Who may sign the next root.
    pub root: Role,
    /// Who may sign targets and manifests.
    pub targets: Role,
    /// Who may sign timestamps.
    pub timestamp: Role,
}

impl Root {
    /// What a root's signatures are for.
    pub const PURPOSE: &str = "ecowatt root 1";
    /// Longest content: 24 keys of 34 bytes each, and 40 bytes for the rest.
    pub const CONTENT_MAX: usize = 880;

    /// Writes the content to sign, and returns its length.
    ///
    /// # Errors
    /// If `out` is shorter than [`Root::CONTENT_MAX`].
    pub fn write(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        cbor::write(out, |encoder| self.write_fields(encoder))
    }

    pub(super) fn write_fields(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(5)?.u32(self.version)?.i64(self.expires.0)?;
        self.root.write(encoder)?;
        self.targets.write(encoder)?;
        self.timestamp.write(encoder)
    }

    /// Reads a content in its one encoding.
    #[must_use]
    pub fn read(content: &[u8]) -> Option<Self> {
        let root = cbor::read(content, Self::read_fields)?;
        // A key that is online must not be able to do what offline keys are for.
        let is_apart = root.root.is_apart_from(&root.targets)
            && root.root.is_apart_from(&root.timestamp)
            && root.targets.is_apart_from(&root.timestamp);
        let mut again = [0; Self::CONTENT_MAX];
        let length = root.write(&mut again).ok()?;
        (is_apart && again[..length] == *content).then_some(root)
    }

    pub(super) fn read_fields(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        cbor::array(decoder, 5)?;
        Ok(Self {
            version: decoder.u32()?,
            expires: UnixMs(decoder.i64()?),
            root: Role::read(decoder)?,
            targets: Role::read(decoder)?,
            timestamp: Role::read(decoder)?,
        })
    }
}

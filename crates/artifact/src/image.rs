//! The image itself: the bytes that a slot contains and a device starts.

use sha2::{Digest as _, Sha256};

use crate::tree::Hash;

/// Largest image and payload, in bytes: 256 MiB, several times the largest gateway image known.
pub const SIZE_MAX: u32 = 256 * 1024 * 1024;

/// What identifies an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Length in bytes.
    pub size: u32,
    /// SHA-256 of all its bytes.
    pub sha256: Hash,
}

/// Why bytes are not the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// More bytes came than the image has. Whatever follows is not read.
    #[error("more than {0} bytes, the size in the manifest")]
    TooLong(u32),
    /// The bytes ended early.
    #[error("{got} bytes instead of {expected}")]
    TooShort {
        /// Bytes that came.
        got: u32,
        /// Bytes that the manifest names.
        expected: u32,
    },
    /// The size fits, the content does not.
    #[error("the SHA-256 is not the one in the manifest")]
    WrongHash,
}

/// Checks an image part by part.
#[derive(Clone)]
pub struct ImageCheck {
    image: Image,
    got: u32,
    hash: Sha256,
}

impl ImageCheck {
    /// For the image that a manifest describes.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { image, got: 0, hash: Sha256::new() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they exceed the image's size: a stream that does not end is noticed at once.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let too_long = ImageError::TooLong(self.image.size);
        let more = u32::try_from(bytes.len()).map_err(|_| too_long)?;
        self.got =
            self.got.checked_add(more).filter(|got| *got <= self.image.size).ok_or(too_long)?;
        self.hash.update(bytes);
        Ok(())
    }

    /// Decides, after the last byte.
    ///
    /// # Errors
    /// If these were not the bytes of the image.
    pub fn finish(self) -> Result<(), ImageError> {
        let Self { image, got, hash } = self;
        if got != image.size {
            return Err(ImageError::TooShort { got, expected: image.size });
        }
        let sha256: Hash = hash.finalize().into();
        if sha256 == image.sha256 { Ok(()) } else { Err(ImageError::WrongHash) }
    }
}

/// The SHA-256 of bytes that are in memory as a whole.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

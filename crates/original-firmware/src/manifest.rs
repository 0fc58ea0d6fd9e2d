//! The description of a prepared image.

use serde::{Deserialize, Serialize};

/// Bytes of an encrypted image that a device fetches at a time; its parser has no room for more.
pub const CHUNK_BYTES: u64 = 2_048;

/// Longest version: it is part of file names and of the paths that devices call.
pub const VERSION_MAX: usize = 32;

/// A manifest as the original's tool writes it. Fields that its server adds are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: String,
    /// Bytes of the plain image.
    pub original_size: u64,
    pub encrypted_size: u64,
    /// Of the plain image, in lower-case hexadecimal digits.
    pub sha256_hash: String,
    /// Of the plain image, in base64.
    pub signature: String,
    /// The initial vector, in base64.
    pub iv: String,
    pub chunk_size: u64,
    pub total_chunks: u64,
    /// When it was prepared: ISO 8601 without a zone.
    pub timestamp: String,
}

impl Manifest {
    /// Returns the bytes of its file: the fields in this order, indented by two spaces, without a
    /// line end after the last brace.
    ///
    /// # Panics
    /// Never: numbers and texts have a JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts have a JSON form")
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// Fails if a field is missing or of another kind.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

/// Returns whether a text may be a version: letters, digits, `.`, `_`, `+` and `-`, not starting
/// with a dot or a hyphen. Others would lead out of the folder or break the devices' requests.
#[must_use]
pub fn is_version(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let is_first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_first && text.len() <= VERSION_MAX && text.bytes().all(is_inside)
}

//! What protects the uploads of the earlier EcoWatt's devices: an HMAC over nonce and text, and
//! in one generation AES-128-CBC.
//!
//! The tag covers neither the device nor the flags of the envelope, so the caller must use the key
//! of the device that the path names, and trust nothing else in the envelope. The initial vector is
//! a constant: the same text encrypts to the same bytes, and the encryption hides little. It is
//! only ever undone here.

use aes::cipher::{BlockCipherDecrypt as _, KeyInit as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Length of a tag; it travels as twice as many lower-case hexadecimal digits.
pub const TAG_BYTES: usize = 32;

/// The key that the original's sources contain. It protects nothing.
pub const PUBLISHED_KEY: [u8; 32] = [
    0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
    0x76, 0x2e, 0x71, 0x60, 0xf3, 0x8b, 0x4d, 0xa5, 0x6a, 0x78, 0x4d, 0x90, 0x45, 0x19, 0x0c, 0xfe,
];

const BLOCK_BYTES: usize = 16;

/// The initial vector of every encrypted upload.
const VECTOR: [u8; BLOCK_BYTES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Where the nonce stands in the input of the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoncePlace {
    /// Before the text: envelopes.
    Before,
    /// After it: the generation that sends the tag in a header.
    After,
}

/// Why a text was not decrypted. The sender does not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    #[error("{0} bytes are not whole blocks")]
    Length(usize),
    #[error("the padding is not that of PKCS #7")]
    Padding,
}

/// A device's HMAC key.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginalKey(Zeroizing<[u8; 32]>);

impl core::fmt::Debug for OriginalKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OriginalKey(..)")
    }
}

impl OriginalKey {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether it is the key that everybody can read.
    #[must_use]
    pub fn is_published(&self) -> bool {
        *self.0 == PUBLISHED_KEY
    }

    /// Returns the tag of a text.
    #[must_use]
    pub fn tag(&self, place: NoncePlace, nonce: u32, text: &[u8]) -> [u8; TAG_BYTES] {
        self.mac(place, nonce, text).finalize().into_bytes().into()
    }

    /// Returns whether `tag` is the tag of a text, written as the original writes it: 64 lower-case
    /// digits. Takes the same time wherever the digits differ.
    #[must_use]
    pub fn verifies(&self, place: NoncePlace, nonce: u32, text: &[u8], tag: &str) -> bool {
        let Some(tag) = tag_of(tag) else { return false };
        self.mac(place, nonce, text).verify_slice(&tag).is_ok()
    }

    /// Decrypts a text in place; returns its length. The result is nothing but bytes until its tag
    /// was verified.
    ///
    /// # Errors
    /// Fails if the length or the padding is not that of an encrypted text.
    pub fn decrypt(&self, buffer: &mut [u8]) -> Result<usize, DecryptError> {
        let length = buffer.len();
        let (blocks, rest) = buffer.as_chunks_mut::<BLOCK_BYTES>();
        if !rest.is_empty() || blocks.is_empty() {
            return Err(DecryptError::Length(length));
        }
        let (half, _) = self.0.split_at(BLOCK_BYTES);
        let cipher = aes::Aes128::new_from_slice(half).expect("half a key has 16 bytes");
        let mut before = VECTOR;
        for block in blocks {
            let encrypted = *block;
            cipher.decrypt_block(block.into());
            block.iter_mut().zip(before).for_each(|(byte, before)| *byte ^= before);
            before = encrypted;
        }
        let padding = buffer.last().copied().unwrap_or_default();
        let is_length = (1..=BLOCK_BYTES).contains(&usize::from(padding));
        let end = length.checked_sub(padding.into()).filter(|_| is_length);
        let end = end.ok_or(DecryptError::Padding)?;
        let is_padding = buffer[end..].iter().all(|byte| *byte == padding);
        if is_padding { Ok(end) } else { Err(DecryptError::Padding) }
    }

    fn mac(&self, place: NoncePlace, nonce: u32, text: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&*self.0).expect("HMAC takes any key");
        let nonce = nonce.to_be_bytes();
        let (first, second): (&[u8], &[u8]) = match place {
            NoncePlace::Before => (&nonce, text),
            NoncePlace::After => (text, &nonce),
        };
        mac.update(first);
        mac.update(second);
        mac
    }
}

/// Reads a tag's digits. Upper case is refused, as the original refuses it.
fn tag_of(digits: &str) -> Option<[u8; TAG_BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != TAG_BYTES || !rest.is_empty() {
        return None;
    }
    let mut tag = [0; TAG_BYTES];
    for (byte, [high, low]) in tag.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(tag)
}

//! Signed documents: COSE_Sign1 objects (RFC 9052 section 4.2) with Ed25519 (RFC 9864).
//!
//! Unlike a sealed message, a signed document is for anybody who knows the public key, and may pass
//! through any hands. What it is for is part of what is signed, as external data, so a document for
//! one purpose is never accepted for another. Its content is returned only after its signature has
//! been checked. Each document has exactly one encoding.

use core::fmt;

use ed25519_dalek::Signer as _;
use minicbor::Decoder;
use minicbor::encode::{Encoder, write::Cursor};
use sha2::{Digest as _, Sha256};

/// Longest content of a signed document; it is copied once to the stack of who checks it.
pub const CONTENT_MAX: usize = 2048;
/// Longest text that names a purpose.
pub const PURPOSE_MAX: usize = 23;
/// Bytes that a signature adds to a content of up to [`CONTENT_MAX`] bytes.
pub const SIGNED_OVERHEAD_MAX: usize = HEADER_MAX + SIGNATURE_HEAD.len() + SIGNATURE_BYTES;

pub(crate) const SIGNATURE_BYTES: usize = 64;
const SIGNER_BYTES: usize = 8;

/// Tag of COSE_Sign1 and an array of four; `{1: -19}`, which is Ed25519; the unprotected header's
/// `{4: kid}` up to the key id (RFC 9052 sections 3.1 and 4.2, RFC 9864 section 2.2).
const HEADER: [u8; 9] = [0xd2, 0x84, 0x43, 0xa1, 0x01, 0x32, 0xa1, 0x04, 0x48];
pub(crate) const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x32];
/// Longest part before the content: header, key id, head of the content.
const HEADER_MAX: usize = HEADER.len() + SIGNER_BYTES + 3;
/// Head of a byte string of 64 bytes.
const SIGNATURE_HEAD: [u8; 2] = [0x58, 0x40];
/// Longest `Sig_structure`: array, "Signature1", protected, purpose, head of the content, content.
const TO_BE_SIGNED_MAX: usize = 1 + 11 + 4 + (1 + PURPOSE_MAX) + 3 + CONTENT_MAX;

/// Why a document was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("a content of {0} bytes is longer than {CONTENT_MAX}")]
    TooLong(usize),
    #[error("the buffer is too small for the signed document")]
    BufferTooSmall,
}

/// Why a document counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    #[error("not a signed document")]
    Malformed,
    #[error("the document has {0} bytes, more than a signed document may have")]
    TooLong(usize),
    #[error("signed with the key {0}, which is not one of the expected keys")]
    UnknownSigner(SignerId),
    #[error("the signature does not match")]
    BadSignature,
}

/// The bytes are not a public key that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Ed25519 public key")]
pub struct PublicKeyError;

/// Names a public key in a document: the first eight bytes of the key's SHA-256.
///
/// It only helps to find the key. Two keys with the same name are a nuisance, not a danger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerId(pub [u8; SIGNER_BYTES]);

impl fmt::Display for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The secret half of a signature key.
pub struct SignatureKey(pub(crate) ed25519_dalek::SigningKey);

impl SignatureKey {
    /// Wraps 32 uniformly random bytes.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The bytes that the key was made from, for a file. They must not be logged.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The half that is not secret.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignatureKey(..)")
    }
}

/// The public half of a signature key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub(crate) ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// If the bytes are not a point of the curve, or one under which signatures prove nothing.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| PublicKeyError)?;
        if key.is_weak() { Err(PublicKeyError) } else { Ok(Self(key)) }
    }

    /// The key's bytes (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// How documents name this key.
    #[must_use]
    pub fn id(&self) -> SignerId {
        let digest: [u8; 32] = Sha256::digest(self.as_bytes()).into();
        let mut id = [0; SIGNER_BYTES];
        id.copy_from_slice(&digest[..SIGNER_BYTES]);
        SignerId(id)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// Signs `content` for a purpose into `out` and returns the length of the document.
///
/// # Errors
/// If the content is longer than [`CONTENT_MAX`], or `out` has no room for
/// [`SIGNED_OVERHEAD_MAX`] more bytes.
///
/// # Panics
/// If the purpose is longer than [`PURPOSE_MAX`]; purposes are constants of programs.
pub fn sign(
    key: &SignatureKey,
    purpose: &str,
    content: &[u8],
    out: &mut [u8],
) -> Result<usize, SignError> {
    let to_be_signed =
        ToBeSigned::new(purpose, content).ok_or(SignError::TooLong(content.len()))?;
    let signature = key.0.sign(to_be_signed.as_bytes()).to_bytes();
    write(out, key.public().id(), content, &signature).ok_or(SignError::BufferTooSmall)
}

/// A document whose signature has not been checked.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedDocument<'a> {
    signer: SignerId,
    content: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> UnverifiedDocument<'a> {
    /// Reads a document that fills `bytes`.
    ///
    /// # Errors
    /// If the bytes are too many, or not a document in its one encoding.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SignedError> {
        if bytes.len() > CONTENT_MAX + SIGNED_OVERHEAD_MAX {
            return Err(SignedError::TooLong(bytes.len()));
        }
        split(bytes).ok_or(SignedError::Malformed)
    }

    /// The key that the document claims to be signed with.
    #[must_use]
    pub fn signer(&self) -> SignerId {
        self.signer
    }

    /// The content, of which nothing is known. Only for showing a document to a person.
    #[must_use]
    pub fn claimed_content(&self) -> &'a [u8] {
        self.content
    }

    /// Checks the signature and returns the content.
    ///
    /// # Errors
    /// If the document was not signed for this purpose with one of `keys`.
    pub fn verify(&self, purpose: &str, keys: &[PublicKey]) -> Result<&'a [u8], SignedError> {
        let key = keys
            .iter()
            .find(|key| key.id() == self.signer)
            .ok_or(SignedError::UnknownSigner(self.signer))?;
        let to_be_signed = ToBeSigned::new(purpose, self.content)
            .ok_or(SignedError::TooLong(self.content.len()))?;
        let signature = ed25519_dalek::Signature::from_bytes(self.signature);
        // Strict: no second signature of the same content can be made from a valid one.
        key.0
            .verify_strict(to_be_signed.as_bytes(), &signature)
            .map_err(|_| SignedError::BadSignature)?;
        Ok(self.content)
    }
}

/// The `Sig_structure` of RFC 9052 section 4.4.
struct ToBeSigned {
    bytes: [u8; TO_BE_SIGNED_MAX],
    length: usize,
}

impl ToBeSigned {
    /// `None` if the content is too long.
    fn new(purpose: &str, content: &[u8]) -> Option<Self> {
        assert!(purpose.len() <= PURPOSE_MAX, "purposes are short");
        let mut bytes = [0; TO_BE_SIGNED_MAX];
        let mut encoder = Encoder::new(Cursor::new(&mut bytes[..]));
        encoder
            .array(4)
            .and_then(|e| e.str("Signature1"))
            .and_then(|e| e.bytes(&PROTECTED))
            .and_then(|e| e.bytes(purpose.as_bytes()))
            .and_then(|e| e.bytes(content))
            .ok()?;
        let length = encoder.writer().position();
        Some(Self { bytes, length })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Writes a document and returns its length; `None` if `out` is too small.
fn write(
    out: &mut [u8],
    signer: SignerId,
    content: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> Option<usize> {
    let rest = out.get_mut(HEADER.len() + SIGNER_BYTES..)?;
    let mut encoder = Encoder::new(Cursor::new(rest));
    encoder.bytes(content).ok()?.bytes(signature).ok()?;
    let length = encoder.writer().position();
    let (header, after) = out.split_at_mut(HEADER.len());
    header.copy_from_slice(&HEADER);
    after[..SIGNER_BYTES].copy_from_slice(&signer.0);
    Some(HEADER.len() + SIGNER_BYTES + length)
}

/// Splits a document that fills `bytes` into its parts.
fn split(bytes: &[u8]) -> Option<UnverifiedDocument<'_>> {
    let (signer, rest) = bytes.strip_prefix(&HEADER)?.split_first_chunk()?;
    let (rest, signature) = rest.split_last_chunk()?;
    let rest = rest.strip_suffix(&SIGNATURE_HEAD)?;
    let mut decoder = Decoder::new(rest);
    let content = decoder.bytes().ok()?;
    let is_shortest = rest.len() - content.len() == head_len(content.len());
    (decoder.position() == rest.len() && is_shortest).then_some(UnverifiedDocument {
        signer: SignerId(*signer),
        content,
        signature,
    })
}

/// Length of the shortest head of a byte string (RFC 8949 section 3).
pub(crate) fn head_len(length: usize) -> usize {
    match length {
        0..24 => 1,
        24..256 => 2,
        _ => 3,
    }
}

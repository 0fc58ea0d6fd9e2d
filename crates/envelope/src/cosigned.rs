//! Documents with several signatures: COSE_Sign objects (RFC 9052 section 4.1) with Ed25519.
//!
//! For decisions that no single key may take. The signatures are in ascending order of their keys'
//! names, one for each key, so a set of signatures has one encoding.

use ed25519_dalek::Signer as _;
use minicbor::Decoder;
use minicbor::encode::{Encoder, write::Cursor};

use crate::signed::{
    CONTENT_MAX, PROTECTED, PURPOSE_MAX, PublicKey, SIGNATURE_BYTES, SignError, SignatureKey,
    SignerId, head_len,
};

/// Most signatures of a document: those of two sets of keys, when one replaces the other.
pub const SIGNATURES_MAX: usize = 16;
/// Longest document.
pub const COSIGNED_MAX: usize = HEADER.len() + 3 + CONTENT_MAX + 1 + SIGNATURES_MAX * RECORD_BYTES;

/// Tag of COSE_Sign, an array of four, no protected and no unprotected header.
const HEADER: [u8; 5] = [0xd8, 0x62, 0x84, 0x40, 0xa0];
/// A COSE_Signature up to its key id: array of three, `{1: -19}`, `{4: kid}`.
const RECORD_HEAD: [u8; 8] = [0x83, 0x43, 0xa1, 0x01, 0x32, 0xa1, 0x04, 0x48];
const SIGNATURE_HEAD: [u8; 2] = [0x58, 0x40];
const RECORD_BYTES: usize = RECORD_HEAD.len() + 8 + SIGNATURE_HEAD.len() + SIGNATURE_BYTES;
/// Longest `Sig_structure`: array, "Signature", no protected, protected, purpose, content.
const TO_BE_SIGNED_MAX: usize = 1 + 10 + 1 + 4 + (1 + PURPOSE_MAX) + 3 + CONTENT_MAX;

/// Why a document counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CosignedError {
    #[error("not a document with signatures")]
    Malformed,
    #[error("the document has {0} bytes, more than one with signatures may have")]
    TooLong(usize),
    #[error("the signature of the key {0} does not match")]
    BadSignature(SignerId),
    #[error("signed with {got} of the expected keys instead of {threshold}")]
    TooFewSigners { got: usize, threshold: usize },
}

/// One signature of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    signer: SignerId,
    bytes: [u8; SIGNATURE_BYTES],
}

impl Signature {
    /// Signs `content` for a purpose.
    ///
    /// # Errors
    /// If the content is longer than [`CONTENT_MAX`].
    pub fn new(key: &SignatureKey, purpose: &str, content: &[u8]) -> Result<Self, SignError> {
        let to_be_signed =
            ToBeSigned::new(purpose, content).ok_or(SignError::TooLong(content.len()))?;
        let bytes = key.0.sign(to_be_signed.as_bytes()).to_bytes();
        Ok(Self { signer: key.public().id(), bytes })
    }
}

/// Writes a document of a content and its signatures, each by another key, which are sorted.
///
/// # Errors
/// If `out` is too small; [`COSIGNED_MAX`] bytes are always enough.
pub fn assemble(
    content: &[u8],
    signatures: &mut [Signature],
    out: &mut [u8],
) -> Result<usize, SignError> {
    if content.len() > CONTENT_MAX {
        return Err(SignError::TooLong(content.len()));
    }
    signatures.sort_unstable();
    write(content, signatures, out).ok_or(SignError::BufferTooSmall)
}

fn write(content: &[u8], signatures: &[Signature], out: &mut [u8]) -> Option<usize> {
    let count =
        u8::try_from(signatures.len()).ok().filter(|n| usize::from(*n) <= SIGNATURES_MAX)?;
    let (header, rest) = out.split_at_mut_checked(HEADER.len())?;
    header.copy_from_slice(&HEADER);
    let mut encoder = Encoder::new(Cursor::new(&mut *rest));
    encoder.bytes(content).ok()?;
    let at = encoder.writer().position();
    let records = rest.get_mut(at..at + 1 + signatures.len() * RECORD_BYTES)?;
    let (head, records) = records.split_first_mut()?;
    *head = 0x80 | count;
    for (record, Signature { signer, bytes }) in
        records.chunks_exact_mut(RECORD_BYTES).zip(signatures)
    {
        let parts = [&RECORD_HEAD[..], &signer.0, &SIGNATURE_HEAD, bytes];
        let mut places = record.iter_mut();
        parts.into_iter().flatten().zip(&mut places).for_each(|(byte, place)| *place = *byte);
    }
    Some(HEADER.len() + at + 1 + signatures.len() * RECORD_BYTES)
}

/// A document whose signatures have not been checked.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedCosigned<'a> {
    content: &'a [u8],
    records: &'a [[u8; RECORD_BYTES]],
}

impl<'a> UnverifiedCosigned<'a> {
    /// Reads a document that fills `bytes`.
    ///
    /// # Errors
    /// If the bytes are too many, or not a document in its one encoding.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CosignedError> {
        if bytes.len() > COSIGNED_MAX {
            return Err(CosignedError::TooLong(bytes.len()));
        }
        split(bytes).ok_or(CosignedError::Malformed)
    }

    /// The content, of which nothing is known.
    #[must_use]
    pub fn claimed_content(&self) -> &'a [u8] {
        self.content
    }

    /// The signatures, for adding another one.
    pub fn signatures(&self) -> impl Iterator<Item = Signature> + use<'a> {
        self.records.iter().filter_map(read)
    }

    /// Checks that at least `threshold` of `keys` signed this for the purpose, and returns the
    /// content. Signatures of other keys are passed over; a wrong one under the name of one of
    /// `keys` spoils the document.
    ///
    /// # Errors
    /// If a signature does not match, or too few do.
    pub fn verify(
        &self,
        purpose: &str,
        keys: &[PublicKey],
        threshold: usize,
    ) -> Result<&'a [u8], CosignedError> {
        let to_be_signed = ToBeSigned::new(purpose, self.content)
            .ok_or(CosignedError::TooLong(self.content.len()))?;
        let mut got = 0;
        for Signature { signer, bytes } in self.signatures() {
            let Some(key) = keys.iter().find(|key| key.id() == signer) else { continue };
            let signature = ed25519_dalek::Signature::from_bytes(&bytes);
            key.0
                .verify_strict(to_be_signed.as_bytes(), &signature)
                .map_err(|_| CosignedError::BadSignature(signer))?;
            got += 1;
        }
        // Without this, a threshold of zero would make any document genuine.
        let threshold = threshold.max(1);
        if got < threshold {
            return Err(CosignedError::TooFewSigners { got, threshold });
        }
        Ok(self.content)
    }
}

fn split(bytes: &[u8]) -> Option<UnverifiedCosigned<'_>> {
    let rest = bytes.strip_prefix(&HEADER)?;
    let mut decoder = Decoder::new(rest);
    let content = decoder.bytes().ok()?;
    let at = decoder.position();
    if content.len() > CONTENT_MAX || at != head_len(content.len()) + content.len() {
        return None;
    }
    let (head, records) = rest[at..].split_first()?;
    let (records, []) = records.as_chunks::<RECORD_BYTES>() else { return None };
    let count = usize::from(head.checked_sub(0x80)?);
    let is_sound = count == records.len()
        && (1..=SIGNATURES_MAX).contains(&count)
        && records.iter().all(|record| read(record).is_some())
        && records.is_sorted_by(|one, next| name(one) < name(next));
    is_sound.then_some(UnverifiedCosigned { content, records })
}

/// The bytes of a record that name its key.
fn name(record: &[u8; RECORD_BYTES]) -> &[u8] {
    &record[RECORD_HEAD.len()..RECORD_HEAD.len() + 8]
}

fn read(record: &[u8; RECORD_BYTES]) -> Option<Signature> {
    let (signer, rest) = record.strip_prefix(&RECORD_HEAD)?.split_first_chunk()?;
    let bytes = rest.strip_prefix(&SIGNATURE_HEAD)?.try_into().ok()?;
    Some(Signature { signer: SignerId(*signer), bytes })
}

/// The `Sig_structure` of RFC 9052 section 4.4 for one of several signatures.
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
            .array(5)
            .and_then(|e| e.str("Signature"))
            .and_then(|e| e.bytes(&[]))
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

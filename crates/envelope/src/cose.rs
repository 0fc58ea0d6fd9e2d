//! The subset of COSE that this project uses: COSE_Encrypt0 without tag, two algorithms, `kid` and
//! partial IV. Only definite lengths and shortest integers are allowed (RFC 8949 section 4.2.1): a
//! parsed object is encoded again and compared, so each object has exactly one encoding.

use minicbor::Decoder;
use minicbor::encode::{Encoder, write::Cursor};

use crate::key::NONCE_BYTES;

/// `{1: 10}`: AES-CCM-16-64-128.
pub(crate) const PROTECTED_UPLINK: &[u8] = &[0xa1, 0x01, 0x0a];
/// `{1: 30}`: AES-CCM-16-128-128.
pub(crate) const PROTECTED_REPLY: &[u8] = &[0xa1, 0x01, 0x18, 0x1e];

/// Header parameter labels (RFC 9052 section 3.1).
const LABEL_KID: u8 = 4;
const LABEL_PARTIAL_IV: u8 = 6;

/// Longest protected header: the reply's.
const PROTECTED_MAX: usize = PROTECTED_REPLY.len();
/// Longest key id: device number and key generation.
const KID_MAX: usize = crate::key::KID_BYTES_MAX;

/// Largest header: array, protected, map, kid, partial IV, head of the ciphertext.
pub(crate) const HEADER_MAX: usize =
    1 + (1 + PROTECTED_MAX) + 1 + (2 + KID_MAX) + (2 + NONCE_BYTES) + 3;

/// Writes everything before the bytes of the ciphertext; returns the length.
pub(crate) fn write_header(
    out: &mut [u8; HEADER_MAX],
    protected: &[u8],
    kid: Option<&[u8]>,
    partial_iv: &[u8],
    ciphertext_length: usize,
) -> usize {
    let mut encoder = Encoder::new(Cursor::new(&mut out[..]));
    let written = (|| {
        encoder.array(3)?.bytes(protected)?;
        if let Some(kid) = kid {
            encoder.map(2)?.u8(LABEL_KID)?.bytes(kid)?;
        } else {
            encoder.map(1)?;
        }
        encoder.u8(LABEL_PARTIAL_IV)?.bytes(partial_iv)?;
        Ok::<_, minicbor::encode::Error<_>>(())
    })();
    written.expect("HEADER_MAX holds the longest header");
    let at = encoder.writer().position();
    at + write_bytes_head(&mut out[at..], ciphertext_length)
}

/// Head of a byte string of up to 65,535 bytes.
fn write_bytes_head(out: &mut [u8], length: usize) -> usize {
    let length = u16::try_from(length).expect("callers limit messages to 65,535 bytes");
    let [high, low] = length.to_be_bytes();
    match length {
        0..24 => {
            out[0] = 0x40 | low;
            1
        }
        24..256 => {
            out[..2].copy_from_slice(&[0x58, low]);
            2
        }
        256.. => {
            out[..3].copy_from_slice(&[0x59, high, low]);
            3
        }
    }
}

/// The parts of a COSE_Encrypt0 object, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encrypt0<'a> {
    pub(crate) protected: &'a [u8],
    pub(crate) kid: Option<&'a [u8]>,
    pub(crate) partial_iv: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
}

/// Parses exactly one object that fills `bytes`, or returns `None`.
pub(crate) fn parse(bytes: &[u8]) -> Option<Encrypt0<'_>> {
    let mut decoder = Decoder::new(bytes);
    if decoder.array().ok()? != Some(3) {
        return None;
    }
    let protected = decoder.bytes().ok()?;
    let labels = decoder.map().ok()??;
    let kid = match labels {
        1 => None,
        2 => {
            (decoder.u8().ok()? == LABEL_KID).then_some(())?;
            Some(decoder.bytes().ok()?)
        }
        _ => return None,
    };
    (decoder.u8().ok()? == LABEL_PARTIAL_IV).then_some(())?;
    let partial_iv = decoder.bytes().ok()?;
    let ciphertext = decoder.bytes().ok()?;
    let parts = Encrypt0 { protected, kid, partial_iv, ciphertext };
    (decoder.position() == bytes.len() && parts.is_header_of(bytes)).then_some(parts)
}

impl Encrypt0<'_> {
    /// Whether `bytes` start with the canonical encoding of this object's header.
    fn is_header_of(&self, bytes: &[u8]) -> bool {
        let Self { protected, kid, partial_iv, ciphertext } = self;
        let fits = protected.len() <= PROTECTED_MAX
            && kid.is_none_or(|kid| kid.len() <= KID_MAX)
            && partial_iv.len() <= NONCE_BYTES
            && ciphertext.len() <= usize::from(u16::MAX);
        let mut header = [0; HEADER_MAX];
        fits && {
            let length = write_header(&mut header, protected, *kid, partial_iv, ciphertext.len());
            bytes.get(..length) == header.get(..length)
        }
    }
}

/// Longest Enc_structure: array, "Encrypt0", protected, external data of up to 23 bytes.
const AAD_MAX: usize = 1 + 9 + 5 + 24;

/// The `Enc_structure` of RFC 9052 section 5.3, which the AEAD authenticates.
pub(crate) struct Aad {
    bytes: [u8; AAD_MAX],
    length: usize,
}

impl Aad {
    pub(crate) fn new(protected: &[u8], external: &[u8]) -> Self {
        let mut bytes = [0; AAD_MAX];
        let mut encoder = Encoder::new(Cursor::new(&mut bytes[..]));
        encoder
            .array(3)
            .and_then(|e| e.str("Encrypt0"))
            .and_then(|e| e.bytes(protected))
            .and_then(|e| e.bytes(external))
            .expect("AAD_MAX holds the longest structure");
        let length = encoder.writer().position();
        Self { bytes, length }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The AEAD's nonce: context IV XOR left-padded partial IV (RFC 9052 section 3.1).
pub(crate) fn nonce(context_iv: &[u8; NONCE_BYTES], partial_iv: &[u8]) -> [u8; NONCE_BYTES] {
    let mut nonce = *context_iv;
    for (byte, part) in nonce.iter_mut().rev().zip(partial_iv.iter().rev()) {
        *byte ^= part;
    }
    nonce
}

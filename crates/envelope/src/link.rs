//! Sealed messages between device and server.

use ccm::AeadInOut;
use ccm::aead::AeadCore;
use ccm::aead::array::typenum::Unsigned;
use ecowatt_model::Counter;

use crate::cose::{self, Aad, Encrypt0, HEADER_MAX, PROTECTED_REPLY, PROTECTED_UPLINK};
use crate::key::{KID_BYTES_MAX, KeyId, LinkKeys, NONCE_BYTES, ReplyCipher, UplinkCipher};

/// Longest sealed message in either direction. AES-CCM with 13-byte nonces is limited to 65,535
/// bytes; the difference is reserved for headers.
pub const MESSAGE_MAX: usize = 60 * 1024;

/// Maximum number of bytes that [`seal_uplink`] adds to a message of up to 65,535 bytes.
pub const UPLINK_OVERHEAD_MAX: usize = 1 + 4 + 1 + (2 + KID_BYTES_MAX) + (2 + 8) + 3 + 8;

/// Length of a reply's random nonce.
pub const REPLY_NONCE_BYTES: usize = 12;

/// Maximum number of bytes that [`seal_reply`] adds to a message of up to 65,535 bytes.
pub const REPLY_OVERHEAD_MAX: usize = 1 + 5 + 1 + (2 + REPLY_NONCE_BYTES) + 3 + 16;

/// Identifies the uplink that a reply answers, by key and counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    pub kid: KeyId,
    pub counter: Counter,
}

/// Why a message was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealed message needs {needed} bytes, the buffer holds {capacity}")]
    BufferTooSmall { needed: usize, capacity: usize },
    #[error("a message of {0} bytes is longer than the limit")]
    TooLong(usize),
}

/// Why a message was not opened. The sender does not learn the reason: all get the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("not a sealed message of this protocol")]
    Malformed,
    #[error("algorithm does not match the direction")]
    WrongAlgorithm,
    #[error("a message of {0} bytes is longer than the limit")]
    TooLong(usize),
    #[error("the plain message needs {needed} bytes, the buffer holds {capacity}")]
    BufferTooSmall { needed: usize, capacity: usize },
    #[error("tag does not match")]
    BadTag,
}

/// Seals `buffer[..length]` in place and returns the sealed length.
///
/// A counter must never be used for two messages under one key, so the caller must have reserved it
/// durably.
///
/// # Errors
/// If the message is too long or the buffer has no room for [`UPLINK_OVERHEAD_MAX`] more bytes.
pub fn seal_uplink(
    keys: &LinkKeys,
    request: RequestId,
    buffer: &mut [u8],
    length: usize,
) -> Result<usize, SealError> {
    let counter = CounterBytes::new(request.counter);
    let (kid, kid_length) = request.kid.to_bytes();
    seal(
        &keys.up(),
        &keys.up_iv,
        PROTECTED_UPLINK,
        Some(&kid[..kid_length]),
        counter.as_bytes(),
        &[],
        buffer,
        length,
    )
}

/// Seals the reply to `request` in `buffer[..length]` in place and returns the sealed length.
///
/// `nonce` must be random for each reply: with 96 bits, the probability that any two of 2^32
/// replies under one key have the same nonce is 2^-33.
///
/// # Errors
/// If the message is too long or the buffer is too small.
pub fn seal_reply(
    keys: &LinkKeys,
    request: RequestId,
    nonce: &[u8; REPLY_NONCE_BYTES],
    buffer: &mut [u8],
    length: usize,
) -> Result<usize, SealError> {
    let bound = Binding::new(request);
    seal(
        &keys.down(),
        &keys.down_iv,
        PROTECTED_REPLY,
        None,
        nonce,
        bound.as_bytes(),
        buffer,
        length,
    )
}

/// Opens the reply to `request` into `out` and returns the plain message.
///
/// # Errors
/// If the bytes are not a reply, belong to a different request or were altered.
pub fn open_reply<'o>(
    keys: &LinkKeys,
    request: RequestId,
    bytes: &[u8],
    out: &'o mut [u8],
) -> Result<&'o [u8], OpenError> {
    let parts = parse(bytes, PROTECTED_REPLY)?;
    if parts.kid.is_some() || parts.partial_iv.len() != REPLY_NONCE_BYTES {
        return Err(OpenError::Malformed);
    }
    let bound = Binding::new(request);
    open(&keys.down(), &keys.down_iv, &parts, bound.as_bytes(), out)
}

/// An uplink whose header was parsed and whose tag has not been checked.
///
/// Key id and counter are only claims that select the key; they are authentic once [`UnverifiedUplink::open`]
/// succeeds.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedUplink<'a> {
    request: RequestId,
    parts: Encrypt0<'a>,
}

impl<'a> UnverifiedUplink<'a> {
    /// Parses the header.
    ///
    /// # Errors
    /// If the bytes are not the canonical encoding of an uplink.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, OpenError> {
        let parts = parse(bytes, PROTECTED_UPLINK)?;
        let kid = parts.kid.and_then(KeyId::from_bytes).ok_or(OpenError::Malformed)?;
        let counter = counter_from_bytes(parts.partial_iv).ok_or(OpenError::Malformed)?;
        Ok(Self { request: RequestId { kid, counter }, parts })
    }

    /// The key and counter that the message claims to use.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Checks the tag, decrypts into `out` and returns the plain message.
    ///
    /// # Errors
    /// If the tag does not match or `out` is too small.
    pub fn open<'o>(&self, keys: &LinkKeys, out: &'o mut [u8]) -> Result<&'o [u8], OpenError> {
        open(&keys.up(), &keys.up_iv, &self.parts, &[], out)
    }
}

fn parse<'a>(bytes: &'a [u8], protected: &[u8]) -> Result<Encrypt0<'a>, OpenError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(OpenError::TooLong(bytes.len()));
    }
    let parts = cose::parse(bytes).ok_or(OpenError::Malformed)?;
    if parts.protected != protected {
        return Err(OpenError::WrongAlgorithm);
    }
    Ok(parts)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one COSE object, named at both calls")]
fn seal<C: AeadInOut + AeadCore<NonceSize = <UplinkCipher as AeadCore>::NonceSize>>(
    cipher: &C,
    context_iv: &[u8; NONCE_BYTES],
    protected: &[u8],
    kid: Option<&[u8]>,
    partial_iv: &[u8],
    external: &[u8],
    buffer: &mut [u8],
    length: usize,
) -> Result<usize, SealError> {
    let ciphertext_length = length + C::TagSize::USIZE;
    if ciphertext_length + HEADER_MAX > MESSAGE_MAX {
        return Err(SealError::TooLong(length));
    }
    let mut header = [0; HEADER_MAX];
    let at = cose::write_header(&mut header, protected, kid, partial_iv, ciphertext_length);
    let needed = at + ciphertext_length;
    if needed > buffer.len() {
        return Err(SealError::BufferTooSmall { needed, capacity: buffer.len() });
    }
    buffer.copy_within(..length, at);
    buffer[..at].copy_from_slice(&header[..at]);
    let aad = Aad::new(protected, external);
    let nonce = cose::nonce(context_iv, partial_iv).into();
    let tag = cipher
        .encrypt_inout_detached(&nonce, aad.as_bytes(), (&mut buffer[at..at + length]).into())
        .map_err(|_| SealError::TooLong(length))?;
    buffer[at + length..needed].copy_from_slice(&tag);
    Ok(needed)
}

fn open<'o, C: AeadInOut + AeadCore<NonceSize = <UplinkCipher as AeadCore>::NonceSize>>(
    cipher: &C,
    context_iv: &[u8; NONCE_BYTES],
    parts: &Encrypt0<'_>,
    external: &[u8],
    out: &'o mut [u8],
) -> Result<&'o [u8], OpenError> {
    let length =
        parts.ciphertext.len().checked_sub(C::TagSize::USIZE).ok_or(OpenError::Malformed)?;
    let (ciphertext, tag) = parts.ciphertext.split_at(length);
    let capacity = out.len();
    let Some(plain) = out.get_mut(..length) else {
        return Err(OpenError::BufferTooSmall { needed: length, capacity });
    };
    plain.copy_from_slice(ciphertext);
    let aad = Aad::new(parts.protected, external);
    let nonce = cose::nonce(context_iv, parts.partial_iv).into();
    let tag = tag.try_into().map_err(|_| OpenError::Malformed)?;
    match cipher.decrypt_inout_detached(&nonce, aad.as_bytes(), (&mut *plain).into(), &tag) {
        Ok(()) => Ok(plain),
        Err(_) => {
            plain.fill(0);
            Err(OpenError::BadTag)
        }
    }
}

/// A counter as a partial IV: big-endian without leading zeros, at least one byte.
struct CounterBytes {
    bytes: [u8; 8],
    skipped: usize,
}

impl CounterBytes {
    fn new(counter: Counter) -> Self {
        let bytes = counter.0.to_be_bytes();
        let skipped = bytes.iter().take(7).take_while(|byte| **byte == 0).count();
        Self { bytes, skipped }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.skipped..]
    }
}

fn counter_from_bytes(bytes: &[u8]) -> Option<Counter> {
    let is_shortest = bytes.len() == 1 || bytes.first().is_some_and(|first| *first != 0);
    if !is_shortest || bytes.len() > 8 {
        return None;
    }
    Some(Counter(bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))))
}

/// The external additional data of a reply: kid and counter of its request as two CBOR byte
/// strings.
struct Binding {
    bytes: [u8; KID_BYTES_MAX + 10],
    length: usize,
}

impl Binding {
    fn new(request: RequestId) -> Self {
        let (kid, kid_length) = request.kid.to_bytes();
        let counter = CounterBytes::new(request.counter);
        let mut bytes = [0; KID_BYTES_MAX + 10];
        let mut length = 0;
        for part in [&kid[..kid_length], counter.as_bytes()] {
            // Both are shorter than 24 bytes, so the head is one byte: 0x40 + length.
            bytes[length] = 0x40 | u8::try_from(part.len()).unwrap_or(0);
            bytes[length + 1..][..part.len()].copy_from_slice(part);
            length += 1 + part.len();
        }
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

// The two ciphers differ only in their tags; `seal` and `open` rely on that.
const _: fn() = || {
    fn same<A: AeadCore<NonceSize = B::NonceSize>, B: AeadCore>() {}
    same::<UplinkCipher, ReplyCipher>();
};

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    use ecowatt_model::{DeviceNumber, KeyGeneration};
    use proptest::prelude::*;

    use super::*;
    use crate::key::DeviceKey;

    fn request(device: u32, counter: u64) -> RequestId {
        let kid = KeyId { device: DeviceNumber(device), generation: KeyGeneration(1) };
        RequestId { kid, counter: Counter(counter) }
    }

    fn keys(request: RequestId) -> LinkKeys {
        LinkKeys::derive(&DeviceKey::new([0x5a; 32]), request.kid)
    }

    fn sealed(request: RequestId, plain: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; plain.len() + UPLINK_OVERHEAD_MAX];
        buffer[..plain.len()].copy_from_slice(plain);
        let length = seal_uplink(&keys(request), request, &mut buffer, plain.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    proptest! {
        #[test]
        fn opens_to_what_was_sealed(device: u32, counter: u64, plain: Vec<u8>) {
            let request = request(device, counter);
            let bytes = sealed(request, &plain);
            prop_assert!(bytes.len() <= plain.len() + UPLINK_OVERHEAD_MAX);
            let message = UnverifiedUplink::parse(&bytes).unwrap();
            prop_assert_eq!(message.request(), request);
            let mut out = vec![0; plain.len()];
            prop_assert_eq!(message.open(&keys(request), &mut out).unwrap(), &plain[..]);
        }

        #[test]
        fn one_flipped_bit_is_detected(plain: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let request = request(300, 70_000);
            let mut bytes = sealed(request, &plain);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let mut out = vec![0; bytes.len()];
            let opened = UnverifiedUplink::parse(&bytes)
                .and_then(|message| message.open(&keys(message.request()), &mut out).map(<[u8]>::to_vec));
            prop_assert!(opened.is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let request = request(1, 1);
            let mut out = [0; 64];
            let _ = UnverifiedUplink::parse(&bytes).and_then(|m| m.open(&keys(request), &mut out).map(drop));
            prop_assert!(open_reply(&keys(request), request, &bytes, &mut out).is_err());
        }
    }

    #[test]
    fn reply_opens_only_for_its_request() {
        let asked = request(7, 41);
        let keys = keys(asked);
        let mut buffer = [0; 80];
        buffer[..3].copy_from_slice(b"ack");
        let length = seal_reply(&keys, asked, &[3; 12], &mut buffer, 3).unwrap();
        let mut out = [0; 80];
        assert_eq!(open_reply(&keys, asked, &buffer[..length], &mut out).unwrap(), b"ack");
        let later = request(7, 42);
        assert_eq!(
            open_reply(&keys, later, &buffer[..length], &mut out),
            Err(OpenError::BadTag),
            "a reply to a different request"
        );
        assert_eq!(
            UnverifiedUplink::parse(&buffer[..length]).err(),
            Some(OpenError::WrongAlgorithm)
        );
    }

    #[test]
    fn overhead_of_an_ordinary_device_is_small() {
        let bytes = sealed(request(60_000, 1_000_000), &[0; 45]);
        assert_eq!(bytes.len() - 45, 26);
    }

    #[test]
    fn too_small_a_buffer_is_an_error() {
        let request = request(1, 1);
        let mut buffer = [0; 20];
        let needed = 10 + 22;
        assert_eq!(
            seal_uplink(&keys(request), request, &mut buffer, 10),
            Err(SealError::BufferTooSmall { needed, capacity: 20 })
        );
    }
}

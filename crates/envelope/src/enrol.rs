//! Turns a claim code into a device key.
//!
//! Both sides hold the code's 75 secret bits. The device sends a fresh X25519 key (RFC 7748) with a
//! tag made from the code; the server answers with its own fresh key, the device's identity and a
//! tag made from the new key. The device key is derived from the shared secret and the code
//! together.
//!
//! - An eavesdropper has neither private key and cannot learn the device key, even with the code.
//! - An attacker in the middle needs the unspent code to forge a tag; guessing takes 2^75 tries.
//! - A lost answer does not strand the device: it repeats the request with the same key, and the
//!   server, which keeps the answer with the claim, repeats the answer. Any other key is refused.

use ecowatt_model::{BootEpoch, DeviceNumber, KeyGeneration, StreamNumber, UnixMs};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use minicbor::Decoder;
use minicbor::encode::{Encoder, write::Cursor};
use sha2::{Digest as _, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::claim::{ClaimCode, ClaimId};
use crate::key::DeviceKey;

/// Version of the handshake; the first item of both messages.
const VERSION: u8 = 1;

/// Buffer size that is enough for either message.
pub const ENROL_MESSAGE_MAX: usize = 128;

/// Why enrolment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    #[error("not an enrolment message of this version")]
    Malformed,
    #[error("tag does not match: different claim code, or message altered in transit")]
    BadTag,
    #[error("the other side's key is degenerate")]
    WeakKey,
}

/// What the server grants to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrolmentGrant {
    pub device: DeviceNumber,
    pub generation: KeyGeneration,
    /// The first boot epoch that the device may use: above every epoch of this device number so
    /// far.
    pub first_epoch: BootEpoch,
    /// The first stream number, likewise.
    pub first_stream: StreamNumber,
    /// The server's time.
    pub time: UnixMs,
}

/// What the device has after a successful enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub grant: EnrolmentGrant,
    pub key: DeviceKey,
}

/// The device's side. It must be durable from before the request is sent until the answer arrives.
pub struct DeviceHalf(StaticSecret);

impl DeviceHalf {
    /// Takes 32 random bytes, which must be fresh for each claim code.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(StaticSecret::from(random))
    }

    /// Writes the request `[1, claim id, public key, tag]`; returns its length.
    #[must_use]
    pub fn request(&self, code: &ClaimCode, out: &mut [u8; ENROL_MESSAGE_MAX]) -> usize {
        let device_public = PublicKey::from(&self.0).to_bytes();
        let tag = request_tag(code, &device_public).finalize().into_bytes().into();
        Request { claim: code.id(), device_public, tag }.write(out)
    }

    /// Checks the server's answer and returns the identity.
    ///
    /// # Errors
    /// If the answer was not made for this request by a holder of the code.
    pub fn finish(&self, code: &ClaimCode, answer: &[u8]) -> Result<Identity, EnrolError> {
        let (grant, server_public, tag) = parse_answer(answer).ok_or(EnrolError::Malformed)?;
        let shared = self.0.diffie_hellman(&PublicKey::from(server_public));
        if !shared.was_contributory() {
            return Err(EnrolError::WeakKey);
        }
        let public = PublicKey::from(&self.0);
        let agreed =
            Agreed::new(code, shared.as_bytes(), public.as_bytes(), &server_public, &grant);
        agreed.answer_tag().verify_slice(&tag).map_err(|_| EnrolError::BadTag)?;
        Ok(Identity { grant, key: agreed.device_key() })
    }
}

/// A parsed request whose tag has not been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    claim: ClaimId,
    device_public: [u8; 32],
    tag: [u8; 32],
}

impl Request {
    /// Parses a request.
    ///
    /// # Errors
    /// If the bytes are not the canonical encoding of a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnrolError> {
        (|| {
            let mut decoder = Decoder::new(bytes);
            (decoder.array().ok()? == Some(4)).then_some(())?;
            (decoder.u8().ok()? == VERSION).then_some(())?;
            let claim = decoder.str().ok()?.parse().ok()?;
            let device_public = decoder.bytes().ok()?.try_into().ok()?;
            let tag = decoder.bytes().ok()?.try_into().ok()?;
            let request = Self { claim, device_public, tag };
            let mut spelled = [0; ENROL_MESSAGE_MAX];
            let length = request.write(&mut spelled);
            (bytes == &spelled[..length]).then_some(request)
        })()
        .ok_or(EnrolError::Malformed)
    }

    /// The canonical encoding: `[1, claim id, public key, tag]`.
    fn write(&self, out: &mut [u8; ENROL_MESSAGE_MAX]) -> usize {
        let mut encoder = Encoder::new(Cursor::new(&mut out[..]));
        encoder
            .array(4)
            .and_then(|e| e.u8(VERSION))
            .and_then(|e| e.str(self.claim.as_str()))
            .and_then(|e| e.bytes(&self.device_public))
            .and_then(|e| e.bytes(&self.tag))
            .expect("77 bytes fit");
        encoder.writer().position()
    }

    /// The id of the claim to look up.
    #[must_use]
    pub fn claim(&self) -> ClaimId {
        self.claim
    }

    /// The device's public key; a claim is spent on the first one.
    #[must_use]
    pub fn device_public(&self) -> &[u8; 32] {
        &self.device_public
    }

    /// Checks that the sender holds the code.
    ///
    /// # Errors
    /// [`EnrolError::BadTag`] if it does not.
    pub fn verify(&self, code: &ClaimCode) -> Result<(), EnrolError> {
        if self.claim != code.id() {
            return Err(EnrolError::BadTag);
        }
        request_tag(code, &self.device_public)
            .verify_slice(&self.tag)
            .map_err(|_| EnrolError::BadTag)
    }

    /// Checks the request and writes the answer `[1, device, generation, first epoch, first stream,
    /// time, public key, tag]`; returns its length and the device key. `random` is 32 fresh bytes.
    ///
    /// # Errors
    /// If the tag does not match or the device's key is degenerate.
    pub fn answer(
        &self,
        code: &ClaimCode,
        grant: &EnrolmentGrant,
        random: [u8; 32],
        out: &mut [u8; ENROL_MESSAGE_MAX],
    ) -> Result<(usize, DeviceKey), EnrolError> {
        self.verify(code)?;
        let secret = StaticSecret::from(random);
        let shared = secret.diffie_hellman(&PublicKey::from(self.device_public));
        if !shared.was_contributory() {
            return Err(EnrolError::WeakKey);
        }
        let public = PublicKey::from(&secret);
        let agreed =
            Agreed::new(code, shared.as_bytes(), &self.device_public, public.as_bytes(), grant);
        let tag = agreed.answer_tag().finalize().into_bytes().into();
        Ok((write_answer(grant, public.as_bytes(), &tag, out), agreed.device_key()))
    }
}

/// The canonical encoding of an answer.
fn write_answer(
    grant: &EnrolmentGrant,
    server_public: &[u8; 32],
    tag: &[u8; 32],
    out: &mut [u8; ENROL_MESSAGE_MAX],
) -> usize {
    let mut encoder = Encoder::new(Cursor::new(&mut out[..]));
    encoder
        .array(8)
        .and_then(|e| e.u8(VERSION))
        .and_then(|e| e.u32(grant.device.0))
        .and_then(|e| e.u16(grant.generation.0))
        .and_then(|e| e.u32(grant.first_epoch.0))
        .and_then(|e| e.u16(grant.first_stream.0))
        .and_then(|e| e.i64(grant.time.0))
        .and_then(|e| e.bytes(server_public))
        .and_then(|e| e.bytes(tag))
        .expect("97 bytes fit");
    encoder.writer().position()
}

fn parse_answer(bytes: &[u8]) -> Option<(EnrolmentGrant, [u8; 32], [u8; 32])> {
    let mut decoder = Decoder::new(bytes);
    (decoder.array().ok()? == Some(8)).then_some(())?;
    (decoder.u8().ok()? == VERSION).then_some(())?;
    let grant = EnrolmentGrant {
        device: DeviceNumber(decoder.u32().ok()?),
        generation: KeyGeneration(decoder.u16().ok()?),
        first_epoch: BootEpoch(decoder.u32().ok()?),
        first_stream: StreamNumber(decoder.u16().ok()?),
        time: UnixMs(decoder.i64().ok()?),
    };
    let public = decoder.bytes().ok()?.try_into().ok()?;
    let tag = decoder.bytes().ok()?.try_into().ok()?;
    let mut spelled = [0; ENROL_MESSAGE_MAX];
    let length = write_answer(&grant, &public, &tag, &mut spelled);
    (bytes == &spelled[..length]).then_some((grant, public, tag))
}

fn request_tag(code: &ClaimCode, device_public: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(code.secret()).expect("HMAC takes any key");
    mac.update(b"ecowatt enrol 1 request");
    mac.update(code.id().as_str().as_bytes());
    mac.update(device_public);
    mac
}

/// What both sides can derive once they have exchanged public keys.
struct Agreed(Hkdf<Sha256>, [u8; 32]);

impl Agreed {
    fn new(
        code: &ClaimCode,
        shared: &[u8; 32],
        device_public: &[u8; 32],
        server_public: &[u8; 32],
        grant: &EnrolmentGrant,
    ) -> Self {
        // The generation takes one byte while that is enough. The other parts have fixed lengths,
        // so different grants never have the same transcript.
        let generation = grant.generation.0.to_be_bytes();
        let transcript = Sha256::new()
            .chain_update(code.id().as_str())
            .chain_update(device_public)
            .chain_update(server_public)
            .chain_update(grant.device.0.to_be_bytes())
            .chain_update(&generation[usize::from(generation[0] == 0)..])
            .chain_update(grant.first_epoch.0.to_be_bytes())
            .chain_update(grant.first_stream.0.to_be_bytes())
            .chain_update(grant.time.0.to_be_bytes())
            .finalize()
            .into();
        Self(Hkdf::new(Some(code.secret()), shared), transcript)
    }

    fn device_key(&self) -> DeviceKey {
        DeviceKey::new(*self.expand(b"ecowatt enrol 1 device key"))
    }

    fn answer_tag(&self) -> Hmac<Sha256> {
        let key = self.expand(b"ecowatt enrol 1 answer");
        let mut mac = Hmac::<Sha256>::new_from_slice(&*key).expect("HMAC takes any key");
        mac.update(&self.1);
        mac
    }

    fn expand(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        self.0
            .expand_multi_info(&[label, &self.1], &mut *out)
            .expect("32 bytes are within HKDF's limit of 8,160");
        out
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn code(seed: u8) -> ClaimCode {
        ClaimCode::from_random(&[seed; 20])
    }

    fn grant() -> EnrolmentGrant {
        EnrolmentGrant {
            device: DeviceNumber(12),
            generation: KeyGeneration(2),
            first_epoch: BootEpoch(40),
            first_stream: StreamNumber(3),
            time: UnixMs(1_763_700_000_000),
        }
    }

    fn exchange() -> (Vec<u8>, Vec<u8>, DeviceKey) {
        let mut out = [0; ENROL_MESSAGE_MAX];
        let length = DeviceHalf::new([1; 32]).request(&code(7), &mut out);
        let request = out[..length].to_vec();
        let (length, key) = Request::parse(&request)
            .unwrap()
            .answer(&code(7), &grant(), [2; 32], &mut out)
            .unwrap();
        (request, out[..length].to_vec(), key)
    }

    #[test]
    fn both_sides_derive_the_same_key() {
        let (_, answer, key) = exchange();
        let identity = DeviceHalf::new([1; 32]).finish(&code(7), &answer).unwrap();
        assert_eq!(identity, Identity { grant: grant(), key });
    }

    #[test]
    fn a_different_code_or_request_is_refused() {
        let (request, answer, _) = exchange();
        assert_eq!(Request::parse(&request).unwrap().verify(&code(8)), Err(EnrolError::BadTag));
        let other_code = DeviceHalf::new([1; 32]).finish(&code(8), &answer);
        assert_eq!(other_code, Err(EnrolError::BadTag));
        let other_half = DeviceHalf::new([9; 32]).finish(&code(7), &answer);
        assert_eq!(other_half, Err(EnrolError::BadTag));
    }

    #[test]
    fn degenerate_key_is_refused() {
        let request = Request {
            claim: code(7).id(),
            device_public: [0; 32],
            tag: request_tag(&code(7), &[0; 32]).finalize().into_bytes().into(),
        };
        let refused = request.answer(&code(7), &grant(), [2; 32], &mut [0; ENROL_MESSAGE_MAX]);
        assert_eq!(refused, Err(EnrolError::WeakKey));
    }

    proptest! {
        #[test]
        fn altered_messages_are_refused(at: prop::sample::Index, bit in 0u8..8) {
            let (mut request, mut answer, _) = exchange();
            let place = at.index(request.len());
            request[place] ^= 1 << bit;
            let refused = Request::parse(&request).and_then(|r| r.verify(&code(7)));
            prop_assert!(refused.is_err());
            let place = at.index(answer.len());
            answer[place] ^= 1 << bit;
            prop_assert!(DeviceHalf::new([1; 32]).finish(&code(7), &answer).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = Request::parse(&bytes).map(|r| r.verify(&code(7)));
            prop_assert!(DeviceHalf::new([1; 32]).finish(&code(7), &bytes).is_err());
        }
    }
}

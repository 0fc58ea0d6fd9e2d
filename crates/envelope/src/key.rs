//! Keys and the material derived from them.

use ccm::aead::consts::{U8, U13, U16};
use ccm::{Ccm, KeyInit as _};
use ecowatt_model::{DeviceNumber, KeyGeneration};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

pub(crate) const NONCE_BYTES: usize = 13;

/// Longest encoding of a [`KeyId`].
pub(crate) const KID_BYTES_MAX: usize = 6;

/// AES-CCM-16-64-128 (RFC 9053 section 4.2): for uplinks, where every byte costs airtime.
pub(crate) type UplinkCipher = Ccm<aes::Aes128, U8, U13>;
/// AES-CCM-16-128-128: for replies, which will carry commands.
pub(crate) type ReplyCipher = Ccm<aes::Aes128, U16, U13>;

/// The secret that one device and its server share for one key generation.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKey(Zeroizing<[u8; 32]>);

impl DeviceKey {
    /// Wraps 32 uniformly random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for a ledger or a key store. They must not be logged.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("DeviceKey(..)")
    }
}

/// Identifies a key by device and generation; the `kid` of an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    pub device: DeviceNumber,
    pub generation: KeyGeneration,
}

impl KeyId {
    /// Encodes the device number, big-endian without leading zeros, then the generation in one
    /// byte. A generation above 255 takes two bytes, after all four of the device number.
    pub(crate) fn to_bytes(self) -> ([u8; KID_BYTES_MAX], usize) {
        let number = self.device.0.to_be_bytes();
        let mut bytes = [0; KID_BYTES_MAX];
        let Ok(generation) = u8::try_from(self.generation.0) else {
            bytes[..4].copy_from_slice(&number);
            bytes[4..].copy_from_slice(&self.generation.0.to_be_bytes());
            return (bytes, KID_BYTES_MAX);
        };
        let skipped = number.iter().take_while(|byte| **byte == 0).count();
        let kept = number.len() - skipped;
        bytes[..kept].copy_from_slice(&number[skipped..]);
        bytes[kept] = generation;
        (bytes, kept + 1)
    }

    /// The inverse of [`KeyId::to_bytes`]; other encodings of the same numbers are refused.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Ok([a, b, c, d, high, low]) = <[u8; KID_BYTES_MAX]>::try_from(bytes) {
            let generation = KeyGeneration(u16::from_be_bytes([high, low]));
            let device = DeviceNumber(u32::from_be_bytes([a, b, c, d]));
            return (high > 0).then_some(Self { device, generation });
        }
        let (generation, number) = bytes.split_last()?;
        if number.len() > 4 || number.first() == Some(&0) {
            return None;
        }
        let device = number.iter().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
        Some(Self {
            device: DeviceNumber(device),
            generation: KeyGeneration(u16::from(*generation)),
        })
    }
}

/// Keys and context IVs of both directions, derived from a [`DeviceKey`].
///
/// The round keys of AES are not kept: they take eleven times the memory of a key, of which a
/// microcontroller has little, and making them takes a small part of a message's time.
pub struct LinkKeys {
    up: Zeroizing<[u8; 16]>,
    pub(crate) up_iv: [u8; NONCE_BYTES],
    down: Zeroizing<[u8; 16]>,
    pub(crate) down_iv: [u8; NONCE_BYTES],
}

impl LinkKeys {
    /// Derives the keys with HKDF-SHA-256 (RFC 5869) and the info `"ecowatt link 1 " || "up" or
    /// "down" || 0x00 || kid`.
    #[must_use]
    pub fn derive(key: &DeviceKey, kid: KeyId) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, &*key.0);
        let (up, up_iv) = direction(&hkdf, b"up", kid);
        let (down, down_iv) = direction(&hkdf, b"down", kid);
        Self { up, up_iv, down, down_iv }
    }

    pub(crate) fn up(&self) -> UplinkCipher {
        UplinkCipher::new(&(*self.up).into())
    }

    pub(crate) fn down(&self) -> ReplyCipher {
        ReplyCipher::new(&(*self.down).into())
    }
}

impl core::fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LinkKeys(..)")
    }
}

fn direction(
    hkdf: &Hkdf<Sha256>,
    name: &[u8],
    kid: KeyId,
) -> (Zeroizing<[u8; 16]>, [u8; NONCE_BYTES]) {
    let (kid_bytes, kid_length) = kid.to_bytes();
    let info: [&[u8]; 4] = [b"ecowatt link 1 ", name, &[0], &kid_bytes[..kid_length]];
    let mut okm = [0u8; 16 + NONCE_BYTES];
    hkdf.expand_multi_info(&info, &mut okm).expect("29 bytes are within HKDF's limit of 8,160");
    let mut key = Zeroizing::new([0; 16]);
    let mut iv = [0; NONCE_BYTES];
    key.copy_from_slice(&okm[..16]);
    iv.copy_from_slice(&okm[16..]);
    okm.zeroize();
    (key, iv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kid_has_exactly_one_encoding() {
        for (device, length) in [(0, 1), (1, 2), (255, 2), (256, 3), (u32::MAX, 5)] {
            let kid = KeyId { device: DeviceNumber(device), generation: KeyGeneration(3) };
            let (bytes, kept) = kid.to_bytes();
            assert_eq!(kept, length);
            assert_eq!(KeyId::from_bytes(&bytes[..kept]), Some(kid));
            for generation in [0, 255, 256, u16::MAX] {
                let kid = KeyId { generation: KeyGeneration(generation), ..kid };
                let (bytes, kept) = kid.to_bytes();
                assert_eq!(KeyId::from_bytes(&bytes[..kept]), Some(kid));
                assert_eq!(kept, if generation > 255 { 6 } else { length });
            }
        }
        assert_eq!(KeyId::from_bytes(&[]), None);
        assert_eq!(KeyId::from_bytes(&[0, 1, 1]), None);
        assert_eq!(KeyId::from_bytes(&[1, 2, 3, 4, 0, 6]), None, "the short form is the only one");
        assert_eq!(KeyId::from_bytes(&[1, 2, 3, 4, 5, 6, 7]), None);
    }
}

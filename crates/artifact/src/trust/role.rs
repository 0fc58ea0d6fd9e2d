//! The keys of a role.

use ecowatt_envelope::signed::PublicKey;
use minicbor::decode::{Decoder, Error as DecodeError};

use crate::cbor::{self, CursorEncoder, EncodeError};

/// Most keys of a role.
pub const KEYS_MAX: usize = 8;

/// Keys, and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    keys: heapless::Vec<PublicKey, KEYS_MAX>,
    threshold: u8,
}

impl Role {
    /// A role in which `threshold` of `keys` must sign; `None` if that cannot be.
    #[must_use]
    pub fn new(threshold: u8, keys: &[PublicKey]) -> Option<Self> {
        let mut keys = heapless::Vec::<_, KEYS_MAX>::from_slice(keys).ok()?;
        keys.sort_unstable_by_key(|key| *key.as_bytes());
        let role = Self { keys, threshold };
        role.is_sound().then_some(role)
    }

    /// The keys, in ascending order.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many of the keys must sign.
    #[must_use]
    pub fn threshold(&self) -> usize {
        usize::from(self.threshold)
    }

    /// Whether no key has both roles.
    pub(crate) fn is_apart_from(&self, other: &Self) -> bool {
        self.keys.iter().all(|key| !other.keys.contains(key))
    }

    fn is_sound(&self) -> bool {
        (1..=self.keys.len()).contains(&self.threshold())
            && self.keys.is_sorted_by(|one, next| one.as_bytes() < next.as_bytes())
    }

    pub(crate) fn write(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        let count = u64::try_from(self.keys.len()).unwrap_or(u64::MAX);
        encoder.array(2)?.u8(self.threshold)?.array(count)?;
        self.keys.iter().try_for_each(|key| encoder.bytes(key.as_bytes())?.ok())
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        cbor::array(decoder, 2)?;
        let threshold = decoder.u8()?;
        let count = decoder.array()?.ok_or_else(|| cbor::wrong(decoder))?;
        let mut keys = heapless::Vec::new();
        for _ in 0..count {
            let key = PublicKey::new(&cbor::hash(decoder)?).map_err(|_| cbor::wrong(decoder))?;
            keys.push(key).map_err(|_| cbor::wrong(decoder))?;
        }
        let role = Self { keys, threshold };
        if role.is_sound() { Ok(role) } else { Err(cbor::wrong(decoder)) }
    }
}

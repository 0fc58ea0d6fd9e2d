//! The texts that open the API: 256 random bits, alone or as a token.
//!
//! The store has only their SHA-256; a slow hash is not needed, because 2^256 values cannot be
//! tried. They are looked up by their hash, so the time of a look-up reveals nothing about them.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use ecowatt_store::SecretHash;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::AccessError;

/// 256 random bits that only their owner may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(super) fn hash(&self) -> SecretHash {
        Sha256::digest(self.0).into()
    }

    /// Returns the secret as its owner sees it. It must not reach a log.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl FromStr for Secret {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(AccessError::Unknown);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .ok_or(AccessError::Unknown)?;
        }
        Ok(Self(bytes))
    }
}

/// The content of a session cookie.
pub type SessionSecret = Secret;

/// A token as its owner holds it: `ew_<id>_<secret>`.
///
/// The id is the beginning of the secret's hash. So it reveals nothing, tells tokens apart, and
/// lets a mistyped token be rejected without asking the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenText(Secret);

impl TokenText {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        Secret::random().map(Self)
    }

    pub(super) fn hash(&self) -> SecretHash {
        self.0.hash()
    }

    /// Returns the token as its owner sees it. It must not reach a log.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("ew_{}_{}", self.id(), self.0.expose())
    }

    fn id(&self) -> String {
        let [a, b, c, d, ..] = self.hash();
        format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
    }
}

impl FromStr for TokenText {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let (id, secret) = text
            .trim()
            .strip_prefix("ew_")
            .and_then(|rest| rest.split_once('_'))
            .ok_or(AccessError::Unknown)?;
        let token = Self(secret.parse()?);
        if bool::from(token.id().as_bytes().ct_eq(id.as_bytes())) {
            Ok(token)
        } else {
            Err(AccessError::Unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_reads_back_and_a_mistyped_one_does_not() {
        let token = TokenText(Secret([0xa7; 32]));
        let text = token.expose();
        assert_eq!(text.len(), 3 + 8 + 1 + 64);
        assert_eq!(text.parse::<TokenText>().unwrap(), token);
        let mistyped = text.replacen("a7", "a8", 1);
        for bad in ["", "ew_", "ew__", &text[1..], &text[..text.len() - 1], &mistyped] {
            assert!(bad.parse::<TokenText>().is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(format!("{:?}", TokenText(Secret([1; 32]))), "TokenText(Secret(..))");
    }
}

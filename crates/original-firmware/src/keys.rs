//! The keys of a firmware build, and the header that takes them into it.

use core::fmt::Write as _;

use getrandom::Error as RandomError;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _};
use rsa::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    LineEnding,
};
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{PrivateKey, PublicKey};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The devices' code has room for signatures of this size only.
const SIGNATURE_BITS: u32 = 2_048;

/// How an image is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256, which the original's tool makes and its devices verify.
    Pkcs1v15,
    /// RSASSA-PSS with SHA-256, which the original's documents name. The salt has 32 bytes.
    Pss,
}

impl Scheme {
    /// Returns its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pkcs1v15 => "pkcs1v15",
            Self::Pss => "pss",
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("not a private RSA key in PEM (PKCS #8 or PKCS #1, without a password)")]
    PrivatePem,
    #[error("not a public RSA key in PEM (SubjectPublicKeyInfo or PKCS #1)")]
    PublicPem,
    #[error("the RSA key has {0} bits instead of 2048")]
    Bits(u32),
    #[error("a firmware key has 32 bytes, not {0}")]
    Length(usize),
    #[error("no random numbers")]
    Random(#[source] RandomError),
    #[error("the RSA key is not usable")]
    Rsa(#[source] rsa::Error),
}

/// The private key that signs images.
pub struct SigningKey(PrivateKey);

impl SigningKey {
    /// Generates a key.
    ///
    /// # Errors
    /// Fails if the system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        // The generator of the system that `rsa` uses for salts and blinding as well.
        let bits = usize::try_from(SIGNATURE_BITS).expect("a size of a key");
        let key = PrivateKey::new(&mut getrandom::SysRng, bits).map_err(KeyError::Rsa)?;
        Ok(Self(key))
    }

    /// Reads a PEM file, of PKCS #8 as our tool writes it or of PKCS #1 as `openssl genrsa` did.
    ///
    /// # Errors
    /// Fails if it is something else or has another size.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let key = PrivateKey::from_pkcs8_pem(pem)
            .ok()
            .or_else(|| PrivateKey::from_pkcs1_pem(pem).ok())
            .ok_or(KeyError::PrivatePem)?;
        check_size(key.as_public_key())?;
        Ok(Self(key))
    }

    /// Returns the key as PEM, PKCS #8.
    ///
    /// # Panics
    /// Never: every RSA key has such a form.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.0.to_pkcs8_pem(LineEnding::LF).expect("an RSA key has a PKCS #8 form")
    }

    /// Returns the key that verifies its signatures.
    #[must_use]
    pub fn verification_key(&self) -> VerificationKey {
        VerificationKey(self.0.to_public_key())
    }

    pub(crate) fn sign(&self, scheme: Scheme, image: &[u8]) -> Result<Vec<u8>, rsa::Error> {
        match scheme {
            Scheme::Pkcs1v15 => self.0.pkcs1v15_sign::<Sha256>(image),
            Scheme::Pss => self.0.pss_sign::<Sha256>(image),
        }
    }
}

/// The public key that devices have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationKey(PublicKey);

impl VerificationKey {
    /// Reads a PEM file, SubjectPublicKeyInfo or PKCS #1.
    ///
    /// # Errors
    /// Fails if it is something else or has another size.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let key = PublicKey::from_public_key_pem(pem)
            .ok()
            .or_else(|| PublicKey::from_pkcs1_pem(pem).ok())
            .ok_or(KeyError::PublicPem)?;
        check_size(&key)?;
        Ok(Self(key))
    }

    /// Returns the key as PEM, SubjectPublicKeyInfo.
    ///
    /// # Panics
    /// Never: every RSA key has such a form.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("a public key has such a form")
    }

    /// Returns by which scheme the signature is that of the image, if by any. Salts of PSS may have
    /// any length, as on the devices.
    pub(crate) fn scheme(&self, image: &[u8], signature: &[u8]) -> Option<Scheme> {
        if self.0.pkcs1v15_verify::<Sha256>(image, signature).is_ok() {
            return Some(Scheme::Pkcs1v15);
        }
        let pss = rsa::pss::VerifyingKey::<Sha256>::new_with_auto_salt_len(self.0.clone());
        let signature = rsa::pss::Signature::try_from(signature).ok()?;
        pss.verify(image, &signature).ok().map(|()| Scheme::Pss)
    }
}

fn check_size(key: &PublicKey) -> Result<(), KeyError> {
    let bits = key.n().bit_width_vartime();
    if bits == SIGNATURE_BITS { Ok(()) } else { Err(KeyError::Bits(bits)) }
}

/// The AES-256 key that images are encrypted with.
#[derive(Clone, PartialEq, Eq)]
pub struct FirmwareKey(Zeroizing<[u8; 32]>);

impl core::fmt::Debug for FirmwareKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FirmwareKey(..)")
    }
}

impl FirmwareKey {
    /// Generates a key.
    ///
    /// # Errors
    /// Fails if the system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(KeyError::Random)?;
        Ok(Self(key))
    }

    /// Takes the bytes of a key file.
    ///
    /// # Errors
    /// Fails unless there are 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// Returns the bytes of its file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Returns `keys.h`: what a firmware build needs to take images that the other keys made, under the
/// names that the devices' code uses. `chunk_key` is the text that keys the tags of chunks.
#[must_use]
pub fn header(
    verification: &VerificationKey,
    firmware: &FirmwareKey,
    chunk_key: &str,
) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::from(
        "/* Keys of this firmware build, made by `ecowatt original keys`.\n \
         * Secret: anybody who has this file or a device can decrypt images.\n \
         * Replaces keys.h and keys.cpp. */\n\
         #ifndef OTA_KEYS_H\n#define OTA_KEYS_H\n\n#include <stdint.h>\n\n\
         /* Verifies the signature of an image. */\n\
         static const char *const SERVER_PUBLIC_KEY =\n",
    ));
    let pem = verification.to_pem();
    let lines: Vec<&str> = pem.lines().collect();
    for (place, line) in lines.iter().enumerate() {
        let end = if place + 1 == lines.len() { ";" } else { "" };
        push(&mut text, format_args!("    \"{line}\\n\"{end}\n"));
    }
    text.push_str("\n/* Decrypts an image. */\nstatic const uint8_t AES_FIRMWARE_KEY[32] = {\n");
    for row in firmware.as_bytes().chunks(8) {
        text.push_str("   ");
        for byte in row {
            push(&mut text, format_args!(" 0x{byte:02X},"));
        }
        text.push('\n');
    }
    push(
        &mut text,
        format_args!(
            "}};\n\n/* Keys the tags of chunks, as text. */\n\
             static const char *const HMAC_PSK = \"{chunk_key}\";\n\n\
             #define RSA_KEY_SIZE {SIGNATURE_BITS}\n#define AES_KEY_SIZE 256\n\
             #define HMAC_PSK_SIZE {}\n\n#endif\n",
            chunk_key.len()
        ),
    );
    text
}

fn push(text: &mut String, part: core::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a string takes any text");
}

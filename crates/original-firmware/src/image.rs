//! Preparing an image, and checking a prepared one as a device does.

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};

use crate::keys::{FirmwareKey, Scheme, SigningKey, VerificationKey};
use crate::manifest::{CHUNK_BYTES, Manifest, is_version};

/// Largest image: the largest upload of the original's server.
pub const IMAGE_MAX: usize = 16 * 1_024 * 1_024;

/// What a device has room for, encrypted. Other partition tables exist, so it is no limit here.
pub const PARTITION_BYTES: usize = 0x14_0000;

/// First byte of every image of an ESP32. A device gives an update up whose first byte differs.
pub const IMAGE_START: u8 = 0xe9;

const BLOCK_BYTES: usize = 16;

/// What is chosen for an image.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    pub version: &'a str,
    pub scheme: Scheme,
    /// The initial vector: random, and different for every image under a key.
    pub iv: [u8; BLOCK_BYTES],
    /// ISO 8601 without a zone.
    pub timestamp: &'a str,
}

/// An image as a device fetches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub encrypted: Vec<u8>,
    pub manifest: Manifest,
}

/// Why an image was not prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("the image is empty")]
    Empty,
    #[error("the image has {0} bytes; at most {IMAGE_MAX} are possible")]
    TooLarge(usize),
    #[error(
        "`{0}` is not a version: 1 to 32 letters, digits, `.`, `_`, `+` or `-`, the first one a letter or digit"
    )]
    Version(String),
    #[error("the image was not signed")]
    Sign(#[source] rsa::Error),
}

/// What of a prepared image does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("the encrypted image has {found} bytes, and the manifest names {named}")]
    EncryptedSize { found: usize, named: u64 },
    #[error("the manifest names {named} chunks of {chunk_size} bytes, and the image has {found}")]
    Chunks { found: u64, named: u64, chunk_size: u64 },
    #[error("the initial vector is not 16 bytes in base64")]
    Iv,
    #[error("the encrypted image is not whole blocks of 16 bytes")]
    Blocks,
    #[error("the padding is wrong: another firmware key, or a damaged image")]
    Padding,
    #[error("the image has {found} bytes, and the manifest names {named}")]
    Size { found: usize, named: u64 },
    #[error("the SHA-256 of the image differs from the manifest's")]
    Hash,
    #[error("the signature is not base64")]
    SignatureText,
    #[error("the signature is not one of this image by this key, in either scheme")]
    Signature,
}

/// Signs, hashes and encrypts an image.
///
/// # Errors
/// Fails if the image or the version is not possible, or if signing fails.
pub fn prepare(
    image: &[u8],
    recipe: &Recipe<'_>,
    signing: &SigningKey,
    firmware: &FirmwareKey,
) -> Result<Prepared, PrepareError> {
    if image.is_empty() {
        return Err(PrepareError::Empty);
    }
    if image.len() > IMAGE_MAX {
        return Err(PrepareError::TooLarge(image.len()));
    }
    if !is_version(recipe.version) {
        return Err(PrepareError::Version(recipe.version.to_owned()));
    }
    let signature = signing.sign(recipe.scheme, image).map_err(PrepareError::Sign)?;
    let encrypted = encrypt(image, &recipe.iv, firmware);
    let manifest = Manifest {
        version: recipe.version.to_owned(),
        original_size: length(image),
        encrypted_size: length(&encrypted),
        sha256_hash: hash(image),
        signature: Base64::encode_string(&signature),
        iv: Base64::encode_string(&recipe.iv),
        chunk_size: CHUNK_BYTES,
        total_chunks: length(&encrypted).div_ceil(CHUNK_BYTES),
        timestamp: recipe.timestamp.to_owned(),
    };
    Ok(Prepared { encrypted, manifest })
}

/// Undoes [`prepare`] and checks all that a device checks, and the sizes, which it does not.
/// Returns the plain image and the scheme of its signature.
///
/// # Errors
/// See [`CheckError`]: the first thing that is wrong.
pub fn check(
    manifest: &Manifest,
    encrypted: &[u8],
    verification: &VerificationKey,
    firmware: &FirmwareKey,
) -> Result<(Vec<u8>, Scheme), CheckError> {
    let (found, named) = (encrypted.len(), manifest.encrypted_size);
    if length(encrypted) != named {
        return Err(CheckError::EncryptedSize { found, named });
    }
    let chunk_size = manifest.chunk_size;
    let chunks = if chunk_size == 0 { 0 } else { named.div_ceil(chunk_size) };
    if chunks != manifest.total_chunks {
        let named = manifest.total_chunks;
        return Err(CheckError::Chunks { found: chunks, named, chunk_size });
    }
    let iv = Base64::decode_vec(&manifest.iv).ok().and_then(|iv| iv.try_into().ok());
    let image = decrypt(encrypted, &iv.ok_or(CheckError::Iv)?, firmware)?;
    let (found, named) = (image.len(), manifest.original_size);
    if length(&image) != named {
        return Err(CheckError::Size { found, named });
    }
    if hash(&image) != manifest.sha256_hash {
        return Err(CheckError::Hash);
    }
    let signature =
        Base64::decode_vec(&manifest.signature).map_err(|_| CheckError::SignatureText)?;
    let scheme = verification.scheme(&image, &signature).ok_or(CheckError::Signature)?;
    Ok((image, scheme))
}

/// Pads to whole blocks, adding one if there are only whole ones, and encrypts with CBC.
fn encrypt(image: &[u8], iv: &[u8; BLOCK_BYTES], key: &FirmwareKey) -> Vec<u8> {
    let padding = BLOCK_BYTES - image.len() % BLOCK_BYTES;
    let mut bytes = image.to_vec();
    bytes.resize(image.len() + padding, u8::try_from(padding).expect("at most 16"));
    let cipher = Aes256::new(key.as_bytes().into());
    let mut before = *iv;
    let (blocks, _) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        block.iter_mut().zip(before).for_each(|(byte, before)| *byte ^= before);
        cipher.encrypt_block(block.into());
        before = *block;
    }
    bytes
}

fn decrypt(
    encrypted: &[u8],
    iv: &[u8; BLOCK_BYTES],
    key: &FirmwareKey,
) -> Result<Vec<u8>, CheckError> {
    let mut bytes = encrypted.to_vec();
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(CheckError::Blocks);
    }
    let cipher = Aes256::new(key.as_bytes().into());
    let mut before = *iv;
    for block in blocks {
        let this = *block;
        cipher.decrypt_block(block.into());
        block.iter_mut().zip(before).for_each(|(byte, before)| *byte ^= before);
        before = this;
    }
    let padding = bytes.last().copied().unwrap_or_default();
    let is_length = (1..=BLOCK_BYTES).contains(&usize::from(padding));
    let end = bytes.len().checked_sub(padding.into()).filter(|_| is_length);
    let end = end.ok_or(CheckError::Padding)?;
    if bytes[end..].iter().any(|byte| *byte != padding) {
        return Err(CheckError::Padding);
    }
    bytes.truncate(end);
    Ok(bytes)
}

fn hash(image: &[u8]) -> String {
    Sha256::digest(image).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

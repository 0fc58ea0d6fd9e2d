//! The manifest of an image, and its bytes (`docs/firmware.md`).

use core::fmt;
use core::ops::Deref;

use ecowatt_envelope::signed::{
    self, PublicKey, SIGNED_OVERHEAD_MAX, SignError, SignatureKey, SignedError, SignerId,
    UnverifiedDocument,
};
use ecowatt_model::UnixMs;
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, write::Cursor};

use crate::cbor::{self, CursorEncoder, EncodeError};
use crate::image::{Image, SIZE_MAX};
use crate::piece::PieceCheck;
use crate::piece_size::PieceSize;
use crate::tree::Hash;
use crate::version::Version;

/// Longest signed manifest.
pub const MANIFEST_MAX: usize = CONTENT_MAX + SIGNED_OVERHEAD_MAX;
/// Longest content: 16 profiles of 32 characters are 544 bytes, everything else below 250.
const CONTENT_MAX: usize = 800;
/// Longest name of a hardware or a profile.
pub const NAME_MAX: usize = 32;
/// Most profiles that an image may be limited to: twice the inverters of a device.
pub const PROFILES_MAX: usize = 16;
/// What a manifest's signature is for.
const PURPOSE: &str = "ecowatt manifest 1";

/// Keys of the map. Those after `EXPIRES` are left out if they have nothing to say.
mod key {
    pub(super) const VERSION: u8 = 1;
    pub(super) const HARDWARE: u8 = 2;
    pub(super) const IMAGE: u8 = 3;
    pub(super) const PAYLOAD: u8 = 4;
    pub(super) const EXPIRES: u8 = 5;
    pub(super) const PROFILES: u8 = 6;
    pub(super) const MINIMUM_VERSION: u8 = 7;
    pub(super) const REPLACES_UP_TO: u8 = 8;
    pub(super) const COMPRESSION: u8 = 9;
    pub(super) const BASE: u8 = 10;
    pub(super) const ENCRYPTION: u8 = 11;
}
const REQUIRED_KEYS: u8 = 5;

/// How a payload is compressed. A code that is not listed is kept, and refused by every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression(pub u8);

/// That a payload is encrypted, how, and with which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encryption {
    /// Code of the method.
    pub method: u8,
    /// Names the key.
    pub key: [u8; 8],
}

/// What is transferred: the image itself, or bytes from which a device makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Length in bytes, before encryption.
    pub size: u32,
    /// Size of the pieces that are checked one by one.
    pub piece: PieceSize,
    /// Root of the hash tree over these pieces, before encryption.
    pub root: Hash,
    /// How the bytes are compressed.
    pub compression: Option<Compression>,
    /// SHA-256 of the image that this is a difference to.
    pub base: Option<Hash>,
    /// How the bytes are encrypted.
    pub encryption: Option<Encryption>,
}

impl Payload {
    /// The image itself, as it is.
    #[must_use]
    pub const fn plain(size: u32, piece: PieceSize, root: Hash) -> Self {
        Self { size, piece, root, compression: None, base: None, encryption: None }
    }

    /// What checks its pieces.
    #[must_use]
    pub const fn pieces(&self) -> PieceCheck {
        PieceCheck::new(self.size, self.piece, self.root)
    }
}

/// Names of the profiles that an image knows, in order; none if it knows all.
pub type Profiles<'a> = heapless::Vec<&'a str, PROFILES_MAX>;

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Version of the image.
    pub version: Version,
    /// The only hardware that the image is for.
    pub hardware: &'a str,
    /// The image.
    pub image: Image,
    /// How it is transferred.
    pub payload: Payload,
    /// The manifest counts for nothing from this instant on.
    pub expires: UnixMs,
    /// If not empty, the only inverter profiles that the image supports.
    pub profiles: Profiles<'a>,
    /// The oldest version that may be replaced by this image.
    pub minimum_version: Option<Version>,
    /// A permission to go back: versions up to this one may be replaced although they are newer.
    pub replaces_up_to: Option<Version>,
}

/// Why bytes are not a manifest that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Bytes or signature are wrong.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The signed content is not a manifest.
    #[error("not a manifest at byte {0} of its content")]
    Malformed(usize),
    /// The signed content is a manifest of a later version.
    #[error("field {0} of the manifest is not known")]
    UnknownField(u8),
    /// The content could be written in another way.
    #[error("the manifest is not in its one encoding")]
    NotCanonical,
}

/// A manifest whose signature has not been checked.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedManifest<'a>(UnverifiedDocument<'a>);

impl<'a> UnverifiedManifest<'a> {
    /// Reads the outer layer; the content is not looked at.
    ///
    /// # Errors
    /// If this is not a signed document of at most [`MANIFEST_MAX`] bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_MAX {
            return Err(SignedError::TooLong(bytes.len()).into());
        }
        Ok(Self(UnverifiedDocument::parse(bytes)?))
    }

    /// The key that it claims to be signed with.
    #[must_use]
    pub fn signer(&self) -> SignerId {
        self.0.signer()
    }

    /// Checks the signature against `keys` and reads the content.
    ///
    /// # Errors
    /// If none of the keys signed it as a manifest, or if the content is not a manifest.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<VerifiedManifest<'a>, ManifestError> {
        read(self.0.verify(PURPOSE, keys)?).map(VerifiedManifest)
    }

    /// Reads the content without a check of the signature, to show it. Nothing may be decided by it.
    ///
    /// # Errors
    /// If the content is not a manifest.
    pub fn claimed(&self) -> Result<Manifest<'a>, ManifestError> {
        read(self.0.claimed_content())
    }
}

/// A manifest that one of the expected keys signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedManifest<'a>(Manifest<'a>);

impl<'a> VerifiedManifest<'a> {
    /// What was signed, without the knowledge that it was.
    #[must_use]
    pub fn into_manifest(self) -> Manifest<'a> {
        self.0
    }
}

impl<'a> Deref for VerifiedManifest<'a> {
    type Target = Manifest<'a>;

    fn deref(&self) -> &Manifest<'a> {
        &self.0
    }
}

impl<'a> Manifest<'a> {
    /// A manifest of nothing, to fill in.
    pub const EMPTY: Self = Self {
        version: Version { major: 0, minor: 0, patch: 0 },
        hardware: "",
        image: Image { size: 0, sha256: [0; 32] },
        payload: Payload::plain(0, PieceSize::SMALLEST, [0; 32]),
        expires: UnixMs(0),
        profiles: Profiles::new(),
        minimum_version: None,
        replaces_up_to: None,
    };

    /// Signs the manifest into `out` and returns its length.
    ///
    /// # Errors
    /// If it does not fit into `out`; [`MANIFEST_MAX`] bytes are always enough.
    pub fn sign(&self, key: &SignatureKey, out: &mut [u8]) -> Result<usize, SignError> {
        let mut content = [0; CONTENT_MAX];
        let length = self.write(&mut content).map_err(|_| SignError::TooLong(CONTENT_MAX))?;
        signed::sign(key, PURPOSE, &content[..length], out)
    }

    fn write(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut encoder = Encoder::new(Cursor::new(out));
        encoder.map(u64::from(REQUIRED_KEYS) + self.optional_keys())?;
        encoder.u8(key::VERSION)?;
        cbor::write_version(&mut encoder, self.version)?;
        encoder.u8(key::HARDWARE)?.str(self.hardware)?;
        encoder.u8(key::IMAGE)?.array(2)?.u32(self.image.size)?.bytes(&self.image.sha256)?;
        let Payload { size, piece, root, compression, base, encryption } = &self.payload;
        encoder.u8(key::PAYLOAD)?.array(3)?.u32(*size)?.u8(piece.exponent())?.bytes(root)?;
        encoder.u8(key::EXPIRES)?.i64(self.expires.0)?;
        if !self.profiles.is_empty() {
            encoder.u8(key::PROFILES)?.array(self.profiles.len().try_into().unwrap_or(u64::MAX))?;
            for profile in &self.profiles {
                encoder.str(profile)?;
            }
        }
        write_optional_version(&mut encoder, key::MINIMUM_VERSION, self.minimum_version)?;
        write_optional_version(&mut encoder, key::REPLACES_UP_TO, self.replaces_up_to)?;
        if let Some(compression) = compression {
            encoder.u8(key::COMPRESSION)?.u8(compression.0)?;
        }
        if let Some(base) = base {
            encoder.u8(key::BASE)?.bytes(base)?;
        }
        if let Some(Encryption { method, key }) = encryption {
            encoder.u8(key::ENCRYPTION)?.array(2)?.u8(*method)?.bytes(key)?;
        }
        Ok(encoder.writer().position())
    }

    fn optional_keys(&self) -> u64 {
        [
            !self.profiles.is_empty(),
            self.minimum_version.is_some(),
            self.replaces_up_to.is_some(),
            self.payload.compression.is_some(),
            self.payload.base.is_some(),
            self.payload.encryption.is_some(),
        ]
        .map(u64::from)
        .iter()
        .sum()
    }
}

fn write_optional_version(
    encoder: &mut CursorEncoder<'_>,
    key: u8,
    version: Option<Version>,
) -> Result<(), EncodeError> {
    let Some(version) = version else { return Ok(()) };
    encoder.u8(key)?;
    cbor::write_version(encoder, version)
}

/// Reads a content that fills `bytes`.
fn read(bytes: &[u8]) -> Result<Manifest<'_>, ManifestError> {
    let mut decoder = Decoder::new(bytes);
    let malformed = |decoder: &Decoder<'_>| ManifestError::Malformed(decoder.position());
    let fields = decoder.map().ok().flatten().ok_or(ManifestError::Malformed(0))?;
    let mut manifest = Manifest::EMPTY;
    let mut required = 0;
    for _ in 0..fields {
        let key = decoder.u8().map_err(|_| malformed(&decoder))?;
        let is_known =
            read_field(&mut manifest, key, &mut decoder).map_err(|_| malformed(&decoder))?;
        if !is_known {
            return Err(ManifestError::UnknownField(key));
        }
        required += u8::from(key <= REQUIRED_KEYS);
    }
    if required != REQUIRED_KEYS || decoder.position() != bytes.len() || !manifest.is_sound() {
        return Err(malformed(&decoder));
    }
    // A repeated, misplaced or oddly written field would not come out the same way.
    let mut again = [0; CONTENT_MAX];
    let length = manifest.write(&mut again).map_err(|_| ManifestError::NotCanonical)?;
    if again[..length] == *bytes { Ok(manifest) } else { Err(ManifestError::NotCanonical) }
}

/// Reads the value of a field; `false` if the key is not known.
fn read_field<'a>(
    manifest: &mut Manifest<'a>,
    key: u8,
    decoder: &mut Decoder<'a>,
) -> Result<bool, DecodeError> {
    match key {
        key::VERSION => manifest.version = cbor::version(decoder)?,
        key::HARDWARE => manifest.hardware = decoder.str()?,
        key::IMAGE => {
            cbor::array(decoder, 2)?;
            manifest.image = Image { size: decoder.u32()?, sha256: cbor::hash(decoder)? };
        }
        key::PAYLOAD => {
            cbor::array(decoder, 3)?;
            manifest.payload.size = decoder.u32()?;
            manifest.payload.piece =
                PieceSize::from_exponent(decoder.u8()?).ok_or_else(|| cbor::wrong(decoder))?;
            manifest.payload.root = cbor::hash(decoder)?;
        }
        key::EXPIRES => manifest.expires = UnixMs(decoder.i64()?),
        key::PROFILES => manifest.profiles = read_profiles(decoder)?,
        key::MINIMUM_VERSION => manifest.minimum_version = Some(cbor::version(decoder)?),
        key::REPLACES_UP_TO => manifest.replaces_up_to = Some(cbor::version(decoder)?),
        key::COMPRESSION => manifest.payload.compression = Some(Compression(decoder.u8()?)),
        key::BASE => manifest.payload.base = Some(cbor::hash(decoder)?),
        key::ENCRYPTION => {
            cbor::array(decoder, 2)?;
            let encryption = Encryption { method: decoder.u8()?, key: cbor::bytes(decoder)? };
            manifest.payload.encryption = Some(encryption);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn read_profiles<'a>(decoder: &mut Decoder<'a>) -> Result<Profiles<'a>, DecodeError> {
    let count = decoder.array()?.ok_or_else(|| cbor::wrong(decoder))?;
    let mut profiles = Profiles::new();
    for _ in 0..count {
        profiles.push(decoder.str()?).map_err(|_| cbor::wrong(decoder))?;
    }
    Ok(profiles)
}

impl Manifest<'_> {
    /// Whether names and sizes are within their limits and agree with each other.
    fn is_sound(&self) -> bool {
        let payload = &self.payload;
        let is_image_itself = payload.compression.is_none() && payload.base.is_none();
        is_name(self.hardware)
            && (!is_image_itself || payload.size == self.image.size)
            && !self.expires.0.is_negative()
            && (1..=SIZE_MAX).contains(&self.image.size)
            && (1..=SIZE_MAX).contains(&payload.size)
            && self.profiles.iter().all(|profile| is_name(profile))
            && self.profiles.is_sorted_by(|one, next| one < next)
    }
}

/// Whether a text can name a hardware or a profile: up to 32 of the characters in `linux/arm-v7_1.0`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/+-".contains(&byte);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "method {}", self.0)
    }
}

//! Artifacts: images of a device's program, and the signed manifests that describe them.
//!
//! A manifest says which image it is for which hardware, and how it is transferred; its signer
//! decides what runs on a fleet. Nothing here does IO, reads a clock or keeps keys. A device
//! checks in this order, and each step yields a type that the next one needs:
//!
//! 1. [`UnverifiedManifest::verify`]: the signature, before the content is read at all;
//! 2. [`VerifiedManifest::admit`]: whether this device may install it (hardware, versions, expiry);
//! 3. [`PieceCheck::check`]: each piece of the transfer, before anything made of it is written;
//! 4. [`ImageCheck`]: the whole image as it was read back, before it is chosen for a start.
//!
//! ```
//! use ecowatt_artifact::{
//!     PieceSize, Image, Manifest, Payload, Recipient, TreeBuilder, UnverifiedManifest, sha256,
//! };
//! use ecowatt_envelope::signed::SignatureKey;
//! use ecowatt_model::UnixMs;
//!
//! let image = b"a very small program";
//! let manifest = Manifest {
//!     version: "1.2.0".parse()?,
//!     hardware: "esp32c3",
//!     image: Image { size: 20, sha256: sha256(image) },
//!     payload: Payload::plain(20, PieceSize::SMALLEST, TreeBuilder::root_of(image)),
//!     expires: UnixMs(1_800_000_000_000),
//!     ..Manifest::EMPTY
//! };
//! let key = SignatureKey::new(&[7; 32]);
//! let mut file = [0; 512];
//! let length = manifest.sign(&key, &mut file)?;
//!
//! let signed = UnverifiedManifest::parse(&file[..length])?.verify(&[key.public()])?;
//! let device = Recipient {
//!     hardware: "esp32c3",
//!     version: "1.1.9".parse()?,
//!     now: Some(UnixMs(1_790_000_000_000)),
//!     ..Recipient::EMPTY
//! };
//! let admitted = signed.admit(&device)?;
//! assert_eq!(admitted.hardware, "esp32c3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![warn(missing_docs)]

mod cbor;
mod description;
mod image;
mod manifest;
mod piece;
mod piece_size;
mod recipient;
mod tree;
pub mod trust;
mod version;

pub use cbor::BufferTooSmall;
pub use description::Description;
pub use image::{Image, ImageCheck, ImageError, SIZE_MAX, sha256};
pub use manifest::{
    Compression, Encryption, MANIFEST_MAX, Manifest, ManifestError, NAME_MAX, PROFILES_MAX,
    Payload, Profiles, UnverifiedManifest, VerifiedManifest, is_name,
};
pub use piece::{PieceCheck, PieceError};
pub use piece_size::PieceSize;
pub use recipient::{Admitted, Recipient, Refusal};
pub use tree::{HASH_BYTES, Hash, PIECES_MAX, PROOF_MAX, TreeBuilder, leaf, proof};
pub use version::{ParseVersionError, Version};

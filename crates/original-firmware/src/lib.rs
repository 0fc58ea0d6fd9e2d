//! Firmware for the earlier EcoWatt's devices: prepares images as its tool did, checks prepared
//! ones, and makes the keys that both need.
//!
//! A device of the original decrypts an image with an AES-256 key, compares its SHA-256, and
//! verifies an RSA-2048 signature; all devices of a build share these keys. The signature covers
//! neither version nor manifest, so an old image stays valid under any manifest: what is offered to
//! a device is decided elsewhere.
//!
//! This is for operators at a command line. Signing is not offered over the network.

mod image;
mod keys;
mod manifest;

pub use image::{
    CheckError, IMAGE_MAX, IMAGE_START, PARTITION_BYTES, PrepareError, Prepared, Recipe, check,
    prepare,
};
pub use keys::{FirmwareKey, KeyError, Scheme, SigningKey, VerificationKey, header};
pub use manifest::{CHUNK_BYTES, Manifest, VERSION_MAX, is_version};

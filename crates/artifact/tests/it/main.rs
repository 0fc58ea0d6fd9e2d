//! Manifests, pieces and images through the public API.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod attacks;
mod devices;
mod manifests;
mod pieces;
mod trust;
mod versions {
    mod trust_v1;
    mod v1;
}

use ecowatt_artifact::{Hash, Image, Manifest, Payload, PieceSize, TreeBuilder, Version, sha256};
use ecowatt_envelope::signed::SignatureKey;
use ecowatt_model::UnixMs;

const IMAGE_BYTES: u32 = 10_000;
const EXPIRES: UnixMs = UnixMs(1_800_000_000_000);

fn key() -> SignatureKey {
    SignatureKey::new(&std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

fn image() -> Vec<u8> {
    (0..IMAGE_BYTES).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

fn root_of(payload: &[u8]) -> Hash {
    TreeBuilder::root_of(payload)
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn manifest_of(image: &[u8]) -> Manifest<'static> {
    let size = u32::try_from(image.len()).unwrap();
    Manifest {
        version: version("1.2.0"),
        hardware: "esp32c3",
        image: Image { size, sha256: sha256(image) },
        payload: Payload::plain(size, PieceSize::SMALLEST, root_of(image)),
        expires: EXPIRES,
        ..Manifest::EMPTY
    }
}

fn signed(manifest: &Manifest<'_>) -> Vec<u8> {
    let mut out = [0; ecowatt_artifact::MANIFEST_MAX];
    let length = manifest.sign(&key(), &mut out).unwrap();
    out[..length].to_vec()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

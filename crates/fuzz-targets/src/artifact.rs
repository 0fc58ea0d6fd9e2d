//! Manifests and pieces, which come from a server that may be stolen.

use ecowatt_artifact::{MANIFEST_MAX, PieceCheck, PieceSize, UnverifiedManifest};
use ecowatt_envelope::signed::SignatureKey;

use crate::steer;

/// A manifest has one encoding, and only a signature makes it count.
pub fn artifact_manifest(data: &[u8]) {
    let Ok(file) = UnverifiedManifest::parse(data) else { return };
    let stranger = SignatureKey::new(&[5; 32]);
    assert!(file.verify(&[stranger.public()]).is_err(), "signed by a key that signed nothing");
    let Ok(claimed) = file.claimed() else { return };
    let mut again = [0; MANIFEST_MAX];
    let length = claimed.sign(&stranger, &mut again).expect("what was read fits");
    let signed = UnverifiedManifest::parse(&again[..length]).expect("what was signed is read");
    assert!(signed.verify(&[stranger.public()]) == Ok(claimed));
    assert_eq!(length, data.len(), "one encoding");
}

/// A piece of a payload whose root is zeros is never right, and no proof makes it take long.
pub fn artifact_piece(data: &[u8]) {
    let Some(([exponent, index @ .., split], rest)) = steer::<6>(data) else { return };
    let Some(piece) = PieceSize::from_exponent(*exponent) else { return };
    let check = PieceCheck::new(1 << 28, piece, [0; 32]);
    let (bytes, proof) = rest.split_at(rest.len().min(usize::from(*split)));
    assert!(check.check(u32::from_be_bytes(*index), bytes, proof).is_err());
}

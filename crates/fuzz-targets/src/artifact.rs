//! Manifests and pieces, which come from a server that may be stolen.

use ecowatt_artifact::trust::{Root, Targets, Timestamp, Trust};
use ecowatt_artifact::{MANIFEST_MAX, PieceCheck, PieceSize, UnverifiedManifest};
use ecowatt_envelope::cosigned::{COSIGNED_MAX, UnverifiedCosigned, assemble};
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
    let verified = signed.verify(&[stranger.public()]).expect("it is its signature");
    assert_eq!(verified.into_manifest(), claimed);
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

/// Documents with signatures and the state that is made of them have one encoding, and what no
/// expected key signed counts for nothing.
pub fn artifact_trust(data: &[u8]) {
    if let Some(trust) = Trust::load(data) {
        let mut again = [0; ecowatt_artifact::trust::STATE_MAX];
        let length = trust.store(&mut again).expect("what was read fits");
        assert_eq!(&again[..length], data);
    }
    let Ok(document) = UnverifiedCosigned::parse(data) else { return };
    let stranger = [SignatureKey::new(&[5; 32]).public()];
    for purpose in [Root::PURPOSE, Targets::PURPOSE, Timestamp::PURPOSE] {
        assert!(document.verify(purpose, &stranger, 1).is_err());
    }
    let content = document.claimed_content();
    let mut signatures: Vec<_> = document.signatures().collect();
    let mut again = [0; COSIGNED_MAX];
    let length = assemble(content, &mut signatures, &mut again).expect("what was read fits");
    assert_eq!(&again[..length], data);
    let mut again = [0; 2048];
    if let Some(root) = Root::read(content) {
        assert_eq!(root.write(&mut again), Ok(content.len()));
        // It may be genuine, but nothing it vouches for is.
        if let Ok(mut trust) = Trust::new(data) {
            assert!(trust.replace_root(data).is_err());
        }
    }
    if let Some(targets) = Targets::read(content) {
        assert_eq!(targets.write(&mut again), Ok(content.len()));
    }
    if let Some(timestamp) = Timestamp::read(content) {
        assert_eq!(timestamp.write(&mut again), Ok(content.len()));
    }
}

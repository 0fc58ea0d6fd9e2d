//! Manifests that were not signed, or not by the right key, or that are written in another way.

use ecowatt_artifact::{
    Compression, Encryption, MANIFEST_MAX, Manifest, ManifestError, Payload, Profiles,
    UnverifiedManifest,
};
use ecowatt_envelope::signed::{self, PublicKey, SignatureKey, SignedError};
use proptest::prelude::*;

use crate::{image, key, manifest_of, signed, version};

fn verify(bytes: &[u8]) -> Result<Manifest<'_>, ManifestError> {
    let verified = UnverifiedManifest::parse(bytes)?.verify(&[key().public()])?;
    Ok(verified.into_manifest())
}

/// Signs any content as a manifest.
fn of_content(content: &[u8]) -> Vec<u8> {
    let mut out = [0; 2048];
    let length = signed::sign(&key(), "ecowatt manifest 1", content, &mut out).unwrap();
    out[..length].to_vec()
}

/// The content of a signed manifest.
fn content_of(document: &[u8]) -> Vec<u8> {
    signed::UnverifiedDocument::parse(document).unwrap().claimed_content().to_vec()
}

#[test]
fn no_bit_can_be_changed() {
    let mut file = signed(&manifest_of(&image()));
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        let error = verify(&file).unwrap_err();
        assert!(matches!(error, ManifestError::Signed(_)), "bit {bit}: {error:?}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(verify(&file).is_ok());
}

#[test]
fn nothing_can_be_cut_off_or_added() {
    let file = signed(&manifest_of(&image()));
    for length in 0..file.len() {
        assert_eq!(verify(&file[..length]), Err(SignedError::Malformed.into()), "{length}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert_eq!(verify(&longer), Err(SignedError::Malformed.into()));
    let endless = vec![0xd2; MANIFEST_MAX + 1];
    assert_eq!(verify(&endless), Err(SignedError::TooLong(MANIFEST_MAX + 1).into()));
}

#[test]
fn only_the_expected_keys_count() {
    let file = signed(&manifest_of(&image()));
    let manifest = UnverifiedManifest::parse(&file).unwrap();
    let stranger = SignatureKey::new(&[1; 32]).public();
    let unknown = SignedError::UnknownSigner(key().public().id());
    assert_eq!(manifest.verify(&[stranger]), Err(unknown.into()));
    assert_eq!(manifest.verify(&[]), Err(unknown.into()));
    assert!(manifest.verify(&[stranger, key().public()]).is_ok());
}

#[test]
fn signature_of_another_key_under_an_expected_name_is_refused() {
    let mut out = [0; 1024];
    let other = SignatureKey::new(&[1; 32]);
    let length = manifest_of(&image()).sign(&other, &mut out).unwrap();
    out[9..17].copy_from_slice(&key().public().id().0);
    assert_eq!(verify(&out[..length]), Err(SignedError::BadSignature.into()));
}

#[test]
fn document_for_another_purpose_is_refused() {
    let mut out = [0; 1024];
    let content = content_of(&signed(&manifest_of(&image())));
    let length = signed::sign(&key(), "ecowatt root 1", &content, &mut out).unwrap();
    assert_eq!(verify(&out[..length]), Err(SignedError::BadSignature.into()));
}

#[test]
fn keys_under_which_anything_verifies_are_no_keys() {
    // The neutral element and a point of order eight (RFC 8032's curve has eight such points).
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert!(PublicKey::new(&neutral).is_err());
    let order_eight = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    assert!(PublicKey::new(&crate::bytes(order_eight).try_into().unwrap()).is_err());
}

/// What a signer with a fault might sign.
#[test]
fn signed_content_is_a_manifest_in_its_one_encoding_or_refused() {
    let content = content_of(&signed(&manifest_of(&image())));
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = content.clone();
        changed.splice(at..=at, bytes.iter().copied());
        of_content(&changed)
    };
    // Version 1.2.0 with a longer head, map of six where five follow, an unknown key 12.
    assert_eq!(content[..5], [0xa5, 0x01, 0x83, 0x01, 0x02]);
    assert_eq!(verify(&changed(1, &[0x18, 0x01])), Err(ManifestError::NotCanonical));
    assert_eq!(verify(&changed(3, &[0x18, 0x01])), Err(ManifestError::NotCanonical));
    assert!(matches!(verify(&changed(0, &[0xa6])), Err(ManifestError::Malformed(_))));
    assert_eq!(verify(&changed(1, &[12])), Err(ManifestError::UnknownField(12)));
    // A field twice, a field too few, fields out of order.
    let twice = [&[0xa6][..], &content[1..], &content[1..6]].concat();
    assert!(matches!(verify(&of_content(&twice)), Err(ManifestError::Malformed(_))));
    let without_version = [&[0xa4][..], &content[6..]].concat();
    assert!(matches!(verify(&of_content(&without_version)), Err(ManifestError::Malformed(_))));
    let swapped = [&[0xa5][..], &content[6..], &content[1..6]].concat();
    assert_eq!(verify(&of_content(&swapped)), Err(ManifestError::NotCanonical));
    let followed = [&content[..], &[0]].concat();
    assert!(matches!(verify(&of_content(&followed)), Err(ManifestError::Malformed(_))));
}

#[test]
fn names_and_sizes_have_limits() {
    let plain = manifest_of(&image());
    let unsound = |manifest: Manifest<'_>| {
        let file = signed(&manifest);
        assert!(matches!(verify(&file), Err(ManifestError::Malformed(_))), "{manifest:?}");
    };
    unsound(Manifest { hardware: "", ..plain.clone() });
    unsound(Manifest { hardware: "esp32 c3", ..plain.clone() });
    unsound(Manifest { hardware: "a234567890123456789012345678901234", ..plain.clone() });
    let profiles = |names: &[&'static str]| Profiles::from_slice(names).unwrap();
    unsound(Manifest { profiles: profiles(&["b", "a"]), ..plain.clone() });
    unsound(Manifest { profiles: profiles(&["a", "a"]), ..plain.clone() });
    // A payload that is the image itself has the image's size.
    let payload = Payload { size: plain.payload.size - 1, ..plain.payload };
    unsound(Manifest { payload, ..plain.clone() });
    let mut empty = plain.clone();
    (empty.image.size, empty.payload.size) = (0, 0);
    unsound(empty);
    let mut huge = plain;
    (huge.image.size, huge.payload.size) = (u32::MAX, u32::MAX);
    unsound(huge);
}

#[test]
fn longest_manifest_fits() {
    let names: Vec<String> = (0..16).map(|at| format!("{at:032}")).collect();
    let mut profiles = Profiles::new();
    for name in &names {
        profiles.push(name.as_str()).unwrap();
    }
    let newest = version("65535.65535.65535");
    let plain = manifest_of(&image());
    let manifest = Manifest {
        version: newest,
        hardware: "01234567890123456789012345678901",
        profiles,
        minimum_version: Some(newest),
        replaces_up_to: Some(newest),
        payload: Payload {
            compression: Some(Compression(255)),
            base: Some([9; 32]),
            encryption: Some(Encryption { method: 255, key: [9; 8] }),
            ..plain.payload
        },
        ..plain
    };
    let file = signed(&manifest);
    assert_eq!(verify(&file), Ok(manifest));
    let mut small = vec![0; file.len() - 1];
    let other = verify(&file).unwrap();
    assert!(other.sign(&key(), &mut small).is_err());
}

proptest! {
    #[test]
    fn content_of_any_bytes_is_read_or_refused(content in prop::collection::vec(any::<u8>(), 0..200)) {
        // If it is read, it is what would be written.
        let file = of_content(&content);
        if let Ok(manifest) = verify(&file) {
            prop_assert_eq!(content_of(&signed(&manifest)), content);
        }
    }
}

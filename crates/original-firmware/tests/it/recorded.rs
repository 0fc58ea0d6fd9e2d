//! `testdata/original/ota`: an image that the original's tool prepared.

use std::path::Path;

use base64ct::{Base64, Encoding as _};
use ecowatt_original_firmware::{
    CheckError, FirmwareKey, Manifest, Recipe, Scheme, SigningKey, VerificationKey, check, prepare,
};

/// The recorded image and its keys.
pub(crate) struct Recorded {
    pub(crate) plain: Vec<u8>,
    pub(crate) encrypted: Vec<u8>,
    pub(crate) manifest_text: String,
    pub(crate) manifest: Manifest,
    pub(crate) firmware: FirmwareKey,
    pub(crate) verification_text: String,
    pub(crate) verification: VerificationKey,
}

pub(crate) fn recorded() -> Recorded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/original/ota");
    let bytes = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let text = |name: &str| String::from_utf8(bytes(name)).unwrap();
    let manifest_text = text("firmware_1.2.3_manifest.json");
    let verification_text = text("server_public_key.pem");
    Recorded {
        plain: bytes("firmware_plain.bin"),
        encrypted: bytes("firmware_1.2.3_encrypted.bin"),
        manifest: Manifest::from_json(&manifest_text).unwrap(),
        manifest_text,
        firmware: FirmwareKey::from_bytes(&bytes("aes_firmware_key.bin")).unwrap(),
        verification: VerificationKey::from_pem(&verification_text).unwrap(),
        verification_text,
    }
}

#[test]
fn the_recorded_image_passes_every_check() {
    let it = recorded();
    let checked = check(&it.manifest, &it.encrypted, &it.verification, &it.firmware);
    assert_eq!(checked, Ok((it.plain, Scheme::Pkcs1v15)));
}

#[test]
fn public_key_and_manifest_are_written_as_they_were_read() {
    let it = recorded();
    assert_eq!(it.verification.to_pem(), it.verification_text);
    assert_eq!(it.manifest.to_json(), it.manifest_text);
}

#[test]
fn the_same_image_vector_and_time_make_the_recorded_files() {
    let it = recorded();
    let recipe = Recipe {
        version: "1.2.3",
        scheme: Scheme::Pkcs1v15,
        iv: Base64::decode_vec(&it.manifest.iv).unwrap().try_into().unwrap(),
        timestamp: &it.manifest.timestamp,
    };
    let own = SigningKey::generate().unwrap();
    let mut made = prepare(&it.plain, &recipe, &own, &it.firmware).unwrap();
    assert_eq!(made.encrypted, it.encrypted);
    // The recorded signing key is not published; all but the signature is determined.
    assert_ne!(made.manifest.signature, it.manifest.signature);
    assert_eq!(made.manifest.signature.len(), it.manifest.signature.len());
    made.manifest.signature.clone_from(&it.manifest.signature);
    assert_eq!(made.manifest.to_json(), it.manifest_text);
}

#[test]
fn whatever_is_changed_is_named() {
    let it = recorded();
    let checked = |change: &dyn Fn(&mut Manifest), encrypted: &[u8]| {
        let mut manifest = it.manifest.clone();
        change(&mut manifest);
        check(&manifest, encrypted, &it.verification, &it.firmware).unwrap_err()
    };
    let same = |_: &mut Manifest| {};
    let mut flipped = it.encrypted.clone();
    flipped[100] ^= 1;
    assert_eq!(checked(&same, &flipped), CheckError::Hash);
    let mut flipped = it.encrypted.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(checked(&same, &flipped), CheckError::Padding);
    let short = CheckError::EncryptedSize { found: 4_992, named: 5_008 };
    assert_eq!(checked(&same, &it.encrypted[..4_992]), short);
    let chunks = CheckError::Chunks { found: 3, named: 4, chunk_size: 2_048 };
    assert_eq!(checked(&|it| it.total_chunks = 4, &it.encrypted), chunks);
    let size = CheckError::Size { found: 5_000, named: 4_999 };
    assert_eq!(checked(&|it| it.original_size = 4_999, &it.encrypted), size);
    assert_eq!(checked(&|it| it.iv = "AAAA".into(), &it.encrypted), CheckError::Iv);
    let bad = |it: &mut Manifest| it.signature = it.signature.replace('a', "b");
    assert_eq!(checked(&bad, &it.encrypted), CheckError::Signature);
    let other = SigningKey::generate().unwrap().verification_key();
    let stranger = check(&it.manifest, &it.encrypted, &other, &it.firmware);
    assert_eq!(stranger, Err(CheckError::Signature));
}

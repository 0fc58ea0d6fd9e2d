//! Which devices install what: every refusal, and that nothing else is refused.

use ecowatt_artifact::{
    Compression, Encryption, Image, Manifest, Payload, Profiles, Recipient, Refusal,
    UnverifiedManifest, sha256,
};
use ecowatt_model::UnixMs;

use crate::{EXPIRES, image, manifest_of, version};

fn device() -> Recipient<'static> {
    Recipient {
        hardware: "esp32c3",
        profiles: &["huawei/sun2000", "sungrow/sg"],
        version: version("1.1.0"),
        image: sha256(b"the image that runs"),
        slot_bytes: 1 << 20,
        now: Some(UnixMs(EXPIRES.0 - 1)),
        compressions: &[Compression(1)],
        keys: &[Encryption { method: 1, key: [7; 8] }],
    }
}

fn manifest() -> Manifest<'static> {
    manifest_of(&image())
}

#[test]
fn newer_image_for_this_hardware_is_installed() {
    assert_eq!(manifest().check(&device()), Ok(()));
    let file = crate::signed(&manifest());
    let verified =
        || UnverifiedManifest::parse(&file).unwrap().verify(&[crate::key().public()]).unwrap();
    assert_eq!(*verified().admit(&device()).unwrap(), manifest());
    let expired = Recipient { now: Some(EXPIRES), ..device() };
    assert_eq!(verified().admit(&expired), Err(Refusal::Expired));
}

#[test]
fn other_hardware_is_refused() {
    for hardware in ["esp32c6", "esp32c", "esp32c33", "ESP32C3"] {
        let other = Manifest { hardware, ..manifest() };
        assert_eq!(other.check(&device()), Err(Refusal::WrongHardware), "{hardware}");
    }
}

#[test]
fn image_must_know_all_profiles_of_the_device() {
    let with = |names: &[&'static str]| {
        let profiles = Profiles::from_slice(names).unwrap();
        Manifest { profiles, ..manifest() }.check(&device())
    };
    assert_eq!(with(&["huawei/sun2000", "sungrow/sg"]), Ok(()));
    assert_eq!(with(&["fronius/gen24", "huawei/sun2000", "sungrow/sg"]), Ok(()));
    assert_eq!(with(&["huawei/sun2000"]), Err(Refusal::WrongProfile(1)));
    assert_eq!(with(&["sungrow/sg"]), Err(Refusal::WrongProfile(0)));
}

#[test]
fn manifest_ends_at_its_time_and_needs_a_clock() {
    let at = |now| manifest().check(&Recipient { now, ..device() });
    assert_eq!(at(Some(EXPIRES)), Err(Refusal::Expired));
    assert_eq!(at(Some(UnixMs(i64::MAX))), Err(Refusal::Expired));
    assert_eq!(at(None), Err(Refusal::TimeUnknown));
    assert_eq!(at(Some(UnixMs(0))), Ok(()));
}

#[test]
fn older_and_equal_versions_are_refused() {
    let running = version("1.2.0");
    let device = Recipient { version: running, ..device() };
    let check = |offered| Manifest { version: version(offered), ..manifest() }.check(&device);
    for offered in ["1.1.9", "0.9.9", "1.1.65535"] {
        let downgrade = Refusal::Downgrade { offered: version(offered), running };
        assert_eq!(check(offered), Err(downgrade));
    }
    assert_eq!(check("1.2.0"), Err(Refusal::SameVersion(running)));
    assert_eq!(check("1.2.1"), Ok(()));
}

#[test]
fn image_that_runs_is_not_installed_again() {
    let device = Recipient { image: sha256(&image()), ..device() };
    assert_eq!(manifest().check(&device), Err(Refusal::AlreadyRuns));
}

#[test]
fn going_back_takes_a_signed_permission() {
    let back = Manifest { replaces_up_to: Some(version("1.3.0")), ..manifest() };
    let on = |running| back.check(&Recipient { version: version(running), ..device() });
    assert_eq!(on("1.3.0"), Ok(()));
    assert_eq!(on("1.2.1"), Ok(()));
    // What came after the version that was taken back is not replaced: a copy of this manifest is
    // worthless once the fleet has moved on.
    let downgrade = Refusal::Downgrade { offered: version("1.2.0"), running: version("1.3.1") };
    assert_eq!(on("1.3.1"), Err(downgrade));
}

#[test]
fn minimum_version_is_a_step_that_cannot_be_skipped() {
    let step = Manifest { minimum_version: Some(version("1.1.0")), ..manifest() };
    let on = |running| step.check(&Recipient { version: version(running), ..device() });
    assert_eq!(on("1.1.0"), Ok(()));
    let too_old = Refusal::TooOld { minimum: version("1.1.0"), running: version("1.0.9") };
    assert_eq!(on("1.0.9"), Err(too_old));
}

#[test]
fn image_must_fit_into_the_slot() {
    let size = manifest().image.size;
    let with = |slot_bytes| manifest().check(&Recipient { slot_bytes, ..device() });
    assert_eq!(with(size), Ok(()));
    assert_eq!(with(size - 1), Err(Refusal::TooLarge { size, slot: size - 1 }));
}

#[test]
fn payload_must_be_one_that_the_device_can_use() {
    let with = |change: fn(&mut Payload)| {
        let mut manifest = manifest();
        change(&mut manifest.payload);
        manifest.check(&device())
    };
    assert_eq!(with(|payload| payload.base = Some(device().image)), Ok(()));
    assert_eq!(with(|payload| payload.base = Some([3; 32])), Err(Refusal::WrongBase));
    assert_eq!(with(|payload| payload.compression = Some(Compression(1))), Ok(()));
    assert_eq!(
        with(|payload| payload.compression = Some(Compression(2))),
        Err(Refusal::UnknownCompression(2))
    );
    let encrypted = |method, key| Some(Encryption { method, key: [key; 8] });
    let check = |encryption| {
        let mut manifest = manifest();
        manifest.payload.encryption = encryption;
        manifest.check(&device())
    };
    assert_eq!(check(encrypted(1, 7)), Ok(()));
    assert_eq!(check(encrypted(1, 8)), Err(Refusal::UnknownEncryption(1)));
    assert_eq!(check(encrypted(2, 7)), Err(Refusal::UnknownEncryption(2)));
}

#[test]
fn swapped_manifest_describes_another_image() {
    let other = b"another image of the same size".repeat(400);
    let manifest = manifest_of(&other[..image().len()]);
    let mut check = ecowatt_artifact::ImageCheck::new(manifest.image);
    check.update(&image()).unwrap();
    assert_eq!(check.finish(), Err(ecowatt_artifact::ImageError::WrongHash));
    assert_ne!(manifest.image, Image { size: manifest.image.size, sha256: sha256(&image()) });
}

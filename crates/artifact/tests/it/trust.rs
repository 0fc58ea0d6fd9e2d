//! The attacks of TUF and Uptane, each as a test: what a stolen server, a stolen key or an attacker
//! on the way can make a device accept. `docs/firmware.md` lists them.

use std::time::Duration;

use ecowatt_artifact::trust::{
    Current, Document, Role, Root, STATE_MAX, Standing, TARGETS_MAX, Targets, Timestamp, Trust,
    TrustError,
};
use ecowatt_artifact::{Manifest, ManifestError, sha256};
use ecowatt_envelope::cosigned::{
    COSIGNED_MAX, CosignedError, Signature, UnverifiedCosigned, assemble,
};
use ecowatt_envelope::signed::{PublicKey, SignatureKey, SignedError};
use ecowatt_model::UnixMs;

use crate::{image, manifest_of, version};

const DAY: i64 = 24 * 60 * 60 * 1000;
const NOW: UnixMs = UnixMs(1_790_000_000_000);
/// Freshness that the operator states: of timestamps, and of targets.
const TIMESTAMP_DAYS: i64 = 2;
const TARGETS_DAYS: i64 = 30;

const ROOTS: [u8; 3] = [1, 2, 3];
const TARGETS: [u8; 2] = [11, 12];
const TIMESTAMPS: [u8; 1] = [21];
const STRANGER: u8 = 99;

pub(crate) fn key(seed: u8) -> SignatureKey {
    SignatureKey::new(&[seed; 32])
}

pub(crate) fn public(seeds: &[u8]) -> Vec<PublicKey> {
    seeds.iter().map(|seed| key(*seed).public()).collect()
}

pub(crate) fn cosign(seeds: &[u8], purpose: &str, content: &[u8]) -> Vec<u8> {
    let sign = |seed: &u8| Signature::new(&key(*seed), purpose, content).unwrap();
    let mut signatures: Vec<Signature> = seeds.iter().map(sign).collect();
    let mut out = [0; COSIGNED_MAX];
    let length = assemble(content, &mut signatures, &mut out).unwrap();
    out[..length].to_vec()
}

fn later(days: i64) -> UnixMs {
    UnixMs(NOW.0 + days * DAY)
}

fn role(threshold: u8, seeds: &[u8]) -> Role {
    Role::new(threshold, &public(seeds)).unwrap()
}

fn first_root() -> Root {
    Root {
        version: 1,
        expires: later(365),
        root: role(2, &ROOTS),
        targets: role(2, &TARGETS),
        timestamp: role(1, &TIMESTAMPS),
    }
}

fn root(root: &Root, seeds: &[u8]) -> Vec<u8> {
    let mut out = [0; Root::CONTENT_MAX];
    let length = root.write(&mut out).unwrap();
    cosign(seeds, Root::PURPOSE, &out[..length])
}

/// A device with the first root in its program.
fn device() -> Trust {
    Trust::new(&root(&first_root(), &ROOTS[..2])).unwrap()
}

fn manifest(text: &str, seed: u8) -> Vec<u8> {
    let mut out = [0; ecowatt_artifact::MANIFEST_MAX];
    let manifest = Manifest { version: version(text), ..manifest_of(&image()) };
    let length = manifest.sign(&key(seed), &mut out).unwrap();
    out[..length].to_vec()
}

fn targets_of(version: u32, days: i64, manifests: &[Vec<u8>]) -> Targets {
    let mut hashes: Vec<_> = manifests.iter().map(|manifest| sha256(manifest)).collect();
    hashes.sort_unstable();
    let manifests = heapless::Vec::from_slice(&hashes).unwrap();
    Targets { version, expires: later(days), manifests }
}

fn targets_by(seeds: &[u8], targets: &Targets) -> Vec<u8> {
    let mut out = [0; Targets::CONTENT_MAX];
    let length = targets.write(&mut out).unwrap();
    cosign(seeds, Targets::PURPOSE, &out[..length])
}

fn targets(version: u32, manifests: &[Vec<u8>]) -> Vec<u8> {
    targets_by(&TARGETS, &targets_of(version, TARGETS_DAYS, manifests))
}

fn timestamp_by(seed: u8, timestamp: &Timestamp) -> Vec<u8> {
    let mut out = [0; Timestamp::CONTENT_MAX];
    let length = timestamp.write(&mut out).unwrap();
    cosign(&[seed], Timestamp::PURPOSE, &out[..length])
}

fn timestamp_of(version: u32, targets_version: u32, targets: &[u8]) -> Timestamp {
    let expires = later(TIMESTAMP_DAYS);
    Timestamp { version, expires, targets_version, targets: sha256(targets) }
}

fn timestamp(version: u32, targets_version: u32, targets: &[u8]) -> Vec<u8> {
    timestamp_by(TIMESTAMPS[0], &timestamp_of(version, targets_version, targets))
}

fn refresh<'t>(
    trust: &'t mut Trust,
    timestamp: &[u8],
    targets: &[u8],
) -> Result<Current<'t>, TrustError> {
    trust.refresh(timestamp, targets, Some(NOW))
}

/// The error, and a check that the refusal changed nothing.
fn refused(trust: &mut Trust, timestamp: &[u8], targets: &[u8], now: UnixMs) -> TrustError {
    let before = trust.clone();
    let error = trust.refresh(timestamp, targets, Some(now)).unwrap_err();
    assert_eq!(*trust, before);
    error
}

fn too_few(document: Document, got: usize, threshold: usize) -> TrustError {
    TrustError::Unsigned(document, CosignedError::TooFewSigners { got, threshold })
}

#[test]
fn listed_manifest_is_accepted() {
    let mut device = device();
    let image = manifest("1.4.0", TARGETS[1]);
    let targets = targets(1, &[image.clone(), manifest("1.3.0", TARGETS[0])]);
    assert_eq!(device.standing(Some(NOW)), Standing::Never);
    let current = refresh(&mut device, &timestamp(1, 1, &targets), &targets).unwrap();
    assert_eq!(current.manifest(&image).unwrap().version, version("1.4.0"));
    assert_eq!(device.standing(Some(NOW)), Standing::Fresh(later(TIMESTAMP_DAYS)));
    // The same documents again are no attack.
    assert!(refresh(&mut device, &timestamp(1, 1, &targets), &targets).is_ok());
}

#[test]
fn arbitrary_software_stolen_server_cannot_list_an_image() {
    let mut device = device();
    let evil = manifest("9.0.0", STRANGER);
    let list = targets_of(2, TARGETS_DAYS, std::slice::from_ref(&evil));
    // The thief has the timestamp key, and makes targets with it or with keys of his own.
    for seeds in [&[STRANGER][..], &[TIMESTAMPS[0]], &[STRANGER, TIMESTAMPS[0]]] {
        let targets = targets_by(seeds, &list);
        let error = refused(&mut device, &timestamp(2, 2, &targets), &targets, NOW);
        assert_eq!(error, too_few(Document::Targets, 0, 2));
    }
    // With genuine targets, its manifest is not listed.
    let targets = targets(1, &[manifest("1.4.0", TARGETS[0])]);
    let current = refresh(&mut device, &timestamp(1, 1, &targets), &targets).unwrap();
    assert_eq!(current.manifest(&evil), Err(TrustError::Unlisted));
}

#[test]
fn key_compromise_one_targets_key_installs_nothing() {
    let mut device = device();
    let evil = manifest("9.0.0", TARGETS[0]);
    let list = targets_of(1, TARGETS_DAYS, std::slice::from_ref(&evil));
    for seeds in [&[TARGETS[0]][..], &[TARGETS[0], STRANGER], &[TARGETS[0], ROOTS[0]]] {
        let targets = targets_by(seeds, &list);
        let error = refused(&mut device, &timestamp(1, 1, &targets), &targets, NOW);
        assert_eq!(error, too_few(Document::Targets, 1, 2));
    }
    // Its valid signature on a manifest alone is worth nothing either.
    let targets = targets(1, &[manifest("1.4.0", TARGETS[0])]);
    let current = refresh(&mut device, &timestamp(1, 1, &targets), &targets).unwrap();
    assert_eq!(current.manifest(&evil), Err(TrustError::Unlisted));
}

#[test]
fn one_signature_counts_once() {
    // The same key twice is not in ascending order, so it is not a document.
    let content = [0x83];
    let one = Signature::new(&key(TARGETS[0]), Targets::PURPOSE, &content).unwrap();
    let mut out = [0; COSIGNED_MAX];
    let length = assemble(&content, &mut [one, one], &mut out).unwrap();
    assert!(matches!(UnverifiedCosigned::parse(&out[..length]), Err(CosignedError::Malformed)));
}

#[test]
fn listed_manifest_needs_a_targets_key_as_well() {
    let mut device = device();
    let listed = manifest("1.4.0", STRANGER);
    let targets = targets(1, std::slice::from_ref(&listed));
    let current = refresh(&mut device, &timestamp(1, 1, &targets), &targets).unwrap();
    let unknown = SignedError::UnknownSigner(key(STRANGER).public().id());
    let error = TrustError::Manifest(ManifestError::Signed(unknown));
    assert_eq!(current.manifest(&listed), Err(error));
}

#[test]
fn rollback_older_timestamp_is_refused() {
    let mut device = device();
    let list = targets(1, &[]);
    refresh(&mut device, &timestamp(7, 1, &list), &list).unwrap();
    let error = refused(&mut device, &timestamp(6, 1, &list), &list, NOW);
    assert_eq!(error, TrustError::Older { document: Document::Timestamp, got: 6, current: 7 });
}

#[test]
fn rollback_older_targets_are_refused_even_with_a_new_timestamp() {
    let mut device = device();
    let (old, new) = (targets(1, &[manifest("1.3.0", TARGETS[0])]), targets(2, &[]));
    refresh(&mut device, &timestamp(7, 2, &new), &new).unwrap();
    let older = TrustError::Older { document: Document::Targets, got: 1, current: 2 };
    assert_eq!(refused(&mut device, &timestamp(8, 1, &old), &old, NOW), older);
    // Under a false version the old targets do not match.
    let error = refused(&mut device, &timestamp(8, 3, &old), &old, NOW);
    assert_eq!(error, older);
}

#[test]
fn freeze_from_outside_ends_with_the_timestamp() {
    let mut device = device();
    let list = targets(1, &[]);
    let stamp = timestamp(1, 1, &list);
    refresh(&mut device, &stamp, &list).unwrap();
    let end = later(TIMESTAMP_DAYS);
    assert_eq!(device.standing(Some(UnixMs(end.0 - 1))), Standing::Fresh(end));
    assert_eq!(device.standing(Some(end)), Standing::Stale(end));
    let error = refused(&mut device, &stamp, &list, end);
    assert_eq!(error, TrustError::Expired(Document::Timestamp));
}

#[test]
fn freeze_by_a_stolen_server_ends_with_the_targets() {
    let mut device = device();
    let list = targets(1, &[]);
    // The thief signs a new timestamp of the old targets every day, each valid for ten years.
    let stamp = |version| {
        let timestamp = Timestamp { expires: later(3650), ..timestamp_of(version, 1, &list) };
        timestamp_by(TIMESTAMPS[0], &timestamp)
    };
    for day in 0..TARGETS_DAYS {
        let version = u32::try_from(day + 1).unwrap();
        device.refresh(&stamp(version), &list, Some(later(day))).unwrap();
        assert_eq!(device.standing(Some(later(day))), Standing::Fresh(later(TARGETS_DAYS)));
    }
    let error = refused(&mut device, &stamp(99), &list, later(TARGETS_DAYS));
    assert_eq!(error, TrustError::Expired(Document::Targets));
    let stale = Standing::Stale(later(TARGETS_DAYS));
    assert_eq!(device.standing(Some(later(TARGETS_DAYS))), stale);
}

#[test]
fn freeze_by_turning_back_the_clock_fails() {
    let mut device = device();
    let list = targets(1, &[]);
    let stamp = timestamp(1, 1, &list);
    device.refresh(&stamp, &list, Some(later(1))).unwrap();
    // The server says it is still the day before; the device counts two days itself.
    device.pass(Duration::from_secs(2 * 24 * 60 * 60));
    let error = refused(&mut device, &stamp, &list, NOW);
    assert_eq!(error, TrustError::Expired(Document::Timestamp));
    assert_eq!(device.standing(Some(NOW)), Standing::Stale(later(TIMESTAMP_DAYS)));
}

#[test]
fn clock_that_was_ahead_once_refuses_nothing_for_ever() {
    let mut device = device();
    let list = targets(1, &[]);
    // The server says that 28 days have passed, which the targets outlive; more is not believed.
    let stamp = Timestamp { expires: later(3650), ..timestamp_of(1, 1, &list) };
    let stamp = timestamp_by(TIMESTAMPS[0], &stamp);
    let error = refused(&mut device, &stamp, &list, later(400));
    assert_eq!(error, TrustError::Expired(Document::Root));
    assert_eq!(
        refused(&mut device, &stamp, &list, later(40)),
        TrustError::Expired(Document::Targets)
    );
    device.refresh(&stamp, &list, Some(later(28))).unwrap();
    device.pass(Duration::from_secs(400 * 24 * 60 * 60));
    assert_eq!(device.time(Some(NOW)), Some(later(TARGETS_DAYS)));
    // The operator renews as usual, and the device takes it at the true time.
    let next = targets_by(&TARGETS, &targets_of(2, TARGETS_DAYS + 15, &[]));
    let stamp = Timestamp { expires: later(TARGETS_DAYS + 1), ..timestamp_of(2, 2, &next) };
    let stamp = timestamp_by(TIMESTAMPS[0], &stamp);
    assert!(device.refresh(&stamp, &next, Some(later(15))).is_ok());
}

#[test]
fn without_the_time_nothing_is_accepted() {
    let mut device = device();
    let list = targets(1, &[]);
    let error = device.refresh(&timestamp(1, 1, &list), &list, None).unwrap_err();
    assert_eq!(error, TrustError::TimeUnknown);
}

#[test]
fn fast_forward_ends_when_the_keys_are_replaced() {
    let mut device = device();
    let list = targets(1, &[]);
    refresh(&mut device, &timestamp(u32::MAX, 1, &list), &list).unwrap();
    let error = refused(&mut device, &timestamp(2, 1, &list), &list, NOW);
    assert!(matches!(error, TrustError::Older { .. }));
    let next = Root { version: 2, timestamp: role(1, &[22]), ..first_root() };
    device.replace_root(&root(&next, &ROOTS[1..])).unwrap();
    assert_eq!(device.standing(Some(NOW)), Standing::Never);
    let stamp = timestamp_by(22, &timestamp_of(2, 1, &list));
    assert!(refresh(&mut device, &stamp, &list).is_ok());
    // The stolen key is worth nothing any more.
    let error = refused(&mut device, &timestamp(u32::MAX, 1, &list), &list, NOW);
    assert_eq!(error, too_few(Document::Timestamp, 0, 1));
}

#[test]
fn mix_and_match_targets_belong_to_their_timestamp() {
    let mut device = device();
    let (one, two) = (targets(1, &[]), targets(2, &[manifest("1.4.0", TARGETS[0])]));
    let error = refused(&mut device, &timestamp(1, 1, &one), &two, NOW);
    assert_eq!(error, TrustError::OtherTargets);
    // The right hash under a wrong version.
    let error = refused(&mut device, &timestamp(1, 3, &two), &two, NOW);
    assert_eq!(error, TrustError::OtherTargets);
}

#[test]
fn two_lists_of_one_version_are_noticed() {
    let mut device = device();
    let (one, other) = (targets(1, &[]), targets(1, &[manifest("1.4.0", TARGETS[0])]));
    refresh(&mut device, &timestamp(1, 1, &one), &one).unwrap();
    let error = refused(&mut device, &timestamp(2, 1, &other), &other, NOW);
    assert_eq!(error, TrustError::Equivocal(1));
}

#[test]
fn endless_data_is_refused_by_its_length() {
    let mut device = device();
    let endless = vec![0xd8; COSIGNED_MAX + 1];
    let too_long =
        |document| TrustError::Unsigned(document, CosignedError::TooLong(COSIGNED_MAX + 1));
    let error = refused(&mut device, &endless, &endless, NOW);
    assert_eq!(error, too_long(Document::Timestamp));
    let error = refused(&mut device, &timestamp(1, 1, &endless), &endless, NOW);
    assert_eq!(error, too_long(Document::Targets));
    assert_eq!(device.replace_root(&endless), Err(too_long(Document::Root)));
}

#[test]
fn keys_of_one_role_do_nothing_in_another() {
    let mut device = device();
    let list = targets(1, &[]);
    for seed in [ROOTS[0], TARGETS[0]] {
        let stamp = timestamp_by(seed, &timestamp_of(1, 1, &list));
        let error = refused(&mut device, &stamp, &list, NOW);
        assert_eq!(error, too_few(Document::Timestamp, 0, 1));
    }
    // Nor does a document for another purpose.
    let mut out = [0; 1200];
    let length = timestamp_of(1, 1, &list).write(&mut out).unwrap();
    let stamp = cosign(&TIMESTAMPS, Targets::PURPOSE, &out[..length]);
    let error = refused(&mut device, &stamp, &list, NOW);
    let bad = CosignedError::BadSignature(key(TIMESTAMPS[0]).public().id());
    assert_eq!(error, TrustError::Unsigned(Document::Timestamp, bad));
    // And no root may give a key two roles.
    let twice = Root { timestamp: role(1, &[TARGETS[0]]), ..first_root() };
    let error = Trust::new(&root(&twice, &ROOTS)).unwrap_err();
    assert_eq!(error, TrustError::Malformed(Document::Root));
}

#[test]
fn role_has_a_threshold_that_can_be_met_and_matters() {
    let keys = public(&ROOTS);
    assert!(Role::new(0, &keys).is_none());
    assert!(Role::new(4, &keys).is_none());
    assert!(Role::new(1, &[]).is_none());
    assert!(Role::new(2, &[keys[0], keys[0]]).is_none());
    let nine: Vec<u8> = (30..39).collect();
    assert!(Role::new(1, &public(&nine)).is_none());
}

#[test]
fn root_is_replaced_by_its_own_keys_and_those_of_the_next() {
    let next = Root { version: 2, root: role(2, &[3, 4, 5]), ..first_root() };
    let with = |seeds: &[u8]| device().replace_root(&root(&next, seeds));
    assert_eq!(with(&[2, 3, 4]), Ok(()));
    assert_eq!(with(&[1, 2, 4, 5]), Ok(()));
    // Too few of the old keys, then too few of the new.
    assert_eq!(with(&[3, 4, 5]), Err(too_few(Document::Root, 1, 2)));
    assert_eq!(with(&[1, 2]), Err(too_few(Document::Root, 0, 2)));
    assert_eq!(with(&[1, 2, 4]), Err(too_few(Document::Root, 1, 2)));
    assert_eq!(with(&[STRANGER]), Err(too_few(Document::Root, 0, 2)));
    assert_eq!(with(&TARGETS), Err(too_few(Document::Root, 0, 2)));
}

#[test]
fn no_root_is_left_out_or_comes_again() {
    let mut device = device();
    let numbered = |version| root(&Root { version, ..first_root() }, &ROOTS);
    let not_next = |got, current| Err(TrustError::NotNext { got, current });
    assert_eq!(device.replace_root(&numbered(1)), not_next(1, 1));
    assert_eq!(device.replace_root(&numbered(3)), not_next(3, 1));
    assert_eq!(device.replace_root(&numbered(2)), Ok(()));
    assert_eq!(device.replace_root(&numbered(2)), not_next(2, 2));
    assert_eq!(device.replace_root(&numbered(1)), not_next(1, 2));
}

#[test]
fn device_that_was_off_for_years_goes_through_all_roots() {
    let mut device = device();
    // Each year a root replaces one key, and each has expired but the last.
    let keys: Vec<u8> = (1..20).collect();
    for year in 1..=10u8 {
        let version = u32::from(year) + 1;
        let now = &keys[usize::from(year)..usize::from(year) + 3];
        let next = Root {
            version,
            expires: later(365 * i64::from(year + 1)),
            root: role(2, now),
            targets: role(1, &[41]),
            timestamp: role(1, &[42]),
        };
        device.replace_root(&root(&next, &now[..2])).unwrap();
    }
    let (now, days) = (later(3_650), 3_650);
    let list = targets_by(&[41], &targets_of(1, days + TARGETS_DAYS, &[]));
    let stamp = Timestamp { expires: later(days + 1), ..timestamp_of(1, 1, &list) };
    assert!(device.refresh(&timestamp_by(42, &stamp), &list, Some(now)).is_ok());
    let error = refused(&mut device, &timestamp_by(42, &stamp), &list, later(365 * 11));
    assert_eq!(error, TrustError::Expired(Document::Root));
}

#[test]
fn no_bit_of_any_document_can_be_changed() {
    let mut device = device();
    let list = targets(1, &[manifest("1.4.0", TARGETS[0])]);
    let stamp = timestamp(1, 1, &list);
    let next = root(&Root { version: 2, ..first_root() }, &ROOTS[..2]);
    for_each_flip(&stamp, |stamp| {
        refused(&mut device, stamp, &list, NOW);
    });
    for_each_flip(&list, |list| {
        refused(&mut device, &stamp, list, NOW);
    });
    for_each_flip(&next, |next| assert!(device.replace_root(next).is_err()));
    for length in 0..next.len() {
        assert!(device.replace_root(&next[..length]).is_err());
    }
    assert!(refresh(&mut device, &stamp, &list).is_ok());
    assert_eq!(device.replace_root(&next), Ok(()));
}

/// Hands out the document with each of its bits changed.
fn for_each_flip(document: &[u8], mut take: impl FnMut(&[u8])) {
    let mut document = document.to_vec();
    for bit in 0..document.len() * 8 {
        document[bit / 8] ^= 1 << (bit % 8);
        take(&document);
        document[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn state_survives_a_restart_and_damage_is_noticed() {
    let mut device = device();
    let list = targets(3, &[manifest("1.4.0", TARGETS[0])]);
    refresh(&mut device, &timestamp(8, 3, &list), &list).unwrap();
    let mut out = [0; STATE_MAX];
    let length = device.store(&mut out).unwrap();
    let mut again = Trust::load(&out[..length]).unwrap();
    assert_eq!(again, device);
    let old = targets(2, &[]);
    assert!(refresh(&mut again, &timestamp(9, 2, &old), &old).is_err());
    for length in 0..length {
        assert_eq!(Trust::load(&out[..length]), None);
    }
    assert!(device.store(&mut [0; 64]).is_err());
}

#[test]
fn largest_documents_fit() {
    let eight = |first: u8| role(8, &(first..first + 8).collect::<Vec<u8>>());
    let most = Root {
        version: u32::MAX,
        expires: UnixMs(i64::MAX),
        root: eight(1),
        targets: eight(11),
        timestamp: eight(21),
    };
    let seeds: Vec<u8> = (1..9).collect();
    let mut device = Trust::new(&root(&most, &seeds)).unwrap();
    let hashes: Vec<[u8; 32]> =
        (0..TARGETS_MAX).map(|at| [u8::try_from(at).unwrap(); 32]).collect();
    let manifests = heapless::Vec::from_slice(&hashes).unwrap();
    let list = Targets { version: u32::MAX, expires: UnixMs(i64::MAX), manifests };
    let list = targets_by(&(11..19).collect::<Vec<u8>>(), &list);
    let stamp = Timestamp {
        version: u32::MAX,
        expires: UnixMs(i64::MAX),
        targets_version: u32::MAX,
        targets: sha256(&list),
    };
    let mut out = [0; Timestamp::CONTENT_MAX];
    let length = stamp.write(&mut out).unwrap();
    let stamp = cosign(&(21..29).collect::<Vec<u8>>(), Timestamp::PURPOSE, &out[..length]);
    assert!(refresh(&mut device, &stamp, &list).is_ok());
    assert!(device.store(&mut [0; STATE_MAX]).is_ok());
}

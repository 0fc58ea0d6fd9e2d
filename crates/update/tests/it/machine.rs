//! What the machine takes and refuses, step by step.

use std::time::Duration;

use ecowatt_artifact::{Compression, Manifest, PieceSize, leaf, proof, sha256};
use ecowatt_model::MonoMs;
use ecowatt_update::{
    Action, Health, ImageSlot, OfferError, Phase, Progress, Record, Revert, TRIAL_MAX,
    TRIAL_STARTS, Update, boot,
};

use crate::disk::TestDisk;
use crate::rig::{self, PIECE, Temper, World, admit, deliver, describe, is_new};

const NOW: MonoMs = MonoMs(1);

fn world() -> World {
    World::new(9_000, Temper::Good)
}

fn settled(world: &World) -> Record {
    Record::new(ImageSlot::A, describe(&world.old).0)
}

fn trial(world: &World, starts_left: u8) -> Record {
    let phase = Phase::Trial { image: world.manifest().image, starts_left };
    Record { phase, ..settled(world) }
}

/// A machine that asks for its first piece.
fn fetching(world: &World) -> Update {
    let mut update = Update::start(settled(world), ImageSlot::A, NOW);
    update.offer(world.manifest()).unwrap();
    assert_eq!(update.poll(NOW), Some(Action::Keep));
    assert_eq!(update.record().phase, Phase::Clearing { image: world.manifest().image });
    update.handle_kept(NOW, true);
    assert_eq!(update.poll(NOW), Some(Action::Erase(ImageSlot::B)));
    update.handle_erased(NOW, true);
    assert_eq!(update.poll(NOW), Some(Action::Keep));
    update.handle_kept(NOW, true);
    assert_eq!(update.poll(NOW), Some(Action::Fetch { index: 0 }));
    update
}

fn piece(world: &World, index: usize) -> (Vec<u8>, Vec<u8>) {
    let leaves: Vec<_> = world.new.chunks(PIECE).map(leaf).collect();
    let mut path = [0; _];
    let length = proof(&leaves, index, &mut path).unwrap();
    (world.new.chunks(PIECE).nth(index).unwrap().to_vec(), path[..length].to_vec())
}

#[test]
fn image_is_fetched_read_back_tried_and_confirmed() {
    let (disk, world) = (TestDisk::default(), world());
    deliver(&disk, &world);
    let end = rig::run(&disk, &world);
    assert_eq!(end.starts, 2);
    assert_eq!(end.record.confirmed, ImageSlot::B);
    assert!(is_new(&end, &world));
    // The same offer changes nothing any more.
    let again = rig::run(&disk, &world);
    assert_eq!((again.starts, again.record), (1, end.record));
}

#[test]
fn nothing_is_written_that_was_not_signed() {
    let world = world();
    let (bytes, proof) = piece(&world, 0);
    let mut update = fetching(&world);
    let mut now = NOW;
    let other = piece(&world, 1);
    for bit in [0, 8 * bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        update.handle_fetched(now, Some((&bytes, &proof)));
        now = update.poll_at().unwrap();
        assert_eq!(update.poll(now), Some(Action::Fetch { index: 0 }));
    }
    for (bytes, proof) in
        [(&bytes[..10], &proof[..]), (&bytes, &[]), (&[], &[]), (&other.0, &other.1)]
    {
        update.handle_fetched(now, Some((bytes, proof)));
        now = update.poll_at().unwrap();
        assert_eq!(update.poll(now), Some(Action::Fetch { index: 0 }));
    }
    update.handle_fetched(now, Some((&bytes, &proof)));
    assert_eq!(update.poll(now), Some(Action::Stage { slot: ImageSlot::B, skip: 0 }));
}

#[test]
fn pause_after_failures_grows_and_has_a_limit() {
    let mut update = fetching(&world());
    let (mut now, mut pauses) = (NOW, Vec::new());
    for _ in 0..10 {
        update.handle_fetched(now, None);
        assert_eq!(update.poll(now), None);
        let next = update.poll_at().unwrap();
        pauses.push(next.since(now).as_secs());
        now = next;
        assert_eq!(update.poll(now), Some(Action::Fetch { index: 0 }));
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
}

#[test]
fn server_that_damages_pieces_only_delays() {
    let (disk, world) = (TestDisk::default(), world());
    deliver(&disk, &world);
    let end = rig::run_with(&disk, &world, 5, |update| {
        let _ = update.offer(world.manifest());
    });
    assert!(is_new(&end, &world));
}

/// A machine that is switched on with some bytes in the slot, and has been given piece 1.
fn resumed(world: &World, there: u32) -> Update {
    let phase = Phase::Staging { image: world.manifest().image };
    let mut update = Update::start(Record { phase, ..settled(world) }, ImageSlot::A, NOW);
    assert_eq!(update.poll(NOW), None, "the record does not name the pieces");
    update.offer(world.manifest()).unwrap();
    assert_eq!(update.poll(NOW), Some(Action::Measure(ImageSlot::B)));
    update.handle_length(NOW, Some(there));
    assert_eq!(update.poll(NOW), Some(Action::Fetch { index: 1 }));
    let (bytes, proof) = piece(world, 1);
    update.handle_fetched(NOW, Some((&bytes, &proof)));
    update
}

#[test]
fn transfer_goes_on_at_the_last_durable_byte() {
    let (world, slot) = (world(), ImageSlot::B);
    // Whole pieces need no look at what is there.
    let mut update = resumed(&world, 4096);
    assert_eq!(update.poll(NOW), Some(Action::Stage { slot, skip: 0 }));
    // A part of a piece is continued if it is right, and if it is not, the slot is erased.
    let read = Action::Read { slot, offset: 4096, length: 1000 };
    let mut update = resumed(&world, 5096);
    assert_eq!(update.poll(NOW), Some(read));
    update.handle_read(NOW, Some(&world.new[4096..5096]));
    assert_eq!(update.poll(NOW), Some(Action::Stage { slot, skip: 1000 }));
    update.handle_staged(NOW, true);
    assert_eq!(update.poll(NOW), Some(Action::Fetch { index: 2 }));
    let mut update = resumed(&world, 5096);
    assert_eq!(update.poll(NOW), Some(read));
    update.handle_read(NOW, Some(&[0; 1000]));
    assert_eq!(update.poll(NOW), Some(Action::Keep));
    assert_eq!(update.record().phase, Phase::Clearing { image: world.manifest().image });
    update.handle_kept(NOW, true);
    assert_eq!(update.poll(NOW), Some(Action::Erase(slot)));
}

#[test]
fn slot_that_spoils_what_is_written_is_given_up() {
    let world = world();
    let mut update = fetching(&world);
    let mut erasures = 1;
    update.handle_fetched(NOW, None);
    let now = update.poll_at().unwrap();
    loop {
        match update.poll(now) {
            Some(Action::Fetch { index }) => {
                let (bytes, proof) = piece(&world, usize::try_from(index).unwrap());
                update.handle_fetched(now, Some((&bytes, &proof)));
            }
            Some(Action::Keep) => update.handle_kept(now, true),
            Some(Action::Stage { .. }) => update.handle_staged(now, true),
            Some(Action::Erase(slot)) => {
                assert_eq!(slot, ImageSlot::B);
                erasures += 1;
                update.handle_erased(now, true);
            }
            // The medium returns other bytes than were written.
            Some(Action::Read { length, .. }) => {
                update.handle_read(now, Some(&vec![0xee; usize::try_from(length).unwrap()]));
            }
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    assert_eq!(erasures, 3);
    assert_eq!(update.progress(), Progress::Reverted(Revert::Spoiled));
    assert_eq!(boot(update.record()).slot, ImageSlot::A);
    assert_eq!(update.offer(world.manifest()), Err(OfferError::FailedBefore));
}

#[test]
fn image_on_trial_is_started_a_few_times_and_then_no_more() {
    let world = world();
    let mut record = trial(&world, TRIAL_STARTS);
    for left in (0..TRIAL_STARTS).rev() {
        let boot = boot(&record);
        assert_eq!(boot.slot, ImageSlot::B);
        record = boot.record.unwrap();
        assert_eq!(record, trial(&world, left));
    }
    let last = boot(&record);
    assert_eq!(last.slot, ImageSlot::A);
    let reverted = last.record.unwrap();
    assert_eq!(reverted.last, Some(Revert::TooManyStarts));
    assert_eq!(boot(&reverted).record, None);
    let mut update = Update::start(reverted, ImageSlot::A, NOW);
    assert_eq!(update.offer(world.manifest()), Err(OfferError::FailedBefore));
}

#[test]
fn every_part_of_the_self_test_is_needed() {
    let world = world();
    let good = Health {
        inverters_are_read: true,
        link_is_up: true,
        time_is_sane: true,
        memory_is_within_budget: true,
    };
    let confirms = |health| {
        let mut update = Update::start(trial(&world, 2), ImageSlot::B, NOW);
        update.handle_health(health);
        update.poll(NOW) == Some(Action::Keep)
    };
    assert!(confirms(good));
    assert!(!confirms(Health { inverters_are_read: false, ..good }));
    assert!(!confirms(Health { link_is_up: false, ..good }));
    assert!(!confirms(Health { time_is_sane: false, ..good }));
    assert!(!confirms(Health { memory_is_within_budget: false, ..good }));
}

#[test]
fn trial_ends_after_its_time() {
    let world = world();
    let mut update = Update::start(trial(&world, 2), ImageSlot::B, NOW);
    let end = NOW.plus(TRIAL_MAX);
    assert_eq!(update.poll(MonoMs(end.0 - 1)), None);
    assert_eq!(update.poll_at(), Some(end));
    assert_eq!(update.offer(world.manifest()), Err(OfferError::OnTrial));
    assert_eq!(update.poll(end), Some(Action::Keep));
    assert_eq!(update.record().last, Some(Revert::Unhealthy));
    // If that cannot be made durable, the starts that are left still run out.
    update.handle_kept(end, false);
    let later = end.plus(Duration::from_secs(30));
    assert_eq!(update.poll(later), Some(Action::Keep));
    update.handle_kept(later, true);
    assert_eq!(update.poll(later), Some(Action::Restart));
}

#[test]
fn image_on_trial_whose_start_could_not_be_counted_is_not_tried() {
    let world = world();
    let mut update = Update::start(trial(&world, 2), ImageSlot::A, NOW);
    assert_eq!(update.poll(NOW), Some(Action::Keep));
    update.handle_kept(NOW, true);
    assert_eq!(update.poll(NOW), None);
    assert_eq!(update.progress(), Progress::Reverted(Revert::TooManyStarts));
}

#[test]
fn other_image_replaces_the_one_that_is_fetched() {
    let world = world();
    let mut update = fetching(&world);
    let other = b"a third image".repeat(500);
    let (manifest, image) = (admit(&other, |_| {}), describe(&other).0);
    assert_eq!(update.offer(&manifest), Err(OfferError::Busy));
    update.handle_fetched(NOW, None);
    assert_eq!(update.offer(world.manifest()), Ok(()), "the same again");
    assert_eq!(update.offer(&manifest), Ok(()));
    let now = update.poll_at().unwrap();
    assert_eq!(update.poll(now), Some(Action::Keep));
    assert_eq!(update.record().phase, Phase::Clearing { image });
}

#[test]
fn payload_that_is_not_the_image_is_refused() {
    let mut update = Update::start(settled(&world()), ImageSlot::A, NOW);
    let changes: [fn(&mut Manifest<'static>); 2] = [
        |manifest| manifest.payload.compression = Some(Compression(1)),
        |manifest| manifest.payload.base = Some([5; 32]),
    ];
    for change in changes {
        let manifest = admit(&world().new, change);
        assert_eq!(update.offer(&manifest), Err(OfferError::NotPlain));
    }
    assert_eq!(update.poll(NOW), None);
}

#[test]
fn device_without_a_former_image_does_not_go_back() {
    let world = world();
    let mut update = Update::start(settled(&world), ImageSlot::A, NOW);
    assert!(!update.go_back());
    let mut update = fetching(&world);
    assert!(!update.go_back());
}

#[test]
fn only_the_newest_failed_images_are_remembered() {
    let image = |number: u8| describe(&[number; 10]).0;
    let mut record = Record::new(ImageSlot::A, image(0));
    for number in 1..=6 {
        let phase = Phase::Trial { image: image(number), starts_left: 0 };
        record = boot(&Record { phase, ..record }).record.unwrap();
    }
    let remembered: Vec<u8> = (1..=6).filter(|n| record.has_failed(&image(*n))).collect();
    assert_eq!(remembered, [3, 4, 5, 6]);
    assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
}

#[test]
fn machine_is_small() {
    println!("{} bytes", size_of::<Update>());
    assert!(size_of::<Update>() <= 768);
    assert_eq!(PieceSize::SMALLEST.bytes(), PIECE);
    assert_eq!(sha256(b"").len(), 32);
}

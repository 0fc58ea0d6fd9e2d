//! Two copies of a few bytes; a torn write leaves one of them.

use ecowatt_model::SourceNumber;
use ecowatt_node::storage::{PairState, SmallArea, TwoCopies};

use crate::rig::disk::{Op, TestDisk};

const THING: SmallArea = SmallArea::Rated(SourceNumber(3));

fn open(disk: &TestDisk, thing: SmallArea) -> (TwoCopies<TestDisk>, PairState<String>) {
    TwoCopies::open(disk.clone(), thing, 64, |bytes| String::from_utf8(bytes.to_vec()).ok())
}

#[test]
fn a_record_is_these_bytes() {
    let disk = TestDisk::default();
    open(&disk, THING).0.store(b"one").unwrap();
    let crc = [0x09, 0xdb, 0x3a, 0x2a];
    let head = [1, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
    let golden = [&head[..], &crc, b"one"].concat();
    assert_eq!(disk.contents("rated-3.0").as_deref(), Some(golden.as_slice()));
}

#[test]
fn the_newer_copy_counts_and_a_torn_one_leaves_the_older() {
    let disk = TestDisk::default();
    let (mut pair, opened) = open(&disk, THING);
    assert_eq!((opened.value, opened.found), (None, 0));
    let before = |name: &str| disk.contents(name).map_or(0, |bytes| bytes.len());
    for value in ["one", "", "three\n3"] {
        pair.store(value.as_bytes()).unwrap();
        assert_eq!(open(&disk, THING).1.value.as_deref(), Some(value));
    }
    let from = before("rated-3.1");
    pair.store(b"four").unwrap();
    assert_eq!(open(&disk, THING).1.value.as_deref(), Some("four"));
    let after = disk.contents("rated-3.1").unwrap();
    for cut in from..after.len() {
        // The bytes to be appended are there in part, or only as length.
        for rest in [0, after.len() - cut] {
            let mut torn = after[..cut].to_vec();
            torn.resize(cut + rest, 0);
            disk.put("rated-3.1", &torn);
            let (_, opened) = open(&disk, THING);
            let damaged = usize::from(torn.len() > from);
            let left = (opened.value.as_deref(), opened.found, opened.damaged);
            assert_eq!(left, (Some("three\n3"), 2, damaged), "{cut}");
        }
    }
    // The next write replaces the damaged copy, and counts.
    let (mut pair, _) = open(&disk, THING);
    pair.store(b"five").unwrap();
    assert_eq!(open(&disk, THING).1.value.as_deref(), Some("five"));
    // Copies of another thing are refused.
    for copy in 0..2 {
        let bytes = disk.contents(&format!("rated-3.{copy}")).unwrap();
        disk.put(&format!("rated-4.{copy}"), &bytes);
    }
    let (_, other) = open(&disk, SmallArea::Rated(SourceNumber(4)));
    assert_eq!((other.value, other.damaged), (None, 2));
}

#[test]
fn a_copy_is_erased_only_when_it_has_no_room() {
    let disk = TestDisk::default();
    let (mut pair, _) = open(&disk, THING);
    for number in 0..1_000 {
        let value = format!("{number:060}");
        pair.store(value.as_bytes()).unwrap();
        let (opened, now) = open(&disk, THING);
        assert_eq!((now.value, now.damaged), (Some(value), 0));
        pair = opened;
    }
    let erased = disk.ops().iter().filter(|op| matches!(op, Op::Erase(_))).count();
    assert!((15..25).contains(&erased), "{erased}");
}

#[test]
fn a_full_disk_has_room_for_what_replaces_a_copy() {
    let disk = TestDisk::default();
    let (mut pair, _) = open(&disk, THING);
    pair.store(b"one").unwrap();
    pair.store(b"two").unwrap();
    disk.set_room(Some(disk.bytes()));
    for value in ["tri", "for", "fiv"] {
        pair.store(value.as_bytes()).unwrap();
        let (_, opened) = open(&disk, THING);
        assert_eq!((opened.value.as_deref(), opened.damaged), (Some(value), 0));
    }
}

//! Two copies of a few bytes, of which a torn write leaves one.

use ecowatt_node::storage::{Disk, Opened, Pair};

use crate::disk::TestDisk;

fn open(disk: &TestDisk, name: &str) -> (Pair<TestDisk>, Opened<String>) {
    Pair::open(disk.clone(), name, 64, |bytes| String::from_utf8(bytes.to_vec()).ok())
}

fn replace(disk: &TestDisk, name: &str, bytes: &[u8]) {
    disk.write_at(name, 0, bytes).unwrap();
    disk.truncate(name, u64::try_from(bytes.len()).unwrap()).unwrap();
}

#[test]
fn the_newer_copy_counts_and_a_torn_one_leaves_the_older() {
    let disk = TestDisk::default();
    let (mut pair, opened) = open(&disk, "thing");
    assert_eq!((opened.value, opened.found), (None, 0));
    for value in ["one", "", "three\n3", "four"] {
        pair.store(value.as_bytes()).unwrap();
        assert_eq!(open(&disk, "thing").1.value.as_deref(), Some(value));
    }
    let after = disk.read("thing.1", 1024).unwrap().unwrap();
    for cut in 0..after.len() {
        // The longer old copy shows behind what was written.
        let mut torn = after[..cut].to_vec();
        torn.resize(after.len() + 9, b'x');
        replace(&disk, "thing.1", &torn);
        let (_, opened) = open(&disk, "thing");
        let left = (opened.value.as_deref(), opened.found, opened.damaged);
        assert_eq!(left, (Some("three\n3"), 2, 1), "{cut}");
    }
    // It is written over, and counts.
    let (mut pair, _) = open(&disk, "thing");
    pair.store(b"five").unwrap();
    assert_eq!(open(&disk, "thing").1.value.as_deref(), Some("five"));
    // Of another thing.
    for copy in 0..2 {
        let bytes = disk.read(&format!("thing.{copy}"), 1024).unwrap().unwrap();
        replace(&disk, &format!("other.{copy}"), &bytes);
    }
    let (_, other) = open(&disk, "other");
    assert_eq!((other.value, other.damaged), (None, 2));
}

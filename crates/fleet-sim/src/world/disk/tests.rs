//! Tests the disk's promises, and what it does where it promises nothing.

use std::collections::BTreeSet;
use std::io;

use ecowatt_vfs::{File as _, Files};

use super::*;

impl Disk {
    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        if self.exists(name)? { self.open(name, false)?.size().map(Some) } else { Ok(None) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state().rename(from, to)
    }

    fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|file| file.name).collect()
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.open(name, false)?.read_at(offset, buffer)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.open(name, true)?.write_at(offset, bytes)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.open(name, false)?.truncate(len)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.open(name, false)?.sync()
    }
}

fn read(disk: &Disk, name: &str) -> Vec<u8> {
    let Ok(file) = disk.open(name, false) else { return Vec::new() };
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// A disk with a durable file.
fn with_file(seed: u64, bytes: &[u8]) -> Disk {
    let disk = Disk::new(seed);
    disk.write_at("a", 0, bytes).unwrap();
    disk.sync("a").unwrap();
    Files::sync_names(&disk).unwrap();
    disk
}

#[test]
fn what_was_synced_outlasts_every_cut() {
    for seed in 0..200 {
        let disk = with_file(seed, b"durable");
        disk.write_at("a", 7, b" and more").unwrap();
        disk.restart();
        assert_eq!(&read(&disk, "a")[..7], b"durable");
        // What is left after a restart is durable.
        let left = read(&disk, "a");
        disk.restart();
        assert_eq!(read(&disk, "a"), left);
    }
}

#[test]
fn file_without_a_durable_name_may_be_gone_and_a_removed_one_may_be_back() {
    let mut found = BTreeSet::new();
    for seed in 0..200 {
        let disk = with_file(seed, b"old");
        Files::remove(&disk, "a").unwrap();
        disk.write_at("b", 0, b"new").unwrap();
        disk.sync("b").unwrap();
        disk.restart();
        let names: BTreeSet<String> = disk.names().into_iter().collect();
        for (name, contents) in [("a", b"old"), ("b", b"new")] {
            assert!(!names.contains(name) || read(&disk, name) == contents);
        }
        found.insert(names);
    }
    assert_eq!(found.len(), 4, "names are kept and lost independently: {found:?}");

    let disk = with_file(1, b"old");
    Files::remove(&disk, "a").unwrap();
    disk.write_at("a", 0, b"new").unwrap();
    Files::sync_names(&disk).unwrap();
    disk.restart_with(UnsyncedDamage::Lost);
    assert_eq!(read(&disk, "a"), b"", "the name has the other file");
}

#[test]
fn unsynced_writes_are_kept_lost_and_torn_in_any_order() {
    let (mut whole, mut none, mut first, mut second, mut torn) = (0, 0, 0, 0, 0);
    for seed in 0..2000 {
        let disk = with_file(seed, &[0; 4096]);
        disk.write_at("a", 0, &[1; 2048]).unwrap();
        disk.write_at("a", 2048, &[2; 2048]).unwrap();
        disk.restart();
        let left = read(&disk, "a");
        assert_eq!(left.len(), 4096);
        let (one, two) = left.split_at(2048);
        assert!(one.iter().all(|byte| *byte <= 1) && two.iter().all(|b| [0, 2].contains(b)));
        let all = |half: &[u8], byte| half.iter().all(|b| *b == byte);
        match (all(one, 1), all(one, 0), all(two, 2), all(two, 0)) {
            (true, _, true, _) => whole += 1,
            (_, true, _, true) => none += 1,
            (true, _, _, true) => first += 1,
            (_, true, true, _) => second += 1,
            _ => torn += 1,
        }
    }
    for (count, what) in
        [(whole, "whole"), (none, "none"), (first, "first"), (second, "second"), (torn, "torn")]
    {
        assert!(count > 50, "{what}: {count}");
    }
}

#[test]
fn bytes_outside_a_torn_write_never_change() {
    for seed in 0..500 {
        let disk = with_file(seed, &[7; 3000]);
        disk.write_at("a", 700, &[9; 1500]).unwrap();
        disk.restart_with(UnsyncedDamage::Mixed);
        let left = read(&disk, "a");
        assert_eq!(left.len(), 3000);
        assert!(left[..700].iter().chain(&left[2200..]).all(|byte| *byte == 7));
    }
}

#[test]
fn truncations_and_growth_are_undone_like_writes() {
    for (fate, expected) in
        [(UnsyncedDamage::Kept, b"abXY\0\0zz".to_vec()), (UnsyncedDamage::Lost, b"abcdef".to_vec())]
    {
        let disk = with_file(3, b"abcdef");
        disk.truncate("a", 2).unwrap();
        disk.write_at("a", 2, b"XY").unwrap();
        disk.truncate("a", 6).unwrap();
        disk.write_at("a", 6, b"zz").unwrap();
        assert_eq!(read(&disk, "a"), b"abXY\0\0zz");
        assert_eq!(disk.bytes(), 8);
        disk.restart_with(fate);
        assert_eq!(read(&disk, "a"), expected);
        assert_eq!(disk.bytes(), u64::try_from(expected.len()).unwrap());
    }
    // Everything left was written at some time, and the count of bytes is right.
    for seed in 0..500 {
        let disk = with_file(seed, b"abcdef");
        disk.truncate("a", 2).unwrap();
        disk.write_at("a", 10, b"XY").unwrap();
        disk.write_at("b", 0, b"b").unwrap();
        disk.truncate("b", 3).unwrap();
        disk.restart();
        assert_eq!(disk.bytes(), disk.bytes_of(""));
        assert_eq!(disk.bytes_of("a"), disk.len("a").unwrap().unwrap_or(0));
        assert!(read(&disk, "a").starts_with(b"ab"));
    }
}

#[test]
fn cut_falls_in_the_middle_of_the_operation_and_everything_fails_until_the_restart() {
    type Operation = fn(&Disk) -> io::Result<()>;
    let operations: [Operation; 5] = [
        |disk| disk.write_at("a", 0, b"later"),
        |disk| disk.truncate("a", 0),
        |disk| Files::remove(disk, "a"),
        |disk| disk.sync("a"),
        Files::sync_names,
    ];
    for (place, operation) in operations.iter().enumerate() {
        let mut left = BTreeSet::new();
        for seed in 0..100 {
            let disk = with_file(seed, b"first");
            disk.write_at("a", 5, b"!").unwrap();
            disk.cut_after(2);
            disk.write_at("b", 0, b"b").unwrap();
            assert!(!disk.is_off());
            operation(&disk).unwrap_err();
            assert!(disk.is_off());
            assert!(disk.list().is_err() && disk.read_at("a", 0, &mut [0]).is_err());
            assert!(disk.write_at("c", 0, b"c").is_err() && disk.sync("a").is_err());
            assert!(disk.open("a", true).is_err() && disk.exists("a").is_err());
            disk.restart();
            assert!(!disk.is_off());
            left.insert(read(&disk, "a"));
            let counts = disk.counts();
            let cuts = [
                counts.cuts_in_write,
                counts.cuts_in_truncate,
                counts.cuts_in_remove,
                counts.cuts_in_sync,
                counts.cuts_in_sync_names,
            ];
            assert_eq!((cuts[place], counts.cuts()), (1, 1));
        }
        assert!(left.contains(b"first!".as_slice()) && left.contains(b"first".as_slice()));
    }
}

#[test]
fn cut_within_a_write_leaves_as_many_bytes_as_told() {
    for bytes in 0..=5 {
        for fate in UnsyncedDamage::ALL {
            let disk = with_file(1, b"-----");
            disk.cut_within(1, bytes);
            disk.write_at("a", 0, b"later").unwrap_err();
            disk.restart_with(fate);
            assert_eq!(read(&disk, "a"), [&b"later"[..bytes], &b"-----"[bytes..]].concat());
        }
    }
}

#[test]
fn seed_decides_and_repeats() {
    let life = |seed| {
        let disk = with_file(seed, &[0; 10_000]);
        for i in 0..20u8 {
            let name = if i % 3 == 0 { "a" } else { "b" };
            disk.write_at(name, u64::from(i) * 333, &[i; 700]).unwrap();
        }
        disk.cut();
        let damage = disk.restart();
        (read(&disk, "a"), read(&disk, "b"), damage, disk.counts())
    };
    assert_eq!(life(5), life(5));
    assert_ne!(life(5), life(6));
    let disk = with_file(5, b"x");
    disk.write_at("a", 0, b"y").unwrap();
    let fork = disk.fork(9);
    disk.restart_with(UnsyncedDamage::Lost);
    fork.restart_with(UnsyncedDamage::Kept);
    assert_eq!((read(&disk, "a"), read(&fork, "a")), (b"x".to_vec(), b"y".to_vec()));
}

#[test]
fn death_of_a_process_keeps_what_was_written_but_not_durable() {
    let disk = with_file(1, b"x");
    disk.write_at("a", 0, b"y").unwrap();
    disk.cut();
    disk.restart_kept();
    assert_eq!(read(&disk, "a"), b"y");
    disk.restart_with(UnsyncedDamage::Lost);
    assert_eq!(read(&disk, "a"), b"x");
}

#[test]
fn full_disk_takes_what_fits() {
    let disk = with_file(1, b"1234");
    disk.set_room(Some(6));
    assert_eq!(disk.write_at("a", 2, b"abcdef").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(read(&disk, "a"), b"12abcd");
    disk.write_at("a", 0, b"within").unwrap();
    assert_eq!(disk.write_at("b", 0, b"b").unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.set_room(None);
    disk.write_at("a", 6, b"more").unwrap();
    assert_eq!((disk.bytes(), disk.counts().full), (10, 2));
}

#[test]
fn failing_disk_changes_nothing_and_makes_nothing_durable() {
    let disk = with_file(1, b"1234");
    disk.write_at("a", 0, b"x").unwrap();
    disk.set_failing(true);
    assert!(disk.write_at("a", 0, b"y").is_err() && disk.truncate("a", 0).is_err());
    assert!(
        Files::remove(&disk, "a").is_err()
            && disk.sync("a").is_err()
            && Files::sync_names(&disk).is_err()
    );
    assert!(disk.open("new", true).is_err());
    assert_eq!(read(&disk, "a"), b"x234");
    disk.set_failing(false);
    assert_eq!(disk.counts().failed, 6);
    disk.restart_with(UnsyncedDamage::Lost);
    assert_eq!(read(&disk, "a"), b"1234");
}

#[test]
fn file_that_sqlite_has_open_ends_with_the_power() {
    let disk = Disk::new(1);
    let file = disk.open("db", true).unwrap();
    file.write_at(0, b"page").unwrap();
    file.sync().unwrap();
    let fork = disk.fork(1);
    fork.restart_with(UnsyncedDamage::Lost);
    assert!(!fork.exists("db").unwrap(), "its name was not durable");
    ecowatt_vfs::Files::sync_names(&disk).unwrap();
    disk.open("db-wal", true).unwrap().write_at(0, b"frame").unwrap();
    disk.restart_with(UnsyncedDamage::Lost);
    assert_eq!((read(&disk, "db"), disk.exists("db-wal").unwrap()), (b"page".to_vec(), false));
    assert!(file.write_at(0, b"late").is_err(), "a restart closes open files");
    assert!(file.size().is_err() && file.read_at(0, &mut [0]).is_err());

    disk.open("db", false).unwrap().write_at(4, b"more").unwrap();
    assert_eq!(disk.open("other", false).unwrap_err().kind(), io::ErrorKind::NotFound);
    ecowatt_vfs::Files::remove(&disk, "db").unwrap();
    assert_eq!(disk.bytes(), 0);
}

#[test]
fn large_file_costs_its_size() {
    let disk = Disk::new(1);
    let page = [5; 4096];
    for i in 0..5000 {
        disk.write_at("db", i * 4096, &page).unwrap();
    }
    disk.sync("db").unwrap();
    let state = disk.state();
    let held: usize = state.files.values().map(Contents::held).sum();
    assert!(held < 5000 * 4096 * 5 / 4, "{held}");
}

#[test]
fn cells_that_were_half_written_are_changed_within_the_write_alone() {
    let mut garbled = 0;
    for seed in 0..500 {
        let disk = with_file(seed, &[7; 3000]).garbling(seed);
        disk.write_at("a", 700, &[9; 1500]).unwrap();
        let damage = disk.restart_with(UnsyncedDamage::Mixed);
        let left = read(&disk, "a");
        assert_eq!(left.len(), 3000);
        assert!(left[..700].iter().chain(&left[2200..]).all(|byte| *byte == 7));
        let changed = left[700..2200].iter().filter(|byte| ![7, 9].contains(*byte)).count();
        assert_eq!(changed > 0, damage.writes_garbled > 0);
        garbled += damage.writes_garbled;
    }
    assert!((100..250).contains(&garbled), "{garbled}");
}

/// A durable file of a little more than four sectors.
fn with_sectors() -> Disk {
    with_file(1, &[7; 2_100])
}

#[test]
fn unreadable_sector_costs_itself_until_it_is_written_anew() {
    let disk = with_sectors();
    assert_eq!(disk.lose_sector("a", 600), 512..1_024);
    let reads = |at: u64, len: usize| disk.read_at("a", at, &mut vec![0; len]).is_ok();
    assert!(!reads(0, 2_100) && !reads(511, 2) && !reads(1_023, 1));
    assert!(reads(0, 512) && reads(1_024, 1_076) && reads(600, 0));
    assert!(disk.write_at("a", 600, &[1; 10]).is_err(), "the rest of the sector is lost");
    disk.restart_with(UnsyncedDamage::Lost);
    assert!(!reads(600, 1), "a restart repairs nothing");
    disk.write_at("a", 500, &[1; 600]).unwrap();
    assert!(reads(0, 2_100));

    disk.lose_sector("a", 2_099);
    disk.truncate("a", 2_050).unwrap();
    assert!(!reads(2_049, 1));
    disk.truncate("a", 2_048).unwrap();
    disk.write_at("a", 2_048, &[2; 100]).unwrap();
    assert!(reads(0, 2_148));
    disk.lose_sector("a", 2_100);
    disk.write_at("a", 2_048, &[3; 100]).unwrap();
    assert!(reads(0, 2_148), "a write to the end of the file needs no old bytes");
    assert!(disk.files().iter().all(|file| !file.is_flawed));
    assert_eq!((disk.counts().sectors_lost, disk.counts().media_errors), (3, 6));
}

#[test]
fn rotted_bit_stays_through_every_cut_until_it_is_written_anew() {
    let disk = with_sectors();
    disk.rot("a", 9, 4);
    disk.rot("a", 9, 1);
    disk.restart_with(UnsyncedDamage::Lost);
    assert_eq!(read(&disk, "a")[8..11], [7, 2, 7]);
    assert_eq!(disk.pristine("a"), [7; 2_100]);
    disk.write_at("a", 0, &[5; 10]).unwrap();
    assert_eq!(disk.pristine("a")[8..11], [5, 5, 7]);
}

#[test]
fn closed_file_can_be_moved_and_removed() {
    let disk = with_sectors();
    disk.close("a", Inaccessible::Contents);
    assert!(disk.read_at("a", 0, &mut [0]).is_err() && disk.write_at("a", 0, &[1]).is_err());
    assert!(disk.truncate("a", 0).is_err() && disk.sync("a").is_err());
    assert_eq!(disk.len("a").unwrap(), Some(2_100));
    disk.rename("a", "b").unwrap();
    disk.write_at("a", 0, b"another").unwrap();
    assert_eq!(read(&disk, "a"), b"another");
    disk.close("b", Inaccessible::Everything);
    assert!(disk.len("b").is_err() && disk.names().contains(&"b".to_owned()));
    Files::remove(&disk, "b").unwrap();
}

#[test]
fn an_area_that_was_synced_outlasts_every_cut_and_one_that_was_set_aside_is_none() {
    let (area, other) = (Area::Segment(1), Area::Segment(2));
    for seed in 0..200 {
        let disk = Disk::new(seed);
        disk.append(area, b"durable").unwrap();
        Areas::sync(&disk, area).unwrap();
        disk.append(area, b" and more").unwrap();
        disk.restart();
        assert_eq!(&read(&disk, "spool-000000000001")[..7], b"durable");
        disk.append(other, b"x").unwrap();
        disk.erase(area).unwrap();
        Areas::sync(&disk, other).unwrap();
        disk.restart_with(UnsyncedDamage::Lost);
        assert_eq!(disk.list(), Ok(vec![other]));
        disk.set_aside(other).unwrap();
        disk.restart_with(UnsyncedDamage::Lost);
        assert_eq!((disk.list(), disk.files().len()), (Ok(vec![]), 1));
    }
}

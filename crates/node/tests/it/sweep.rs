//! Power cuts at every byte of every write of ledger, slots, draft and spool, also a second one
//! during recovery, with unsynced writes kept, lost, or there only as length.
//!
//! After each cut the storage starts again. Then no epoch, counter or batch id is used twice; every
//! sample that was durable is in exactly one batch, unless the batch was freed, or dropped because
//! the spool was full; there is no sample that was never taken.

use std::collections::{BTreeMap, BTreeSet};

use ecowatt_codec::{Batch as Table, CodecMemory, Decoder, TimeBase, encode, encoded_len_max};
use ecowatt_device::{Sample, Slot, limits};
use ecowatt_model::{BatchId, BootEpoch, Counter, Mark, Sequence, SourceNumber, StreamNumber};
use ecowatt_node::storage::{
    Areas, Batch, BatchRange, Dropped, Ledger, LedgerError, SendOrder, Storage, StorageError,
};

use crate::rig::disk::{Op, Platter, TestDisk, Unsynced};

pub(crate) const COLUMNS: usize = 4;
const MESSAGE_BYTES: usize = 8 * 1024;

/// Identifies a sample, and determines its words.
type Key = (u32, u8, u32);

/// What the storage has reported as durable, in order, each with the number of operations by then.
#[derive(Debug, Clone)]
enum Promise {
    Epoch(u32),
    Reserved(u64),
    Kept(u32),
    Drafted(Key),
    Persisted(BatchId, Vec<Key>, Vec<u8>),
    Freed(BatchId),
}

pub(crate) struct History<O> {
    pub(crate) ops: Vec<O>,
    promises: Vec<(usize, Promise)>,
    spool_bytes: u64,
}

fn stream(key: Key) -> StreamNumber {
    StreamNumber(1 + u16::from(key.1))
}

fn t_ms((epoch, source, ordinal): Key) -> i64 {
    i64::from(epoch) * 1_000_000_000 + i64::from(ordinal) * 5_000 + i64::from(source)
}

fn words((epoch, _, ordinal): Key) -> [u16; COLUMNS] {
    [0, 1, 2, 3]
        .map(|column| u16::try_from((epoch * 7919 + ordinal * 31 + column * 5) % 65_536).unwrap())
}

fn draft<D: Areas + Clone>(storage: &mut Storage<D>, key: Key) -> Result<(), StorageError> {
    storage.draft(&Sample {
        source: SourceNumber(key.1),
        stream: stream(key),
        ordinal: key.2,
        base: TimeBase::Unix,
        t_ms: t_ms(key),
        words: &words(key),
        marks: &[Mark::Read; COLUMNS],
    })
}

fn key(t_ms: i64) -> Key {
    let (epoch, rest) = (t_ms / 1_000_000_000, t_ms % 1_000_000_000);
    let source = u8::try_from(rest % 5_000).unwrap();
    (u32::try_from(epoch).unwrap(), source, u32::try_from(rest / 5_000).unwrap())
}

fn batch(id: BatchId, keys: &[Key], state: &mut CodecMemory<COLUMNS>) -> Batch {
    let times: Vec<i64> = keys.iter().map(|key| t_ms(*key)).collect();
    let words: Vec<u16> = keys.iter().flat_map(|key| words(*key)).collect();
    let table =
        Table { base: TimeBase::Unix, columns: COLUMNS, times: &times, words: &words, marks: None };
    let mut bytes = vec![0; encoded_len_max(keys.len(), COLUMNS)];
    let len = encode(&table, state, &mut bytes).unwrap();
    bytes.truncate(len);
    Batch {
        id,
        source: SourceNumber(keys[0].1),
        stream: stream(keys[0]),
        rows: u16::try_from(keys.len()).unwrap(),
        last_ordinal: keys.last().unwrap().2,
        bytes,
    }
}

fn keys(bytes: &[u8], state: &mut CodecMemory<COLUMNS>) -> Vec<Key> {
    let mut decoder = Decoder::new(bytes, state).unwrap();
    let (mut row, mut marks) = ([0; COLUMNS], [Mark::Read; COLUMNS]);
    let mut keys = Vec::new();
    while let Some(t_ms) = decoder.next_row(&mut row, &mut marks).unwrap() {
        let key = key(t_ms);
        assert_eq!(row, words(key), "words of {key:?}");
        keys.push(key);
    }
    keys
}

fn start<D: Areas + Clone>(disk: &D, spool_bytes: u64) -> (Storage<D>, u32) {
    let ledger = Ledger::open(disk.clone()).unwrap();
    let (storage, epoch, _) =
        Storage::start(ledger, disk.clone(), spool_bytes, MESSAGE_BYTES).unwrap();
    (storage, epoch.0)
}

/// All waiting batches, in the order of their ids.
fn waiting<D: Areas + Clone>(storage: &mut Storage<D>) -> Vec<Batch> {
    let mut batches: BTreeMap<BatchId, Batch> = BTreeMap::new();
    loop {
        // Messages hold 23 batches, so the batches of each offer are freed to see the next ones.
        let offer = storage.offer(SendOrder::BacklogOldestFirst, usize::MAX, &[]).unwrap();
        if offer.batches.is_empty() {
            return batches.into_values().collect();
        }
        let one = |batch: &Batch| BatchRange { first: batch.id, last: batch.id };
        let offered: Vec<_> = offer.batches.iter().map(one).collect();
        for batch in offer.batches {
            let id = batch.id;
            assert!(batches.insert(id, batch).is_none(), "{id} was freed and offered again");
        }
        storage.free(&offered).unwrap();
    }
}

/// Several epochs with two sources, uploads from time to time, and no orderly stop.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) epochs: u32,
    pub(crate) samples: u32,
    pub(crate) rows: usize,
    pub(crate) spool_bytes: u64,
    /// One of this many batches is acknowledged.
    pub(crate) freed_each: Option<u32>,
    /// The first source stops after this many samples.
    pub(crate) silent_after: u32,
}

impl Life {
    /// Long enough for every kind of operation, and short enough to cut the power at every byte.
    pub(crate) const SHORT: Self = Self {
        epochs: 3,
        samples: 10,
        rows: 4,
        spool_bytes: 64 * 1024,
        freed_each: Some(3),
        silent_after: u32::MAX,
    };
}

fn live(life: Life) -> History<Op> {
    live_on(life, &TestDisk::default(), TestDisk::op_count, TestDisk::ops)
}

/// Lives on a disk that records its operations.
pub(crate) fn live_on<D: Areas + Clone, O>(
    life: Life,
    disk: &D,
    op_count: impl Fn(&D) -> usize,
    ops: impl Fn(&D) -> Vec<O>,
) -> History<O> {
    let Life { epochs, samples, rows, spool_bytes, freed_each, silent_after } = life;
    let mut promises = Vec::new();
    let mut state = CodecMemory::new();
    for _ in 0..epochs {
        let (mut storage, epoch) = start(disk, spool_bytes);
        let mut promise = |promise| promises.push((op_count(disk), promise));
        promise(Promise::Epoch(epoch));
        let mut sequence = 0;
        let mut buffers: [Vec<Key>; 2] = [vec![], vec![]];
        for ordinal in 1..=samples {
            let first = u8::from(ordinal > silent_after);
            for source in first..2 {
                let key = (epoch, source, ordinal);
                draft(&mut storage, key).unwrap();
                promise(Promise::Drafted(key));
                let buffer = &mut buffers[usize::from(source)];
                buffer.push(key);
                if buffer.len() < rows + usize::from(source) {
                    continue;
                }
                sequence += 1;
                let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
                let batch = batch(id, buffer, &mut state);
                storage.persist(&batch).unwrap();
                promise(Promise::Persisted(id, std::mem::take(buffer), batch.bytes));
                if freed_each.is_some_and(|each| sequence % each == 0) {
                    // From here on the batch may be gone, and may be there again after a cut.
                    promise(Promise::Freed(id));
                    storage.free(&[BatchRange { first: id, last: id }]).unwrap();
                }
            }
            if ordinal % 8 == 1 {
                let limit = storage.ledger.record().reserved + 16;
                storage.ledger.reserve(Counter(limit)).unwrap();
                promise(Promise::Reserved(limit));
                let noted = u32::try_from(limit).unwrap();
                storage.keep(Slot::Sleep, &noted.to_be_bytes()).unwrap();
                promise(Promise::Kept(noted));
            }
        }
    }
    History { ops: ops(disk), promises, spool_bytes }
}

/// The place of each batch's record.
fn records(history: &History<Op>) -> BTreeMap<BatchId, (String, std::ops::Range<usize>)> {
    let mut places = BTreeMap::new();
    for (by, promise) in &history.promises {
        let Promise::Persisted(id, _, contents) = promise else { continue };
        let written = history.ops[..*by].iter().rev().find_map(|op| match op {
            Op::Append { name, offset, bytes }
                if name.starts_with("spool") && bytes.ends_with(contents) =>
            {
                Some((name.clone(), *offset..offset + bytes.len()))
            }
            _ => None,
        });
        places.insert(*id, written.unwrap());
    }
    places
}

/// A fault of the medium.
#[derive(Debug, Clone)]
enum Fault {
    /// These bytes cannot be read.
    Unreadable(String, std::ops::Range<usize>),
    /// Some bits of this byte have changed.
    Flipped(String, usize, u8),
}

/// Starts on a damaged disk: everything undamaged is delivered, and every other sample is reported.
fn check_damaged(
    platter: &Platter,
    fault: &Fault,
    history: &History<Op>,
    records: &BTreeMap<BatchId, (String, std::ops::Range<usize>)>,
    state: &mut CodecMemory<COLUMNS>,
) {
    let disk = TestDisk::holding(platter.clone());
    let (file, hit) = match fault.clone() {
        Fault::Unreadable(name, range) => {
            disk.set_bad(&name, range.clone());
            (name, range)
        }
        Fault::Flipped(name, at, bits) => {
            disk.flip(&name, at, bits);
            (name, at..at + 1)
        }
    };
    let (mut storage, epoch) = start(&disk, history.spool_bytes);
    let mut durable = BTreeSet::new();
    let mut lost_batches = BTreeSet::new();
    let mut noted = Vec::new();
    for (_, promise) in &history.promises {
        match promise {
            Promise::Epoch(used) => assert!(epoch > *used, "epoch {used} is used twice: {fault:?}"),
            Promise::Reserved(limit) => {
                assert!(storage.ledger.record().reserved >= *limit, "{fault:?}");
            }
            Promise::Kept(number) => noted.push(*number),
            Promise::Drafted(key) => assert!(durable.insert(*key)),
            Promise::Persisted(id, ..) => assert!(lost_batches.insert(*id)),
            Promise::Freed(_) => panic!("this history frees nothing"),
        }
    }
    // If a copy is damaged, the previous value counts.
    let steps_back = usize::from(file.starts_with("sleep."));
    let newest = noted.iter().rev().take(1 + steps_back);
    assert!(newest.copied().any(|n| Some(n) == kept_number(&storage)), "{fault:?}");
    let gaps = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
    let mut found = BTreeSet::new();
    for batch in waiting(&mut storage) {
        let is_known = lost_batches.remove(&batch.id);
        assert!(is_known || records.keys().all(|id| *id != batch.id), "{fault:?}");
        for key in keys(&batch.bytes, state) {
            assert!(durable.contains(&key) && found.insert(key), "{key:?} is wrong: {fault:?}");
        }
    }
    for id in &lost_batches {
        let (name, range) = &records[id];
        let is_hit = *name == file && range.start < hit.end && hit.start < range.end;
        assert!(is_hit, "{id} is lost and was not hit: {fault:?}");
        // If the last batches of an epoch are lost, its end is unknown: their samples are in the
        // gap of the first of them.
        let is_end = |gap: &&Dropped| gap.last.epoch == id.epoch && gap.batches == 1;
        let is_told = gaps.iter().any(|gap| gap.first <= *id && (*id <= gap.last || is_end(&gap)));
        assert!(is_told, "{id} is in no gap of {gaps:?}: {fault:?}");
    }
    let told: usize = gaps.iter().map(|gap| usize::try_from(gap.samples).unwrap()).sum();
    assert_eq!(told, durable.len() - found.len(), "{fault:?}: {gaps:?}");
    // The next start reports the same gaps.
    drop(storage);
    let (mut storage, _) = start(&disk, history.spool_bytes);
    let again = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
    assert_eq!(again, gaps, "{fault:?}");
    let id = BatchId { epoch: BootEpoch(epoch + 1), sequence: Sequence(1) };
    let key = (epoch + 1, 0, 1);
    draft(&mut storage, key).unwrap();
    storage.persist(&batch(id, &[key], state)).unwrap();
}

/// A life that leaves several segments, and samples in the journals.
fn damaged_life() -> History<Op> {
    live(Life {
        epochs: 2,
        samples: 201,
        rows: 4,
        spool_bytes: 64 * 1024,
        freed_each: None,
        silent_after: u32::MAX,
    })
}

fn left_by(history: &History<Op>) -> Platter {
    let mut platter = Platter::default();
    history.ops.iter().for_each(|op| platter.apply(op));
    platter
}

#[test]
fn an_unreadable_sector_costs_what_lies_in_it_and_is_told() {
    let history = damaged_life();
    let (records, platter, mut state) = (records(&history), left_by(&history), CodecMemory::new());
    let mut faults = 0;
    for (name, len) in platter.files() {
        for size in [512, 4096] {
            for start in (0..len).step_by(size) {
                let range = start..start + size;
                check_damaged(
                    &platter,
                    &Fault::Unreadable(name.clone(), range),
                    &history,
                    &records,
                    &mut state,
                );
                faults += 1;
            }
        }
    }
    println!("{faults} unreadable sectors");
    assert!(faults > 15);
}

#[test]
fn a_flipped_byte_costs_what_lies_in_it_and_is_told() {
    let history = damaged_life();
    let (records, platter, mut state) = (records(&history), left_by(&history), CodecMemory::new());
    let mut faults = 0;
    for (name, len) in platter.files() {
        // All bytes of the first records; every eleventh byte of the rest.
        for at in (0..len).filter(|at| *at < 300 || at % 11 == 0 || at + 60 > len) {
            let bits = u8::try_from(at % 7 + 1).unwrap();
            check_damaged(
                &platter,
                &Fault::Flipped(name.clone(), at, bits),
                &history,
                &records,
                &mut state,
            );
            faults += 1;
        }
    }
    println!("{faults} flipped bytes");
    assert!(faults > 1_000);
}

#[test]
fn a_file_that_cannot_be_read_or_written_stops_nothing() {
    let history = damaged_life();
    let (platter, mut state) = (left_by(&history), CodecMemory::new());
    let all = history.promises.iter().filter(|(_, p)| matches!(p, Promise::Drafted(_))).count();
    for (name, is_known) in
        platter.files().into_iter().flat_map(|(n, _)| [(n.clone(), true), (n, false)])
    {
        let disk = TestDisk::holding(platter.clone());
        match is_known {
            true => disk.set_dead(&name),
            false => disk.set_closed(&name),
        }
        disk.set_read_max(100);
        let (mut storage, epoch) = start(&disk, history.spool_bytes);
        let key = (epoch, 0, 1);
        draft(&mut storage, key).unwrap();
        let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(1) };
        storage.persist(&batch(id, &[key], &mut state)).unwrap();
        storage.ledger.reserve(Counter(1_000_000)).unwrap();
        let gaps = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
        let told: usize = gaps.iter().map(|gap| usize::try_from(gap.samples).unwrap()).sum();
        let waiting = waiting(&mut storage);
        let delivered: usize = waiting.iter().map(|batch| usize::from(batch.rows)).sum();
        if is_known || !name.starts_with("draft") {
            assert_eq!(delivered + told, all + 1, "{name}: {gaps:?}");
        } else {
            // The number of samples in the journal is unknown, but a loss is reported.
            assert!(told > 0 && delivered + told <= all + 1, "{name}: {gaps:?}");
        }
        assert!(told < all, "{name}");
    }
}

#[test]
fn a_segment_that_fails_while_it_is_written_stops_nothing_and_brings_nothing_back() {
    for is_known in [true, false] {
        let (disk, mut state) = (TestDisk::default(), CodecMemory::new());
        let (mut storage, epoch) = start(&disk, 1 << 20);
        let id = |sequence| BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
        let key = |ordinal| (epoch, 0, ordinal);
        storage.persist(&batch(id(1), &[key(1)], &mut state)).unwrap();
        // The record is on the disk although the write was reported as failed. Then the file fails
        // for good.
        disk.set_failing(true);
        storage.persist(&batch(id(2), &[key(2)], &mut state)).unwrap_err();
        disk.set_failing(false);
        let name = "spool-000000000001";
        if is_known {
            disk.set_dead(name)
        } else {
            disk.set_closed(name)
        }
        let longer = batch(id(2), &[key(2), key(3)], &mut state);
        storage.persist(&longer).unwrap();
        storage.persist(&batch(id(3), &[key(4)], &mut state)).unwrap();
        drop(storage);
        // Once the file can be read again, the later batch still counts.
        let disk = TestDisk::holding(disk.platter());
        let (mut storage, _) = start(&disk, 1 << 20);
        let waiting = waiting(&mut storage);
        let held: Vec<_> = waiting.iter().map(|b| (b.id, keys(&b.bytes, &mut state))).collect();
        let expected =
            [(id(1), vec![key(1)]), (id(2), vec![key(2), key(3)]), (id(3), vec![key(4)])];
        assert_eq!(held, expected);
    }
}

#[test]
fn a_segment_of_many_epochs_that_fails_is_told_once_and_is_over() {
    for is_known in [true, false] {
        let (disk, mut state) = (TestDisk::default(), CodecMemory::new());
        let mut taken = 0;
        for _ in 0..3 {
            let (mut storage, epoch) = start(&disk, 1 << 20);
            for sequence in 1..=4 {
                let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
                storage.persist(&batch(id, &[(epoch, 0, sequence)], &mut state)).unwrap();
                taken += 1;
            }
        }
        let (mut storage, _) = start(&disk, 1 << 20);
        assert_eq!(storage.report().batches, taken);
        let name = "spool-000000000001";
        if is_known {
            disk.set_dead(name)
        } else {
            disk.set_closed(name)
        }
        let mut told = 0;
        for _ in 0..12 {
            let Ok(offer) = storage.offer(SendOrder::BacklogOldestFirst, 1 << 20, &[]) else {
                continue;
            };
            assert_eq!(offer.batches, []);
            told += offer.dropped.iter().map(|gap| u64::from(gap.samples)).sum::<u64>();
            storage.drops_are_known(offer.dropped.len());
        }
        let report = storage.report();
        assert_eq!((told, report.batches, report.dropped_samples), (taken, 0, taken));
    }
}

#[test]
fn recovery_never_repeats_the_name_of_a_batch_that_was_destroyed() {
    let history = live(Life {
        epochs: 1,
        samples: 23,
        rows: 4,
        spool_bytes: 64 * 1024,
        freed_each: None,
        silent_after: u32::MAX,
    });
    let platter = left_by(&history);
    let named = records(&history);
    let segment = "spool-000000000001";
    let len = platter.files().into_iter().find(|(name, _)| name == segment).unwrap().1;
    let journals = [0, 1].map(|source| {
        let of = format!("draft-0000000001-{source}-{COLUMNS}-");
        platter.files().into_iter().find(|(name, _)| name.starts_with(&of)).unwrap().0
    });
    for how in ["last record", "end", "all", "dead", "closed", "gone"] {
        for marks in [&journals[..1], &journals[1..], &journals] {
            let disk = TestDisk::holding(platter.clone());
            match how {
                "last record" => disk.flip(segment, len - 1, 1),
                "end" => disk.set_bad(segment, len - 512..len),
                "all" => disk.set_bad(segment, 0..len),
                "dead" => disk.set_dead(segment),
                "closed" => disk.set_closed(segment),
                _ => disk.lose(segment),
            }
            // The journals' marks contain the last batches.
            marks.iter().for_each(|journal| disk.flip(journal, 9, 1));
            let (mut storage, _) = start(&disk, history.spool_bytes);
            let recovered = storage.take_recovered();
            assert_eq!(recovered.len(), 2, "{how}");
            for batch in recovered {
                assert!(!named.contains_key(&batch.id), "{how}: {} is named again", batch.id);
            }
        }
    }
}

#[test]
fn a_gap_that_a_full_disk_could_not_note_is_told_after_a_cut() {
    let mut drops = 0;
    for room in (0..6_000).step_by(97) {
        let disk = TestDisk::default();
        let (mut storage, epoch) = start(&disk, 32 * 1024);
        let id = |sequence| BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
        let mut next = 1;
        while storage.report().dropped_samples == 0 {
            storage.persist(&kilobyte(id(next))).unwrap();
            next += 1;
        }
        let before = storage.report().dropped_samples;
        disk.set_room(Some(disk.bytes() + room));
        for _ in 0..12 {
            // Succeeds when dropping the oldest segment has made room.
            next += u32::from(storage.persist(&kilobyte(id(next))).is_ok());
        }
        let dropped = storage.report().dropped_samples;
        drops += u32::from(dropped > before);
        drop(storage);
        disk.set_room(None);
        let (mut storage, _) = start(&disk, 32 * 1024);
        let gaps = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
        let told: u64 = gaps.iter().map(|gap| u64::from(gap.samples)).sum();
        assert_eq!(told, dropped, "with {room} bytes of room: {gaps:?}");
    }
    assert!(drops > 10, "{drops}");
}

/// Uses up an epoch and a block of counters, as each write of a ledger may.
fn give_out(ledger: &mut Ledger<TestDisk>) -> (u32, u64) {
    let limit = ledger.record().reserved + limits::COUNTERS_PER_RESERVATION;
    ledger.reserve(Counter(limit)).unwrap();
    (ledger.record().epoch, ledger.record().reserved)
}

#[test]
fn a_ledger_whose_newer_copy_is_lost_gives_nothing_out_twice() {
    let newer = |disk: &TestDisk| {
        // The newer copy: opened alone, it has the higher numbers.
        let given = |name: &&str| {
            let copy = TestDisk::holding(disk.platter());
            copy.lose(if *name == "ledger.0" { "ledger.1" } else { "ledger.0" });
            let ledger = Ledger::open(copy).unwrap();
            (ledger.record().reserved, ledger.record().epoch)
        };
        ["ledger.0", "ledger.1"].into_iter().max_by_key(given).unwrap()
    };
    for how in ["gone", "rotted", "closed"] {
        for writes in 1..=3 {
            let disk = TestDisk::default();
            let mut ledger = Ledger::open(disk.clone()).unwrap();
            ledger.start_epoch(None).unwrap();
            let mut given = give_out(&mut ledger);
            // Damaged once while the ledger is open, with writes after it, and once before it is
            // opened again.
            for _ in 0..2 {
                for _ in 0..writes {
                    given = give_out(&mut ledger);
                }
                let name = newer(&disk);
                match how {
                    "gone" => disk.lose(name),
                    "rotted" => disk.flip(name, disk.contents(name).unwrap().len() - 9, 1),
                    _ => disk.set_closed(name),
                }
            }
            let mut ledger = Ledger::open(disk.clone()).unwrap();
            assert!(ledger.record().reserved >= given.1, "{how} after {writes}");
            let epoch = ledger.start_epoch(None).unwrap();
            assert!(epoch.0 > given.0, "{how} after {writes}");
            // Both copies are sound again: each of them alone is enough.
            for name in ["ledger.0", "ledger.1"] {
                let copy = TestDisk::holding(disk.platter());
                copy.lose(name);
                let left = Ledger::open(copy).unwrap();
                assert!(left.record().epoch >= epoch.0, "{how} after {writes}: {name}");
            }
        }
    }
}

#[test]
fn a_ledger_of_which_both_copies_are_damaged_is_not_begun_anew() {
    for how in ["rotted", "gone and rotted", "cut"] {
        let disk = TestDisk::default();
        let mut ledger = Ledger::open(disk.clone()).unwrap();
        ledger.start_epoch(None).unwrap();
        disk.put("spool-000000000001", b"x");
        let copies = ["ledger.0", "ledger.1"];
        give_out(&mut ledger);
        match how {
            "rotted" => copies.iter().for_each(|name| disk.flip(name, 20, 1)),
            "cut" => {
                copies.iter().for_each(|name| disk.put(name, &disk.contents(name).unwrap()[..30]))
            }
            _ => {
                disk.lose(copies[0]);
                disk.flip(copies[1], 20, 1);
            }
        }
        let before = disk.platter().files();
        assert!(matches!(Ledger::open(disk.clone()), Err(LedgerError::Damaged)), "{how}");
        assert_eq!(disk.platter().files(), before, "{how}: nothing was touched");
    }
}

/// The number in a slot, which only grows in these lives.
fn kept_number<D: Areas + Clone>(storage: &Storage<D>) -> Option<u32> {
    storage.kept(Slot::Sleep).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
}

/// Starts on what a cut left, checks everything, and returns the operations of the start.
fn check(
    left: Platter,
    cut_at: usize,
    history: &History<Op>,
    state: &mut CodecMemory<COLUMNS>,
) -> Vec<Op> {
    check_on(&TestDisk::holding(left), TestDisk::ops, cut_at, history, state)
}

/// Like [`check`], on any disk.
pub(crate) fn check_on<D: Areas + Clone, O>(
    disk: &D,
    ops: impl FnOnce(&D) -> Vec<O>,
    cut_at: usize,
    history: &History<O>,
    state: &mut CodecMemory<COLUMNS>,
) -> Vec<O> {
    let (mut storage, epoch) = start(disk, history.spool_bytes);
    let recovery = ops(disk);
    let report = storage.report();
    let kept = history.promises.iter().take_while(|(by, _)| *by <= cut_at);

    let mut contents: BTreeMap<BatchId, &Vec<u8>> = BTreeMap::new();
    let (mut durable, mut freed) = (BTreeSet::new(), BTreeSet::new());
    let mut last: BTreeMap<BootEpoch, Sequence> = BTreeMap::new();
    let mut places: BTreeMap<Key, BatchId> = BTreeMap::new();
    for (_, promise) in kept {
        match promise {
            Promise::Epoch(used) => assert!(epoch > *used, "epoch {used} is used twice"),
            Promise::Reserved(limit) => assert!(storage.ledger.record().reserved >= *limit),
            Promise::Kept(noted) => assert!(kept_number(&storage) >= Some(*noted)),
            Promise::Drafted(key) => assert!(durable.insert(*key)),
            Promise::Persisted(id, keys, bytes) => {
                places.extend(keys.iter().map(|key| (*key, *id)));
                contents.insert(*id, bytes);
                last.insert(id.epoch, id.sequence);
            }
            Promise::Freed(id) => {
                let (_, promise) = history
                    .promises
                    .iter()
                    .find(|(_, p)| matches!(p, Promise::Persisted(other, _, _) if other == id))
                    .unwrap();
                if let Promise::Persisted(_, keys, _) = promise {
                    freed.extend(keys.iter().copied());
                }
            }
        }
    }
    let attempted: BTreeSet<Key> = history
        .promises
        .iter()
        .filter_map(|(_, promise)| match promise {
            Promise::Drafted(key) => Some(*key),
            _ => None,
        })
        .collect();

    let gaps = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
    let mut found = BTreeSet::new();
    for batch in waiting(&mut storage) {
        assert!(batch.id.epoch.0 < epoch, "{} is of the epoch that begins", batch.id);
        match contents.get(&batch.id) {
            Some(bytes) => assert_eq!(**bytes, batch.bytes, "{} has two contents", batch.id),
            None => assert!(
                Some(&batch.id.sequence) > last.get(&batch.id.epoch),
                "{} is another batch than before",
                batch.id
            ),
        }
        for key in keys(&batch.bytes, state) {
            assert!(attempted.contains(&key), "{key:?} was never taken");
            assert!(found.insert(key), "{key:?} is in two batches");
            let place = places.get(&key).copied().unwrap_or(batch.id);
            assert_eq!(place, batch.id, "{key:?} was in another batch before");
        }
    }
    let missing = durable.iter().filter(|key| !found.contains(key) && !freed.contains(key));
    // The server knows no gap yet, so all of them are offered.
    let is_in_gap = |id: &BatchId| gaps.iter().any(|gap| gap.first <= *id && *id <= gap.last);
    for key in missing.clone() {
        assert!(places.get(key).is_none_or(is_in_gap), "{key:?} is in no gap of {gaps:?}");
    }
    let missing = u64::try_from(missing.count()).unwrap();
    let told: u64 = gaps.iter().map(|gap| u64::from(gap.samples)).sum();
    assert_eq!(told, report.dropped_samples, "{gaps:?}, {report:?}");
    assert!(missing <= report.dropped_samples, "{missing} lost, {report:?}");
    if report.dropped_batches == 0 {
        assert_eq!(missing, 0);
    }
    // The new epoch works: its first sample and batch become durable.
    let key = (epoch, 0, 1);
    draft(&mut storage, key).unwrap();
    let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(1) };
    storage.persist(&batch(id, &[key], state)).unwrap();
    recovery
}

/// Durable samples that a damaged medium no longer has, and those that are reported as lost.
pub(crate) struct Losses {
    pub(crate) missing: usize,
    pub(crate) told: usize,
}

/// Starts on a damaged medium after a history that frees nothing, and checks what no damage may
/// cause: that a number is used twice, or that a sample is there twice or was never taken.
pub(crate) fn losses_on<D: Areas + Clone, O>(
    disk: &D,
    history: &History<O>,
    state: &mut CodecMemory<COLUMNS>,
) -> Losses {
    let (mut storage, epoch) = start(disk, history.spool_bytes);
    let (mut durable, mut noted) = (BTreeSet::new(), Vec::new());
    for (_, promise) in &history.promises {
        match promise {
            Promise::Epoch(used) => assert!(epoch > *used, "epoch {used} is used twice"),
            Promise::Reserved(limit) => assert!(storage.ledger.record().reserved >= *limit),
            Promise::Kept(number) => noted.push(*number),
            Promise::Drafted(key) => assert!(durable.insert(*key)),
            Promise::Persisted(..) => {}
            Promise::Freed(_) => panic!("this history frees nothing"),
        }
    }
    // If a copy is damaged, the previous value counts.
    let kept = kept_number(&storage);
    assert!(noted.iter().rev().take(2).any(|number| Some(*number) == kept), "{kept:?}");
    let gaps = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
    let mut found = BTreeSet::new();
    for batch in waiting(&mut storage) {
        for key in keys(&batch.bytes, state) {
            assert!(durable.contains(&key) && found.insert(key), "{key:?} is wrong");
        }
    }
    let key = (epoch, 0, 1);
    draft(&mut storage, key).unwrap();
    let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(1) };
    storage.persist(&batch(id, &[key], state)).unwrap();
    let told = gaps.iter().map(|gap| usize::try_from(gap.samples).unwrap()).sum();
    Losses { missing: durable.len() - found.len(), told }
}

/// Cuts a history wherever `is_cut_at(operation, byte)` is true; returns the numbers of first and
/// second cuts.
fn sweep(
    history: &History<Op>,
    is_cut_at: impl Fn(&Op, usize) -> bool,
    is_cut_again: impl Fn(usize) -> bool,
) -> (usize, usize) {
    let mut state = CodecMemory::new();
    let (mut cuts, mut second_cuts) = (0, 0);
    let mut platter = Platter::default();
    for (at, op) in history.ops.iter().enumerate() {
        for byte in (0..op.cuts()).filter(|byte| is_cut_at(op, *byte)) {
            for unsynced in Unsynced::ALL {
                cuts += 1;
                let left = platter.cut(op, byte, unsynced);
                let recovery = check(left.clone(), at, history, &mut state);
                if !is_cut_again(cuts) {
                    continue;
                }
                let mut again = left;
                for op in &recovery {
                    for byte in 0..op.cuts() {
                        for unsynced in Unsynced::ALL {
                            second_cuts += 1;
                            check(again.cut(op, byte, unsynced), at, history, &mut state);
                        }
                    }
                    again.apply(op);
                }
            }
        }
        platter.apply(op);
    }
    (cuts, second_cuts)
}

#[test]
fn a_cut_at_any_byte_loses_and_doubles_nothing() {
    let history = live(Life::SHORT);
    let (cuts, second_cuts) = sweep(&history, |_, _| true, |cut| cut % 450 == 1);
    println!("{cuts} cuts, {second_cuts} more during recovery");
    assert!(cuts > 5_000 && second_cuts > 10_000);
}

#[test]
fn a_cut_while_a_full_spool_drops_its_oldest_is_survived() {
    // With many rows in a batch, the smallest spool fills several times.
    let history = live(Life {
        epochs: 2,
        samples: 1_600,
        rows: 80,
        spool_bytes: 32 * 1024,
        freed_each: None,
        silent_after: u32::MAX,
    });
    let near_an_end = |op: &Op, byte: usize| match op {
        Op::Append { name, bytes, .. } if name.starts_with("spool") => {
            byte < 2 || byte == bytes.len() / 2
        }
        Op::Append { bytes, .. } => byte == bytes.len() / 2 && bytes[0] % 31 == 0,
        _ => !matches!(op, Op::Sync(name) if name.starts_with("draft")),
    };
    let (cuts, _) = sweep(&history, near_an_end, |_| false);
    println!("{cuts} cuts around a full spool");
    assert!(cuts > 500);
}

/// A batch of ten samples that takes a kilobyte.
fn kilobyte(id: BatchId) -> Batch {
    Batch {
        id,
        source: SourceNumber(0),
        stream: StreamNumber(1),
        rows: 10,
        last_ordinal: id.sequence.0 * 10,
        bytes: vec![0; 1_000],
    }
}

#[test]
fn a_gap_is_told_after_the_segment_that_told_of_it_was_dropped_too() {
    let (disk, spool_bytes) = (TestDisk::default(), 32 * 1024);
    let (mut storage, epoch) = start(&disk, spool_bytes);
    let id = |sequence| BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
    // Six times the capacity of the spool.
    for sequence in 1..=200 {
        storage.persist(&kilobyte(id(sequence))).unwrap();
    }
    let told = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
    let report = storage.report();
    assert_eq!((told.len(), told[0].first), (1, id(1)));
    assert_eq!(u64::from(told[0].samples), report.dropped_samples);
    drop(storage);
    let (mut storage, _) = start(&disk, spool_bytes);
    assert_eq!(storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped, told);
    assert_eq!(storage.report().dropped_samples, report.dropped_samples);
}

#[test]
fn the_gaps_of_many_starts_in_one_outage_are_all_told() {
    let (disk, spool_bytes) = (TestDisk::default(), 32 * 1024);
    for _ in 0..40 {
        let (mut storage, epoch) = start(&disk, spool_bytes);
        // More than the capacity of the spool, so that some batches of every epoch are dropped.
        for sequence in 1..=40 {
            let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
            storage.persist(&kilobyte(id)).unwrap();
        }
    }
    let (mut storage, _) = start(&disk, spool_bytes);
    let dropped = storage.report().dropped_samples;
    let mut told = Vec::new();
    loop {
        let gaps = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
        if gaps.is_empty() {
            break;
        }
        assert!(gaps.len() <= ecowatt_wire::ITEMS_MAX);
        storage.drops_are_known(gaps.len());
        told.extend(gaps);
    }
    assert_eq!(told.len(), 40, "{told:?}");
    assert_eq!(told.iter().map(|gap| u64::from(gap.samples)).sum::<u64>(), dropped);
}

#[test]
fn what_was_freed_long_ago_does_not_come_back_from_the_draft() {
    // The draft of a source that stops is emptied and never written again. A cut may bring its
    // samples back after their batch and its segment are gone.
    let history = live(Life {
        epochs: 1,
        samples: 600,
        rows: 4,
        spool_bytes: 64 * 1024,
        freed_each: Some(1),
        silent_after: 4,
    });
    let is_late = |op: &Op, _| matches!(op, Op::Erase(_));
    let (cuts, _) = sweep(&history, is_late, |_| false);
    assert!(cuts > 0);
}

#[test]
fn a_full_disk_refuses_and_forgets_nothing() {
    let disk = TestDisk::default();
    let mut state = CodecMemory::new();
    let (mut storage, epoch) = start(&disk, 64 * 1024);
    let mut refused = 0;
    let mut durable = BTreeSet::new();
    let mut buffer = Vec::new();
    let mut sequence = 1;
    for ordinal in 1..=400 {
        if ordinal == 100 {
            disk.set_room(Some(disk.bytes() + 700));
        }
        if ordinal == 300 {
            disk.set_room(None);
        }
        let key = (epoch, 0, ordinal);
        match draft(&mut storage, key) {
            Ok(()) => {
                durable.insert(key);
            }
            Err(_) => refused += 1,
        }
        buffer.push(key);
        if buffer.len() >= 10 {
            let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
            if storage.persist(&batch(id, &buffer, &mut state)).is_ok() {
                sequence += 1;
                durable.extend(buffer.drain(..));
            }
        }
    }
    assert!(refused > 50, "{refused}");
    drop(storage);
    let (mut storage, _) = start(&disk, 64 * 1024);
    let found: Vec<Key> =
        waiting(&mut storage).iter().flat_map(|batch| keys(&batch.bytes, &mut state)).collect();
    assert_eq!(found, (1..=400).map(|ordinal| (epoch, 0, ordinal)).collect::<Vec<_>>());
    assert_eq!(durable.len(), 400);
}

#[test]
fn what_is_dropped_on_a_full_disk_is_noted_once_there_is_room() {
    let spool_bytes = 32 * 1024;
    let id = |sequence| BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) };
    let fill = |disk: &TestDisk, (batches, len): (u32, usize)| {
        let (mut storage, _) = start(disk, spool_bytes);
        for sequence in 1..=batches {
            storage.persist(&Batch { bytes: vec![0; len], ..kilobyte(id(sequence)) }).unwrap();
        }
        storage
    };
    // At any place in a segment.
    for len in (400..1_000).step_by(50) {
        let dropped = |batches| fill(&TestDisk::default(), (batches, len)).report().dropped_batches;
        let one_too_many = (1..).find(|batches| dropped(*batches) > 0).unwrap();
        let disk = TestDisk::default();
        let mut storage = fill(&disk, (one_too_many - 1, len));
        // There is no room for the record of the gap.
        disk.set_room(Some(disk.bytes()));
        let batch = |len| Batch { bytes: vec![0; len], ..kilobyte(id(one_too_many)) };
        storage.persist(&batch(len)).unwrap_err();
        disk.set_room(None);
        storage.persist(&batch(10)).unwrap();
        let report = storage.report();
        assert!(report.dropped_batches > 0);
        drop(storage);
        let (mut storage, _) = start(&disk, spool_bytes);
        let told = storage.offer(SendOrder::BacklogOldestFirst, 0, &[]).unwrap().dropped;
        let told: u64 = told.iter().map(|gap| u64::from(gap.samples)).sum();
        assert_eq!(told, report.dropped_samples, "batches of {len} bytes");
    }
}

#[test]
fn what_a_batch_does_not_hold_stays_in_the_draft() {
    let disk = TestDisk::default();
    let mut state = CodecMemory::new();
    let (mut storage, epoch) = start(&disk, 64 * 1024);
    let all: Vec<Key> = (1..=10).map(|ordinal| (epoch, 0, ordinal)).collect();
    for key in &all {
        draft(&mut storage, *key).unwrap();
    }
    let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(1) };
    storage.persist(&batch(id, &all[..4], &mut state)).unwrap();
    let (mut storage, _) = start(&disk, 64 * 1024);
    let [recovered] = storage.take_recovered()[..] else { panic!("not one batch") };
    assert_eq!((recovered.rows, recovered.last_ordinal), (6, 10));
    let found: Vec<Key> =
        waiting(&mut storage).iter().flat_map(|batch| keys(&batch.bytes, &mut state)).collect();
    assert_eq!(found, all);
}

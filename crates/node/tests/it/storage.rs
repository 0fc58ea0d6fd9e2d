//! The limits of storage: batches of every size, and any number of layouts.

use ecowatt_codec::TimeBase;
use ecowatt_device::{Sample, batch_bytes_max};
use ecowatt_model::{BatchId, BootEpoch, Mark, Sequence, SourceNumber, StreamNumber};
use ecowatt_node::storage::{Batch, Ledger, Order, Storage, spool_bytes_min};

use crate::disk::TestDisk;

const MESSAGE_BYTES: usize = 8 * 1024;

fn start(disk: &TestDisk, spool_bytes: u64) -> Storage<TestDisk> {
    let ledger = Ledger::open(disk.clone()).unwrap();
    Storage::start(ledger, disk.clone(), spool_bytes, MESSAGE_BYTES).unwrap().0
}

fn id(epoch: u32, sequence: u32) -> BatchId {
    BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) }
}

/// A batch of two samples with this many bytes.
fn sized(id: BatchId, stream: StreamNumber, bytes: usize) -> Batch {
    Batch {
        id,
        source: SourceNumber(0),
        stream,
        rows: 2,
        last_ordinal: 2 * id.sequence.0,
        bytes: vec![u8::try_from(id.sequence.0 % 251).unwrap(); bytes],
    }
}

/// Takes all batches, message by message, and acknowledges each.
fn delivered(storage: &mut Storage<TestDisk>, order: Order, bytes_max: usize) -> Vec<BatchId> {
    let mut all = Vec::new();
    loop {
        let offer = storage.offer(order, bytes_max, &[]).unwrap();
        if offer.batches.is_empty() {
            return all;
        }
        let ids: Vec<_> = offer.batches.iter().map(|batch| batch.id).collect();
        storage.free(&ids.iter().map(|id| (*id, *id)).collect::<Vec<_>>()).unwrap();
        all.extend(ids);
    }
}

#[test]
fn batches_that_no_message_has_room_for_hold_up_none_and_are_told() {
    let most = batch_bytes_max(MESSAGE_BYTES);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for large in [&[1][..], &[3], &[7], &[1, 2, 7], &[1, 2, 3, 4, 5, 6, 7]] {
            let disk = TestDisk::default();
            let mut storage = start(&disk, 1 << 20);
            for sequence in 1..=7 {
                // Too large, as after `upload.message` was lowered.
                let bytes = if large.contains(&sequence) { most + 1 } else { most };
                storage.persist(&sized(id(1, sequence), StreamNumber(1), bytes)).unwrap();
            }
            let mut sent = delivered(&mut storage, order, MESSAGE_BYTES);
            sent.sort_unstable();
            let fitting = (1..=7).filter(|sequence| !large.contains(sequence));
            assert_eq!(sent, fitting.map(|s| id(1, s)).collect::<Vec<_>>(), "{order:?} {large:?}");
            let gaps = storage.offer(order, MESSAGE_BYTES, &[]).unwrap().dropped;
            for sequence in 1..=7 {
                let its = id(1, sequence);
                let is_told = gaps.iter().any(|gap| gap.first <= its && its <= gap.last);
                assert_eq!(is_told, large.contains(&sequence), "{order:?} {large:?}: {gaps:?}");
            }
            let told: u32 = gaps.iter().map(|gap| gap.samples).sum();
            assert_eq!(told, 2 * u32::try_from(large.len()).unwrap());
            assert_eq!(storage.report().batches, 0);
            // The storage still works, and a start brings nothing back.
            drop(storage);
            let mut storage = start(&disk, 1 << 20);
            storage.persist(&sized(id(2, 1), StreamNumber(1), 10)).unwrap();
            assert_eq!(delivered(&mut storage, order, MESSAGE_BYTES), [id(2, 1)]);
        }
    }
}

#[test]
fn the_least_limit_has_room_for_the_largest_batch() {
    let largest = batch_bytes_max(MESSAGE_BYTES);
    let disk = TestDisk::default();
    let mut storage = start(&disk, spool_bytes_min(largest));
    for sequence in 1..=12 {
        storage.persist(&sized(id(1, sequence), StreamNumber(1), largest)).unwrap();
        assert!(storage.report().bytes <= spool_bytes_min(largest));
    }
    // A batch without room is refused with an error and does not block later ones.
    storage.persist(&sized(id(1, 13), StreamNumber(1), 4 * largest)).unwrap_err();
    storage.persist(&sized(id(1, 13), StreamNumber(1), largest)).unwrap();
    let report = storage.report();
    assert!(report.batches >= 2 && report.batches + report.dropped_batches == 13, "{report:?}");
    assert_eq!(delivered(&mut storage, Order::NewestFirst, largest)[0], id(1, 13));
}

#[test]
fn layouts_that_batches_wait_for_are_kept_however_many_follow() {
    let disk = TestDisk::default();
    let source = SourceNumber(0);
    let layout = |number: u32| format!("layout {number}").into_bytes();
    // More layouts than are remembered without need; batches wait for every fifth.
    let (layouts, mut streams) = (1..=200u32, Vec::new());
    let mut storage = start(&disk, 1 << 20);
    for number in layouts.clone() {
        let (stream, is_first) = storage.stream(source, &layout(number)).unwrap();
        assert!(is_first && !streams.contains(&stream));
        streams.push(stream);
        if number % 5 == 1 {
            storage.persist(&sized(id(1, number / 5 + 1), stream, 10)).unwrap();
        }
    }
    drop(storage);
    let mut storage = start(&disk, 1 << 20);
    storage.forget_layouts(&[]);
    for (number, stream) in layouts.clone().zip(&streams).filter(|(number, _)| number % 5 == 1) {
        let offer = storage.offer_no_batches(&[*stream]).unwrap();
        assert_eq!(offer.layouts, [(*stream, source, layout(number))]);
    }
    let sent = delivered(&mut storage, Order::OldestFirst, MESSAGE_BYTES);
    assert_eq!(sent.len(), 40);
    assert_eq!(storage.offer(Order::OldestFirst, 1, &[]).unwrap().dropped, []);
    // Then the layouts are erased, except those that the ledger remembers; one that returns later
    // gets another number.
    drop(storage);
    let mut storage = start(&disk, 1 << 20);
    storage.forget_layouts(&[]);
    let left = |disk: &TestDisk| {
        disk.platter().files().iter().filter(|(name, _)| name.starts_with("layout")).count()
    };
    assert_eq!(left(&disk), 0);
    let (again, is_first) = storage.stream(source, &layout(2)).unwrap();
    assert!(is_first && !streams.contains(&again));
    let (known, is_first) = storage.stream(source, &layout(200)).unwrap();
    assert_eq!((known, is_first), (streams[199], false));
    assert_eq!(left(&disk), 2);
}

/// A power cut may bring back the name of an erased journal, whose samples the server has. Nothing
/// but the next journal tells that then, if the spool is lost.
#[test]
fn a_journal_that_comes_back_is_recovered_only_without_a_later_one() {
    type Damage = fn(&TestDisk, &str);
    let lost: [(Damage, bool); 5] = [
        (|_, _| {}, false),
        (|disk, next| disk.set_bad(next, 0..8), false),
        (|disk, next| disk.flip(next, 6, 1), false),
        (|disk, next| disk.set_closed(next), false),
        // The power went while it was written, and samples that no batch has are only in the former.
        (|disk, next| disk.put(next, &[0; 5]), true),
    ];
    for (number, (damage, is_recovered)) in lost.into_iter().enumerate() {
        let disk = TestDisk::default();
        let mut storage = start(&disk, 1 << 20);
        for ordinal in 1..=2 {
            let (source, stream) = (SourceNumber(0), StreamNumber(1));
            let (t_ms, base) = (i64::from(ordinal) * 1_000, TimeBase::Unix);
            let (words, marks) = (&[7][..], &[Mark::Read][..]);
            storage.draft(&Sample { source, stream, ordinal, base, t_ms, words, marks }).unwrap();
        }
        let file = |of: &str| {
            let mut files = disk.platter().files().into_iter().map(|(name, _)| name);
            files.find(|name| name.starts_with(of)).unwrap()
        };
        let former = file("draft");
        let samples = disk.contents(&former).unwrap();
        storage.persist(&sized(id(1, 1), StreamNumber(1), 10)).unwrap();
        assert_eq!(delivered(&mut storage, Order::OldestFirst, MESSAGE_BYTES), [id(1, 1)]);
        drop(storage);

        damage(&disk, &file("draft"));
        disk.put(&former, &samples);
        disk.lose(&file("spool"));
        let mut storage = start(&disk, 1 << 20);
        storage.persist(&sized(id(2, 1), StreamNumber(1), 10)).unwrap();
        let recovered: u16 = storage.take_recovered().iter().map(|batch| batch.rows).sum();
        assert_eq!(recovered, if is_recovered { 2 } else { 0 }, "{number}");
    }
}

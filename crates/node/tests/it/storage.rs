//! The limits of storage: batches of every size, and any number of layouts.

use ecowatt_codec::TimeBase;
use ecowatt_device::{Sample, batch_bytes_max};
use ecowatt_model::{BatchId, BootEpoch, Mark, Sequence, SourceNumber, StreamNumber};
use ecowatt_node::storage::{
    Batch, BatchRange, Ledger, SendOrder, Storage, StreamLayout, spool_bytes_min,
};

use crate::rig::disk::{Op, TestDisk, Unsynced};

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
fn delivered(storage: &mut Storage<TestDisk>, order: SendOrder, bytes_max: usize) -> Vec<BatchId> {
    let mut all = Vec::new();
    loop {
        let offer = storage.offer(order, bytes_max, &[]).unwrap();
        if offer.batches.is_empty() {
            return all;
        }
        let ids: Vec<_> = offer.batches.iter().map(|batch| batch.id).collect();
        storage
            .free(&ids.iter().map(|id| BatchRange { first: *id, last: *id }).collect::<Vec<_>>())
            .unwrap();
        all.extend(ids);
    }
}

#[test]
fn batches_that_no_message_has_room_for_hold_up_none_and_are_told() {
    let most = batch_bytes_max(MESSAGE_BYTES);
    for order in [SendOrder::BacklogOldestFirst, SendOrder::BacklogNewestFirst] {
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
    assert_eq!(delivered(&mut storage, SendOrder::BacklogNewestFirst, largest)[0], id(1, 13));
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
        assert_eq!(
            offer.layouts,
            [StreamLayout { number: *stream, source, bytes: layout(number) }]
        );
    }
    let sent = delivered(&mut storage, SendOrder::BacklogOldestFirst, MESSAGE_BYTES);
    assert_eq!(sent.len(), 40);
    assert_eq!(storage.offer(SendOrder::BacklogOldestFirst, 1, &[]).unwrap().dropped, []);
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

fn sample(storage: &mut Storage<TestDisk>, ordinal: u32) {
    let (source, stream) = (SourceNumber(0), StreamNumber(1));
    let (t_ms, base) = (i64::from(ordinal) * 1_000, TimeBase::Unix);
    let (words, marks) = (&[7][..], &[Mark::Read][..]);
    storage.draft(&Sample { source, stream, ordinal, base, t_ms, words, marks }).unwrap();
}

fn names(disk: &TestDisk, of: &str) -> Vec<String> {
    let files = disk.platter().files().into_iter().map(|(name, _)| name);
    files.filter(|name| name.starts_with(of)).collect()
}

/// A power cut may bring back the name of an erased journal. If the spool is lost as well, and the
/// next journal's mark, nothing tells that its samples are in a batch. So it must be gone for good
/// before the batch is sent.
#[test]
fn a_journal_that_comes_back_has_no_sample_that_was_sent() {
    type Damage = fn(&TestDisk, &str);
    // How many samples a start puts into batches again, if their batch was never sent.
    let damages: [(Damage, u16); 5] = [
        // The mark tells that they were in a batch, which is a gap.
        (|_, _| {}, 0),
        (|disk, next| disk.set_bad(next, 0..8), 2),
        (|disk, next| disk.flip(next, 6, 1), 2),
        (|disk, next| disk.set_closed(next), 2),
        (|disk, next| disk.put(next, &[0; 5]), 2),
    ];
    for (number, (damage, unsent)) in damages.into_iter().enumerate() {
        for is_sent in [false, true] {
            let disk = TestDisk::default();
            let mut storage = start(&disk, 1 << 20);
            sample(&mut storage, 1);
            sample(&mut storage, 2);
            storage.persist(&sized(id(1, 1), StreamNumber(1), 10)).unwrap();
            if is_sent {
                assert_eq!(
                    delivered(&mut storage, SendOrder::BacklogOldestFirst, MESSAGE_BYTES),
                    [id(1, 1)]
                );
            }
            drop(storage);

            let disk = TestDisk::holding(disk.platter().cut(&Op::Settle, 0, Unsynced::Lost));
            let journals = names(&disk, "draft");
            assert_eq!(journals.len(), if is_sent { 1 } else { 2 }, "{journals:?}");
            damage(&disk, journals.last().unwrap());
            names(&disk, "spool").iter().for_each(|segment| disk.lose(segment));
            let mut storage = start(&disk, 1 << 20);
            storage.persist(&sized(id(2, 1), StreamNumber(1), 10)).unwrap();
            let recovered: u16 = storage.take_recovered().iter().map(|batch| batch.rows).sum();
            assert_eq!(recovered, if is_sent { 0 } else { unsent }, "{number}");
        }
    }
}

/// The medium may lose what the spool knows of a batch after it was sent and freed. Samples that are
/// still in a journal then would be put into a batch again.
#[test]
fn a_batch_is_not_sent_while_a_journal_has_its_samples() {
    let sent = |storage: &mut Storage<TestDisk>| {
        let offer = storage.offer(SendOrder::BacklogOldestFirst, MESSAGE_BYTES, &[]).unwrap();
        offer.batches.iter().map(|batch| batch.id).collect::<Vec<_>>()
    };
    let disk = TestDisk::default();
    let mut storage = start(&disk, 1 << 20);
    storage.persist(&sized(id(1, 1), StreamNumber(1), 10)).unwrap();
    assert_eq!(sent(&mut storage), [id(1, 1)]);
    // Sample 5 is in no batch, so the journal continues, and there is no room for that.
    (3..=5).for_each(|ordinal| sample(&mut storage, ordinal));
    disk.set_full(Some("draft"));
    storage.persist(&Batch { last_ordinal: 4, ..sized(id(1, 2), StreamNumber(1), 10) }).unwrap();
    assert_eq!(sent(&mut storage), [id(1, 1)], "the journal has samples 3 and 4");
    disk.set_full(None);
    assert_eq!(sent(&mut storage), [id(1, 2), id(1, 1)]);

    // Without such a sample the journal only ends, which needs no room.
    disk.set_full(Some("draft"));
    storage.persist(&Batch { last_ordinal: 6, ..sized(id(1, 3), StreamNumber(1), 10) }).unwrap();
    assert_eq!(sent(&mut storage), [id(1, 3), id(1, 1), id(1, 2)]);
    disk.set_full(None);
    sample(&mut storage, 7);
    drop(storage);
    names(&disk, "spool").iter().for_each(|segment| disk.lose(segment));
    let mut storage = start(&disk, 1 << 20);
    storage.persist(&sized(id(2, 1), StreamNumber(1), 10)).unwrap();
    let recovered: u16 = storage.take_recovered().iter().map(|batch| batch.rows).sum();
    assert_eq!(recovered, 1, "sample 7 alone is in no batch");
}

/// As above, for samples that an earlier epoch left.
#[test]
fn a_recovered_batch_is_not_sent_while_its_journal_is_there() {
    let disk = TestDisk::default();
    let mut storage = start(&disk, 1 << 20);
    storage.persist(&sized(id(1, 1), StreamNumber(1), 10)).unwrap();
    (3..=4).for_each(|ordinal| sample(&mut storage, ordinal));
    drop(storage);
    // There is no room for a batch of the samples, but the one before them can be sent.
    disk.set_full(Some("spool"));
    let mut storage = start(&disk, 1 << 20);
    let offer = |storage: &mut Storage<TestDisk>| {
        let offer = storage.offer(SendOrder::BacklogOldestFirst, MESSAGE_BYTES, &[]).unwrap();
        offer.batches.iter().map(|batch| batch.rows).collect::<Vec<_>>()
    };
    assert_eq!(offer(&mut storage), [2]);
    disk.set_full(None);
    assert_eq!(offer(&mut storage), [2, 2], "recovery is tried again before each message");
    assert_eq!(names(&disk, "draft").len(), 0);
}

/// No later batch shows what the end of the spool held when it rots; the next journal does.
#[test]
fn a_recovered_batch_that_rots_before_the_next_one_is_a_gap() {
    let disk = TestDisk::default();
    let mut storage = start(&disk, 1 << 20);
    storage.persist(&sized(id(1, 1), StreamNumber(1), 10)).unwrap();
    (3..=5).for_each(|ordinal| sample(&mut storage, ordinal));
    drop(storage);
    let mut storage = start(&disk, 1 << 20);
    let recovered: u16 = storage.take_recovered().iter().map(|batch| batch.rows).sum();
    assert_eq!(recovered, 3);
    sample(&mut storage, 1);
    drop(storage);
    let segment = names(&disk, "spool").pop().unwrap();
    disk.flip(&segment, disk.contents(&segment).unwrap().len() - 4, 1);
    let mut storage = start(&disk, 1 << 20);
    let offer = storage.offer(SendOrder::BacklogOldestFirst, MESSAGE_BYTES, &[]).unwrap();
    let lost: u32 = offer.dropped.iter().map(|gap| gap.samples).sum();
    assert_eq!(lost, 3, "{:?}", offer.dropped);
}

//! Batches that are repeated, out of order or simultaneous are stored once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ecowatt_model::{BatchId, BootEpoch, Counter, DeviceNumber, Sequence, SequenceRange, UnixMs};
use ecowatt_store::limits::RECEIVED_RANGES_MAX;
use ecowatt_store::{
    DateRange, Dropped, LocalDate, Receipt, ReceivedEpoch, TimeRange, UploadOutcome,
};

use crate::fixture::{DAY, Fixture, SOURCE, announce, block, enrol, samples, upload, utc_date};

async fn stored_rows(fixture: &Fixture, device: DeviceNumber) -> u64 {
    let batches = fixture.store.list_batches(device).await.unwrap();
    let names: BTreeSet<BatchId> = batches.iter().map(|batch| batch.id).collect();
    assert_eq!(names.len(), batches.len(), "a batch is stored twice");
    batches.iter().map(|batch| u64::from(batch.rows)).sum()
}

/// Number of power readings in the day's roll-up.
async fn counted_rows(fixture: &Fixture, device: DeviceNumber) -> u64 {
    let dates = DateRange { from: LocalDate(i32::MIN), to: LocalDate(i32::MAX) };
    let points = vec![fixture.points[0]];
    let days = fixture.store.days(device, SOURCE, dates, points).await.unwrap();
    days.iter().filter_map(|day| day.aggregates[0]).map(|a| u64::from(a.count)).sum()
}

fn received_of_first_epoch(sequences: RangeInclusive<u32>) -> ReceivedEpoch {
    ReceivedEpoch { epoch: BootEpoch(1), sequences: vec![sequences] }
}

#[tokio::test]
async fn same_message_again_changes_nothing() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let message = || upload(device, 5, vec![fixture.block(1, 1, &samples(0, 7))]);
    let first = fixture.stored(message()).await;
    let again = match fixture.store.ingest(message()).await.unwrap() {
        UploadOutcome::Duplicate(receipt) => receipt,
        other => panic!("{other:?}"),
    };
    assert_eq!(again, Receipt { received: first.received, ..Receipt::default() });

    let mut altered = message();
    altered.digest = [1; 32];
    let stale = UploadOutcome::Stale { last: Counter(5) };
    assert_eq!(fixture.store.ingest(altered).await.unwrap(), stale);
    let older = upload(device, 4, vec![fixture.block(1, 2, &samples(100, 7))]);
    assert_eq!(fixture.store.ingest(older).await.unwrap(), stale);

    assert_eq!(stored_rows(&fixture, device).await, 7);
    let link = fixture.store.find_device(device).await.unwrap().unwrap().link;
    assert_eq!((link.messages, link.batches, link.duplicates, link.bytes), (1, 1, 0, 100));
}

#[tokio::test]
async fn batch_in_another_message_is_stored_once() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let one = || fixture.block(1, 1, &samples(0, 7));
    fixture.stored(upload(device, 1, vec![one()])).await;
    let two = fixture.block(1, 2, &samples(35, 7));
    let receipt = fixture.stored(upload(device, 2, vec![one(), two, one()])).await;
    assert_eq!(receipt.duplicates, 2);
    assert_eq!(receipt.stored.len(), 1);
    assert_eq!(receipt.received, [received_of_first_epoch(1..=2)]);
    assert_eq!(stored_rows(&fixture, device).await, 14);
    assert_eq!(counted_rows(&fixture, device).await, 14);
}

#[tokio::test]
async fn unknown_device_or_key_stores_nothing() {
    let fixture = Fixture::new().await;
    let mut message = upload(DeviceNumber(9), 1, vec![fixture.block(1, 1, &samples(0, 7))]);
    assert_eq!(fixture.store.ingest(message.clone()).await.unwrap(), UploadOutcome::UnknownDevice);
    message.device = fixture.device();
    message.generation.0 = 2;
    assert_eq!(fixture.store.ingest(message).await.unwrap(), UploadOutcome::UnknownDevice);
    assert_eq!(stored_rows(&fixture, fixture.device()).await, 0);
}

#[tokio::test]
async fn refused_and_dropped_batches_leave_no_hole() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let mut message = upload(device, 1, vec![fixture.block(1, 4, &samples(0, 7))]);
    let id = |sequence| BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) };
    message.refused = vec![id(3)];
    let batches = Some(SequenceRange { first: Sequence(1), last: Sequence(2) });
    message.dropped = vec![Dropped { epoch: BootEpoch(1), batches, samples: 9 }];
    let receipt = fixture.stored(message.clone()).await;
    // Lost batches are not acknowledged: they may still arrive.
    assert_eq!(receipt.received, [received_of_first_epoch(3..=4)]);
    message.counter.0 = 2;
    message.batches.clear();
    fixture.stored(message).await;
    let link = fixture.store.find_device(device).await.unwrap().unwrap().link;
    assert_eq!((link.refused, link.dropped_samples, link.batches), (1, 9, 1));
}

#[tokio::test]
async fn too_many_holes_defer_a_batch_until_some_are_filled() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let ranges = u32::try_from(RECEIVED_RANGES_MAX).unwrap();
    for i in 1..=ranges {
        let batch = fixture.block(1, 2 * i, &samples(i64::from(i) * 100, 2));
        fixture.stored(upload(device, u64::from(i), vec![batch])).await;
    }
    let far = || fixture.block(1, 1000, &samples(50_000, 2));
    let receipt = fixture.stored(upload(device, 1000, vec![far()])).await;
    assert_eq!(receipt.deferred, [far().id]);
    assert!(!receipt.received[0].sequences.iter().any(|range| range.contains(&1000)));
    let filler = fixture.block(1, 3, &samples(150, 2));
    let receipt = fixture.stored(upload(device, 1001, vec![filler, far()])).await;
    assert_eq!(receipt.stored.len(), 2);
    assert!(receipt.received[0].sequences.contains(&(1000..=1000)));
}

/// Tasks race with overlapping messages of one device and of others: in whatever order the store
/// receives them, every acknowledged batch is stored once, and the roll-ups match the blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_overlapping_messages_store_each_batch_once() {
    let fixture = std::sync::Arc::new(Fixture::new().await);
    let mut devices = vec![fixture.device()];
    for name in ["b", "c"] {
        let device = enrol(&fixture.store, name).await;
        announce(&fixture.store, device).await;
        devices.push(device);
    }
    let mut tasks = Vec::new();
    for task in 0..12u64 {
        let device = devices[usize::try_from(task % 3).unwrap()];
        let fixture = std::sync::Arc::clone(&fixture);
        tasks.push(tokio::spawn(async move {
            let mut acknowledged = BTreeSet::new();
            for round in 0..40u64 {
                // Counters of the tasks interleave, sequences overlap.
                let counter = round * 12 + task + 1;
                let first = u32::try_from(round).unwrap() + 1;
                let blocks = (first..first + 3).map(|sequence| {
                    let samples = samples(i64::from(sequence) * 35, 7);
                    block(&fixture.points, (1, sequence), &samples, utc_date)
                });
                let message = upload(device, counter, blocks.collect());
                match fixture.store.ingest(message).await.unwrap() {
                    UploadOutcome::Stored(receipt) => {
                        let ranges = &receipt.received[0].sequences;
                        acknowledged.extend(ranges.iter().cloned().flatten());
                    }
                    UploadOutcome::Stale { last } => assert!(last >= Counter(counter)),
                    other => panic!("{other:?}"),
                }
            }
            (device, acknowledged)
        }));
    }
    let mut acknowledged = std::collections::BTreeMap::<DeviceNumber, BTreeSet<u32>>::new();
    for task in tasks {
        let (device, more) = task.await.unwrap();
        acknowledged.entry(device).or_default().extend(more);
    }
    for device in devices {
        let batches = fixture.store.list_batches(device).await.unwrap();
        let held: BTreeSet<u32> = batches.iter().map(|batch| batch.id.sequence.0).collect();
        assert_eq!(held, acknowledged[&device]);
        assert_eq!(stored_rows(&fixture, device).await, counted_rows(&fixture, device).await);
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_opening_again() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    fixture.stored(upload(device, 7, vec![fixture.block(1, 1, &samples(0, 7))])).await;
    let Fixture { store, dir, points } = fixture;
    drop(store);
    let store = ecowatt_store::Store::open(dir.path()).unwrap();
    let fixture = Fixture { store, points, dir };
    let again = upload(device, 7, vec![fixture.block(1, 1, &samples(0, 7))]);
    let outcome = fixture.store.ingest(again).await.unwrap();
    assert!(matches!(outcome, UploadOutcome::Duplicate(_)), "{outcome:?}");
    let resent = upload(device, 8, vec![fixture.block(1, 1, &samples(0, 7))]);
    assert_eq!(fixture.stored(resent).await.duplicates, 1);
    let range = TimeRange { from: DAY, to: UnixMs(DAY.0 + 60_000) };
    let blocks = fixture.store.blocks(device, SOURCE, range, None).await.unwrap();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].bytes, 1u32.to_be_bytes());
}

async fn dropped_samples(fixture: &Fixture, device: DeviceNumber) -> u64 {
    fixture.store.find_device(device).await.unwrap().unwrap().link.dropped_samples
}

#[tokio::test]
async fn a_loss_is_counted_once_however_it_is_reported() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let mut counter = 0;
    let mut report = |dropped: Vec<Dropped>, batches: Vec<_>| {
        counter += 1;
        let mut message = upload(device, counter, batches);
        message.epoch = BootEpoch(2);
        message.dropped = dropped;
        message
    };
    let gap = |first, last, samples| Dropped {
        epoch: BootEpoch(1),
        batches: Some(SequenceRange { first: Sequence(first), last: Sequence(last) }),
        samples,
    };
    let unbatched = |epoch, samples| Dropped { epoch: BootEpoch(epoch), batches: None, samples };
    // The server has three of the batches that are dropped later: their acknowledgement was lost.
    let stored = (1..=3).map(|sequence| fixture.block(1, sequence, &samples(0, 7))).collect();
    fixture.stored(report(vec![], stored)).await;
    // Each report, and the total loss after it.
    let reports = [
        (vec![gap(1, 10, 70)], 49),
        // The reply was lost; the report is repeated and has grown.
        (vec![gap(1, 10, 70)], 49),
        (vec![gap(1, 20, 140)], 119),
        (vec![gap(11, 12, 14), gap(21, 21, 7)], 126),
        (vec![gap(2, 3, 14)], 126),
        // Samples in no batch: totals of their epochs.
        (vec![unbatched(1, 5)], 131),
        (vec![unbatched(1, 5), unbatched(2, 2)], 133),
        (vec![unbatched(1, 9), unbatched(2, 1)], 137),
    ];
    for (dropped, lost) in reports {
        fixture.stored(report(dropped.clone(), vec![])).await;
        assert_eq!(dropped_samples(&fixture, device).await, lost, "{dropped:?}");
    }
    // A lost batch arrives after all.
    let late = || fixture.block(1, 15, &samples(100, 7));
    let receipt = fixture.stored(report(vec![gap(14, 16, 21)], vec![late()])).await;
    assert_eq!((receipt.stored.len(), dropped_samples(&fixture, device).await), (1, 130));
    let receipt = fixture.stored(report(vec![gap(14, 16, 21)], vec![late()])).await;
    assert_eq!((receipt.duplicates, dropped_samples(&fixture, device).await), (1, 130));
    assert_eq!(stored_rows(&fixture, device).await, 28);
}

#[tokio::test]
async fn no_report_of_a_loss_keeps_a_batch_out() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let mut message = upload(device, 1, vec![fixture.block(1, 1, &samples(0, 7))]);
    // All sequences of this epoch, of a future one, and of as many as fit.
    message.dropped = [1, 2, 3, u32::MAX]
        .map(|epoch| Dropped {
            epoch: BootEpoch(epoch),
            batches: Some(SequenceRange { first: Sequence(0), last: Sequence(u32::MAX) }),
            samples: 1_000_000,
        })
        .into();
    fixture.stored(message).await;
    assert_eq!(dropped_samples(&fixture, device).await, 1_000_000);
    // Holes everywhere, and then real batches from the newest backwards.
    let mut message = upload(device, 2, vec![]);
    message.dropped = (1..=400)
        .map(|i| Dropped {
            epoch: BootEpoch(2),
            batches: Some(SequenceRange { first: Sequence(2 * i), last: Sequence(2 * i) }),
            samples: 7,
        })
        .collect();
    message.epoch = BootEpoch(2);
    fixture.stored(message).await;
    for (counter, sequence) in (3..).zip((500..900).rev()) {
        let batch = fixture.block(2, sequence, &samples(i64::from(sequence) * 35, 7));
        let mut message = upload(device, counter, vec![batch]);
        message.epoch = BootEpoch(2);
        let receipt = fixture.stored(message).await;
        assert_eq!((receipt.stored.len(), receipt.deferred.len()), (1, 0), "{sequence}");
    }
    let receipt = fixture.stored(upload(device, 5_000, vec![fixture.block(1, 2, &samples(0, 7))]));
    let receipt = receipt.await;
    assert_eq!((receipt.stored.len(), receipt.received), (1, vec![received_of_first_epoch(1..=2)]));
    // Losses reported for the later epoch were ignored, because it had not begun.
    let link = fixture.store.find_device(device).await.unwrap().unwrap().link;
    assert_eq!(link.batches, 402);
}

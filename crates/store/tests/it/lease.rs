//! Leases go to the device until it reports them, and each change of a limit is stored once.

use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{
    BootEpoch, DeviceNumber, LeaseGeneration, LeaseId, MonoMs, SourceNumber, UnixMs,
};
use ecowatt_store::limits::{LEASES_LISTED_MAX, LIMIT_CHANGES_LISTED_MAX};
use ecowatt_store::{
    Lease, LeaseError, LeaseTerms, LimitChange, PowerLimit, Receipt, RefusedLease, ReportedLeases,
    Store, Upload, UploadOutcome,
};

use crate::fixture::{ARRIVAL, Fixture, by_at, upload};

/// An hour from the arrival of the first message on.
fn terms(then: Option<PowerLimit>) -> LeaseTerms {
    let from_s = u32::try_from(ARRIVAL.0 / 1_000).unwrap();
    LeaseTerms {
        source: Some(SourceNumber(0)),
        limit: PowerLimit::Watts(3_000),
        from_s,
        to_s: from_s + 3_600,
        ramp_s: 60,
        link_loss_s: 900,
        then,
        priority: 5,
    }
}

async fn create(store: &Store, at: UnixMs, then: Option<PowerLimit>) -> Result<Lease, LeaseError> {
    store.create_lease(by_at(at), DeviceNumber(1), terms(then)).await
}

async fn receipt(store: &Store, message: Upload) -> Receipt {
    match store.ingest(message).await.unwrap() {
        UploadOutcome::Stored(receipt) | UploadOutcome::Duplicate(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}

fn reporting(counter: u64, generation: u32, changes: &[LimitChange]) -> Upload {
    let mut message = upload(DeviceNumber(1), counter, Vec::new());
    message.reported.leases = Some(ReportedLeases {
        generation: LeaseGeneration(generation),
        refused: vec![RefusedLease { id: LeaseId(2), reason: 2 }],
        changes: changes.to_vec(),
    });
    message
}

fn change(mono: u64) -> LimitChange {
    LimitChange {
        source: SourceNumber(0),
        epoch: BootEpoch(3),
        mono: MonoMs(mono),
        at: UnixMs(ARRIVAL.0 + i64::try_from(mono).unwrap()),
        lease: Some(LeaseId(1)),
        cause: 1,
        failure: 0,
        detail: 0,
        limit_ppm: Some(600_000),
        confirmed_ms: Some(120),
        power_w: Some(-4),
        power_ms: Some(3_900),
    }
}

#[tokio::test]
async fn lease_that_still_holds_is_listed_however_many_were_released_since() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let standing = create(store, ARRIVAL, Some(PowerLimit::Permille(0))).await.unwrap();
    for _ in 0..=LEASES_LISTED_MAX {
        let lease = create(store, ARRIVAL, None).await.unwrap();
        store.release_lease(by_at(ARRIVAL), lease.id).await.unwrap();
    }
    let listed = store.find_leases(DeviceNumber(1)).await.unwrap().leases;
    assert_eq!(listed.first().map(|lease| lease.id), Some(standing.id));
    assert_eq!(listed.len(), usize::try_from(LEASES_LISTED_MAX).unwrap());
}

#[tokio::test]
async fn leases_are_sent_until_they_are_reported_and_again_after_a_change() {
    let mut fixture = Fixture::new().await;
    let plain = |counter| upload(DeviceNumber(1), counter, Vec::new());
    assert_eq!(receipt(&fixture.store, plain(1)).await.leases, None);
    let first = create(&fixture.store, ARRIVAL, None).await.unwrap();
    let second = create(&fixture.store, ARRIVAL, Some(PowerLimit::Permille(0))).await.unwrap();
    assert_eq!((first.generation, second.generation), (LeaseGeneration(1), LeaseGeneration(2)));
    let sent = receipt(&fixture.store, plain(2)).await.leases.unwrap();
    assert_eq!(sent.generation, LeaseGeneration(2));
    assert_eq!(sent.leases, [(first.id, first.terms), (second.id, second.terms)]);
    // A repeated message gets the same, and so does one after a restart of the server.
    assert_eq!(receipt(&fixture.store, plain(2)).await.leases.as_ref(), Some(&sent));
    fixture = {
        let Fixture { store, points, dir } = fixture;
        drop(store);
        Fixture { store: Store::open(dir.path()).unwrap(), points, dir }
    };
    assert_eq!(receipt(&fixture.store, reporting(3, 1, &[])).await.leases, Some(sent));
    assert_eq!(receipt(&fixture.store, reporting(4, 2, &[])).await.leases, None);
    assert_eq!(receipt(&fixture.store, plain(5)).await.leases, None);

    let released = fixture.store.release_lease(by_at(ARRIVAL), first.id).await.unwrap();
    assert!(released.released.is_some());
    let again = fixture.store.release_lease(by_at(ARRIVAL), first.id).await;
    assert!(matches!(again, Err(LeaseError::Released)), "{again:?}");
    let sent = receipt(&fixture.store, plain(6)).await.leases.unwrap();
    assert_eq!((sent.generation, sent.leases.len()), (LeaseGeneration(3), 1));
    // The device has a newer one: the server was restored from a backup.
    receipt(&fixture.store, reporting(7, 40, &[])).await;
    let third = create(&fixture.store, ARRIVAL, None).await.unwrap();
    assert_eq!(third.generation, LeaseGeneration(41));
    let found = fixture.store.find_leases(DeviceNumber(1)).await.unwrap();
    assert_eq!(found.leases.iter().map(|lease| lease.id.0).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(found.report.unwrap().refused, [RefusedLease { id: LeaseId(2), reason: 2 }]);
}

#[tokio::test]
async fn what_is_over_makes_room_unless_it_states_what_holds_afterwards() {
    let fixture = Fixture::new().await;
    for _ in 0..LEASES_MAX - 1 {
        create(&fixture.store, ARRIVAL, Some(PowerLimit::Permille(0))).await.unwrap();
    }
    let over = create(&fixture.store, ARRIVAL, None).await.unwrap();
    let full = create(&fixture.store, UnixMs(ARRIVAL.0 + 3_600_000), None).await;
    assert!(matches!(full, Err(LeaseError::TooMany)), "its ramp is not over: {full:?}");
    let later = UnixMs(ARRIVAL.0 + 3_660_000);
    create(&fixture.store, later, None).await.unwrap();
    let found = fixture.store.find_lease(over.id).await.unwrap().unwrap();
    assert_eq!(found.released.map(|by| (by.who, by.at)), Some(("server".into(), later)));
}

#[tokio::test]
async fn a_change_that_is_reported_again_counts_once() {
    let fixture = Fixture::new().await;
    receipt(&fixture.store, reporting(1, 1, &[change(5), change(70_000)])).await;
    let moved = LimitChange { at: UnixMs(ARRIVAL.0 + 9), ..change(5) };
    receipt(&fixture.store, reporting(2, 1, &[moved, change(80_000)])).await;
    let found = fixture.store.find_leases(DeviceNumber(1)).await.unwrap();
    assert_eq!(found.changes, [change(80_000), change(70_000), change(5)]);
    let many: Vec<_> = (100_000..100_200).map(change).collect();
    receipt(&fixture.store, reporting(3, 1, &many)).await;
    let found = fixture.store.find_leases(DeviceNumber(1)).await.unwrap();
    assert_eq!(found.changes.len(), usize::try_from(LIMIT_CHANGES_LISTED_MAX).unwrap());
    assert_eq!(found.changes[0], change(100_199));
}

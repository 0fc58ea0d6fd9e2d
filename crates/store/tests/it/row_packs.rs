//! Minutes, quarter hours and edges of past days are packed, and nothing that is shown changes.

use ecowatt_model::UnixMs;
use ecowatt_store::{DateRange, LocalDate, RowKind, RowPack, TimeRange};

use crate::fixture::{ARRIVAL, DAY, Fixture, SOURCE, Sample, samples, upload};

/// A sample each 5 s for an hour, from 22:30 of the first day to 00:30 of the third, in batches of
/// 12.
fn batches() -> Vec<Vec<Sample>> {
    let hours = [81_000, 84_600, 120_000, 169_200, 172_800];
    hours
        .iter()
        .flat_map(|from| samples(*from, 360).chunks(12).map(<[_]>::to_vec).collect::<Vec<_>>())
        .collect()
}

async fn send(fixture: &Fixture, counter: &mut u64, sequences: impl Iterator<Item = usize>) {
    let all = batches();
    for sequence in sequences {
        *counter += 1;
        let number = u32::try_from(sequence + 1).unwrap();
        let block = fixture.block(1, number, &all[sequence]);
        fixture.stored(upload(fixture.device(), *counter, vec![block])).await;
    }
}

/// Packs everything that began before an instant; returns the number of packs.
async fn pack(fixture: &Fixture, before: UnixMs) -> usize {
    let (store, device) = (&fixture.store, fixture.device());
    let mut count = 0;
    for kind in RowKind::ALL {
        let mut from = i64::MIN;
        while let Some(rows) = store.loose_rows(device, SOURCE, kind, from, before).await.unwrap() {
            from = rows.next();
            let Some(pack) = RowPack::new(rows) else { continue };
            assert!(store.keep_row_pack(device, SOURCE, pack).await.unwrap());
            count += 1;
        }
    }
    count
}

/// Everything that is derived from samples.
async fn shown(fixture: &Fixture) -> String {
    let (store, device) = (&fixture.store, fixture.device());
    let always = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
    let dates = DateRange { from: LocalDate(i32::MIN), to: LocalDate(i32::MAX) };
    let points = || fixture.points.clone();
    let minutes = store.minutes(device, SOURCE, always, points()).await.unwrap();
    let quarters = store.quarters(device, SOURCE, always, points()).await.unwrap();
    let days = store.days(device, SOURCE, dates, points()).await.unwrap();
    let energy = store.energy_days(device, dates).await.unwrap();
    let gaps = store.energy_gaps(device, always).await.unwrap();
    assert!(minutes.len() >= 90 && quarters.len() >= 8, "{} {}", minutes.len(), quarters.len());
    format!("{minutes:?}\n{quarters:?}\n{days:?}\n{energy:?}\n{gaps:?}")
}

#[tokio::test]
async fn late_batches_count_the_same_whether_packed_before_or_not() {
    let (plain, packed) = (Fixture::new().await, Fixture::new().await);
    let count = batches().len();
    // Every fifth batch is late, and so is a whole stretch of an hour.
    let is_late = |sequence: &usize| sequence % 5 == 2 || (60..90).contains(sequence);
    let (mut of_plain, mut of_packed) = (0, 0);
    send(&plain, &mut of_plain, (0..count).filter(|s| !is_late(s))).await;
    send(&packed, &mut of_packed, (0..count).filter(|s| !is_late(s))).await;
    assert!(pack(&packed, ARRIVAL).await >= 7);
    assert_eq!(pack(&packed, ARRIVAL).await, 0, "nothing is left");
    assert_eq!(shown(&packed).await, shown(&plain).await);
    for half in [0, 1] {
        let late = || (0..count).filter(is_late).filter(move |sequence| sequence % 2 == half);
        send(&plain, &mut of_plain, late()).await;
        send(&packed, &mut of_packed, late()).await;
        assert_eq!(shown(&packed).await, shown(&plain).await);
        assert!(pack(&packed, ARRIVAL).await > 0);
        assert_eq!(shown(&packed).await, shown(&plain).await);
    }
}

#[tokio::test]
async fn day_that_is_not_over_is_not_packed() {
    let fixture = Fixture::new().await;
    send(&fixture, &mut 0, 0..batches().len()).await;
    let first_day = pack(&fixture, UnixMs(DAY.0 + 86_400_000)).await;
    let all = pack(&fixture, ARRIVAL).await;
    assert!(first_day >= 3 && all >= 4, "{first_day} {all}");
}

#[tokio::test]
async fn rows_that_changed_after_they_were_read_are_not_packed() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let mut counter = 0;
    send(&fixture, &mut counter, (0..batches().len()).filter(|sequence| *sequence != 5)).await;
    let rows = store.loose_rows(device, SOURCE, RowKind::Minutes, i64::MIN, ARRIVAL).await;
    let pack = RowPack::new(rows.unwrap().unwrap()).unwrap();
    send(&fixture, &mut counter, 5..6).await;
    let before = shown(&fixture).await;
    assert!(!store.keep_row_pack(device, SOURCE, pack).await.unwrap());
    assert_eq!(shown(&fixture).await, before);
}

//! Roll-ups rebuilt from stored batches.

use std::time::Duration;

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_server::Config;
use ecowatt_server::ingest::{RebuildError, rebuild};
use ecowatt_server::limits::PACK_LOOKS_MAX;
use ecowatt_server::packing::{Packing, pack_all};
use ecowatt_store::{Author, DateRange, EditSite, LocalDate, Pack, SiteId, Store, TimeRange};

use crate::rig::device::{Sample, TestDevice};
use crate::rig::world::World;

const DEVICE: DeviceNumber = DeviceNumber(1);
const ALL: DateRange = DateRange { from: LocalDate(i32::MIN), to: LocalDate(i32::MAX) };
const HOUR: i64 = 3_600_000;

fn by() -> Author {
    Author::new("test", UnixMs(0))
}

/// Delivers two days of a device, with a gap at night, a late batch and one from a clock far ahead.
async fn stored(folder: &std::path::Path) {
    let mut world = World::start_in(folder, Config::default()).await;
    let setup = format!(r#"{{"code":"{}"}}"#, world.code());
    let owner = world.send("POST", "/api/v1/setup", &[crate::rig::world::JSON], &setup).await;
    world.token = owner.json()["token"].as_str().unwrap().into();
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = ecowatt_clock::Clock::system().now();
    let midnight = UnixMs(now.0 / (24 * HOUR) * 24 * HOUR - 48 * HOUR);
    let stretch = |from: i64, watts: u16| -> Vec<Sample> {
        (0..60).map(|n| (UnixMs(midnight.0 + from + n * 60_000), Some(watts))).collect()
    };
    for (from, watts) in [(10, 1_000), (12, 2_000), (20, 300), (21, 200), (38, 1_500), (11, 700)] {
        device.deliver(&world, now, &stretch(from * HOUR, watts)).await;
    }
    let ahead: Vec<Sample> = vec![(UnixMs(now.0 + 48 * HOUR), Some(9_000))];
    device.deliver(&world, now, &ahead).await;
    world.stop();
    world.stopped().await;
}

/// Returns everything that the API shows of the device's past.
async fn shown(store: &Store) -> String {
    let energy = store.energy_days(DEVICE, ALL).await.unwrap();
    let points = store.list_points(DEVICE, ecowatt_model::SourceNumber(0)).await.unwrap();
    let points: Vec<_> = points.iter().map(|point| point.id).collect();
    let source = ecowatt_model::SourceNumber(0);
    let days = store.days(DEVICE, source, ALL, points.clone()).await.unwrap();
    let always = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
    let minutes = store.minutes(DEVICE, source, always, points.clone()).await.unwrap();
    let quarters = store.quarters(DEVICE, source, always, points).await.unwrap();
    assert!(minutes.len() >= 360 && quarters.len() >= 24);
    format!("{energy:?} {days:?} {minutes:?} {quarters:?}")
}

#[tokio::test]
async fn roll_ups_of_an_untouched_store_come_out_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    stored(folder.path()).await;
    let store = Store::open(folder.path()).unwrap();
    let before = shown(&store).await;
    for is_check in [true, false, true] {
        let rebuilt = rebuild(&store, (!is_check).then(by), DEVICE).await.unwrap();
        assert_eq!((rebuilt.blocks, rebuilt.unreadable, rebuilt.rows_changed), (7, 0, 0));
    }
    assert_eq!(shown(&store).await, before);
    let unknown = rebuild(&store, Some(by()), DeviceNumber(9)).await;
    assert!(matches!(unknown, Err(RebuildError::UnknownDevice)), "{unknown:?}");
}

#[tokio::test]
async fn packed_batches_are_as_they_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    stored(folder.path()).await;
    let store = Store::open(folder.path()).unwrap();
    let source = ecowatt_model::SourceNumber(0);
    let always = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
    let (before, names) = (shown(&store).await, store.list_batches(DEVICE).await.unwrap());
    let sent = store.list_blocks(DEVICE, source, None).await.unwrap();
    let packed = pack_all(&store, UnixMs(i64::MAX), Duration::ZERO).await.unwrap();
    assert_eq!(packed, 5, "the batches of the first day");
    let stretches = store.stretches(DEVICE, source, always, None).await.unwrap();
    assert_eq!(stretches.len(), 3, "{stretches:?}");
    assert_eq!(store.list_blocks(DEVICE, source, None).await.unwrap(), sent);
    assert_eq!(store.list_batches(DEVICE).await.unwrap(), names);
    // From the middle of the pack on, and up to the middle.
    let after = Some((sent[2].first, sent[2].id));
    assert_eq!(store.list_blocks(DEVICE, source, after).await.unwrap(), sent[3..]);
    let until = TimeRange { from: sent[1].last, to: sent[3].first };
    assert_eq!(store.blocks(DEVICE, source, until, None).await.unwrap(), sent[1..3]);
    for is_check in [true, false] {
        let rebuilt = rebuild(&store, (!is_check).then(by), DEVICE).await.unwrap();
        assert_eq!((rebuilt.blocks, rebuilt.unreadable, rebuilt.rows_changed), (7, 0, 0));
    }
    assert_eq!(shown(&store).await, before);
    let again = Pack::new(&sent[..5]).unwrap();
    assert!(!store.keep_pack(DEVICE, source, again).await.unwrap(), "they are packed already");
    let half = Pack::new(&[sent[0].clone(), sent[5].clone()]).unwrap();
    assert!(!store.keep_pack(DEVICE, source, half).await.unwrap(), "one of them is");
    assert_eq!(store.list_batches(DEVICE).await.unwrap(), names);
    assert_eq!(pack_all(&store, UnixMs(i64::MAX), Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn past_days_follow_a_time_zone_that_was_corrected() {
    let folder = tempfile::tempdir().unwrap();
    stored(folder.path()).await;
    let store = Store::open(folder.path()).unwrap();
    let berlin = shown(&store).await;
    let dates = async || -> Vec<LocalDate> {
        store.energy_days(DEVICE, ALL).await.unwrap().iter().map(|day| day.date).collect()
    };
    let (to_berlin, to_auckland) = ("Europe/Berlin", "Pacific/Auckland");
    let zone = async |name: &str| {
        let change = EditSite {
            site: SiteId(1),
            name: None,
            time_zone: Some(name.into()),
            keeps_past_days: true,
        };
        store.edit_site(by(), change).await.unwrap();
    };
    let before = dates().await;
    zone(to_auckland).await;
    assert!(rebuild(&store, None, DEVICE).await.unwrap().rows_changed > 0);
    assert_eq!(shown(&store).await, berlin, "a check changes nothing");
    assert!(rebuild(&store, Some(by()), DEVICE).await.unwrap().rows_changed > 0);
    // An afternoon in Berlin is already the next day in Auckland.
    let after = dates().await;
    assert_eq!(after.last().unwrap().0, before.last().unwrap().0 + 1, "{before:?} {after:?}");
    assert_eq!(rebuild(&store, None, DEVICE).await.unwrap().rows_changed, 0);
    zone(to_berlin).await;
    rebuild(&store, Some(by()), DEVICE).await.unwrap();
    assert_eq!(shown(&store).await, berlin, "there and back again");
}

#[tokio::test]
async fn inverter_with_many_lone_batches_is_packed_in_several_passes() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start_in(folder.path(), Config::default()).await;
    let setup = format!(r#"{{"code":"{}"}}"#, world.code());
    let owner = world.send("POST", "/api/v1/setup", &[crate::rig::world::JSON], &setup).await;
    world.token = owner.json()["token"].as_str().unwrap().into();
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = ecowatt_clock::Clock::system().now();
    // One batch a day, and two in the last.
    let first = now.0 / (24 * HOUR) * (24 * HOUR) - (i64::from(PACK_LOOKS_MAX) + 9) * 24 * HOUR;
    let days = (0..i64::from(PACK_LOOKS_MAX)).map(|day| first + day * 24 * HOUR);
    let last = first + i64::from(PACK_LOOKS_MAX) * 24 * HOUR;
    for at in days.chain([last, last + HOUR]) {
        device.deliver(&world, now, &[(UnixMs(at), Some(1_000))]).await;
    }
    world.stop();
    world.stopped().await;
    let store = Store::open(folder.path()).unwrap();
    let mut packing = Packing::new(store, Duration::ZERO);
    let mut packed = Vec::new();
    for _ in 0..4 {
        packed.push(packing.pass(UnixMs(i64::MAX)).await.unwrap());
    }
    assert_eq!(packed, [0, 2, 0, 0]);
}

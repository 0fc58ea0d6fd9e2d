//! Retention beside a running server: answers name what was removed, and no total changes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_server::ingest::rebuild;
use ecowatt_server::packing::pack_all;
use ecowatt_server::retention::{RemovedRows, retain};
use ecowatt_server::{Config, Keep, Retention};
use ecowatt_store::{Author, DateRange, EditSite, LocalDate, Resolution, SiteId, Store};
use serde_json::Value;

use crate::rig::device::{Sample, TestDevice};
use crate::rig::world::{JSON, World};

const DEVICE: DeviceNumber = DeviceNumber(1);
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const DAYS: i64 = 50;

const KEEP: Retention =
    Retention { samples: Keep::Days(10), minutes: Keep::Days(20), quarter_hours: Keep::Days(30) };

fn rfc3339(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap().to_string()
}

fn by() -> Author {
    Author::new("test", UnixMs(0))
}

/// A server with a device that has sent two hours of each of the last days. Some batches reach over
/// midnight, UTC or the site's, and a few came late.
async fn filled(folder: &Path) -> (World, TestDevice, UnixMs) {
    let mut world = World::start_in(folder, Config::default()).await;
    let setup = format!(r#"{{"code":"{}"}}"#, world.code());
    let owner = world.send("POST", "/api/v1/setup", &[JSON], &setup).await;
    world.token = owner.json()["token"].as_str().unwrap().into();
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = ecowatt_clock::Clock::system().now();
    let today = now.0 / DAY * DAY;
    let hour = |begin: i64, watts: u16| -> Vec<Sample> {
        (0..60).map(|n| (UnixMs(begin + n * 60_000), Some(watts))).collect()
    };
    let mut late = Vec::new();
    for day in (1..=DAYS).rev() {
        let begin = today - day * DAY;
        let watts = u16::try_from(1_000 + day).unwrap();
        device.deliver(&world, now, &hour(begin + 9 * HOUR, watts)).await;
        let evening =
            hour(begin + if day % 2 == 0 { 23 * HOUR + HOUR / 2 } else { 21 * HOUR }, 300);
        if day % 7 == 3 {
            late.push(evening);
        } else {
            device.deliver(&world, now, &evening).await;
        }
    }
    for batch in late {
        device.deliver(&world, now, &batch).await;
    }
    device.deliver(&world, now, &[(now, Some(500))]).await;
    (world, device, now)
}

async fn pack(store: &Store, now: UnixMs) {
    pack_all(store, UnixMs(now.0 / DAY * DAY), Duration::ZERO).await.unwrap();
}

async fn remove(store: &Store, now: UnixMs) -> RemovedRows {
    retain(store, KEEP, now, Duration::ZERO).await.unwrap()
}

/// Everything that retention may not change, as the API shows it.
async fn totals(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for target in ["energy?from=2020-01-01", "telemetry?from=2020-01-01&resolution=1d"] {
        let mut answer = world.get_json(&format!("/api/v1/devices/dev-1/{target}")).await;
        assert_eq!(answer.get("removed_before"), None, "{target}");
        // The end moves with the clock.
        answer.as_object_mut().unwrap().remove("to");
        all.push(answer);
    }
    all
}

async fn history(world: &World, resolution: &str, from: UnixMs) -> Value {
    let from = rfc3339(from);
    let target = format!("/api/v1/devices/dev-1/telemetry?resolution={resolution}&from={from}");
    world.get_json(&format!("{target}&points=ac.power")).await
}

#[tokio::test]
async fn answers_name_what_was_removed_and_no_total_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut device, now) = filled(folder.path()).await;
    let store = Store::open_beside(folder.path()).unwrap();
    pack(&store, now).await;
    let before = totals(&world).await;
    let whole = UnixMs(now.0 - (DAYS + 5) * DAY);
    for resolution in ["raw", "1m", "15m"] {
        let answer = history(&world, resolution, whole).await;
        assert_eq!(answer.get("removed_before"), None, "nothing was removed");
    }
    let removed = remove(&store, now).await;
    assert!(removed.samples > 4_000 && removed.minutes > 3_000 && removed.quarter_hours > 150);
    assert_eq!(totals(&world).await, before);
    assert_eq!(remove(&store, now).await, RemovedRows::default(), "a second pass finds nothing");

    for (resolution, days) in [("raw", 10), ("1m", 20), ("15m", 30)] {
        let answer = history(&world, resolution, whole).await;
        let bound: jiff::Timestamp = answer["removed_before"].as_str().unwrap().parse().unwrap();
        let bound = UnixMs(bound.as_millisecond());
        assert!(bound.0 <= now.0 - days * DAY && bound.0 > now.0 - (days + 3) * DAY);
        assert_eq!(bound.0 % DAY, 0);
        let first = answer["t_ms"][0].as_i64().unwrap();
        assert!((bound.0 - HOUR..bound.0 + DAY).contains(&first), "{resolution}: {first}");
        let kept = history(&world, resolution, bound).await;
        assert_eq!(kept.get("removed_before"), None, "{resolution}: all of it is kept");
        assert!(!kept["t_ms"].as_array().unwrap().is_empty());
    }
    // A late batch for a time that is over counts, and its samples go again.
    let late: Vec<Sample> =
        (0..30).map(|n| (UnixMs(whole.0 / DAY * DAY + n * 60_000), Some(60))).collect();
    device.deliver(&world, now, &late).await;
    let with_late = totals(&world).await;
    assert_ne!(with_late, before);
    pack(&store, now).await;
    let again = remove(&store, now).await;
    assert_eq!(again, RemovedRows { samples: 30, minutes: 30, quarter_hours: 2 });
    assert_eq!(totals(&world).await, with_late);
}

#[tokio::test]
async fn clock_that_jumps_removes_nothing_without_samples_from_then() {
    let folder = tempfile::tempdir().unwrap();
    let (_world, _, now) = filled(folder.path()).await;
    let store = Store::open_beside(folder.path()).unwrap();
    pack(&store, now).await;
    remove(&store, now).await;
    let list = async || store.list_expired(DEVICE).await.unwrap();
    let before = list().await;
    let ahead = UnixMs(now.0 + 3_650 * DAY);
    assert_eq!(remove(&store, ahead).await, RemovedRows::default());
    assert_eq!(list().await, before);
    // A clock that was set back removes nothing either.
    assert_eq!(remove(&store, UnixMs(now.0 - 400 * DAY)).await, RemovedRows::default());
    assert_eq!(list().await, before);
}

#[tokio::test]
async fn rebuild_makes_again_what_has_samples_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, _, now) = filled(folder.path()).await;
    let store = Store::open_beside(folder.path()).unwrap();
    pack(&store, now).await;
    remove(&store, now).await;
    drop(store);
    world.stop();
    world.stopped().await;
    let store = Store::open(folder.path()).unwrap();
    for is_check in [true, false] {
        let rebuilt = rebuild(&store, (!is_check).then(by), DEVICE).await.unwrap();
        assert_eq!((rebuilt.unreadable, rebuilt.rows_changed), (0, 0));
        assert!(rebuilt.blocks > 15, "{rebuilt:?}");
    }
    let all = DateRange { from: LocalDate(i32::MIN), to: LocalDate(i32::MAX) };
    let energy = async || store.energy_days(DEVICE, all).await.unwrap();
    let berlin = energy().await;
    let samples = store.list_expired(DEVICE).await.unwrap()[0];
    assert_eq!(samples.resolution, Resolution::Samples);
    let floor = LocalDate(i32::try_from(samples.before.0 / DAY).unwrap());
    // The zone of the site was wrong: days of which all samples are kept follow, older ones stay.
    for (zone, is_back) in [("Pacific/Auckland", false), ("Europe/Berlin", true)] {
        let change = EditSite {
            site: SiteId(1),
            name: None,
            time_zone: Some(zone.into()),
            keeps_past_days: true,
        };
        store.edit_site(by(), change).await.unwrap();
        assert!(rebuild(&store, Some(by()), DEVICE).await.unwrap().rows_changed > 0);
        assert_eq!(rebuild(&store, None, DEVICE).await.unwrap().rows_changed, 0);
        let older = |days: &[ecowatt_store::EnergyDay]| -> Vec<_> {
            days.iter().filter(|day| day.date <= floor).copied().collect()
        };
        assert_eq!(older(&energy().await), older(&berlin), "{zone}");
        assert!(older(&berlin).len() > 35);
        assert_eq!(energy().await == berlin, is_back, "{zone}");
    }
}

#[tokio::test]
async fn backup_beside_has_either_the_samples_or_their_record() {
    let folder = tempfile::tempdir().unwrap();
    let (world, _, now) = filled(folder.path()).await;
    let store = Store::open_beside(folder.path()).unwrap();
    pack(&store, now).await;
    let total = totals(&world).await;
    let copies = tempfile::tempdir().unwrap();
    let copy = |n: u32| copies.path().join(format!("{n}.db"));
    let removing = async {
        // Day by day, so that copies are made in between.
        for days in (10..45).rev().map(Keep::Days) {
            let keep = Retention { samples: days, minutes: days, quarter_hours: days };
            retain(&store, keep, now, Duration::from_millis(20)).await.unwrap();
        }
    };
    let data = folder.path().to_owned();
    let paths: Vec<_> = (0..8).map(copy).collect();
    let copying = tokio::task::spawn_blocking({
        let paths = paths.clone();
        move || {
            for to in &paths {
                ecowatt_store::back_up(&data, to, |_| true).unwrap();
                std::thread::sleep(Duration::from_millis(150));
            }
        }
    });
    let ((), copied) = tokio::join!(removing, copying);
    copied.unwrap();
    let mut seen = BTreeSet::new();
    for (n, path) in paths.iter().enumerate() {
        let restored = copies.path().join(format!("restored-{n}"));
        ecowatt_store::restore(path, &restored, None, |_| true).unwrap();
        let store = Store::open(&restored).unwrap();
        let received = store.find_device(DEVICE).await.unwrap().unwrap().link.samples;
        let batches = store.list_batches(DEVICE).await.unwrap();
        let stored: u64 = batches.iter().map(|batch| u64::from(batch.rows)).sum();
        let expired = store.list_expired(DEVICE).await.unwrap();
        let of_samples = |of: &&ecowatt_store::Expired| of.resolution == Resolution::Samples;
        let gone = expired.iter().find(of_samples).map_or(0, |of| of.rows);
        assert_eq!(stored + gone, received, "copy {n}");
        assert_eq!(rebuild(&store, None, DEVICE).await.unwrap().rows_changed, 0, "copy {n}");
        seen.insert(gone);
    }
    assert!(seen.len() > 2, "the copies are of different moments: {seen:?}");
    assert_eq!(totals(&world).await, total);
}

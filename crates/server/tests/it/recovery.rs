//! A device whose key was stolen can be enrolled again, whatever was reported under that key.

use ecowatt_clock::Clock;
use ecowatt_envelope::ClaimCode;
use ecowatt_envelope::enrol::DeviceHalf;
use ecowatt_model::{BootEpoch, Sequence, SequenceRange, SourceNumber, StreamNumber, UnixMs};
use ecowatt_wire::{Batch, ClockReport, LostSamples, Stream, UplinkWriter};

use crate::rig::device::{TestDevice, layout_of};
use crate::rig::world::World;

fn now() -> UnixMs {
    UnixMs(Clock::system().now().0 / 1000 * 1000)
}

/// Enrols the device again, as an operator and an agent do.
pub(crate) async fn enrol_again(world: &World, device: &TestDevice) -> TestDevice {
    let enrolment = world.post(&format!("/api/v1/devices/{}/claim", device.id), "{}").await;
    assert_eq!(enrolment.status, 201, "{}", enrolment.text());
    let code: ClaimCode = enrolment.json()["claim_code"].as_str().unwrap().parse().unwrap();
    let half = DeviceHalf::new([9; 32]);
    let answer = TestDevice::redeem(world, &half, &code).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    device.with(half.finish(&code, &answer.body).unwrap())
}

async fn samples_of(world: &World, id: &str) -> usize {
    let target = format!("/api/v1/devices/{id}/telemetry?resolution=raw&points=ac.power");
    world.get_json(&target).await["t_ms"].as_array().unwrap().len()
}

/// A message that a thief may send.
type Report = fn(&mut UplinkWriter<'_>, &TestDevice);

fn clock(writer: &mut UplinkWriter<'_>, epoch: u32) {
    let clock =
        ClockReport { epoch: BootEpoch(epoch), mono: ecowatt_model::MonoMs(1), unix: Some(now()) };
    writer.clock(&clock).unwrap();
}

fn dropped(writer: &mut UplinkWriter<'_>, epochs: impl Iterator<Item = u32>) {
    let mut lost = epochs.map(|epoch| LostSamples {
        epoch: BootEpoch(epoch),
        batches: Some(SequenceRange { first: Sequence(1), last: Sequence(u32::MAX) }),
        samples: u32::MAX,
    });
    writer.dropped(&mut lost, 0).unwrap();
}

fn batches(writer: &mut UplinkWriter<'_>, device: &TestDevice, ids: &[(u32, u32)], stream: u16) {
    let bytes = device.encode(&[(now(), Some(6666))]);
    let mut batches = ids.iter().map(|(epoch, sequence)| Batch {
        id: ecowatt_model::BatchId { epoch: BootEpoch(*epoch), sequence: Sequence(*sequence) },
        stream: StreamNumber(stream),
        bytes: &bytes,
        start: None,
    });
    writer.batches(&mut batches, 0).unwrap();
}

fn layouts(writer: &mut UplinkWriter<'_>, device: &TestDevice, numbers: &[u16], source: u8) {
    let layout = device.layout();
    let source = SourceNumber(source);
    let mut streams = numbers.iter().map(|number| Stream {
        number: StreamNumber(*number),
        source,
        layout: &layout,
    });
    writer.streams(&mut streams, 0).unwrap();
}

const REPORTS: [(&str, Report); 9] = [
    ("the last epoch there is", |writer, device| {
        batches(writer, device, &[(u32::MAX, 1)], 1);
        clock(writer, u32::MAX);
    }),
    ("the last epoch that the key can speak of", |writer, device| {
        batches(writer, device, &[((1 << 24), 1), ((1 << 24), u32::MAX)], 1);
        clock(writer, 1 << 24);
    }),
    ("the last epoch as lost", |writer, _| dropped(writer, [u32::MAX].into_iter())),
    ("everything as lost", |writer, _| {
        clock(writer, 1 << 24);
        dropped(writer, 1..=20);
    }),
    ("the last stream", |writer, device| layouts(writer, device, &[u16::MAX], 7)),
    ("layouts of streams to come", |writer, device| {
        layouts(writer, device, &[2, 3, 4, 5, 6, 7, 8, 9], 7);
    }),
    ("holes in the epochs to come", |writer, device| {
        let ids: Vec<_> = (0..20).map(|i| (2 + i, 2 * i + 2)).collect();
        batches(writer, device, &ids, 1);
    }),
    ("the names of batches to come", |writer, device| {
        let ids: Vec<_> = (2..20).map(|sequence| (1, sequence)).collect();
        batches(writer, device, &ids, 1);
    }),
    ("what cannot be read, in the names of batches to come", |writer, device| {
        let ids: Vec<_> = (2..20).map(|sequence| (1, sequence)).collect();
        batches(writer, device, &ids, 2);
        layouts(writer, device, &[2], 0);
    }),
];

#[tokio::test]
async fn whatever_was_reported_under_the_old_key_the_next_one_works() {
    for (what, report) in REPORTS {
        let world = World::start().await;
        let mut device = TestDevice::enrol(&world, "Roof").await;
        let start = now();
        device.deliver(&world, start, &[(start, Some(1000))]).await;
        let mut thief = device.with(device.identity());
        thief.continue_from(&device);
        let answer = thief.report(&world, |writer| report(writer, &device)).await;
        assert!([200, 401].contains(&answer.status), "{what}: {answer:?}");

        // A new device in its place, and the same one with its memory.
        for round in 0..2 {
            let before = samples_of(&world, &device.id).await;
            let mut next = enrol_again(&world, &device).await;
            for i in 0..3 {
                let at = UnixMs(start.0 - 60_000 * (1 + i + 10 * round));
                next.deliver(&world, now(), &[(at, Some(2000))]).await;
            }
            assert_eq!(samples_of(&world, &device.id).await, before + 3, "{what}");
        }
    }
}

#[tokio::test]
async fn what_was_lost_or_refused_is_shown() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    device.deliver(&world, now(), &[(now(), Some(1000))]).await;
    let mut same = device.with(device.identity());
    same.continue_from(&device);
    let answer = same
        .report(&world, |writer| {
            let mut unreadable = [Batch {
                id: ecowatt_model::BatchId { epoch: BootEpoch(1), sequence: Sequence(7) },
                stream: StreamNumber(1),
                bytes: &[0xff; 9],
                start: None,
            }]
            .into_iter();
            writer.batches(&mut unreadable, 0).unwrap();
            let lost = LostSamples {
                epoch: BootEpoch(1),
                batches: Some(SequenceRange { first: Sequence(3), last: Sequence(4) }),
                samples: 120,
            };
            writer.dropped(&mut [lost].into_iter(), 0).unwrap();
        })
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = world.get_json(&format!("/api/v1/devices/{}", device.id)).await;
    let link = &seen["link"];
    assert_eq!((&link["dropped_samples"], &link["refused"]), (&120.into(), &1.into()), "{seen}");
}

#[tokio::test]
async fn streams_that_a_thief_used_up_are_not_the_next_keys() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let start = now();
    device.deliver(&world, start, &[(start, Some(1000))]).await;
    let mut thief = device.with(device.identity());
    thief.continue_from(&device);
    for first in (2..1200u16).step_by(20) {
        let numbers: Vec<u16> = (first..first + 20).collect();
        let answer = thief.report(&world, |writer| layouts(writer, &device, &numbers, 7)).await;
        assert_eq!(answer.status, 200);
    }
    let mut next = enrol_again(&world, &device).await;
    next.deliver(&world, now(), &[(UnixMs(start.0 - 60_000), Some(2000))]).await;
}

#[tokio::test]
async fn rest_of_a_spool_arrives_once_under_the_next_key() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let start = now();
    let at = |i: i64| UnixMs(start.0 - 600_000 + 5_000 * i);
    for i in 0..3 {
        device.deliver(&world, start, &[(at(i), Some(1000))]).await;
    }
    let mut next = enrol_again(&world, &device).await;
    // The third batch's acknowledgement was lost; two more were cut before the agent was stopped.
    next.continue_names_of(&device, 2);
    for i in 2..5 {
        next.deliver(&world, start, &[(at(i), Some(1000))]).await;
    }
    assert_eq!(samples_of(&world, &device.id).await, 5);
    let seen = world.get_json(&format!("/api/v1/devices/{}", device.id)).await;
    assert_eq!((&seen["link"]["batches"], &seen["link"]["duplicates"]), (&5.into(), &1.into()));
    // And under the key after that, in the other order.
    let mut third = enrol_again(&world, &next).await;
    for last in (0..7).rev() {
        third.continue_names_of(&device, u32::try_from(last).unwrap());
        third.deliver(&world, start, &[(at(last), Some(1000))]).await;
    }
    assert_eq!(samples_of(&world, &device.id).await, 7);
}

#[tokio::test]
async fn device_is_enrolled_more_often_than_a_byte_counts() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    for _ in 0..260 {
        device = enrol_again(&world, &device).await;
    }
    let start = now();
    device.deliver(&world, start, &[(start, Some(1000))]).await;
    let seen = world.get_json(&format!("/api/v1/devices/{}", device.id)).await;
    assert_eq!(seen["link"]["key_generation"], 261);
    assert_eq!(samples_of(&world, &device.id).await, 1);
}

async fn reset(world: &World, device: &TestDevice) {
    let answer = world.post(&format!("/api/v1/devices/{}/reset", device.id), "").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

#[tokio::test]
async fn reset_device_sends_the_rest_of_its_spool_whatever_has_taken_its_names() {
    for (number, (what, report)) in REPORTS.into_iter().enumerate() {
        let world = World::start().await;
        let mut device = TestDevice::enrol(&world, "Roof").await;
        let start = now();
        let at = |i: u32| UnixMs(start.0 - 600_000 + 5_000 * i64::from(i));
        for i in 0..3 {
            device.deliver(&world, start, &[(at(i), Some(1000))]).await;
        }
        // Repeated batches are recognised by their bytes, wherever those are stored.
        if number % 2 == 0 {
            // Around midnight UTC one of the three is in a day of its own.
            assert!(world.pack().await >= 2);
        }
        let mut thief = device.with(device.identity());
        thief.continue_from(&device);
        thief.report(&world, |writer| report(writer, &device)).await;
        let stolen = samples_of(&world, &device.id).await;
        reset(&world, &device).await;
        let seen = world.get_json(&format!("/api/v1/devices/{}", device.id)).await;
        assert!(seen["link"]["key_revoked"].is_string() && seen["firmware"].is_null(), "{seen}");
        assert_eq!(samples_of(&world, &device.id).await, stolen, "{what}: its history stays");
        // Newest first, some of it sent before; then repeated, as after lost acknowledgements.
        let mut next = enrol_again(&world, &device).await;
        for _ in 0..2 {
            for i in (1..9).rev() {
                next.continue_names_of(&device, i);
                next.deliver(&world, start, &[(at(i), Some(1000))]).await;
            }
        }
        assert_eq!(samples_of(&world, &device.id).await, stolen + 6, "{what}");
        let old = thief.report(&world, |writer| clock(writer, 1)).await;
        assert_eq!(old.status, 401, "{what}: the old key is void");
    }
}

/// A counter of two registers.
const COUNTER: &str = r#"
"ac.energy.total" = { address = 0, type = "u32", unit = "Wh", group = "live", counter = "monotonic" }
"#;

/// A backlog from before the reset is stored under other names, which keep its order.
#[tokio::test]
async fn energy_of_a_backlog_is_right_after_a_reset_in_either_order() {
    for is_newest_first in [true, false] {
        let world = World::start().await;
        let mut device = TestDevice::enrol(&world, "Roof").await;
        device.use_layout(layout_of(COUNTER));
        // Batches of a quarter hour at 3 kW, all within one day of the site.
        let (count, step_ms) = (60u32, 450_000);
        let start = 1_781_992_800_000; // 2026-06-21T00:00 in Berlin
        let batch = |n: u32| {
            let sample = |row: u32| {
                let steps = 2 * n + row;
                let [a, b, c, d] = (1_204_300 + steps * 375).to_be_bytes();
                let words = vec![u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
                (UnixMs(start + i64::from(steps) * step_ms), words)
            };
            [sample(0), sample(1)]
        };
        for n in 0..3 {
            device.deliver_words(&world, &batch(n)).await;
        }
        reset(&world, &device).await;
        let mut next = enrol_again(&world, &device).await;
        let mut order: Vec<u32> = (3..count).collect();
        if is_newest_first {
            order.reverse();
        }
        for n in order {
            next.continue_names_of(&device, n);
            next.deliver_words(&world, &batch(n)).await;
        }
        let target = format!("/api/v1/devices/{}/energy?from=2026-06-21&to=2026-06-22", device.id);
        let energy = world.get_json(&target).await;
        assert_eq!(energy["days"][0]["energy_wh"], (2 * count - 1) * 375, "{energy}");
    }
}

#[tokio::test]
async fn deleted_device_is_gone_with_its_data_and_its_number_is_nobodys() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let start = now();
    for i in 0..3 {
        device.deliver(&world, start, &[(UnixMs(start.0 - 60_000 * i), Some(1000))]).await;
    }
    let site = world.get_json("/api/v1/sites").await[0]["id"].as_i64().unwrap();
    let (name, value) = world.bearer();
    let delete = async |target: &str| world.send("DELETE", target, &[(name, &value)], "").await;
    let in_use = delete(&format!("/api/v1/sites/{site}")).await;
    assert_eq!((in_use.status, in_use.code().as_str()), (409, "site_in_use"));

    let target = format!("/api/v1/devices/{}", device.id);
    assert_eq!(delete(&target).await.status, 204);
    assert_eq!(delete(&target).await.status, 404);
    for gone in [target.clone(), format!("{target}/energy"), format!("{target}/telemetry")] {
        assert_eq!(world.get(&gone).await.status, 404, "{gone}");
    }
    assert_eq!(world.get_json("/api/v1/devices").await["total"], 0);
    let answer =
        device.send(&world, start, &[(start, Some(1))], ecowatt_wire::SourceState::Online).await;
    assert_eq!(answer.status, 401);
    crate::rig::world::within("what it stored is removed", async {
        while delete(&format!("/api/v1/sites/{site}")).await.status == 409 {
            tokio::time::sleep(crate::rig::world::LOOK_AGAIN).await;
        }
    })
    .await;
    assert_eq!(TestDevice::enrol(&world, "Roof").await.id, "dev-2");
}

#[tokio::test]
async fn names_places_and_time_zones_are_corrected() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Rof").await;
    TestDevice::enrol(&world, "Shed").await;
    let target = format!("/api/v1/devices/{}", device.id);
    let patch = async |target: &str, body: &str| {
        let (name, value) = world.bearer();
        world.send("PATCH", target, &[(name, &value), crate::rig::world::JSON], body).await
    };
    let renamed = patch(&target, r#"{"name":"Roof"}"#).await;
    assert_eq!((renamed.status, renamed.json()), (200, serde_json::json!({})));
    let twin = patch(&target, r#"{"name":"Shed"}"#).await.json();
    assert!(twin["warning"].as_str().unwrap().contains("dev-2"), "{twin}");
    let sites = world.get_json("/api/v1/sites").await;
    let site = format!("/api/v1/sites/{}", sites[0]["id"]);

    // Without stored days the zone can simply be corrected; with days the request must confirm it.
    assert_eq!(patch(&site, r#"{"time_zone":"europe/PARIS"}"#).await.status, 200);
    assert_eq!(world.get_json(&target).await["site"]["time_zone"], "Europe/Paris");
    let start = now();
    device.deliver(&world, start, &[(start, Some(1000))]).await;
    for (target, body) in [
        (&site, r#"{"time_zone":"Asia/Tokyo"}"#),
        (&target, r#"{"site":{"name":"Far","time_zone":"Asia/Tokyo"}}"#),
    ] {
        let refused = patch(target, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "past_days"), "{body}");
    }
    assert_eq!(world.get_json("/api/v1/sites").await.as_array().unwrap().len(), 1);
    let body = r#"{"site":{"name":"Near","time_zone":"Europe/Paris"}}"#;
    assert_eq!(patch(&target, body).await.status, 200, "days are cut alike there");
    let body = r#"{"site":{"name":"Far","time_zone":"Asia/Tokyo"},"keep_past_days":true}"#;
    assert_eq!(patch(&target, body).await.status, 200);
    // Samples received from here on are cut by the zone of the new site.
    let at = UnixMs(start.0 / 86_400_000 * 86_400_000 - 86_400_000 + 16 * 3_600_000);
    device.deliver(&world, start, &[(at, Some(1000))]).await;
    let tomorrow = jiff::Timestamp::from_millisecond(at.0 + 3_600_000).unwrap();
    let date = tomorrow.to_zoned(jiff::tz::TimeZone::get("Asia/Tokyo").unwrap()).date();
    let energy = world.get_json(&format!("{target}/energy")).await;
    let days = energy["days"].as_array().unwrap();
    assert!(days.iter().any(|day| day["date"] == date.to_string()), "{date} {energy}");

    for (target, body, status, code) in [
        (target.as_str(), r#"{"name":"\u001b[31m"}"#, 400, "invalid_name"),
        (&target, r#"{"site":{"name":"None"}}"#, 400, "site_unknown"),
        (&target, r#"{"site":{"name":"Near","time_zone":"UTC"}}"#, 409, "site_in_other_time_zone"),
        (&site, r#"{"time_zone":"Mars/Olympus"}"#, 400, "invalid_time_zone"),
        (&site, r#"{"name":"Far"}"#, 409, "site_name_taken"),
        ("/api/v1/sites/99", r#"{"name":"x"}"#, 404, "site_unknown"),
        ("/api/v1/devices/dev-99", r#"{"name":"x"}"#, 404, "device_unknown"),
    ] {
        let refused = patch(target, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{target} {body}");
    }
}

#[tokio::test]
async fn text_that_commands_a_terminal_is_not_kept() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let status = ecowatt_wire::Status {
        firmware: "1.0\u{1b}[2J\u{9b}31m\u{202e}",
        boot_reason: ecowatt_wire::BootReason::First,
        samples: 1,
        backlog_batches: 0,
        spool_bytes: 0,
        spool_capacity_bytes: 1,
        link_failures: 0,
        clock_deviation_ms: 0,
        sources: ecowatt_wire::SectionList::Given(&[]),
    };
    let answer = device.report(&world, |writer| writer.status(&status).unwrap()).await;
    assert_eq!(answer.status, 200);
    let seen = world.get_json("/api/v1/devices/dev-1").await;
    assert_eq!(seen["firmware"], "1.0\u{fffd}[2J\u{fffd}31m\u{fffd}");
}

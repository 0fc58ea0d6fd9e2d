//! A device whose key somebody else has can be enrolled again, whatever was reported under it.

use ecowatt_clock::Clock;
use ecowatt_envelope::ClaimCode;
use ecowatt_envelope::enrol::DeviceHalf;
use ecowatt_model::{BootEpoch, Sequence, SourceNumber, StreamNumber, UnixMs};
use ecowatt_wire::{Batch, ClockReport, Dropped, Stream, UplinkWriter};

use crate::device::TestDevice;
use crate::world::World;

fn now() -> UnixMs {
    UnixMs(Clock::system().now().0 / 1000 * 1000)
}

/// Gives the device another key, as an operator and an agent do.
pub(crate) async fn enrol_again(world: &World, device: &TestDevice) -> TestDevice {
    let body = format!(r#"{{"name":"","site":{{"name":""}},"device":"{}"}}"#, device.id);
    let enrolment = world.post("/api/v1/devices", &body).await;
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

/// Something that a thief may send.
type Report = fn(&mut UplinkWriter<'_>, &TestDevice);

fn clock(writer: &mut UplinkWriter<'_>, epoch: u32) {
    let clock =
        ClockReport { epoch: BootEpoch(epoch), mono: ecowatt_model::MonoMs(1), unix: Some(now()) };
    writer.clock(&clock).unwrap();
}

fn dropped(writer: &mut UplinkWriter<'_>, epochs: impl Iterator<Item = u32>) {
    let mut lost = epochs.map(|epoch| Dropped {
        epoch: BootEpoch(epoch),
        batches: Some((Sequence(1), Sequence(u32::MAX))),
        samples: u32::MAX,
    });
    writer.dropped(&mut lost).unwrap();
}

fn batches(writer: &mut UplinkWriter<'_>, device: &TestDevice, ids: &[(u32, u32)], stream: u16) {
    let bytes = device.encode(&[(now(), Some(6666))]);
    let mut batches = ids.iter().map(|(epoch, sequence)| Batch {
        id: ecowatt_model::BatchId { epoch: BootEpoch(*epoch), sequence: Sequence(*sequence) },
        stream: StreamNumber(stream),
        bytes: &bytes,
    });
    writer.batches(&mut batches).unwrap();
}

fn layouts(writer: &mut UplinkWriter<'_>, device: &TestDevice, numbers: &[u16], source: u8) {
    let layout = device.layout();
    let source = SourceNumber(source);
    let mut streams = numbers.iter().map(|number| Stream {
        number: StreamNumber(*number),
        source,
        layout: &layout,
    });
    writer.streams(&mut streams).unwrap();
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

        // A new device in its place, and the same one with what it knows.
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
    // The acknowledgement of the third was lost; two more were sampled before the agent was stopped.
    next.continue_names_of(&device, 2);
    for i in 2..5 {
        next.deliver(&world, start, &[(at(i), Some(1000))]).await;
    }
    assert_eq!(samples_of(&world, &device.id).await, 5);
    let seen = world.get_json(&format!("/api/v1/devices/{}", device.id)).await;
    assert_eq!((&seen["link"]["batches"], &seen["link"]["duplicates"]), (&5.into(), &1.into()));
    // And under the one after that, the other way round.
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

//! Misread values, as an operator sees them: which are marked, and how they affect daily energy.

use ecowatt_model::UnixMs;
use serde_json::Value;

use crate::rig::device::{TestDevice, layout_of};
use crate::rig::world::World;

/// 2026-06-21T10:00:00Z.
const START: i64 = 1_782_036_000_000;
const INTERVAL_MS: i64 = 5_000;
const SAMPLES: i64 = 12;
const BATCHES: i64 = 60;
/// The inverter's constant power, and its counter's first value.
const POWER_W: u32 = 600;
const COUNTER_WH: u32 = 1_204_300;

/// A counter and a power of two registers each.
const POINTS: &str = r#"
"ac.energy.total" = { address = 0, type = "u32", unit = "Wh", group = "live", counter = "monotonic" }
"ac.power" = { address = 2, type = "i32", unit = "W", group = "live", min_rated = -0.1, max_rated = 1.5 }
"#;

/// Delivers an hour of an inverter in batches of a minute. `misread` may replace the counter and
/// power of a batch's sample.
async fn hour(
    world: &World,
    misread: impl Fn(i64, i64, (u32, u32)) -> (u32, u32),
) -> (TestDevice, i64) {
    let mut device = TestDevice::enrol(world, "Roof").await;
    device.use_layout(layout_of(POINTS));
    let made_wh = |at: i64| u32::try_from(at * i64::from(POWER_W) / 3_600_000).unwrap();
    for batch in 0..BATCHES {
        let sample = |sample: i64| {
            let since = (batch * SAMPLES + sample) * INTERVAL_MS;
            let right = (COUNTER_WH + made_wh(since), POWER_W);
            let (counter, power) = misread(batch, sample, right);
            let words = [counter, power].map(|value| value.to_be_bytes());
            let word = |at: usize| {
                u16::from_be_bytes([words[at / 2][at % 2 * 2], words[at / 2][at % 2 * 2 + 1]])
            };
            (UnixMs(START + since), (0..4).map(word).collect())
        };
        let samples: Vec<_> = (0..SAMPLES).map(sample).collect();
        device.deliver_words(world, &samples).await;
    }
    let last = (BATCHES * SAMPLES - 1) * INTERVAL_MS;
    (device, i64::from(made_wh(last)))
}

async fn day(world: &World, device: &TestDevice) -> Value {
    let target = format!("/api/v1/devices/{}/energy?from=2026-06-21&to=2026-06-22", device.id);
    let energy = world.get_json(&target).await;
    let days = energy["days"].as_array().unwrap();
    assert_eq!(days.len(), 1, "{energy}");
    days[0].clone()
}

#[tokio::test]
async fn a_day_says_how_many_steps_of_the_counter_were_refused() {
    let world = World::start().await;
    let (device, made_wh) = hour(&world, |_, _, right| right).await;
    let healthy = day(&world, &device).await;
    assert_eq!((&healthy["energy_wh"], &healthy["refused_steps"]), (&made_wh.into(), &Value::Null));
    assert_eq!(healthy["source"], "counter");

    type Misread = fn(i64, i64, (u32, u32)) -> (u32, u32);
    let cases: [(&str, Misread); 4] = [
        ("high word", |batch, sample, (counter, power)| {
            (counter + u32::from((batch, sample) == (20, 5)) * 65_536, power)
        }),
        ("part of the plant", |batch, _, (counter, power)| {
            (if (20..23).contains(&batch) { 310_000 } else { counter }, power)
        }),
        ("torn low word", |batch, sample, (counter, power)| {
            (if (batch, sample) == (20, 0) { counter & 0xFFFF_0000 } else { counter }, power)
        }),
        ("two places", |batch, sample, (counter, power)| {
            (counter + u32::from(sample == 5 && batch % 30 == 10) * 131_072, power)
        }),
    ];
    for (what, misread) in cases {
        let (device, made_wh) = hour(&world, misread).await;
        let day = day(&world, &device).await;
        assert_eq!(day["energy_wh"], made_wh, "{what}: {day}");
        assert!(day["refused_steps"].as_u64().is_some_and(|steps| steps > 0), "{what}: {day}");
    }
}

#[tokio::test]
async fn a_power_that_cannot_be_is_marked_and_enters_nothing() {
    let world = World::start().await;
    // A wrong high word, the smallest number, and slightly more than the inverter can produce.
    for wrong in [130 * 65_536 + POWER_W, 0x8000_0000, 7_501] {
        let (device, made_wh) = hour(&world, |batch, sample, (counter, power)| {
            (counter, if (batch, sample) == (20, 5) { wrong } else { power })
        })
        .await;
        let get = |resolution: &str| {
            let target = format!(
                "/api/v1/devices/{}/telemetry?from=2026-06-21&to=2026-06-22&points=ac.power\
                 &resolution={resolution}",
                device.id
            );
            let world = &world;
            async move { world.get_json(&target).await["series"][0].clone() }
        };
        let raw = get("raw").await;
        let place = 20 * SAMPLES + 5;
        assert_eq!(raw["not_good"], serde_json::json!([[place, "out_of_range"]]), "{wrong}");
        for resolution in ["1m", "15m", "1d"] {
            let summed = get(resolution).await;
            for figure in ["value", "min", "max", "last"] {
                let values = summed[figure].as_array().unwrap();
                assert!(
                    values.iter().all(|value| value.as_f64() == Some(f64::from(POWER_W))),
                    "{wrong} {figure}: {summed}"
                );
            }
            let counts = summed["count"].as_array().unwrap();
            let count: u64 = counts.iter().map(|count| count.as_u64().unwrap()).sum();
            assert_eq!(count, u64::try_from(BATCHES * SAMPLES - 1).unwrap());
        }
        assert_eq!(day(&world, &device).await["energy_wh"], made_wh);
    }
}

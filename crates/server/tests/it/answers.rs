//! Large answers: in pages, within their limits, and compressed.

use std::fmt::Write as _;

use ecowatt_model::UnixMs;
use ecowatt_profile::{Layout, Profile, Transport};
use ecowatt_server::limits::{ANSWER_BYTES_MAX, POINTS_MAX};
use miniz_oxide::inflate::decompress_to_vec;
use serde_json::Value;

use crate::rig::device::{Sample, TestDevice};
use crate::rig::world::{Answer, World};

/// 2026-06-21T00:00:00Z.
const START: i64 = 1_782_000_000_000;
const ROWS_MAX: usize = ecowatt_api::TELEMETRY_ROWS_MAX;

/// All pages of an answer, as (instants, values of the first point).
async fn pages(world: &World, target: &str) -> Vec<(Vec<i64>, Vec<f64>)> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = world.get(&format!("{target}{cursor}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.body.len() <= ANSWER_BYTES_MAX, "{}", answer.body.len());
        let page = answer.json();
        let list = |value: &Value| value.as_array().unwrap().clone();
        pages.push((
            list(&page["t_ms"]).iter().map(|t| t.as_i64().unwrap()).collect(),
            list(&page["series"][0]["value"]).iter().map(|v| v.as_f64().unwrap()).collect(),
        ));
        assert_eq!(page["truncated"], page["next_cursor"].is_string());
        let Some(next) = page["next_cursor"].as_str() else { return pages };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn dense_samples_come_in_pages_none_left_out_and_none_twice() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    // The shortest allowed interval. Each batch begins at the instant at which the one before it
    // ends, so that a page ends between two samples of one instant.
    let mut expected = Vec::new();
    for batch in 0..21i64 {
        let samples: Vec<Sample> = (0..1000i64)
            .map(|row| {
                let t = UnixMs(START + (batch * 999 + row) * 200);
                (t, Some(u16::try_from(batch * 100 + row % 100).unwrap()))
            })
            .collect();
        expected.extend(samples.iter().map(|(t, power)| (t.0, f64::from(power.unwrap()))));
        device.deliver(&world, UnixMs(START + 100_000_000), &samples).await;
    }
    let target = format!(
        "/api/v1/devices/{}/telemetry?from=2026-06-20&to=2026-06-23&resolution=raw",
        device.id
    );
    let found = pages(&world, &format!("{target}&points=ac.power")).await;
    assert_eq!(found.iter().map(|(t, _)| t.len()).collect::<Vec<_>>(), [ROWS_MAX, 1000]);
    assert_eq!(found[0].0.last(), found[1].0.first(), "two samples of one instant");
    let found: Vec<_> =
        found.into_iter().flat_map(|(t, values)| t.into_iter().zip(values)).collect();
    assert_eq!(found, expected);

    let refused = world.get(&format!("{target}&cursor=7")).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_cursor"));
}

#[tokio::test]
async fn quarter_hours_of_most_of_a_year_come_in_pages() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let days = 215;
    for day in 0..days {
        let start = START + (day - days) * 86_400_000;
        let samples: Vec<Sample> =
            (0..96).map(|quarter| (UnixMs(start + quarter * 900_000), Some(500))).collect();
        device.deliver(&world, UnixMs(START), &samples).await;
    }
    let target = format!(
        "/api/v1/devices/{}/telemetry?from=2025-06-21&to=2026-06-23&points=ac.power",
        device.id
    );
    for (resolution, expected) in [("15m", 215 * 96), ("1d", 216)] {
        let found = pages(&world, &format!("{target}&resolution={resolution}")).await;
        let instants: Vec<i64> = found.iter().flat_map(|(t, _)| t.clone()).collect();
        assert!(instants.is_sorted_by(|a, b| a < b), "{resolution}");
        // Days begin at the site's midnight, which is not that of the samples.
        assert_eq!(instants.len(), expected, "{resolution}");
        assert_eq!(found.len(), instants.len().div_ceil(ROWS_MAX), "{resolution}");
    }
    let plain = world.get(&format!("{target}&resolution=15m")).await;
    let compressed = get_gzip(&world, &format!("{target}&resolution=15m")).await;
    assert_eq!(compressed.header("vary"), Some("accept-encoding"));
    eprintln!("20,000 quarter hours: {} bytes, {}", plain.body.len(), compressed.body.len());
    assert!(compressed.body.len() * 4 < plain.body.len(), "{}", compressed.body.len());
    assert_eq!(inflated(&compressed), plain.body);
}

async fn get_gzip(world: &World, target: &str) -> Answer {
    let (name, value) = world.bearer();
    world.send("GET", target, &[(name, &value), ("accept-encoding", "gzip, br")], "").await
}

/// Unpacks a compressed answer and verifies its checksum.
fn inflated(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let body = &answer.body;
    let bytes = decompress_to_vec(&body[10..body.len() - 8]).unwrap();
    let length = u32::from_le_bytes(body[body.len() - 4..].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), bytes.len());
    bytes
}

#[tokio::test]
async fn pages_are_compressed_for_those_who_take_it() {
    let world = World::start().await;
    let plain = world.send("GET", "/app.js", &[], "").await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    let gzip = ("accept-encoding", "gzip");
    let compressed = world.send("GET", "/app.js", &[gzip], "").await;
    assert_eq!(inflated(&compressed), plain.body);
    eprintln!("app.js: {} bytes, {}", plain.body.len(), compressed.body.len());
    assert!(compressed.body.len() * 2 < plain.body.len());
    let tag = compressed.header("etag").unwrap().to_owned();
    assert_ne!(Some(tag.as_str()), plain.header("etag"), "other bytes, another tag");
    for (encoding, status) in [("gzip", 304), ("identity", 200)] {
        let headers = [("accept-encoding", encoding), ("if-none-match", tag.as_str())];
        assert_eq!(world.send("GET", "/app.js", &headers, "").await.status, status, "{encoding}");
    }
    // An answer with a secret is not compressed.
    let session = format!(r#"{{"token":"{}"}}"#, world.token);
    let headers = [gzip, crate::rig::world::JSON];
    let answer = world.send("POST", "/api/v1/session", &headers, &session).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, None));
}

/// An inverter may have had more points than an answer may have, over the years.
#[tokio::test]
async fn telemetry_without_points_has_those_of_the_newest_layout_first_and_not_too_many() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let (letters, width) = (["a", "b"], 80);
    for (letter, at) in letters.into_iter().zip([START, START + 60_000]) {
        device.use_layout(wide(letter, width));
        let sample = (UnixMs(at), vec![7; width]);
        device.deliver_words(&world, std::slice::from_ref(&sample)).await;
    }
    let target = format!(
        "/api/v1/devices/{}/telemetry?from=2026-06-21&to=2026-06-22&resolution=raw",
        device.id
    );
    let answer = world.get_json(&target).await;
    let names: Vec<&str> =
        answer["series"].as_array().unwrap().iter().map(|s| s["point"].as_str().unwrap()).collect();
    assert_eq!(names.len(), POINTS_MAX);
    assert!(names[..width].iter().all(|name| name.starts_with("x.b")), "{names:?}");
    assert!(names[width..].iter().all(|name| name.starts_with("x.a")), "{names:?}");
    // The others are there if they are asked for.
    let left_out = (0..width).map(|n| format!("x.a{n}")).find(|name| !names.contains(&&**name));
    let one = world.get_json(&format!("{target}&points={}", left_out.unwrap())).await;
    assert_eq!(one["series"][0]["value"], serde_json::json!([7.0, null]));
}

/// Returns the layout of an inverter with this many points of its own.
fn wide(letter: &str, width: usize) -> Layout {
    let mut profile = String::from(
        r#"
schema = 1
id = "test/wide"
version = 1
title = "Many points"
sources = ["this test"]
[transport]
kinds = ["tcp"]
unit = 1
timeout_ms = 1000
[defaults]
table = "holding"
type = "u16"
[groups.live]
every_s = 5
[points]
"#,
    );
    for n in 0..width {
        writeln!(profile, r#""x.{letter}{n}" = {{ address = {n}, group = "live" }}"#).unwrap();
    }
    Profile::parse(&profile).unwrap().compile(Transport::TCP).unwrap().layout
}

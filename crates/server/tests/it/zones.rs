//! Days of sites whose clocks change by half an hour, or at midnight.

use ecowatt_model::UnixMs;
use serde_json::json;

use crate::rig::device::{Sample, TestDevice};
use crate::rig::world::{JSON, World};

const QUARTER_MS: i64 = 900_000;

fn unix(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// A zone, a day on which its clocks change, and the instants at which that day begins and ends.
const CHANGES: [[&str; 4]; 6] = [
    // By half an hour, at 2 o'clock.
    ["Australia/Lord_Howe", "2025-04-06", "2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z"],
    ["Australia/Lord_Howe", "2025-10-05", "2025-10-04T13:30:00Z", "2025-10-05T13:00:00Z"],
    // The day begins at 1 o'clock; the day has midnight twice.
    ["America/Havana", "2025-03-09", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"],
    ["America/Havana", "2025-11-02", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"],
    // The day begins at 1 o'clock; its last hour comes twice.
    ["Africa/Cairo", "2025-04-25", "2025-04-24T22:00:00Z", "2025-04-25T21:00:00Z"],
    ["Africa/Cairo", "2025-10-30", "2025-10-29T21:00:00Z", "2025-10-30T22:00:00Z"],
];

#[tokio::test]
async fn days_are_cut_where_the_sites_calendar_says() {
    for [zone, date, from, to] in CHANGES {
        let world = World::start().await;
        let mut device = TestDevice::enrol(&world, "Roof").await;
        let site = world.get_json("/api/v1/sites").await[0]["id"].as_i64().unwrap();
        let (name, value) = world.bearer();
        let body = format!(r#"{{"time_zone":"{zone}"}}"#);
        let target = format!("/api/v1/sites/{site}");
        let changed = world.send("PATCH", &target, &[(name, &value), JSON], &body).await;
        assert_eq!(changed.status, 200, "{changed:?}");

        // A sample in each quarter hour of the day and of those around it.
        let (from, to) = (unix(from), unix(to));
        let samples: Vec<Sample> = (from - 60 * QUARTER_MS..to + 60 * QUARTER_MS)
            .step_by(usize::try_from(QUARTER_MS).unwrap())
            .map(|at| (UnixMs(at), Some(1000)))
            .collect();
        for part in samples.chunks(50) {
            device.deliver(&world, part.last().unwrap().0, part).await;
        }
        let next: jiff::civil::Date = date.parse().unwrap();
        let next = next.tomorrow().unwrap();
        let path = format!("/api/v1/devices/{}", device.id);
        let range = format!("from={date}&to={next}");
        let count = (to - from) / QUARTER_MS;

        let day = format!("{path}/telemetry?{range}&resolution=1d&points=ac.power");
        let day = world.get_json(&day).await;
        assert_eq!(day["t_ms"], json!([from]), "{zone} {date}");
        assert_eq!(day["series"][0]["count"], json!([count]), "{zone} {date}");
        // The same day by its instants.
        let raw = format!("{path}/telemetry?{range}&resolution=raw&points=ac.power");
        let raw = world.get_json(&raw).await;
        let instants = raw["t_ms"].as_array().unwrap();
        assert_eq!(i64::try_from(instants.len()).unwrap(), count, "{zone} {date}");
        assert_eq!(
            (&instants[0], instants.last().unwrap()),
            (&json!(from), &json!(to - QUARTER_MS))
        );
        let energy = world.get_json(&format!("{path}/energy?{range}")).await;
        let days = energy["days"].as_array().unwrap();
        let dates: Vec<_> = days.iter().map(|day| &day["date"]).collect();
        assert_eq!(dates, [date], "{zone}");
    }
}

//! Rows of the original's database as samples, and samples as uploads.

use std::collections::BTreeMap;

use ecowatt_original::exact;
use ecowatt_store::MeasurementRow;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// Registers in the order of their numbers: the names in the database, of which two are older, and
/// how many units of the register one of the value is.
const REGISTERS: [(&[&str], f64); 10] = [
    (&["Vac1"], 10.0),
    (&["Iac1"], 10.0),
    (&["Fac1"], 100.0),
    (&["Vpv1"], 10.0),
    (&["Vpv2"], 10.0),
    (&["Ipv1"], 10.0),
    (&["Ipv2"], 10.0),
    (&["Temp", "Temperature"], 10.0),
    (&["Pow", "ExportPowerPct"], 1.0),
    (&["Pac"], 1.0),
];

/// Most values of a packet, and packets of an upload that the server takes.
const VALUES_MAX: usize = 255;
const PACKETS_MAX: usize = 60;

/// Longest time between packets of an upload: the server dates a packet by the time of its upload if
/// it is older than two days.
const SPAN_MAX_MS: i64 = 24 * 3_600_000;

/// Longest distance of samples in a packet: the longest that the original's devices sample at.
const STEP_MAX_MS: i64 = 3_600_000;

/// 2020-01-01T00:00:00Z. The server takes anything before that for a device without the time.
const EARLIEST_MS: i64 = 1_577_836_800_000;

/// How far from a whole number of units a value may be, which was divided in floating point.
const TOLERANCE: f64 = 1e-6;

/// Distance of samples that stand alone.
const INTERVAL_S: i64 = 5;

/// The registers of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) time_ms: i64,
    registers: Vec<u8>,
    words: Vec<u16>,
}

/// Why a row is not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowProblem {
    #[error("its timestamp is not a date and time")]
    Time,
    #[error("it is older than 2020")]
    Old,
    #[error("its register_data is not JSON with values by name")]
    Json,
    #[error("it has no values")]
    Empty,
    #[error("`{0}` is not the name of a register")]
    Name(String),
    #[error("{0} is not a value of its register")]
    Value(String),
}

impl Sample {
    /// Reads a row. Its time is that of the server's clock, in `zone` unless it has an offset.
    pub(super) fn read(row: &MeasurementRow, zone: &TimeZone) -> Result<Self, RowProblem> {
        let time_ms = row.timestamp.as_deref().and_then(|text| instant(text, zone));
        let time_ms = time_ms.ok_or(RowProblem::Time)?;
        if time_ms < EARLIEST_MS {
            return Err(RowProblem::Old);
        }
        let text = row.registers.as_deref().unwrap_or_default();
        let values: Value = serde_json::from_str(text).map_err(|_| RowProblem::Json)?;
        let values = values.as_object().ok_or(RowProblem::Json)?;
        let mut words = BTreeMap::new();
        for (name, value) in values {
            let known = REGISTERS.iter().position(|(names, _)| names.contains(&name.as_str()));
            let place = known.ok_or_else(|| RowProblem::Name(name.clone()))?;
            let (_, gain) = REGISTERS[place];
            let word = value.as_f64().and_then(|value| whole(value * gain));
            let word = word.ok_or_else(|| RowProblem::Value(name.clone()))?;
            words.insert(u8::try_from(place).unwrap_or(u8::MAX), word);
        }
        if words.is_empty() {
            return Err(RowProblem::Empty);
        }
        let (registers, words) = words.into_iter().unzip();
        Ok(Self { time_ms, registers, words })
    }
}

/// Reads `YYYY-MM-DD hh:mm:ss`, with or without a fraction and an offset.
fn instant(text: &str, zone: &TimeZone) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    let local: jiff::civil::DateTime = text.parse().ok()?;
    Some(local.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "compared with the number that it is made of"
)]
fn whole(number: f64) -> Option<u16> {
    let word = number.round() as u16;
    ((f64::from(word) - number).abs() < TOLERANCE).then_some(word)
}

/// Samples of the same registers, equally far apart.
#[derive(Debug, Clone)]
struct Packet {
    samples: Vec<Sample>,
    /// `None` if there is one sample.
    step_ms: Option<i64>,
}

/// What goes out under one nonce. It depends on nothing but the rows before its end.
#[derive(Debug, Default)]
pub(super) struct Upload {
    packets: Vec<Packet>,
}

impl Upload {
    /// Adds a sample, or returns it if it belongs into the next upload.
    pub(super) fn add(&mut self, sample: Sample) -> Option<Sample> {
        let step_of = self.step_ms();
        if let Some(packet) = self.packets.last_mut()
            && packet.takes(&sample, step_of)
        {
            packet.add(sample);
            return None;
        }
        let is_near = self.packets.first().is_none_or(|first| {
            let first = first.samples.first().map_or(0, |first| first.time_ms);
            (first..=first + SPAN_MAX_MS).contains(&sample.time_ms)
        });
        if self.packets.len() >= PACKETS_MAX || !is_near {
            return Some(sample);
        }
        self.packets.push(Packet { samples: vec![sample], step_ms: None });
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(super) fn samples(&self) -> usize {
        self.packets.iter().map(|packet| packet.samples.len()).sum()
    }

    /// The distance of samples, which all packets of an upload share.
    fn step_ms(&self) -> Option<i64> {
        self.packets.iter().find_map(|packet| packet.step_ms)
    }

    /// Returns the text to be sealed.
    pub(super) fn text(&self) -> String {
        let lasts = self.packets.iter().filter_map(|packet| packet.samples.last());
        let sent_ms = lasts.map(|last| last.time_ms).max().unwrap_or_default();
        let packets: Vec<Value> = self.packets.iter().map(Packet::json).collect();
        json!({
            // Not before the last sample.
            "timestamp": sent_ms.div_euclid(1_000) + 1,
            "sampling_interval": self.step_ms().map_or(INTERVAL_S, |step| step / 1_000),
            "compressed_data": packets,
        })
        .to_string()
    }
}

impl Packet {
    fn takes(&self, next: &Sample, step_of_upload: Option<i64>) -> bool {
        let Some(last) = self.samples.last() else { return true };
        let step = next.time_ms - last.time_ms;
        let is_usual = self.step_ms.or(step_of_upload).is_none_or(|usual| usual == step);
        let values = (self.samples.len() + 1) * next.registers.len();
        next.registers == last.registers
            && is_usual
            && step >= 1_000
            && step % 1_000 == 0
            && step <= STEP_MAX_MS
            && values <= VALUES_MAX
    }

    fn add(&mut self, next: Sample) {
        let last = self.samples.last().map(|last| last.time_ms);
        self.step_ms = self.step_ms.or(last.map(|last| next.time_ms - last));
        self.samples.push(next);
    }

    fn json(&self) -> Value {
        let words: Vec<u16> =
            self.samples.iter().flat_map(|sample| &sample.words).copied().collect();
        let last = self.samples.last();
        json!({
            "compressed_binary": super::base64(&exact(&words)),
            "decompression_metadata": {
                "sample_count": self.samples.len(),
                "timestamp": last.map_or(0, |last| last.time_ms.rem_euclid(1 << 32)),
                "register_layout": last.map(|last| last.registers.clone()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(timestamp: &str, registers: &str) -> MeasurementRow {
        let text = |text: &str| Some(text.to_owned());
        MeasurementRow { number: 1, timestamp: text(timestamp), registers: text(registers) }
    }

    #[test]
    fn rows_are_read_exactly_or_refused() {
        let colombo = TimeZone::get("Asia/Colombo").unwrap();
        let good = r#"{"Pac": 4000, "Vac1": 230.1, "Fac1": 50.07, "Temperature": 35.3}"#;
        let sample = Sample::read(&row("2026-06-21 16:30:00", good), &colombo).unwrap();
        assert_eq!(sample.time_ms, 1_782_039_600_000);
        assert_eq!(sample.registers, [0, 2, 7, 9]);
        assert_eq!(sample.words, [2_301, 5_007, 353, 4_000]);
        for text in
            ["2026-06-21 11:00:00+00:00", "2026-06-21T11:00:00Z", "2026-06-21 16:30:00.000000"]
        {
            assert_eq!(Sample::read(&row(text, good), &colombo).unwrap(), sample, "{text}");
        }
        for (time, registers, problem) in [
            ("yesterday", good, RowProblem::Time),
            ("1970-01-01 00:10:00", good, RowProblem::Old),
            ("2026-06-21 16:30:00", "[1]", RowProblem::Json),
            ("2026-06-21 16:30:00", "{", RowProblem::Json),
            ("2026-06-21 16:30:00", "{}", RowProblem::Empty),
            ("2026-06-21 16:30:00", r#"{"battery": 1}"#, RowProblem::Name("battery".into())),
            ("2026-06-21 16:30:00", r#"{"Vac1": -1}"#, RowProblem::Value("Vac1".into())),
            ("2026-06-21 16:30:00", r#"{"Pac": 65536}"#, RowProblem::Value("Pac".into())),
            ("2026-06-21 16:30:00", r#"{"Vac1": 230.05}"#, RowProblem::Value("Vac1".into())),
            ("2026-06-21 16:30:00", r#"{"Vac1": "230"}"#, RowProblem::Value("Vac1".into())),
        ] {
            assert_eq!(Sample::read(&row(time, registers), &colombo), Err(problem));
        }
    }

    #[test]
    fn an_upload_has_one_distance_and_ends_within_a_day() {
        let sample = |time_s: i64| Sample {
            time_ms: 1_782_039_600_000 + time_s * 1_000,
            registers: vec![0, 1, 9],
            words: vec![1, 2, 3],
        };
        let fill = |times: &[i64]| {
            let mut upload = Upload::default();
            let rest = times.iter().position(|time| upload.add(sample(*time)).is_some());
            (upload, rest)
        };
        let (upload, rest) = fill(&[0, 5, 10, 60, 65, 67]);
        assert_eq!((upload.packets.len(), upload.samples(), rest), (3, 6, None));
        let text: Value = serde_json::from_str(&upload.text()).unwrap();
        assert_eq!(
            (&text["timestamp"], &text["sampling_interval"]),
            (&1_782_039_668_i64.into(), &5.into())
        );
        assert_eq!(fill(&[0, 90_000]).1, Some(1), "a day later");
        assert_eq!(fill(&[0, -5]).1, Some(1), "a clock that was set back");
        let (upload, rest) = fill(&(0..10_000).map(|n| 5 * n).collect::<Vec<_>>());
        assert_eq!((upload.packets.len(), upload.samples()), (60, 5_100));
        assert_eq!(rest, Some(5_100));
    }
}

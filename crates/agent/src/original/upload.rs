//! An upload as the original's firmware writes it.

use base64ct::{Base64, Encoding as _};
use ecowatt_envelope::original::{NoncePlace, OriginalKey};
use ecowatt_original::{Method, exact};

use super::registers;

/// Most values of a packet: its count is one byte.
const VALUES_MAX: usize = 255;

/// Longest time between the first and the last sample of an upload. The original's server counts
/// from the time of the upload, which is that of its first sample; ours takes the packet's own time
/// if it lies at most a minute after that.
const SPAN_MAX_S: i64 = 60;

/// The registers of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// Unix seconds.
    pub(super) time_s: i64,
    pub(super) registers: Vec<u8>,
    pub(super) words: Vec<u16>,
}

/// Samples that go into one upload: of the same registers, equally far apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    pub(super) samples: Vec<&'a Sample>,
    pub(super) interval_s: i64,
}

impl<'a> Run<'a> {
    /// Takes the longest run from the beginning. A single sample has the interval `usual_s`.
    pub(super) fn first(samples: impl Iterator<Item = &'a Sample>, usual_s: i64) -> Option<Self> {
        let mut run: Option<Self> = None;
        for sample in samples {
            let Some(so_far) = &mut run else {
                run = Some(Self { samples: vec![sample], interval_s: usual_s });
                continue;
            };
            if !so_far.is_followed_by(sample) {
                break;
            }
            if let [first] = so_far.samples[..] {
                so_far.interval_s = sample.time_s - first.time_s;
            }
            so_far.samples.push(sample);
        }
        run
    }

    fn is_followed_by(&self, next: &Sample) -> bool {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return false;
        };
        let step = next.time_s - last.time_s;
        let is_regular = self.samples.len() == 1 || step == self.interval_s;
        let values = (self.samples.len() + 1) * next.registers.len();
        next.registers == first.registers
            && step >= 1
            && is_regular
            && next.time_s - first.time_s <= SPAN_MAX_S
            && values <= VALUES_MAX
    }

    /// Returns the text of the upload, byte for byte as the firmware writes one packet.
    pub(super) fn text(&self, device: &str) -> String {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return String::new();
        };
        let values: Vec<u16> =
            self.samples.iter().flat_map(|sample| &sample.words).copied().collect();
        Packet {
            device,
            sent_s: first.time_s,
            interval_s: self.interval_s,
            registers: &first.registers,
            values: &values,
            last_ms: low_half(last.time_s.saturating_mul(1_000)),
        }
        .text()
    }
}

/// What the text of an upload depends on.
struct Packet<'a> {
    device: &'a str,
    sent_s: i64,
    interval_s: i64,
    registers: &'a [u8],
    values: &'a [u16],
    last_ms: u32,
}

impl Packet<'_> {
    fn text(&self) -> String {
        let packet = exact(self.values);
        let method = packet.first().and_then(|marker| Method::of_marker(*marker));
        let method = method.map_or("raw", Method::name);
        let (raw, packed) = (2 * self.values.len(), packet.len());
        let ratio = single(packed) / single(raw);
        let saved = float((1.0 - ratio) * 100.0);
        let (ratio, inverse) = (float(ratio), float(single(raw) / single(packed)));
        let names = self.registers.iter().map(|register| registers::name(*register));
        let mapping: Vec<String> =
            names.enumerate().map(|(place, name)| format!("\"{place}\":\"{name}\"")).collect();
        let layout: Vec<String> = self.registers.iter().map(ToString::to_string).collect();
        let (mapping, layout) = (mapping.join(","), layout.join(","));
        let binary = Base64::encode_string(&packet);
        let columns = self.registers.len();
        let samples = self.values.len() / columns.max(1);
        let Self { device, sent_s, interval_s, last_ms, .. } = self;
        format!(
            "{{\"device_id\":\"{device}\",\"timestamp\":{sent_s},\
             \"data_type\":\"compressed_sensor_batch\",\"total_samples\":1,\
             \"sampling_interval\":{interval_s},\"register_mapping\":{{{mapping}}},\
             \"compressed_data\":[{{\"compressed_binary\":\"{binary}\",\
             \"decompression_metadata\":{{\"method\":\"{method}\",\"register_count\":{columns},\
             \"sample_count\":{samples},\"original_size_bytes\":{raw},\
             \"compressed_size_bytes\":{packed},\"timestamp\":{last_ms},\
             \"register_layout\":[{layout}]}},\"performance_metrics\":{{\
             \"academic_ratio\":{ratio},\"traditional_ratio\":{inverse},\
             \"compression_time_us\":0,\"savings_percent\":{saved},\
             \"lossless_verified\":false}}}}],\"session_summary\":{{\
             \"total_original_bytes\":{raw},\"total_compressed_bytes\":{packed},\
             \"overall_academic_ratio\":{ratio},\"overall_savings_percent\":{saved}}}}}"
        )
    }
}

/// Seals a text under a nonce that was never used before.
pub(super) fn envelope(key: &OriginalKey, nonce: u32, text: &str) -> String {
    let tag = key.tag(NoncePlace::Before, nonce, text.as_bytes());
    let mac: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let payload = Base64::encode_string(text.as_bytes());
    format!(
        "{{\"nonce\":{nonce},\"payload\":\"{payload}\",\"mac\":\"{mac}\",\
         \"encrypted\":false,\"compressed\":false}}"
    )
}

/// A number as the firmware's JSON library writes it: nine decimals, one less for each digit before
/// the point beyond the first, without zeros at the end.
fn float(number: f32) -> String {
    let decimals = match number.abs() {
        number if number >= 100.0 => 7,
        number if number >= 10.0 => 8,
        _ => 9,
    };
    let text = format!("{:.decimals$}", f64::from(number));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The firmware counts in single precision.
#[expect(clippy::cast_precision_loss, reason = "a packet has at most some hundred bytes")]
fn single(bytes: usize) -> f32 {
    bytes as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the firmware sends the lower half"
)]
fn low_half(instant: i64) -> u32 {
    instant as u32
}

#[cfg(test)]
mod tests {
    use ecowatt_envelope::original::PUBLISHED_KEY;
    use serde_json::Value;

    use super::*;

    const RECORDED: &str = include_str!("../../../../testdata/original/envelope.jsonl");

    /// Uploads of the firmware, with what its encoder chose the same as ours.
    #[test]
    fn recorded_uploads_are_made_byte_for_byte() {
        let mut made = 0;
        for line in RECORDED.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if !line["name"].as_str().unwrap().starts_with("device_upload_") {
                continue;
            }
            let text = line["plaintext"].as_str().unwrap();
            let upload: Value = serde_json::from_str(text).unwrap();
            let packet = &upload["compressed_data"][0];
            let metadata = &packet["decompression_metadata"];
            let number = |value: &Value| value.as_u64().unwrap();
            let registers: Vec<u8> = metadata["register_layout"]
                .as_array()
                .unwrap()
                .iter()
                .map(|register| number(register).try_into().unwrap())
                .collect();
            let bytes = Base64::decode_vec(packet["compressed_binary"].as_str().unwrap()).unwrap();
            let samples = usize::try_from(number(&metadata["sample_count"])).unwrap();
            let shape = ecowatt_original::Shape { registers: &registers, samples: Some(samples) };
            let values = shape.decode(&bytes, &ecowatt_original::History::default()).unwrap();
            let own = Packet {
                device: upload["device_id"].as_str().unwrap(),
                sent_s: upload["timestamp"].as_i64().unwrap(),
                interval_s: upload["sampling_interval"].as_i64().unwrap(),
                registers: &registers,
                values: &values,
                last_ms: number(&metadata["timestamp"]).try_into().unwrap(),
            };
            // The recorder's stand-in clock is not ours.
            let own =
                own.text().replace("\"compression_time_us\":0", "\"compression_time_us\":900");
            assert_eq!(own, text);
            let key = OriginalKey::new(PUBLISHED_KEY);
            let nonce = number(&line["nonce"]).try_into().unwrap();
            assert_eq!(envelope(&key, nonce, &own), line["wire"].as_str().unwrap());
            made += 1;
        }
        assert!(made >= 10, "{made}");
    }

    fn sample(time_s: i64, registers: &[u8]) -> Sample {
        Sample { time_s, registers: registers.into(), words: vec![7; registers.len()] }
    }

    #[test]
    fn a_run_has_equal_steps_and_one_layout() {
        let ten: Vec<u8> = (0..10).collect();
        let run = |samples: &[Sample]| {
            let run = Run::first(samples.iter(), 5).unwrap();
            (run.samples.len(), run.interval_s)
        };
        let at = |times: &[i64]| times.iter().map(|time| sample(*time, &ten)).collect::<Vec<_>>();
        assert_eq!(run(&at(&[100])), (1, 5));
        assert_eq!(run(&at(&[100, 102, 104, 109])), (3, 2));
        // A clock that was set back, and a sample that is missing.
        assert_eq!(run(&at(&[100, 95])), (1, 5));
        assert_eq!(run(&at(&[100, 100])), (1, 5));
        assert_eq!(run(&at(&[100, 105, 115])), (2, 5));
        assert_eq!(run(&at(&[100, 200])), (1, 5));
        let two = [sample(100, &[0, 1]), sample(105, &[0, 2])];
        assert_eq!(run(&two), (1, 5));
        let long = at(&(0..100).collect::<Vec<_>>());
        assert_eq!(run(&long), (25, 1), "a packet counts 255 values");
        let few: Vec<Sample> = (0..100).map(|time| sample(time, &[9])).collect();
        assert_eq!(run(&few), (61, 1), "a minute");
        assert_eq!(Run::first([].iter(), 5), None);
    }
}

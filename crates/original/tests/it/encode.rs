//! The encoder against every recorded packet.

use ecowatt_original::{Encoder, History, Method, Shape, exact};
use serde_json::Value;

use crate::vector::{bytes, lines, registers, words};

const RECORDED: &str = include_str!("../../../../testdata/original/compression.jsonl");

fn values(line: &Value) -> Vec<u16> {
    line["samples"].as_array().unwrap().iter().flat_map(words).collect()
}

fn encode(encoder: &mut Encoder, line: &Value) -> Vec<u8> {
    let (registers, values) = (registers(line), values(line));
    match line["method"].as_str().unwrap() {
        "SMART" => encoder.encode(&registers, &values),
        "DICTIONARY" => encoder.encode_by(Method::Dictionary, &registers, &values),
        "TEMPORAL" => encoder.encode_by(Method::Temporal, &registers, &values),
        "SEMANTIC" => encoder.encode_by(Method::Semantic, &registers, &values),
        "BITPACK" => encoder.encode_by(Method::BitPack, &registers, &values),
        other => panic!("no method {other}"),
    }
}

/// A form with a width that was asked for; the firmware never asks.
fn is_of_a_width(line: &Value) -> bool {
    line["method"].as_str().unwrap().starts_with("BITPACK_")
}

#[test]
fn every_recorded_packet_is_made_byte_for_byte() {
    let mut made = 0;
    for line in lines(RECORDED) {
        if line["marker"] == "0x71" || is_of_a_width(&line) {
            continue;
        }
        let packet = encode(&mut Encoder::default(), &line);
        assert_eq!(packet, bytes(&line["hex"]), "{} {}", line["name"], line["method"]);
        made += 1;
    }
    assert_eq!(made, 293);
}

/// Every second packet of a sequence is recorded. The missing one follows from the recorded delta.
#[test]
fn recorded_deltas_are_made_after_eight_packets() {
    let lines = lines(RECORDED);
    let mut made = 0;
    for pair in lines.windows(2) {
        let [before, line] = pair else { unreachable!() };
        let sequence = |line: &Value| {
            let state = line["state"].as_str().unwrap();
            (state.rsplit_once(':').unwrap().0.to_owned(), line["method"].clone())
        };
        if line["marker"] != "0x71" || sequence(before) != sequence(line) {
            continue;
        }
        let (registers, now, before) = (registers(line), values(line), values(before));
        let deltas = deltas(&bytes(&line["hex"])[2..]);
        assert_eq!(deltas.len(), now.len());
        let last = now.len() - registers.len();
        let missing: Option<Vec<u16>> = (0..registers.len())
            .map(|column| {
                let predicted = now[column].wrapping_sub(deltas[column].cast_unsigned());
                between(before[last + column], predicted)
            })
            .collect();
        let Some(missing) = missing else { continue };
        // Only the last sample of a packet counts; its others may be anything.
        let missing: Vec<u16> = missing.iter().copied().cycle().take(now.len()).collect();
        let mut encoder = Encoder::default();
        for _ in 0..7 {
            let _ = encoder.encode(&registers, &before);
        }
        let seventh = encoder.encode_by(Method::Temporal, &registers, &missing);
        assert_eq!(seventh[0], 0x70, "a delta before eight packets were made");
        assert_eq!(
            encode(&mut encoder, line),
            bytes(&line["hex"]),
            "{} {}",
            line["name"],
            line["method"]
        );
        made += 1;
    }
    assert_eq!(made, 41);
}

/// Returns a value whose line from `before` leads to `predicted`.
fn between(before: u16, predicted: u16) -> Option<u16> {
    (0..=u16::MAX).find(|value| {
        let line = 2 * i32::from(*value) - i32::from(before);
        u16::try_from(line).unwrap_or(*value) == predicted
    })
}

/// Reads the codes of a delta packet.
fn deltas(mut codes: &[u8]) -> Vec<i16> {
    let mut deltas = Vec::new();
    while let [code, rest @ ..] = codes {
        let (delta, rest) = match (code, rest) {
            (0, [low, rest @ ..]) => (i16::from(low.cast_signed()), rest),
            (1, [low, high, rest @ ..]) => (i16::from_le_bytes([*low, *high]), rest),
            (code, rest) if code & 0x80 != 0 => {
                let size = i16::from(code & 0x3f);
                (if code & 0x40 == 0 { size } else { -size }, rest)
            }
            other => panic!("{other:?}"),
        };
        deltas.push(delta);
        codes = rest;
    }
    deltas
}

/// What an encoder makes in a row, a history of the packets restores, but for the semantic form.
#[test]
fn what_is_made_is_restored() {
    let mut encoder = Encoder::default();
    let mut history = History::default();
    let registers = [0, 1, 9];
    let mut seen = std::collections::BTreeMap::new();
    for packet in 0..200_u16 {
        let value = |column: u16| 2_300_u16.wrapping_add(packet * (column * 97 + 1) % 331 * column);
        let values: Vec<u16> = (0..3).map(value).collect();
        let bytes = encoder.encode(&registers, &values);
        let shape = Shape { registers: &registers, samples: Some(1) };
        if bytes[0] != 0x50 {
            assert_eq!(shape.decode(&bytes, &history).as_deref(), Ok(&values[..]), "{packet}");
        }
        history.add(&registers, &values);
        *seen.entry(bytes[0]).or_insert(0) += 1;
        let bytes = exact(&values);
        assert_eq!(shape.decode(&bytes, &History::default()), Ok(values));
    }
    assert!(seen.contains_key(&0x71) && seen.contains_key(&0x01), "{seen:?}");
}

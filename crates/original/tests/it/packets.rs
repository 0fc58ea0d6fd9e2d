//! Every recorded packet, and the rules that the recorded ones follow.

use ecowatt_original::{History, PacketError, Shape};
use serde_json::Value;

use crate::vector::{bytes, lines, registers, words};

const RECORDED: &str = include_str!("../../../../testdata/original/compression.jsonl");

fn rows(line: &Value) -> Vec<Vec<u16>> {
    line["samples"].as_array().unwrap().iter().map(words).collect()
}

fn decode(line: &Value, packet: &[u8], history: &History) -> Result<Vec<u16>, PacketError> {
    let registers = registers(line);
    let samples = Some(rows(line).len());
    Shape { registers: &registers, samples }.decode(packet, history)
}

#[test]
fn every_recorded_packet_is_restored_exactly_or_refused() {
    let (mut exact, mut lossy, mut deltas) = (0, 0, 0);
    for line in lines(RECORDED) {
        let packet = bytes(&line["hex"]);
        let decoded = decode(&line, &packet, &History::default());
        match line["marker"].as_str().unwrap() {
            "0x50" => {
                assert_eq!(decoded, Err(PacketError::Lossy));
                lossy += 1;
            }
            "0x71" => {
                assert_eq!(decoded, Err(PacketError::NoHistory));
                deltas += 1;
            }
            _ => {
                assert_eq!(
                    decoded,
                    Ok(rows(&line).concat()),
                    "{} {}",
                    line["name"],
                    line["method"]
                );
                exact += 1;
            }
        }
    }
    assert_eq!((exact, lossy, deltas), (257, 44, 41));
}

/// What the device's uploader cuts off after 189 bytes is noticed, not read as zeros.
#[test]
fn packet_that_was_cut_is_refused() {
    let mut cut = 0;
    for line in lines(RECORDED).iter().filter(|line| line.get("device_wire").is_some()) {
        let packet = bytes(&line["hex"]);
        for length in [0, 1, 2, 3, 4, 100, 189] {
            decode(line, &packet[..length], &History::default()).unwrap_err();
        }
        cut += 1;
    }
    assert!(cut > 0);
}

/// Half of each sequence is recorded, so the packet before a delta is known where the values are
/// constant or rise by the same step.
#[test]
fn recorded_deltas_are_restored_from_the_two_packets_before() {
    let mut restored = 0;
    let lines = lines(RECORDED);
    for pair in lines.windows(2) {
        let name = pair[1]["state"].as_str().unwrap();
        let is_known = ["seq:seq_const:", "seq:seq_ramp:", "seq:seq_night:"].iter().any(|known| {
            name.starts_with(known) && pair[0]["state"].as_str().unwrap().starts_with(known)
        });
        if pair[1]["marker"] != "0x71" || !is_known || pair[0]["method"] != pair[1]["method"] {
            continue;
        }
        let (before, after) = (rows(&pair[0]).concat(), rows(&pair[1]).concat());
        if !before.iter().zip(&after).all(|(before, after)| (before + after) % 2 == 0) {
            continue;
        }
        let between: Vec<_> =
            before.iter().zip(&after).map(|(before, after)| before.midpoint(*after)).collect();
        if name.starts_with("seq:seq_night:") && before != after {
            continue;
        }
        let registers = registers(&pair[1]);
        let mut history = History::default();
        history.add(&registers, &before);
        history.add(&registers, &between);
        let packet = bytes(&pair[1]["hex"]);
        assert_eq!(decode(&pair[1], &packet, &history), Ok(after), "{name}");
        restored += 1;
    }
    assert!(restored >= 8, "{restored}");
}

/// The three forms of a code, the fallback at the ends of the range, and 16-bit arithmetic.
#[test]
fn deltas_count_from_the_line_through_the_last_samples() {
    let mut history = History::default();
    let shape = Shape { registers: &[0, 9], samples: None };
    assert_eq!(shape.decode(&[0x71, 2, 0x80, 0x80], &history), Err(PacketError::NoHistory));
    // Only the last sample of a packet counts.
    history.add(&[0, 9], &[7, 7, 1000, 60_000]);
    assert_eq!(shape.decode(&[0x71, 2, 0x80, 0x80], &history), Err(PacketError::NoHistory));
    history.add(&[9, 0], &[65_000, 1010]);
    let decode = |codes: &[u8]| shape.decode(&[&[0x71, 2], codes].concat(), &history);
    // Register 0 is expected at 1020; register 9 would be at 70,000 and is expected to stay.
    assert_eq!(decode(&[0x81, 0xc1]), Ok(vec![1021, 64_999]));
    assert_eq!(decode(&[0x00, 0x81, 0x00, 0x7f]), Ok(vec![893, 65_127]));
    assert_eq!(decode(&[0x01, 0xd4, 0xfe, 0x01, 0x2c, 0x01]), Ok(vec![720, 65_300]));
    assert_eq!(decode(&[0x01, 0x00, 0x80, 0x01, 0x58, 0x02]), Ok(vec![33_788, 64]));
    assert_eq!(decode(&[0x81]), Err(PacketError::Truncated(1)));
    assert_eq!(decode(&[0x81, 0x01, 0x00]), Err(PacketError::Truncated(3)));
    assert_eq!(decode(&[0x81, 0x81, 0x81]), Err(PacketError::Trailing));
    assert_eq!(decode(&[0x81, 0x02]), Err(PacketError::Index));
    // Every value of a packet has the same expectation, and the same holds after four values.
    let four = shape.decode(&[0x71, 4, 0x80, 0x80, 0x81, 0x81], &history);
    assert_eq!(four, Ok(vec![1020, 65_000, 1021, 65_001]));
    history.forget();
    assert_eq!(shape.decode(&[0x71, 2, 0x80, 0x80], &history), Err(PacketError::NoHistory));
}

/// Forms that the original server could read and no device sends.
#[test]
fn floating_point_forms_are_restored_where_their_values_are_whole() {
    let decode = |packet: &[u8]| {
        Shape { registers: &[0], samples: None }.decode(packet, &History::default())
    };
    let runs = [0xad, 5, 0, 0, 0x16, 0x43, 3, 0, 0, 0xc8, 0x42, 2];
    assert_eq!(decode(&runs), Ok(vec![150, 150, 150, 100, 100]));
    assert_eq!(decode(&runs[..11]), Err(PacketError::Truncated(0)));
    assert_eq!(decode(&[0xad, 2, 0, 0, 0x16, 0x43, 3]), Err(PacketError::Index));
    assert_eq!(decode(&[0xad, 2, 0, 0, 0x16, 0x43, 0]), Err(PacketError::Index));
    // 230, plus 1.00, less 2.00.
    let chain = [0xde, 3, 0, 0, 0x66, 0x43, 100, 0, 0x38, 0xff];
    assert_eq!(decode(&chain), Ok(vec![230, 231, 229]));
    // 230.5 is the value of no register.
    let half = [0xde, 3, 0, 0x80, 0x66, 0x43, 0x96, 0, 0xce, 0xff];
    assert_eq!(decode(&half), Err(PacketError::NotARegister));
}

#[test]
fn packets_that_no_encoder_makes_are_refused() {
    let shape = |registers, samples| Shape { registers, samples };
    let none = History::default();
    for marker in [0x00, 0x02, 0xaa, 0xff] {
        let packet = [marker, 8, 1, 0];
        let refused = shape(&[0], None).decode(&packet, &none);
        assert_eq!(refused, Err(PacketError::UnknownMarker(marker)));
    }
    assert_eq!(shape(&[0], None).decode(&[], &none), Err(PacketError::Truncated(0)));
    assert_eq!(shape(&[], None).decode(&[1, 8, 1, 0], &none), Err(PacketError::Shape));
    assert_eq!(shape(&[0, 1], None).decode(&[1, 8, 1, 0], &none), Err(PacketError::Shape));
    assert_eq!(shape(&[0], Some(501)).decode(&[1, 8, 245, 0], &none), Err(PacketError::Shape));
    let count = PacketError::Count { found: 1, expected: 2 };
    assert_eq!(shape(&[0], Some(2)).decode(&[1, 8, 1, 0], &none), Err(count));
    for width in [0, 17, 255] {
        let refused = shape(&[0], None).decode(&[1, width, 1, 0], &none);
        assert_eq!(refused, Err(PacketError::Width(width)));
    }
    let other = shape(&[0], None).decode(&[0x70, 1, 9, 1, 0], &none);
    assert_eq!(other, Err(PacketError::Registers));
    // 255 values are as many as the packet says; 256 would be said to be none.
    let longer = [&[1, 8, 0][..], &[7; 256]].concat();
    assert_eq!(shape(&[0], Some(256)).decode(&longer, &none), Ok(vec![7; 256]));
    assert_eq!(shape(&[0], None).decode(&longer, &none), Err(PacketError::Shape));
}

//! Bytes of version 1 of the record. **Do not edit them**: a program that does not read them does
//! not know which of its slots is good.

use ecowatt_artifact::{Image, sha256};
use ecowatt_update::{ImageSlot, Phase, RECORD_BYTES, Record, Revert, boot};

fn image(text: &str) -> Image {
    Image { size: u32::try_from(text.len()).unwrap(), sha256: sha256(text.as_bytes()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ABC: &str = "00000003ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const X: &str = "000000012d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

#[test]
fn records_of_version_1() {
    let (abc, x) = (image("abc"), image("x"));
    let new = Record::new(ImageSlot::A, abc);
    let none = "00".repeat(36);
    let no_failed = "00".repeat(32);
    let with = |phase| Record { phase, ..new.clone() };
    for (record, golden) in [
        (new.clone(), format!("0100000000{ABC}{none}{no_failed}")),
        (with(Phase::Settled { previous: Some(x) }), format!("0100010000{ABC}{X}{no_failed}")),
        (with(Phase::Clearing { image: x }), format!("0100020000{ABC}{X}{no_failed}")),
        (with(Phase::Staging { image: x }), format!("0100030000{ABC}{X}{no_failed}")),
        (with(Phase::Trial { image: x, starts_left: 2 }), format!("0100040200{ABC}{X}{no_failed}")),
        (
            Record { confirmed: ImageSlot::B, last: Some(Revert::Unhealthy), ..new.clone() },
            format!("0101000002{ABC}{none}{no_failed}"),
        ),
        (
            boot(&with(Phase::Trial { image: x, starts_left: 0 })).record.unwrap(),
            format!("0100000001{ABC}{none}2d711642b726b044{}", "00".repeat(24)),
        ),
    ] {
        assert_eq!(hex(&record.to_bytes()), golden);
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
    }
}

#[test]
fn damaged_records_are_refused() {
    let bytes = Record::new(ImageSlot::A, image("abc")).to_bytes();
    for length in 0..RECORD_BYTES {
        assert_eq!(Record::from_bytes(&bytes[..length]), None);
    }
    for (at, value) in [(0, 2), (1, 2), (2, 5), (3, 1), (4, 4)] {
        let mut bytes = bytes;
        bytes[at] = value;
        assert_eq!(Record::from_bytes(&bytes), None, "{at}");
    }
}

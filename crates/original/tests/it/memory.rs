//! Packets that are sent again, and packets that are missing.

use ecowatt_original::{Dating, Memory, PacketDigest, PacketError, Shape, Times};

const REGISTERS: &[u8] = &[0, 9];

fn digest(number: u8) -> PacketDigest {
    [number; 16]
}

/// Takes packet `number`: one sample, 5 s after the one of the number before.
fn take(memory: &mut Memory, number: u8, packet: &[u8]) -> Result<Vec<u16>, PacketError> {
    let shape = Shape { registers: REGISTERS, samples: Some(1) };
    let last_ms = 1_765_526_400_000 + 5000 * i64::from(number);
    let times = Times { last_ms, step_ms: 5000, dating: Dating::Device };
    // A server that is restarted after every packet knows the same.
    *memory = Memory::from_bytes(&memory.to_bytes()).unwrap();
    memory.take(digest(number), packet, &shape, |_| times)
}

fn base(first: u8, second: u8) -> [u8; 8] {
    [0x70, 2, 0, 9, first, 0, second, 0]
}

const DELTA: &[u8] = &[0x71, 2, 0x80, 0x81];

#[test]
fn delta_is_restored_after_two_packets_in_a_row() {
    let mut memory = Memory::default();
    take(&mut memory, 1, &base(10, 20)).unwrap();
    take(&mut memory, 2, &base(12, 20)).unwrap();
    assert_eq!(take(&mut memory, 3, DELTA), Ok(vec![14, 21]));
    // The delta itself is the base of the next one.
    assert_eq!(take(&mut memory, 4, DELTA), Ok(vec![16, 23]));
}

#[test]
fn delta_after_a_missing_packet_is_refused_until_two_more_have_come() {
    let mut memory = Memory::default();
    take(&mut memory, 1, &base(10, 20)).unwrap();
    take(&mut memory, 2, &base(12, 20)).unwrap();
    assert_eq!(take(&mut memory, 4, DELTA), Err(PacketError::NoHistory));
    assert_eq!(take(&mut memory, 5, DELTA), Err(PacketError::NoHistory));
    // The missing packet comes late: it counts for itself and is the base of none.
    assert_eq!(take(&mut memory, 3, &base(14, 20)), Ok(vec![14, 20]));
    assert_eq!(take(&mut memory, 6, DELTA), Err(PacketError::NoHistory));
    take(&mut memory, 7, &base(30, 40)).unwrap();
    assert_eq!(take(&mut memory, 8, DELTA), Err(PacketError::NoHistory));
    take(&mut memory, 9, &base(30, 40)).unwrap();
    take(&mut memory, 10, &base(30, 40)).unwrap();
    assert_eq!(take(&mut memory, 11, DELTA), Ok(vec![30, 41]));
}

#[test]
fn packet_that_cannot_be_restored_breaks_the_line() {
    let mut memory = Memory::default();
    take(&mut memory, 1, &base(10, 20)).unwrap();
    assert_eq!(take(&mut memory, 2, &[0x50, 2, 1]), Err(PacketError::Lossy));
    assert!(memory.repeats(&digest(2)));
    take(&mut memory, 3, &base(10, 20)).unwrap();
    assert_eq!(take(&mut memory, 4, DELTA), Err(PacketError::NoHistory));
}

/// A packet that is sent again and again is known, however many others come between two sendings, up
/// to what the device's queue allows.
#[test]
fn packet_is_known_when_it_is_sent_again() {
    let mut memory = Memory::default();
    for number in 1..=200 {
        assert!(!memory.repeats(&digest(number)));
        take(&mut memory, number, &base(10, 20)).unwrap();
        if number % 40 == 0 {
            let before = memory.clone();
            assert!(memory.repeats(&digest(number - 39)));
            assert!(memory.repeats(&digest(number - 20)));
            assert!(memory.repeats(&digest(1)));
            assert_ne!(memory, before);
        }
    }
    assert!(memory.repeats(&digest(1)));
    assert!(!memory.repeats(&digest(2)));
}

#[test]
fn bytes_that_were_not_stored_are_refused() {
    let mut memory = Memory::default();
    take(&mut memory, 1, &base(10, 20)).unwrap();
    let bytes = memory.to_bytes();
    for length in 0..bytes.len() {
        assert_ne!(Memory::from_bytes(&bytes[..length]), Some(memory.clone()), "{length}");
    }
    assert_eq!(Memory::from_bytes(&[&bytes[..], &[0; 16 * 64]].concat()), None);
    assert_eq!(Memory::from_bytes(&[&[2], &bytes[1..]].concat()), None);
}

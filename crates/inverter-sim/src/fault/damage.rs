//! Damages an answer before it is sent: bytes in, bytes out.

use ecowatt_modbus::{Framing, MBAP_LEN, PDU_MAX, crc16};

use crate::physics::random::Random;

/// How the bytes of an answer are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit of the checksum, or of the protocol identifier on TCP, is flipped.
    WrongCrc,
    /// At least one byte is missing at the end, and at least one byte is left.
    Truncated,
    /// 1 to 16 random bytes are sent first.
    Garbage,
    /// It has more data than requested, in a valid frame.
    Overlong,
    /// It is sent twice.
    Duplicate,
    /// A different unit, in a valid frame.
    WrongUnit,
    /// A different function, in a valid frame.
    WrongFunction,
    /// The answer to the previous request is sent instead.
    Stale,
}

const NOISE_MAX: usize = 16;
const SURPLUS_WORDS_MAX: usize = 24;

/// The bytes to send instead of `answer`; empty if there is no `previous` answer to send.
#[must_use]
pub fn damaged(
    damage: Damage,
    framing: Framing,
    answer: &[u8],
    previous: &[u8],
    random: &mut Random,
) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    let unit_at = match framing {
        Framing::Tcp => MBAP_LEN - 1,
        Framing::Rtu => 0,
    };
    match damage {
        Damage::WrongCrc => {
            let at = match framing {
                // TCP has no checksum: the protocol identifier takes its part.
                Framing::Tcp => 2 + random.below(2),
                Framing::Rtu => bytes.len().saturating_sub(1 + random.below(2)),
            };
            turn_bit(&mut bytes, at, random);
        }
        Damage::Truncated => {
            let keep = 1 + random.below(bytes.len().saturating_sub(1));
            bytes.truncate(keep);
        }
        Damage::Garbage => {
            bytes = (0..=random.below(NOISE_MAX)).map(|_| noise(random)).collect();
            bytes.extend_from_slice(answer);
        }
        Damage::Overlong => lengthen(&mut bytes, framing, unit_at, random),
        Damage::Duplicate => bytes.extend_from_slice(answer),
        Damage::WrongUnit => {
            if let Some(unit) = bytes.get_mut(unit_at) {
                *unit ^= 0x02;
            }
            seal(&mut bytes, framing);
        }
        Damage::WrongFunction => {
            if let Some(function) = bytes.get_mut(unit_at + 1) {
                *function ^= 0x07;
            }
            seal(&mut bytes, framing);
        }
        Damage::Stale => bytes = previous.to_vec(),
    }
    bytes
}

/// Adds words to the answer of a read, or bytes to any other answer.
fn lengthen(bytes: &mut Vec<u8>, framing: Framing, unit_at: usize, random: &mut Random) {
    let trailer = match framing {
        Framing::Tcp => 0,
        Framing::Rtu => 2,
    };
    let end = bytes.len().saturating_sub(trailer);
    let room = (PDU_MAX + unit_at + 1).saturating_sub(end);
    let surplus = (2 * (1 + random.below(SURPLUS_WORDS_MAX))).min(room);
    bytes.truncate(end);
    bytes.extend((0..surplus).map(|_| noise(random)));
    let is_read = matches!(bytes.get(unit_at + 1), Some(3 | 4));
    if let (true, Some(count)) = (is_read, bytes.get_mut(unit_at + 2)) {
        *count = count.saturating_add(u8::try_from(surplus).unwrap_or(0));
    }
    if framing == Framing::Tcp {
        let following = u16::try_from(bytes.len().saturating_sub(MBAP_LEN - 1)).unwrap_or(0);
        if let Some(length) = bytes.get_mut(4..6) {
            length.copy_from_slice(&following.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 2][..trailer]);
    seal(bytes, framing);
}

/// Updates the checksum.
fn seal(bytes: &mut [u8], framing: Framing) {
    if framing == Framing::Rtu
        && let Some((body, crc)) = bytes.split_last_chunk_mut::<2>()
    {
        *crc = crc16(body).to_le_bytes();
    }
}

fn turn_bit(bytes: &mut [u8], at: usize, random: &mut Random) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn noise(random: &mut Random) -> u8 {
    let [byte, ..] = random.bits().to_be_bytes();
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTU: [u8; 9] = [0x11, 3, 4, 0x00, 0x64, 0x13, 0x88, 0, 0];
    const TCP: [u8; 13] = [0, 7, 0, 0, 0, 7, 0x11, 3, 4, 0x00, 0x64, 0x13, 0x88];

    fn rtu() -> Vec<u8> {
        let mut bytes = RTU.to_vec();
        seal(&mut bytes, Framing::Rtu);
        bytes
    }

    fn rtu_after(damage: Damage) -> Vec<u8> {
        damaged(damage, Framing::Rtu, &rtu(), &[9, 9], &mut Random::new(5, 0))
    }

    fn tcp_after(damage: Damage) -> Vec<u8> {
        damaged(damage, Framing::Tcp, &TCP, &[9, 9], &mut Random::new(5, 0))
    }

    #[test]
    fn a_wrong_checksum_is_wrong_by_one_bit() {
        let bytes = rtu_after(Damage::WrongCrc);
        assert_eq!(bytes[..7], rtu()[..7]);
        assert_ne!(crc16(&bytes), 0);
        assert_ne!(tcp_after(Damage::WrongCrc)[2..4], [0, 0]);
    }

    #[test]
    fn a_truncated_answer_is_a_proper_prefix() {
        for seed in 0..50 {
            let mut random = Random::new(seed, 0);
            let bytes = damaged(Damage::Truncated, Framing::Rtu, &rtu(), &[], &mut random);
            assert!(!bytes.is_empty() && bytes.len() < 9 && rtu().starts_with(&bytes));
        }
    }

    #[test]
    fn noise_precedes_a_whole_answer() {
        let bytes = rtu_after(Damage::Garbage);
        assert!(bytes.len() > 9 && bytes.ends_with(&rtu()));
    }

    #[test]
    fn another_unit_or_function_is_in_a_valid_frame() {
        let (unit, function) = (rtu_after(Damage::WrongUnit), rtu_after(Damage::WrongFunction));
        assert_eq!((crc16(&unit), crc16(&function)), (0, 0));
        assert!(unit[0] != 0x11 && unit[1] == 3);
        assert!(function[0] == 0x11 && function[1] != 3);
        assert_eq!(tcp_after(Damage::WrongUnit)[6], 0x13);
        assert_eq!(tcp_after(Damage::WrongFunction)[7], 4);
    }

    #[test]
    fn an_overlong_answer_declares_its_length() {
        let bytes = rtu_after(Damage::Overlong);
        assert_eq!(crc16(&bytes), 0);
        assert!(bytes.len() > 9);
        assert_eq!(usize::from(bytes[2]), bytes.len() - 5);
        let bytes = tcp_after(Damage::Overlong);
        assert_eq!(usize::from(bytes[5]), bytes.len() - 6);
        assert_eq!(usize::from(bytes[8]), bytes.len() - 9);
    }

    #[test]
    fn an_overlong_answer_stays_within_a_frame() {
        let mut full = vec![0x11, 3, 250];
        full.extend([0; 252]);
        seal(&mut full, Framing::Rtu);
        let mut random = Random::new(5, 0);
        let bytes = damaged(Damage::Overlong, Framing::Rtu, &full, &[], &mut random);
        assert!(bytes.len() <= 256, "{}", bytes.len());
    }

    #[test]
    fn stale_is_the_previous_answer_and_duplicate_is_sent_twice() {
        assert_eq!(rtu_after(Damage::Stale), [9, 9]);
        assert_eq!(rtu_after(Damage::Duplicate), [rtu(), rtu()].concat());
    }

    #[test]
    fn even_the_shortest_answer_can_be_damaged() {
        for damage in [
            Damage::WrongCrc,
            Damage::Truncated,
            Damage::Garbage,
            Damage::Overlong,
            Damage::Duplicate,
            Damage::WrongUnit,
            Damage::WrongFunction,
            Damage::Stale,
        ] {
            for length in 0..4 {
                for framing in [Framing::Tcp, Framing::Rtu] {
                    let answer = vec![0x11; length];
                    let mut random = Random::new(1, 0);
                    let _ = damaged(damage, framing, &answer, &[], &mut random);
                }
            }
        }
    }
}

//! Checks that CBOR is in its canonical form: definite lengths and shortest heads (RFC 8949 section
//! 4.2.1).
//!
//! It goes from head to head without regard to nesting, so it also covers sections that a reader
//! skips.

/// Checks every head; the error is the position of the first that could be shorter or has no
/// definite length.
pub(crate) fn check(bytes: &[u8]) -> Result<(), usize> {
    let mut at = 0;
    while at < bytes.len() {
        at = next_head(bytes, at).ok_or(at)?;
    }
    Ok(())
}

/// Position of the head after the one at `at`; `None` if that one is not canonical.
fn next_head(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at)?;
    let (major, info) = (first >> 5, first & 31);
    let width = match info {
        0..=23 => 0,
        24..=27 => 1 << (info - 24),
        _ => return None,
    };
    let argument = bytes.get(at + 1..at + 1 + width)?;
    let value = argument.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    let is_shortest = match (major, width) {
        (_, 0) => true,
        // Simple values below 32 have no second byte; floats keep the width that they have.
        (7, 1) => value >= 32,
        (7, _) => true,
        (_, 1) => value >= 24,
        (_, _) => value >> (4 * width) != 0,
    };
    let content = match major {
        2 | 3 if width == 0 => usize::from(info),
        2 | 3 => usize::try_from(value).ok()?,
        _ => 0,
    };
    let end = (at + 1 + width).checked_add(content)?;
    (is_shortest && end <= bytes.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_heads_pass_and_longer_ones_fail() {
        let good: [&[u8]; 12] = [
            &[0x17],
            &[0x18, 24],
            &[0x19, 1, 0],
            &[0x1a, 0, 1, 0, 0],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            &[0x38, 24],
            &[0x41, 0x18],
            &[0x62, 0x98, 0x03],
            &[0xa1, 0x01, 0x82, 0xf6, 0x20],
            &[0xf8, 32],
            &[0xfa, 0, 0, 0, 0],
            &[0xd8, 24, 0x00],
        ];
        for bytes in good {
            assert_eq!(check(bytes), Ok(()), "{bytes:02x?}");
        }
        let bad: [&[u8]; 14] = [
            &[0x18, 23],
            &[0x19, 0, 255],
            &[0x1a, 0, 0, 255, 255],
            &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
            &[0x38, 4],
            &[0x58, 1, 7],
            &[0x59, 0, 1, 7],
            &[0x98, 1, 0],
            &[0xb8, 1, 0, 0],
            &[0x9f, 0xff],
            &[0x5f, 0xff],
            &[0xf8, 31],
            &[0x42, 0],
            &[0x1c],
        ];
        for bytes in bad {
            assert_eq!(check(bytes), Err(0), "{bytes:02x?}");
        }
        assert_eq!(check(&[0xa1, 0x01, 0x82, 0x01, 0x18, 0x01]), Err(4));
    }
}

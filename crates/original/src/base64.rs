//! Base64 as the original's server reads it.

use alloc::vec::Vec;

/// Decodes base64 with padding. Characters that are not digits are skipped, as the original skips
/// them; `None` if the padding is not right.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut digits, mut padding) = (0u32, 0usize, 0usize);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => continue,
        };
        if padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(digit);
        digits += 1;
        if !digits.is_multiple_of(4) {
            continue;
        }
        let [_, high, middle, low] = bits.to_be_bytes();
        bytes.extend([high, middle, low]);
    }
    let [high, middle, ..] = match (digits % 4, padding) {
        (0, 0) => return Some(bytes),
        (2, 2) => (bits << 20).to_be_bytes(),
        (3, 1) => (bits << 14).to_be_bytes(),
        _ => return None,
    };
    bytes.push(high);
    if padding == 1 {
        bytes.push(middle);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_python_reads() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("YQ==", b"a"),
            ("YWI=", b"ab"),
            ("YW Jj\n", b"abc"),
            ("YWJjZA==", b"abcd"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(from_base64(text).as_deref(), Some(bytes), "{text:?}");
        }
        for bad in ["Y", "YQ", "YQ=", "YWI", "YWJjZ", "YQ==YQ=="] {
            assert_eq!(from_base64(bad), None, "{bad:?}");
        }
    }
}

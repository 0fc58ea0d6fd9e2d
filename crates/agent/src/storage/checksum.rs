//! CRC-32 of records, to tell a torn write from a whole one.
//!
//! It guards against power cuts, not against people: whatever matters for security is sealed.

/// CRC-32/ISO-HDLC (reflected polynomial 0xEDB88320, as in ISO 3309 and zlib).
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for part in parts {
        for byte in *part {
            crc = (crc >> 8) ^ BYTES[usize::from(crc.to_le_bytes()[0] ^ byte)];
        }
    }
    !crc
}

const BYTES: [u32; 256] = bytes();

const fn bytes() -> [u32; 256] {
    let mut table = [0; 256];
    let mut value = 0u32;
    while value < 256 {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[value as usize] = crc;
        value += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_catalogue() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xCBF4_3926);
        assert_eq!(crc32(&[]), 0);
    }
}

//! CRC-32 of records, to distinguish a torn write from a complete one.
//!
//! It protects against power cuts, not against attackers: everything that matters for security is
//! sealed.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// CRC-32/ISO-HDLC (reflected polynomial 0xEDB88320, as in ISO 3309 and zlib).
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut digest = CRC.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// Sixteen bytes at a time: segments are read again and again while there is a backlog.
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_catalogue() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xCBF4_3926);
        assert_eq!(crc32(&[]), 0);
    }
}

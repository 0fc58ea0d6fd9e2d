//! The gzip format (RFC 1952) around deflate, for pages and large answers.
//!
//! A compressed answer must not contain a secret together with text that an attacker chose, because
//! its length would reveal the secret (BREACH). So only the dashboard's files and the answers of
//! [`super::answer`] are compressed: history, energy and lists of devices. None of them contains
//! tokens or claim codes.

use axum::http::header::{self, HeaderMap};
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use miniz_oxide::deflate::compress_to_vec;

const CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Method deflate, no name, no time, unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Compresses; 1 is the fastest level, 9 the smallest.
pub(super) fn gzip(bytes: &[u8], level: u8) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    out.append(&mut compress_to_vec(bytes, level));
    out.extend(CHECKSUM.checksum(bytes).to_le_bytes());
    // The length modulo 2^32, as the format requires.
    let length = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or_default();
    out.extend(length.to_le_bytes());
    out
}

/// Whether the client accepts gzip (RFC 9110, section 12.5.3).
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let lists =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let mut any = false;
    for item in lists.flat_map(|list| list.split(',')) {
        let (name, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        let is_wanted = weight.is_some_and(|weight| weight > 0.0);
        match name.trim() {
            // A weight of its own takes precedence over the star's.
            name if name.eq_ignore_ascii_case("gzip") => return is_wanted,
            "*" => any = is_wanted,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn encodings_are_weighed() {
        let cases = [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("", false),
            ("xgzip", false),
            ("gzip;q=banana", false),
        ];
        for (list, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(list));
            assert_eq!(is_accepted(&headers), expected, "{list:?}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }
}

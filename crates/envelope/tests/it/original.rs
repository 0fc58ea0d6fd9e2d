//! The protection of the earlier EcoWatt's uploads, against recorded messages
//! (`testdata/original/envelope.jsonl`).

use ecowatt_envelope::original::{DecryptError, NoncePlace, OriginalKey, PUBLISHED_KEY};
use serde_json::Value;

const RECORDED: &str = include_str!("../../../../testdata/original/envelope.jsonl");

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for digit in text.bytes() {
        let Some(value) = DIGITS.iter().position(|known| *known == digit) else { continue };
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Returns the plain text of a recorded envelope, and whether its tag is right.
fn open(key: &OriginalKey, wire: &Value) -> (Vec<u8>, bool) {
    let mut text = base64(wire["payload"].as_str().unwrap());
    if wire["encrypted"] == true {
        let length = key.decrypt(&mut text).unwrap();
        text.truncate(length);
    }
    let nonce = wire["nonce"].as_u64().unwrap_or(1).try_into().unwrap();
    let is_right = key.verifies(NoncePlace::Before, nonce, &text, wire["mac"].as_str().unwrap());
    (text, is_right)
}

#[test]
fn every_recorded_envelope_opens_as_the_original_opened_it() {
    let key = OriginalKey::new(PUBLISHED_KEY);
    let (mut opened, mut refused) = (0, 0);
    for line in RECORDED.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["name"].as_str().unwrap();
        if line["python_accepts"] == true {
            let wire = serde_json::from_str(line["wire"].as_str().unwrap()).unwrap();
            let (text, is_right) = open(&key, &wire);
            assert!(is_right, "{name}");
            assert_eq!(text, hex(line["plaintext_hex"].as_str().unwrap()), "{name}");
            let other = OriginalKey::new([7; 32]);
            let nonce = wire["nonce"].as_u64().unwrap_or(1).try_into().unwrap();
            let mac = wire["mac"].as_str().unwrap();
            assert!(!other.verifies(NoncePlace::Before, nonce, &text, mac), "{name}");
            assert!(!key.verifies(NoncePlace::Before, nonce ^ 1, &text, mac), "{name}");
            assert!(!key.verifies(NoncePlace::Before, nonce, &text, &mac.to_uppercase()), "{name}");
            assert!(!key.verifies(NoncePlace::Before, nonce, &text, &mac[..62]), "{name}");
            opened += 1;
        }
        let is_tag = line["python_error"].as_str().is_some_and(|error| error.starts_with("HMAC"));
        if is_tag {
            let wire = serde_json::from_str(line["wire"].as_str().unwrap()).unwrap();
            assert!(!open(&key, &wire).1, "{name}");
            refused += 1;
        }
    }
    assert!(opened >= 25 && refused >= 5, "{opened} opened, {refused} refused");
}

#[test]
fn tags_are_those_of_both_generations() {
    let key = OriginalKey::new(PUBLISHED_KEY);
    let tag = key.tag(NoncePlace::Before, 11_001, br#"{"device_id":"ESP32_001","value":123}"#);
    let known = hex("40a8b17648fb8dff40e5252aeb157b24e3a4bd154cd390e60a8e5708c3e8d577");
    assert_eq!(tag[..], known);
    let body = br#"{"device_id":"ESP32_EcoWatt_Smart","temperature":25.5}"#;
    let tag = "7b314e78723ce84a0403975ec9cd5bacac1f21d62cb0408e1854346a85c82cc3";
    assert!(key.verifies(NoncePlace::After, 42, body, tag));
    assert!(!key.verifies(NoncePlace::Before, 42, body, tag));
    assert!(key.is_published());
    assert!(!OriginalKey::new([0; 32]).is_published());
}

#[test]
fn bytes_that_were_not_encrypted_are_refused() {
    let key = OriginalKey::new(PUBLISHED_KEY);
    for length in [0, 1, 15, 17] {
        assert_eq!(key.decrypt(&mut vec![0; length]), Err(DecryptError::Length(length)));
    }
    assert_eq!(key.decrypt(&mut [0; 32]), Err(DecryptError::Padding));
}

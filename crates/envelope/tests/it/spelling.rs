//! Only one encoding of a message opens: a copied message cannot be turned into a different one.

use ecowatt_envelope::enrol::{DeviceHalf, ENROL_MESSAGE_MAX, EnrolError, EnrolmentGrant, Request};
use ecowatt_envelope::{
    ClaimCode, DeviceKey, KeyId, LinkKeys, OpenError, RequestId, UnverifiedUplink, open_reply,
    seal_reply, seal_uplink,
};
use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, StreamNumber, UnixMs};

/// Positions of a message's heads, in the order in which they were written: byte strings are
/// skipped, the contents of arrays and maps are not.
fn heads(bytes: &[u8]) -> Vec<usize> {
    let mut heads = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        heads.push(at);
        let (major, info) = (bytes[at] >> 5, bytes[at] & 31);
        let width = if info < 24 { 0 } else { 1 << (info - 24) };
        let argument = &bytes[at + 1..at + 1 + width];
        let value = argument.iter().fold(0, |value, byte| (value << 8) | usize::from(*byte));
        let value = if width == 0 { usize::from(info) } else { value };
        at += 1 + width + if matches!(major, 2 | 3) { value } else { 0 };
    }
    assert_eq!(at, bytes.len());
    heads
}

/// The message with one head encoded in every longer way, and with indefinite length where
/// possible.
fn respelled(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for at in heads(bytes) {
        let (major, info) = (bytes[at] & 0xe0, bytes[at] & 31);
        let width = if info < 24 { 0 } else { 1 << (info - 24) };
        let argument = &bytes[at + 1..at + 1 + width];
        let value = argument.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        let value = if width == 0 { u64::from(info) } else { value };
        for longer in 0..4 {
            if (1 << longer) <= width {
                continue;
            }
            let mut other = bytes[..at].to_vec();
            other.push(major | (24 + longer));
            other.extend_from_slice(&value.to_be_bytes()[8 - (1 << longer)..]);
            other.extend_from_slice(&bytes[at + 1 + width..]);
            all.push(other);
        }
        // An indefinite length, ended by a break.
        let mut open = bytes.to_vec();
        open[at] = major | 31;
        open.push(0xff);
        all.push(open);
    }
    all
}

#[test]
fn uplink_has_exactly_one_encoding() {
    for (device, counter, length) in [(1, 1, 3), (300, 70_000, 40), (u32::MAX, u64::MAX, 300)] {
        let kid = KeyId { device: DeviceNumber(device), generation: KeyGeneration(2) };
        let keys = LinkKeys::derive(&DeviceKey::new([7; 32]), kid);
        let request = RequestId { kid, counter: Counter(counter) };
        let mut buffer = vec![0; length + 64];
        let length = seal_uplink(&keys, request, &mut buffer, length).unwrap();
        let sealed = &buffer[..length];
        assert_eq!(UnverifiedUplink::parse(sealed).unwrap().request(), request);
        let others = respelled(sealed);
        assert!(others.len() > 25);
        for other in others {
            let parsed = UnverifiedUplink::parse(&other).map(|sealed| sealed.request());
            assert_eq!(parsed, Err(OpenError::Malformed), "{other:02x?}");
        }
        // The same values in a different order, with a leading zero, or after a tag.
        let kid_at = 6;
        let kid_length = 2 + usize::from(sealed[kid_at + 1] & 31);
        let (before, rest) = sealed.split_at(kid_at);
        let (kid, rest) = rest.split_at(kid_length);
        let (counter, rest) = rest.split_at(2 + usize::from(rest[1] & 31));
        let mut zero = counter.to_vec();
        zero[1] += 1;
        zero.insert(2, 0);
        let mut tagged = vec![0xd0];
        tagged.extend_from_slice(sealed);
        let others = [
            [before, counter, kid, rest].concat(),
            [before, kid, &zero, rest].concat(),
            tagged,
            [sealed, &[0xf6]].concat(),
        ];
        for other in others {
            assert!(UnverifiedUplink::parse(&other).is_err(), "{other:02x?}");
        }
    }
}

#[test]
fn reply_has_exactly_one_encoding() {
    let kid = KeyId { device: DeviceNumber(12), generation: KeyGeneration(1) };
    let keys = LinkKeys::derive(&DeviceKey::new([7; 32]), kid);
    let request = RequestId { kid, counter: Counter(9) };
    let mut buffer = [0; 128];
    let length = seal_reply(&keys, request, &[3; 12], &mut buffer, 30).unwrap();
    let mut out = [0; 128];
    assert!(open_reply(&keys, request, &buffer[..length], &mut out).is_ok());
    for other in respelled(&buffer[..length]) {
        let opened = open_reply(&keys, request, &other, &mut out).map(<[u8]>::len);
        assert_eq!(opened, Err(OpenError::Malformed), "{other:02x?}");
    }
}

#[test]
fn enrolment_has_exactly_one_encoding() {
    let code: ClaimCode = "7KQ2M-0ABCD-EFGHJ-KMNPQ".parse().unwrap();
    let half = DeviceHalf::new([5; 32]);
    let mut request = [0; ENROL_MESSAGE_MAX];
    let length = half.request(&code, &mut request);
    let request = &request[..length];
    let parsed = Request::parse(request).unwrap();
    for other in respelled(request) {
        assert_eq!(Request::parse(&other), Err(EnrolError::Malformed), "{other:02x?}");
    }
    // A claim code may be typed in small letters and with O for 0; on the wire only capitals are
    // valid.
    let id_at = 3;
    for (place, symbol) in [(0, b'7'), (1, b'k'), (2, b'q'), (4, b'm'), (3, b'z'), (3, b'O')] {
        let mut other = request.to_vec();
        if other[id_at + place] != symbol {
            other[id_at + place] = symbol;
            assert_eq!(Request::parse(&other), Err(EnrolError::Malformed), "{symbol}");
        }
    }
    let grant = EnrolmentGrant {
        device: DeviceNumber(12),
        generation: KeyGeneration(2),
        first_epoch: BootEpoch(40),
        first_stream: StreamNumber(3),
        time: UnixMs(1_763_700_000_000),
    };
    let mut answer = [0; ENROL_MESSAGE_MAX];
    let (length, _) = parsed.answer(&code, &grant, [6; 32], &mut answer).unwrap();
    let answer = &answer[..length];
    assert_eq!(half.finish(&code, answer).unwrap().grant, grant);
    for other in respelled(answer) {
        assert_eq!(half.finish(&code, &other), Err(EnrolError::Malformed), "{other:02x?}");
    }
}

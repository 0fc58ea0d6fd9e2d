//! Bytes of version 1, made by an independent implementation (Python's `cryptography` and `cbor2`).
//! Do not edit them: a change that breaks one of these tests breaks devices in the field.

use ecowatt_envelope::enrol::{DeviceHalf, ENROL_MESSAGE_MAX, EnrolmentGrant, Request};
use ecowatt_envelope::{
    ClaimCode, DeviceKey, KeyId, LinkKeys, RequestId, UnverifiedUplink, open_reply, seal_reply,
    seal_uplink,
};
use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, StreamNumber, UnixMs};

const UPLINK: &str = "8343a1010aa20443012c020643011170546a85e33fca23337d9b86fa2c0b79fc8c37d91891";
const UPLINK_PLAIN: &str = "a10181840219012c0142aabb";
const REPLY: &str = concat!(
    "8344a101181ea1064ca0a1a2a3a4a5a6a7a8a9aaab57",
    "b821a33bd5c83acfa28e959c3e32a3746785dd01ef6a68",
);
const REPLY_PLAIN: &str = "a1018183020101";
const REPLY_NONCE: [u8; 12] =
    [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab];

const CLAIM_CODE: &str = "7KQ2M-0ABCD-EFGHJ-KMNPQ";
const ENROL_REQUEST: &str = concat!(
    "840165374b51324d",
    "58207b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13",
    "582034d0130abad7964c8f627f91f71d6d099c5110864fc94d3c721c0e396ceec69c",
);
const ENROL_ANSWER: &str = concat!(
    "88010c021828031b0000019aa4b64500",
    "58200faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20",
    "582068512c5b0b12ed03c2e1e1350a8fbf8913e7c32de01430f4e7ffaae68268515c",
);
const ENROLLED_KEY: &str = "af604a858f2279a706768f657170d04b95bb50b0c1407d71f157a95563849e04";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn link() -> (LinkKeys, RequestId) {
    let kid = KeyId { device: DeviceNumber(300), generation: KeyGeneration(2) };
    let key = DeviceKey::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    (LinkKeys::derive(&key, kid), RequestId { kid, counter: Counter(70_000) })
}

fn grant() -> EnrolmentGrant {
    EnrolmentGrant {
        device: DeviceNumber(12),
        generation: KeyGeneration(2),
        first_epoch: BootEpoch(40),
        first_stream: StreamNumber(3),
        time: UnixMs(1_763_700_000_000),
    }
}

#[test]
fn uplink() {
    let (keys, request) = link();
    let plain = bytes(UPLINK_PLAIN);
    let mut buffer = [0; 64];
    buffer[..plain.len()].copy_from_slice(&plain);
    let length = seal_uplink(&keys, request, &mut buffer, plain.len()).unwrap();
    assert_eq!(hex(&buffer[..length]), UPLINK);

    let sealed = bytes(UPLINK);
    let message = UnverifiedUplink::parse(&sealed).unwrap();
    assert_eq!(message.request(), request);
    assert_eq!(message.open(&keys, &mut buffer).unwrap(), plain);
}

#[test]
fn reply() {
    let (keys, request) = link();
    let plain = bytes(REPLY_PLAIN);
    let mut buffer = [0; 64];
    buffer[..plain.len()].copy_from_slice(&plain);
    let length = seal_reply(&keys, request, &REPLY_NONCE, &mut buffer, plain.len()).unwrap();
    assert_eq!(hex(&buffer[..length]), REPLY);
    assert_eq!(open_reply(&keys, request, &bytes(REPLY), &mut buffer).unwrap(), plain);
}

#[test]
fn enrolment() {
    let code: ClaimCode = CLAIM_CODE.parse().unwrap();
    let device = DeviceHalf::new([0x11; 32]);
    let mut out = [0; ENROL_MESSAGE_MAX];
    let length = device.request(&code, &mut out);
    assert_eq!(hex(&out[..length]), ENROL_REQUEST);

    let request = Request::parse(&bytes(ENROL_REQUEST)).unwrap();
    let (length, key) = request.answer(&code, &grant(), [0x22; 32], &mut out).unwrap();
    assert_eq!(hex(&out[..length]), ENROL_ANSWER);
    assert_eq!(hex(key.expose()), ENROLLED_KEY);

    let identity = device.finish(&code, &bytes(ENROL_ANSWER)).unwrap();
    assert_eq!(identity.grant, grant());
    assert_eq!(hex(identity.key.expose()), ENROLLED_KEY);
}

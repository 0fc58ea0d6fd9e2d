//! Sealed messages and enrolment, where the bytes may be an attacker's.

use ecowatt_envelope::enrol::{DeviceHalf, Request};
use ecowatt_envelope::{
    ClaimCode, DeviceKey, KeyId, LinkKeys, RequestId, UnverifiedUplink, open_reply,
};
use ecowatt_model::{Counter, DeviceNumber, KeyGeneration};

/// The key, key id and counter of the envelope's golden bytes, which the corpora begin with.
const REQUEST: RequestId = RequestId {
    kid: KeyId { device: DeviceNumber(300), generation: KeyGeneration(2) },
    counter: Counter(70_000),
};

fn keys(kid: KeyId) -> LinkKeys {
    let mut key = [0; 32];
    for (byte, value) in key.iter_mut().zip(0..) {
        *byte = value;
    }
    LinkKeys::derive(&DeviceKey::new(key), kid)
}

/// Only what was sealed under the key opens, as uplink or as reply.
pub fn envelope_open(data: &[u8]) {
    let mut out = vec![0; data.len()];
    if let Ok(sealed) = UnverifiedUplink::parse(data)
        && let Ok(message) = sealed.open(&keys(sealed.request().kid), &mut out)
    {
        assert!(message.len() < data.len(), "an envelope is more than its message");
    }
    let _ = open_reply(&keys(REQUEST.kid), REQUEST, data, &mut out);
}

/// Enrolment messages and claim codes are read or refused.
pub fn enrol(data: &[u8]) {
    let code = ClaimCode::from_random(&[3; _]);
    if let Ok(request) = Request::parse(data) {
        let _ = request.verify(&code);
    }
    drop(DeviceHalf::new([5; 32]).finish(&code, data));
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(code) = text.parse::<ClaimCode>()
    {
        let again: ClaimCode =
            code.expose().to_string().parse().expect("a code reads its own text");
        assert!(again.id() == code.id());
    }
}

//! The ledger's record as bytes.
//!
//! Numbers are little endian. A text is its length (1) and its bytes; a list its length (2) and its
//! elements; `?` is 0 for nothing, or 1 and the value:
//! `version (1) | epoch (4) | is_stopped (1) | reserved (8) | next_stream (2) | starts (2) × [epoch (4)
//! | unix_ms (8) | is_confirmed (1) | began_ms (8) | reached_ms (8)] | identity? [device (4) |
//! key_generation (2) | claim_id | key] | enrolment? [claim_id | secret] | streams (2) × [number (2) |
//! source (1) | layout (8)]`.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Identity, PendingEnrolment, Record, STREAMS_IN_USE_MAX, Stream};
use crate::storage::epoch_starts::{EpochStarts, STARTS_MAX, Start};

/// The format above. A later format gets another number, and older software refuses it.
const VERSION: u8 = 1;

impl Record {
    /// Returns `None` if a list or a text is too long.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        out.push(VERSION);
        put(&mut out, self.epoch.to_le_bytes());
        put(&mut out, [u8::from(self.is_stopped)]);
        put(&mut out, self.reserved.to_le_bytes());
        put(&mut out, self.next_stream.to_le_bytes());
        put_len(&mut out, self.starts.0.len(), STARTS_MAX)?;
        for start in &self.starts.0 {
            put(&mut out, start.epoch.to_le_bytes());
            put(&mut out, start.unix_ms.to_le_bytes());
            put(&mut out, [u8::from(start.is_confirmed)]);
            put(&mut out, start.began_ms.to_le_bytes());
            put(&mut out, start.reached_ms.to_le_bytes());
        }
        put(&mut out, [u8::from(self.identity.is_some())]);
        if let Some(identity) = &self.identity {
            put(&mut out, identity.device.to_le_bytes());
            put(&mut out, identity.key_generation.to_le_bytes());
            put_text(&mut out, identity.claim_id.as_bytes())?;
            put_text(&mut out, &identity.key)?;
        }
        put(&mut out, [u8::from(self.enrolment.is_some())]);
        if let Some(enrolment) = &self.enrolment {
            put_text(&mut out, enrolment.claim_id.as_bytes())?;
            put_text(&mut out, &enrolment.secret)?;
        }
        put_len(&mut out, self.streams.len(), STREAMS_IN_USE_MAX)?;
        for stream in &self.streams {
            put(&mut out, stream.number.to_le_bytes());
            put(&mut out, [stream.source]);
            put(&mut out, stream.layout.to_le_bytes());
        }
        Some(out)
    }

    /// Returns `None` unless the bytes are exactly one record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let from = &mut rest;
        if take(from)? != [VERSION] {
            return None;
        }
        let record = Self {
            epoch: u32::from_le_bytes(take(from)?),
            is_stopped: take_bool(from)?,
            reserved: u64::from_le_bytes(take(from)?),
            next_stream: u16::from_le_bytes(take(from)?),
            starts: EpochStarts(take_list(from, STARTS_MAX, take_start)?),
            identity: take_bool(from)?.then(|| take_identity(from)).map_or(Some(None), some)?,
            enrolment: take_bool(from)?.then(|| take_enrolment(from)).map_or(Some(None), some)?,
            streams: take_list(from, STREAMS_IN_USE_MAX, take_stream)?,
        };
        rest.is_empty().then_some(record)
    }
}

/// A value that is announced and not whole makes the record invalid.
fn some<T>(value: Option<T>) -> Option<Option<T>> {
    value.map(Some)
}

fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&bytes);
}

fn put_len(out: &mut Vec<u8>, len: usize, len_max: usize) -> Option<()> {
    let len = u16::try_from(len).ok().filter(|_| len <= len_max)?;
    put(out, len.to_le_bytes());
    Some(())
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    out.push(u8::try_from(text.len()).ok()?);
    out.extend_from_slice(text);
    Some(())
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*bytes)
}

fn take_bool(from: &mut &[u8]) -> Option<bool> {
    match take(from)? {
        [0] => Some(false),
        [1] => Some(true),
        [_] => None,
    }
}

fn take_text(from: &mut &[u8]) -> Option<Vec<u8>> {
    let [len] = take(from)?;
    let (text, rest) = from.split_at_checked(len.into())?;
    *from = rest;
    Some(text.to_vec())
}

fn take_list<T>(
    from: &mut &[u8],
    len_max: usize,
    take_one: impl Fn(&mut &[u8]) -> Option<T>,
) -> Option<Vec<T>> {
    let len = usize::from(u16::from_le_bytes(take(from)?));
    if len > len_max {
        return None;
    }
    (0..len).map(|_| take_one(from)).collect()
}

fn take_start(from: &mut &[u8]) -> Option<Start> {
    Some(Start {
        epoch: u32::from_le_bytes(take(from)?),
        unix_ms: i64::from_le_bytes(take(from)?),
        is_confirmed: take_bool(from)?,
        began_ms: u64::from_le_bytes(take(from)?),
        reached_ms: u64::from_le_bytes(take(from)?),
    })
}

fn take_identity(from: &mut &[u8]) -> Option<Identity> {
    Some(Identity {
        device: u32::from_le_bytes(take(from)?),
        key_generation: u16::from_le_bytes(take(from)?),
        claim_id: String::from_utf8(take_text(from)?).ok()?,
        key: take_text(from)?,
    })
}

fn take_enrolment(from: &mut &[u8]) -> Option<PendingEnrolment> {
    Some(PendingEnrolment {
        claim_id: String::from_utf8(take_text(from)?).ok()?,
        secret: take_text(from)?,
    })
}

fn take_stream(from: &mut &[u8]) -> Option<Stream> {
    Some(Stream {
        number: u16::from_le_bytes(take(from)?),
        source: u8::from_le_bytes(take(from)?),
        layout: i64::from_le_bytes(take(from)?),
    })
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn record() -> Record {
        let start = Start {
            epoch: 3,
            unix_ms: 0x0102_0304_0506,
            is_confirmed: true,
            began_ms: 7,
            reached_ms: 8,
        };
        Record {
            epoch: 4,
            is_stopped: true,
            reserved: 4096,
            next_stream: 9,
            starts: EpochStarts(vec![start]),
            identity: Some(Identity {
                device: 5,
                key_generation: 2,
                claim_id: "ABCDE".into(),
                key: vec![0xAA, 0xBB],
            }),
            enrolment: Some(PendingEnrolment { claim_id: "F".into(), secret: vec![0xCC] }),
            streams: vec![Stream { number: 8, source: 1, layout: -2 }],
        }
    }

    /// Never edited: devices keep their identity in this format.
    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        1, 4, 0, 0, 0, 1, 0, 0x10, 0, 0, 0, 0, 0, 0, 9, 0,
        1, 0, 3, 0, 0, 0, 6, 5, 4, 3, 2, 1, 0, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,
        1, 5, 0, 0, 0, 2, 0, 5, b'A', b'B', b'C', b'D', b'E', 2, 0xAA, 0xBB,
        1, 1, b'F', 1, 0xCC,
        1, 0, 8, 0, 1, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    ];

    #[test]
    fn bytes_are_those_of_the_first_version() {
        assert_eq!(record().encode().unwrap(), GOLDEN);
        assert_eq!(Record::decode(GOLDEN), Some(record()));
        let empty = Record::default();
        assert_eq!(Record::decode(&empty.encode().unwrap()), Some(empty));
    }

    #[test]
    fn what_is_no_whole_record_is_refused() {
        for len in 0..GOLDEN.len() {
            assert_eq!(Record::decode(&GOLDEN[..len]), None, "{len}");
        }
        assert_eq!(Record::decode(&[GOLDEN, &[0]].concat()), None);
        let mut newer = GOLDEN.to_vec();
        newer[0] = 2;
        assert_eq!(Record::decode(&newer), None);
    }

    #[test]
    fn full_ledger_fits() {
        let mut full = record();
        full.starts.0 = vec![full.starts.0[0]; STARTS_MAX];
        full.streams = vec![full.streams[0].clone(); STREAMS_IN_USE_MAX];
        let bytes = full.encode().unwrap();
        assert!(bytes.len() <= super::super::SIZE_MAX);
        assert_eq!(Record::decode(&bytes), Some(full));
    }
}

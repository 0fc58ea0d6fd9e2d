//! What is done with bytes from outside when the fuzzer makes them up.
//!
//! One function for each parser that meets bytes of strangers. It panics when a promise is broken:
//! that nothing panics, that work is bounded, that what was read is what would be written. `fuzz/`
//! hands them new bytes; an ordinary test of this crate hands them the corpora in `fuzz/corpus`.

mod artifact;
mod codec;
mod envelope;
mod modbus;
mod original;
mod profile;
mod wire;

pub use artifact::{artifact_manifest, artifact_piece, artifact_trust};
pub use codec::{codec_decode, codec_round_trip};
pub use envelope::{enrol, envelope_open};
pub use modbus::{modbus_pdu, modbus_requests, modbus_transaction};
pub use original::{original_aggregate, original_memory, original_packet};
pub use profile::{profile_layout, profile_toml};
pub use wire::{wire_reply, wire_uplink};

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its binary in `fuzz/fuzz_targets` and its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("artifact_manifest", artifact_manifest),
    ("artifact_piece", artifact_piece),
    ("artifact_trust", artifact_trust),
    ("codec_decode", codec_decode),
    ("codec_round_trip", codec_round_trip),
    ("enrol", enrol),
    ("envelope_open", envelope_open),
    ("modbus_pdu", modbus_pdu),
    ("modbus_requests", modbus_requests),
    ("modbus_transaction", modbus_transaction),
    ("original_aggregate", original_aggregate),
    ("original_memory", original_memory),
    ("original_packet", original_packet),
    ("profile_layout", profile_layout),
    ("profile_toml", profile_toml),
    ("wire_reply", wire_reply),
    ("wire_uplink", wire_uplink),
];

/// Splits off the first `N` bytes, which steer a target; none if there are fewer.
fn steer<const N: usize>(data: &[u8]) -> Option<(&[u8; N], &[u8])> {
    data.split_first_chunk()
}

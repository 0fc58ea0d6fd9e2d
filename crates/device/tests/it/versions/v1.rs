//! Bytes of the slots in version 1, as devices in the field have them in their flash.
//!
//! **If a test here fails**, a device that gets this change loses its kept state at the update. Revert
//! the change, do not edit the bytes; or add a new version of the slot's format and still read this
//! one.

use ecowatt_device::Slot;
use ecowatt_wire::SourceState;

use crate::rig::{Rig, check};

/// Source 0 sleeps since 2026-01-01T12:00:00.060Z.
const SLEEP: [u8; 10] = [
    1, // version
    0, // source
    0x00, 0x00, 0x01, 0x9b, 0x79, 0x6d, 0xd6, 0x3c, // Unix milliseconds
];
/// No inverter sleeps.
const AWAKE: [u8; 1] = [1];

#[test]
fn sleep_is_kept() {
    check(
        "show keep
         inverter dusk
         start
         run 6s
         inverter well
         run 300s",
        "0.060 keep sleep [01, 00, 00, 00, 01, 9b, 79, 6d, d6, 3c]
         305.020 keep sleep [01]",
    );
}

#[test]
fn sleep_is_handed_back() {
    let state = |bytes: &[u8]| {
        let mut rig = Rig::new(None);
        rig.hold(Slot::Sleep, bytes);
        rig.run_script("inverter quiet\nstart\nrun 60s");
        rig.state()
    };
    assert_eq!(state(&SLEEP), SourceState::Asleep);
    assert_eq!(state(&AWAKE), SourceState::Offline);
    // An unknown version, and damaged bytes.
    assert_eq!(state(&[&[2], &SLEEP[1..]].concat()), SourceState::Offline);
    assert_eq!(state(&SLEEP[..9]), SourceState::Offline);
    assert_eq!(state(&[]), SourceState::Offline);
}

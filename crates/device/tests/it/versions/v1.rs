//! Bytes of version 1 of what the core keeps, as devices in the field have it in their flash.
//!
//! **If a test here fails**, a device that gets this change forgets at its update what it had kept. Take
//! the change back, not the bytes; or give the slot a version of its own beside this one, which is
//! then still read.

use ecowatt_device::Slot;
use ecowatt_wire::SourceState;

use crate::rig::{Rig, check};

/// Source 0 sleeps since 2026-01-01T12:00:00.060Z.
const SLEEP: [u8; 10] = [
    1, // version
    0, // source
    0x00, 0x00, 0x01, 0x9b, 0x79, 0x6d, 0xd6, 0x3c, // Unix milliseconds
];
/// Nobody does.
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
    // A version that is not known, and bytes that are damaged.
    assert_eq!(state(&[&[2], &SLEEP[1..]].concat()), SourceState::Offline);
    assert_eq!(state(&SLEEP[..9]), SourceState::Offline);
    assert_eq!(state(&[]), SourceState::Offline);
}

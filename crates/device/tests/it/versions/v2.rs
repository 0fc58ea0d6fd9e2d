//! Golden bytes of slots of version 2. Never edit them: devices in the field have them.

use ecowatt_device::Slot;

use crate::rig::Rig;

/// Two commands seen and ended: a read of two registers, and an upload.
const COMMANDS: [u8; 53] = [
    2, // version
    1, 2, 3, 5, // highest number
    0, 0, 0, 0, 0, 0, 0, 3, // numbers seen
    1, 2, 3, 4, // number
    0, // nothing that a start completes
    2, 0, 0, 0, // succeeded, no failure, no detail
    0x00, 0x00, 0x01, 0x9b, 0x79, 0x6e, 0xc4, 0x9c, // Unix milliseconds
    4, 3, 0xed, 3, 0xee, // four bytes of registers
    1, 2, 3, 5, // number
    0, // nothing that a start completes
    2, 0, 0, 0, // succeeded, no failure, no detail
    0x00, 0x00, 0x01, 0x9b, 0x79, 0x6e, 0xc4, 0x74, // Unix milliseconds
    0,    // no registers
];

#[test]
fn registers_of_results_are_kept() {
    let mut rig = Rig::new(None);
    rig.run_script("start\nrun 50s\norder read 5 2 @0\norder upload\nrun 11080ms\nserver away");
    rig.run_script("run 1s");
    assert_eq!(rig.kept(Slot::Commands), COMMANDS);
}

#[test]
fn registers_of_results_are_handed_back() {
    let transcript = |bytes: &[u8]| {
        let mut rig = Rig::new(None);
        rig.hold(Slot::Commands, bytes);
        rig.run_script("order clear\norder clear\nshow result\nstart\nrun 100ms");
        rig.transcript().to_owned()
    };
    let results = "0.000 result 1 Succeeded at 61084 [03, ed, 03, ee]\n\
                   0.000 result 2 Succeeded at 61044\n";
    assert_eq!(transcript(&COMMANDS), results);
    let unknown = "0.020 result 1 Succeeded at 20\n0.020 result 2 Succeeded at 20\n";
    for len in [52, 50, 34, 31, 30, 20, 14, 12] {
        assert_eq!(transcript(&COMMANDS[..len]), unknown, "{len}");
    }
    // More registers than there is room for.
    let mut long = COMMANDS[..30].to_vec();
    long.extend([65; 66]);
    assert_eq!(transcript(&long), unknown);
}

//! Only values that a profile allows can be written.

use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{
    ControlPlace, NamedControl, Profile, Scaled, Table, Verify, WriteError, WriteFunction,
    catalogue,
};

fn scaled(text: &str) -> Scaled {
    text.parse().unwrap()
}

#[test]
fn the_seed_takes_whole_percent_from_0_to_100() {
    let seed = catalogue::find("ecowatt/seed-sim").unwrap();
    let write = seed.check_write("control.p_limit", scaled("55.0")).unwrap();
    assert_eq!((write.table, write.address, &write.words[..]), (Table::Holding, 8, &[55][..]));
    assert_eq!((write.function, write.verify), (WriteFunction::Single, Verify::Readback));
    assert!(write.is_volatile);
    let refuse = |point, value| seed.check_write(point, scaled(value)).unwrap_err().to_string();
    assert_eq!(refuse("control.p_limit", "100.5"), "value 100.5 is finer than the register");
    assert_eq!(refuse("control.p_limit", "101"), "value 101 is not between 0 and 100");
    assert_eq!(refuse("control.p_limit", "-1"), "value -1 is not between 0 and 100");
    assert_eq!(refuse("ac.power", "5"), "point ac.power is read-only");
    assert_eq!(refuse("ac.powr", "5"), "no point ac.powr");
}

#[test]
fn sungrow_takes_tenths_and_two_switch_codes() {
    let sungrow = catalogue::find("sungrow/sg-string").unwrap();
    let limit = sungrow.check_write("control.p_limit", scaled("72.5")).unwrap();
    assert_eq!((limit.address, &limit.words[..]), (5007, &[725][..]));
    assert!(!limit.is_volatile);
    let on = sungrow.check_write("control.limit_on", scaled("170")).unwrap();
    assert_eq!(&on.words[..], [0xAA]);
    assert_eq!(
        sungrow.check_write("control.limit_on", scaled("1")),
        Err(WriteError::NotAllowed(scaled("1")))
    );
}

#[test]
fn steps_and_wide_registers_are_kept() {
    let profile = Profile::parse(
        r#"
schema = 1
id = "acme/wide"
version = 1
title = "Wide"
sources = ["Manual"]
[transport]
kinds = ["tcp"]
unit = 1
timeout_ms = 1000
[groups.live]
every_s = 5
[points]
"x.limit" = { address = 9, table = "holding", type = "u32", word_order = "little", scale = 10, unit = "W", group = "live", write = { function = 16, min = 100, max = 900000, step = 50, verify = "echo" } }
"x.input" = { address = 9, table = "input", type = "u16", group = "live", write = { min = 0, max = 1 } }
"#,
    )
    .unwrap();
    let write = profile.check_write("x.limit", scaled("700000")).unwrap();
    assert_eq!((write.function, &write.words[..]), (WriteFunction::Multiple, &[4464, 1][..]));
    assert!(matches!(profile.check_write("x.limit", scaled("130")), Err(WriteError::Step { .. })));
    assert!(matches!(profile.check_write("x.limit", scaled("155")), Err(WriteError::TooFine(_))));
    assert!(matches!(profile.check_write("x.input", scaled("1")), Err(WriteError::ReadOnly(_))));
}

#[test]
fn a_sunspec_limit_is_a_control_of_the_model_that_was_found() {
    let generic = catalogue::find("sunspec/generic-pv").unwrap();
    assert!(generic.controls().is_empty(), "nothing is written before the models are known");
    for limit in [
        FoundModel { id: 123, address: 40_122, length: 24 },
        FoundModel { id: 704, address: 40_122, length: 65 },
    ] {
        let models = [FoundModel { id: 103, address: 40_070, length: 50 }, limit];
        let controls = generic.resolve(&models).unwrap().controls();
        let [NamedControl { point, control }] = &controls[..] else { panic!("{controls:?}") };
        assert_eq!(
            (point.as_str(), control.place),
            ("control.p_limit", ControlPlace::Limit(limit))
        );
    }
}

//! A bad profile is refused with all of its problems.

use ecowatt_profile::{Profile, ProfileError};

fn problems(text: &str) -> Vec<String> {
    match Profile::parse(text) {
        Err(ProfileError::Invalid(problems)) => {
            problems.iter().map(|problem| format!("{} {}", problem.path, problem.text)).collect()
        }
        other => panic!("{other:?}"),
    }
}

const HEAD: &str = r#"
schema = 1
id = "acme/one"
version = 1
title = "One"
sources = ["Manual 1"]
[transport]
kinds = ["tcp"]
unit = 1
timeout_ms = 1000
[groups.live]
every_s = 5
"#;

fn problems_of_points(points: &str) -> Vec<String> {
    problems(&format!("{HEAD}[points]\n{points}"))
}

#[test]
fn all_problems_come_at_once_with_their_keys() {
    let found = problems(
        r#"
schema = 2
id = "Acme"
title = 7
sources = []
colour = "red"
[transport]
kinds = ["tcp", "carrier pigeon", "rtu"]
unit = 300
timeout_ms = -1
[defaults]
sentinels = { u16 = [1, 2, 3, 4, 5], u17 = [1] }
[groups.live]
every_s = 0.0005
[points]
"power" = { address = 1, table = "holding", type = "u16", group = "live" }
"ac.power" = { address = 70000, table = "coils", type = "u8", group = "fast", unit = "kW" }
"#,
    );
    let expected = [
        "schema must be 1",
        "id must look like vendor/model, at most 32 bytes",
        "version is missing",
        "title must be text, is 7",
        "sources must name at least one document",
        "transport.kinds is \"carrier pigeon\", must be one of tcp, rtu, rtu-over-tcp",
        "transport.unit must be an integer that fits u8, is 300",
        "transport.serial is missing, since rtu is among the kinds",
        "transport.timeout_ms must be an integer that fits u32, is -1",
        "defaults.sentinels.u16 has more than 4 patterns",
        "defaults.sentinels.u17 is not a key here",
        "groups.live.every_s must be seconds from 0 with at most three decimal places",
        "points.\"ac.power\".unit is \"kW\", which is not a known unit",
        "points.\"ac.power\".group is \"fast\", which is not in groups",
        "points.\"ac.power\".table is \"coils\", must be one of holding, input",
        "points.\"ac.power\".address must be an integer that fits u16, is 70000",
        "points.power is neither a canonical name nor one under x.",
        "colour is not a key here",
    ];
    for expected in expected {
        assert!(found.iter().any(|problem| problem == expected), "{expected}\nin {found:#?}");
    }
    // The kind of register is the one problem whose text lists all kinds.
    assert!(found.iter().any(|p| p.starts_with("points.\"ac.power\".type is \"u8\"")));
    assert_eq!(found.len(), expected.len() + 1, "{found:#?}");
}

#[test]
fn invalid_points_are_refused() {
    // Each point has one fault, next to the problem that must be reported for it.
    let table: &[(&str, &str)] = &[
        (
            r#""ac.power" = { table = "input", type = "u16", group = "live" }"#,
            r#"points."ac.power".address is missing (or doc_address, or sunspec)"#,
        ),
        (
            r#""ac.power" = { address = 65535, table = "input", type = "u32", group = "live" }"#,
            r#"points."ac.power".address and length leave the address space"#,
        ),
        (
            r#""ac.power" = { doc_address = 1, table = "input", type = "u16", group = "live" }"#,
            r#"points."ac.power".doc_address needs doc_offset in defaults"#,
        ),
        (
            r#""ac.power" = { address = 1, table = "input", type = "u16", group = "live", min = 0.5 }"#,
            r#"points."ac.power".min has more decimal places than the point (0)"#,
        ),
        (
            r#""ac.power" = { address = 1, table = "input", type = "u16", group = "live", min = 5, max = 1 }"#,
            r#"points."ac.power".min is above max"#,
        ),
        (
            r#""ac.power" = { address = 1, table = "input", type = "u16", group = "live", scale = -1 }"#,
            r#"points."ac.power".scale must be positive with at most 6 decimal places"#,
        ),
        (
            r#""info.model" = { address = 1, table = "input", type = "str", length = 126, group = "live" }"#,
            r#"points."info.model" takes 126 registers, more than one read of 125"#,
        ),
        (
            r#""ac.power" = { sunspec = ["999:W"], group = "live" }"#,
            r#"points."ac.power".sunspec names 999:W, which is not known"#,
        ),
        (
            r#""pv.{n}.power" = { address = 1, table = "input", type = "u16", group = "live" }"#,
            r#"points."pv.{n}.power" can only repeat with sunspec"#,
        ),
        (
            r#""ac.power" = { address = 1, table = "input", type = "u16", group = "live", write = { function = 6 } }"#,
            r#"points."ac.power".write.min and max, or one_of, must limit what is written"#,
        ),
        (
            r#""ac.power" = { address = 1, table = "holding", type = "u32", group = "live", write = { min = 0, max = 5 } }"#,
            r#"points."ac.power".write.function must be 16, since the point has several registers"#,
        ),
        (
            r#""state" = { address = 1, table = "holding", type = "enum16", group = "live", labels = { on = "on" } }"#,
            "points.state.labels.on must be a number",
        ),
    ];
    for (points, expected) in table {
        assert_eq!(problems_of_points(points), [*expected]);
    }
}

#[test]
fn a_sleep_rule_needs_one_register_per_point() {
    let found = problems_of_points(
        r#"
"pv.1.voltage" = { address = 1, table = "input", type = "u16", scale = 0.1, group = "live" }
"pv.2.voltage" = { address = 2, table = "input", type = "u32", group = "live" }
[sleep]
below = { "pv.1.voltage" = 0.05, "pv.2.voltage" = 5, "pv.3.voltage" = 5 }
"#,
    );
    assert_eq!(
        found,
        [
            "sleep.below.\"pv.1.voltage\" is finer than the point",
            "sleep.below.\"pv.2.voltage\" must be of type u16 or i16",
            "sleep.below.\"pv.3.voltage\" is not a valid point of this profile",
        ]
    );
}

#[test]
fn broken_toml_says_where() {
    let error = Profile::parse("schema = 1\nid = [").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn problems_have_the_lines_of_their_keys() {
    let text = format!(
        "{HEAD}[points]\n{}\n{}",
        r#""ac.power" = { address = 7, table = "input", type = "u16", group = "fast" }"#,
        r#""pv.power" = { address = 70000, table = "input", type = "u16", group = "live" }"#
    );
    let Err(ProfileError::Invalid(problems)) = Profile::parse(&text) else { panic!("accepted") };
    let head = HEAD.lines().count();
    for (name, line) in [("ac.power", head + 2), ("pv.power", head + 3)] {
        let problem = problems.iter().find(|problem| problem.path.contains(name)).unwrap();
        assert_eq!(problem.line, Some(line), "{problem}");
    }
}

#[test]
fn registers_that_cannot_come_together_are_refused() {
    let text = format!(
        "{}[points]\n{}",
        HEAD.replace("timeout_ms", "barriers = [{ table = \"input\", address = 8 }]\ntimeout_ms"),
        r#""ac.power" = { address = 7, table = "input", type = "u32", group = "live" }"#
    );
    let profile = Profile::parse(&text).unwrap();
    let error = profile.compile(ecowatt_profile::Transport::TCP).unwrap_err();
    assert_eq!(error.to_string(), "the registers of point ac.power do not fit one read");
}

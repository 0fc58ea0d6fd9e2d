//! A layout for unit tests.

use ecowatt_profile::{Profile, Transport};

/// Returns a layout, as CBOR, with a state that has these labels, in the form of a profile's table.
pub(crate) fn with_states(labels: &str) -> Vec<u8> {
    let profile = format!(
        r#"
schema = 1
id = "test/states"
version = 1
title = "States"
sources = ["this test"]
[transport]
kinds = ["tcp"]
unit = 1
timeout_ms = 1000
[defaults]
table = "holding"
[groups.live]
every_s = 5
[points]
"state" = {{ address = 0, type = "enum16", group = "live", labels = {{ {labels} }} }}
"#
    );
    Profile::parse(&profile).unwrap().compile(Transport::TCP).unwrap().layout.to_cbor()
}

//! The profiles that are shipped with the program.

use crate::profile::Profile;

/// A profile of the catalogue, not yet parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Id of the profile.
    pub id: &'static str,
    /// Its TOML text.
    pub text: &'static str,
}

/// All entries, by id.
const ENTRIES: &[Entry] = &[
    Entry { id: "ecowatt/seed-sim", text: include_str!("../../../profiles/ecowatt-seed.toml") },
    Entry { id: "huawei/sun2000", text: include_str!("../../../profiles/huawei-sun2000.toml") },
    Entry {
        id: "sungrow/sg-string",
        text: include_str!("../../../profiles/sungrow-sg-string.toml"),
    },
    Entry {
        id: "sunspec/generic-pv",
        text: include_str!("../../../profiles/sunspec-generic.toml"),
    },
];

/// All profiles, by id.
#[must_use]
pub fn list() -> &'static [Entry] {
    ENTRIES
}

/// Returns the profile with this id. A test checks that every entry is valid.
#[must_use]
pub fn find(id: &str) -> Option<Profile> {
    let entry = ENTRIES.iter().find(|entry| entry.id == id)?;
    Profile::parse(entry.text).ok()
}

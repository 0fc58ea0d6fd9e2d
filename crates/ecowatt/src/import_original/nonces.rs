//! The original's file of nonces.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

/// Last nonces by device.
#[derive(Debug, Deserialize)]
pub(super) struct Nonces {
    nonces: BTreeMap<String, u32>,
}

impl Nonces {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let reading = || format!("reading {}", path.display());
        let text = std::fs::read_to_string(path).with_context(reading)?;
        serde_json::from_str(&text).with_context(reading)
    }

    pub(super) fn of(&self, id: &str) -> Option<u32> {
        self.nonces.get(id).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.nonces.keys().map(String::as_str)
    }
}

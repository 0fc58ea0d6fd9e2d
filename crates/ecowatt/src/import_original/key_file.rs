//! The operator's file with the keys of devices.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Keys by device, as 64 hexadecimal digits.
pub(super) struct Keys {
    path: PathBuf,
    keys: BTreeMap<String, String>,
}

impl Keys {
    /// Reads the file; one that does not exist has no keys.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let reading = || format!("reading {}", path.display());
        let keys = match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).with_context(reading)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(reading),
        };
        Ok(Self { path: path.to_owned(), keys })
    }

    pub(super) fn get(&self, id: &str) -> Option<String> {
        self.keys.get(id).cloned()
    }

    /// Makes a key. It is in the file before it is used, so that another run finds it.
    pub(super) fn create(&mut self, id: &str) -> anyhow::Result<String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("drawing a key")?;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        // Quoted: ids may have dots.
        let line = format!("{} = \"{key}\"\n", toml::Value::String(id.to_owned()));
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        options
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()))
            .with_context(|| format!("adding a key to {}", self.path.display()))?;
        self.keys.insert(id.to_owned(), key.clone());
        Ok(key)
    }
}

/// Reads the digits of a key.
pub(super) fn bytes(digits: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok().filter(|_| rest.is_empty())
}

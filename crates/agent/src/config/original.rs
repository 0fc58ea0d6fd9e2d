//! The part of the agent's file that makes it a device of the original.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ecowatt_envelope::original::OriginalKey;
use serde::Deserialize;

/// Identity at the original's server.
#[derive(Debug, Clone)]
pub struct OriginalConfig {
    /// What the device calls itself; part of the paths that it calls.
    pub device: String,
    pub key: OriginalKey,
    /// Unless the file has another one.
    pub sample_interval: Duration,
}

/// The table `[original]`.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, expecting = "a table, such as [original], with its keys")]
pub(crate) struct OriginalFile {
    device: Option<String>,
    key_file: Option<PathBuf>,
}

/// Longest name of a device.
const DEVICE_MAX: usize = 64;

/// The firmware's default.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// Checks the table. A problem is a key and what is wrong with it.
pub(crate) fn original(
    file: &OriginalFile,
    folder: &Path,
) -> Result<OriginalConfig, Vec<(&'static str, String)>> {
    let mut problems = Vec::new();
    let device = file.device.clone().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if device.is_empty() || device.len() > DEVICE_MAX || !device.bytes().all(is_plain) {
        let text = "must have 1 to 64 letters, digits, `.`, `_` or `-`".to_owned();
        problems.push(("original.device", text));
    }
    let key = match &file.key_file {
        None => Err("must be given".to_owned()),
        Some(path) => match std::fs::read_to_string(folder.join(path)) {
            Err(error) => Err(format!("cannot be read: {error}")),
            Ok(text) => {
                key(text.trim()).ok_or_else(|| "must have 64 hexadecimal digits".to_owned())
            }
        },
    };
    match key {
        Ok(key) if problems.is_empty() => {
            Ok(OriginalConfig { device, key, sample_interval: SAMPLE_INTERVAL })
        }
        Ok(_) => Err(problems),
        Err(text) => {
            problems.push(("original.key_file", text));
            Err(problems)
        }
    }
}

fn key(text: &str) -> Option<OriginalKey> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    let key = bytes?.try_into().ok()?;
    rest.is_empty().then(|| OriginalKey::new(key))
}

//! The original's folder of firmware images: which of them are complete.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use ecowatt_original_firmware::{Manifest, is_version};

use crate::table::plain;

/// Prints each image, and returns how many are not complete.
pub(super) fn check(folder: &Path) -> anyhow::Result<u64> {
    let reading = || format!("reading {}", folder.display());
    let mut problems = 0;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        names.push(entry.with_context(reading)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names.iter().filter(|name| name.ends_with("_manifest.json")) {
        match image(folder, name) {
            Ok(line) => writeln!(io::stdout(), "{}", plain(&line))?,
            Err(error) => {
                problems += 1;
                writeln!(io::stderr(), "{}: {}", plain(name), plain(&format!("{error:#}")))?;
            }
        }
    }
    Ok(problems)
}

fn image(folder: &Path, name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(folder.join(name)).context("reading the manifest")?;
    let manifest = Manifest::from_json(&text).context("reading the manifest")?;
    let version = &manifest.version;
    anyhow::ensure!(is_version(version), "`{version}` is not a version");
    let encrypted = folder.join(format!("firmware_{version}_encrypted.bin"));
    let size = std::fs::metadata(&encrypted).context("reading the encrypted image")?.len();
    anyhow::ensure!(
        size == manifest.encrypted_size,
        "the encrypted image has {size} bytes, and the manifest names {}",
        manifest.encrypted_size
    );
    Ok(format!("firmware {version}: complete, {size} bytes"))
}

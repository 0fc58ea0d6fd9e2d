//! `ecowatt device enrol ID --original`: devices of the earlier EcoWatt.

use std::io::{self, Write as _};

use clap::Args;
use ecowatt_api::{EnrolOriginal, EnrolledOriginal, NewSite};

use crate::table::{plain, print_json};

/// A device of the earlier EcoWatt.
#[derive(Debug, Args)]
pub(crate) struct OriginalArgs {
    /// With --original: what the device calls itself, such as ESP32_EcoWatt_Smart.
    #[arg(requires = "original")]
    id: Option<String>,
    /// Enrol a device of the earlier EcoWatt with the key that it has, or give an enrolled one
    /// another key.
    #[arg(long, requires_all = ["id", "key"], conflicts_with_all = ["device", "valid_for", "transport", "unit", "profile"])]
    original: bool,
    /// With --original: the device's HMAC key, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX32", requires = "original")]
    key: Option<String>,
    /// With --original: accept the key that the original's sources contain. Only a demonstration
    /// does.
    #[arg(long, requires = "original")]
    published_key: bool,
}

impl OriginalArgs {
    /// Returns the request, if it is for a device of the earlier EcoWatt.
    pub(crate) fn request(
        &self,
        name: Option<String>,
        site: Option<NewSite>,
    ) -> Option<EnrolOriginal> {
        let (id, key) = self.id.clone().zip(self.key.clone()).filter(|_| self.original)?;
        Some(EnrolOriginal { id, key, name, site, published_key: self.published_key })
    }
}

/// Prints what was enrolled.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn enrolled_original(enrolled: &EnrolledOriginal, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(enrolled);
    }
    writeln!(io::stderr(), "{} may upload to /aggregated/{0}", plain(&enrolled.id))?;
    writeln!(io::stdout(), "{}", enrolled.device)?;
    Ok(())
}

//! What people call devices and sites, and where devices stand: checked here, kept by the store.

use ecowatt_model::DeviceNumber;
use ecowatt_store::{ChangeError, DeviceChange, SiteChange, SiteId, Store};

use crate::limits::NAME_CHARS_MAX;
use crate::text::checked_name;
use crate::time::find_zone;

/// Why a name or place stays as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamingError {
    #[error("a {0} has 1 to {NAME_CHARS_MAX} characters and no control characters")]
    Name(&'static str),
    #[error("{0:?} is no IANA time zone such as Europe/Berlin")]
    TimeZone(String),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Changes names and places.
#[derive(Debug, Clone)]
pub(crate) struct Naming {
    store: Store,
}

impl Naming {
    #[must_use]
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Renames or moves a device.
    ///
    /// # Errors
    /// If the wish is not sensible, the device cannot stand there, or the store fails.
    pub(crate) async fn change_device(
        &self,
        device: DeviceNumber,
        wish: DeviceChange,
    ) -> Result<(), NamingError> {
        let name = named(wish.name.as_deref(), "device's name")?;
        let site = match wish.site {
            None => None,
            Some((site, zone)) => {
                let site = checked_name(&site).ok_or(NamingError::Name("site's name"))?;
                Some((site, zoned(zone)?))
            }
        };
        Ok(self.store.change_device(device, DeviceChange { name, site }).await?)
    }

    /// Renames a site or puts it into another time zone.
    ///
    /// # Errors
    /// If the wish is not sensible, days are counted already, or the store fails.
    pub(crate) async fn change_site(
        &self,
        site: SiteId,
        wish: SiteChange,
    ) -> Result<(), NamingError> {
        let name = named(wish.name.as_deref(), "site's name")?;
        let time_zone = zoned(wish.time_zone)?;
        Ok(self.store.change_site(site, SiteChange { name, time_zone }).await?)
    }
}

fn named(name: Option<&str>, what: &'static str) -> Result<Option<String>, NamingError> {
    name.map(|name| checked_name(name).ok_or(NamingError::Name(what))).transpose()
}

/// One spelling of a zone, whatever case it was given in.
fn zoned(zone: Option<String>) -> Result<Option<String>, NamingError> {
    let Some(text) = zone else { return Ok(None) };
    let zone = find_zone(&text).ok_or_else(|| NamingError::TimeZone(text.clone()))?;
    Ok(Some(zone.iana_name().unwrap_or(&text).to_owned()))
}

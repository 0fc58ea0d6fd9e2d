//! Corrects what an operator entered: names, sites and time zones; resets and deletes devices.

use std::time::Duration;

use ecowatt_model::DeviceNumber;
use ecowatt_store::{
    Author, EditDevice, EditError, EditSite, SiteByName, SiteId, Store, StoreError,
};
use tokio::sync::watch;

use crate::entered_name::checked_name;
use crate::limits::{NAME_CHARS_MAX, SWEEP_PAUSE};
use crate::stop::stopped;
use crate::time::checked_zone;

/// Pause between looks for deleted devices.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why something was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("a name has 1 to {NAME_CHARS_MAX} characters and no control characters")]
    Name,
    #[error("{0:?} is not an IANA time zone such as Europe/Berlin")]
    TimeZone(String),
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// Changes the fleet's records.
#[derive(Debug, Clone)]
pub(crate) struct Editor {
    store: Store,
}

impl Editor {
    #[must_use]
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Changes a device's name and site.
    ///
    /// # Errors
    /// If a name or time zone is invalid, the change conflicts with stored data, or the store
    /// fails.
    pub(crate) async fn device(&self, by: Author, change: EditDevice) -> Result<(), ChangeError> {
        let site = match change.site {
            Some(site) => Some(SiteByName {
                name: name(&site.name)?,
                time_zone: site.time_zone.map(zone_name).transpose()?,
            }),
            None => None,
        };
        let name = change.name.as_deref().map(name).transpose()?;
        Ok(self.store.edit_device(by, EditDevice { name, site, ..change }).await?)
    }

    /// Changes a site's name and time zone.
    ///
    /// # Errors
    /// If a name or time zone is invalid, the change conflicts with stored data, or the store
    /// fails.
    pub(crate) async fn site(&self, by: Author, change: EditSite) -> Result<(), ChangeError> {
        let name = change.name.as_deref().map(name).transpose()?;
        let time_zone = change.time_zone.map(zone_name).transpose()?;
        Ok(self.store.edit_site(by, EditSite { name, time_zone, ..change }).await?)
    }

    /// Deletes a site without devices.
    ///
    /// # Errors
    /// If there is no such site, it has devices, or the store fails.
    pub(crate) async fn delete_site(&self, by: Author, site: SiteId) -> Result<(), ChangeError> {
        Ok(self.store.delete_site(by, site).await?)
    }

    /// Forgets what was reported under a device's keys, and revokes them; false if there is no such
    /// device.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn reset(&self, by: Author, device: DeviceNumber) -> Result<bool, StoreError> {
        self.store.reset_device(by, device).await
    }

    /// Deletes a device; false if there is no such device. Its stored data is removed later, by
    /// [`sweep`].
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn delete(
        &self,
        by: Author,
        device: DeviceNumber,
    ) -> Result<bool, StoreError> {
        self.store.delete_device(by, device).await
    }

    /// Returns what may be wrong with a device's name, to be shown to the operator.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn warning(&self, device: DeviceNumber) -> Result<Option<String>, StoreError> {
        let namesakes = self.store.namesakes(device).await?;
        if namesakes.is_empty() {
            return Ok(None);
        }
        let names: Vec<String> = namesakes.iter().map(ToString::to_string).collect();
        Ok(Some(format!("there is another device of that name at that site: {}", names.join(", "))))
    }
}

fn name(text: &str) -> Result<String, ChangeError> {
    checked_name(text).ok_or(ChangeError::Name)
}

fn zone_name(text: String) -> Result<String, ChangeError> {
    checked_zone(&text).ok_or(ChangeError::TimeZone(text))
}

/// Removes the stored data of deleted devices, until the server stops. It pauses between commits so
/// that the writer stays free for ingest. What a stop leaves is removed after the next start.
pub(crate) async fn sweep(store: Store, mut stop: watch::Receiver<bool>) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            _ = stopped(&mut stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = match store.sweep().await {
            Ok(true) => SWEEP_PAUSE,
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                tracing::warn!(%error, "data of deleted devices not removed yet");
                LOOK_EVERY
            }
        };
    }
}

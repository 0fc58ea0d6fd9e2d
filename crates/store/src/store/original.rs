//! Devices of the earlier EcoWatt.

use ecowatt_model::DeviceNumber;

use crate::audit::Audited;
use crate::sqlite::original;
use crate::{Author, CreateClaimError, EnrolOriginal, OriginalDevice, Store, StoreError};

/// Devices of the earlier EcoWatt.
impl Store {
    /// Stores a device's key, and the device and its site if they are new. Revokes earlier keys of
    /// the device; its nonces start again under the new one.
    pub async fn enrol_original(
        &self,
        by: Author,
        new: EnrolOriginal,
    ) -> Result<DeviceNumber, CreateClaimError> {
        let enrolled = self
            .sqlite()
            .change(
                Audited::new(by, "original.enrol"),
                move |db, journal| original::enrol(db, journal, &new),
                |device: &DeviceNumber| Some(device.to_string()),
            )
            .await;
        if let Ok(device) = enrolled {
            self.sqlite().keys_given(device);
        }
        enrolled
    }

    /// Finds a device by what it calls itself; `None` if no key opens its uploads.
    pub async fn find_original(&self, id: String) -> Result<Option<OriginalDevice>, StoreError> {
        self.sqlite().look_up(move |db| original::find(db, &id)).await
    }
}

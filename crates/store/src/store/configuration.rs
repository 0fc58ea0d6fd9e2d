//! Desired and reported configurations.

use ecowatt_model::{ConfigGeneration, DeviceNumber};

use crate::audit::Audited;
use crate::limits::CONFIGURATIONS_KEPT;
use crate::sqlite::configuration;
use crate::{
    Author, ConfigVersion, DeviceConfig, EditConfig, EditConfigError, EditedConfig, Store,
    StoreError,
};

/// Desired and reported configurations.
impl Store {
    /// Changes the desired configuration of a device. If everything is as wanted already, nothing
    /// is stored.
    pub async fn edit_config(
        &self,
        by: Author,
        edit: EditConfig,
    ) -> Result<EditedConfig, EditConfigError> {
        let (author, device) = (by.clone(), edit.device);
        self.sqlite()
            .change(
                Audited::new(by, "config.set"),
                move |db, _| configuration::edit_config(db, &author, &edit),
                move |edited: &EditedConfig| edited.is_changed.then(|| device.to_string()),
            )
            .await
    }

    /// Returns the desired and the reported configuration; empty for an unknown device.
    pub async fn find_config(&self, device: DeviceNumber) -> Result<DeviceConfig, StoreError> {
        self.sqlite().look_up(move |db| configuration::find_config(db, device)).await
    }

    /// Returns the generations of a device's desired configuration below the given one, newest
    /// first, at most [`CONFIGURATIONS_KEPT`].
    pub async fn list_configs(
        &self,
        device: DeviceNumber,
        before: Option<ConfigGeneration>,
        limit: u32,
    ) -> Result<Vec<ConfigVersion>, StoreError> {
        let limit = limit.min(CONFIGURATIONS_KEPT);
        self.sqlite().read(move |db| configuration::list_configs(db, device, before, limit)).await
    }
}

//! Devices of the earlier EcoWatt.

use ecowatt_model::{CommandId, DeviceNumber};

use crate::audit::Audited;
use crate::sqlite::{command, original};
use crate::{
    Author, CallError, CallReceipt, CommandNumber, CreateClaimError, EnrolOriginal, NamedOriginal,
    OriginalDevice, Store, StoreError, UnprovenCall,
};

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

    /// Takes a call that the device has not proved to be its own.
    ///
    /// # Errors
    /// If the device, its key or the command is unknown, or the store fails.
    pub async fn take_call(&self, call: UnprovenCall) -> Result<CallReceipt, CallError> {
        self.sqlite().call(call).await
    }

    /// Returns the number under which a command was sent to a device.
    pub async fn find_sent(
        &self,
        device: DeviceNumber,
        command: CommandNumber,
    ) -> Result<Option<CommandId>, StoreError> {
        self.sqlite().look_up(move |db| command::find_sent(db, device, command)).await
    }

    /// Returns whether a device has commands that have not ended.
    pub async fn has_open_commands(&self, device: DeviceNumber) -> Result<bool, StoreError> {
        self.sqlite().look_up(move |db| command::has_open(db, device)).await
    }

    /// Returns what a device calls itself, if it is one of the earlier EcoWatt.
    pub async fn find_original_id(
        &self,
        device: DeviceNumber,
    ) -> Result<Option<String>, StoreError> {
        self.sqlite().look_up(move |db| original::find_id(db, device)).await
    }

    /// Returns the devices of the earlier EcoWatt, in the order in which they were enrolled.
    pub async fn list_originals(&self, limit: u32) -> Result<Vec<NamedOriginal>, StoreError> {
        self.sqlite().read(move |db| original::list(db, limit)).await
    }

    /// Finds a device by what it calls itself; `None` if no key opens its uploads.
    pub async fn find_original(&self, id: String) -> Result<Option<OriginalDevice>, StoreError> {
        self.sqlite().look_up(move |db| original::find(db, &id)).await
    }
}

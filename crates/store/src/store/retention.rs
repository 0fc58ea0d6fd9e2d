//! Retention: removes samples, minutes and quarter hours, and returns what was removed.

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};

use crate::sqlite::retention;
use crate::{Expired, Removed, Resolution, Store, StoreError};

/// Retention.
impl Store {
    /// Moves the time by which retention decides toward the server's, and returns it; `None` as long
    /// as no device has sent a sample. A clock that jumps ahead moves it by a day.
    pub async fn move_retention_clock(&self, now: UnixMs) -> Result<Option<UnixMs>, StoreError> {
        // Reads a row of each device, so it is not done in the writer.
        let newest = self.sqlite().read(retention::newest_sample).await?;
        self.sqlite().write(move |db| retention::move_clock(db, now, newest)).await
    }

    /// Returns those of some inverters that have something to remove; see [`Store::expire`].
    pub async fn list_due(
        &self,
        inverters: Vec<(DeviceNumber, SourceNumber)>,
        resolution: Resolution,
        before: UnixMs,
    ) -> Result<Vec<(DeviceNumber, SourceNumber)>, StoreError> {
        self.sqlite().read(move |db| retention::due(db, &inverters, resolution, before)).await
    }

    /// Removes what an inverter has of a resolution that ends before the UTC day of an instant, and
    /// records it, in one commit; at most [`crate::limits::EXPIRED_ROWS_PER_COMMIT`] blocks or packs.
    /// Minutes and quarter hours are removed once they are packed.
    pub async fn expire(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        resolution: Resolution,
        before: UnixMs,
    ) -> Result<Removed, StoreError> {
        let inverter = (device, source);
        self.sqlite().write(move |db| retention::expire(db, inverter, resolution, before)).await
    }

    /// Returns what was removed of a device, by inverter and resolution.
    pub async fn list_expired(&self, device: DeviceNumber) -> Result<Vec<Expired>, StoreError> {
        self.sqlite().read(move |db| retention::list(db, device)).await
    }
}

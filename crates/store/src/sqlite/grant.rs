//! What a device's next key is granted: the numbers that earlier keys have not used.

use ecowatt_model::{BootEpoch, DeviceNumber, KeyGeneration};
use rusqlite::Connection;

use crate::StoreError;
use crate::limits::EPOCHS_PER_KEY;

/// Numbers for a new key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Grant {
    pub(super) generation: KeyGeneration,
    /// Above all boot epochs that the device was seen in.
    pub(super) first_epoch: BootEpoch,
    /// Above all boot epochs that the device's present key allows.
    pub(super) safe_epoch: BootEpoch,
}

/// Returns what a device's next key is granted; `None` if its numbers are used up.
///
/// The epoch just below the first is left free, for batches that are stored under an id of their
/// own (see [`super::ingest`]).
pub(super) fn next_grant(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Option<Grant>, StoreError> {
    let (generation, epoch, granted): (i64, i64, Option<i64>) = db
        .prepare_cached(
            "SELECT (SELECT coalesce(max(generation), 0) FROM device_key WHERE device = ?1),
                    max(coalesce((SELECT max(epoch) FROM received WHERE device = ?1), 0),
                        coalesce((SELECT max(epoch, coalesce(received_epoch, 0))
                                  FROM device_state WHERE device = ?1), 0)),
                    (SELECT max(first_epoch) FROM device_key WHERE device = ?1)",
        )?
        .query_row([device.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some(granted) = granted else {
        return Ok(Some(Grant {
            generation: KeyGeneration(1),
            first_epoch: BootEpoch(1),
            safe_epoch: BootEpoch(1),
        }));
    };
    let first = epoch.max(granted) + 2;
    let safe = granted + i64::from(EPOCHS_PER_KEY) + 1;
    let number = |epoch: i64| u32::try_from(epoch).ok().map(BootEpoch);
    let generation = u16::try_from(generation + 1).ok().map(KeyGeneration);
    let (Some(generation), Some(first)) = (generation, number(first)) else { return Ok(None) };
    Ok(Some(Grant {
        generation,
        first_epoch: first,
        safe_epoch: number(safe).unwrap_or(first).max(first),
    }))
}

//! Deleting devices.
//!
//! A deleted device is hidden at once, and its keys are void. Its stored data is removed
//! afterwards, a limited number of rows per commit, so that no message waits long.

use ecowatt_model::{DeviceNumber, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::revocation_file::Journal;
use super::{device, key};
use crate::StoreError;
use crate::limits::DELETED_ROWS_PER_COMMIT;

/// Tables with rows of a device, and the columns of their keys after the device. The device's own
/// row is deleted last.
const TABLES: [(&str, &str); 30] = [
    ("claim", "id"),
    ("device_key", "generation"),
    ("config_template_use", "device"),
    ("original_device", "id"),
    ("configuration", "generation"),
    ("configuration_report", "device"),
    ("limit_change", "at, source, epoch, mono"),
    ("lease", "id"),
    ("lease_report", "device"),
    ("device_leases", "device"),
    ("command_transition", "command, step"),
    ("command", "id"),
    ("device_state", "device"),
    ("inverter_state", "source"),
    ("block", "source, first_ms, epoch, sequence"),
    ("pack", "source, first_ms, epoch, sequence"),
    ("minute_pack", "source, number"),
    ("quarter_pack", "source, number"),
    ("counter_pack", "source, number"),
    ("power_pack", "source, number"),
    ("quarter", "source, number"),
    ("day", "source, date"),
    ("energy_gap", "source, from_ms, to_ms"),
    ("counter_edge", "source, epoch, sequence"),
    ("power_edge", "source, first_ms, epoch, sequence"),
    ("expired", "source, resolution"),
    ("received", "epoch, generation"),
    ("stream", "number"),
    ("announced_point", "generation, source, point"),
    ("device", "number"),
];

/// Revokes a device's keys, marks it as deleted and removes it from its site, which is then free.
/// Returns whether the device exists.
pub(crate) fn delete_device(
    db: &Connection,
    journal: &Journal,
    device: DeviceNumber,
    at: UnixMs,
) -> Result<bool, StoreError> {
    if !device::is_there(db, device)? {
        return Ok(false);
    }
    key::revoke_keys(db, journal, device, at)?;
    // Its id is free at once.
    db.prepare_cached("DELETE FROM original_device WHERE device = ?1")?.execute([device.0])?;
    db.prepare_cached("UPDATE device SET deleted = ?2, site = NULL WHERE number = ?1")?
        .execute(params![device.0, at.0])?;
    Ok(true)
}

/// Removes some rows of a deleted device; returns whether there may be more.
pub(crate) fn sweep(db: &Connection) -> Result<bool, StoreError> {
    let device: Option<u32> = db
        .prepare_cached("SELECT number FROM device WHERE deleted IS NOT NULL LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let Some(device) = device else { return Ok(false) };
    let mut left = i64::from(DELETED_ROWS_PER_COMMIT);
    for (table, key) in TABLES {
        let of = if table == "device" { "number" } else { "device" };
        let sql = format!(
            "DELETE FROM {table} WHERE {of} = ?1 AND ({key}) IN (
                 SELECT {key} FROM {table} WHERE {of} = ?1 LIMIT ?2)"
        );
        let gone = db.prepare_cached(&sql)?.execute(params![device, left])?;
        left -= i64::try_from(gone).unwrap_or(left);
        if left <= 0 {
            break;
        }
    }
    Ok(true)
}

/// Returns whether a deleted device still has rows.
pub(crate) fn has_deleted(db: &Connection) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("SELECT 1 FROM device WHERE deleted IS NOT NULL")?.exists([])?)
}

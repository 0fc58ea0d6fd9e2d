//! Changes by operators: names, places and time zones of devices and sites, and resetting and
//! deleting devices.
//!
//! A deleted device is hidden at once, and its keys are void. Its stored data is removed
//! afterwards, a limited number of rows per commit, so that no message waits long.

use ecowatt_model::{DeviceNumber, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::columns::is_unique_violation;
use super::fleet::{find_or_create_site, next_grant, revoke_keys};
use super::journal::Journal;
use crate::StoreError;
use crate::fleet::{EditDevice, EditError, EditSite, SiteId};
use crate::latest::Latest;
use crate::limits::DELETED_ROWS_PER_COMMIT;
use crate::self_report::SelfReport;

/// Tables with rows of a device, and the columns of their keys after the device. The device's own
/// row is deleted last.
const TABLES: [(&str, &str); 14] = [
    ("claim", "id"),
    ("device_key", "generation"),
    ("device_state", "device"),
    ("inverter_state", "source"),
    ("block", "source, first_ms, epoch, sequence"),
    ("pack", "source, first_ms, epoch, sequence"),
    ("quarter", "source, number"),
    ("day", "source, date"),
    ("energy_gap", "source, from_ms, to_ms"),
    ("counter_edge", "source, epoch, sequence"),
    ("power_edge", "source, first_ms, epoch, sequence"),
    ("received", "epoch, generation"),
    ("stream", "number"),
    ("device", "number"),
];

/// Changes the name and site of a device.
pub(crate) fn edit_device(db: &Connection, edit: &EditDevice) -> Result<(), EditError> {
    let device = edit.device.0;
    let held: Option<(i64, String)> = db
        .prepare_cached(
            "SELECT site.id, site.time_zone FROM device JOIN site ON site.id = device.site
             WHERE device.number = ?1 AND deleted IS NULL",
        )?
        .query_row([device], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (old, zone) = held.ok_or(EditError::Unknown)?;
    if let Some(name) = &edit.name {
        db.prepare_cached("UPDATE device SET name = ?2 WHERE number = ?1")?
            .execute(params![device, name])?;
    }
    let Some((site, time_zone)) = &edit.site else { return Ok(()) };
    let site = find_or_create_site(db, site, time_zone.as_deref())?;
    if site == old {
        return Ok(());
    }
    let is_elsewhere = !db
        .prepare_cached("SELECT 1 FROM site WHERE id = ?1 AND time_zone = ?2")?
        .exists(params![site, zone])?;
    if is_elsewhere && !edit.keeps_past_days && has_days(db, "device = ?1", i64::from(device))? {
        return Err(EditError::HasDays);
    }
    db.prepare_cached("UPDATE device SET site = ?2 WHERE number = ?1")?
        .execute(params![device, site])?;
    Ok(())
}

/// Changes the name and time zone of a site.
pub(crate) fn edit_site(db: &Connection, edit: &EditSite) -> Result<(), EditError> {
    let site = edit.site.0;
    let held: Option<String> = db
        .prepare_cached("SELECT time_zone FROM site WHERE id = ?1")?
        .query_row([site], |row| row.get(0))
        .optional()?;
    let held = held.ok_or(EditError::Unknown)?;
    if let Some(name) = &edit.name {
        let renamed = db
            .prepare_cached("UPDATE site SET name = ?2 WHERE id = ?1")?
            .execute(params![site, name]);
        match renamed {
            Err(error) if is_unique_violation(&error) => return Err(EditError::NameTaken),
            renamed => renamed?,
        };
    }
    let Some(zone) = edit.time_zone.as_ref().filter(|zone| **zone != held) else { return Ok(()) };
    let of_site = "device IN (SELECT number FROM device WHERE site = ?1 AND deleted IS NULL)";
    if !edit.keeps_past_days && has_days(db, of_site, site)? {
        return Err(EditError::HasDays);
    }
    db.prepare_cached("UPDATE site SET time_zone = ?2 WHERE id = ?1")?
        .execute(params![site, zone])?;
    Ok(())
}

fn has_days(db: &Connection, of: &str, value: i64) -> Result<bool, StoreError> {
    Ok(db.prepare_cached(&format!("SELECT 1 FROM inverter_state WHERE {of}"))?.exists([value])?)
}

/// Deletes a site that has no devices.
pub(crate) fn delete_site(db: &Connection, site: SiteId) -> Result<(), EditError> {
    if db.prepare_cached("SELECT 1 FROM device WHERE site = ?1")?.exists([site.0])? {
        return Err(EditError::InUse);
    }
    match db.prepare_cached("DELETE FROM site WHERE id = ?1")?.execute([site.0])? {
        0 => Err(EditError::Unknown),
        _ => Ok(()),
    }
}

/// Revokes a device's keys and discards what was reported under them; its stored samples stay.
/// Returns whether the device exists.
pub(crate) fn reset_device(
    db: &Connection,
    journal: &Journal,
    device: DeviceNumber,
    at: UnixMs,
) -> Result<bool, StoreError> {
    if !is_there(db, device)? {
        return Ok(false);
    }
    revoke_keys(db, journal, device, at)?;
    let epoch = next_grant(db, device)?.map_or(u32::MAX, |(_, first, _)| first.0 - 1);
    db.prepare_cached(
        "UPDATE device SET forgotten_epoch = ?2, forgotten_key =
             (SELECT coalesce(max(generation), 0) FROM device_key WHERE device = ?1)
         WHERE number = ?1",
    )?
    .execute([device.0, epoch])?;
    db.prepare_cached("UPDATE device_state SET firmware = NULL, reported = ?2 WHERE device = ?1")?
        .execute(params![device.0, SelfReport::default().encode()])?;
    db.prepare_cached("UPDATE inverter_state SET readings = ?2 WHERE device = ?1")?
        .execute(params![device.0, Latest::default().encode()])?;
    Ok(true)
}

/// Revokes a device's keys, marks it as deleted and removes it from its site, which is then free.
/// Returns whether the device exists.
pub(crate) fn delete_device(
    db: &Connection,
    journal: &Journal,
    device: DeviceNumber,
    at: UnixMs,
) -> Result<bool, StoreError> {
    if !is_there(db, device)? {
        return Ok(false);
    }
    revoke_keys(db, journal, device, at)?;
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

fn is_there(db: &Connection, device: DeviceNumber) -> Result<bool, StoreError> {
    Ok(db
        .prepare_cached("SELECT 1 FROM device WHERE number = ?1 AND deleted IS NULL")?
        .exists([device.0])?)
}

/// Returns a few other devices with the same name at the same site.
pub(crate) fn namesakes(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<DeviceNumber>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT other.number FROM device JOIN device AS other
             ON other.site = device.site AND other.name = device.name
         WHERE device.number = ?1 AND other.number <> ?1 AND other.deleted IS NULL LIMIT 5",
    )?;
    let found = statement
        .query_map([device.0], |row| Ok(DeviceNumber(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

//! Statements that change what devices and sites are called and where devices stand.

use ecowatt_model::DeviceNumber;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::fleet::find_or_create_site;
use super::row::is_unique_violation;
use crate::{ChangeError, CreateClaimError, DeviceChange, SiteChange, SiteId, StoreError};

pub(crate) fn change_device(
    db: &Connection,
    device: DeviceNumber,
    change: &DeviceChange,
) -> Result<(), ChangeError> {
    let held: Option<(i64, String, bool)> = db
        .prepare_cached(
            "SELECT site.id, site.time_zone,
                    EXISTS (SELECT 1 FROM link WHERE link.device = device.number)
             FROM device JOIN site ON site.id = device.site WHERE device.number = ?1",
        )?
        .query_row([device.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((from, time_zone, was_heard)) = held else {
        return Err(ChangeError::UnknownDevice(device));
    };
    if let Some((site, wanted)) = &change.site {
        let to = place(db, site, wanted.as_deref(), was_heard.then_some(time_zone))?;
        db.prepare_cached("UPDATE device SET site = ?2 WHERE number = ?1")?
            .execute(params![device.0, to])?;
        remove_empty_site(db, from)?;
    }
    if let Some(name) = &change.name {
        db.prepare_cached("UPDATE device SET name = ?2 WHERE number = ?1")?
            .execute(params![device.0, name])?;
    }
    Ok(())
}

/// Finds or makes the site that a device moves to; `counted` is the zone that its days are in.
fn place(
    db: &Connection,
    site: &str,
    wanted: Option<&str>,
    counted: Option<String>,
) -> Result<i64, ChangeError> {
    let to = find_or_create_site(db, site, wanted).map_err(|error| match error {
        CreateClaimError::UnknownSite => ChangeError::NoSuchSite,
        CreateClaimError::OtherTimeZone(zone) => ChangeError::OtherTimeZone(zone),
        CreateClaimError::Store(error) => error.into(),
        // The others are about claims.
        _ => ChangeError::NoSuchSite,
    })?;
    let zone: String = db
        .prepare_cached("SELECT time_zone FROM site WHERE id = ?1")?
        .query_row([to], |row| row.get(0))?;
    match counted {
        Some(counted) if counted != zone => Err(ChangeError::DaysCounted(counted)),
        _ => Ok(to),
    }
}

/// A site is a place with devices.
fn remove_empty_site(db: &Connection, site: i64) -> Result<(), StoreError> {
    db.prepare_cached(
        "DELETE FROM site WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM device WHERE site = ?1)",
    )?
    .execute([site])?;
    Ok(())
}

pub(crate) fn change_site(
    db: &Connection,
    site: SiteId,
    change: &SiteChange,
) -> Result<(), ChangeError> {
    let held: Option<(String, bool)> = db
        .prepare_cached(
            "SELECT time_zone,
                    EXISTS (SELECT 1 FROM device JOIN link ON link.device = device.number
                            WHERE device.site = site.id)
             FROM site WHERE id = ?1",
        )?
        .query_row([site.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((held, was_heard)) = held else { return Err(ChangeError::UnknownSite(site)) };
    if let Some(zone) = change.time_zone.as_ref().filter(|zone| **zone != held) {
        if was_heard {
            return Err(ChangeError::DaysCounted(held));
        }
        db.prepare_cached("UPDATE site SET time_zone = ?2 WHERE id = ?1")?
            .execute(params![site.0, zone])?;
    }
    let Some(name) = &change.name else { return Ok(()) };
    let renamed = db
        .prepare_cached("UPDATE site SET name = ?2 WHERE id = ?1")?
        .execute(params![site.0, name]);
    match renamed {
        Ok(_) => Ok(()),
        Err(error) if is_unique_violation(&error) => Err(ChangeError::NameTaken),
        Err(error) => Err(error.into()),
    }
}

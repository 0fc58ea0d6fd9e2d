//! Statements on sites.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::convert::is_unique_violation;
use crate::StoreError;
use crate::fleet::{CreateClaimError, EditError, EditSite, Site, SiteId};

/// Owner of everything; there is one tenant until users are kept apart.
const TENANT: i64 = 1;

pub(crate) fn list_sites(db: &Connection) -> Result<Vec<Site>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id, name, time_zone FROM site ORDER BY name")?;
    let sites = statement
        .query_map([], |row| {
            Ok(Site {
                id: SiteId(row.get("id")?),
                name: row.get("name")?,
                time_zone: row.get("time_zone")?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(sites)
}

pub(super) fn find_or_create_site(
    db: &Connection,
    name: &str,
    time_zone: Option<&str>,
) -> Result<i64, CreateClaimError> {
    let found: Option<(i64, String)> = db
        .prepare_cached("SELECT id, time_zone FROM site WHERE tenant = ?1 AND name = ?2")?
        .query_row(params![TENANT, name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match (found, time_zone) {
        // Days are rolled up in the site's zone as they arrive, so the zone is only changed by an
        // edit of the site.
        (Some((_, held)), Some(wanted)) if held != wanted => {
            Err(CreateClaimError::OtherTimeZone(held))
        }
        (Some((id, _)), _) => Ok(id),
        (None, Some(time_zone)) => Ok(db
            .prepare_cached("INSERT INTO site (tenant, name, time_zone) VALUES (?1, ?2, ?3)")?
            .insert(params![TENANT, name, time_zone])?),
        (None, None) => Err(CreateClaimError::UnknownSite),
    }
}

/// Changes the name and time zone of a site; returns whether anything differs from before.
pub(crate) fn edit_site(db: &Connection, edit: &EditSite) -> Result<bool, EditError> {
    let site = edit.site.0;
    let held: Option<String> = db
        .prepare_cached("SELECT time_zone FROM site WHERE id = ?1")?
        .query_row([site], |row| row.get(0))
        .optional()?;
    let held = held.ok_or(EditError::Unknown)?;
    let mut is_changed = false;
    if let Some(name) = &edit.name {
        let renamed = db
            .prepare_cached("UPDATE site SET name = ?2 WHERE id = ?1 AND name <> ?2")?
            .execute(params![site, name]);
        match renamed {
            Err(error) if is_unique_violation(&error) => return Err(EditError::NameTaken),
            renamed => is_changed = renamed? > 0,
        }
    }
    let Some(zone) = edit.time_zone.as_ref().filter(|zone| **zone != held) else {
        return Ok(is_changed);
    };
    let of_site = "device IN (SELECT number FROM device WHERE site = ?1 AND deleted IS NULL)";
    if !edit.keeps_past_days && has_days(db, of_site, site)? {
        return Err(EditError::HasDays);
    }
    db.prepare_cached("UPDATE site SET time_zone = ?2 WHERE id = ?1")?
        .execute(params![site, zone])?;
    Ok(true)
}

pub(super) fn has_days(db: &Connection, of: &str, value: i64) -> Result<bool, StoreError> {
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

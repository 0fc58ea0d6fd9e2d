//! Statements on templates of configurations.

use ecowatt_model::DeviceNumber;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert::{author, blob, corrupt, count};
use super::{configuration, device};
use crate::StoreError;
use crate::audit::Author;
use crate::config_template::{
    ConfigPreview, ConfigTemplate, EditTemplate, TemplateError, TemplateVersion,
};
use crate::configuration::{EditConfigError, Settings};
use crate::limits::{TEMPLATE_DEVICES_PER_COMMIT, TEMPLATE_VERSIONS_KEPT, TEMPLATES_MAX};

const TEMPLATES: &str = "
    SELECT name, version, at, who, request, settings,
           (SELECT count(*) FROM config_template_use AS used WHERE used.template = template.id) AS devices,
           (SELECT count(*) FROM config_template_use AS used
            WHERE used.template = template.id AND used.version < template.version) AS outdated
    FROM config_template AS template";

fn template(row: &Row<'_>) -> rusqlite::Result<ConfigTemplate> {
    Ok(ConfigTemplate {
        name: row.get("name")?,
        version: row.get("version")?,
        by: author(row)?,
        settings: settings(row)?,
        devices: count(row, "devices")?,
        outdated: count(row, "outdated")?,
    })
}

fn settings(row: &Row<'_>) -> rusqlite::Result<Settings> {
    let held = Settings::decode(blob(row, "settings")?);
    held.ok_or_else(|| corrupt("settings of a template"))
}

pub(crate) fn list_templates(db: &Connection) -> Result<Vec<ConfigTemplate>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{TEMPLATES} ORDER BY name"))?;
    let found = statement.query_map([], template)?.collect::<Result<_, _>>()?;
    Ok(found)
}

pub(crate) fn find_template(
    db: &Connection,
    name: &str,
) -> Result<Option<ConfigTemplate>, StoreError> {
    let sql = format!("{TEMPLATES} WHERE name = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([name], template).optional()?)
}

pub(crate) fn create_template(
    db: &Connection,
    by: &Author,
    name: &str,
    settings: &Settings,
) -> Result<(), TemplateError> {
    if db.prepare_cached("SELECT 1 FROM config_template WHERE name = ?1")?.exists([name])? {
        return Err(TemplateError::NameTaken);
    }
    let held: u32 =
        db.prepare_cached("SELECT count(*) FROM config_template")?.query_row([], |r| r.get(0))?;
    if held >= TEMPLATES_MAX {
        return Err(TemplateError::TooMany);
    }
    db.prepare_cached(
        "INSERT INTO config_template (name, version, at, who, request, settings)
         VALUES (?1, 1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![name, by.at.0, by.who, by.request, settings.encode()])?;
    keep_version(db, name)?;
    Ok(())
}

/// Adds a template's present version to its history, and removes the oldest ones.
fn keep_version(db: &Connection, name: &str) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO config_template_version (template, version, at, who, request, settings)
         SELECT id, version, at, who, request, settings FROM config_template WHERE name = ?1",
    )?
    .execute([name])?;
    // Versions are consecutive.
    db.prepare_cached(
        "DELETE FROM config_template_version
         WHERE template = (SELECT id FROM config_template WHERE name = ?1)
           AND version <= (SELECT version FROM config_template WHERE name = ?1) - ?2",
    )?
    .execute(params![name, TEMPLATE_VERSIONS_KEPT])?;
    Ok(())
}

/// Returns a template's versions below the given one, newest first.
pub(crate) fn list_versions(
    db: &Connection,
    name: &str,
    before: Option<u32>,
    limit: u32,
) -> Result<Vec<TemplateVersion>, StoreError> {
    let before = before.map_or(i64::MAX, i64::from);
    let mut statement = db.prepare_cached(
        "SELECT held.version AS version, held.at AS at, held.who AS who,
             held.request AS request, held.settings AS settings
         FROM config_template AS template JOIN config_template_version AS held
         ON held.template = template.id
         WHERE template.name = ?1 AND held.version < ?2 ORDER BY held.version DESC LIMIT ?3",
    )?;
    let version = |row: &Row<'_>| {
        Ok(TemplateVersion {
            version: row.get("version")?,
            by: author(row)?,
            settings: settings(row)?,
        })
    };
    let found = statement.query_map(params![name, before, limit], version)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Changes a template's values; returns whether anything changed. Its devices follow with
/// [`derive_outdated`].
pub(crate) fn edit_template(
    db: &Connection,
    by: &Author,
    edit: &EditTemplate,
) -> Result<bool, TemplateError> {
    let held = find_template(db, &edit.name)?.ok_or(TemplateError::Unknown)?;
    if edit.expected.is_some_and(|expected| expected != held.version) {
        return Err(TemplateError::OtherVersion(held.version));
    }
    let mut settings = held.settings.clone();
    settings.change(&edit.set, &edit.unset);
    if settings == held.settings {
        return Ok(false);
    }
    let version = held.version.checked_add(1).ok_or(TemplateError::Exhausted)?;
    db.prepare_cached(
        "UPDATE config_template SET version = ?2, at = ?3, who = ?4, request = ?5, settings = ?6
         WHERE name = ?1",
    )?
    .execute(params![edit.name, version, by.at.0, by.who, by.request, settings.encode()])?;
    keep_version(db, &edit.name)?;
    Ok(true)
}

/// Deletes a template that no device uses.
pub(crate) fn delete_template(db: &Connection, name: &str) -> Result<(), TemplateError> {
    let held = find_template(db, name)?.ok_or(TemplateError::Unknown)?;
    if held.devices > 0 {
        return Err(TemplateError::InUse(held.devices));
    }
    db.prepare_cached(
        "DELETE FROM config_template_version
         WHERE template = (SELECT id FROM config_template WHERE name = ?1)",
    )?
    .execute([name])?;
    db.prepare_cached("DELETE FROM config_template WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// Assigns a template to devices, or none, and derives their configurations; returns those that had
/// another one. A device that was deleted in the meantime is left out.
pub(crate) fn assign_all(
    db: &Connection,
    by: &Author,
    devices: &[DeviceNumber],
    name: Option<&str>,
) -> Result<Vec<DeviceNumber>, TemplateError> {
    let mut changed = Vec::new();
    for device in devices {
        match assign(db, by, *device, name) {
            Ok(true) => changed.push(*device),
            Ok(false) | Err(TemplateError::UnknownDevice) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}

/// Assigns a template to a device, or none; returns whether anything changed.
pub(crate) fn assign(
    db: &Connection,
    by: &Author,
    device: DeviceNumber,
    name: Option<&str>,
) -> Result<bool, TemplateError> {
    if !device::is_there(db, device)? {
        return Err(TemplateError::UnknownDevice);
    }
    if configuration::find_used_template(db, device)?.map(|used| used.name).as_deref() == name {
        return Ok(false);
    }
    match name {
        None => {
            db.prepare_cached("DELETE FROM config_template_use WHERE device = ?1")?
                .execute([device.0])?;
        }
        Some(name) => {
            let inserted = db
                .prepare_cached(
                    "INSERT INTO config_template_use (device, template, version)
                     SELECT ?1, id, 0 FROM config_template WHERE name = ?2
                     ON CONFLICT (device) DO UPDATE
                     SET template = excluded.template, version = excluded.version",
                )?
                .execute(params![device.0, name])?;
            if inserted == 0 {
                return Err(TemplateError::Unknown);
            }
        }
    }
    configuration::derive(db, by, device).map_err(|error| match error {
        EditConfigError::Store(error) => TemplateError::Store(error),
        EditConfigError::TooMany => TemplateError::TooManyValues(device),
        _ => TemplateError::Exhausted,
    })?;
    Ok(true)
}

/// Derives the configurations of some devices whose template has changed; returns them. If there
/// are none, all are up to date. The author is the template's.
pub(crate) fn derive_outdated(db: &Connection) -> Result<Vec<DeviceNumber>, StoreError> {
    let outdated: Vec<(DeviceNumber, Author)> = db
        .prepare_cached(
            "SELECT used.device AS device, template.at AS at, template.who AS who,
             template.request AS request
             FROM config_template AS template JOIN config_template_use AS used
             ON used.template = template.id AND used.version < template.version LIMIT ?1",
        )?
        .query_map([TEMPLATE_DEVICES_PER_COMMIT], |row| {
            let by = author(row)?;
            Ok((DeviceNumber(row.get("device")?), by))
        })?
        .collect::<Result<_, _>>()?;
    let mut devices = Vec::with_capacity(outdated.len());
    for (device, by) in outdated {
        match configuration::derive(db, &by, device) {
            Ok(()) => devices.push(device),
            Err(EditConfigError::Store(error)) => return Err(error),
            // The others must not wait for a device that can have no further configuration.
            Err(error) => {
                tracing::error!(device = device.0, %error, "template not applied");
                configuration::mark_derived(db, device)?;
                devices.push(device);
            }
        }
    }
    Ok(devices)
}

/// Returns what these values of a template would change on its devices with higher numbers than
/// `after`, ascending: those whose configuration would differ.
pub(crate) fn preview(
    db: &Connection,
    name: &str,
    settings: &Settings,
    after: Option<DeviceNumber>,
    limit: usize,
) -> Result<Vec<ConfigPreview>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT used.device FROM config_template_use AS used JOIN config_template AS template
         ON template.id = used.template
         WHERE template.name = ?1 AND used.device > ?2 ORDER BY used.device",
    )?;
    let after = after.map_or(-1, |after| i64::from(after.0));
    let mut devices = statement.query(params![name, after])?;
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(row) = devices.next()? else { break };
        let device = DeviceNumber(row.get(0)?);
        let newest = configuration::find_newest(db, device)?;
        let (before, own) =
            newest.map(|newest| (newest.desired.settings, newest.own)).unwrap_or_default();
        let after = settings.overlaid(&own);
        if before != after {
            found.push(ConfigPreview { device, before, after });
        }
    }
    Ok(found)
}

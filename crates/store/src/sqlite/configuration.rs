//! Statements on desired and reported configurations.

use ecowatt_model::{ConfigGeneration, DeviceNumber, KeyGeneration, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert::{author, blob, corrupt};
use super::device;
use crate::StoreError;
use crate::audit::Author;
use crate::configuration::{
    ConfigReport, ConfigVersion, Desired, DeviceConfig, EditConfig, EditConfigError, EditedConfig,
    NextConfig, ReportedConfig, Settings, derived, edited,
};
use crate::limits::CONFIGURATIONS_KEPT;

const VERSION: &str = "generation, at, who, request, settings, own";

fn version(row: &Row<'_>) -> rusqlite::Result<ConfigVersion> {
    Ok(ConfigVersion {
        by: author(row)?,
        desired: Desired {
            generation: ConfigGeneration(row.get("generation")?),
            settings: settings(row, "settings")?,
        },
        own: settings(row, "own")?,
    })
}

/// Reads values of settings.
fn settings(row: &Row<'_>, column: &str) -> rusqlite::Result<Settings> {
    Settings::decode(blob(row, column)?).ok_or_else(|| corrupt("settings"))
}

/// The columns of a report, of `configuration_report AS report`.
pub(super) const REPORT: &str = "report.highest AS report_highest,
    report.key_generation AS report_key_generation, report.received_at AS report_received_at,
    report.generation AS report_generation, report.report AS report_bytes";

/// Reads the columns [`REPORT`]; `None` if there is no report, or an unreadable one, which
/// the device's next one replaces.
pub(super) fn report(row: &Row<'_>) -> rusqlite::Result<Option<ConfigReport>> {
    let Some(highest) = row.get("report_highest")? else { return Ok(None) };
    let generation = ConfigGeneration(row.get("report_generation")?);
    let reported = ReportedConfig::decode(generation, blob(row, "report_bytes")?);
    let key_generation = KeyGeneration(row.get("report_key_generation")?);
    let received_at = UnixMs(row.get("report_received_at")?);
    Ok(reported.map(|reported| ConfigReport {
        highest: ConfigGeneration(highest),
        key_generation,
        received_at,
        reported,
    }))
}

pub(super) fn find_newest(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Option<ConfigVersion>, StoreError> {
    Ok(list_configs(db, device, None, 1)?.pop())
}

fn find_report(db: &Connection, device: DeviceNumber) -> Result<Option<ConfigReport>, StoreError> {
    let sql = format!("SELECT {REPORT} FROM configuration_report AS report WHERE device = ?1");
    let found = db.prepare_cached(&sql)?.query_row([device.0], report).optional()?;
    Ok(found.flatten())
}

/// Returns the desired and the reported configuration; empty for an unknown device.
pub(crate) fn find_config(
    db: &Connection,
    device: DeviceNumber,
) -> Result<DeviceConfig, StoreError> {
    // A device of the earlier EcoWatt reports settings before its first message.
    let key_generation = db
        .prepare_cached(
            "SELECT generation FROM device_key
             WHERE device = ?1 AND protocol = 1 AND revoked IS NULL
             UNION ALL SELECT generation FROM device_state WHERE device = ?1 LIMIT 1",
        )?
        .query_row([device.0], |row| Ok(KeyGeneration(row.get(0)?)))
        .optional()?;
    let (desired, report) = (find_newest(db, device)?, find_report(db, device)?);
    let applied = match report.as_ref().map(|report| report.reported.generation) {
        Some(reported)
            if desired.as_ref().is_some_and(|newest| newest.desired.generation > reported) =>
        {
            let after = ConfigGeneration(reported.0 + 1);
            let found = list_configs(db, device, Some(after), 1)?.pop();
            found.map(|version| version.desired).filter(|found| found.generation == reported)
        }
        _ => None,
    };
    let template = find_used_template(db, device)?.map(|used| used.name);
    Ok(DeviceConfig { desired, applied, template, report, key_generation })
}

/// Returns generations below the given one, newest first.
pub(crate) fn list_configs(
    db: &Connection,
    device: DeviceNumber,
    before: Option<ConfigGeneration>,
    limit: u32,
) -> Result<Vec<ConfigVersion>, StoreError> {
    let sql = format!(
        "SELECT {VERSION} FROM configuration WHERE device = ?1 AND generation < ?2
         ORDER BY generation DESC LIMIT ?3"
    );
    let before = before.map_or(i64::MAX, |before| i64::from(before.0));
    let mut statement = db.prepare_cached(&sql)?;
    let found = statement
        .query_map(params![device.0, before, limit], version)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The template of a device, with its present values.
pub(super) struct UsedTemplate {
    pub(super) name: String,
    pub(super) settings: Settings,
}

pub(super) fn find_used_template(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Option<UsedTemplate>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT template.name AS name, template.settings AS settings
             FROM config_template_use AS used JOIN config_template AS template
             ON template.id = used.template WHERE used.device = ?1",
        )?
        .query_row([device.0], |row| {
            Ok(UsedTemplate { name: row.get("name")?, settings: settings(row, "settings")? })
        });
    Ok(found.optional()?)
}

/// Notes that a device's configuration has the values of its template as they are now.
pub(super) fn mark_derived(db: &Connection, device: DeviceNumber) -> Result<(), StoreError> {
    db.prepare_cached(
        "UPDATE config_template_use
         SET version = (SELECT version FROM config_template WHERE id = template)
         WHERE device = ?1",
    )?
    .execute([device.0])?;
    Ok(())
}

/// Stores the configuration after a change, and removes the oldest ones.
pub(crate) fn edit_config(
    db: &Connection,
    by: &Author,
    edit: &EditConfig,
) -> Result<EditedConfig, EditConfigError> {
    let device = edit.device;
    if !device::is_there(db, device)? {
        return Err(EditConfigError::UnknownDevice);
    }
    let newest = find_newest(db, device)?;
    let report = find_report(db, device)?;
    let template = template(db, device)?;
    let Some(next) = edited(newest.as_ref(), &template, report.as_ref(), edit)? else {
        let generation = newest.map_or(ConfigGeneration(0), |newest| newest.desired.generation);
        return Ok(EditedConfig { generation, is_changed: false });
    };
    insert(db, device, by, &next)?;
    Ok(EditedConfig { generation: next.desired.generation, is_changed: true })
}

/// Stores the configuration that follows from a device's template as it is now.
pub(super) fn derive(
    db: &Connection,
    by: &Author,
    device: DeviceNumber,
) -> Result<(), EditConfigError> {
    let newest = find_newest(db, device)?;
    let own = newest.as_ref().map(|newest| newest.own.clone()).unwrap_or_default();
    let report = find_report(db, device)?;
    let next = derived(newest.as_ref(), &template(db, device)?, report.as_ref(), own)?;
    match next {
        Some(next) => insert(db, device, by, &next)?,
        None => mark_derived(db, device)?,
    }
    Ok(())
}

/// The values of a device's template.
fn template(db: &Connection, device: DeviceNumber) -> Result<Settings, StoreError> {
    Ok(find_used_template(db, device)?.map(|used| used.settings).unwrap_or_default())
}

fn insert(
    db: &Connection,
    device: DeviceNumber,
    by: &Author,
    next: &NextConfig,
) -> Result<(), StoreError> {
    let Author { who, request, at } = by;
    let Desired { generation, settings } = &next.desired;
    db.prepare_cached(
        "INSERT INTO configuration (device, generation, at, who, request, settings, own)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        device.0,
        generation.0,
        at.0,
        who,
        request,
        settings.encode(),
        next.own.encode()
    ])?;
    mark_derived(db, device)?;
    db.prepare_cached(
        "DELETE FROM configuration WHERE device = ?1 AND generation NOT IN (
             SELECT generation FROM configuration WHERE device = ?1
             ORDER BY generation DESC LIMIT ?2)",
    )?
    .execute(params![device.0, CONFIGURATIONS_KEPT])?;
    Ok(())
}

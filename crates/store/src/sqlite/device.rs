//! Statements on devices.

use ecowatt_model::{BootEpoch, DeviceNumber, KeyGeneration, UnixMs};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::convert::{blob, corrupt, count};
use super::revocation_file::Journal;
use super::{grant, key, site};
use crate::StoreError;
use crate::fleet::{
    Device, DevicePage, DeviceQuery, DeviceState, DeviceSweep, EditDevice, EditError, Link, Site,
    SiteByName, SiteId,
};
use crate::latest::Latest;
use crate::self_report::SelfReport;

const DEVICE: &str = "device.number, device.name, device.created, device.state,
    device.state_since, site.id AS site_id, site.name AS site_name,
    site.time_zone AS site_time_zone, link.generation, link.last_seen,
    link.last_sample, link.epoch, link.messages, link.batches, link.samples, link.duplicates,
    link.refused, link.dropped_samples, link.bytes, link.firmware, link.reported";

const FROM_DEVICE: &str = "FROM device JOIN site ON site.id = device.site
    LEFT JOIN device_state AS link ON link.device = device.number";

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        number: DeviceNumber(row.get("number")?),
        name: row.get("name")?,
        created: UnixMs(row.get("created")?),
        state: DeviceState::from_code(row.get("state")?).ok_or_else(|| corrupt("state"))?,
        state_since: row.get::<_, Option<i64>>("state_since")?.map(UnixMs),
        site: Site {
            id: SiteId(row.get("site_id")?),
            name: row.get("site_name")?,
            time_zone: row.get("site_time_zone")?,
        },
        link: match row.get("generation")? {
            Some(generation) => link(row, KeyGeneration(generation))?,
            None => Link::default(),
        },
    })
}

fn link(row: &Row<'_>, generation: KeyGeneration) -> rusqlite::Result<Link> {
    let reported = SelfReport::decode(blob(row, "reported")?);
    let reported = reported.ok_or_else(|| corrupt("report of a device"))?;
    Ok(Link {
        key_generation: Some(generation),
        last_seen: Some(UnixMs(row.get("last_seen")?)),
        last_sample: row.get::<_, Option<i64>>("last_sample")?.map(UnixMs),
        boot_epoch: Some(BootEpoch(row.get("epoch")?)),
        messages: count(row, "messages")?,
        batches: count(row, "batches")?,
        samples: count(row, "samples")?,
        duplicates: count(row, "duplicates")?,
        refused: count(row, "refused")?,
        dropped_samples: count(row, "dropped_samples")?,
        bytes: count(row, "bytes")?,
        firmware: row.get("firmware")?,
        diagnostics: reported.diagnostics,
        inverters: reported.inverters,
    })
}

pub(crate) fn find_device(
    db: &Connection,
    number: DeviceNumber,
) -> Result<Option<Device>, StoreError> {
    let sql = format!(
        "SELECT {DEVICE} {FROM_DEVICE} WHERE device.number = ?1 AND device.deleted IS NULL"
    );
    Ok(db.prepare_cached(&sql)?.query_row([number.0], device).optional()?)
}

pub(crate) fn list_devices(db: &Connection, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
    let mut wanted = String::from("device.deleted IS NULL");
    let mut values = Vec::<Value>::new();
    if let Some(search) = query.search.as_deref().filter(|search| !search.is_empty()) {
        values.push(Value::from(format!("%{}%", escape_like(search))));
        wanted.push_str(
            " AND (device.name LIKE ?1 ESCAPE '\\' OR site.name LIKE ?1 ESCAPE '\\'
                   OR 'dev-' || device.number LIKE ?1 ESCAPE '\\')",
        );
    }
    if let Some(state) = query.state {
        values.push(Value::from(i64::from(state.code())));
        wanted.push_str(&format!(" AND device.state = ?{}", values.len()));
    }
    let sql = format!("SELECT count(*) {FROM_DEVICE} WHERE {wanted}");
    let total =
        db.prepare_cached(&sql)?.query_row(params_from_iter(&values), |row| count(row, 0))?;

    let DeviceSweep { devices, has_more } = page(db, &wanted, values, query.after, query.limit)?;
    Ok(DevicePage { devices, has_more, total })
}

/// Returns devices in the order of their numbers, starting after the given one, without counting
/// all of them.
pub(crate) fn sweep_devices(
    db: &Connection,
    after: Option<DeviceNumber>,
    limit: u32,
) -> Result<DeviceSweep, StoreError> {
    page(db, "1", Vec::new(), after, limit)
}

fn page(
    db: &Connection,
    wanted: &str,
    mut values: Vec<Value>,
    after: Option<DeviceNumber>,
    limit: u32,
) -> Result<DeviceSweep, StoreError> {
    values.push(Value::from(after.map_or(0, |after| i64::from(after.0))));
    values.push(Value::from(i64::from(limit) + 1));
    let sql = format!(
        "SELECT {DEVICE} {FROM_DEVICE} WHERE {wanted} AND device.number > ?{} \
         ORDER BY device.number LIMIT ?{}",
        values.len() - 1,
        values.len()
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut devices =
        statement.query_map(params_from_iter(&values), device)?.collect::<Result<Vec<_>, _>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = devices.len() > limit;
    devices.truncate(limit);
    Ok(DeviceSweep { devices, has_more })
}

fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

pub(crate) fn set_states(
    db: &Connection,
    states: &[(DeviceNumber, DeviceState)],
    at: UnixMs,
) -> Result<Vec<DeviceNumber>, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE device SET state = ?2, state_since = ?3 WHERE number = ?1 AND state <> ?2",
    )?;
    let mut changed = Vec::new();
    for (device, state) in states {
        if statement.execute(params![device.0, state.code(), at.0])? > 0 {
            changed.push(*device);
        }
    }
    Ok(changed)
}

/// Changes the name and site of a device; returns whether anything differs from before.
pub(crate) fn edit_device(db: &Connection, edit: &EditDevice) -> Result<bool, EditError> {
    let device = edit.device.0;
    let held: Option<(i64, String)> = db
        .prepare_cached(
            "SELECT site.id, site.time_zone FROM device JOIN site ON site.id = device.site
             WHERE device.number = ?1 AND deleted IS NULL",
        )?
        .query_row([device], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (old, zone) = held.ok_or(EditError::Unknown)?;
    let mut is_changed = false;
    if let Some(name) = &edit.name {
        is_changed = db
            .prepare_cached("UPDATE device SET name = ?2 WHERE number = ?1 AND name <> ?2")?
            .execute(params![device, name])?
            > 0;
    }
    let Some(SiteByName { name, time_zone }) = &edit.site else { return Ok(is_changed) };
    let site = site::find_or_create_site(db, name, time_zone.as_deref())?;
    if site == old {
        return Ok(is_changed);
    }
    let is_elsewhere = !db
        .prepare_cached("SELECT 1 FROM site WHERE id = ?1 AND time_zone = ?2")?
        .exists(params![site, zone])?;
    if is_elsewhere
        && !edit.keeps_past_days
        && site::has_days(db, "device = ?1", i64::from(device))?
    {
        return Err(EditError::HasDays);
    }
    db.prepare_cached("UPDATE device SET site = ?2 WHERE number = ?1")?
        .execute(params![device, site])?;
    Ok(true)
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
    key::revoke_keys(db, journal, device, at)?;
    let epoch = grant::next_grant(db, device)?.map_or(u32::MAX, |next| next.first_epoch.0 - 1);
    db.prepare_cached(
        "UPDATE device SET forgotten_epoch = ?2, forgotten_key =
             (SELECT coalesce(max(generation), 0) FROM device_key WHERE device = ?1)
         WHERE number = ?1",
    )?
    .execute([device.0, epoch])?;
    db.prepare_cached("UPDATE device_state SET firmware = NULL, reported = ?2 WHERE device = ?1")?
        .execute(params![device.0, SelfReport::default().encode()])?;
    db.prepare_cached("DELETE FROM configuration_report WHERE device = ?1")?.execute([device.0])?;
    db.prepare_cached("DELETE FROM lease_report WHERE device = ?1")?.execute([device.0])?;
    db.prepare_cached("UPDATE inverter_state SET readings = ?2 WHERE device = ?1")?
        .execute(params![device.0, Latest::default().encode()])?;
    Ok(true)
}

pub(super) fn is_there(db: &Connection, device: DeviceNumber) -> Result<bool, StoreError> {
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

//! Statements on devices of the earlier EcoWatt.

use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert::count;
use super::revocation_file::Journal;
use super::{grant, key, site};
use crate::StoreError;
use crate::fleet::{CreateClaimError, DeviceKey, DeviceState};
use crate::original::{EnrolOriginal, NamedOriginal, OriginalDevice};

/// The protocol of their keys.
const PROTOCOL: u8 = 1;

pub(crate) fn enrol(
    db: &Connection,
    journal: &Journal,
    new: &EnrolOriginal,
) -> Result<DeviceNumber, CreateClaimError> {
    let held: Option<u32> = db
        .prepare_cached("SELECT device FROM original_device WHERE id = ?1")?
        .query_row([&new.id], |row| row.get(0))
        .optional()?;
    let device = match held {
        Some(number) => DeviceNumber(number),
        None => create(db, new)?,
    };
    let grant = grant::next_grant(db, device)?.ok_or(CreateClaimError::Exhausted)?;
    key::revoke_keys(db, journal, device, new.at)?;
    db.prepare_cached(
        "INSERT INTO device_key (device, generation, secret, created, first_epoch, protocol)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        device.0,
        grant.generation.0,
        new.secret,
        new.at.0,
        grant.first_epoch.0,
        PROTOCOL
    ])?;
    Ok(device)
}

fn create(db: &Connection, new: &EnrolOriginal) -> Result<DeviceNumber, CreateClaimError> {
    let site = site::find_or_create_site(db, &new.site, new.time_zone.as_deref())?;
    let number = db
        .prepare_cached("INSERT INTO device (name, site, created, state) VALUES (?1, ?2, ?3, ?4)")?
        .insert(params![new.name, site, new.at.0, DeviceState::Waiting.code()])?;
    let device = DeviceNumber(number.try_into().map_err(|_| StoreError::Corrupt("device number"))?);
    db.prepare_cached("INSERT INTO original_device (id, device) VALUES (?1, ?2)")?
        .execute(params![new.id, device.0])?;
    Ok(device)
}

pub(crate) fn find(db: &Connection, id: &str) -> Result<Option<OriginalDevice>, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT key.device AS device, key.generation AS generation, secret, created,
                 coalesce(state.counter, 0) AS counter, first_epoch, state.digest AS digest, memory
             FROM original_device AS original
                 JOIN device_key AS key ON key.device = original.device
                 LEFT JOIN device_state AS state
                     ON state.device = key.device AND state.generation = key.generation
             WHERE original.id = ?1 AND key.protocol = ?2 AND key.revoked IS NULL",
        )?
        .query_row(params![id, PROTOCOL], |row| {
            let key = DeviceKey {
                device: DeviceNumber(row.get("device")?),
                generation: KeyGeneration(row.get("generation")?),
                secret: row.get("secret")?,
                created: UnixMs(row.get("created")?),
                revoked: None,
                counter: Counter(count(row, "counter")?),
                first_epoch: BootEpoch(row.get("first_epoch")?),
                digest: row.get("digest")?,
            };
            Ok(OriginalDevice { key, memory: row.get("memory")? })
        })
        .optional()?)
}

pub(crate) fn find_id(db: &Connection, device: DeviceNumber) -> Result<Option<String>, StoreError> {
    Ok(db
        .prepare_cached("SELECT id FROM original_device WHERE device = ?1")?
        .query_row([device.0], |row| row.get(0))
        .optional()?)
}

pub(crate) fn list(db: &Connection, limit: u32) -> Result<Vec<NamedOriginal>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT id, device FROM original_device ORDER BY device LIMIT ?1")?;
    let named = |row: &Row<'_>| {
        Ok(NamedOriginal { id: row.get("id")?, device: DeviceNumber(row.get("device")?) })
    };
    Ok(statement.query_map([limit], named)?.collect::<Result<_, _>>()?)
}

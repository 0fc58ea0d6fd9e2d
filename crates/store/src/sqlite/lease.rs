//! Statements on leases.

use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{
    BootEpoch, DeviceNumber, KeyGeneration, LeaseGeneration, LeaseId, MonoMs, SourceNumber, UnixMs,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert::{blob, corrupt};
use super::device;
use crate::StoreError;
use crate::audit::Author;
use crate::lease::{
    DesiredLeases, DeviceLeases, Lease, LeaseError, LeaseReport, LeaseTerms, LimitChange,
    PowerLimit, RefusedLease, next_generation,
};
use crate::limits::{
    LEASES_LISTED_MAX, LIMIT_CHANGES_KEPT, LIMIT_CHANGES_LISTED_MAX, RELEASED_LEASES_KEPT,
};
use crate::varint::{put_u64, take_u8, take_u32};

/// Who releases a lease that is over.
const SERVER: &str = "server";

const TERMS: &str = "id, source, unit, value, from_s, to_s, ramp_s, link_loss_s, then_unit,
     then_value, priority";

/// The columns of a report, of `lease_report`.
pub(super) const REPORT: &str = "lease_report.key_generation AS leased_key_generation,
     lease_report.received_at AS leased_received_at, lease_report.generation AS leased_generation,
     lease_report.refused AS leased_refused";

fn limit(row: &Row<'_>, unit: u8, column: &str) -> rusqlite::Result<PowerLimit> {
    let value = row.get(column)?;
    PowerLimit::from_columns(unit, value).ok_or_else(|| corrupt("limit of a lease"))
}

fn terms(row: &Row<'_>) -> rusqlite::Result<(LeaseId, LeaseTerms)> {
    let then = row
        .get::<_, Option<u8>>("then_unit")?
        .map(|unit| limit(row, unit, "then_value"))
        .transpose()?;
    let terms = LeaseTerms {
        source: row.get::<_, Option<u8>>("source")?.map(SourceNumber),
        limit: limit(row, row.get("unit")?, "value")?,
        from_s: row.get("from_s")?,
        to_s: row.get("to_s")?,
        ramp_s: row.get("ramp_s")?,
        link_loss_s: row.get("link_loss_s")?,
        then,
        priority: row.get("priority")?,
    };
    Ok((LeaseId(row.get("id")?), terms))
}

fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let (id, terms) = terms(row)?;
    let released_at: Option<i64> = row.get("released_at")?;
    let released = match released_at {
        Some(at) => Some(Author {
            at: UnixMs(at),
            who: row.get("released_who")?,
            request: row.get("released_request")?,
        }),
        None => None,
    };
    Ok(Lease {
        id,
        terms,
        device: DeviceNumber(row.get("device")?),
        by: Author {
            at: UnixMs(row.get("made")?),
            who: row.get("who")?,
            request: row.get("request")?,
        },
        generation: LeaseGeneration(row.get("generation")?),
        released,
    })
}

/// Reads the columns [`REPORT`]; `None` if there is no report.
pub(super) fn report(row: &Row<'_>) -> rusqlite::Result<Option<LeaseReport>> {
    let Some(generation) = row.get("leased_generation")? else { return Ok(None) };
    Ok(Some(LeaseReport {
        key_generation: KeyGeneration(row.get("leased_key_generation")?),
        received_at: UnixMs(row.get("leased_received_at")?),
        generation: LeaseGeneration(generation),
        // An unreadable list is replaced by the device's next report.
        refused: refused(blob(row, "leased_refused")?).unwrap_or_default(),
    }))
}

fn refused(mut bytes: &[u8]) -> Option<Vec<RefusedLease>> {
    let mut refused = Vec::new();
    while !bytes.is_empty() {
        let id = LeaseId(take_u32(&mut bytes)?);
        refused.push(RefusedLease { id, reason: take_u8(&mut bytes)? });
    }
    Some(refused)
}

/// Stores a device's report.
pub(super) fn write_report(
    db: &Connection,
    device: DeviceNumber,
    report: &LeaseReport,
) -> Result<(), StoreError> {
    let LeaseReport { key_generation, received_at, generation, refused } = report;
    let mut bytes = Vec::new();
    for refused in refused {
        put_u64(&mut bytes, refused.id.0.into());
        bytes.push(refused.reason);
    }
    db.prepare_cached(
        "INSERT OR REPLACE INTO lease_report (device, key_generation, received_at, generation,
             refused) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![device.0, key_generation.0, received_at.0, generation.0, bytes])?;
    Ok(())
}

/// Stores changes that a device reported; one that is known changes nothing. The oldest are removed.
pub(super) fn write_changes(
    db: &Connection,
    device: DeviceNumber,
    changes: &[LimitChange],
) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached(
        "INSERT INTO limit_change (device, at, epoch, mono, source, lease, cause, failure, detail,
             limit_ppm, confirmed_ms, power_w, power_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING",
    )?;
    for change in changes {
        insert.execute(params![
            device.0,
            change.at.0,
            change.epoch.0,
            i64::try_from(change.mono.0).unwrap_or(i64::MAX),
            change.source.0,
            change.lease.map(|lease| lease.0),
            change.cause,
            change.failure,
            change.detail,
            change.limit_ppm,
            change.confirmed_ms,
            change.power_w,
            change.power_ms
        ])?;
    }
    db.prepare_cached(
        "DELETE FROM limit_change WHERE device = ?1 AND at < (
             SELECT at FROM limit_change WHERE device = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![device.0, LIMIT_CHANGES_KEPT])?;
    Ok(())
}

/// Returns the leases that a device should have, of this generation.
pub(super) fn desired(
    db: &Connection,
    device: DeviceNumber,
    generation: LeaseGeneration,
) -> Result<DesiredLeases, StoreError> {
    let sql = format!(
        "SELECT {TERMS} FROM lease WHERE device = ?1 AND released_at IS NULL ORDER BY id LIMIT {LEASES_MAX}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let leases = statement.query_map([device.0], terms)?.collect::<Result<_, _>>()?;
    Ok(DesiredLeases { generation, leases })
}

fn generation(db: &Connection, device: DeviceNumber) -> Result<LeaseGeneration, StoreError> {
    let found = db
        .prepare_cached("SELECT generation FROM device_leases WHERE device = ?1")?
        .query_row([device.0], |row| row.get(0))
        .optional()?;
    Ok(LeaseGeneration(found.unwrap_or(0)))
}

fn find_report(db: &Connection, device: DeviceNumber) -> Result<Option<LeaseReport>, StoreError> {
    let sql = format!("SELECT {REPORT} FROM lease_report WHERE device = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([device.0], report).optional()?.flatten())
}

/// Begins the next generation and returns it.
fn advance(db: &Connection, device: DeviceNumber) -> Result<LeaseGeneration, LeaseError> {
    let next = next_generation(generation(db, device)?, find_report(db, device)?.as_ref())?;
    db.prepare_cached("INSERT OR REPLACE INTO device_leases (device, generation) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![device.0, next.0]))
        .map_err(StoreError::from)?;
    Ok(next)
}

fn release(db: &Connection, id: LeaseId, by: &Author) -> Result<(), StoreError> {
    let Author { who, request, at } = by;
    db.prepare_cached(
        "UPDATE lease SET released_at = ?2, released_who = ?3, released_request = ?4 WHERE id = ?1",
    )?
    .execute(params![id.0, at.0, who, request])?;
    Ok(())
}

/// Makes a lease. Those that are over make room for it.
pub(crate) fn create_lease(
    db: &Connection,
    by: &Author,
    number: DeviceNumber,
    new: &LeaseTerms,
) -> Result<Lease, LeaseError> {
    if !device::is_there(db, number)? {
        return Err(LeaseError::UnknownDevice);
    }
    let held = desired(db, number, LeaseGeneration(0))?.leases;
    let (over, held): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|(_, terms)| terms.is_over(by.at));
    if held.len() >= LEASES_MAX {
        return Err(LeaseError::TooMany);
    }
    for (id, _) in over {
        release(db, id, &Author::new(SERVER, by.at))?;
    }
    let generation = advance(db, number)?;
    let id = insert(db, by, number, new, generation).map_err(StoreError::from)?;
    remove_oldest(db, number)?;
    let released = None;
    Ok(Lease { id, device: number, by: by.clone(), terms: *new, generation, released })
}

fn insert(
    db: &Connection,
    by: &Author,
    device: DeviceNumber,
    new: &LeaseTerms,
    generation: LeaseGeneration,
) -> rusqlite::Result<LeaseId> {
    let Author { who, request, at } = by;
    let (unit, value) = new.limit.to_columns();
    let then = new.then.map(PowerLimit::to_columns);
    db.prepare_cached(
        "INSERT INTO lease (device, made, who, request, generation, source, unit, value, from_s,
             to_s, ramp_s, link_loss_s, then_unit, then_value, priority)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) RETURNING id",
    )?
    .query_row(
        params![
            device.0,
            at.0,
            who,
            request,
            generation.0,
            new.source.map(|source| source.0),
            unit,
            value,
            new.from_s,
            new.to_s,
            new.ramp_s,
            new.link_loss_s,
            then.map(|(unit, _)| unit),
            then.map(|(_, value)| value),
            new.priority
        ],
        |row| row.get(0).map(LeaseId),
    )
}

fn remove_oldest(db: &Connection, device: DeviceNumber) -> Result<(), StoreError> {
    db.prepare_cached(
        "DELETE FROM lease WHERE device = ?1 AND released_at IS NOT NULL AND id <= (
             SELECT id FROM lease WHERE device = ?1 AND released_at IS NOT NULL
             ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![device.0, RELEASED_LEASES_KEPT])?;
    Ok(())
}

/// Releases a lease, so that it is in no generation any more.
pub(crate) fn release_lease(
    db: &Connection,
    by: &Author,
    id: LeaseId,
) -> Result<Lease, LeaseError> {
    let found = find_lease(db, id)?.ok_or(LeaseError::UnknownLease)?;
    if found.released.is_some() {
        return Err(LeaseError::Released);
    }
    release(db, id, by)?;
    advance(db, found.device)?;
    Ok(Lease { released: Some(by.clone()), ..found })
}

const LEASE: &str = "device, made, who, request, generation, released_at, released_who,
     released_request";

pub(crate) fn find_lease(db: &Connection, id: LeaseId) -> Result<Option<Lease>, StoreError> {
    let sql = format!("SELECT {TERMS}, {LEASE} FROM lease WHERE id = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([id.0], lease).optional()?)
}

/// Returns the leases of a device, those that were not released before the others, its report and the
/// changes; each newest first.
pub(crate) fn find_leases(
    db: &Connection,
    device: DeviceNumber,
) -> Result<DeviceLeases, StoreError> {
    let sql = format!(
        "SELECT {TERMS}, {LEASE} FROM lease WHERE device = ?1
         ORDER BY released_at IS NOT NULL, id DESC LIMIT {LEASES_LISTED_MAX}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let leases = statement.query_map([device.0], lease)?.collect::<Result<_, _>>()?;
    let under = db
        .prepare_cached("SELECT generation FROM device_state WHERE device = ?1")?
        .query_row([device.0], |row| Ok(KeyGeneration(row.get(0)?)))
        .optional()?;
    let report = find_report(db, device)?.filter(|report| Some(report.key_generation) == under);
    Ok(DeviceLeases { leases, report, changes: list_changes(db, device)? })
}

fn list_changes(db: &Connection, device: DeviceNumber) -> Result<Vec<LimitChange>, StoreError> {
    let sql = format!(
        "SELECT at, epoch, mono, source, lease, cause, failure, detail, limit_ppm, confirmed_ms,
             power_w, power_ms
         FROM limit_change WHERE device = ?1 ORDER BY at DESC LIMIT {LIMIT_CHANGES_LISTED_MAX}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let changes = statement.query_map([device.0], |row| {
        Ok(LimitChange {
            at: UnixMs(row.get("at")?),
            epoch: BootEpoch(row.get("epoch")?),
            mono: MonoMs(row.get::<_, i64>("mono")?.unsigned_abs()),
            source: SourceNumber(row.get("source")?),
            lease: row.get::<_, Option<u32>>("lease")?.map(LeaseId),
            cause: row.get("cause")?,
            failure: row.get("failure")?,
            detail: row.get("detail")?,
            limit_ppm: row.get("limit_ppm")?,
            confirmed_ms: row.get("confirmed_ms")?,
            power_w: row.get("power_w")?,
            power_ms: row.get("power_ms")?,
        })
    })?;
    Ok(changes.collect::<Result<_, _>>()?)
}

//! Statements on sites, devices, keys, claims and streams.

use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, SourceNumber, UnixMs};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::columns::{corrupt, count, is_unique_violation};
use super::journal::Journal;
use crate::StoreError;
use crate::fleet::{
    AnnounceError, Claim, ClaimFor, CreateClaimError, Device, DeviceKey, DevicePage, DeviceQuery,
    DeviceState, Link, NewClaim, OpenClaim, RedeemClaim, RedeemClaimError, Redemption, Site,
    SiteId, Stream,
};
use crate::limits::{CLAIM_KEPT_MS, CLAIMS_LISTED_MAX, EPOCHS_PER_KEY, STREAMS_PER_KEY_MAX};
use crate::revocation::Revocation;
use crate::self_report::SelfReport;
use crate::telemetry::{NewStream, Point, PointDef, PointId, StreamId};

/// Owner of everything; there is one tenant until users are kept apart.
const TENANT: i64 = 1;

fn site(row: &Row<'_>, at: usize) -> rusqlite::Result<Site> {
    Ok(Site { id: SiteId(row.get(at)?), name: row.get(at + 1)?, time_zone: row.get(at + 2)? })
}

pub(crate) fn list_sites(db: &Connection) -> Result<Vec<Site>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id, name, time_zone FROM site ORDER BY name")?;
    let sites = statement.query_map([], |row| site(row, 0))?.collect::<Result<_, _>>()?;
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

pub(crate) fn create_claim(
    db: &Connection,
    journal: &Journal,
    new: &NewClaim,
) -> Result<DeviceNumber, CreateClaimError> {
    forget_claims(db, new.created)?;
    let device = match &new.claim_for {
        ClaimFor::Existing(device) => {
            let known = db
                .prepare_cached("SELECT 1 FROM device WHERE number = ?1 AND deleted IS NULL")?
                .exists([device.0])?;
            if !known {
                return Err(CreateClaimError::UnknownDevice);
            }
            if next_grant(db, *device)?.is_none() {
                return Err(CreateClaimError::Exhausted);
            }
            // One code at a time: an earlier one that was never redeemed is void.
            void_claims(db, journal, *device)?;
            *device
        }
        ClaimFor::New { name, site, time_zone } => {
            let site = find_or_create_site(db, site, time_zone.as_deref())?;
            let number = db
                .prepare_cached(
                    "INSERT INTO device (name, site, created, state) VALUES (?1, ?2, ?3, ?4)",
                )?
                .insert(params![name, site, new.created.0, DeviceState::Waiting.code()])?;
            DeviceNumber(number.try_into().map_err(|_| StoreError::Corrupt("device number"))?)
        }
    };
    let inserted = db
        .prepare_cached(
            "INSERT INTO claim (id, device, secret, created, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![new.id, device.0, new.secret, new.created.0, new.expires.0]);
    // The savepoint around a change also takes back the device and site created above.
    match inserted {
        Ok(_) => Ok(device),
        Err(error) if is_unique_violation(&error) => Err(CreateClaimError::IdTaken),
        Err(error) => Err(error.into()),
    }
}

/// Deletes claims, including the secrets of their codes, that are no longer needed: a device that
/// lost the answer to its redemption has asked again by then.
fn forget_claims(db: &Connection, now: UnixMs) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM claim WHERE expires < ?1")?
        .execute([now.0.saturating_sub(CLAIM_KEPT_MS)])?;
    Ok(())
}

pub(crate) fn find_claim(db: &Connection, id: &str) -> Result<Option<Claim>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT device, secret, expires, public_key, generation, reply FROM claim
             WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let redeemed = match row.get::<_, Option<[u8; 32]>>(3)? {
                None => None,
                Some(public_key) => Some(Redemption {
                    public_key,
                    generation: KeyGeneration(row.get(4)?),
                    reply: row.get(5)?,
                }),
            };
            Ok((DeviceNumber(row.get(0)?), row.get(1)?, UnixMs(row.get(2)?), redeemed))
        })
        .optional()?;
    let Some((device, secret, expires, redeemed)) = found else { return Ok(None) };
    let next = next_grant(db, device)?;
    let (next_generation, first_epoch, safe_epoch) = next.unwrap_or_default();
    Ok(Some(Claim { device, secret, expires, redeemed, next_generation, first_epoch, safe_epoch }))
}

/// What the device's next key is granted: its generation, the first boot epoch above all that the
/// device was seen in, and the first above all that its present key allows. `None` if its numbers
/// are used up.
///
/// The epoch just below is left free, for batches that are stored under an id of their own (see
/// [`super::ingest`]).
pub(super) fn next_grant(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Option<(KeyGeneration, BootEpoch, BootEpoch)>, StoreError> {
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
        return Ok(Some((KeyGeneration(1), BootEpoch(1), BootEpoch(1))));
    };
    let first = epoch.max(granted) + 2;
    let safe = granted + i64::from(EPOCHS_PER_KEY) + 1;
    let number = |epoch: i64| u32::try_from(epoch).ok().map(BootEpoch);
    let generation = u16::try_from(generation + 1).ok().map(KeyGeneration);
    let (Some(generation), Some(first)) = (generation, number(first)) else { return Ok(None) };
    Ok(Some((generation, first, number(safe).unwrap_or(first).max(first))))
}

pub(crate) fn redeem_claim(
    db: &Connection,
    journal: &Journal,
    claim: &RedeemClaim,
) -> Result<DeviceNumber, RedeemClaimError> {
    forget_claims(db, claim.at)?;
    let held = find_claim(db, &claim.id)?.ok_or(RedeemClaimError::Unknown)?;
    if let Some(redemption) = held.redeemed {
        return Err(if redemption.public_key == claim.public_key {
            RedeemClaimError::Repeated(redemption)
        } else {
            RedeemClaimError::RedeemedByOther
        });
    }
    if held.expires <= claim.at {
        return Err(RedeemClaimError::Expired);
    }
    // The device may have been seen in further epochs since the reply was made.
    if held.next_generation != claim.generation || held.first_epoch > claim.first_epoch {
        return Err(RedeemClaimError::Overtaken);
    }
    let (device, generation, at) = (held.device.0, claim.generation.0, claim.at.0);
    // The code's secret is kept as long as a repeated request may have to prove that it knows it.
    db.prepare_cached(
        "UPDATE claim SET redeemed = ?2, public_key = ?3, generation = ?4, reply = ?5
         WHERE id = ?1",
    )?
    .execute(params![claim.id, at, claim.public_key, generation, claim.reply])?;
    journal.append(&Revocation::Claim(claim.id.clone()))?;
    revoke_keys(db, journal, held.device, claim.at)?;
    db.prepare_cached(
        "INSERT INTO device_key (device, generation, secret, created, first_epoch)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![device, generation, claim.secret, at, claim.first_epoch.0])?;
    Ok(held.device)
}

/// Returns for each device with a key when its newest key was revoked, if it was.
pub(crate) fn newest_keys(
    db: &Connection,
    devices: &[DeviceNumber],
) -> Result<Vec<(DeviceNumber, Option<UnixMs>)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT revoked FROM device_key WHERE device = ?1 ORDER BY generation DESC LIMIT 1",
    )?;
    let mut newest = Vec::with_capacity(devices.len());
    for device in devices {
        let revoked = statement
            .query_row([device.0], |row| Ok(row.get::<_, Option<i64>>(0)?.map(UnixMs)))
            .optional()?;
        newest.extend(revoked.map(|revoked| (*device, revoked)));
    }
    Ok(newest)
}

pub(crate) fn find_key(
    db: &Connection,
    device: DeviceNumber,
    generation: KeyGeneration,
) -> Result<Option<DeviceKey>, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT secret, created, revoked, coalesce(state.counter, 0), first_epoch, state.digest
             FROM device_key LEFT JOIN device_state AS state
                 ON state.device = device_key.device AND state.generation = device_key.generation
             WHERE device_key.device = ?1 AND device_key.generation = ?2",
        )?
        .query_row(params![device.0, generation.0], |row| {
            Ok(DeviceKey {
                device,
                generation,
                secret: row.get(0)?,
                created: UnixMs(row.get(1)?),
                revoked: row.get::<_, Option<i64>>(2)?.map(UnixMs),
                counter: Counter(count(row, 3)?),
                first_epoch: BootEpoch(row.get(4)?),
                digest: row.get(5)?,
            })
        })
        .optional()?)
}

pub(crate) fn revoke_keys(
    db: &Connection,
    journal: &Journal,
    device: DeviceNumber,
    at: UnixMs,
) -> Result<bool, StoreError> {
    let revoked = db
        .prepare_cached("UPDATE device_key SET revoked = ?2 WHERE device = ?1 AND revoked IS NULL")?
        .execute(params![device.0, at.0])?;
    if revoked > 0 {
        let newest = db
            .prepare_cached("SELECT max(generation) FROM device_key WHERE device = ?1")?
            .query_row([device.0], |row| row.get(0))?;
        let generation = KeyGeneration(newest);
        journal.append(&Revocation::Keys { device, generation, at })?;
    }
    Ok(revoked + void_claims(db, journal, device)? > 0)
}

/// Voids the unredeemed claims of a device.
fn void_claims(
    db: &Connection,
    journal: &Journal,
    device: DeviceNumber,
) -> Result<usize, StoreError> {
    let mut statement =
        db.prepare_cached("DELETE FROM claim WHERE device = ?1 AND redeemed IS NULL RETURNING id")?;
    let ids: Vec<String> =
        statement.query_map([device.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let count = ids.len();
    for id in ids {
        journal.append(&Revocation::Claim(id))?;
    }
    Ok(count)
}

pub(crate) fn list_claims(db: &Connection, now: UnixMs) -> Result<Vec<OpenClaim>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT claim.id, claim.device, device.name, claim.created, claim.expires
         FROM claim JOIN device ON device.number = claim.device
         WHERE claim.redeemed IS NULL AND claim.expires > ?1
         ORDER BY claim.created DESC, claim.id LIMIT ?2",
    )?;
    let limit = i64::try_from(CLAIMS_LISTED_MAX).unwrap_or(i64::MAX);
    let claims = statement
        .query_map([now.0, limit], |row| {
            Ok(OpenClaim {
                id: row.get(0)?,
                device: DeviceNumber(row.get(1)?),
                device_name: row.get(2)?,
                created: UnixMs(row.get(3)?),
                expires: UnixMs(row.get(4)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(claims)
}

pub(crate) fn delete_claim(
    db: &Connection,
    journal: &Journal,
    id: &str,
) -> Result<bool, StoreError> {
    let deleted =
        db.prepare_cached("DELETE FROM claim WHERE id = ?1 AND redeemed IS NULL")?.execute([id])?;
    if deleted > 0 {
        journal.append(&Revocation::Claim(id.into()))?;
    }
    Ok(deleted > 0)
}

const DEVICE: &str = "device.number, device.name, device.created, device.state,
    device.state_since, site.id, site.name, site.time_zone, link.generation, link.last_seen,
    link.last_sample, link.epoch, link.messages, link.batches, link.samples, link.duplicates,
    link.refused, link.dropped_samples, link.bytes, link.firmware, link.reported";
const FROM_DEVICE: &str = "FROM device JOIN site ON site.id = device.site
    LEFT JOIN device_state AS link ON link.device = device.number";

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        number: DeviceNumber(row.get(0)?),
        name: row.get(1)?,
        created: UnixMs(row.get(2)?),
        state: DeviceState::from_code(row.get(3)?).ok_or_else(|| corrupt(3, "state"))?,
        state_since: row.get::<_, Option<i64>>(4)?.map(UnixMs),
        site: site(row, 5)?,
        link: if row.get::<_, Option<i64>>(8)?.is_some() { link(row, 8)? } else { Link::default() },
    })
}

/// Reads the link's columns, in the order of [`DEVICE`], from column `at` on.
fn link(row: &Row<'_>, at: usize) -> rusqlite::Result<Link> {
    let reported: Vec<u8> = row.get(at + 12)?;
    let reported =
        SelfReport::decode(&reported).ok_or_else(|| corrupt(at + 12, "report of a device"))?;
    Ok(Link {
        key_generation: Some(KeyGeneration(row.get(at)?)),
        last_seen: Some(UnixMs(row.get(at + 1)?)),
        last_sample: row.get::<_, Option<i64>>(at + 2)?.map(UnixMs),
        boot_epoch: Some(BootEpoch(row.get(at + 3)?)),
        messages: count(row, at + 4)?,
        batches: count(row, at + 5)?,
        samples: count(row, at + 6)?,
        duplicates: count(row, at + 7)?,
        refused: count(row, at + 8)?,
        dropped_samples: count(row, at + 9)?,
        bytes: count(row, at + 10)?,
        firmware: row.get(at + 11)?,
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

    let (devices, has_more) = page(db, &wanted, values, query.after, query.limit)?;
    Ok(DevicePage { devices, has_more, total })
}

/// Returns devices in the order of their numbers, starting after the given one, without counting
/// all of them.
pub(crate) fn sweep_devices(
    db: &Connection,
    after: Option<DeviceNumber>,
    limit: u32,
) -> Result<(Vec<Device>, bool), StoreError> {
    page(db, "1", Vec::new(), after, limit)
}

fn page(
    db: &Connection,
    wanted: &str,
    mut values: Vec<Value>,
    after: Option<DeviceNumber>,
    limit: u32,
) -> Result<(Vec<Device>, bool), StoreError> {
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
    Ok((devices, has_more))
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

pub(crate) fn announce(db: &Connection, new: &NewStreamOf) -> Result<Vec<PointId>, AnnounceError> {
    let NewStreamOf { device, stream } = new;
    if !db.prepare_cached("SELECT 1 FROM device WHERE number = ?1")?.exists([device.0])? {
        return Err(AnnounceError::UnknownDevice);
    }
    let layout = db
        .prepare_cached("SELECT id FROM layout WHERE cbor = ?1")?
        .query_row([&stream.layout], |row| row.get::<_, i64>(0))
        .optional()?;
    let held: Option<(u8, i64)> = db
        .prepare_cached("SELECT source, layout FROM stream WHERE device = ?1 AND number = ?2")?
        .query_row(params![device.0, stream.id.code()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((source, held)) = held {
        return if source == stream.source.0 && layout == Some(held) {
            Ok(layout_points(db, held)?)
        } else {
            Err(AnnounceError::OtherLayout)
        };
    }
    if count_streams(db, *device, stream.id)? >= STREAMS_PER_KEY_MAX {
        return Err(AnnounceError::TooMany);
    }
    Ok(layout_points(db, create_stream(db, new)?)?)
}

/// Inserts a stream that does not exist; returns its layout.
pub(super) fn create_stream(db: &Connection, new: &NewStreamOf) -> Result<i64, StoreError> {
    let NewStreamOf { device, stream } = new;
    let layout = find_or_create_layout(db, stream)?;
    db.prepare_cached(
        "INSERT INTO stream (device, number, source, layout, first_seen)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![device.0, stream.id.code(), stream.source.0, layout, stream.at.0])?;
    Ok(layout)
}

/// A stream and its device.
pub(crate) struct NewStreamOf {
    pub(crate) device: DeviceNumber,
    pub(crate) stream: NewStream,
}

/// Returns the dictionary's ids of a layout's points, inserting the layout and its points if they
/// are missing. The dictionary is shared by all devices and does not refer to any.
pub(crate) fn enter_layout(
    db: &Connection,
    stream: &NewStream,
) -> Result<Vec<PointId>, StoreError> {
    let layout = find_or_create_layout(db, stream)?;
    layout_points(db, layout)
}

fn find_or_create_layout(db: &Connection, stream: &NewStream) -> Result<i64, StoreError> {
    let held = db
        .prepare_cached("SELECT id FROM layout WHERE cbor = ?1")?
        .query_row([&stream.layout], |row| row.get::<_, i64>(0))
        .optional()?;
    held.map_or_else(|| create_layout(db, stream), Ok)
}

/// Counts the streams that a device has announced under the key that `id` belongs to.
pub(crate) fn count_streams(
    db: &Connection,
    device: DeviceNumber,
    id: StreamId,
) -> Result<u32, StoreError> {
    let of_key = id.of_same_key();
    let count = db
        .prepare_cached(
            "SELECT count(*) FROM stream WHERE device = ?1 AND number BETWEEN ?2 AND ?3",
        )?
        .query_row([device.0, *of_key.start(), *of_key.end()], |row| row.get(0))?;
    Ok(count)
}

fn create_layout(db: &Connection, stream: &NewStream) -> Result<i64, StoreError> {
    let layout =
        db.prepare_cached("INSERT INTO layout (cbor) VALUES (?1)")?.insert([&stream.layout])?;
    let mut insert =
        db.prepare_cached("INSERT INTO layout_point (layout, place, point) VALUES (?1, ?2, ?3)")?;
    for (place, def) in (0i64..).zip(&stream.points) {
        insert.execute([layout, place, point_id(db, def)?])?;
    }
    Ok(layout)
}

fn point_id(db: &Connection, def: &PointDef) -> Result<i64, StoreError> {
    let found = db
        .prepare_cached("SELECT id FROM point WHERE name = ?1 AND unit = ?2 AND exponent = ?3")?
        .query_row(params![def.name, def.unit.code(), def.exponent], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => Ok(db
            .prepare_cached("INSERT INTO point (name, unit, exponent) VALUES (?1, ?2, ?3)")?
            .insert(params![def.name, def.unit.code(), def.exponent])?),
    }
}

fn layout_points(db: &Connection, layout: i64) -> Result<Vec<PointId>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT point FROM layout_point WHERE layout = ?1 ORDER BY place")?;
    let points =
        statement.query_map([layout], |row| Ok(PointId(row.get(0)?)))?.collect::<Result<_, _>>()?;
    Ok(points)
}

pub(crate) fn list_streams(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<Stream>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT stream.number, stream.source, layout.cbor, stream.first_seen
         FROM stream JOIN layout ON layout.id = stream.layout
         WHERE stream.device = ?1 ORDER BY stream.number",
    )?;
    let streams = statement.query_map([device.0], stream)?.collect::<Result<_, _>>()?;
    Ok(streams)
}

fn stream(row: &Row<'_>) -> rusqlite::Result<Stream> {
    Ok(Stream {
        id: StreamId::from_code(row.get(0)?),
        source: SourceNumber(row.get(1)?),
        layout: row.get(2)?,
        first_seen: UnixMs(row.get(3)?),
    })
}

/// Returns a stream and the dictionary's ids of its points, in the order of the layout.
pub(crate) fn find_stream(
    db: &Connection,
    device: DeviceNumber,
    id: StreamId,
) -> Result<Option<(Stream, Vec<PointId>)>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT stream.number, stream.source, layout.cbor, stream.first_seen, layout.id
             FROM stream JOIN layout ON layout.id = stream.layout
             WHERE stream.device = ?1 AND stream.number = ?2",
        )?
        .query_row(params![device.0, id.code()], |row| Ok((stream(row)?, row.get::<_, i64>(4)?)))
        .optional()?;
    found.map(|(stream, layout)| Ok((stream, layout_points(db, layout)?))).transpose()
}

pub(crate) fn point(row: &Row<'_>, at: usize) -> rusqlite::Result<Point> {
    Ok(Point {
        id: PointId(row.get(at)?),
        def: PointDef {
            name: row.get(at + 1)?,
            unit: ecowatt_model::Unit::from_code(row.get(at + 2)?)
                .ok_or_else(|| corrupt(at + 2, "unit"))?,
            exponent: row.get(at + 3)?,
        },
    })
}

/// Returns every point that a source's layouts have ever had.
pub(crate) fn list_points(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
) -> Result<Vec<Point>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, name, unit, exponent FROM point WHERE id IN (
             SELECT layout_point.point FROM stream
             JOIN layout_point ON layout_point.layout = stream.layout
             WHERE stream.device = ?1 AND stream.source = ?2)
         ORDER BY id",
    )?;
    let points = statement
        .query_map(params![device.0, source.0], |row| point(row, 0))?
        .collect::<Result<_, _>>()?;
    Ok(points)
}

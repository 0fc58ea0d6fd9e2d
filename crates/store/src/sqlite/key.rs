//! Statements on the keys of devices: what a claim is redeemed for and a revocation voids.

use std::collections::BTreeMap;

use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::claim;
use super::convert::count;
use super::revocation_file::Journal;
use crate::StoreError;
use crate::fleet::{DeviceKey, RedeemClaim, RedeemClaimError};
use crate::revocation::Revocation;

pub(crate) fn redeem_claim(
    db: &Connection,
    journal: &Journal,
    claim: &RedeemClaim,
) -> Result<DeviceNumber, RedeemClaimError> {
    claim::forget_claims(db, claim.at)?;
    let held = claim::find_claim(db, &claim.id)?.ok_or(RedeemClaimError::Unknown)?;
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
) -> Result<BTreeMap<DeviceNumber, Option<UnixMs>>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT revoked FROM device_key WHERE device = ?1 ORDER BY generation DESC LIMIT 1",
    )?;
    let mut newest = BTreeMap::new();
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
            "SELECT secret, created, revoked, coalesce(state.counter, 0) AS counter, first_epoch,
                 state.digest AS digest
             FROM device_key LEFT JOIN device_state AS state
                 ON state.device = device_key.device AND state.generation = device_key.generation
             WHERE device_key.device = ?1 AND device_key.generation = ?2
                 AND device_key.protocol = 0",
        )?
        .query_row(params![device.0, generation.0], |row| {
            Ok(DeviceKey {
                device,
                generation,
                secret: row.get("secret")?,
                created: UnixMs(row.get("created")?),
                revoked: row.get::<_, Option<i64>>("revoked")?.map(UnixMs),
                counter: Counter(count(row, "counter")?),
                first_epoch: BootEpoch(row.get("first_epoch")?),
                digest: row.get("digest")?,
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
    Ok(revoked + claim::void_claims(db, journal, device)? > 0)
}

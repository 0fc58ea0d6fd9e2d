//! Statements on claims.

use ecowatt_model::{DeviceNumber, KeyGeneration, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::convert::is_unique_violation;
use super::revocation_file::Journal;
use super::{grant, site};
use crate::StoreError;
use crate::fleet::{
    Claim, ClaimFor, CreateClaimError, DeviceState, NewClaim, OpenClaim, Redemption,
};
use crate::limits::{CLAIM_KEPT_MS, CLAIMS_LISTED_MAX};
use crate::revocation::Revocation;

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
            if grant::next_grant(db, *device)?.is_none() {
                return Err(CreateClaimError::Exhausted);
            }
            // One code at a time: an earlier one that was never redeemed is void.
            void_claims(db, journal, *device)?;
            *device
        }
        ClaimFor::New { name, site, time_zone } => {
            let site = site::find_or_create_site(db, site, time_zone.as_deref())?;
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
pub(super) fn forget_claims(db: &Connection, now: UnixMs) -> Result<(), StoreError> {
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
            let redeemed = match row.get::<_, Option<[u8; 32]>>("public_key")? {
                None => None,
                Some(public_key) => Some(Redemption {
                    public_key,
                    generation: KeyGeneration(row.get("generation")?),
                    reply: row.get("reply")?,
                }),
            };
            Ok((
                DeviceNumber(row.get("device")?),
                row.get("secret")?,
                UnixMs(row.get("expires")?),
                redeemed,
            ))
        })
        .optional()?;
    let Some((device, secret, expires, redeemed)) = found else { return Ok(None) };
    let next = grant::next_grant(db, device)?.unwrap_or_default();
    Ok(Some(Claim {
        device,
        secret,
        expires,
        redeemed,
        next_generation: next.generation,
        first_epoch: next.first_epoch,
        safe_epoch: next.safe_epoch,
    }))
}

/// Voids the unredeemed claims of a device.
pub(super) fn void_claims(
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
        "SELECT claim.id AS id, claim.device AS device, device.name AS device_name,
             claim.created AS created, claim.expires AS expires
         FROM claim JOIN device ON device.number = claim.device
         WHERE claim.redeemed IS NULL AND claim.expires > ?1
         ORDER BY claim.created DESC, claim.id LIMIT ?2",
    )?;
    let limit = i64::try_from(CLAIMS_LISTED_MAX).unwrap_or(i64::MAX);
    let claims = statement
        .query_map([now.0, limit], |row| {
            Ok(OpenClaim {
                id: row.get("id")?,
                device: DeviceNumber(row.get("device")?),
                device_name: row.get("device_name")?,
                created: UnixMs(row.get("created")?),
                expires: UnixMs(row.get("expires")?),
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

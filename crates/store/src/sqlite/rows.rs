//! The rows that ingest works on, held in memory between reading and writing them.
//!
//! Many uploads of one device in a group change each of its rows once. After a commit the rows stay,
//! up to a bound, so that the next group need not read them; a group that fails clears them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use ecowatt_model::{BootEpoch, Counter, KeyGeneration, UnixMs};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, Row, params};

use super::newest::NewestEdges;
use super::row::{count, signed};
use crate::StoreError;
use crate::latest::Latest;
use crate::limits::ROWS_HELD_MAX;
use crate::received::Received;
use crate::reported::SelfReport;
use crate::rollup::{Day, LocalDate, Quarter};

/// A row and what of it the database does not have.
#[derive(Debug)]
struct Held<T> {
    value: T,
    is_dirty: bool,
}

/// Rows of one table, by key.
#[derive(Debug)]
pub(super) struct Table<K, T> {
    held: HashMap<K, Held<T>>,
    dirty: Vec<K>,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { held: HashMap::new(), dirty: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash + Ord, T> Table<K, T> {
    /// The row, loaded if it is not held.
    pub(super) fn get(
        &mut self,
        key: K,
        load: impl FnOnce() -> Result<Option<T>, StoreError>,
    ) -> Result<Option<&T>, StoreError> {
        match self.held.entry(key) {
            Entry::Occupied(held) => Ok(Some(&held.into_mut().value)),
            Entry::Vacant(free) => {
                let Some(value) = load()? else { return Ok(None) };
                Ok(Some(&free.insert(Held { value, is_dirty: false }).value))
            }
        }
    }

    /// Changes a row, made if there is none.
    pub(super) fn change(
        &mut self,
        key: K,
        load: impl FnOnce() -> Result<Option<T>, StoreError>,
        change: impl FnOnce(&mut T),
    ) -> Result<(), StoreError>
    where
        T: Default,
    {
        let held = match self.held.entry(key) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => {
                free.insert(Held { value: load()?.unwrap_or_default(), is_dirty: false })
            }
        };
        change(&mut held.value);
        if !held.is_dirty {
            held.is_dirty = true;
            self.dirty.push(key);
        }
        Ok(())
    }

    /// Writes what is not yet written, in the order of the keys: neighbours share pages.
    fn flush(
        &mut self,
        mut write: impl FnMut(&K, &T) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.dirty.sort_unstable();
        for key in self.dirty.drain(..) {
            if let Some(held) = self.held.get_mut(&key) {
                write(&key, &held.value)?;
                held.is_dirty = false;
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.held.clear();
        self.dirty.clear();
    }

    fn bound(&mut self) {
        if self.held.len() > ROWS_HELD_MAX && self.dirty.is_empty() {
            self.held.clear();
        }
    }
}

/// The part of a device's key that a message moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct KeyRow {
    pub(super) is_revoked: bool,
    pub(super) counter: Counter,
    pub(super) digest: Option<[u8; 32]>,
    /// The first boot epoch that was granted with it.
    pub(super) first_epoch: BootEpoch,
    /// What was reported under keys up to this generation is not believed, and names of batches in
    /// epochs below this one may be anybody's.
    pub(super) forgotten: (u16, BootEpoch),
}

/// What a device's messages have shown.
#[derive(Debug, Clone, Default)]
pub(super) struct LinkRow {
    pub(super) generation: KeyGeneration,
    pub(super) last_seen: UnixMs,
    pub(super) last_sample: Option<UnixMs>,
    pub(super) epoch: BootEpoch,
    pub(super) messages: u64,
    pub(super) batches: u64,
    pub(super) samples: u64,
    pub(super) duplicates: u64,
    pub(super) refused: u64,
    pub(super) dropped_samples: u64,
    pub(super) bytes: u64,
    pub(super) firmware: Option<String>,
    pub(super) reported: SelfReport,
}

/// Everything that an upload may change besides the blocks themselves.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) keys: Table<(u32, u16), KeyRow>,
    pub(super) links: Table<u32, LinkRow>,
    pub(super) received: Table<(u32, u32, u16), Received>,
    pub(super) quarters: Table<(u32, u8, i64), Quarter>,
    pub(super) days: Table<(u32, u8, LocalDate), Day>,
    pub(super) latest: Table<(u32, u8), Latest>,
    pub(super) newest: NewestEdges,
}

impl Rows {
    /// After a failed group.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.links.clear();
        self.received.clear();
        self.quarters.clear();
        self.days.clear();
        self.latest.clear();
        self.newest.clear();
    }

    /// Before a change to the control plane, which may touch keys; everything else is ingest's alone.
    pub(super) fn forget_keys(&mut self) {
        self.keys.clear();
    }

    /// Between groups.
    pub(super) fn bound(&mut self) {
        self.keys.bound();
        self.links.bound();
        self.received.bound();
        self.quarters.bound();
        self.days.bound();
        self.latest.bound();
        self.newest.bound();
    }

    /// Writes everything that the database does not have yet.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), StoreError> {
        let mut update = db.prepare_cached(
            "UPDATE device_key SET counter = ?3, digest = ?4 WHERE device = ?1 AND generation = ?2",
        )?;
        self.keys.flush(|(device, generation), key| {
            done(&mut update, params![device, generation, signed(key.counter.0), key.digest])
        })?;
        let mut upsert = db.prepare_cached(
            "INSERT OR REPLACE INTO link (device, generation, last_seen, last_sample, epoch,
                 messages, batches, samples, duplicates, refused, dropped_samples, bytes, firmware,
                 reported)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        self.links.flush(|device, link| {
            let reported = link.reported.encode();
            done(
                &mut upsert,
                params![
                    device,
                    link.generation.0,
                    link.last_seen.0,
                    link.last_sample.map(|at| at.0),
                    link.epoch.0,
                    signed(link.messages),
                    signed(link.batches),
                    signed(link.samples),
                    signed(link.duplicates),
                    signed(link.refused),
                    signed(link.dropped_samples),
                    signed(link.bytes),
                    link.firmware,
                    reported
                ],
            )
        })?;
        let mut upsert = db.prepare_cached(
            "INSERT OR REPLACE INTO received (device, epoch, generation, ranges)
             VALUES (?1, ?2, ?3, ?4)",
        )?;
        self.received.flush(|(device, epoch, generation), received| {
            done(&mut upsert, params![device, epoch, generation, received.encode()])
        })?;
        let mut upsert = db.prepare_cached(
            "INSERT INTO quarter (device, source, number, minutes) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (device, source, number) DO UPDATE SET minutes = excluded.minutes",
        )?;
        self.quarters.flush(|(device, source, number), quarter| {
            done(&mut upsert, params![device, source, number, quarter.encode(*number)])
        })?;
        let mut upsert = db.prepare_cached(
            "INSERT INTO day (device, source, date, totals) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (device, source, date) DO UPDATE SET totals = excluded.totals",
        )?;
        self.days.flush(|(device, source, date), day| {
            done(&mut upsert, params![device, source, date.0, day.encode(*date)])
        })?;
        let mut upsert = db.prepare_cached(
            "INSERT OR REPLACE INTO latest (device, source, readings) VALUES (?1, ?2, ?3)",
        )?;
        self.latest.flush(|(device, source), latest| {
            done(&mut upsert, params![device, source, latest.encode()])
        })
    }
}

fn done(statement: &mut CachedStatement<'_>, values: impl Params) -> Result<(), StoreError> {
    statement.execute(values)?;
    Ok(())
}

pub(super) fn load_key(
    db: &Connection,
    (device, generation): (u32, u16),
) -> Result<Option<KeyRow>, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT revoked IS NOT NULL, counter, digest, first_epoch, forgotten_key, forgotten_epoch
             FROM device_key JOIN device ON device.number = device_key.device
             WHERE device = ?1 AND generation = ?2",
        )?
        .query_row(params![device, generation], |row| {
            Ok(KeyRow {
                is_revoked: row.get(0)?,
                counter: Counter(count(row, 1)?),
                digest: row.get(2)?,
                first_epoch: BootEpoch(row.get(3)?),
                forgotten: (row.get(4)?, BootEpoch(row.get(5)?)),
            })
        })
        .optional()?)
}

pub(super) fn load_link(db: &Connection, device: u32) -> Result<Option<LinkRow>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT generation, last_seen, last_sample, epoch, messages, batches, samples,
                 duplicates, refused, dropped_samples, bytes, firmware, reported
             FROM link WHERE device = ?1",
        )?
        .query_row([device], link)
        .optional()?;
    Ok(found)
}

fn link(row: &Row<'_>) -> rusqlite::Result<LinkRow> {
    let reported: Vec<u8> = row.get(12)?;
    Ok(LinkRow {
        generation: KeyGeneration(row.get(0)?),
        last_seen: UnixMs(row.get(1)?),
        last_sample: row.get::<_, Option<i64>>(2)?.map(UnixMs),
        epoch: BootEpoch(row.get(3)?),
        messages: count(row, 4)?,
        batches: count(row, 5)?,
        samples: count(row, 6)?,
        duplicates: count(row, 7)?,
        refused: count(row, 8)?,
        dropped_samples: count(row, 9)?,
        bytes: count(row, 10)?,
        firmware: row.get(11)?,
        // What cannot be read is replaced by the device's next report.
        reported: SelfReport::decode(&reported).unwrap_or_default(),
    })
}

/// The truth behind exactly-once: unreadable ranges stop the upload.
pub(super) fn load_received(
    db: &Connection,
    (device, epoch, generation): (u32, u32, u16),
) -> Result<Option<Received>, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT ranges FROM received WHERE device = ?1 AND epoch = ?2 AND generation = ?3",
        )?
        .query_row(params![device, epoch, generation], |row| row.get(0))
        .optional()?;
    bytes.map(|bytes| received(&bytes)).transpose()
}

/// What was received of an epoch under the keys between these generations, both left out.
pub(super) fn load_former(
    db: &Connection,
    (device, epoch): (u32, u32),
    (after, before): (u16, u16),
) -> Result<Vec<Received>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT ranges FROM received
         WHERE device = ?1 AND epoch = ?2 AND generation > ?3 AND generation < ?4",
    )?;
    let mut found = statement.query(params![device, epoch, after, before])?;
    let mut former = Vec::new();
    while let Some(row) = found.next()? {
        former.push(received(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?);
    }
    Ok(former)
}

fn received(bytes: &[u8]) -> Result<Received, StoreError> {
    Received::decode(bytes).ok_or(StoreError::Corrupt("received ranges"))
}

pub(super) fn load_quarter(
    db: &Connection,
    (device, source, number): (u32, u8, i64),
) -> Result<Option<Quarter>, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT minutes FROM quarter WHERE device = ?1 AND source = ?2 AND number = ?3",
        )?
        .query_row(params![device, source, number], |row| row.get(0))
        .optional()?;
    Ok(bytes.and_then(|bytes| readable(Quarter::decode(number, &bytes), device, "quarter hour")))
}

pub(super) fn load_day(
    db: &Connection,
    (device, source, date): (u32, u8, LocalDate),
) -> Result<Option<Day>, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT totals FROM day WHERE device = ?1 AND source = ?2 AND date = ?3")?
        .query_row(params![device, source, date.0], |row| row.get(0))
        .optional()?;
    Ok(bytes.and_then(|bytes| readable(Day::decode(date, &bytes), device, "day")))
}

pub(super) fn load_latest(
    db: &Connection,
    (device, source): (u32, u8),
) -> Result<Option<Latest>, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT readings FROM latest WHERE device = ?1 AND source = ?2")?
        .query_row(params![device, source], |row| row.get(0))
        .optional()?;
    Ok(bytes.and_then(|bytes| readable(Latest::decode(&bytes), device, "latest readings")))
}

/// A damaged roll-up must not stop deliveries: it begins again from nothing. What it held is in the
/// blocks, but nothing makes it of them again.
pub(super) fn readable<T>(decoded: Option<T>, device: u32, what: &'static str) -> Option<T> {
    if decoded.is_none() {
        tracing::error!(device, what, "stored bytes cannot be read; starting afresh");
    }
    decoded
}

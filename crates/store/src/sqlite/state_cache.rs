//! Keeps the states of devices in memory between reading and writing them.
//!
//! Many uploads of one device in a group write each of its rows once, at the group's end. After a
//! commit the states stay in memory, up to a limit, so that the next group need not read them; a
//! group that fails clears all of them.

use std::collections::{BTreeMap, HashMap};

use ecowatt_model::{BatchId, BootEpoch, DeviceNumber, KeyGeneration, SourceNumber};
use rusqlite::{CachedStatement, Connection, Params, params};

use super::command;
use super::convert::signed;
use super::stream::{self, NewStreamOf};
use super::{lease, newest_edges};
use crate::StoreError;
use crate::configuration::ConfigReport;
use crate::ingest::{Changes, GapChange};
use crate::limits::STATES_BYTES_MAX;
use crate::loaded::{Inverter, LoadedDevice, LoadedLink};
use crate::received_set::Received;

/// The held states, and their changes that are not in the database yet.
#[derive(Debug, Default)]
pub(super) struct StateCache {
    held: HashMap<DeviceNumber, CachedState>,
    changed: BTreeMap<DeviceNumber, Changes>,
    /// Devices that this group has used.
    used: Vec<DeviceNumber>,
    group: u64,
    /// Approximate size of the held states, bytes.
    weight: usize,
}

#[derive(Debug, Default)]
struct CachedState {
    state: LoadedDevice,
    weight: usize,
    /// The last group that used it.
    used: Option<u64>,
}

impl StateCache {
    /// Returns a device's state with the parts that are held.
    pub(super) fn state(&mut self, device: DeviceNumber) -> &mut LoadedDevice {
        let held = self.held.entry(device).or_default();
        if held.used != Some(self.group) {
            held.used = Some(self.group);
            self.used.push(device);
        }
        &mut held.state
    }

    /// Marks rows of a device's state as changed.
    pub(super) fn changed(&mut self, device: DeviceNumber, changes: Changes) {
        self.changed.entry(device).or_default().also(changes);
    }

    /// Drops everything: after a failed group, and before a change of rows that otherwise only
    /// ingest changes.
    pub(super) fn clear(&mut self) {
        *self = Self { group: self.group, ..Self::default() };
    }

    /// Drops, before a change that is not an upload, what it may affect: keys, and loaded rows that
    /// it may pack. All other held rows are only changed by ingest. The changes must be written.
    pub(super) fn forget_loaded(&mut self) {
        self.held.values_mut().for_each(|held| held.state.forget_key());
        for device in &self.used {
            if let Some(held) = self.held.get_mut(device) {
                held.state.trim();
            }
        }
    }

    /// Drops, between groups, what the next ones will hardly need.
    pub(super) fn bound(&mut self) {
        self.group += 1;
        for device in self.used.drain(..) {
            if let Some(held) = self.held.get_mut(&device) {
                held.state.trim();
                let weight = held.state.weight();
                self.weight = self.weight + weight - held.weight;
                held.weight = weight;
            }
        }
        if self.weight > STATES_BYTES_MAX {
            self.forget_half();
        }
    }

    /// Drops the least recently used half.
    fn forget_half(&mut self) {
        let mut used: Vec<Option<u64>> = self.held.values().map(|held| held.used).collect();
        let middle = used.len() / 2;
        let middle = *used.select_nth_unstable(middle).1;
        let mut more = self.held.len() / 2;
        self.held.retain(|_, held| {
            let goes = held.used < middle || held.used == middle && more > 0;
            more = more.saturating_sub(usize::from(goes));
            !goes
        });
        self.weight = self.held.values().map(|held| held.weight).sum();
    }

    /// Writes all changes that the database does not have yet, in the order of the keys, because
    /// neighbours share pages.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), StoreError> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut write = Write::prepare(db)?;
        for (device, changes) in std::mem::take(&mut self.changed) {
            if let Some(held) = self.held.get(&device) {
                write.device(db, device, &held.state, changes)?;
            }
        }
        Ok(())
    }
}

/// Writes rows of a device whose state is not held here.
pub(super) fn write(
    db: &Connection,
    device: DeviceNumber,
    state: &LoadedDevice,
    changes: Changes,
) -> Result<(), StoreError> {
    Write::prepare(db)?.device(db, device, state, changes)
}

/// The statements that write a device's rows.
struct Write<'a> {
    state: CachedStatement<'a>,
    inverter: CachedStatement<'a>,
    received: CachedStatement<'a>,
    config: CachedStatement<'a>,
    block: CachedStatement<'a>,
    counter: CachedStatement<'a>,
    power: CachedStatement<'a>,
    quarter: CachedStatement<'a>,
    day: CachedStatement<'a>,
    gap: CachedStatement<'a>,
    no_gap: CachedStatement<'a>,
}

impl<'a> Write<'a> {
    fn prepare(db: &'a Connection) -> Result<Self, StoreError> {
        Ok(Self {
            state: db.prepare_cached(
                "INSERT OR REPLACE INTO device_state (device, generation, counter, digest,
                     last_seen, last_sample, epoch, messages, batches, samples, duplicates,
                     refused, dropped_samples, bytes, firmware, reported, received_epoch,
                     received_generation, received, memory)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                     ?17, ?18, ?19, ?20)",
            )?,
            inverter: db.prepare_cached(
                "INSERT INTO inverter_state (device, source, readings, date, totals, quarter,
                     minutes, counter, power)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (device, source) DO UPDATE SET readings = excluded.readings,
                     date = excluded.date, totals = excluded.totals, quarter = excluded.quarter,
                     minutes = excluded.minutes, counter = excluded.counter,
                     power = excluded.power",
            )?,
            received: db.prepare_cached(
                "INSERT OR REPLACE INTO received (device, epoch, generation, ranges)
                 VALUES (?1, ?2, ?3, ?4)",
            )?,
            config: db.prepare_cached(
                "INSERT OR REPLACE INTO configuration_report (device, highest, key_generation,
                     received_at, generation, report)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            block: db.prepare_cached(
                "INSERT INTO block (device, source, first_ms, epoch, sequence, last_ms, rows,
                     stream, time_offset_ms, time_quality, bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?,
            // A later batch changes only the calm of an edge, never the edge itself.
            counter: db.prepare_cached(
                "INSERT INTO counter_edge (device, source, epoch, sequence, calm, edge)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (device, source, epoch, sequence) DO UPDATE SET calm = excluded.calm",
            )?,
            power: db.prepare_cached(
                "INSERT INTO power_edge (device, source, first_ms, epoch, sequence, edge)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            quarter: db.prepare_cached(
                "INSERT INTO quarter (device, source, number, minutes) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (device, source, number) DO UPDATE SET minutes = excluded.minutes",
            )?,
            day: db.prepare_cached(
                "INSERT INTO day (device, source, date, totals) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (device, source, date) DO UPDATE SET totals = excluded.totals",
            )?,
            gap: db.prepare_cached(
                "INSERT INTO energy_gap (device, source, from_ms, to_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
            )?,
            no_gap: db.prepare_cached(
                "DELETE FROM energy_gap
                 WHERE device = ?1 AND source = ?2 AND from_ms = ?3 AND to_ms = ?4",
            )?,
        })
    }

    fn device(
        &mut self,
        db: &Connection,
        device: DeviceNumber,
        state: &LoadedDevice,
        changes: Changes,
    ) -> Result<(), StoreError> {
        for stream in changes.streams {
            stream::create_stream(db, &NewStreamOf { device, stream })?;
        }
        if let Some(link) = &state.link {
            if changes.message {
                self.state(device, link, state.received.last())?;
            }
            if let Some(report) = link.config.as_ref().filter(|_| changes.config) {
                self.config(device, report)?;
            }
        }
        if let Some(report) = state.link.as_ref().and_then(|link| link.leases.as_ref())
            && changes.leases
        {
            lease::write_report(db, device, report)?;
        }
        if !changes.limit_changes.is_empty() {
            lease::write_changes(db, device, &changes.limit_changes)?;
        }
        if let Some(commands) = state.commands.as_ref().filter(|_| !changes.commands.is_empty()) {
            command::write_moves(db, device, commands.last, &changes.commands)?;
        }
        // The last set is part of the device's row, which was just written.
        let last = state.received.last().map(|(place, _)| *place);
        let received = changes.received.into_iter().filter(|(place, ())| Some(*place) != last);
        for ((epoch, generation), ()) in received {
            if let Some(received) = state.received.get(&(epoch, generation)) {
                let ranges = received.encode();
                done(&mut self.received, params![device.0, epoch.0, generation.0, ranges])?;
            }
        }
        for block in changes.blocks {
            let BatchId { epoch, sequence } = block.id;
            let values = params![
                device.0,
                block.source.0,
                block.first.0,
                epoch.0,
                sequence.0,
                block.last.0,
                block.rows,
                block.stream.code(),
                block.time_offset_ms,
                block.time_quality.code(),
                block.bytes
            ];
            done(&mut self.block, values)?;
        }
        for (source, changes) in changes.inverters {
            let Some(inverter) = state.inverters.get(&source) else { continue };
            self.inverter(device, source, inverter)?;
            let (device, source) = (device.0, source.0);
            // The open quarter hour and day are part of the inverter's row and are skipped below.
            let quarter = inverter.quarters.last().map(|(number, _)| *number);
            let day = inverter.days.last().map(|(date, _)| *date);
            for (id, ()) in changes.counters {
                if let Some(edge) = inverter.counters.held.get(&id) {
                    let (epoch, sequence) = (id.epoch.0, id.sequence.0);
                    let bytes = edge.batch.encode();
                    let values = params![device, source, epoch, sequence, edge.calm, bytes];
                    done(&mut self.counter, values)?;
                }
            }
            for ((first, id), ()) in changes.powers {
                if let Some(edges) = inverter.powers.held.get(&(first, id)) {
                    let (epoch, sequence) = (id.epoch.0, id.sequence.0);
                    let bytes = edges.encode(first);
                    done(
                        &mut self.power,
                        params![device, source, first.0, epoch, sequence, bytes],
                    )?;
                }
            }
            // In order: a gap can be added and taken in one group.
            for gap in changes.gaps {
                match gap {
                    GapChange::Add(from, to) => {
                        done(&mut self.gap, params![device, source, from.0, to.0])?;
                    }
                    GapChange::Take(from, to) => {
                        done(&mut self.no_gap, params![device, source, from.0, to.0])?;
                    }
                }
            }
            let quarters = changes.quarters.into_iter().filter(|(at, ())| Some(*at) != quarter);
            for (number, ()) in quarters {
                if let Some(quarter) = inverter.quarters.get(&number) {
                    let minutes = quarter.encode(number);
                    done(&mut self.quarter, params![device, source, number, minutes])?;
                }
            }
            for (date, ()) in changes.days.into_iter().filter(|(at, ())| Some(*at) != day) {
                if let Some(day) = inverter.days.get(&date) {
                    done(&mut self.day, params![device, source, date.0, day.encode(date)])?;
                }
            }
        }
        Ok(())
    }

    fn state(
        &mut self,
        device: DeviceNumber,
        link: &LoadedLink,
        received: Option<(&(BootEpoch, KeyGeneration), &Received)>,
    ) -> Result<(), StoreError> {
        let counter = signed(link.counter.0);
        let values = params![
            device.0,
            link.generation.0,
            counter,
            link.digest,
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
            link.reported.encode(),
            received.map(|((epoch, _), _)| epoch.0),
            received.map(|((_, generation), _)| generation.0),
            received.map(|(_, received)| received.encode()),
            link.memory
        ];
        done(&mut self.state, values)
    }

    fn config(&mut self, device: DeviceNumber, report: &ConfigReport) -> Result<(), StoreError> {
        let ConfigReport { highest, key_generation, received_at, reported } = report;
        let values = params![
            device.0,
            highest.0,
            key_generation.0,
            received_at.0,
            reported.generation.0,
            reported.encode()
        ];
        done(&mut self.config, values)
    }

    fn inverter(
        &mut self,
        device: DeviceNumber,
        source: SourceNumber,
        inverter: &Inverter,
    ) -> Result<(), StoreError> {
        let Inverter { latest, quarters, days, counters, powers } = inverter;
        let (day, quarter) = (days.last(), quarters.last());
        let values = params![
            device.0,
            source.0,
            latest.encode(),
            day.map(|(date, _)| date.0),
            day.map(|(date, day)| day.encode(*date)),
            quarter.map(|(number, _)| *number),
            quarter.map(|(number, quarter)| quarter.encode(*number)),
            counters.held.last().map(|(id, edge)| newest_edges::counter_bytes(id, edge)),
            powers.held.last().map(|(place, edges)| newest_edges::power_bytes(place, edges))
        ];
        done(&mut self.inverter, values)
    }
}

fn done(statement: &mut CachedStatement<'_>, values: impl Params) -> Result<(), StoreError> {
    statement.execute(values)?;
    Ok(())
}

//! One upload within a group: decided in memory, then written.
//!
//! Everything that can refuse an upload is looked at before the first change, so a refused one
//! leaves nothing behind in a group that is committed.
//!
//! What was received is kept per key. Of epochs from before a key was given, earlier keys count as
//! well, so that a device which is enrolled again can send the rest of its spool; unless the device was
//! reset, because somebody else may have had its key. Then a batch is known if its very bytes are
//! stored, and is otherwise stored under a name of its own.

use ecowatt_model::{BatchId, BootEpoch, Sequence};
use rusqlite::{Connection, params};

use super::fleet::{self, NewStreamOf};
use super::joins;
use super::rows::{self, KeyRow, Rows};
use crate::StoreError;
use crate::fleet::AnnounceError;
use crate::received::{Added, Received};
use crate::reported::SelfReport;
use crate::telemetry::{NewBlock, Outcome, Receipt, TimeQuality, Upload};

pub(super) fn ingest(
    db: &Connection,
    rows: &mut Rows,
    upload: Upload,
) -> Result<Outcome, StoreError> {
    let device = upload.device.0;
    let key = (device, upload.generation.0);
    let Some(held) = rows.keys.get(key, || rows::load_key(db, key))?.filter(|k| !k.is_revoked)
    else {
        return Ok(Outcome::UnknownDevice);
    };
    let is_repeated = upload.counter == held.counter && held.digest == Some(upload.digest);
    if upload.counter <= held.counter && !is_repeated {
        return Ok(Outcome::Stale { last: held.counter });
    }
    let held = *held;
    let mut epochs = Epochs::load(db, rows, &upload, &held)?;
    if is_repeated {
        return Ok(Outcome::Duplicate(Receipt { received: epochs.ranges(), ..Receipt::default() }));
    }

    let mut receipt = Receipt::default();
    for stream in upload.streams {
        let id = stream.id;
        match fleet::announce(db, &NewStreamOf { device: upload.device, stream }) {
            Ok(_) => {}
            Err(AnnounceError::Store(error)) => return Err(error),
            Err(_) => receipt.unannounced.push(id),
        }
    }
    let mut accepted = Vec::with_capacity(upload.batches.len());
    for mut block in upload.batches {
        if receipt.unannounced.contains(&block.stream) {
            receipt.deferred.push(block.id);
            continue;
        }
        match epochs.add(block.id, block.rows) {
            Added::New if block.id.epoch < held.forgotten.1 => {
                if is_stored(db, device, &block)? {
                    receipt.duplicates += 1;
                    continue;
                }
                receipt.stored.push(block.id);
                block.id = epochs.name_anew(&held, block.rows);
                accepted.push(block);
            }
            Added::New => {
                receipt.stored.push(block.id);
                accepted.push(block);
            }
            Added::Known => receipt.duplicates += 1,
            Added::TooManyRanges => receipt.deferred.push(block.id),
        }
    }
    let mut refused = 0u64;
    for id in &upload.refused {
        refused += u64::from(epochs.add(*id, 0) == Added::New);
    }
    let present = rows.links.get(device, || rows::load_link(db, device))?.map(|link| link.epoch);
    let present = present.max(Some(upload.epoch));
    for dropped in upload.dropped.iter().filter(|dropped| Some(dropped.epoch) <= present) {
        let received = epochs.of(dropped.epoch);
        match dropped.batches {
            Some((first, last)) => received.lose(first.0, last.0, dropped.samples),
            None => received.lose_unbatched(dropped.samples),
        }
    }
    let (lost_before, lost_after) = epochs.lost_samples();
    receipt.received = epochs.ranges();

    let generation = upload.generation;
    let batches = u64::try_from(accepted.len()).unwrap_or(u64::MAX);
    let samples: u64 = accepted.iter().map(|block| u64::from(block.rows)).sum();
    let newest = accepted.iter().filter(|block| is_timed(block)).map(|block| block.last).max();
    rows.keys.change(
        key,
        || Ok(None),
        |held| {
            held.counter = upload.counter;
            held.digest = Some(upload.digest);
        },
    )?;
    let reported = upload.reported;
    rows.links.change(
        device,
        || rows::load_link(db, device),
        |link| {
            link.generation = generation;
            link.last_seen = link.last_seen.max(upload.received_at);
            link.last_sample = link.last_sample.max(newest);
            link.epoch = link.epoch.max(upload.epoch);
            link.messages += 1;
            link.batches += batches;
            link.samples += samples;
            link.duplicates += u64::from(receipt.duplicates);
            link.refused += refused;
            link.dropped_samples =
                link.dropped_samples.saturating_sub(lost_before).saturating_add(lost_after);
            link.bytes += u64::from(upload.size_bytes);
            link.firmware = reported.firmware.or(link.firmware.take());
            let SelfReport { inverters, diagnostics } = std::mem::take(&mut link.reported);
            link.reported = SelfReport {
                inverters: reported.inverters.unwrap_or(inverters),
                diagnostics: reported.diagnostics.unwrap_or(diagnostics),
            };
        },
    )?;
    epochs.store(rows, key)?;
    for block in accepted {
        store_block(db, rows, device, block)?;
    }
    Ok(Outcome::Stored(receipt))
}

/// The epochs that an upload speaks of, on copies until it is decided.
struct Epochs(Vec<Epoch>);

#[derive(Default)]
struct Epoch {
    number: BootEpoch,
    /// Under the key of this upload.
    received: Received,
    /// Under earlier keys, of an epoch that began before this key was given.
    former: Vec<Received>,
    lost_before: u64,
    is_touched: bool,
}

impl Epochs {
    fn load(
        db: &Connection,
        rows: &mut Rows,
        upload: &Upload,
        key: &KeyRow,
    ) -> Result<Self, StoreError> {
        let mut epochs: Vec<BootEpoch> = (upload.batches.iter().map(|block| block.id.epoch))
            .chain(upload.refused.iter().map(|id| id.epoch))
            .chain(upload.dropped.iter().map(|dropped| dropped.epoch))
            .chain(upload.ask.iter().copied())
            .collect();
        if epochs.iter().any(|epoch| *epoch < key.forgotten.1) {
            epochs.push(anew(key));
        }
        epochs.sort_unstable();
        epochs.dedup();
        let mut loaded = Vec::with_capacity(epochs.len());
        for epoch in epochs {
            let (device, generation) = (upload.device.0, upload.generation.0);
            let place = (device, epoch.0, generation);
            let received = rows.received.get(place, || rows::load_received(db, place))?;
            let received = received.cloned().unwrap_or_default();
            let former = if epoch < key.first_epoch {
                rows::load_former(db, (device, epoch.0), (key.forgotten.0, generation))?
            } else {
                Vec::new()
            };
            let lost_before = received.lost_samples();
            loaded.push(Epoch { number: epoch, received, former, lost_before, is_touched: false });
        }
        Ok(Self(loaded))
    }

    fn of(&mut self, number: BootEpoch) -> &mut Received {
        &mut self.touch(number).received
    }

    fn touch(&mut self, number: BootEpoch) -> &mut Epoch {
        let place = match self.0.binary_search_by_key(&number, |epoch| epoch.number) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, Epoch { number, ..Epoch::default() });
                place
            }
        };
        let epoch = &mut self.0[place];
        epoch.is_touched = true;
        epoch
    }

    fn add(&mut self, id: BatchId, rows: u16) -> Added {
        let epoch = self.touch(id.epoch);
        let is_known = epoch.former.iter().any(|former| former.has(id.sequence.0));
        match epoch.received.add(id.sequence.0, rows) {
            Added::New if is_known => Added::Known,
            added => added,
        }
    }

    /// The next name in the epoch that is kept free below the first of a key: for a batch from before
    /// the device was reset, whose own name somebody else may have used.
    fn name_anew(&mut self, key: &KeyRow, rows: u16) -> BatchId {
        let epoch = anew(key);
        let received = self.of(epoch);
        let sequence = Sequence(received.last().saturating_add(1));
        received.add(sequence.0, rows);
        BatchId { epoch, sequence }
    }

    fn ranges(&self) -> Vec<(BootEpoch, Vec<std::ops::RangeInclusive<u32>>)> {
        self.0.iter().map(|epoch| (epoch.number, epoch.received.ranges())).collect()
    }

    /// Samples that will never come, before this upload and after it.
    fn lost_samples(&self) -> (u64, u64) {
        let before = self.0.iter().map(|epoch| epoch.lost_before).sum();
        (before, self.0.iter().map(|epoch| epoch.received.lost_samples()).sum())
    }

    fn store(self, rows: &mut Rows, (device, generation): (u32, u16)) -> Result<(), StoreError> {
        for Epoch { number, received, is_touched, .. } in self.0 {
            if is_touched {
                let key = (device, number.0, generation);
                rows.received.change(key, || Ok(None), |held| *held = received)?;
            }
        }
        Ok(())
    }
}

fn anew(key: &KeyRow) -> BootEpoch {
    BootEpoch(key.first_epoch.0.saturating_sub(1))
}

/// Whether this very batch is stored, under its own name.
fn is_stored(db: &Connection, device: u32, block: &NewBlock) -> Result<bool, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT 1 FROM block WHERE device = ?1 AND source = ?2 AND first_ms = ?3
             AND epoch = ?4 AND sequence = ?5 AND bytes = ?6",
        )?
        .exists(params![
            device,
            block.source.0,
            block.first.0,
            block.id.epoch.0,
            block.id.sequence.0,
            block.bytes
        ])?)
}

fn store_block(
    db: &Connection,
    rows: &mut Rows,
    device: u32,
    block: NewBlock,
) -> Result<(), StoreError> {
    let source = block.source.0;
    db.prepare_cached(
        "INSERT INTO block (device, source, first_ms, epoch, sequence, last_ms, rows, stream,
             time_offset_ms, time_quality, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        device,
        source,
        block.first.0,
        block.id.epoch.0,
        block.id.sequence.0,
        block.last.0,
        block.rows,
        block.stream.code(),
        block.time_offset_ms,
        block.time_quality.code(),
        block.bytes
    ])?;
    if !is_timed(&block) {
        return Ok(());
    }
    joins::join_power(db, rows, device, &block)?;
    joins::join_counter(db, rows, device, &block)?;
    for (number, quarter) in block.summary.quarters {
        let key = (device, source, number);
        rows.quarters.change(key, || rows::load_quarter(db, key), |held| held.merge(quarter))?;
    }
    for (date, day) in block.summary.days {
        let key = (device, source, date);
        rows.days.change(key, || rows::load_day(db, key), |held| held.merge(day))?;
    }
    let key = (device, source);
    rows.latest.change(key, || rows::load_latest(db, key), |held| held.merge(block.summary.latest))
}

/// Whether a block's times can be believed. One from a clock far off is kept as it came and counts
/// nowhere: it would stand as the newest for years, and the time up to it would be a gap.
fn is_timed(block: &NewBlock) -> bool {
    block.time_quality != TimeQuality::Suspect
}

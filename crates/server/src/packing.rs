//! Keeps what is stored small: batches of days that are over are encoded together, and so are their
//! minutes, quarter hours and edges of energy.
//!
//! This reconciler takes no input but the store and the time; it may run any time and any number of
//! times, and stop anywhere. It remembers where a pass ended only to bound the work of the next one.
//! A pack and the blocks that it replaces change in one commit, so each batch is there once whatever
//! happens. Batches that come late for a day get a pack of their own; what they add to roll-ups and
//! edges is added to the packs of these.

use std::collections::BTreeMap;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_store::{Pack, RowKind, RowPack, Store, StoreError, TimeRange};
use tokio::sync::watch;

use crate::limits::{PACK_AFTER, PACK_LOOKS_MAX, PACK_PAUSE, ROW_PACKS_MAX};
use crate::stop::stopped;

/// How often all inverters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

const DAY_MS: i64 = 86_400_000;

/// Runs until `stop` is true.
pub(crate) async fn reconcile(store: Store, clock: Clock, mut stop: watch::Receiver<bool>) {
    let mut packing = Packing::new(store, PACK_PAUSE);
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            _ = stopped(&mut stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = LOOK_EVERY;
        let packed = tokio::select! {
            _ = stopped(&mut stop) => return,
            packed = packing.pass(is_over_before(clock.now())) => packed,
        };
        match packed {
            Ok(0) => {}
            Ok(batches) => tracing::info!(batches, "batches of past days packed"),
            Err(error) => tracing::warn!(%error, "batches of past days not packed yet"),
        }
    }
}

/// When the last day began that is not over, or may still get batches from a device that was away
/// for some hours.
fn is_over_before(now: UnixMs) -> UnixMs {
    let late = i64::try_from(PACK_AFTER.as_millis()).unwrap_or(i64::MAX);
    UnixMs(now.0.saturating_sub(late).div_euclid(DAY_MS).saturating_mul(DAY_MS))
}

/// Packs the batches of all inverters that begin before an instant, and rests after each commit;
/// returns how many were packed.
///
/// # Errors
/// If the store fails; what is packed stays packed.
pub async fn pack_all(store: &Store, before: UnixMs, pause: Duration) -> Result<u64, StoreError> {
    let mut packing = Packing::new(store.clone(), pause);
    let mut packed = packing.pass(before).await?;
    while !packing.is_done() {
        packed += packing.pass(before).await?;
    }
    Ok(packed)
}

/// Passes over all inverters.
#[derive(Debug)]
pub struct Packing {
    store: Store,
    /// Rest after a commit.
    pause: Duration,
    /// Where the next pass goes on with inverters that had more days than a pass looks at; the others
    /// are looked at from their first batch on.
    goes_on_at: BTreeMap<(DeviceNumber, SourceNumber), UnixMs>,
    /// The same for rows.
    rows_go_on_at: BTreeMap<(DeviceNumber, SourceNumber, RowKind), i64>,
}

impl Packing {
    #[must_use]
    pub fn new(store: Store, pause: Duration) -> Self {
        Self { store, pause, goes_on_at: BTreeMap::new(), rows_go_on_at: BTreeMap::new() }
    }

    /// Packs what begins before an instant; returns how many batches were packed. Batches that are
    /// alone in their day are looked at in vain, [`PACK_LOOKS_MAX`] times for an inverter: the rest
    /// waits for the next pass, so that no inverter holds up the others.
    ///
    /// # Errors
    /// If the store fails; what is packed stays packed.
    pub async fn pass(&mut self, before: UnixMs) -> Result<u64, StoreError> {
        let mut packed = 0;
        let mut after = None;
        loop {
            let inverters = self.store.list_inverters(after).await?;
            let Some(last) = inverters.last() else { return Ok(packed) };
            after = Some(*last);
            for inverter in inverters {
                packed += self.pack_batches(inverter, before).await?;
                for kind in RowKind::ALL {
                    self.pack_rows(inverter, kind, before).await?;
                }
            }
        }
    }

    /// Whether the last pass left nothing that another one would pack.
    fn is_done(&self) -> bool {
        self.goes_on_at.is_empty() && self.rows_go_on_at.is_empty()
    }

    async fn pack_batches(
        &mut self,
        (device, source): (DeviceNumber, SourceNumber),
        before: UnixMs,
    ) -> Result<u64, StoreError> {
        let from = self.goes_on_at.remove(&(device, source)).unwrap_or(UnixMs(i64::MIN));
        let mut range = TimeRange { from, to: before };
        let (mut packed, mut in_vain) = (0, 0);
        loop {
            let blocks = self.store.loose_blocks(device, source, range).await?;
            let Some(last) = blocks.last() else { return Ok(packed) };
            // What does not fit into a pack stays as it is.
            range.from = UnixMs(last.first.0.saturating_add(1));
            let Ok(pack) = tokio::task::spawn_blocking(move || Pack::new(&blocks)).await else {
                return Err(StoreError::Closed);
            };
            let Some(pack) = pack else {
                in_vain += 1;
                if in_vain == PACK_LOOKS_MAX {
                    self.goes_on_at.insert((device, source), range.from);
                    return Ok(packed);
                }
                continue;
            };
            let batches = pack.batches();
            if self.store.keep_pack(device, source, pack).await? {
                packed += batches;
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
    }

    /// Packs the rows of a kind, [`ROW_PACKS_MAX`] packs at most: the rest waits for the next pass.
    async fn pack_rows(
        &mut self,
        (device, source): (DeviceNumber, SourceNumber),
        kind: RowKind,
        before: UnixMs,
    ) -> Result<(), StoreError> {
        let place = (device, source, kind);
        let mut from = self.rows_go_on_at.remove(&place).unwrap_or(i64::MIN);
        for _ in 0..ROW_PACKS_MAX {
            let loose = self.store.loose_rows(device, source, kind, from, before).await?;
            let Some(loose) = loose else { return Ok(()) };
            from = loose.next();
            let Ok(pack) = tokio::task::spawn_blocking(move || RowPack::new(loose)).await else {
                return Err(StoreError::Closed);
            };
            let Some(pack) = pack else { continue };
            // Rows that changed meanwhile are packed in the next pass.
            self.store.keep_row_pack(device, source, pack).await?;
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        self.rows_go_on_at.insert(place, from);
        Ok(())
    }
}

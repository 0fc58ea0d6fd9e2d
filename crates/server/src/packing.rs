//! Keeps what is stored small: batches of days that are over are encoded together.
//!
//! This reconciler takes no input but the store and the time; it may run any time and any number of
//! times, and stop anywhere. A pack and the blocks that it replaces change in one commit, so each
//! batch is there once whatever happens. Batches that come late for a day get a pack of their own.

use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_store::{Pack, Store, StoreError, TimeRange};
use tokio::sync::watch;

use crate::limits::{PACK_AFTER, PACK_PAUSE};
use crate::stopping::stopped;

/// How often all inverters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

const DAY_MS: i64 = 86_400_000;

/// Runs until `stop` is true.
pub(crate) async fn reconcile(store: Store, clock: Clock, mut stop: watch::Receiver<bool>) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            _ = stopped(&mut stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = LOOK_EVERY;
        let packed = tokio::select! {
            _ = stopped(&mut stop) => return,
            packed = pack_all(&store, is_over_before(clock.now()), PACK_PAUSE) => packed,
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
    let mut packed = 0;
    let mut after = None;
    loop {
        let inverters = store.list_inverters(after).await?;
        let Some(last) = inverters.last() else { return Ok(packed) };
        after = Some(*last);
        for (device, source) in inverters {
            packed += pack_inverter(store, (device, source), before, pause).await?;
        }
    }
}

async fn pack_inverter(
    store: &Store,
    (device, source): (DeviceNumber, SourceNumber),
    before: UnixMs,
    pause: Duration,
) -> Result<u64, StoreError> {
    let mut range = TimeRange { from: UnixMs(i64::MIN), to: before };
    let mut packed = 0;
    loop {
        let blocks = store.loose_blocks(device, source, range).await?;
        let Some(last) = blocks.last() else { return Ok(packed) };
        // What does not fit into a pack stays as it is.
        range.from = UnixMs(last.first.0.saturating_add(1));
        let Ok(pack) = tokio::task::spawn_blocking(move || Pack::new(&blocks)).await else {
            return Err(StoreError::Closed);
        };
        let Some(pack) = pack else { continue };
        let batches = pack.batches();
        if store.keep_pack(device, source, pack).await? {
            packed += batches;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

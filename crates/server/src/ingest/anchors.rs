//! When a boot epoch began, for samples taken before the device knew the time.
//!
//! An epoch is placed once and for good, so that all of its batches get the same offset and none
//! moves later. A device that is in the epoch says how old the epoch is. If its clock agrees with the
//! server's, the message took no time worth speaking of, and the place is sure. If the clock is not set
//! or says another time, the message may have been under way for long: the place is estimated. So is
//! that of an epoch that ended without anybody knowing the time, which is put right before the one
//! after it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ecowatt_model::{BootEpoch, DeviceNumber, UnixMs};
use ecowatt_store::{Store, StoreError, TimeQuality};
use ecowatt_wire::ClockReport;

use super::decode::{Encoded, Scratch};

/// Epochs remembered at once, of some 40 bytes each; beyond that all are forgotten and found again.
const EPOCHS_MAX: usize = 131_072;

/// A device's clock this near to the server's is taken for the epoch's, so that its samples join
/// those taken after it was set. One further away is wrong or reports late, and the server's counts.
const CLOCK_DEVIATION_MAX_MS: u64 = 60_000;

/// A cache in front of the store, which fixes each anchor once.
#[derive(Debug)]
pub(super) struct Anchors {
    store: Store,
    known: Mutex<HashMap<(DeviceNumber, BootEpoch), (i64, TimeQuality)>>,
}

impl Anchors {
    pub(super) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Sets the offsets of the batches whose times count from the start of their epoch.
    pub(super) async fn place(
        &self,
        device: DeviceNumber,
        clock: Option<ClockReport>,
        received_at: UnixMs,
        scratch: &Scratch,
        encoded: &mut [Encoded],
    ) -> Result<(), StoreError> {
        let mut epochs: Vec<BootEpoch> =
            encoded.iter().filter(|b| b.is_since_boot()).map(|b| b.id.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        // Newest first, so that an epoch finds the one after it placed.
        for epoch in epochs.into_iter().rev() {
            let is_of_epoch = |b: &Encoded| b.id.epoch == epoch && b.is_since_boot();
            let known = self.lock().get(&(device, epoch)).copied();
            let anchor = match known {
                Some(anchor) => anchor,
                None => {
                    let last = encoded.iter().filter(|b| is_of_epoch(b));
                    let last = last.filter_map(|b| scratch.last_time(b)).max().unwrap_or(0);
                    self.fix(device, epoch, clock, received_at, last).await?
                }
            };
            for batch in encoded.iter_mut().filter(|b| is_of_epoch(b)) {
                batch.anchor = Some(anchor);
            }
        }
        Ok(())
    }

    async fn fix(
        &self,
        device: DeviceNumber,
        epoch: BootEpoch,
        clock: Option<ClockReport>,
        received_at: UnixMs,
        last: i64,
    ) -> Result<(i64, TimeQuality), StoreError> {
        let start = clock.map(|clock| (clock.epoch, start_of(&clock, received_at)));
        let proposed = match start {
            Some((present, start)) if present == epoch => start,
            _ => {
                let anchors = self.store.list_anchors(device).await?;
                let next = anchors.iter().find(|(later, ..)| *later > epoch);
                let next_start = next
                    .map(|(_, start, _)| *start)
                    .or(start.filter(|(present, _)| *present > epoch).map(|(_, (start, _))| start))
                    .unwrap_or(received_at.0);
                (next_start.saturating_sub(last), TimeQuality::Estimated)
            }
        };
        let anchor = self.store.anchor(device, epoch, proposed).await?;
        let mut known = self.lock();
        if known.len() >= EPOCHS_MAX {
            known.clear();
        }
        known.insert((device, epoch), anchor);
        Ok(anchor)
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<(DeviceNumber, BootEpoch), (i64, TimeQuality)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unix milliseconds at which the epoch that the device is in began.
fn start_of(clock: &ClockReport, received_at: UnixMs) -> (i64, TimeQuality) {
    let age = i64::try_from(clock.mono.0).unwrap_or(i64::MAX);
    let agrees = |unix: &UnixMs| unix.0.abs_diff(received_at.0) <= CLOCK_DEVIATION_MAX_MS;
    let (now, quality) = match clock.unix.filter(agrees) {
        Some(unix) => (unix, TimeQuality::Anchored),
        None => (received_at, TimeQuality::Estimated),
    };
    (now.0.saturating_sub(age), quality)
}

//! Keeps the fleet's stored states true and tells readers what changed.
//!
//! When a device falls silent, nothing happens in the store, so the server looks. This reconciler
//! takes no input but the store and the time; it may run any time and any number of times. Besides
//! its sweep over all devices it publishes the line of each device that was just heard of, gathered
//! for a second so that a busy fleet does not drown its readers.

use std::time::Duration;

use ecowatt_model::DeviceNumber;
use ecowatt_store::StoreError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::fleet::Fleet;
use crate::limits::{LINES_MAX, SWEEP_PAGE};
use crate::live::Live;
use crate::stop::stopped;

/// Time between two looks, in real time: readers are people.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until the server stops.
pub(crate) async fn reconcile(fleet: Fleet, live: Live, mut stop: watch::Receiver<bool>) {
    let mut reconciler = Reconciler { fleet, live, next: None };
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = reconciler.look().await {
            tracing::warn!(%error, "device states not reconciled");
        }
    }
}

struct Reconciler {
    fleet: Fleet,
    live: Live,
    /// Where the sweep goes on.
    next: Option<DeviceNumber>,
}

impl Reconciler {
    /// One page of the sweep, then the lines of those just heard of.
    async fn look(&mut self) -> Result<(), StoreError> {
        let (changed, next) = self.fleet.refresh_states(self.next, SWEEP_PAGE).await?;
        self.next = next;
        for overview in changed {
            tracing::info!(
                device_id = %overview.device.number,
                from = ?overview.device.state,
                to = ?overview.state,
                "device changed state"
            );
            self.live.publish_device(overview.device.number, overview.line());
        }
        for device in self.live.take_heard(LINES_MAX) {
            if let Some(overview) = self.fleet.line(device).await? {
                self.live.publish_device(device, overview.line());
            }
        }
        Ok(())
    }
}

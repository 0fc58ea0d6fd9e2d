//! The live events of `GET /api/v1/events`.
//!
//! Ingest publishes here after its commit; no event is the only copy of its data. A reader that
//! falls behind loses events and gets a `reload`. [`Live::heard`] only notes that a device's line
//! in the fleet may have changed; the reconciler of states derives and publishes the line later.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_store::{DeviceState, MovedCommand};
use tokio::sync::broadcast;

use crate::access::{Reach, Scope};
use crate::limits::LIVE_EVENTS_MAX;

/// One event; clones share its data.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    pub device: DeviceNumber,
    content: Arc<Content>,
}

#[derive(Debug)]
struct Content {
    data: EventData,
    /// `None` inside if JSON cannot hold the data.
    json: OnceLock<Option<String>>,
}

/// What happened.
#[derive(Debug)]
pub enum EventData {
    Sample(LiveReadings),
    Device(DeviceLine),
    /// The desired or the reported configuration was stored.
    Config,
    Command(MovedCommand),
}

/// A good reading, in its point's unit.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveReading {
    pub point: String,
    pub value: f64,
}

/// The good readings of an inverter's newest sample.
#[derive(Debug, PartialEq)]
pub struct LiveReadings {
    pub inverter: SourceNumber,
    pub at: UnixMs,
    pub readings: Vec<LiveReading>,
}

/// A device's line in the fleet.
#[derive(Debug, PartialEq)]
pub struct DeviceLine {
    pub state: DeviceState,
    pub power_w: Option<f64>,
    pub energy_today_wh: Option<i64>,
    pub last_seen: Option<UnixMs>,
}

impl LiveEvent {
    fn new(device: DeviceNumber, data: EventData) -> Self {
        Self { device, content: Arc::new(Content { data, json: OnceLock::new() }) }
    }

    #[must_use]
    pub fn data(&self) -> &EventData {
        &self.content.data
    }

    /// Returns the event's JSON. `encode` makes it for the first reader that needs it, and all
    /// later readers get the same.
    pub(crate) fn json(&self, encode: impl FnOnce(&Self) -> Option<String>) -> Option<&str> {
        self.content.json.get_or_init(|| encode(self)).as_deref()
    }
}

/// The server's event channel; clones share it.
#[derive(Debug, Clone)]
pub struct Live {
    sender: broadcast::Sender<LiveEvent>,
    heard: Arc<Mutex<HeardDevices>>,
}

/// Devices whose line is to be published, each once, in the order in which they were heard from, so
/// that each has its turn however many there are.
#[derive(Debug, Default)]
struct HeardDevices {
    queue: VecDeque<DeviceNumber>,
    queued: HashSet<DeviceNumber>,
}

impl Default for Live {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(LIVE_EVENTS_MAX), heard: Arc::default() }
    }
}

impl Live {
    /// Whether there are readers; without any, events need not be built.
    #[must_use]
    pub fn has_readers(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Publishes the newest sample of an inverter, after the commit that holds it.
    pub fn publish_sample(&self, device: DeviceNumber, readings: LiveReadings) {
        self.publish(device, EventData::Sample(readings));
    }

    /// Publishes a device's line in the fleet.
    pub fn publish_device(&self, device: DeviceNumber, line: DeviceLine) {
        self.publish(device, EventData::Device(line));
    }

    /// Publishes that a device's desired or reported configuration was stored.
    pub fn publish_config(&self, device: DeviceNumber) {
        self.publish(device, EventData::Config);
    }

    /// Publishes that a command was made or has changed its state.
    pub fn publish_command(&self, moved: MovedCommand) {
        self.publish(moved.device, EventData::Command(moved));
    }

    /// Notes that a message of the device was committed.
    pub fn heard(&self, device: DeviceNumber) {
        if self.has_readers() {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.queued.insert(device) {
                heard.queue.push_back(device);
            }
        }
    }

    /// Takes up to `max` of the devices heard from, those that have waited for longest.
    pub(crate) fn take_heard(&self, max: usize) -> Vec<DeviceNumber> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = max.min(heard.queue.len());
        let taken: Vec<_> = heard.queue.drain(..count).collect();
        for device in &taken {
            heard.queued.remove(device);
        }
        taken
    }

    /// Returns a receiver of all later events within a scope.
    #[must_use]
    pub(crate) fn subscribe(&self, scope: Scope) -> broadcast::Receiver<LiveEvent> {
        let Reach::Fleet = scope.reach();
        self.sender.subscribe()
    }

    fn publish(&self, device: DeviceNumber, data: EventData) {
        if self.has_readers() {
            // An error means that the last reader has just left.
            let _ = self.sender.send(LiveEvent::new(device, data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_encoded_once_for_all_readers() {
        let event = LiveEvent::new(DeviceNumber(1), EventData::Config);
        let readers = [event.clone(), event];
        let mut encoded = 0;
        for reader in &readers {
            let json = reader.json(|event| {
                encoded += 1;
                Some(event.device.to_string())
            });
            assert_eq!(json, Some("dev-1"));
        }
        assert_eq!(encoded, 1);
    }

    #[test]
    fn heard_devices_are_taken_once_and_in_portions() {
        let live = Live::default();
        live.heard(DeviceNumber(9));
        assert!(live.take_heard(9).is_empty(), "there are no readers");
        let _reader = live.sender.subscribe();
        for number in [3, 1, 2, 3] {
            live.heard(DeviceNumber(number));
        }
        assert_eq!(live.take_heard(2), [3, 1].map(DeviceNumber));
        // Low numbers that come again and again do not delay the others.
        live.heard(DeviceNumber(1));
        assert_eq!(live.take_heard(2), [2, 1].map(DeviceNumber));
        assert!(live.take_heard(2).is_empty());
    }
}

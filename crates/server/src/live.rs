//! The live events of `GET /api/v1/events`.
//!
//! Ingest publishes here after its commit; no event is the only copy of its data. A reader that
//! falls behind loses events and gets a `reload`. [`Live::heard`] only notes that a device's line
//! in the fleet may have changed; the reconciler of states derives and publishes the line later.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ecowatt_api::{CommandChanged, ConfigChanged, DeviceChanged, LiveSample};
use ecowatt_model::DeviceNumber;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::access::{Reach, Scope};
use crate::limits::LIVE_EVENTS_MAX;

/// One event and its device.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    pub device: DeviceNumber,
    pub data: EventData,
}

/// EventData happened.
#[derive(Debug, Clone)]
pub enum EventData {
    Sample(Arc<Published<LiveSample>>),
    Device(Arc<Published<DeviceChanged>>),
    Config(Arc<Published<ConfigChanged>>),
    Command(Arc<Published<CommandChanged>>),
}

/// The data of an event. Its JSON is made when the first reader needs it, and once for all readers.
#[derive(Debug)]
pub struct Published<T> {
    pub data: T,
    /// `None` if JSON cannot hold the data.
    json: OnceLock<Option<String>>,
}

impl<T: Serialize> Published<T> {
    fn new(data: T) -> Arc<Self> {
        Arc::new(Self { data, json: OnceLock::new() })
    }

    /// Returns the data as JSON.
    pub(crate) fn json(&self) -> Option<&str> {
        self.json.get_or_init(|| serde_json::to_string(&self.data).ok()).as_deref()
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
    pub fn publish_sample(&self, device: DeviceNumber, sample: LiveSample) {
        self.publish(LiveEvent { device, data: EventData::Sample(Published::new(sample)) });
    }

    /// Publishes a device's line in the fleet.
    pub fn publish_device(&self, device: DeviceNumber, changed: DeviceChanged) {
        self.publish(LiveEvent { device, data: EventData::Device(Published::new(changed)) });
    }

    /// Publishes that a device's desired or reported configuration was stored.
    pub fn publish_config(&self, device: DeviceNumber) {
        if self.has_readers() {
            let changed = ConfigChanged { device: device.to_string() };
            self.publish(LiveEvent { device, data: EventData::Config(Published::new(changed)) });
        }
    }

    /// Publishes that a command was made or has changed its state.
    pub fn publish_command(&self, device: DeviceNumber, changed: CommandChanged) {
        self.publish(LiveEvent { device, data: EventData::Command(Published::new(changed)) });
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

    fn publish(&self, event: LiveEvent) {
        // An error means that there are no readers.
        let _ = self.sender.send(event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde::Serializer;

    use super::*;

    /// Counts how often it is encoded.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Serialize for Counting {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u32(self.0.fetch_add(1, Ordering::Relaxed) + 1)
        }
    }

    #[test]
    fn data_is_encoded_once_for_all_readers() {
        let published = Published::new(Counting::default());
        let readers = [Arc::clone(&published), Arc::clone(&published)];
        assert_eq!(published.data.0.load(Ordering::Relaxed), 0, "not before a reader needs it");
        assert!(readers.iter().all(|reader| reader.json() == Some("1")));
        assert_eq!(published.data.0.load(Ordering::Relaxed), 1);
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

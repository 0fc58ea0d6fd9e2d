//! Devices that wait for what the server wants of them, and whether it wants anything.
//!
//! A device may allow the server to hold the reply to a message that reports nothing
//! (`docs/wire-protocol.md`, *patience*). Such a message is taken when the wait ends, so that its
//! reply brings what there is by then. It is held only if nothing was changed since the device's last
//! message. What was changed before this process started is not known, so the first message of a
//! device is never held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_model::DeviceNumber;
use tokio::sync::oneshot;

/// The devices that have asked to wait; clones share them. There is one entry of a few bytes for
/// each, and only an enrolled device can ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitingDevices(Arc<Mutex<HashMap<DeviceNumber, Entry>>>);

#[derive(Debug, Default)]
struct Entry {
    /// Something was changed since the device's last message was taken.
    has_news: bool,
    waits: Option<oneshot::Sender<()>>,
}

impl WaitingDevices {
    /// Notes that there is something for a device, after the commit: a command or a configuration.
    /// Its wait ends.
    pub(crate) fn tell(&self, device: DeviceNumber) {
        let mut devices = self.lock();
        let Some(entry) = devices.get_mut(&device) else { return };
        entry.has_news = true;
        if let Some(waits) = entry.waits.take() {
            // A device that has gone away waits no longer.
            let _ = waits.send(());
        }
    }

    /// Begins a wait. Returns what ends when there is something for the device, or when the device
    /// begins another wait; `None` if there is, or may be, something already.
    pub(crate) fn wait(&self, device: DeviceNumber) -> Option<oneshot::Receiver<()>> {
        let mut devices = self.lock();
        let Some(entry) = devices.get_mut(&device) else {
            devices.insert(device, Entry::default());
            return None;
        };
        if entry.has_news {
            return None;
        }
        let (waits, wait) = oneshot::channel();
        entry.waits = Some(waits);
        Some(wait)
    }

    /// Notes that a message of the device is about to be taken: its reply has all that was changed
    /// until now.
    pub(crate) fn taking(&self, device: DeviceNumber) {
        if let Some(entry) = self.lock().get_mut(&device) {
            entry.has_news = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceNumber, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceNumber = DeviceNumber(7);

    #[test]
    fn first_message_after_a_start_is_not_held() {
        let devices = WaitingDevices::default();
        assert!(devices.wait(DEVICE).is_none());
        devices.taking(DEVICE);
        assert!(devices.wait(DEVICE).is_some());
    }

    #[test]
    fn what_was_changed_before_the_wait_ends_it_at_once_and_only_once() {
        let devices = WaitingDevices::default();
        assert!(devices.wait(DEVICE).is_none());
        devices.taking(DEVICE);
        devices.tell(DEVICE);
        assert!(devices.wait(DEVICE).is_none());
        devices.taking(DEVICE);
        let mut wait = devices.wait(DEVICE).unwrap();
        assert!(wait.try_recv().is_err());
        devices.tell(DEVICE);
        assert!(wait.try_recv().is_ok());
        // The message that waited may have been taken before the change, so the next one looks again.
        assert!(devices.wait(DEVICE).is_none());
    }

    #[test]
    fn another_wait_ends_the_one_before() {
        let devices = WaitingDevices::default();
        assert!(devices.wait(DEVICE).is_none());
        let mut first = devices.wait(DEVICE).unwrap();
        let mut second = devices.wait(DEVICE).unwrap();
        assert_eq!(first.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(second.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}

//! Keys of devices that were heard lately, ready to use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_envelope::{DeviceKey, Kid, LinkKeys};
use ecowatt_model::{DeviceNumber, MonoMs};
use ecowatt_store::{Store, StoreError};

use super::sender::Sender;
use crate::time::zone_of;

/// Keys held at once, of about 1 KiB each; beyond that all are forgotten and found again.
const KEYS_MAX: usize = 131_072;

/// A device's key, ready to use, and who holds it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) keys: LinkKeys,
    pub(super) sender: Arc<Sender>,
}

/// A cache in front of the store. A revoked key may still be in it: the store has the last word in
/// the transaction that takes a message.
#[derive(Debug)]
pub(super) struct Keyring {
    store: Store,
    known: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    keys: HashMap<(u32, u16), Arc<Known>>,
    /// Grows when keys are forgotten because of what changed in the store; what was read before that is
    /// not held.
    version: u64,
}

impl Keyring {
    pub(super) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    pub(super) async fn find(
        &self,
        kid: Kid,
        now: MonoMs,
    ) -> Result<Option<Arc<Known>>, StoreError> {
        let place = (kid.device.0, kid.generation.0);
        let version = {
            let held = self.lock();
            if let Some(known) = held.keys.get(&place) {
                return Ok(Some(Arc::clone(known)));
            }
            held.version
        };
        let Some(key) = self.store.find_key(kid.device, kid.generation).await? else {
            return Ok(None);
        };
        if key.revoked.is_some() {
            return Ok(None);
        }
        let Some(device) = self.store.find_device(kid.device).await? else { return Ok(None) };
        let sender = Arc::new(Sender::new(&key, zone_of(&device.site), now));
        let keys = LinkKeys::derive(&DeviceKey::new(key.secret), kid);
        let known = Arc::new(Known { keys, sender });
        let mut held = self.lock();
        if held.keys.len() >= KEYS_MAX {
            held.keys.clear();
        }
        // What was read before all were forgotten may be out of date.
        if held.version != version {
            return Ok(Some(known));
        }
        // Another message may have been first, and its entry is in use.
        Ok(Some(Arc::clone(held.keys.entry(place).or_insert(known))))
    }

    pub(super) fn forget(&self, kid: Kid) {
        self.lock().keys.remove(&(kid.device.0, kid.generation.0));
    }

    /// Forgets the keys of a device, since they were revoked.
    pub(super) fn forget_device(&self, device: DeviceNumber) {
        let mut held = self.lock();
        held.keys.retain(|(number, _), _| *number != device.0);
        held.version += 1;
    }

    /// Forgets all, since sites may be in other time zones.
    pub(super) fn forget_all(&self) {
        let mut held = self.lock();
        held.keys.clear();
        held.version += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

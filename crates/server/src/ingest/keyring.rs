//! Keys of devices that were heard lately, ready to use.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys};
use ecowatt_model::{DeviceNumber, KeyGeneration, MonoMs};
use ecowatt_store::{Store, StoreError};

use super::quota::Account;
use super::sender::Sender;
use crate::time::zone_of;

/// Keys held at once, of about 1 KiB each, and devices; beyond that all are forgotten and found again.
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
    known: Mutex<CachedKeys>,
}

#[derive(Debug, Default)]
struct CachedKeys {
    devices: HashMap<DeviceNumber, HeardDevice>,
    /// Keys of all devices.
    key_count: usize,
    /// Grows when keys are forgotten because of what changed in the store; what was read before that is
    /// not held.
    version: u64,
}

/// A device that was heard. What it may ask for is held longer than its keys, so that a change of the
/// device or its site does not pay its debts.
#[derive(Debug)]
struct HeardDevice {
    account: Arc<Account>,
    keys: BTreeMap<KeyGeneration, Arc<Known>>,
}

impl CachedKeys {
    fn find(&self, kid: KeyId) -> Option<&Arc<Known>> {
        self.devices.get(&kid.device)?.keys.get(&kid.generation)
    }

    /// A device's place, after making room for it.
    fn heard(&mut self, device: DeviceNumber, now: MonoMs) -> &mut HeardDevice {
        if self.key_count.max(self.devices.len()) >= KEYS_MAX {
            self.devices.clear();
            self.key_count = 0;
        }
        let new = || HeardDevice { account: Arc::new(Account::full(now)), keys: BTreeMap::new() };
        self.devices.entry(device).or_insert_with(new)
    }

    /// Holds a key, unless another request was first: what it found is in use.
    fn hold(&mut self, kid: KeyId, known: Arc<Known>) -> Arc<Known> {
        let Some(heard) = self.devices.get_mut(&kid.device) else { return known };
        let before = heard.keys.len();
        let held = Arc::clone(heard.keys.entry(kid.generation).or_insert(known));
        self.key_count += heard.keys.len() - before;
        held
    }

    /// Forgets the keys of a device.
    fn forget(&mut self, device: DeviceNumber) {
        if let Some(heard) = self.devices.get_mut(&device) {
            self.key_count -= std::mem::take(&mut heard.keys).len();
        }
    }
}

impl Keyring {
    pub(super) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    pub(super) async fn find(
        &self,
        kid: KeyId,
        now: MonoMs,
    ) -> Result<Option<Arc<Known>>, StoreError> {
        let version = {
            let held = self.lock();
            if let Some(known) = held.find(kid) {
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
        let keys = LinkKeys::derive(&DeviceKey::new(key.secret), kid);
        let mut held = self.lock();
        let is_current = held.version == version;
        let heard = held.heard(kid.device, now);
        let sender = Sender::new(&key, zone_of(&device.site), Arc::clone(&heard.account));
        let known = Arc::new(Known { keys, sender: Arc::new(sender) });
        // What was read before all were forgotten may be out of date.
        if !is_current {
            return Ok(Some(known));
        }
        Ok(Some(held.hold(kid, known)))
    }

    pub(super) fn forget(&self, kid: KeyId) {
        self.lock().forget(kid.device);
    }

    /// Forgets the keys of a device, since they were revoked.
    pub(super) fn forget_device(&self, device: DeviceNumber) {
        let mut held = self.lock();
        held.forget(device);
        held.version += 1;
    }

    /// Forgets all keys, since sites may be in other time zones.
    pub(super) fn forget_all(&self) {
        let mut held = self.lock();
        held.devices.values_mut().for_each(|heard| heard.keys.clear());
        held.key_count = 0;
        held.version += 1;
    }

    fn lock(&self) -> MutexGuard<'_, CachedKeys> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Keys of devices that were heard lately, ready to use, and where the devices stand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ecowatt_envelope::{DeviceKey, Kid, LinkKeys};
use ecowatt_model::{BootEpoch, DeviceNumber};
use ecowatt_store::{Store, StoreError};
use jiff::tz::TimeZone;

use crate::time::zone_of;

/// Keys held at once, of about 1 KiB each; beyond that all are forgotten and found again.
const KEYS_MAX: usize = 131_072;

/// A device's key and the zone of its site.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) device: DeviceNumber,
    pub(super) keys: LinkKeys,
    pub(super) zone: TimeZone,
    /// The first boot epoch that the device cannot be in under this key.
    pub(super) end_epoch: BootEpoch,
}

/// A cache in front of the store. A revoked key may still be in it: the store has the last word in
/// the transaction that takes a message.
#[derive(Debug)]
pub(super) struct Keyring {
    store: Store,
    known: Mutex<HashMap<(u32, u16), Arc<Known>>>,
}

impl Keyring {
    pub(super) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    pub(super) async fn find(&self, kid: Kid) -> Result<Option<Arc<Known>>, StoreError> {
        let place = (kid.device.0, kid.generation.0);
        if let Some(known) = self.lock().get(&place) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(key) = self.store.find_key(kid.device, kid.generation).await? else {
            return Ok(None);
        };
        if key.revoked.is_some() {
            return Ok(None);
        }
        let Some(device) = self.store.find_device(kid.device).await? else { return Ok(None) };
        let keys = LinkKeys::derive(&DeviceKey::new(key.secret), kid);
        let (zone, end_epoch) = (zone_of(&device.site), key.end_epoch());
        let known = Arc::new(Known { device: kid.device, keys, zone, end_epoch });
        let mut held = self.lock();
        if held.len() >= KEYS_MAX {
            held.clear();
        }
        held.insert(place, Arc::clone(&known));
        Ok(Some(known))
    }

    pub(super) fn forget(&self, kid: Kid) {
        self.lock().remove(&(kid.device.0, kid.generation.0));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(u32, u16), Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

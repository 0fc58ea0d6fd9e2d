//! Keys of devices that were heard lately, ready to use, and where the devices stand: on the map, in
//! the order of their messages, and in what they may still ask of the server.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecowatt_envelope::{DeviceKey, Kid, LinkKeys};
use ecowatt_model::{BootEpoch, Counter, DeviceNumber, MonoMs};
use ecowatt_store::{Store, StoreError};
use ecowatt_wire::Refused;
use jiff::tz::TimeZone;

use super::quota::Quota;
use crate::limits::{REFUSED_LAYOUT_LINE_EVERY, TURNS_OF_DEVICE_MAX};
use crate::sparing::Sparing;
use crate::time::zone_of;

/// Keys held at once, of about 1 KiB each; beyond that all are forgotten and found again.
const KEYS_MAX: usize = 131_072;

/// A device's key and the zone of its site.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) keys: LinkKeys,
    pub(super) zone: TimeZone,
    /// The first boot epoch that the device cannot be in under this key.
    pub(super) end_epoch: BootEpoch,
    /// Says in the log that what it announced was refused.
    pub(super) refused_line: Sparing,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
struct Standing {
    last: Last,
    quota: Quota,
    turns: u32,
}

/// The last message that was accepted under the key, as far as it is remembered.
#[derive(Debug, Clone, Default)]
struct Last {
    counter: Counter,
    digest: Option<[u8; 32]>,
    /// The batches of it that were refused; unknown after a start.
    refused: Option<Vec<Refused>>,
}

/// What a message is by its counter and digest. The store decides when it takes the message; this
/// spares it, and the decoding, what is plain before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may be the next one.
    Next,
    /// It is the last one again, of which these batches were refused.
    Repeated(Vec<Refused>),
    /// A later one was accepted.
    Stale,
}

impl Known {
    pub(super) fn turn(&self, counter: Counter, digest: &[u8; 32]) -> Turn {
        let last = &self.lock().last;
        match counter.cmp(&last.counter) {
            Ordering::Greater => Turn::Next,
            Ordering::Less => Turn::Stale,
            Ordering::Equal => match (&last.digest, &last.refused) {
                (Some(held), _) if held != digest => Turn::Stale,
                (Some(_), Some(refused)) => Turn::Repeated(refused.clone()),
                _ => Turn::Next,
            },
        }
    }

    /// The store has accepted a message.
    pub(super) fn accepted(&self, counter: Counter, digest: [u8; 32], refused: &[Refused]) {
        let last = &mut self.lock().last;
        if counter >= last.counter {
            *last = Last { counter, digest: Some(digest), refused: Some(refused.to_vec()) };
        }
    }

    /// The store has accepted a message with this counter from somebody else.
    pub(super) fn passed(&self, counter: Counter) {
        let last = &mut self.lock().last;
        if counter > last.counter {
            *last = Last { counter, ..Last::default() };
        }
    }

    /// Spends what decoding so many values costs.
    ///
    /// # Errors
    /// How long the device has to wait for that.
    pub(super) fn spend(&self, now: MonoMs, values: usize) -> Result<(), Duration> {
        self.lock().quota.spend(now, values)
    }

    /// Charges the cells that a message brought.
    pub(super) fn charge(&self, cells: usize) {
        self.lock().quota.charge(cells);
    }

    /// Lets the device have one of its turns, as long as the guard is held.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Begun> {
        let turns = &mut self.lock().turns;
        if *turns >= TURNS_OF_DEVICE_MAX {
            return None;
        }
        *turns += 1;
        Some(Begun(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Known::begin`].
#[derive(Debug)]
pub(super) struct Begun(Arc<Known>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.lock().turns -= 1;
    }
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
    /// Grows when keys are forgotten because of what changed in the store; what was read before that is not held.
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
        let last = Last { counter: key.counter, digest: key.digest, refused: None };
        let known = Arc::new(Known {
            end_epoch: key.end_epoch(),
            keys: LinkKeys::derive(&DeviceKey::new(key.secret), kid),
            zone: zone_of(&device.site),
            refused_line: Sparing::new(REFUSED_LAYOUT_LINE_EVERY),
            standing: Mutex::new(Standing { last, quota: Quota::full(now), turns: 0 }),
        });
        let mut held = self.lock();
        if held.keys.len() >= KEYS_MAX {
            held.keys.clear();
        }
        // What was read before all were forgotten may be out of date.
        if held.version != version {
            return Ok(Some(known));
        }
        // Somebody else may have been first, and his is in use.
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

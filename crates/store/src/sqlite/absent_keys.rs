//! Remembers keys that were looked up and do not exist, so that asking again costs no query.
//!
//! Anyone can name any key. A missing key may be created later: the caller that creates keys
//! reports it here, and results of look-ups that began earlier are not remembered.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ecowatt_model::{DeviceNumber, KeyGeneration};

use crate::limits::ABSENT_KEYS_MAX;

type Key = (DeviceNumber, KeyGeneration);

/// The keys known not to exist.
#[derive(Debug, Default)]
pub(crate) struct AbsentKeys(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    keys: HashSet<Key>,
    /// Oldest first; may contain some that were already removed from `keys`.
    order: VecDeque<Key>,
    /// How often keys were created. A look-up that sees it change is not remembered.
    given: u64,
}

/// Value of `State::given` when a look-up began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(u64);

impl AbsentKeys {
    pub(crate) fn has(&self, key: Key) -> bool {
        self.lock().keys.contains(&key)
    }

    /// Must be called before a key is looked up.
    pub(crate) fn begin(&self) -> Begun {
        Begun(self.lock().given)
    }

    /// Remembers a key that was not found.
    pub(crate) fn add(&self, key: Key, begun: Begun) {
        let mut state = self.lock();
        if state.given != begun.0 || !state.keys.insert(key) {
            return;
        }
        state.order.push_back(key);
        if state.order.len() > ABSENT_KEYS_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.keys.remove(&oldest);
        }
    }

    /// Must be called after the commit that creates keys of a device.
    pub(crate) fn given(&self, device: DeviceNumber) {
        let mut state = self.lock();
        state.given += 1;
        state.keys.retain(|(absent, _)| *absent != device);
        state.order.retain(|(absent, _)| *absent != device);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(device: u32) -> Key {
        (DeviceNumber(device), KeyGeneration(1))
    }

    #[test]
    fn key_that_was_given_meanwhile_is_not_absent() {
        let absent = AbsentKeys::default();
        let begun = absent.begin();
        absent.given(DeviceNumber(1));
        absent.add(key(1), begun);
        assert!(!absent.has(key(1)));
        absent.add(key(1), absent.begin());
        assert!(absent.has(key(1)));
        absent.given(DeviceNumber(1));
        assert!(!absent.has(key(1)));
    }

    #[test]
    fn oldest_are_forgotten() {
        let absent = AbsentKeys::default();
        let count = u32::try_from(ABSENT_KEYS_MAX).unwrap() + 5;
        for device in 0..count {
            absent.add(key(device), absent.begin());
        }
        let remembered = (0..count).filter(|device| absent.has(key(*device))).count();
        assert_eq!(remembered, ABSENT_KEYS_MAX);
        assert!(!absent.has(key(4)) && absent.has(key(5)));
    }
}

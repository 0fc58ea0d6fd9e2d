//! File locks between the connections of one VFS.
//!
//! SQLite's five levels (<https://www.sqlite.org/lockingv3.html>, section 3): any number of
//! connections hold a shared lock, one of them may reserve, and before it becomes exclusive it
//! waits (pending) until it is alone. A request is granted or refused at once.

use std::collections::BTreeMap;

/// The level of a connection's lock on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Level {
    #[default]
    None,
    Shared,
    Reserved,
    Pending,
    Exclusive,
}

/// The locks on one file.
#[derive(Debug, Clone, Copy, Default)]
struct Claims {
    shared: u32,
    /// The one lock above shared.
    upper: Level,
}

/// The locks on all files, by name.
#[derive(Debug, Default)]
pub(crate) struct Locks(BTreeMap<String, Claims>);

impl Locks {
    /// Raises a lock from `held` to `wanted`; returns the level reached, which is below `wanted` if
    /// another connection is in the way.
    pub(crate) fn raise(&mut self, name: &str, held: Level, wanted: Level) -> Level {
        if wanted <= held {
            return held;
        }
        let claims = match self.0.get_mut(name) {
            Some(claims) => claims,
            None => self.0.entry(name.to_owned()).or_default(),
        };
        if held == Level::None {
            if claims.upper >= Level::Pending {
                return held;
            }
            claims.shared += 1;
            return Level::Shared;
        }
        let is_mine = held >= Level::Reserved;
        if claims.upper != Level::None && !is_mine {
            return held;
        }
        claims.upper = match wanted {
            Level::Exclusive if claims.shared > 1 => Level::Pending,
            _ => wanted,
        };
        claims.upper
    }

    /// Lowers a lock from `held` to shared or none.
    pub(crate) fn lower(&mut self, name: &str, held: Level, wanted: Level) {
        if wanted >= held {
            return;
        }
        let Some(claims) = self.0.get_mut(name) else { return };
        if held > Level::Shared {
            claims.upper = Level::None;
        }
        if wanted == Level::None {
            claims.shared = claims.shared.saturating_sub(1);
            if claims.shared == 0 {
                self.0.remove(name);
            }
        }
    }

    /// Whether a connection is about to write.
    pub(crate) fn is_reserved(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|claims| claims.upper >= Level::Reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_writes_and_only_without_readers() {
        let mut locks = Locks::default();
        assert_eq!(locks.raise("a", Level::None, Level::Shared), Level::Shared);
        assert_eq!(locks.raise("a", Level::None, Level::Shared), Level::Shared);
        assert_eq!(locks.raise("a", Level::Shared, Level::Reserved), Level::Reserved);
        assert!(locks.is_reserved("a"));
        assert!(!locks.is_reserved("b"));
        assert_eq!(locks.raise("a", Level::Shared, Level::Reserved), Level::Shared, "taken");
        assert_eq!(locks.raise("a", Level::Reserved, Level::Exclusive), Level::Pending);
        assert_eq!(locks.raise("a", Level::None, Level::Shared), Level::None, "one is waiting");
        locks.lower("a", Level::Shared, Level::None);
        assert_eq!(locks.raise("a", Level::Pending, Level::Exclusive), Level::Exclusive);
        locks.lower("a", Level::Exclusive, Level::Shared);
        assert_eq!(locks.raise("a", Level::None, Level::Shared), Level::Shared);
        locks.lower("a", Level::Shared, Level::None);
        locks.lower("a", Level::Shared, Level::None);
        assert!(locks.0.is_empty());
    }
}

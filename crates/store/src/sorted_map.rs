//! A small map as one sorted list. An upload and the writer's state have a few dozen entries that
//! mostly arrive in order, for which one allocation costs less than a tree.

/// Entries in ascending order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SortedMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self(Vec::with_capacity(entries))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let place = self.0.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// Returns the entry of a key, creating it if it is missing.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = match self.0.binary_search_by(|(held, _)| held.cmp(&key)) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (key, V::default()));
                place
            }
        };
        &mut self.0[place].1
    }

    /// Inserts an entry, replacing one with the same key.
    pub(crate) fn replace(&mut self, key: K, value: V) {
        self.add(key, value, |held, later| *held = later);
    }

    pub(crate) fn has(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn last(&self) -> Option<(&K, &V)> {
        self.0.last().map(|(key, value)| (key, value))
    }

    /// Entries below a key, ascending.
    pub(crate) fn before(&self, key: &K) -> &[(K, V)] {
        &self.0[..self.0.partition_point(|(held, _)| held < key)]
    }

    /// Entries above a key, ascending.
    pub(crate) fn after(&self, key: &K) -> &[(K, V)] {
        &self.0[self.0.partition_point(|(held, _)| held <= key)..]
    }

    /// Drops all entries but the last few.
    pub(crate) fn keep_last(&mut self, count: usize) {
        self.0.drain(..self.0.len().saturating_sub(count));
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Inserts an entry, joining it with an existing one of the same key.
    pub(crate) fn add(&mut self, key: K, value: V, join: impl FnOnce(&mut V, V)) {
        self.add_near(self.0.len().saturating_sub(1), key, value, join);
    }

    /// Adds all entries of another map.
    pub(crate) fn merge(
        &mut self,
        others: impl IntoIterator<Item = (K, V)>,
        mut join: impl FnMut(&mut V, V),
    ) {
        let mut near = 0;
        for (key, value) in others {
            near = self.add_near(near, key, value, &mut join) + 1;
        }
    }

    /// Adds an entry, trying the index `near` first; returns the entry's index.
    fn add_near(&mut self, near: usize, key: K, value: V, join: impl FnOnce(&mut V, V)) -> usize {
        let place = match (self.0.get(near), self.0.last()) {
            (Some((held, _)), _) if *held == key => Ok(near),
            (_, Some((last, _))) if *last < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|(held, _)| held.cmp(&key)),
        };
        match place {
            Ok(place) => {
                join(&mut self.0[place].1, value);
                place
            }
            Err(place) => {
                self.0.insert(place, (key, value));
                place
            }
        }
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_a_map_holds(parts in proptest::collection::vec(
            proptest::collection::vec((0u8..20, 0u32..9), 0..9), 0..9,
        )) {
            let mut model = BTreeMap::new();
            let (mut one_by_one, mut merged) = (SortedMap::default(), SortedMap::default());
            for part in parts {
                let mut map = SortedMap::with_capacity(part.len());
                for (key, value) in part {
                    *model.entry(key).or_default() += value;
                    one_by_one.add(key, value, |held, more| *held += more);
                    map.add(key, value, |held, more| *held += more);
                }
                merged.merge(map, |held, more| *held += more);
            }
            prop_assert_eq!(&one_by_one, &merged);
            prop_assert_eq!(merged.len(), model.len());
            prop_assert!((0..20).all(|key| merged.get(&key) == model.get(&key)));
            prop_assert_eq!(merged.into_iter().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }
}

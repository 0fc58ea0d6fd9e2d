//! Which name belongs to which file, and what of that is durable.
//!
//! Changes of one name reach the disk in their order, changes of different names in any order.

use std::collections::BTreeMap;

use super::power_cut::Fates;

/// The disk's directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeMap<String, Name>);

#[derive(Debug, Clone, Default)]
struct Name {
    file: Option<u64>,
    /// The file before each change since the name was last durable, and the number of the change.
    before: Vec<(Option<u64>, u64)>,
}

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.file
    }

    /// Names with their files, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(name, held)| Some((name.as_str(), held.file?)))
    }

    /// Numbers of the changes that are not durable.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.values().flat_map(|name| name.before.iter().map(|(_, number)| *number))
    }

    /// Assigns a file to a name, or none.
    pub(super) fn change(&mut self, name: &str, file: Option<u64>, number: u64) {
        let held = self.0.entry(name.to_owned()).or_default();
        held.before.push((held.file, number));
        held.file = file;
    }

    /// Renames a file, durable immediately.
    pub(super) fn rename(&mut self, from: &str, to: &str, file: u64) {
        self.0.remove(from);
        self.0.insert(to.to_owned(), Name { file: Some(file), before: Vec::new() });
    }

    /// Makes all changes durable; returns the files that no longer have a name.
    pub(super) fn sync(&mut self) -> Vec<u64> {
        let mut gone = Vec::new();
        for name in self.0.values_mut() {
            gone.extend(name.sync());
        }
        self.0.retain(|_, name| name.file.is_some());
        gone
    }

    /// Applies a power cut.
    pub(super) fn settle(&mut self, fates: &mut Fates<'_>) {
        for name in self.0.values_mut() {
            let kept = fates.changes(name.before.iter().map(|(_, number)| *number));
            if let Some((file, _)) = name.before.get(kept) {
                name.file = *file;
            }
            name.before.clear();
        }
        self.0.retain(|_, name| name.file.is_some());
    }
}

impl Name {
    fn sync(&mut self) -> Vec<u64> {
        let held = self.file;
        self.before
            .drain(..)
            .filter_map(|(file, _)| file)
            .filter(|file| Some(*file) != held)
            .collect()
    }
}

//! Failures of the medium under a device, and what they destroy.
//!
//! Every fourth device has a card that loses sectors, flips bits and makes files unreadable. What
//! is durable in the affected place is noted before it is destroyed: only that may be missing in
//! the end, and it must be reported as a gap. One copy of the ledger is spared while the other is
//! damaged, because a device cannot go on without both.

use std::ops::Range;

use ecowatt_model::UnixMs;
use ecowatt_node::storage::{Area, Areas as _, Ledger};

use super::{Device, Life};
use crate::faults::kinds::{Fault, MediumFault, Occasion};
use crate::faults::weights::Weights;
use crate::judges::records::{Record, records};
use crate::random::Random;
use crate::streams;
use crate::time::FAR;
use crate::trace::What;
use crate::world::disk::{FileState, Inaccessible};

/// Most neighbouring sectors that fail at once.
const SECTORS_MAX: u64 = 8;
const SECTOR: usize = 512;
/// Bytes at the end of a file that are hit more often, because newer records still matter.
const TAIL: usize = 2_048;

/// When and how the medium of a device fails next.
pub(super) struct Medium {
    random: Random,
    pub(super) fails_at: UnixMs,
}

impl Medium {
    pub(super) fn new(seed: u64, index: u32, weights: &Weights, begin: UnixMs) -> Self {
        let mut random = Random::new(seed, streams::MEDIA + u64::from(index));
        let fails_at = if is_bad(index) {
            weights.next(Occasion::MediumTrouble, begin, &mut random)
        } else {
            FAR
        };
        Self { random, fails_at }
    }

    /// Stops all failures.
    pub(super) fn calm(&mut self) {
        self.fails_at = FAR;
    }
}

/// Whether the device with this index has a failing card. None of them has a small spool, so
/// whatever they report as dropped was lost by the card.
pub(super) fn is_bad(index: u32) -> bool {
    index % 4 == 1
}

impl Device {
    /// Destroys something on the medium.
    pub(super) fn fail_medium(&mut self, now: UnixMs) {
        self.medium.fails_at =
            self.weights.next(Occasion::MediumTrouble, now, &mut self.medium.random);
        let random = &mut self.medium.random;
        let which = random.draw();
        let Fault::Medium(fault) = self.weights.pick(Occasion::MediumTrouble, random) else {
            return;
        };
        let from_end = random.below(2) == 0;
        let (place, size) = (random.draw(), random.between(1, SECTORS_MAX));
        // Sectors and bits fail in what was durable. A file fails as a whole while it is written,
        // too: the active segment is rarely durable to its end, because acknowledgements are not
        // synced.
        let is_whole_file = matches!(fault, MediumFault::ContentsClosed | MediumFault::FileClosed);
        let may_hit = |file: &FileState| {
            file.len > 0 && (file.is_durable || is_whole_file) && is_kept(&file.name)
        };
        let files: Vec<FileState> = self.disk.files().into_iter().filter(may_hit).collect();
        let count = u64::try_from(files.len()).unwrap_or(0).max(1);
        let drawn = usize::try_from(which % count).unwrap_or(0);
        let Some(file) = files.get(drawn) else { return };
        if file.name.starts_with("ledger") && !self.has_two_ledgers() {
            return;
        }
        let (name, len) = (file.name.as_str(), file.len);
        let within = if from_end { len.min(TAIL) } else { len };
        let place = place % u64::try_from(within).unwrap_or(1).max(1);
        let at = len - within + usize::try_from(place).unwrap_or(0);
        let before = self.disk.pristine(name);
        let (hit, what) = match fault {
            MediumFault::SectorsLost => {
                let size = usize::try_from(size).unwrap_or(1) * SECTOR;
                let end = (at / SECTOR * SECTOR + size).min(len.next_multiple_of(SECTOR));
                let first = self.disk.lose_sector(name, at);
                for at in (first.end..end).step_by(SECTOR) {
                    self.disk.lose_sector(name, at);
                }
                (first.start..end, "sectors cannot be read")
            }
            MediumFault::BitRotted => {
                self.disk.rot(name, at, 1 << (size % 8));
                (at..at + 1, "a bit has rotted")
            }
            MediumFault::ContentsClosed => {
                self.disk.close(name, Inaccessible::Contents);
                (0..len, "a file cannot be opened")
            }
            MediumFault::FileClosed => {
                self.disk.close(name, Inaccessible::Everything);
                (0..len, "a file cannot be looked at")
            }
        };
        self.judge.trace.note(now, What::Trouble(what));
        self.note_destroyed(now, name, &before, &hit);
    }

    /// Whether both copies of the ledger can be read and the last write to them was complete.
    fn has_two_ledgers(&self) -> bool {
        matches!(self.life, Life::On(_))
            && Ledger::open(self.disk.fork(0)).is_ok_and(|ledger| !ledger.is_damaged())
    }

    fn note_destroyed(&mut self, now: UnixMs, name: &str, before: &[u8], hit: &Range<usize>) {
        let file = match name.split(['-', '.']).next() {
            Some("ledger") => "ledger",
            Some("spool") => "segment",
            Some("draft") => "journal",
            _ => "layout",
        };
        if file == "ledger" {
            // The newer copy of the ledger holds the start of the epoch, which may be lost with it.
            self.judge.truth.displace();
        }
        let pieces = records(name, before);
        let is_hit = |range: &Range<usize>| hit.start < range.end && range.start < hit.end;
        let is_journal = file == "journal";
        // A journal's length shows how much there was; a segment's content is shown by what follows
        // it.
        let told_to = match is_journal {
            true if area(name).is_some_and(|area| self.disk.len(area).is_ok()) => usize::MAX,
            true => 0,
            false if self.is_followed(name) => usize::MAX,
            false => {
                let sound = pieces.iter().filter(|(range, _)| self.is_sound(name, before, range));
                sound.map(|(range, _)| range.start).max().unwrap_or(0)
            }
        };
        let mut samples = 0;
        for (range, held) in pieces.into_iter().filter(|(range, _)| is_hit(range)) {
            let is_tellable = range.start < told_to;
            match held {
                Record::Batch { id, source, last_ordinal, bytes } => {
                    let of = (source, last_ordinal);
                    let samples = self.judge.truth.destroyed_batch(id, of, bytes, is_tellable);
                    self.judge.trace.note(now, What::Destroyed { file, batch: Some(id), samples });
                }
                Record::Sample { epoch, source, ordinal } => {
                    self.judge.truth.destroyed_sample(epoch, source, ordinal, is_tellable);
                    samples += 1;
                }
                Record::Note => self.judge.truth.destroyed_notes(),
            }
        }
        self.judge.trace.note(now, What::Destroyed { file, batch: None, samples });
    }

    /// Whether the records of a segment are unchanged.
    fn is_sound(&self, name: &str, before: &[u8], range: &Range<usize>) -> bool {
        let mut bytes = vec![0; range.len()];
        let start = u64::try_from(range.start).unwrap_or(0);
        let is_read = area(name).is_some_and(|a| self.disk.read_full(a, start, &mut bytes).is_ok());
        is_read && before.get(range.clone()) == Some(&bytes)
    }

    /// Whether something intact shows how far the spool went: a later segment, or a journal.
    fn is_followed(&self, name: &str) -> bool {
        let files = self.disk.files();
        let names = files.iter().map(|file| file.name.as_str());
        let mut later = names.filter(|other| {
            (other.starts_with("spool") && *other > name) || other.starts_with("draft")
        });
        later.any(|other| {
            let before = self.disk.pristine(other);
            let pieces = records(other, &before);
            pieces.first().is_some_and(|(range, _)| self.is_sound(other, &before, range))
        })
    }
}

/// Whether the loss of a file can be reported: not of files put aside, nor of the core's slots.
fn is_kept(name: &str) -> bool {
    ["ledger", "spool", "draft", "layout"].iter().any(|prefix| name.starts_with(prefix))
}

fn area(name: &str) -> Option<Area> {
    name.parse().ok()
}

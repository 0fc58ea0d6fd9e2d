//! Outcome of operations that were not synced when the power failed.

use crate::faults::UnsyncedDamage;
use crate::random::Random;

/// A torn write reaches the disk in sectors of this size.
const SECTOR: usize = 512;
/// One in this many unsynced writes is garbled, in at most this many bytes.
const GARBLED_ONE_IN: u64 = 3;
const GARBLED_BYTES_MAX: u64 = 4;

/// Counts of the outcomes of operations that were not synced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    pub writes_kept: u64,
    pub writes_torn: u64,
    pub writes_garbled: u64,
    pub writes_lost: u64,
    pub truncations_kept: u64,
    pub truncations_lost: u64,
    pub names_kept: u64,
    pub names_lost: u64,
}

impl Damage {
    pub(super) fn add(&mut self, other: &Self) {
        self.writes_kept += other.writes_kept;
        self.writes_torn += other.writes_torn;
        self.writes_garbled += other.writes_garbled;
        self.writes_lost += other.writes_lost;
        self.truncations_kept += other.truncations_kept;
        self.truncations_lost += other.truncations_lost;
        self.names_kept += other.names_kept;
        self.names_lost += other.names_lost;
    }
}

/// Which ranges of a write have reached the disk.
pub(super) enum Reached {
    Whole,
    /// No byte of it, although the file may have grown.
    Nothing {
        has_grown: bool,
    },
    Parts(Vec<std::ops::Range<usize>>),
    /// The whole write, with these bits of these bytes changed.
    Garbled(Vec<(usize, u8)>),
}

/// Decides about one operation after the other.
pub(super) struct Fates<'a> {
    fate: UnsyncedDamage,
    random: &'a mut Random,
    /// Decides which writes are garbled; only on flash.
    garbling: Option<&'a mut Random>,
    /// For [`UnsyncedDamage::Ordered`]: operations from this one on are lost.
    moment: u64,
    /// For [`UnsyncedDamage::Mixed`]: this many of ten operations are kept.
    kept_of_ten: u64,
    damage: Damage,
}

impl<'a> Fates<'a> {
    /// `numbers` are the first and the last operation to decide about.
    pub(super) fn new(
        fate: UnsyncedDamage,
        random: &'a mut Random,
        garbling: Option<&'a mut Random>,
        numbers: (u64, u64),
    ) -> Self {
        let moment = random.between(numbers.0, numbers.1.saturating_add(1));
        let kept_of_ten = random.between(1, 9);
        Self { fate, random, garbling, moment, kept_of_ten, damage: Damage::default() }
    }

    pub(super) fn damage(&self) -> Damage {
        self.damage
    }

    fn is_kept(&mut self, number: u64) -> bool {
        match self.fate {
            UnsyncedDamage::Kept => true,
            UnsyncedDamage::Lost => false,
            UnsyncedDamage::Ordered => number < self.moment,
            UnsyncedDamage::Mixed => self.random.below(10) < self.kept_of_ten,
        }
    }

    /// Decides about a write of `len` bytes at `offset`; `limit` if it was cut after that many
    /// bytes.
    pub(super) fn write(
        &mut self,
        number: u64,
        (offset, len): (usize, usize),
        limit: Option<usize>,
    ) -> Reached {
        if let Some(limit) = limit {
            self.damage.writes_torn += 1;
            return Reached::Parts(std::iter::once(0..limit.min(len)).collect());
        }
        if self.fate == UnsyncedDamage::Mixed && self.random.below(4) == 0 {
            self.damage.writes_torn += 1;
            return Reached::Parts(self.parts(offset, len));
        }
        if self.is_kept(number) {
            self.damage.writes_kept += 1;
            return Reached::Whole;
        }
        self.damage.writes_lost += 1;
        let has_grown = self.fate == UnsyncedDamage::Mixed && self.random.below(2) == 0;
        Reached::Nothing { has_grown }
    }

    /// Like [`Fates::write`], on flash whose cells may be half written. The draws for all other
    /// damage stay the same.
    pub(super) fn write_or_garble(
        &mut self,
        number: u64,
        (offset, len): (usize, usize),
        limit: Option<usize>,
    ) -> Reached {
        let reached = self.write(number, (offset, len), limit);
        let Some(random) = self.garbling.as_deref_mut() else { return reached };
        if self.fate != UnsyncedDamage::Mixed || len == 0 || random.below(GARBLED_ONE_IN) > 0 {
            return reached;
        }
        self.damage.writes_garbled += 1;
        let bytes = random.between(1, GARBLED_BYTES_MAX);
        let mut changed = |_| {
            let place = random.below(u64::try_from(len).unwrap_or(1));
            (usize::try_from(place).unwrap_or(0), 1u8 << random.below(8))
        };
        Reached::Garbled((0..bytes).map(&mut changed).collect())
    }

    fn parts(&mut self, offset: usize, len: usize) -> Vec<std::ops::Range<usize>> {
        let mut within = |len: usize| {
            let limit = u64::try_from(len).unwrap_or(u64::MAX).saturating_add(1);
            usize::try_from(self.random.below(limit)).unwrap_or(0)
        };
        match within(2) {
            0 => std::iter::once(0..within(len)).collect(),
            1 => std::iter::once(within(len)..len).collect(),
            _ => {
                // Sectors are aligned to the disk, not to the write.
                let mut parts = Vec::new();
                let mut from = 0;
                while from < len {
                    let to = len.min(from + SECTOR - (offset + from) % SECTOR);
                    if self.random.below(2) == 0 {
                        parts.push(from..to);
                    }
                    from = to;
                }
                parts
            }
        }
    }

    pub(super) fn truncation(&mut self, number: u64) -> bool {
        let is_kept = self.is_kept(number);
        let counted = match is_kept {
            true => &mut self.damage.truncations_kept,
            false => &mut self.damage.truncations_lost,
        };
        *counted += 1;
        is_kept
    }

    /// Returns how many of a name's changes reached the disk: those before the first one that did
    /// not.
    pub(super) fn changes(&mut self, numbers: impl ExactSizeIterator<Item = u64>) -> usize {
        let all = numbers.len();
        let mut kept = 0;
        for number in numbers {
            if !self.is_kept(number) {
                break;
            }
            kept += 1;
        }
        let count = |changes: usize| u64::try_from(changes).unwrap_or(u64::MAX);
        self.damage.names_kept += count(kept);
        self.damage.names_lost += count(all - kept);
        kept
    }
}

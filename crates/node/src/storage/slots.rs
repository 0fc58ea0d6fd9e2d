//! The slots of the device core, a pair of copies each. Their contents are opaque here.

use alloc::vec::Vec;

use ecowatt_device::Slot;

use super::areas::{Areas, Fault, SmallArea};
use super::two_copies::TwoCopies;

/// All slots.
#[derive(Debug)]
pub(super) struct Slots<D>(Vec<KeptSlot<D>>);

#[derive(Debug)]
struct KeptSlot<D> {
    slot: Slot,
    pair: TwoCopies<D>,
    bytes: Option<Vec<u8>>,
    is_damaged: bool,
}

impl<D: Areas + Clone> Slots<D> {
    /// Reads all slots. An unreadable one is empty or has its former contents.
    pub(super) fn open(disk: &D) -> Self {
        let open = |slot: Slot| {
            let whole = |bytes: &[u8]| Some(bytes.to_vec());
            let (pair, opened) =
                TwoCopies::open(disk.clone(), SmallArea::of(slot), Slot::LEN_MAX, whole);
            KeptSlot { slot, pair, bytes: opened.value, is_damaged: opened.damaged > 0 }
        };
        Self(Slot::ALL.into_iter().map(open).collect())
    }

    /// The slots of which a copy could not be read.
    pub(super) fn damaged(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().filter(|held| held.is_damaged).map(|held| held.slot)
    }

    pub(super) fn kept(&self, slot: Slot) -> Option<&[u8]> {
        self.0.iter().find(|held| held.slot == slot)?.bytes.as_deref()
    }

    /// Makes a slot's bytes durable; on an error the former ones still count.
    pub(super) fn keep(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), Fault> {
        for held in self.0.iter_mut().filter(|held| held.slot == slot) {
            held.pair.store(bytes)?;
            held.bytes = Some(bytes.to_vec());
        }
        Ok(())
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        let bytes = self.0.iter().map(|held| held.bytes.as_ref().map_or(0, Vec::capacity));
        super::held(&self.0) + bytes.sum::<usize>()
    }

    /// Upper limit of [`Slots::memory_bytes`].
    pub(super) const fn memory_bytes_max() -> usize {
        super::grown::<KeptSlot<D>>(Slot::ALL.len()) + Slot::ALL.len() * Slot::LEN_MAX
    }
}

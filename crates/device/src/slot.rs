//! State that the core keeps across a power cut, besides numbers, samples and batches.
//!
//! A few bytes in each [`Slot`], replaced as a whole: the shell makes them durable on
//! [`Action::Keep`](crate::Action::Keep) and returns them at the next start. The first byte is the
//! version of the slot's format; bytes of an unknown version or damaged ones count as an empty
//! slot. Golden bytes of each version are in `tests/it/versions`.

use ecowatt_model::{SOURCES_MAX, SourceNumber, UnixMs};
use heapless::Vec;

use crate::commands::Commands;
use crate::desired_slot::Decision;
use crate::leases::Leases;

/// A named piece of kept state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Which inverters sleep, and since when.
    Sleep,
    /// The desired configuration that the device decided on, and the one before it.
    Desired,
    /// Which commands were seen, and the outcomes of the latest.
    Commands,
    /// Leases, and the limits that were found before them.
    Limits,
}

impl Slot {
    /// In the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Sleep, Self::Desired, Self::Commands, Self::Limits];

    /// Most bytes in any slot.
    pub const LEN_MAX: usize = Decision::LEN_MAX;

    /// A name under which a shell can store it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Desired => "desired",
            Self::Commands => "commands",
            Self::Limits => "limits",
        }
    }
}

const _: () = assert!(Asleep::LEN_MAX <= Slot::LEN_MAX && Commands::LEN_MAX <= Slot::LEN_MAX);
const _: () = assert!(Leases::LEN_MAX <= Slot::LEN_MAX);

/// The inverters that sleep, and since when.
///
/// Version 1: for each inverter its source in one byte and Unix milliseconds in eight, big-endian,
/// which is also its form in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Asleep(Vec<[u8; ENTRY_LEN], SOURCES_MAX, u8>);

const ASLEEP_VERSION: u8 = 1;
const ENTRY_LEN: usize = 1 + 8;

impl Asleep {
    const LEN_MAX: usize = 1 + SOURCES_MAX * ENTRY_LEN;

    /// Returns `None` if the bytes are damaged or of another version.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (version, entries) = bytes.split_first()?;
        let (entries, rest) = entries.as_chunks::<ENTRY_LEN>();
        if *version != ASLEEP_VERSION || !rest.is_empty() {
            return None;
        }
        Vec::from_slice(entries).ok().map(Self)
    }

    /// Writes it to the start of `out` and returns the length; entries without room are left out.
    pub(crate) fn write(&self, out: &mut [u8]) -> usize {
        let Some((version, rest)) = out.split_first_mut() else { return 0 };
        *version = ASLEEP_VERSION;
        let (places, _) = rest.as_chunks_mut::<ENTRY_LEN>();
        let mut len = 1;
        for (place, entry) in places.iter_mut().zip(&self.0) {
            *place = *entry;
            len += ENTRY_LEN;
        }
        len
    }

    /// Since when an inverter sleeps, if it does.
    pub(crate) fn since(&self, source: SourceNumber) -> Option<UnixMs> {
        let [_, since @ ..] = self.0.iter().find(|[held, ..]| *held == source.0)?;
        Some(UnixMs(i64::from_be_bytes(*since)))
    }

    /// Notes since when an inverter sleeps, or that it is awake.
    pub(crate) fn note(&mut self, source: SourceNumber, since: Option<UnixMs>) {
        self.0.retain(|[held, ..]| *held != source.0);
        let Some(since) = since else { return };
        if self.0.is_full() {
            // The first entry is of a removed inverter: there is room for all that are configured.
            self.0.remove(0);
        }
        let mut entry = [source.0; ENTRY_LEN];
        entry[1..].copy_from_slice(&since.0.to_be_bytes());
        let _ = self.0.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(asleep: &Asleep) -> std::vec::Vec<u8> {
        let mut bytes = [0xee; Slot::LEN_MAX];
        let len = asleep.write(&mut bytes);
        bytes[..len].to_vec()
    }

    #[test]
    fn the_most_entries_are_parsed_back() {
        let mut asleep = Asleep::default();
        for number in 0..12 {
            assert_eq!(Asleep::parse(&written(&asleep)), Some(asleep.clone()));
            asleep.note(SourceNumber(number), Some(UnixMs(-1 - i64::from(number))));
            assert_eq!(asleep.since(SourceNumber(number)), Some(UnixMs(-1 - i64::from(number))));
        }
        assert_eq!(written(&asleep).len(), Asleep::LEN_MAX);
        assert_eq!(asleep.since(SourceNumber(3)), None);
        asleep.note(SourceNumber(11), None);
        assert_eq!(asleep.since(SourceNumber(11)), None);
        assert_eq!(Asleep::parse(&written(&asleep)), Some(asleep));
    }

    #[test]
    fn unknown_bytes_count_as_an_empty_slot() {
        let bytes = {
            let mut asleep = Asleep::default();
            asleep.note(SourceNumber(1), Some(UnixMs(7)));
            written(&asleep)
        };
        for cut in (0..bytes.len()).filter(|cut| *cut != 1) {
            assert_eq!(Asleep::parse(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Asleep::parse(&[&[2], &bytes[1..]].concat()), None);
        let too_many = [&[1][..], &[0; ENTRY_LEN * (SOURCES_MAX + 1)]].concat();
        assert_eq!(Asleep::parse(&too_many), None);
    }
}

//! The storage interface below all durable structures: areas that are appended to and erased.
//!
//! A shell implements [`Areas`]: the agent with a folder of the file system, tests and the
//! simulation with disks that tear and lose writes, a microcontroller with its flash. An area grows
//! only by [`Areas::append`] and is erased as a whole; nothing is overwritten in place, because
//! flash cannot do that. Nothing is durable before [`Areas::sync`] returns.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use ecowatt_device::Slot;
use ecowatt_model::{BootEpoch, COLUMNS_MAX, SourceNumber, StreamNumber};

/// Why an operation on an area failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no room. Erasing an area may make some.
    #[error("the disk is full")]
    Full,
    /// The medium fails at this place. Other places may work.
    #[error("the medium fails")]
    Unreadable,
    /// The disk is switched off or gone.
    #[error("the disk is gone")]
    Closed,
    /// Any other failure, including a missing area.
    #[error("the disk does not work")]
    Failed,
}

/// The name of an area, which identifies its contents and their format. A later format gets another
/// name, so that older software leaves it alone.
///
/// Its text is the name of the file in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// One of the two copies of a thing that is replaced as a whole, 0 or 1.
    Copy(SmallArea, u8),
    /// Samples of a source that are in no batch yet.
    Journal(JournalName),
    /// A part of the spool.
    Segment(u64),
    Layout(StreamNumber),
}

/// A few bytes that are replaced as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SmallArea {
    Ledger,
    /// What the device core keeps while inverters sleep.
    Sleep,
    /// The desired configuration that the device core decided on.
    Desired,
    /// The commands that the device core has seen.
    Commands,
    /// The leases of the device core.
    Limits,
    /// The inverter models that a search has found behind a source.
    Models(SourceNumber),
    /// The ratings of a source.
    Rated(SourceNumber),
}

/// Identifies a journal; the order is that in which journals are recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalName {
    pub epoch: BootEpoch,
    pub source: SourceNumber,
    /// Registers in a sample.
    pub columns: u8,
    /// How often the journal of this source was emptied in this epoch; wraps around after
    /// centuries.
    pub turn: u32,
}

const _: () = assert!(COLUMNS_MAX <= 0xff);

impl SmallArea {
    /// Returns the thing that stores a slot of the device core.
    #[must_use]
    pub fn of(slot: Slot) -> Self {
        match slot {
            Slot::Sleep => Self::Sleep,
            Slot::Desired => Self::Desired,
            Slot::Commands => Self::Commands,
            Slot::Limits => Self::Limits,
        }
    }
}

impl fmt::Display for SmallArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger => f.write_str("ledger"),
            Self::Sleep => f.write_str("sleep"),
            Self::Desired => f.write_str("desired"),
            Self::Commands => f.write_str("commands"),
            Self::Limits => f.write_str("limits"),
            Self::Models(source) => write!(f, "models-{}", source.0),
            Self::Rated(source) => write!(f, "rated-{}", source.0),
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(thing, copy) => write!(f, "{thing}.{copy}"),
            Self::Journal(JournalName { epoch, source, columns, turn }) => {
                write!(f, "draft-{:010}-{}-{columns}-{turn:010}", epoch.0, source.0)
            }
            Self::Segment(number) => write!(f, "spool-{number:012}"),
            Self::Layout(number) => write!(f, "layout-{}", number.0),
        }
    }
}

/// A text does not name an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an area")]
pub struct UnknownArea;

impl FromStr for Area {
    type Err = UnknownArea;

    fn from_str(name: &str) -> Result<Self, UnknownArea> {
        parse(name).ok_or(UnknownArea)
    }
}

fn parse(name: &str) -> Option<Area> {
    if let Some((thing, copy)) = name.split_once('.') {
        let copy = copy.parse().ok().filter(|copy| *copy < 2)?;
        let thing = match thing.split_once('-') {
            None if thing == "ledger" => SmallArea::Ledger,
            None if thing == "sleep" => SmallArea::Sleep,
            None if thing == "desired" => SmallArea::Desired,
            None if thing == "commands" => SmallArea::Commands,
            None if thing == "limits" => SmallArea::Limits,
            Some(("models", source)) => SmallArea::Models(SourceNumber(source.parse().ok()?)),
            Some(("rated", source)) => SmallArea::Rated(SourceNumber(source.parse().ok()?)),
            None | Some(_) => return None,
        };
        return Some(Area::Copy(thing, copy));
    }
    let (kind, rest) = name.split_once('-')?;
    match kind {
        "spool" => Some(Area::Segment(rest.parse().ok()?)),
        "layout" => Some(Area::Layout(StreamNumber(rest.parse().ok()?))),
        "draft" => {
            let mut parts = rest.split('-');
            let epoch = BootEpoch(parts.next()?.parse().ok()?);
            let source = SourceNumber(parts.next()?.parse().ok()?);
            let columns = parts.next()?.parse().ok()?;
            let turn = parts.next()?.parse().ok()?;
            let is_possible = parts.next().is_none() && JournalName::has(columns);
            is_possible.then_some(Area::Journal(JournalName { epoch, source, columns, turn }))
        }
        _ => None,
    }
}

impl JournalName {
    fn has(columns: u8) -> bool {
        (1..=COLUMNS_MAX).contains(&usize::from(columns))
    }
}

/// Length of [`Area::to_bytes`].
pub const AREA_BYTES: usize = 11;

impl Area {
    /// The name as bytes, for media without file names: `kind (1) | 10 more, little endian`, which are
    /// `copy (1)` or `source (1) | copy (1)` of a thing, `epoch (4) | source (1) | columns (1) | turn
    /// (4)` of a journal, `number (8)` of a segment or `number (2)` of a layout, and zeros.
    #[must_use]
    pub fn to_bytes(self) -> [u8; AREA_BYTES] {
        let mut bytes = [0; AREA_BYTES];
        let (kind, rest) = bytes.split_at_mut(1);
        kind[0] = match self {
            Self::Copy(thing, copy) => {
                let (kind, source) = match thing {
                    SmallArea::Ledger => (1, 0),
                    SmallArea::Sleep => (2, 0),
                    SmallArea::Models(source) => (3, source.0),
                    SmallArea::Rated(source) => (4, source.0),
                    SmallArea::Desired => (8, 0),
                    SmallArea::Commands => (9, 0),
                    SmallArea::Limits => (10, 0),
                };
                rest[..2].copy_from_slice(&[source, copy]);
                kind
            }
            Self::Journal(JournalName { epoch, source, columns, turn }) => {
                rest[..4].copy_from_slice(&epoch.0.to_le_bytes());
                rest[4..6].copy_from_slice(&[source.0, columns]);
                rest[6..].copy_from_slice(&turn.to_le_bytes());
                5
            }
            Self::Segment(number) => {
                rest[..8].copy_from_slice(&number.to_le_bytes());
                6
            }
            Self::Layout(number) => {
                rest[..2].copy_from_slice(&number.0.to_le_bytes());
                7
            }
        };
        bytes
    }

    /// Returns `None` for bytes that [`Area::to_bytes`] never returns.
    #[must_use]
    pub fn from_bytes(bytes: [u8; AREA_BYTES]) -> Option<Self> {
        let [kind, a, b, c, d, e, f, g, h, i, j] = bytes;
        let source = SourceNumber(a);
        let area = match kind {
            1 => Self::Copy(SmallArea::Ledger, b),
            2 => Self::Copy(SmallArea::Sleep, b),
            3 => Self::Copy(SmallArea::Models(source), b),
            4 => Self::Copy(SmallArea::Rated(source), b),
            5 => Self::Journal(JournalName {
                epoch: BootEpoch(u32::from_le_bytes([a, b, c, d])),
                source: SourceNumber(e),
                columns: f,
                turn: u32::from_le_bytes([g, h, i, j]),
            }),
            6 => Self::Segment(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            7 => Self::Layout(StreamNumber(u16::from_le_bytes([a, b]))),
            8 => Self::Copy(SmallArea::Desired, b),
            9 => Self::Copy(SmallArea::Commands, b),
            10 => Self::Copy(SmallArea::Limits, b),
            _ => return None,
        };
        let is_possible = match area {
            Self::Copy(_, copy) => copy < 2,
            Self::Journal(name) => JournalName::has(name.columns),
            Self::Segment(_) | Self::Layout(_) => true,
        };
        (is_possible && area.to_bytes() == bytes).then_some(area)
    }
}

/// A set of areas that one process owns.
pub trait Areas {
    /// Lists all areas, in no order, without those that were set aside.
    fn list(&self) -> Result<Vec<Area>, Fault>;
    /// Returns the length of an area in bytes, or `None` if it does not exist. After a failed
    /// append or a power cut it may include a part of what was being appended.
    fn len(&self, area: Area) -> Result<Option<u64>, Fault>;
    /// Reads up to `buffer.len()` bytes; returns 0 only at the end of the area.
    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault>;
    /// Appends bytes; creates the area if it is missing. If there is no room for all of them, none
    /// is appended; after any other failure some of them may be there.
    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault>;
    /// Makes everything appended to the area durable, and the existence of the area.
    fn sync(&self, area: Area) -> Result<(), Fault>;
    /// Removes an area and its contents. After a power cut it may exist again, unless
    /// [`Areas::settle`] or the sync of any area has succeeded since.
    fn erase(&self, area: Area) -> Result<(), Fault>;
    /// Makes everything durable that was erased.
    fn settle(&self) -> Result<(), Fault>;
    /// Moves a damaged area out of the way so that its place on the medium is not used again, as
    /// far as the medium has room for that. Takes effect at once and is durable when it returns.
    fn set_aside(&self, area: Area) -> Result<(), Fault>;

    /// Reads until `buffer` is full or the area ends, with as many reads as that takes.
    fn read_full(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        while read < buffer.len() {
            let at = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            match self.read_at(area, at, &mut buffer[read..])? {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }

    /// Replaces the contents of an area; durable when it returns. After an error the area may hold
    /// its former contents, a part of the new ones, or nothing.
    fn replace(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        if self.len(area)?.is_some() {
            self.erase(area)?;
        }
        self.append(area, bytes)?;
        self.sync(area)
    }

    /// Reads a whole area, at most `limit` bytes of it; `None` if it does not exist.
    fn read(&self, area: Area, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        let Some(len) = self.len(area)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(limit).min(limit)];
        let read = self.read_full(area, 0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }
}

/// Needs atomic compare-and-swap, which riscv32imc lacks.
#[cfg(target_has_atomic = "ptr")]
impl<T: Areas> Areas for alloc::sync::Arc<T> {
    fn list(&self) -> Result<Vec<Area>, Fault> {
        (**self).list()
    }
    fn len(&self, area: Area) -> Result<Option<u64>, Fault> {
        (**self).len(area)
    }
    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        (**self).read_at(area, offset, buffer)
    }
    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        (**self).append(area, bytes)
    }
    fn sync(&self, area: Area) -> Result<(), Fault> {
        (**self).sync(area)
    }
    fn erase(&self, area: Area) -> Result<(), Fault> {
        (**self).erase(area)
    }
    fn settle(&self) -> Result<(), Fault> {
        (**self).settle()
    }
    fn set_aside(&self, area: Area) -> Result<(), Fault> {
        (**self).set_aside(area)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_are_texts_and_bytes_and_come_back() {
        let journal = JournalName {
            epoch: BootEpoch(7),
            source: SourceNumber(3),
            columns: 128,
            turn: 0x0102_0304,
        };
        let golden: [(Area, &str, [u8; AREA_BYTES]); 8] = [
            (Area::Copy(SmallArea::Ledger, 1), "ledger.1", [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Area::Copy(SmallArea::Sleep, 0), "sleep.0", [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (
                Area::Copy(SmallArea::Models(SourceNumber(5)), 1),
                "models-5.1",
                [3, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            (
                Area::Copy(SmallArea::Rated(SourceNumber(5)), 0),
                "rated-5.0",
                [4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            (
                Area::Journal(journal),
                "draft-0000000007-3-128-0016909060",
                [5, 7, 0, 0, 0, 3, 128, 4, 3, 2, 1],
            ),
            (Area::Segment(258), "spool-000000000258", [6, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Area::Layout(StreamNumber(9)), "layout-9", [7, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Area::Copy(SmallArea::Desired, 1), "desired.1", [8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (area, text, bytes) in golden {
            assert_eq!((area.to_string().as_str(), area.to_bytes()), (text, bytes));
            assert_eq!((text.parse(), Area::from_bytes(bytes)), (Ok(area), Some(area)));
        }
        for other in ["lock", "ledger", "ledger.2", "spool2-000000000001", "bad-000000-ledger.0"] {
            assert_eq!(other.parse::<Area>(), Err(UnknownArea), "{other}");
        }
        assert_eq!(Area::from_bytes([0; AREA_BYTES]), None);
        assert_eq!(Area::from_bytes([0xff; AREA_BYTES]), None);
    }
}

//! A read that gets no answer in cycles in which others do.
//!
//! Some inverters meet a register that they do not have with silence instead of an exception. A plan
//! reads across such holes, and one of them would cost its whole read for ever. So a read that got
//! no answer [`MUTE_CYCLES`] times in a row, while others were answered, is asked for in halves,
//! until all parts of it are answered or one is left that cannot be split.

use ecowatt_profile::{Read, Table};

use crate::limits::MUTE_CYCLES;

/// The smallest read that is not answered, if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mute(Option<Suspect>);

#[derive(Debug, Clone, Copy)]
struct Suspect {
    table: Table,
    address: u16,
    count: u16,
    /// Cycles in a row in which it got no answer.
    cycles: u8,
    /// Whether it is a part of a read that got no answer either.
    is_part: bool,
}

impl Mute {
    pub(crate) const NONE: Self = Self(None);

    /// Whether the halves of a read must be asked for instead. That lasts when all of them are
    /// answered: what is between them is not.
    pub(crate) fn splits(self, read: &Read) -> bool {
        self.0.is_some_and(|suspect| match suspect.is(read) {
            true => suspect.cycles >= MUTE_CYCLES,
            false => suspect.is_part && suspect.is_in(read),
        })
    }

    /// A read was answered.
    pub(crate) fn answered(&mut self, read: &Read) {
        self.0 = self.0.filter(|suspect| !suspect.is_in(read));
    }

    /// A read got no answer in a cycle in which others did. Returns whether the cause is found: it
    /// is a part of a larger read and cannot be split.
    pub(crate) fn unanswered(&mut self, read: &Read) -> bool {
        let suspect = match self.0 {
            Some(known) if known.is(read) => {
                Suspect { cycles: known.cycles.saturating_add(1), ..known }
            }
            known => Suspect {
                table: read.table,
                address: read.address,
                count: read.count,
                cycles: 1,
                is_part: known.is_some_and(|known| known.contains(read)),
            },
        };
        let is_found = suspect.is_part && suspect.cycles >= MUTE_CYCLES && read.bisect().is_none();
        self.0 = Some(suspect).filter(|_| !is_found);
        is_found
    }
}

fn end(address: u16, count: u16) -> u32 {
    u32::from(address) + u32::from(count)
}

impl Suspect {
    fn is(&self, read: &Read) -> bool {
        (self.table, self.address, self.count) == (read.table, read.address, read.count)
    }

    fn is_in(&self, read: &Read) -> bool {
        self.table == read.table
            && read.address <= self.address
            && end(self.address, self.count) <= end(read.address, read.count)
    }

    fn contains(&self, read: &Read) -> bool {
        self.table == read.table
            && self.address <= read.address
            && end(read.address, read.count) <= end(self.address, self.count)
    }
}

//! Registers that are not requested because reading them fails.
//!
//! An inverter answers a read with exception 2 if a single register in it does not exist; without
//! this list one bad register would cost its whole block for ever.

use core::time::Duration;

use ecowatt_model::MonoMs;
use ecowatt_profile::{Read, Table};
use heapless::Vec;

use crate::limits::{QUARANTINE_MAX, QUARANTINE_RETRY_MAX, QUARANTINE_RETRY_MIN};

/// The smallest read that fails: one register, or those of one point. A read has at most
/// [`READ_REGISTERS_MAX`](ecowatt_profile::READ_REGISTERS_MAX) of them.
#[derive(Debug, Clone, Copy)]
struct Entry {
    table: Table,
    address: u16,
    count: u8,
    columns: u8,
    retry_at: MonoMs,
    /// How often the first pause has been doubled.
    doublings: u8,
    is_tentative: bool,
}

/// The bad registers of one source.
#[derive(Debug)]
pub(crate) struct Quarantine(Vec<Entry, QUARANTINE_MAX>);

/// What to do about a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing in it is quarantined.
    Ask,
    /// It is itself quarantined and due for another try.
    Retry,
    /// It is itself quarantined.
    Skip,
    /// It contains something that is quarantined, or due for another try on its own.
    Split,
}

impl Quarantine {
    pub(crate) const EMPTY: Self = Self(Vec::new());

    pub(crate) fn judge(&self, read: &Read, now: MonoMs) -> Verdict {
        if let Some(entry) = self.0.iter().find(|entry| entry.is(read)) {
            return if entry.retry_at <= now { Verdict::Retry } else { Verdict::Skip };
        }
        if self.0.iter().any(|entry| entry.overlaps(read)) { Verdict::Split } else { Verdict::Ask }
    }

    /// Adds a read; returns false if there is no room. It counts only once [`Quarantine::settle`]
    /// hears that the inverter answered another read properly.
    pub(crate) fn add(&mut self, read: &Read, now: MonoMs) -> bool {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.is(read)) {
            entry.doublings = entry.doublings.saturating_add(1);
            entry.retry_at = now.plus(pause(entry.doublings));
            return true;
        }
        let entry = Entry {
            table: read.table,
            address: read.address,
            count: u8::try_from(read.count).unwrap_or(u8::MAX),
            columns: u8::try_from(read.column_count()).unwrap_or(u8::MAX),
            retry_at: now.plus(pause(0)),
            doublings: 0,
            is_tentative: true,
        };
        self.0.push(entry).is_ok()
    }

    /// When the first quarantined part of a read is tried again, if it has any.
    pub(crate) fn retry_at(&self, read: &Read) -> Option<MonoMs> {
        self.0.iter().filter(|entry| entry.overlaps(read)).map(|entry| entry.retry_at).min()
    }

    /// Makes everything due for another try.
    pub(crate) fn retry_all(&mut self, now: MonoMs) {
        self.0.iter_mut().for_each(|entry| entry.retry_at = entry.retry_at.min(now));
    }

    /// Removes a read; returns whether it was quarantined.
    pub(crate) fn release(&mut self, read: &Read) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| !entry.is(read));
        self.0.len() < before
    }

    /// Ends a cycle: what failed in it stays quarantined only if other registers could be read.
    /// Calls `each` with every run that was settled: table, address, count.
    pub(crate) fn settle(&mut self, is_answering: bool, mut each: impl FnMut(Table, u16, u16)) {
        if !is_answering {
            self.0.retain(|entry| !entry.is_tentative);
            return;
        }
        for entry in self.0.iter_mut().filter(|entry| entry.is_tentative) {
            entry.is_tentative = false;
            each(entry.table, entry.address, entry.count.into());
        }
    }

    /// Number of quarantined columns.
    pub(crate) fn columns(&self) -> u16 {
        self.0.iter().map(|entry| u16::from(entry.columns)).sum()
    }
}

fn pause(doublings: u8) -> Duration {
    let times = 1u32.checked_shl(doublings.into()).unwrap_or(u32::MAX);
    QUARANTINE_RETRY_MIN.saturating_mul(times).min(QUARANTINE_RETRY_MAX)
}

impl Entry {
    fn is(&self, read: &Read) -> bool {
        (self.table, self.address, self.count.into()) == (read.table, read.address, read.count)
    }

    fn overlaps(&self, read: &Read) -> bool {
        let end = |address: u16, count: u16| u32::from(address) + u32::from(count);
        self.table == read.table
            && u32::from(self.address) < end(read.address, read.count)
            && u32::from(read.address) < end(self.address, self.count.into())
    }
}

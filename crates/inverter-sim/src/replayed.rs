//! Recorded or precomputed registers: a row for each instant, and the values written since.
//!
//! A write is read back but has no other effect: the rows do not change.

use std::sync::Arc;

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::UnixMs;

use crate::config::RegisterMap;
use crate::register_table::Tabulation;
use crate::registers::{self, RegisterRange, slice};
use crate::series::Series;

/// Rows over time, at an instant.
#[derive(Debug, Clone)]
pub(crate) struct Replayed {
    rows: Rows,
    now: UnixMs,
    /// Registers that masters have written, with their words; bounded by the number of writable
    /// ones.
    written: Vec<(u16, u16)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// The first column is register 0.
    Recorded(Series<u16>),
    Tabulated(Arc<Tabulation>),
}

impl Rows {
    fn map(&self) -> RegisterMap {
        match self {
            Self::Recorded(_) => RegisterMap::Seed,
            Self::Tabulated(table) => table.map(),
        }
    }

    /// The first address, and the words from there on.
    fn at(&self, now: UnixMs) -> (u16, &[u16]) {
        match self {
            Self::Recorded(series) => (0, series.at(now)),
            Self::Tabulated(table) => (table.first_register(), table.registers(now)),
        }
    }
}

impl Replayed {
    pub(crate) fn new(rows: Rows, now: UnixMs) -> Self {
        Self { rows, now, written: Vec::new() }
    }

    pub(crate) fn map(&self) -> RegisterMap {
        self.rows.map()
    }

    /// Advances to `now`; an earlier time has no effect.
    pub(crate) fn advance(&mut self, now: UnixMs) {
        self.now = now.max(self.now);
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.now
    }

    pub(crate) fn image(&self) -> RegisterRange {
        let (first, words) = self.rows.at(self.now);
        RegisterRange { first, words: self.with_written(first, words) }
    }

    pub(crate) fn read(&self, address: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
        let (first, words) = self.rows.at(self.now);
        slice(first, words, address, count).map(|words| self.with_written(address, words))
    }

    fn with_written(&self, first: u16, words: &[u16]) -> Vec<u16> {
        let mut words = words.to_vec();
        for (register, word) in &self.written {
            let at = register.checked_sub(first).map(usize::from);
            if let Some(shown) = at.and_then(|at| words.get_mut(at)) {
                *shown = *word;
            }
        }
        words
    }

    pub(crate) fn check_write(&self, address: u16, values: &[u16]) -> Result<(), ExceptionCode> {
        registers::check(self.map(), address, values)?;
        // A recording may have fewer columns than the map has registers.
        let (first, words) = self.rows.at(self.now);
        slice(first, words, address, 1).map(|_| ())
    }

    pub(crate) fn write(&mut self, address: u16, values: &[u16]) -> Result<(), ExceptionCode> {
        self.check_write(address, values)?;
        for (register, value) in (address..=u16::MAX).zip(values) {
            match self.written.iter_mut().find(|(known, _)| *known == register) {
                Some((_, word)) => *word = *value,
                None => self.written.push((register, *value)),
            }
        }
        Ok(())
    }

    /// Discards the written values.
    pub(crate) fn lose_power(&mut self) {
        self.written.clear();
    }

    pub(crate) fn is_asleep(&self) -> bool {
        match &self.rows {
            // In recorded registers, the last column is the power.
            Rows::Recorded(series) => series.at(self.now).last() == Some(&0),
            Rows::Tabulated(table) => table.is_asleep(self.now),
        }
    }
}

//! A table of an inverter's registers over time.
//!
//! A lookup costs a division, however long the physics took. Nothing is modelled here: each row is
//! what the physics showed at its instant ([`crate::precompute`]).

use ecowatt_model::UnixMs;

use crate::config::{Config, RegisterMap};
use crate::registers::slice;

/// An inverter's registers at equally spaced instants.
#[derive(Debug, Clone, PartialEq)]
pub struct Tabulation {
    pub(crate) config: Config,
    pub(crate) start: UnixMs,
    pub(crate) step_ms: i64,
    /// Address of the first register.
    pub(crate) first: u16,
    /// Registers of one row.
    pub(crate) width: usize,
    pub(crate) words: Vec<u16>,
    pub(crate) asleep: Vec<bool>,
    pub(crate) lifetime_wh: Vec<u64>,
}

impl Tabulation {
    /// The plant that was computed.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The register map of its rows.
    #[must_use]
    pub fn map(&self) -> RegisterMap {
        self.config.map
    }

    /// The instant of its first row.
    #[must_use]
    pub fn start(&self) -> UnixMs {
        self.start
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.asleep.len()
    }

    /// The instant of a row.
    #[must_use]
    pub fn shown_at(&self, row: usize) -> UnixMs {
        let steps = i64::try_from(row).unwrap_or(i64::MAX);
        UnixMs(self.start.0.saturating_add(steps.saturating_mul(self.step_ms)))
    }

    /// The row for `at`: the last that is not after it; before the first row, the first.
    #[must_use]
    pub fn row(&self, at: UnixMs) -> usize {
        let steps = at.0.saturating_sub(self.start.0) / self.step_ms;
        usize::try_from(steps).unwrap_or(0).min(self.rows() - 1)
    }

    /// Every register at `at`, from [`Tabulation::first_register`] on.
    #[must_use]
    pub fn registers(&self, at: UnixMs) -> &[u16] {
        let from = self.row(at) * self.width;
        &self.words[from..from + self.width]
    }

    /// The address of the first register.
    #[must_use]
    pub fn first_register(&self) -> u16 {
        self.first
    }

    /// Returns `count` registers from `address` on at `at`; `None` if any of them does not exist.
    #[must_use]
    pub fn words(&self, at: UnixMs, address: u16, count: u16) -> Option<&[u16]> {
        slice(self.first, self.registers(at), address, count).ok()
    }

    /// Whether it was asleep at `at`.
    #[must_use]
    pub fn is_asleep(&self, at: UnixMs) -> bool {
        self.asleep[self.row(at)]
    }

    /// The lifetime counter at `at` in whole watt-hours, even if the map does not show it.
    #[must_use]
    pub fn lifetime_wh(&self, at: UnixMs) -> u64 {
        self.lifetime_wh[self.row(at)]
    }
}

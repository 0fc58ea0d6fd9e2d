//! An inverter's registers computed in advance, for many reads in little time.
//!
//! The physics costs a microsecond or two for each second that it advances, however often it is
//! read; a lookup in a table costs a division. Nothing is modelled here: each row is what the
//! physics showed at its instant. A limit that is written is read back and changes no row.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_model::UnixMs;

use crate::config::{Config, ConfigError, Map};
use crate::inverter::{Inverter, RegisterSource};
use crate::physics::plant::Weather;
use crate::registers::slice;

/// Maximum number of rows: almost two years at a minute.
pub const ROWS_MAX: usize = 1_000_000;
/// Maximum step; the physics treats a step of more than a week as a time without power.
pub const STEP_MAX: Duration = Duration::from_secs(86_400);

/// An inverter's registers at equally spaced instants.
#[derive(Debug, Clone, PartialEq)]
pub struct Tabulation {
    config: Config,
    start: UnixMs,
    step_ms: i64,
    /// Address of the first register.
    first: u16,
    /// Registers of one row.
    width: usize,
    words: Vec<u16>,
    asleep: Vec<bool>,
    lifetime_wh: Vec<u64>,
}

impl Tabulation {
    /// Runs the physics from `start` and records the registers then and after every `step`, `rows`
    /// times in all.
    ///
    /// # Errors
    /// When the plant cannot be simulated, or `step` or `rows` is zero or too large.
    pub fn compute(
        config: Config,
        weather: Weather,
        start: UnixMs,
        step: Duration,
        rows: usize,
    ) -> Result<Self, ConfigError> {
        Self::compute_reporting(config, weather, start, step, rows, |_| {})
    }

    /// Like [`Tabulation::compute`], and calls `progress` after each row with the number of rows so
    /// far.
    ///
    /// # Errors
    /// As [`Tabulation::compute`].
    pub fn compute_reporting(
        config: Config,
        weather: Weather,
        start: UnixMs,
        step: Duration,
        rows: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, ConfigError> {
        let whole_ms = i64::try_from(step.as_millis()).ok().filter(|&ms| ms > 0);
        let step_ms = whole_ms
            .filter(|_| step <= STEP_MAX)
            .ok_or(ConfigError::OutOfRange { field: "step", range: "1 ms..=1 day" })?;
        if !(1..=ROWS_MAX).contains(&rows) {
            return Err(ConfigError::OutOfRange { field: "rows", range: "1..=1000000" });
        }
        let mut inverter =
            Inverter::new(config.clone(), RegisterSource::Simulated(weather), start)?;
        let image = inverter.image();
        let (first, width) = (image.first, image.words.len());
        let mut words = Vec::with_capacity(width * rows);
        let mut asleep = Vec::with_capacity(rows);
        let mut lifetime_wh = Vec::with_capacity(rows);
        let mut at = start;
        for row in 1..=rows {
            inverter.advance(at);
            words.extend_from_slice(&inverter.image().words);
            asleep.push(inverter.is_asleep());
            lifetime_wh.push(inverter.reading().map_or(0, |reading| reading.lifetime_wh));
            at = UnixMs(at.0.saturating_add(step_ms));
            progress(row);
        }
        Ok(Self { config, start, step_ms, first, width, words, asleep, lifetime_wh })
    }

    /// The plant that was computed.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The register map of its rows.
    #[must_use]
    pub fn map(&self) -> Map {
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

impl From<Arc<Tabulation>> for RegisterSource {
    fn from(table: Arc<Tabulation>) -> Self {
        Self::Tabulated(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inverter::Table;

    /// 2026-06-21T11:00Z.
    const NOON: UnixMs = UnixMs(1_782_039_600_000);
    const STEP: Duration = Duration::from_secs(5);

    fn later(ms: i64) -> UnixMs {
        UnixMs(NOON.0 + ms)
    }

    fn table(map: Map, start: UnixMs, rows: usize) -> Tabulation {
        let config = Config { map, ..Config::default() };
        Tabulation::compute(config, Weather::Modelled, start, STEP, rows).unwrap()
    }

    #[test]
    fn every_row_is_what_the_physics_shows() {
        for map in [Map::Seed, Map::SunSpec, Map::Der] {
            let table = table(map, NOON, 200);
            let config = Config { map, ..Config::default() };
            let mut live =
                Inverter::new(config, RegisterSource::Simulated(Weather::Modelled), NOON).unwrap();
            for row in 0..200 {
                let at = table.shown_at(row);
                assert_eq!(table.row(at), row);
                live.advance(at);
                let image = live.image();
                assert_eq!(
                    (table.first_register(), table.registers(at)),
                    (image.first, &*image.words)
                );
                assert_eq!(table.is_asleep(at), live.is_asleep());
                assert_eq!(table.lifetime_wh(at), live.reading().unwrap().lifetime_wh);
            }
        }
    }

    #[test]
    fn a_row_holds_until_the_next_and_the_last_for_ever() {
        let table = table(Map::Seed, NOON, 3);
        let rows = [-1, 0, 4_999, 5_000, 10_000, 1_000_000_000].map(|ms| table.row(later(ms)));
        assert_eq!(rows, [0, 0, 0, 1, 2, 2]);
        assert_eq!(table.row(UnixMs(i64::MIN)), 0);
        assert_eq!(table.row(UnixMs(i64::MAX)), 2);
    }

    #[test]
    fn reads_return_the_rows_and_a_written_limit() {
        let limit_at = 40_000 + 2 + 68 + 28 + 32 + 52 + 5;
        for (map, first, limit) in [(Map::Seed, 0, 8), (Map::SunSpec, 40_000, limit_at)] {
            let table = Arc::new(table(map, NOON, 100));
            let mut inverter =
                Inverter::new(table.config().clone(), Arc::clone(&table).into(), NOON).unwrap();
            assert_eq!(inverter.map(), map);
            let at = later(299_000);
            let shown = table.words(at, first, 10).unwrap();
            assert_eq!(inverter.read(Table::Holding, first, 10, at).as_deref(), Ok(shown));
            assert_eq!(inverter.read(Table::Input, limit, 1, at).unwrap().len(), 1);

            inverter.write(limit, &[42], at).unwrap();
            assert_eq!(inverter.read(Table::Holding, limit, 1, at), Ok(vec![42]));
            inverter.write(limit, &[43], at).unwrap();
            let before = inverter.read(Table::Holding, limit - 2, 3, at).unwrap();
            assert_eq!(before[2], 43);
            assert_eq!(before[..2], *table.words(at, limit - 2, 2).unwrap());
            assert!(inverter.write(limit, &[1_001], at).is_err());
            assert!(inverter.write(first, &[1], at).is_err());

            inverter.lose_power(at);
            let shown = table.words(at, limit, 1).unwrap();
            assert_eq!(inverter.read(Table::Holding, limit, 1, at).as_deref(), Ok(shown));
            assert_eq!(table.words(at, first.wrapping_sub(1), 1), None);
        }
    }

    #[test]
    fn nights_are_tabulated() {
        let start = later(8 * 3_600_000);
        let table = Arc::new(table(Map::Seed, start, 2_000));
        assert!(!table.is_asleep(start));
        let night = UnixMs(start.0 + 9_900_000);
        assert!(table.is_asleep(night));
        let mut inverter = Inverter::new(
            table.config().clone(),
            RegisterSource::Tabulated(Arc::clone(&table)),
            start,
        )
        .unwrap();
        inverter.advance(night);
        assert!(inverter.is_asleep());
    }

    #[test]
    fn zero_and_too_much_are_refused() {
        let compute = |step, rows| {
            let refused =
                Tabulation::compute(Config::default(), Weather::Modelled, NOON, step, rows);
            refused.is_err()
        };
        assert!(compute(Duration::ZERO, 1) && compute(Duration::from_nanos(1), 1));
        assert!(compute(STEP_MAX + STEP, 1) && compute(Duration::MAX, 1));
        assert!(compute(STEP, 0) && compute(STEP, ROWS_MAX + 1));
    }
}

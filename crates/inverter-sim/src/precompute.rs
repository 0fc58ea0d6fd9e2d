//! Computes an inverter's registers in advance, for many reads in little time.
//!
//! The physics costs a microsecond or two for each second that it advances, however often it is
//! read. A limit that is written to the table's inverter is read back and changes no row.

use std::time::Duration;

use ecowatt_model::UnixMs;

use crate::config::{Config, ConfigError};
use crate::inverter::{Inverter, RegisterSource};
use crate::physics::plant::Weather;
use crate::register_table::Tabulation;

/// Maximum number of rows: almost two years at a minute.
pub const ROWS_MAX: usize = 1_000_000;
/// Maximum step; the physics treats a step of more than a week as a time without power.
pub const STEP_MAX: Duration = Duration::from_secs(86_400);

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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::RegisterMap;
    use crate::inverter::Table;

    /// 2026-06-21T11:00Z.
    const NOON: UnixMs = UnixMs(1_782_039_600_000);
    const STEP: Duration = Duration::from_secs(5);

    fn later(ms: i64) -> UnixMs {
        UnixMs(NOON.0 + ms)
    }

    fn table(map: RegisterMap, start: UnixMs, rows: usize) -> Tabulation {
        let config = Config { map, ..Config::default() };
        Tabulation::compute(config, Weather::Modelled, start, STEP, rows).unwrap()
    }

    #[test]
    fn every_row_is_what_the_physics_shows() {
        for map in [RegisterMap::Seed, RegisterMap::SunSpec, RegisterMap::Der] {
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
        let table = table(RegisterMap::Seed, NOON, 3);
        let rows = [-1, 0, 4_999, 5_000, 10_000, 1_000_000_000].map(|ms| table.row(later(ms)));
        assert_eq!(rows, [0, 0, 0, 1, 2, 2]);
        assert_eq!(table.row(UnixMs(i64::MIN)), 0);
        assert_eq!(table.row(UnixMs(i64::MAX)), 2);
    }

    #[test]
    fn reads_return_the_rows_and_a_written_limit() {
        let limit_at = 40_000 + 2 + 68 + 28 + 32 + 52 + 5;
        for (map, first, limit) in
            [(RegisterMap::Seed, 0, 8), (RegisterMap::SunSpec, 40_000, limit_at)]
        {
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
        let table = Arc::new(table(RegisterMap::Seed, start, 2_000));
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

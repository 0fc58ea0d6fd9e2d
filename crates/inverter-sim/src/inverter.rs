//! An inverter as a Modbus master sees it, without sockets: registers in, registers out, over time.

use std::sync::Arc;

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::UnixMs;
use serde::Serialize;

use crate::config::{Config, ConfigError, RegisterMap};
use crate::physics::plant::{OperatingState, Plant, Reading, Weather};
use crate::register_table::Tabulation;
use crate::registers::{RegisterRange, Registers};
use crate::replayed::{Replayed, Rows};
use crate::series::Series;

/// Where an inverter's registers come from.
#[derive(Debug, Clone)]
pub enum RegisterSource {
    /// The physics.
    Simulated(Weather),
    /// Recorded registers; the first column is register 0.
    Recorded(Series<u16>),
    /// Registers that the physics has computed in advance; the map is the table's.
    Tabulated(Arc<Tabulation>),
}

/// One of the two register tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Functions 3, 6 and 16.
    Holding,
    /// Function 4.
    Input,
}

impl From<Arc<Tabulation>> for RegisterSource {
    fn from(table: Arc<Tabulation>) -> Self {
        Self::Tabulated(table)
    }
}

/// A simulated or replayed inverter.
#[derive(Debug, Clone)]
pub struct Inverter {
    body: Body,
    unit: u8,
    map: RegisterMap,
}

#[derive(Debug, Clone)]
enum Body {
    Simulated { plant: Box<Plant>, registers: Registers },
    Replayed(Replayed),
}

impl Inverter {
    /// Creates an inverter that starts at `start`.
    ///
    /// # Errors
    /// When the models or registers do not support the configuration.
    pub fn new(config: Config, source: RegisterSource, start: UnixMs) -> Result<Self, ConfigError> {
        config.check()?;
        let unit = config.unit;
        let replayed = |rows| {
            let replayed = Replayed::new(rows, start);
            (replayed.map(), Body::Replayed(replayed))
        };
        let (map, body) = match source {
            RegisterSource::Simulated(weather) => {
                let (map, registers) = (config.map, Registers::new(&config));
                let plant = Box::new(Plant::new(config, weather, start));
                (map, Body::Simulated { plant, registers })
            }
            RegisterSource::Recorded(series) => replayed(Rows::Recorded(series)),
            RegisterSource::Tabulated(table) => replayed(Rows::Tabulated(table)),
        };
        Ok(Self { body, unit, map })
    }

    /// Its unit identifier.
    #[must_use]
    pub fn unit(&self) -> u8 {
        self.unit
    }

    /// Its register map.
    #[must_use]
    pub fn map(&self) -> RegisterMap {
        self.map
    }

    /// Advances to `now`; an earlier time has no effect.
    pub fn advance(&mut self, now: UnixMs) {
        match &mut self.body {
            Body::Simulated { plant, .. } => plant.advance(now),
            Body::Replayed(replayed) => replayed.advance(now),
        }
    }

    /// The instant of its current registers.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        match &self.body {
            Body::Simulated { plant, .. } => plant.reading().at,
            Body::Replayed(replayed) => replayed.now(),
        }
    }

    /// All registers at present.
    #[must_use]
    pub fn image(&self) -> RegisterRange {
        match &self.body {
            Body::Simulated { plant, registers } => registers.image(plant),
            Body::Replayed(replayed) => replayed.image(),
        }
    }

    /// Reads registers at `now`. Both tables have the same contents.
    ///
    /// # Errors
    /// Illegal data address if one of them does not exist.
    pub fn read(
        &mut self,
        _table: Table,
        address: u16,
        count: u16,
        now: UnixMs,
    ) -> Result<Vec<u16>, ExceptionCode> {
        self.advance(now);
        match &self.body {
            Body::Simulated { .. } => self.image().slice(address, count).map(<[u16]>::to_vec),
            Body::Replayed(replayed) => replayed.read(address, count),
        }
    }

    /// Writes holding registers at `now`, either all of them or none.
    ///
    /// # Errors
    /// Illegal data address for a read-only register, illegal data value for a value out of range.
    pub fn write(
        &mut self,
        address: u16,
        values: &[u16],
        now: UnixMs,
    ) -> Result<(), ExceptionCode> {
        self.advance(now);
        match &mut self.body {
            Body::Simulated { plant, registers } => registers.write(plant, address, values),
            Body::Replayed(replayed) => replayed.write(address, values),
        }
    }

    /// Checks whether a write would be accepted, without carrying it out.
    ///
    /// # Errors
    /// As [`Inverter::write`].
    pub fn check_write(&self, address: u16, values: &[u16]) -> Result<(), ExceptionCode> {
        match &self.body {
            Body::Simulated { plant, registers } => registers.check(plant, address, values),
            Body::Replayed(replayed) => replayed.check_write(address, values),
        }
    }

    /// Whether it is asleep because it is too dark.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        match &self.body {
            Body::Simulated { plant, .. } => plant.reading().state == OperatingState::Sleeping,
            Body::Replayed(replayed) => replayed.is_asleep(),
        }
    }

    /// Simulates a loss of power at `now`.
    pub fn lose_power(&mut self, now: UnixMs) {
        match &mut self.body {
            Body::Simulated { plant, registers } => {
                plant.lose_power(now);
                *registers = Registers::new(plant.config());
            }
            Body::Replayed(replayed) => replayed.lose_power(),
        }
    }

    /// The plant; `None` if registers are replayed.
    #[must_use]
    pub fn plant(&self) -> Option<&Plant> {
        match &self.body {
            Body::Simulated { plant, .. } => Some(plant),
            Body::Replayed(_) => None,
        }
    }

    /// The plant; `None` if registers are replayed.
    pub fn plant_mut(&mut self) -> Option<&mut Plant> {
        match &mut self.body {
            Body::Simulated { plant, .. } => Some(plant),
            Body::Replayed(_) => None,
        }
    }

    /// Its measurements; `None` if registers are replayed.
    #[must_use]
    pub fn reading(&self) -> Option<&Reading> {
        self.plant().map(Plant::reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-06-21T11:00Z.
    const NOON: UnixMs = UnixMs(1_782_039_600_000);

    fn seeded() -> Inverter {
        Inverter::new(Config::default(), RegisterSource::Simulated(Weather::Modelled), NOON)
            .unwrap()
    }

    #[test]
    fn exactly_ten_registers_exist() {
        let mut inverter = seeded();
        let words = inverter.read(Table::Holding, 0, 10, NOON).unwrap();
        assert!((2_200..2_450).contains(&words[0]), "{words:?}");
        assert!((4_990..5_010).contains(&words[2]), "{words:?}");
        assert_eq!(words[8], 100);
        assert_eq!(inverter.read(Table::Input, 0, 10, NOON), Ok(words));
        for (address, count) in [(0, 11), (10, 1), (9, 2), (65_535, 1)] {
            let refused = inverter.read(Table::Holding, address, count, NOON);
            assert_eq!(refused, Err(ExceptionCode::IllegalDataAddress));
        }
    }

    #[test]
    fn only_the_limit_can_be_written_and_it_is_read_back() {
        let mut inverter = seeded();
        assert_eq!(inverter.write(8, &[55], NOON), Ok(()));
        assert_eq!(inverter.read(Table::Holding, 8, 1, NOON), Ok(vec![55]));
        assert_eq!(inverter.write(8, &[101], NOON), Err(ExceptionCode::IllegalDataValue));
        assert_eq!(inverter.write(9, &[1], NOON), Err(ExceptionCode::IllegalDataAddress));
        assert_eq!(inverter.write(8, &[1, 1], NOON), Err(ExceptionCode::IllegalDataAddress));
        assert_eq!(inverter.read(Table::Holding, 8, 1, NOON), Ok(vec![55]));
    }

    #[test]
    fn a_recording_returns_exactly_its_rows_until_it_is_written_to() {
        let rows =
            "t,a,b,c,d,e,f,g,h,i,j\n100,1,2,3,4,5,6,7,8,100,10\n105,11,2,3,4,5,6,7,8,100,0\n";
        let series = Series::from_csv(rows.as_bytes()).unwrap();
        let start = UnixMs(100_000);
        let mut inverter =
            Inverter::new(Config::default(), RegisterSource::Recorded(series), start).unwrap();
        let first = vec![1, 2, 3, 4, 5, 6, 7, 8, 100, 10];
        assert_eq!(inverter.read(Table::Holding, 0, 10, UnixMs(104_999)), Ok(first));
        assert!(!inverter.is_asleep());
        assert_eq!(inverter.read(Table::Holding, 0, 1, UnixMs(105_000)), Ok(vec![11]));
        assert!(inverter.is_asleep());
        assert_eq!(inverter.write(8, &[30], UnixMs(105_000)), Ok(()));
        assert_eq!(inverter.read(Table::Holding, 8, 1, UnixMs(106_000)), Ok(vec![30]));
    }

    #[test]
    fn losing_power_resets_the_limit() {
        let mut inverter = seeded();
        inverter.write(8, &[10], NOON).unwrap();
        inverter.lose_power(NOON);
        let later = UnixMs(NOON.0 + 2_000);
        assert_eq!(inverter.read(Table::Holding, 8, 1, later), Ok(vec![100]));
    }
}

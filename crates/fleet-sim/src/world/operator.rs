//! The operator: changes settings of devices at random times, whatever else goes wrong.
//!
//! Most values are allowed; some are such that the device has to refuse them, as if the server had
//! not checked them. Intervals are no shorter than the scenario's, so that a run costs what it costs
//! without them.

use ecowatt_model::setting::{
    BATCH_ROWS, CHECK_IN_INTERVAL, LOG_LEVEL, POWER_POLICY, REVERT_AFTER, SAMPLING_INTERVAL,
    UPLOAD_INTERVAL,
};
use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_store::{EditConfig, SettingKey, Settings};

use crate::random::Random;
use crate::scenario::Scenario;
use crate::streams;
use crate::time::{FAR, after};

/// Changes of one configuration at once.
const CHANGES_MAX: u64 = 3;

/// A setting that no version has, and an inverter that no device has.
const UNKNOWN_SETTING: u8 = 250;
const NO_SOURCE: SourceNumber = SourceNumber(200);

pub(crate) struct Operator {
    random: Random,
    devices: u32,
    /// Mean time between two changes, of any device.
    every_ms: u64,
    /// No more changes are made from then on, so that all can arrive.
    until: UnixMs,
    at: UnixMs,
}

impl Operator {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let each_ms = scenario.settings_every.map_or(0, |every| every.as_millis());
        let every_ms = u64::try_from(each_ms).unwrap_or(0) / u64::from(scenario.devices.max(1));
        let mut operator = Self {
            random: Random::new(scenario.seed, streams::SETTINGS),
            devices: scenario.devices,
            every_ms,
            until: scenario.calm_at(),
            at: FAR,
        };
        operator.wait(crate::scenario::START);
        operator
    }

    /// When the next change is made.
    pub(crate) fn at(&self) -> UnixMs {
        self.at
    }

    /// Returns the change that is due, and draws when the next one is. `number` is that of the device
    /// with an index.
    pub(crate) fn change(&mut self, number: fn(u32) -> DeviceNumber) -> EditConfig {
        self.wait(self.at);
        let device = u32::try_from(self.random.below(u64::from(self.devices))).unwrap_or(0);
        let mut edit = EditConfig {
            device: number(device),
            set: Settings::default(),
            unset: Vec::new(),
            expected: None,
        };
        for _ in 0..=self.random.below(CHANGES_MAX) {
            let (key, value) = self.value();
            match value {
                Some(value) => drop(edit.set.0.insert(key, value)),
                None => edit.unset.push(key),
            }
        }
        edit
    }

    fn wait(&mut self, now: UnixMs) {
        self.at = match self.every_ms {
            0 => FAR,
            every_ms => after(now, self.random.waiting_ms(every_ms)),
        };
        if self.at >= self.until {
            self.at = FAR;
        }
    }

    /// Draws a setting and its value; `None` leaves it to the device.
    fn value(&mut self) -> (SettingKey, Option<u32>) {
        let random = &mut self.random;
        let mut between =
            |min: u64, max: u64| u32::try_from(random.between(min, max)).unwrap_or(u32::MAX);
        let (setting, source, value) = match between(0, 9) {
            0 => (SAMPLING_INTERVAL, None, between(60, 300) * 1_000),
            1 => (SAMPLING_INTERVAL, Some(SourceNumber(0)), between(60, 300) * 1_000),
            2 => (UPLOAD_INTERVAL, None, between(60, 900) * 1_000),
            3 => (CHECK_IN_INTERVAL, None, between(60, 900) * 1_000),
            4 => (BATCH_ROWS, None, between(1, 30)),
            5 => (LOG_LEVEL, None, between(0, 3)),
            6 => (REVERT_AFTER, None, between(10, 60) * 60_000),
            // What a device has to refuse.
            7 => (BATCH_ROWS, None, between(0, 1) * 100_000),
            8 => (UNKNOWN_SETTING, None, 1),
            _ => match between(0, 1) {
                0 => (POWER_POLICY, None, 2),
                _ => (SAMPLING_INTERVAL, Some(NO_SOURCE), 60_000),
            },
        };
        let is_set = random.happens(750_000);
        (SettingKey { setting, source }, is_set.then_some(value))
    }
}

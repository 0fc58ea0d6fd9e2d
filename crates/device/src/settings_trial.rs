//! The life of a desired configuration: checked, tried, then kept or given up.
//!
//! The values that a device accepts are on trial until the server answers a message that was made
//! while they were in use. If it does not in time, or if the device starts over and over, the
//! previous values are used again: settings that cut a device off, or stop it, do not last. A
//! decision is durable before its values are used; a return to previous values is not delayed by
//! storage that fails.

use core::time::Duration;

use ecowatt_model::setting::REVERT_AFTER;
use ecowatt_model::{ConfigGeneration, MonoMs};
use ecowatt_wire::{ConfigState, Desired, RefusedSetting};

use crate::desired_slot::{Decision, Refused};
use crate::limits::{REVERT_AFTER_DEFAULT, TRIAL_STARTS_MAX};
use crate::settings::{Abilities, Settings};

/// The configuration of a device.
#[derive(Debug)]
pub(crate) struct Configuration {
    decision: Decision,
    /// When the values on trial are given up. `None` unless they are in use.
    revert_at: Option<MonoMs>,
}

impl Configuration {
    /// Of a device whose slot has these bytes, if any.
    pub(crate) fn new(kept: Option<&[u8]>) -> Self {
        let decision = kept.and_then(Decision::parse).unwrap_or_default();
        Self { decision, revert_at: None }
    }

    /// Returns to the device's own configuration. The generation stays decided on, and is reported
    /// as reverted.
    pub(crate) fn reset(&mut self) {
        let generation = self.decision.generation;
        if generation > ConfigGeneration(0) {
            let state = ConfigState::Reverted;
            self.decision = Decision { generation, state, ..Decision::default() };
            self.revert_at = None;
        }
    }

    /// Begins an epoch: a trial goes on, with all of its time, unless it went through too many
    /// starts. Returns whether the decision has changed.
    pub(crate) fn start(&mut self, now: MonoMs) -> bool {
        if self.decision.state != ConfigState::Trial {
            return false;
        }
        self.decision.starts = self.decision.starts.saturating_add(1);
        if self.decision.starts >= TRIAL_STARTS_MAX {
            self.decision.state = ConfigState::Reverted;
        } else {
            self.begin_trial(now);
        }
        true
    }

    /// The values in use.
    pub(crate) fn settings(&self) -> &Settings {
        match self.decision.state {
            ConfigState::Applied => &self.decision.accepted,
            ConfigState::Trial if self.revert_at.is_some() => &self.decision.accepted,
            ConfigState::Trial | ConfigState::Reverted | ConfigState::Unknown => {
                &self.decision.previous
            }
        }
    }

    pub(crate) fn generation(&self) -> ConfigGeneration {
        self.decision.generation
    }

    pub(crate) fn state(&self) -> ConfigState {
        self.decision.state
    }

    pub(crate) fn refused(&self) -> &Refused {
        &self.decision.refused
    }

    /// The generation on trial, once its values are in use.
    pub(crate) fn trial(&self) -> Option<ConfigGeneration> {
        self.revert_at.map(|_| self.decision.generation)
    }

    /// When the values on trial are given up.
    pub(crate) fn poll_at(&self) -> Option<MonoMs> {
        self.revert_at
    }

    /// Decides on a desired configuration; returns whether it is a new one. Its values are used
    /// once the decision is durable.
    pub(crate) fn decide(&mut self, desired: &Desired<'_>, abilities: &Abilities<'_>) -> bool {
        let decided = &mut self.decision;
        if desired.generation <= decided.generation {
            return false;
        }
        if decided.state == ConfigState::Applied {
            decided.previous = core::mem::take(&mut decided.accepted);
            decided.previous_generation = decided.generation;
        }
        decided.accepted = Settings::default();
        decided.refused = Refused::default();
        for value in desired.values.iter() {
            match abilities.check(&value) {
                Ok(()) => decided.accepted.set(&value),
                Err(reason) => {
                    let (setting, source) = (value.setting, value.source);
                    decided.refused.add(&RefusedSetting { setting, source, reason });
                }
            }
        }
        decided.generation = desired.generation;
        decided.state = ConfigState::Trial;
        decided.starts = 0;
        self.revert_at = None;
        true
    }

    /// The decision is durable. Returns whether its values are used from here on. If the server
    /// asked for silence, the time of the trial begins after it.
    pub(crate) fn kept(&mut self, now: MonoMs, silent_until: MonoMs) -> bool {
        let begins = self.decision.state == ConfigState::Trial && self.revert_at.is_none();
        if begins {
            self.begin_trial(now.max(silent_until));
        }
        begins
    }

    /// The server has answered a message that was made while this generation was on trial. Returns
    /// whether that ends the trial.
    pub(crate) fn confirm(&mut self, tried: Option<ConfigGeneration>) -> bool {
        let ends = tried.is_some() && tried == self.trial();
        if ends {
            self.decision.state = ConfigState::Applied;
            self.decision.previous = Settings::default();
            self.revert_at = None;
        }
        ends
    }

    /// Ends a trial whose time is over; returns whether it did.
    pub(crate) fn poll(&mut self, now: MonoMs) -> bool {
        let is_over = self.revert_at.is_some_and(|at| at <= now);
        if is_over {
            self.decision.state = ConfigState::Reverted;
            self.revert_at = None;
        }
        is_over
    }

    /// Writes the slot's contents to the start of `out`; returns their number.
    pub(crate) fn write(&self, out: &mut [u8]) -> usize {
        self.decision.write(out)
    }

    fn begin_trial(&mut self, now: MonoMs) {
        self.revert_at = Some(now.plus(self.revert_after()));
    }

    /// How long the values on trial are used without an answer, which they may say themselves.
    fn revert_after(&self) -> Duration {
        let own = self.decision.accepted.get(REVERT_AFTER, None);
        own.map_or(REVERT_AFTER_DEFAULT, |ms| Duration::from_millis(ms.into()))
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::SourceNumber;
    use ecowatt_model::setting::UPLOAD_INTERVAL;
    use ecowatt_wire::{SectionList, SettingValue};

    use super::*;

    const SOURCES: [SourceNumber; 1] = [SourceNumber(0)];
    const ABILITIES: Abilities<'_> = Abilities { rows: 8, has_log: true, sources: &SOURCES };

    fn upload(configuration: &Configuration) -> Option<u32> {
        configuration.settings().get(UPLOAD_INTERVAL, None)
    }

    fn decide(configuration: &mut Configuration, generation: u32, value: u32) -> bool {
        let values = [SettingValue { setting: UPLOAD_INTERVAL, value, source: None }];
        let generation = ConfigGeneration(generation);
        configuration
            .decide(&Desired { generation, values: SectionList::Given(&values) }, &ABILITIES)
    }

    fn restarted(configuration: &Configuration) -> Configuration {
        let mut bytes = [0; Decision::LEN_MAX];
        let len = configuration.write(&mut bytes);
        Configuration::new(Some(&bytes[..len]))
    }

    #[test]
    fn a_generation_is_decided_on_once() {
        let mut configuration = Configuration::new(None);
        assert!(!decide(&mut configuration, 0, 5_000));
        assert!(decide(&mut configuration, 3, 5_000));
        assert!(!decide(&mut configuration, 3, 6_000) && !decide(&mut configuration, 2, 6_000));
        assert!(decide(&mut configuration, 4, 6_000));
    }

    #[test]
    fn values_are_used_once_durable_and_kept_once_answered() {
        let mut configuration = Configuration::new(None);
        decide(&mut configuration, 1, 5_000);
        assert_eq!((upload(&configuration), configuration.trial()), (None, None));
        // Nothing confirms what is not in use.
        assert!(!configuration.confirm(Some(ConfigGeneration(1))));
        assert!(configuration.kept(MonoMs(10), MonoMs(0)));
        assert_eq!(upload(&configuration), Some(5_000));
        assert!(!configuration.kept(MonoMs(20), MonoMs(0)), "a trial begins once");
        assert!(!configuration.confirm(None));
        assert!(configuration.confirm(Some(ConfigGeneration(1))));
        assert_eq!(configuration.state(), ConfigState::Applied);
        assert!(!configuration.poll(MonoMs(u64::MAX)));
        // The next one returns to it.
        decide(&mut configuration, 2, 7_000);
        configuration.kept(MonoMs(30), MonoMs(0));
        assert!(configuration.poll(MonoMs(30).plus(REVERT_AFTER_DEFAULT)));
        assert_eq!(upload(&configuration), Some(5_000));
        assert_eq!(configuration.generation(), ConfigGeneration(2));
        // And so does one after that.
        decide(&mut configuration, 3, 8_000);
        assert_eq!(upload(&configuration), Some(5_000));
        configuration.kept(MonoMs(40), MonoMs(1_000));
        assert_eq!(configuration.poll_at(), Some(MonoMs(1_000).plus(REVERT_AFTER_DEFAULT)));
        configuration.poll(MonoMs(u64::MAX));
        assert_eq!(upload(&restarted(&configuration)), Some(5_000));
    }

    #[test]
    fn a_trial_survives_restarts_but_not_many() {
        let mut configuration = Configuration::new(None);
        decide(&mut configuration, 1, 5_000);
        let mut configuration = restarted(&configuration);
        for _ in 1..TRIAL_STARTS_MAX {
            assert!(configuration.start(MonoMs(7)));
            assert_eq!(configuration.poll_at(), Some(MonoMs(7).plus(REVERT_AFTER_DEFAULT)));
            assert_eq!(upload(&configuration), Some(5_000));
            configuration = restarted(&configuration);
        }
        assert!(configuration.start(MonoMs(7)));
        assert_eq!(upload(&configuration), None);
        assert_eq!(configuration.state(), ConfigState::Reverted);
        assert!(!restarted(&configuration).start(MonoMs(7)), "it is decided");
    }
}

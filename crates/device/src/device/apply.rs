//! How settings come into use: decided on, kept, then applied to inverters and link.

use core::time::Duration;

use ecowatt_model::setting::{
    BATCH_ROWS, CHECK_IN_INTERVAL, COMMAND_WAIT, SAMPLING_INTERVAL, SETTINGS, UPLOAD_INTERVAL,
};
use ecowatt_model::{ConfigGeneration, MonoMs, SOURCES_MAX, SettingScope, SourceNumber};
use ecowatt_wire::{Desired, SettingValue, SourceState};
use heapless::Vec;

use super::{Device, Inverter};
use crate::event::Event;
use crate::limits::SAVING_INTERVAL;
use crate::settings::{Abilities, InUse, LogLevel, PowerPolicy, VALUES_MAX};
use crate::slot::Slot;
use crate::uplink::{Intervals, batch_rows_max};

impl<I, const COLUMNS: usize, const ROWS: usize> Device<I, COLUMNS, ROWS>
where
    I: AsRef<[Inverter<COLUMNS, ROWS>]> + AsMut<[Inverter<COLUMNS, ROWS>]>,
{
    /// What the shell should log, by its own configuration or by the server's settings; `None` if
    /// the configuration has no level. The shell asks whenever it has carried out an action.
    pub fn log_level(&self) -> Option<LogLevel> {
        self.in_use().log_level()
    }

    /// Begins the epoch with the settings of the slot.
    pub(super) fn resume_settings(&mut self, now: MonoMs) {
        if self.configuration.start(now) {
            self.keeping.changed(Slot::Desired);
            if self.configuration.trial().is_none() {
                self.note_settings();
            }
        } else {
            self.uplink.report(true);
        }
        self.apply(now);
    }

    /// Takes what a reply says about settings.
    pub(super) fn take_settings(
        &mut self,
        tried: Option<ConfigGeneration>,
        desired: Option<&Desired<'_>>,
    ) {
        let has_ended = self.configuration.confirm(tried);
        if has_ended {
            self.note_settings();
        }
        let inverters = self.inverters.as_ref().iter().take(SOURCES_MAX);
        let sources: Vec<SourceNumber, SOURCES_MAX> =
            inverters.map(|inverter| inverter.source.number()).collect();
        let has_log = self.own.log_level.is_some();
        let abilities = Abilities { rows: ROWS, has_log, sources: &sources };
        let is_new = desired.is_some_and(|desired| self.configuration.decide(desired, &abilities));
        if has_ended || is_new {
            self.keeping.changed(Slot::Desired);
            self.uplink.report(false);
        } else if desired.is_some() && self.keeping.is_done(Slot::Desired) {
            // The server has lost the report, as one does whose backup was restored.
            self.uplink.report(true);
        }
    }

    /// Ends a trial whose time is over. Whether that is durable makes no difference:
    /// the server cannot be reached with them.
    pub(super) fn poll_settings(&mut self, now: MonoMs) {
        if self.configuration.poll(now) {
            self.keeping.changed(Slot::Desired);
            self.uplink.report(false);
            self.note_settings();
            self.apply(now);
        }
        let wall_clock = self.wall_clock;
        let in_use = InUse { own: &self.own, settings: self.configuration.settings() };
        for inverter in self.inverters.as_mut().iter_mut().filter(|i| i.is_changing) {
            // The cut leaves the buffer empty unless a sample was taken meanwhile; then another
            // follows.
            inverter.buffer.flush();
            if inverter.buffer.len() == 0 {
                inverter.is_changing = false;
                let source = &mut inverter.source;
                let wanted = in_use.sampling_ms(source.number());
                source.set_interval(wanted.unwrap_or(source.own_interval_ms()), now, &wall_clock);
            }
        }
    }

    /// The decision in the slot is durable.
    pub(super) fn decision_kept(&mut self, now: MonoMs) {
        if self.configuration.kept(now, self.uplink.not_before()) {
            self.note_settings();
            self.apply(now);
        }
        self.uplink.report(true);
        // The first message of an epoch has its own time, which spreads the fleet.
        if self.uplink.is_heard() {
            self.uplink.hurry(now);
        }
    }

    /// Every setting with the value in use, in the order of [`SETTINGS`].
    pub(super) fn values_in_use(&self) -> Vec<SettingValue, VALUES_MAX> {
        let in_use = self.in_use();
        let mut values = Vec::new();
        for setting in &SETTINGS {
            let number = setting.number;
            // There is room for each: see `VALUES_MAX`.
            match (setting.scope, number) {
                (SettingScope::Device, BATCH_ROWS) => {
                    let rows = in_use.batch_rows().min(ROWS);
                    let value = u32::try_from(rows).unwrap_or(u32::MAX);
                    let _ = values.push(SettingValue { setting: number, value, source: None });
                }
                (SettingScope::Device, _) => {
                    if let Some(value) = in_use.value(number) {
                        let _ = values.push(SettingValue { setting: number, value, source: None });
                    }
                }
                (SettingScope::Inverter, SAMPLING_INTERVAL) => {
                    for inverter in self.inverters.as_ref().iter().take(SOURCES_MAX) {
                        let source = &inverter.source;
                        let wanted = in_use.sampling_ms(source.number());
                        let value = wanted.unwrap_or(source.own_interval_ms());
                        let source = Some(source.number());
                        let _ = values.push(SettingValue { setting: number, value, source });
                    }
                }
                (SettingScope::Inverter, _) => {}
            }
        }
        values
    }

    /// Uses the settings: the link at once, each inverter once its open batch is cut.
    fn apply(&mut self, now: MonoMs) {
        self.is_saving = self.saves_power();
        self.apply_intervals(now);
        let in_use = InUse { own: &self.own, settings: self.configuration.settings() };
        let (rows, message_bytes_max) = (in_use.batch_rows(), self.uplink.message_bytes_max());
        for inverter in self.inverters.as_mut() {
            let rows_max = batch_rows_max(inverter.buffer.columns(), message_bytes_max);
            inverter.rows_max = rows.min(rows_max);
            let own_ms = inverter.source.own_interval_ms();
            let wanted = in_use.sampling_ms(inverter.source.number()).unwrap_or(own_ms);
            inverter.is_changing = wanted != inverter.source.interval_ms();
        }
        self.poll_settings(now);
    }

    /// Begins or ends saving power, as inverters fall asleep and wake.
    pub(super) fn follow_power_policy(&mut self, now: MonoMs) {
        let saves = self.saves_power();
        if saves != self.is_saving {
            self.is_saving = saves;
            self.apply_intervals(now);
        }
    }

    fn saves_power(&self) -> bool {
        let is_asleep =
            |i: &Inverter<COLUMNS, ROWS>| i.source.status().state == SourceState::Asleep;
        match self.in_use().power_policy() {
            PowerPolicy::Normal => false,
            PowerPolicy::Night => self.inverters.as_ref().iter().all(is_asleep),
            PowerPolicy::Battery => true,
        }
    }

    /// Sends and waits as the settings in use say, and as often as leases need to hear from the
    /// server, whatever power that takes.
    pub(super) fn apply_intervals(&mut self, now: MonoMs) {
        let least = if self.is_saving { SAVING_INTERVAL } else { Duration::ZERO };
        let interval = |setting| self.in_use().duration(setting).max(least);
        let (upload, check_in) = (interval(UPLOAD_INTERVAL), interval(CHECK_IN_INTERVAL));
        // A device that saves power does not keep its modem connected.
        let wait = self.in_use().duration(COMMAND_WAIT);
        let wait = if self.is_saving { Duration::ZERO } else { wait };
        let contact = self.leases.contact_interval(self.wall_clock.unix(now));
        let contact = contact.unwrap_or(Duration::MAX);
        let intervals = Intervals::new(upload, check_in.min(contact), wait.min(contact));
        self.uplink.set_intervals(now, intervals);
    }

    fn in_use(&self) -> InUse<'_> {
        InUse { own: &self.own, settings: self.configuration.settings() }
    }

    fn note_settings(&mut self) {
        self.events.push(Event::Settings {
            generation: self.configuration.generation(),
            state: self.configuration.state(),
            refused: u8::try_from(self.configuration.refused().len()).unwrap_or(u8::MAX),
        });
    }
}

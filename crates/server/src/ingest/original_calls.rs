//! Calls of the earlier EcoWatt's devices that carry no proof: for settings and for commands.
//!
//! They are translated to the same configurations and commands that every device has. Anyone who
//! knows a device's id can make them, so they answer no more than the firmware needs, and change
//! only whether the server counts as delivered what it has delivered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ecowatt_clock::Clock;
use ecowatt_model::{ConfigGeneration, DeviceNumber, KeyGeneration, UnixMs};
use ecowatt_store::{
    CallAbout, CallError, CallReceipt, CommandNumber, CommandOutcome, CommandResult, CommandState,
    ConfigState, DeviceConfig, ReportedConfig, Settings, Store, StoreError, UnprovenCall,
};

use super::original_remarks::{OriginalRemarks, Remarks};
use crate::command::OriginalAction;
use crate::desired::OriginalOffer;
use crate::limits::ORIGINAL_DEVICES_HELD_MAX;
use crate::live::Live;

/// A device under its key, as far as a call needs it.
type Caller = (DeviceNumber, KeyGeneration);

/// What a device is answered when it asks for its settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct OriginalConfig {
    /// What it reported to have.
    pub(crate) values: Settings,
    /// Names and seconds of what it is to change; empty if nothing.
    pub(crate) update: Vec<(&'static str, u32)>,
}

/// Answers calls.
#[derive(Debug)]
pub(crate) struct OriginalCalls {
    store: Store,
    clock: Clock,
    live: Live,
    /// The generation that each device was answered last. It is forgotten with the process; the
    /// device then gets its settings once more.
    offered: Mutex<HashMap<Caller, ConfigGeneration>>,
    pub(crate) remarks: OriginalRemarks,
}

impl OriginalCalls {
    pub(crate) fn new(store: Store, clock: Clock, live: Live) -> Self {
        Self { store, clock, live, offered: Mutex::default(), remarks: OriginalRemarks::default() }
    }

    /// Returns the settings of a device; the defaults if there is no such device.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn config(&self, id: &str) -> Result<OriginalConfig, StoreError> {
        let Some(caller) = self.find(id).await? else { return Ok(OriginalConfig::default()) };
        let config = self.store.find_config(caller.0).await?;
        let values =
            config.report_under(caller.1).map(|held| held.values.clone()).unwrap_or_default();
        let Some(desired) = config.pending_under(caller.1) else {
            return Ok(OriginalConfig { values, update: Vec::new() });
        };
        let offer = OriginalOffer::of(&desired.settings);
        // The firmware acknowledges nothing that it has already.
        if offer.is_held_in(&values) {
            let reported = reported(desired.generation, offer, &values);
            self.report(caller, reported).await?;
            return Ok(OriginalConfig { values, update: Vec::new() });
        }
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        if offered.len() >= ORIGINAL_DEVICES_HELD_MAX {
            offered.clear();
        }
        offered.insert(caller, desired.generation);
        Ok(OriginalConfig { values, update: offer.update })
    }

    /// Returns what a device reported to have.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn held_values(&self, id: &str) -> Result<Settings, StoreError> {
        let Some((device, key)) = self.find(id).await? else { return Ok(Settings::default()) };
        let config = self.store.find_config(device).await?;
        Ok(config.report_under(key).map(|held| held.values.clone()).unwrap_or_default())
    }

    /// Notes that a device has applied what it was offered last; returns whether it was offered
    /// anything.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn acknowledge(&self, id: &str) -> Result<bool, StoreError> {
        let Some(caller) = self.find(id).await? else { return Ok(false) };
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner).remove(&caller);
        let Some(generation) = offered else { return Ok(false) };
        let config = self.store.find_config(caller.0).await?;
        let Some(settings) = self.settings_of(caller.0, &config, generation).await? else {
            return Ok(false);
        };
        let held = config.report_under(caller.1);
        // An earlier acknowledgement that was late must not take the place of a later one.
        if held.is_some_and(|held| held.generation > generation) {
            return Ok(true);
        }
        let values = held.map(|held| held.values.clone()).unwrap_or_default();
        self.report(caller, reported(generation, OriginalOffer::of(&settings), &values)).await?;
        Ok(true)
    }

    /// Returns the settings of a device of an earlier generation, which acknowledges nothing: one
    /// that asks again has taken what it was answered before.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn changes(&self, id: &str) -> Result<OriginalConfig, StoreError> {
        self.acknowledge(id).await?;
        self.config(id).await
    }

    /// Notes what a device reports to have.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn current(&self, id: &str, values: Settings) -> Result<(), StoreError> {
        let Some(caller) = self.find(id).await? else { return Ok(()) };
        let config = self.store.find_config(caller.0).await?;
        let held = config.report_under(caller.1).cloned();
        let pending = config.pending_under(caller.1);
        let offer =
            pending.map(|desired| (desired.generation, OriginalOffer::of(&desired.settings)));
        let report = match (offer, &held) {
            (Some((generation, offer)), _) if offer.is_held_in(&values) => {
                reported(generation, offer, &values)
            }
            (_, Some(held)) => ReportedConfig { values, ..held.clone() },
            (_, None) => ReportedConfig {
                generation: ConfigGeneration(0),
                state: ConfigState::Applied,
                refused: Vec::new(),
                values,
            },
        };
        if held.is_some_and(|held| held == report) {
            Ok(())
        } else {
            self.report(caller, report).await
        }
    }

    /// Returns the next command of a device that it can execute; it counts as sent from here on.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn next_command(
        &self,
        id: &str,
    ) -> Result<Option<(CommandNumber, OriginalAction)>, StoreError> {
        let Some(caller) = self.find(id).await? else { return Ok(None) };
        // A look costs less than a commit, and devices ask every few seconds.
        if !self.store.has_open_commands(caller.0).await? {
            return Ok(None);
        }
        let Some(receipt) = self.call(caller, CallAbout::NextCommand).await? else {
            return Ok(None);
        };
        let is_sent = |moved: &&ecowatt_store::MovedCommand| moved.state == CommandState::Sent;
        let number = receipt.moved.iter().find(is_sent).map(|moved| moved.number);
        let action = receipt.command.as_ref().and_then(|sent| OriginalAction::of(&sent.order));
        Ok(number.zip(action))
    }

    /// Notes how a command ended; returns whether the device was sent such a command.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn result(
        &self,
        id: &str,
        number: CommandNumber,
        is_success: bool,
        at: Option<UnixMs>,
    ) -> Result<bool, StoreError> {
        let Some(caller) = self.find(id).await? else { return Ok(false) };
        let Some(sent) = self.store.find_sent(caller.0, number).await? else { return Ok(false) };
        let result = CommandResult {
            id: sent,
            state: if is_success { CommandState::Succeeded } else { CommandState::Failed },
            at,
            // The firmware reports no reason.
            outcome: CommandOutcome::default(),
        };
        Ok(self.call(caller, CallAbout::Result(result)).await?.is_some())
    }

    /// Notes what a device says of itself, if there is such a device.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn note(
        &self,
        id: &str,
        note: impl FnOnce(&mut Remarks),
    ) -> Result<(), StoreError> {
        if let Some((device, _)) = self.find(id).await? {
            self.remarks.note(device, note);
        }
        Ok(())
    }

    async fn find(&self, id: &str) -> Result<Option<Caller>, StoreError> {
        let found = self.store.find_original(id.into()).await?;
        Ok(found.map(|found| (found.key.device, found.key.generation)))
    }

    async fn settings_of(
        &self,
        device: DeviceNumber,
        config: &DeviceConfig,
        generation: ConfigGeneration,
    ) -> Result<Option<Settings>, StoreError> {
        let newest = config.desired.as_ref().map(|version| &version.desired);
        if let Some(newest) = newest.filter(|newest| newest.generation == generation) {
            return Ok(Some(newest.settings.clone()));
        }
        let above = ConfigGeneration(generation.0.saturating_add(1));
        let found = self.store.list_configs(device, Some(above), 1).await?.pop();
        let found = found.map(|version| version.desired);
        Ok(found.filter(|found| found.generation == generation).map(|found| found.settings))
    }

    async fn report(&self, caller: Caller, reported: ReportedConfig) -> Result<(), StoreError> {
        if self.call(caller, CallAbout::Config(reported)).await?.is_some() {
            self.live.publish_config(caller.0);
        }
        Ok(())
    }

    /// Takes a call; `None` if the key was revoked or the command removed meanwhile.
    async fn call(
        &self,
        (device, generation): Caller,
        about: CallAbout,
    ) -> Result<Option<CallReceipt>, StoreError> {
        let call = UnprovenCall { device, generation, at: self.clock.now(), about };
        match self.store.take_call(call).await {
            Ok(receipt) => {
                receipt.moved.iter().for_each(|moved| self.live.publish_command(*moved));
                Ok(Some(receipt))
            }
            Err(CallError::UnknownDevice | CallError::UnknownCommand) => Ok(None),
            Err(CallError::Store(error)) => Err(error),
        }
    }
}

/// Returns what a device has once it has taken an offer.
fn reported(generation: ConfigGeneration, offer: OriginalOffer, held: &Settings) -> ReportedConfig {
    let (refused, values) = (offer.refused, held.overlaid(&offer.values));
    ReportedConfig { generation, state: ConfigState::Applied, refused, values }
}

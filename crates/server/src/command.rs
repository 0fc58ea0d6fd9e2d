//! Commands to devices: what an operator sends, checked against the list of all kinds, and how far
//! each one is. Delivery to devices and their results are part of ingest.

mod argument_text;
mod original;

use std::collections::BTreeMap;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::command::{CommandKind, CommandScope};
use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_store::{
    Author, CancelCommandError, Command, CommandFigures, CommandNumber, CommandOrder, CommandQuery,
    CommandState, CommandTransition, CreateCommandError, CreatedCommand, MovedCommand, NewCommand,
    Store, StoreError, limits,
};
use tokio::sync::watch;

use crate::fleet::Reached;
use crate::limits::{
    COMMAND_AHEAD_MAX, COMMAND_PRIORITY_DEFAULT, COMMAND_PRIORITY_MAX, COMMAND_VALID_DEFAULT,
    COMMAND_VALID_MAX,
};
use crate::live::Live;
use crate::stop::stopped;
use crate::waiting_devices::WaitingDevices;
pub(crate) use argument_text::{CommandTextError, bound, pairs, units};
pub(crate) use original::OriginalAction;

/// Pause between looks for commands whose time has passed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A command as an operator writes it: names and values as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandRequest {
    pub(crate) kind: String,
    pub(crate) source: Option<SourceNumber>,
    pub(crate) arguments: BTreeMap<String, String>,
    pub(crate) valid_for: Option<Duration>,
    pub(crate) priority: Option<u8>,
    pub(crate) not_before: Option<UnixMs>,
    pub(crate) key: Option<String>,
}

/// Why a command was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Text(#[from] CommandTextError),
    #[error("`{0}` needs the right `expert`")]
    Expert(&'static str),
    #[error("`{0}` is for the whole device and not for one inverter")]
    NotOfInverter(&'static str),
    #[error("a device of the earlier EcoWatt cannot execute this `{0}`")]
    NotOfOriginal(&'static str),
    #[error("the device has not exactly one inverter; `inverter` names the one to command")]
    WhichInverter,
    #[error("the device has no inverter {}", .0.0)]
    NoInverter(SourceNumber),
    #[error("a command is valid for 1 to {} s", COMMAND_VALID_MAX.as_secs())]
    ValidFor,
    #[error("a priority is 0 to {COMMAND_PRIORITY_MAX}")]
    Priority,
    #[error("`not_before` is at most {} days from now", COMMAND_AHEAD_MAX.as_secs() / 86_400)]
    Ahead,
    #[error(transparent)]
    Create(#[from] CreateCommandError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One page of a device's commands, newest first.
#[derive(Debug, Clone)]
pub(crate) struct CommandPage {
    pub(crate) commands: Vec<Command>,
    pub(crate) next: Option<CommandNumber>,
}

/// Sends commands and reads how far they are.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    store: Store,
    clock: Clock,
    live: Live,
    waiting: WaitingDevices,
}

impl Commands {
    #[must_use]
    pub(crate) fn new(store: Store, clock: Clock, live: Live, waiting: WaitingDevices) -> Self {
        Self { store, clock, live, waiting }
    }

    /// Queues a command for a device, or returns the one that the same request made before.
    ///
    /// # Errors
    /// If the command is not allowed, or the store fails.
    pub(crate) async fn send(
        &self,
        by: Author,
        device: &Reached,
        may_expert: bool,
        request: &CommandRequest,
    ) -> Result<CreatedCommand, SendError> {
        let kind = argument_text::kind(&request.kind)?;
        if kind.needs_expert && !may_expert {
            return Err(SendError::Expert(kind.name));
        }
        let new = checked(device, kind, request, by.at)?;
        if OriginalAction::of(&new.order).is_none()
            && self.store.find_original_id(new.device).await?.is_some()
        {
            return Err(SendError::NotOfOriginal(kind.name));
        }
        let created = self.store.create_command(by, new).await?;
        if created.is_new {
            self.publish(moved(&created.command));
            self.waiting.tell(created.command.new.device);
        }
        Ok(created)
    }

    /// Cancels a command that was not sent yet.
    ///
    /// # Errors
    /// If it was sent or has ended, or the store fails.
    pub(crate) async fn cancel(
        &self,
        by: Author,
        number: CommandNumber,
    ) -> Result<Command, CancelCommandError> {
        let command = self.store.cancel_command(by, number).await?;
        self.publish(moved(&command));
        Ok(command)
    }

    /// Returns a command of any device; the caller must check that its device can be reached.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn find(&self, number: CommandNumber) -> Result<Option<Command>, StoreError> {
        self.store.find_command(number).await
    }

    /// Returns the states that a command had.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn transitions(
        &self,
        command: &Command,
    ) -> Result<Vec<CommandTransition>, StoreError> {
        self.store.list_transitions(command).await
    }

    /// Returns the commands of a device before the given one.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn list(
        &self,
        device: &Reached,
        state: Option<CommandState>,
        before: Option<CommandNumber>,
        limit: u32,
    ) -> Result<CommandPage, StoreError> {
        let query = CommandQuery {
            device: device.number(),
            state,
            before,
            // One more shows whether there is another page.
            limit: limit.saturating_add(1).min(limits::COMMANDS_PER_QUERY_MAX),
        };
        let mut commands = self.store.list_commands(query).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = commands.len() > limit;
        commands.truncate(limit);
        let next = commands.last().map(|last| last.number).filter(|_| has_more);
        Ok(CommandPage { commands, next })
    }

    /// Returns figures on the commands of one device or of all.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn figures(
        &self,
        device: Option<DeviceNumber>,
        since: UnixMs,
    ) -> Result<CommandFigures, StoreError> {
        self.store.command_figures(device, since).await
    }

    /// Ends the commands whose time has passed, until the server stops. It takes no input but the
    /// store and the time, so it may run at any time and any number of times.
    pub(crate) async fn reconcile(self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = match self.store.end_commands(self.clock.now()).await {
                // There may be more.
                Ok(ended) if !ended.is_empty() => {
                    ended.into_iter().for_each(|moved| self.publish(moved));
                    Duration::ZERO
                }
                Ok(_) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "commands whose time has passed not ended yet");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                _ = stopped(&mut stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn publish(&self, moved: MovedCommand) {
        self.live.publish_command(moved);
    }
}

fn moved(command: &Command) -> MovedCommand {
    MovedCommand { device: command.new.device, number: command.number, state: command.state }
}

/// Checks a request against the list of kinds and the device's inverters.
fn checked(
    device: &Reached,
    kind: &'static CommandKind,
    request: &CommandRequest,
    now: UnixMs,
) -> Result<NewCommand, SendError> {
    let arguments = argument_text::written(kind, &request.arguments)?;
    let source = source(device, kind, request.source)?;
    let priority = request.priority.unwrap_or(COMMAND_PRIORITY_DEFAULT);
    if priority > COMMAND_PRIORITY_MAX {
        return Err(SendError::Priority);
    }
    let valid_for = request.valid_for.unwrap_or(COMMAND_VALID_DEFAULT);
    if valid_for < Duration::from_secs(1) || valid_for > COMMAND_VALID_MAX {
        return Err(SendError::ValidFor);
    }
    let begin = request.not_before.unwrap_or(now);
    if begin.0 > now.0.saturating_add(ms(COMMAND_AHEAD_MAX)) {
        return Err(SendError::Ahead);
    }
    Ok(NewCommand {
        device: device.number(),
        order: CommandOrder { kind: kind.code, arguments, source },
        priority,
        not_before: request.not_before,
        deadline: UnixMs(begin.0.saturating_add(ms(valid_for))),
        key: request.key.clone(),
    })
}

/// Returns the inverter that a command is for.
fn source(
    device: &Reached,
    kind: &'static CommandKind,
    given: Option<SourceNumber>,
) -> Result<Option<SourceNumber>, SendError> {
    match (kind.scope, given) {
        (CommandScope::Device, Some(_)) => Err(SendError::NotOfInverter(kind.name)),
        (CommandScope::Device | CommandScope::Inverters, None) => Ok(None),
        (_, Some(source)) if !device.may_have(source) => Err(SendError::NoInverter(source)),
        (_, Some(source)) => Ok(Some(source)),
        // A device that has not reported its inverters may have several.
        (CommandScope::Inverter, None) => {
            device.only_inverter().map(Some).ok_or(SendError::WhichInverter)
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

//! Decides what a call without a proof changes.

use ecowatt_model::CommandId;

use super::{Changes, Wants};
use crate::command::{self, CommandState, MovedCommand};
use crate::configuration::ConfigReport;
use crate::loaded::LoadedDevice;
use crate::unproven_call::{CallAbout, CallError, CallReceipt, UnprovenCall};

/// Commands that such a device has out at once: it executes one before it asks for the next.
const OUT_MAX: usize = 1;

/// What a call changes, or why it changes nothing.
type Decided = Result<(CallReceipt, Changes), CallError>;

/// Updates the state to what it is after a call, or returns what must be loaded first.
pub(crate) fn call(held: &mut LoadedDevice, call: &UnprovenCall) -> Result<Decided, Box<Wants>> {
    let generation = call.generation;
    let (Some(key), Some(link), Some(commands)) =
        (held.key(generation), &mut held.link, &mut held.commands)
    else {
        return Err(Box::new(Wants { device: Some(generation), ..Wants::default() }));
    };
    if key.is_none_or(|key| key.is_revoked) {
        return Ok(Err(CallError::UnknownDevice));
    }
    let (mut receipt, mut changes) = (CallReceipt::default(), Changes::default());
    let results = match &call.about {
        CallAbout::Config(reported) => {
            let held = link.config.as_ref();
            link.config = Some(ConfigReport::next(held, generation, call.at, reported.clone()));
            changes.config = true;
            return Ok(Ok((receipt, changes)));
        }
        CallAbout::Result(result) => std::slice::from_ref(result),
        CallAbout::NextCommand => &[],
    };
    let is_poll = results.is_empty();
    let out_max = if is_poll { OUT_MAX } else { 0 };
    let message = command::Message { at: call.at, under: generation, out_max, is_poll, results };
    let step = command::step(commands, message)
        .map_err(|commands: Vec<CommandId>| Box::new(Wants { commands, ..Wants::default() }))?;
    if step.ignored > 0 {
        return Ok(Err(CallError::UnknownCommand));
    }
    let moved = |moved: &command::Moved| MovedCommand {
        device: call.device,
        number: moved.number,
        state: moved.state,
    };
    receipt.moved = step.moved.iter().map(moved).collect();
    let is_new = step.moved.iter().any(|moved| moved.state == CommandState::Sent);
    receipt.command = step.sent.into_iter().next().filter(|_| is_new);
    *commands = step.commands;
    changes.commands = step.moved;
    Ok(Ok((receipt, changes)))
}

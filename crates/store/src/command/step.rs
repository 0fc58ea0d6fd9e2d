//! What a message does to the commands of its device, and what its reply carries.

use std::cmp::Reverse;

use ecowatt_model::{CommandId, KeyGeneration, UnixMs};

use super::{
    CommandNumber, CommandOutcome, CommandResult, CommandState, Commands, HeldCommand, SentCommand,
    WireName,
};
use crate::limits::{COMMAND_GRACE_MS, COMMAND_SENT_AHEAD_MS, COMMANDS_WAITING_MAX};

/// Numbers on the wire count from here, 2020-01-01T00:00:00Z, in seconds.
const NUMBERED_SINCE_MS: i64 = 1_577_836_800_000;

/// The part of a message that concerns commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) at: UnixMs,
    pub(crate) under: KeyGeneration,
    /// Commands that the device may have out after the reply.
    pub(crate) out_max: usize,
    /// Whether the device asks for a command after it has ended the one before. A command that it
    /// was sent and has not reported on did not reach it, or its result was lost.
    pub(crate) is_poll: bool,
    pub(crate) results: &'a [CommandResult],
}

/// A change of a command's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) number: CommandNumber,
    pub(crate) state: CommandState,
    pub(crate) at: UnixMs,
    /// Set with [`CommandState::Sent`].
    pub(crate) wire: Option<WireName>,
    /// As in [`HeldCommand::is_guess`].
    pub(crate) is_guess: bool,
    /// What the device reported; absent if the server concluded it.
    pub(crate) reported: Option<DeviceWord>,
}

/// What a device reported of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceWord {
    /// When, by its clock.
    pub(crate) at: Option<UnixMs>,
    pub(crate) outcome: CommandOutcome,
}

/// What a message changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// The commands after the message.
    pub(crate) commands: Commands,
    pub(crate) moved: Vec<Moved>,
    /// What the reply carries, the most urgent first.
    pub(crate) sent: Vec<SentCommand>,
    /// Results for numbers that no command of the device has.
    pub(crate) ignored: u32,
}

/// Decides what a message changes, or returns the numbers that must be looked up first.
pub(crate) fn step(held: &Commands, message: Message<'_>) -> Result<Step, Vec<CommandId>> {
    if held.open.is_empty() && message.results.is_empty() {
        return Ok(Step { commands: held.clone(), ..Step::default() });
    }
    let is_held = |id: CommandId| {
        held.open.iter().any(|command| command.is_named(id))
            || held.named.iter().any(|(named, _)| *named == id)
    };
    let unknown: Vec<_> =
        message.results.iter().map(|result| result.id).filter(|id| !is_held(*id)).collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let mut step = Step { commands: held.clone(), ..Step::default() };
    // Results first: what the device reports is better than what the server would conclude.
    for result in message.results {
        step.report(result, message.at);
    }
    step.conclude(message);
    step.send(message);
    step.sent = on_the_way(&step.commands, message.at);
    Ok(step)
}

/// Returns the commands that a reply carries, the most urgent first: those that were sent, that the
/// device has not reported on and that it may still begin. The last message repeated gets the same.
pub(crate) fn on_the_way(commands: &Commands, now: UnixMs) -> Vec<SentCommand> {
    let is_under_way =
        |held: &&HeldCommand| held.state == CommandState::Sent && held.deadline > now;
    let mut under_way: Vec<_> = commands.open.iter().filter(is_under_way).collect();
    under_way.sort_by_key(|held| Reverse(held.priority));
    let sent = under_way.into_iter().filter_map(|held| {
        Some(SentCommand {
            id: held.wire?.id,
            order: held.order.clone(),
            not_before: held.not_before,
            deadline: held.deadline,
        })
    });
    sent.collect()
}

/// Returns the state in which time alone ends a command, if it does.
pub(crate) fn due(state: CommandState, deadline: UnixMs, now: UnixMs) -> Option<CommandState> {
    match state {
        CommandState::Queued if deadline <= now => Some(CommandState::Expired),
        CommandState::Sent | CommandState::Accepted
            if deadline.0.saturating_add(COMMAND_GRACE_MS) <= now.0 =>
        {
            Some(CommandState::Unknown)
        }
        _ => None,
    }
}

impl HeldCommand {
    fn is_named(&self, id: CommandId) -> bool {
        self.wire.is_some_and(|wire| wire.id == id)
    }

    /// Whether the device may still begin it, or has accepted it and not reported its end. A command
    /// that was only sent and whose deadline has passed cannot be begun, so it keeps no other back.
    fn is_out(&self, now: UnixMs) -> bool {
        match self.state {
            CommandState::Sent => self.deadline > now,
            state => state == CommandState::Accepted,
        }
    }

    fn is_waiting(&self, now: UnixMs) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }

    /// Whether a report moves the command forward.
    fn moves_to(&self, reported: CommandState) -> bool {
        if self.state.is_open() {
            return self.state < reported;
        }
        self.is_guess && !reported.is_open() && reported != self.state
    }
}

impl Step {
    fn report(&mut self, result: &CommandResult, at: UnixMs) {
        let Commands { open, named, .. } = &mut self.commands;
        let place = open.iter().position(|held| held.is_named(result.id));
        let held = match place {
            Some(place) => Some(&mut open[place]),
            None => {
                let of_id = named.iter_mut().find(|(id, _)| *id == result.id);
                of_id.and_then(|(_, held)| held.as_mut())
            }
        };
        let Some(held) = held else {
            self.ignored += 1;
            return;
        };
        if !held.moves_to(result.state) {
            return;
        }
        (held.state, held.is_guess) = (result.state, false);
        self.moved.push(Moved {
            number: held.number,
            state: result.state,
            at,
            wire: None,
            is_guess: false,
            reported: Some(DeviceWord { at: result.at, outcome: result.outcome.clone() }),
        });
        self.close();
    }

    /// Ends what was sent under another key, because the hardware may be another, what a poll shows
    /// to be over, and what time has ended.
    fn conclude(&mut self, Message { at, under, is_poll, .. }: Message<'_>) {
        for held in &mut self.commands.open {
            let is_of_other_key = held.wire.is_some_and(|wire| wire.under != under);
            let is_over = is_poll && held.state == CommandState::Sent;
            let ended = due(held.state, held.deadline, at)
                .or_else(|| (is_of_other_key || is_over).then_some(CommandState::Unknown));
            let Some(state) = ended else { continue };
            (held.state, held.is_guess) = (state, held.wire.is_some());
            self.moved.push(Moved {
                number: held.number,
                state,
                at,
                wire: None,
                is_guess: held.is_guess,
                reported: None,
            });
        }
        self.close();
    }

    /// Numbers the most urgent of the queued commands, as many as the device may have out.
    fn send(&mut self, Message { at, under, out_max, is_poll, .. }: Message<'_>) {
        // A device that polls begins what it gets at once.
        let ahead_max = if is_poll { 0 } else { COMMAND_SENT_AHEAD_MS };
        let Commands { open, last, .. } = &mut self.commands;
        let out = |held: &&HeldCommand| held.is_out(at);
        let mut count = open.iter().filter(out).count();
        let mut waiting = open.iter().filter(out).filter(|held| held.is_waiting(at)).count();
        let is_ready = |held: &&mut HeldCommand| {
            let ahead = held.not_before.map_or(0, |not_before| not_before.0 - at.0);
            held.state == CommandState::Queued && ahead <= ahead_max
        };
        let mut ready: Vec<_> = open.iter_mut().filter(is_ready).collect();
        // Stable, so commands of the same priority stay in the order in which they were made.
        ready.sort_by_key(|held| Reverse(held.priority));
        for held in ready {
            if count >= out_max {
                break;
            }
            if held.is_waiting(at) {
                if waiting >= COMMANDS_WAITING_MAX {
                    continue;
                }
                waiting += 1;
            }
            let Some(id) = next_id(*last, at) else { break };
            *last = id;
            count += 1;
            let wire = Some(WireName { id, under });
            (held.state, held.wire) = (CommandState::Sent, wire);
            self.moved.push(Moved {
                number: held.number,
                state: CommandState::Sent,
                at,
                wire,
                is_guess: false,
                reported: None,
            });
        }
    }

    /// Moves ended commands from the open ones to those that a later result may name.
    fn close(&mut self) {
        let Commands { open, named, .. } = &mut self.commands;
        for held in open.extract_if(.., |held| !held.state.is_open()) {
            if let Some(wire) = held.wire {
                named.push((wire.id, Some(held)));
            }
        }
    }
}

/// Returns the number of the next command that is sent: above the last one, and at least the seconds
/// since 2020. A server restored from a backup does not know the last numbers, and the time since
/// then keeps it from using them again.
fn next_id(last: CommandId, now: UnixMs) -> Option<CommandId> {
    let seconds = u32::try_from((now.0 - NUMBERED_SINCE_MS).max(0) / 1000).unwrap_or(u32::MAX);
    last.0.checked_add(1).map(|next| CommandId(next.max(seconds)))
}

//! The closing audit of commands: each was ordered, has ended, and its end is the truth.

use std::collections::BTreeSet;

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::{Command, CommandQuery, CommandState, Store, StoreError, limits};

use crate::judges::commands::{Commands, Received};
use crate::judges::device::DeviceJudge;
use crate::judges::orders::{Cancel, OrderAnswer, Ordered, kind};
use crate::judges::promises::Invariant;

/// What the store holds of a device's commands, and what was ordered.
pub(crate) struct HeldCommands {
    stored: Vec<Command>,
    ordered: Vec<Ordered>,
}

/// Counts of commands by their ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CommandCounts {
    pub ordered: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub unknown: u64,
    /// Times that devices did what a command orders.
    pub executed: u64,
}

impl CommandCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.ordered += other.ordered;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.expired += other.expired;
        self.cancelled += other.cancelled;
        self.unknown += other.unknown;
        self.executed += other.executed;
    }

    fn count(&mut self, state: CommandState) {
        let count = match state {
            CommandState::Succeeded => &mut self.succeeded,
            CommandState::Failed => &mut self.failed,
            CommandState::Expired => &mut self.expired,
            CommandState::Cancelled => &mut self.cancelled,
            CommandState::Unknown => &mut self.unknown,
            CommandState::Queued | CommandState::Sent | CommandState::Accepted => return,
        };
        *count += 1;
    }
}

/// Reads the commands of a device.
pub(crate) async fn hold(
    store: &Store,
    device: DeviceNumber,
    ordered: Vec<Ordered>,
) -> Result<HeldCommands, StoreError> {
    let mut stored: Vec<Command> = Vec::new();
    loop {
        let before = stored.last().map(|command| command.number);
        let limit = limits::COMMANDS_PER_QUERY_MAX;
        let query = CommandQuery { device, state: None, before, limit };
        let page = store.list_commands(query).await?;
        let is_last = page.len() < usize::try_from(limit).unwrap_or(0);
        stored.extend(page);
        if is_last {
            return Ok(HeldCommands { stored, ordered });
        }
    }
}

/// Compares what was ordered with what is stored and with what the device did.
pub(super) fn check(
    judge: &mut DeviceJudge,
    held: &HeldCommands,
    end: UnixMs,
    counts: &mut CommandCounts,
) {
    let HeldCommands { stored, ordered } = held;
    let Some(commands) = judge.commands.take() else { return };
    let mut broken = Vec::new();
    counts.ordered += u64::try_from(ordered.len()).unwrap_or(0);
    let mut keys = BTreeSet::new();
    for command in stored {
        counts.count(command.state);
        let key = command.new.key.clone().unwrap_or_default();
        let order = ordered.iter().find(|order| order.key == key);
        if !order.is_some_and(|order| is_of(command, order)) || !keys.insert(key) {
            let detail = format!("{} was not ordered, or twice", command.number);
            broken.push((Invariant::CommandIsOrdered, detail));
        }
        check_end(command, &commands, order, end, &mut broken);
    }
    let is_stored = |order: &&Ordered| keys.contains(&order.key);
    for order in ordered.iter().filter(|order| !is_stored(order)) {
        // The oldest ended ones are removed.
        let is_answered = order.answer == OrderAnswer::Made;
        if is_answered && stored.len() < usize::try_from(limits::ENDED_COMMANDS_KEPT).unwrap_or(0) {
            let detail = format!("the order {} is not stored", order.key);
            broken.push((Invariant::AcknowledgedIsStored, detail));
        }
    }
    for order in ordered.iter().filter(|order| order.answer == OrderAnswer::Doubled) {
        let detail = format!("the requests of {} made several commands", order.key);
        broken.push((Invariant::CommandIsOrdered, detail));
    }
    check_urgency(ordered, &commands, &mut broken);
    for (id, received) in &commands.received {
        counts.executed += u64::from(received.executions);
        if !ordered.iter().any(|order| is_received(received, order)) {
            let detail = format!("command {id} was not ordered: {:?}", received.order);
            broken.push((Invariant::CommandIsOrdered, detail));
        }
    }
    for (invariant, detail) in broken {
        judge.violate(end, invariant, detail);
    }
}

/// Checks that of two orders that were made at the same instant the more urgent one was sent first:
/// numbers on the wire grow in the order of sending.
fn check_urgency(ordered: &[Ordered], commands: &Commands, broken: &mut Vec<(Invariant, String)>) {
    let number = |order: &Ordered| {
        let mut received = commands.received.iter();
        received.find(|(_, received)| is_received(received, order)).map(|(id, _)| *id)
    };
    for (at, first) in ordered.iter().enumerate() {
        let is_paired = |other: &&Ordered| {
            other.made == first.made && other.not_before.is_none() && other.deadlines.len() == 1
        };
        if first.made.is_none() || !is_paired(&first) {
            continue;
        }
        // Those of one instant were ordered one after the other.
        let others = ordered.iter().skip(at + 1).take_while(|other| other.made == first.made);
        for other in others.filter(is_paired) {
            let (Some(one), Some(two)) = (number(first), number(other)) else { continue };
            if (first.priority > other.priority) != (one < two) && first.priority != other.priority
            {
                let detail = format!(
                    "{one} of priority {} and {two} of {} are numbered in the wrong order",
                    first.priority, other.priority
                );
                broken.push((Invariant::UrgentGoesFirst, detail));
            }
        }
    }
}

/// Whether a command is the one that a request of this order asked for.
fn is_of(command: &Command, order: &Ordered) -> bool {
    command.new.order == order.order
        && command.new.not_before == order.not_before
        && order.deadlines.contains(&command.new.deadline)
}

fn is_received(received: &Received, order: &Ordered) -> bool {
    received.order == order.order
        && received.not_before == order.not_before
        && order.deadlines.contains(&received.deadline)
}

/// Checks how a command ended. `order` is what it was made for.
fn check_end(
    command: &Command,
    commands: &Commands,
    order: Option<&Ordered>,
    end: UnixMs,
    broken: &mut Vec<(Invariant, String)>,
) {
    let (number, state) = (command.number, command.state);
    let is_its = |received: &&Received| {
        (&received.order, received.deadline) == (&command.new.order, command.new.deadline)
    };
    let received: Vec<&Received> = commands.received.values().filter(is_its).collect();
    let executions: u32 = received.iter().map(|received| received.executions).sum();
    if executions > 1 {
        let detail = format!("{number} is executed {executions} times, under several numbers");
        broken.push((Invariant::CommandOnce, detail));
    }
    if state.is_open() {
        if command.new.deadline.0.saturating_add(limits::COMMAND_GRACE_MS) <= end.0 {
            broken.push((Invariant::CommandEnds, format!("{number} is still {state:?}")));
        }
        return;
    }
    let cancel = order.map_or(Cancel::No, |order| order.cancel);
    let is_said = received.iter().any(|received| received.said.contains(&wire_code(state)));
    let is_known = received.iter().any(|received| received.is_known);
    let is_possible = match state {
        CommandState::Cancelled => cancel != Cancel::No && received.is_empty(),
        _ if cancel == Cancel::Done => false,
        // Time alone ends only what the device has not reported on.
        CommandState::Unknown => is_said || !is_known,
        CommandState::Expired => is_said || received.is_empty(),
        _ => is_said,
    };
    let is_restarted = received.iter().any(|received| received.is_restarted);
    // One that finds its value there writes nothing; one that fails may have been refused.
    let is_write = kind::writes(command.new.order.kind);
    let is_read = command.new.order.kind == kind::READ_REGISTER;
    let is_true = match state {
        CommandState::Succeeded => executions == 1 || is_restarted || is_write,
        CommandState::Expired | CommandState::Cancelled => executions == 0,
        CommandState::Failed => executions == 0 || is_read || is_write,
        _ => true,
    };
    let words = received.iter().map(|received| &received.words);
    let are_words = state != CommandState::Succeeded
        || !is_read
        || words.clone().any(|words| *words == command.outcome.words);
    if !is_possible || !is_true || !are_words {
        let said: Vec<_> = received.iter().map(|received| &received.said).collect();
        let detail = format!(
            "{number}, {:?}, is {state:?} ({:?}); it was executed {executions} times, and of the \
             device's reports {said:?} one is known: {is_known}",
            command.new.order, command.outcome
        );
        broken.push((Invariant::CommandEndsTruly, detail));
    }
}

/// Returns the code under which a device reports a state.
fn wire_code(state: CommandState) -> u8 {
    let reported = match state {
        CommandState::Succeeded => ecowatt_wire::CommandState::Succeeded,
        CommandState::Failed => ecowatt_wire::CommandState::Failed,
        CommandState::Expired => ecowatt_wire::CommandState::Expired,
        CommandState::Accepted => ecowatt_wire::CommandState::Accepted,
        CommandState::Unknown
        | CommandState::Queued
        | CommandState::Sent
        | CommandState::Cancelled => ecowatt_wire::CommandState::Unknown,
    };
    reported as u8
}

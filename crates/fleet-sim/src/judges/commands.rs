//! The commands of one device: what came in replies, what the device did for each, and what it
//! reported of them.
//!
//! What a device does for a command is seen where it leaves the core: a read or an end of the epoch
//! that it asks its shell for, or the event that says that it has sent its samples. What was ordered
//! is known only at the end; until then a command must have come in a reply.

use std::collections::{BTreeMap, BTreeSet};

use ecowatt_envelope::{LinkKeys, MESSAGE_MAX, RequestId, UnverifiedUplink, open_reply};
use ecowatt_model::{BootEpoch, CommandId, SourceNumber, UnixMs};
use ecowatt_store::CommandOrder;
use ecowatt_wire::{Command, CommandAction, CommandState, Reply, Uplink};

use super::limit::{self, HeldLimit, LimitRule};
use super::orders::kind;
use super::promises::Invariant;

/// A promise that is broken, and how.
pub(crate) type Broken = (Invariant, String);

/// Longest time from the begin of a command until its read is asked for: that of the read which is
/// under way, with all its repetitions.
const READ_WAITS_MS: i64 = 30_000;

/// A command that came in a reply.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) order: CommandOrder,
    pub(crate) deadline: UnixMs,
    pub(crate) not_before: Option<UnixMs>,
    /// The epoch in which the device accepted it.
    accepted_in: Option<BootEpoch>,
    /// Times that the device did what it orders.
    pub(crate) executions: u32,
    /// It is a write that has succeeded.
    has_succeeded: bool,
    /// It orders a restart, and an epoch began after the device had accepted it.
    pub(crate) is_restarted: bool,
    /// Registers that were last read for it, and whether the inverter had them at that time.
    pub(crate) words: Vec<u8>,
    are_present: bool,
    /// Ends that a message has reported.
    pub(crate) said: BTreeSet<u8>,
    /// The server has answered a message with an end.
    pub(crate) is_known: bool,
}

/// The time that a device goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnTime {
    pub(crate) epoch: BootEpoch,
    /// If the server has confirmed it.
    pub(crate) confirmed: Option<UnixMs>,
}

/// All commands of a device.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    pub(crate) received: BTreeMap<CommandId, Received>,
    /// The current message, and the ends that it reports.
    request: Option<RequestId>,
    reported: Vec<CommandId>,
    epoch: BootEpoch,
    /// The limit that the last command has set, of inverters where that is certain.
    limits: BTreeMap<SourceNumber, HeldLimit>,
}

impl Commands {
    /// Notes the start of an epoch.
    pub(crate) fn started(&mut self, epoch: BootEpoch) {
        self.epoch = epoch;
        for received in self.received.values_mut() {
            // Of a restart, that is all that was ordered, even if it came by a power cut; what a
            // factory reset does besides is judged by the settings that the device reports.
            received.is_restarted |=
                kind::ends_epoch(received.order.kind) && received.accepted_in.is_some();
        }
    }

    /// Notes a message that is sent.
    pub(crate) fn sent(&mut self, keys: &LinkKeys, message: &[u8]) -> Result<(), Broken> {
        let mut plain = vec![0; MESSAGE_MAX];
        self.reported.clear();
        let sealed = UnverifiedUplink::parse(message).map_err(unreadable)?;
        self.request = Some(sealed.request());
        let plain = sealed.open(keys, &mut plain).map_err(unreadable)?;
        let uplink = Uplink::parse(plain).map_err(unreadable)?;
        for result in uplink.results() {
            let Some(received) = self.received.get_mut(&result.id) else {
                let detail = format!("command {} is reported, and came in no reply", result.id);
                return Err((Invariant::CommandIsOrdered, detail));
            };
            if result.state == CommandState::Accepted {
                continue;
            }
            received.said.insert(result.state as u8);
            self.reported.push(result.id);
            let is_same_epoch = received.accepted_in == Some(self.epoch);
            if result.state == CommandState::Unknown && is_same_epoch && !received.may_be_lost() {
                let detail = format!("command {} is unknown in the epoch that began it", result.id);
                return Err((Invariant::CommandEndsTruly, detail));
            }
        }
        Ok(())
    }

    /// Takes the reply to the current message, which the device has accepted.
    pub(crate) fn answered(&mut self, keys: &LinkKeys, reply: &[u8]) -> Result<(), Broken> {
        for id in self.reported.drain(..) {
            if let Some(received) = self.received.get_mut(&id) {
                received.is_known = true;
            }
        }
        let Some(request) = self.request.take() else { return Ok(()) };
        let mut plain = vec![0; MESSAGE_MAX];
        let plain = open_reply(keys, request, reply, &mut plain).map_err(unreadable)?;
        let reply = Reply::parse(plain).map_err(unreadable)?;
        reply.commands().try_for_each(|command| self.take(&command))
    }

    fn take(&mut self, command: &Command<'_>) -> Result<(), Broken> {
        let Command { id, deadline, not_before, .. } = *command;
        let order = order(command);
        let received = self.received.entry(id).or_insert_with(|| Received {
            order: order.clone(),
            deadline,
            not_before,
            accepted_in: None,
            executions: 0,
            has_succeeded: false,
            is_restarted: false,
            words: Vec::new(),
            are_present: false,
            said: BTreeSet::new(),
            is_known: false,
        });
        if (&received.order, received.deadline) != (&order, deadline) {
            let detail = format!("command {id} is {order:?} and was {:?}", received.order);
            return Err((Invariant::CommandIsOrdered, detail));
        }
        Ok(())
    }

    /// Notes an event of the device.
    pub(crate) fn moved(
        &mut self,
        id: CommandId,
        state: CommandState,
        time: OwnTime,
    ) -> Result<(), Broken> {
        let Some(received) = self.received.get_mut(&id) else { return Err(unheard(id)) };
        let is_begun_by_event = matches!(received.order.kind, kind::UPLOAD | kind::CLEAR_FAULT);
        match state {
            CommandState::Accepted => received.accepted_in = Some(time.epoch),
            CommandState::Succeeded if kind::writes(received.order.kind) => {
                received.has_succeeded = true;
            }
            CommandState::Succeeded if is_begun_by_event => return received.execute(id, time, 0),
            _ => {}
        }
        Ok(())
    }

    /// Notes a read that the device asks for.
    pub(crate) fn asked(&mut self, id: CommandId, time: OwnTime) -> Result<(), Broken> {
        let Some(received) = self.received.get_mut(&id) else { return Err(unheard(id)) };
        if kind::writes(received.order.kind) {
            // The reads before and after a write do nothing.
            return Ok(());
        }
        received.execute(id, time, READ_WAITS_MS)
    }

    /// Notes a write that the device asks for. Until its command has succeeded, the limit may be any.
    pub(crate) fn wrote(&mut self, id: Option<CommandId>, time: OwnTime) -> Result<(), Broken> {
        let received = id.and_then(|id| Some((id, self.received.get_mut(&id)?)));
        let Some((id, received)) = received.filter(|(_, held)| kind::writes(held.order.kind))
        else {
            let detail = format!("something is written, which {id:?} does not ask for");
            return Err((Invariant::CommandIsOrdered, detail));
        };
        if let Some(source) = received.order.source {
            self.limits.remove(&source);
        }
        received.execute(id, time, 0)
    }

    /// Checks the limit that an inverter has when a command has moved on: one that has succeeded is
    /// in force, unless the inverter did not show what it has.
    pub(crate) fn limited(
        &mut self,
        id: CommandId,
        source: SourceNumber,
        rule: LimitRule,
        held: HeldLimit,
    ) -> Result<(), Broken> {
        let Some(received) = self.received.get(&id) else { return Ok(()) };
        let is_its = received.order.source == Some(source) && received.has_succeeded;
        let Some(ordered) = rule.ordered(&received.order).filter(|_| is_its) else { return Ok(()) };
        if !received.are_present {
            return Ok(());
        }
        self.limits.insert(source, HeldLimit { tenths: ordered, ..held });
        if held.tenths == ordered {
            return Ok(());
        }
        let detail =
            format!("{id} has set {ordered} tenths of a percent, {} are in force", held.tenths);
        Err((Invariant::LimitIsAsOrdered, detail))
    }

    /// Checks the limit that an inverter has at the end: what the last command has set, unless the
    /// inverter has lost its power since.
    pub(crate) fn left(&self, source: SourceNumber, held: HeldLimit) -> Result<(), Broken> {
        match self.limits.get(&source) {
            Some(set) if set.reboots == held.reboots && set.tenths != held.tenths => {
                let detail = format!("inverter {} was left with {set:?}, has {held:?}", source.0);
                Err((Invariant::LimitIsAsOrdered, detail))
            }
            _ => Ok(()),
        }
    }

    /// Notes the registers that were read.
    pub(crate) fn read(&mut self, id: CommandId, words: &[u16], are_present: bool) {
        if let Some(received) = self.received.get_mut(&id) {
            received.are_present = are_present;
            received.words = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        }
    }

    /// Notes that the device asks for the end of its epoch, which no other command may do.
    pub(crate) fn ending(&mut self, id: Option<CommandId>, time: OwnTime) -> Result<(), Broken> {
        let received = id.and_then(|id| Some((id, self.received.get_mut(&id)?)));
        match received.filter(|(_, received)| kind::ends_epoch(received.order.kind)) {
            Some((id, received)) => received.execute(id, time, 0),
            None => {
                let detail = format!("the epoch ends, which {id:?} does not ask for");
                Err((Invariant::CommandIsOrdered, detail))
            }
        }
    }
}

impl Received {
    /// Notes that the device does what the command orders; a part of that may be `late_ms` late.
    fn execute(&mut self, id: CommandId, time: OwnTime, late_ms: i64) -> Result<(), Broken> {
        self.executions += 1;
        if self.executions > 1 {
            let detail = format!("command {id} is executed {} times", self.executions);
            return Err((Invariant::CommandOnce, detail));
        }
        let Some(now) = time.confirmed else {
            let detail = format!("command {id} is executed by a clock that is not confirmed");
            return Err((Invariant::CommandInTime, detail));
        };
        let is_early = self.not_before.is_some_and(|at| now < at);
        if is_early || now.0 > self.deadline.0.saturating_add(late_ms) {
            let ahead_ms = self.deadline.0 - now.0;
            let detail = format!("command {id} is executed {ahead_ms} ms before its deadline");
            return Err((Invariant::CommandInTime, detail));
        }
        Ok(())
    }

    /// Whether even a device that goes on may not know how it ended: a write that has gone out.
    fn may_be_lost(&self) -> bool {
        kind::writes(self.order.kind) && self.executions == 1
    }
}

/// Returns the order in the operator's spelling.
fn order(command: &Command<'_>) -> CommandOrder {
    let (kind, arguments) = match command.order {
        CommandAction::ReadRegisters { function, address, count } => {
            let table = if function == 4 { "input" } else { "holding" };
            (kind::READ_REGISTER, format!("address={address} count={count} table={table}"))
        }
        CommandAction::Upload => (kind::UPLOAD, String::new()),
        CommandAction::Diagnose => (kind::DIAGNOSE, String::new()),
        CommandAction::Restart => (kind::RESTART, String::new()),
        CommandAction::FactoryReset => (kind::FACTORY_RESET, String::new()),
        CommandAction::Reboot => (kind::REBOOT, String::new()),
        CommandAction::ClearFault => (kind::CLEAR_FAULT, String::new()),
        CommandAction::LimitPower { permille } => {
            (kind::SET_POWER_PERCENTAGE, format!("percent={}", limit::percent(permille)))
        }
        CommandAction::LimitPowerWatts { watts } => (kind::SET_POWER, format!("watts={watts}")),
        CommandAction::Write { point, mantissa, exponent: 0 } => {
            (kind::WRITE, format!("{point}={mantissa}"))
        }
        CommandAction::WriteRegister { address, value } => {
            (kind::WRITE_REGISTER, format!("address={address} value={value}"))
        }
        other => (u8::MAX, format!("{other:?}")),
    };
    CommandOrder { kind, arguments, source: command.source }
}

fn unheard(id: CommandId) -> Broken {
    (Invariant::CommandIsOrdered, format!("command {id} is executed, and came in no reply"))
}

fn unreadable(error: impl ToString) -> Broken {
    (Invariant::CommandIsOrdered, format!("message cannot be judged: {}", error.to_string()))
}

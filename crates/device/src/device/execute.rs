//! Commands: taken from replies, accepted durably, then carried out.

use ecowatt_model::{CommandId, MonoMs, SourceNumber, UnixMs};
use ecowatt_profile::names::CONTROL_P_LIMIT;
use ecowatt_profile::{ControlError, Scaled, Setpoint, Table};
use ecowatt_wire::{Command, CommandAction, CommandFailure, CommandState, ParsedItems};

use super::{Action, Controls, Device, Ending, Inverter, PendingEnd, find};
use crate::commands::{Begun, Outcome, Receipt, Registers, Task};
use crate::errand::{Client, ErrandEnd, Request};
use crate::event::Event;
use crate::exchange::{ReadResult, WriteResult};
use crate::slot::Slot;

impl<I, const COLUMNS: usize, const ROWS: usize> Device<I, COLUMNS, ROWS>
where
    I: AsRef<[Inverter<COLUMNS, ROWS>]> + AsMut<[Inverter<COLUMNS, ROWS>]>,
{
    /// An orderly end of the epoch is near: no command is accepted or begun from here on. The server
    /// sends those that were not accepted to the next epoch.
    pub fn refuse_commands(&mut self) {
        self.commands.close();
    }

    /// The shell could not carry out an [`Action::End`].
    pub fn handle_not_ended(&mut self, now: MonoMs) {
        if let Some(pending) = self.ending.take() {
            self.end_command(now, pending.command, Outcome::failed(CommandFailure::Unsupported));
            self.commands.open();
        }
    }

    /// Begins the epoch with the commands of the slot.
    pub(super) fn resume_commands(&mut self, now: MonoMs) {
        if self.commands.start(self.wall_clock.unix(now)) {
            self.keeping.changed(Slot::Commands);
        }
        if self.commands.reset().is_some() {
            self.configuration.reset();
            self.keeping.changed(Slot::Desired);
        }
    }

    /// Takes the commands of a reply.
    pub(super) fn take_commands(
        &mut self,
        now: MonoMs,
        commands: ParsedItems<'_, Command<'_>>,
        controls: &dyn Controls,
    ) {
        let unix = self.confirmed_time(now);
        for command in commands {
            let task = self.judge(&command, controls);
            match self.commands.take(&command, task, unix) {
                Receipt::Nothing => continue,
                Receipt::Answered => {}
                Receipt::Accepted => self.keeping.changed(Slot::Commands),
            }
            self.note_command(command.id);
        }
    }

    /// The commands in the slot are durable, or could not be written.
    pub(super) fn commands_kept(&mut self, now: MonoMs, is_done: bool, is_durable: bool) {
        if is_done {
            self.commands.kept();
        } else if !is_durable {
            let at = self.wall_clock.unix(now);
            while let Some(id) = self.commands.not_kept(at) {
                self.note_command(id);
            }
        }
    }

    /// Begins commands whose time has come.
    pub(super) fn poll_commands(&mut self, now: MonoMs) -> Option<Action> {
        if let Some(id) = self.commands.reset()
            && self.keeping.is_done(Slot::Desired)
        {
            self.commands.reset_done();
            self.end_command(now, id, Outcome::SUCCEEDED);
        }
        if self.commands.is_report_due() {
            self.uplink.check_in(now);
        }
        if let Some(action) = self.poll_ending() {
            return Some(action);
        }
        let unix = self.confirmed_time(now)?;
        while let Some(id) = self.commands.expire(unix) {
            self.keeping.changed(Slot::Commands);
            self.note_command(id);
        }
        while let Some(begun) = self.begin_command(unix) {
            if let Some(ending) = self.execute(now, begun) {
                // Nothing else is begun in an epoch that ends.
                self.commands.close();
                self.keeping.changed(Slot::Commands);
                self.ending = Some(PendingEnd { command: begun.id, ending, is_asked: false });
            }
        }
        None
    }

    fn begin_command(&mut self, unix: UnixMs) -> Option<Begun> {
        let inverters = self.inverters.as_ref();
        self.commands.begin(unix, |source| is_idle(inverters, source))
    }

    /// Whether an inverter can take an errand.
    pub(super) fn is_idle(&self, source: SourceNumber) -> bool {
        is_idle(self.inverters.as_ref(), source)
    }

    /// Asks the shell once to end the epoch, when the slot has the command as begun.
    fn poll_ending(&mut self) -> Option<Action> {
        let pending = self.ending.as_mut()?;
        match self.commands.is_under_way(pending.command) {
            Some(true) if !pending.is_asked => {
                pending.is_asked = true;
                Some(Action::End(pending.ending))
            }
            Some(_) => None,
            None => {
                self.ending = None;
                self.commands.open();
                None
            }
        }
    }

    /// Does what a command asks for, or returns how the epoch has to end for it.
    fn execute(&mut self, now: MonoMs, begun: Begun) -> Option<Ending> {
        match begun.task {
            Task::None => {}
            Task::Upload => self.flush(now),
            Task::ClearFault(source) => {
                for inverter in self.inverters.as_mut() {
                    if source.is_none_or(|source| source == inverter.source.number()) {
                        inverter.source.clear_fault(now);
                    }
                }
            }
            Task::Read(Registers { source, table, address, count }) => {
                let request = Request::Read { table, address, count: count.into() };
                self.begin_errand(now, begun, source, request);
                return None;
            }
            Task::Write(source, setpoint) => {
                self.begin_errand(now, begun, source, Request::Write(setpoint));
                return None;
            }
            // The start that follows resets.
            Task::Restart | Task::FactoryReset => return Some(Ending::Restart),
            Task::Reboot => return Some(Ending::Reboot),
        }
        self.end_command(now, begun.id, Outcome::SUCCEEDED);
        None
    }

    fn begin_errand(&mut self, now: MonoMs, begun: Begun, source: SourceNumber, request: Request) {
        let latest = self.wall_clock.mono(begun.deadline).unwrap_or(now);
        if let Some(inverter) = find(self.inverters.as_mut(), source) {
            inverter.source.run(Client::Command(begun.id), request, latest);
        }
    }

    /// What the device would do for a command, or why it would not.
    fn judge(
        &self,
        command: &Command<'_>,
        controls: &dyn Controls,
    ) -> Result<Task, CommandFailure> {
        match command.order {
            CommandAction::Upload => Ok(Task::Upload),
            CommandAction::Restart => Ok(Task::Restart),
            CommandAction::Reboot if self.permissions.reboot => Ok(Task::Reboot),
            CommandAction::FactoryReset => Ok(Task::FactoryReset),
            CommandAction::ClearFault => match command.source {
                Some(_) => self.source_of(command).map(|source| Task::ClearFault(Some(source))),
                None => Ok(Task::ClearFault(None)),
            },
            CommandAction::ReadRegisters { function, address, count } => {
                let source = self.source_of(command)?;
                let table = if function == 3 { Table::Holding } else { Table::Input };
                Ok(Task::Read(Registers { source, table, address, count }))
            }
            CommandAction::Write { .. }
            | CommandAction::WriteRegister { .. }
            | CommandAction::LimitPower { .. }
            | CommandAction::LimitPowerWatts { .. } => {
                if !self.permissions.writes {
                    return Err(CommandFailure::Locked);
                }
                let source = self.source_of(command)?;
                if self.is_leased(source) && sets_limit(&command.order) {
                    return Err(CommandFailure::Leased);
                }
                Ok(Task::Write(source, setpoint(source, &command.order, controls)?))
            }
            CommandAction::Reboot | CommandAction::Diagnose | CommandAction::Other(_) => {
                Err(CommandFailure::Unsupported)
            }
        }
    }

    /// The inverter that a command is for.
    fn source_of(&self, command: &Command<'_>) -> Result<SourceNumber, CommandFailure> {
        let mut sources = self.inverters.as_ref().iter().map(|inverter| inverter.source.number());
        let is_its = |source: &SourceNumber| Some(*source) == command.source;
        sources.find(is_its).ok_or(CommandFailure::NoSource)
    }

    /// Takes the outcome of an [`Action::Write`].
    pub fn handle_write(&mut self, now: MonoMs, source: SourceNumber, result: WriteResult) {
        let Some(inverter) = find(self.inverters.as_mut(), source) else { return };
        let Some((client, request)) = inverter.source.running() else { return };
        if let Some(end) = inverter.source.handle_write(result) {
            self.end_errand(now, source, client, request, &end);
        }
    }

    /// Takes the outcome of a read for an errand.
    pub(super) fn handle_errand(
        &mut self,
        now: MonoMs,
        source: SourceNumber,
        client: Client,
        request: Request,
        result: &ReadResult<'_>,
    ) {
        let Some(inverter) = find(self.inverters.as_mut(), source) else { return };
        if let Some(end) = inverter.source.handle_errand(now, result) {
            self.end_errand(now, source, client, request, &end);
        }
    }

    /// The command that the exchange under way with a source is for.
    pub fn commanded(&self, source: SourceNumber) -> Option<CommandId> {
        let mut inverters = self.inverters.as_ref().iter();
        let inverter = inverters.find(|inverter| inverter.source.number() == source)?;
        match inverter.source.running()?.0 {
            Client::Command(id) => Some(id),
            Client::Leases => None,
        }
    }

    /// The command that the epoch is to end for.
    pub fn ending(&self) -> Option<CommandId> {
        self.ending.map(|pending| pending.command)
    }

    /// Ends writes whose deadline passes before they are sent.
    pub(super) fn expire_writes(&mut self, now: MonoMs) {
        loop {
            let mut inverters = self.inverters.as_mut().iter_mut();
            let Some(id) = inverters.find_map(|inverter| inverter.source.take_late(now)) else {
                return;
            };
            self.end_command(now, id, Outcome::state(CommandState::Expired));
        }
    }

    fn end_errand(
        &mut self,
        now: MonoMs,
        source: SourceNumber,
        client: Client,
        request: Request,
        end: &ErrandEnd<'_>,
    ) {
        let Client::Command(id) = client else {
            self.end_limit(now, source, request, end);
            return;
        };
        if !end.words.is_empty() {
            self.commands.add_words(id, end.words);
        }
        self.end_command(now, id, end.outcome);
    }

    fn end_command(&mut self, now: MonoMs, id: CommandId, outcome: Outcome) {
        if self.commands.end(id, outcome, self.wall_clock.unix(now)) {
            self.keeping.changed(Slot::Commands);
            self.note_command(id);
        }
    }

    /// The time of day, if the server has confirmed it in this epoch.
    fn confirmed_time(&self, now: MonoMs) -> Option<UnixMs> {
        self.wall_clock.unix(now).filter(|_| self.wall_clock.is_confirmed())
    }

    fn note_command(&mut self, id: CommandId) {
        if let Some(Outcome { state, failure, detail: _ }) = self.commands.outcome(id) {
            self.events.push(Event::Command { id, state, failure });
        }
    }
}

fn is_idle<const COLUMNS: usize, const ROWS: usize>(
    inverters: &[Inverter<COLUMNS, ROWS>],
    source: SourceNumber,
) -> bool {
    let mut inverters = inverters.iter();
    let inverter = inverters.find(|inverter| inverter.source.number() == source);
    inverter.is_none_or(|inverter| inverter.source.client().is_none())
}

/// Whether an order sets the limit that leases set, too.
fn sets_limit(order: &CommandAction<'_>) -> bool {
    match order {
        CommandAction::Write { point, .. } => *point == CONTROL_P_LIMIT,
        CommandAction::LimitPower { .. } | CommandAction::LimitPowerWatts { .. } => true,
        CommandAction::WriteRegister { .. }
        | CommandAction::ReadRegisters { .. }
        | CommandAction::Upload
        | CommandAction::Diagnose
        | CommandAction::Restart
        | CommandAction::Reboot
        | CommandAction::ClearFault
        | CommandAction::FactoryReset
        | CommandAction::Other(_) => false,
    }
}

/// What an order for an inverter writes, or why it is refused.
fn setpoint(
    source: SourceNumber,
    order: &CommandAction<'_>,
    controls: &dyn Controls,
) -> Result<Setpoint, CommandFailure> {
    let find = |point: &str| controls.find(source, point).ok_or(CommandFailure::ReadOnly);
    let set = match *order {
        CommandAction::WriteRegister { address, value } => {
            return Setpoint::register(address, value).ok_or(CommandFailure::NotAllowed);
        }
        CommandAction::Write { point, mantissa, exponent } => {
            find(point)?.set(Scaled { mantissa, exponent })
        }
        CommandAction::LimitPower { permille } => {
            find(CONTROL_P_LIMIT)?.set(Scaled { mantissa: permille.into(), exponent: -1 })
        }
        CommandAction::LimitPowerWatts { watts } => {
            let rated = controls.rated_w(source).filter(|rated| *rated > 0);
            let rated = rated.ok_or(CommandFailure::NoRatedPower)?;
            find(CONTROL_P_LIMIT)?.limit_watts(watts, rated)
        }
        CommandAction::ReadRegisters { .. }
        | CommandAction::Upload
        | CommandAction::Diagnose
        | CommandAction::Restart
        | CommandAction::Reboot
        | CommandAction::ClearFault
        | CommandAction::FactoryReset
        | CommandAction::Other(_) => return Err(CommandFailure::Unsupported),
    };
    set.map_err(|error| match error {
        ControlError::OutOfBounds(_) => CommandFailure::OutOfBounds,
        ControlError::NotAllowed => CommandFailure::NotAllowed,
    })
}

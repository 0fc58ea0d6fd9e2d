//! Commands from the server: which are executed, and what is reported of each.
//!
//! A command is executed at most once. It is accepted first, and only what is durable in the slot
//! *commands* is begun. A start that finds an accepted command cannot know how far it got: it
//! reports *unknown* and never repeats it. One that ends the epoch is noted in the slot as begun
//! before it does, so that the start that finds it reports *succeeded*. The slot also holds the
//! numbers seen and the outcomes that the server may not have, so that a number which comes again
//! is answered and not executed.
//!
//! Version 1, integers big-endian: version (1), highest number (4), numbers seen (8; the lowest bit
//! is the highest number); then for each command until the end its number (4), what it has begun (1:
//! 0 nothing that a start completes, 1 restart, 2 reboot, 3 factory reset), state (1), failure (1),
//! detail (2), and when it got into its state in Unix milliseconds (8; 0 if that is not known).
//! Version 2, written while results have registers, has them after each command: the number of their
//! bytes (1), then these.

use core::num::NonZeroI64;

use ecowatt_model::{CommandId, MonoMs, SourceNumber, UnixMs};
use ecowatt_profile::{Setpoint, Table};
use ecowatt_wire::{
    ARGUMENTS_MAX, COMMANDS_MAX, Command, CommandFailure, CommandResult, CommandState,
};
use heapless::Vec;

use crate::limits::WAITING_MAX;
use crate::wall_clock::WallClock;

/// The slot's versions without and with the registers of results.
const PLAIN: u8 = 1;
const WITH_WORDS: u8 = 2;
const HEAD_LEN: usize = 1 + 4 + 8;
const ENTRY_LEN: usize = 4 + 1 + 1 + 1 + 2 + 8;

/// What an accepted command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Nothing: it has ended, or it was accepted before this epoch.
    None,
    Upload,
    /// Of one source, or of all.
    ClearFault(Option<SourceNumber>),
    Restart,
    Reboot,
    FactoryReset,
    /// Read registers of a source.
    Read(Registers),
    /// Write to a source.
    Write(SourceNumber, Setpoint),
}

/// Registers that a command reads, at most [`REGISTERS_MAX`](ecowatt_wire::REGISTERS_MAX).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) source: SourceNumber,
    pub(crate) table: Table,
    pub(crate) address: u16,
    pub(crate) count: u8,
}

impl Task {
    /// Bytes that its result may have.
    fn words_max(self) -> usize {
        match self {
            Self::Read(registers) => 2 * usize::from(registers.count),
            Self::Write(_, setpoint) => 2 * setpoint.shown_max(),
            Self::None
            | Self::Upload
            | Self::ClearFault(_)
            | Self::Restart
            | Self::Reboot
            | Self::FactoryReset => 0,
        }
    }

    /// The inverter that it talks to.
    fn source(self) -> Option<SourceNumber> {
        match self {
            Self::Read(registers) => Some(registers.source),
            Self::Write(source, _) => Some(source),
            Self::None
            | Self::Upload
            | Self::ClearFault(_)
            | Self::Restart
            | Self::Reboot
            | Self::FactoryReset => None,
        }
    }

    /// Whether it talks to an inverter.
    fn is_exchange(self) -> bool {
        self.words_max() > 0
    }

    fn ends_epoch(self) -> bool {
        self.code() != 0
    }

    /// What a start must know about it once it is begun.
    fn code(self) -> u8 {
        match self {
            Self::None | Self::Upload | Self::ClearFault(_) | Self::Read(_) | Self::Write(..) => 0,
            Self::Restart => 1,
            Self::Reboot => 2,
            Self::FactoryReset => 3,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Restart,
            2 => Self::Reboot,
            3 => Self::FactoryReset,
            _ => Self::None,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) state: CommandState,
    pub(crate) failure: CommandFailure,
    pub(crate) detail: u16,
}

impl Outcome {
    pub(crate) const SUCCEEDED: Self = Self::state(CommandState::Succeeded);

    pub(crate) const fn state(state: CommandState) -> Self {
        Self { state, failure: CommandFailure::None, detail: 0 }
    }

    pub(crate) const fn failed(failure: CommandFailure) -> Self {
        Self { state: CommandState::Failed, failure, detail: 0 }
    }
}

/// Whether the server has a command's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Due,
    /// It is in the message in flight.
    Carried,
    Done,
}

/// A command and how far it is.
#[derive(Debug, Clone, Copy)]
struct Entry {
    id: CommandId,
    task: Task,
    outcome: Outcome,
    /// When it got into its state, in Unix milliseconds.
    at: Option<NonZeroI64>,
    deadline: UnixMs,
    /// Not to be begun before this; in the past if it need not wait.
    not_before: UnixMs,
    /// The slot has it as accepted, and as begun if it ends the epoch.
    is_durable: bool,
    is_begun: bool,
    report: Report,
    /// The registers of its result, as a part of [`Commands::words`].
    words: Part,
}

/// A part of the words of all results.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    from: u8,
    len: u8,
}

impl Part {
    fn new(from: usize, end: usize) -> Self {
        let narrow = |len: usize| u8::try_from(len).unwrap_or(0);
        Self { from: narrow(from), len: narrow(end - from) }
    }
}

impl Entry {
    fn is_accepted(&self) -> bool {
        self.outcome.state == CommandState::Accepted
    }

    fn is_waiting(&self) -> bool {
        self.is_accepted() && !self.is_begun
    }

    fn is_exchanging(&self) -> bool {
        self.is_accepted() && self.is_begun && self.task.is_exchange()
    }

    fn settle(&mut self, outcome: Outcome, at: Option<UnixMs>) {
        self.outcome = outcome;
        self.at = at.and_then(|at| NonZeroI64::new(at.0));
        self.report = Report::Due;
    }
}

/// The commands of a device.
#[derive(Debug)]
pub(crate) struct Commands {
    highest: u32,
    /// Bit i: number `highest` - i was seen.
    window: u64,
    /// In the order in which they were accepted.
    entries: Vec<Entry, COMMANDS_MAX, u8>,
    /// Registers of results, high byte first. Emptied once the server has them all; until then they are
    /// in the slot, so that a result does not lose them with the power.
    words: Vec<u8, ARGUMENTS_MAX, u8>,
    /// An orderly end of the epoch is near: nothing is accepted or begun.
    is_closed: bool,
    /// The factory reset that the last epoch ended for, or was cut off in; cleared once it is done.
    reset: Option<CommandId>,
}

/// What became known of a command by taking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is held already, or there is no room: the server sends it again.
    Nothing,
    /// It will not be executed, and that will be reported.
    Answered,
    /// It is begun once the slot is durable.
    Accepted,
}

/// A command that is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) id: CommandId,
    pub(crate) task: Task,
    pub(crate) deadline: UnixMs,
}

impl Commands {
    pub(crate) const LEN_MAX: usize = HEAD_LEN + COMMANDS_MAX * (ENTRY_LEN + 1) + ARGUMENTS_MAX;

    const NONE: Self = Self {
        highest: 0,
        window: 0,
        entries: Vec::new(),
        words: Vec::new(),
        is_closed: false,
        reset: None,
    };

    /// Of a device whose slot has these bytes, if any.
    pub(crate) fn new(kept: Option<&[u8]>) -> Self {
        kept.and_then(Self::parse).unwrap_or(Self::NONE)
    }

    /// Begins an epoch: what is accepted in the slot was begun before it, or may have been. Returns
    /// whether the slot has changed. A factory reset stays accepted until it is done.
    pub(crate) fn start(&mut self, at: Option<UnixMs>) -> bool {
        let mut has_changed = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.is_accepted()) {
            match entry.task {
                Task::FactoryReset => {
                    self.reset = Some(entry.id);
                    continue;
                }
                Task::Restart | Task::Reboot => entry.settle(Outcome::SUCCEEDED, at),
                Task::None
                | Task::Upload
                | Task::ClearFault(_)
                | Task::Read(_)
                | Task::Write(..) => {
                    entry.settle(Outcome::state(CommandState::Unknown), at);
                }
            }
            has_changed = true;
        }
        has_changed
    }

    /// A factory reset that the last epoch ended for, or was cut off in.
    pub(crate) fn reset(&self) -> Option<CommandId> {
        self.reset
    }

    /// It is done.
    pub(crate) fn reset_done(&mut self) {
        self.reset = None;
    }

    /// Takes a command of a reply; `now` is the time if the server has confirmed it in this epoch,
    /// and `task` what the device would do.
    pub(crate) fn take(
        &mut self,
        command: &Command<'_>,
        task: Result<Task, CommandFailure>,
        now: Option<UnixMs>,
    ) -> Receipt {
        let id = command.id;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            if entry.report == Report::Done {
                entry.report = Report::Due;
            }
            return Receipt::Nothing;
        }
        let not_before = command.not_before.unwrap_or(UnixMs(i64::MIN));
        let accepted = Outcome::state(CommandState::Accepted);
        let (outcome, task) = match (now, task) {
            _ if self.has_seen(id) => (Outcome::state(CommandState::Unknown), Task::None),
            (None, _) => (Outcome::failed(CommandFailure::NoTime), Task::None),
            (Some(now), _) if now > command.deadline => {
                (Outcome::state(CommandState::Expired), Task::None)
            }
            (Some(_), Err(failure)) => (Outcome::failed(failure), Task::None),
            (Some(now), Ok(task)) => {
                let waiting = |entry: &&Entry| entry.is_waiting() && entry.not_before > now;
                let is_crowded = self.entries.iter().filter(waiting).count() >= WAITING_MAX;
                if self.is_closed || (not_before > now && is_crowded) {
                    return Receipt::Nothing;
                }
                (accepted, task)
            }
        };
        let mut entry = Entry {
            id,
            task,
            outcome,
            at: None,
            deadline: command.deadline,
            not_before,
            is_durable: false,
            is_begun: false,
            report: Report::Due,
            words: Part::default(),
        };
        entry.settle(outcome, now);
        if !self.make_room() || self.entries.push(entry).is_err() {
            return Receipt::Nothing;
        }
        if outcome == accepted {
            self.see(id);
            return Receipt::Accepted;
        }
        Receipt::Answered
    }

    /// Accepts and begins no further commands: the epoch ends.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// The epoch does not end after all.
    pub(crate) fn open(&mut self) {
        self.is_closed = false;
    }

    /// The slot is durable: what it has as accepted may be begun, and what it has as begun may end the
    /// epoch.
    pub(crate) fn kept(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.is_durable |= entry.is_accepted());
    }

    /// The slot could not be written: what it lacks is not executed. Returns the first command that
    /// fails for that, if one does.
    pub(crate) fn not_kept(&mut self, at: Option<UnixMs>) -> Option<CommandId> {
        let is_lacking = |entry: &&mut Entry| entry.is_accepted() && !entry.is_durable;
        let entry = self.entries.iter_mut().find(is_lacking)?;
        entry.settle(Outcome::failed(CommandFailure::Storage), at);
        Some(entry.id)
    }

    /// The first command that expires at `now`, if one does.
    pub(crate) fn expire(&mut self, now: UnixMs) -> Option<CommandId> {
        let is_late = |entry: &&mut Entry| entry.is_waiting() && now > entry.deadline;
        let entry = self.entries.iter_mut().find(is_late)?;
        entry.settle(Outcome::state(CommandState::Expired), Some(now));
        Some(entry.id)
    }

    /// Begins the next command whose time has come, one that ends the epoch after all others. That
    /// one must be noted in the slot first.
    /// `is_idle` says whether an inverter can take an errand.
    pub(crate) fn begin(
        &mut self,
        now: UnixMs,
        is_idle: impl Fn(SourceNumber) -> bool,
    ) -> Option<Begun> {
        if self.is_closed {
            return None;
        }
        self.free_words();
        let is_due = |e: &Entry| {
            let is_its_time = e.not_before <= now && now <= e.deadline;
            e.is_waiting() && e.is_durable && is_its_time && !self.is_blocked(e.task, &is_idle)
        };
        let is_next = |e: &Entry| is_due(e) && !e.task.ends_epoch();
        let next = self.entries.iter().position(is_next);
        let next = next.or_else(|| self.entries.iter().position(is_due))?;
        let entry = self.entries.get_mut(next)?;
        entry.is_begun = true;
        entry.is_durable = !entry.task.ends_epoch();
        Some(Begun { id: entry.id, task: entry.task, deadline: entry.deadline })
    }

    /// Whether a command has to wait for others: one at a time talks to an inverter, and only if
    /// there is room for what it reads.
    fn is_blocked(&self, task: Task, is_idle: impl Fn(SourceNumber) -> bool) -> bool {
        let is_busy = self.entries.iter().any(Entry::is_exchanging)
            || task.source().is_some_and(|source| !is_idle(source));
        match task.is_exchange() {
            true => is_busy || task.words_max() > self.words.capacity() - self.words.len(),
            false => is_busy && task.ends_epoch(),
        }
    }

    /// Whether a command is under way; then, whether the slot has that.
    pub(crate) fn is_under_way(&self, id: CommandId) -> Option<bool> {
        let entry = self.entries.iter().find(|entry| entry.id == id && entry.is_accepted())?;
        Some(entry.is_durable)
    }

    /// When [`Commands::expire`] or [`Commands::begin`] has something to do next.
    pub(crate) fn poll_at(
        &self,
        wall_clock: &WallClock,
        is_idle: impl Fn(SourceNumber) -> bool,
    ) -> Option<MonoMs> {
        let waiting = self.entries.iter().filter(|entry| entry.is_waiting());
        let at = waiting.filter_map(|entry| {
            let late = UnixMs(entry.deadline.0.saturating_add(1));
            // What waits for others is looked at when an outcome or a reply comes.
            let can_begin =
                entry.is_durable && !self.is_closed && !self.is_blocked(entry.task, &is_idle);
            wall_clock.mono(if can_begin { entry.not_before.min(late) } else { late })
        });
        at.min()
    }

    /// A command has ended. Returns false if there is no such one under way.
    pub(crate) fn end(&mut self, id: CommandId, outcome: Outcome, at: Option<UnixMs>) -> bool {
        let is_its = |entry: &&mut Entry| entry.id == id && entry.is_accepted();
        let Some(entry) = self.entries.iter_mut().find(is_its) else { return false };
        entry.settle(outcome, at);
        true
    }

    /// Adds the registers that a command has read to its result. They are left out if there is no
    /// room.
    pub(crate) fn add_words(&mut self, id: CommandId, words: &[u16]) {
        let from = self.words.len();
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else { return };
        let has_room = words.len() * 2 <= self.words.capacity() - from;
        for byte in words.iter().filter(|_| has_room).flat_map(|word| word.to_be_bytes()) {
            let _ = self.words.push(byte);
        }
        entry.words = Part::new(from, self.words.len());
    }

    /// Forgets the registers of results once the server has them all.
    fn free_words(&mut self) {
        let is_held = |e: &Entry| e.words.len > 0 && e.report != Report::Done;
        if !self.entries.iter().any(is_held) {
            self.entries.iter_mut().for_each(|entry| entry.words = Part::default());
            self.words.clear();
        }
    }

    fn words(&self, part: Part) -> &[u8] {
        let (from, len) = (usize::from(part.from), usize::from(part.len));
        self.words.get(from..from + len).unwrap_or_default()
    }

    /// The outcome of a command that is held.
    pub(crate) fn outcome(&self, id: CommandId) -> Option<Outcome> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| entry.outcome)
    }

    /// Whether a command is being carried out, or its state is not yet with the server.
    pub(crate) fn is_at_work(&self) -> bool {
        let is_begun = |entry: &Entry| entry.is_accepted() && (entry.is_begun || !entry.is_durable);
        self.entries.iter().any(|entry| is_begun(entry) || entry.report != Report::Done)
    }

    /// Whether a state is due to be reported.
    pub(crate) fn is_report_due(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_reportable() && entry.report == Report::Due)
    }

    /// The states that the server may not have.
    pub(crate) fn results(&self) -> impl Iterator<Item = CommandResult<'_>> {
        let due = |e: &&Entry| e.is_reportable() && e.report != Report::Done;
        self.entries.iter().filter(due).map(|entry| CommandResult {
            id: entry.id,
            state: entry.outcome.state,
            at: entry.at.map(|at| UnixMs(at.get())),
            failure: entry.outcome.failure,
            detail: entry.outcome.detail,
            words: self.words(entry.words),
        })
    }

    /// [`Commands::results`] are in a message.
    pub(crate) fn carried(&mut self) {
        for entry in self.entries.iter_mut().filter(|e| e.is_reportable()) {
            if entry.report == Report::Due {
                entry.report = Report::Carried;
            }
        }
    }

    /// The message in flight got its reply, or will get none.
    pub(crate) fn answered(&mut self, is_answered: bool) {
        for entry in self.entries.iter_mut().filter(|e| e.report == Report::Carried) {
            entry.report = if is_answered { Report::Done } else { Report::Due };
        }
    }

    /// Writes the slot's contents to the start of `out`; returns their number.
    pub(crate) fn write(&self, out: &mut [u8]) -> usize {
        let mut bytes: Vec<u8, { Self::LEN_MAX }> = Vec::new();
        // There is room for the most entries.
        let mut put = |part: &[u8]| drop(bytes.extend_from_slice(part));
        let version = if self.words.is_empty() { PLAIN } else { WITH_WORDS };
        put(&[version]);
        put(&self.highest.to_be_bytes());
        put(&self.window.to_be_bytes());
        for entry in &self.entries {
            put(&entry.id.0.to_be_bytes());
            let Outcome { state, failure, detail } = entry.outcome;
            let begun = if entry.is_begun { entry.task.code() } else { 0 };
            put(&[begun, state as u8, failure as u8]);
            put(&detail.to_be_bytes());
            put(&entry.at.map_or(0, NonZeroI64::get).to_be_bytes());
            if version == WITH_WORDS {
                put(&[entry.words.len]);
                put(self.words(entry.words));
            }
        }
        out.get_mut(..bytes.len()).map_or(0, |out| {
            out.copy_from_slice(&bytes);
            out.len()
        })
    }

    /// Returns `None` if the bytes are damaged or of another version.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let ([version, head @ ..], mut rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
        if !matches!(*version, PLAIN | WITH_WORDS) {
            return None;
        }
        let (highest, window) = head.split_first_chunk::<4>()?;
        let mut held = Self {
            highest: u32::from_be_bytes(*highest),
            window: u64::from_be_bytes(*window.first_chunk()?),
            ..Self::NONE
        };
        while let Some((entry, after)) = rest.split_first_chunk::<ENTRY_LEN>() {
            let (len, after) = match *version {
                PLAIN => (0, after),
                _ => after.split_first().map(|(len, after)| (usize::from(*len), after))?,
            };
            let (words, after) = after.split_at_checked(len)?;
            let from = held.words.len();
            held.words.extend_from_slice(words).ok()?;
            let words = Part::new(from, held.words.len());
            held.entries.push(Entry { words, ..Entry::parse(entry)? }).ok()?;
            rest = after;
        }
        rest.is_empty().then_some(held)
    }

    fn has_seen(&self, id: CommandId) -> bool {
        let Some(behind) = self.highest.checked_sub(id.0) else { return false };
        // One below the window may have been seen.
        self.window.checked_shr(behind).is_none_or(|window| window & 1 == 1)
    }

    fn see(&mut self, id: CommandId) {
        match self.highest.checked_sub(id.0) {
            Some(behind) => self.window |= 1u64.checked_shl(behind).unwrap_or(0),
            None => {
                self.window = self.window.checked_shl(id.0 - self.highest).unwrap_or(0) | 1;
                self.highest = id.0;
            }
        }
    }

    /// Makes room for another command, if the server has the state of one that ended.
    fn make_room(&mut self) -> bool {
        if !self.entries.is_full() {
            return true;
        }
        let is_over = |e: &Entry| !e.is_accepted() && e.report == Report::Done;
        let Some(over) = self.entries.iter().position(is_over) else { return false };
        self.entries.remove(over);
        true
    }
}

impl Entry {
    /// What a power cut could take back is not reported.
    fn is_reportable(&self) -> bool {
        self.is_durable || !self.is_accepted()
    }

    fn parse(bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let [a, b, c, d, task, state, failure, e, f, at @ ..] = *bytes;
        Some(Self {
            id: CommandId(u32::from_be_bytes([a, b, c, d])),
            task: Task::from_code(task),
            outcome: Outcome {
                state: CommandState::from_code(state),
                failure: CommandFailure::from_code(failure),
                detail: u16::from_be_bytes([e, f]),
            },
            at: NonZeroI64::new(i64::from_be_bytes(at)),
            deadline: UnixMs(i64::MAX),
            not_before: UnixMs(i64::MIN),
            is_durable: true,
            is_begun: true,
            report: Report::Due,
            words: Part::default(),
        })
    }
}

//! Commands to devices: what an operator wants done once, and how far it got.
//!
//! Pure: derives the states of a device's commands from its messages and the time, numbers what is
//! sent, and chooses what a reply carries. States move forward only, and an ended command keeps its
//! end, except that a device's own word replaces an end that the server only concluded. What a kind
//! or an argument means is the caller's knowledge.

mod step;

use std::fmt;
use std::str::FromStr;

use ecowatt_model::{CommandId, DeviceNumber, KeyGeneration, SourceNumber, UnixMs};

use crate::audit::Author;
use crate::error::StoreError;
use crate::limits::{COMMAND_KEY_CHARS_MAX, OPEN_COMMANDS_MAX};
pub(crate) use step::{Message, Moved, due, on_the_way, step};

/// A command as operators name it, `cmd-17`; the number on the wire is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandNumber(pub i64);

impl fmt::Display for CommandNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cmd-{}", self.0)
    }
}

/// The text is not a command's id such as `cmd-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command's id looks like cmd-17")]
pub struct ParseCommandNumberError;

impl FromStr for CommandNumber {
    type Err = ParseCommandNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("cmd-").ok_or(ParseCommandNumberError)?;
        let is_canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        let number = digits.parse().ok().filter(|_| is_canonical);
        number.map(Self).ok_or(ParseCommandNumberError)
    }
}

/// How far a command is. The order is that in which states follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandState {
    /// Not sent yet.
    Queued,
    /// In at least one reply; the device has not reported on it.
    Sent,
    /// The device will execute it.
    Accepted,
    Succeeded,
    Failed,
    /// Its deadline passed before it was begun.
    Expired,
    Cancelled,
    /// Whether it was executed is not known.
    Unknown,
}

impl CommandState {
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sent,
        Self::Accepted,
        Self::Succeeded,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// Returns whether it can still change by itself.
    #[must_use]
    pub fn is_open(self) -> bool {
        self <= Self::Accepted
    }

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// What a device should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOrder {
    /// Its code in [`ecowatt_model::command::COMMANDS`], or one of a later version.
    pub kind: u8,
    /// In the caller's spelling, which the store does not read.
    pub arguments: String,
    /// The inverter, if it is for one.
    pub source: Option<SourceNumber>,
}

impl CommandOrder {
    /// Approximate size in memory, bytes.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.arguments.len()
    }
}

/// Why a command failed, as the code on the wire; 0 if it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CommandFailure(pub u8);

/// What a device reports of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    pub id: CommandId,
    pub state: CommandState,
    /// When, by the device's clock.
    pub at: Option<UnixMs>,
    pub outcome: CommandOutcome,
}

/// How a command ended, besides its state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandOutcome {
    pub failure: CommandFailure,
    /// More about the failure.
    pub detail: u16,
    /// Registers that were read, or read back; two bytes each, high byte first.
    pub words: Vec<u8>,
}

/// A command to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    pub device: DeviceNumber,
    pub order: CommandOrder,
    /// A higher one is sent before a lower one.
    pub priority: u8,
    /// It is not begun before this.
    pub not_before: Option<UnixMs>,
    /// It is not begun after this.
    pub deadline: UnixMs,
    /// The client's own name of its request: a second request of that name makes no second command.
    pub key: Option<String>,
}

/// A command as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub number: CommandNumber,
    pub by: Author,
    pub new: NewCommand,
    pub state: CommandState,
    /// When it got into this state, by the server's clock.
    pub since: UnixMs,
    pub outcome: CommandOutcome,
}

/// A step in the life of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTransition {
    pub state: CommandState,
    /// An operator, the device, or the server.
    pub by: Author,
    /// When, by the device's clock, if the device reported it.
    pub device_at: Option<UnixMs>,
    pub failure: CommandFailure,
    pub detail: u16,
}

/// Outcome of queueing a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedCommand {
    pub command: Command,
    /// False if an earlier request of the same name made it.
    pub is_new: bool,
}

/// Why no command was queued.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateCommandError {
    #[error("there is no such device")]
    UnknownDevice,
    #[error("{OPEN_COMMANDS_MAX} commands of the device have not ended yet")]
    TooMany,
    #[error("the key was used for another command, {0}")]
    KeyTaken(CommandNumber),
    #[error("its deadline has passed")]
    Late,
    #[error("a key has 1 to {COMMAND_KEY_CHARS_MAX} characters")]
    Key,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a command was not cancelled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CancelCommandError {
    #[error("there is no such command")]
    Unknown,
    #[error("the command was sent, so the device may have begun it")]
    Sent,
    #[error("the command has ended")]
    Ended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A command in a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCommand {
    pub id: CommandId,
    pub order: CommandOrder,
    pub not_before: Option<UnixMs>,
    pub deadline: UnixMs,
}

/// A command that has changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovedCommand {
    pub device: DeviceNumber,
    pub number: CommandNumber,
    pub state: CommandState,
}

/// Which commands to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandQuery {
    pub device: DeviceNumber,
    pub state: Option<CommandState>,
    /// Only those made before this one.
    pub before: Option<CommandNumber>,
    pub limit: u32,
}

/// Number of commands in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateCount {
    pub state: CommandState,
    pub commands: u64,
}

/// Commands by state, and how long those took that were executed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandFigures {
    /// Commands that have not ended, and those that ended in the time asked for.
    pub states: Vec<StateCount>,
    /// Milliseconds from when a command could begin until its result arrived, ascending.
    pub latencies_ms: Vec<i64>,
}

/// The number of a command on the wire, and the key of the first message whose reply carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WireName {
    pub(crate) id: CommandId,
    pub(crate) under: KeyGeneration,
}

/// The part of a command that is in memory while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldCommand {
    pub(crate) number: CommandNumber,
    pub(crate) order: CommandOrder,
    pub(crate) priority: u8,
    pub(crate) not_before: Option<UnixMs>,
    pub(crate) deadline: UnixMs,
    pub(crate) state: CommandState,
    /// Absent until it is sent.
    pub(crate) wire: Option<WireName>,
    /// Whether the server concluded the end of a command that was sent. The device may know better.
    pub(crate) is_guess: bool,
}

/// The commands of a device, as far as its messages need them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Commands {
    /// The last number used on the wire.
    pub(crate) last: CommandId,
    /// All that have not ended, in the order in which they were made.
    pub(crate) open: Vec<HeldCommand>,
    /// Commands that were looked up because a message named them; `None` if no command has the number.
    pub(crate) named: Vec<(CommandId, Option<HeldCommand>)>,
}

impl Commands {
    /// Drops what the device's next message will hardly need.
    pub(crate) fn trim(&mut self) {
        self.named = Vec::new();
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.open.iter().map(|held| size_of::<HeldCommand>() + held.order.weight()).sum()
    }
}

impl NewCommand {
    /// Checks a request of an operator against the one that an earlier command of the same key came
    /// from. Its deadline may differ by the time between the two.
    pub(crate) fn is_repeated_in(&self, made: UnixMs, later: &Self, at: UnixMs) -> bool {
        let lifetime = |new: &Self, at: UnixMs| new.deadline.0 - new.not_before.unwrap_or(at).0;
        let Self { device, order, priority, not_before, deadline: _, key: _ } = self;
        (device, order, priority, not_before)
            == (&later.device, &later.order, &later.priority, &later.not_before)
            && lifetime(self, made) == lifetime(later, at)
    }
}

#[cfg(test)]
mod tests;

//! Commands to devices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All kinds of commands that devices can be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandKindList {
    pub kinds: Vec<CommandKind>,
}

/// A kind of command and its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandKind {
    #[schema(example = "set_power")]
    pub name: String,
    #[schema(example = "Limits the active power of an inverter.")]
    pub summary: String,
    pub scope: CommandScope,
    pub arguments: Vec<CommandArgument>,
    /// Whether it goes past the checks of the inverter's profile, which needs the right `expert`.
    #[schema(example = false)]
    pub needs_expert: bool,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandScope {
    Device,
    /// One inverter, which may be left out if the device has only one.
    Inverter,
    /// One inverter, or all if none is named.
    Inverters,
}

/// An argument of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandArgument {
    /// Its name in requests. That of a point stands for the name of any point.
    #[schema(example = "watts")]
    pub name: String,
    pub kind: CommandArgumentKind,
    /// Unit of a number.
    #[schema(example = "W")]
    pub unit: Option<String>,
    #[schema(example = 0.0)]
    pub min: Option<f64>,
    #[schema(example = 10_000_000.0)]
    pub max: Option<f64>,
    /// Most decimals of a number.
    #[schema(example = 0)]
    pub decimals: u8,
    /// All values of a choice.
    #[schema(example = json!([]))]
    pub choices: Vec<String>,
    /// The value if none is given; without one the argument is needed.
    #[schema(example = "1")]
    pub default: Option<String>,
}

/// What the value of an argument means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandArgumentKind {
    Number,
    /// One of the choices.
    OneOf,
    /// The value of a point in the point's unit, by the point's name.
    Point,
}

/// Sends a command to a device.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCommand {
    /// One of `GET /api/v1/commands/kinds`.
    #[schema(example = "set_power")]
    pub kind: String,
    /// The inverter, by its number within the device.
    #[serde(default)]
    #[schema(example = 0)]
    pub inverter: Option<u8>,
    #[serde(default)]
    #[schema(example = json!({"watts": "3000"}))]
    pub arguments: BTreeMap<String, String>,
    /// Seconds in which the device may begin it, from now or from `not_before`: 1 to 604,800.
    /// Default: 900.
    #[serde(default)]
    #[schema(example = 60)]
    pub valid_for_s: Option<u64>,
    /// A command of a higher priority is sent before those of a lower one: 0 to 9. Default: 5.
    #[serde(default)]
    #[schema(example = 5)]
    pub priority: Option<u8>,
    /// The device does not begin it before this instant, at most 31 days from now.
    #[serde(default)]
    #[schema(example = "2026-11-27T11:00:00.000Z")]
    pub not_before: Option<String>,
    /// A name that the client chooses for this request. The same request with the same key makes no
    /// second command and returns the first, so a client that got no answer can ask again.
    #[serde(default)]
    #[schema(example = "8c1f0e6a5b7d4c3e9f2a1b0c4d5e6f70")]
    pub key: Option<String>,
}

/// A command to a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Command {
    #[schema(example = "cmd-17")]
    pub id: String,
    #[schema(example = "dev-42")]
    pub device: String,
    #[schema(example = "set_power")]
    pub kind: String,
    /// The inverter, if it is for one.
    #[schema(example = 0)]
    pub inverter: Option<u8>,
    #[schema(example = json!({"watts": "3000"}))]
    pub arguments: BTreeMap<String, String>,
    #[schema(example = 5)]
    pub priority: u8,
    pub state: CommandState,
    /// When it got into this state.
    #[schema(example = "2026-11-27T10:15:02.000Z")]
    pub since: String,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub created: String,
    /// Who sent it.
    #[schema(example = "token 1 (set-up)")]
    pub by: String,
    #[schema(example = "2026-11-27T11:00:00.000Z")]
    pub not_before: Option<String>,
    /// The device does not begin it after this instant.
    #[schema(example = "2026-11-27T10:16:00.000Z")]
    pub deadline: String,
    /// Why it failed.
    pub failure: Option<CommandFailure>,
    /// The Modbus exception code, if the inverter refused.
    #[schema(example = 2)]
    pub exception: Option<u16>,
    /// Registers that were read, or read back after a write.
    #[schema(example = json!([3_000]))]
    pub registers: Vec<u16>,
}

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// It goes out with the reply to the device's next message, and can be cancelled until then.
    Queued,
    /// In a reply to the device, which has not reported on it yet.
    Sent,
    /// The device will execute it.
    Accepted,
    Succeeded,
    Failed,
    /// Its deadline passed before it was begun.
    Expired,
    Cancelled,
    /// Whether it was executed is not known; it is not executed again.
    Unknown,
}

impl CommandState {
    /// Returns whether it can still change by itself.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Sent | Self::Accepted)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandFailure {
    /// A reason that this server does not know.
    Other,
    /// The device does not know this kind of command, or cannot execute it.
    Unsupported,
    /// The device has no such inverter.
    NoInverter,
    /// The inverter's profile has no such point.
    NoPoint,
    /// The profile does not allow the point to be written.
    ReadOnly,
    /// The value is not within the profile's bounds.
    OutOfBounds,
    /// The value is not one that the profile allows.
    NotAllowed,
    /// The owner has locked the device against writes.
    Locked,
    /// The register has been written as often as its memory allows today.
    Worn,
    /// The inverter's rated power is not known.
    NoRatedPower,
    /// The inverter did not answer; it may have executed a write.
    NoAnswer,
    /// The inverter refused.
    Exception,
    /// The inverter accepted the write, but the register has another value.
    ReadBack,
    /// The device does not know the time, so it cannot tell whether the deadline has passed.
    NoTime,
    /// The device's memory of accepted commands is full or could not be written.
    Storage,
    /// A lease holds the inverter's limit; a lower one is another lease.
    Leased,
}

/// A command with every state that it had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandDetail {
    #[serde(flatten)]
    pub command: Command,
    pub transitions: Vec<CommandTransition>,
}

/// A state that a command had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandTransition {
    pub state: CommandState,
    /// Since when, by the server's clock.
    #[schema(example = "2026-11-27T10:15:02.000Z")]
    pub at: String,
    /// An operator, the device, or `server`.
    #[schema(example = "dev-42")]
    pub by: String,
    /// When it happened by the device's clock, if it reported that.
    #[schema(example = "2026-11-27T10:15:01.500Z")]
    pub device_at: Option<String>,
    pub failure: Option<CommandFailure>,
}

/// Commands of a device, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandList {
    pub commands: Vec<Command>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "cmd-3")]
    pub next_cursor: Option<String>,
}

/// Figures on commands: those that have not ended, and the newest 50,000 of those that ended since
/// `from`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandStatistics {
    #[schema(example = "2026-11-26T10:15:00.000Z")]
    pub from: String,
    #[schema(example = 1)]
    pub queued: u64,
    #[schema(example = 0)]
    pub sent: u64,
    #[schema(example = 0)]
    pub accepted: u64,
    #[schema(example = 40)]
    pub succeeded: u64,
    #[schema(example = 1)]
    pub failed: u64,
    #[schema(example = 0)]
    pub expired: u64,
    #[schema(example = 2)]
    pub cancelled: u64,
    #[schema(example = 0)]
    pub unknown: u64,
    /// Share of those that succeeded among all that ended without being cancelled; absent if none
    /// did.
    #[schema(example = 0.975)]
    pub success_rate: Option<f64>,
    /// Time from when a command could begin until its result arrived: the middle one of all that
    /// succeeded or failed.
    #[schema(example = 1_840)]
    pub latency_median_ms: Option<i64>,
    /// The time that 99 of 100 did not exceed.
    #[schema(example = 5_200)]
    pub latency_p99_ms: Option<i64>,
}

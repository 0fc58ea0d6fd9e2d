//! What `GET /api/v1/events` sends (server-sent events).
//!
//! The event's `event:` field is an [`EventKind`], its `data:` the JSON of the type named there.
//! `?device=dev-42` narrows the stream to one device. A reader that falls too far behind gets
//! `reload` and should fetch what it shows again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::command::CommandState;
use crate::device::DeviceState;

/// Names of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// [`LiveSample`]
    Sample,
    /// [`DeviceChanged`]
    Device,
    /// [`ConfigChanged`]
    Config,
    /// [`CommandChanged`]
    Command,
    /// No data.
    Reload,
}

/// The newest sample of a message that was just stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LiveSample {
    #[schema(example = "dev-42")]
    pub device: String,
    #[schema(example = 0)]
    pub inverter: u8,
    #[schema(example = 1_795_774_495_000_i64)]
    pub t_ms: i64,
    /// (point, value) of the good readings.
    #[schema(example = json!([["ac.power", 6_840.0]]))]
    pub values: Vec<(String, f64)>,
}

/// A device's entry in the list changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceChanged {
    #[schema(example = "dev-42")]
    pub device: String,
    pub state: DeviceState,
    #[schema(example = 6_840.0)]
    pub power_w: Option<f64>,
    #[schema(example = 23_410)]
    pub energy_today_wh: Option<i64>,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub last_seen: Option<String>,
}

/// The desired or the reported configuration of a device was stored; `GET
/// /api/v1/devices/{id}/config` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigChanged {
    #[schema(example = "dev-42")]
    pub device: String,
}

/// A command was made or has changed its state; `GET /api/v1/commands/{id}` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandChanged {
    #[schema(example = "dev-42")]
    pub device: String,
    #[schema(example = "cmd-17")]
    pub command: String,
    pub state: CommandState,
}

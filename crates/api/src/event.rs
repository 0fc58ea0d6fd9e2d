//! What `GET /api/v1/events` sends (server-sent events).
//!
//! The event's `event:` field is an [`EventKind`], its `data:` the JSON of the type named there.
//! `?device=dev-42` narrows the stream to one device. A reader that falls too far behind gets
//! `reload` and should fetch what it shows again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::device::DeviceState;

/// Names of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// [`LiveSample`]
    Sample,
    /// [`DeviceChanged`]
    Device,
    /// No data.
    Reload,
}

/// The newest sample of a message that was just stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LiveSample {
    pub device: String,
    pub inverter: u8,
    pub t_ms: i64,
    /// (point, value) of the good readings.
    pub values: Vec<(String, f64)>,
}

/// A device's line in the fleet changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceChanged {
    pub device: String,
    pub state: DeviceState,
    pub power_w: Option<f64>,
    pub energy_today_wh: Option<i64>,
    pub last_seen: Option<String>,
}

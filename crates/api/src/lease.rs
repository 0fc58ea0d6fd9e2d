//! Leases of limits, and the changes that they made at inverters.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandFailure;

/// A limit that holds for a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLease {
    /// A part of the rated power, with at most one decimal, or watts.
    #[schema(example = "50%")]
    pub limit: String,
    /// The inverter, from 0; all of the device if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = 0)]
    pub inverter: Option<u8>,
    /// When it begins, to the second. Default: now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "2026-11-28T11:00:00Z")]
    pub from: Option<String>,
    /// How long it lasts, seconds.
    #[schema(example = 3_600)]
    pub for_s: u32,
    /// Seconds in which the limit falls from full power at the beginning, and rises at the end: 0 to
    /// 3600. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = 60)]
    pub ramp_s: Option<u16>,
    /// Seconds without a reply of the server after which the device uses `then`: 10 to 64800.
    /// Default: 900.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = 900)]
    pub link_loss_s: Option<u16>,
    /// The limit that holds after the end until the lease is released, and while the connection is
    /// lost. Without it the inverter gets back the limit that was found, and a lost connection
    /// changes nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "0%")]
    pub then: Option<String>,
    /// Which of two equal limits is named: 0 to 9. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = 5)]
    pub priority: Option<u8>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    #[schema(example = "lease-7")]
    pub id: String,
    #[schema(example = "dev-42")]
    pub device: String,
    /// The inverter; all of the device if absent.
    #[schema(example = 0)]
    pub inverter: Option<u8>,
    #[schema(example = "50%")]
    pub limit: String,
    #[schema(example = "2026-11-28T11:00:00.000Z")]
    pub from: String,
    #[schema(example = "2026-11-28T12:00:00.000Z")]
    pub to: String,
    #[schema(example = 60)]
    pub ramp_s: u16,
    #[schema(example = 900)]
    pub link_loss_s: u16,
    #[schema(example = "0%")]
    pub then: Option<String>,
    #[schema(example = 5)]
    pub priority: u8,
    #[schema(example = "2026-11-28T10:58:00.000Z")]
    pub made_at: String,
    #[schema(example = "anna")]
    pub made_by: String,
    pub state: LeaseState,
    /// Why the device refuses it.
    pub refusal: Option<LeaseRefusal>,
    #[schema(example = "2026-11-28T11:30:00.000Z")]
    pub released_at: Option<String>,
    #[schema(example = "anna")]
    pub released_by: Option<String>,
}

/// How far a lease is, by the server's clock and the device's last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// The device has not reported that it has it.
    Pending,
    /// The device does not follow it.
    Refused,
    /// The device has it; it has not begun.
    Scheduled,
    /// It lasts.
    Active,
    /// Its time is over, and what it states for afterwards holds.
    Afterwards,
    /// Its time is over.
    Over,
    Released,
}

/// Why a device refuses a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseRefusal {
    /// A reason that this server does not know.
    Other,
    /// Not within the bounds of the device.
    OutOfBounds,
    /// The device has no such inverter.
    NoInverter,
    /// The device has no room for it.
    TooMany,
}

/// A change of an inverter's limit and its proof, as the device reported it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitChange {
    #[schema(example = 0)]
    pub inverter: u8,
    #[schema(example = "2026-11-28T11:00:00.120Z")]
    pub at: String,
    #[schema(example = "lease-7")]
    pub lease: Option<String>,
    pub cause: LimitCause,
    /// What was ordered, % of the rated power; absent if there is no limit.
    #[schema(example = 50.0)]
    pub limit_percent: Option<f64>,
    /// Why the inverter does not have it.
    pub failure: Option<CommandFailure>,
    /// A number that belongs to the failure, such as the Modbus exception.
    #[schema(example = 2)]
    pub detail: Option<u16>,
    /// Milliseconds until the inverter showed the limit when it was read back.
    #[schema(example = 120)]
    pub confirmed_ms: Option<u32>,
    /// Power in W, measured after that.
    #[schema(example = 2_480)]
    pub power_w: Option<i32>,
    /// Milliseconds until it was measured.
    #[schema(example = 3_900)]
    pub power_ms: Option<u32>,
}

/// Why a limit changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitCause {
    /// A cause that this server does not know.
    Other,
    /// A lease lasts.
    Lease,
    /// The server was silent for too long, or the time was not known.
    Fallback,
    /// What holds after a lease.
    Afterwards,
    /// No lease is left; what was found before was restored.
    Released,
}

/// The newest leases of a device and changes of its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LeaseList {
    /// Newest first, at most 50.
    pub leases: Vec<Lease>,
    /// Newest first, at most 100.
    pub changes: Vec<LimitChange>,
    /// When the device last reported its leases.
    #[schema(example = "2026-11-28T11:00:04.000Z")]
    pub reported_at: Option<String>,
}

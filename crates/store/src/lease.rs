//! Leases of limits: what a device should keep, what it reports of them, and the changes that they
//! made at inverters.
//!
//! Pure: numbers generations and decides whether a reply must carry the leases.

use ecowatt_model::{
    BootEpoch, DeviceNumber, KeyGeneration, LeaseGeneration, LeaseId, MonoMs, SourceNumber, UnixMs,
};

use crate::audit::Author;
use crate::error::StoreError;
use crate::limits::LOST_GENERATIONS_MAX;

/// A limit of active power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerLimit {
    /// Thousandths of the rated power.
    Permille(u16),
    Watts(u32),
}

/// What a lease says; see `ecowatt_model::lease` for its bounds, which the caller checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The inverter; all if absent.
    pub source: Option<SourceNumber>,
    pub limit: PowerLimit,
    /// From this Unix second to before the other.
    pub from_s: u32,
    pub to_s: u32,
    pub ramp_s: u16,
    /// How long the server may be silent before `then` holds.
    pub link_loss_s: u16,
    /// What holds afterwards, until the lease is released.
    pub then: Option<PowerLimit>,
    pub priority: u8,
}

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    pub device: DeviceNumber,
    pub by: Author,
    pub terms: LeaseTerms,
    /// The generation with which it was first sent.
    pub generation: LeaseGeneration,
    /// Who released it, or when it was over and made room for another.
    pub released: Option<Author>,
}

/// The leases that a device should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredLeases {
    pub generation: LeaseGeneration,
    pub leases: Vec<(LeaseId, LeaseTerms)>,
}

/// A lease that a device refuses, and its reason on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedLease {
    pub id: LeaseId,
    pub reason: u8,
}

/// A change of an inverter's limit, as a device reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitChange {
    pub source: SourceNumber,
    /// Epoch and monotonic time name it.
    pub epoch: BootEpoch,
    pub mono: MonoMs,
    /// When it began: by the device's clock, or else when it was received.
    pub at: UnixMs,
    pub lease: Option<LeaseId>,
    /// Codes on the wire.
    pub cause: u8,
    pub failure: u8,
    pub detail: u16,
    /// Millionths of the rated power; `None` if there is no limit.
    pub limit_ppm: Option<u32>,
    pub confirmed_ms: Option<u32>,
    pub power_w: Option<i32>,
    pub power_ms: Option<u32>,
}

/// What a device reports of its leases in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedLeases {
    pub generation: LeaseGeneration,
    pub refused: Vec<RefusedLease>,
    pub changes: Vec<LimitChange>,
}

/// A device's last report of its leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseReport {
    /// The key that it reported under.
    pub key_generation: KeyGeneration,
    pub received_at: UnixMs,
    pub generation: LeaseGeneration,
    pub refused: Vec<RefusedLease>,
}

/// The leases of a device, with what is known of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceLeases {
    /// Newest first.
    pub leases: Vec<Lease>,
    /// What the device reported under its present key.
    pub report: Option<LeaseReport>,
    /// Newest first.
    pub changes: Vec<LimitChange>,
}

/// Why a lease was not made or released.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    #[error("there is no such device")]
    UnknownDevice,
    #[error("there is no such lease")]
    UnknownLease,
    #[error("the lease is released")]
    Released,
    #[error("a device keeps {} leases; release one first", ecowatt_model::lease::LEASES_MAX)]
    TooMany,
    #[error("the device has no further generation")]
    Exhausted,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns the leases that a reply to a message under this key must carry: the desired ones, until
/// the device has reported them.
pub(crate) fn pending(
    desired: Option<&DesiredLeases>,
    report: Option<&LeaseReport>,
    under: KeyGeneration,
) -> Option<DesiredLeases> {
    let report = report.filter(|report| report.key_generation == under);
    let reported = report.map_or(LeaseGeneration(0), |report| report.generation);
    desired.filter(|desired| desired.generation > reported).cloned()
}

/// The generation after a change: above the present one, and above what the device reported, which
/// a restored backup may lack.
pub(crate) fn next_generation(
    present: LeaseGeneration,
    report: Option<&LeaseReport>,
) -> Result<LeaseGeneration, LeaseError> {
    let reported = report.map_or(0, |report| report.generation.0);
    let believed = reported.min(present.0.saturating_add(LOST_GENERATIONS_MAX));
    let next = present.0.max(believed).checked_add(1).ok_or(LeaseError::Exhausted)?;
    Ok(LeaseGeneration(next))
}

impl LeaseTerms {
    /// Whether it asks for nothing any more without being released.
    #[must_use]
    pub fn is_over(&self, now: UnixMs) -> bool {
        let end = i64::from(self.to_s) + i64::from(self.ramp_s);
        self.then.is_none() && end * 1_000 <= now.0
    }
}

impl PowerLimit {
    pub(crate) fn to_columns(self) -> (u8, u32) {
        match self {
            Self::Permille(permille) => (0, permille.into()),
            Self::Watts(watts) => (1, watts),
        }
    }

    pub(crate) fn from_columns(unit: u8, value: u32) -> Option<Self> {
        match unit {
            0 => u16::try_from(value).ok().map(Self::Permille),
            1 => Some(Self::Watts(value)),
            _ => None,
        }
    }
}

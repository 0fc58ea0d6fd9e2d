//! Leases of limits: what an operator asks for, checked against the bounds that devices check, too,
//! and how far each one is. Delivery to devices and their reports are part of ingest.

use std::str::FromStr as _;

use ecowatt_model::lease::{
    LENGTH_MAX_S, LINK_LOSS_DEFAULT_S, LINK_LOSS_MAX_S, LINK_LOSS_MIN_S, PERMILLE_FULL, RAMP_MAX_S,
    WATTS_MAX,
};
use ecowatt_model::{LeaseId, SourceNumber, UnixMs};
use ecowatt_profile::Scaled;
use ecowatt_store::{
    Author, DeviceLeases, Lease, LeaseError, LeaseReport, LeaseTerms, PowerLimit, Store, StoreError,
};

use crate::fleet::Reached;
use crate::limits::{LEASE_AHEAD_MAX_S, LEASE_PRIORITY_DEFAULT, LEASE_PRIORITY_MAX};
use crate::live::Live;
use crate::waiting_devices::WaitingDevices;

/// A lease as an operator writes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaseRequest {
    pub(crate) limit: String,
    pub(crate) source: Option<SourceNumber>,
    pub(crate) from: Option<UnixMs>,
    pub(crate) for_s: u32,
    pub(crate) ramp_s: Option<u16>,
    pub(crate) link_loss_s: Option<u16>,
    pub(crate) then: Option<String>,
    pub(crate) priority: Option<u8>,
}

/// Why a lease was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseRequestError {
    #[error("`{0}` is no limit: 0% to 100% with at most one decimal, or 0W to {WATTS_MAX}W")]
    Limit(String),
    #[error("a lease lasts 1 to {LENGTH_MAX_S} s")]
    Length,
    #[error("a ramp takes at most {RAMP_MAX_S} s")]
    Ramp,
    #[error("a lost connection is one of {LINK_LOSS_MIN_S} to {LINK_LOSS_MAX_S} s")]
    LinkLoss,
    #[error("a priority is 0 to {LEASE_PRIORITY_MAX}")]
    Priority,
    #[error("a lease begins at most {} days from now", LEASE_AHEAD_MAX_S / 86_400)]
    Begin,
    #[error("the device has no inverter {}", .0.0)]
    NoInverter(SourceNumber),
    #[error(transparent)]
    Store(#[from] LeaseError),
}

/// How far a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeasePhase {
    Pending,
    /// The reason on the wire.
    Refused(u8),
    Scheduled,
    Active,
    Afterwards,
    Over,
    Released,
}

/// Makes and releases leases.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    store: Store,
    live: Live,
    waiting: WaitingDevices,
}

impl Leases {
    #[must_use]
    pub(crate) fn new(store: Store, live: Live, waiting: WaitingDevices) -> Self {
        Self { store, live, waiting }
    }

    /// Makes a lease for a device.
    ///
    /// # Errors
    /// If it is not allowed, the device has too many, or the store fails.
    pub(crate) async fn create(
        &self,
        by: Author,
        device: &Reached,
        request: &LeaseRequest,
    ) -> Result<Lease, LeaseRequestError> {
        let terms = checked(device, request, by.at)?;
        let lease = self.store.create_lease(by, device.number(), terms).await?;
        self.live.publish_config(lease.device);
        self.waiting.tell(lease.device);
        Ok(lease)
    }

    /// Releases a lease.
    ///
    /// # Errors
    /// If it does not exist, is released, or the store fails.
    pub(crate) async fn release(&self, by: Author, id: LeaseId) -> Result<Lease, LeaseError> {
        let lease = self.store.release_lease(by, id).await?;
        self.live.publish_config(lease.device);
        self.waiting.tell(lease.device);
        Ok(lease)
    }

    /// Returns a lease of any device; the caller must check that its device can be reached.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn find(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        self.store.find_lease(id).await
    }

    /// Returns the newest leases of a device with what it reported.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn list(&self, device: &Reached) -> Result<DeviceLeases, StoreError> {
        self.store.find_leases(device.number()).await
    }
}

/// Returns how far a lease is, by the device's last report.
pub(crate) fn phase(lease: &Lease, report: Option<&LeaseReport>, now: UnixMs) -> LeasePhase {
    let LeaseTerms { from_s, to_s, then, .. } = lease.terms;
    let now_s = now.0.div_euclid(1_000);
    let Some(report) = report.filter(|report| report.generation >= lease.generation) else {
        return if lease.released.is_some() { LeasePhase::Released } else { LeasePhase::Pending };
    };
    let refused = report.refused.iter().find(|refused| refused.id == lease.id);
    match refused {
        _ if lease.released.is_some() => LeasePhase::Released,
        Some(refused) => LeasePhase::Refused(refused.reason),
        None if now_s < i64::from(from_s) => LeasePhase::Scheduled,
        None if now_s < i64::from(to_s) => LeasePhase::Active,
        None if then.is_some() => LeasePhase::Afterwards,
        None => LeasePhase::Over,
    }
}

fn checked(
    device: &Reached,
    request: &LeaseRequest,
    now: UnixMs,
) -> Result<LeaseTerms, LeaseRequestError> {
    if let Some(source) = request.source.filter(|source| !device.may_have(*source)) {
        return Err(LeaseRequestError::NoInverter(source));
    }
    let from = request.from.unwrap_or(now).0.div_euclid(1_000);
    let is_near = from - now.0.div_euclid(1_000) <= LEASE_AHEAD_MAX_S;
    let from_s = u32::try_from(from).ok().filter(|_| is_near).ok_or(LeaseRequestError::Begin)?;
    let is_length = (1..=LENGTH_MAX_S).contains(&request.for_s);
    let to_s = from_s.checked_add(request.for_s).filter(|_| is_length);
    let ramp_s = request.ramp_s.unwrap_or(0);
    let link_loss_s = request.link_loss_s.unwrap_or(LINK_LOSS_DEFAULT_S);
    let priority = request.priority.unwrap_or(LEASE_PRIORITY_DEFAULT);
    if ramp_s > RAMP_MAX_S {
        return Err(LeaseRequestError::Ramp);
    }
    if !(LINK_LOSS_MIN_S..=LINK_LOSS_MAX_S).contains(&link_loss_s) {
        return Err(LeaseRequestError::LinkLoss);
    }
    if priority > LEASE_PRIORITY_MAX {
        return Err(LeaseRequestError::Priority);
    }
    Ok(LeaseTerms {
        source: request.source,
        limit: limit(&request.limit)?,
        from_s,
        to_s: to_s.ok_or(LeaseRequestError::Length)?,
        ramp_s,
        link_loss_s,
        then: request.then.as_deref().map(limit).transpose()?,
        priority,
    })
}

/// Reads `50%`, `33.3%` or `3000W`.
fn limit(text: &str) -> Result<PowerLimit, LeaseRequestError> {
    let wrong = || LeaseRequestError::Limit(text.to_owned());
    let number = |text: &str, exponent| Scaled::from_str(text.trim()).ok()?.rescale(exponent);
    if let Some(percent) = text.strip_suffix('%') {
        let permille = number(percent, -1).and_then(|tenths| u16::try_from(tenths).ok());
        let permille = permille.filter(|permille| *permille <= PERMILLE_FULL);
        return permille.map(PowerLimit::Permille).ok_or_else(wrong);
    }
    let watts = text.strip_suffix(['W', 'w']).and_then(|watts| number(watts, 0));
    let watts = watts.and_then(|watts| u32::try_from(watts).ok());
    watts.filter(|watts| *watts <= WATTS_MAX).map(PowerLimit::Watts).ok_or_else(wrong)
}

/// Writes a limit as [`limit`] reads it.
pub(crate) fn limit_text(limit: PowerLimit) -> String {
    match limit {
        PowerLimit::Permille(permille) if permille % 10 == 0 => format!("{}%", permille / 10),
        PowerLimit::Permille(permille) => format!("{}.{}%", permille / 10, permille % 10),
        PowerLimit::Watts(watts) => format!("{watts}W"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written() {
        for (text, expected) in [
            ("50%", PowerLimit::Permille(500)),
            ("33.3%", PowerLimit::Permille(333)),
            ("0%", PowerLimit::Permille(0)),
            ("100%", PowerLimit::Permille(1_000)),
            ("3000W", PowerLimit::Watts(3_000)),
        ] {
            assert_eq!(limit(text).unwrap(), expected);
            assert_eq!(limit_text(expected), text);
        }
        for text in ["", "50", "100.1%", "33.33%", "-1%", "1.5W", "10000001W", "%", "W"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}

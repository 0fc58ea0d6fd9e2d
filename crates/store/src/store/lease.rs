//! Leases of limits.

use ecowatt_model::{DeviceNumber, LeaseId};

use crate::audit::Audited;
use crate::sqlite::lease;
use crate::{Author, DeviceLeases, Lease, LeaseError, LeaseTerms, Store, StoreError};

/// Leases of limits.
impl Store {
    /// Makes a lease for a device.
    pub async fn create_lease(
        &self,
        by: Author,
        device: DeviceNumber,
        terms: LeaseTerms,
    ) -> Result<Lease, LeaseError> {
        let author = by.clone();
        self.sqlite()
            .change(
                Audited::new(by, "lease.create"),
                move |db, _| lease::create_lease(db, &author, device, &terms),
                |lease: &Lease| Some(subject(lease)),
            )
            .await
    }

    /// Releases a lease: the device gets what is left of its leases.
    pub async fn release_lease(&self, by: Author, id: LeaseId) -> Result<Lease, LeaseError> {
        let author = by.clone();
        self.sqlite()
            .change(
                Audited::new(by, "lease.release"),
                move |db, _| lease::release_lease(db, &author, id),
                |lease: &Lease| Some(subject(lease)),
            )
            .await
    }

    /// Returns a lease, also one of a deleted device whose data is being removed.
    pub async fn find_lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        self.sqlite().look_up(move |db| lease::find_lease(db, id)).await
    }

    /// Returns the newest leases of a device, its report, and the newest changes of its limits.
    pub async fn find_leases(&self, device: DeviceNumber) -> Result<DeviceLeases, StoreError> {
        self.sqlite().read(move |db| lease::find_leases(db, device)).await
    }
}

fn subject(lease: &Lease) -> String {
    format!("lease-{} of {}", lease.id, lease.device)
}

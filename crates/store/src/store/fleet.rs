//! Sites, devices, keys and claims.

use std::collections::BTreeMap;

use ecowatt_model::{DeviceNumber, KeyGeneration, UnixMs};

use crate::audit::Audited;
use crate::sqlite::{claim, deletion, device, key, site};
use crate::{
    Author, Claim, CreateClaimError, Device, DeviceKey, DevicePage, DeviceQuery, DeviceState,
    DeviceSweep, EditDevice, EditError, EditSite, NewClaim, OpenClaim, RedeemClaim,
    RedeemClaimError, Site, SiteId, Store, StoreError,
};

/// Sites, devices, keys and claims.
impl Store {
    pub async fn list_sites(&self) -> Result<Vec<Site>, StoreError> {
        self.sqlite().read(site::list_sites).await
    }

    /// Creates a claim, and its device and site if they are new.
    pub async fn create_claim(
        &self,
        by: Author,
        new: NewClaim,
    ) -> Result<DeviceNumber, CreateClaimError> {
        self.sqlite()
            .change(
                Audited::new(by, "claim.create"),
                move |db, journal| claim::create_claim(db, journal, &new),
                |device: &DeviceNumber| Some(device.to_string()),
            )
            .await
    }

    pub async fn find_claim(&self, id: String) -> Result<Option<Claim>, StoreError> {
        self.sqlite().look_up(move |db| claim::find_claim(db, &id)).await
    }

    /// Returns the claims that can be redeemed at `now`, newest first, at most
    /// [`crate::limits::CLAIMS_LISTED_MAX`].
    pub async fn list_claims(&self, now: UnixMs) -> Result<Vec<OpenClaim>, StoreError> {
        self.sqlite().read(move |db| claim::list_claims(db, now)).await
    }

    /// Deletes a claim that was not redeemed; returns whether there was one.
    pub async fn delete_claim(&self, by: Author, id: String) -> Result<bool, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "claim.delete"),
                {
                    let id = id.clone();
                    move |db, journal| claim::delete_claim(db, journal, &id)
                },
                move |was_there: &bool| was_there.then(|| format!("claim {id}")),
            )
            .await
    }

    /// Stores the device's key and spends the claim, or does neither. Revokes earlier keys of the
    /// device.
    pub async fn redeem_claim(
        &self,
        by: Author,
        claim: RedeemClaim,
    ) -> Result<(), RedeemClaimError> {
        let redeemed = self
            .sqlite()
            .change(
                Audited::new(by, "claim.redeem"),
                move |db, journal| key::redeem_claim(db, journal, &claim),
                |device: &DeviceNumber| Some(device.to_string()),
            )
            .await;
        if let Ok(device) = redeemed {
            self.sqlite().keys_given(device);
        }
        redeemed.map(drop)
    }

    pub async fn find_key(
        &self,
        device: DeviceNumber,
        generation: KeyGeneration,
    ) -> Result<Option<DeviceKey>, StoreError> {
        self.sqlite().find_key(device, generation).await
    }

    /// Returns, for each of the devices that has a key, when its newest key was revoked, if it was.
    pub async fn newest_keys(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<BTreeMap<DeviceNumber, Option<UnixMs>>, StoreError> {
        self.sqlite().read(move |db| key::newest_keys(db, &devices)).await
    }

    /// Revokes all keys of a device and voids its outstanding claims; returns whether there were
    /// any.
    pub async fn revoke_keys(&self, by: Author, device: DeviceNumber) -> Result<bool, StoreError> {
        let at = by.at;
        self.sqlite()
            .change(
                Audited::new(by, "key.revoke"),
                move |db, journal| key::revoke_keys(db, journal, device, at),
                move |was_there: &bool| was_there.then(|| device.to_string()),
            )
            .await
    }

    pub async fn list_devices(&self, query: DeviceQuery) -> Result<DevicePage, StoreError> {
        self.sqlite().read(move |db| device::list_devices(db, &query)).await
    }

    /// Returns devices in the order of their numbers, starting after the given one.
    pub async fn sweep_devices(
        &self,
        after: Option<DeviceNumber>,
        limit: u32,
    ) -> Result<DeviceSweep, StoreError> {
        self.sqlite().read(move |db| device::sweep_devices(db, after, limit)).await
    }

    pub async fn find_device(&self, device: DeviceNumber) -> Result<Option<Device>, StoreError> {
        self.sqlite().look_up(move |db| device::find_device(db, device)).await
    }

    /// Changes the name and site of a device.
    pub async fn edit_device(&self, by: Author, change: EditDevice) -> Result<(), EditError> {
        let device = change.device;
        self.sqlite()
            .change(
                Audited::new(by, "device.edit"),
                move |db, _| device::edit_device(db, &change),
                move |is_changed| is_changed.then(|| device.to_string()),
            )
            .await
            .map(drop)
    }

    /// Changes the name and time zone of a site.
    pub async fn edit_site(&self, by: Author, change: EditSite) -> Result<(), EditError> {
        let site = change.site;
        self.sqlite()
            .change(
                Audited::new(by, "site.edit"),
                move |db, _| site::edit_site(db, &change),
                move |is_changed| is_changed.then(|| format!("site {}", site.0)),
            )
            .await
            .map(drop)
    }

    /// Deletes a site that has no devices.
    pub async fn delete_site(&self, by: Author, site: SiteId) -> Result<(), EditError> {
        self.sqlite()
            .change(
                Audited::new(by, "site.delete"),
                move |db, _| site::delete_site(db, site),
                move |()| Some(format!("site {}", site.0)),
            )
            .await
    }

    /// Revokes a device's keys and discards what was reported under them; its stored samples stay.
    /// Returns whether the device exists.
    pub async fn reset_device(&self, by: Author, device: DeviceNumber) -> Result<bool, StoreError> {
        let at = by.at;
        self.sqlite()
            .rewrite(
                Audited::new(by, "device.reset"),
                move |db, journal| device::reset_device(db, journal, device, at),
                move |was_there: &bool| was_there.then(|| device.to_string()),
            )
            .await
    }

    /// Revokes a device's keys and hides it; [`Store::sweep`] removes its stored data later.
    /// Returns whether the device exists.
    pub async fn delete_device(
        &self,
        by: Author,
        device: DeviceNumber,
    ) -> Result<bool, StoreError> {
        let at = by.at;
        self.sqlite()
            .rewrite(
                Audited::new(by, "device.delete"),
                move |db, journal| deletion::delete_device(db, journal, device, at),
                move |was_there: &bool| was_there.then(|| device.to_string()),
            )
            .await
    }

    /// Removes some of the data of deleted devices; returns whether there may be more.
    pub async fn sweep(&self) -> Result<bool, StoreError> {
        if !self.sqlite().read(deletion::has_deleted).await? {
            return Ok(false);
        }
        self.sqlite().write(deletion::sweep).await
    }

    /// Returns a few other devices with the same name at the same site.
    pub async fn namesakes(&self, device: DeviceNumber) -> Result<Vec<DeviceNumber>, StoreError> {
        self.sqlite().read(move |db| device::namesakes(db, device)).await
    }

    /// Sets states; returns the devices whose state changed.
    pub async fn set_states(
        &self,
        states: Vec<(DeviceNumber, DeviceState)>,
        at: UnixMs,
    ) -> Result<Vec<DeviceNumber>, StoreError> {
        self.sqlite().write(move |db| device::set_states(db, &states, at)).await
    }
}

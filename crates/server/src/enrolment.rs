//! Gives devices their identities: claim codes are created for operators and redeemed by devices.
//!
//! The handshake's cryptography is in `ecowatt-envelope`. This module decides what surrounds it:
//! which claim, how long it is valid, how often it can be redeemed. A caller that cannot prove that
//! it holds the code only learns that it was refused. One that can also learns whether the code was
//! used or has expired.

use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_envelope::enrol::{ENROL_MESSAGE_MAX, EnrolError, EnrolmentGrant, Request};
use ecowatt_envelope::{ClaimCode, ClaimId};
use ecowatt_model::{DeviceNumber, KeyGeneration, StreamNumber, UnixMs};
use ecowatt_store::{
    Author, Claim, ClaimFor, CreateClaimError, EnrolOriginal, NewClaim, OpenClaim, RedeemClaim,
    RedeemClaimError, Store, StoreError,
};

use crate::entered_name::checked_name;
use crate::limits::{CLAIM_LIFETIME_DEFAULT, CLAIM_LIFETIME_MAX, NAME_CHARS_MAX};
use crate::original_request::{OriginalProblem, OriginalRequest, checked_id, checked_key};
use crate::time::checked_zone;

/// Draws of a claim id before giving up. Each stored claim occupies one id in 33 million.
const ID_DRAWS: usize = 4;

/// Site of devices of the earlier EcoWatt that were not assigned to one.
const ORIGINAL_SITE: &str = "Original devices";

/// An operator's request for a claim code.
#[derive(Debug, Clone)]
pub(crate) struct ClaimRequest {
    pub(crate) claim_for: ClaimFor,
    /// [`CLAIM_LIFETIME_DEFAULT`] if absent.
    pub(crate) valid_for: Option<Duration>,
}

/// A claim code to show to the operator. It cannot be shown again.
#[derive(Debug, Clone)]
pub(crate) struct NewClaimCode {
    pub(crate) device: DeviceNumber,
    pub(crate) code: ClaimCode,
    pub(crate) expires: UnixMs,
}

/// Why no claim code was created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("a {0} has 1 to {NAME_CHARS_MAX} characters and no control characters")]
    Name(&'static str),
    #[error("{0:?} is not an IANA time zone such as Europe/Berlin")]
    TimeZone(String),
    #[error("a claim code is valid for at least a second and at most {} days", CLAIM_LIFETIME_MAX.as_secs() / 86_400)]
    Lifetime,
    #[error("there is no site of that name yet; give its time zone to make it")]
    UnknownSite,
    #[error("the site of that name is in the time zone {0}")]
    OtherTimeZone(String),
    #[error("there is no such device")]
    UnknownDevice,
    #[error("this device has used all its key generations; enrol it as a new device")]
    Exhausted,
    #[error(transparent)]
    Original(#[from] OriginalProblem),
    #[error("no free claim id found")]
    NoFreeId,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the operating system has no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Why a device was not enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeemError {
    #[error(transparent)]
    Handshake(#[from] EnrolError),
    #[error("there is no such claim")]
    Unknown,
    #[error("the claim expired")]
    Expired,
    #[error("the claim was redeemed by another device")]
    RedeemedByOther,
    #[error("the device has used all its key generations or boot epochs")]
    Exhausted,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the operating system has no random numbers")]
    Random(#[from] getrandom::Error),
}

impl RedeemError {
    /// The label in metrics.
    #[must_use]
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Handshake(EnrolError::Malformed) => "malformed",
            Self::Handshake(EnrolError::BadTag) => "bad_tag",
            Self::Handshake(EnrolError::WeakKey) => "weak_key",
            Self::Unknown => "unknown_claim",
            Self::Expired => "expired",
            Self::RedeemedByOther => "redeemed_by_other",
            Self::Exhausted => "exhausted",
            Self::Store(_) | Self::Random(_) => "failed",
        }
    }
}

impl From<CreateClaimError> for ClaimError {
    fn from(error: CreateClaimError) -> Self {
        match error {
            CreateClaimError::IdTaken => Self::NoFreeId,
            CreateClaimError::UnknownSite => Self::UnknownSite,
            CreateClaimError::OtherTimeZone(zone) => Self::OtherTimeZone(zone),
            CreateClaimError::Exhausted => Self::Exhausted,
            CreateClaimError::UnknownDevice => Self::UnknownDevice,
            CreateClaimError::Store(error) => Self::Store(error),
        }
    }
}

/// Creates and redeems claims.
#[derive(Debug, Clone)]
pub(crate) struct Enrolment {
    store: Store,
    clock: Clock,
    /// Whether devices of the earlier EcoWatt may have the published key.
    is_demo: bool,
}

impl Enrolment {
    #[must_use]
    pub(crate) fn new(store: Store, clock: Clock, is_demo: bool) -> Self {
        Self { store, clock, is_demo }
    }

    /// Enrols a device of the earlier EcoWatt, or gives an enrolled one another key.
    ///
    /// # Errors
    /// If the request is invalid or the store fails.
    pub(crate) async fn enrol_original(
        &self,
        by: Author,
        request: OriginalRequest,
    ) -> Result<DeviceNumber, ClaimError> {
        let is_default = request.site.is_none();
        let OriginalRequest { id, key, name, site, published_key } = request;
        let id = checked_id(id)?;
        let claim_for = ClaimFor::New {
            name: name.unwrap_or_else(|| id.clone()),
            site: site.as_ref().map_or(ORIGINAL_SITE, |(name, _)| name).into(),
            time_zone: site.and_then(|(_, zone)| zone),
        };
        let ClaimFor::New { name, site, time_zone } = checked(claim_for)? else {
            return Err(ClaimError::UnknownDevice);
        };
        let secret = checked_key(&key, published_key && self.is_demo)?;
        let new = EnrolOriginal { id, name, site, time_zone, secret, at: self.clock.now() };
        match self.store.enrol_original(by.clone(), new.clone()).await {
            // The default site may be new, or be in any zone by now.
            Err(CreateClaimError::UnknownSite) if is_default => {
                let new = EnrolOriginal { time_zone: Some("UTC".into()), ..new };
                Ok(self.store.enrol_original(by, new).await?)
            }
            enrolled => Ok(enrolled?),
        }
    }

    /// Creates a claim code, and its device and site if they do not exist.
    ///
    /// # Errors
    /// If the request is invalid or the store fails.
    pub(crate) async fn make_claim(
        &self,
        by: Author,
        request: ClaimRequest,
    ) -> Result<NewClaimCode, ClaimError> {
        let claim_for = checked(request.claim_for)?;
        let valid_for = request.valid_for.unwrap_or(CLAIM_LIFETIME_DEFAULT);
        if valid_for < Duration::from_secs(1) || valid_for > CLAIM_LIFETIME_MAX {
            return Err(ClaimError::Lifetime);
        }
        let created = self.clock.now();
        let expires = created.plus(valid_for);
        for _ in 0..ID_DRAWS {
            let mut random = [0; 20];
            getrandom::fill(&mut random)?;
            let code = ClaimCode::from_random(&random);
            let claim = NewClaim {
                claim_for: claim_for.clone(),
                id: code.id().as_str().into(),
                secret: code.expose().to_string().into_bytes(),
                created,
                expires,
            };
            match self.store.create_claim(by.clone(), claim).await {
                Ok(device) => return Ok(NewClaimCode { device, code, expires }),
                Err(CreateClaimError::IdTaken) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ClaimError::NoFreeId)
    }

    /// Returns the claims that can be redeemed, the newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn open_claims(&self) -> Result<Vec<OpenClaim>, StoreError> {
        self.store.list_claims(self.clock.now()).await
    }

    /// Voids a claim that was not redeemed; returns whether there was one. `id` is the code's first
    /// group.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn void_claim(&self, by: Author, id: &str) -> Result<bool, StoreError> {
        let Ok(id) = id.parse::<ClaimId>() else { return Ok(false) };
        self.store.delete_claim(by, id.as_str().into()).await
    }

    /// Revokes all keys of a device and voids its claim codes; false if there is no such device.
    /// Succeeds also if the device has neither.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn revoke(
        &self,
        by: Author,
        device: DeviceNumber,
    ) -> Result<bool, StoreError> {
        if self.store.find_device(device).await?.is_none() {
            return Ok(false);
        }
        self.store.revoke_keys(by, device).await?;
        Ok(true)
    }

    /// Answers a device's enrolment message; returns which device it is, and the answer. When it
    /// returns, the device's key is committed and its earlier keys are revoked.
    ///
    /// A device that lost the answer and sends the same message again gets the same answer.
    ///
    /// # Errors
    /// If the message does not redeem a claim.
    pub(crate) async fn redeem(
        &self,
        message: &[u8],
        request_id: String,
    ) -> Result<(DeviceNumber, Vec<u8>), RedeemError> {
        let request = Request::parse(message)?;
        let id = request.claim();
        let claim = self.store.find_claim(id.as_str().into()).await?.ok_or(RedeemError::Unknown)?;
        let code = code_of(&claim)?;
        // Before any look at the claim's state: a caller without the code learns nothing of it.
        request.verify(&code)?;
        if let Some(redemption) = claim.redeemed {
            return if redemption.public_key == *request.device_public() {
                Ok((claim.device, redemption.reply))
            } else {
                Err(RedeemError::RedeemedByOther)
            };
        }
        let now = self.clock.now();
        if claim.expires <= now {
            return Err(RedeemError::Expired);
        }
        if claim.next_generation == KeyGeneration::default() {
            return Err(RedeemError::Exhausted);
        }
        // The device may still use its current key and start epochs until this commits, so it may
        // pass the first candidate. It cannot pass the second.
        let firsts = [claim.first_epoch, claim.safe_epoch];
        for first_epoch in firsts {
            let grant = EnrolmentGrant {
                device: claim.device,
                generation: claim.next_generation,
                first_epoch,
                // Each key has streams of its own.
                first_stream: StreamNumber(1),
                time: now,
            };
            let mut random = [0; 32];
            getrandom::fill(&mut random)?;
            let mut answer = [0; ENROL_MESSAGE_MAX];
            let (length, key) = request.answer(&code, &grant, random, &mut answer)?;
            let reply = answer[..length].to_vec();
            let redeem = RedeemClaim {
                id: id.as_str().into(),
                public_key: *request.device_public(),
                generation: grant.generation,
                first_epoch,
                secret: *key.expose(),
                reply: reply.clone(),
                at: now,
            };
            let by = Author {
                who: grant.device.to_string(),
                request: Some(request_id.clone()),
                at: now,
            };
            match self.store.redeem_claim(by, redeem).await {
                Ok(()) => {
                    tracing::info!(
                        device_id = %grant.device,
                        claim = id.as_str(),
                        generation = grant.generation.0,
                        "claim code redeemed, device enrolled"
                    );
                    return Ok((claim.device, reply));
                }
                // The same device redeemed it over another connection in the meantime.
                Err(RedeemClaimError::Repeated(redemption)) => {
                    return Ok((claim.device, redemption.reply));
                }
                Err(RedeemClaimError::RedeemedByOther) => return Err(RedeemError::RedeemedByOther),
                Err(RedeemClaimError::Unknown) => return Err(RedeemError::Unknown),
                Err(RedeemClaimError::Expired) => return Err(RedeemError::Expired),
                Err(RedeemClaimError::Overtaken) => {}
                Err(RedeemClaimError::Store(error)) => return Err(error.into()),
            }
        }
        // Another claim of this device was redeemed in between; the device will try again.
        Err(StoreError::Busy.into())
    }
}

fn code_of(claim: &Claim) -> Result<ClaimCode, StoreError> {
    std::str::from_utf8(&claim.secret)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(StoreError::Corrupt("claim code"))
}

fn checked(claim_for: ClaimFor) -> Result<ClaimFor, ClaimError> {
    let ClaimFor::New { name, site, time_zone } = claim_for else { return Ok(claim_for) };
    let name = checked_name(&name).ok_or(ClaimError::Name("device's name"))?;
    let site = checked_name(&site).ok_or(ClaimError::Name("site's name"))?;
    let time_zone = match time_zone {
        None => None,
        Some(text) => Some(checked_zone(&text).ok_or(ClaimError::TimeZone(text))?),
    };
    Ok(ClaimFor::New { name, site, time_zone })
}

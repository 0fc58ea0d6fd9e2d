//! Sites, devices, their keys, and the claims that grant keys, as stored.

use std::fmt;

use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, SourceNumber, UnixMs};

use crate::StoreError;
use crate::ids::{PointId, StreamId};
use crate::limits::EPOCHS_PER_KEY;

/// Number of a site, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub i64);

/// A place with devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub id: SiteId,
    pub name: String,
    /// IANA name, checked by the caller; defines where days begin and end.
    pub time_zone: String,
}

/// The device that a claim is for.
#[derive(Debug, Clone)]
pub enum ClaimFor {
    /// A device that is created together with its claim.
    New {
        name: String,
        /// Found by name; created if no site has that name and a zone is given.
        site: String,
        time_zone: Option<String>,
    },
    /// An existing device that needs another key.
    Existing(DeviceNumber),
}

/// A new claim.
#[derive(Clone)]
pub struct NewClaim {
    pub claim_for: ClaimFor,
    /// First group of the claim code, in its canonical spelling.
    pub id: String,
    /// The code's secret; stored because enrolment proves knowledge of it without sending it.
    pub secret: Vec<u8>,
    pub created: UnixMs,
    pub expires: UnixMs,
}

/// A claim as stored.
#[derive(Clone)]
pub struct Claim {
    pub device: DeviceNumber,
    pub secret: Vec<u8>,
    pub expires: UnixMs,
    /// The first redemption, which the same device may repeat.
    pub redeemed: Option<Redemption>,
    /// The generation of the key that the device receives when it redeems the claim.
    pub next_generation: KeyGeneration,
    /// The first boot epoch that it is granted: above every epoch this device was seen in.
    pub first_epoch: BootEpoch,
    /// The same, above every epoch it can have been seen in by the time the claim is redeemed.
    pub safe_epoch: BootEpoch,
}

/// A claim that was not redeemed, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClaim {
    /// First group of the claim code.
    pub id: String,
    pub device: DeviceNumber,
    pub device_name: String,
    pub created: UnixMs,
    pub expires: UnixMs,
}

/// How a claim was redeemed.
#[derive(Clone, PartialEq, Eq)]
pub struct Redemption {
    /// Public key of the device that redeemed it.
    pub public_key: [u8; 32],
    pub generation: KeyGeneration,
    /// The original reply, so that a repeated request gets the same one.
    pub reply: Vec<u8>,
}

/// Redeems a claim: stores the device's key and revokes its earlier keys.
#[derive(Clone)]
pub struct RedeemClaim {
    pub id: String,
    pub public_key: [u8; 32],
    /// The generation in the reply: one above the device's last.
    pub generation: KeyGeneration,
    /// The first boot epoch that the reply grants.
    pub first_epoch: BootEpoch,
    pub secret: [u8; 32],
    pub reply: Vec<u8>,
    pub at: UnixMs,
}

/// A device's key as stored.
#[derive(Clone)]
pub struct DeviceKey {
    pub device: DeviceNumber,
    pub generation: KeyGeneration,
    pub secret: [u8; 32],
    pub created: UnixMs,
    pub revoked: Option<UnixMs>,
    /// The last counter accepted under this key; 0 before the first message.
    pub counter: Counter,
    /// The first boot epoch granted with this key.
    pub first_epoch: BootEpoch,
    /// SHA-256 of the message with that counter; absent before the first.
    pub digest: Option<[u8; 32]>,
}

impl DeviceKey {
    /// Returns the first boot epoch that the device cannot be in under this key.
    #[must_use]
    pub fn end_epoch(&self) -> BootEpoch {
        BootEpoch(self.first_epoch.0.saturating_add(EPOCHS_PER_KEY))
    }
}

macro_rules! hide_secrets {
    ($($name:ident),*) => {
        $(
            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($name)).finish_non_exhaustive()
                }
            }
        )*
    };
}
hide_secrets!(NewClaim, Claim, Redemption, RedeemClaim, DeviceKey);

/// The state of a device in one word, stored so that lists can be filtered by it.
///
/// The caller derives it; the store keeps it and the time since when it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceState {
    Producing,
    Idle,
    Asleep,
    Waiting,
    Faulty,
    Silent,
}

impl DeviceState {
    const ALL: [Self; 6] =
        [Self::Producing, Self::Idle, Self::Asleep, Self::Waiting, Self::Faulty, Self::Silent];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// State of an inverter when its device last reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InverterState {
    Unknown,
    Online,
    Asleep,
    Offline,
    Faulty,
}

impl InverterState {
    const ALL: [Self; 5] = [Self::Unknown, Self::Online, Self::Asleep, Self::Offline, Self::Faulty];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// State of one inverter in its device's last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InverterReport {
    pub source: SourceNumber,
    pub state: InverterState,
}

/// A value that a device reported about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub name: String,
    pub value: String,
}

impl Diagnostic {
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A device as stored, with what is known of its link.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub number: DeviceNumber,
    pub name: String,
    pub site: Site,
    pub created: UnixMs,
    pub state: DeviceState,
    pub state_since: Option<UnixMs>,
    pub link: Link,
}

/// What the store knows about a device from its messages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Link {
    pub last_seen: Option<UnixMs>,
    /// Time of the newest sample stored.
    pub last_sample: Option<UnixMs>,
    pub key_generation: Option<KeyGeneration>,
    pub boot_epoch: Option<BootEpoch>,
    pub messages: u64,
    pub batches: u64,
    pub samples: u64,
    /// Batches that were received again and not stored again.
    pub duplicates: u64,
    /// Batches that could not be read; acknowledged so that the device stops sending them.
    pub refused: u64,
    /// Samples that the device had to drop because its spool was full.
    pub dropped_samples: u64,
    pub bytes: u64,
    pub firmware: Option<String>,
    pub diagnostics: Vec<Diagnostic>,
    pub inverters: Vec<InverterReport>,
}

/// Selects a page of the fleet.
#[derive(Debug, Clone, Default)]
pub struct DeviceQuery {
    /// The last device of the page before.
    pub after: Option<DeviceNumber>,
    pub limit: u32,
    /// Part of the name of the device or site, or of a device's id; ASCII case is ignored.
    pub search: Option<String>,
    pub state: Option<DeviceState>,
}

/// One page of the fleet, by device number.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePage {
    pub devices: Vec<Device>,
    /// Whether further devices match.
    pub has_more: bool,
    /// All devices that match, not only this page's.
    pub total: u64,
}

/// Some devices, by number, without counting all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSweep {
    pub devices: Vec<Device>,
    pub has_more: bool,
}

/// What a device sends under one stream number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub id: StreamId,
    pub source: SourceNumber,
    /// The layout's CBOR bytes.
    pub layout: Vec<u8>,
    pub first_seen: UnixMs,
}

/// A stream and the dictionary's ids of its points, in the order of the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPoints {
    pub stream: Stream,
    pub points: Vec<PointId>,
}

/// A site by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteByName {
    pub name: String,
    /// If no site has the name, one is created in this zone.
    pub time_zone: Option<String>,
}

/// Changes to a device.
#[derive(Debug, Clone)]
pub struct EditDevice {
    pub device: DeviceNumber,
    pub name: Option<String>,
    pub site: Option<SiteByName>,
    /// Whether stored days may stay although they were cut by another time zone.
    pub keeps_past_days: bool,
}

/// Changes to a site.
#[derive(Debug, Clone)]
pub struct EditSite {
    pub site: SiteId,
    pub name: Option<String>,
    pub time_zone: Option<String>,
    /// Whether stored days may stay although they were cut by another time zone.
    pub keeps_past_days: bool,
}

/// Why a device or site was not changed or deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EditError {
    #[error("there is no device or site of that number")]
    Unknown,
    #[error("there is a site of that name")]
    NameTaken,
    #[error("there is no site of that name, and no time zone to make one")]
    UnknownSite,
    #[error("the site of that name is in the zone {0}")]
    OtherTimeZone(String),
    #[error("there are days that were cut by the time zone it has")]
    HasDays,
    #[error("the site has devices")]
    InUse,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CreateClaimError> for EditError {
    fn from(error: CreateClaimError) -> Self {
        match error {
            CreateClaimError::UnknownSite => Self::UnknownSite,
            CreateClaimError::OtherTimeZone(zone) => Self::OtherTimeZone(zone),
            CreateClaimError::Store(error) => Self::Store(error),
            CreateClaimError::UnknownDevice
            | CreateClaimError::IdTaken
            | CreateClaimError::Exhausted => Self::Unknown,
        }
    }
}

/// Why a claim was not created.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateClaimError {
    #[error("there is no site of that name, and no time zone to make one")]
    UnknownSite,
    #[error("the site of that name is in the zone {0}")]
    OtherTimeZone(String),
    #[error("there is no such device")]
    UnknownDevice,
    #[error("there is a claim with that id")]
    IdTaken,
    #[error("the device has no further number for a key or a start")]
    Exhausted,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a claim was not redeemed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedeemClaimError {
    #[error("there is no such claim")]
    Unknown,
    #[error("the claim expired")]
    Expired,
    #[error("the claim was redeemed by another device")]
    RedeemedByOther,
    #[error("the claim was redeemed by this device before")]
    Repeated(Redemption),
    #[error("the key generation is not the device's next, or its first epoch was used")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a stream was not announced.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AnnounceError {
    #[error("there is no such device")]
    UnknownDevice,
    #[error("the stream has another layout")]
    OtherLayout,
    #[error("the device has announced too many streams")]
    TooMany,
    #[error("the layouts of the inverter or of the device have too many points in total")]
    TooManyPoints,
    #[error(transparent)]
    Store(#[from] StoreError),
}

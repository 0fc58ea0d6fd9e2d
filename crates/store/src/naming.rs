//! What people call devices and sites, and where devices stand.

use ecowatt_model::DeviceNumber;

use crate::error::store_failures;
use crate::{SiteId, StoreError};

/// What is to be different about a device. Absent is as it was.
#[derive(Debug, Clone, Default)]
pub struct DeviceChange {
    pub name: Option<String>,
    /// The site by name, and the time zone to make it with if there is none of that name.
    pub site: Option<(String, Option<String>)>,
}

/// What is to be different about a site. Absent is as it was.
#[derive(Debug, Clone, Default)]
pub struct SiteChange {
    pub name: Option<String>,
    /// IANA name, checked by the caller.
    pub time_zone: Option<String>,
}

/// Why a device or site stays as it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    #[error("there is no device {0}")]
    UnknownDevice(DeviceNumber),
    #[error("there is no site {}", .0.0)]
    UnknownSite(SiteId),
    #[error("there is no site of that name yet; give its time zone to make it")]
    NoSuchSite,
    #[error("there is a site of that name")]
    NameTaken,
    #[error("the site of that name is in the time zone {0}")]
    OtherTimeZone(String),
    /// Days are rolled up by the site's zone as readings come.
    #[error("its days are counted in the time zone {0} already")]
    DaysCounted(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

store_failures!(ChangeError);

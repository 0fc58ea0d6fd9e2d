//! Devices of the earlier EcoWatt, as stored.

use std::fmt;

use ecowatt_model::{DeviceNumber, UnixMs};

use crate::DeviceKey;

/// Enrols a device of the earlier EcoWatt, or gives one that is enrolled another key.
#[derive(Clone)]
pub struct EnrolOriginal {
    /// What the device calls itself.
    pub id: String,
    pub name: String,
    pub site: String,
    /// Of a new site.
    pub time_zone: Option<String>,
    pub secret: [u8; 32],
    pub at: UnixMs,
}

/// A device of the earlier EcoWatt under its key.
#[derive(Clone)]
pub struct OriginalDevice {
    pub key: DeviceKey,
    /// What the last upload under this key left for the next one; absent before the first.
    pub memory: Option<Vec<u8>>,
}

/// A device of the earlier EcoWatt, and what it calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedOriginal {
    pub id: String,
    pub device: DeviceNumber,
}

impl fmt::Debug for EnrolOriginal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolOriginal").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for OriginalDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginalDevice").field("key", &self.key).finish_non_exhaustive()
    }
}

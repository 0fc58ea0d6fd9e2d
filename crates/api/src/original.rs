//! Devices of the earlier EcoWatt.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::NewSite;

/// A device of the earlier EcoWatt to be enrolled with the key that it has.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolOriginal {
    /// What the device calls itself: 1 to 64 letters, digits, `-`, `_` and `.`.
    #[schema(example = "ESP32_EcoWatt_Smart")]
    pub id: String,
    /// Its HMAC key: 64 hexadecimal digits.
    #[schema(example = "8f2b6a0d4c1e9f7358a6b0c2d4e6f8091a3b5c7d9e0f2143657687a9bacbdced")]
    pub key: String,
    /// Default: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Barn")]
    pub name: Option<String>,
    /// Default: the site `Original devices`, in UTC if it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<NewSite>,
    /// Whether the key may be the published one, which protects nothing; only a demonstration
    /// accepts it.
    #[serde(default)]
    #[schema(example = false)]
    pub published_key: bool,
}

impl fmt::Debug for EnrolOriginal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolOriginal").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A device of the earlier EcoWatt that was enrolled.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EnrolledOriginal {
    #[schema(example = "dev-42")]
    pub device: String,
    /// What the device calls itself.
    #[schema(example = "ESP32_EcoWatt_Smart")]
    pub id: String,
}

/// What a device of the earlier EcoWatt is answered to an upload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OriginalAnswer {
    /// Always true; a refusal has another shape.
    #[schema(example = true)]
    pub success: bool,
    /// What the device calls itself.
    #[schema(example = "ESP32_EcoWatt_Smart")]
    pub device_id: String,
    #[schema(example = "Compressed data processed and published")]
    pub message: String,
    /// Samples that were stored.
    #[schema(example = 7)]
    pub samples_count: usize,
    /// Packets that need not be sent again.
    #[schema(example = 1)]
    pub packets_processed: usize,
}

/// How the routes of the earlier EcoWatt refuse a request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OriginalRefusal {
    /// Always false.
    #[schema(example = false)]
    pub success: bool,
    #[schema(example = "Security validation failed: HMAC verification failed!")]
    pub error: String,
}

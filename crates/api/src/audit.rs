//! Who changed what.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Changes, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    pub changes: Vec<AuditLine>,
    /// `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "1234")]
    pub next_cursor: Option<String>,
}

/// A change of devices, sites, settings, commands or access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub at: String,
    /// The token, the device, or the server itself.
    #[schema(example = "token 3 (office)")]
    pub who: String,
    /// Noun and verb.
    #[schema(example = "device.edit")]
    pub change: String,
    /// What was changed.
    #[schema(example = "dev-42")]
    pub subject: String,
    /// Id of the request, which the log and the answer to it have as well.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "0c99ecf2605cb620")]
    pub request: Option<String>,
}

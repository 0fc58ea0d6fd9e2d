//! The one error shape.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of every response that is not a success.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Error)]
pub struct Error {
    pub error: ErrorBody,
}

/// Describes the error.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable; listed in `docs/api.md`. A later version may add codes.
    #[schema(example = "device_unknown")]
    pub code: String,
    /// Explains the error; may change.
    #[schema(example = "there is no such device")]
    pub message: String,
    /// Identifies the request in the server's log.
    #[schema(example = "8f0c2a6e91d4b357")]
    pub request_id: String,
}

//! The one error shape.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of every answer that is not a success.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Error)]
pub struct Error {
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable and documented; programs decide by it.
    pub code: String,
    /// For people; may change.
    pub message: String,
    /// Finds the request in the server's log.
    pub request_id: String,
}

//! The server itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The server's version and clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct System {
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The server's time; simulated in a demonstration.
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub now: String,
    /// Whether `now` is a simulated time.
    #[schema(example = false)]
    pub is_simulated: bool,
    /// Seconds of `now` per real second.
    #[schema(example = 1.0)]
    pub speed: f64,
}

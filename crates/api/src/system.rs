//! The server itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What this server is and whose time it shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct System {
    pub version: String,
    /// The server's present time; simulated in a demonstration.
    pub now: String,
    /// Whether `now` is a simulated time.
    pub is_simulated: bool,
    /// Seconds of `now` that pass in a second of the world.
    pub speed: f64,
}

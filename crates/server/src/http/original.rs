//! The protocol of the earlier EcoWatt's devices (`docs/original-devices.md`).
//!
//! Its routes carry the tag `original` in the document and speak that protocol's own answers:
//! every refusal, also that of a layer in front, is `{"success": false, "error": "…"}`. Which of its
//! paths are for devices and which for operators is in `admission::original_paths`.

mod answer;
mod upload;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;

/// Routes for devices, which have no token.
pub(super) fn device_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upload::take_upload))
}

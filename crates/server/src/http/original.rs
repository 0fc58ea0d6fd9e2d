//! The protocol of the earlier EcoWatt's devices (`docs/original-devices.md`).
//!
//! Its routes carry the tag `original` in the document and speak that protocol's own answers:
//! every refusal, also that of a layer in front, is `{"success": false, "error": "…"}`. Which of its
//! paths are for devices and which for operators is in `admission::original_paths`.

mod answer;
mod command_fields;
mod commands;
mod config;
mod config_change;
mod extract;
mod upload;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;

/// Routes for devices, which have no token.
pub(super) fn device_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(upload::take_upload))
        .routes(routes!(config::find_original_config))
        .routes(routes!(config::acknowledge_original_config))
        .routes(routes!(config::report_original_config))
        .routes(routes!(commands::take_original_command))
        .routes(routes!(commands::report_original_result))
}

/// Routes for operators who may read.
pub(super) fn read_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(config_change::list_original_config_changes))
        .routes(routes!(commands::find_original_command))
        .routes(routes!(commands::list_original_commands))
        .routes(routes!(commands::find_original_command_statistics))
}

/// Routes for operators who may change things.
pub(super) fn write_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(config_change::update_original_config))
        .routes(routes!(config_change::create_original_config_change))
        .routes(routes!(commands::create_original_command))
}

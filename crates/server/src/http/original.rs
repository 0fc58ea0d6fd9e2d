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
mod devices;
mod earlier;
mod earlier_operators;
mod extract;
mod general;
mod history;
mod ota;
mod power;
mod reports;
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
        .routes(routes!(devices::register_original))
        .routes(routes!(ota::find_original_update_sessions))
        .routes(routes!(ota::check_original_update))
        .routes(routes!(ota::begin_original_update))
        .routes(routes!(ota::find_original_update_chunk))
        .routes(routes!(ota::report_original_update_progress))
        .routes(routes!(ota::report_original_update))
        .routes(routes!(power::report_original_energy))
        .routes(routes!(reports::report_original_recovery))
        .routes(routes!(reports::report_original_diagnostics))
        .routes(routes!(earlier::take_first_generation_upload))
        .routes(routes!(earlier::find_original_changes, earlier::take_original_changes))
        .routes(routes!(earlier::take_original_commands))
        .routes(routes!(earlier::poll_original_command))
        .routes(routes!(earlier::report_original_command))
        .routes(routes!(earlier::report_original_command_result))
        .routes(routes!(earlier::check_earlier_original_update))
        .routes(routes!(general::answer_original_ping))
        .routes(routes!(general::find_original_default_config))
        .routes(routes!(general::take_original_test_sync))
}

/// Routes for operators who may read.
pub(super) fn read_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(config_change::list_original_config_changes))
        .routes(routes!(commands::find_original_command))
        .routes(routes!(commands::list_original_commands))
        .routes(routes!(commands::find_original_command_statistics))
        .routes(routes!(devices::list_originals))
        .routes(routes!(power::find_original_energy))
        .routes(routes!(reports::find_original_recoveries))
        .routes(routes!(reports::find_original_diagnostics))
        .routes(routes!(earlier_operators::list_earlier_original_commands))
        .routes(routes!(earlier_operators::find_earlier_original_command))
        .routes(routes!(earlier_operators::find_earlier_original_statistics))
        .routes(routes!(general::find_original_statistics))
        .routes(routes!(general::find_original_status))
        .routes(routes!(general::find_original_security_statistics))
        .routes(routes!(general::find_original_compression_statistics))
        .routes(routes!(history::find_original_latest))
        .routes(routes!(history::find_original_aggregation_latest))
        .routes(routes!(history::list_original_history))
}

/// Routes for operators who may change things.
pub(super) fn write_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(config_change::update_original_config))
        .routes(routes!(config_change::create_original_config_change))
        .routes(routes!(commands::create_original_command))
        .routes(routes!(earlier_operators::update_original_device_settings))
        .routes(routes!(earlier_operators::update_earlier_original_config))
        .routes(routes!(earlier_operators::queue_original_command))
}

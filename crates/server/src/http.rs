//! HTTP: the one route table and what surrounds it.
//!
//! A route is registered once, with `routes!`, which also adds it to the OpenAPI document. Handlers
//! are in one file per resource: they extract, call a subject module, and convert. They do not
//! authorise: all routes but those in [`open`] are behind [`auth::guard`], grouped by the right
//! that they need. The room `original` has a table of its own.

mod admission;
mod answer;
mod app;
mod audit;
mod auth;
mod change_refused;
mod claims;
mod commands;
mod configuration;
mod devices;
mod document;
mod error;
mod error_code;
mod events;
mod extract;
mod gzip;
mod health;
mod host;
mod leases;
mod link;
mod listen;
mod original;
mod original_devices;
mod pages;
mod profiles;
mod request;
mod request_id;
mod session;
mod sites;
mod states;

mod system;
mod telemetry;
mod template_use;
mod templates;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Right;
use crate::limits::JSON_BYTES_MAX;
pub(crate) use admission::{Connections, Door, Share};
pub(crate) use app::{App, AppState};
pub use document::document;
pub(crate) use listen::listen;

/// Routes that need no token.
fn open() -> OpenApiRouter<App> {
    let sessions = OpenApiRouter::new()
        .routes(routes!(session::create_session))
        .routes(routes!(session::redeem_setup))
        .layer(from_fn(auth::refuse_cross_site));
    OpenApiRouter::new()
        .routes(routes!(health::check_health))
        .routes(routes!(health::check_ready))
        .routes(routes!(link::take_message))
        .routes(routes!(link::enrol))
        .routes(routes!(document::show_document))
        .merge(original::device_routes())
        .merge(sessions)
}

/// Routes that need a token or a session, by the right that they need.
fn guarded() -> [(Right, OpenApiRouter<App>); 4] {
    let enter =
        OpenApiRouter::new().routes(routes!(session::find_session, session::delete_session));
    let measure = OpenApiRouter::new().routes(routes!(health::show_metrics));
    let read = OpenApiRouter::new()
        .routes(routes!(system::show_system))
        .routes(routes!(devices::list_devices))
        .routes(routes!(devices::find_device))
        .routes(routes!(telemetry::list_telemetry))
        .routes(routes!(telemetry::list_energy))
        .routes(routes!(sites::list_sites))
        .routes(routes!(profiles::list_profiles))
        .routes(routes!(configuration::list_settings))
        .routes(routes!(configuration::find_config))
        .routes(routes!(configuration::list_config_changes))
        .routes(routes!(templates::list_templates))
        .routes(routes!(templates::find_template))
        .routes(routes!(templates::list_template_changes))
        .routes(routes!(commands::list_commands))
        .routes(routes!(leases::list_leases))
        .routes(routes!(commands::list_command_kinds))
        .routes(routes!(commands::find_command_statistics))
        .routes(routes!(commands::find_command))
        .routes(routes!(events::follow_events))
        .merge(original::read_routes());
    let write = OpenApiRouter::new()
        .routes(routes!(devices::create_device))
        .routes(routes!(original_devices::enrol_original))
        .routes(routes!(devices::create_claim))
        .routes(routes!(devices::update_device, devices::delete_device))
        .routes(routes!(devices::delete_device_keys))
        .routes(routes!(devices::reset_device))
        .routes(routes!(configuration::update_config))
        .routes(routes!(templates::create_template))
        .routes(routes!(templates::preview_template))
        .routes(routes!(templates::update_template, templates::delete_template))
        .routes(routes!(template_use::assign_template))
        .routes(routes!(template_use::assign_template_to_group))
        .routes(routes!(commands::create_command))
        .routes(routes!(commands::cancel_command))
        .routes(routes!(leases::create_lease))
        .routes(routes!(leases::release_lease))
        .routes(routes!(sites::update_site, sites::delete_site))
        .routes(routes!(audit::list_audit))
        .routes(routes!(claims::list_claims))
        .routes(routes!(claims::delete_claim))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::delete_token))
        .routes(routes!(session::list_sessions, session::delete_sessions))
        .routes(routes!(session::delete_other_session))
        .merge(original::write_routes());
    [(Right::Enter, enter), (Right::Measure, measure), (Right::Read, read), (Right::Write, write)]
}

/// Returns all routes and the document that describes them; `guard` wraps those that need a right.
fn table(
    guard: impl Fn(Right, OpenApiRouter<App>) -> OpenApiRouter<App>,
) -> (Router<App>, OpenApi) {
    let mut table = OpenApiRouter::with_openapi(document::head());
    for (right, mut routes) in guarded() {
        document::require(routes.get_openapi_mut(), Some(right));
        table = table.merge(guard(right, routes));
    }
    let mut open = open();
    document::require(open.get_openapi_mut(), None);
    table.merge(open).split_for_parts()
}

/// Returns the router that serves `app` behind a door.
pub(crate) fn router(app: &App, door: Door) -> Router {
    let (router, _) = table(|right, routes| {
        routes.route_layer(from_fn_with_state((Arc::clone(app), right), auth::guard))
    });
    router
        .fallback(pages::page)
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .layer(from_fn_with_state((Arc::clone(app), door), request::process))
        .with_state(Arc::clone(app))
}

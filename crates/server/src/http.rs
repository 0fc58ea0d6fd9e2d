//! HTTP: the one route table and what surrounds it.
//!
//! A route is registered once, with `routes!`, which also adds it to the OpenAPI document. Handlers
//! are in one file per resource: they extract, call a subject module, and convert. They do not
//! authorise: all routes but those in [`open`] are behind [`auth::guard`], grouped by the right
//! that they need.

mod admission;
mod answer;
mod auth;
mod claims;
mod devices;
mod document;
mod error;
mod error_code;
mod events;
mod extract;
mod gzip;
mod host;
mod link;
mod listen;
mod pages;
mod profiles;
mod request;
mod session;
mod sites;
mod status;

mod system;
mod telemetry;
mod tokens;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use ecowatt_clock::Clock;
use ecowatt_store::Store;
use tokio::sync::watch;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use admission::{Admission, Connections, Door, Proxies, Share};
pub(crate) use answer::Answers;
pub use document::document;
pub(crate) use host::Hosts;
pub(crate) use listen::listen;
pub(crate) use status::Readiness;

use crate::access::{Access, Right};
use crate::disk_space::DiskSpace;
use crate::edit::Editor;
use crate::enrolment::Enrolment;
use crate::fleet::Fleet;
use crate::history::History;
use crate::ingest::Ingest;
use crate::limits::JSON_BYTES_MAX;
use crate::live::Live;
use crate::log_limit::LogLimit;
use crate::metrics::Metrics;
use crate::throttle::Throttle;

/// The state of the routes.
pub(crate) type App = Arc<Shared>;

/// The subject modules and the places that requests compete for.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// Real time, for what concerns clients rather than devices.
    pub(crate) world: Clock,
    pub(crate) live: Live,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access: Access,
    pub(crate) fleet: Fleet,
    pub(crate) history: History,
    pub(crate) enrolment: Enrolment,
    pub(crate) editor: Editor,
    pub(crate) ingest: Ingest,
    /// Wrong codes for claims.
    pub(crate) wrong_codes: Mutex<Throttle>,
    /// Places for requests in flight and for event streams.
    pub(crate) admission: Admission,
    /// The proxies that may name the client.
    pub(crate) proxies: Proxies,
    /// The host names that the server answers to.
    pub(crate) hosts: Hosts,
    /// Limits the log line about requests rejected because of overload.
    pub(crate) put_off: LogLimit,
    /// Limits the log line about refused log-ins and enrolments.
    pub(crate) refused: LogLimit,
    /// Logs that the disk is full, and that it has space again.
    pub(crate) disk_space: DiskSpace,
    /// Turns and memory for large answers.
    pub(crate) answers: Answers,
    /// Whether the store can be written and read.
    pub(crate) readiness: Readiness,
    /// Whether browsers reach the server through TLS.
    pub(crate) is_https: bool,
    /// Becomes true when the server stops.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Routes that need no token.
fn open() -> OpenApiRouter<App> {
    let sessions = OpenApiRouter::new()
        .routes(routes!(session::create_session))
        .routes(routes!(session::redeem_setup))
        .layer(from_fn(auth::refuse_cross_site));
    OpenApiRouter::new()
        .routes(routes!(status::check_health))
        .routes(routes!(status::check_ready))
        .routes(routes!(link::take_message))
        .routes(routes!(link::enrol))
        .routes(routes!(document::show_document))
        .merge(sessions)
}

/// Routes that need a token or a session, by the right that they need.
fn guarded() -> [(Right, OpenApiRouter<App>); 4] {
    let enter =
        OpenApiRouter::new().routes(routes!(session::find_session, session::delete_session));
    let measure = OpenApiRouter::new().routes(routes!(status::show_metrics));
    let read = OpenApiRouter::new()
        .routes(routes!(system::show_system))
        .routes(routes!(devices::list_devices))
        .routes(routes!(devices::find_device))
        .routes(routes!(telemetry::list_telemetry))
        .routes(routes!(telemetry::list_energy))
        .routes(routes!(sites::list_sites))
        .routes(routes!(profiles::list_profiles))
        .routes(routes!(events::follow_events));
    let write = OpenApiRouter::new()
        .routes(routes!(devices::create_device))
        .routes(routes!(devices::create_claim))
        .routes(routes!(devices::update_device, devices::delete_device))
        .routes(routes!(devices::delete_device_keys))
        .routes(routes!(devices::reset_device))
        .routes(routes!(sites::update_site, sites::delete_site))
        .routes(routes!(claims::list_claims))
        .routes(routes!(claims::delete_claim))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::delete_token))
        .routes(routes!(session::list_sessions, session::delete_sessions))
        .routes(routes!(session::delete_other_session));
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

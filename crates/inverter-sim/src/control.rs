//! The control port: inspects a simulated inverter and makes it misbehave, over HTTP on loopback.
//!
//! It has no authentication. So it listens only on loopback, answers only under an IP address or
//! `localhost` (which refuses a page whose host name was rebound to this machine), and rejects
//! requests that a browser marks as coming from another site.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, Version, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use ecowatt_model::UnixMs;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::RegisterMap;
use crate::fault::{FaultError, FaultSpec, FaultStatus};
use crate::journal::{ENTRIES_MAX, Entry};
use crate::listeners::Shared;
use crate::physics::plant::Reading;
use crate::slave::RequestCounts;

const BODY_MAX: usize = 16 * 1_024;
const LOG_PAGE: usize = 1_000;
/// A year; a longer time is a mistake.
const FORCED_S_MAX: f64 = 31_536_000.0;
const GHI_MAX: f64 = 1_500.0;

/// Serves until `stop` is set.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let router = router(shared);
    let stopped = async move {
        // An error means that the sender was dropped, which also means stop.
        drop(stop.wait_for(|is_set| *is_set).await);
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
    if let Err(error) = served {
        tracing::error!(%error, "control port stopped");
    }
}

/// Whether the control port may listen on this address.
pub(crate) fn is_allowed(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/state", get(find_state))
        .route("/faults", get(list_faults).post(create_fault).delete(delete_faults))
        .route("/faults/{id}", delete(delete_fault))
        .route("/irradiance", post(force_irradiance).delete(release_irradiance))
        .route("/log", get(list_log))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "not_found", "no such path") })
        .method_not_allowed_fallback(|| async {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            refused(status, "method_not_allowed", "method not allowed on this path")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(refuse_strangers))
        .with_state(shared)
}

/// Refuses requests to another host name and requests from another site's page.
async fn refuse_strangers(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok(),
        (Some(_), Some(_)) => None,
        (None, _) if request.version() < Version::HTTP_11 => Some("localhost"),
        (None, _) => None,
    };
    let Some(host) = host else {
        let message = "a request must have exactly one Host header";
        return refused(StatusCode::BAD_REQUEST, "invalid_host", message);
    };
    let in_target = request.uri().authority().map_or(host, |authority| authority.as_str());
    if !is_local(host) || !is_local(in_target) {
        let message = "the Host header must be an IP address or localhost";
        return refused(StatusCode::MISDIRECTED_REQUEST, "host_unknown", message);
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let is_own = origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
    let site = headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or_default());
    let is_from_here = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    if !is_own || !is_from_here {
        let message = "pages of other sites may not use the control port";
        return refused(StatusCode::FORBIDDEN, "cross_site", message);
    }
    next.run(request).await
}

/// Whether `host[:port]` is an IP address or `localhost`, which cannot be rebound from outside.
fn is_local(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            return address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_known = host.parse::<Ipv4Addr>().is_ok() || name.eq_ignore_ascii_case("localhost");
    is_known && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[derive(Serialize)]
struct StateBody {
    t_ms: i64,
    time: String,
    speed: f64,
    map: RegisterMap,
    unit: u8,
    is_away: bool,
    is_asleep: bool,
    limit_writes: Option<u64>,
    reading: Option<Reading>,
    first_register: u16,
    registers: Vec<u16>,
    counts: RequestCounts,
    faults: Vec<FaultStatus>,
}

async fn find_state(State(shared): State<Arc<Shared>>) -> Response {
    let (inner, now) = shared.present();
    let inverter = inner.station.inverter();
    let image = inverter.image();
    Json(StateBody {
        t_ms: now.0,
        time: rfc_3339(now),
        speed: shared.clock().speed(),
        map: inverter.map(),
        unit: inverter.unit(),
        is_away: inner.station.is_away(now),
        is_asleep: inverter.is_asleep(),
        limit_writes: inverter.plant().map(|plant| plant.limit().writes()),
        reading: inverter.reading().cloned(),
        first_register: image.first,
        registers: image.words,
        counts: inner.station.counts(),
        faults: inner.station.faults(now),
    })
    .into_response()
}

async fn list_faults(State(shared): State<Arc<Shared>>) -> Response {
    let (inner, now) = shared.present();
    Json(inner.station.faults(now)).into_response()
}

#[derive(Serialize)]
struct Created {
    id: u64,
}

async fn create_fault(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<FaultSpec>, JsonRejection>,
) -> Response {
    let spec = match body {
        Ok(Json(spec)) => spec,
        Err(rejection) => return bad_body(&rejection),
    };
    let (mut inner, now) = shared.present();
    let added = spec.check(now).and_then(|fault| inner.station.add_fault(fault, now));
    match added {
        Ok(id) => (StatusCode::CREATED, Json(Created { id })).into_response(),
        Err(error @ FaultError::Full) => {
            refused(StatusCode::CONFLICT, "too_many_faults", &error.to_string())
        }
        Err(error) => {
            refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fault", &error.to_string())
        }
    }
}

async fn delete_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.present().0.station.clear_faults();
    StatusCode::NO_CONTENT
}

async fn delete_fault(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<u64>, PathRejection>,
) -> Response {
    let is_removed = id.is_ok_and(|Path(id)| shared.present().0.station.remove_fault(id));
    if is_removed {
        StatusCode::NO_CONTENT.into_response()
    } else {
        refused(StatusCode::NOT_FOUND, "unknown_fault", "no fault with this id")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Irradiance {
    ghi_w_m2: f64,
    for_s: f64,
}

async fn force_irradiance(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<Irradiance>, JsonRejection>,
) -> Response {
    let irradiance = match body {
        Ok(Json(irradiance)) => irradiance,
        Err(rejection) => return bad_body(&rejection),
    };
    let is_valid = (0.0..=GHI_MAX).contains(&irradiance.ghi_w_m2)
        && (0.0..=FORCED_S_MAX).contains(&irradiance.for_s);
    if !is_valid {
        let message = "ghi_w_m2 must be from 0 to 1500 and for_s from 0 to 31536000";
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_irradiance", message);
    }
    let (mut inner, now) = shared.present();
    let Some(plant) = inner.station.inverter_mut().plant_mut() else { return is_replayed() };
    let until = now.plus(std::time::Duration::from_secs_f64(irradiance.for_s));
    plant.force_irradiance(irradiance.ghi_w_m2, until);
    StatusCode::NO_CONTENT.into_response()
}

async fn release_irradiance(State(shared): State<Arc<Shared>>) -> Response {
    match shared.present().0.station.inverter_mut().plant_mut() {
        Some(plant) => {
            plant.release_irradiance();
            StatusCode::NO_CONTENT.into_response()
        }
        None => is_replayed(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

async fn list_log(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(query)) = query else {
        let message = "since and limit must be whole numbers";
        return refused(StatusCode::BAD_REQUEST, "invalid_query", message);
    };
    let limit = query.limit.unwrap_or(LOG_PAGE).min(ENTRIES_MAX);
    let entries: Vec<Entry> =
        shared.present().0.journal.since(query.since, limit).cloned().collect();
    Json(entries).into_response()
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    code: &'a str,
    message: &'a str,
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(ErrorBody { error: ErrorDetail { code, message } })).into_response()
}

fn bad_body(rejection: &JsonRejection) -> Response {
    refused(rejection.status(), "invalid_body", &rejection.body_text())
}

fn is_replayed() -> Response {
    let message = "registers are replayed, not simulated";
    refused(StatusCode::CONFLICT, "replayed", message)
}

fn rfc_3339(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| String::new(), |time| time.to_string())
}

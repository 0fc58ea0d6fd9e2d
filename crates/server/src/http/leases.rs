//! `/api/v1/devices/{id}/leases` and `/api/v1/leases`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::{
    CreateLease, Lease, LeaseList, LeaseRefusal, LeaseState, LimitCause, LimitChange,
};
use ecowatt_model::{LeaseId, SourceNumber, UnixMs};
use ecowatt_store::{self as stored, LeaseError};
use ecowatt_wire as wire;

use super::App;
use super::auth::{Acting, Caller};
use super::commands::failure_on_wire;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, DevicePath, TextPath};
use crate::lease::{LeasePhase, LeaseRequest, LeaseRequestError, limit_text, phase};
use crate::time::{instant, rfc3339};

/// Limits the power of a device's inverters for a time.
///
/// The device gets the lease with the reply to its next message and keeps it without the server. The
/// lowest of several leases counts.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{id}/leases",
    tag = "leases",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    request_body = CreateLease,
    responses(
        (status = CREATED, body = Lease),
        (status = BAD_REQUEST, description = "A value is not allowed; the message names the bounds.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device or inverter.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The device keeps as many leases as it can.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_lease(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
    Body(body): Body<CreateLease>,
) -> Result<(StatusCode, Json<Lease>), ApiError> {
    let made = app.leases.create(by, &device, &request(body)?).await?;
    tracing::info!(by = %caller, device_id = %made.device, lease = %made.id, "lease made");
    Ok((StatusCode::CREATED, Json(lease(&made, None, app.clock.now()))))
}

/// Lists the newest leases of a device, and the newest changes of its limits with their proof.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/leases",
    tag = "leases",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    responses(
        (status = OK, body = LeaseList),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn list_leases(
    State(app): State<App>,
    DevicePath(device): DevicePath,
) -> Result<Json<LeaseList>, ApiError> {
    let found = app.leases.list(&device).await?;
    let (report, now) = (found.report.as_ref(), app.clock.now());
    Ok(Json(LeaseList {
        leases: found.leases.iter().map(|held| lease(held, report, now)).collect(),
        changes: found.changes.iter().map(change).collect(),
        reported_at: report.map(|report| rfc3339(report.received_at)),
    }))
}

/// Releases a lease: with the device's next message it no longer counts.
#[utoipa::path(
    post,
    path = "/api/v1/leases/{id}/release",
    tag = "leases",
    params(("id" = String, Path, description = "Such as `lease-7`.")),
    responses(
        (status = OK, body = Lease),
        (status = NOT_FOUND, description = "There is no such lease.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "It is released.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn release_lease(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    TextPath(id): TextPath,
) -> Result<Json<Lease>, ApiError> {
    let number = id.strip_prefix("lease-").and_then(|number| number.parse().ok()).map(LeaseId);
    let number = number.ok_or_else(|| {
        ApiError::bad_request(ErrorCode::InvalidId, "a lease id looks like lease-7")
    })?;
    let found = app.leases.find(number).await?.ok_or_else(unknown)?;
    let device = app.fleet.within(caller.scope()).device(found.device).await?;
    device.ok_or_else(unknown)?;
    let released = app.leases.release(by, number).await?;
    tracing::info!(by = %caller, device_id = %released.device, lease = %number, "lease released");
    Ok(Json(lease(&released, None, app.clock.now())))
}

fn unknown() -> ApiError {
    ApiError::not_found(ErrorCode::LeaseUnknown, "there is no such lease")
}

fn request(body: CreateLease) -> Result<LeaseRequest, ApiError> {
    let CreateLease { limit, inverter, from, for_s, ramp_s, link_loss_s, then, priority } = body;
    let from = match &from {
        Some(text) => Some(instant(text).ok_or_else(|| {
            let text = "`from` is not an RFC 3339 instant such as 2026-11-28T11:00:00Z";
            ApiError::bad_request(ErrorCode::InvalidTime, text)
        })?),
        None => None,
    };
    let source = inverter.map(SourceNumber);
    Ok(LeaseRequest { limit, source, from, for_s, ramp_s, link_loss_s, then, priority })
}

fn lease(held: &stored::Lease, report: Option<&stored::LeaseReport>, now: UnixMs) -> Lease {
    let at = |seconds: u32| rfc3339(UnixMs(i64::from(seconds) * 1_000));
    let (state, refusal) = match phase(held, report, now) {
        LeasePhase::Pending => (LeaseState::Pending, None),
        LeasePhase::Refused(reason) => (LeaseState::Refused, Some(refusal(reason))),
        LeasePhase::Scheduled => (LeaseState::Scheduled, None),
        LeasePhase::Active => (LeaseState::Active, None),
        LeasePhase::Afterwards => (LeaseState::Afterwards, None),
        LeasePhase::Over => (LeaseState::Over, None),
        LeasePhase::Released => (LeaseState::Released, None),
    };
    let terms = &held.terms;
    Lease {
        id: format!("lease-{}", held.id),
        device: held.device.to_string(),
        inverter: terms.source.map(|source| source.0),
        limit: limit_text(terms.limit),
        from: at(terms.from_s),
        to: at(terms.to_s),
        ramp_s: terms.ramp_s,
        link_loss_s: terms.link_loss_s,
        then: terms.then.map(limit_text),
        priority: terms.priority,
        made_at: rfc3339(held.by.at),
        made_by: held.by.who.clone(),
        state,
        refusal,
        released_at: held.released.as_ref().map(|by| rfc3339(by.at)),
        released_by: held.released.as_ref().map(|by| by.who.clone()),
    }
}

fn refusal(reason: u8) -> LeaseRefusal {
    match wire::LeaseRefusal::from_code(reason) {
        wire::LeaseRefusal::Other => LeaseRefusal::Other,
        wire::LeaseRefusal::OutOfBounds => LeaseRefusal::OutOfBounds,
        wire::LeaseRefusal::NoSource => LeaseRefusal::NoInverter,
        wire::LeaseRefusal::TooMany => LeaseRefusal::TooMany,
    }
}

fn change(change: &stored::LimitChange) -> LimitChange {
    LimitChange {
        inverter: change.source.0,
        at: rfc3339(change.at),
        lease: change.lease.map(|lease| format!("lease-{lease}")),
        cause: match wire::LeaseCause::from_code(change.cause) {
            wire::LeaseCause::Unknown => LimitCause::Other,
            wire::LeaseCause::Lease => LimitCause::Lease,
            wire::LeaseCause::Fallback => LimitCause::Fallback,
            wire::LeaseCause::Afterwards => LimitCause::Afterwards,
            wire::LeaseCause::Released => LimitCause::Released,
        },
        limit_percent: change.limit_ppm.map(|ppm| f64::from(ppm) / 10_000.0),
        failure: failure_on_wire(change.failure),
        detail: (change.detail > 0).then_some(change.detail),
        confirmed_ms: change.confirmed_ms,
        power_w: change.power_w,
        power_ms: change.power_ms,
    }
}

impl From<LeaseRequestError> for ApiError {
    fn from(error: LeaseRequestError) -> Self {
        let text = error.to_string();
        match error {
            LeaseRequestError::NoInverter(_) => Self::not_found(ErrorCode::InverterUnknown, text),
            LeaseRequestError::Priority => Self::bad_request(ErrorCode::InvalidPriority, text),
            LeaseRequestError::Begin => Self::bad_request(ErrorCode::InvalidTime, text),
            LeaseRequestError::Length | LeaseRequestError::Ramp | LeaseRequestError::LinkLoss => {
                Self::bad_request(ErrorCode::InvalidDuration, text)
            }
            LeaseRequestError::Limit(_) => Self::bad_request(ErrorCode::InvalidLease, text),
            LeaseRequestError::Store(error) => error.into(),
        }
    }
}

impl From<LeaseError> for ApiError {
    fn from(error: LeaseError) -> Self {
        let text = error.to_string();
        let conflict = |code, text| Self::new(StatusCode::CONFLICT, code, text);
        match error {
            LeaseError::UnknownDevice => Self::device_unknown(),
            LeaseError::UnknownLease => unknown(),
            LeaseError::Released => conflict(ErrorCode::LeaseReleased, text),
            LeaseError::TooMany => conflict(ErrorCode::TooManyLeases, text),
            LeaseError::Exhausted => conflict(ErrorCode::DeviceUsedUp, text),
            LeaseError::Store(error) => error.into(),
        }
    }
}

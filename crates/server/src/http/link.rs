//! The devices' own routes: `POST /link` and `POST /link/enrol`, binary both ways.
//!
//! Every refused sender gets the same answer, and the reason becomes a metric label. Only a sender
//! that has proved that it holds the key or the claim code learns more.

use std::net::IpAddr;
use std::sync::PoisonError;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::{IntoResponse, Response};
use ecowatt_envelope::MESSAGE_MAX;
use ecowatt_envelope::enrol::{ENROL_MESSAGE_MAX, Request};

use super::App;
use super::admission::{Kind, RequestPlace};
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::Peer;
use super::request::seconds;
use super::request_id::RequestId;
use crate::enrolment::RedeemError;
use crate::ingest::{DeviceWait, IngestError};
use crate::limits::REQUEST_TIMEOUT;
use crate::stop::stopped;

const COSE: &str = "application/cose";

/// Takes one sealed message of a device and returns the sealed reply.
///
/// See `docs/wire-protocol.md`. Everything the message brings is committed before the reply.
#[utoipa::path(
    post,
    path = "/link",
    tag = "link",
    request_body(content = Vec<u8>, content_type = "application/cose"),
    responses(
        (status = OK, description = "The sealed reply.", body = Vec<u8>, content_type = "application/cose"),
        (status = UNAUTHORIZED, description = "Not a message of an enrolled device; no body, whatever the reason."),
        (status = CONFLICT, description = "The counter was used before; no body."),
        (status = TOO_MANY_REQUESTS, description = "The device has sent more than its share; not acknowledged, send the batches again later.", body = ecowatt_api::Error),
        (status = SERVICE_UNAVAILABLE, description = "Not acknowledged; send the batches again later.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn take_message(
    State(app): State<App>,
    Peer(peer): Peer,
    Extension(place): Extension<RequestPlace>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let message = read(&headers, body, MESSAGE_MAX).await?;
    app.metrics.link_bytes.add(u64::try_from(message.len()).unwrap_or(u64::MAX));
    let opened = within(app.ingest.open(&message)).await?;
    drop(message);
    let taken = match opened {
        Ok(opened) => {
            if let Some(wait) = app.ingest.wait(&opened) {
                hold(&app, &place, peer, wait).await?;
            }
            within(app.ingest.take_opened(opened)).await?
        }
        Err(error) => Err(error),
    };
    match taken {
        Ok(reply) => Ok(cose(reply)),
        Err(IngestError::Store(error)) => Err(error.into()),
        Err(error @ (IngestError::Random(_) | IngestError::Cut | IngestError::Reply)) => {
            Err(ApiError::internal(error.into()))
        }
        Err(IngestError::Busy) => Err(ApiError::busy()),
        // The sender holds the key, so it may know.
        Err(IngestError::OverQuota(wait)) => Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::OverQuota,
            "the device has sent more than its share; what was not acknowledged may come later",
        )
        .retry_after(seconds(wait))),
        Err(IngestError::Stale) => Ok(StatusCode::CONFLICT.into_response()),
        Err(
            error @ (IngestError::Envelope(_)
            | IngestError::UnknownKey
            | IngestError::Counter
            | IngestError::Seal(_)
            | IngestError::Message(_)
            | IngestError::Epoch),
        ) => {
            tracing::debug!(%error, "link message refused");
            Ok(StatusCode::UNAUTHORIZED.into_response())
        }
    }
}

/// Ends work that takes longer than a request may.
async fn within<T>(work: impl Future<Output = T>) -> Result<T, ApiError> {
    tokio::time::timeout(REQUEST_TIMEOUT, work).await.map_err(|_| ApiError::busy())
}

/// Holds the reply to a message while its device waits. The message leaves its place, so that
/// waiting devices never use up those of others. If there is no room, the reply is not held.
async fn hold(
    app: &App,
    place: &RequestPlace,
    peer: Option<IpAddr>,
    wait: DeviceWait,
) -> Result<(), ApiError> {
    let Some(held) = app.admission.admit(Kind::Held, peer) else { return Ok(()) };
    place.replace(Some(held));
    let mut stop = app.stop.clone();
    tokio::select! {
        () = wait.ended() => {}
        () = stopped(&mut stop) => {}
    }
    let message = app.admission.admit(Kind::Message, peer).ok_or_else(ApiError::busy)?;
    place.replace(Some(message));
    Ok(())
}

/// Redeems a claim code.
///
/// See `docs/wire-protocol.md`.
#[utoipa::path(
    post,
    path = "/link/enrol",
    tag = "link",
    request_body(content = Vec<u8>, content_type = "application/cose"),
    responses(
        (status = OK, description = "The answer that completes the handshake.", body = Vec<u8>, content_type = "application/cose"),
        (status = UNAUTHORIZED, description = "The message redeems no claim; no body, whatever the reason."),
        (status = CONFLICT, description = "The code is right and was redeemed with another key; no body."),
        (status = GONE, description = "The code is right and has expired; no body."),
        (status = TOO_MANY_REQUESTS, description = "Too many wrong codes for this claim; the right one is taken at any time.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn enrol(
    State(app): State<App>,
    id: RequestId,
    Peer(peer): Peer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let message = read(&headers, body, ENROL_MESSAGE_MAX).await?;
    let redeemed = app.enrolment.redeem(&message, id.to_string()).await;
    let outcome = redeemed.as_ref().map_or_else(RedeemError::as_str, |_| "enrolled");
    app.metrics.enrolments.add([outcome], 1);
    match redeemed {
        Ok((device, reply)) => {
            app.ingest.forget_keys(device);
            Ok(cose(reply))
        }
        Err(RedeemError::Store(error)) => Err(error.into()),
        Err(RedeemError::Random(error)) => Err(ApiError::internal(error.into())),
        Err(error) => {
            if let Some(others) = app.refused_line.allow(app.real_time.mono()) {
                let from = peer.map(tracing::field::display);
                tracing::warn!(%error, from, others, "enrolment refused");
            }
            let status = match error {
                // The sender has proved that it holds the code, so it may know the outcome.
                RedeemError::RedeemedByOther => StatusCode::CONFLICT,
                RedeemError::Expired => StatusCode::GONE,
                _ => {
                    slow_down(&app, &message)?;
                    StatusCode::UNAUTHORIZED
                }
            };
            Ok(status.into_response())
        }
    }
}

/// Counts a wrong code, whether or not the claim exists.
fn slow_down(app: &App, message: &[u8]) -> Result<(), ApiError> {
    let Ok(request) = Request::parse(message) else { return Ok(()) };
    let claim = request.claim();
    let mut wrong_codes = app.wrong_codes.lock().unwrap_or_else(PoisonError::into_inner);
    wrong_codes.wrong(claim.as_str(), app.real_time.mono()).map_err(|wait| {
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooManyAttempts,
            "too many wrong codes for this claim; the right one is taken at any time",
        )
        .retry_after(seconds(wait))
    })
}

/// Returns the body, which the outermost layer has already read.
async fn read(headers: &HeaderMap, body: Body, length_max: usize) -> Result<Vec<u8>, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map_or("", str::trim);
    if kind != COSE && kind != "application/octet-stream" {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::UnsupportedMediaType,
            "a device's message has the content type application/cose",
        ));
    }
    let bytes = axum::body::to_bytes(body, length_max).await;
    Ok(bytes.map_err(|_| ApiError::too_large())?.into())
}

fn cose(reply: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, COSE)], reply).into_response()
}

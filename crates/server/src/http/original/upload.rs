//! The upload of a device.

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use ecowatt_api::{OriginalAnswer, OriginalRefusal};
use ecowatt_envelope::MESSAGE_MAX;

use super::super::App;
use super::super::error::ApiError;
use super::answer::{over_quota, refused};
use super::extract::is_json;
use crate::ingest::{IngestError, TakenUpload, UploadError, UploadMessage};

/// Takes one upload of a device of the earlier EcoWatt.
///
/// See `docs/original-devices.md`. Everything the upload brings is committed before the answer.
#[utoipa::path(
    post,
    path = "/aggregated/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself, such as `ESP32_001`.")),
    request_body(content = Vec<u8>, content_type = "application/json"),
    responses(
        (status = OK, description = "No packet of the upload need be sent again.", body = OriginalAnswer),
        (status = BAD_REQUEST, description = "The upload is the device's and brings no packets.", body = OriginalRefusal),
        (status = UNAUTHORIZED, description = "Not the next upload of an enrolled device.", body = OriginalRefusal),
        (status = TOO_MANY_REQUESTS, description = "The device has sent more than its share; send again later.", body = OriginalRefusal),
        (status = SERVICE_UNAVAILABLE, description = "Nothing was taken; send again later.", body = OriginalRefusal),
    ),
)]
pub(super) async fn take_upload(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, ApiError> {
    if !is_json(&headers) {
        return Ok(refused(StatusCode::BAD_REQUEST, "Content-Type must be application/json"));
    }
    let body = axum::body::to_bytes(body, MESSAGE_MAX).await.map_err(|_| ApiError::too_large())?;
    app.metrics.link_bytes.add(u64::try_from(body.len()).unwrap_or(u64::MAX));
    let taken = app.ingest.take_upload(&id, UploadMessage::Envelope(&body)).await;
    answer(id, taken)
}

/// Answers an upload.
pub(super) fn answer(
    id: String,
    taken: Result<TakenUpload, UploadError>,
) -> Result<Response, ApiError> {
    match taken {
        Ok(taken) => Ok(match taken.problem {
            Some(problem) => refused(StatusCode::BAD_REQUEST, problem.to_string()),
            None => Json(OriginalAnswer {
                success: true,
                device_id: id,
                message: "Compressed data processed and published".into(),
                samples_count: taken.samples,
                packets_processed: taken.packets,
            })
            .into_response(),
        }),
        Err(UploadError::Unproven(reason)) => {
            tracing::debug!(%reason, "upload refused");
            let text = format!("Security validation failed: {reason}");
            Ok(refused(StatusCode::UNAUTHORIZED, text))
        }
        Err(UploadError::Ingest(IngestError::Store(error))) => Err(error.into()),
        Err(UploadError::Ingest(IngestError::Busy)) => Err(ApiError::busy()),
        Err(UploadError::Ingest(IngestError::OverQuota(wait))) => Err(over_quota(wait)),
        Err(UploadError::Ingest(error)) => Err(ApiError::internal(error.into())),
    }
}

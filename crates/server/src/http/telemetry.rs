//! `/api/v1/devices/{id}/telemetry` and `/energy`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use ecowatt_api::{Energy, Resolution, Telemetry};
use ecowatt_model::{SOURCES_MAX, SourceNumber};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{DevicePath, Params};
use crate::history::{BadCursor, HistoryError, Query};
use crate::limits::POINTS_MAX;
use crate::time::{Range, RangeError, zone_of};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TelemetryQuery {
    /// First instant (RFC 3339), or a date for the site's midnight. Default: a day before `to`.
    from: Option<String>,
    /// End, exclusive. Default: now.
    to: Option<String>,
    /// Default by length of the range: `raw` up to 6 hours, `1m` up to 3 days, `15m` up to 60, else
    /// `1d`.
    resolution: Option<Resolution>,
    /// Names of points, separated by commas. Default: all (at most 128, newest layout first).
    points: Option<String>,
    /// `next_cursor` of the answer before, for the rest of the same range.
    cursor: Option<String>,
    /// Which of the device's inverters, from 0.
    #[serde(default)]
    #[param(default = 0)]
    inverter: u8,
}

/// Returns the history of one inverter of a device, as columns.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/telemetry",
    tag = "telemetry",
    params(("id" = String, Path, description = "Such as `dev-42`."), TelemetryQuery),
    responses(
        (status = OK, body = Telemetry),
        (status = BAD_REQUEST, description = "A time, range or point is not one.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device or inverter.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn list_telemetry(
    State(app): State<App>,
    headers: HeaderMap,
    DevicePath(device): DevicePath,
    Params(query): Params<TelemetryQuery>,
) -> Result<Response, ApiError> {
    if usize::from(query.inverter) >= SOURCES_MAX {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidInverter,
            format!("`inverter` is 0 to {}", SOURCES_MAX - 1),
        ));
    }
    let points: Vec<String> =
        query.points.iter().flat_map(|points| points.split(',')).map(str::to_owned).collect();
    if points.len() > POINTS_MAX {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidPoints,
            format!("`points` names {POINTS_MAX} points at most"),
        ));
    }
    let (from, to) = (query.from.as_deref(), query.to.as_deref());
    let range = Range::parse(from, to, &zone_of(device.site()), app.history.now(), DAY)?;
    let resolution = query.resolution.unwrap_or_else(|| fitting(range));
    let inverter = SourceNumber(query.inverter);
    let cursor = query.cursor.as_deref().map(str::parse).transpose()?;
    let query = Query { device, inverter, range, resolution, points, cursor };
    let turn = app.answers.turn(&headers).await?;
    turn.answer(app.history.telemetry(query).await?).await
}

/// Returns the finest resolution at which a range is still a chart rather than an export.
fn fitting(range: Range) -> Resolution {
    let length = range.to.since(range.from);
    if length <= 6 * HOUR {
        Resolution::Raw
    } else if length <= 3 * DAY {
        Resolution::Minute
    } else if length <= 60 * DAY {
        Resolution::Quarter
    } else {
        Resolution::Day
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EnergyQuery {
    /// An instant (RFC 3339) in the first day, or its date. Default: 30 days before `to`.
    from: Option<String>,
    /// End, exclusive. Default: now.
    to: Option<String>,
}

/// Returns the energy of a device by the days of its site that the range touches.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/energy",
    tag = "telemetry",
    params(("id" = String, Path, description = "Such as `dev-42`."), EnergyQuery),
    responses(
        (status = OK, body = Energy),
        (status = BAD_REQUEST, description = "A time or range is not one.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn list_energy(
    State(app): State<App>,
    headers: HeaderMap,
    DevicePath(device): DevicePath,
    Params(query): Params<EnergyQuery>,
) -> Result<Response, ApiError> {
    let (from, to) = (query.from.as_deref(), query.to.as_deref());
    let range = Range::parse(from, to, &zone_of(device.site()), app.history.now(), 30 * DAY)?;
    let turn = app.answers.turn(&headers).await?;
    turn.answer(app.history.energy(&device, range).await?).await
}

impl From<RangeError> for ApiError {
    fn from(error: RangeError) -> Self {
        let code = match error {
            RangeError::Time(_) => ErrorCode::InvalidTime,
            RangeError::Backwards => ErrorCode::InvalidRange,
        };
        Self::bad_request(code, error.to_string())
    }
}

impl From<BadCursor> for ApiError {
    fn from(_: BadCursor) -> Self {
        Self::bad_request(ErrorCode::InvalidCursor, "`cursor` is not one that an answer gave")
    }
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::UnknownInverter(_) => {
                Self::new(StatusCode::NOT_FOUND, ErrorCode::InverterUnknown, error.to_string())
            }
            HistoryError::UnknownPoint(_) => {
                Self::bad_request(ErrorCode::PointUnknown, error.to_string())
            }
            HistoryError::TooManyDays => {
                Self::bad_request(ErrorCode::InvalidRange, error.to_string())
            }
            HistoryError::Store(error) => error.into(),
            HistoryError::Batch(_)
            | HistoryError::Layout(_)
            | HistoryError::UnknownStream(_)
            | HistoryError::Cut => Self::internal(error.into()),
        }
    }
}

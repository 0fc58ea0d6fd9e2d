//! What was measured, under the original's names of its ten registers.

use std::collections::VecDeque;

use axum::Json;
use axum::extract::{Query as Parameters, State};
use axum::http::HeaderMap;
use ecowatt_api::{OriginalRefusal, Resolution, Telemetry};
use ecowatt_model::{SourceNumber, UnixMs};
use ecowatt_store::Reading;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::super::App;
use super::super::error::ApiError;
use super::super::error_code::ErrorCode;
use super::extract::{OriginalDevice, bad};
use crate::fleet::scaled;
use crate::history::{HistoryError, Query};
use crate::time::{Range, instant, rfc3339};

/// The registers by their points.
const NAMES: [(&str, &str); 10] = [
    ("ac.l1.voltage", "Vac1"),
    ("ac.l1.current", "Iac1"),
    ("ac.frequency", "Fac1"),
    ("pv.1.voltage", "Vpv1"),
    ("pv.2.voltage", "Vpv2"),
    ("pv.1.current", "Ipv1"),
    ("pv.2.current", "Ipv2"),
    ("temp.internal", "Temp"),
    ("control.p_limit", "Pow"),
    ("ac.power", "Pac"),
];

/// Rows of an answer by default and at most, as with the original.
const ROWS_DEFAULT: usize = 1_000;
const ROWS_MAX: usize = 10_000;

/// Pages that are read for an answer.
const PAGES_MAX: usize = 8;

/// How far back an answer goes if the request does not say.
const DAY_MS: i64 = 24 * 3_600_000;

fn name(point: &str) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == point).map(|(_, name)| *name)
}

async fn latest(app: &App, device: OriginalDevice) -> Result<Json<Value>, ApiError> {
    let (mut registers, mut metadata) = (Map::new(), Map::new());
    let mut newest = None;
    for source in app.store.latest(device.device.number()).await? {
        for reading in source.readings {
            let def = &reading.point.def;
            let (Some(name), Some(Reading { at, value })) = (name(&def.name), reading.good) else {
                continue;
            };
            registers.insert(name.into(), scaled(value, def.exponent).into());
            metadata.insert(name.into(), json!({ "name": name, "unit": def.unit.symbol() }));
            newest = newest.max(Some(at.0));
        }
    }
    let newest = newest.ok_or_else(|| {
        ApiError::not_found(ErrorCode::DeviceUnknown, "No data available for this device")
    })?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^52")]
    let at_s = newest as f64 / 1000.0;
    Ok(Json(json!({
        "success": true,
        "device_id": device.id,
        "timestamp": at_s,
        "registers": registers,
        "metadata": metadata,
    })))
}

/// Shows what was last measured.
#[utoipa::path(
    get,
    path = "/latest/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device, or it has sent nothing.", body = OriginalRefusal),
    ),
)]
pub(super) async fn find_original_latest(
    State(app): State<App>,
    device: OriginalDevice,
) -> Result<Json<Value>, ApiError> {
    latest(&app, device).await
}

/// Does the same as `/latest/{id}`.
#[utoipa::path(
    get,
    path = "/aggregation/latest/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device, or it has sent nothing.", body = OriginalRefusal),
    ),
)]
pub(super) async fn find_original_aggregation_latest(
    State(app): State<App>,
    device: OriginalDevice,
) -> Result<Json<Value>, ApiError> {
    latest(&app, device).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Seconds since 1970, or an instant. Default: a day before the end.
    start_time: Option<String>,
    /// The same. Default: now.
    end_time: Option<String>,
    /// Rows of the answer: 1000 by default, 10,000 at most.
    limit: Option<usize>,
}

/// Reads a time as the original writes it.
#[expect(clippy::cast_possible_truncation, reason = "a number that large is no time")]
fn time(text: &str) -> Result<UnixMs, ApiError> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    let at = seconds.map(|seconds| UnixMs((seconds * 1000.0) as i64)).or_else(|| instant(text));
    at.ok_or_else(|| bad("start_time and end_time are seconds since 1970 or instants"))
}

/// Lists what was measured, newest first.
#[utoipa::path(
    get,
    path = "/aggregation/historical/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself."), HistoryQuery),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
    ),
)]
pub(super) async fn list_original_history(
    State(app): State<App>,
    headers: HeaderMap,
    OriginalDevice { id, device }: OriginalDevice,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<Json<Value>, ApiError> {
    let to = query.end_time.as_deref().map_or_else(|| Ok(app.history.now()), time)?;
    let from = query
        .start_time
        .as_deref()
        .map_or_else(|| Ok(UnixMs(to.0.saturating_sub(DAY_MS))), time)?;
    if from > to {
        return Err(bad("start_time is not before end_time"));
    }
    let limit = query.limit.unwrap_or(ROWS_DEFAULT).clamp(1, ROWS_MAX);
    // Reading history takes a turn, as elsewhere.
    let _turn = app.answers.turn(&headers).await?;
    let mut query = Query {
        device,
        inverter: SourceNumber(0),
        range: Range { from, to },
        resolution: Resolution::Raw,
        points: Vec::new(),
        cursor: None,
    };
    let mut rows = VecDeque::new();
    for _ in 0..PAGES_MAX {
        let page = match app.history.telemetry(query.clone()).await {
            Ok(page) => page,
            Err(HistoryError::UnknownInverter(_)) => break,
            Err(error) => return Err(error.into()),
        };
        for place in 0..page.t_ms.len() {
            if rows.len() >= limit {
                rows.pop_front();
            }
            rows.push_back(row(&page, place));
        }
        query.cursor = page.next_cursor.as_deref().and_then(|cursor| cursor.parse().ok());
        if query.cursor.is_none() {
            break;
        }
    }
    let data: Vec<_> = rows.into_iter().rev().collect();
    let count = data.len();
    Ok(Json(json!({
        "success": true,
        "device_id": id,
        "data": data,
        "count": count,
        "start_time": rfc3339(from),
        "end_time": rfc3339(to),
        "limit": limit,
    })))
}

fn row(page: &Telemetry, place: usize) -> Value {
    let registers: Map<String, Value> = page
        .series
        .iter()
        .filter_map(|series| {
            let value = series.value.get(place).copied().flatten()?;
            Some((name(&series.point)?.to_owned(), value.into()))
        })
        .collect();
    json!({ "timestamp": rfc3339(UnixMs(page.t_ms[place])), "registers": registers })
}

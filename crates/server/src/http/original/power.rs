//! What a device claims to have saved.

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use ecowatt_api::OriginalRefusal;
use ecowatt_model::UnixMs;
use serde_json::{Map, Value, json};

use super::super::App;
use super::super::error::ApiError;
use super::extract::{OriginalDevice, OriginalId, bad, is_json};
use crate::ingest::PowerReport;
use crate::limits::JSON_BYTES_MAX;
use crate::time::rfc3339;

/// The words that the firmware prints where it divided by zero, and what is read instead.
const NOT_NUMBERS: [(&str, &str); 4] =
    [(":-nan", ":null"), (":nan", ":null"), (":-inf", ":null"), (":inf", ":null")];

/// Takes a report of a device on its power management.
///
/// After a start the firmware's report may contain `nan`, which is not JSON; it is taken as absent.
#[utoipa::path(
    post,
    path = "/power/energy/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = CREATED, body = serde_json::Value)),
)]
pub(super) async fn report_original_energy(
    State(app): State<App>,
    OriginalId(id): OriginalId,
    headers: HeaderMap,
    body: RawBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if !is_json(&headers) {
        return Err(bad("Content-Type must be application/json"));
    }
    let body =
        axum::body::to_bytes(body, JSON_BYTES_MAX).await.map_err(|_| ApiError::too_large())?;
    let text = std::str::from_utf8(&body).map_err(|_| bad("the body is not valid JSON"))?;
    let read =
        NOT_NUMBERS.iter().fold(text.to_owned(), |text, (word, null)| text.replace(word, null));
    let body: Value = serde_json::from_str(&read).map_err(|_| bad("the body is not valid JSON"))?;
    let reported = body.get("power_management").and_then(Value::as_object);
    let reported = reported.ok_or_else(|| bad("Missing power_management data"))?;
    let at = body.get("timestamp").and_then(Value::as_i64);
    let report = report(reported, at.map_or_else(|| app.clock.now(), UnixMs))?;
    app.ingest.original_calls.note(&id, |remarks| remarks.saved(report)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "status": "success", "device_id": id }))))
}

fn report(reported: &Map<String, Value>, at: UnixMs) -> Result<PowerReport, ApiError> {
    let field = |name: &str| {
        let missing = || bad(format!("Missing required field: power_management.{name}"));
        reported.get(name).ok_or_else(missing)
    };
    let count = |name| reported.get(name).and_then(Value::as_u64).unwrap_or_default();
    let number = |name| reported.get(name).and_then(Value::as_f64);
    let techniques = match field("techniques")? {
        Value::String(text) => {
            text.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok())
        }
        value => value.as_u64().and_then(|value| value.try_into().ok()),
    };
    Ok(PowerReport {
        at,
        is_enabled: field("enabled")?.as_bool().unwrap_or_default(),
        techniques: techniques.ok_or_else(|| bad("Invalid value: techniques"))?,
        average_ma: number("avg_current_ma"),
        saved_mah: number("energy_saved_mah"),
        peripheral_saved_mah: number("peripheral_savings_mah"),
        uptime_ms: count("uptime_ms"),
        modes_ms: ["high_perf_ms", "normal_ms", "low_power_ms", "sleep_ms"].map(count),
    })
}

/// Lists the newest reports of a device on its power management.
#[utoipa::path(
    get,
    path = "/power/energy/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    responses(
        (status = OK, description = "Those since the server started, ten at most.", body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
    ),
)]
pub(super) async fn find_original_energy(
    State(app): State<App>,
    OriginalDevice { id, device }: OriginalDevice,
) -> Json<Value> {
    let remarks = app.ingest.original_calls.remarks.of(device.number());
    let row = |report: &PowerReport| {
        let [high, normal, low, sleep] = report.modes_ms;
        json!({
            "timestamp": rfc3339(report.at),
            "enabled": report.is_enabled,
            "techniques": format!("0x{:02X}", report.techniques),
            "avg_current_ma": report.average_ma,
            "energy_saved_mah": report.saved_mah,
            "peripheral_savings_mah": report.peripheral_saved_mah,
            "uptime_ms": report.uptime_ms,
            "time_distribution": {
                "high_perf_ms": high, "normal_ms": normal, "low_power_ms": low, "sleep_ms": sleep,
            },
        })
    };
    let reports: Vec<_> = remarks.power.iter().rev().map(row).collect();
    let count = reports.len();
    Json(json!({ "device_id": id, "period": "all", "count": count, "reports": reports }))
}

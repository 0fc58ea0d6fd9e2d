//! Settings of a device, as operators of the earlier EcoWatt change them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use ecowatt_api::OriginalRefusal;
use ecowatt_config_text::duration_text;
use ecowatt_store::Settings;
use serde_json::{Map, Value, json};

use super::super::App;
use super::super::auth::Acting;
use super::super::error::ApiError;
use super::super::extract::Params;
use super::answer::{Limit, now_s};
use super::config::original_config;
use super::extract::{Object, OriginalDevice, bad};
use crate::desired::{ConfigRequest, OriginalOffer, OriginalSetting};
use crate::time::rfc3339;

/// Names of settings in one request: the original has nine.
const NAMES_MAX: usize = 32;

/// Changes on a page by default and at most.
const CHANGES: Limit = Limit { default: 10, max: 100 };

/// What a request sets, and why it does not set the rest.
#[derive(Debug, Default)]
struct Change {
    request: ConfigRequest,
    accepted: Vec<String>,
    unchanged: Vec<String>,
    rejected: Vec<String>,
    errors: Vec<String>,
}

impl Change {
    fn read(update: &Map<String, Value>, desired: &Settings) -> Self {
        let mut change = Self::default();
        for (name, value) in update {
            match (OriginalSetting::named(name), value) {
                (Some(setting), value) => change.set(setting, value, desired),
                (None, Value::Bool(true)) if name == "compression_enabled" => {
                    change.unchanged.push(name.clone());
                }
                (None, _) => change.reject(name, format!("{name} cannot be set by this server")),
            }
        }
        change
    }

    fn set(&mut self, setting: &OriginalSetting, value: &Value, desired: &Settings) {
        let (min, max) = (setting.min_s, setting.max_s);
        let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
        let Some(seconds) = seconds.filter(|seconds| (min..=max).contains(seconds)) else {
            let name = setting.name;
            let error = format!("{name} must be an integer between {min} and {max} seconds");
            return self.reject(name, error);
        };
        let text = duration_text(Duration::from_secs(seconds.into()));
        let own = setting.own_name();
        match self.request.set.get(own) {
            Some(before) if *before != text => {
                let error =
                    format!("{} has the value of the other poll interval here", setting.name);
                return self.reject(setting.name, error);
            }
            _ if setting.seconds_in(desired) == Some(seconds) => {
                self.unchanged.push(setting.name.into());
            }
            _ => self.accepted.push(setting.name.into()),
        }
        self.request.set.insert(own.into(), text);
    }

    fn reject(&mut self, name: &str, error: String) {
        self.rejected.push(name.into());
        self.errors.push(error);
    }
}

async fn change(
    app: &App,
    by: Acting,
    device: OriginalDevice,
    body: &Map<String, Value>,
) -> Result<Json<Value>, ApiError> {
    let update = body.get("config_update").and_then(Value::as_object);
    let update = update.ok_or_else(|| bad("Missing config_update in request body"))?;
    apply(app, by, device, update).await
}

/// Sets what of an update is allowed.
pub(super) async fn apply(
    app: &App,
    Acting(by): Acting,
    OriginalDevice { id, device }: OriginalDevice,
    update: &Map<String, Value>,
) -> Result<Json<Value>, ApiError> {
    if update.len() > NAMES_MAX {
        return Err(bad(format!("config_update has {NAMES_MAX} names at most")));
    }
    let desired = |config: ecowatt_store::DeviceConfig| {
        config.desired.map(|version| version.desired.settings).unwrap_or_default()
    };
    let before = desired(app.store.find_config(device.number()).await?);
    let change = Change::read(update, &before);
    if !change.accepted.is_empty() {
        app.desired.edit(by, &device, &change.request).await?;
    }
    let after = desired(app.store.find_config(device.number()).await?);
    let Change { accepted, rejected, unchanged, errors, .. } = change;
    Ok(Json(json!({
        "success": true,
        "device_id": id,
        "config_ack": {
            "accepted": accepted, "rejected": rejected, "unchanged": unchanged, "errors": errors,
        },
        "current_config": original_config(&after),
        "timestamp": now_s(app),
        "note": "the device gets it when it next asks",
    })))
}

/// Changes what a device of the earlier EcoWatt should use.
#[utoipa::path(
    put,
    path = "/config/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, description = "`config_ack` says which values were taken.", body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
        (status = CONFLICT, description = "The device has no further generation of settings.", body = OriginalRefusal),
    ),
)]
pub(super) async fn update_original_config(
    State(app): State<App>,
    by: Acting,
    device: OriginalDevice,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    change(&app, by, device, &body).await
}

/// Does the same as `PUT`.
#[utoipa::path(
    post,
    path = "/config/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, description = "`config_ack` says which values were taken.", body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
        (status = CONFLICT, description = "The device has no further generation of settings.", body = OriginalRefusal),
    ),
)]
pub(super) async fn create_original_config_change(
    State(app): State<App>,
    by: Acting,
    device: OriginalDevice,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    change(&app, by, device, &body).await
}

/// Lists what a device of the earlier EcoWatt should have used, newest first.
#[utoipa::path(
    get,
    path = "/config/{id}/history",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself."), super::answer::LimitQuery),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
    ),
)]
pub(super) async fn list_original_config_changes(
    State(app): State<App>,
    OriginalDevice { id, device }: OriginalDevice,
    Params(query): Params<super::answer::LimitQuery>,
) -> Result<Json<Value>, ApiError> {
    let page = app.desired.history(&device, None, CHANGES.of(query)).await?;
    let reported = app.store.find_config(device.number()).await?.report;
    let reported = reported.map_or(0, |report| report.reported.generation.0);
    let line = |line: &crate::desired::HistoryLine| {
        let desired = &line.version.desired;
        let update = OriginalOffer::of(&desired.settings).update;
        let config: Map<String, Value> =
            update.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let is_pending = desired.generation.0 > reported;
        json!({
            "id": desired.generation.0,
            "device_id": id,
            "config": config,
            "status": if is_pending { "pending" } else { "applied" },
            "error_msg": null,
            "created_at": rfc3339(line.version.by.at),
        })
    };
    let history: Vec<_> = page.lines.iter().map(line).collect();
    let count = history.len();
    Ok(Json(json!({ "success": true, "device_id": id, "history": history, "count": count })))
}

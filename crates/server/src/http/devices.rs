//! `/api/v1/devices`.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use ecowatt_api::{
    CreateClaim, CreateDevice, DEVICES_PAGE_MAX, Device, DeviceDetail, DeviceList, DeviceState,
    Enrolment, InverterState, InverterSummary, LinkState, PointValue, Spark, TroubleCause,
    UpdateDevice, Updated,
};
use ecowatt_model::{SourceNumber, UnixMs};
use ecowatt_profile::{Layout, catalogue};
use ecowatt_store::{
    Author, ClaimFor, DeviceQuery, Diagnostic, EditDevice, LatestReading, SiteByName,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Acting, Caller};
use super::change_refused::change_refused;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, DevicePath, Params, device_number};
use super::sites::site;
use super::states::{device_state, stored_device_state};
use crate::enrolment::{ClaimError, ClaimRequest};
use crate::fleet::{Detail, Overview, decimals, scaled};
use crate::limits::{DEVICES_PAGE_DEFAULT, SEARCH_CHARS_MAX};
use crate::original_request::OriginalProblem;
use crate::time::rfc3339;
use crate::trouble::{Cause, Key, Trouble};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DevicesQuery {
    /// Devices on the page: 1 to 500. Default: 100.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Part of a device's name, site or id.
    search: Option<String>,
    state: Option<DeviceState>,
}

/// Lists devices in the order in which they were enrolled.
#[utoipa::path(
    get,
    path = "/api/v1/devices",
    tag = "devices",
    params(DevicesQuery),
    responses((status = OK, body = DeviceList)),
)]
pub(super) async fn list_devices(
    State(app): State<App>,
    Caller(caller): Caller,
    headers: HeaderMap,
    Params(query): Params<DevicesQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(DEVICES_PAGE_DEFAULT);
    if limit == 0 || limit > DEVICES_PAGE_MAX {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidLimit,
            format!("`limit` is 1 to {DEVICES_PAGE_MAX}"),
        ));
    }
    if query.search.as_ref().is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX) {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidSearch,
            format!("`search` has {SEARCH_CHARS_MAX} characters at most"),
        ));
    }
    let after = query.cursor.as_deref().map(device_number).transpose().map_err(|_| {
        ApiError::bad_request(ErrorCode::InvalidCursor, "`cursor` is not one that a page gave")
    })?;
    let turn = app.answers.turn(&headers).await?;
    let page = app
        .fleet
        .within(caller.scope())
        .list(DeviceQuery {
            after,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            search: query.search,
            state: query.state.map(stored_device_state),
        })
        .await?;
    turn.answer(DeviceList {
        devices: page.devices.iter().map(device).collect(),
        next_cursor: page.next.map(|number| number.to_string()),
        total: page.total,
    })
    .await
}

/// Shows a device with everything that was last measured.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    responses(
        (status = OK, body = DeviceDetail),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn find_device(
    State(app): State<App>,
    DevicePath(device): DevicePath,
) -> Result<Json<DeviceDetail>, ApiError> {
    let detail = app.fleet.detail(device).await?.ok_or_else(ApiError::device_unknown)?;
    Ok(Json(device_detail(&detail)))
}

/// Creates a device and its claim code.
#[utoipa::path(
    post,
    path = "/api/v1/devices",
    tag = "devices",
    request_body = CreateDevice,
    responses(
        (status = CREATED, description = "The code is shown this once.", body = Enrolment),
        (status = BAD_REQUEST, description = "The name, time zone or lifetime is invalid.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The site exists in another time zone.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_device(
    State(app): State<App>,
    Acting(by): Acting,
    Body(body): Body<CreateDevice>,
) -> Result<(StatusCode, Json<Enrolment>), ApiError> {
    let CreateDevice { name, site, valid_for_s } = body;
    let claim_for = ClaimFor::New { name, site: site.name, time_zone: site.time_zone };
    make_claim(&app, by, claim_for, valid_for_s).await
}

/// Creates another claim code for a device, which gives it a new key once redeemed.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{id}/claim",
    tag = "devices",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    request_body = CreateClaim,
    responses(
        (status = CREATED, description = "The code is shown this once.", body = Enrolment),
        (status = BAD_REQUEST, description = "The lifetime is invalid.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The device has used all key generations.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_claim(
    State(app): State<App>,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
    Body(body): Body<CreateClaim>,
) -> Result<(StatusCode, Json<Enrolment>), ApiError> {
    let claim_for = ClaimFor::Existing(device.number());
    make_claim(&app, by, claim_for, body.valid_for_s).await
}

async fn make_claim(
    app: &App,
    by: Author,
    claim_for: ClaimFor,
    valid_for_s: Option<u64>,
) -> Result<(StatusCode, Json<Enrolment>), ApiError> {
    let valid_for = valid_for_s.map(Duration::from_secs);
    let who = by.who.clone();
    let made = app.enrolment.make_claim(by, ClaimRequest { claim_for, valid_for }).await?;
    tracing::info!(
        by = who,
        device_id = %made.device,
        claim = made.code.id().as_str(),
        "claim code created"
    );
    let enrolment = Enrolment {
        device: made.device.to_string(),
        claim_code: made.code.expose().to_string(),
        expires: rfc3339(made.expires),
        warning: app.editor.warning(made.device).await?,
    };
    Ok((StatusCode::CREATED, Json(enrolment)))
}

/// Revokes a device's keys and voids its claim codes: nothing that it sends is taken until it is
/// enrolled again.
#[utoipa::path(
    delete,
    path = "/api/v1/devices/{id}/keys",
    tag = "devices",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    responses(
        (status = NO_CONTENT, description = "The device has no valid key."),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn delete_device_keys(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
) -> Result<StatusCode, ApiError> {
    let number = device.number();
    if !app.enrolment.revoke(by, number).await? {
        return Err(ApiError::device_unknown());
    }
    app.ingest.forget_keys(number);
    tracing::info!(by = %caller, device_id = %number, "keys revoked, claim codes voided");
    Ok(StatusCode::NO_CONTENT)
}

/// Changes a device's name and site.
///
/// Days that are stored stay as they were cut by the time zone of the site that the device leaves;
/// where the zone of its new site is another, `keep_past_days` must say that this may be so.
#[utoipa::path(
    patch,
    path = "/api/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    request_body = UpdateDevice,
    responses(
        (status = OK, body = Updated),
        (status = BAD_REQUEST, description = "A name or time zone is not one.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "Past days would stay cut by another time zone.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn update_device(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
    Body(body): Body<UpdateDevice>,
) -> Result<Json<Updated>, ApiError> {
    let number = device.number();
    let change = EditDevice {
        device: number,
        name: body.name,
        site: body.site.map(|site| SiteByName { name: site.name, time_zone: site.time_zone }),
        keeps_past_days: body.keep_past_days,
    };
    app.editor
        .device(by, change)
        .await
        .map_err(|error| change_refused(error, ApiError::device_unknown))?;
    app.ingest.forget_places();
    tracing::info!(by = %caller, device_id = %number, "device changed");
    Ok(Json(Updated { warning: app.editor.warning(number).await? }))
}

/// Deletes a device and everything that it has stored.
///
/// It is gone at once; what it has stored is removed in the background.
#[utoipa::path(
    delete,
    path = "/api/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    responses(
        (status = NO_CONTENT, description = "There is no such device any more."),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn delete_device(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
) -> Result<StatusCode, ApiError> {
    let number = device.number();
    if !app.editor.delete(by, number).await? {
        return Err(ApiError::device_unknown());
    }
    app.ingest.forget_keys(number);
    tracing::info!(by = %caller, device_id = %number, "device deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// Resets a device whose key may have been stolen: revokes its keys and claim codes, and forgets
/// what was reported under them. Its stored data stays.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{id}/reset",
    tag = "devices",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    responses(
        (status = NO_CONTENT, description = "The device can be enrolled again."),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn reset_device(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
) -> Result<StatusCode, ApiError> {
    let number = device.number();
    if !app.editor.reset(by, number).await? {
        return Err(ApiError::device_unknown());
    }
    app.ingest.forget_keys(number);
    tracing::info!(by = %caller, device_id = %number, "device reset, keys revoked");
    Ok(StatusCode::NO_CONTENT)
}

impl From<ClaimError> for ApiError {
    fn from(error: ClaimError) -> Self {
        let code = match error {
            ClaimError::Store(error) => return error.into(),
            ClaimError::NoFreeId | ClaimError::Random(_) => return Self::internal(error.into()),
            ClaimError::UnknownDevice => return ApiError::device_unknown(),
            ClaimError::OtherTimeZone(_) => {
                return Self::new(
                    StatusCode::CONFLICT,
                    ErrorCode::SiteInOtherTimeZone,
                    error.to_string(),
                );
            }
            ClaimError::Exhausted => {
                return Self::new(StatusCode::CONFLICT, ErrorCode::DeviceUsedUp, error.to_string());
            }
            ClaimError::Name(_) => ErrorCode::InvalidName,
            ClaimError::TimeZone(_) => ErrorCode::InvalidTimeZone,
            ClaimError::Lifetime => ErrorCode::InvalidDuration,
            ClaimError::UnknownSite => ErrorCode::SiteUnknown,
            ClaimError::Original(OriginalProblem::Id) => ErrorCode::InvalidId,
            ClaimError::Original(_) => ErrorCode::InvalidBody,
        };
        Self::bad_request(code, error.to_string())
    }
}

fn device(overview: &Overview) -> Device {
    let Overview { device, .. } = overview;
    Device {
        id: device.number.to_string(),
        name: device.name.clone(),
        site: site(device.site.clone()),
        state: device_state(overview.state),
        state_since: overview.state_since.map(rfc3339),
        power_w: overview.power_w,
        energy_today_wh: overview.energy_today_wh(),
        last_seen: device.link.last_seen.map(rfc3339),
        last_sample: device.link.last_sample.map(rfc3339),
        firmware: device.link.firmware.clone(),
        trouble: overview.trouble.as_ref().map(trouble),
        spark: spark(overview),
        created: rfc3339(device.created),
    }
}

fn trouble(trouble: &Trouble) -> ecowatt_api::Trouble {
    ecowatt_api::Trouble {
        cause: match trouble.cause {
            Cause::NotClaimed => TroubleCause::NotClaimed,
            Cause::NothingReceived => TroubleCause::NothingReceived,
            Cause::KeyRevoked => TroubleCause::KeyRevoked,
            Cause::NotHeard => TroubleCause::NotHeard,
            Cause::InverterOffline => TroubleCause::InverterOffline,
            Cause::InverterFaulty => TroubleCause::InverterFaulty,
        },
        inverters: trouble.inverters.iter().map(|source| source.0).collect(),
        quality: trouble.quality.map(|quality| quality.as_str().into()),
        since: trouble.since.map(rfc3339),
        last_good: trouble.last_good.map(rfc3339),
    }
}

fn spark(overview: &Overview) -> Spark {
    let Some(today) = &overview.today else { return Spark::default() };
    let offset = |at: UnixMs| u32::try_from(at.since(overview.midnight).as_secs()).unwrap_or(0);
    Spark {
        from: Some(rfc3339(overview.midnight)),
        offset_s: today.power.iter().map(|mean| offset(mean.start)).collect(),
        power_w: today.power.iter().map(|mean| scaled(mean.mw, -3)).collect(),
    }
}

fn device_detail(detail: &Detail) -> DeviceDetail {
    let link = &detail.overview.device.link;
    let key_revoked = match detail.overview.key {
        Key::Revoked(at) => Some(rfc3339(at)),
        Key::Absent | Key::Valid => None,
    };
    DeviceDetail {
        device: device(&detail.overview),
        inverters: inverters(detail),
        link: LinkState {
            key_generation: link.key_generation.map_or(0, |generation| generation.0),
            key_revoked,
            boot_epoch: link.boot_epoch.map(|epoch| epoch.0),
            messages: link.messages,
            batches: link.batches,
            samples: link.samples,
            duplicates: link.duplicates,
            refused: link.refused,
            dropped_samples: link.dropped_samples,
            bytes: link.bytes,
        },
        diagnostics: pairs(&link.diagnostics),
    }
}

fn pairs(diagnostics: &[Diagnostic]) -> Vec<(String, String)> {
    diagnostics.iter().map(|one| (one.name.clone(), one.value.clone())).collect()
}

/// Returns one summary per source that announced a stream under the current key, has a reported
/// state or has a reading. Sources announced only under an earlier key are left out: if that key
/// was stolen, they may be invented.
fn inverters(detail: &Detail) -> Vec<InverterSummary> {
    let link = &detail.overview.device.link;
    let announced = detail.streams.iter();
    let announced = announced.filter(|stream| Some(stream.id.generation()) == link.key_generation);
    let mut sources: Vec<SourceNumber> = announced.map(|stream| stream.source).collect();
    sources.extend(link.inverters.iter().map(|inverter| inverter.source));
    sources.extend(detail.latest.iter().map(|latest| latest.source));
    sources.sort_unstable();
    sources.dedup();
    sources.into_iter().map(|source| inverter(detail, source)).collect()
}

fn inverter(detail: &Detail, source: SourceNumber) -> InverterSummary {
    let reported = &detail.overview.device.link.inverters;
    let state = reported.iter().find(|known| known.source == source).map(|known| known.state);
    // Streams ascend, so the last one of a source has its current layout.
    let layout = detail
        .streams
        .iter()
        .rfind(|stream| stream.source == source)
        .and_then(|stream| Layout::from_cbor(&stream.layout).ok());
    let readings = detail.latest.iter().find(|latest| latest.source == source);
    let mut points: Vec<PointValue> = readings
        .iter()
        .flat_map(|latest| &latest.readings)
        .map(|reading| point_value(reading, layout.as_ref()))
        .collect();
    // In the profile's order; points of earlier layouts come last.
    let place = |point: &PointValue| {
        layout.as_ref().and_then(|layout| layout.find(&point.point)).unwrap_or(usize::MAX)
    };
    points.sort_by_key(place);
    let profile = layout.as_ref().map_or_else(String::new, |layout| layout.profile().into());
    InverterSummary {
        number: source.0,
        title: title(&profile),
        profile,
        state: inverter_state(state.unwrap_or(ecowatt_store::InverterState::Unknown)),
        points,
    }
}

/// Returns a profile's title, or its id if the catalogue does not have it.
fn title(profile: &str) -> String {
    static TITLES: LazyLock<HashMap<&str, String>> = LazyLock::new(|| {
        let title = |entry: &catalogue::Entry| {
            Some((entry.id, catalogue::find(entry.id)?.title().to_owned()))
        };
        catalogue::list().iter().filter_map(title).collect()
    });
    TITLES.get(profile).map_or(profile, String::as_str).to_owned()
}

fn point_value(reading: &LatestReading, layout: Option<&Layout>) -> PointValue {
    let def = &reading.point.def;
    let label = |value: i64| {
        let layout = layout?;
        let point = layout.points().get(layout.find(&def.name)?)?;
        point.label(value).map(str::to_owned)
    };
    PointValue {
        point: def.name.clone(),
        unit: def.unit.symbol().into(),
        decimals: decimals(def.exponent),
        value: reading.good.map(|good| scaled(good.value, def.exponent)),
        read_at: reading.good.map(|good| rfc3339(good.at)),
        quality: reading.tried.quality.as_str().into(),
        tried_at: Some(rfc3339(reading.tried.at)),
        text: reading.good.and_then(|good| label(good.value)),
    }
}

fn inverter_state(state: ecowatt_store::InverterState) -> InverterState {
    match state {
        ecowatt_store::InverterState::Unknown => InverterState::Unknown,
        ecowatt_store::InverterState::Online => InverterState::Online,
        ecowatt_store::InverterState::Asleep => InverterState::Asleep,
        ecowatt_store::InverterState::Offline => InverterState::Offline,
        ecowatt_store::InverterState::Faulty => InverterState::Faulty,
    }
}

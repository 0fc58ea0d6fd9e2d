//! `GET /api/v1/events`: live changes as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use ecowatt_api::{CommandChanged, ConfigChanged, DeviceChanged, EventKind, LiveSample};
use ecowatt_model::DeviceNumber;
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};
use utoipa::IntoParams;

use super::App;
use super::admission::{Kind, Place};
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{Params, Peer, device_number};
use super::states::{command_state, device_state};
use crate::access::{Principal, Scope};
use crate::limits::{KEEP_ALIVE, STREAM_LOOK_EVERY, STREAM_UNCONFIRMED_MAX};
use crate::live::{EventData, LiveEvent};
use crate::stop::stopped;
use crate::time::rfc3339;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Narrows the stream to one device.
    device: Option<String>,
}

/// Follows what devices send, as it is stored.
///
/// Server-sent events named as `EventKind`: `sample` with `LiveSample`, `device` with
/// `DeviceChanged`, `config` with `ConfigChanged`, `command` with `CommandChanged`, and `reload` for a
/// reader that fell behind. The stream ends after an hour at most, and within a second when the token
/// or session that it was opened with is withdrawn; readers connect again.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "devices",
    params(EventsQuery),
    responses(
        (status = OK, description = "Events until either side ends the stream.", body = String, content_type = "text/event-stream"),
        (status = SERVICE_UNAVAILABLE, description = "All places for streams are taken, or the address has its share.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn follow_events(
    State(app): State<App>,
    Caller(caller): Caller,
    Peer(peer): Peer,
    Params(query): Params<EventsQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let device = query.device.as_deref().map(device_number).transpose()?;
    let place = app.admission.admit(Kind::Waiting, peer).ok_or_else(ApiError::busy)?;
    let reader = Reader {
        events: app.live.subscribe(caller.scope()),
        scope: caller.scope(),
        device,
        stop: app.stop.clone(),
        _place: place,
        app,
    };
    let ended = ended(Arc::clone(&reader.app), caller);
    let events = stream::unfold(reader, Reader::next).take_until(ended);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Waits until the stream has reached its longest lifetime, or its reader's token or session is no
/// longer valid. It asks the store, because another process may have revoked it.
async fn ended(app: App, caller: Principal) {
    let mut looks = interval(STREAM_LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = app.real_time.mono();
    let mut confirmed = begun;
    loop {
        looks.tick().await;
        let now = app.real_time.mono();
        if now.since(begun) >= Kind::Waiting.deadline() {
            return;
        }
        match app.access.is_valid(&caller).await {
            Ok(true) => confirmed = now,
            Ok(false) => return,
            // If every stream ended when the store is busy, all readers would reconnect at once.
            // But a stream that has not been confirmed for long ends.
            Err(_) if now.since(confirmed) < STREAM_UNCONFIRMED_MAX => {}
            Err(_) => return,
        }
    }
}

struct Reader {
    events: broadcast::Receiver<LiveEvent>,
    device: Option<DeviceNumber>,
    stop: watch::Receiver<bool>,
    scope: Scope,
    _place: Place,
    app: App,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            let received = tokio::select! {
                _ = stopped(&mut self.stop) => return None,
                received = self.events.recv() => received,
            };
            let event = match received {
                Ok(event) if self.device.is_none_or(|device| device == event.device) => event,
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => {
                    // The missed events are lost, and the reload makes the queued ones useless.
                    self.events = self.app.live.subscribe(self.scope);
                    return Some((
                        Ok(Event::default().event(name(EventKind::Reload)).data("")),
                        self,
                    ));
                }
                Err(RecvError::Closed) => return None,
            };
            // A value that JSON cannot hold becomes a reload, which is always right.
            let event = match event.json(encode) {
                Some(json) => Event::default().event(name(kind(event.data()))).data(json),
                None => Event::default().event(name(EventKind::Reload)).data(""),
            };
            return Some((Ok(event), self));
        }
    }
}

fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Sample => "sample",
        EventKind::Device => "device",
        EventKind::Config => "config",
        EventKind::Command => "command",
        EventKind::Reload => "reload",
    }
}

fn kind(data: &EventData) -> EventKind {
    match data {
        EventData::Sample(_) => EventKind::Sample,
        EventData::Device(_) => EventKind::Device,
        EventData::Config => EventKind::Config,
        EventData::Command(_) => EventKind::Command,
    }
}

/// Converts an event to the API's type and encodes it.
fn encode(event: &LiveEvent) -> Option<String> {
    let device = event.device.to_string();
    match event.data() {
        EventData::Sample(sample) => json(&LiveSample {
            device,
            inverter: sample.inverter.0,
            t_ms: sample.at.0,
            values: sample.readings.iter().map(|of| (of.point.clone(), of.value)).collect(),
        }),
        EventData::Device(line) => json(&DeviceChanged {
            device,
            state: device_state(line.state),
            power_w: line.power_w,
            energy_today_wh: line.energy_today_wh,
            last_seen: line.last_seen.map(rfc3339),
        }),
        EventData::Config => json(&ConfigChanged { device }),
        EventData::Command(moved) => json(&CommandChanged {
            device,
            command: moved.number.to_string(),
            state: command_state(moved.state),
        }),
    }
}

fn json(data: &impl Serialize) -> Option<String> {
    serde_json::to_string(data).ok()
}

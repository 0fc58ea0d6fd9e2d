//! A device of the earlier EcoWatt in place of one of ours: polls one inverter of ten registers and
//! speaks to the original's server, or to ours as the original's devices do.
//!
//! Nothing here uses the node. A sample is durable before it is sent, is sent until the server has
//! answered 200, and a nonce is durable before it is used. If the process ends between a 200 and the
//! note of it, the samples are sent again under another nonce; the protocol has no names by which a
//! server could tell.

mod calls;
mod order;
mod registers;
mod sampler;
mod settings;
mod store;
mod upload;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::MonoMs;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use self::calls::{CallError, Server};
use self::order::Order;
use self::sampler::Inverter;
use self::settings::Settings;
use self::store::Store;
use self::upload::{Run, Sample, envelope};
use crate::config::{Config, OriginalConfig};

/// First nonce of the firmware. A device without a state begins above the present second as well, so
/// that it stays above what it used before its state was lost.
const FIRST_NONCE: u32 = 11_000;

/// Samples on their way to the disk.
const SAMPLES_MAX: usize = 64;

/// Wait before the server is called again after it did not answer.
const RETRY: Duration = Duration::from_secs(15);

/// How long the stop waits for a call that is under way.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Why the agent ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum OriginalError {
    #[error("the state in the data folder cannot be used")]
    Store(#[source] std::io::Error),
    #[error("a task of the agent ended early")]
    Task,
}

/// What a call to the server brought.
enum Outcome {
    Registered(Result<(), CallError>),
    Uploaded { samples: usize, result: Result<(), CallError> },
    Configured(Result<Option<Settings>, CallError>),
    Commanded(Result<(), CallError>),
}

type Call = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// When each kind of call is due.
struct Due {
    register: Option<MonoMs>,
    upload: MonoMs,
    config: MonoMs,
    commands: MonoMs,
}

impl Due {
    fn next(&self) -> MonoMs {
        let others = self.upload.min(self.config).min(self.commands);
        self.register.map_or(others, |register| register.min(others))
    }
}

/// A running device.
pub(crate) struct Device {
    server: Server,
    config: OriginalConfig,
    is_read_only: bool,
    clock: Clock,
    store: Store,
    settings: watch::Sender<Settings>,
    inverter: Inverter,
    due: Due,
    /// Calls whose last attempt failed. A failure is logged once.
    failing: BTreeSet<&'static str>,
}

/// Polls and sends until `shutdown` is ready.
pub(crate) async fn run(
    config: &Config,
    original: &OriginalConfig,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), OriginalError> {
    let second = u32::try_from(clock.now().0 / 1_000).unwrap_or(FIRST_NONCE);
    let store = Store::open(&config.data, second.max(FIRST_NONCE)).map_err(OriginalError::Store)?;
    let own = Settings::new(
        seconds(config.sample_interval.unwrap_or(original.sample_interval)),
        seconds(config.upload_interval),
    );
    let kept = store.settings().cloned().unwrap_or(own);
    let (settings, changes) = watch::channel(kept);
    let (samples, taken) = mpsc::channel(SAMPLES_MAX);
    let (inverter, tasks) = sampler::start(config, clock, changes, samples);
    let now = clock.mono();
    let mut device = Device {
        server: Server { url: config.server.clone(), device: original.device.clone() },
        config: original.clone(),
        is_read_only: config.permits.read_only,
        clock,
        store,
        settings,
        inverter,
        due: Due { register: Some(now), upload: now, config: now, commands: now },
        failing: BTreeSet::new(),
    };
    tracing::info!(
        device = original.device,
        backlog = device.store.waiting().len(),
        "agent started as a device of the original"
    );
    let ended = device.run(taken, shutdown).await;
    drop(tasks);
    ended
}

impl Device {
    async fn run(
        &mut self,
        mut samples: mpsc::Receiver<Sample>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), OriginalError> {
        let mut shutdown = pin!(shutdown);
        // One call at a time, as on the original's devices; sampling goes on meanwhile.
        let mut call: Option<Call> = None;
        loop {
            let is_idle = call.is_none();
            let answered = async {
                match &mut call {
                    Some(call) => call.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = answered => {
                    call = None;
                    self.handle(outcome).map_err(OriginalError::Store)?;
                }
                sample = samples.recv() => self.keep(sample.ok_or(OriginalError::Task)?)?,
                () = self.clock.sleep_until(self.due.next()), if is_idle => {
                    call = self.call().map_err(OriginalError::Store)?;
                }
                () = &mut shutdown => break,
            }
        }
        while let Ok(sample) = samples.try_recv() {
            self.keep(sample)?;
        }
        // What was sent is noted if the server still answers; it would be sent again otherwise.
        if let Some(call) = call
            && let Ok(outcome) = tokio::time::timeout(STOP_MAX, call).await
        {
            self.handle(outcome).map_err(OriginalError::Store)?;
        }
        Ok(())
    }

    fn keep(&mut self, sample: Sample) -> Result<(), OriginalError> {
        match self.store.append(sample) {
            Ok(0) => {}
            Ok(given_up) => tracing::error!(samples = given_up, "oldest samples given up: no room"),
            Err(error) => return Err(OriginalError::Store(error)),
        }
        Ok(())
    }

    /// Starts the call that is due.
    fn call(&mut self) -> std::io::Result<Option<Call>> {
        let now = self.clock.mono();
        let server = self.server.clone();
        let settings = self.settings.borrow().clone();
        let now_s = self.clock.now().0 / 1_000;
        if self.due.register.is_some_and(|due| due <= now) {
            let report = settings.report(now_s);
            return Ok(Some(Box::pin(async move {
                Outcome::Registered(register(&server, report).await)
            })));
        }
        if self.due.upload <= now {
            let Some((samples, body)) = self.upload(settings.sampling_s)? else {
                self.due.upload = now.plus(Duration::from_secs(settings.upload_s.into()));
                return Ok(None);
            };
            return Ok(Some(Box::pin(async move {
                let path = format!("/aggregated/{}", server.device);
                let result = server.post(&path, body, &[StatusCode::OK]).await;
                Outcome::Uploaded { samples, result }
            })));
        }
        if self.due.config <= now {
            self.due.config = now.plus(Duration::from_secs(settings.config_poll_s.into()));
            return Ok(Some(Box::pin(async move {
                Outcome::Configured(configure(&server, &settings, now_s).await)
            })));
        }
        if self.due.commands <= now {
            self.due.commands = now.plus(Duration::from_secs(settings.command_poll_s.into()));
            let (inverter, is_read_only) = (self.inverter.clone(), self.is_read_only);
            let clock = self.clock;
            return Ok(Some(Box::pin(async move {
                Outcome::Commanded(command(&server, &inverter, is_read_only, clock).await)
            })));
        }
        Ok(None)
    }

    /// Seals the oldest samples that fit one upload.
    fn upload(&mut self, sampling_s: u32) -> std::io::Result<Option<(usize, String)>> {
        let run = Run::first(self.store.to_send(), sampling_s.into());
        let Some(run) = run else { return Ok(None) };
        let (samples, text) = (run.samples.len(), run.text(&self.server.device));
        let nonce = self.store.next_nonce(samples)?;
        Ok(Some((samples, envelope(&self.config.key, nonce, &text))))
    }

    /// Takes note of a call's outcome. Fails if the disk does.
    fn handle(&mut self, outcome: Outcome) -> std::io::Result<()> {
        let now = self.clock.mono();
        match outcome {
            Outcome::Registered(result) => {
                self.due.register = result.is_err().then(|| now.plus(RETRY));
                self.log("registration", &result);
            }
            Outcome::Uploaded { samples, result } => {
                let wait = if result.is_err() {
                    RETRY
                } else {
                    self.store.acknowledge(samples)?;
                    // A backlog goes out without a pause; what is left is less than an upload.
                    let is_backlog = self.store.waiting().len() > samples;
                    let upload_s = u64::from(self.settings.borrow().upload_s);
                    Duration::from_secs(if is_backlog { 0 } else { upload_s })
                };
                self.due.upload = now.plus(wait);
                self.log("upload", &result);
            }
            Outcome::Configured(result) => {
                if let Ok(Some(settings)) = &result {
                    self.store.keep(settings)?;
                    tracing::info!(?settings, "settings changed");
                    self.settings.send_replace(settings.clone());
                    // The next poll finds them in use, and acknowledges them.
                    self.due.config = now;
                    self.due.upload = now;
                }
                self.log("configuration", &result.map(drop));
            }
            Outcome::Commanded(result) => self.log("commands", &result),
        }
        Ok(())
    }

    fn log(&mut self, call: &'static str, result: &Result<(), CallError>) {
        match result {
            Ok(()) if self.failing.remove(call) => tracing::info!(call, "server answers"),
            Err(error) if self.failing.insert(call) => {
                let error: &dyn std::error::Error = error;
                tracing::warn!(call, error, "server does not answer as it should");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Introduces the device and its settings.
async fn register(server: &Server, report: Value) -> Result<(), CallError> {
    let device = json!({
        "device_id": server.device,
        "device_name": server.device,
        "firmware_version": env!("CARGO_PKG_VERSION"),
        "location": "Default Location",
        "description": "EcoWatt Energy Monitor",
    });
    let good = [StatusCode::OK, StatusCode::CREATED, StatusCode::CONFLICT];
    server.post("/devices", device.to_string(), &good).await?;
    let path = format!("/config/{}/current", server.device);
    server.post(&path, report.to_string(), &good[..2]).await
}

/// Asks for settings. Returns the changed ones, which are acknowledged once they are kept; what is
/// not changed or refused is acknowledged at once, or the server would send it for ever.
async fn configure(
    server: &Server,
    settings: &Settings,
    now_s: i64,
) -> Result<Option<Settings>, CallError> {
    let answer = server.get(&format!("/config/{}", server.device)).await?;
    if !answer["is_pending"].as_bool().unwrap_or_default() {
        return Ok(None);
    }
    let pending = &answer["pending_config"];
    let update = pending.get("config_update").unwrap_or(pending);
    let changed = match update.as_object() {
        Some(update) => settings.changed(update),
        None => Err("the update is not an object".to_owned()),
    };
    let (status, text) = match &changed {
        Ok(changed) if changed != settings => return Ok(Some(changed.clone())),
        Ok(_) => ("applied", "Configuration updated successfully"),
        Err(reason) => {
            tracing::warn!(reason, "settings refused");
            ("failed", reason.as_str())
        }
    };
    let body = json!({
        "status": status,
        "timestamp": now_s,
        "error_msg": text,
        "power_management": settings::power_management(),
    });
    let path = format!("/config/{}/acknowledge", server.device);
    server.post(&path, body.to_string(), &[StatusCode::OK]).await.map(|()| None)
}

/// Asks for commands, executes them one after the other, and reports each.
async fn command(
    server: &Server,
    inverter: &Inverter,
    is_read_only: bool,
    clock: Clock,
) -> Result<(), CallError> {
    let answer = server.get(&format!("/commands/{}/poll", server.device)).await?;
    for Order { id, percent } in order::orders(&answer) {
        let outcome = match percent {
            Ok(_) if is_read_only => Err("this device may not write".to_owned()),
            Ok(percent) => inverter.limit(percent).await,
            Err(reason) => Err(reason),
        };
        tracing::info!(command = id, is_done = outcome.is_ok(), "command executed");
        let mut result = json!({
            "command_id": id,
            "status": if outcome.is_ok() { "success" } else { "failed" },
            "executed_at": sampler::iso_8601(clock.now()),
        });
        if let Err(reason) = outcome {
            result["error"] = reason.into();
        }
        let path = format!("/commands/{}/result", server.device);
        let body = json!({ "command_result": result }).to_string();
        server.post(&path, body, &[StatusCode::OK]).await?;
    }
    Ok(())
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
}

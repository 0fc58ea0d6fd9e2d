//! The server: the real ingest on the real store, with a simulated disk and clock.
//!
//! It is stepped by hand: messages that arrive close together are opened, checked and queued one
//! after the other, then their group is committed and each of them is answered. Its power can fail
//! in the middle of any write, its process is killed, its disk fills up and fails; then it starts
//! again on what is left.

mod commands;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ecowatt_clock::{Clock, ClockDriver, DrivenClock};
use ecowatt_envelope::{DeviceKey, KeyId};
use ecowatt_model::{BatchId, DeviceNumber, KeyGeneration, UnixMs};
use ecowatt_server::Entropy;
use ecowatt_server::ingest::{Ingest, IngestError};
use ecowatt_server::packing::pack_all;
use ecowatt_store::{
    Author, ClaimFor, NewClaim, OpenError, RedeemClaim, Settings, Stepper, Store, StoreError,
};

use crate::faults::kinds::{Fault, Occasion, ServerFault};
use crate::faults::weights::{Weights, lasting_ms};
use crate::judges::audit::templates::KnownTemplates;
use crate::judges::truth::ClockError;
use crate::random::Random;
use crate::scenario::{FaultLevel, START, Scenario};
use crate::streams;
use crate::time::{FAR, after};
use crate::trace::{Digest, Instant};
use crate::world::commands::CommandOperator;
use crate::world::disk::Disk;
use crate::world::network::{Answer, Message, Response};
use crate::world::operator::Operator;
use crate::world::templates::{TemplateAct, TemplateOperator};

/// `Retry-After` of a server that cannot take a message.
const RETRY_AFTER_S: u64 = 5;
/// Time after a start in which a power cut counts as disturbing it.
const AFTER_START_MS: i64 = 60_000;
/// Devices whose batches are looked up after each start of the server.
const AUDITED_PER_START: u64 = 20;

/// Largest error of the server's clock when it is astray.
const ASTRAY_MAX_MS: u64 = 3 * 86_400_000;

/// How often the server packs batches, and how old they are then. Far sooner than in production, so
/// that many batches come too late for their pack.
const PACK_EVERY_MS: i64 = 3 * 3_600_000;
const PACK_AFTER_MS: i64 = 1_800_000;

const DATABASE: &str = "ecowatt.db";

/// Counts of what happened to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ServerCounts {
    pub messages: u64,
    pub groups: u64,
    pub power_cuts: u64,
    /// Power cuts within a minute of a start, while the log of the previous life is checkpointed.
    /// The start itself only reads the log.
    pub power_cuts_after_start: u64,
    pub kills: u64,
    pub restarts: u64,
    pub disk_full: u64,
    pub disk_failing: u64,
    pub clock_steps: u64,
    /// Batches that were packed.
    pub packed: u64,
    /// Changes of settings that the operator knows to be made.
    pub settings_changed: u64,
    /// Configurations that followed a change of their template.
    pub templates_derived: u64,
    /// Messages by outcome.
    pub answered: u64,
    pub busy: u64,
    pub stale: u64,
    pub refused: u64,
    pub unanswered: u64,
}

impl ServerCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.groups += other.groups;
        self.power_cuts += other.power_cuts;
        self.power_cuts_after_start += other.power_cuts_after_start;
        self.kills += other.kills;
        self.restarts += other.restarts;
        self.disk_full += other.disk_full;
        self.disk_failing += other.disk_failing;
        self.clock_steps += other.clock_steps;
        self.packed += other.packed;
        self.settings_changed += other.settings_changed;
        self.templates_derived += other.templates_derived;
        self.answered += other.answered;
        self.busy += other.busy;
        self.stale += other.stale;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
    }
}

/// What the server sends to the simulation of the devices.
#[derive(Debug)]
pub(crate) enum FromServer {
    Response(Response),
    /// After a start: all stored batches of a device, ascending.
    Audit {
        at: UnixMs,
        device: u32,
        batches: Vec<BatchId>,
    },
}

/// A running server.
struct Up {
    store: Store,
    stepper: Stepper,
    ingest: Ingest,
}

/// A failure that ends the simulation: the server cannot start or its store cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("server does not start")]
    Open(#[source] OpenError),
    #[error("store cannot be read")]
    Read(#[source] StoreError),
}

pub(crate) struct Server {
    scenario: Scenario,
    weights: Arc<Weights>,
    is_calm: bool,
    random: Random,
    disk: Disk,
    vfs: String,
    clock: Clock,
    driver: ClockDriver,
    clock_error_ms: i64,
    clock_right_at: Option<UnixMs>,
    /// When and by how much its clock was wrong.
    pub(crate) clock_errors: Vec<ClockError>,
    entropy: Entropy,
    runtime: tokio::runtime::Runtime,
    up: Option<Up>,
    /// When it starts again.
    up_at: UnixMs,
    started_at: UnixMs,
    trouble_at: UnixMs,
    /// When its clock is wrong by hours or days, as after a start without a battery.
    astray: Random,
    astray_at: UnixMs,
    disk_well_at: Option<UnixMs>,
    pack_at: UnixMs,
    operator: Operator,
    templates: TemplateOperator,
    commands: CommandOperator,
    pending: BTreeMap<(UnixMs, u32, u64), Vec<u8>>,
    pub(crate) counts: ServerCounts,
    pub(crate) digest: Digest,
    pub(crate) trace: Vec<String>,
    // Last, because connections must be dropped before their files.
    _files: ecowatt_vfs::Registered,
}

/// Lines of the server's own trace that are kept.
const TRACE_MAX: usize = 200;

impl Server {
    pub(crate) fn new(scenario: Scenario, weights: &Arc<Weights>) -> Result<Self, ServerError> {
        let mut random = Random::new(scenario.seed, streams::SERVER);
        let disk = Disk::new(random.draw()).weighted(weights);
        let vfs = vfs_name();
        let files = ecowatt_vfs::register(&vfs, disk.clone())
            .expect("every simulation has a name of its own");
        let DrivenClock { clock, driver } = Clock::driven(START);
        // A stream of its own, so that nonces do not shift the other draws.
        let nonces = Mutex::new(Random::new(scenario.seed, streams::NONCES));
        let entropy = Entropy::simulated(move |bytes| {
            nonces.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing from the system");
        let mut astray = Random::new(scenario.seed, streams::ASTRAY);
        let mut server = Self {
            astray_at: weights.next(Occasion::ServerClock, START, &mut astray),
            astray,
            scenario,
            weights: Arc::clone(weights),
            is_calm: scenario.faults == FaultLevel::None,
            trouble_at: weights.next(Occasion::ServerTrouble, START, &mut random),
            random,
            disk,
            vfs,
            clock,
            driver,
            clock_error_ms: 0,
            clock_right_at: None,
            clock_errors: Vec::new(),
            entropy,
            runtime,
            up: None,
            up_at: START,
            started_at: START,
            disk_well_at: None,
            pack_at: UnixMs(START.0 + PACK_EVERY_MS),
            operator: Operator::new(&scenario),
            templates: TemplateOperator::new(&scenario),
            commands: CommandOperator::new(&scenario),
            pending: BTreeMap::new(),
            counts: ServerCounts::default(),
            digest: Digest::default(),
            trace: Vec::new(),
            _files: files,
        };
        server.start()?;
        Ok(server)
    }

    /// Enrols all devices in the store; returns their keys.
    pub(crate) fn enrol(&mut self) -> Result<Vec<(KeyId, DeviceKey)>, ServerError> {
        let up = self.up.as_ref().expect("it was just started");
        let mut keys = Vec::new();
        for index in 0..self.scenario.devices {
            let mut secret = [0; 32];
            self.random.fill(&mut secret);
            let kid =
                drive(&up.stepper, enrol(&up.store, index, secret)).map_err(ServerError::Read)?;
            keys.push((kid, DeviceKey::new(secret)));
        }
        Ok(keys)
    }

    /// Queues messages that will arrive.
    pub(crate) fn expect(&mut self, messages: impl IntoIterator<Item = Message>) {
        for Message { arrives, device, serial, bytes } in messages {
            self.pending.insert((arrives, device, serial), bytes);
        }
    }

    /// Processes the next group of messages, if it is complete; returns whether there was one. No
    /// further message will arrive before `safe`.
    pub(crate) fn step(
        &mut self,
        safe: UnixMs,
        out: &mut Vec<FromServer>,
    ) -> Result<bool, ServerError> {
        let Some((arrives, ..)) = self.pending.keys().next().copied() else { return Ok(false) };
        let until = after(arrives, self.scenario.group_span_ms());
        if until > safe {
            return Ok(false);
        }
        self.live_until(arrives, out)?;
        if self.pack_at <= arrives {
            self.pack(arrives);
        }
        let later = self.pending.split_off(&(until, 0, 0));
        let group = std::mem::replace(&mut self.pending, later);
        self.set_clock(until);
        self.take(group, until, out);
        if self.disk.is_off() && self.up.is_some() {
            self.lose_power(until);
        }
        Ok(true)
    }

    /// Carries out restarts, troubles and their ends up to `now`.
    fn live_until(&mut self, now: UnixMs, out: &mut Vec<FromServer>) -> Result<(), ServerError> {
        loop {
            let restart = if self.up.is_none() { self.up_at } else { FAR };
            let well = self.disk_well_at.unwrap_or(FAR);
            let right = self.clock_right_at.unwrap_or(FAR);
            let calm = if self.is_calm { FAR } else { self.scenario.calm_at() };
            let troubles = self.trouble_at.min(self.astray_at).min(calm);
            let operated = self.operator.at().min(self.templates.at()).min(self.commands.at());
            let next = restart.min(well).min(right).min(troubles).min(operated);
            if next > now {
                return Ok(());
            }
            self.set_clock(next);
            if next == calm {
                self.is_calm = true;
                self.weights = Arc::new(Weights::calm());
                (self.trouble_at, self.astray_at) = (FAR, FAR);
                self.clock_right_at = None;
                self.clock_error_ms = 0;
                self.disk_well_at = self.disk_well_at.map(|_| next);
                self.disk.cut_never();
                if self.up.is_none() {
                    self.up_at = next;
                }
            } else if next == well {
                self.disk.set_room(None);
                self.disk.set_failing(false);
                self.disk_well_at = None;
                self.note(next, "disk is well again");
            } else if next == right {
                self.clock_error_ms = 0;
                self.clock_right_at = None;
            } else if next == restart {
                self.restart(next, out)?;
            } else if next == self.operator.at() {
                self.operate(next);
            } else if next == self.templates.at() {
                self.operate_templates(next);
            } else if next == self.commands.at() {
                self.operate_commands(next);
            } else if next == self.astray_at {
                self.go_astray(next);
            } else {
                self.trouble(next);
            }
        }
    }

    fn restart(&mut self, now: UnixMs, out: &mut Vec<FromServer>) -> Result<(), ServerError> {
        if self.disk.is_off() {
            self.disk.restart();
        }
        // The power may fail again during recovery.
        if self.weights.happens(Fault::PowerCutInServerStart, &mut self.random) {
            let operations = self.random.between(1, 60);
            self.disk.cut_after(operations);
        }
        match self.start() {
            Ok(()) => {}
            Err(_) if self.disk.is_off() => {
                self.note(now, "power cut in the middle of a start");
                self.up = None;
                self.up_at = after(now, self.random.waiting_ms(20_000));
                return Ok(());
            }
            // A full or failing disk prevents the start; it is tried again later.
            Err(_) if self.disk_well_at.is_some() => {
                self.up_at = UnixMs(now.0 + 10_000);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.counts.restarts += 1;
        self.started_at = now;
        self.note(now, "started");
        let Some(up) = &self.up else { return Ok(()) };
        for _ in 0..AUDITED_PER_START.min(u64::from(self.scenario.devices)) {
            let device = self.random.below(u64::from(self.scenario.devices));
            let device = u32::try_from(device).unwrap_or(0);
            match drive(&up.stepper, up.store.list_batches(number(device))) {
                Ok(stored) => {
                    let mut batches: Vec<BatchId> = stored.iter().map(|batch| batch.id).collect();
                    batches.sort_unstable();
                    out.push(FromServer::Audit { at: now, device, batches });
                }
                Err(_) if self.disk.is_off() => break,
                Err(error) => return Err(ServerError::Read(error)),
            }
        }
        if self.disk.is_off() {
            self.lose_power(now);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), ServerError> {
        let (store, stepper) =
            Store::open_stepped(Path::new(DATABASE), &self.vfs).map_err(ServerError::Open)?;
        let (live, metrics) = Default::default();
        let ingest = Ingest::new(store.clone(), self.clock, self.entropy.clone(), live, metrics);
        self.up = Some(Up { store, stepper, ingest });
        Ok(())
    }

    /// Packs old batches, as the server's reconciler does. An error is ignored here, because the
    /// next message gets it, too.
    fn pack(&mut self, now: UnixMs) {
        self.pack_at = after(now, PACK_EVERY_MS.unsigned_abs());
        self.set_clock(now);
        let Some(up) = &self.up else { return };
        let _entered = self.runtime.enter();
        let before = UnixMs(now.0 + self.clock_error_ms - PACK_AFTER_MS);
        let packed = drive(&up.stepper, pack_all(&up.store, before, Duration::ZERO));
        self.counts.packed += packed.as_ref().copied().unwrap_or(0);
        self.digest.add(packed.unwrap_or(u64::MAX));
        if self.disk.is_off() {
            self.lose_power(now);
        }
    }

    /// Lets the operator change settings. After an error the operator cannot know whether the change
    /// was made; the next message shows what is wrong with the server.
    fn operate(&mut self, now: UnixMs) {
        let edit = self.operator.change(number);
        let Some(up) = &self.up else { return };
        let _entered = self.runtime.enter();
        let by = Author::new("simulation", UnixMs(now.0 + self.clock_error_ms));
        let edited = drive(&up.stepper, up.store.edit_config(by, edit));
        let generation = edited.as_ref().map_or(u32::MAX, |edited| edited.generation.0);
        self.counts.settings_changed += u64::from(edited.is_ok_and(|edited| edited.is_changed));
        self.digest.add(u64::from(generation));
        if self.disk.is_off() {
            self.lose_power(now);
        }
    }

    /// Lets the operator change templates, or devices follow them. After an error neither knows
    /// whether the change was made; the next step looks again.
    fn operate_templates(&mut self, now: UnixMs) {
        let act = self.templates.act(number);
        let Some(up) = &self.up else { return };
        let _entered = self.runtime.enter();
        let by = Author::new("simulation", UnixMs(now.0 + self.clock_error_ms));
        let (store, stepper) = (&up.store, &up.stepper);
        match act.clone() {
            TemplateAct::Edit(edit) => {
                let create =
                    store.create_template(by.clone(), edit.name.clone(), Settings::default());
                // It exists but for the first time.
                let _ = drive(stepper, create);
                let is_done = drive(stepper, store.edit_template(by, edit)).is_ok();
                self.digest.add(u64::from(is_done));
                self.templates.done(act, is_done);
            }
            TemplateAct::Assign { device, name } => {
                let is_done = drive(stepper, store.assign_template(by, device, name)).is_ok();
                self.digest.add(u64::from(is_done));
                self.templates.done(act, is_done);
            }
            TemplateAct::Derive => {
                let count =
                    drive(stepper, store.derive_outdated()).map_or(0, |all| all.len() as u64);
                self.counts.templates_derived += count;
                self.digest.add(count);
            }
        }
        if self.disk.is_off() {
            self.lose_power(now);
        }
    }

    /// Returns what operators know of templates.
    pub(crate) fn take_templates(&mut self) -> KnownTemplates {
        self.templates.take_known()
    }

    fn trouble(&mut self, now: UnixMs) {
        let random = &mut self.random;
        self.trouble_at = self.weights.next(Occasion::ServerTrouble, now, random);
        if self.up.is_none() {
            return;
        }
        let fault = self.weights.pick(Occasion::ServerTrouble, random);
        let Fault::Server(trouble) = fault else { return };
        match trouble {
            ServerFault::PowerCutInOperation => {
                let operations = random.between(1, 400);
                self.disk.cut_after(operations);
                self.note(now, "power will go in the middle of a write");
            }
            ServerFault::PowerCut => {
                self.disk.cut();
                self.lose_power(now);
            }
            ServerFault::Killed => {
                // What a killed process has written is in the operating system's cache.
                self.counts.kills += 1;
                self.disk.cut();
                self.up = None;
                self.disk.restart_kept();
                self.up_at = after(now, lasting_ms(fault, random));
                self.note(now, "killed");
            }
            ServerFault::DiskFull => {
                self.counts.disk_full += 1;
                let room = self.disk.bytes() + random.below(200_000);
                self.disk.set_room(Some(room));
                self.disk_well_at = Some(after(now, lasting_ms(fault, random)));
                self.note(now, "disk is full");
            }
            ServerFault::DiskFailing => {
                self.counts.disk_failing += 1;
                self.disk.set_failing(true);
                self.disk_well_at = Some(after(now, lasting_ms(fault, random)));
                self.note(now, "disk fails");
            }
            ServerFault::ClockStepped => {
                let most = if random.happens(200_000) { 3_600_000 } else { 20_000 };
                let step = i64::try_from(random.below(2 * most)).unwrap_or(0);
                let until = after(now, lasting_ms(fault, random));
                self.set_wrong(now, until, step - i64::try_from(most).unwrap_or(0));
            }
        }
    }

    /// Sets the clock wrong by hours or days, for hours.
    fn go_astray(&mut self, now: UnixMs) {
        let random = &mut self.astray;
        self.astray_at = self.weights.next(Occasion::ServerClock, now, random);
        let most = if random.happens(500_000) { ASTRAY_MAX_MS } else { ASTRAY_MAX_MS / 12 };
        let by_ms = i64::try_from(random.below(2 * most)).unwrap_or(0);
        let until = after(now, lasting_ms(Fault::ServerClock, random));
        self.set_wrong(now, until, by_ms - i64::try_from(most).unwrap_or(0));
    }

    fn set_wrong(&mut self, now: UnixMs, until: UnixMs, by_ms: i64) {
        self.counts.clock_steps += 1;
        self.clock_error_ms = by_ms;
        self.clock_right_at = Some(until);
        self.clock_errors.push(ClockError { until, by_ms });
        self.note(now, "clock is set wrong");
    }

    fn lose_power(&mut self, now: UnixMs) {
        self.counts.power_cuts += 1;
        let age_ms = now.0 - self.started_at.0;
        self.counts.power_cuts_after_start += u64::from(age_ms < AFTER_START_MS);
        self.up = None;
        let away = lasting_ms(Fault::Server(ServerFault::PowerCut), &mut self.random);
        self.up_at = after(now, away);
        self.note(now, "power cut");
    }

    fn set_clock(&self, now: UnixMs) {
        self.driver.set(UnixMs(now.0 + self.clock_error_ms));
    }

    /// Processes one group, from arrival to answers.
    fn take(
        &mut self,
        group: BTreeMap<(UnixMs, u32, u64), Vec<u8>>,
        now: UnixMs,
        out: &mut Vec<FromServer>,
    ) {
        self.counts.groups += 1;
        // A server that is down answers nothing.
        let Some(up) = &self.up else {
            for (arrives, device, serial) in group.into_keys() {
                self.counts.messages += 1;
                self.counts.unanswered += 1;
                let (answer, clock) = (Answer::Nothing, now);
                let response = Response { arrives, leaves: now, device, serial, answer, clock };
                out.push(FromServer::Response(response));
            }
            return;
        };
        let _entered = self.runtime.enter();
        let waker = unpark();
        // All messages of the group are queued before the first commit, so that they share it.
        let mut under_way: Vec<_> = group
            .iter()
            .map(|(key, bytes)| (*key, Some(Box::pin(up.ingest.take(bytes))), None))
            .collect();
        // A message may need several commits, so this repeats until all of them have a result.
        loop {
            for (_, future, result) in &mut under_way {
                if let Some(waiting) = future
                    && let Poll::Ready(done) = until_queued(&up.stepper, waiting.as_mut(), &waker)
                {
                    *result = Some(done);
                    *future = None;
                }
            }
            if under_way.iter().all(|(_, future, _)| future.is_none()) {
                break;
            }
            commit_all(&up.stepper);
        }
        let results: Vec<_> =
            under_way.into_iter().filter_map(|(key, _, result)| Some((key, result?))).collect();
        for ((arrives, device, serial), result) in results {
            self.counts.messages += 1;
            let answer = self.answer(result);
            self.digest.add(u64::from(device) ^ (serial << 32));
            match &answer {
                Answer::Reply(bytes) => self.digest.add_bytes(bytes),
                Answer::Busy { .. } => self.digest.add(1),
                Answer::Refused(status) => self.digest.add(u64::from(*status)),
                Answer::Nothing => self.digest.add(2),
            }
            let clock = UnixMs(now.0 + self.clock_error_ms);
            let response = Response { arrives, leaves: now, device, serial, answer, clock };
            out.push(FromServer::Response(response));
        }
    }

    /// Converts a result to an answer as `http::link` does.
    fn answer(&mut self, result: Result<Vec<u8>, IngestError>) -> Answer {
        let error = match result {
            Ok(reply) => {
                self.counts.answered += 1;
                return Answer::Reply(reply);
            }
            Err(_) if self.disk.is_off() => {
                self.counts.unanswered += 1;
                return Answer::Nothing;
            }
            Err(error) => error,
        };
        match error {
            IngestError::Store(_) | IngestError::Busy | IngestError::OverQuota(_) => {
                self.counts.busy += 1;
                Answer::Busy { retry_after_s: RETRY_AFTER_S }
            }
            IngestError::Stale => {
                self.counts.stale += 1;
                Answer::Refused(409)
            }
            IngestError::Envelope(_)
            | IngestError::UnknownKey
            | IngestError::Counter
            | IngestError::Seal(_)
            | IngestError::Message(_)
            | IngestError::Epoch => {
                self.counts.refused += 1;
                Answer::Refused(401)
            }
            IngestError::Random(_) | IngestError::Cut | IngestError::Reply => {
                self.counts.refused += 1;
                Answer::Refused(500)
            }
        }
    }

    /// Returns the store, for the closing audit.
    pub(crate) fn store(&mut self) -> Result<(&Store, &Stepper), ServerError> {
        let mut undelivered = Vec::new();
        let end = self.scenario.end();
        self.live_until(end, &mut undelivered)?;
        if self.scenario.commands_every.is_some() {
            self.end_commands(end);
        }
        let up = self.up.as_ref().expect("nothing fails any more");
        Ok((&up.store, &up.stepper))
    }

    /// Returns its disk, for the counts.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    fn note(&mut self, at: UnixMs, what: &'static str) {
        self.digest.add(at.0.unsigned_abs());
        self.digest.add_bytes(what.as_bytes());
        if self.trace.len() == TRACE_MAX {
            self.trace.remove(0);
        }
        self.trace.push(format!("{}  server: {what}", Instant(at)));
    }
}

/// Returns the number that a new store assigns to the device with this index.
pub(crate) fn number(index: u32) -> DeviceNumber {
    DeviceNumber(index + 1)
}

async fn enrol(store: &Store, index: u32, secret: [u8; 32]) -> Result<KeyId, StoreError> {
    let id = format!("{index:05}");
    let by = Author::new("simulation", START);
    let claim = NewClaim {
        claim_for: ClaimFor::New {
            name: format!("Device {}", index + 1),
            site: "Simulated".into(),
            time_zone: Some("Europe/Berlin".into()),
        },
        id: id.clone(),
        secret: vec![0; 15],
        created: START,
        expires: UnixMs(i64::MAX),
    };
    let device = store
        .create_claim(by.clone(), claim)
        .await
        .map_err(|_| StoreError::Corrupt("a new claim"))?;
    let kid = KeyId { device, generation: KeyGeneration(1) };
    let redeem = RedeemClaim {
        id,
        public_key: secret,
        generation: kid.generation,
        first_epoch: ecowatt_model::BootEpoch(1),
        secret,
        reply: Vec::new(),
        at: START,
    };
    store.redeem_claim(by, redeem).await.map_err(|_| StoreError::Corrupt("a new claim"))?;
    Ok(kid)
}

/// Runs a future that waits only for the store, committing what it queues.
pub(crate) fn drive<T>(stepper: &Stepper, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = unpark();
    loop {
        if let Poll::Ready(done) = until_queued(stepper, future.as_mut(), &waker) {
            return done;
        }
        commit_all(stepper);
    }
}

/// Commits group after group until none is queued.
fn commit_all(stepper: &Stepper) {
    while stepper.queued() > 0 {
        stepper.commit();
    }
}

/// Polls until the future is done or waits for a commit. Decoding on another thread is waited for,
/// because nothing else may be queued before it.
fn until_queued<F: Future>(
    stepper: &Stepper,
    mut future: Pin<&mut F>,
    waker: &Waker,
) -> Poll<F::Output> {
    let mut context = Context::from_waker(waker);
    let queued = stepper.queued();
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return Poll::Ready(done),
            Poll::Pending if stepper.queued() > queued => return Poll::Pending,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Wakes this thread.
fn unpark() -> Waker {
    Waker::from(Arc::new(Unpark(std::thread::current())))
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Returns a name of its own: the simulations of one process share SQLite's table of file systems.
fn vfs_name() -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("ecowatt-fleet-{count}")
}

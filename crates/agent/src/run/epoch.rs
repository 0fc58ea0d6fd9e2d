//! One boot epoch: connects the node with buses, link and clock.
//!
//! The node is owned by one task and decides. Its disk work runs on a blocking thread, one call at
//! a time and awaited, so that what the core takes for durable is durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_device::{Ending, Event, LinkFailure, limits};
use ecowatt_envelope::MESSAGE_MAX;
use ecowatt_model::{DeviceNumber, MonoMs, SourceNumber};
use ecowatt_node::storage::{Damage, Ledger, Postponed, StorageError};
use ecowatt_node::{DiskWork, Message, Node, NodeAction, NodeConfig, SourceSetup, WorkOutcome};
use ecowatt_wire::{CommandFailure, CommandState, ConfigState, SourceState};
use hyper::body::Bytes;
use tokio::sync::{Notify, mpsc};

use super::{RunError, Site};
use crate::bus::{self, Job};
use crate::config::{Config, InverterConfig};
use crate::controls;
use crate::data_folder::Folder;
use crate::link::{Link, LinkError, ServerUrl};
use crate::log_control::LogControl;
use crate::model_search;
use crate::rated_power::{self, Watch};
use crate::sample_log::SampleLog;
use crate::server_contact::{ContactFailure, StatusLog};

type Disk = Arc<Folder>;
type Exchange = Pin<Box<dyn Future<Output = (Link, Result<Bytes, LinkError>)> + Send>>;

/// Longest wait for the last message of an orderly stop.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Longest wait for the program that restarts the machine. One that takes longer is at it: the signal
/// that stops the agent will come.
const REBOOT_MAX: Duration = Duration::from_secs(10);

/// Hint for the installer if samples do not fit the models that were found.
const MOVED_HINT: &str = "its SunSpec models are not where they were: it is searched again";

/// How an epoch ended.
pub(super) enum Ended {
    Stopped,
    /// A search found new models: the next epoch polls the inverter with them.
    Surveyed,
    /// A command asks for another epoch.
    Restarted,
    Failed,
}

/// What one epoch passes to the next.
pub(super) struct Handover {
    pub(super) ledger: Ledger<Disk>,
    pub(super) link: Link,
    pub(super) log: Option<SampleLog>,
    pub(super) status_log: StatusLog,
    pub(super) log_control: Option<LogControl>,
}

/// What the log says of an inverter, in the order of the configuration.
struct Inverter {
    name: String,
    address: String,
    unit: u8,
    /// Hint for the read that failed last.
    hint: &'static str,
}

/// An event for the node.
enum EpochEvent {
    Read(bus::Done),
    /// A read of the rated power ended.
    Asked(bus::Done),
    Reply(Link, Result<Bytes, LinkError>),
    Surveyed,
    Timer,
}

/// A running epoch.
pub(super) struct Epoch {
    /// None while a blocking thread has it.
    node: Option<Box<Node<Disk>>>,
    disk: Disk,
    clock: Clock,
    log: Option<SampleLog>,
    buses: Vec<(SourceNumber, u8, mpsc::Sender<Job>)>,
    watches: Vec<(SourceNumber, Watch)>,
    /// Rated powers learned since [`Epoch::take_rated`] was last called, in watts.
    rated: Vec<(SourceNumber, u32)>,
    /// Inverters whose layouts do not have their rated power yet.
    unlabelled: Vec<SourceNumber>,
    /// Notified when the models of an inverter have moved.
    moved: Vec<(SourceNumber, Arc<Notify>)>,
    inverters: Vec<Inverter>,
    reads: mpsc::Receiver<bus::Done>,
    read_done: mpsc::Sender<bus::Done>,
    answers: mpsc::Receiver<bus::Done>,
    asked: mpsc::Sender<bus::Done>,
    link: Option<Link>,
    status_log: StatusLog,
    log_control: Option<LogControl>,
    exchange: Option<Exchange>,
    /// The server may hold the reply to the message in flight.
    is_waiting: bool,
    is_stopping: bool,
    /// A command asks for another epoch.
    is_restarting: bool,
    /// Program and arguments that restart the machine.
    reboot: Option<Vec<String>>,
    server: ServerUrl,
    storage_failures: u32,
}

impl Epoch {
    pub(super) fn start(
        config: &Config,
        clock: Clock,
        disk: Disk,
        sites: &[Site],
        handover: Handover,
    ) -> Result<Self, RunError> {
        let Handover { ledger, link, log, status_log, log_control } = handover;
        let kept = disk.clone();
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(RunError::Random)?;
        let node_config = NodeConfig {
            spool_bytes: config.spool_bytes,
            message_bytes: config.message_bytes,
            upload_interval: config.upload_interval,
            order: config.order,
            // The tolerance covers delays of this process, which are in real time.
            start_tolerance: limits::START_TOLERANCE.mul_f64(clock.speed().max(1.0)),
            log_level: log_control.as_ref().map(LogControl::own),
            permissions: config.permits.permissions(),
            firmware: FIRMWARE,
            seed: u32::from_le_bytes(seed),
        };
        let (mut sources, mut buses, mut watches) = (Vec::new(), Vec::new(), Vec::new());
        for (site, inverter) in sites.iter().zip(&config.inverters) {
            if site.is_missing() {
                continue;
            }
            let inverter = &rated_power::known(inverter, site.rated_w);
            let compiled = match model_search::compile(inverter, site.survey.as_ref()) {
                Ok(compiled) => compiled,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(inverter = %inverter.name, error, "inverter skipped");
                    continue;
                }
            };
            // The rated power is checked again even if it is known: the inverter may have been
            // replaced.
            let watch = Watch::new(&compiled, inverter, site.survey.as_ref(), site.rated_w);
            watches.extend(watch.map(|watch| (site.source, watch)));
            sources.push(SourceSetup {
                number: site.source,
                plan: compiled.plan,
                controls: controls::of(
                    inverter,
                    site.survey.as_ref(),
                    &compiled.layout,
                    site.rated_w,
                ),
                layout: compiled.layout.to_cbor(),
                interval: config.sample_interval,
                timeout_max: inverter.patience(),
            });
            buses.push((site.source, inverter.unit, site.bus.clone()));
        }
        // A closure, because recovery takes time and the epoch begins after it.
        let started_at = || (clock.mono(), Some(clock.now()));
        let mut node = Node::start(&node_config, ledger, disk, sources, started_at)?;
        let recovered: u64 = node.take_recovered().iter().map(|batch| u64::from(batch.rows)).sum();
        let device = node.device();
        node.take_damage().into_iter().for_each(|damage| log_damage(device, damage));
        node.take_postponed().iter().for_each(log_postponed);
        tracing::info!(
            device = %node.device(),
            epoch = %node.epoch(),
            inverters = buses.len(),
            backlog = node.report().batches,
            recovered_samples = recovered,
            "agent started"
        );
        let (read_done, reads) = mpsc::channel(buses.len().max(1));
        let (asked, answers) = mpsc::channel(buses.len().max(1));
        Ok(Self {
            node: Some(Box::new(node)),
            disk: kept,
            clock,
            log,
            buses,
            watches,
            rated: Vec::new(),
            unlabelled: Vec::new(),
            moved: sites.iter().map(|site| (site.source, site.moved.clone())).collect(),
            inverters: config.inverters.iter().map(Inverter::new).collect(),
            reads,
            read_done,
            answers,
            asked,
            link: Some(link),
            status_log,
            log_control,
            exchange: None,
            is_waiting: false,
            is_stopping: false,
            is_restarting: false,
            reboot: config.permits.reboot.clone(),
            server: config.server.clone(),
            storage_failures: 0,
        })
    }

    /// Runs until shutdown, or until `surveyed` is ready and every sample is persisted.
    pub(super) async fn run(
        &mut self,
        shutdown: &mut Pin<&mut (impl Future<Output = ()> + Send)>,
        surveyed: impl Future<Output = ()>,
    ) -> Ended {
        let mut surveyed = std::pin::pin!(surveyed);
        let mut is_surveyed = false;
        loop {
            if self.act().await.is_err() {
                return Ended::Failed;
            }
            if self.is_restarting {
                return Ended::Restarted;
            }
            let is_persisted = self.node.as_ref().is_some_and(|node| node.core().buffered() == 0);
            if is_surveyed && is_persisted {
                return Ended::Surveyed;
            }
            let happened = tokio::select! {
                () = shutdown.as_mut() => return Ended::Stopped,
                () = &mut surveyed, if !is_surveyed => {
                    is_surveyed = true;
                    EpochEvent::Surveyed
                }
                happened = self.wait() => happened,
            };
            if self.take(happened).await.is_err() {
                return Ended::Failed;
            }
        }
    }

    /// Persists what is buffered, tries to send it, and notes the orderly end.
    pub(super) async fn stop(mut self) -> Result<(), RunError> {
        self.settle_up().await?;
        let node = self.node.take().ok_or(RunError::Task)?;
        let waiting = node.report().samples;
        node.stop()?;
        tracing::info!(waiting_samples = waiting, "agent stopped");
        Ok(())
    }

    /// Does the same, and returns what the next epoch reuses.
    pub(super) async fn restart(mut self) -> Result<Handover, RunError> {
        self.settle_up().await?;
        // A message that is still under way has the other connection.
        let link = self.link.take().unwrap_or_else(|| Link::new(self.server.clone()));
        let node = self.node.take().ok_or(RunError::Task)?;
        let Self { log, status_log, log_control, .. } = self;
        tracing::info!("epoch ended, as a command from the server asks");
        Ok(Handover { ledger: node.stop()?, link, log, status_log, log_control })
    }

    /// Persists what is buffered and tries to send it.
    async fn settle_up(&mut self) -> Result<(), RunError> {
        self.is_stopping = true;
        let now = self.clock.mono();
        self.node()?.refuse_commands();
        self.give_up_wait()?;
        self.node()?.flush(now);
        let mut deadline = std::pin::pin!(tokio::time::sleep(STOP_MAX));
        loop {
            // The answer to the last read may complete one more sample while others are sent.
            if self.node()?.core().buffered() > 0 {
                let now = self.clock.mono();
                self.node()?.flush(now);
            }
            self.act().await?;
            let node = self.node()?;
            let has_batches = node.report().batches > 0;
            let is_sending = has_batches && node.core().is_healthy();
            if self.exchange.is_none() && !is_sending {
                break;
            }
            let happened = tokio::select! {
                () = &mut deadline => break,
                happened = self.wait() => happened,
            };
            self.take(happened).await?;
        }
        Ok(())
    }

    /// Ends the epoch without a clean shutdown, like a power cut; returns what the next epoch
    /// reuses.
    pub(super) async fn break_off(mut self) -> Result<Handover, RunError> {
        self.give_up_wait()?;
        if let Some(exchange) = self.exchange.take() {
            let (link, result) = exchange.await;
            self.link = Some(link);
            self.take_reply(result).await?;
        }
        let link = self.link.take().ok_or(RunError::Task)?;
        let node = self.node.take().ok_or(RunError::Task)?;
        let Self { log, status_log, log_control, .. } = self;
        Ok(Handover { ledger: node.into_ledger(), link, log, status_log, log_control })
    }

    /// Carries out everything that the node asks for.
    async fn act(&mut self) -> Result<(), RunError> {
        self.ask().await?;
        loop {
            while let Some(event) = self.node()?.poll_event() {
                if let Event::ModelsMoved { source } = event
                    && let Some(inverter) = self.inverters.get_mut(usize::from(source.0))
                {
                    inverter.hint = MOVED_HINT;
                }
                self.log_event(event);
            }
            if let (Some(log), Some(node)) = (&mut self.log_control, &self.node) {
                log.follow(node.log_level());
            }
            let (now, system) = (self.clock.mono(), self.clock.now());
            if self.node()?.is_wait_in_the_way(now) {
                self.give_up_wait()?;
            }
            let node = self.node()?;
            node.handle_clock(now, system);
            match node.poll(now) {
                None => return self.relabel().await,
                Some(NodeAction::Work(work)) => self.carry_out(work).await?,
                Some(NodeAction::End(Ending::Restart)) => {
                    self.is_restarting = true;
                    return Ok(());
                }
                Some(NodeAction::End(Ending::Reboot)) => self.reboot().await?,
                Some(NodeAction::Read { source, read, timeout }) => {
                    self.exchange_on_bus(source, bus::Exchange::Read(read), timeout).await?;
                }
                Some(NodeAction::Write { source, write, timeout }) => {
                    self.exchange_on_bus(source, bus::Exchange::Write(write), timeout).await?;
                }
            }
        }
    }

    /// Has the owner of an inverter's bus carry out an exchange, unless the agent stops.
    async fn exchange_on_bus(
        &mut self,
        source: SourceNumber,
        exchange: bus::Exchange,
        timeout: Duration,
    ) -> Result<(), RunError> {
        let bus = self.buses.iter().find(|(number, _, _)| *number == source);
        let Some((_, unit, bus)) = bus.filter(|_| !self.is_stopping) else { return Ok(()) };
        let done = self.read_done.clone();
        let job = Job { source, unit: *unit, exchange, timeout, done };
        bus.send(job).await.map_err(|_| RunError::Task)
    }

    /// Restarts the machine by the configured program. The signal that follows stops the agent.
    async fn reboot(&mut self) -> Result<(), RunError> {
        let words = self.reboot.clone().unwrap_or_default();
        let Some((program, arguments)) = words.split_first() else { return self.not_ended() };
        tracing::warn!(program, "restarting the machine, as a command from the server asks");
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        let status = tokio::task::spawn_blocking(move || command.status());
        let Ok(status) = tokio::time::timeout(REBOOT_MAX, status).await else { return Ok(()) };
        match status.map_err(|_| RunError::Task)? {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                tracing::error!(program, %status, "machine does not restart");
                self.not_ended()
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(program, error, "machine does not restart");
                self.not_ended()
            }
        }
    }

    fn not_ended(&mut self) -> Result<(), RunError> {
        let now = self.clock.mono();
        self.node()?.handle_not_ended(now);
        Ok(())
    }

    /// Waits for the next event for the node. Cancel-safe: no event is lost if the future is
    /// dropped.
    async fn wait(&mut self) -> EpochEvent {
        let poll_at = self.node.as_ref().map_or(MonoMs(0), |node| node.poll_at());
        let ask_at = self.watches.iter().filter_map(|(_, watch)| watch.ask_at()).min();
        let timer = self.clock.sleep_until(ask_at.map_or(poll_at, |at| at.min(poll_at)));
        let exchange = async {
            match self.exchange.as_mut() {
                Some(exchange) => exchange.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.reads.recv() => EpochEvent::Read(done),
            Some(done) = self.answers.recv() => EpochEvent::Asked(done),
            (link, result) = exchange => {
                self.exchange = None;
                EpochEvent::Reply(link, result)
            }
            () = timer => EpochEvent::Timer,
        }
    }

    /// Passes an event to the node.
    async fn take(&mut self, happened: EpochEvent) -> Result<(), RunError> {
        match happened {
            EpochEvent::Read(done) => {
                let inverter = self.inverters.get_mut(usize::from(done.source.0));
                if let (Some(inverter), Some(hint)) = (inverter, done.answer.hint()) {
                    inverter.hint = hint;
                }
                let now = self.clock.mono();
                match done.is_write {
                    true => self.node()?.handle_write(now, done.source, done.write_result()),
                    false => self.node()?.handle_read(now, done.source, &done.outcome()),
                }
            }
            EpochEvent::Asked(done) => self.settle(&done).await?,
            EpochEvent::Reply(link, result) => {
                self.link = Some(link);
                self.take_reply(result).await?;
            }
            EpochEvent::Surveyed => {
                // Samples may only be in memory, and the next epoch has only what is on the disk.
                let now = self.clock.mono();
                self.node()?.flush(now);
            }
            EpochEvent::Timer => {}
        }
        Ok(())
    }

    async fn carry_out(&mut self, work: DiskWork) -> Result<(), RunError> {
        let clock = self.clock;
        let done = self.on_disk(move |node| node.carry_out(work, || clock.mono())).await?;
        if let Some(result) = done.storage() {
            self.note_storage(result);
        }
        let device = self.node()?.device();
        self.node()?.take_damage().into_iter().for_each(|damage| log_damage(device, damage));
        self.node()?.take_postponed().iter().for_each(log_postponed);
        match done {
            WorkOutcome::Drafted { source, result: Ok(()) } => {
                self.log_sample(source);
                self.watch_rated(source);
            }
            WorkOutcome::Kept { .. }
            | WorkOutcome::Drafted { .. }
            | WorkOutcome::Persisted { .. }
            | WorkOutcome::Reserved { .. } => {}
            WorkOutcome::NotCut(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "batch was not cut");
            }
            WorkOutcome::Composed { message, .. } => self.send(message)?,
            WorkOutcome::NotComposed { error, .. } => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "message was not made");
            }
        }
        Ok(())
    }

    fn log_sample(&mut self, source: SourceNumber) {
        if let Some(log) = &mut self.log
            && let Some(node) = &self.node
            && let Some(sample) = node.newest(source)
            && let Err(error) =
                log.append(node.epoch(), node.core().wall_clock().start().map(|s| s.unix), &sample)
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "sample log is incomplete");
        }
    }

    fn watch_rated(&mut self, source: SourceNumber) {
        let now = self.clock.mono();
        let Some(sample) = self.node.as_ref().and_then(|node| node.newest(source)) else { return };
        if let Some((_, watch)) = self.watches.iter_mut().find(|(watched, _)| *watched == source) {
            watch.take(now, &sample);
        }
    }

    /// Reads the rated power again of inverters that have reported one.
    async fn ask(&mut self) -> Result<(), RunError> {
        let now = self.clock.mono();
        for (source, watch) in &mut self.watches {
            let bus = self.buses.iter().find(|(number, _, _)| number == source);
            if let Some((_, unit, bus)) = bus.filter(|_| !self.is_stopping)
                && let Some(read) = watch.poll(now)
            {
                let (source, unit, done) = (*source, *unit, self.asked.clone());
                let timeout = watch.inverter().patience();
                let exchange = bus::Exchange::Read(read);
                let job = Job { source, unit, exchange, timeout, done };
                bus.send(job).await.map_err(|_| RunError::Task)?;
            }
        }
        Ok(())
    }

    /// Takes the answer to such a read.
    async fn settle(&mut self, done: &bus::Done) -> Result<(), RunError> {
        let (now, source) = (self.clock.mono(), done.source);
        let watch = self.watches.iter_mut().find(|(watched, _)| *watched == source);
        let words = match &done.answer {
            bus::Answer::Words(words) => Some(words.as_slice()),
            bus::Answer::Exception(_)
            | bus::Answer::Confirmed
            | bus::Answer::Timeout
            | bus::Answer::OtherNumber
            | bus::Answer::Garbled
            | bus::Answer::Unreachable => None,
        };
        let Some((_, watch)) = watch else { return Ok(()) };
        let Some(settled) = watch.handle(now, words) else { return Ok(()) };
        let inverter = watch.inverter().clone();
        if let Some(group) = settled.misread {
            self.node()?.read_again(now, source, group);
        }
        if let Some(watts) = settled.learned {
            tracing::info!(
                inverter = self.name(source),
                watts,
                "rated power learned from the inverter"
            );
            let disk = self.disk.clone();
            let keep = move |_: &mut Node<Disk>| rated_power::keep(&disk, source, &inverter, watts);
            if let Err(error) = self.on_disk(keep).await? {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "rated power will be read again at the next start");
            }
            self.rated.retain(|(known, _)| *known != source);
            self.rated.push((source, watts));
            self.unlabelled.push(source);
            self.node()?.set_rated(source, watts);
            self.node()?.flush(now);
        }
        Ok(())
    }

    /// Replaces the layouts of inverters whose rated power was learned, between two batches.
    async fn relabel(&mut self) -> Result<(), RunError> {
        for source in std::mem::take(&mut self.unlabelled) {
            let watch = self.watches.iter().find(|(watched, _)| *watched == source);
            let layout = match watch.map(|(_, watch)| watch.layout()) {
                Some(Ok(layout)) => layout.to_cbor(),
                Some(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(inverter = self.name(source), error, "layout not changed");
                    continue;
                }
                None => continue,
            };
            match self.on_disk(move |node| node.relabel(source, &layout)).await? {
                Ok(true) => {}
                Ok(false) => {
                    let now = self.clock.mono();
                    self.node()?.flush(now);
                    self.unlabelled.push(source);
                }
                failed @ Err(_) => {
                    self.note_storage(&failed);
                    self.unlabelled.push(source);
                }
            }
        }
        Ok(())
    }

    /// Takes the rated powers that were learned since the last call.
    pub(super) fn take_rated(&mut self) -> Vec<(SourceNumber, u32)> {
        std::mem::take(&mut self.rated)
    }

    fn send(&mut self, message: Message) -> Result<(), RunError> {
        let Some(mut link) = self.link.take() else {
            let now = self.clock.mono();
            self.node()?.handle_link_failure(now, LinkFailure::Unreachable);
            return Ok(());
        };
        tracing::debug!(
            counter = %message.request.counter,
            batches = message.batches.len(),
            bytes = message.bytes.len(),
            "message sent"
        );
        let patience = message.patience;
        self.is_waiting = !patience.is_zero();
        self.exchange = Some(Box::pin(async move {
            let result = link.post("/link", message.bytes, MESSAGE_MAX, patience).await;
            (link, result)
        }));
        Ok(())
    }

    /// Drops the exchange if the server may be holding the reply. What it carried is sent again.
    fn give_up_wait(&mut self) -> Result<(), RunError> {
        if self.is_waiting && self.exchange.take().is_some() {
            self.link = Some(Link::new(self.server.clone()));
            let now = self.clock.mono();
            self.node()?.handle_wait_given_up(now);
        }
        Ok(())
    }

    async fn take_reply(&mut self, result: Result<Bytes, LinkError>) -> Result<(), RunError> {
        let clock = self.clock;
        let error = match result {
            Ok(reply) => {
                let take = move |node: &mut Node<Disk>| node.handle_reply(&reply, || clock.mono());
                let taken = self.on_disk(take).await?;
                let device = self.node()?.device();
                match taken {
                    Ok(freed) => {
                        self.status_log.answered(device);
                        self.note_storage(&freed.result);
                    }
                    Err(error) => {
                        let now = clock.mono();
                        self.status_log.unanswered(now, device, ContactFailure::BadReply, &error);
                    }
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let failure = match &error {
            LinkError::Busy { retry_after } => LinkFailure::Busy { retry_after: *retry_after },
            LinkError::Status(status) => LinkFailure::Refused { status: status.as_u16() },
            LinkError::Connect(_) | LinkError::Broken(_) | LinkError::Timeout | LinkError::Body => {
                LinkFailure::Unreachable
            }
        };
        let (now, trouble) = (clock.mono(), ContactFailure::of_message(&error));
        let device = self.node()?.device();
        self.status_log.unanswered(now, device, trouble, &error);
        self.node()?.handle_link_failure(now, failure);
        Ok(())
    }

    fn node(&mut self) -> Result<&mut Node<Disk>, RunError> {
        self.node.as_deref_mut().ok_or(RunError::Task)
    }

    /// Runs `work` on a blocking thread and waits for it.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Node<Disk>) -> T + Send + 'static,
    ) -> Result<T, RunError> {
        let mut node = self.node.take().ok_or(RunError::Task)?;
        let (node, result) = tokio::task::spawn_blocking(move || {
            let result = work(&mut node);
            (node, result)
        })
        .await
        .map_err(|_| RunError::Task)?;
        self.node = Some(node);
        Ok(result)
    }

    /// Logs once that storage fails, and once that it works again.
    fn note_storage<T>(&mut self, result: &Result<T, StorageError>) {
        match result {
            Ok(_) if self.storage_failures > 0 => {
                tracing::info!(failures = self.storage_failures, "storage works again");
                self.storage_failures = 0;
            }
            Ok(_) => {}
            Err(error) => {
                if self.storage_failures == 0 {
                    let error: &dyn std::error::Error = error;
                    tracing::error!(error, "storage fails; samples are kept in memory");
                }
                self.storage_failures = self.storage_failures.saturating_add(1);
            }
        }
    }

    fn name(&self, source: SourceNumber) -> &str {
        self.inverters.get(usize::from(source.0)).map_or("", |inverter| inverter.name.as_str())
    }

    /// Requests a new search for the models of an inverter, if it has models.
    fn search(&self, source: SourceNumber) {
        if let Some((_, moved)) = self.moved.iter().find(|(number, _)| *number == source) {
            moved.notify_one();
        }
    }

    fn log_event(&self, event: Event) {
        match event {
            Event::Source {
                source,
                from,
                to: to @ (SourceState::Offline | SourceState::Faulty),
            } => {
                // Another inverter may have replaced it, which is silent where this one answered.
                self.search(source);
                let Some(inverter) = self.inverters.get(usize::from(source.0)) else { return };
                let Inverter { name, address, unit, hint } = inverter;
                tracing::warn!(inverter = name, ?from, ?to, address, unit, hint, "inverter");
            }
            Event::Source { source, from, to } => {
                tracing::info!(inverter = self.name(source), ?from, ?to, "inverter");
            }
            Event::Quarantined { source, table, address, count } => tracing::warn!(
                inverter = self.name(source),
                ?table,
                address,
                count,
                "registers are left out"
            ),
            Event::Released { source, table, address, count } => tracing::info!(
                inverter = self.name(source),
                ?table,
                address,
                count,
                "registers can be read again"
            ),
            Event::ReadsShortened { source, registers } => tracing::warn!(
                inverter = self.name(source),
                registers,
                "longer reads are not answered and are split from here on; registers_max in a profile \
                 of its own spares the search for the limit"
            ),
            Event::ModelsMoved { source } => {
                self.search(source);
                tracing::debug!(inverter = self.name(source), "models are not where they were");
            }
            Event::SampleDropped { source } => {
                tracing::error!(inverter = self.name(source), "a sample was lost: storage is full");
            }
            Event::SampleNotDrafted { source } => {
                tracing::debug!(inverter = self.name(source), "a sample is in memory only");
            }
            Event::BatchNotPersisted { source } => {
                tracing::debug!(inverter = self.name(source), "a batch waits for storage");
            }
            Event::StorageRecovered => tracing::debug!("batches are persisted again"),
            Event::ClockSet => tracing::info!("clock set"),
            Event::ClockStepped { by_ms } => tracing::warn!(by_ms, "clock stepped"),
            Event::LinkLost { failure, retry_in } => {
                tracing::debug!(?failure, ?retry_in, "message failed");
            }
            Event::LinkRestored { failures } => tracing::info!(failures, "server answers again"),
            Event::Settings { generation, state: ConfigState::Reverted, refused } => {
                tracing::warn!(
                    %generation,
                    refused,
                    "settings given up: no answer from the server, or too many starts"
                );
            }
            Event::Settings { generation, state, refused } => {
                tracing::info!(%generation, ?state, refused, "settings from the server");
            }
            Event::Command { id, state: CommandState::Failed, failure } => {
                tracing::warn!(%id, ?failure, "command failed");
            }
            Event::Command { id, state, failure: _ } => {
                tracing::info!(%id, ?state, "command from the server");
            }
            Event::Limit { source, ppm, cause, failure: CommandFailure::None } => {
                let percent = ppm.map(|ppm| f64::from(ppm) / 10_000.0);
                tracing::info!(inverter = self.name(source), percent, ?cause, "limit changed");
            }
            Event::Limit { source, ppm, cause, failure } => {
                let percent = ppm.map(|ppm| f64::from(ppm) / 10_000.0);
                let inverter = self.name(source);
                tracing::warn!(inverter, percent, ?cause, ?failure, "limit cannot be followed");
            }
            Event::BatchRefused { id, reason } => {
                tracing::error!(batch = %id, ?reason, "server refused a batch for good");
            }
        }
    }
}

fn log_postponed(what: &Postponed) {
    let (Postponed::Recovery(error) | Postponed::Start(error) | Postponed::Emptying(error)) = what;
    let error: &dyn std::error::Error = error;
    match what {
        Postponed::Recovery(_) => {
            tracing::warn!(error, "samples of the last run are not in batches yet");
        }
        Postponed::Start(_) => tracing::debug!(error, "start of the epoch is in memory only"),
        Postponed::Emptying(_) => tracing::debug!(error, "draft was not emptied"),
    }
}

fn log_damage(device: DeviceNumber, damage: Damage) {
    match damage {
        Damage::Ledger => tracing::error!(
            %device,
            "one copy of the ledger is damaged; the other is used, and some numbers are skipped"
        ),
        Damage::Slot(slot) => tracing::error!(
            %device,
            slot = slot.name(),
            "one copy of a slot is damaged; the other is used"
        ),
        Damage::Segment(number) => {
            tracing::error!(%device, number, "a part of the spool cannot be read");
        }
        Damage::Journal { epoch, source } => {
            tracing::error!(%device, %epoch, %source, "samples of an earlier run cannot be read");
        }
        Damage::Layout(stream) => tracing::error!(%device, %stream, "a layout cannot be read"),
        Damage::Lost(gap) => tracing::error!(
            %device,
            first = %gap.first,
            last = %gap.last,
            samples = gap.samples,
            "batches are lost"
        ),
    }
}

impl Inverter {
    fn new(config: &InverterConfig) -> Self {
        Self {
            name: config.name.clone(),
            address: config.address.to_string(),
            unit: config.unit,
            hint: "",
        }
    }
}

const FIRMWARE: &str = concat!("ecowatt-agent ", env!("CARGO_PKG_VERSION"));

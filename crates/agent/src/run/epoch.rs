//! One boot epoch: carries out what the device core decides.
//!
//! The core and its buffers live here, in one task. Writes run on a blocking thread, one after the
//! other and waited for, so that nothing the core was told is durable can come to be otherwise.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_codec::{State, TimeBase, encoded_len_max};
use ecowatt_device::{
    Action, Config as CoreConfig, Credentials, Device, Event, Inverter, LinkFailure, Sample,
    SourceConfig, Spooled, Started, UplinkConfig, limits,
};
use ecowatt_envelope::{DeviceKey, Kid, MESSAGE_MAX};
use ecowatt_model::{BatchId, COLUMNS_MAX, Counter, ROWS_MAX, SourceNumber};
use ecowatt_wire::{AckRange, Batch as WireBatch, Dropped as WireDropped, Stream as WireStream};
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::{RunError, Site};
use crate::bus::{Done, Job};
use crate::config::Config;
use crate::link::{Link, LinkError};
use crate::sample_log::SampleLog;
use crate::storage::{Batch, Drafted, Folder, Ledger, Offer, Order, Storage, StorageError};
use crate::survey;

/// Rows that an inverter has room for: a batch, and as many again twice over while the disk is full.
const ROWS: usize = 512;
const _: () = assert!(ROWS <= ROWS_MAX);

type Core = Device<Vec<Inverter<COLUMNS_MAX, ROWS>>, COLUMNS_MAX, ROWS>;
type Disk = Arc<Folder>;
type Exchange = Pin<Box<dyn Future<Output = (Link, Result<Bytes, LinkError>)> + Send>>;

/// How long the last message of an orderly stop is waited for.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How an epoch ended.
pub(super) enum Ended {
    Stopped,
    /// An inverter that was left out can take part in the next epoch.
    Surveyed,
    Failed,
}

/// What the core has to be told.
enum Happened {
    Read(Done),
    Reply(Link, Result<Bytes, LinkError>),
    Timer,
}

/// A running epoch.
pub(super) struct Epoch {
    core: Core,
    clock: Clock,
    epoch: ecowatt_model::BootEpoch,
    storage: Option<Storage<Disk>>,
    codec: Box<State>,
    log: Option<SampleLog>,
    buses: Vec<(SourceNumber, u8, mpsc::Sender<Job>)>,
    names: Vec<String>,
    reads: mpsc::Receiver<Done>,
    read_done: mpsc::Sender<Done>,
    link: Option<Link>,
    exchange: Option<Exchange>,
    order: Order,
    message_bytes: usize,
    spool_bytes: u64,
    is_stopping: bool,
    storage_failures: u32,
}

impl Epoch {
    pub(super) fn start(
        config: &Config,
        clock: Clock,
        ledger: Ledger<Disk>,
        disk: Disk,
        sites: &[Site],
        link: Link,
        log: Option<SampleLog>,
    ) -> Result<Self, RunError> {
        let identity = ledger.record().identity.clone().ok_or(RunError::Identity)?;
        let key = identity.key.as_slice().try_into().map_err(|_| RunError::Identity)?;
        let credentials = Credentials {
            kid: Kid { device: identity.device(), generation: identity.key_generation() },
            key: DeviceKey::new(key),
            reserved: Counter(ledger.record().reserved),
        };
        let (mut storage, epoch, reason) =
            Storage::start(ledger, disk, config.spool_bytes, config.message_bytes)?;
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(RunError::Random)?;
        let uplink = UplinkConfig {
            interval: config.upload_interval,
            message_bytes_max: config.message_bytes,
            seed: u32::from_le_bytes(seed),
        };
        let mut core_config = CoreConfig::new(uplink);
        // The tolerance is for this shell's own lateness, which is the world's.
        core_config.start_tolerance = limits::START_TOLERANCE.mul_f64(clock.speed().max(1.0));
        let now = clock.mono();
        let (mut inverters, mut announced, mut buses) = (Vec::new(), Vec::new(), Vec::new());
        for (site, inverter) in sites.iter().zip(&config.inverters) {
            if site.is_missing() {
                continue;
            }
            let compiled = match survey::compile(inverter, site.models.as_deref()) {
                Ok(compiled) => compiled,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(inverter = %inverter.name, error, "inverter is left out");
                    continue;
                }
            };
            let layout = compiled.layout.to_cbor();
            let (stream, is_first) = storage.stream(site.source, &layout)?;
            if is_first {
                announced.push(stream);
            }
            let source = SourceConfig {
                number: site.source,
                stream,
                plan: compiled.plan,
                interval: config.sample_interval,
                timeout_max: inverter.profile.transport().timeout,
            };
            inverters.push(Inverter::new(source, now)?);
            buses.push((site.source, inverter.unit, site.bus.clone()));
        }
        let firmware = heapless::String::try_from(FIRMWARE).unwrap_or_default();
        let started = Started { epoch, reason, system: Some(clock.now()), firmware };
        let mut core = Core::new(core_config, started, &credentials, inverters, now);
        announced.into_iter().for_each(|stream| core.announce(stream));
        tracing::info!(
            device = %identity.device(),
            %epoch,
            inverters = buses.len(),
            backlog = storage.report().batches,
            recovered_samples = storage.recovered_samples(),
            "agent started"
        );
        let (read_done, reads) = mpsc::channel(buses.len().max(1));
        let mut this = Self {
            core,
            clock,
            epoch,
            storage: Some(storage),
            codec: Box::new(State::new()),
            log,
            buses,
            names: config.inverters.iter().map(|inverter| inverter.name.clone()).collect(),
            reads,
            read_done,
            link: Some(link),
            exchange: None,
            order: config.order,
            message_bytes: config.message_bytes,
            spool_bytes: config.spool_bytes,
            is_stopping: false,
            storage_failures: 0,
        };
        this.tell_spooled();
        Ok(this)
    }

    /// Runs until told to stop or until `surveyed` is ready.
    pub(super) async fn run(
        &mut self,
        shutdown: &mut Pin<&mut (impl Future<Output = ()> + Send)>,
        surveyed: impl Future<Output = ()>,
    ) -> Ended {
        let mut surveyed = std::pin::pin!(surveyed);
        loop {
            if self.act().await.is_err() {
                return Ended::Failed;
            }
            let happened = tokio::select! {
                () = shutdown.as_mut() => return Ended::Stopped,
                () = &mut surveyed => return Ended::Surveyed,
                happened = self.wait() => happened,
            };
            if self.take(happened).await.is_err() {
                return Ended::Failed;
            }
        }
    }

    /// Persists what is buffered, tries to send it, and notes the orderly end.
    pub(super) async fn stop(mut self) -> Result<(), RunError> {
        self.is_stopping = true;
        self.core.flush(self.clock.mono());
        let mut deadline = std::pin::pin!(tokio::time::sleep(STOP_MAX));
        loop {
            self.act().await?;
            let has_batches = self.storage.as_ref().is_some_and(|s| s.report().batches > 0);
            if self.exchange.is_none() && !(has_batches && self.core.is_healthy()) {
                break;
            }
            let happened = tokio::select! {
                () = &mut deadline => break,
                happened = self.wait() => happened,
            };
            self.take(happened).await?;
        }
        let Some(storage) = self.storage.take() else { return Err(RunError::Task) };
        let waiting = storage.report().samples;
        storage.stop()?;
        tracing::info!(waiting_samples = waiting, "agent stopped");
        Ok(())
    }

    /// Leaves everything as a power cut would, but for what another epoch goes on with.
    pub(super) async fn break_off(
        mut self,
    ) -> Result<(Ledger<Disk>, Link, Option<SampleLog>), RunError> {
        let link = match (self.link.take(), self.exchange.take()) {
            (Some(link), _) => link,
            // What its reply frees is acknowledged again with the next message.
            (None, Some(exchange)) => exchange.await.0,
            (None, None) => return Err(RunError::Task),
        };
        let storage = self.storage.take().ok_or(RunError::Task)?;
        Ok((storage.into_ledger(), link, self.log))
    }

    /// Carries out all that the core wants at present.
    async fn act(&mut self) -> Result<(), RunError> {
        loop {
            while let Some(event) = self.core.poll_event() {
                self.log_event(event);
            }
            let now = self.clock.mono();
            let Some(action) = self.core.poll_action(now) else { return Ok(()) };
            match action {
                Action::Read { source, read, timeout } => {
                    let bus = self.buses.iter().find(|(number, _, _)| *number == source);
                    if let Some((_, unit, bus)) = bus
                        && !self.is_stopping
                    {
                        let done = self.read_done.clone();
                        let job = Job { source, unit: *unit, read, timeout, done };
                        bus.send(job).await.map_err(|_| RunError::Task)?;
                    }
                }
                Action::Draft(source) => self.draft(source).await?,
                Action::Cut(source) => self.cut(source).await?,
                Action::Reserve(limit) => self.reserve(limit).await?,
                Action::Send => self.send().await?,
            }
        }
    }

    /// Waits for something to tell the core. Nothing is lost if this is given up.
    async fn wait(&mut self) -> Happened {
        let timer = self.clock.sleep_until(self.core.poll_at());
        let exchange = async {
            match self.exchange.as_mut() {
                Some(exchange) => exchange.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.reads.recv() => Happened::Read(done),
            (link, result) = exchange => {
                self.exchange = None;
                Happened::Reply(link, result)
            }
            () = timer => Happened::Timer,
        }
    }

    /// Tells the core.
    async fn take(&mut self, happened: Happened) -> Result<(), RunError> {
        match happened {
            Happened::Read(done) => {
                self.core.handle_read(self.clock.mono(), done.source, &done.outcome());
            }
            Happened::Reply(link, result) => {
                self.link = Some(link);
                self.take_reply(result).await?;
            }
            Happened::Timer => {}
        }
        Ok(())
    }

    async fn draft(&mut self, source: SourceNumber) -> Result<(), RunError> {
        let Some(sample) = self.core.newest(source).map(|sample| drafted(self.epoch, &sample))
        else {
            return Ok(());
        };
        let (sample, result) = self
            .on_disk(move |storage| {
                let result = storage.draft(&sample);
                (sample, result)
            })
            .await?;
        self.note_storage(&result);
        let is_durable = result.is_ok();
        self.core.handle_drafted(source, is_durable);
        if is_durable
            && let Some(log) = &mut self.log
            && let Err(error) = log.append(&sample)
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "sample log is incomplete");
        }
        Ok(())
    }

    async fn cut(&mut self, source: SourceNumber) -> Result<(), RunError> {
        let now = self.clock.mono();
        let mut bytes = vec![0; MESSAGE_MAX.max(encoded_len_max(1, COLUMNS_MAX))];
        let cut = match self.core.cut(now, source, &mut self.codec, &mut bytes) {
            Ok(cut) => cut,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "batch was not cut");
                return Ok(());
            }
        };
        bytes.truncate(cut.len);
        let batch = Batch {
            id: cut.id,
            source,
            stream: cut.stream,
            rows: cut.rows,
            last_ordinal: cut.last_ordinal,
            bytes,
        };
        let result = self.on_disk(move |storage| storage.persist(&batch)).await?;
        self.note_storage(&result);
        self.core.handle_persisted(self.clock.mono(), result.is_ok());
        self.tell_spooled();
        Ok(())
    }

    async fn reserve(&mut self, limit: Counter) -> Result<(), RunError> {
        let result = self
            .on_disk(move |storage| storage.ledger.reserve(limit).map_err(StorageError::from))
            .await?;
        self.note_storage(&result);
        match result {
            Ok(()) => self.core.handle_reserved(limit),
            Err(_) => self.core.handle_not_reserved(self.clock.mono()),
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), RunError> {
        let (order, bytes_max) = (self.order, self.message_bytes);
        let announced = self.core.announced().to_vec();
        let offer =
            self.on_disk(move |storage| storage.offer(order, bytes_max, &announced)).await?;
        self.note_storage(&offer);
        let offer = offer.unwrap_or_default();
        let Offer { batches, layouts, dropped } = &offer;
        let mut message = vec![0; MESSAGE_MAX];
        let composed = self.core.compose(
            self.clock.mono(),
            &mut batches.iter().map(|batch| WireBatch {
                id: batch.id,
                stream: batch.stream,
                bytes: &batch.bytes,
            }),
            &mut layouts.iter().map(|(number, source, layout)| WireStream {
                number: *number,
                source: *source,
                layout,
            }),
            &mut dropped.iter().map(|gap| WireDropped {
                epoch: gap.first.epoch,
                first: gap.first.sequence,
                last: gap.last.sequence,
                samples: gap.samples,
            }),
            &mut message,
        );
        let now = self.clock.mono();
        match (composed, self.link.take()) {
            (Ok(outgoing), Some(mut link)) => {
                message.truncate(outgoing.len);
                tracing::debug!(
                    counter = %outgoing.request.counter,
                    batches = outgoing.batches,
                    bytes = outgoing.len,
                    "message sent"
                );
                self.exchange = Some(Box::pin(async move {
                    let result = link.post("/link", message, MESSAGE_MAX).await;
                    (link, result)
                }));
            }
            (Ok(_), None) => self.core.handle_link_failure(now, LinkFailure::Unreachable),
            (Err(error), link) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "message was not made");
                self.link = link;
                self.core.handle_link_failure(now, LinkFailure::Unreachable);
            }
        }
        Ok(())
    }

    async fn take_reply(&mut self, result: Result<Bytes, LinkError>) -> Result<(), RunError> {
        let now = self.clock.mono();
        let failure = match result {
            Ok(reply) => {
                let mut scratch = vec![0; reply.len()];
                match self.core.handle_reply(now, &reply, &mut scratch) {
                    Ok(acknowledged) => {
                        let ranges: Vec<_> = acknowledged.ranges.iter().map(interval).collect();
                        let are_drops_known = acknowledged.are_drops_known;
                        let freed = self
                            .on_disk(move |storage| {
                                if are_drops_known {
                                    storage.drops_are_known();
                                }
                                storage.free(&ranges)
                            })
                            .await?;
                        self.note_storage(&freed);
                        self.tell_spooled();
                        return Ok(());
                    }
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::debug!(error, "reply refused");
                        LinkFailure::BadReply
                    }
                }
            }
            Err(error) => {
                let failure = match &error {
                    LinkError::Busy { retry_after } => {
                        LinkFailure::Busy { retry_after: *retry_after }
                    }
                    LinkError::Status(status) => LinkFailure::Refused { status: status.as_u16() },
                    LinkError::Connect(_)
                    | LinkError::Broken(_)
                    | LinkError::Timeout
                    | LinkError::Body => LinkFailure::Unreachable,
                };
                let error: &dyn std::error::Error = &error;
                tracing::debug!(error, "no reply");
                failure
            }
        };
        self.core.handle_link_failure(now, failure);
        Ok(())
    }

    /// Runs `write` on a blocking thread and waits for it.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        write: impl FnOnce(&mut Storage<Disk>) -> T + Send + 'static,
    ) -> Result<T, RunError> {
        let mut storage = self.storage.take().ok_or(RunError::Task)?;
        let (storage, result) = tokio::task::spawn_blocking(move || {
            let result = write(&mut storage);
            (storage, result)
        })
        .await
        .map_err(|_| RunError::Task)?;
        self.storage = Some(storage);
        Ok(result)
    }

    fn tell_spooled(&mut self) {
        let Some(report) = self.storage.as_ref().map(Storage::report) else { return };
        let spooled = Spooled {
            batches: u32::try_from(report.batches).unwrap_or(u32::MAX),
            bytes: report.bytes,
            capacity_bytes: self.spool_bytes,
        };
        self.core.handle_spooled(self.clock.mono(), spooled);
    }

    /// Says once that storage fails, and once that it works again.
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
        self.names.get(usize::from(source.0)).map_or("", String::as_str)
    }

    fn log_event(&self, event: Event) {
        match event {
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
            Event::ClockSet => tracing::info!("clock set by the server"),
            Event::ClockStepped { by_ms } => tracing::warn!(by_ms, "clock stepped to the server's"),
            Event::LinkLost { failure, retry_in } => {
                tracing::warn!(?failure, ?retry_in, "server does not answer");
            }
            Event::LinkRestored { failures } => tracing::info!(failures, "server answers again"),
            Event::BatchRefused { id, reason } => {
                tracing::error!(batch = %id, ?reason, "server refused a batch for good");
            }
        }
    }
}

const FIRMWARE: &str = concat!("ecowatt-agent ", env!("CARGO_PKG_VERSION"));

fn drafted(epoch: ecowatt_model::BootEpoch, sample: &Sample<'_>) -> Drafted {
    Drafted {
        epoch,
        source: sample.source,
        stream: sample.stream,
        ordinal: sample.ordinal,
        t_ms: sample.t_ms,
        is_unix: sample.base == TimeBase::Unix,
        words: sample.words.to_vec(),
        marks: sample.marks.to_vec(),
    }
}

fn interval(range: &AckRange) -> (BatchId, BatchId) {
    let id = |sequence| BatchId { epoch: range.epoch, sequence };
    (id(range.first), id(range.last))
}

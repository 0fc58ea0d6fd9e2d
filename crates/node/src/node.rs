//! One boot epoch of a device, without tasks, sockets and clocks.
//!
//! A [`Node`] is the device core together with its durable state. It returns what to do next
//! ([`Node::poll`]), does the disk's part of it itself ([`Node::carry_out`]), and takes the outcome
//! of the rest (`handle_*`). The agent runs it between its buses and its link; the fleet simulation
//! runs the same node in virtual time, on disks that fail.
//!
//! A method that uses the disk blocks until the write is durable or has failed. Time is an
//! argument: a function where the time after a write is needed.

mod controls;
mod work_outcome;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ecowatt_codec::{CodecMemory, TimeBase, time_base};
use ecowatt_device::limits::MESSAGE_BYTES_MIN;
use ecowatt_device::{
    Action, CompletedRead, Config as CoreConfig, Controls as _, Credentials, Device, Ending, Event,
    Inverter, LinkFailure, LogLevel, Permissions, ReplyError, Sample, Slot, SourceConfig,
    SpoolContents, StartInfo, UplinkConfig, WriteResult, batch_bytes_max,
};
use ecowatt_envelope::{DeviceKey, KeyId, MESSAGE_MAX};
use ecowatt_model::{
    BootEpoch, COLUMNS_MAX, Counter, DeviceNumber, MonoMs, ROWS_MAX, SequenceRange, SourceNumber,
    StreamNumber, UnixMs,
};
use ecowatt_profile::{Plan, Read, Write};
use ecowatt_wire::{
    Batch as WireBatch, BootReason, LostSamples as WireDropped, Stream as WireStream,
};

use self::controls::AllControls;
pub use self::controls::SourceControls;
pub use self::work_outcome::{FreedBatches, Message, WorkOutcome};
use crate::storage::{
    Areas, Batch, Damage, Ledger, MessageContents, Postponed, Record, Recovered, SendOrder,
    SpoolReport, Storage, StorageError,
};

/// Rows that the agent has room for per inverter: a batch, and twice as many again for the time
/// while the disk is full.
pub const ROWS: usize = 512;
const _: () = assert!(ROWS <= ROWS_MAX);

/// The device's own configuration.
#[derive(Debug, Clone, Copy)]
pub struct NodeConfig {
    pub spool_bytes: u64,
    /// Maximum length of a message in bytes.
    pub message_bytes: usize,
    pub upload_interval: Duration,
    /// Which batches are sent first.
    pub order: SendOrder,
    /// A cycle that begins at most this late still counts as its scheduled instant.
    pub start_tolerance: Duration,
    /// What the shell logs, if settings may change that.
    pub log_level: Option<LogLevel>,
    /// What the device's owner allows its server to do.
    pub permissions: Permissions,
    /// Name and version of the software.
    pub firmware: &'static str,
    /// Different for each device and start; spreads what would otherwise happen at the same time.
    pub seed: u32,
}

/// One inverter to poll.
#[derive(Debug, Clone)]
pub struct SourceSetup {
    pub number: SourceNumber,
    pub plan: Plan,
    /// The points that may be written.
    pub controls: SourceControls,
    /// The layout that `plan` belongs to, as CBOR.
    pub layout: Vec<u8>,
    /// Replaces the interval of the fastest group.
    pub interval: Option<Duration>,
    /// Longest wait for an answer.
    pub timeout_max: Duration,
}

/// Why an epoch cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Source(#[from] ecowatt_device::StartError),
    #[error("identity in the ledger is missing or damaged")]
    Identity,
}

/// What the shell does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAction {
    /// Read registers, waiting `timeout` for the answer; then [`Node::handle_read`].
    Read { source: SourceNumber, read: Read, timeout: Duration },
    /// Write registers, once, waiting `timeout` for the answer; then [`Node::handle_write`].
    Write { source: SourceNumber, write: Write, timeout: Duration },
    /// Work for [`Node::carry_out`].
    Work(DiskWork),
    /// End the epoch as for an orderly stop, and begin the next one or restart the machine; or else
    /// [`Node::handle_not_ended`].
    End(Ending),
}

/// Work that a node does itself, on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskWork {
    /// Make the contents of one of the core's slots durable.
    Keep(Slot),
    /// Make the newest sample of a source durable.
    Draft(SourceNumber),
    /// Make a batch of a source's samples and persist it.
    Cut(SourceNumber),
    /// Reserve the counters below this one.
    Reserve(Counter),
    /// Compose a message. The shell sends it and calls [`Node::handle_reply`] or
    /// [`Node::handle_link_failure`].
    Send,
}

/// The device core of a node.
pub type Core<const COLUMNS: usize, const ROWS: usize> =
    Device<Vec<Inverter<COLUMNS, ROWS>>, COLUMNS, ROWS>;

/// A device in one boot epoch, on its disk, with room for `ROWS` samples of each inverter that are
/// not in a batch yet; see [`Inverter`] for `COLUMNS`.
///
/// The codec's state and a message are on the heap while they are used, never both at once.
pub struct Node<D, const COLUMNS: usize = COLUMNS_MAX, const ROWS: usize = { self::ROWS }> {
    core: Core<COLUMNS, ROWS>,
    controls: AllControls,
    storage: Storage<D>,
    device: DeviceNumber,
    epoch: BootEpoch,
    began: MonoMs,
    boot_reason: BootReason,
    order: SendOrder,
    message_bytes: usize,
    spool_bytes: u64,
}

impl<D: Areas + Clone, const COLUMNS: usize, const ROWS: usize> Node<D, COLUMNS, ROWS> {
    /// Starts an epoch: recovers what the previous one left and numbers the layouts. `started_at`
    /// is called after that and returns the instant at which the epoch begins, with the system
    /// clock's time. The monotonic clock continues across the epochs of one ledger.
    ///
    /// # Errors
    /// If the ledger has no identity, an inverter has more registers than there is room for, or the
    /// disk fails. The number of the epoch may then be used up.
    pub fn start(
        config: &NodeConfig,
        ledger: Ledger<D>,
        disk: D,
        sources: Vec<SourceSetup>,
        started_at: impl FnOnce() -> (MonoMs, Option<UnixMs>),
    ) -> Result<Self, StartError> {
        let identity = ledger.record().identity.as_ref().ok_or(StartError::Identity)?;
        let key = identity.key.as_slice().try_into().map_err(|_| StartError::Identity)?;
        let credentials = Credentials {
            kid: KeyId { device: identity.device(), generation: identity.key_generation() },
            key: DeviceKey::new(key),
            reserved: Counter(ledger.record().reserved),
        };
        let (mut storage, epoch, boot_reason) =
            Storage::start(ledger, disk, config.spool_bytes, config.message_bytes)?;
        // Streams are numbered first: a layout's number is durable before a sample refers to it.
        let mut streams = Vec::with_capacity(sources.len());
        for source in &sources {
            streams.push(storage.stream(source.number, &source.layout)?);
        }
        let present: Vec<_> = streams.iter().map(|(stream, _)| *stream).collect();
        storage.forget_layouts(&present);
        // Writes above take time, so the epoch begins only here.
        let (now, system) = started_at();
        let system = storage.estimate(system);
        let mut inverters = Vec::with_capacity(sources.len());
        let mut all_controls = Vec::with_capacity(sources.len());
        for (source, (stream, _)) in sources.into_iter().zip(&streams) {
            let SourceSetup { number, plan, controls, interval, timeout_max, layout: _ } = source;
            all_controls.push((number, controls));
            let stream = *stream;
            let source = SourceConfig { number, stream, plan, interval, timeout_max };
            inverters.push(Inverter::IDLE);
            inverters.last_mut().map_or(Ok(()), |inverter| inverter.configure(&source, now))?;
        }
        let mut core_config = CoreConfig::new(UplinkConfig {
            interval: config.upload_interval,
            message_bytes_max: config.message_bytes,
            seed: config.seed,
        });
        core_config.start_tolerance = config.start_tolerance;
        core_config.log_level = config.log_level;
        core_config.permissions = config.permissions;
        let firmware = heapless::String::try_from(config.firmware).unwrap_or_default();
        let started = StartInfo { epoch, reason: boot_reason, system, firmware };
        let mut core = Core::new(
            core_config,
            started,
            &credentials,
            inverters,
            &|slot| storage.kept(slot),
            now,
        );
        let is_announced = |(stream, is_first): (StreamNumber, bool)| is_first.then_some(stream);
        streams.into_iter().filter_map(is_announced).for_each(|stream| core.announce(stream));
        let mut node = Self {
            core,
            controls: AllControls::new(all_controls),
            storage,
            device: credentials.kid.device,
            epoch,
            began: now,
            boot_reason,
            order: config.order,
            message_bytes: config.message_bytes,
            spool_bytes: config.spool_bytes,
        };
        node.note_start();
        node.tell_spooled(now);
        Ok(node)
    }

    /// Returns what to do next, each action once. `None`: nothing until [`Node::poll_at`] or the
    /// next `handle_*` call.
    pub fn poll(&mut self, now: MonoMs) -> Option<NodeAction> {
        loop {
            return Some(match self.core.poll_action(now)? {
                Action::Limit(source) => {
                    self.core.limit(now, source, &self.controls);
                    continue;
                }
                Action::Read { source, read, timeout } => {
                    NodeAction::Read { source, read, timeout }
                }
                Action::Write { source, write, timeout } => {
                    NodeAction::Write { source, write, timeout }
                }
                Action::Keep(slot) => NodeAction::Work(DiskWork::Keep(slot)),
                Action::Draft(source) => NodeAction::Work(DiskWork::Draft(source)),
                Action::Cut(source) => NodeAction::Work(DiskWork::Cut(source)),
                Action::Reserve(limit) => NodeAction::Work(DiskWork::Reserve(limit)),
                Action::Send => NodeAction::Work(DiskWork::Send),
                Action::End(ending) => NodeAction::End(ending),
            });
        }
    }

    /// When to call [`Node::poll`] again if nothing else happens.
    pub fn poll_at(&self) -> MonoMs {
        self.core.poll_at()
    }

    /// Returns the next event for the log.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// Does the work that [`Node::poll`] returned and reports its outcome, which the core has
    /// already been given.
    pub fn carry_out(&mut self, work: DiskWork, now: impl Fn() -> MonoMs) -> WorkOutcome {
        match work {
            DiskWork::Keep(slot) => self.keep(slot, now),
            DiskWork::Draft(source) => self.draft(source),
            DiskWork::Cut(source) => self.cut(source, now),
            DiskWork::Reserve(limit) => self.reserve(limit, now),
            DiskWork::Send => self.compose(now),
        }
    }

    /// Takes the outcome of a read.
    pub fn handle_read(&mut self, now: MonoMs, source: SourceNumber, outcome: &CompletedRead<'_>) {
        self.core.handle_read(now, source, outcome);
    }

    /// Takes the outcome of a write.
    pub fn handle_write(&mut self, now: MonoMs, source: SourceNumber, result: WriteResult) {
        self.core.handle_write(now, source, result);
    }

    /// The rated power of a source became known; a limit in watts is a part of it.
    pub fn set_rated(&mut self, source: SourceNumber, watts: u32) {
        self.controls.set_rated(source, watts);
    }

    /// Takes the reply to the message in flight and frees what it acknowledges; blocks.
    ///
    /// # Errors
    /// If the bytes are not the reply to that message. The message then counts as failed, and
    /// another follows.
    pub fn handle_reply(
        &mut self,
        reply: &[u8],
        now: impl Fn() -> MonoMs,
    ) -> Result<FreedBatches, ReplyError> {
        let at = now();
        let mut scratch = vec![0; reply.len().min(MESSAGE_MAX)];
        let acknowledged = match self.core.handle_reply(at, reply, &mut scratch, &self.controls) {
            Ok(acknowledged) => acknowledged,
            Err(error) => {
                self.core.handle_link_failure(at, LinkFailure::BadReply);
                return Err(error);
            }
        };
        self.note_start();
        let ranges: Vec<_> = acknowledged.ranges.iter().map(work_outcome::batches).collect();
        let drops_known = acknowledged.drops_known;
        if drops_known > 0 {
            self.storage.drops_are_known(drops_known);
        }
        let result = self.storage.free(&ranges);
        self.tell_spooled(now());
        Ok(FreedBatches { ranges, drops_known, result })
    }

    /// Takes the time of the system clock; the shell calls this whenever it reads that clock. A
    /// clock that is behind a time that the server has confirmed is ignored.
    pub fn handle_clock(&mut self, now: MonoMs, system: UnixMs) {
        if self.storage.is_possible(system) {
            self.core.handle_clock(now, system);
        }
    }

    /// The message in flight will get no reply.
    pub fn handle_link_failure(&mut self, now: MonoMs, failure: LinkFailure) {
        self.core.handle_link_failure(now, failure);
    }

    /// Whether the shell should give up the wait for a reply that the server may be holding, with
    /// [`Node::handle_wait_given_up`]: there is something to report.
    pub fn is_wait_in_the_way(&self, now: MonoMs) -> bool {
        self.core.is_wait_in_the_way(now)
    }

    /// The shell no longer waits for a reply that the server was allowed to hold. Nothing happens if
    /// the message in flight is another one.
    pub fn handle_wait_given_up(&mut self, now: MonoMs) {
        self.core.handle_wait_given_up(now);
    }

    /// An orderly stop is near: commands that come from here on are for the next epoch.
    pub fn refuse_commands(&mut self) {
        self.core.refuse_commands();
    }

    /// The epoch cannot end as [`NodeAction::End`] asked.
    pub fn handle_not_ended(&mut self, now: MonoMs) {
        self.core.handle_not_ended(now);
    }

    /// Cuts and persists everything that is buffered, and sends it soon: before an orderly stop.
    pub fn flush(&mut self, now: MonoMs) {
        self.core.flush(now);
    }

    /// Reads a group of a source's registers in its next cycle, although it is not due.
    pub fn read_again(&mut self, now: MonoMs, source: SourceNumber, group: u8) {
        self.core.read_again(now, source, group);
    }

    /// Changes a source's layout to another one of the same columns, from its next sample on;
    /// blocks. Returns false while samples under the current layout are in no batch: see
    /// [`Node::flush`].
    ///
    /// # Errors
    /// If the disk fails; the current layout stays.
    pub fn relabel(&mut self, source: SourceNumber, layout: &[u8]) -> Result<bool, StorageError> {
        if self.core.buffered_of(source) > 0 {
            return Ok(false);
        }
        let (stream, is_first) = self.storage.stream(source, layout)?;
        let is_taken = self.core.relabel(source, stream);
        if is_taken && is_first {
            self.core.announce(stream);
        }
        Ok(is_taken)
    }

    /// Records the orderly stop; blocks.
    ///
    /// # Errors
    /// If that cannot be made durable: the next start then reports a crash.
    pub fn stop(self) -> Result<Ledger<D>, StorageError> {
        self.storage.stop()
    }

    /// Ends the epoch as a power cut would, and returns the ledger for the next one.
    pub fn into_ledger(self) -> Ledger<D> {
        self.storage.into_ledger()
    }

    /// The core, for inspection.
    pub fn core(&self) -> &Core<COLUMNS, ROWS> {
        &self.core
    }

    /// The newest sample of a source. After [`WorkOutcome::Drafted`] it is the sample that was drafted.
    pub fn newest(&self, source: SourceNumber) -> Option<Sample<'_>> {
        self.core.newest(source)
    }

    /// What the shell should log from here on; `None` if the configuration has no level.
    pub fn log_level(&self) -> Option<LogLevel> {
        self.core.log_level()
    }

    /// The device's number at its server.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// The number of this start.
    pub fn epoch(&self) -> BootEpoch {
        self.epoch
    }

    /// How the previous epoch ended.
    pub fn boot_reason(&self) -> BootReason {
        self.boot_reason
    }

    /// The durable record of identity, epochs, counters and layouts.
    pub fn record(&self) -> &Record {
        self.storage.ledger.record()
    }

    /// Contents and losses of the spool.
    pub fn report(&self) -> SpoolReport {
        self.storage.report()
    }

    /// Returns the batches made of samples that earlier epochs left in the draft, since the last
    /// call. They are made at the start or, if the disk failed then, before a later batch.
    pub fn take_recovered(&mut self) -> Vec<Recovered> {
        self.storage.take_recovered()
    }

    /// Returns what storage has lost, or set aside as unreadable, since the last call.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        self.storage.take_damage()
    }

    /// Returns the writes that failed since the last call and will be retried.
    pub fn take_postponed(&mut self) -> Vec<Postponed> {
        self.storage.take_postponed()
    }

    /// Bytes held between calls, without the batches for [`Node::take_recovered`].
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.core.sources().count() * size_of::<Inverter<COLUMNS, ROWS>>()
            + self.storage.memory_bytes()
    }

    /// Upper limit of [`Node::memory_bytes`] with this spool and this many inverters.
    #[must_use]
    pub const fn memory_bytes_max(spool_bytes: u64, sources: usize) -> usize {
        size_of::<Self>()
            + sources * size_of::<Inverter<COLUMNS, ROWS>>()
            + Storage::<D>::memory_bytes_max(spool_bytes, sources)
    }

    fn keep(&mut self, slot: Slot, now: impl Fn() -> MonoMs) -> WorkOutcome {
        let mut bytes = [0; Slot::LEN_MAX];
        let len = self.core.kept(slot, &mut bytes);
        let result = self.storage.keep(slot, &bytes[..len]);
        self.core.handle_kept(now(), slot, result.is_ok());
        WorkOutcome::Kept { slot, result }
    }

    fn draft(&mut self, source: SourceNumber) -> WorkOutcome {
        // The start of the epoch, which places the sample in time, is durable before the sample.
        self.note_start();
        let sample = self.core.newest(source);
        let result = sample.map_or(Ok(()), |sample| self.storage.draft(&sample));
        let power = sample.and_then(|sample| self.controls.power_w(&sample));
        self.core.handle_drafted(source, result.is_ok());
        if let Some(watts) = power {
            self.core.handle_power(source, watts, self.controls.rated_w(source));
        }
        WorkOutcome::Drafted { source, result }
    }

    fn cut(&mut self, source: SourceNumber, now: impl Fn() -> MonoMs) -> WorkOutcome {
        let mut codec = Box::new(CodecMemory::<COLUMNS>::NEW);
        let mut bytes = vec![0; batch_bytes_max(self.message_bytes)];
        let cut = match self.core.cut(now(), source, &mut codec, &mut bytes) {
            Ok(cut) => cut,
            Err(error) => return WorkOutcome::NotCut(error),
        };
        drop(codec);
        bytes.truncate(cut.len);
        bytes.shrink_to_fit();
        let first = (cut.last_ordinal + 1).saturating_sub(u32::from(cut.rows));
        let left = self.storage.left_behind(cut.id, source, first);
        let is_left = matches!(left, Ok(Some(_)));
        let (left, read) = match left {
            Ok(left) => (left, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let batch = left.unwrap_or(Batch {
            id: cut.id,
            source,
            stream: cut.stream,
            rows: cut.rows,
            last_ordinal: cut.last_ordinal,
            bytes,
        });
        let result = read.and_then(|()| self.storage.persist(&batch));
        let now = now();
        if is_left && result.is_ok() {
            self.core.handle_leftover_persisted();
        } else {
            self.core.handle_persisted(now, result.is_ok());
        }
        self.tell_spooled(now);
        WorkOutcome::Persisted { batch, result }
    }

    fn reserve(&mut self, limit: Counter, now: impl Fn() -> MonoMs) -> WorkOutcome {
        let result = self.storage.ledger.reserve(limit).map_err(StorageError::from);
        match result {
            Ok(()) => self.core.handle_reserved(limit),
            Err(_) => self.core.handle_not_reserved(now()),
        }
        WorkOutcome::Reserved { limit, result }
    }

    fn compose(&mut self, now: impl Fn() -> MonoMs) -> WorkOutcome {
        let announced = self.core.announced();
        let offer = match self.core.sends_batches() {
            true => self.storage.offer(self.order, self.message_bytes, announced),
            false => self.storage.offer_no_batches(announced),
        };
        let (offer, offered) = match offer {
            Ok(offer) => (offer, Ok(())),
            Err(error) => (MessageContents::default(), Err(error)),
        };
        let MessageContents { batches, mut layouts, lost, mut dropped } = offer;
        lost.into_iter().for_each(|number| self.core.withdraw(number));
        let starts = self.storage.starts();
        let streams: Vec<_> = layouts
            .iter()
            .map(|held| WireStream {
                number: held.number,
                source: held.source,
                layout: &held.bytes,
            })
            .collect();
        let mut bytes = vec![0; self.message_bytes.clamp(MESSAGE_BYTES_MIN, MESSAGE_MAX)];
        let composed = self.core.compose(
            now(),
            &mut batches.iter().map(|batch| WireBatch {
                id: batch.id,
                stream: batch.stream,
                bytes: &batch.bytes,
                // These batches have times since the start of their epoch.
                start: (time_base(&batch.bytes) == Some(TimeBase::SinceBoot))
                    .then(|| starts.of(batch.id.epoch)),
            }),
            &streams,
            &mut dropped.iter().map(|gap| WireDropped {
                epoch: gap.first.epoch,
                batches: gap.is_batched().then_some(SequenceRange {
                    first: gap.first.sequence,
                    last: gap.last.sequence,
                }),
                samples: gap.samples,
            }),
            &mut bytes,
        );
        match composed {
            Ok(outgoing) => {
                // The core takes what fits; only that is in the message.
                bytes.truncate(outgoing.len);
                bytes.shrink_to_fit();
                dropped.truncate(outgoing.dropped);
                layouts.truncate(outgoing.streams);
                let message = Message {
                    request: outgoing.request,
                    batches: batches.iter().take(outgoing.batches).map(|batch| batch.id).collect(),
                    layouts: layouts.iter().map(|layout| layout.number).collect(),
                    dropped,
                    patience: outgoing.patience,
                    bytes,
                };
                WorkOutcome::Composed { message, offered }
            }
            Err(error) => {
                self.core.handle_link_failure(now(), LinkFailure::Unreachable);
                WorkOutcome::NotComposed { error, offered }
            }
        }
    }

    fn note_start(&mut self) {
        if let Some(start) = self.core.wall_clock().start() {
            self.storage.place((self.epoch, self.began), start);
        }
    }

    fn tell_spooled(&mut self, now: MonoMs) {
        let report = self.storage.report();
        let spooled = SpoolContents {
            batches: u32::try_from(report.batches).unwrap_or(u32::MAX),
            bytes: report.bytes,
            capacity_bytes: self.spool_bytes,
        };
        self.core.handle_spooled(now, spooled);
    }
}

//! One boot epoch of a device, without tasks, sockets and clocks.
//!
//! A [`Node`] is the device core together with what it keeps across power cuts. It says what is next
//! ([`Node::poll`]), does the disk's part of it itself ([`Node::carry_out`]), and is told what became
//! of the rest (`handle_*`). The agent runs it between its buses and its link; the simulation of a
//! fleet runs the same node in virtual time, on disks that fail.
//!
//! Whatever touches the disk blocks and returns when it is durable or has failed. Time is an
//! argument: a function where an instant after a write is wanted.

mod done;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ecowatt_codec::{State, TimeBase, time_base};
use ecowatt_device::limits::MESSAGE_BYTES_MIN;
use ecowatt_device::{
    Action, Config as CoreConfig, Credentials, Device, Event, Inverter, LinkFailure, ReadOutcome,
    ReplyError, Sample, Slot, SourceConfig, Spooled, Started, UplinkConfig, batch_bytes_max,
};
use ecowatt_envelope::{DeviceKey, Kid, MESSAGE_MAX};
use ecowatt_model::{
    BootEpoch, COLUMNS_MAX, Counter, DeviceNumber, MonoMs, ROWS_MAX, SourceNumber, StreamNumber,
    UnixMs,
};
use ecowatt_profile::{Plan, Read};
use ecowatt_wire::{Batch as WireBatch, BootReason, Dropped as WireDropped, Stream as WireStream};

pub use self::done::{Done, Freed, Message};
use crate::storage::{
    Areas, Batch, Damage, Ledger, Offer, Order, Postponed, Record, Recovered, SpoolReport, Storage,
    StorageError,
};

/// Rows that the agent has room for per inverter: a batch, and as many again twice over while the
/// disk is full.
pub const ROWS: usize = 512;
const _: () = assert!(ROWS <= ROWS_MAX);

/// How a device works.
#[derive(Debug, Clone, Copy)]
pub struct NodeConfig {
    pub spool_bytes: u64,
    /// Most bytes of one message.
    pub message_bytes: usize,
    pub upload_interval: Duration,
    /// Which batches go first.
    pub order: Order,
    /// A cycle that begins this late still counts as its scheduled instant.
    pub start_tolerance: Duration,
    /// Name and version of the software.
    pub firmware: &'static str,
    /// Different for each device and start; spreads what would otherwise happen at once.
    pub seed: u32,
}

/// One inverter to poll.
#[derive(Debug, Clone)]
pub struct SourceSetup {
    pub number: SourceNumber,
    pub plan: Plan,
    /// The layout that `plan` belongs to, as CBOR.
    pub layout: Vec<u8>,
    /// Takes the place of the fastest group's interval.
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

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read registers, waiting `timeout` for the answer; then [`Node::handle_read`].
    Read { source: SourceNumber, read: Read, timeout: Duration },
    /// Something for [`Node::carry_out`].
    Work(Work),
}

/// What a node does itself, on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Make what the core keeps in a slot durable.
    Keep(Slot),
    /// Make the newest sample of a source durable.
    Draft(SourceNumber),
    /// Make a batch of a source's samples and persist it.
    Cut(SourceNumber),
    /// Reserve counters below this one.
    Reserve(Counter),
    /// Make a message; then send it, and [`Node::handle_reply`] or [`Node::handle_link_failure`].
    Send,
}

/// The device core of a node.
pub type Core<const COLUMNS: usize, const ROWS: usize> =
    Device<Vec<Inverter<COLUMNS, ROWS>>, COLUMNS, ROWS>;

/// A device in one boot epoch, on its disk, with room for `ROWS` samples of each inverter that are
/// in no batch; see [`Inverter`] for `COLUMNS`.
///
/// The codec's state and a message are on the heap while they are used, and never both.
pub struct Node<D, const COLUMNS: usize = COLUMNS_MAX, const ROWS: usize = { self::ROWS }> {
    core: Core<COLUMNS, ROWS>,
    storage: Storage<D>,
    device: DeviceNumber,
    epoch: BootEpoch,
    began: MonoMs,
    boot_reason: BootReason,
    order: Order,
    message_bytes: usize,
    spool_bytes: u64,
}

impl<D: Areas + Clone, const COLUMNS: usize, const ROWS: usize> Node<D, COLUMNS, ROWS> {
    /// Starts an epoch: recovers what the one before left, numbers the layouts, and begins at the
    /// instant that `started_at` gives when that is done, with what the system clock shows then.
    /// The monotonic clock goes on between epochs of one ledger.
    ///
    /// # Errors
    /// If the ledger names no device, an inverter has more registers than there is room for, or the
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
            kid: Kid { device: identity.device(), generation: identity.key_generation() },
            key: DeviceKey::new(key),
            reserved: Counter(ledger.record().reserved),
        };
        let (mut storage, epoch, boot_reason) =
            Storage::start(ledger, disk, config.spool_bytes, config.message_bytes)?;
        let mut streams = Vec::with_capacity(sources.len());
        for source in &sources {
            streams.push(storage.stream(source.number, &source.layout)?);
        }
        let present: Vec<_> = streams.iter().map(|(stream, _)| *stream).collect();
        storage.forget_layouts(&present);
        let (now, system) = started_at();
        let system = storage.estimate(system);
        let mut inverters = Vec::with_capacity(sources.len());
        for (source, (stream, _)) in sources.into_iter().zip(&streams) {
            let SourceSetup { number, plan, interval, timeout_max, layout: _ } = source;
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
        let firmware = heapless::String::try_from(config.firmware).unwrap_or_default();
        let started = Started { epoch, reason: boot_reason, system, firmware };
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

    /// What is next, or `None` until [`Node::poll_at`] or something is told. Each is given once.
    pub fn poll(&mut self, now: MonoMs) -> Option<Next> {
        Some(match self.core.poll_action(now)? {
            Action::Read { source, read, timeout } => Next::Read { source, read, timeout },
            Action::Keep(slot) => Next::Work(Work::Keep(slot)),
            Action::Draft(source) => Next::Work(Work::Draft(source)),
            Action::Cut(source) => Next::Work(Work::Cut(source)),
            Action::Reserve(limit) => Next::Work(Work::Reserve(limit)),
            Action::Send => Next::Work(Work::Send),
        })
    }

    /// When to call [`Node::poll`] again if nothing else happens.
    pub fn poll_at(&self) -> MonoMs {
        self.core.poll_at()
    }

    /// What people should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// Does what [`Node::poll`] gave, and says what came of it. The core knows by then.
    pub fn carry_out(&mut self, work: Work, now: impl Fn() -> MonoMs) -> Done {
        match work {
            Work::Keep(slot) => self.keep(slot, now),
            Work::Draft(source) => self.draft(source),
            Work::Cut(source) => self.cut(source, now),
            Work::Reserve(limit) => self.reserve(limit, now),
            Work::Send => self.compose(now),
        }
    }

    /// A read was carried out.
    pub fn handle_read(&mut self, now: MonoMs, source: SourceNumber, outcome: &ReadOutcome<'_>) {
        self.core.handle_read(now, source, outcome);
    }

    /// Takes the answer to the message under way and frees what it acknowledges; blocks.
    ///
    /// # Errors
    /// If the bytes are not the reply to that message. It has failed then, and another follows.
    pub fn handle_reply(
        &mut self,
        reply: &[u8],
        now: impl Fn() -> MonoMs,
    ) -> Result<Freed, ReplyError> {
        let at = now();
        let mut scratch = vec![0; reply.len().min(MESSAGE_MAX)];
        let acknowledged = match self.core.handle_reply(at, reply, &mut scratch) {
            Ok(acknowledged) => acknowledged,
            Err(error) => {
                self.core.handle_link_failure(at, LinkFailure::BadReply);
                return Err(error);
            }
        };
        self.note_start();
        let ranges: Vec<_> = acknowledged.ranges.iter().map(done::ids).collect();
        let drops_known = acknowledged.drops_known;
        if drops_known > 0 {
            self.storage.drops_are_known(drops_known);
        }
        let result = self.storage.free(&ranges);
        self.tell_spooled(now());
        Ok(Freed { ranges, drops_known, result })
    }

    /// What the system clock shows, to be told whenever the shell looks at it. A clock that is behind what
    /// the server has confirmed once is not believed.
    pub fn handle_clock(&mut self, now: MonoMs, system: UnixMs) {
        if self.storage.is_possible(system) {
            self.core.handle_clock(now, system);
        }
    }

    /// No reply to the message under way will come.
    pub fn handle_link_failure(&mut self, now: MonoMs, failure: LinkFailure) {
        self.core.handle_link_failure(now, failure);
    }

    /// Has everything that is buffered cut and persisted, and sent soon: before an orderly end.
    pub fn flush(&mut self, now: MonoMs) {
        self.core.flush(now);
    }

    /// A group of a source's registers is read in its next cycle, although it is not due.
    pub fn read_again(&mut self, now: MonoMs, source: SourceNumber, group: u8) {
        self.core.read_again(now, source, group);
    }

    /// Gives a source another layout of the same columns, for its samples from here on; blocks. Says
    /// no while samples of the present one are in no batch: see [`Node::flush`].
    ///
    /// # Errors
    /// If the disk fails; the present layout stays.
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

    /// Notes the orderly end; blocks.
    ///
    /// # Errors
    /// If that cannot be made durable: the next start calls this one a crash.
    pub fn stop(self) -> Result<Ledger<D>, StorageError> {
        self.storage.stop()
    }

    /// Leaves everything as a power cut would, but for the ledger that another epoch goes on with.
    pub fn into_ledger(self) -> Ledger<D> {
        self.storage.into_ledger()
    }

    /// The core, to look at.
    pub fn core(&self) -> &Core<COLUMNS, ROWS> {
        &self.core
    }

    /// The sample of a source that was taken last: after [`Done::Drafted`], the one it is about.
    pub fn newest(&self, source: SourceNumber) -> Option<Sample<'_>> {
        self.core.newest(source)
    }

    /// Who it is to its server.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// The number of this start.
    pub fn epoch(&self) -> BootEpoch {
        self.epoch
    }

    /// How the epoch before ended.
    pub fn boot_reason(&self) -> BootReason {
        self.boot_reason
    }

    /// What is durable about identity, epochs, counters and layouts.
    pub fn record(&self) -> &Record {
        self.storage.ledger.record()
    }

    /// What the spool holds and has lost.
    pub fn report(&self) -> SpoolReport {
        self.storage.report()
    }

    /// Batches that were made of samples which earlier epochs left in the draft, since it was last
    /// asked: at the start or, if the disk failed then, before a later batch.
    pub fn take_recovered(&mut self) -> Vec<Recovered> {
        self.storage.take_recovered()
    }

    /// What storage lost, or set aside because it could not be read, since it was last asked.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        self.storage.take_damage()
    }

    /// Returns the writes that failed since the last call and will be retried.
    pub fn take_postponed(&mut self) -> Vec<Postponed> {
        self.storage.take_postponed()
    }

    /// Bytes that are held between calls, what [`Node::take_recovered`] will give aside.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.core.sources().count() * size_of::<Inverter<COLUMNS, ROWS>>()
            + self.storage.memory_bytes()
    }

    /// Most of [`Node::memory_bytes`] with this spool and so many inverters.
    #[must_use]
    pub const fn memory_bytes_max(spool_bytes: u64, sources: usize) -> usize {
        size_of::<Self>()
            + sources * size_of::<Inverter<COLUMNS, ROWS>>()
            + Storage::<D>::memory_bytes_max(spool_bytes)
    }

    fn keep(&mut self, slot: Slot, now: impl Fn() -> MonoMs) -> Done {
        let mut bytes = [0; Slot::LEN_MAX];
        let len = self.core.kept(slot, &mut bytes);
        let result = self.storage.keep(slot, &bytes[..len]);
        self.core.handle_kept(now(), slot, result.is_ok());
        Done::Kept { slot, result }
    }

    fn draft(&mut self, source: SourceNumber) -> Done {
        // A sample's place is durable no later than the sample.
        self.note_start();
        let sample = self.core.newest(source);
        let result = sample.map_or(Ok(()), |sample| self.storage.draft(&sample));
        self.core.handle_drafted(source, result.is_ok());
        Done::Drafted { source, result }
    }

    fn cut(&mut self, source: SourceNumber, now: impl Fn() -> MonoMs) -> Done {
        let mut codec = Box::new(State::<COLUMNS>::NEW);
        let mut bytes = vec![0; batch_bytes_max(self.message_bytes)];
        let cut = match self.core.cut(now(), source, &mut codec, &mut bytes) {
            Ok(cut) => cut,
            Err(error) => return Done::NotCut(error),
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
        Done::Persisted { batch, result }
    }

    fn reserve(&mut self, limit: Counter, now: impl Fn() -> MonoMs) -> Done {
        let result = self.storage.ledger.reserve(limit).map_err(StorageError::from);
        match result {
            Ok(()) => self.core.handle_reserved(limit),
            Err(_) => self.core.handle_not_reserved(now()),
        }
        Done::Reserved { limit, result }
    }

    fn compose(&mut self, now: impl Fn() -> MonoMs) -> Done {
        let announced = self.core.announced();
        let offer = match self.core.sends_batches() {
            true => self.storage.offer(self.order, self.message_bytes, announced),
            false => self.storage.offer_no_batches(announced),
        };
        let (offer, offered) = match offer {
            Ok(offer) => (offer, Ok(())),
            Err(error) => (Offer::default(), Err(error)),
        };
        let Offer { batches, mut layouts, mut dropped } = offer;
        let starts = self.storage.starts();
        let streams: Vec<_> = layouts
            .iter()
            .map(|(number, source, layout)| WireStream { number: *number, source: *source, layout })
            .collect();
        let mut bytes = vec![0; self.message_bytes.clamp(MESSAGE_BYTES_MIN, MESSAGE_MAX)];
        let composed = self.core.compose(
            now(),
            &mut batches.iter().map(|batch| WireBatch {
                id: batch.id,
                stream: batch.stream,
                bytes: &batch.bytes,
                start: (time_base(&batch.bytes) == Some(TimeBase::SinceBoot))
                    .then(|| starts.of(batch.id.epoch)),
            }),
            &streams,
            &mut dropped.iter().map(|gap| WireDropped {
                epoch: gap.first.epoch,
                batches: gap.is_batched().then_some((gap.first.sequence, gap.last.sequence)),
                samples: gap.samples,
            }),
            &mut bytes,
        );
        match composed {
            Ok(outgoing) => {
                bytes.truncate(outgoing.len);
                bytes.shrink_to_fit();
                dropped.truncate(outgoing.dropped);
                layouts.truncate(outgoing.streams);
                let message = Message {
                    request: outgoing.request,
                    batches: batches.iter().take(outgoing.batches).map(|batch| batch.id).collect(),
                    layouts: layouts.iter().map(|(number, _, _)| *number).collect(),
                    dropped,
                    bytes,
                };
                Done::Composed { message, offered }
            }
            Err(error) => {
                self.core.handle_link_failure(now(), LinkFailure::Unreachable);
                Done::NotComposed { error, offered }
            }
        }
    }

    fn note_start(&mut self) {
        if let Some(start) = self.core.wall().start() {
            self.storage.place((self.epoch, self.began), start);
        }
    }

    fn tell_spooled(&mut self, now: MonoMs) {
        let report = self.storage.report();
        let spooled = Spooled {
            batches: u32::try_from(report.batches).unwrap_or(u32::MAX),
            bytes: report.bytes,
            capacity_bytes: self.spool_bytes,
        };
        self.core.handle_spooled(now, spooled);
    }
}

//! Joins the parts of the core and fixes the order in which they act.

mod apply;
mod execute;
mod limit;

use core::time::Duration;

use ecowatt_codec::{CodecMemory, TimeBase};
use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{
    BatchId, BootEpoch, COLUMNS_MAX, CommandId, Counter, LeaseGeneration, MonoMs, SOURCES_MAX,
    Sequence, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_profile::{Control, Read, Write};
use ecowatt_wire::{
    Batch, BootReason, CHANGES_MAX, COMMANDS_MAX, CommandResult, FIRMWARE_MAX, ITEMS_MAX,
    LostSamples, RefusedSetting, Reported, ReportedLeases, SectionList, SourceState, SourceStatus,
    Status, Stream,
};
use heapless::Vec;

use crate::acquire::{Source, SourceConfig};
use crate::buffer::{Buffer, EncodeBatchError, EncodedBatch, Sample, columns_max};
use crate::commands::Commands;
use crate::event::{Event, Events, LinkFailure};
use crate::exchange::{CompletedRead, Exchange};
use crate::leases::Leases;
use crate::limiter::Limiter;
use crate::limits::{SLEEP_NOTED_EVERY, START_TOLERANCE, STORAGE_RETRY};
use crate::settings::{LogLevel, Own};
use crate::settings_trial::Configuration;
use crate::slot::{Asleep, Slot};
use crate::slot_writes::Keeping;
use crate::uplink::{
    Acknowledged, ComposeError, Credentials, FollowUp, ReplyError, SealedMessage, Tail, Uplink,
    UplinkConfig,
};
use crate::wall_clock::{ClockChange, WallClock};

/// The device's own configuration; sources have theirs. Settings from the server replace a part.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Samples after which a batch is cut; at most the rows that an inverter has room for.
    pub batch_rows: u16,
    /// A sample that begins this late is still dated to its scheduled instant. Covers delays in the
    /// shell's scheduling: [`START_TOLERANCE`], unless the shell's clock runs faster than real
    /// time.
    pub start_tolerance: Duration,
    /// What the shell logs; `None` if it does not log, or not for this device alone.
    pub log_level: Option<LogLevel>,
    pub permissions: Permissions,
    pub uplink: UplinkConfig,
}

/// What the device's owner allows its server to do by commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Restart the machine, which the shell must be able to.
    pub reboot: bool,
    /// Write to inverters.
    pub writes: bool,
}

/// What the shell knows of the points that may be written. They are not in the core's memory:
/// commands are few.
pub trait Controls {
    /// The control with this name, if the source's profile allows it to be written.
    fn find(&self, source: SourceNumber, point: &str) -> Option<Control>;

    /// The source's rated power in watts, if it is known.
    fn rated_w(&self, source: SourceNumber) -> Option<u32>;
}

impl Config {
    /// Batches of 180 samples, the default tolerance, no log and no permissions.
    #[must_use]
    pub fn new(uplink: UplinkConfig) -> Self {
        let start_tolerance = START_TOLERANCE;
        let permissions = Permissions::default();
        Self { batch_rows: 180, start_tolerance, log_level: None, permissions, uplink }
    }
}

/// What the shell knows when the device starts.
#[derive(Debug, Clone)]
pub struct StartInfo {
    /// Above the epoch of every earlier start, and durable.
    pub epoch: BootEpoch,
    pub reason: BootReason,
    /// The best estimate of the time of day, usually the system clock.
    pub system: Option<UnixMs>,
    /// Name and version of the software, cut to [`FIRMWARE_MAX`] bytes.
    pub firmware: heapless::String<FIRMWARE_MAX>,
}

/// Why an inverter cannot be polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("source {source_number} has {columns} registers; there is room for 1 to {room}")]
    Columns { source_number: SourceNumber, columns: usize, room: usize },
}

/// Contents of the spool, as the shell last saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolContents {
    pub batches: u32,
    pub bytes: u64,
    pub capacity_bytes: u64,
}

/// How an epoch ends because of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Another epoch begins.
    Restart,
    /// The machine restarts.
    Reboot,
}

/// Something for the shell to do. [`Action::Read`], [`Action::Write`], [`Action::Draft`],
/// [`Action::Reserve`], [`Action::Keep`] and [`Action::End`] are each returned once and wait for
/// their answer. [`Action::Cut`], [`Action::Send`] and [`Action::Limit`] are returned until
/// [`Device::cut`], [`Device::compose`] or [`Device::limit`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read registers, waiting `timeout` for the answer; then [`Device::handle_read`].
    Read { source: SourceNumber, read: Read, timeout: Duration },
    /// Write registers and wait `timeout` for the answer; then [`Device::handle_write`]. The request
    /// is sent at most once: nothing below the core repeats it.
    Write { source: SourceNumber, write: Write, timeout: Duration },
    /// Make [`Device::kept`] of this slot durable, replacing its contents; then
    /// [`Device::handle_kept`].
    Keep(Slot),
    /// Call [`Device::limit`] with what the shell knows of the source.
    Limit(SourceNumber),
    /// Make [`Device::newest`] of this source durable; then [`Device::handle_drafted`].
    Draft(SourceNumber),
    /// Encode with [`Device::cut`] and persist; then [`Device::handle_persisted`].
    Cut(SourceNumber),
    /// Make durable that counters below this may be used; then [`Device::handle_reserved`].
    Reserve(Counter),
    /// End the epoch in an orderly way; or else [`Device::handle_not_ended`]. A power cut counts as
    /// its end as well.
    End(Ending),
    /// Make a message with [`Device::compose`] and send it; then [`Device::handle_reply`] or
    /// [`Device::handle_link_failure`].
    Send,
}

/// One inverter: its polling and its samples.
///
/// It has room for at most `ROWS` samples, which share `ROWS` × `COLUMNS` cells: a sample takes one
/// for each register that was read and one for each run of neighbours with the same mark. `COLUMNS`
/// is the number of registers that are read more than once per connection; the others need room in
/// one sample of hundreds.
#[derive(Debug)]
pub struct Inverter<const COLUMNS: usize, const ROWS: usize> {
    source: Source,
    buffer: Buffer<COLUMNS, ROWS>,
    /// Rows of a full batch; small enough that a message has room for it.
    rows_max: usize,
    /// The newest sample is not yet drafted; cleared when [`Action::Draft`] is returned.
    is_draft_due: bool,
    /// The state that last made a status due.
    reported: SourceState,
    /// Another interval waits for the buffer to be empty: what was sampled at the former one gets a
    /// batch of its own.
    is_changing: bool,
    limiter: Limiter,
}

impl<const COLUMNS: usize, const ROWS: usize> Inverter<COLUMNS, ROWS> {
    /// An inverter to be configured where it is kept, before it is part of a device. A constant,
    /// because it is large: what a function returns is on the stack first.
    pub const IDLE: Self = Self {
        source: Source::IDLE,
        buffer: Buffer::EMPTY,
        rows_max: ROWS,
        is_draft_due: false,
        reported: SourceState::Unknown,
        is_changing: false,
        limiter: Limiter::IDLE,
    };

    /// Begins polling at `now`, from [`Inverter::IDLE`].
    ///
    /// # Errors
    /// If its plan has no columns, or more than there is room for.
    pub fn configure(&mut self, config: &SourceConfig, now: MonoMs) -> Result<(), StartError> {
        let (source_number, columns) = (config.number, config.plan.column_count());
        let room = columns_max(COLUMNS * ROWS).min(COLUMNS_MAX);
        if columns == 0 || columns > room {
            return Err(StartError::Columns { source_number, columns, room });
        }
        self.source.configure(config, now);
        self.buffer.configure(columns);
        Ok(())
    }
}

/// The device. `I` holds its inverters: an array, a `heapless::Vec`, or with an allocator a `Vec`.
pub struct Device<I, const COLUMNS: usize, const ROWS: usize> {
    own: Own,
    start_tolerance: Duration,
    configuration: Configuration,
    /// By the power policy, messages are fewer.
    is_saving: bool,
    epoch: BootEpoch,
    boot_reason: BootReason,
    firmware: heapless::String<FIRMWARE_MAX>,
    wall_clock: WallClock,
    inverters: I,
    uplink: Uplink,
    events: Events,
    /// Sequence of the next batch.
    sequence: Sequence,
    /// Samples taken in this epoch.
    samples: u32,
    /// The batch being persisted; cleared by the shell's answer.
    cutting: Option<EncodedBatch>,
    /// No cut or reservation before this: a write failed.
    storage_retry_at: MonoMs,
    /// The last batch could not be persisted, and this was reported; cleared by one that is.
    is_storage_failing: bool,
    spooled: SpoolContents,
    /// Set by a reply, until the shell reports what it left in the spool.
    follow_up: FollowUp,
    asleep: Asleep,
    /// When `asleep` last changed; limits how often it is written.
    sleep_noted_at: Option<MonoMs>,
    keeping: Keeping,
    permissions: Permissions,
    commands: Commands,
    /// The end of the epoch that a command asks for; cleared if it cannot end.
    ending: Option<PendingEnd>,
    leases: Leases,
    /// When the server was last heard or, before that, the epoch began.
    heard_at: MonoMs,
}

/// An end of the epoch that a command asks for.
#[derive(Debug, Clone, Copy)]
struct PendingEnd {
    command: CommandId,
    ending: Ending,
    /// The shell was asked for it.
    is_asked: bool,
}

impl<I, const COLUMNS: usize, const ROWS: usize> Device<I, COLUMNS, ROWS>
where
    I: AsRef<[Inverter<COLUMNS, ROWS>]> + AsMut<[Inverter<COLUMNS, ROWS>]>,
{
    /// Starts an epoch. No two inverters may share a source number. `kept` returns the durable
    /// bytes of a slot, if it has any.
    pub fn new<'k>(
        config: Config,
        started: StartInfo,
        credentials: &Credentials,
        mut inverters: I,
        kept: &dyn Fn(Slot) -> Option<&'k [u8]>,
        now: MonoMs,
    ) -> Self {
        let StartInfo { epoch, reason: boot_reason, system, firmware } = started;
        let Config { batch_rows, start_tolerance, log_level, permissions, uplink } = config;
        let wall_clock = WallClock::new(system, now);
        let asleep = kept(Slot::Sleep).and_then(Asleep::parse).unwrap_or_default();
        for inverter in inverters.as_mut() {
            if let Some(since) = asleep.since(inverter.source.number()) {
                let now = wall_clock.unix(now).unwrap_or_default();
                inverter.source.was_asleep(now.since(since));
            }
        }
        let leases = Leases::new(kept(Slot::Limits), |source, found| {
            if let Some(inverter) = find(inverters.as_mut(), source) {
                inverter.limiter.set_found(Some(found));
            }
        });
        let upload_ms = u32::try_from(uplink.interval.as_millis()).unwrap_or(u32::MAX);
        let batch_rows = batch_rows.min(u16::try_from(ROWS).unwrap_or(u16::MAX));
        let mut device = Self {
            wall_clock,
            uplink: Uplink::new(uplink, credentials, now),
            own: Own { upload_ms, batch_rows, log_level },
            start_tolerance,
            configuration: Configuration::new(kept(Slot::Desired)),
            is_saving: false,
            epoch,
            boot_reason,
            firmware,
            inverters,
            events: Events::default(),
            sequence: Sequence(1),
            samples: 0,
            cutting: None,
            storage_retry_at: MonoMs(0),
            is_storage_failing: false,
            spooled: SpoolContents::default(),
            follow_up: FollowUp::No,
            asleep,
            sleep_noted_at: None,
            keeping: Keeping::DONE,
            permissions,
            commands: Commands::new(kept(Slot::Commands)),
            ending: None,
            leases,
            heard_at: now,
        };
        if device.leases.generation() > LeaseGeneration(0) {
            device.leases.report();
        }
        device.wake_limiters(now);
        device.resume_commands(now);
        device.resume_settings(now);
        device
    }

    /// The next thing to do, or `None` until [`Device::poll_at`] or an answer.
    pub fn poll_action(&mut self, now: MonoMs) -> Option<Action> {
        loop {
            self.finish_cycles(now);
            if let Some(action) = self.poll_once(now) {
                return Some(action);
            }
            // A cycle of quarantined registers alone ends without a read.
            if !self.inverters.as_ref().iter().any(|inverter| inverter.source.is_over()) {
                return None;
            }
        }
    }

    fn poll_once(&mut self, now: MonoMs) -> Option<Action> {
        self.poll_settings(now);
        self.expire_writes(now);
        if let Some(action) = self.poll_commands(now) {
            return Some(action);
        }
        if let Some(source) = self.poll_limits(now) {
            return Some(Action::Limit(source));
        }
        // Sleep is kept before the sample that showed it: the power may fail between the two.
        if let Some(slot) = self.keeping.poll(now) {
            return Some(Action::Keep(slot));
        }
        if let Some(inverter) = self.inverters.as_mut().iter_mut().find(|i| i.is_draft_due) {
            inverter.is_draft_due = false;
            return Some(Action::Draft(inverter.source.number()));
        }
        if now >= self.storage_retry_at
            && let Some(limit) = self.uplink.poll_reservation()
        {
            return Some(Action::Reserve(limit));
        }
        if let Some(source) = self.poll_cut(now) {
            return Some(Action::Cut(source));
        }
        if self.cutting.is_none() {
            let is_reporting = self.commands.is_report_due() || self.reports_leases();
            if self.uplink.is_ready(now, self.spooled.batches, is_reporting) {
                return Some(Action::Send);
            }
            if self.uplink.is_due(now) {
                self.uplink.postpone(now, now < self.storage_retry_at);
            }
            if self.uplink.is_check_in_due(now, self.may_wait()) {
                return Some(Action::Send);
            }
        }
        self.inverters.as_mut().iter_mut().find_map(|inverter| {
            let source = &mut inverter.source;
            let exchange = source.poll(now, &self.wall_clock)?;
            let (source, timeout) = (source.number(), source.timeout());
            Some(match exchange {
                Exchange::Read(read) => Action::Read { source, read, timeout },
                Exchange::Write(write) => Action::Write { source, write, timeout },
            })
        })
    }

    /// When to call [`Device::poll_action`] again if nothing else happens.
    pub fn poll_at(&self) -> MonoMs {
        let inverters = self.inverters.as_ref();
        let is_cutting = self.cutting.is_some();
        let cuts = inverters
            .iter()
            .filter(|inverter| !is_cutting && inverter.buffer.is_due(inverter.rows_max))
            .map(|_| self.storage_retry_at);
        let message = self.uplink.poll_at(self.may_wait()).filter(|_| !is_cutting);
        let reservation = self.uplink.needs_reservation().then_some(self.storage_retry_at);
        inverters
            .iter()
            .map(|inverter| inverter.source.poll_at())
            .chain(cuts)
            .chain(message)
            .chain(reservation)
            .chain(self.keeping.poll_at())
            .chain(self.configuration.poll_at())
            .chain(self.commands.poll_at(&self.wall_clock, |source| self.is_idle(source)))
            .chain(self.limits_poll_at())
            .min()
            .unwrap_or(MonoMs(u64::MAX))
    }

    /// Returns the oldest event not yet polled.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Takes the outcome of an [`Action::Read`].
    pub fn handle_read(&mut self, now: MonoMs, source: SourceNumber, outcome: &CompletedRead<'_>) {
        let events = &mut self.events;
        let Some(inverter) = find(self.inverters.as_mut(), source) else { return };
        match inverter.source.running() {
            Some((client, request)) => {
                self.handle_errand(now, source, client, request, &outcome.result);
            }
            None => inverter.source.handle(now, outcome, events),
        }
    }

    /// Has a group of a source's registers read in its next cycle, even if it is not due.
    pub fn read_again(&mut self, now: MonoMs, source: SourceNumber, group: u8) {
        if let Some(inverter) = find(self.inverters.as_mut(), source) {
            inverter.source.read_again(now, group);
        }
    }

    /// Makes the samples of a source belong to this stream from here on. Its layout must have the
    /// same columns. Returns false while samples of the current stream are not yet in a persisted
    /// batch.
    pub fn relabel(&mut self, source: SourceNumber, stream: StreamNumber) -> bool {
        let inverter = find(self.inverters.as_mut(), source);
        let Some(inverter) = inverter.filter(|inverter| inverter.buffer.len() == 0) else {
            return false;
        };
        inverter.source.relabel(stream);
        true
    }

    /// The sample that was taken last, until the inverter is asked for the next one.
    pub fn newest(&self, source: SourceNumber) -> Option<Sample<'_>> {
        let mut inverters = self.inverters.as_ref().iter();
        let inverter = inverters.find(|inverter| inverter.source.number() == source)?;
        let (buffer, (words, marks)) = (&inverter.buffer, inverter.source.newest()?);
        Some(Sample {
            source,
            stream: inverter.source.stream(),
            ordinal: buffer.last_ordinal(),
            base: buffer.base()?,
            t_ms: buffer.last_time()?,
            words,
            marks,
        })
    }

    /// Writes the contents of a slot to the start of `out`, at most [`Slot::LEN_MAX`] bytes;
    /// returns their number.
    pub fn kept(&self, slot: Slot, out: &mut [u8]) -> usize {
        match slot {
            Slot::Sleep => self.asleep.write(out),
            Slot::Desired => self.configuration.write(out),
            Slot::Commands => self.commands.write(out),
            Slot::Limits => self.leases.write(self.found_limits(), out),
        }
    }

    /// The bytes from [`Device::kept`] are durable, or could not be written: then the slot must
    /// still have its previous contents, and the write is requested again.
    pub fn handle_kept(&mut self, now: MonoMs, slot: Slot, is_durable: bool) {
        let is_done = self.keeping.finish(now, slot, is_durable);
        match slot {
            Slot::Desired if is_done => self.decision_kept(now),
            Slot::Commands => self.commands_kept(now, is_done, is_durable),
            Slot::Limits if is_done => self.limits_kept(now),
            Slot::Desired | Slot::Sleep | Slot::Limits => {}
        }
    }

    /// The newest sample is durable, or could not be written: then it stays in memory only.
    pub fn handle_drafted(&mut self, source: SourceNumber, is_durable: bool) {
        if !is_durable {
            self.events.push(Event::SampleNotDrafted { source });
        }
    }

    /// Encodes the batch of an [`Action::Cut`] into the start of `out`.
    ///
    /// # Errors
    /// If the source has no samples or `out` is too small.
    pub fn cut<const N: usize>(
        &mut self,
        now: MonoMs,
        source: SourceNumber,
        state: &mut CodecMemory<N>,
        out: &mut [u8],
    ) -> Result<EncodedBatch, EncodeBatchError> {
        let mut inverters = self.inverters.as_ref().iter();
        let is_meant = |i: &&Inverter<_, _>| i.source.number() == source && i.buffer.len() > 0;
        let Some(inverter) = inverters.find(is_meant) else {
            return Err(EncodeBatchError::NotDue(source));
        };
        let buffer = &inverter.buffer;
        match buffer.encode(inverter.rows_max, state, out) {
            Ok((rows, len)) => {
                let left = u32::try_from(buffer.len() - rows).unwrap_or(0);
                let cut = EncodedBatch {
                    id: BatchId { epoch: self.epoch, sequence: self.sequence },
                    source,
                    stream: inverter.source.stream(),
                    base: buffer.base().unwrap_or(TimeBase::SinceBoot),
                    rows: u16::try_from(rows).unwrap_or(u16::MAX),
                    last_ordinal: buffer.last_ordinal() - left,
                    len,
                };
                self.cutting = Some(cut);
                Ok(cut)
            }
            Err(error) => {
                self.storage_retry_at = now.plus(STORAGE_RETRY);
                Err(EncodeBatchError::Encode(error))
            }
        }
    }

    /// The batch from [`Device::cut`] is durable, or could not be written.
    pub fn handle_persisted(&mut self, now: MonoMs, is_durable: bool) {
        let Some(cut) = self.cutting.take() else { return };
        if !is_durable {
            self.storage_retry_at = now.plus(STORAGE_RETRY);
            if !self.is_storage_failing {
                self.is_storage_failing = true;
                self.events.push(Event::BatchNotPersisted { source: cut.source });
            }
            return;
        }
        if self.is_storage_failing {
            self.is_storage_failing = false;
            self.events.push(Event::StorageRecovered);
        }
        self.sequence = Sequence(self.sequence.0.saturating_add(1));
        self.spooled.batches = self.spooled.batches.saturating_add(1);
        if let Some(inverter) = find(self.inverters.as_mut(), cut.source) {
            inverter.buffer.drop_front(usize::from(cut.rows));
        }
    }

    /// The shell used the id of the batch from [`Device::cut`] for older samples that were still in
    /// its draft. The current samples stay in the buffer and are cut again under the next id.
    pub fn handle_leftover_persisted(&mut self) {
        if self.cutting.take().is_some() {
            self.sequence = Sequence(self.sequence.0.saturating_add(1));
            self.spooled.batches = self.spooled.batches.saturating_add(1);
        }
    }

    /// The reservation of counters below `limit` is durable.
    pub fn handle_reserved(&mut self, limit: Counter) {
        self.uplink.reserved(limit);
    }

    /// The reservation could not be written; it is requested again.
    pub fn handle_not_reserved(&mut self, now: MonoMs) {
        self.uplink.not_reserved();
        self.storage_retry_at = now.plus(STORAGE_RETRY);
    }

    /// The contents of the spool changed.
    pub fn handle_spooled(&mut self, now: MonoMs, spooled: SpoolContents) {
        let is_less = spooled.batches < self.spooled.batches;
        self.spooled = spooled;
        let goes_on = match core::mem::take(&mut self.follow_up) {
            FollowUp::No => false,
            FollowUp::IfFreed => is_less,
            FollowUp::Yes => true,
        };
        if goes_on && spooled.batches > 0 {
            self.uplink.go_on(now);
        }
    }

    /// Announces a layout that got its number in this epoch with the next message.
    pub fn announce(&mut self, stream: StreamNumber) {
        self.uplink.announce(stream);
    }

    /// The streams whose layouts the shell must pass to [`Device::compose`].
    pub fn announced(&self) -> &[StreamNumber] {
        self.uplink.announced()
    }

    /// Whether the shell should end the wait for a reply that the server may be holding: there is
    /// something to report. It drops the exchange and calls [`Device::handle_wait_given_up`].
    pub fn is_wait_in_the_way(&self, now: MonoMs) -> bool {
        let is_reporting = self.commands.is_report_due() || self.reports_leases();
        self.uplink.is_wait_in_the_way(now, is_reporting)
    }

    /// The shell no longer waits for a reply that the server was allowed to hold. Nothing happens if
    /// the message in flight is another one.
    pub fn handle_wait_given_up(&mut self, now: MonoMs) {
        self.uplink.give_up_wait(now);
    }

    /// Whether the server may hold replies: a command under way has a result soon, and settings on
    /// trial want a reply.
    fn may_wait(&self) -> bool {
        !self.commands.is_at_work() && self.configuration.trial().is_none()
    }

    /// Announces a layout no more, because the shell does not have it. It may be announced again.
    pub fn withdraw(&mut self, stream: StreamNumber) {
        self.uplink.withdraw(stream);
    }

    /// Writes and seals a message into `buffer`, with as many of `streams` and `offered` as fit,
    /// each in its order. A batch whose times count from the start of its epoch must say when that
    /// was. No batch is sent before [`Device::sends_batches`].
    ///
    /// # Errors
    /// If no message is due or `buffer` is too small.
    pub fn compose(
        &mut self,
        now: MonoMs,
        offered: &mut dyn Iterator<Item = Batch<'_>>,
        streams: &[Stream<'_>],
        dropped: &mut dyn Iterator<Item = LostSamples>,
        buffer: &mut [u8],
    ) -> Result<SealedMessage, ComposeError> {
        let sources: Vec<SourceStatus, SOURCES_MAX> =
            self.inverters.as_ref().iter().take(SOURCES_MAX).map(|i| i.source.status()).collect();
        let values = self.values_in_use();
        let refused: Vec<RefusedSetting, ITEMS_MAX> = self.configuration.refused().iter().collect();
        let reported = Reported {
            generation: self.configuration.generation(),
            state: self.configuration.state(),
            refused: SectionList::Given(&refused),
            values: SectionList::Given(&values),
        };
        let results: Vec<CommandResult<'_>, COMMANDS_MAX> = self.commands.results().collect();
        let refused_leases: Vec<_, LEASES_MAX> = self.leases.refused().collect();
        let changes = self.leases.changes().iter();
        let changes: Vec<_, CHANGES_MAX> = changes
            .map(|change| change.reported(self.epoch, self.wall_clock.unix(change.mono())))
            .collect();
        let leases = ReportedLeases {
            generation: self.leases.generation(),
            refused: SectionList::Given(&refused_leases),
            changes: SectionList::Given(&changes),
        };
        let tail = Tail {
            leases: self.reports_leases().then_some(leases),
            results: &results,
            may_wait: self.may_wait(),
            // What a power cut could take back is not reported.
            reported: self.keeping.is_done(Slot::Desired).then_some(reported),
            trial: self.configuration.trial(),
            clock: Tail::clock(self.epoch, now, &self.wall_clock),
            status: Status {
                firmware: &self.firmware,
                boot_reason: self.boot_reason,
                samples: self.samples,
                backlog_batches: self.spooled.batches,
                spool_bytes: self.spooled.bytes,
                spool_capacity_bytes: self.spooled.capacity_bytes,
                link_failures: self.uplink.total_failures(),
                clock_deviation_ms: self.wall_clock.deviation_ms(),
                sources: SectionList::Given(&sources),
            },
        };
        let outgoing = self.uplink.compose(now, offered, streams, dropped, &tail, buffer)?;
        drop(results);
        if outgoing.results > 0 {
            self.commands.carried();
        }
        if outgoing.has_leases {
            self.leases.carried();
        }
        Ok(outgoing)
    }

    /// Opens a reply into `scratch`; returns the batches that the spool can delete. The shell then
    /// reports what is left with [`Device::handle_spooled`].
    ///
    /// # Errors
    /// If the bytes are not the sealed reply to the message in flight. The message stays in flight;
    /// the shell ends it with [`Device::handle_link_failure`].
    pub fn handle_reply(
        &mut self,
        now: MonoMs,
        bytes: &[u8],
        scratch: &mut [u8],
        controls: &dyn Controls,
    ) -> Result<Acknowledged, ReplyError> {
        let opened = self.uplink.handle_reply(
            now,
            bytes,
            scratch,
            &mut self.wall_clock,
            &mut self.events,
        )?;
        if opened.heard != ClockChange::Kept {
            // Later samples get times of another base or clock: they need a batch of their own.
            self.inverters.as_mut().iter_mut().for_each(|inverter| inverter.buffer.flush());
        }
        self.clock_heard(now, opened.heard);
        self.commands.answered(true);
        self.leases.answered(true);
        self.take_commands(now, opened.commands, controls);
        self.follow_up = opened.follow_up;
        self.take_settings(opened.tried, opened.desired.as_ref());
        self.take_leases(now, opened.leases.as_ref());
        Ok(opened.acknowledged)
    }

    /// Takes the system clock, whenever the shell reads it. It counts until the server has
    /// confirmed the time of day: a clock that is set or stepped before that is a better estimate.
    pub fn handle_clock(&mut self, now: MonoMs, system: UnixMs) {
        let heard = self.wall_clock.follow(system, now);
        self.clock_heard(now, heard);
    }

    fn clock_heard(&mut self, now: MonoMs, heard: ClockChange) {
        self.events.push(match heard {
            ClockChange::Kept | ClockChange::Confirmed => return,
            ClockChange::Set => Event::ClockSet,
            ClockChange::Stepped(by_ms) => Event::ClockStepped { by_ms },
        });
        for inverter in self.inverters.as_mut() {
            inverter.source.realign(now, &self.wall_clock);
        }
        self.wake_limiters(now);
    }

    /// The message in flight will get no valid reply.
    pub fn handle_link_failure(&mut self, now: MonoMs, failure: LinkFailure) {
        self.commands.answered(false);
        self.leases.answered(false);
        self.uplink.failed(now, failure, &mut self.events);
    }

    /// Cuts all buffered samples and sends them soon: before an orderly stop. Storage that failed is
    /// tried again at once, but only once for the same samples: a caller may repeat this in each of
    /// its turns until the samples are in a batch.
    pub fn flush(&mut self, now: MonoMs) {
        let flushed = |inverters: &[Inverter<COLUMNS, ROWS>]| {
            inverters.iter().filter(|inverter| inverter.buffer.is_flushed()).count()
        };
        let before = flushed(self.inverters.as_ref());
        self.inverters.as_mut().iter_mut().for_each(|inverter| inverter.buffer.flush());
        let is_repeated = before > 0 && before == flushed(self.inverters.as_ref());
        if !is_repeated || now >= self.storage_retry_at {
            self.storage_retry_at = MonoMs(0);
            self.uplink.hurry(now);
        }
    }

    /// Whether messages carry batches: the server has answered in this epoch.
    pub fn sends_batches(&self) -> bool {
        self.uplink.is_heard()
    }

    /// Whether the last message got its reply, or none was sent yet.
    pub fn is_healthy(&self) -> bool {
        self.uplink.is_healthy()
    }

    /// Number of samples not yet in a persisted batch.
    pub fn buffered(&self) -> usize {
        self.inverters.as_ref().iter().map(|inverter| inverter.buffer.len()).sum()
    }

    /// The same for one source.
    pub fn buffered_of(&self, source: SourceNumber) -> usize {
        let mut inverters = self.inverters.as_ref().iter();
        let inverter = inverters.find(|inverter| inverter.source.number() == source);
        inverter.map_or(0, |inverter| inverter.buffer.len())
    }

    /// The time of day as the device knows it.
    pub fn wall_clock(&self) -> &WallClock {
        &self.wall_clock
    }

    /// State of the link to each inverter.
    pub fn sources(&self) -> impl Iterator<Item = SourceStatus> + '_ {
        self.inverters.as_ref().iter().map(|inverter| inverter.source.status())
    }

    /// Buffers the samples of cycles that are over.
    fn finish_cycles(&mut self, now: MonoMs) {
        let (wall_clock, tolerance) = (self.wall_clock, self.start_tolerance);
        for inverter in self.inverters.as_mut() {
            // The shell drafts the newest sample, so the previous one must be drafted first.
            if inverter.is_draft_due {
                continue;
            }
            let number = inverter.source.number();
            if let Some(taken) =
                inverter.source.finish(now, &wall_clock, tolerance, &mut self.events)
            {
                // Samples taken before the clock was confirmed have their own batches; while such a
                // batch cannot be persisted, later samples join it, each dated by the clock at its own
                // time.
                let sampled_at = taken.at;
                let base = inverter.buffer.base().unwrap_or(wall_clock.base());
                let t_ms = match (base, wall_clock.unix(taken.at)) {
                    (TimeBase::Unix, Some(unix)) => unix.0,
                    (TimeBase::Unix | TimeBase::SinceBoot, _) => wall_clock.since_start(taken.at),
                };
                for _ in 0..inverter.buffer.push(base, t_ms, taken.words, taken.marks) {
                    match self.cutting.as_mut().filter(|cut| cut.source == number && cut.rows > 0) {
                        // It is also in the batch being persisted, so it is not lost, but the
                        // buffer has one row less to drop.
                        Some(cutting) => cutting.rows -= 1,
                        None => self.events.push(Event::SampleDropped { source: number }),
                    }
                }
                self.samples = self.samples.saturating_add(1);
                inverter.is_draft_due = true;
                inverter.limiter.sampled(sampled_at);
            }
            let state = inverter.source.status().state;
            // With a sample only: [`Device::poll_once`] keeps sleep before it is drafted.
            if inverter.is_draft_due
                && let Some(since) = asleep_since(state, || wall_clock.unix(now))
                && since.is_some() != self.asleep.since(number).is_some()
                && self.sleep_noted_at.is_none_or(|at| now.since(at) >= SLEEP_NOTED_EVERY)
            {
                self.sleep_noted_at = Some(now);
                self.asleep.note(number, since);
                self.keeping.changed(Slot::Sleep);
            }
            if state != inverter.reported {
                inverter.reported = state;
                self.uplink.status_changed(now);
            }
        }
        self.follow_power_policy(now);
        // In the fast lane the first samples are sent at once, not after the upload interval.
        let can_cut = now >= self.storage_retry_at;
        let is_waiting = self.spooled.batches > 0
            || (can_cut && self.inverters.as_ref().iter().any(|i| i.buffer.len() > 0));
        if self.uplink.is_fast() && is_waiting {
            self.uplink.hurry(now);
        }
    }

    fn poll_cut(&mut self, now: MonoMs) -> Option<SourceNumber> {
        if self.cutting.is_some() || now < self.storage_retry_at {
            return None;
        }
        // While the link is down batches grow to their full size, unless the spool has none to try
        // the link with. The first messages of an epoch carry no batches.
        let is_wanted =
            self.uplink.is_heard() && (self.uplink.is_healthy() || self.spooled.batches == 0);
        let is_sending = self.uplink.is_due(now) && is_wanted;
        self.inverters
            .as_mut()
            .iter_mut()
            .find(|inverter| {
                let buffer = &inverter.buffer;
                buffer.is_due(inverter.rows_max) || (is_sending && buffer.len() > 0)
            })
            .map(|inverter| inverter.source.number())
    }
}

/// Whether a state means asleep since `now` (`Some(Some(…))`), awake (`Some(None)`) or neither.
/// Without the time of day, sleep leaves the slot as it is: it may hold since when.
fn asleep_since(
    state: SourceState,
    now: impl FnOnce() -> Option<UnixMs>,
) -> Option<Option<UnixMs>> {
    match state {
        SourceState::Asleep => now().map(Some),
        SourceState::Online => Some(None),
        SourceState::Unknown | SourceState::Offline | SourceState::Faulty => None,
    }
}

fn find<const COLUMNS: usize, const ROWS: usize>(
    inverters: &mut [Inverter<COLUMNS, ROWS>],
    source: SourceNumber,
) -> Option<&mut Inverter<COLUMNS, ROWS>> {
    inverters.iter_mut().find(|inverter| inverter.source.number() == source)
}

//! Decides what one upload changes.
//!
//! Pure: from a device's state and an upload, [`decide`] derives the outcome, or what must be
//! loaded before it can; [`UploadPlan::carry_out`] updates the state and names the rows to write. An
//! engine loads and writes; it knows nothing of counters, ranges or energy. Nothing changes until
//! everything is decided, so an upload that is refused, or whose rows cannot be read, leaves
//! nothing behind in a group that is committed.

mod call;
mod joins;
mod new_batches;

use ecowatt_model::{BatchId, BootEpoch, CommandId, KeyGeneration, SourceNumber, UnixMs};

use crate::batch_summary::Summary;
use crate::command::{self, Commands, Moved, MovedCommand};
use crate::configuration::{ConfigReport, pending};
use crate::ids::LocalDate;
use crate::ids::StreamId;
use crate::key_streams::KeyStreams;
use crate::latest::Latest;
use crate::latest::newness;
use crate::lease::{self, LeaseReport, LimitChange};
use crate::loaded::{
    Announced, Around, BatchLookup, BlockName, IdSpan, Inverter, LoadedDevice, LoadedLink, Place,
};
use crate::received_set::{Added, Received};
use crate::rollup::{Day, Quarter};
use crate::self_report::SelfReport;
use crate::sorted_map::SortedMap;
use crate::upload::{
    DeviceReport, NewBlock, NewStream, Receipt, TimeQuality, Upload, UploadOutcome,
};
pub(crate) use call::call;
pub(crate) use joins::GapChange;
use joins::Joins;
use new_batches::{Epochs, Side};

/// The decision on an upload.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Nothing changes; this is the answer.
    Answer(UploadOutcome),
    Take(Box<UploadPlan>),
}

/// Rows that must be loaded into a device's state before an upload can be decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wants {
    /// The key of this generation, and the link state known from the device's messages.
    pub(crate) device: Option<KeyGeneration>,
    pub(crate) received: Vec<(BootEpoch, KeyGeneration)>,
    pub(crate) former: Vec<(BootEpoch, KeyGeneration)>,
    pub(crate) bytes: Vec<BlockName>,
    /// The span of what was received under this key of epochs before this one.
    pub(crate) doubtful: Option<(KeyGeneration, BootEpoch)>,
    pub(crate) streams: Vec<StreamId>,
    /// Numbers on the wire of commands that are not open.
    pub(crate) commands: Vec<CommandId>,
    pub(crate) inverters: SortedMap<SourceNumber, InverterWants>,
}

/// Missing rows of one inverter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct InverterWants {
    /// The inverter's own row, with the last row of each kind.
    pub(crate) row: bool,
    pub(crate) quarters: Vec<i64>,
    pub(crate) days: Vec<LocalDate>,
    pub(crate) counters: Vec<Around<BatchId>>,
    pub(crate) powers: Vec<Around<Place>>,
}

impl Wants {
    fn or<T>(self, decided: T) -> Result<T, Box<Self>> {
        if self == Self::default() { Ok(decided) } else { Err(Box::new(self)) }
    }
}

/// Decides an upload, or returns what must be loaded first. Changes nothing, so it can be called
/// again after loading.
pub(crate) fn decide(held: &LoadedDevice, upload: &Upload) -> Result<Decision, Box<Wants>> {
    let generation = upload.generation;
    let (Some(key), Some(link), Some(commands)) =
        (held.key(generation), &held.link, &held.commands)
    else {
        return Err(Box::new(Wants { device: Some(generation), ..Wants::default() }));
    };
    let Some(key) = key.filter(|key| !key.is_revoked) else {
        return Ok(Decision::Answer(UploadOutcome::UnknownDevice));
    };
    let (last, digest) = link.last(generation);
    let is_repeated = upload.counter == last && digest == Some(upload.digest);
    if upload.counter <= last && !is_repeated {
        return Ok(Decision::Answer(UploadOutcome::Stale { last }));
    }
    let mut epochs = Epochs::of(held, upload, &key)?;
    if is_repeated {
        let pending = pending(held.desired.as_ref(), link.config.as_ref(), generation);
        let leases = lease::pending(held.leases.as_ref(), link.leases.as_ref(), generation);
        let leases = leases.map(Box::new);
        let commands = command::on_the_way(commands, upload.received_at);
        let received = epochs.received();
        let receipt = Receipt { received, pending, leases, commands, ..Receipt::default() };
        return Ok(Decision::Answer(UploadOutcome::Duplicate(receipt)));
    }
    let mut plan = UploadPlan::default();
    plan.command(commands, upload)?;
    plan.announce(held, upload)?;
    plan.take_batches(held, upload, &mut epochs);
    for id in &upload.refused {
        plan.refused += u64::from(epochs.add(*id, 0) == Added::New);
    }
    epochs.lose(upload, link.epoch.max(upload.epoch));
    plan.receipt.received = epochs.received();
    plan.config = upload.reported.config.clone().map(|reported| {
        ConfigReport::next(link.config.as_ref(), generation, upload.received_at, reported)
    });
    let config = plan.config.as_ref().or(link.config.as_ref());
    plan.receipt.pending = pending(held.desired.as_ref(), config, generation);
    if let Some(reported) = upload.reported.leases.clone() {
        plan.leases = Some(LeaseReport {
            key_generation: generation,
            received_at: upload.received_at,
            generation: reported.generation,
            refused: reported.refused,
        });
        plan.limit_changes = reported.changes;
    }
    let leases = plan.leases.as_ref().or(link.leases.as_ref());
    plan.receipt.leases = lease::pending(held.leases.as_ref(), leases, generation).map(Box::new);
    plan.doubtful = epochs.doubtful();
    (plan.lost, plan.received) = (epochs.lost_samples(), epochs.touched());
    plan.join(held, &upload.batches)?;
    Ok(Decision::Take(Box::new(plan)))
}

/// What an accepted upload changes.
#[derive(Debug, Default)]
pub(crate) struct UploadPlan {
    receipt: Receipt,
    /// Streams to announce, as indexes into the upload.
    streams: Vec<usize>,
    /// What the key has announced with them, if the upload announces any.
    announced: Option<KeyStreams>,
    /// Batches to store, as indexes into the upload, and the ids they are stored under.
    taken: Vec<(usize, BatchId)>,
    received: Vec<(BootEpoch, Received)>,
    /// What was received of doubtful epochs, if the upload has anything of them.
    doubtful: Option<IdSpan>,
    refused: u64,
    /// Samples that will never arrive, over all epochs that the upload mentions: before it and
    /// after.
    lost: (u64, u64),
    joins: SortedMap<SourceNumber, Joins>,
    config: Option<ConfigReport>,
    leases: Option<LeaseReport>,
    limit_changes: Vec<LimitChange>,
    commands: Commands,
    moved: Vec<Moved>,
}

impl UploadPlan {
    /// Takes the results that the device reports and chooses what it is sent.
    fn command(&mut self, held: &Commands, upload: &Upload) -> Result<(), Box<Wants>> {
        let message = command::Message {
            at: upload.received_at,
            under: upload.generation,
            out_max: upload.commands_max,
            is_poll: false,
            results: &upload.reported.results,
        };
        let step = command::step(held, message)
            .map_err(|commands| Box::new(Wants { commands, ..Wants::default() }))?;
        let moved = step.moved.iter().map(|moved| MovedCommand {
            device: upload.device,
            number: moved.number,
            state: moved.state,
        });
        self.receipt.moved = moved.collect();
        self.receipt.commands = step.sent;
        self.receipt.ignored_results = step.ignored;
        (self.commands, self.moved) = (step.commands, step.moved);
        Ok(())
    }

    fn announce(&mut self, held: &LoadedDevice, upload: &Upload) -> Result<(), Box<Wants>> {
        let of = |stream: &NewStream| stream.id;
        let lacks = |id: &StreamId| !held.streams.has(id) || held.announced.is_none();
        let streams = upload.streams.iter().map(of).filter(lacks).collect();
        Wants { streams, ..Wants::default() }.or(())?;
        if upload.streams.is_empty() {
            return Ok(());
        }
        let mut announced = held.announced.clone().unwrap_or_default();
        for (place, stream) in upload.streams.iter().enumerate() {
            let of_upload = self.streams.iter().map(|place| &upload.streams[*place]);
            let before = of_upload
                .filter(|before| before.id == stream.id)
                .map(|before| (before.source, &before.layout))
                .next_back();
            let stored = held.streams.get(&stream.id).and_then(Option::as_ref);
            let stored = stored.map(|stored| (stored.source, &stored.layout));
            match before.or(stored) {
                Some(known) if known == (stream.source, &stream.layout) => {}
                None if announced.add(stream.source, &stream.points).is_ok() => {
                    self.streams.push(place);
                }
                _ => self.receipt.unannounced.push(stream.id),
            }
        }
        self.announced = Some(announced);
        Ok(())
    }

    fn take_batches(&mut self, held: &LoadedDevice, upload: &Upload, epochs: &mut Epochs) {
        let receipt = &mut self.receipt;
        // A backlog keeps its order, because counters are joined in the order of ids.
        let before = epochs.doubtful();
        let mut renamed = Vec::new();
        for (place, block) in upload.batches.iter().enumerate() {
            if receipt.unannounced.contains(&block.stream) {
                receipt.deferred.push(block.id);
                continue;
            }
            match epochs.add(block.id, block.rows) {
                Added::New if epochs.may_be_anybodys(block.id.epoch) => {
                    if is_stored(held.bytes.get(&name(block)), block) {
                        receipt.duplicates += 1;
                        continue;
                    }
                    receipt.stored.push(block.id);
                    renamed.push((place, block.id));
                }
                Added::New => {
                    receipt.stored.push(block.id);
                    self.taken.push((place, block.id));
                }
                Added::Known => receipt.duplicates += 1,
                Added::TooManyRanges => receipt.deferred.push(block.id),
            }
        }
        renamed.sort_unstable_by_key(|(_, id)| *id);
        let is_older = |id: &BatchId| before.is_some_and(|span| *id < span.first);
        let (older, others): (Vec<_>, Vec<_>) = renamed.iter().partition(|(_, id)| is_older(id));
        let mut rename = |(place, _): &(usize, BatchId), side| {
            self.taken.push((*place, epochs.name_anew(side, upload.batches[*place].rows)));
        };
        older.into_iter().rev().for_each(|one| rename(one, Side::Before));
        others.into_iter().for_each(|one| rename(one, Side::After));
    }

    /// Joins the accepted batches with their neighbours.
    fn join(&mut self, held: &LoadedDevice, batches: &[NewBlock]) -> Result<(), Box<Wants>> {
        self.lacks(held, batches).or(())?;
        let none = Inverter::default();
        for (place, id) in &self.taken {
            let block = &batches[*place];
            if !is_timed(block) {
                continue;
            }
            let inverter = held.inverters.get(&block.source).unwrap_or(&none);
            let joins = self.joins.entry(block.source);
            let mut wants = InverterWants::default();
            if let Err(around) = joins.join_power(inverter, (block.first, *id), &block.summary) {
                wants.powers.push(around);
            }
            if let Err(around) = joins.join_counter(inverter, *id, &block.summary) {
                wants.counters.push(around);
            }
            let mut all = Wants::default();
            if wants != InverterWants::default() {
                all.inverters.replace(block.source, wants);
            }
            all.or(())?;
        }
        self.lacks(held, batches).or(())
    }

    /// Returns what must be loaded for the roll-ups; the joins need it first.
    fn lacks(&self, held: &LoadedDevice, batches: &[NewBlock]) -> Wants {
        let mut wants = Wants::default();
        for (place, id) in &self.taken {
            let NewBlock { source, first, summary, .. } = &batches[*place];
            if !is_timed(&batches[*place]) {
                continue;
            }
            let Some(inverter) = held.inverters.get(source) else {
                wants.inverters.entry(*source).row = true;
                continue;
            };
            let quarters = summary.quarters.iter().map(|(quarter, _)| *quarter);
            let days = summary.days.iter().map(|(date, _)| *date);
            let joined = self.joins.get(source).into_iter().flat_map(Joins::dates);
            let around = Around { key: (*first, *id), before: 1, after: 1 };
            let powers = summary.power.edges.and_then(|_| inverter.powers.require(around).err());
            let around = joins::around(*id);
            let counters = summary.counter.as_ref();
            let counters = counters.and_then(|_| inverter.counters.require(around).err());
            let lacks = InverterWants {
                row: false,
                quarters: quarters.filter(|at| is_below(&inverter.quarters, at)).collect(),
                days: days.chain(joined).filter(|at| is_below(&inverter.days, at)).collect(),
                counters: counters.into_iter().collect(),
                powers: powers.into_iter().collect(),
            };
            if lacks != InverterWants::default() {
                wants.inverters.entry(*source).also(lacks);
            }
        }
        wants
    }

    /// Updates the state to what it is after the upload; returns the receipt for the device and the
    /// changed rows.
    pub(crate) fn carry_out(
        self,
        held: &mut LoadedDevice,
        mut upload: Upload,
    ) -> (Receipt, Changes) {
        let Self {
            receipt,
            streams,
            announced,
            taken,
            received,
            doubtful,
            refused,
            lost,
            joins,
            config,
            leases,
            limit_changes,
            commands,
            moved,
        } = self;
        let now = upload.received_at;
        let mut changes = Changes { message: true, ..Changes::default() };
        let mut batches: Vec<Option<NewBlock>> = upload.batches.drain(..).map(Some).collect();
        // Each accepted batch is stored under the id that the decision chose, which may differ from
        // the device's.
        let blocks = taken.iter().filter_map(|(place, id)| {
            Some(NewBlock { id: *id, ..batches.get_mut(*place)?.take()? })
        });
        changes.blocks = blocks.collect();

        let link = held.link.get_or_insert_default();
        let duplicates = u64::from(receipt.duplicates);
        note_message(link, &mut upload, &changes.blocks, Counted { duplicates, refused, lost });
        changes.config = config.is_some();
        link.config = config.or(link.config.take());
        changes.leases = leases.is_some();
        link.leases = leases.or(link.leases.take());
        changes.limit_changes = limit_changes;
        held.commands = Some(commands);
        changes.commands = moved;
        for (epoch, set) in received {
            let place = (epoch, upload.generation);
            open(&held.received, &place, &mut changes.received);
            held.received.replace(place, set);
        }
        for (place, stream) in upload.streams.into_iter().enumerate() {
            if streams.contains(&place) {
                let NewStream { id, source, ref layout, .. } = stream;
                held.streams.replace(id, Some(Announced { source, layout: layout.clone() }));
                changes.streams.push(stream);
            }
        }
        held.announced = announced.or(held.announced.take());
        held.doubtful = doubtful.map(Some).or(held.doubtful);
        for block in changes.blocks.iter_mut().filter(|block| is_timed(block)) {
            let summary = std::mem::take(&mut block.summary);
            let inverter = held.inverters.entry(block.source);
            let changed = changes.inverters.entry(block.source);
            let latest = roll_up(inverter, changed, summary);
            inverter.latest.merge(latest, now);
        }
        // The joins were computed by the decision; their results are added.
        for (source, joins) in joins {
            let changed = changes.inverters.entry(source);
            joins.carry_out(held.inverters.entry(source), changed);
        }
        (receipt, changes)
    }
}

/// Adds a batch to its quarter hours and days; returns its newest readings.
fn roll_up(inverter: &mut Inverter, changed: &mut InverterChanges, summary: Summary) -> Latest {
    for (number, quarter) in summary.quarters {
        open(&inverter.quarters, &number, &mut changed.quarters);
        inverter.quarters.add(number, quarter, Quarter::merge);
    }
    for (date, day) in summary.days {
        open(&inverter.days, &date, &mut changed.days);
        inverter.days.add(date, day, Day::merge);
    }
    summary.latest
}

/// Adds a stored block to roll-ups that are being rebuilt; returns the changed rows, or what must
/// be loaded first. The newest readings stay as they are: which one counts as the newest also
/// depends on when they arrived, and blocks do not record that.
pub(crate) fn replay(held: &mut LoadedDevice, block: &NewBlock) -> Result<Changes, Box<Wants>> {
    let mut plan = UploadPlan { taken: vec![(0, block.id)], ..UploadPlan::default() };
    let mut changes = Changes::default();
    if !is_timed(block) {
        return Ok(changes);
    }
    plan.join(held, std::slice::from_ref(block))?;
    let inverter = held.inverters.entry(block.source);
    let changed = changes.inverters.entry(block.source);
    roll_up(inverter, changed, block.summary.clone());
    for (_, joins) in plan.joins {
        joins.carry_out(inverter, changed);
    }
    Ok(changes)
}

/// Returns whether a row may be stored although it is not held: no row exists above the last one
/// held.
fn is_below<K: Ord, V>(held: &SortedMap<K, V>, key: &K) -> bool {
    !held.has(key) && held.last().is_some_and(|(last, _)| key < last)
}

/// Prepares a row for a change. The last row of its kind is part of its owner's row; if this one
/// becomes the last, the previous last one gets a row of its own.
fn open<K: Ord + Copy, V>(held: &SortedMap<K, V>, key: &K, changed: &mut SortedMap<K, ()>) {
    if let Some((last, _)) = held.last().filter(|(last, _)| *last < key) {
        changed.replace(*last, ());
    }
    changed.replace(*key, ());
}

impl InverterWants {
    fn also(&mut self, more: Self) {
        self.row |= more.row;
        self.quarters.extend(more.quarters);
        self.days.extend(more.days);
        self.counters.extend(more.counters);
        self.powers.extend(more.powers);
        self.quarters.sort_unstable();
        self.quarters.dedup();
        self.days.sort_unstable();
        self.days.dedup();
    }
}

/// What a message adds to its device's counters.
struct Counted {
    duplicates: u64,
    refused: u64,
    lost: (u64, u64),
}

fn note_message(link: &mut LoadedLink, upload: &mut Upload, stored: &[NewBlock], counted: Counted) {
    let Counted { duplicates, refused, lost: (lost_before, lost_after) } = counted;
    let now = upload.received_at;
    let newest = |at: &UnixMs| newness(*at, now);
    let timed = stored.iter().filter(|block| is_timed(block)).map(|block| block.last);
    link.generation = upload.generation;
    link.counter = upload.counter;
    link.digest = Some(upload.digest);
    link.last_seen = link.last_seen.max(now);
    link.last_sample = link.last_sample.into_iter().chain(timed).max_by_key(newest);
    link.epoch = link.epoch.max(upload.epoch);
    link.memory = upload.memory.take();
    link.messages += 1;
    link.batches += u64::try_from(stored.len()).unwrap_or(u64::MAX);
    link.samples += stored.iter().map(|block| u64::from(block.rows)).sum::<u64>();
    link.duplicates += duplicates;
    link.refused += refused;
    link.dropped_samples =
        link.dropped_samples.saturating_sub(lost_before).saturating_add(lost_after);
    link.bytes += u64::from(upload.size_bytes);
    let DeviceReport { firmware, diagnostics, inverters, config: _, leases: _, results: _ } =
        std::mem::take(&mut upload.reported);
    link.firmware = firmware.or(link.firmware.take());
    let held = std::mem::take(&mut link.reported);
    link.reported = SelfReport {
        inverters: inverters.unwrap_or(held.inverters),
        diagnostics: diagnostics.unwrap_or(held.diagnostics),
    };
}

/// Rows to write: those that are added, and the keys of those that have changed, whose values are
/// in the device's state. The row of each inverter named here changes, too; it contains the last
/// quarter hour and day, as the device's own row contains the last received set.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) streams: Vec<NewStream>,
    /// Without their summaries.
    pub(crate) blocks: Vec<NewBlock>,
    pub(crate) received: SortedMap<(BootEpoch, KeyGeneration), ()>,
    pub(crate) inverters: SortedMap<SourceNumber, InverterChanges>,
    /// Whether it was a message, which changes the device's own row.
    pub(crate) message: bool,
    /// Whether the device reported its configuration.
    pub(crate) config: bool,
    /// Whether it reported its leases.
    pub(crate) leases: bool,
    pub(crate) limit_changes: Vec<LimitChange>,
    /// Commands that changed their state, in order.
    pub(crate) commands: Vec<Moved>,
}

/// Rows of one inverter.
#[derive(Debug, Default)]
pub(crate) struct InverterChanges {
    pub(crate) quarters: SortedMap<i64, ()>,
    pub(crate) days: SortedMap<LocalDate, ()>,
    pub(crate) counters: SortedMap<BatchId, ()>,
    pub(crate) powers: SortedMap<Place, ()>,
    /// In the order in which they apply.
    pub(crate) gaps: Vec<GapChange>,
}

impl Changes {
    /// Merges the changes of a later upload of the same device.
    pub(crate) fn also(&mut self, later: Self) {
        let keep = |(): &mut (), ()| ();
        self.streams.extend(later.streams);
        self.blocks.extend(later.blocks);
        self.received.merge(later.received, keep);
        self.message |= later.message;
        self.config |= later.config;
        self.leases |= later.leases;
        self.limit_changes.extend(later.limit_changes);
        self.commands.extend(later.commands);
        self.inverters.merge(later.inverters, |held, later| {
            held.quarters.merge(later.quarters, keep);
            held.days.merge(later.days, keep);
            held.counters.merge(later.counters, keep);
            held.powers.merge(later.powers, keep);
            held.gaps.extend(later.gaps);
        });
    }
}

fn name(block: &NewBlock) -> BlockName {
    BlockName { source: block.source, first: block.first, id: block.id }
}

/// Returns whether a batch is the one that was found under its name. One without any edge whose time
/// has expired counts as stored: it has no energy to lose, and must not be counted twice.
fn is_stored(found: Option<&BatchLookup>, block: &NewBlock) -> bool {
    match found {
        Some(BatchLookup::Held(bytes)) => *bytes == block.bytes,
        Some(BatchLookup::Expired { power, counter }) => {
            *power == block.summary.power.edges && *counter == block.summary.counter
        }
        Some(BatchLookup::Absent) | None => false,
    }
}

/// Returns whether a block's times are plausible. A block from a clock far off is kept as received
/// and counts nowhere: it would be the newest for years, and the time up to it would be a gap.
fn is_timed(block: &NewBlock) -> bool {
    block.time_quality != TimeQuality::Suspect
}

#[cfg(test)]
mod tests;

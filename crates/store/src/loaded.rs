//! The part of a device's stored state that is in memory while an upload is decided.
//!
//! It holds what was loaded, and what is not held is never assumed to be absent: the decision
//! returns what it lacks ([`crate::ingest::Wants`]), and an engine loads it. Held rows equal what
//! the database would answer, including changes of the current transaction. No SQL and no I/O.

use ecowatt_model::{BatchId, BootEpoch, Counter, KeyGeneration, SourceNumber, UnixMs};

use crate::command::Commands;
use crate::configuration::{ConfigReport, Desired};
use crate::energy::PowerEdges;
use crate::energy_counter::{CounterBatch, CounterEdge};
use crate::ids::LocalDate;
use crate::ids::StreamId;
use crate::key_streams::KeyStreams;
use crate::latest::Latest;
use crate::lease::{DesiredLeases, LeaseReport};
use crate::received_set::Received;
use crate::rollup::{Day, Quarter};
use crate::self_report::SelfReport;
use crate::sorted_map::SortedMap;

/// Received sets that are kept between groups: of the device's current boot epoch, and of those
/// whose spooled batches it is still sending.
const RECEIVED_KEPT: usize = 4;

/// Days of an inverter that are kept between groups; around midnight batches belong to two.
const DAYS_KEPT: usize = 2;

/// The rows of a device that its messages are decided on, as far as they were loaded.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct LoadedDevice {
    /// The key that was last looked up; the inner `None` if it does not exist. The control plane
    /// may change it.
    pub(crate) key: Option<(KeyGeneration, Option<KeyState>)>,
    /// The desired configuration, if there is one. Valid while the key is held: the control plane
    /// may change it.
    pub(crate) desired: Option<Desired>,
    /// The leases, if there were ever any. Valid like the desired configuration.
    pub(crate) leases: Option<DesiredLeases>,
    /// Valid as long as it is held: the control plane may change it.
    pub(crate) commands: Option<Commands>,
    pub(crate) link: Option<LoadedLink>,
    /// Received sets by epoch and key. Once the link is held, the last of all is, too.
    pub(crate) received: SortedMap<(BootEpoch, KeyGeneration), Received>,
    /// Received sets of an epoch under earlier keys that still count.
    pub(crate) former: SortedMap<(BootEpoch, KeyGeneration), Vec<Received>>,
    /// Batches that were looked up to recognise them.
    pub(crate) bytes: SortedMap<BlockName, BatchLookup>,
    /// What was received under the key of epochs in which another device may have used ids; the
    /// inner `None` if nothing was.
    pub(crate) doubtful: Option<Option<IdSpan>>,
    pub(crate) streams: SortedMap<StreamId, Option<Announced>>,
    /// What was announced under the key.
    pub(crate) announced: Option<KeyStreams>,
    /// The inverters that were looked up.
    pub(crate) inverters: SortedMap<SourceNumber, Inverter>,
}

/// The part of a device's key that messages are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeyState {
    pub(crate) is_revoked: bool,
    /// The first boot epoch granted with this key.
    pub(crate) first_epoch: BootEpoch,
    /// Reports under keys up to this generation are ignored, and ids of batches in epochs below
    /// this one may have been used by another device.
    pub(crate) forgotten: (KeyGeneration, BootEpoch),
}

/// First and last of some batches, in the order in which they were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdSpan {
    pub(crate) first: BatchId,
    pub(crate) last: BatchId,
}

impl IdSpan {
    pub(crate) fn of(id: BatchId) -> Self {
        Self { first: id, last: id }
    }

    /// Returns the span of this one and another batch.
    pub(crate) fn with(self, id: BatchId) -> Self {
        Self { first: self.first.min(id), last: self.last.max(id) }
    }
}

/// What is known from a device's messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LoadedLink {
    /// The key of the last message, its counter, and its digest.
    pub(crate) generation: KeyGeneration,
    pub(crate) counter: Counter,
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) last_seen: UnixMs,
    pub(crate) last_sample: Option<UnixMs>,
    /// The boot epoch that the device is in.
    pub(crate) epoch: BootEpoch,
    pub(crate) messages: u64,
    pub(crate) batches: u64,
    pub(crate) samples: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) dropped_samples: u64,
    pub(crate) bytes: u64,
    pub(crate) firmware: Option<String>,
    pub(crate) reported: SelfReport,
    pub(crate) config: Option<ConfigReport>,
    /// What the protocol of the last message keeps for the next one.
    pub(crate) memory: Option<Vec<u8>>,
    pub(crate) leases: Option<LeaseReport>,
}

impl LoadedLink {
    /// Returns the last counter accepted under a key, and the digest of its message.
    pub(crate) fn last(&self, generation: KeyGeneration) -> (Counter, Option<[u8; 32]>) {
        if self.generation == generation { (self.counter, self.digest) } else { Default::default() }
    }
}

/// The key of a stored block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockName {
    pub(crate) source: SourceNumber,
    pub(crate) first: UnixMs,
    pub(crate) id: BatchId,
}

/// Result of looking a batch up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BatchLookup {
    /// Its bytes.
    Held(Vec<u8>),
    Absent,
    /// Retention has removed batches of its time. If it was one of them, these are its edges, which
    /// stay.
    Expired {
        power: Option<PowerEdges>,
        counter: Option<CounterBatch>,
    },
}

/// A stream as it was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) source: SourceNumber,
    pub(crate) layout: Vec<u8>,
}

/// One inverter: the last row of each kind, which its next batch is added to, and other loaded
/// rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Inverter {
    pub(crate) latest: Latest,
    /// The last one is open: it has no row of its own until another begins.
    pub(crate) quarters: SortedMap<i64, Quarter>,
    /// Like quarter hours, the last one is open.
    pub(crate) days: SortedMap<LocalDate, Day>,
    /// In the order in which the counter was read.
    pub(crate) counters: Edges<BatchId, CounterEdge>,
    /// In the order of time.
    pub(crate) powers: Edges<Place, PowerEdges>,
}

/// Position of a block among those of its inverter by time.
pub(crate) type Place = (UnixMs, BatchId);

impl LoadedDevice {
    /// Returns the key of a generation; `None` if it has not been looked up.
    pub(crate) fn key(&self, generation: KeyGeneration) -> Option<Option<KeyState>> {
        self.key.filter(|(held, _)| *held == generation).map(|(_, key)| key)
    }

    /// Returns a received set; `None` if it has not been looked up. Above the last one of all,
    /// nothing was received.
    pub(crate) fn received(&self, place: (BootEpoch, KeyGeneration)) -> Option<Received> {
        let is_above = || self.received.last().is_none_or(|(last, _)| *last < place);
        self.received.get(&place).cloned().or_else(|| is_above().then(Received::default))
    }

    /// Must be called before a change of the control plane, which may touch keys, the desired
    /// configuration, commands and streams.
    pub(crate) fn forget_key(&mut self) {
        self.key = None;
        self.desired = None;
        self.leases = None;
        self.commands = None;
        self.doubtful = None;
        self.streams = SortedMap::default();
        self.announced = None;
    }

    /// Drops what the device's next message will hardly need.
    pub(crate) fn trim(&mut self) {
        self.received.keep_last(RECEIVED_KEPT);
        self.former = SortedMap::default();
        self.bytes = SortedMap::default();
        self.doubtful = None;
        self.streams = SortedMap::default();
        self.announced = None;
        self.inverters.iter_mut().for_each(|(_, inverter)| inverter.trim());
        self.commands.iter_mut().for_each(Commands::trim);
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        let report = self.link.as_ref().map_or(0, |link| {
            link.reported.weight() + link.config.as_ref().map_or(0, ConfigReport::weight)
        });
        let desired = self.desired.as_ref().map_or(0, |desired| desired.settings.weight());
        let leases = self.leases.as_ref().map_or(0, |leases| size_of_val(&leases.leases[..]));
        let inverters = self.inverters.iter().map(|(_, inverter)| inverter.weight());
        size_of::<Self>()
            + RECEIVED_KEPT * size_of::<Received>()
            + report
            + desired
            + leases
            + self.commands.as_ref().map_or(0, Commands::weight)
            + inverters.sum::<usize>()
    }
}

impl Inverter {
    /// Drops what the next batch will hardly need.
    pub(crate) fn trim(&mut self) {
        self.quarters.keep_last(1);
        self.days.keep_last(DAYS_KEPT);
        self.counters.trim();
        self.powers.trim();
    }

    fn weight(&self) -> usize {
        let quarters: usize = self.quarters.iter().map(|(_, quarter)| quarter.weight()).sum();
        let days: usize = self.days.iter().map(|(_, day)| day.weight()).sum();
        let latest = self.latest.weight();
        let edges = size_of::<CounterEdge>() + size_of::<(Place, PowerEdges)>();
        size_of::<Self>() + quarters + days + latest + edges
    }
}

/// The held edges of an inverter's blocks, and the stretches in which every existing edge is held.
/// The last edge held is the last that exists; if none is held, none exists.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edges<K, V> {
    pub(crate) held: SortedMap<K, V>,
    known: Vec<Around<K>>,
}

impl<K, V> Default for Edges<K, V> {
    fn default() -> Self {
        Self { held: SortedMap::default(), known: Vec::new() }
    }
}

/// A number of edges on either side of a key, or fewer if fewer exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Around<K> {
    pub(crate) key: K,
    pub(crate) before: u32,
    pub(crate) after: u32,
}

impl<K: Copy + Ord, V> Edges<K, V> {
    /// Checks that everything of a stretch is held; otherwise returns what must be loaded first.
    pub(crate) fn require(&self, wanted: Around<K>) -> Result<(), Around<K>> {
        let covers = |known: &Around<K>| {
            known.key == wanted.key && known.before >= wanted.before && known.after >= wanted.after
        };
        if self.known.iter().any(covers) {
            return Ok(());
        }
        match self.held.last() {
            None => Ok(()),
            Some((newest, _)) if wanted.before <= 1 && *newest < wanted.key => Ok(()),
            Some(_) => Err(wanted),
        }
    }

    /// Adds what an engine found in a stretch, in any order. What is held already stays: it may
    /// have changed since.
    pub(crate) fn loaded(&mut self, around: Around<K>, found: impl IntoIterator<Item = (K, V)>) {
        self.held.merge(found, |_, _| ());
        self.known.push(around);
    }

    /// Drops all but the newest edge.
    fn trim(&mut self) {
        self.known = Vec::new();
        self.held.keep_last(1);
    }
}

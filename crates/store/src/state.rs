//! What the store holds of one device while it decides on what the device sent.
//!
//! Of everything that is stored of a device this is as much as was loaded, and what is not held is not
//! taken for absent: whoever decides says what it lacks ([`crate::ingest::Wants`]), and an engine
//! loads it. What is held is what the database answers, changes of the transaction at hand included.
//! No SQL and no I/O.

use ecowatt_model::{BatchId, BootEpoch, Counter, KeyGeneration, SourceNumber, UnixMs};

use crate::ascending::Ascending;
use crate::counter::CounterEdge;
use crate::energy::PowerEdges;
use crate::latest::Latest;
use crate::received::Received;
use crate::reported::SelfReport;
use crate::rollup::{Day, LocalDate, Quarter};
use crate::telemetry::StreamId;

/// Received sets that are kept between groups: of the boot epoch that a device is in, and of those
/// whose spool it works off.
const RECEIVED_KEPT: usize = 4;

/// Days of an inverter that are kept between groups; around midnight batches are of two.
const DAYS_KEPT: usize = 2;

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct DeviceState {
    /// The key last asked for, if there is such a key. The control plane may change it.
    pub(crate) key: Option<(KeyGeneration, Option<KeyState>)>,
    pub(crate) link: Option<LinkState>,
    /// What was received of an epoch under a key. Once the link is held, the last of all is, too.
    pub(crate) received: Ascending<(BootEpoch, KeyGeneration), Received>,
    /// What was received of an epoch under the keys before this one that are still believed.
    pub(crate) former: Ascending<(BootEpoch, KeyGeneration), Vec<Received>>,
    /// Bytes of stored batches that are looked for; none where there is no such batch.
    pub(crate) bytes: Ascending<BlockName, Option<Vec<u8>>>,
    pub(crate) streams: Ascending<StreamId, Option<Announced>>,
    /// How many streams were announced under the key.
    pub(crate) streams_of_key: Option<u32>,
    /// Those that were looked for.
    pub(crate) inverters: Ascending<SourceNumber, Inverter>,
}

/// The part of a device's key that a message is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeyState {
    pub(crate) is_revoked: bool,
    /// The first boot epoch that was granted with it.
    pub(crate) first_epoch: BootEpoch,
    /// What was reported under keys up to this generation is not believed, and names of batches in
    /// epochs below this one may be anybody's.
    pub(crate) forgotten: (KeyGeneration, BootEpoch),
}

/// What a device's messages have shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LinkState {
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
}

impl LinkState {
    /// The last counter accepted under a key, and the digest of the message that had it.
    pub(crate) fn last(&self, generation: KeyGeneration) -> (Counter, Option<[u8; 32]>) {
        if self.generation == generation { (self.counter, self.digest) } else { Default::default() }
    }
}

/// Where a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockName {
    pub(crate) source: SourceNumber,
    pub(crate) first: UnixMs,
    pub(crate) id: BatchId,
}

/// A stream as it was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) source: SourceNumber,
    pub(crate) layout: Vec<u8>,
}

/// One inverter: what its next batch is added to, which is the last of everything, and what else was
/// loaded.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Inverter {
    pub(crate) latest: Latest,
    /// The last one is open: it has no row of its own until another begins.
    pub(crate) quarters: Ascending<i64, Quarter>,
    /// As with quarter hours.
    pub(crate) days: Ascending<LocalDate, Day>,
    /// In the order in which the counter was read.
    pub(crate) counters: Edges<BatchId, CounterEdge>,
    /// In the order of time.
    pub(crate) powers: Edges<Place, PowerEdges>,
}

/// Where a block stands among those of its inverter by time.
pub(crate) type Place = (UnixMs, BatchId);

impl DeviceState {
    /// The key of a generation; `None` while it is not known whether there is one.
    pub(crate) fn key(&self, generation: KeyGeneration) -> Option<Option<KeyState>> {
        self.key.filter(|(held, _)| *held == generation).map(|(_, key)| key)
    }

    /// What was received; `None` while it is not known. Nothing was of what is above the last of all.
    pub(crate) fn received(&self, place: (BootEpoch, KeyGeneration)) -> Option<Received> {
        let is_above = || self.received.last().is_none_or(|(last, _)| *last < place);
        self.received.get(&place).cloned().or_else(|| is_above().then(Received::default))
    }

    /// Before a change of the control plane, which may touch keys and streams.
    pub(crate) fn forget_key(&mut self) {
        self.key = None;
        self.streams = Ascending::default();
        self.streams_of_key = None;
    }

    /// Forgets what the device's next message will hardly need.
    pub(crate) fn trim(&mut self) {
        self.received.keep_last(RECEIVED_KEPT);
        self.former = Ascending::default();
        self.bytes = Ascending::default();
        self.streams = Ascending::default();
        self.streams_of_key = None;
        self.inverters.iter_mut().for_each(|(_, inverter)| inverter.trim());
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        let report = self.link.as_ref().map_or(0, |link| link.reported.weight());
        let inverters = self.inverters.iter().map(|(_, inverter)| inverter.weight());
        size_of::<Self>()
            + RECEIVED_KEPT * size_of::<Received>()
            + report
            + inverters.sum::<usize>()
    }
}

impl Inverter {
    /// Forgets what the next batch will hardly need.
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

/// Edges of an inverter's blocks that are held, and of which stretches they are all there are. The
/// last one held is the last there is; if none is held, there is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edges<K, V> {
    pub(crate) held: Ascending<K, V>,
    known: Vec<Around<K>>,
}

impl<K, V> Default for Edges<K, V> {
    fn default() -> Self {
        Self { held: Ascending::default(), known: Vec::new() }
    }
}

/// A number of edges on either side of a key, if there are so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Around<K> {
    pub(crate) key: K,
    pub(crate) before: u32,
    pub(crate) after: u32,
}

impl<K: Copy + Ord, V> Edges<K, V> {
    /// Whether everything of a stretch is held; otherwise what is to be loaded first.
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

    /// Takes in what an engine found of a stretch, in any order. What is held already stays: it may
    /// have been changed since.
    pub(crate) fn loaded(&mut self, around: Around<K>, found: impl IntoIterator<Item = (K, V)>) {
        self.held.merge(found, |_, _| ());
        self.known.push(around);
    }

    /// Forgets all but the newest one.
    fn trim(&mut self) {
        self.known = Vec::new();
        self.held.keep_last(1);
    }
}

//! Caches the layouts that devices announced. Devices of one model share one layout in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_clock::Clock;
use ecowatt_model::{DeviceNumber, SourceNumber, StreamNumber, UnixMs, is_plain};
use ecowatt_profile::Layout;
use ecowatt_store::{
    AnnounceError, EnergyPoint, EnergyPoints, NewStream, PointDef, PointId, Store, StoreError,
    StreamId, StreamPoints,
};

use super::quota::Cost;
use super::sender::Sender;

/// Streams cached at once, about 100 bytes each; beyond that the cache is emptied.
const STREAMS_MAX: usize = 262_144;

/// Layouts cached at once, about 10 KiB each; likewise.
const LAYOUTS_MAX: usize = 1024;

/// A layout, and the store's ids of its points.
#[derive(Debug)]
pub(super) struct Decoding {
    pub(super) layout: Layout,
    pub(super) points: Vec<PointId>,
    pub(super) energy: EnergyPoints,
}

/// A device's announcement of what a stream number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) number: StreamNumber,
    pub(super) source: SourceNumber,
    /// The layout's CBOR.
    pub(super) layout: Vec<u8>,
}

/// What a stream number of a device stands for.
#[derive(Debug, Clone)]
pub(super) struct KnownStream {
    pub(super) source: SourceNumber,
    pub(super) decoding: Arc<Decoding>,
}

#[derive(Debug, Default)]
struct CachedStreams {
    streams: HashMap<(DeviceNumber, StreamId), KnownStream>,
    layouts: HashMap<Vec<u8>, Arc<Decoding>>,
}

/// A cache in front of the store, which keeps every stream.
#[derive(Debug)]
pub(super) struct Streams {
    store: Store,
    clock: Clock,
    held: Mutex<CachedStreams>,
}

/// Result of checking an announcement.
#[derive(Debug)]
pub(super) enum Announced {
    /// The stream was announced before with the same layout.
    Before,
    New(NewStream, KnownStream),
    /// Its layout cannot be used, or the stream already has another.
    Refused,
}

impl Streams {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, held: Mutex::default() }
    }

    /// Checks an announcement. The first announcement of a stream counts: a device never uses one
    /// number for two layouts. A new one is stored with its message, if that is accepted.
    pub(super) async fn look(
        &self,
        sender: &Sender,
        stream: &Announcement,
        at: UnixMs,
    ) -> Result<Announced, StoreError> {
        let (device, id) = (sender.device, sender.stream(stream.number));
        let refuse = |why: &dyn std::fmt::Display| {
            if let Some(others) = sender.refused_line.allow(self.clock.mono()) {
                let stream = stream.number;
                tracing::warn!(%device, %stream, %why, others, "stream announcement refused");
            }
            Ok(Announced::Refused)
        };
        let layout = match Layout::from_cbor(&stream.layout) {
            Ok(layout) => layout,
            Err(error) => return refuse(&error),
        };
        if !is_plain_text(&layout) {
            return refuse(&"a name or label has control characters");
        }
        // The first layout of a number stays, or blocks of it would be decoded with another one.
        if let Some(held) = self.find(sender, stream.number).await? {
            if held.source == stream.source && held.decoding.layout == layout {
                return Ok(Announced::Before);
            }
            return refuse(&AnnounceError::OtherLayout);
        }
        sender.account.charge(Cost::of_announcement());
        let points = layout.points().iter().map(|point| PointDef {
            name: point.name.clone(),
            unit: point.unit,
            exponent: point.exponent,
        });
        let new = NewStream {
            id,
            source: stream.source,
            layout: stream.layout.clone(),
            points: points.collect(),
            at,
        };
        match self.store.check_limits(device, &new).await {
            Ok(()) => {}
            Err(AnnounceError::Store(error)) => return Err(error),
            Err(error) => return refuse(&error),
        }
        // The layout is stored before the message is accepted: decoding its batches needs the point
        // ids.
        let held = self.lock().layouts.get(&stream.layout).cloned();
        let decoding = match held {
            Some(decoding) => decoding,
            None => {
                sender.account.charge(Cost::of_layout(new.layout.len(), new.points.len()));
                let points = self.store.enter_layout(new.clone()).await?;
                self.share(&stream.layout, || Decoding::new(layout, points))
            }
        };
        Ok(Announced::New(new, KnownStream { source: stream.source, decoding }))
    }

    /// Notes that a new stream is stored.
    pub(super) fn accepted(&self, device: DeviceNumber, id: StreamId, stream: KnownStream) {
        self.hold(device, id, stream);
    }

    pub(super) async fn find(
        &self,
        sender: &Sender,
        number: StreamNumber,
    ) -> Result<Option<KnownStream>, StoreError> {
        let (device, id) = (sender.device, sender.stream(number));
        if let Some(known) = self.lock().streams.get(&(device, id)) {
            return Ok(Some(known.clone()));
        }
        let found = self.store.find_stream(device, id).await?;
        let Some(StreamPoints { stream, points }) = found else { return Ok(None) };
        let layout =
            Layout::from_cbor(&stream.layout).map_err(|_| StoreError::Corrupt("layout"))?;
        let decoding = self.share(&stream.layout, || Decoding::new(layout, points));
        let known = KnownStream { source: stream.source, decoding };
        self.hold(device, id, known.clone());
        Ok(Some(known))
    }

    fn share(&self, cbor: &[u8], make: impl FnOnce() -> Decoding) -> Arc<Decoding> {
        let mut held = self.lock();
        if let Some(decoding) = held.layouts.get(cbor) {
            return Arc::clone(decoding);
        }
        if held.layouts.len() >= LAYOUTS_MAX {
            held.layouts.clear();
        }
        let decoding = Arc::new(make());
        held.layouts.insert(cbor.to_vec(), Arc::clone(&decoding));
        decoding
    }

    fn hold(&self, device: DeviceNumber, id: StreamId, known: KnownStream) {
        let mut held = self.lock();
        if held.streams.len() >= STREAMS_MAX {
            held.streams.clear();
        }
        held.streams.insert((device, id), known);
    }

    fn lock(&self) -> MutexGuard<'_, CachedStreams> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all texts of a layout can be shown as they are.
fn is_plain_text(layout: &Layout) -> bool {
    let points = layout.points().iter();
    let shown = points.flat_map(|point| {
        let labels = point.labels.iter().map(|label| label.text.as_str());
        labels.chain([point.name.as_str()])
    });
    shown.chain([layout.profile()]).all(|text| text.chars().all(is_plain))
}

impl Decoding {
    pub(super) fn new(layout: Layout, points: Vec<PointId>) -> Self {
        let roles = layout.roles();
        let place = |role: Option<usize>| {
            let index = role?;
            Some(EnergyPoint { index, exponent: layout.points().get(index)?.exponent })
        };
        let energy = EnergyPoints {
            power: place(roles.ac_power),
            counter: place(roles.energy_total),
            rated_w: layout.rated_w(),
        };
        Self { layout, points, energy }
    }
}

//! Layouts that devices announced. Devices of one model share one layout in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_envelope::Kid;
use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_profile::Layout;
use ecowatt_store::{
    AnnounceError, EnergyPoints, NewStream, PointDef, PointId, Store, StoreError, StreamId,
};

/// Streams held at once, of about 100 bytes each; beyond that all are forgotten and found again.
const STREAMS_MAX: usize = 262_144;

/// Layouts held at once, of some 10 KiB each; likewise.
const LAYOUTS_MAX: usize = 1024;

/// A layout and what the store calls its points.
#[derive(Debug)]
pub(super) struct Decoding {
    pub(super) layout: Layout,
    pub(super) points: Vec<PointId>,
    pub(super) energy: EnergyPoints,
}

/// What a stream number of a device stands for.
#[derive(Debug, Clone)]
pub(super) struct KnownStream {
    pub(super) source: SourceNumber,
    pub(super) decoding: Arc<Decoding>,
}

#[derive(Debug, Default)]
struct Held {
    streams: HashMap<(DeviceNumber, StreamId), KnownStream>,
    layouts: HashMap<Vec<u8>, Arc<Decoding>>,
}

/// A cache in front of the store, which has every stream for good.
#[derive(Debug)]
pub(super) struct Streams {
    store: Store,
    held: Mutex<Held>,
}

impl Streams {
    pub(super) fn new(store: Store) -> Self {
        Self { store, held: Mutex::default() }
    }

    /// Stores an announcement; says whether its layout can be used. The first announcement of a
    /// stream stands: a device never gives a number to two layouts.
    pub(super) async fn announce(
        &self,
        kid: Kid,
        stream: ecowatt_wire::Stream<'_>,
        at: UnixMs,
    ) -> Result<bool, StoreError> {
        let device = kid.device;
        let id = StreamId::new(kid.generation, stream.number);
        // The store compares too; this spares it the question.
        if let Some(known) = self.lock().streams.get(&(device, id)) {
            let is_same = known.source == stream.source
                && Layout::from_cbor(stream.layout)
                    .is_ok_and(|layout| layout == known.decoding.layout);
            if !is_same {
                tracing::warn!(%device, stream = %stream.number, "stream announced with two layouts");
            }
            return Ok(is_same);
        }
        let layout = match Layout::from_cbor(stream.layout) {
            Ok(layout) => layout,
            Err(error) => {
                tracing::warn!(%device, stream = %stream.number, %error, "layout refused");
                return Ok(false);
            }
        };
        let points = layout.points().iter().map(|point| PointDef {
            name: point.name.clone(),
            unit: point.unit,
            exponent: point.exponent,
        });
        let announced = NewStream {
            id,
            source: stream.source,
            layout: stream.layout.to_vec(),
            points: points.collect(),
            at,
        };
        match self.store.announce(device, announced).await {
            Ok(points) => {
                let decoding = self.share(stream.layout, || Decoding::new(layout, points));
                self.hold(device, id, stream.source, decoding);
                Ok(true)
            }
            Err(AnnounceError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(%device, stream = %stream.number, %error, "stream refused");
                Ok(false)
            }
        }
    }

    pub(super) async fn find(
        &self,
        device: DeviceNumber,
        id: StreamId,
    ) -> Result<Option<KnownStream>, StoreError> {
        if let Some(known) = self.lock().streams.get(&(device, id)) {
            return Ok(Some(known.clone()));
        }
        let Some((stream, points)) = self.store.find_stream(device, id).await? else {
            return Ok(None);
        };
        let layout =
            Layout::from_cbor(&stream.layout).map_err(|_| StoreError::Corrupt("layout"))?;
        let decoding = self.share(&stream.layout, || Decoding::new(layout, points));
        Ok(Some(self.hold(device, id, stream.source, decoding)))
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

    fn hold(
        &self,
        device: DeviceNumber,
        id: StreamId,
        source: SourceNumber,
        decoding: Arc<Decoding>,
    ) -> KnownStream {
        let known = KnownStream { source, decoding };
        let mut held = self.lock();
        if held.streams.len() >= STREAMS_MAX {
            held.streams.clear();
        }
        held.streams.insert((device, id), known.clone());
        known
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decoding {
    fn new(layout: Layout, points: Vec<PointId>) -> Self {
        let roles = layout.roles();
        let place = |role: Option<usize>| {
            let place = role?;
            Some((place, layout.points().get(place)?.exponent))
        };
        let energy = EnergyPoints {
            power: place(roles.ac_power),
            counter: place(roles.energy_total),
            rated_w: None,
        };
        Self { layout, points, energy }
    }
}

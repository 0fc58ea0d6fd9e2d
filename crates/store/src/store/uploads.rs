//! Streams, uploads and packs.

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};

use crate::audit::Audited;
use crate::sqlite::stream::NewStreamOf;
use crate::sqlite::{rebuild, stream};
use crate::{
    AnnounceError, Author, Block, NewStream, Point, PointId, Rebuilt, Store, StoreError, Stream,
    StreamId, StreamPoints, Summary, Upload, UploadOutcome,
};

/// Streams and uploads.
impl Store {
    /// Rebuilds the roll-ups of a device (minutes, quarter hours, days, energy and its gaps) from
    /// its blocks, in one transaction. Without a [`Author`] it only reports what would change.
    /// `summarise` decodes a block; blocks that it cannot decode are left out. Other writes wait
    /// until the rebuild is done.
    pub async fn rebuild(
        &self,
        by: Option<Author>,
        device: DeviceNumber,
        mut summarise: impl FnMut(&Block) -> Option<Summary> + Send + 'static,
    ) -> Result<Rebuilt, StoreError> {
        let is_check = by.is_none();
        let by = by.unwrap_or_else(|| Author::new("check", UnixMs(0)));
        self.sqlite()
            .rewrite(
                Audited::new(by, "device.rebuild"),
                move |db, _| rebuild::rebuild(db, device, is_check, &mut summarise),
                move |rebuilt: &Rebuilt| {
                    (!is_check && rebuilt.rows_changed > 0).then(|| device.to_string())
                },
            )
            .await
    }

    /// Stores a stream's layout; repeating the same announcement changes nothing. Returns the
    /// dictionary's ids of the layout's points, in the order of the layout.
    pub async fn announce(
        &self,
        device: DeviceNumber,
        stream: NewStream,
    ) -> Result<Vec<PointId>, AnnounceError> {
        self.sqlite().write(move |db| stream::announce(db, &NewStreamOf { device, stream })).await
    }

    /// Adds a stream's layout to the dictionary shared by all devices, without announcing the
    /// stream. Returns the ids of its points, in the order of the layout.
    pub async fn enter_layout(&self, stream: NewStream) -> Result<Vec<PointId>, StoreError> {
        self.sqlite().write(move |db| stream::enter_layout(db, &stream)).await
    }

    /// Checks whether a stream that the device has not announced is within the limits of its key.
    ///
    /// # Errors
    /// If it is not, or the store fails.
    pub async fn check_limits(
        &self,
        device: DeviceNumber,
        stream: &NewStream,
    ) -> Result<(), AnnounceError> {
        let id = stream.id;
        let announced = self.sqlite().look_up(move |db| stream::announced(db, device, id)).await;
        announced?.add(stream.source, &stream.points)
    }

    pub async fn list_streams(&self, device: DeviceNumber) -> Result<Vec<Stream>, StoreError> {
        self.sqlite().read(move |db| stream::list_streams(db, device)).await
    }

    /// Returns a stream and the dictionary's ids of its points, in the order of the layout.
    pub async fn find_stream(
        &self,
        device: DeviceNumber,
        id: StreamId,
    ) -> Result<Option<StreamPoints>, StoreError> {
        self.sqlite().look_up(move |db| stream::find_stream(db, device, id)).await
    }

    /// Returns every point that the inverter's layouts have ever had.
    pub async fn list_points(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
    ) -> Result<Vec<Point>, StoreError> {
        self.sqlite().read(move |db| stream::list_points(db, device, source)).await
    }

    /// Stores a message: its counter, its unknown batches with their roll-ups, and the device's
    /// report, all in one commit or not at all.
    ///
    /// # Errors
    /// Fails if nothing was stored; the device will send the message again.
    pub async fn ingest(&self, upload: Upload) -> Result<UploadOutcome, StoreError> {
        self.sqlite().ingest(upload).await
    }
}

//! Queries on what devices have sent.

use std::collections::BTreeMap;

use ecowatt_model::{BatchId, DeviceNumber, SourceNumber, UnixMs};

use crate::rollup_pack::Width;
use crate::sqlite::{block, latest, pack, rollup, row_pack, stream};
use crate::{
    Block, Bucket, DateRange, DayBucket, DeviceDay, EnergyDay, EnergyGap, LayoutId, LocalDate,
    Pack, PointId, RowKind, RowPack, SourceLatest, SourcePower, StateReading, Store, StoreError,
    StoredBatch, Stretch, TimeRange, UnpackedRows,
};

/// Telemetry.
impl Store {
    /// Returns the newest readings of every inverter of a device.
    pub async fn latest(&self, device: DeviceNumber) -> Result<Vec<SourceLatest>, StoreError> {
        self.sqlite().read(move |db| latest::latest(db, device)).await
    }

    /// Returns the newest AC power of every inverter of each device.
    pub async fn powers(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<BTreeMap<DeviceNumber, Vec<SourcePower>>, StoreError> {
        self.sqlite().read(move |db| latest::powers(db, &devices)).await
    }

    /// Returns the last reported state of every inverter of each device.
    pub async fn states(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<BTreeMap<DeviceNumber, Vec<StateReading>>, StoreError> {
        self.sqlite().read(move |db| latest::states(db, &devices)).await
    }

    /// Returns layouts as they were announced.
    pub async fn layouts(
        &self,
        ids: Vec<LayoutId>,
    ) -> Result<BTreeMap<LayoutId, Vec<u8>>, StoreError> {
        self.sqlite().read(move |db| stream::layouts(db, &ids)).await
    }

    /// Returns batches with samples in the range, ordered by first sample and id, starting after
    /// the given one. Returns a few that are decoded at once (see
    /// [`crate::limits::BLOCK_ROWS_PER_QUERY`]), and an empty list only if there are no more.
    pub async fn blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| block::blocks(db, device, source, range, after)).await
    }

    /// Like [`Store::blocks`], but returns batches that are stored together as one, which saves
    /// encoding them.
    pub async fn stretches(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Stretch>, StoreError> {
        self.sqlite().read(move |db| block::stretches(db, device, source, range, after)).await
    }

    /// Returns the inverters with stored data, ascending, starting after the given one; at most
    /// [`crate::limits::INVERTERS_PER_QUERY_MAX`].
    pub async fn list_inverters(
        &self,
        after: Option<(DeviceNumber, SourceNumber)>,
    ) -> Result<Vec<(DeviceNumber, SourceNumber)>, StoreError> {
        self.sqlite().read(move |db| pack::list_inverters(db, after)).await
    }

    /// Returns blocks that are in no pack and begin in the range: those of the first UTC day that
    /// has any, as many as one pack may hold.
    pub async fn loose_blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| pack::loose_blocks(db, device, source, range)).await
    }

    /// Replaces blocks by a pack of them, in one commit. Returns false and changes nothing if one
    /// of the blocks is missing.
    pub async fn keep_pack(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        pack: Pack,
    ) -> Result<bool, StoreError> {
        self.sqlite().write(move |db| pack::keep(db, device, source, &pack)).await
    }

    /// Returns the first rows of a kind that are not packed although their UTC day is before the one
    /// that contains `before`, at or after the packs of this number; see [`UnpackedRows::next`]. They
    /// may turn out to be none although more follow.
    pub async fn loose_rows(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        kind: RowKind,
        from: i64,
        before: UnixMs,
    ) -> Result<Option<UnpackedRows>, StoreError> {
        let inverter = (device, source);
        self.sqlite().read(move |db| row_pack::loose(db, inverter, kind, from, before)).await
    }

    /// Replaces rows by packs, in one commit. Returns false and changes nothing if one of the rows,
    /// or of the packs before, has changed.
    pub async fn keep_row_pack(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        pack: RowPack,
    ) -> Result<bool, StoreError> {
        self.sqlite().write(move |db| row_pack::keep(db, (device, source), &pack)).await
    }

    /// Returns all batches of an inverter, ordered by first sample and id, starting after the
    /// given one; at most [`crate::limits::BLOCKS_PER_QUERY_MAX`], and fewer only if there are no
    /// more.
    pub async fn list_blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| block::list_blocks(db, device, source, after)).await
    }

    /// Returns all stored batches of a device, to check what was delivered.
    pub async fn list_batches(&self, device: DeviceNumber) -> Result<Vec<StoredBatch>, StoreError> {
        self.sqlite().read(move |db| block::list_batches(db, device)).await
    }

    /// Returns one-minute buckets that begin in the range, ascending; those without data are left
    /// out. Fewer than [`crate::limits::buckets_max`] are all that there are; the same holds for
    /// quarter hours and days.
    pub async fn minutes(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        points: Vec<PointId>,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.sqlite()
            .read(move |db| rollup::buckets(db, (device, source), Width::Minute, range, &points))
            .await
    }

    /// Returns buckets of UTC quarter hours that begin in the range, ascending.
    pub async fn quarters(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        points: Vec<PointId>,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.sqlite()
            .read(move |db| rollup::buckets(db, (device, source), Width::Quarter, range, &points))
            .await
    }

    /// Returns local days, ascending.
    pub async fn days(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        dates: DateRange,
        points: Vec<PointId>,
    ) -> Result<Vec<DayBucket>, StoreError> {
        self.sqlite().read(move |db| rollup::days(db, device, source, dates, &points)).await
    }

    /// Returns the energy of every inverter in the local days, ascending.
    pub async fn energy_days(
        &self,
        device: DeviceNumber,
        dates: DateRange,
    ) -> Result<Vec<EnergyDay>, StoreError> {
        self.sqlite().read(move |db| rollup::energy_days(db, device, dates)).await
    }

    /// Returns stretches without readings that touch the range, ordered by their beginning; at most
    /// [`crate::limits::GAPS_PER_QUERY_MAX`].
    pub async fn energy_gaps(
        &self,
        device: DeviceNumber,
        range: TimeRange,
    ) -> Result<Vec<EnergyGap>, StoreError> {
        self.sqlite().read(move |db| rollup::energy_gaps(db, device, range)).await
    }

    /// Returns energy and power of one local day for each device, in the order given.
    pub async fn device_days(
        &self,
        wanted: Vec<(DeviceNumber, LocalDate)>,
    ) -> Result<Vec<DeviceDay>, StoreError> {
        self.sqlite().read(move |db| rollup::device_days(db, &wanted)).await
    }
}

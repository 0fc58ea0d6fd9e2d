//! History: what was measured in a range of time, as columns, and energy by local day.
//!
//! Raw history is decoded from the batches as devices encoded them; coarser history comes from the
//! roll-ups. A series is named by its point: if a layout changed the scale within the range, all
//! values still are in the point's unit. The store is read in small portions, so that an answer's
//! size bounds the memory held for it.

mod buckets;
mod energy;
mod page;
mod raw;

use ecowatt_api::{ENERGY_DAYS_MAX, Resolution, Series, TELEMETRY_ROWS_MAX, Telemetry};
use ecowatt_clock::Clock;
use ecowatt_codec::DecodeError;
use ecowatt_model::{SourceNumber, UnixMs};
use ecowatt_profile::{Kind, Layout};
use ecowatt_store::{Point, PointId, Store, StoreError, Stream, StreamId};

pub(crate) use self::page::{BadCursor, Place};
use crate::fleet::{Reached, decimals};
use crate::limits::{BUCKET_CELLS_MAX, POINTS_MAX, RAW_CELLS_MAX};
use crate::time::{Range, rfc3339};

/// History is read between 2000-01-01 and 2100-01-01. No sample is outside.
const BOUNDS: Range = Range { from: UnixMs(946_684_800_000), to: UnixMs(4_102_444_800_000) };

/// A request for history.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) device: Reached,
    pub(crate) inverter: SourceNumber,
    pub(crate) range: Range,
    pub(crate) resolution: Resolution,
    /// Empty means all, or the first [`POINTS_MAX`] of them.
    pub(crate) points: Vec<String>,
    /// The last row of the previous answer.
    pub(crate) cursor: Option<Place>,
}

impl Query {
    /// Returns the part of the range that is still to be answered. The next bucket begins after the
    /// cursor's; further samples may have the cursor's own instant.
    fn wanted(&self) -> Range {
        let range = self.range.within(BOUNDS);
        let from = self.cursor.map_or(range.from, |cursor| {
            let step = i64::from(self.resolution != Resolution::Raw);
            range.from.max(UnixMs(cursor.t.0.saturating_add(step)))
        });
        Range { from: from.min(range.to), to: range.to }
    }
}

/// Why history cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error("the device has no inverter {0}")]
    UnknownInverter(SourceNumber),
    #[error("the inverter has no point {0:?}")]
    UnknownPoint(String),
    #[error("the range has more than {ENERGY_DAYS_MAX} days")]
    TooManyDays,
    #[error("a stored batch cannot be decoded")]
    Batch(#[from] DecodeError),
    #[error("a stored layout cannot be read")]
    Layout(#[from] ecowatt_profile::LayoutError),
    #[error("a stored batch names stream {0}, which does not exist")]
    UnknownStream(StreamId),
    #[error("decoding was interrupted")]
    Cut,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads history.
#[derive(Debug, Clone)]
pub(crate) struct History {
    store: Store,
    clock: Clock,
}

/// One point of the answer, with all the scales that it was stored with.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    unit: String,
    decimals: u8,
    ids: Vec<(PointId, i8)>,
}

impl History {
    #[must_use]
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Returns the history of one inverter.
    ///
    /// # Errors
    /// If the inverter or a point does not exist, or the store fails.
    pub(crate) async fn telemetry(&self, query: Query) -> Result<Telemetry, HistoryError> {
        let streams: Vec<_> = self
            .store
            .list_streams(query.device.number())
            .await?
            .into_iter()
            .filter(|stream| stream.source == query.inverter)
            .collect();
        let columns = self.columns(&query, &streams).await?;
        let cells_max =
            if query.resolution == Resolution::Raw { RAW_CELLS_MAX } else { BUCKET_CELLS_MAX };
        let rows_max = TELEMETRY_ROWS_MAX.min(cells_max / columns.len().max(1)).max(1);
        let mut answer = Telemetry {
            device: query.device.number().to_string(),
            inverter: query.inverter.0,
            resolution: query.resolution,
            from: rfc3339(query.range.from),
            to: rfc3339(query.range.to),
            t_ms: Vec::new(),
            series: columns.iter().map(|column| series(column, query.resolution)).collect(),
            unsure_times: (query.resolution == Resolution::Raw).then(Vec::new),
            removed_before: self.removed_before(&query).await?,
            truncated: false,
            next_cursor: None,
        };
        if columns.is_empty() {
            return Ok(answer);
        }
        match query.resolution {
            Resolution::Raw => self.raw(&query, &columns, &streams, rows_max, &mut answer).await?,
            Resolution::Minute | Resolution::Quarter => {
                self.rolled_up(&query, &columns, rows_max, &mut answer).await?;
            }
            Resolution::Day => self.daily(&query, &columns, rows_max, &mut answer).await?,
        }
        Ok(answer)
    }

    /// Returns until when data of the query's range and resolution was removed by retention.
    async fn removed_before(&self, query: &Query) -> Result<Option<String>, HistoryError> {
        let resolution = match query.resolution {
            Resolution::Raw => ecowatt_store::Resolution::Samples,
            Resolution::Minute => ecowatt_store::Resolution::Minutes,
            Resolution::Quarter => ecowatt_store::Resolution::Quarters,
            Resolution::Day => return Ok(None),
        };
        let expired = self.store.list_expired(query.device.number()).await?;
        let found = expired.into_iter().find(|expired| {
            expired.source == query.inverter
                && expired.resolution == resolution
                && query.range.from < expired.before
        });
        Ok(found.map(|expired| rfc3339(expired.before)))
    }

    /// Returns the points of the answer, in the order of the newest layout.
    async fn columns(
        &self,
        query: &Query,
        streams: &[Stream],
    ) -> Result<Vec<Column>, HistoryError> {
        let newest = streams.last().map(|stream| Layout::from_cbor(&stream.layout)).transpose()?;
        let is_text = |name: &str| {
            let layout = newest.as_ref()?;
            layout.points().get(layout.find(name)?).map(|point| point.kind == Kind::Text)
        };
        let mut columns: Vec<Column> = Vec::new();
        for Point { id, def } in
            self.store.list_points(query.device.number(), query.inverter).await?
        {
            if is_text(&def.name) == Some(true) {
                continue;
            }
            let id = (id, def.exponent);
            let decimals = decimals(def.exponent);
            match columns.iter_mut().find(|column| column.name == def.name) {
                // Another scale of the same point: one column with the finer decimals.
                Some(column) => {
                    column.ids.push(id);
                    column.decimals = column.decimals.max(decimals);
                }
                None => columns.push(Column {
                    unit: def.unit.symbol().into(),
                    name: def.name,
                    decimals,
                    ids: vec![id],
                }),
            }
        }
        if streams.is_empty() && query.inverter != SourceNumber(0) {
            return Err(HistoryError::UnknownInverter(query.inverter));
        }
        if query.points.is_empty() {
            let place = |column: &Column| {
                newest.as_ref().and_then(|layout| layout.find(&column.name)).unwrap_or(usize::MAX)
            };
            columns.sort_by_key(place);
            // An inverter may have had more points than an answer may have.
            columns.truncate(POINTS_MAX);
            return Ok(columns);
        }
        let mut wanted = Vec::with_capacity(query.points.len());
        for name in &query.points {
            let column = columns.iter().find(|column| column.name == *name);
            wanted.push(column.cloned().ok_or_else(|| HistoryError::UnknownPoint(name.clone()))?);
        }
        Ok(wanted)
    }

    /// Returns the current instant.
    #[must_use]
    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now()
    }
}

fn series(column: &Column, resolution: Resolution) -> Series {
    let is_raw = resolution == Resolution::Raw;
    let aggregate = || (!is_raw).then(Vec::new);
    Series {
        point: column.name.clone(),
        unit: column.unit.clone(),
        decimals: column.decimals,
        value: Vec::new(),
        min: aggregate(),
        max: aggregate(),
        last: aggregate(),
        count: (!is_raw).then(Vec::new),
        not_good: is_raw.then(Vec::new),
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_api::UnsureTime;
    use ecowatt_model::Quality;

    use super::*;
    use crate::limits::ANSWER_BYTES_MAX;

    #[test]
    fn worst_answers_stay_within_their_limit() {
        // The longest number, with more decimals than any point has.
        let longest = -1.234_567_890_123_456_7e-300;
        let column = |i: usize| Column {
            name: format!("a.very.long.name.of.a.point.number.{i:060}"),
            unit: "kvarh".into(),
            decimals: 9,
            ids: Vec::new(),
        };
        let columns: Vec<_> = (0..POINTS_MAX).map(column).collect();
        for (resolution, cells) in
            [(Resolution::Raw, RAW_CELLS_MAX), (Resolution::Minute, BUCKET_CELLS_MAX)]
        {
            for width in [POINTS_MAX, 1] {
                let rows = (cells / width).min(TELEMETRY_ROWS_MAX);
                for is_good in [true, false] {
                    let series_of = |column: &Column| {
                        let mut series = series(column, resolution);
                        let value = is_good.then_some(longest);
                        series.value = vec![value; rows];
                        for column in [&mut series.min, &mut series.max, &mut series.last] {
                            column.iter_mut().for_each(|column| *column = vec![value; rows]);
                        }
                        series.count = series.count.map(|_| vec![u32::MAX; rows]);
                        if let Some(not_good) = series.not_good.as_mut().filter(|_| !is_good) {
                            let why = Quality::NotImplemented;
                            *not_good = vec![(99_999, why.as_str().into()); rows];
                        }
                        series
                    };
                    let answer = Telemetry {
                        device: "dev-4294967295".into(),
                        inverter: 7,
                        resolution,
                        from: rfc3339(BOUNDS.from),
                        to: rfc3339(BOUNDS.to),
                        t_ms: vec![BOUNDS.to.0; rows],
                        series: columns[..width].iter().map(series_of).collect(),
                        unsure_times: (resolution == Resolution::Raw)
                            .then(|| vec![(99_999, 99_999, UnsureTime::Estimated); rows]),
                        removed_before: Some(rfc3339(BOUNDS.to)),
                        truncated: true,
                        next_cursor: Some(Place::default().to_string()),
                    };
                    let length = serde_json::to_vec(&answer).unwrap().len();
                    assert!(length <= ANSWER_BYTES_MAX, "{resolution:?} × {width}: {length}");
                }
            }
        }
    }
}

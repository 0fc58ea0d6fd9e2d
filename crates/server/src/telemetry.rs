//! History: what was measured in a stretch of time, as columns, and energy by local day.
//!
//! Raw history is decoded from the batches as devices encoded them; coarser history comes from the
//! roll-ups. A series is named by its point: where a layout changed its scale on the way, the values
//! still are in the point's unit. Long ranges are read in windows, so that an answer's size bounds
//! what is held for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_api::{
    ENERGY_DAYS_MAX, Energy, EnergyDay, EnergyGap, EnergySource, Resolution, Series,
    TELEMETRY_ROWS_MAX, Telemetry,
};
use ecowatt_clock::Clock;
use ecowatt_codec::{DecodeError, Decoder, State};
use ecowatt_model::{DeviceNumber, Mark, Quality, SourceNumber, UnixMs};
use ecowatt_profile::{Kind, Layout};
use ecowatt_store::StreamId;
use ecowatt_store::limits::BLOCKS_PER_QUERY_MAX;
use ecowatt_store::{
    Aggregate, Block, Bucket, EnergyFigure, LocalDate, Point, PointId, Site, Store, StoreError,
    Stream, TimeRange,
};
use tokio::sync::Semaphore;

use crate::fleet::{decimals, scaled};
use crate::limits::{DECODES_MAX, TELEMETRY_CELLS_MAX};
use crate::time::{Range, civil, local_date, rfc3339, start_of_day, zone_of};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Instants that history is looked for between: 2000-01-01 and 2100-01-01. No sample is outside, and
/// the windows of a range from the year 1 to 9999 would be a quarter of a million queries.
const BOUNDS: Range = Range { from: UnixMs(946_684_800_000), to: UnixMs(4_102_444_800_000) };

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) device: DeviceNumber,
    pub(crate) site: Site,
    pub(crate) inverter: SourceNumber,
    pub(crate) range: Range,
    pub(crate) resolution: Resolution,
    /// All, if empty.
    pub(crate) points: Vec<String>,
}

/// Why there is no answer.
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
    #[error("batch of stream {0}, which is not there")]
    UnknownStream(StreamId),
    #[error("the decoding was cut off")]
    Cut,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads history.
#[derive(Debug, Clone)]
pub(crate) struct History {
    store: Store,
    clock: Clock,
    /// Decoding takes a processor, so few answers are decoded at once.
    decodes: Arc<Semaphore>,
}

/// One point of the answer, under all the scales that it was stored with.
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
        Self { store, clock, decodes: Arc::new(Semaphore::new(DECODES_MAX)) }
    }

    /// The history of one inverter.
    ///
    /// # Errors
    /// If the inverter or a point does not exist, or the store fails.
    pub(crate) async fn telemetry(&self, query: Query) -> Result<Telemetry, HistoryError> {
        let streams: Vec<_> = self
            .store
            .list_streams(query.device)
            .await?
            .into_iter()
            .filter(|stream| stream.source == query.inverter)
            .collect();
        let columns = self.columns(&query, &streams).await?;
        let rows_max = TELEMETRY_ROWS_MAX.min(TELEMETRY_CELLS_MAX / columns.len().max(1));
        let mut answer = Telemetry {
            device: query.device.to_string(),
            inverter: query.inverter.0,
            resolution: query.resolution,
            from: rfc3339(query.range.from),
            to: rfc3339(query.range.to),
            t_ms: Vec::new(),
            series: columns.iter().map(|column| series(column, query.resolution)).collect(),
            truncated: false,
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

    /// Energy of a device by the days of its site that the range touches.
    ///
    /// # Errors
    /// If the range is too long or the store fails.
    pub(crate) async fn energy(
        &self,
        device: DeviceNumber,
        site: &Site,
        range: Range,
    ) -> Result<Energy, HistoryError> {
        let zone = zone_of(site);
        let last = UnixMs(range.to.0.saturating_sub(1)).max(range.from);
        let (from, to) = (local_date(range.from, &zone), local_date(last, &zone));
        let to = LocalDate(to.0.saturating_add(1));
        if usize::try_from(to.0 - from.0).unwrap_or(usize::MAX) > ENERGY_DAYS_MAX {
            return Err(HistoryError::TooManyDays);
        }
        let figures = self.store.energy_days(device, (from, to)).await?;
        let whole = TimeRange { from: start_of_day(from, &zone), to: start_of_day(to, &zone) };
        let gaps = self.store.energy_gaps(device, whole).await?;
        let mut days: Vec<EnergyDay> = Vec::new();
        let mut mwh_sums: Vec<i64> = Vec::new();
        for figure in figures {
            let (mwh, source) = match figure.energy {
                EnergyFigure::Counter { mwh, .. } => (mwh, EnergySource::Counter),
                EnergyFigure::Integrated { mwh } => (mwh, EnergySource::Integrated),
                EnergyFigure::Nothing => continue,
            };
            let date = civil(figure.date).to_string();
            match (days.last_mut(), mwh_sums.last_mut()) {
                (Some(day), Some(sum)) if day.date == date => {
                    *sum = sum.saturating_add(mwh);
                    // A sum is as good as its weakest part.
                    if source == EnergySource::Integrated {
                        day.source = source;
                    }
                }
                _ => {
                    let begins = start_of_day(figure.date, &zone);
                    let ends = start_of_day(LocalDate(figure.date.0.saturating_add(1)), &zone);
                    let touching = gaps.iter().filter(|gap| gap.from < ends && gap.to > begins);
                    let gap = |gap: &ecowatt_store::EnergyGap| EnergyGap {
                        inverter: gap.source.0,
                        from: rfc3339(gap.from.max(begins)),
                        to: rfc3339(gap.to.min(ends)),
                    };
                    let gaps = touching.map(gap).collect();
                    days.push(EnergyDay { date, energy_wh: 0, source, gaps });
                    mwh_sums.push(mwh);
                }
            }
        }
        for (day, mwh) in days.iter_mut().zip(mwh_sums) {
            day.energy_wh = mwh.div_euclid(1000);
        }
        Ok(Energy {
            device: device.to_string(),
            time_zone: site.time_zone.clone(),
            from: rfc3339(range.from),
            to: rfc3339(range.to),
            days,
        })
    }

    /// The points that the answer has, as the newest layout orders them.
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
        for Point { id, def } in self.store.list_points(query.device, query.inverter).await? {
            if is_text(&def.name) == Some(true) {
                continue;
            }
            let id = (id, def.exponent);
            let decimals = decimals(def.exponent);
            match columns.iter_mut().find(|column| column.name == def.name) {
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
            return Ok(columns);
        }
        let mut wanted = Vec::with_capacity(query.points.len());
        for name in &query.points {
            let column = columns.iter().find(|column| column.name == *name);
            wanted.push(column.cloned().ok_or_else(|| HistoryError::UnknownPoint(name.clone()))?);
        }
        Ok(wanted)
    }

    async fn raw(
        &self,
        query: &Query,
        columns: &[Column],
        streams: &[Stream],
        rows_max: usize,
        answer: &mut Telemetry,
    ) -> Result<(), HistoryError> {
        let mut layouts = HashMap::new();
        for stream in streams {
            layouts.insert(stream.id, Layout::from_cbor(&stream.layout)?);
        }
        let layouts = Arc::new(layouts);
        let names: Arc<[String]> = columns.iter().map(|column| column.name.clone()).collect();
        let mut windows = Windows::new(query.range, DAY, 16);
        while let Some(window) = windows.next() {
            let wanted = TimeRange { from: window.from, to: window.to };
            let blocks = self.store.blocks(query.device, query.inverter, wanted).await?;
            windows.found(blocks.len());
            let is_cut =
                blocks.len() >= usize::try_from(BLOCKS_PER_QUERY_MAX).unwrap_or(usize::MAX);
            let until = match blocks.last() {
                // Blocks that begin later were left out, so only what is before them is whole.
                Some(last) if is_cut && last.first > window.from => last.first,
                _ => window.to,
            };
            windows.go_on_from(until);
            let window = Range { from: window.from, to: until };
            let place = self.decodes.acquire().await.map_err(|_| HistoryError::Cut)?;
            let (layouts, names) = (Arc::clone(&layouts), Arc::clone(&names));
            let decode = move || decode(&blocks, &layouts, &names, window);
            let rows =
                tokio::task::spawn_blocking(decode).await.map_err(|_| HistoryError::Cut)??;
            drop(place);
            for row in rows {
                if answer.t_ms.len() == rows_max {
                    answer.truncated = true;
                    return Ok(());
                }
                push_row(answer, &row);
            }
        }
        Ok(())
    }

    async fn rolled_up(
        &self,
        query: &Query,
        columns: &[Column],
        rows_max: usize,
        answer: &mut Telemetry,
    ) -> Result<(), HistoryError> {
        let ids: Vec<PointId> = ids(columns);
        let step = if query.resolution == Resolution::Minute { 14 * DAY } else { 200 * DAY };
        let mut windows = Windows::new(query.range, step, 4);
        while let Some(window) = windows.next() {
            let wanted = TimeRange { from: window.from, to: window.to };
            let (device, inverter) = (query.device, query.inverter);
            let buckets = if query.resolution == Resolution::Minute {
                self.store.minutes(device, inverter, wanted, ids.clone()).await?
            } else {
                self.store.quarters(device, inverter, wanted, ids.clone()).await?
            };
            windows.found(buckets.len());
            for Bucket { start, aggregates } in buckets {
                if answer.t_ms.len() == rows_max {
                    answer.truncated = true;
                    return Ok(());
                }
                push_bucket(answer, columns, start, &aggregates);
            }
        }
        Ok(())
    }

    async fn daily(
        &self,
        query: &Query,
        columns: &[Column],
        rows_max: usize,
        answer: &mut Telemetry,
    ) -> Result<(), HistoryError> {
        let zone = zone_of(&query.site);
        let range = query.range.within(BOUNDS);
        let (from, to) = (local_date(range.from, &zone), local_date(range.to, &zone));
        let to = LocalDate(to.0.saturating_add(1));
        let days = self.store.days(query.device, query.inverter, (from, to), ids(columns)).await?;
        for day in days {
            let start = start_of_day(day.date, &zone);
            // A day belongs to the range that holds its beginning, as every bucket does.
            if start < range.from || start >= range.to {
                continue;
            }
            if answer.t_ms.len() == rows_max {
                answer.truncated = true;
                return Ok(());
            }
            push_bucket(answer, columns, start, &day.aggregates);
        }
        Ok(())
    }

    /// The present instant.
    #[must_use]
    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now()
    }
}

/// Walks a range in windows that grow where there is nothing.
#[derive(Debug)]
struct Windows {
    at: UnixMs,
    end: UnixMs,
    step: Duration,
    base: Duration,
    growth_max: u32,
}

impl Windows {
    fn new(range: Range, step: Duration, growth_max: u32) -> Self {
        let range = range.within(BOUNDS);
        Self { at: range.from, end: range.to, step, base: step, growth_max }
    }

    fn next(&mut self) -> Option<Range> {
        let from = self.at;
        self.at = from.plus(self.step).min(self.end);
        (from < self.end).then_some(Range { from, to: self.at })
    }

    fn found(&mut self, rows: usize) {
        let longest = self.base * self.growth_max;
        self.step = if rows == 0 { (2 * self.step).min(longest) } else { self.base };
    }

    fn go_on_from(&mut self, at: UnixMs) {
        self.at = at;
    }
}

/// One sample: its time, and a reading per column; none where the layout has no such point.
struct Row {
    t: UnixMs,
    readings: Vec<(Option<f64>, Option<Quality>)>,
}

fn decode(
    blocks: &[Block],
    layouts: &HashMap<StreamId, Layout>,
    names: &[String],
    window: Range,
) -> Result<Vec<Row>, HistoryError> {
    let mut rows = Vec::new();
    let mut state = Box::new(State::<{ ecowatt_model::COLUMNS_MAX }>::new());
    for block in blocks {
        let layout = layouts.get(&block.stream).ok_or(HistoryError::UnknownStream(block.stream))?;
        let places: Vec<_> = names
            .iter()
            .map(|name| layout.find(name).and_then(|at| Some((at, layout.points().get(at)?))))
            .collect();
        let mut decoder = Decoder::new(&block.bytes, &mut state)?;
        let mut words = vec![0; decoder.columns()];
        let mut marks = vec![Mark::default(); decoder.columns()];
        while let Some(t) = decoder.next_row(&mut words, &mut marks)? {
            let t = UnixMs(t.saturating_add(block.time_offset_ms));
            if t < window.from || t >= window.to {
                continue;
            }
            let reading = |place: &Option<(usize, &ecowatt_profile::Point)>| {
                let Some((at, point)) = place else { return (None, None) };
                let reading = layout.reading(*at, &words, &marks);
                let value = reading.good().map(|value| scaled(value, point.exponent));
                (value, Some(reading.quality))
            };
            rows.push(Row { t, readings: places.iter().map(reading).collect() });
        }
    }
    // Blocks ascend by their beginning; they overlap only where the device's clock was set back.
    rows.sort_by_key(|row| row.t);
    Ok(rows)
}

fn push_row(answer: &mut Telemetry, row: &Row) {
    let at = u32::try_from(answer.t_ms.len()).unwrap_or(u32::MAX);
    answer.t_ms.push(row.t.0);
    for (series, (value, quality)) in answer.series.iter_mut().zip(&row.readings) {
        series.value.push(*value);
        if let (Some(not_good), Some(quality)) = (&mut series.not_good, quality)
            && *quality != Quality::Good
        {
            not_good.push((at, quality.as_str().into()));
        }
    }
}

fn push_bucket(
    answer: &mut Telemetry,
    columns: &[Column],
    start: UnixMs,
    aggregates: &[Option<Aggregate>],
) {
    answer.t_ms.push(start.0);
    let mut rest = aggregates;
    for (series, column) in answer.series.iter_mut().zip(columns) {
        let (own, others) = rest.split_at(column.ids.len().min(rest.len()));
        rest = others;
        let found = own.iter().zip(&column.ids).filter_map(|(a, (_, exponent))| {
            a.as_ref().map(|aggregate| Figures::of(aggregate, *exponent))
        });
        let figures = found.reduce(Figures::merged);
        series.value.push(figures.map(|f| f.sum / f64::from(f.count)));
        push_to(&mut series.min, figures.map(|f| f.min));
        push_to(&mut series.max, figures.map(|f| f.max));
        push_to(&mut series.last, figures.map(|f| f.last.1));
        if let Some(count) = &mut series.count {
            count.push(figures.map_or(0, |f| f.count));
        }
    }
}

fn push_to(column: &mut Option<Vec<Option<f64>>>, value: Option<f64>) {
    if let Some(column) = column {
        column.push(value);
    }
}

/// An aggregate in the point's unit.
#[derive(Clone, Copy)]
struct Figures {
    count: u32,
    sum: f64,
    min: f64,
    max: f64,
    last: (UnixMs, f64),
}

impl Figures {
    fn of(aggregate: &Aggregate, exponent: i8) -> Self {
        Self {
            count: aggregate.count.max(1),
            sum: scaled(aggregate.sum, exponent),
            min: scaled(aggregate.min, exponent),
            max: scaled(aggregate.max, exponent),
            last: (aggregate.last_at, scaled(aggregate.last, exponent)),
        }
    }

    /// Of a bucket in which the layout changed.
    fn merged(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            last: if other.last.0 > self.last.0 { other.last } else { self.last },
        }
    }
}

fn ids(columns: &[Column]) -> Vec<PointId> {
    columns.iter().flat_map(|column| &column.ids).map(|(id, _)| *id).collect()
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
    use super::*;

    #[test]
    fn windows_cover_a_range_once_and_grow_where_it_is_empty() {
        let range = Range { from: UnixMs(BOUNDS.from.0 - 5), to: BOUNDS.from.plus(40 * DAY) };
        let mut windows = Windows::new(range, DAY, 16);
        let mut lengths = Vec::new();
        let mut at = BOUNDS.from;
        while let Some(window) = windows.next() {
            assert_eq!(window.from, at);
            at = window.to;
            lengths.push(window.to.since(window.from).as_secs() / DAY.as_secs());
            windows.found(usize::from(lengths.len() == 4));
        }
        assert_eq!(at, range.to);
        assert_eq!(lengths, [1, 2, 4, 8, 1, 2, 4, 8, 10]);
    }

    #[test]
    fn bucket_with_two_scales_is_one_bucket() {
        let of = |exponent, value| Figures::of(&Aggregate::of(UnixMs(value), value), exponent);
        let merged = of(-1, 100).merged(of(0, 20));
        assert_eq!((merged.count, merged.sum, merged.min, merged.max), (2, 30.0, 10.0, 20.0));
        assert_eq!(merged.last, (UnixMs(100), 10.0));
    }
}

//! History: what was measured in a range of time, as columns, and energy by local day.
//!
//! Raw history is decoded from the batches as devices encoded them; coarser history comes from the
//! roll-ups. A series is named by its point: if a layout changed the scale within the range, all
//! values still are in the point's unit. The store is read in small portions, so that an answer's
//! size bounds the memory held for it.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::iter::Peekable;
use std::str::FromStr;
use std::sync::Arc;
use std::vec;

use ecowatt_api::{
    ENERGY_DAYS_MAX, Energy, EnergyDay, EnergyGap, EnergySource, Resolution, Series,
    TELEMETRY_ROWS_MAX, Telemetry, UnsureTime,
};
use ecowatt_clock::Clock;
use ecowatt_codec::{DecodeError, Decoder, State};
use ecowatt_model::{Mark, Quality, SourceNumber, UnixMs};
use ecowatt_profile::{Kind, Layout};
use ecowatt_store::limits::buckets_max;
use ecowatt_store::{
    Aggregate, Bucket, EnergyFigure, LocalDate, Point, PointId, Store, StoreError, Stream,
    StreamId, Stretch, TimeQuality, TimeRange,
};

use crate::fleet::{Reached, decimals, scaled};
use crate::limits::{BUCKET_CELLS_MAX, ENERGY_GAPS_MAX, RAW_CELLS_MAX};
use crate::time::{Range, civil, local_date, rfc3339, start_of_day, zone_of};

/// Decimals of a mean beyond those of its readings.
const MEAN_DECIMALS: i32 = 2;

/// History is read between 2000-01-01 and 2100-01-01. No sample is outside.
const BOUNDS: Range = Range { from: UnixMs(946_684_800_000), to: UnixMs(4_102_444_800_000) };

/// A request for history.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) device: Reached,
    pub(crate) inverter: SourceNumber,
    pub(crate) range: Range,
    pub(crate) resolution: Resolution,
    /// Empty means all.
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

    /// Returns the energy of a device by the days of its site that the range touches.
    ///
    /// # Errors
    /// If the range is too long or the store fails.
    pub(crate) async fn energy(
        &self,
        device: &Reached,
        range: Range,
    ) -> Result<Energy, HistoryError> {
        let (device, site) = (device.number(), device.site());
        let zone = zone_of(site);
        let last = UnixMs(range.to.0.saturating_sub(1)).max(range.from);
        let (from, to) = (local_date(range.from, &zone), local_date(last, &zone));
        let to = LocalDate(to.0.saturating_add(1));
        if usize::try_from(to.0 - from.0).unwrap_or(usize::MAX) > ENERGY_DAYS_MAX {
            return Err(HistoryError::TooManyDays);
        }
        let figures = self.store.energy_days(device, (from, to)).await?;
        let whole = TimeRange { from: start_of_day(from, &zone), to: start_of_day(to, &zone) };
        let mut gaps = Gaps::new(self.store.energy_gaps(device, whole).await?);
        let mut days: Vec<EnergyDay> = Vec::new();
        let mut mwh_sums: Vec<i64> = Vec::new();
        for figure in figures {
            let (mwh, source, refused) = match figure.energy {
                EnergyFigure::Counter { mwh, refused_steps } => {
                    (mwh, EnergySource::Counter, u64::try_from(refused_steps).unwrap_or(0))
                }
                EnergyFigure::Integrated { mwh } => (mwh, EnergySource::Integrated, 0),
                EnergyFigure::Nothing => continue,
            };
            let date = civil(figure.date).to_string();
            match (days.last_mut(), mwh_sums.last_mut()) {
                (Some(day), Some(sum)) if day.date == date => {
                    *sum = sum.saturating_add(mwh);
                    day.refused_steps = day.refused_steps.saturating_add(refused);
                    // A sum is only as reliable as its least reliable part.
                    if source == EnergySource::Integrated {
                        day.source = source;
                    }
                }
                _ => {
                    let begins = start_of_day(figure.date, &zone);
                    let ends = start_of_day(LocalDate(figure.date.0.saturating_add(1)), &zone);
                    let gaps = gaps.within(begins, ends);
                    days.push(EnergyDay {
                        date,
                        energy_wh: 0,
                        source,
                        refused_steps: refused,
                        gaps,
                    });
                    mwh_sums.push(mwh);
                }
            }
        }
        // Rounded once, after the inverters are added up.
        for (day, mwh) in days.iter_mut().zip(mwh_sums) {
            day.energy_wh = mwh.div_euclid(1000);
        }
        Ok(Energy {
            device: device.to_string(),
            time_zone: site.time_zone.clone(),
            from: rfc3339(range.from),
            to: rfc3339(range.to),
            days,
            gaps_listed_until: gaps.listed_until.map(rfc3339),
        })
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
        let range = query.wanted();
        let wanted = TimeRange { from: range.from, to: range.to };
        // One row more shows that the answer has a next page.
        let mut rows = FirstRows::new(rows_max + 1, range, query.cursor);
        let mut after = None;
        loop {
            let blocks =
                self.store.stretches(query.device.number(), query.inverter, wanted, after).await?;
            let Some((begins, id)) = blocks.last().map(|last| (last.first, last.batches[0].0))
            else {
                break;
            };
            after = Some((begins, id));
            let (layouts, names) = (Arc::clone(&layouts), Arc::clone(&names));
            let decode = move || decode(&blocks, &layouts, &names, rows);
            rows = tokio::task::spawn_blocking(decode).await.map_err(|_| HistoryError::Cut)??;
            // No sample of the remaining blocks is earlier than this block's beginning.
            if rows.are_all_before(begins) {
                break;
            }
        }
        let mut rows = rows.into_sorted();
        if rows.len() > rows_max {
            rows.truncate(rows_max);
            answer.go_on_after(rows.last().map(|row| row.place));
        }
        for row in &rows {
            push_row(answer, row);
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
        let range = query.wanted();
        let mut wanted = TimeRange { from: range.from, to: range.to };
        loop {
            let (device, inverter) = (query.device.number(), query.inverter);
            let buckets = if query.resolution == Resolution::Minute {
                self.store.minutes(device, inverter, wanted, ids.clone()).await?
            } else {
                self.store.quarters(device, inverter, wanted, ids.clone()).await?
            };
            let Some(last) = buckets.last() else { return Ok(()) };
            wanted.from = UnixMs(last.start.0.saturating_add(1));
            let is_all = buckets.len() < buckets_max(ids.len());
            for Bucket { start, aggregates } in buckets {
                if answer.is_full(rows_max) {
                    return Ok(());
                }
                push_bucket(answer, columns, start, &aggregates);
            }
            if is_all {
                return Ok(());
            }
        }
    }

    async fn daily(
        &self,
        query: &Query,
        columns: &[Column],
        rows_max: usize,
        answer: &mut Telemetry,
    ) -> Result<(), HistoryError> {
        let zone = zone_of(query.device.site());
        let range = query.wanted();
        let (mut from, to) = (local_date(range.from, &zone), local_date(range.to, &zone));
        let to = LocalDate(to.0.saturating_add(1));
        loop {
            let days = self
                .store
                .days(query.device.number(), query.inverter, (from, to), ids(columns))
                .await?;
            let Some(last) = days.last() else { return Ok(()) };
            from = LocalDate(last.date.0.saturating_add(1));
            for day in days {
                let start = start_of_day(day.date, &zone);
                // A day belongs to the range that contains its beginning, like every bucket.
                if start < range.from || start >= range.to {
                    continue;
                }
                if answer.is_full(rows_max) {
                    return Ok(());
                }
                push_bucket(answer, columns, start, &day.aggregates);
            }
        }
    }

    /// Returns the current instant.
    #[must_use]
    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now()
    }
}

/// The gaps of a range, handed out day by day in ascending order.
struct Gaps {
    /// Gaps not handed out yet, ascending by their beginning.
    coming: Peekable<vec::IntoIter<ecowatt_store::EnergyGap>>,
    /// Gaps that reach into the last requested day.
    open: Vec<ecowatt_store::EnergyGap>,
    listed: usize,
    /// Beginning of the first day whose gaps are not all listed.
    listed_until: Option<UnixMs>,
}

impl Gaps {
    fn new(gaps: Vec<ecowatt_store::EnergyGap>) -> Self {
        Self {
            coming: gaps.into_iter().peekable(),
            open: Vec::new(),
            listed: 0,
            listed_until: None,
        }
    }

    /// Returns the parts of gaps in a day, up to the number that an answer may list.
    fn within(&mut self, begins: UnixMs, ends: UnixMs) -> Vec<EnergyGap> {
        self.open.retain(|gap| gap.to > begins);
        while let Some(gap) = self.coming.next_if(|gap| gap.from < ends) {
            if gap.to > begins {
                self.open.push(gap);
            }
        }
        if self.listed + self.open.len() > ENERGY_GAPS_MAX {
            self.listed_until.get_or_insert(begins);
        }
        if self.listed_until.is_some() {
            return Vec::new();
        }
        self.listed += self.open.len();
        let part = |gap: &ecowatt_store::EnergyGap| EnergyGap {
            inverter: gap.source.0,
            from: rfc3339(gap.from.max(begins)),
            to: rfc3339(gap.to.min(ends)),
        };
        self.open.iter().map(part).collect()
    }
}

/// How an answer is split into pages.
trait Paged {
    fn go_on_after(&mut self, last: Option<Place>);
    /// Whether the answer is full; if so, sets the cursor of the next page.
    fn is_full(&mut self, rows_max: usize) -> bool;
}

impl Paged for Telemetry {
    fn go_on_after(&mut self, last: Option<Place>) {
        self.truncated = true;
        self.next_cursor = last.map(|place| place.to_string());
    }

    fn is_full(&mut self, rows_max: usize) -> bool {
        if self.t_ms.len() < rows_max {
            return false;
        }
        let last = self.t_ms.last().map(|t| Place { t: UnixMs(*t), ..Place::default() });
        self.go_on_after(last);
        true
    }
}

/// A row's place in the order of all rows: by its time, and within one instant by its batch and its
/// row in that batch. A bucket's place is only its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    t: UnixMs,
    epoch: u32,
    sequence: u32,
    row: u16,
}

impl Default for Place {
    fn default() -> Self {
        Self { t: UnixMs(0), epoch: 0, sequence: 0, row: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.t.0, self.epoch, self.sequence, self.row)
    }
}

/// A cursor that did not come from an answer.
#[derive(Debug)]
pub(crate) struct BadCursor;

impl FromStr for Place {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(BadCursor);
        let number = |text: &str| text.parse::<u32>().map_err(|_| BadCursor);
        let place = Self {
            t: UnixMs(next()?.parse().map_err(|_| BadCursor)?),
            epoch: number(next()?)?,
            sequence: number(next()?)?,
            row: next()?.parse().map_err(|_| BadCursor)?,
        };
        if parts.next().is_some() { Err(BadCursor) } else { Ok(place) }
    }
}

/// One sample: its place, and a reading per column, empty where the layout lacks the point.
struct Row {
    place: Place,
    unsure: Option<UnsureTime>,
    readings: Vec<(Option<f64>, Option<Quality>)>,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

/// Keeps the first rows of a range among all that are offered, in any order. Blocks ascend by their
/// beginning, but those of a device whose clock was set back overlap.
struct FirstRows {
    rows: BinaryHeap<Row>,
    rows_max: usize,
    range: Range,
    after: Option<Place>,
}

impl FirstRows {
    fn new(rows_max: usize, range: Range, after: Option<Place>) -> Self {
        Self { rows: BinaryHeap::new(), rows_max, range, after }
    }

    /// Whether a row at this place would be one of the first.
    fn wants(&self, place: Place) -> bool {
        let is_in = place.t >= self.range.from && place.t < self.range.to;
        let is_new = self.after.is_none_or(|after| place > after);
        let is_first = self.rows.len() < self.rows_max
            || self.rows.peek().is_some_and(|last| place < last.place);
        is_in && is_new && is_first
    }

    fn offer(&mut self, row: Row) {
        self.rows.push(row);
        if self.rows.len() > self.rows_max {
            self.rows.pop();
        }
    }

    /// Whether no row at or after `at` is wanted.
    fn are_all_before(&self, at: UnixMs) -> bool {
        self.rows.len() >= self.rows_max && self.rows.peek().is_some_and(|last| last.place.t < at)
    }

    fn into_sorted(self) -> Vec<Row> {
        self.rows.into_sorted_vec()
    }
}

fn decode(
    blocks: &[Stretch],
    layouts: &HashMap<StreamId, Layout>,
    names: &[String],
    mut rows: FirstRows,
) -> Result<FirstRows, HistoryError> {
    let mut state = Box::new(State::<{ ecowatt_model::COLUMNS_MAX }>::new());
    for block in blocks {
        let layout = layouts.get(&block.stream).ok_or(HistoryError::UnknownStream(block.stream))?;
        let places: Vec<_> = names
            .iter()
            .map(|name| layout.find(name).and_then(|at| Some((at, layout.points().get(at)?))))
            .collect();
        let unsure = unsure_time(block.time_quality);
        let mut decoder = Decoder::new(&block.bytes, &mut state)?;
        let mut words = vec![0; decoder.columns()];
        let mut marks = vec![Mark::default(); decoder.columns()];
        // A row's place has its batch and its number in it.
        let mut numbers =
            block.batches.iter().flat_map(|(id, rows)| (0..*rows).map(move |number| (*id, number)));
        while let Some(t) = decoder.next_row(&mut words, &mut marks)? {
            let (id, row) = numbers.next().ok_or(DecodeError::Trailing)?;
            let t = UnixMs(t.saturating_add(block.time_offset_ms));
            let place = Place { t, epoch: id.epoch.0, sequence: id.sequence.0, row };
            if !rows.wants(place) {
                continue;
            }
            let reading = |place: &Option<(usize, &ecowatt_profile::Point)>| {
                let Some((at, point)) = place else { return (None, None) };
                let reading = layout.reading(*at, &words, &marks);
                let value = reading.good().map(|value| scaled(value, point.exponent));
                (value, Some(reading.quality))
            };
            rows.offer(Row { place, unsure, readings: places.iter().map(reading).collect() });
        }
    }
    Ok(rows)
}

fn push_row(answer: &mut Telemetry, row: &Row) {
    let at = u32::try_from(answer.t_ms.len()).unwrap_or(u32::MAX);
    answer.t_ms.push(row.place.t.0);
    push_unsure(answer, at, row.unsure);
    for (series, (value, quality)) in answer.series.iter_mut().zip(&row.readings) {
        series.value.push(*value);
        if let (Some(not_good), Some(quality)) = (&mut series.not_good, quality)
            && *quality != Quality::Good
        {
            not_good.push((at, quality.as_str().into()));
        }
    }
}

fn push_unsure(answer: &mut Telemetry, at: u32, unsure: Option<UnsureTime>) {
    let (Some(stretches), Some(why)) = (&mut answer.unsure_times, unsure) else { return };
    match stretches.last_mut() {
        Some((_, end, held)) if *end == at && *held == why => *end = at.saturating_add(1),
        _ => stretches.push((at, at.saturating_add(1), why)),
    }
}

fn unsure_time(quality: TimeQuality) -> Option<UnsureTime> {
    match quality {
        TimeQuality::Device | TimeQuality::Anchored => None,
        TimeQuality::Estimated => Some(UnsureTime::Estimated),
        TimeQuality::Suspect => Some(UnsureTime::Suspect),
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
        series.value.push(figures.map(|f| f.mean(series.decimals)));
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

/// An aggregate converted to the point's unit.
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

    /// Returns the mean with two digits more than its readings have; further digits are noise.
    fn mean(self, decimals: u8) -> f64 {
        let power = 10f64.powi(i32::from(decimals) + MEAN_DECIMALS);
        let mean = self.sum / f64::from(self.count);
        let rounded = (mean * power).round() / power;
        // Values this large have no such digits; no inverter reports them.
        if rounded.is_finite() { rounded } else { mean }
    }

    /// Merges two aggregates of a bucket in which the layout changed.
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
    use crate::limits::{ANSWER_BYTES_MAX, POINTS_MAX};

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
                        truncated: true,
                        next_cursor: Some(Place::default().to_string()),
                    };
                    let length = serde_json::to_vec(&answer).unwrap().len();
                    assert!(length <= ANSWER_BYTES_MAX, "{resolution:?} × {width}: {length}");
                }
            }
        }
    }

    #[test]
    fn first_rows_are_kept_in_whatever_order_they_come() {
        let range = Range { from: UnixMs(10), to: UnixMs(1_000) };
        let place = |t, sequence| Place { t: UnixMs(t), epoch: 1, sequence, row: 0 };
        let mut rows = FirstRows::new(3, range, Some(place(20, 5)));
        let offered =
            [(500, 1), (20, 5), (20, 6), (9, 1), (30, 2), (1_000, 3), (25, 9), (20, 4), (600, 1)];
        for (t, sequence) in offered {
            if rows.wants(place(t, sequence)) {
                rows.offer(Row { place: place(t, sequence), unsure: None, readings: Vec::new() });
            }
        }
        assert!(rows.are_all_before(UnixMs(31)) && !rows.are_all_before(UnixMs(30)));
        let kept: Vec<_> = rows.into_sorted().iter().map(|row| row.place).collect();
        assert_eq!(kept, [place(20, 6), place(25, 9), place(30, 2)]);
    }

    #[test]
    fn cursors_are_those_that_answers_give() {
        let place = Place { t: UnixMs(1_782_000_000_000), epoch: 3, sequence: 77, row: 1023 };
        assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        for bad in ["", "1", "1.2.3", "1.2.3.4.5", "a.1.1.1", "1.-1.1.1", "1.1.1.4294967296"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn means_have_the_digits_of_their_readings() {
        let of = |sum, count, decimals| {
            let figures = Figures { count, sum, min: 0.0, max: 0.0, last: (UnixMs(0), 0.0) };
            figures.mean(decimals).to_string()
        };
        assert_eq!(of(149.93, 3, 2), "49.9767");
        assert_eq!(of(10.0, 3, 0), "3.33");
        assert_eq!(of(-0.2, 3, 1), "-0.067");
    }

    #[test]
    fn gaps_are_listed_by_day_up_to_a_limit() {
        let gap = |from, to| ecowatt_store::EnergyGap {
            source: SourceNumber(0),
            from: UnixMs(from),
            to: UnixMs(to),
        };
        let day = |n: i64| (UnixMs(n * 100), UnixMs(n * 100 + 100));
        let mut gaps = Gaps::new(vec![gap(-5, 5), gap(50, 250), gap(90, 100), gap(300, 310)]);
        let counts: Vec<_> =
            (0..5).map(day).map(|(begins, ends)| gaps.within(begins, ends).len()).collect();
        assert_eq!(counts, [3, 1, 1, 1, 0]);
        assert_eq!(gaps.listed_until, None);

        let many = i64::try_from(ENERGY_GAPS_MAX).unwrap();
        let mut gaps = Gaps::new((0..=many).map(|n| gap(n * 10, n * 10 + 1)).collect());
        let listed: usize =
            (0..many / 10 + 2).map(day).map(|(from, to)| gaps.within(from, to).len()).sum();
        assert_eq!(listed, ENERGY_GAPS_MAX);
        assert_eq!(gaps.listed_until, Some(UnixMs(many * 10)));
    }

    #[test]
    fn bucket_with_two_scales_is_one_bucket() {
        let of = |exponent, value| Figures::of(&Aggregate::of(UnixMs(value), value), exponent);
        let merged = of(-1, 100).merged(of(0, 20));
        assert_eq!((merged.count, merged.sum, merged.min, merged.max), (2, 30.0, 10.0, 20.0));
        assert_eq!(merged.last, (UnixMs(100), 10.0));
    }
}

//! Raw history: the samples of a range, decoded from the batches as devices encoded them.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use ecowatt_api::{Telemetry, UnsureTime};
use ecowatt_codec::{CodecMemory, DecodeError, Decoder};
use ecowatt_model::{Mark, Quality, UnixMs};
use ecowatt_profile::Layout;
use ecowatt_store::{Stream, StreamId, Stretch, TimeQuality, TimeRange};

use super::page::{Paged as _, Place};
use super::{Column, History, HistoryError, Query};
use crate::fleet::scaled;
use crate::time::Range;

impl History {
    pub(super) async fn raw(
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
            let Some((begins, id)) = blocks.last().map(|last| (last.first, last.batches[0].id))
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
    let mut state = Box::new(CodecMemory::<{ ecowatt_model::COLUMNS_MAX }>::new());
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
        let mut numbers = block
            .batches
            .iter()
            .flat_map(|batch| (0..batch.rows).map(move |number| (batch.id, number)));
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

#[cfg(test)]
mod tests {
    use super::*;

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
}

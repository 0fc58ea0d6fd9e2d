//! History from the roll-ups: minutes, quarter hours and days.

use ecowatt_api::{Resolution, Telemetry};
use ecowatt_model::UnixMs;
use ecowatt_store::limits::buckets_max;
use ecowatt_store::{Aggregate, Bucket, DateRange, LocalDate, PointId, TimeRange};

use super::page::Paged as _;
use super::{Column, History, HistoryError, Query};
use crate::fleet::scaled;
use crate::time::{local_date, start_of_day, zone_of};

/// Decimals of a mean beyond those of its readings.
const MEAN_DECIMALS: i32 = 2;

impl History {
    pub(super) async fn rolled_up(
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

    pub(super) async fn daily(
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
                .days(query.device.number(), query.inverter, DateRange { from, to }, ids(columns))
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn bucket_with_two_scales_is_one_bucket() {
        let of = |exponent, value| Figures::of(&Aggregate::of(UnixMs(value), value), exponent);
        let merged = of(-1, 100).merged(of(0, 20));
        assert_eq!((merged.count, merged.sum, merged.min, merged.max), (2, 30.0, 10.0, 20.0));
        assert_eq!(merged.last, (UnixMs(100), 10.0));
    }
}

//! Energy from an inverter's lifetime counter, correct despite misread values and for every order
//! of arrival.
//!
//! A counter continues in the order in which it was read. Batch ids, (epoch, sequence), have that
//! order without needing a clock. Each batch is one *link*: its first and last believed reading and
//! the energy between. Links that can follow one another form *lines*. Which links are believed is
//! a function of the surrounding links (`belief`), and the energy is the sum of the steps from one
//! believed link to the next (`docs/decisions/0007-a-counter-continues-in-the-order-in-which-it-was-read.md`).

mod belief;

use ecowatt_model::{BootEpoch, UnixMs};

use crate::energy::EnergySums;
use crate::ids::LocalDate;
use crate::varint::{put_i64, put_u64, take_i64, take_u8, take_u32, take_u64};

/// Counters of many inverters move only every few minutes, so a step may contain the energy of a
/// longer time than passed between its two readings; the slowest counter known moves every 15
/// minutes.
const LAG_MS: i64 = 15 * 60_000;

/// Least time assumed between two batches where no clock measured it: across a restart, and where
/// the clock ran backwards. A clock set to local time by hand, or by a server whose own clock was
/// wrong, is off by hours, and few devices are without power for more than a day. For longer
/// outages the surrounding batches show how far the counter moved.
const UNKNOWN_ELAPSED_MS: i64 = 24 * 60 * 60_000;

/// Rated power for judging a step if no layout has one: 1 MW, a large inverter.
const RATED_W_DEFAULT: u32 = 1_000_000;

/// How many earlier readings of its batch a reading may continue.
const READINGS_BACK_MAX: usize = 32;

/// Batches on either side that a batch is judged by, and how far back a believed one is searched
/// for.
const WINDOW: u32 = 24;

/// A reading of the lifetime counter; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CounterReading {
    pub(crate) at: UnixMs,
    pub(crate) date: LocalDate,
    pub(crate) mwh: i64,
}

/// Limits of an inverter's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CounterLimits {
    pub(crate) rated_w: Option<u32>,
    /// One step of the counter.
    pub(crate) quantum_mwh: i64,
}

impl CounterLimits {
    /// Returns the wider of both limits.
    fn or(&self, other: &Self) -> Self {
        Self {
            rated_w: self.rated_w.max(other.rated_w),
            quantum_mwh: self.quantum_mwh.max(other.quantum_mwh),
        }
    }

    /// Returns the milliwatt-hours of a step, or `None` if it goes backwards or exceeds what the
    /// inverter can produce in this time.
    fn step(&self, from: CounterReading, to: CounterReading, elapsed_ms: i64) -> Option<i64> {
        let mwh = to.mwh.checked_sub(from.mwh).filter(|mwh| *mwh >= 0)?;
        // W × ms / 3600 is milliwatt-hours; a fifth above rated power, which inverters can exceed
        // briefly.
        let rated_w = i128::from(self.rated_w.unwrap_or(RATED_W_DEFAULT));
        let time_ms = i128::from(elapsed_ms.saturating_add(LAG_MS));
        let possible = rated_w * time_ms * 12 / 36_000 + 2 * i128::from(self.quantum_mwh);
        (i128::from(mwh) <= possible).then_some(mwh)
    }
}

/// What other batches need to know of the believed readings of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    epoch: BootEpoch,
    ends: Ends,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) first: CounterReading,
    pub(crate) last: CounterReading,
    pub(crate) limits: CounterLimits,
}

impl Link {
    /// Returns how far the counter moved from the end of this batch to the end of a later one, or
    /// `None` if the later one does not continue it. A batch that begins with readings that are too
    /// low still continues it.
    fn step(&self, later: &Self) -> Option<i64> {
        let (from, to) = (&self.ends, &later.ends);
        let elapsed_ms = to.last.at.0.saturating_sub(from.last.at.0);
        let is_measured = self.epoch == later.epoch && elapsed_ms >= 0;
        let elapsed_ms = if is_measured { elapsed_ms } else { elapsed_ms.max(UNKNOWN_ELAPSED_MS) };
        from.limits.or(&to.limits).step(from.last, to.last, elapsed_ms)
    }

    pub(crate) fn is_continued_by(&self, later: &Self) -> bool {
        self.step(later).is_some()
    }
}

/// A batch's counter on one local day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CounterDay {
    pub(crate) date: LocalDate,
    /// Sum of the steps between believed readings.
    pub(crate) mwh: i64,
    pub(crate) believed: u32,
    pub(crate) passed_over: u32,
}

/// A batch of counter readings as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CounterEdge {
    /// At least so many consecutive steps up to this batch are continuous; counted up to [`CALM`],
    /// which the first batch of all starts with.
    pub(crate) calm: u32,
    pub(crate) batch: CounterBatch,
}

/// Everything that a batch contributes to the counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CounterBatch {
    pub(crate) ends: Ends,
    pub(crate) days: Vec<CounterDay>,
}

impl CounterBatch {
    /// Builds a batch from readings in the order in which they were taken; `None` without readings.
    pub(crate) fn new(readings: &[CounterReading], limits: CounterLimits) -> Option<Self> {
        let believed = believed_readings(readings, limits);
        let mut days: Vec<CounterDay> = Vec::with_capacity(1);
        let mut ends: Option<Ends> = None;
        for (reading, is_believed) in readings.iter().zip(believed) {
            let before = ends.map(|ends| ends.last.mwh).filter(|_| is_believed);
            let day = match days.iter_mut().rev().find(|day| day.date == reading.date) {
                Some(day) => day,
                None => {
                    let date = reading.date;
                    days.push(CounterDay { date, mwh: 0, believed: 0, passed_over: 0 });
                    days.last_mut()?
                }
            };
            if !is_believed {
                day.passed_over += 1;
                continue;
            }
            day.believed += 1;
            day.mwh = day.mwh.saturating_add(before.map_or(0, |before| reading.mwh - before));
            match &mut ends {
                Some(ends) => ends.last = *reading,
                None => ends = Some(Ends { first: *reading, last: *reading, limits }),
            }
        }
        Some(Self { ends: ends?, days })
    }

    /// Returns the batch as a link; the epoch comes from its id.
    pub(crate) fn link(&self, epoch: BootEpoch) -> Link {
        Link { epoch, ends: self.ends }
    }

    /// Returns the energy of this believed batch after `before`, the last believed one.
    pub(crate) fn after(
        &self,
        epoch: BootEpoch,
        before: Option<&Link>,
    ) -> Vec<(LocalDate, EnergySums)> {
        let day = |day: &CounterDay| {
            let sums = EnergySums {
                counter_mwh: day.mwh,
                counter_readings: day.believed.into(),
                refused_steps: day.passed_over.into(),
                ..EnergySums::default()
            };
            (day.date, sums)
        };
        let mut days: Vec<_> = self.days.iter().map(day).collect();
        let Some(before) = before else { return days };
        let date = self.ends.first.date;
        let Some((_, first)) = days.iter_mut().find(|(held, _)| *held == date) else { return days };
        if before.step(&self.link(epoch)).is_none() {
            first.refused_steps += 1;
            return days;
        }
        let join = self.ends.first.mwh.saturating_sub(before.ends.last.mwh);
        if join >= 0 {
            first.counter_mwh = first.counter_mwh.saturating_add(join);
            return days;
        }
        // The batch begins too low: its energy below the last reading was counted before.
        let mut twice = join.saturating_neg();
        for (_, sums) in &mut days {
            let taken = twice.min(sums.counter_mwh);
            sums.counter_mwh -= taken;
            twice -= taken;
        }
        days
    }

    /// Returns what a batch counts if it is not believed.
    fn passed_over(&self) -> Vec<(LocalDate, EnergySums)> {
        let day = |day: &CounterDay| {
            let refused_steps = i64::from(day.believed) + i64::from(day.passed_over);
            (day.date, EnergySums { refused_steps, ..EnergySums::default() })
        };
        self.days.iter().map(day).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Ends { first, last, limits } = self.ends;
        let mut out = Vec::with_capacity(32);
        out.push(FORMAT | if limits.rated_w.is_some() { HAS_RATED } else { 0 });
        if let Some(rated_w) = limits.rated_w {
            put_u64(&mut out, rated_w.into());
        }
        put_i64(&mut out, limits.quantum_mwh);
        put_i64(&mut out, first.at.0);
        put_i64(&mut out, first.date.0.into());
        put_i64(&mut out, first.mwh);
        put_i64(&mut out, last.at.0.wrapping_sub(first.at.0));
        put_i64(&mut out, i64::from(last.date.0) - i64::from(first.date.0));
        put_i64(&mut out, last.mwh.wrapping_sub(first.mwh));
        for day in &self.days {
            put_i64(&mut out, i64::from(day.date.0) - i64::from(first.date.0));
            put_i64(&mut out, day.mwh);
            put_u64(&mut out, day.believed.into());
            put_u64(&mut out, day.passed_over.into());
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let format = take_u8(bytes)?;
        if format & !HAS_RATED != FORMAT {
            return None;
        }
        let rated_w = if format & HAS_RATED == 0 { None } else { Some(take_u32(bytes)?) };
        let limits = CounterLimits { rated_w, quantum_mwh: take_i64(bytes)? };
        let first = CounterReading {
            at: UnixMs(take_i64(bytes)?),
            date: LocalDate(take_i64(bytes)?.try_into().ok()?),
            mwh: take_i64(bytes)?,
        };
        let date = |distance: i64| {
            i64::from(first.date.0).checked_add(distance)?.try_into().ok().map(LocalDate)
        };
        let last = CounterReading {
            at: UnixMs(take_i64(bytes)?.wrapping_add(first.at.0)),
            date: date(take_i64(bytes)?)?,
            mwh: take_i64(bytes)?.wrapping_add(first.mwh),
        };
        let mut days = Vec::with_capacity(1);
        while !bytes.is_empty() {
            days.push(CounterDay {
                date: date(take_i64(bytes)?)?,
                mwh: take_i64(bytes)?,
                believed: take_u64(bytes)?.try_into().ok()?,
                passed_over: take_u64(bytes)?.try_into().ok()?,
            });
        }
        Some(Self { ends: Ends { first, last, limits }, days })
    }
}

/// First byte of the stored form.
const FORMAT: u8 = 0x10;
const HAS_RATED: u8 = 1;

/// Returns which readings of a batch are believed: the longest line of readings that can follow one
/// another, and among equally long ones the line that reaches further.
fn believed_readings(readings: &[CounterReading], limits: CounterLimits) -> Vec<bool> {
    // The clock was not set within a batch; where it seems so, no time has passed.
    let follows = |from: &CounterReading, to: &CounterReading| {
        limits.step(*from, *to, to.at.0.saturating_sub(from.at.0).max(0)).is_some()
    };
    if readings.windows(2).all(|pair| follows(&pair[0], &pair[1])) {
        return vec![true; readings.len()];
    }
    // Per reading: the length of the longest line that ends with it, and the reading before it in
    // that line.
    let mut lines: Vec<(u32, Option<usize>)> = Vec::with_capacity(readings.len());
    for (place, to) in readings.iter().enumerate() {
        let mut longest = (1, None);
        for before in place.saturating_sub(READINGS_BACK_MAX)..place {
            let length = lines[before].0 + 1;
            if length >= longest.0 && follows(&readings[before], to) {
                longest = (length, Some(before));
            }
        }
        lines.push(longest);
    }
    let mut believed = vec![false; readings.len()];
    let end = (0..lines.len()).max_by_key(|place| lines[*place].0);
    let mut at = end;
    while let Some(place) = at {
        believed[place] = true;
        at = lines[place].1;
    }
    believed
}

/// Batches on either side of a new one that may change because of it, or that must be known to
/// decide how. It affects the judgement of those within one window and the spans of those within
/// two; the energy of one window more depends on theirs. Deciding whether the farthest are spanned
/// takes another window, and judging what may span them a fifth.
pub(crate) const REACH: u32 = 5 * WINDOW;

/// Continuous steps after which a further batch can be added without examining those before.
pub(crate) const CALM: u32 = 2 * WINDOW;

/// Returns the total energy of batches in the order of their ids. The energy of the first ones
/// depends on batches before them.
pub(crate) fn energy_of(batches: &[(BootEpoch, &CounterBatch)]) -> Vec<(LocalDate, EnergySums)> {
    let links: Vec<Link> = batches.iter().map(|(epoch, batch)| batch.link(*epoch)).collect();
    let believed = belief::believed(&links);
    let mut days = Vec::new();
    for (place, (epoch, batch)) in batches.iter().enumerate() {
        let sums = if believed[place] {
            let back = place.saturating_sub(belief::WINDOW)..place;
            let before = back.rev().find(|before| believed[*before]);
            batch.after(*epoch, before.map(|before| &links[before]))
        } else {
            batch.passed_over()
        };
        days.extend(sums);
    }
    days
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading() -> impl Strategy<Value = CounterReading> {
        let mwh = -1_000_000_000_000_000i64..1_000_000_000_000_000;
        (any::<i64>(), any::<i32>(), mwh).prop_map(|(at, date, mwh)| CounterReading {
            at: UnixMs(at),
            date: LocalDate(date),
            mwh,
        })
    }

    proptest! {
        #[test]
        fn batches_come_back(
            (first, last) in (reading(), reading()),
            rated_w: Option<u32>,
            quantum_mwh: i64,
            days in proptest::collection::vec(
                (any::<i32>(), any::<i64>(), any::<u32>(), any::<u32>()), 0..3,
            ),
        ) {
            let days = days.into_iter().map(|(date, mwh, believed, passed_over)| CounterDay {
                date: LocalDate(date), mwh, believed, passed_over,
            });
            let limits = CounterLimits { rated_w, quantum_mwh };
            let batch = CounterBatch { ends: Ends { first, last, limits }, days: days.collect() };
            prop_assert_eq!(CounterBatch::decode(&batch.encode()), Some(batch));
        }

        #[test]
        fn any_readings_make_a_batch(readings in proptest::collection::vec(reading(), 1..50)) {
            let batch = CounterBatch::new(&readings, CounterLimits::default()).unwrap();
            let counted: u32 = batch.days.iter().map(|day| day.believed + day.passed_over).sum();
            prop_assert_eq!(usize::try_from(counted).unwrap(), readings.len());
            let moved: i64 = batch.days.iter().map(|day| day.mwh).sum();
            prop_assert_eq!(moved, batch.ends.last.mwh - batch.ends.first.mwh);
        }
    }

    #[test]
    fn step_is_judged_by_what_the_inverter_can_make() {
        // 5 kW for the 15 minutes that a counter may lag, plus a fifth: 1,500 Wh.
        let limits = CounterLimits { rated_w: Some(5000), quantum_mwh: 0 };
        let reading = |mwh| CounterReading { at: UnixMs(0), date: LocalDate(0), mwh };
        let mwh = |to| limits.step(reading(0), reading(to), 0);
        assert_eq!((mwh(1_500_000), mwh(1_500_001)), (Some(1_500_000), None));
    }
}

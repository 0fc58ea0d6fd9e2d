//! Energy from the lifetime counter is what the counter really moved by, for any clock, any single
//! misreading and any short run of them, and for every order of arrival.

use ecowatt_model::{Quality, UnixMs};
use ecowatt_store::{DateRange, EnergyFigure, LocalDate, NewBlock, TimeQuality};
use proptest::prelude::*;

use crate::fixture::{DAY, Fixture, Sample, runtime, upload, utc_date};

const ALL_DATES: DateRange = DateRange { from: LocalDate(-1_000_000), to: LocalDate(1_000_000) };
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A batch: epoch, and readings of the counter with their times from the day's start.
type Batch = (u32, Vec<(i64, i64)>);

fn block(fixture: &Fixture, sequence: u32, (epoch, readings): &Batch) -> NewBlock {
    let sample = |(at, wh): &(i64, i64)| Sample {
        at: UnixMs(DAY.0 + at),
        power_w: Err(Quality::NotDue),
        counter_wh: Ok(*wh),
    };
    let samples: Vec<Sample> = readings.iter().map(sample).collect();
    fixture.block(*epoch, sequence, &samples)
}

/// Returns watt-hours by day and the number of readings not believed, for batches that arrive in
/// this order.
async fn arriving(batches: &[Batch], order: &[usize]) -> (Vec<(i32, i64)>, i64) {
    let fixture = Fixture::new().await;
    for (counter, place) in (1..).zip(order) {
        let sequence = u32::try_from(place + 1).unwrap();
        let block = block(&fixture, sequence, &batches[*place]);
        let receipt = fixture.stored(upload(fixture.device(), counter, vec![block])).await;
        assert_eq!(receipt.stored.len(), 1);
    }
    let days = fixture.store.energy_days(fixture.device(), ALL_DATES).await.unwrap();
    let mut refused = 0;
    let mut found = Vec::new();
    for day in days {
        match day.energy {
            EnergyFigure::Counter { mwh, refused_steps } => {
                refused += refused_steps;
                found.push((day.date.0 - utc_date(DAY).0, mwh / 1000));
            }
            EnergyFigure::Integrated { .. } | EnergyFigure::Nothing => {}
        }
    }
    (found, refused)
}

/// Like [`arriving`], in several orders, which must agree.
async fn counted(batches: &[Batch]) -> (Vec<(i32, i64)>, i64) {
    let forwards: Vec<usize> = (0..batches.len()).collect();
    let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
    // Runs of five, every second run first; a device may only have so many holes.
    let mut holes_first = forwards.clone();
    holes_first.sort_by_key(|place| (place / 5 % 2 == 0, *place));
    let expected = arriving(batches, &forwards).await;
    for order in [backwards, holes_first] {
        assert_eq!(arriving(batches, &order).await, expected, "{order:?}");
    }
    expected
}

async fn total(batches: &[Batch]) -> i64 {
    counted(batches).await.0.into_iter().map(|(_, wh)| wh).sum()
}

/// Batches of one epoch with readings over a minute each, whose counters have these values in
/// watt-hours.
fn minutes(batches: &[&[i64]]) -> Vec<Batch> {
    let mut at = 0;
    let mut readings = |counters: &[i64]| -> Vec<(i64, i64)> {
        let step = 5_000;
        counters
            .iter()
            .map(|wh| {
                at += step;
                (at, *wh)
            })
            .collect()
    };
    batches.iter().map(|counters| (1, readings(counters))).collect()
}

#[tokio::test]
async fn clock_in_local_time_at_the_start_doubles_no_day() {
    // Produces until 14:00; then a restart with a clock that is 5.5 hours ahead, for one batch;
    // then the right time until sunset, and the next morning.
    for (ahead_ms, batches_ahead) in
        [(330 * MINUTE_MS, 1), (330 * MINUTE_MS, 7), (13 * HOUR_MS, 3), (-6 * HOUR_MS, 1)]
    {
        let mut batches: Vec<Batch> = Vec::new();
        let mut wh = 2_000_000;
        let mut made = |from: i64, count: i64, offset: i64, epoch| {
            for minute in 0..count {
                let at = from + minute * MINUTE_MS;
                let reading = |second: i64| (at + offset + second * 1000, wh + second / 10);
                batches.push((epoch, (0..60).step_by(10).map(reading).collect()));
                wh += 70;
            }
        };
        made(7 * HOUR_MS, 420, 0, 1);
        made(14 * HOUR_MS, batches_ahead, ahead_ms, 2);
        made(14 * HOUR_MS + batches_ahead * MINUTE_MS, 240, 0, 2);
        made(30 * HOUR_MS, 60, 0, 2);
        let first = batches[0].1[0].1;
        let last = batches.last().unwrap().1[5].1;
        // Only two orders, because there are many batches.
        let forwards: Vec<usize> = (0..batches.len()).collect();
        let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
        let (days, _) = arriving(&batches, &forwards).await;
        assert_eq!(arriving(&batches, &backwards).await.0, days);
        let sum: i64 = days.iter().map(|(_, wh)| wh).sum();
        assert_eq!(sum, last - first, "{ahead_ms} ms ahead: {days:?}");
        // The second day has only its own hour.
        let second = days.iter().find(|(date, _)| *date == 1).map_or(0, |(_, wh)| *wh);
        let own = 60 * 70;
        let strays = if ahead_ms > 10 * HOUR_MS { 2 * 70 * batches_ahead } else { 70 };
        assert!((second - own).abs() <= strays, "{ahead_ms} ms ahead: {days:?}");
    }
}

#[tokio::test]
async fn device_that_was_off_for_a_week_gets_what_the_week_made() {
    let week = 7 * 24 * HOUR_MS;
    let of = |epoch: u32, at: i64, wh: i64| (epoch, vec![(at, wh), (at + 5_000, wh + 5)]);
    let before = |n: i64| of(1, n * MINUTE_MS, 1_000_000 + n * 60);
    let after = |n: i64, off: i64| of(2, week + off + n * MINUTE_MS, 1_200_000 + n * 60);
    // With a right clock, and with one that is hours behind or ahead until the first reply.
    for off in [0, -6 * HOUR_MS, 6 * HOUR_MS, -week] {
        for wrong in [0, 1, 4] {
            let mut batches: Vec<Batch> = (0..20).map(before).collect();
            batches.extend((0..20).map(|n| after(n, if n < wrong { off } else { 0 })));
            let truth = batches[39].1[1].1 - batches[0].1[0].1;
            assert_eq!(total(&batches).await, truth, "{off} ms off for {wrong} batches");
        }
    }
}

#[tokio::test]
async fn start_that_was_placed_too_early_brings_the_energy_of_the_hours_before_it() {
    // The device is off for hours while the inverter produces 5 kW, and its next samples are dated
    // right after the end by a server whose own clock was hours behind.
    for off_hours in [6, 10, 16] {
        for count in [1, 2, 20, 40] {
            for said_ms in [5_000, 10 * MINUTE_MS, HOUR_MS] {
                let (mut at, mut wh) = (0, 1_000_000);
                let mut batches: Vec<Batch> = Vec::new();
                let mut made = |epoch, count: i64, at: &mut i64, wh: &mut i64| {
                    for _ in 0..count {
                        let reading = |n: i64| (*at + n * 5_000, *wh + n * 7);
                        batches.push((epoch, (0..12).map(reading).collect()));
                        (*at, *wh) = (*at + MINUTE_MS, *wh + 84);
                    }
                };
                made(1, count, &mut at, &mut wh);
                at += said_ms;
                wh += off_hours * 5_000;
                made(2, count, &mut at, &mut wh);
                let truth = batches.last().unwrap().1[11].1 - batches[0].1[0].1;
                let what = format!("{off_hours} h off, {count} batches, {said_ms} ms said");
                assert_eq!(total(&batches).await, truth, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn false_run_of_some_batches_costs_and_adds_nothing() {
    type Misread = Box<dyn Fn(i64, i64) -> i64>;
    // A lifetime sum of a part that has just started, a wrong high word, another source, sums that
    // grow by parts.
    let run = |level: i64| move |_: i64, truth: i64| level + truth % 1_000;
    let kinds: [(&str, Misread); 7] = [
        ("low", Box::new(run(310_000))),
        ("nearly none", Box::new(|n, _| n + 1)),
        ("high", Box::new(run(66_740_000))),
        ("two sources 1.8 MWh apart", Box::new(|_, truth| truth + 1_800_000)),
        ("other source below", Box::new(|_, truth| truth - 1_100_000)),
        ("by parts", Box::new(|n, truth| truth * (n / 2 + 1) / 9)),
        ("frozen", Box::new(|_, _| 1_100_000)),
    ];
    for (what, misread) in &kinds {
        for (length, rows) in [(1, 1), (2, 4), (3, 1), (3, 12), (8, 4), (15, 1)] {
            let batch = |n: i64| -> Vec<i64> {
                let is_false = (20..20 + length).contains(&n);
                (0..rows)
                    .map(|row| 1_204_300 + n * 10 + row / 2)
                    .map(|truth| if is_false { misread(n - 20, truth) } else { truth })
                    .collect()
            };
            let all: Vec<Vec<i64>> = (0..40 + length).map(batch).collect();
            let slices: Vec<&[i64]> = all.iter().map(Vec::as_slice).collect();
            let truth = all.last().unwrap().last().unwrap() - all[0][0];
            let batches = minutes(&slices);
            assert_eq!(total(&batches).await, truth, "{what}, {length} batches of {rows}");
        }
    }
}

#[tokio::test]
async fn false_runs_that_come_again_and_again_cost_and_add_nothing() {
    for (right, wrong) in [(3, 1), (5, 3), (9, 2), (12, 11), (1, 1), (5, 5), (10, 10), (15, 15)] {
        let batch = |n: i64| -> Vec<i64> {
            let truth = 1_204_300 + n * 10;
            let is_false = n % (right + wrong) >= right;
            vec![truth - if is_false { 894_300 } else { 0 }; 3]
        };
        let count = (right + wrong) * 6 + right;
        let all: Vec<Vec<i64>> = (0..count).map(batch).collect();
        let slices: Vec<&[i64]> = all.iter().map(Vec::as_slice).collect();
        assert_eq!(total(&minutes(&slices)).await, (count - 1) * 10, "{right} and {wrong}");
    }
}

#[tokio::test]
async fn what_a_short_history_shows_is_counted() {
    // 20 Wh in total; misread as low, impossibly high, possibly high, and zero.
    for batches in [
        &[&[1000, 1010, 990, 1012, 1015, 1020][..]][..],
        &[&[1000], &[1000, 1010, 990, 990, 991, 980, 1012, 1020]],
        &[&[1000, 1010, 5_000_000, 1012, 1015, 1020]],
        &[&[1000, 1010, 1400, 1012, 1015, 1020]],
        &[&[1000, 1010, 0, 0, 0, 0, 0, 1012, 1020]],
        &[&[0, 0, 1000, 1010, 1020, 0]],
        // At the end of a batch, and at the beginning of one.
        &[&[1000, 1010, 990], &[1012, 1015, 1020]],
        &[&[1000, 1010, 5_000_000], &[1012, 1015, 1020]],
        &[&[1000, 1010], &[990, 1012, 1015, 1020]],
        &[&[1000, 1010], &[990, 990, 1012, 1015, 1020]],
        &[&[1000, 1010], &[990, 991, 992, 1012, 1015, 1020]],
        &[&[1000, 1010], &[5_000_000, 1012, 1015, 1017, 1018, 1020]],
        &[&[1000, 1010], &[1400, 1012, 1015, 1020]],
        &[&[1000, 1010, 990], &[991, 1012, 1015, 1020]],
        &[&[1000, 1010], &[0, 0], &[1012, 1020]],
        // A batch of its own.
        &[&[1000], &[1010], &[1400], &[1015], &[1020]],
        &[&[1000], &[1010], &[990], &[1015], &[1020]],
        &[&[1000, 1004], &[1005, 1010, 1400], &[1012, 1015], &[1016, 1020]],
    ] {
        assert_eq!(total(&minutes(batches)).await, 20, "{batches:?}");
    }
}

#[tokio::test]
async fn replaced_inverter_goes_on_from_its_own_first_reading() {
    for (old, new) in [(30, 30), (5, 30), (3, 3), (40, 60)] {
        for level in [3, 4_000_000, 1_290_000, 700_000_000] {
            let batch = |n: i64| -> Vec<i64> {
                let from = if n < old { 1_204_300 } else { level };
                (0..4).map(|row| from + n * 10 + row * 2).collect()
            };
            let all: Vec<Vec<i64>> = (0..old + new).map(batch).collect();
            let slices: Vec<&[i64]> = all.iter().map(Vec::as_slice).collect();
            let wh = total(&minutes(&slices)).await;
            let truth = (old - 1) * 10 + 6 + (new - 1) * 10 + 6;
            assert_eq!(wh, truth, "{old} batches of the old, {new} of the new at {level}");
        }
    }
}

#[tokio::test]
async fn replacement_within_a_batch_loses_no_more_than_the_batch() {
    for batches in [
        &[&[1000, 1010][..], &[3, 5, 8, 11, 13]][..],
        &[&[1000, 1010, 3, 5], &[8, 11, 13, 18]],
        &[&[1000, 1010], &[3], &[5, 8, 11, 13]],
        &[&[1000, 1010], &[5_000_003, 5_000_005, 5_000_008, 5_000_011, 5_000_013]],
        &[&[1000, 1010, 5_000_003], &[5_000_005, 5_000_008, 5_000_011, 5_000_015]],
    ] {
        let wh = total(&minutes(batches)).await;
        assert!((8..=20).contains(&wh), "{batches:?}: {wh}");
    }
}

#[tokio::test]
async fn batch_of_suspect_time_disturbs_nothing() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let year = 366 * 24 * HOUR_MS;
    for (sequence, ahead) in [(1, 0), (2, year), (3, 0), (4, -40 * year), (5, 0)] {
        let at = i64::from(sequence) * MINUTE_MS + ahead;
        let wh = 1_000_000 + i64::from(sequence) * 10;
        let samples = [0, 5].map(|second| Sample {
            at: UnixMs(DAY.0 + at + second * 1000),
            power_w: Ok(3600),
            counter_wh: Ok(wh + second),
        });
        let mut block = fixture.block(1, sequence, &samples);
        if ahead != 0 {
            block.time_quality = TimeQuality::Suspect;
        }
        fixture.stored(upload(device, u64::from(sequence), vec![block])).await;
    }
    let days = fixture.store.energy_days(device, ALL_DATES).await.unwrap();
    assert_eq!(days.len(), 1, "{days:?}");
    assert_eq!(days[0].energy, EnergyFigure::Counter { mwh: 45_000, refused_steps: 0 });
    let always = ecowatt_store::TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
    let gaps = fixture.store.energy_gaps(device, always).await.unwrap();
    assert!(gaps.iter().all(|gap| gap.to.0 - gap.from.0 < 3 * MINUTE_MS), "{gaps:?}");
}

#[tokio::test]
async fn readings_passed_over_are_counted_with_their_day() {
    let batches = minutes(&[&[1000, 1010, 5_000_000, 1015], &[1016, 3, 1018], &[1019, 1020]]);
    assert_eq!(counted(&batches).await, (vec![(0, 20)], 2));
}

/// Every kind of misreading: torn words, old answers, other sources.
fn wrong() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => 1i64..2_000_000,
        1 => 1_000_000i64..1_004_000,
        1 => Just(u32::MAX.into()),
        1 => (1i64..9).prop_map(|high| 1_000_000 + high * 65_536),
        1 => Just(0),
    ]
}

fn shuffled(count: usize, mut seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, usize::try_from(seed >> 33).unwrap() % (i + 1));
    }
    order
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Excludes the first reading, before which nothing is known, and the last ones, which no later
    /// reading contradicts.
    #[test]
    fn one_wrong_reading_anywhere_changes_no_energy(
        growth in proptest::collection::vec(0i64..12, 30..120),
        rows in 1usize..9,
        at: prop::sample::Index,
        value in wrong(),
        seed: u64,
    ) {
        let mut wh = 1_000_000;
        let mut readings = vec![(0, wh)];
        for (n, step) in (1..).zip(&growth) {
            wh += step;
            readings.push((n * 5_000, wh));
        }
        let from = 1 + rows;
        let to = readings.len() - 2 * rows;
        prop_assume!(to > from);
        let at = from + at.index(to - from);
        readings[at].1 = value;
        let truth: i64 = growth.iter().sum();
        let batches: Vec<Batch> =
            readings.chunks(rows).map(|part| (1, part.to_vec())).collect();
        let order = shuffled(batches.len(), seed);
        let (days, _) = runtime().block_on(arriving(&batches, &order));
        prop_assert_eq!(days, vec![(0, truth)], "{} at {}", value, at);
    }

    /// A bus that returns an earlier value most of the time for up to two hours, across restarts of
    /// the device.
    #[test]
    fn old_answers_among_true_ones_change_no_energy(
        growth in proptest::collection::vec(0i64..160, 450..900),
        is_old in proptest::collection::vec(prop_oneof![3 => Just(true), 1 => Just(false)], 10..120),
        at: prop::sample::Index,
        restart: prop::sample::Index,
        seed: u64,
    ) {
        let mut wh = 1_000_000;
        let mut readings = vec![(0, wh)];
        for (n, step) in (1..).zip(&growth) {
            wh += step;
            readings.push((n * MINUTE_MS, wh));
        }
        let truth: i64 = growth.iter().sum();
        // Far enough from both ends to be contradicted.
        let from = 120 + at.index(readings.len() - 240 - is_old.len());
        let old = readings[from].1;
        for (reading, is_old) in readings[from..].iter_mut().zip(&is_old) {
            if *is_old {
                reading.1 = old;
            }
        }
        let restart = from + restart.index(is_old.len());
        let (before, after) = readings.split_at(restart);
        let batches: Vec<Batch> = (before.chunks(15).map(|part| (1, part.to_vec())))
            .chain(after.chunks(15).map(|part| (2, part.to_vec())))
            .collect();
        let order = shuffled(batches.len(), seed);
        let (days, _) = runtime().block_on(arriving(&batches, &order));
        let counted: i64 = days.iter().map(|(_, wh)| wh).sum();
        prop_assert_eq!(counted, truth, "old from {} on", from);
    }

    /// For any readings and clocks, the energy depends on the batches only.
    #[test]
    fn order_of_arrival_does_not_matter(
        parts in proptest::collection::vec(
            (0u32..3, prop_oneof![4 => 0i64..60, 1 => -40_000i64..40_000],
             prop_oneof![6 => 0i64..30, 1 => -900_000i64..900_000, 1 => -50i64..400]),
            2..90,
        ),
        rows in 1usize..4,
        seed: u64,
    ) {
        let (mut at, mut wh) = (0, 1_500_000);
        let mut batches: Vec<Batch> = Vec::new();
        for chunk in parts.chunks(rows) {
            let readings = chunk.iter().map(|(_, seconds, growth)| {
                at += seconds * 1000;
                // A jump that does not last.
                if *growth < 400 { wh += growth.max(&0) }
                (at, if *growth >= 400 || *growth < 0 { wh + growth } else { wh })
            });
            batches.push((1, readings.collect()));
        }
        let forwards: Vec<usize> = (0..batches.len()).collect();
        let order = shuffled(batches.len(), seed);
        let (one, other) = runtime().block_on(async {
            (arriving(&batches, &forwards).await, arriving(&batches, &order).await)
        });
        prop_assert_eq!(one, other);
    }
}

#[tokio::test]
async fn counter_that_reads_zero_all_day_gives_way_to_the_power() {
    let fixture = Fixture::new().await;
    let sample = |minute: i64| Sample {
        at: UnixMs(DAY.0 + minute * MINUTE_MS),
        power_w: Ok(3600),
        counter_wh: Ok(0),
    };
    let samples: Vec<Sample> = (0..11).map(sample).collect();
    fixture.stored(upload(fixture.device(), 1, vec![fixture.block(1, 1, &samples)])).await;
    let days = fixture.store.energy_days(fixture.device(), ALL_DATES).await.unwrap();
    assert_eq!(days[0].energy, EnergyFigure::Integrated { mwh: 600_000 });
}

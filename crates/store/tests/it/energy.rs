//! Energy does not depend on the order in which batches arrive, and follows from the readings.

use ecowatt_model::{DeviceNumber, Quality, UnixMs};
use ecowatt_store::{
    DateRange, EnergyFigure, EnergyPoint, EnergyPoints, LocalDate, NewBlock, Summariser, TimeRange,
};
use proptest::prelude::*;

use crate::fixture::{DAY, Fixture, SOURCE, Sample, runtime, samples, upload, utc_date};

const ALL_DATES: DateRange = DateRange { from: LocalDate(-1_000_000), to: LocalDate(1_000_000) };
const ALL_TIME: TimeRange = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };

/// Everything that the store derived, as comparable text.
async fn derived(fixture: &Fixture) -> String {
    let (store, device) = (&fixture.store, fixture.device());
    let energy = store.energy_days(device, ALL_DATES).await.unwrap();
    let gaps = store.energy_gaps(device, ALL_TIME).await.unwrap();
    let points = || fixture.points.clone();
    let days = store.days(device, SOURCE, ALL_DATES, points()).await.unwrap();
    let around =
        TimeRange { from: UnixMs(DAY.0 - 30 * 86_400_000), to: UnixMs(DAY.0 + 30 * 86_400_000) };
    let minutes = store.minutes(device, SOURCE, around, points()).await.unwrap();
    let latest = store.latest(device).await.unwrap();
    let dates: Vec<_> = energy.iter().map(|day| (device, day.date)).collect();
    let lines = store.device_days(dates).await.unwrap();
    format!("{energy:#?}\n{gaps:#?}\n{days:?}\n{minutes:?}\n{latest:?}\n{lines:?}")
}

async fn in_order(blocks: &[NewBlock], per_message: usize) -> String {
    let fixture = Fixture::new().await;
    for (counter, blocks) in (1..).zip(blocks.chunks(per_message)) {
        fixture.stored(upload(fixture.device(), counter, blocks.to_vec())).await;
    }
    derived(&fixture).await
}

/// A reading of the property test: seconds since the previous one, power, growth of the counter.
type Step = (i64, Result<i64, Quality>, Option<i64>);

fn step() -> impl Strategy<Value = Step> {
    let distance = prop_oneof![8 => Just(5i64), 2 => 1i64..40, 1 => 50i64..4000, 1 => Just(40_000)];
    let power = prop_oneof![
        8 => (0i64..5000).prop_map(Ok),
        1 => Just(Err(Quality::Timeout)),
        1 => Just(Err(Quality::Asleep)),
        1 => Just(Err(Quality::NotDue)),
    ];
    let growth = prop_oneof![
        6 => (0i64..20).prop_map(Some),
        2 => Just(None),
        1 => Just(Some(-500)),
        1 => Just(Some(1_000_000)),
    ];
    (distance, power, growth)
}

fn samples_of(steps: &[Step]) -> Vec<Sample> {
    let (mut at, mut counter) = (DAY.0, 2_000_000i64);
    steps
        .iter()
        .map(|(seconds, power_w, growth)| {
            at += seconds * 1000;
            counter += growth.unwrap_or(0);
            let counter_wh = growth.map(|_| counter).ok_or(Quality::NotDue);
            Sample { at: UnixMs(at), power_w: *power_w, counter_wh }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn order_and_grouping_of_batches_do_not_matter(
        steps in proptest::collection::vec(step(), 1..60),
        rows in 1usize..12,
        order in any::<u64>(),
        per_message in 1usize..5,
    ) {
        runtime().block_on(async {
            let fixture = Fixture::new().await;
            let samples = samples_of(&steps);
            let blocks: Vec<NewBlock> = (1u32..)
                .zip(samples.chunks(rows))
                .map(|(sequence, part)| fixture.block(1, sequence, part))
                .collect();
            let expected = in_order(&blocks, 1).await;

            let mut shuffled = blocks.clone();
            let mut seed = order | 1;
            for i in (1..shuffled.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(i, usize::try_from(seed >> 33).unwrap() % (i + 1));
            }
            prop_assert_eq!(&in_order(&shuffled, per_message).await, &expected);
            let mut newest_first = blocks;
            newest_first.reverse();
            prop_assert_eq!(&in_order(&newest_first, per_message).await, &expected);
            Ok(())
        })?;
    }
}

async fn figure(fixture: &Fixture, date: LocalDate) -> EnergyFigure {
    let days = fixture.store.energy_days(fixture.device(), ALL_DATES).await.unwrap();
    days.iter().find(|day| day.date == date).map_or(EnergyFigure::Nothing, |day| day.energy)
}

/// An inverter without a counter returns zero for it, and once an answer that was not its own.
#[tokio::test]
async fn one_misread_word_of_a_dead_counter_does_not_hide_the_power() {
    for (readings, expected) in [
        (1, EnergyFigure::Integrated { mwh: 45_000 }),
        // Two that agree are those of a counter that stands still.
        (2, EnergyFigure::Counter { mwh: 0, refused_steps: 0 }),
    ] {
        let fixture = Fixture::new().await;
        let mut day = samples(0, 10);
        for (place, sample) in day.iter_mut().enumerate() {
            sample.counter_wh = Ok(if (4..4 + readings).contains(&place) { 1_204_300 } else { 0 });
        }
        fixture.stored(upload(fixture.device(), 1, vec![fixture.block(1, 1, &day)])).await;
        assert_eq!(figure(&fixture, utc_date(DAY)).await, expected, "{readings}");
    }
    // Without power, it is all that is known.
    let fixture = Fixture::new().await;
    let mut alone = samples(0, 1);
    alone[0].power_w = Err(Quality::Timeout);
    fixture.stored(upload(fixture.device(), 1, vec![fixture.block(1, 1, &alone)])).await;
    let expected = EnergyFigure::Counter { mwh: 0, refused_steps: 0 };
    assert_eq!(figure(&fixture, utc_date(DAY)).await, expected);
}

#[tokio::test]
async fn counter_bridges_a_gap_and_names_it() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    fixture.stored(upload(device, 1, vec![fixture.block(1, 1, &samples(0, 10))])).await;
    fixture.stored(upload(device, 2, vec![fixture.block(1, 3, &samples(3600, 10))])).await;
    let expected = EnergyFigure::Counter { mwh: 3_645_000, refused_steps: 0 };
    assert_eq!(figure(&fixture, utc_date(DAY)).await, expected);
    let gaps = fixture.store.energy_gaps(device, ALL_TIME).await.unwrap();
    assert_eq!(gaps.len(), 1);
    let bounds = (gaps[0].from, gaps[0].to);
    assert_eq!(bounds, (UnixMs(DAY.0 + 45_000), UnixMs(DAY.0 + 3_600_000)));
    // The batches in between arrive late: the gap disappears, the energy stays.
    let filler = fixture.block(1, 2, &samples(50, 710));
    fixture.stored(upload(device, 3, vec![filler])).await;
    assert_eq!(figure(&fixture, utc_date(DAY)).await, expected);
    assert!(fixture.store.energy_gaps(device, ALL_TIME).await.unwrap().is_empty());
}

/// Two samples, 5 s apart, between which the device's clock was set back from `from_s` to `to_s`
/// seconds of the day.
fn set_back(from_s: i64, to_s: i64, from_wh: i64, to_wh: i64) -> [Sample; 2] {
    [(from_s, from_wh), (to_s, to_wh)].map(|(seconds, wh)| Sample {
        at: UnixMs(DAY.0 + seconds * 1000),
        power_w: Ok(3600),
        counter_wh: Ok(wh),
    })
}

#[tokio::test]
async fn counter_goes_on_where_the_clock_is_set_back_within_a_batch() {
    for back_s in [1, 899, 901, 86_400] {
        let fixture = Fixture::new().await;
        let all = set_back(10_000 + back_s, 10_000, 1000, 1005);
        fixture.stored(upload(fixture.device(), 1, vec![fixture.block(1, 1, &all)])).await;
        let expected = EnergyFigure::Counter { mwh: 5_000, refused_steps: 0 };
        assert_eq!(figure(&fixture, utc_date(all[1].at)).await, expected, "{back_s} s");
    }
}

#[tokio::test]
async fn clock_set_back_within_a_batch_hides_no_gap() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let all = set_back(10_800, 3600, 1000, 1005);
    fixture.stored(upload(device, 1, vec![fixture.block(1, 1, &all)])).await;
    fixture.stored(upload(device, 2, vec![fixture.block(1, 2, &samples(18_000, 10))])).await;
    let gaps = fixture.store.energy_gaps(device, ALL_TIME).await.unwrap();
    let bounds: Vec<_> = gaps.iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(bounds, [(UnixMs(DAY.0 + 3_600_000), UnixMs(DAY.0 + 18_000_000))]);
}

#[tokio::test]
async fn energy_belongs_to_the_local_day_of_the_later_reading() {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let local = |at: UnixMs| {
        let date = jiff::Timestamp::from_millisecond(at.0).unwrap().to_zoned(zone.clone()).date();
        let since = date.duration_since(jiff::civil::date(1970, 1, 1));
        LocalDate(i32::try_from(since.as_hours() / 24).unwrap())
    };
    // 60 Wh per hour, from an hour before midnight to an hour after the next midnight.
    for (month, day, hours) in [(3, 29, 23), (10, 25, 25), (10, 26, 24)] {
        let fixture = Fixture::new().await;
        let midnight = jiff::civil::date(2026, month, day).to_zoned(zone.clone()).unwrap();
        let midnight = UnixMs(midnight.timestamp().as_millisecond());
        let all: Vec<Sample> = (-60..(hours + 1) * 60)
            .map(|minute| Sample {
                at: UnixMs(midnight.0 + minute * 60_000),
                power_w: Ok(60),
                counter_wh: Ok(1000 + minute),
            })
            .collect();
        for (counter, part) in (1u32..).zip(all.chunks(50)) {
            let block = crate::fixture::block(&fixture.points, (1, counter), part, local);
            fixture.stored(upload(fixture.device(), counter.into(), vec![block])).await;
        }
        // Readings at each minute of the day, each with the minute before it.
        let expected = EnergyFigure::Counter { mwh: hours * 60_000, refused_steps: 0 };
        assert_eq!(figure(&fixture, local(midnight)).await, expected, "{month}-{day}");
        let days = fixture.store.energy_days(fixture.device(), ALL_DATES).await.unwrap();
        assert_eq!(days.len(), 3);
    }
}

fn pv(name: &str) -> Vec<(i64, i64)> {
    let path = format!("{}/../../testdata/pv/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<i64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
            (cells[0], cells[10])
        })
        .collect()
}

/// The inverter of these days has no counter, so its energy is integrated.
#[tokio::test]
async fn integrated_days_are_the_sum_of_their_trapezoids() {
    let days = [
        ("d1_surfrad_alamosa_20160101_clear_winter", 28_500),
        ("d2_midc_boulder_20181014", 17_900),
        ("d4_srml_eugene_20180101", 3_800),
    ];
    for (name, about_wh) in days {
        let fixture = Fixture::new().await;
        let rows = pv(name);
        let energy = EnergyPoints {
            power: Some(EnergyPoint { index: 0, exponent: 0 }),
            counter: None,
            rated_w: Some(5000),
        };
        let mut blocks: Vec<NewBlock> = (1u32..)
            .zip(rows.chunks(7))
            .map(|(sequence, part)| {
                let mut summarise = Summariser::new(&fixture.points[..1], energy);
                for (t, watts) in part {
                    let at = UnixMs(t * 1000);
                    summarise.sample(at, utc_date(at), [(Quality::Good, Some(*watts))]);
                }
                let last = part.last().map_or(0, |(t, _)| t * 1000);
                NewBlock {
                    first: UnixMs(part[0].0 * 1000),
                    last: UnixMs(last),
                    rows: u16::try_from(part.len()).unwrap(),
                    summary: summarise.finish(),
                    ..fixture.block(1, sequence, &[])
                }
            })
            .collect();
        // Half of it newest first, as after an outage.
        let half = blocks.len() / 2;
        blocks[half..].reverse();
        for (counter, part) in (1..).zip(blocks.chunks(16)) {
            fixture.stored(upload(fixture.device(), counter, part.to_vec())).await;
        }
        let mut expected = std::collections::BTreeMap::<LocalDate, f64>::new();
        for pair in rows.windows(2) {
            let [(t0, w0), (t1, w1)] = [pair[0], pair[1]];
            #[expect(clippy::cast_precision_loss, reason = "an independent computation")]
            let wh = (w0 + w1) as f64 / 2.0 * (t1 - t0) as f64 / 3600.0;
            *expected.entry(utc_date(UnixMs(t1 * 1000))).or_default() += wh;
        }
        let mut total = 0.0;
        for (date, wh) in expected {
            let EnergyFigure::Integrated { mwh } = figure(&fixture, date).await else {
                panic!("{name}")
            };
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let stored = mwh as f64 / 1000.0;
            assert!((stored - wh).abs() < 0.002, "{name}: {stored} against {wh}");
            total += stored;
        }
        assert!((total / f64::from(about_wh) - 1.0).abs() < 0.02, "{name}: {total}");
        assert!(fixture.store.energy_gaps(DeviceNumber(1), ALL_TIME).await.unwrap().is_empty());
    }
}

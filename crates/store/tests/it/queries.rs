//! Stored samples are returned in every resolution.

use ecowatt_model::{Quality, UnixMs};
use ecowatt_store::{Attempt, DateRange, LocalDate, QUARTER_MS, Reading, TimeQuality, TimeRange};

use crate::fixture::{ARRIVAL, DAY, Fixture, SOURCE, Sample, samples, upload, utc_date};

fn range(from_s: i64, to_s: i64) -> TimeRange {
    TimeRange { from: UnixMs(DAY.0 + from_s * 1000), to: UnixMs(DAY.0 + to_s * 1000) }
}

#[tokio::test]
async fn buckets_are_what_the_samples_say() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    // An hour in batches of 7 samples; the value of each reading is its number.
    let all: Vec<Sample> = samples(0, 720)
        .into_iter()
        .enumerate()
        .map(|(i, sample)| Sample { power_w: Ok(i64::try_from(i).unwrap()), ..sample })
        .collect();
    for (sequence, part) in (1u32..).zip(all.chunks(7)) {
        let batch = fixture.block(1, sequence, part);
        fixture.stored(upload(device, u64::from(sequence), vec![batch])).await;
    }
    let points = || vec![fixture.points[1], fixture.points[0]];
    let minutes = fixture.store.minutes(device, SOURCE, range(120, 240), points()).await.unwrap();
    assert_eq!(minutes.len(), 2);
    assert_eq!(minutes[0].start, UnixMs(DAY.0 + 120_000));
    let power = minutes[0].aggregates[1].unwrap();
    assert_eq!((power.count, power.min, power.max, power.last), (12, 24, 35, 35));
    assert_eq!(power.sum, (24..36).sum::<i64>());

    let quarters = fixture.store.quarters(device, SOURCE, range(0, 3600), points()).await.unwrap();
    assert_eq!(quarters.len(), 4);
    assert_eq!(quarters[3].start, UnixMs(DAY.0 + 3 * QUARTER_MS));
    let power = quarters[3].aggregates[1].unwrap();
    assert_eq!((power.count, power.sum), (180, (540..720).sum()));

    let today = utc_date(DAY);
    let dates = DateRange { from: today, to: LocalDate(today.0 + 1) };
    let days = fixture.store.days(device, SOURCE, dates, points()).await.unwrap();
    let power = days[0].aggregates[1].unwrap();
    assert_eq!((power.count, power.sum, power.max), (720, (0..720).sum(), 719));
    assert_eq!(power.last_at, UnixMs(DAY.0 + 719 * 5000));

    let blocks = fixture.store.blocks(device, SOURCE, range(34, 36), None).await.unwrap();
    let sequences: Vec<u32> = blocks.iter().map(|block| block.id.sequence.0).collect();
    assert_eq!(sequences, [2], "the batch from 35 s on alone has samples in the range");

    let day = &fixture.store.device_days(vec![(device, today)]).await.unwrap()[0];
    assert_eq!(day.energy_wh, Some(719 * 5));
    let means: Vec<i64> = day.power.iter().map(|mean| mean.mw).collect();
    assert_eq!(means, [89_500, 269_500, 449_500, 629_500]);
}

#[tokio::test]
async fn late_batch_does_not_replace_newer_readings() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let failed = Sample { power_w: Err(Quality::Timeout), ..samples(200, 1)[0] };
    let newer = fixture.block(1, 2, &[samples(100, 1)[0], failed]);
    fixture.stored(upload(device, 1, vec![newer])).await;
    let older = fixture.block(1, 1, &samples(0, 7));
    fixture.stored(upload(device, 2, vec![older])).await;
    let latest = fixture.store.latest(device).await.unwrap();
    let power = &latest[0].readings[0];
    assert_eq!(power.point.def.name, "ac.power");
    assert_eq!(power.good, Some(Reading { at: UnixMs(DAY.0 + 100_000), value: 3600 }));
    assert_eq!(power.tried, Attempt { at: UnixMs(DAY.0 + 200_000), quality: Quality::Timeout });
    let powers = fixture.store.powers(vec![device]).await.unwrap();
    assert_eq!(
        powers[&device][0].good_mw,
        Some(Reading { at: UnixMs(DAY.0 + 100_000), value: 3_600_000 })
    );
    let counts = fixture.store.counts().await.unwrap();
    assert_eq!(counts.devices, 1);
    assert!(counts.database_bytes > 0);
}

#[tokio::test]
async fn sample_of_a_time_to_come_is_the_newest_until_one_of_the_present_arrives() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let now = ARRIVAL.0 - DAY.0;
    for (counter, ahead_ms) in [(1, 23 * 3_600_000), (2, 22 * 3_600_000), (3, -1000), (4, -5000)] {
        let sample = Sample { at: UnixMs(DAY.0 + now + ahead_ms), ..samples(0, 1)[0] };
        let block = fixture.block(1, u32::try_from(counter).unwrap(), &[sample]);
        fixture.stored(upload(device, counter, vec![block])).await;
        let newest = UnixMs(ARRIVAL.0 + if counter < 3 { 23 * 3_600_000 } else { -1000 });
        let power = &fixture.store.latest(device).await.unwrap()[0].readings[0];
        assert_eq!((power.tried.at, power.good.unwrap().at), (newest, newest));
        let link = fixture.store.find_device(device).await.unwrap().unwrap().link;
        assert_eq!(link.last_sample, Some(newest));
    }
}

#[tokio::test]
async fn batch_with_suspect_times_is_kept_but_is_not_the_newest() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let mut mad = fixture.block(1, 1, &samples(86_400_000, 3));
    mad.time_quality = TimeQuality::Suspect;
    fixture.stored(upload(device, 1, vec![fixture.block(1, 2, &samples(0, 3)), mad])).await;
    let power = &fixture.store.latest(device).await.unwrap()[0].readings[0];
    assert_eq!(power.tried.at, UnixMs(DAY.0 + 10_000));
    let link = fixture.store.find_device(device).await.unwrap().unwrap().link;
    assert_eq!((link.last_sample, link.samples), (Some(UnixMs(DAY.0 + 10_000)), 6));
}

#[tokio::test]
async fn reading_that_is_not_good_counts_nowhere() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let qualities =
        [Quality::NotDue, Quality::OutOfRange, Quality::Asleep, Quality::NotImplemented];
    let mut all = samples(0, 5);
    for (sample, quality) in all.iter_mut().zip(qualities) {
        sample.counter_wh = Err(quality);
    }
    fixture.stored(upload(device, 1, vec![fixture.block(1, 1, &all)])).await;
    let points = vec![fixture.points[1]];
    let minutes = fixture.store.minutes(device, SOURCE, range(0, 60), points).await.unwrap();
    assert_eq!(minutes[0].aggregates[0].unwrap().count, 1);
}

//! The times of samples.

use ecowatt_original::{Dating, Sending, Times};

const SENT_S: i64 = 1_765_526_400;

fn sending(sent_s: Option<i64>, interval_s: u32) -> Sending {
    Sending { sent_s, interval_s, received_ms: 1_765_526_402_500 }
}

/// The upload that the original's description works through: its packet's last sample was taken in
/// the second of sending.
#[test]
fn packet_ends_with_the_sample_whose_time_it_has() {
    let times = sending(Some(SENT_S), 5).times(Some(294_841_344), 3);
    assert_eq!(times, Times { last_ms: 1000 * SENT_S, step_ms: 5000, dating: Dating::Device });
    assert_eq!(times.rows(3), [1_765_526_390_000, 1_765_526_395_000, 1_765_526_400_000]);
}

/// Sent again a day later, a packet has the times that it had; so it does across the wrap of its 32
/// bits.
#[test]
fn times_stay_when_a_packet_is_sent_late() {
    let first = sending(Some(SENT_S), 5).times(Some(294_841_344), 3);
    let late = sending(Some(SENT_S + 86_400), 5).times(Some(294_841_344), 3);
    assert_eq!(first, late);
    // 1,765,231,558,656 is a multiple of 2^32.
    let wrapped = sending(Some(1_765_231_560), 5).times(Some(u32::MAX), 1);
    assert_eq!((wrapped.last_ms, wrapped.dating), (1_765_231_558_655, Dating::Device));
}

#[test]
fn device_without_the_time_of_day_counts_from_its_start() {
    // Sent 90 s after the start, taken 10 s before that.
    let times = sending(Some(90), 5).times(Some(80_000), 2);
    let last_ms = 1_765_526_402_500 - 10_000;
    assert_eq!(times, Times { last_ms, step_ms: 5000, dating: Dating::SinceStart });
}

#[test]
fn times_without_a_usable_source_are_estimates() {
    // The recorded uploads of the original's code have a made-up time: 13 hours ahead.
    let made_up = sending(Some(1_795_248_017), 5).times(Some(123_456), 7);
    assert_eq!((made_up.last_ms, made_up.dating), (1_795_248_017_000, Dating::Estimated));
    let none = sending(None, 5).times(Some(5), 7);
    assert_eq!((none.last_ms, none.dating), (1_765_526_402_500, Dating::Estimated));
    // A program means the first sample.
    let program = sending(Some(SENT_S), 5).times(None, 3);
    assert_eq!(program.rows(3)[0], 1000 * SENT_S);
    assert_eq!(program.dating, Dating::Estimated);
    let quick = sending(Some(SENT_S), 0).times(Some(294_841_344), 3);
    assert_eq!(quick.rows(3), [1_765_526_399_800, 1_765_526_399_900, 1_765_526_400_000]);
    assert_eq!(quick.dating, Dating::Estimated);
    for odd in [i64::MIN, -1, i64::MAX] {
        assert_eq!(sending(Some(odd), 5).times(Some(1), 1).last_ms, 1_765_526_402_500);
    }
}

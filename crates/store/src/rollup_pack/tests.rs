//! Packs of roll-ups return what they were made of, and their bytes are fixed.

use proptest::prelude::*;

use super::*;
use crate::rollup::quarter_of;

const DAY: i64 = 20_625;

/// (point, seconds from the day's start, value)
type Read = (u32, i64, i64);

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let value = prop_oneof![8 => -5_000i64..5_000, 1 => any::<i64>()];
    let second = prop_oneof![4 => 36_000i64..37_000, 1 => 0i64..86_400];
    proptest::collection::vec((0u32..6, second, value), 0..200)
}

fn columns(width: Width, reads: &[Read]) -> DayColumns {
    let mut columns = DayColumns::new(width, DAY);
    for (point, seconds, value) in reads {
        let at = UnixMs(DAY * DAY_MS + seconds * 1000 + 250);
        let (number, minute) = quarter_of(at);
        let mut one = Quarter::new(vec![PointId(*point)]);
        one.minute(minute)[0] = Some(Aggregate::of(at, *value));
        columns.add(number, &one);
    }
    columns
}

proptest! {
    #[test]
    fn what_is_packed_comes_back(reads in reads(), wanted in 0u32..7) {
        for width in [Width::Minute, Width::Quarter] {
            let whole = columns(width, &reads);
            let bytes = whole.encode();
            prop_assert_eq!(DayColumns::decode(width, DAY, &bytes), Some(whole.clone()));
            let held: std::collections::BTreeSet<u16> =
                whole.points.iter().flat_map(|(_, column)| column.iter().map(|(at, _)| *at)).collect();
            let count = u64::try_from(held.len()).unwrap();
            prop_assert_eq!(count_buckets(width, &bytes), Some(count));
            let wanted = PointId(wanted);
            let found = DayColumns::decode_points(width, DAY, &bytes, &[wanted]).unwrap();
            let expected = whole.points.get(&wanted).cloned().unwrap_or_default();
            prop_assert_eq!(&found[0], &expected);
        }
    }

    #[test]
    fn packs_joined_with_later_rows_are_the_pack_of_all(reads in reads(), part in 0usize..200) {
        let (early, late) = reads.split_at(part.min(reads.len()));
        for width in [Width::Minute, Width::Quarter] {
            let mut joined = DayColumns::decode(width, DAY, &columns(width, early).encode()).unwrap();
            for (number, quarter) in columns(Width::Minute, late).quarters() {
                joined.add(number, &quarter);
            }
            prop_assert_eq!(joined.encode(), columns(width, &reads).encode());
        }
    }

    #[test]
    fn quarters_of_a_day_are_its_minutes(reads in reads()) {
        let whole = columns(Width::Minute, &reads);
        let mut again = DayColumns::new(Width::Minute, DAY);
        for (number, quarter) in whole.quarters() {
            prop_assert_eq!(number.div_euclid(QUARTERS_PER_DAY), DAY);
            let bytes = quarter.encode(number);
            again.add(number, &Quarter::decode(number, &bytes).unwrap());
        }
        prop_assert_eq!(again, whole);
    }

    #[test]
    fn damaged_packs_do_not_panic(reads in reads(), at: prop::sample::Index, byte: u8) {
        let mut bytes = columns(Width::Minute, &reads).encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = DayColumns::decode(Width::Minute, DAY, &bytes);
        let _ = DayColumns::decode(Width::Quarter, DAY, &bytes);
    }
}

/// Bytes of version 1; never edited.
#[test]
fn format_1_is_this() {
    let reads: Vec<Read> = (0..40)
        .flat_map(|n| [(3, 36_000 + n * 10, 2300 + n % 4), (900, 36_000 + n * 10, 50 * n)])
        .collect();
    for (width, expected) in [
        (
            Width::Minute,
            "01011000e007a8ffc3c89509b571e083496f3203000e2000efd898b57562beb6d5a00b7d8107001c009a0136e64bc9148d830e751dce2a93979ac561ceb195e6c7502f44",
        ),
        (Width::Quarter, "01010a00205ffefd37a25e219f0300042000efdd81070006001277ffe5f8"),
    ] {
        let whole = columns(width, &reads);
        let bytes = whole.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(DayColumns::decode(width, DAY, &bytes), Some(whole));
    }
}

#[test]
fn day_of_noisy_minutes_takes_two_bytes_for_each() {
    // A triangle of power with noise, a sample each 5 s: 12 to a minute.
    let mut noise = 7u32;
    let reads: Vec<Read> = (0..17_280)
        .map(|n| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let power = (8_640 - (n - 8_640i64).abs()) / 2 + i64::from(noise >> 27);
            (1, n * 5, power)
        })
        .collect();
    let bytes = columns(Width::Minute, &reads).encode();
    assert!(bytes.len() < 1_440 * 3, "{}", bytes.len());
}

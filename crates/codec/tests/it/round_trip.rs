//! Every batch round-trips, within the promised length.

use ecowatt_codec::{
    Batch, COLUMNS_MAX, CodecMemory, EncodeError, Mark, ROWS_MAX, TimeBase, encode,
    encoded_len_max, encoded_len_max_of,
};
use proptest::prelude::*;

use crate::owned::Owned;

fn marks(cells: usize) -> impl Strategy<Value = Vec<Mark>> {
    let mark = (0_u8..8).prop_map(|code| Mark::from_code(code).unwrap());
    prop_oneof![
        Just(vec![Mark::Read; cells]),
        Just(vec![Mark::Asleep; cells]),
        prop::collection::vec(mark, cells),
        // Groups, each with its own period.
        (1_usize..9, 1_usize..9, 1_usize..20).prop_map(move |(columns, group, period)| {
            let is_due = |cell: usize| {
                let (row, group) = (cell / columns, cell % columns / group);
                row % (1 + group * period) == 0
            };
            (0..cells).map(|cell| if is_due(cell) { Mark::Read } else { Mark::NotDue }).collect()
        }),
    ]
}

fn words(cells: usize) -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![
        prop::collection::vec(any::<u16>(), cells),
        prop::collection::vec(prop_oneof![Just(0), Just(0x8000), Just(0xffff)], cells),
        (any::<u16>(), prop::collection::vec(0_u16..50, cells)).prop_map(|(base, steps)| {
            steps.into_iter().map(|step| base.wrapping_add(step)).collect()
        }),
    ]
}

fn times(rows: usize) -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        prop::collection::vec(any::<i64>(), rows),
        (any::<i64>(), prop::collection::vec(-20_i64..20, rows)).prop_map(|(start, jitter)| {
            (0..).zip(jitter).map(|(row, off)| start.wrapping_add(5000 * row + off)).collect()
        }),
        (-10_i64..2_000_000_000, 0_i64..100_000).prop_map(move |(start, step)| {
            (0..i64::try_from(rows).unwrap()).map(|row| 1000 * (start + step * row)).collect()
        }),
    ]
}

fn batch() -> impl Strategy<Value = Owned> {
    (1_usize..40, 1_usize..20, any::<bool>()).prop_flat_map(|(rows, columns, is_unix)| {
        let base = if is_unix { TimeBase::Unix } else { TimeBase::SinceBoot };
        (times(rows), words(rows * columns), marks(rows * columns))
            .prop_map(move |(times, words, marks)| Owned { base, columns, times, words, marks })
    })
}

proptest! {
    #[test]
    fn a_batch_round_trips(batch in batch()) {
        let bytes = batch.encode();
        prop_assert!(bytes.len() <= encoded_len_max(batch.times.len(), batch.columns));
        prop_assert_eq!(Owned::decode(&bytes), Ok(batch.canonical()));
    }
}

#[test]
fn the_largest_batch_round_trips() {
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u16::try_from(seed >> 16).unwrap()
    };
    let words = (0..ROWS_MAX * COLUMNS_MAX).map(|_| random()).collect();
    let batch = Owned::regular(COLUMNS_MAX, words);
    let bytes = batch.encode();
    assert!(bytes.len() <= 2 * batch.words.len() + 12, "{}", bytes.len());
    assert_eq!(Owned::decode(&bytes), Ok(batch));
}

#[test]
fn random_words_cost_little_more_than_plain_ones() {
    let mut seed = 7_u32;
    for (rows, columns) in [(1, 1), (7, 10), (180, 10), (1, 128)] {
        let words = (0..rows * columns)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                u16::try_from(seed >> 16).unwrap()
            })
            .collect();
        let batch = Owned::regular(columns, words);
        let len = batch.encode().len();
        assert!(len <= 2 * rows * columns + 10, "{rows} x {columns}: {len}");
    }
}

#[test]
fn a_disturbed_word_does_not_spoil_the_next_ones() {
    let mut calm = Owned::regular(
        1,
        (0..900_u32).map(|row| u16::try_from(5000 + row * row / 7 % 3).unwrap()).collect(),
    );
    let before = calm.encode().len();
    for row in (50..900).step_by(50) {
        calm.words[row] = 29_000;
    }
    let disturbed = calm.encode().len();
    // Seventeen words of 17 bits, plus the cost of the unexpected word and of the one after it.
    assert!(disturbed <= before + 17 * 11, "{before}, disturbed {disturbed}");
}

#[test]
fn counters_cost_only_their_unevenness() {
    let words = (0..180_u32).map(|row| u16::try_from((65_000 + 37 * row + row % 2) & 0xffff));
    let batch = Owned::regular(1, words.map(Result::unwrap).collect());
    let len = batch.encode().len();
    // One bit per row for unevenness; the rest is the start and the overflow of the 16 bits in the
    // middle.
    assert!(len <= 180 / 8 + 50, "{len}");
    assert_eq!(Owned::decode(&batch.encode()), Ok(batch));
}

#[test]
fn constant_intervals_cost_nothing_per_row() {
    let few = Owned::regular(1, vec![0; 2]).encode().len();
    let many = Owned::regular(1, vec![0; 1000]).encode().len();
    assert!(few <= 9, "{few}");
    assert!(many <= few + 8, "{many}");
}

#[test]
fn slow_groups_cost_little() {
    let rows = 180;
    let mut batch = Owned::regular(10, vec![230; rows * 10]);
    let all_read = batch.encode().len();
    for (cell, mark) in batch.marks.iter_mut().enumerate() {
        if cell % 10 >= 6 && cell / 10 % 12 != 3 {
            *mark = Mark::NotDue;
        }
    }
    let marked = batch.clone().canonical();
    let bytes = marked.encode();
    assert!(bytes.len() <= all_read + 30, "{} against {all_read}", bytes.len());
    assert_eq!(Owned::decode(&bytes), Ok(marked));
}

#[test]
fn columns_that_are_read_once_need_no_state() {
    let (rows, columns) = (40, 60);
    let words = (0..rows * columns).map(|cell| u16::try_from(cell * cell % 9_973).unwrap());
    let mut batch = Owned::regular(columns, words.collect());
    for (cell, mark) in batch.marks.iter_mut().enumerate() {
        // Columns 7 to 49 are read in row 12 alone, if at all.
        if (7..50).contains(&(cell % columns)) && (cell / columns != 12 || cell % 11 == 0) {
            *mark = Mark::NotDue;
        }
    }
    let table = Batch {
        base: batch.base,
        columns,
        times: &batch.times,
        words: &batch.words,
        marks: Some(&batch.marks),
    };
    let mut bytes = vec![0; encoded_len_max_of(rows, columns, rows * 17 + 43)];
    let len = encode(&table, &mut CodecMemory::<17>::new(), &mut bytes).unwrap();
    assert_eq!(bytes[..len], batch.encode());
    assert_eq!(Owned::decode(&bytes[..len]), Ok(batch.clone().canonical()));
    let refused = encode(&table, &mut CodecMemory::<16>::new(), &mut bytes);
    assert_eq!(refused, Err(EncodeError::State { room: 16, columns: 17 }));
}

#[test]
fn batches_out_of_bounds_are_refused() {
    let batch = |rows, columns| Owned::regular(columns, vec![0; rows * columns]);
    assert_eq!(batch(0, 3).try_encode(), Err(EncodeError::Rows(0)));
    assert_eq!(batch(1025, 1).try_encode(), Err(EncodeError::Rows(1025)));
    assert_eq!(batch(1, 129).try_encode(), Err(EncodeError::Columns(129)));
    let mut short = batch(2, 3);
    short.words.pop();
    assert_eq!(short.try_encode(), Err(EncodeError::Words { cells: 6, words: 5 }));
    let mut long = batch(2, 3);
    long.marks.push(Mark::Read);
    assert_eq!(long.try_encode(), Err(EncodeError::Marks { cells: 6, marks: 7 }));
}

#[test]
fn state_for_ten_columns_is_within_8_kib() {
    assert!(size_of::<CodecMemory<10>>() <= 8 << 10, "{}", size_of::<CodecMemory<10>>());
}

//! Whole days of PV registers round-trip and are as small as promised.

use crate::owned::Owned;

const COLUMNS: usize = 10;

fn day(name: &str) -> Vec<u16> {
    let path = format!("{}/../../testdata/pv/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines()
        .skip(1)
        .flat_map(|line| line.split(',').skip(1))
        .map(|n| n.parse().unwrap())
        .collect()
}

/// Encoded size of a day as a share of its raw size (two bytes per word), in batches of `rows`
/// samples.
fn ratio(words: &[u16], rows: usize) -> f64 {
    let mut encoded = 0;
    for words in words.chunks(rows * COLUMNS) {
        let batch = Owned::regular(COLUMNS, words.to_vec());
        let bytes = batch.encode();
        encoded += bytes.len();
        assert_eq!(Owned::decode(&bytes), Ok(batch));
    }
    f64::from(u32::try_from(encoded).unwrap()) / f64::from(u32::try_from(2 * words.len()).unwrap())
}

#[test]
fn days_are_smaller_than_with_rice_codes() {
    // Rice: delta + zigzag + a Rice code for each column, without times and header.
    for (name, rice_7, rice_180) in [
        ("d1_surfrad_alamosa_20160101_clear_winter", 0.2641, 0.1069),
        ("d2_midc_boulder_20181014", 0.2774, 0.1222),
        ("d4_srml_eugene_20180101", 0.2618, 0.1041),
    ] {
        let words = day(name);
        let (by_7, by_180) = (ratio(&words, 7), ratio(&words, 180));
        println!("{name}: {by_7:.4} {:.4} {by_180:.4}", ratio(&words, 25));
        assert!(by_7 <= 0.86 * rice_7, "{name} by 7: {by_7}");
        assert!(by_180 <= 0.93 * rice_180, "{name} by 180: {by_180}");
    }
}

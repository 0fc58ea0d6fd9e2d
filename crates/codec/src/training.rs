//! Trains the priors, and measures them on days that they were not trained on.
//!
//! The priors are how often each bit was set over the days in `testdata/pv`, cut into batches of
//! three sizes. Every second batch is disguised first: columns are shuffled and scaled, and some
//! are replaced by counters. So the table learns how registers move, not which register is in which
//! column.

extern crate std;

use std::boxed::Box;
use std::fmt::Write;
use std::format;
use std::string::String;
use std::vec::Vec;

use crate::predictor::Predictor;
use crate::priors::{CONTEXTS, PRIORS};
use crate::range_coder::{Coder, Probability, Steady};
use crate::words::{DIFFERS_START, Words};

const COLUMNS: usize = 10;
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/pv");
const DAYS: [&str; 3] = [
    "d1_surfrad_alamosa_20160101_clear_winter",
    "d2_midc_boulder_20181014",
    "d4_srml_eugene_20180101",
];

/// Samples per batch, and how many times a day is cut into such batches.
const SIZES: [(usize, usize); 3] = [(7, 2), (25, 1), (180, 1)];

/// The probabilities for first words of columns are kept this far from certainty, in 1/65,536:
/// other inverters have other registers, and each surprise at the start of a batch costs at most
/// four bits.
const UNCERTAIN: u16 = 1 << 12;

fn day(name: &str) -> Vec<u16> {
    let text = std::fs::read_to_string(format!("{FOLDER}/{name}.csv")).unwrap();
    let rows = text.lines().skip(1);
    rows.flat_map(|row| row.split(',').skip(1)).map(|word| word.parse().unwrap()).collect()
}

/// A linear congruential generator (Knuth's MMIX constants), so that training returns the same
/// table everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// Counts the bits seen in every context.
struct Tally(Box<[[u64; 2]; CONTEXTS]>);

impl Coder for Tally {
    fn bit<const PACE: u32>(&mut self, _: &mut Probability<PACE>, bit: bool) -> bool {
        bit
    }

    fn bit_in(&mut self, _: &mut [Steady], at: usize, bit: bool) -> bool {
        self.0[at][usize::from(bit)] += 1;
        bit
    }

    fn short(&mut self, value: u32, _: u32) -> u32 {
        value
    }

    fn reject(&mut self) {
        panic!("training writes bytes that a decoder refuses");
    }
}

/// Adds up the information content of every bit.
struct Cost(f64);

impl Coder for Cost {
    fn bit<const PACE: u32>(&mut self, probability: &mut Probability<PACE>, bit: bool) -> bool {
        let set = f64::from(probability.set()) / 65536.0;
        self.0 -= if bit { set } else { 1.0 - set }.log2();
        probability.learn(bit);
        bit
    }

    fn short(&mut self, value: u32, bits: u32) -> u32 {
        self.0 += f64::from(bits);
        value
    }

    fn reject(&mut self) {
        panic!("the cost of bytes that a decoder refuses");
    }
}

fn code(words: &mut Words, batch: &[u16], coder: &mut impl Coder) {
    let mut columns = [Predictor::NEW; COLUMNS];
    for row in batch.chunks(COLUMNS) {
        words.start_row();
        for (column, &word) in columns.iter_mut().zip(row) {
            words.code(coder, column, word);
        }
    }
}

fn disguise(random: &mut Random, batch: &[u16]) -> Vec<u16> {
    const SCALES: [(u32, u32); 8] =
        [(1, 1), (1, 1), (2, 1), (5, 1), (10, 1), (25, 1), (1, 2), (1, 5)];
    let mut order: Vec<usize> = (0..COLUMNS).collect();
    random.shuffle(&mut order);
    let scales: Vec<_> = order.iter().map(|_| SCALES[random.below(SCALES.len())]).collect();
    // One column in eight counts up, by zero to many counts per row.
    let paces: Vec<_> =
        order.iter().map(|_| (random.below(8) == 0).then(|| 1 + random.below(40))).collect();
    let mut counters: Vec<_> = order.iter().map(|_| random.below(1 << 16)).collect();
    let mut disguised = Vec::new();
    for row in batch.chunks(COLUMNS) {
        for (at, &from) in order.iter().enumerate() {
            let word = if let Some(pace) = paces[at] {
                counters[at] += pace / 4 + usize::from(random.below(4) < pace % 4);
                counters[at] & 0xffff
            } else {
                let (times, by) = scales[at];
                usize::try_from((u32::from(row[from]) * times / by) & 0xffff).unwrap()
            };
            disguised.push(u16::try_from(word).unwrap());
        }
    }
    disguised
}

fn train(days: &[&[u16]]) -> [Steady; CONTEXTS] {
    let mut random = Random(20_261_121);
    let mut tally = Tally(Box::new([[0; 2]; CONTEXTS]));
    let mut words = Words::NEW;
    for day in days {
        for (samples, repeats) in SIZES {
            for _ in 0..repeats {
                for batch in day.chunks(samples * COLUMNS) {
                    if random.below(2) == 0 {
                        code(&mut words, batch, &mut tally);
                    } else {
                        code(&mut words, &disguise(&mut random, batch), &mut tally);
                    }
                }
            }
        }
    }
    let mut priors = [Steady::EVEN; CONTEXTS];
    for (at, [clear, set]) in tally.0.iter().enumerate() {
        let set = (set * 65536 + 32768) / (clear + set + 1);
        let least = if at < DIFFERS_START { UNCERTAIN } else { 64 };
        priors[at] = Steady::new(
            u16::try_from(set).unwrap_or(u16::MAX).clamp(least, 0_u16.wrapping_sub(least)),
        );
    }
    priors
}

/// Compressed size of a day as a share of its raw size, without header and times.
fn share(priors: [Steady; CONTEXTS], day: &[u16], samples: usize) -> f64 {
    let mut cost = Cost(0.0);
    for batch in day.chunks(samples * COLUMNS) {
        code(&mut Words::with(priors), batch, &mut cost);
    }
    cost.0 / (16 * day.len()) as f64
}

/// Returns the source file with these priors.
fn source(priors: &[Steady; CONTEXTS]) -> String {
    let mut source = String::from(
        "//! Initial probability that each bit of a word is set, before a batch has trained \
         the models.\n\
         //!\n\
         //! Generated by the test `priors_are_the_result_of_training`; a change is a new \
         format.\n\n\
         use crate::range_coder::Steady;\n\
         \n\
         /// How many there are.\n\
         pub(crate) const CONTEXTS: usize = 2034;\n\n\
         /// In the order of the families in `words`, in 1/65,536.\n\
         pub(crate) const PRIORS: [Steady; CONTEXTS] = {\n    \
         let mut priors = [Steady::EVEN; CONTEXTS];\n    \
         let mut at = 0;\n    \
         while at < CONTEXTS {\n        \
         priors[at] = Steady::new(SET[at]);\n        \
         at += 1;\n    \
         }\n    \
         priors\n\
         };\n\n\
         #[rustfmt::skip]\n\
         const SET: [u16; CONTEXTS] = [\n",
    );
    for line in priors.chunks(16) {
        let numbers: Vec<_> = line.iter().map(|prior| format!("{},", prior.set())).collect();
        writeln!(source, "    {}", numbers.join(" ")).unwrap();
    }
    source.push_str("];\n");
    source
}

#[test]
fn priors_are_the_result_of_training() {
    let days = DAYS.map(day);
    let trained = train(&days.each_ref().map(Vec::as_slice));
    if trained != PRIORS {
        let path = std::env::temp_dir().join("ecowatt-codec-priors.rs");
        std::fs::write(&path, source(&trained)).unwrap();
        panic!("crates/codec/src/priors.rs does not match the training result, {}", path.display());
    }
}

#[test]
fn priors_fit_days_they_were_not_trained_on() {
    let days = DAYS.map(day);
    let (mut sums, mut trained_on_all) = ([0.0; 3], [0.0; 3]);
    for (at, unseen) in days.iter().enumerate() {
        let seen: Vec<&[u16]> =
            (0..).zip(&days).filter(|(other, _)| *other != at).map(|(_, day)| &day[..]).collect();
        let priors = train(&seen);
        for (size, (samples, _)) in SIZES.into_iter().enumerate() {
            sums[size] += share(priors, unseen, samples) / 3.0;
            trained_on_all[size] += share(PRIORS, unseen, samples) / 3.0;
        }
    }
    std::println!("unseen {sums:.4?}, seen {trained_on_all:.4?}");
    for (unseen, seen) in sums.into_iter().zip(trained_on_all) {
        assert!(unseen < 1.03 * seen, "{unseen} of raw on unseen days, {seen} on seen ones");
    }
}

/// Other implementations take the table from the page.
#[test]
fn page_has_the_same_table() {
    let page = include_str!("../../../docs/codec-priors.txt");
    let page: Vec<u16> = page.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(page, PRIORS.map(Probability::set));
}

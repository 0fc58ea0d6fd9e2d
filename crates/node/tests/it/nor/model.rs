//! Random lives of a partition beside a model of it: appends, erasures, restarts, power cuts also
//! during recovery, and sectors that fail one after the other.
//!
//! As long as what was programmed can be read, failing programs and erasures cost nothing: every
//! area is exactly what was acknowledged, with a part of what was under way when the power failed.

use std::collections::BTreeMap;

use ecowatt_node::nor::Nor;
use ecowatt_node::storage::{Area, Areas, Fault, SmallArea};

use super::chip::{Chip, Failure};
use super::{journal, with_erasures};

const SEEDS: std::ops::Range<u64> = 1..400;
const STEPS: usize = 120;
const SECTORS: u64 = 20;
/// Bytes of all areas together; the rest is room for sectors that fail.
const BYTES_MAX: usize = 24_000;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(super) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(u64::try_from(limit).unwrap())).unwrap()
    }
}

/// What an area may be.
#[derive(Debug, Clone, Default)]
struct Expected {
    /// What is acknowledged; `None` if the area does not exist.
    held: Option<Vec<u8>>,
    /// A part of one of these may follow, because an append failed.
    maybe: Vec<Vec<u8>>,
    /// An erasure failed, so that the area may be gone.
    may_be_gone: bool,
    /// An append to a missing area failed, so that it may be there, with no bytes or more.
    may_be_there: bool,
}

impl Expected {
    fn admits(&self, found: Option<&[u8]>) -> bool {
        let may_follow =
            |more: &[u8]| more.is_empty() || self.maybe.iter().any(|bytes| bytes.starts_with(more));
        match (&self.held, found) {
            (None, None) => true,
            (Some(_), None) => self.may_be_gone,
            (None, Some(found)) => self.may_be_there && may_follow(found),
            (Some(held), Some(found)) => found.strip_prefix(&held[..]).is_some_and(may_follow),
        }
    }
}

struct Life {
    random: Random,
    chip: Chip,
    nor: Nor<Chip>,
    expected: BTreeMap<Area, Expected>,
    /// Sectors that may still fail.
    failures_left: u64,
    cuts: usize,
}

fn areas() -> Vec<Area> {
    let copies = [0, 1].map(|copy| Area::Copy(SmallArea::Ledger, copy));
    let journals = [0, 1].map(journal);
    let segments = [1, 2, 3].map(Area::Segment);
    [&copies[..], &journals, &segments].concat()
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let erasures: Vec<u32> =
            (0..SECTORS).map(|_| u32::try_from(random.below(2_000)).unwrap()).collect();
        let chip = with_erasures(&erasures);
        let nor = Nor::open(chip.clone()).unwrap();
        let expected = areas().into_iter().map(|area| (area, Expected::default())).collect();
        let failures_left = random.below(6);
        Self { random, chip, nor, expected, failures_left, cuts: 0 }
    }

    /// Contents of an area, also if the power failed after the operation.
    fn look(&self, area: Area) -> Option<Vec<u8>> {
        let nor = match self.chip.is_off() {
            true => Nor::open(Chip::holding(self.chip.bytes())).unwrap(),
            false => self.nor.clone(),
        };
        nor.read(area, 1 << 20).unwrap()
    }

    fn step(&mut self) {
        let area = areas()[self.random.index(areas().len())];
        if self.random.below(5) == 0 {
            self.chip.cut_in(self.random.index(12), self.random.index(5_000));
        }
        if self.random.below(25) == 0 {
            let failure = Failure::ALL[self.random.index(Failure::ALL.len() - 1)];
            self.chip.fail_once(self.random.index(10), failure);
        }
        if self.failures_left > 0 && self.random.below(15) == 0 {
            self.failures_left -= 1;
            let sector = self.random.index(usize::try_from(SECTORS).unwrap());
            let failure = Failure::ALL[self.random.index(Failure::ALL.len() - 1)];
            self.chip.fail(sector, failure);
        }
        match self.random.below(10) {
            0..6 => self.append(area),
            6..8 => self.erase(area, false),
            8 => self.erase(area, true),
            _ => self.restart(),
        }
        if self.chip.is_off() {
            self.restart();
        }
    }

    fn append(&mut self, area: Area) {
        let len = [0, 1, 30, 200, 2_000, 4_020, 4_021, 9_000][self.random.index(8)];
        let start = self.random.index(256);
        let bytes: Vec<u8> =
            (0..len).map(|at| u8::try_from((start + at * 7) % 256).unwrap()).collect();
        let total: usize = self.expected.values().flat_map(|e| &e.held).map(Vec::len).sum();
        if total + len > BYTES_MAX {
            return;
        }
        let before = self.look(area);
        let written = self.nor.append(area, &bytes);
        let found = self.look(area);
        let expected = self.expected.get_mut(&area).unwrap();
        match (written, found) {
            (Ok(()), found) => {
                assert!(!expected.may_be_gone, "{area} may be gone and takes bytes");
                // What an earlier append may have left is there or not from here on.
                let found = found.unwrap();
                let before = found.strip_suffix(&bytes[..]).unwrap();
                let is_new = expected.held.is_none() && before.is_empty();
                assert!(is_new || expected.admits(Some(before)), "{area} after an append");
                *expected = Expected { held: Some(found), ..Expected::default() };
            }
            (Err(Fault::Full), _) => {}
            (Err(_), found) => {
                let visible = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
                let added = visible(&found).saturating_sub(visible(&before));
                if added > 0 {
                    expected.maybe.clear();
                }
                expected.may_be_there |= found.is_none() && expected.held.is_none();
                expected.held = found.or_else(|| expected.held.take());
                expected.maybe.push(bytes.get(added..).unwrap_or_default().to_vec());
            }
        }
    }

    fn erase(&mut self, area: Area, is_aside: bool) {
        let erased = if is_aside { self.nor.set_aside(area) } else { self.nor.erase(area) };
        let expected = self.expected.get_mut(&area).unwrap();
        match erased {
            Ok(()) => *expected = Expected::default(),
            Err(_) if expected.held.is_none() && !expected.may_be_there => {}
            Err(_) => expected.may_be_gone = true,
        }
    }

    /// Starts again, with more cuts in between.
    fn restart(&mut self) {
        self.cuts += usize::from(self.chip.is_off());
        self.chip.power_on();
        for _ in 0..self.random.below(4) {
            self.chip.cut_in(self.random.index(6), self.random.index(5_000));
            if let Ok(nor) = Nor::open(self.chip.clone()) {
                self.nor = nor;
            }
            self.cuts += usize::from(self.chip.is_off());
            self.chip.power_on();
        }
        self.nor = Nor::open(self.chip.clone()).unwrap();
        let listed = self.nor.list().unwrap();
        for (area, expected) in &mut self.expected {
            let found = self.nor.read(*area, 1 << 20).unwrap();
            assert!(
                expected.admits(found.as_deref()),
                "{area}: {:?} bytes found, {:?} and {} expected, gone {}, there {}; {:?}",
                found.as_ref().map(Vec::len),
                expected.held.as_ref().map(Vec::len),
                expected.maybe.len(),
                expected.may_be_gone,
                expected.may_be_there,
                self.chip.failures(),
            );
            assert_eq!(found.is_some(), listed.contains(area), "{area}");
            *expected = Expected { held: found, ..Expected::default() };
        }
    }
}

#[test]
fn what_was_acknowledged_survives_cuts_and_sectors_that_fail() {
    let (mut cuts, mut retired) = (0, 0);
    for seed in SEEDS {
        println!("seed {seed}");
        let mut life = Life::new(seed);
        for _ in 0..STEPS {
            life.step();
        }
        life.chip.power_on();
        life.restart();
        // It still takes what it has room for.
        for area in areas() {
            let _ = life.nor.erase(area);
        }
        life.nor.append(Area::Segment(9), &[1; 9_000]).unwrap();
        assert_eq!(Nor::open(life.chip.clone()).unwrap().len(Area::Segment(9)), Ok(Some(9_000)));
        cuts += life.cuts;
        retired += life.nor.wear().retired;
    }
    println!("{cuts} cuts, {retired} sectors retired");
    assert!(cuts > 5_000 && retired > 300, "{cuts} cuts, {retired} sectors retired");
}

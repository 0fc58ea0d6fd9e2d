//! The storage of a node on flash: the sweeps that it passes on a disk, and sectors that fail
//! meanwhile.

use ecowatt_codec::CodecMemory;
use ecowatt_node::nor::Nor;
use ecowatt_node::storage::Area;

use super::chip::{Chip, Failure, Op, SECTOR};
use super::owner;
use crate::sweep::{COLUMNS, History, Life, check_on, live_on, losses_on};

const SECTORS: usize = 40;

/// Lives on a flawless chip.
fn live(life: Life) -> History<Op> {
    let chip = Chip::blank(SECTORS);
    let nor = Nor::open(chip.clone()).unwrap();
    live_on(life, &nor, |_| chip.op_count(), |_| chip.ops())
}

/// Starts on what a cut left and checks everything; returns the operations of the start.
fn check(
    left: Vec<u8>,
    cut_at: usize,
    history: &History<Op>,
    state: &mut CodecMemory<COLUMNS>,
) -> Vec<Op> {
    let chip = Chip::holding(left);
    let nor = Nor::open(chip.clone()).unwrap();
    check_on(&nor, |_| chip.ops(), cut_at, history, state)
}

/// Cuts a history at places chosen by operation and place, and some of the starts after it at every
/// operation; returns the numbers of first and second cuts.
fn sweep(
    history: &History<Op>,
    is_cut_at: impl Fn(usize, usize) -> bool,
    is_cut_again: impl Fn(usize) -> bool,
) -> (usize, usize) {
    let (mut state, mut image) = (CodecMemory::new(), vec![0xff; SECTORS * SECTOR]);
    let (mut cuts, mut second_cuts) = (0, 0);
    for (done, op) in history.ops.iter().enumerate() {
        for at in (0..op.cuts()).filter(|at| is_cut_at(done, *at)) {
            cuts += 1;
            let mut left = image.clone();
            op.cut(&mut left, at);
            let recovery = check(left.clone(), done, history, &mut state);
            for op in recovery.iter().filter(|_| is_cut_again(cuts)) {
                for at in 0..op.cuts().min(5) {
                    second_cuts += 1;
                    let mut again = left.clone();
                    op.cut(&mut again, at * op.cuts() / 5);
                    check(again, done, history, &mut state);
                }
                op.apply(&mut left);
            }
        }
        op.apply(&mut image);
    }
    (cuts, second_cuts)
}

#[test]
fn a_node_on_flash_loses_and_doubles_nothing_wherever_the_power_goes() {
    let (cuts, second_cuts) = sweep(&live(Life::SHORT), |_, _| true, |cut| cut % 200 == 1);
    println!("{cuts} cuts on flash, {second_cuts} more during recovery");
    assert!(cuts > 5_000, "{cuts}");
    assert!(second_cuts > 2_000, "{second_cuts}");
}

#[test]
fn a_cut_while_a_full_spool_on_flash_drops_its_oldest_is_survived() {
    let history = live(Life {
        epochs: 2,
        samples: 1_600,
        rows: 80,
        spool_bytes: 32 * 1024,
        freed_each: None,
        silent_after: u32::MAX,
    });
    // Erasures, which come with another sector, and a few of the many samples.
    let is_cut_at = |op: usize, at: usize| match &history.ops[op] {
        Op::Erase(_) => at == op % 4,
        Op::Program(_, bytes) => {
            (op * 31 + at).is_multiple_of(257) || bytes.len() > 400 && at.is_multiple_of(97)
        }
    };
    let (cuts, second_cuts) = sweep(&history, is_cut_at, |cut| cut % 250 == 1);
    println!("{cuts} cuts around a full spool on flash, {second_cuts} more during recovery");
    assert!(cuts > 800 && second_cuts > 200, "{cuts}, {second_cuts}");
}

#[test]
fn what_was_freed_long_ago_does_not_come_back_from_flash() {
    let history = live(Life {
        epochs: 1,
        samples: 600,
        rows: 4,
        spool_bytes: 64 * 1024,
        freed_each: Some(1),
        silent_after: 4,
    });
    let is_cut_at = |op: usize, at: usize| match &history.ops[op] {
        Op::Erase(_) => at == op % 4,
        // Giving up an area.
        Op::Program(place, bytes) => {
            bytes.len() == 4 && place % SECTOR < 68 && op.is_multiple_of(3) && at == 2
        }
    };
    let (cuts, _) = sweep(&history, is_cut_at, |_| false);
    println!("{cuts} cuts after batches were freed");
    assert!(cuts > 100, "{cuts}");
}

#[test]
fn a_node_on_flash_that_fails_here_and_there_loses_and_doubles_nothing() {
    let (mut cuts, mut retired, mut state) = (0, 0, CodecMemory::new());
    for seed in 0..24 {
        let chip = Chip::blank(SECTORS);
        chip.forget_ops();
        // One sector in seven fails, each in another way, from the beginning.
        for (place, sector) in (seed % 7..SECTORS).step_by(7).enumerate() {
            chip.fail(sector, Failure::ALL[(seed + place) % (Failure::ALL.len() - 1)]);
        }
        chip.take_images(17 + seed);
        let nor = Nor::open(chip.clone()).unwrap();
        let history = live_on(Life::SHORT, &nor, |_| chip.op_count(), |_| Vec::<Op>::new());
        retired += nor.wear().retired;
        for (done, image) in chip.images() {
            let left = Chip::holding(image);
            chip.failures().into_iter().for_each(|(sector, failure)| left.fail(sector, failure));
            let nor = Nor::open(left).unwrap();
            check_on(&nor, |_| Vec::new(), done, &history, &mut state);
            cuts += 1;
        }
    }
    println!("{cuts} cuts on failing flash, {retired} sectors retired");
    assert!(cuts > 500 && retired > 30, "{cuts} cuts, {retired} sectors retired");
}

#[test]
fn a_sector_that_a_node_loses_costs_what_was_in_it_and_is_told() {
    let chip = Chip::blank(SECTORS);
    let nor = Nor::open(chip.clone()).unwrap();
    let life = Life {
        epochs: 2,
        samples: 201,
        rows: 4,
        spool_bytes: 64 * 1024,
        freed_each: None,
        silent_after: u32::MAX,
    };
    let history = live_on(life, &nor, |_| chip.op_count(), |_| Vec::<Op>::new());
    let image = chip.bytes();
    let (mut state, mut missing, mut hits) = (CodecMemory::new(), 0, 0);
    for (sector, contents) in image.chunks(SECTOR).enumerate() {
        let Some(owner) = owner(contents) else { continue };
        for is_dead in [true, false] {
            let chip = Chip::holding(image.clone());
            match is_dead {
                true => chip.fail(sector, Failure::Dead),
                false => chip.put(sector, &[0xff; SECTOR]),
            }
            let losses = losses_on(&Nor::open(chip).unwrap(), &history, &mut state);
            match owner {
                Area::Segment(_) => assert_eq!(losses.told, losses.missing, "{owner} in {sector}"),
                // A journal in one sector is gone without a trace, with its few samples.
                Area::Journal(_) => assert!(losses.missing <= 5 && losses.told <= losses.missing),
                Area::Copy(..) | Area::Layout(_) => {
                    assert_eq!((losses.missing, losses.told), (0, 0), "{owner} in {sector}");
                }
            }
            (missing, hits) = (missing + losses.missing, hits + 1);
        }
    }
    println!("{missing} samples were in {hits} lost sectors, one at a time");
    assert!(hits > 15 && missing > 500, "{missing} in {hits}");
}

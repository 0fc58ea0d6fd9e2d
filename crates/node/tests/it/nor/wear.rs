//! Wear over years: counted, kept over restarts, even, and reported.

use ecowatt_node::nor::{Event, Nor, RATED_ERASURES};
use ecowatt_node::storage::{Area, Areas, SmallArea};

use super::chip::{Chip, SECTOR};
use super::{journal, with_erasures};

#[test]
fn a_year_of_quarter_hours_wears_the_sectors_alike() {
    let chip = Chip::blank(64);
    chip.forget_ops();
    let nor = Nor::open(chip.clone()).unwrap();
    for batch in 0..365 * 96 {
        for _ in 0..3 {
            nor.append(journal(batch), &[7; 70]).unwrap();
        }
        nor.append(Area::Segment(u64::from(batch / 8)), &[5; 450]).unwrap();
        if batch > 0 {
            nor.erase(journal(batch - 1)).unwrap();
        }
        if batch % 8 == 7 {
            nor.erase(Area::Segment(u64::from(batch / 8))).unwrap();
        }
    }
    let wear = nor.wear();
    let counted = chip.erasures().iter().map(|count| u64::from(*count)).sum::<u64>();
    println!("{wear:?} over 64 sectors");
    assert_eq!(wear.total, counted);
    assert!(wear.max <= wear.min + wear.min / 10 && wear.total < 45_000, "{wear:?}");
    assert_eq!(Nor::open(chip).unwrap().wear(), wear);
}

#[test]
fn what_holds_still_takes_its_turn() {
    const STILL: u8 = 9;
    let chip = Chip::blank(16);
    chip.forget_ops();
    let still = |copy| Area::Segment(u64::from(copy));
    let mut nor = Nor::open(chip.clone()).unwrap();
    for copy in 0..STILL {
        nor.append(still(copy), &[copy; 3_000]).unwrap();
    }
    let (mut widest, mut moves) = (0, 0);
    let turns = 20_000;
    for turn in 0..turns {
        nor.append(journal(turn), &[7; 70]).unwrap();
        nor.erase(journal(turn)).unwrap();
        let wear = nor.wear();
        widest = widest.max(wear.max - wear.min);
        if turn % 1_000 == 999 {
            nor = Nor::open(chip.clone()).unwrap();
            assert_eq!(nor.wear(), wear);
            for copy in 0..STILL {
                assert_eq!(nor.read(still(copy), SECTOR), Ok(Some(vec![copy; 3_000])));
            }
            // Copies grow where they are.
            if turn == 9_999 {
                (0..STILL).for_each(|copy| nor.append(still(copy), &[copy; 200]).unwrap());
                (0..STILL).for_each(|copy| {
                    assert_eq!(nor.read(still(copy), SECTOR), Ok(Some(vec![copy; 3_200])));
                    nor.erase(still(copy)).unwrap();
                    nor.append(still(copy), &[copy; 3_000]).unwrap();
                });
            }
        }
        moves = wear.total - u64::from(turn) - 1 - u64::from(STILL);
    }
    let wear = nor.wear();
    println!("{wear:?} over 16 sectors, {moves} moves, at most {widest} apart");
    assert!(widest <= 256 + 8, "{widest}");
    assert!(moves < u64::from(turns) / 50, "{moves}");
    assert_eq!(wear.total, chip.erasures().iter().map(|count| u64::from(*count)).sum::<u64>());
}

#[test]
fn wear_is_reported_once_for_each_tenth_of_what_is_rated() {
    let chip = with_erasures(&[RATED_ERASURES - 40; 6]);
    let mut nor = Nor::open(chip.clone()).unwrap();
    assert_eq!((nor.wear().used_percent(), nor.take_events()), (99, vec![]));
    let mut events = Vec::new();
    for turn in 0..1_000 {
        nor.append(journal(turn), &[7; 70]).unwrap();
        nor.erase(journal(turn)).unwrap();
        if turn % 100 == 99 {
            events.extend(nor.take_events());
            nor = Nor::open(chip.clone()).unwrap();
        }
    }
    assert_eq!(events, [Event::Worn { used_percent: 100 }]);
    assert_eq!(nor.wear().used_percent(), 100);
}

#[test]
fn an_erasure_that_is_cut_does_not_make_a_sector_look_fresh() {
    let chip = with_erasures(&[500; 8]);
    let nor = Nor::open(chip.clone()).unwrap();
    nor.append(Area::Copy(SmallArea::Ledger, 0), &[1; 10]).unwrap();
    chip.cut_in(0, 1);
    nor.append(journal(1), &[1; 10]).unwrap_err();
    chip.power_on();
    let wear = Nor::open(chip).unwrap().wear();
    assert_eq!((wear.min, wear.max), (500, 501));
}

//! Sectors that lose what they held: an area keeps what is in the others, at its place, reports
//! the loss, and nothing appears that was never written.

use std::collections::{BTreeMap, BTreeSet};

use ecowatt_node::nor::{Event, Nor};
use ecowatt_node::storage::{Area, Areas, SmallArea};

use super::chip::{Chip, Failure, SECTOR};
use super::model::Random;
use super::{journal, owner};

const SEEDS: std::ops::Range<u64> = 1..600;
const SECTORS: usize = 24;
const LEDGER: Area = Area::Copy(SmallArea::Ledger, 0);

/// The byte of an area at an offset, which nothing else has there.
fn byte(area: Area, offset: usize) -> u8 {
    let key = area.to_bytes().iter().fold(7, |key: usize, byte| key * 31 + usize::from(*byte));
    u8::try_from((key + offset * 13 + offset / 256) % 251).unwrap()
}

fn bytes(area: Area, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|offset| byte(area, offset)).collect()
}

/// A partition after some appends, erasures and restarts, and the length of each area.
fn grown(random: &mut Random) -> (Chip, BTreeMap<Area, usize>) {
    let chip = Chip::blank(SECTORS);
    let mut nor = Nor::open(chip.clone()).unwrap();
    let mut held = BTreeMap::from([(LEDGER, 9)]);
    nor.append(LEDGER, &bytes(LEDGER, 0, 9)).unwrap();
    let all = [LEDGER, journal(0), journal(1), Area::Segment(1), Area::Segment(2)];
    for _ in 0..40 {
        let area = all[random.index(all.len())];
        let total: usize = held.values().sum();
        match random.below(10) {
            0 => nor = Nor::open(chip.clone()).unwrap(),
            1..3 if area != LEDGER && held.remove(&area).is_some() => nor.erase(area).unwrap(),
            _ if total < 30_000 => {
                let len = [1, 40, 700, 4_020, 6_000][random.index(5)];
                let former = held.entry(area).or_insert(0);
                nor.append(area, &bytes(area, *former, len)).unwrap();
                *former += len;
            }
            _ => {}
        }
    }
    (chip, held)
}

/// Makes a sector lose its contents; returns whether frames may be left with other bytes.
fn destroy(chip: &Chip, sector: usize, random: &mut Random) -> bool {
    let mut image = chip.bytes()[sector * SECTOR..][..SECTOR].to_vec();
    let noise: Vec<u8> = (0..SECTOR).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let how = random.below(5);
    match how {
        0 => chip.fail(sector, Failure::Dead),
        1 => image.fill(0xff),
        2 => image.fill(0),
        3 => image = noise,
        // From one of the frames on.
        _ => {
            let from = 68 + random.index(2_000) / 4 * 4;
            image[from..].copy_from_slice(&noise[from..]);
        }
    }
    chip.put(sector, &image);
    how == 4
}

#[test]
fn what_sectors_lose_is_a_hole_that_is_reported() {
    let (mut lost, mut kept) = (0, 0);
    for seed in SEEDS {
        println!("seed {seed}");
        let mut random = Random(seed);
        let (chip, held) = grown(&mut random);
        let owners: Vec<Option<Area>> = chip.bytes().chunks(SECTOR).map(owner).collect();
        // Without a ledger, nothing that cannot be read is given up.
        let mut hit: BTreeSet<usize> =
            (0..=random.below(3)).map(|_| random.index(SECTORS)).collect();
        hit.retain(|sector| owners[*sector] != Some(LEDGER));
        let mut changed = BTreeSet::new();
        for sector in &hit {
            if destroy(&chip, *sector, &mut random) {
                changed.insert(*sector);
            }
        }
        let nor = Nor::open(chip.clone()).unwrap();
        let events = nor.take_events();
        for (area, len) in &held {
            let its = || owners.iter().enumerate().filter(|(_, owner)| **owner == Some(*area));
            let all_hit = its().all(|(sector, _)| hit.contains(&sector));
            let is_hit = its().any(|(sector, _)| hit.contains(&sector));
            let found = nor.len(*area).unwrap();
            let Some(found) = found else {
                assert!(all_hit, "{area} has sectors left");
                lost += len;
                continue;
            };
            let is_same = usize::try_from(found).unwrap() == *len;
            let mut missing = 0;
            for offset in 0..*len {
                let mut read = [0];
                match nor.read_at(*area, u64::try_from(offset).unwrap(), &mut read) {
                    Ok(1) if is_hit => missing += usize::from(read[0] != byte(*area, offset)),
                    Ok(1) => assert_eq!(read[0], byte(*area, offset), "{area} at {offset}"),
                    Ok(_) | Err(_) => missing += 1,
                }
            }
            let hits = its().filter(|(sector, _)| hit.contains(sector)).count();
            assert!(missing <= hits * SECTOR, "{area}: {missing} bytes of {hits} sectors");
            let is_told = events.contains(&Event::Damaged(*area));
            assert!(is_hit || is_same && !is_told, "{area} of {len} was not hit");
            // Changed bytes are found by the structures above, missing ones here.
            let is_changed = its().any(|(sector, _)| changed.contains(&sector));
            assert!(missing == 0 || is_changed || is_told, "{area}: {missing} bytes are missing");
            (lost, kept) = (lost + missing, kept + len - missing);
        }
        assert!(nor.list().unwrap().iter().all(|area| held.contains_key(area)), "invented");
        // The partition is still usable, and the next start finds the same.
        nor.append(Area::Segment(9), &[9; 5_000]).unwrap();
        let again = Nor::open(chip).unwrap();
        assert_eq!(again.len(Area::Segment(9)), Ok(Some(5_000)));
        for area in held.keys() {
            assert_eq!(again.len(*area), nor.len(*area), "{area} at the next start");
        }
    }
    println!("{lost} bytes lost, {kept} kept");
    assert!(lost > 500_000 && kept > 3_000_000, "{lost} bytes lost, {kept} kept");
}

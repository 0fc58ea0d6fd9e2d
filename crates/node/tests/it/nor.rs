//! Areas on NOR flash: power cuts at every place, sectors that fail, and wear.

mod chip;
mod failing;
mod lives;
mod model;
mod rot;
mod wear;

use crc::{CRC_32_ISO_HDLC, Crc};
use ecowatt_model::{BootEpoch, SourceNumber};
use ecowatt_node::nor::Nor;
use ecowatt_node::storage::{AREA_BYTES, Area, Areas, Fault, JournalName, SmallArea};

use chip::{Chip, SECTOR};

/// A chip whose sectors were erased this often.
fn with_erasures(erasures: &[u32]) -> Chip {
    let mut bytes = vec![0xff; erasures.len() * SECTOR];
    for (sector, erasures) in bytes.chunks_mut(SECTOR).zip(erasures) {
        let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&erasures.to_le_bytes());
        sector[..4].copy_from_slice(&erasures.to_le_bytes());
        sector[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    Chip::holding(bytes)
}

/// The area that a sector's head names.
fn owner(sector: &[u8]) -> Option<Area> {
    let (body, crc) = sector[8..36].split_at(24);
    let is_whole = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(body).to_le_bytes() == crc;
    let name: [u8; AREA_BYTES] = body[..AREA_BYTES].try_into().unwrap();
    is_whole.then(|| Area::from_bytes(name)).flatten()
}

fn journal(turn: u32) -> Area {
    let (epoch, source) = (BootEpoch(1), SourceNumber(0));
    Area::Journal(JournalName { epoch, source, columns: 9, turn })
}

#[test]
fn bytes_come_back_whatever_they_are_and_however_they_are_read() {
    let chip = Chip::blank(16);
    let nor = Nor::open(chip.clone()).unwrap();
    let mut all = Vec::new();
    for len in [1, 2, 3, 4, 5, 700, 4_060, 4_061, 9_000, 1] {
        let bytes: Vec<u8> = (0..len).map(|at| if at % 3 == 2 { 0 } else { 0xff }).collect();
        nor.append(Area::Segment(1), &bytes).unwrap();
        nor.append(Area::Segment(2), &bytes[..1]).unwrap();
        all.extend(bytes);
    }
    for nor in [nor, Nor::open(chip).unwrap()] {
        assert_eq!(nor.read(Area::Segment(1), 1 << 20), Ok(Some(all.clone())));
        assert_eq!(nor.len(Area::Segment(1)), Ok(Some(u64::try_from(all.len()).unwrap())));
        for from in (0..all.len()).step_by(97) {
            let mut some = [0; 150];
            let read = nor.read_at(Area::Segment(1), u64::try_from(from).unwrap(), &mut some);
            assert_eq!(some[..read.unwrap()], all[from..(from + 150).min(all.len())]);
        }
    }
}

#[test]
fn a_full_partition_takes_nothing_until_an_area_goes() {
    let nor = Nor::open(Chip::blank(4)).unwrap();
    nor.append(Area::Segment(1), &[1; 8_000]).unwrap();
    nor.append(Area::Segment(2), &[2; 10]).unwrap();
    assert_eq!(nor.append(Area::Segment(2), &[2; 9_000]), Err(Fault::Full));
    assert_eq!(nor.append(Area::Segment(3), &[3; 5_000]), Err(Fault::Full));
    assert_eq!((nor.len(Area::Segment(2)), nor.len(Area::Segment(3))), (Ok(Some(10)), Ok(None)));
    nor.erase(Area::Segment(1)).unwrap();
    nor.append(Area::Segment(3), &[3; 5_000]).unwrap();
    assert_eq!(nor.list(), Ok(vec![Area::Segment(2), Area::Segment(3)]));
}

#[test]
fn a_cut_anywhere_leaves_what_was_appended_and_no_part_of_what_was_erased() {
    let chip = Chip::blank(6);
    let nor = Nor::open(chip.clone()).unwrap();
    // Contents of each area after each operation of the chip.
    let mut held: Vec<(usize, Area, Option<Vec<u8>>)> = Vec::new();
    for turn in 0..6 {
        let mut bytes = Vec::new();
        for part in 0..3u8 {
            let more = vec![0xff - part; 1_000 + 777 * usize::from(part)];
            bytes.extend(&more);
            nor.append(journal(turn), &more).unwrap();
            held.push((chip.ops().len(), journal(turn), Some(bytes.clone())));
        }
        if turn > 0 {
            nor.erase(journal(turn - 1)).unwrap();
            held.push((chip.ops().len(), journal(turn - 1), None));
        }
    }
    let mut image = vec![0xff; 6 * SECTOR];
    for (done, op) in chip.ops().iter().enumerate() {
        for at in 0..op.cuts() {
            let mut left = image.clone();
            op.cut(&mut left, at);
            let nor = Nor::open(Chip::holding(left)).unwrap();
            for turn in 0..6 {
                let its = || held.iter().filter(|(_, area, _)| *area == journal(turn));
                let before =
                    its().rfind(|(by, ..)| *by <= done).and_then(|(.., held)| held.clone());
                let after = its().find(|(by, ..)| *by > done).and_then(|(.., held)| held.clone());
                let found = nor.read(journal(turn), 1 << 20).unwrap();
                let is_part = match (&found, &before, &after) {
                    (None, None, _) | (None, _, None) => true,
                    (None, Some(_), Some(_)) => false,
                    (Some(found), _, Some(after)) => {
                        after.starts_with(found)
                            && before.as_ref().is_none_or(|before| found.starts_with(before))
                    }
                    (Some(found), before, None) => Some(found) == before.as_ref(),
                };
                assert!(is_part, "turn {turn}, operation {done}, cut {at}");
            }
            // The partition is still usable.
            nor.append(Area::Copy(SmallArea::Ledger, 0), &[0xff; 100]).unwrap();
            assert_eq!(nor.read(Area::Copy(SmallArea::Ledger, 0), 200), Ok(Some(vec![0xff; 100])));
        }
        op.apply(&mut image);
    }
}

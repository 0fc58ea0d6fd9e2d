//! Sectors that fail: what was acknowledged is there, and what was erased does not return.

use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use ecowatt_node::nor::{Event, Nor, OpenError};
use ecowatt_node::storage::{Area, Areas, Fault, SmallArea};

use super::chip::{Chip, Failure, SECTOR};
use super::with_erasures;

const LIMIT: usize = 1 << 20;
const FIRST: Area = Area::Segment(1);
const SECOND: Area = Area::Segment(2);
const LEDGER: Area = Area::Copy(SmallArea::Ledger, 0);

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    // No stretch of it comes twice.
    let mixed = |at: usize| (at + 100_003 * seed).wrapping_mul(0x9e37_79b9) >> 13;
    (0..len).map(|at| u8::try_from(mixed(at) % 256).unwrap()).collect()
}

/// Contents of an area; a failed comparison prints no more than their length and checksum.
#[derive(PartialEq, Eq)]
struct Contents(Vec<u8>);

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&self.0);
        write!(f, "{} bytes, {crc:08x}", self.0.len())
    }
}

fn contents(nor: &Nor<Chip>, area: Area) -> Result<Option<Contents>, Fault> {
    Ok(nor.read(area, LIMIT)?.map(Contents))
}

fn some(bytes: &[u8]) -> Result<Option<Contents>, Fault> {
    Ok(Some(Contents(bytes.to_vec())))
}

fn open(chip: &Chip) -> Nor<Chip> {
    Nor::open(chip.clone()).unwrap()
}

/// Three sectors of one area, with other areas in front and behind.
fn three_sectors(chip: &Chip) -> (Nor<Chip>, Vec<u8>) {
    let nor = open(chip);
    let bytes = pattern(1, 10_000);
    nor.append(LEDGER, &pattern(3, 40)).unwrap();
    bytes.chunks(900).for_each(|part| nor.append(FIRST, part).unwrap());
    nor.append(SECOND, &pattern(2, 5_000)).unwrap();
    (nor, bytes)
}

/// The sector in which an area's bytes are.
fn sector_of(chip: &Chip, bytes: &[u8]) -> usize {
    let held = chip.bytes();
    held.windows(bytes.len()).position(|window| window == bytes).unwrap() / SECTOR
}

#[test]
fn a_program_that_fails_silently_is_not_called_durable() {
    for failure in [Failure::WeakProgram, Failure::NoProgram, Failure::WeakErase, Failure::NoErase]
    {
        let mut ops = 1;
        for op in 0.. {
            let chip = Chip::blank(12);
            let nor = open(&chip);
            chip.fail_once(op, failure);
            let parts: Vec<Vec<u8>> =
                [10, 3_000, 2_000, 1, 9_000].map(|len| pattern(len, len)).to_vec();
            let mut held = Vec::new();
            for part in &parts {
                // It goes on in another sector.
                assert_eq!(nor.append(FIRST, part), Ok(()), "{failure:?} in {op}");
                held.extend(part);
            }
            for nor in [&nor, &open(&chip)] {
                assert_eq!(contents(nor, FIRST), some(&held), "{failure:?} in {op}");
            }
            if op > ops {
                break;
            }
            ops = chip.op_count();
        }
    }
}

#[test]
fn an_erasure_that_fails_leaves_flash_and_memory_of_one_mind() {
    for failure in [Failure::WeakProgram, Failure::NoProgram, Failure::Frozen] {
        for op in 0..12 {
            let chip = Chip::blank(12);
            let (nor, bytes) = three_sectors(&chip);
            chip.fail_once(op, failure);
            let is_erased = nor.erase(FIRST).is_ok();
            let is_written = nor.append(FIRST, b"more").is_ok();
            let expected = match (is_erased, is_written) {
                (true, true) => b"more".to_vec(),
                (true, false) => panic!("{failure:?} in {op}: nothing can be appended"),
                (false, true) => [&bytes[..], b"more"].concat(),
                (false, false) => continue,
            };
            for nor in [&nor, &open(&chip)] {
                assert_eq!(contents(nor, FIRST), some(&expected), "{failure:?} in {op}");
            }
        }
    }
}

#[test]
fn an_area_in_sectors_that_cannot_be_changed_is_erased_for_good() {
    for failure in [Failure::Frozen, Failure::WeakProgram, Failure::NoProgram, Failure::Dead] {
        for hit in 0..3 {
            let chip = Chip::blank(12);
            let (nor, bytes) = three_sectors(&chip);
            let sector = sector_of(&chip, &bytes[[100, 4_500, 8_500][hit]..][..100]);
            chip.fail(sector, failure);
            nor.erase(FIRST).unwrap();
            let before = chip.bytes()[sector * SECTOR..][..SECTOR].to_vec();
            for start in 0..3 {
                let nor = open(&chip);
                assert_eq!(nor.len(FIRST), Ok(None), "{failure:?} of {hit}, start {start}");
                // An area of the same name has nothing of it.
                nor.append(FIRST, &pattern(7, 5_000)).unwrap();
                assert_eq!(contents(&open(&chip), FIRST), some(&pattern(7, 5_000)));
                nor.erase(FIRST).unwrap();
                assert_eq!(contents(&nor, SECOND), some(&pattern(2, 5_000)));
            }
            if failure == Failure::Frozen {
                assert_eq!(chip.bytes()[sector * SECTOR..][..SECTOR], before);
                assert_eq!(nor.wear().retired, 1);
            }
        }
    }
}

#[test]
fn an_unreadable_sector_costs_what_is_in_it() {
    for sector in 0..12 {
        let chip = Chip::blank(12);
        let (nor, bytes) = three_sectors(&chip);
        nor.append(Area::Copy(SmallArea::Ledger, 1), &[1]).unwrap();
        chip.fail(sector, Failure::Dead);
        let nor = open(&chip);
        let events = nor.take_events();
        assert!(events.iter().any(|e| matches!(e, Event::Retired { sector: s, .. } if *s == u32::try_from(sector).unwrap())), "{events:?}");
        let mut lost = 0;
        for (area, bytes) in [(FIRST, bytes), (SECOND, pattern(2, 5_000)), (LEDGER, pattern(3, 40))]
        {
            let Some(len) = nor.len(area).unwrap() else {
                assert!(bytes.len() <= SECTOR, "{area} of several sectors is gone");
                lost += bytes.len();
                continue;
            };
            let mut is_hurt = len != u64::try_from(bytes.len()).unwrap();
            for (at, byte) in bytes.iter().enumerate() {
                let mut read = [0];
                match nor.read_at(area, u64::try_from(at).unwrap(), &mut read) {
                    Ok(1) => assert_eq!(read[0], *byte, "{area} at {at}"),
                    Ok(_) | Err(_) => (lost, is_hurt) = (lost + 1, true),
                }
            }
            assert_eq!(is_hurt, events.contains(&Event::Damaged(area)), "{area}: {events:?}");
        }
        assert!(lost < SECTOR, "{lost} bytes lost with sector {sector}");
        // The next start knows the sector, and holds the same.
        let again = open(&chip);
        assert!(!again.take_events().iter().any(|e| matches!(e, Event::Retired { .. })));
        assert_eq!(again.wear().retired, 1);
        again.append(SECOND, &[1; 9_000]).unwrap();
    }
}

#[test]
fn a_chip_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let chip = Chip::blank(12);
    let (_, bytes) = three_sectors(&chip);
    (0..5).for_each(|sector| chip.fail(sector, Failure::Dead));
    assert_eq!(Nor::open(chip.clone()).err(), Some(OpenError::Unreadable(5)));
    chip.heal();
    // The only copy of the ledger may be in the sector that fails.
    chip.fail(sector_of(&chip, &pattern(3, 40)), Failure::Dead);
    assert_eq!(Nor::open(chip.clone()).err(), Some(OpenError::Unreadable(1)));
    chip.heal();
    assert_eq!(contents(&open(&chip), FIRST), some(&bytes));
}

#[test]
fn a_lost_sector_is_a_hole_and_no_splice() {
    for hit in 0..3 {
        let chip = Chip::blank(12);
        let (_, bytes) = three_sectors(&chip);
        let at = [100, 4_500, 8_500][hit];
        chip.put(sector_of(&chip, &bytes[at..][..100]), &[0xff; SECTOR]);
        let nor = open(&chip);
        assert_eq!(nor.take_events(), [Event::Damaged(FIRST)]);
        let mut read = [0; 100];
        let offset = |at: usize| u64::try_from(at).unwrap();
        // How much of the end is lost is unknown, but not that it is.
        let at = offset(at).min(nor.len(FIRST).unwrap().unwrap() - 1);
        assert_eq!(nor.read_at(FIRST, at, &mut read), Err(Fault::Unreadable), "{hit}");
        for other in
            [100, 4_500, 8_500].into_iter().filter(|other| *other != [100, 4_500, 8_500][hit])
        {
            assert_eq!(nor.read_at(FIRST, offset(other), &mut read), Ok(100));
            assert_eq!(read, bytes[other..other + 100]);
        }
        // What is appended behind the hole stays apart from it.
        nor.append(FIRST, b"more").unwrap();
        let nor = open(&chip);
        let len = nor.len(FIRST).unwrap().unwrap();
        assert_eq!(nor.read_at(FIRST, len - 4, &mut read), Ok(4));
        assert_eq!(&read[..4], b"more");
    }
}

#[test]
fn a_lost_first_sector_is_not_taken_for_an_erasure() {
    let chip = with_erasures(&[5; 12]);
    // The power fails in the first frame, so that another sector replaces the first one, which is
    // then the most worn and stays as it is.
    chip.cut_in(4, 1);
    open(&chip).append(FIRST, &[1; 10]).unwrap_err();
    chip.power_on();
    let bytes = pattern(1, 10_000);
    open(&chip).append(FIRST, &bytes).unwrap();
    chip.put(sector_of(&chip, &bytes[100..200]), &[0xff; SECTOR]);
    let nor = open(&chip);
    assert_eq!(nor.take_events(), [Event::Damaged(FIRST)]);
    let mut read = [0; 100];
    assert_eq!(nor.read_at(FIRST, 4_500, &mut read), Ok(100));
    assert_eq!(read, bytes[4_500..4_600]);
}

/// Replaces the serial number in the image of a sector.
fn renumber(image: &mut [u8], by: i32) {
    let crc32 = Crc::<u32>::new(&CRC_32_ISO_HDLC);
    for owner in image[8..64].chunks_exact_mut(28) {
        let (body, crc) = owner.split_at_mut(24);
        let serial = i32::from_le_bytes(body[20..].try_into().unwrap()) + by;
        body[20..].copy_from_slice(&serial.to_le_bytes());
        crc.copy_from_slice(&crc32.checksum(body).to_le_bytes());
    }
}

#[test]
fn of_two_sectors_at_one_place_the_later_one_counts() {
    for (hit, by) in [(0, -1), (0, 1), (1, -1), (1, 1), (2, -1), (2, 1)] {
        let chip = Chip::blank(12);
        let (_, mut bytes) = three_sectors(&chip);
        let at = [100, 4_500, 8_500][hit];
        let sector = sector_of(&chip, &bytes[at..at + 100]);
        let mut image = chip.bytes()[sector * SECTOR..][..SECTOR].to_vec();
        renumber(&mut image, by);
        let place = image.windows(100).position(|window| *window == bytes[at..at + 100]).unwrap();
        image[place] ^= 0xff;
        for free in [0, 11] {
            let chip = Chip::holding(chip.bytes());
            // Move what is there to the other end, so that the numbers of sectors do not decide.
            let former = chip.bytes()[free * SECTOR..][..SECTOR].to_vec();
            chip.put(10, &former);
            chip.put(free, &image);
            bytes[at] ^= if by > 0 { 0xff } else { 0 };
            assert_eq!(
                contents(&open(&chip), FIRST),
                some(&bytes),
                "part {hit}, serial number {by}"
            );
            bytes[at] ^= if by > 0 { 0xff } else { 0 };
            assert_eq!(open(&chip).wear().retired, 0);
        }
    }
}

#[test]
fn a_changed_byte_in_a_head_costs_nothing() {
    let chip = Chip::blank(12);
    let (nor, bytes) = three_sectors(&chip);
    let sector = sector_of(&chip, &bytes[4_500..4_600]);
    for at in 0..68 {
        for bits in [1, 0x80, 0x5a] {
            let chip = Chip::holding(chip.bytes());
            chip.flip(sector * SECTOR + at, bits);
            assert_eq!(contents(&open(&chip), FIRST), some(&bytes), "{at}");
        }
    }
    drop(nor);
}

#[test]
fn what_is_set_aside_is_not_used_again() {
    let chip = Chip::blank(12);
    let (nor, bytes) = three_sectors(&chip);
    let sector = sector_of(&chip, &bytes[4_500..4_600]);
    chip.flip(sector * SECTOR + 2_000, 4);
    nor.set_aside(FIRST).unwrap();
    assert_eq!(nor.len(FIRST), Ok(None));
    let before = chip.bytes()[sector * SECTOR + 100..][..1_000].to_vec();
    for start in 0..40 {
        let nor = open(&chip);
        nor.append(FIRST, &pattern(start, 9_000)).unwrap();
        nor.erase(FIRST).unwrap();
        assert_eq!(nor.wear().retired, 1, "only the sector that lost a bit");
    }
    assert_eq!(chip.bytes()[sector * SECTOR + 100..][..1_000], before);
}

#[test]
fn too_few_good_sectors_are_an_error_that_says_so() {
    let chip = Chip::blank(12);
    let nor = open(&chip);
    nor.append(LEDGER, &[1; 100]).unwrap();
    let ledger = sector_of(&chip, &[1; 100]);
    for failed in (0..12).filter(|sector| *sector != ledger) {
        chip.fail(failed, Failure::NoErase);
        // Until a sector is free, appends fail and harm nothing.
        for turn in 0..14 {
            let _ = nor.append(FIRST, &pattern(turn, 3_000));
            let _ = nor.erase(FIRST);
        }
        assert_eq!(contents(&nor, LEDGER), some(&[1; 100]));
    }
    assert_eq!(nor.append(FIRST, &[1; 9]), Err(Fault::Full));
    let error = Nor::open(chip.clone()).err();
    assert!(matches!(error, Some(OpenError::WornOut { sectors: 12, .. })), "{error:?}");
    println!("{} retired; {}", nor.wear().retired, error.unwrap());
}

#[test]
fn a_chip_that_fails_for_a_while_costs_no_sector() {
    let chip = Chip::blank(16);
    let (nor, bytes) = three_sectors(&chip);
    // Where only ends of sectors fail, they fail by themselves: the beginnings work.
    for failure in Failure::ALL.into_iter().filter(|failure| *failure != Failure::WeakEnd) {
        (0..16).for_each(|sector| chip.fail(sector, failure));
        for _ in 0..10 {
            let _ = nor.append(SECOND, &pattern(1, 5_000));
            let _ = nor.append(Area::Segment(9), &[1]);
        }
        chip.heal();
        let _ = nor.erase(Area::Segment(9));
        let _ = nor.erase(SECOND);
        for turn in 0..40 {
            nor.append(Area::Segment(9), &pattern(turn, 10)).unwrap();
            nor.erase(Area::Segment(9)).unwrap();
        }
        assert_eq!((nor.wear().retired, contents(&nor, FIRST)), (0, some(&bytes)));
    }
    nor.append(SECOND, &pattern(1, 30_000)).unwrap();
    assert_eq!(contents(&open(&chip), SECOND), some(&pattern(1, 30_000)));
}

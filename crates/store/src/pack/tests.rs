//! Packed blocks are restored exactly.

use proptest::prelude::*;

use super::*;
use ecowatt_model::{KeyGeneration, StreamNumber};

/// Milliseconds since the batch before, rows, stream, step of the sequence, whether a cell was not
/// read.
type Drawn = (i64, usize, u16, u32, bool);

const FIRST: i64 = 1_782_000_000_000;

fn encoded(start: i64, rows: usize, has_unread: bool) -> Vec<u8> {
    let times: Vec<i64> = (0..).map(|row| start + row * 5_000).take(rows).collect();
    let words: Vec<u16> = (0u16..).map(|at| at.wrapping_mul(77) % 300).take(2 * rows).collect();
    let mut marks = vec![Mark::Read; 2 * rows];
    if has_unread {
        marks[0] = Mark::NotDue;
    }
    let words: Vec<u16> =
        words.iter().zip(&marks).map(|(w, m)| if *m == Mark::Read { *w } else { 0 }).collect();
    let rows = Rows { base: TimeBase::Unix, columns: 2, times, words, marks };
    rows.encode(0..rows.times.len(), &mut CodecMemory::new()).unwrap()
}

fn drawn(batches: &[Drawn]) -> Vec<Block> {
    let (mut start, mut sequence) = (FIRST, 0);
    let mut blocks = Vec::new();
    for (after, rows, stream, step, has_unread) in batches {
        start += after;
        sequence += step;
        let last = start + (i64::try_from(*rows).unwrap() - 1) * 5_000;
        blocks.push(Block {
            id: BatchId { epoch: BootEpoch(3), sequence: Sequence(sequence) },
            stream: StreamId::new(KeyGeneration(1), StreamNumber(*stream)),
            rows: u16::try_from(*rows).unwrap(),
            first: UnixMs(start),
            last: UnixMs(last),
            time_offset_ms: 0,
            time_quality: TimeQuality::Device,
            bytes: encoded(start, *rows, *has_unread),
        });
    }
    blocks
}

fn unpacked(pack: &Pack) -> Vec<Block> {
    let mut state = CodecMemory::new();
    let found = stretches(&pack.bytes).unwrap();
    found.iter().flat_map(|stretch| blocks(stretch, &mut state).unwrap()).collect()
}

fn batches() -> impl Strategy<Value = Vec<Drawn>> {
    let batch = (0..90_000i64, 1..60usize, 1..3u16, 1..4u32, any::<bool>());
    prop::collection::vec(batch, 2..60)
}

proptest! {
    #[test]
    fn blocks_come_back_byte_for_byte(batches in batches()) {
        let given = drawn(&batches);
        let pack = Pack::new(&given).unwrap();
        prop_assert_eq!(unpacked(&pack), given);
    }

    #[test]
    fn damaged_packs_do_not_panic(batches in batches(), at: prop::sample::Index, byte: u8) {
        let mut bytes = Pack::new(&drawn(&batches)).unwrap().bytes;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut state = CodecMemory::new();
        for stretch in stretches(&bytes).unwrap_or_default() {
            let _ = blocks(&stretch, &mut state);
        }
    }
}

#[test]
fn block_that_would_not_come_back_stays_out() {
    let mut given = drawn(&[(0, 7, 1, 1, false); 4]);
    given[1].bytes = b"no codec wrote this".to_vec();
    given[2].rows = 6;
    let pack = Pack::new(&given).unwrap();
    assert_eq!(pack.places, [(given[0].first, given[0].id), (given[3].first, given[3].id)]);
    assert_eq!(unpacked(&pack), [given[0].clone(), given[3].clone()]);
    assert!(Pack::new(&given[..3]).is_none(), "one batch alone is no pack");
}

#[test]
fn day_of_small_batches_costs_a_fraction() {
    let given = drawn(&vec![(35_000, 7, 1, 1, false); 2_468]);
    let loose: usize = given.iter().map(|block| block.bytes.len()).sum();
    let pack = Pack::new(&given).unwrap();
    assert_eq!((pack.places.len(), pack.rows), (2_468, 17_276));
    assert!(2 * pack.bytes.len() < loose, "{} of {loose} bytes", pack.bytes.len());
}

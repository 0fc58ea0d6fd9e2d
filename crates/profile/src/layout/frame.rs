//! Answers that are no measurements: every word of a read is the same filler.
//!
//! Inverters that start, and gateways that have lost theirs, answer with registers that are all ones,
//! all 0x8000 or all zero. Taken one by one some of them are plausible: -1 W, -0.1 degrees, 0 V.

use alloc::vec::Vec;

use ecowatt_model::{Mark, Quality};

use super::Column;
use super::decode::Access;
use crate::plan::READ_REGISTERS_MAX;

/// Fillers that no set of measurements shows.
const FILLERS: [u16; 2] = [0xFFFF, 0x8000];

/// Words from which on a read of one of the fillers is no answer even if each number could be: two
/// numbers of two registers that are both -1 do not come about by themselves.
const WORDS_MIN: usize = 4;

/// The columns of one read, as far as columns tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    first: u8,
    /// After the last.
    end: u8,
    /// Whether a point of it is out of its range when all words are zero, 0xFFFF or 0x8000. Zeros alone
    /// say nothing: all is dark, no alarm is raised.
    contradicts: [bool; 3],
}

/// The frames of a layout's columns. Two reads that follow each other closely count as one.
pub(super) fn frames(columns: &[Column], access: &[Access]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut start: Option<Column> = None;
    for (place, column) in (0u8..=u8::MAX).zip(columns) {
        let goes_on = start.is_some_and(|start| {
            (start.table, start.group) == (column.table, column.group)
                && (start.address..start.address.saturating_add(READ_REGISTERS_MAX))
                    .contains(&column.address)
        });
        match frames.last_mut() {
            Some(frame) if goes_on => frame.end = place.saturating_add(1),
            Some(_) | None => {
                start = Some(*column);
                let end = place.saturating_add(1);
                frames.push(Frame { first: place, end, contradicts: [false; 3] });
            }
        }
    }
    for (which, filler) in [0, FILLERS[0], FILLERS[1]].into_iter().enumerate() {
        let words = alloc::vec![filler; columns.len()];
        let marks = alloc::vec![Mark::Read; columns.len()];
        for frame in &mut frames {
            let mut own = access.iter().filter(|access| frame.holds(access.column()));
            frame.contradicts[which] =
                own.any(|access| access.decode(&words, &marks).0 == Quality::OutOfRange);
        }
    }
    frames
}

impl Frame {
    pub(super) fn holds(&self, column: u8) -> bool {
        (self.first..self.end).contains(&column)
    }

    /// Whether all that was read is one filler, and cannot be what was measured.
    #[inline]
    pub(super) fn is_hollow(&self, words: &[u16], marks: &[Mark]) -> bool {
        let columns = usize::from(self.first)..usize::from(self.end);
        let (Some(words), Some(marks)) = (words.get(columns.clone()), marks.get(columns)) else {
            return false;
        };
        let mut read = words.iter().zip(marks).filter(|(_, mark)| **mark == Mark::Read);
        let Some((filler, _)) = read.next() else { return false };
        let which = match *filler {
            0 => 0,
            0xFFFF => 1,
            0x8000 => 2,
            _ => return false,
        };
        let mut count = 1;
        for (word, _) in read {
            if word != filler {
                return false;
            }
            count += 1;
        }
        let is_long = which > 0 && count >= WORDS_MIN;
        is_long || (count > 1 && self.contradicts[which])
    }
}

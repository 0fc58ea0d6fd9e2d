//! Detects answers that are not measurements: every word of a read is the same filler.
//!
//! Inverters that are starting, and gateways that have lost their inverter, answer with registers
//! that are all ones, all 0x8000, all 0x7FFF or all zero. Taken one by one, some of these are
//! plausible: -1 W, -0.1 degrees, 0 V. When one read alone cannot settle it, the other reads of the
//! sample do: an inverter that answers any read with filler is not measuring.

use alloc::vec::Vec;

use ecowatt_model::{Mark, Quality};

use super::decode::Access;
use super::{Column, LayoutError};
use crate::plan::{READ_REGISTERS_MAX, READS_MAX};

/// Words that such answers consist of.
const FILLERS: [u16; 4] = [ZERO, 0xFFFF, 0x8000, 0x7FFF];

/// The filler that real measurements also show: at night, with no alarm raised.
const ZERO: u16 = 0;

/// From this many words of one filler (zeros excepted), a read is not a measurement even if each
/// number is plausible: two 2-register numbers that are both -1 do not occur by chance.
const WORDS_MIN: usize = 4;

/// A set of reads of a layout, one bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ReadSet(u32);

const _: () = assert!(READS_MAX <= 32);

impl ReadSet {
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn holds(self, read: usize) -> bool {
        self.0 >> read & 1 == 1
    }

    const fn add(&mut self, read: usize) {
        self.0 |= 1 << read;
    }
}

/// The columns of one read, and whether filler in all of them is implausible.
#[derive(Debug, Clone, Copy)]
struct ReadColumns {
    first: u8,
    /// One past the last.
    end: u8,
    /// One for each of [`FILLERS`]. For zeros: a point would be out of range. For the others: a
    /// point would not be good.
    contradicts: [bool; FILLERS.len()],
}

/// The reads that make up a sample.
#[derive(Debug, Clone)]
pub(super) struct ReadCheck {
    reads: Vec<ReadColumns>,
    /// The reads that contain each point.
    reads_of_points: Vec<ReadSet>,
}

/// A read in which every word is one filler.
#[derive(Clone, Copy)]
struct Uniform {
    /// Index into [`FILLERS`].
    filler: usize,
    words: usize,
}

impl ReadCheck {
    /// Finds the reads of a layout's columns.
    pub(super) fn of(columns: &[Column], access: &[Access]) -> Result<Self, LayoutError> {
        let mut reads: Vec<ReadColumns> = Vec::new();
        let mut before: Option<(Column, u16)> = None;
        for (place, column) in (0u8..=u8::MAX).zip(columns) {
            let end = place.saturating_add(1);
            match (before, reads.last_mut()) {
                (Some((last, start)), Some(read)) if last.read == column.read => {
                    // A read's columns must be in one table and group, and fit in one request.
                    let follows = (last.table, last.group) == (column.table, column.group)
                        && last.address < column.address
                        && column.address - start < READ_REGISTERS_MAX;
                    if !follows {
                        return Err(LayoutError::Count { what: "reads", count: reads.len() });
                    }
                    read.end = end;
                    before = Some((*column, start));
                }
                (Some(_) | None, _) => {
                    let count = reads.len();
                    if usize::from(column.read) != count || count >= READS_MAX {
                        return Err(LayoutError::Count { what: "reads", count });
                    }
                    let contradicts = [false; FILLERS.len()];
                    reads.push(ReadColumns { first: place, end, contradicts });
                    before = Some((*column, column.address));
                }
            }
        }
        let reads_of = |access: &Access| {
            let mut set = ReadSet::default();
            for (index, read) in reads.iter().enumerate() {
                if access.touches(read.first, read.end) {
                    set.add(index);
                }
            }
            set
        };
        let reads_of_points: Vec<ReadSet> = access.iter().map(reads_of).collect();
        // Decoding a sample that is all filler shows which reads would contain an implausible
        // point.
        let marks = alloc::vec![Mark::Read; columns.len()];
        for (which, filler) in FILLERS.into_iter().enumerate() {
            let words = alloc::vec![filler; columns.len()];
            for (index, read) in reads.iter_mut().enumerate() {
                let mut own =
                    access.iter().zip(&reads_of_points).filter(|(_, reads)| reads.holds(index));
                read.contradicts[which] = own.any(|(access, _)| {
                    let (quality, _) = access.decode(&words, &marks);
                    let is_refused = quality == Quality::OutOfRange;
                    is_refused || (filler != ZERO && quality != Quality::Good)
                });
            }
        }
        Ok(Self { reads, reads_of_points })
    }

    /// Whether a point is contained in one of these reads.
    #[inline]
    pub(super) fn is_in(&self, point: usize, reads: ReadSet) -> bool {
        self.reads_of_points.get(point).is_some_and(|own| own.meets(reads))
    }

    /// Returns the reads of a sample that are not measurements.
    #[inline]
    pub(super) fn unmeasured(&self, access: &[Access], words: &[u16], marks: &[Mark]) -> ReadSet {
        if self.reads.iter().all(|read| read.uniform(words, marks).is_none()) {
            return ReadSet::default();
        }
        self.judge(access, words, marks)
    }

    #[cold]
    fn judge(&self, access: &[Access], words: &[u16], marks: &[Mark]) -> ReadSet {
        let mut uniform: [Option<Uniform>; READS_MAX] = [None; READS_MAX];
        for (slot, read) in uniform.iter_mut().zip(&self.reads) {
            *slot = read.uniform(words, marks);
        }
        let is_zero = |uniform: &Uniform| FILLERS[uniform.filler] == ZERO;
        let all_of = |of_zeros: bool| {
            let mut reads = ReadSet::default();
            for (read, uniform) in uniform.iter().enumerate() {
                if uniform.is_some_and(|uniform| is_zero(&uniform) == of_zeros) {
                    reads.add(read);
                }
            }
            reads
        };
        let (zeros, others) = (all_of(true), all_of(false));
        // A single register has nothing to be compared with.
        let is_all_zero = uniform.iter().flatten().map(|uniform| uniform.words).sum::<usize>() > 1
            && others.is_empty()
            && self.reads.iter().zip(&uniform).all(|(read, uniform)| {
                uniform.is_some() || !read.marks(marks).contains(&Mark::Read)
            });
        let (mut unmeasured, mut has_zeros, mut has_others) = (ReadSet::default(), false, false);
        for (read, uniform) in self.reads.iter().zip(&uniform) {
            let Some(uniform) = uniform else { continue };
            let contradicts = read.contradicts[uniform.filler];
            if is_zero(uniform) {
                has_zeros |= contradicts && (uniform.words > 1 || is_all_zero);
            } else {
                has_others |= uniform.words >= WORDS_MIN || (uniform.words > 1 && contradicts);
            }
        }
        if has_zeros {
            unmeasured.0 |= zeros.0;
        }
        if has_others || self.is_all_there_is(others, access, words, marks) {
            unmeasured.0 |= others.0;
        }
        unmeasured
    }

    /// Whether the only plausible values of a sample are in these filler reads, although there
    /// should have been others: another number, or a register that was read without success. A
    /// number that was read alone has nothing to be compared with.
    fn is_all_there_is(
        &self,
        fillers: ReadSet,
        access: &[Access],
        words: &[u16],
        marks: &[Mark],
    ) -> bool {
        if fillers.is_empty() {
            return false;
        }
        let mut numbers = 0;
        for (access, reads) in access.iter().zip(&self.reads_of_points) {
            let is_good = access.decode(words, marks).0 == Quality::Good;
            if reads.meets(fillers) {
                numbers += 1;
            } else if is_good {
                return false;
            }
        }
        let is_missed = |mark: &Mark| !matches!(mark, Mark::Read | Mark::NotDue);
        numbers > 1 || marks.iter().any(is_missed)
    }
}

impl ReadColumns {
    fn marks<'a>(&self, marks: &'a [Mark]) -> &'a [Mark] {
        marks.get(usize::from(self.first)..usize::from(self.end)).unwrap_or_default()
    }

    /// Returns the filler if all words that were read are that filler.
    #[inline]
    fn uniform(&self, words: &[u16], marks: &[Mark]) -> Option<Uniform> {
        let columns = usize::from(self.first)..usize::from(self.end);
        let (words, marks) = (words.get(columns.clone())?, marks.get(columns)?);
        let mut read = words.iter().zip(marks).filter(|(_, mark)| **mark == Mark::Read);
        let (first, _) = read.next()?;
        let filler = FILLERS.iter().position(|filler| filler == first)?;
        let mut count = 1;
        for (word, _) in read {
            if word != first {
                return None;
            }
            count += 1;
        }
        Some(Uniform { filler, words: count })
    }
}

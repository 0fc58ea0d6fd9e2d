//! A simulated NOR chip with its rules: bits only fall between erasures, the power may fail inside
//! any operation, and sectors may fail with or without an error.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ecowatt_node::nor::{Flash, SECTOR_BYTES, WORD_BYTES};
use ecowatt_node::storage::Fault;

pub(crate) const SECTOR: usize = SECTOR_BYTES as usize;

/// One operation that changed the chip.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Program(usize, Vec<u8>),
    Erase(usize),
}

/// How a sector fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Half of the bits of programs do not fall, without an error.
    WeakProgram,
    /// Like that, in the second half of the sector alone.
    WeakEnd,
    /// Programs fail and change nothing.
    NoProgram,
    /// Some bits do not rise in an erasure, without an error.
    WeakErase,
    /// Erasures fail and change nothing.
    NoErase,
    /// Nothing but reading works.
    Frozen,
    /// Reading fails, too.
    Dead,
}

impl Failure {
    pub(crate) const ALL: [Self; 7] = [
        Self::WeakProgram,
        Self::WeakEnd,
        Self::NoProgram,
        Self::WeakErase,
        Self::NoErase,
        Self::Frozen,
        Self::Dead,
    ];
}

/// A chip; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Chip(Rc<RefCell<Silicon>>);

#[derive(Debug, Default)]
struct Silicon {
    bytes: Vec<u8>,
    ops: Vec<Op>,
    /// Number of operations so far, kept or not.
    op_count: usize,
    erasures: Vec<u32>,
    failures: BTreeMap<usize, Failure>,
    /// Operation that fails once, and how.
    flaw: Option<(usize, Failure)>,
    /// Operation in which the power fails, and the place in it.
    cut: Option<(usize, usize)>,
    is_off: bool,
    keeps_ops: bool,
    /// Every so many operations the chip's contents after a cut in one are kept.
    image_each: Option<usize>,
    images: Vec<(usize, Vec<u8>)>,
}

impl Chip {
    pub(crate) fn blank(sectors: usize) -> Self {
        Self::holding(vec![0xff; sectors * SECTOR])
    }

    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let erasures = vec![0; bytes.len() / SECTOR];
        let silicon = Silicon { bytes, erasures, keeps_ops: true, ..Silicon::default() };
        Self(Rc::new(RefCell::new(silicon)))
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.0.borrow().ops.clone()
    }

    pub(crate) fn op_count(&self) -> usize {
        self.0.borrow().op_count
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }

    pub(crate) fn erasures(&self) -> Vec<u32> {
        self.0.borrow().erasures.clone()
    }

    /// Does not remember operations, which would take much memory in a long life.
    pub(crate) fn forget_ops(&self) {
        self.0.borrow_mut().keeps_ops = false;
    }

    /// Keeps what a cut would leave, in one of this many operations.
    pub(crate) fn take_images(&self, each: usize) {
        self.0.borrow_mut().image_each = Some(each);
    }

    /// What cuts would have left, each with the number of operations before it.
    pub(crate) fn images(&self) -> Vec<(usize, Vec<u8>)> {
        self.0.borrow().images.clone()
    }

    /// Makes a sector fail for good.
    pub(crate) fn fail(&self, sector: usize, failure: Failure) {
        self.0.borrow_mut().failures.insert(sector, failure);
    }

    pub(crate) fn failures(&self) -> BTreeMap<usize, Failure> {
        self.0.borrow().failures.clone()
    }

    pub(crate) fn heal(&self) {
        self.0.borrow_mut().failures.clear();
    }

    /// Makes the operation after this many more fail.
    pub(crate) fn fail_once(&self, after: usize, failure: Failure) {
        let mut state = self.0.borrow_mut();
        state.flaw = Some((state.op_count + after, failure));
    }

    /// Switches the power off in the operation after this many more.
    pub(crate) fn cut_in(&self, after: usize, place: usize) {
        let mut state = self.0.borrow_mut();
        state.cut = Some((state.op_count + after, place));
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.borrow().is_off
    }

    /// Switches the power on; operations that were to fail do not.
    pub(crate) fn power_on(&self) {
        let mut state = self.0.borrow_mut();
        (state.is_off, state.cut, state.flaw) = (false, None, None);
    }

    /// Changes bits of a byte.
    pub(crate) fn flip(&self, at: usize, bits: u8) {
        self.0.borrow_mut().bytes[at] ^= bits;
    }

    /// Fills a sector with bytes.
    pub(crate) fn put(&self, sector: usize, bytes: &[u8]) {
        self.0.borrow_mut().bytes[sector * SECTOR..][..SECTOR].copy_from_slice(bytes);
    }
}

impl Silicon {
    /// Carries out an operation, unless it fails or the power does.
    fn act(&mut self, sector: usize, op: Op) -> Result<(), Fault> {
        if self.is_off {
            return Err(Fault::Closed);
        }
        let number = self.op_count;
        self.op_count += 1;
        if let Some((at, place)) = self.cut
            && at == number
        {
            op.cut(&mut self.bytes, place % op.cuts());
            self.is_off = true;
            return Err(Fault::Closed);
        }
        if self.image_each.is_some_and(|each| number.is_multiple_of(each)) {
            let mut image = self.bytes.clone();
            op.cut(&mut image, number % op.cuts());
            self.images.push((number, image));
        }
        let flaw = self.flaw.filter(|(at, _)| *at == number).map(|(_, failure)| failure);
        match flaw.or_else(|| self.failures.get(&sector).copied()) {
            Some(failure) => self.act_badly(&op, failure)?,
            None => op.apply(&mut self.bytes),
        }
        if matches!(op, Op::Erase(_)) {
            self.erasures[sector] += 1;
        }
        if self.keeps_ops {
            self.ops.push(op);
        }
        Ok(())
    }

    fn act_badly(&mut self, op: &Op, failure: Failure) -> Result<(), Fault> {
        match (op, failure) {
            (_, Failure::Frozen | Failure::Dead)
            | (Op::Program(..), Failure::NoProgram)
            | (Op::Erase(_), Failure::NoErase) => return Err(Fault::Failed),
            (Op::Program(at, bytes), Failure::WeakProgram | Failure::WeakEnd) => {
                let is_weak = failure == Failure::WeakProgram || at % SECTOR >= SECTOR / 2;
                let weak: Vec<u8> =
                    bytes.iter().map(|byte| byte | if is_weak { 0x55 } else { 0 }).collect();
                let held = &mut self.bytes[*at..*at + bytes.len()];
                held.iter_mut().zip(weak).for_each(|(held, byte)| *held &= byte);
            }
            (Op::Erase(sector), Failure::WeakErase) => {
                let sector = &mut self.bytes[sector * SECTOR..(sector + 1) * SECTOR];
                for (place, byte) in sector.iter_mut().enumerate() {
                    *byte |= if place % 97 == 20 { 0x7f } else { 0xff };
                }
            }
            _ => op.apply(&mut self.bytes),
        }
        Ok(())
    }
}

impl Flash for Chip {
    fn sectors(&self) -> u32 {
        u32::try_from(self.0.borrow().bytes.len()).unwrap() / SECTOR_BYTES
    }

    fn read(&self, address: u32, buffer: &mut [u8]) -> Result<(), Fault> {
        let at = usize::try_from(address).unwrap();
        let state = self.0.borrow();
        if state.is_off {
            return Err(Fault::Closed);
        }
        if state.failures.get(&(at / SECTOR)) == Some(&Failure::Dead) {
            return Err(Fault::Unreadable);
        }
        buffer.copy_from_slice(&state.bytes[at..at + buffer.len()]);
        Ok(())
    }

    fn program(&self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        let at = usize::try_from(address).unwrap();
        let word = usize::try_from(WORD_BYTES).unwrap();
        assert!(at.is_multiple_of(word) && bytes.len().is_multiple_of(word) && !bytes.is_empty());
        assert_eq!(at / SECTOR, (at + bytes.len() - 1) / SECTOR, "a program beyond the sector");
        let mut state = self.0.borrow_mut();
        for (held, byte) in state.bytes[at..].iter().zip(bytes) {
            assert_eq!(*held & *byte, *byte, "a bit rises without an erasure");
        }
        state.act(at / SECTOR, Op::Program(at, bytes.to_vec()))
    }

    fn erase(&self, sector: u32) -> Result<(), Fault> {
        let sector = usize::try_from(sector).unwrap();
        self.0.borrow_mut().act(sector, Op::Erase(sector))
    }
}

impl Op {
    /// Number of places for a cut: every byte of a program, and the stages of an erasure.
    pub(crate) fn cuts(&self) -> usize {
        match self {
            Self::Program(_, bytes) => bytes.len(),
            Self::Erase(_) => 4,
        }
    }

    pub(crate) fn apply(&self, chip: &mut [u8]) {
        match self {
            Self::Program(at, bytes) => chip[*at..*at + bytes.len()].copy_from_slice(bytes),
            Self::Erase(sector) => chip[sector * SECTOR..(sector + 1) * SECTOR].fill(0xff),
        }
    }

    /// Applies the operation up to a cut: a program leaves the bytes before it and one with some of
    /// its bits cleared, an erasure leaves any bits.
    pub(crate) fn cut(&self, chip: &mut [u8], at: usize) {
        match self {
            Self::Program(start, bytes) => {
                chip[*start..start + at].copy_from_slice(&bytes[..at]);
                chip[start + at] &= bytes[at] | 0x5a;
            }
            Self::Erase(sector) => {
                let sector = &mut chip[sector * SECTOR..(sector + 1) * SECTOR];
                for (place, byte) in sector.iter_mut().enumerate() {
                    let noise = u8::try_from((place * 151 + at * 89 + place / 7) % 256).unwrap();
                    match at {
                        0 => *byte |= noise,
                        1 => *byte = noise,
                        2 => *byte |= if place < 14 { 0xff } else { 0 },
                        _ => *byte |= if place < 2_000 { 0 } else { 0xff },
                    }
                }
            }
        }
    }
}

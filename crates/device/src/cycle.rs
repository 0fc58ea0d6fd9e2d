//! One polling cycle: which read is next, which of its parts are queued, and how they went.

use ecowatt_model::MonoMs;
use ecowatt_profile::{Plan, READS_MAX, Read};
use heapless::Vec;

use crate::limits::PARTS_MAX;
use crate::schedule::GroupSet;

/// Reads of a plan, a bit each.
pub(crate) type ReadSet = u32;
const _: () = assert!(READS_MAX <= 32, "a set of reads has 32 bits");

/// The registers of a read from one offset to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: u8,
    to: u8,
}

/// A cycle under way.
#[derive(Debug)]
pub(crate) struct Cycle {
    pub(crate) scheduled: MonoMs,
    pub(crate) began: Option<MonoMs>,
    pub(crate) groups: GroupSet,
    /// Reads that are due and not begun.
    left: ReadSet,
    /// Index of the read to which the queued parts belong.
    current: u8,
    /// A stack: the next part is last.
    parts: Vec<Part, PARTS_MAX>,
    /// The part under way; cleared by its outcome.
    asked: Option<Part>,
    /// Refused reads that were bisected, and garbled answers, in this cycle.
    pub(crate) bisections: u8,
    pub(crate) garbled: u8,
    pub(crate) has_asked: bool,
    pub(crate) has_words: bool,
    pub(crate) has_answer: bool,
    /// Shortest read that was refused for its registers, and longest that was answered.
    pub(crate) refused_min: u16,
    pub(crate) answered_max: u16,
    /// A refused read was found that cannot be split further.
    pub(crate) has_bad_registers: bool,
    /// The part without an answer, which ended the cycle.
    silent: Option<Part>,
}

impl Cycle {
    /// A cycle of the groups that are due; `None` if they have no reads.
    pub(crate) fn new(plan: &Plan, scheduled: MonoMs, groups: GroupSet) -> Option<Self> {
        let left = (0u8..)
            .zip(plan.reads())
            .filter(|(_, read)| (groups >> read.group) & 1 == 1)
            .fold(0, |left, (index, _)| left | (1 << index));
        (left != 0).then(|| Self {
            scheduled,
            began: None,
            groups,
            left,
            current: 0,
            parts: Vec::new(),
            asked: None,
            bisections: 0,
            garbled: 0,
            has_asked: false,
            has_words: false,
            has_answer: false,
            refused_min: u16::MAX,
            answered_max: 0,
            has_bad_registers: false,
            silent: None,
        })
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether nothing is left to request.
    pub(crate) fn is_over(&self) -> bool {
        self.asked.is_none() && self.parts.is_empty() && self.left == 0
    }

    /// Index of the read to which the queued parts belong.
    pub(crate) fn current(&self) -> u8 {
        self.current
    }

    /// The next read or part of one. Reads that got no answer last time come last, each of them
    /// first among these in turn, so that one that is never answered does not keep the others from
    /// being read.
    pub(crate) fn next(&mut self, plan: &Plan, unanswered: Unanswered) -> Option<Read> {
        if let Some(part) = self.parts.pop() {
            return self.read(plan, part);
        }
        let index = unanswered.choose(self.left)?;
        self.left &= !(1 << index);
        self.current = index;
        plan.reads().get(usize::from(index)).copied()
    }

    /// Notes that this read, or part of the current one, is requested.
    pub(crate) fn ask(&mut self, plan: &Plan, read: &Read) {
        self.asked = self.part(plan, read);
        self.has_asked = true;
    }

    /// Takes the read that was requested, once its outcome is known.
    pub(crate) fn take_asked(&mut self, plan: &Plan) -> Option<Read> {
        let part = self.asked.take()?;
        self.read(plan, part)
    }

    /// Notes that this read, or part of the current one, got no answer.
    pub(crate) fn note_silence(&mut self, plan: &Plan, read: &Read) {
        self.silent = self.part(plan, read);
    }

    /// The read without an answer that ended the cycle.
    pub(crate) fn silent(&self, plan: &Plan) -> Option<Read> {
        self.silent.and_then(|part| self.read(plan, part))
    }

    /// Queues parts of the current read, in their order; returns false if there is no room.
    pub(crate) fn push(&mut self, plan: &Plan, parts: &[Read]) -> bool {
        parts
            .iter()
            .rev()
            .all(|read| self.part(plan, read).is_some_and(|part| self.parts.push(part).is_ok()))
    }

    /// Ends the cycle; calls `each` with every read that was not requested.
    pub(crate) fn give_up(&mut self, plan: &Plan, mut each: impl FnMut(&Read)) {
        for part in core::mem::take(&mut self.parts) {
            if let Some(read) = self.read(plan, part) {
                each(&read);
            }
        }
        for (index, read) in (0u8..).zip(plan.reads()) {
            if (self.left >> index) & 1 == 1 {
                each(read);
            }
        }
        self.left = 0;
    }

    fn read(&self, plan: &Plan, part: Part) -> Option<Read> {
        let whole = plan.reads().get(usize::from(self.current))?;
        Some(whole.part(part.from.into(), part.to.into()))
    }

    fn part(&self, plan: &Plan, read: &Read) -> Option<Part> {
        let whole = plan.reads().get(usize::from(self.current))?;
        let from = read.address.checked_sub(whole.address)?;
        let to = from.checked_add(read.count)?;
        Some(Part { from: u8::try_from(from).ok()?, to: u8::try_from(to).ok()? })
    }
}

/// The reads that got no answer when they were last requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered {
    reads: ReadSet,
    /// The most recently requested of them.
    last: u8,
}

impl Unanswered {
    pub(crate) const NONE: Self = Self { reads: 0, last: 0 };

    pub(crate) fn add(&mut self, index: u8) {
        self.reads |= 1 << index;
        self.last = index;
    }

    pub(crate) fn remove(&mut self, index: u8) {
        self.reads &= !(1 << index);
    }

    /// Chooses the next of these reads.
    fn choose(self, left: ReadSet) -> Option<u8> {
        let later = ReadSet::MAX.checked_shl(u32::from(self.last) + 1).unwrap_or(0);
        let sets = [left & !self.reads, left & later, left];
        let set = sets.into_iter().find(|set| *set != 0)?;
        u8::try_from(set.trailing_zeros()).ok()
    }
}

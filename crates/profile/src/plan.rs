//! What to read, how often, and when an inverter is asleep: all that polling needs from a profile.
//!
//! A plan is plain data without pointers. A column is one register that some point needs; registers
//! that a read only passes over are not columns. The poller decides how to handle a bad register;
//! [`Read::bisect`] and [`Read::columns`] support it.

use core::time::Duration;

use ecowatt_model::{COLUMNS_MAX, Mark};

use crate::decimal::POWERS_OF_TEN;
use crate::number_type::Table;
use crate::sunspec::{FoundModel, HEADER_LEN};

/// Maximum number of reads in one plan.
pub const READS_MAX: usize = 24;
/// Maximum number of groups in one plan.
pub const GROUPS_MAX: usize = 8;
/// Maximum number of registers in one read (MODBUS Application Protocol V1.1b3, 6.3).
pub const READ_REGISTERS_MAX: u16 = 125;
/// Maximum number of conditions in a sleep rule.
pub const SLEEP_CONDITIONS_MAX: usize = 4;
/// Maximum number of words in one condition of a sleep rule.
pub const SLEEP_WORDS_MAX: usize = 4;
/// Maximum number of guards in one plan, that is, of SunSpec models that one profile reads.
pub const GUARDS_MAX: usize = 10;

/// Registers that are due together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Group {
    /// Milliseconds between reads; 0 means once per connection.
    pub every_ms: u32,
}

/// One request for consecutive registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Table of the registers.
    pub table: Table,
    /// First register.
    pub address: u16,
    /// How many, at most [`READ_REGISTERS_MAX`].
    pub count: u16,
    /// Index of the group that sets the interval.
    pub group: u8,
    /// First column of the read; the others follow in order of address.
    pub first_column: u8,
    /// Bit i is set when register `address + i` is a column.
    pub(crate) wanted: u128,
    /// Bit i is set if a split before register `address + i` tears no number.
    pub(crate) cuts: u128,
}

/// Why a plan is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More than [`READS_MAX`].
    #[error("more than {READS_MAX} reads")]
    TooManyReads,
    /// More than [`GROUPS_MAX`].
    #[error("more than {GROUPS_MAX} groups")]
    TooManyGroups,
    /// More than [`COLUMNS_MAX`].
    #[error("more than {COLUMNS_MAX} registers")]
    TooManyColumns,
    /// More than [`SLEEP_CONDITIONS_MAX`].
    #[error("more than {SLEEP_CONDITIONS_MAX} sleep conditions")]
    TooManyConditions,
    /// More than [`GUARDS_MAX`].
    #[error("more than {GUARDS_MAX} models")]
    TooManyGuards,
    /// The header of this SunSpec model is not contained in one read.
    #[error("no read contains the header of model {0}")]
    Unguarded(u16),
}

impl Read {
    /// A read in which every register is a column and may be read alone.
    ///
    /// `count` is limited to [`READ_REGISTERS_MAX`].
    #[must_use]
    pub fn of_all(table: Table, address: u16, count: u16, group: u8, first_column: u8) -> Self {
        let count = count.min(READ_REGISTERS_MAX);
        let all = low_bits(count);
        Self { table, address, count, group, first_column, wanted: all, cuts: all }
    }

    /// The same read, marked as one number that cannot be split.
    #[must_use]
    pub const fn undivided(self) -> Self {
        Self { cuts: 0, ..self }
    }

    /// How many of the registers are columns.
    #[must_use]
    pub const fn column_count(&self) -> usize {
        self.wanted.count_ones() as usize
    }

    /// The registers that are columns: (offset from `address`, column).
    pub fn columns(&self) -> impl Iterator<Item = (u16, usize)> + use<> {
        let mut rest = self.wanted;
        let first = usize::from(self.first_column);
        (first..).map_while(move |column| {
            let offset = u16::try_from(rest.trailing_zeros()).ok().filter(|&bit| bit < 128)?;
            rest &= rest - 1;
            Some((offset, column))
        })
    }

    /// Returns the column of a register if this read contains it.
    #[must_use]
    pub fn column_of(&self, address: u16) -> Option<usize> {
        let offset = address.checked_sub(self.address).filter(|&offset| offset < self.count)?;
        let is_wanted = (self.wanted >> offset) & 1 == 1;
        let before = (self.wanted & low_bits(offset)).count_ones();
        is_wanted.then(|| usize::from(self.first_column) + usize::try_from(before).unwrap_or(0))
    }

    /// Splits the read near the middle into two that together cover its columns.
    ///
    /// Used to find the register that makes a whole read fail with exception 2. Registers of one
    /// point stay together, and registers at the split that are not columns are dropped. Returns
    /// `None` if the read is for one point (or for points that share registers): then that point is
    /// the one that fails.
    #[must_use]
    pub fn bisect(&self) -> Option<(Self, Self)> {
        self.bisect_at(self.cuts)
    }

    /// Like [`Self::bisect`], but only at one of these cuts.
    fn bisect_at(&self, cuts: u128) -> Option<(Self, Self)> {
        let middle = self.count / 2;
        let is_useful = |cut: u16| {
            (cuts >> cut) & 1 == 1
                && self.wanted & low_bits(cut) != 0
                && self.wanted & !low_bits(cut) != 0
        };
        let cut = (1..self.count)
            .filter(|&cut| is_useful(cut))
            .min_by_key(|&cut| cut.abs_diff(middle))?;
        let left = self.part(0, cut);
        let right = self.part(cut, self.count);
        Some((left, right))
    }

    /// The registers from `start` up to `end` (exclusive), without non-columns at either edge.
    #[must_use]
    pub fn part(&self, start: u16, end: u16) -> Self {
        let wanted = self.wanted & low_bits(end) & !low_bits(start);
        let first = u16::try_from(wanted.trailing_zeros()).unwrap_or(start);
        let last = u16::try_from(127 - wanted.leading_zeros()).unwrap_or(first);
        let skipped = (self.wanted & low_bits(start)).count_ones();
        Self {
            address: self.address + first,
            count: last - first + 1,
            first_column: self.first_column + u8::try_from(skipped).unwrap_or(0),
            wanted: wanted >> first,
            cuts: self.cuts >> first,
            ..*self
        }
    }
}

/// The header of a SunSpec model. While it reads as expected, the model's registers are where the
/// plan takes them to be: firmware updates and settings move register maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelGuard {
    /// The model as discovery found it.
    pub model: FoundModel,
    /// Column of the header's identifier; that of its length follows.
    pub column: u8,
}

impl ModelGuard {
    /// Whether the model is where it should be; `None` if its header was not read.
    #[must_use]
    pub fn holds(&self, words: &[u16], marks: &[Mark]) -> Option<bool> {
        let columns = usize::from(self.column)..usize::from(self.column) + 2;
        let is_read = marks.get(columns.clone())?.iter().all(|mark| *mark == Mark::Read);
        is_read.then(|| words.get(columns) == Some(&[self.model.id, self.model.length]))
    }

    /// Whether a register belongs to the model.
    #[must_use]
    pub fn covers(&self, table: Table, address: u16) -> bool {
        let offset = address.checked_sub(self.model.address);
        let end = u32::from(self.model.length) + u32::from(HEADER_LEN);
        table == Table::Holding && offset.is_some_and(|offset| u32::from(offset) < end)
    }
}

/// One condition of a sleep rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SleepCondition {
    /// Column of the word.
    pub column: u8,
    /// What the word must satisfy.
    pub test: SleepTest,
}

/// Condition on one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SleepTest {
    /// The number in the word is below `limit`.
    Below {
        /// In counts of the register, or in units of the scale factor's exponent.
        limit: i32,
        /// Whether the word is two's complement.
        is_signed: bool,
        /// Column and unit of the number's SunSpec scale factor, if it has one.
        scale: Option<SleepScale>,
    },
    /// The word is one of the first `count` of these.
    OneOf {
        /// The words.
        words: [u16; SLEEP_WORDS_MAX],
        /// How many of them are used.
        count: u8,
    },
}

/// The scale factor of a word in a sleep rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SleepScale {
    /// Column of the scale factor.
    pub column: u8,
    /// The limit is in units of 10^`exponent`.
    pub exponent: i8,
}

impl SleepTest {
    /// Whether the word in `column` was read and satisfies the test.
    fn holds(self, column: u8, words: &[u16], marks: &[Mark]) -> bool {
        let read = |column: u8| {
            let column = usize::from(column);
            words.get(column).copied().filter(|_| marks.get(column) == Some(&Mark::Read))
        };
        let Some(word) = read(column) else { return false };
        match self {
            Self::Below { limit, is_signed, scale } => {
                let count = if is_signed { i64::from(word.cast_signed()) } else { word.into() };
                let Some(scale) = scale else { return count < i64::from(limit) };
                let Some(factor) = read(scale.column).map(u16::cast_signed) else { return false };
                let shift = i32::from(factor) - i32::from(scale.exponent);
                let Ok(power) = usize::try_from(shift.unsigned_abs()) else { return false };
                // Scale factors are -10 to 10; other values, such as "not implemented", are
                // invalid.
                match POWERS_OF_TEN.get(power).filter(|_| factor.unsigned_abs() <= 10) {
                    // A product that does not fit saturates, which leads to the same decision.
                    Some(&power) if shift >= 0 => count.saturating_mul(power) < i64::from(limit),
                    Some(&power) => count < i64::from(limit).saturating_mul(power),
                    None => false,
                }
            }
            Self::OneOf { words, count } => {
                words.iter().take(usize::from(count)).any(|&one| one == word)
            }
        }
    }
}

/// When the last words of an inverter show that it is going to sleep, not failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SleepRule {
    conditions: [Option<SleepCondition>; SLEEP_CONDITIONS_MAX],
}

impl SleepRule {
    /// A rule that holds if all conditions do.
    ///
    /// # Errors
    /// When there are more than [`SLEEP_CONDITIONS_MAX`].
    pub fn new(conditions: &[SleepCondition]) -> Result<Self, PlanError> {
        let mut rule = Self { conditions: [None; SLEEP_CONDITIONS_MAX] };
        if conditions.len() > SLEEP_CONDITIONS_MAX {
            return Err(PlanError::TooManyConditions);
        }
        for (slot, condition) in rule.conditions.iter_mut().zip(conditions) {
            *slot = Some(*condition);
        }
        Ok(rule)
    }

    /// The conditions.
    pub fn conditions(&self) -> impl Iterator<Item = SleepCondition> + use<> {
        self.conditions.into_iter().flatten()
    }

    /// Whether this sample shows sleep: every word of the rule was read and satisfies its test.
    #[must_use]
    pub fn is_asleep(&self, words: &[u16], marks: &[Mark]) -> bool {
        let mut conditions = self.conditions().peekable();
        conditions.peek().is_some()
            && conditions.all(|condition| condition.test.holds(condition.column, words, marks))
    }
}

/// All reads of one inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    reads: [Read; READS_MAX],
    read_count: u8,
    groups: [Group; GROUPS_MAX],
    group_count: u8,
    column_count: u8,
    sleep: Option<SleepRule>,
    guards: [ModelGuard; GUARDS_MAX],
    guard_count: u8,
    /// One bit for each column that continues a text: a text may be torn before it.
    texts: u128,
}

const _: () = assert!(COLUMNS_MAX <= 128, "a plan keeps a bit per column");

impl Plan {
    /// A plan without reads.
    pub const EMPTY: Self = Self {
        reads: [Read {
            table: Table::Holding,
            address: 0,
            count: 0,
            group: 0,
            first_column: 0,
            wanted: 0,
            cuts: 0,
        }; READS_MAX],
        read_count: 0,
        groups: [Group { every_ms: 0 }; GROUPS_MAX],
        group_count: 0,
        column_count: 0,
        sleep: None,
        guards: [ModelGuard { model: FoundModel { id: 0, address: 0, length: 0 }, column: 0 };
            GUARDS_MAX],
        guard_count: 0,
        texts: 0,
    };

    /// A plan of these reads, whose columns are numbered in the given order.
    ///
    /// # Errors
    /// When a limit is exceeded.
    pub fn new(
        groups: &[Group],
        reads: &[Read],
        sleep: Option<SleepRule>,
    ) -> Result<Self, PlanError> {
        let mut plan = Self {
            read_count: u8::try_from(reads.len()).map_err(|_| PlanError::TooManyReads)?,
            group_count: u8::try_from(groups.len()).map_err(|_| PlanError::TooManyGroups)?,
            sleep,
            ..Self::EMPTY
        };
        plan.groups
            .get_mut(..groups.len())
            .ok_or(PlanError::TooManyGroups)?
            .copy_from_slice(groups);
        let slots = plan.reads.get_mut(..reads.len()).ok_or(PlanError::TooManyReads)?;
        for (slot, read) in slots.iter_mut().zip(reads) {
            *slot = Read { first_column: plan.column_count, ..*read };
            let columns = usize::from(plan.column_count) + read.column_count();
            plan.column_count = u8::try_from(columns)
                .ok()
                .filter(|&count| usize::from(count) <= COLUMNS_MAX)
                .ok_or(PlanError::TooManyColumns)?;
        }
        Ok(plan)
    }

    /// Adds guards for these models, whose headers are among the plan's columns.
    ///
    /// # Errors
    /// When there are more than [`GUARDS_MAX`], or no read contains one of the headers.
    pub fn with_guards(mut self, models: &[FoundModel]) -> Result<Self, PlanError> {
        for model in models {
            let header = model.address..=model.address.saturating_add(HEADER_LEN - 1);
            let column = self.reads().iter().find_map(|read| {
                let is_whole = header.clone().all(|address| read.column_of(address).is_some());
                let column = read.column_of(model.address).filter(|_| is_whole)?;
                u8::try_from(column).ok().filter(|_| read.table == Table::Holding)
            });
            let column = column.ok_or(PlanError::Unguarded(model.id))?;
            let slot = self.guards.get_mut(usize::from(self.guard_count));
            *slot.ok_or(PlanError::TooManyGuards)? = ModelGuard { model: *model, column };
            self.guard_count += 1;
        }
        Ok(self)
    }

    /// Marks these columns as a text, which may be split over several reads.
    #[must_use]
    pub fn with_text(mut self, first_column: u8, count: u8) -> Self {
        let first = u16::from(first_column);
        self.texts |= low_bits(first + u16::from(count)) & !low_bits(first + 1);
        self
    }

    /// The headers that show whether the registers are where the plan expects them.
    #[must_use]
    pub fn guards(&self) -> &[ModelGuard] {
        &self.guards[..usize::from(self.guard_count)]
    }

    /// Splits a read in two that together cover its columns, for a device that refuses it because
    /// of its length: texts may be torn, numbers and scaled values are not.
    #[must_use]
    pub fn halve(&self, read: &Read) -> Option<(Read, Read)> {
        let texts = read
            .columns()
            .filter(|(_, column)| (self.texts >> column) & 1 == 1)
            .fold(0, |cuts, (offset, _)| cuts | (1 << offset));
        read.bisect_at(read.cuts | texts)
    }

    /// The reads, fastest group first.
    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.reads[..usize::from(self.read_count)]
    }

    /// The groups that the reads refer to.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups[..usize::from(self.group_count)]
    }

    /// Number of words in a sample.
    #[must_use]
    pub fn column_count(&self) -> usize {
        usize::from(self.column_count)
    }

    /// When the inverter is asleep, if its profile has a sleep rule.
    #[must_use]
    pub const fn sleep(&self) -> Option<&SleepRule> {
        self.sleep.as_ref()
    }
}

/// Cost of a link, for deciding between reading over a hole and a second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// Speed of the bus between the inverter and whatever answers.
    pub baud: u32,
    /// Time between the end of a request and the start of the answer.
    pub turnaround: Duration,
}

impl Transport {
    /// TCP. Most TCP endpoints are dongles on a serial bus that is not visible from here. A typical
    /// fast bus is assumed, which joins nearby registers without reading over large holes.
    pub const TCP: Self = Self { baud: 115_200, turnaround: Duration::from_millis(5) };

    /// A serial line; a turnaround of 20 ms is typical.
    #[must_use]
    pub const fn serial(baud: u32) -> Self {
        Self { baud, turnaround: Duration::from_millis(20) }
    }

    /// The longest run of unneeded registers that is cheaper to read than a second request.
    ///
    /// A second exchange costs 8 bytes of request, 5 bytes around the answer, two silences of 3.5
    /// characters (20 characters together) and the turnaround; an unneeded register costs 2
    /// characters. A character is taken as 10 bits. At 9600 Bd that gives 19 registers with 20 ms
    /// turnaround and 58 with 100 ms, at 19200 Bd and 20 ms 29.
    #[must_use]
    pub fn hole_max(&self) -> u16 {
        const EXCHANGE_CHARS: u64 = 8 + 5 + 7;
        const BITS_PER_CHAR: u64 = 10;
        const CHARS_PER_REGISTER: u64 = 2;
        let turnaround_us = u64::try_from(self.turnaround.as_micros()).unwrap_or(u64::MAX);
        let turnaround_chars =
            turnaround_us.saturating_mul(u64::from(self.baud)) / (BITS_PER_CHAR * 1_000_000);
        let registers = (EXCHANGE_CHARS + turnaround_chars) / CHARS_PER_REGISTER;
        u16::try_from(registers).unwrap_or(u16::MAX).min(READ_REGISTERS_MAX)
    }
}

/// The lowest `count` bits set.
pub(crate) const fn low_bits(count: u16) -> u128 {
    if count >= 128 { u128::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn break_even_of_holes_follows_speed_and_turnaround() {
        let hole = |baud, ms| Transport { baud, turnaround: Duration::from_millis(ms) }.hole_max();
        assert_eq!(hole(9_600, 20), 19);
        assert_eq!(hole(9_600, 100), 58);
        assert_eq!(hole(19_200, 20), 29);
        assert_eq!(Transport::TCP.hole_max(), 38);
        assert_eq!(hole(u32::MAX, u64::MAX), READ_REGISTERS_MAX);
    }

    /// Registers 100, 101 (one number), 104 and 106.
    fn holey() -> Read {
        Read { wanted: 0b101_0011, cuts: 0b111_1101, ..Read::of_all(Table::Input, 100, 7, 1, 5) }
    }

    #[test]
    fn columns_are_the_wanted_registers() {
        let read = holey();
        assert_eq!(read.column_count(), 4);
        assert_eq!(read.columns().collect::<Vec<_>>(), vec![(0, 5), (1, 6), (4, 7), (6, 8)]);
        assert_eq!(read.column_of(104), Some(7));
        for not_a_column in [99, 102, 107, 0] {
            assert_eq!(read.column_of(not_a_column), None);
        }
    }

    #[test]
    fn bisecting_keeps_numbers_whole_and_drops_holes() {
        let (left, right) = holey().bisect().unwrap();
        assert_eq!((left.address, left.count, left.first_column), (100, 2, 5));
        assert_eq!((right.address, right.count, right.first_column), (104, 3, 7));
        assert_eq!(left.bisect(), None);
        let (four, six) = right.bisect().unwrap();
        assert_eq!((four.address, four.count, four.first_column), (104, 1, 7));
        assert_eq!((six.address, six.count, six.first_column), (106, 1, 8));
        assert_eq!(six.column_of(106), Some(8));
    }

    #[test]
    fn a_full_read_is_bisected_down_to_single_registers() {
        let mut waiting = vec![Read::of_all(Table::Holding, 0, 125, 0, 0)];
        let mut singles = vec![];
        while let Some(read) = waiting.pop() {
            match read.bisect() {
                Some((left, right)) => waiting.extend([right, left]),
                None => singles.push((read.address, usize::from(read.first_column))),
            }
        }
        assert_eq!(singles, (0..125).map(|n| (n, usize::from(n))).collect::<Vec<_>>());
    }

    #[test]
    fn sleep_needs_every_condition_to_be_read_and_true() {
        let rule = SleepRule::new(&[
            SleepCondition {
                column: 0,
                test: SleepTest::Below { limit: 500, is_signed: false, scale: None },
            },
            SleepCondition { column: 2, test: SleepTest::OneOf { words: [1, 2, 9, 9], count: 2 } },
        ])
        .unwrap();
        let read = [Mark::Read; 3];
        assert!(rule.is_asleep(&[499, 0, 2], &read));
        assert!(!rule.is_asleep(&[500, 0, 2], &read));
        assert!(!rule.is_asleep(&[499, 0, 9], &read));
        assert!(!rule.is_asleep(&[499, 0, 2], &[Mark::Read, Mark::Read, Mark::Timeout]));
        assert!(!rule.is_asleep(&[], &[]));
        assert!(!SleepRule::new(&[]).unwrap().is_asleep(&[0], &read));
    }

    #[test]
    fn a_sleep_rule_applies_the_scale_factor() {
        let scale = Some(SleepScale { column: 1, exponent: -1 });
        let test = SleepTest::Below { limit: 500, is_signed: true, scale };
        let rule = SleepRule::new(&[SleepCondition { column: 0, test }]).unwrap();
        let holds = |word: i16, factor: i16| {
            rule.is_asleep(&[word.cast_unsigned(), factor.cast_unsigned()], &[Mark::Read; 2])
        };
        assert!(holds(49, 0) && !holds(50, 0));
        assert!(holds(4, 1) && !holds(5, 1));
        assert!(holds(499, -1) && !holds(500, -1));
        assert!(holds(4_999, -2) && !holds(5_000, -2));
        assert!(holds(-5, 10) && !holds(5, 10));
        for not_a_factor in [i16::MIN, 11, -11] {
            assert!(!holds(1, not_a_factor));
        }
        assert!(!rule.is_asleep(&[1, 0], &[Mark::Read, Mark::NotDue]));
    }

    #[test]
    fn a_plan_numbers_its_columns() {
        let read = |count| Read::of_all(Table::Holding, 10, count, 0, 99);
        let plan = Plan::new(&[Group { every_ms: 5_000 }], &[read(3), read(2)], None).unwrap();
        assert_eq!(plan.column_count(), 5);
        assert_eq!(plan.reads()[1].first_column, 3);
        assert_eq!(Plan::new(&[], &[read(125), read(4)], None), Err(PlanError::TooManyColumns));
        assert_eq!(Plan::new(&[], &[read(1); 25], None), Err(PlanError::TooManyReads));
        assert_eq!(Plan::new(&[Group::default(); 9], &[], None), Err(PlanError::TooManyGroups));
    }
}

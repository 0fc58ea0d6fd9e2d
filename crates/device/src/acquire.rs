//! Polling one inverter: cycles on a grid, one read at a time, one sample per cycle.
//!
//! A cycle asks the groups that are due. The first read that brings no answer ends it: the rest is
//! not asked and gets the same mark, so that a dead inverter costs its bus one timeout. A read that
//! is refused for its addresses is bisected until the bad register is found and quarantined. Words
//! are taken as they come; the sample's instant is that of the cycle, never of the upload.

use core::time::Duration;

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::{COLUMNS_MAX, Mark, MonoMs, SourceNumber, StreamNumber};
use ecowatt_profile::{GROUPS_MAX, Plan, Read};
use ecowatt_wire::{SourceState, SourceStatus};
use heapless::Vec;

use crate::event::{Event, Events};
use crate::latency::Latency;
use crate::limits::{BISECTIONS_PER_CYCLE_MAX, PARTS_MAX};
use crate::link_state::{LinkState, Outcome};
use crate::quarantine::{Quarantine, Verdict};
use crate::wall::Wall;

/// One inverter to poll.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    pub number: SourceNumber,
    /// The number of the layout that `plan` belongs to.
    pub stream: StreamNumber,
    pub plan: Plan,
    /// Takes the place of the fastest group's interval; slower groups keep theirs.
    pub interval: Option<Duration>,
    /// Longest wait for an answer.
    pub timeout_max: Duration,
}

/// What became of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult<'a> {
    /// The words, as many as were asked for.
    Words(&'a [u16]),
    Exception(ExceptionCode),
    /// Nothing came in time.
    Timeout,
    /// Bytes came, but no valid answer.
    Garbled,
    /// The link to the inverter could not be opened or broke.
    Unreachable,
}

/// A read as the shell carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOutcome<'a> {
    /// When the request left, after whatever else was on the bus.
    pub began: MonoMs,
    /// From request to answer; of no meaning without an answer.
    pub latency: Duration,
    pub result: ReadResult<'a>,
}

/// A finished cycle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) at: MonoMs,
    pub(crate) words: &'a [u16],
    pub(crate) marks: &'a [Mark],
}

/// The polling of one inverter.
#[derive(Debug)]
pub(crate) struct Source<const COLUMNS: usize> {
    number: SourceNumber,
    stream: StreamNumber,
    plan: Plan,
    /// Shortest interval of the plan's groups.
    fastest: Duration,
    /// From one cycle to the next.
    interval: Duration,
    /// When each group is due next; a group of interval 0 is due again after the link was lost.
    group_due: [MonoMs; GROUPS_MAX],
    next_cycle: MonoMs,
    cycle: Option<Cycle>,
    words: [u16; COLUMNS],
    marks: [Mark; COLUMNS],
    link: LinkState,
    latency: Latency,
    quarantine: Quarantine,
    requests: u32,
    failures: u32,
}

/// A cycle under way.
#[derive(Debug)]
struct Cycle {
    scheduled: MonoMs,
    began: Option<MonoMs>,
    /// Bit per group.
    due: u8,
    next_read: usize,
    parts: Vec<Read, PARTS_MAX>,
    asked: Option<Read>,
    bisections: u8,
    garbled: u8,
    has_words: bool,
    has_answer: bool,
}

const NEVER: MonoMs = MonoMs(u64::MAX);
const _: () = assert!(GROUPS_MAX <= 8, "a cycle keeps its due groups in eight bits");

impl<const COLUMNS: usize> Source<COLUMNS> {
    /// Gives nothing if the plan has more columns than there is room for, or none.
    pub(crate) fn new(config: SourceConfig, now: MonoMs) -> Option<Self> {
        let columns = config.plan.column_count();
        if columns == 0 || columns > COLUMNS || COLUMNS > COLUMNS_MAX {
            return None;
        }
        let fastest = config.plan.groups().iter().map(|group| group.every_ms).filter(|ms| *ms > 0);
        let fastest =
            fastest.min().map_or(Duration::from_secs(60), |ms| Duration::from_millis(ms.into()));
        Some(Self {
            number: config.number,
            stream: config.stream,
            plan: config.plan,
            fastest,
            interval: config.interval.unwrap_or(fastest).max(Duration::from_millis(1)),
            group_due: [MonoMs(0); GROUPS_MAX],
            next_cycle: now,
            cycle: None,
            words: [0; COLUMNS],
            marks: [Mark::NotDue; COLUMNS],
            link: LinkState::new(),
            latency: Latency::new(config.timeout_max),
            quarantine: Quarantine::default(),
            requests: 0,
            failures: 0,
        })
    }

    pub(crate) fn number(&self) -> SourceNumber {
        self.number
    }

    pub(crate) fn stream(&self) -> StreamNumber {
        self.stream
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.latency.timeout()
    }

    pub(crate) fn status(&self) -> SourceStatus {
        SourceStatus {
            source: self.number,
            state: self.link.state(),
            requests: self.requests,
            failures: self.failures,
            quarantined: self.quarantine.columns(),
        }
    }

    /// When [`Source::poll`] has something to do next, unless an answer comes before.
    pub(crate) fn poll_at(&self) -> MonoMs {
        match &self.cycle {
            None => self.next_cycle,
            Some(cycle) if cycle.asked.is_some() => NEVER,
            Some(_) => MonoMs(0),
        }
    }

    /// The clock was stepped: the grid lies elsewhere.
    pub(crate) fn realign(&mut self, now: MonoMs, wall: &Wall) {
        self.group_due = self.group_due.map(|due| due.min(now));
        if self.link.pause().is_zero() {
            self.next_cycle = wall.next_multiple(now, self.interval);
        }
    }

    /// The next read, if the time for it has come and none is under way.
    pub(crate) fn poll(&mut self, now: MonoMs, wall: &Wall) -> Option<Read> {
        if self.cycle.is_none() {
            if now < self.next_cycle {
                return None;
            }
            self.begin_cycle(now, wall);
        }
        let cycle = self.cycle.as_mut()?;
        if cycle.asked.is_some() {
            return None;
        }
        loop {
            let read = match cycle.parts.pop() {
                Some(read) => read,
                None => {
                    let read = *self.plan.reads().get(cycle.next_read)?;
                    cycle.next_read += 1;
                    if (cycle.due >> read.group) & 1 == 0 {
                        continue;
                    }
                    read
                }
            };
            match (self.quarantine.judge(&read, now), read.bisect()) {
                (Verdict::Ask | Verdict::Retry, _) | (Verdict::Split, None) => {
                    cycle.asked = Some(read);
                    self.requests = self.requests.saturating_add(1);
                    return Some(read);
                }
                (Verdict::Skip, _) => mark(&mut self.marks, &read, Mark::Quarantined),
                (Verdict::Split, Some((left, right))) => {
                    if cycle.parts.push(right).is_err() || cycle.parts.push(left).is_err() {
                        mark(&mut self.marks, &read, Mark::Quarantined);
                    }
                }
            }
        }
    }

    /// Takes what became of the read under way.
    pub(crate) fn handle(&mut self, now: MonoMs, outcome: &ReadOutcome<'_>, events: &mut Events) {
        let Some(cycle) = self.cycle.as_mut() else { return };
        let Some(read) = cycle.asked.take() else { return };
        // A sample is of the instant at which its first words were asked for. What was asked in vain
        // before is no part of it, and perhaps much older: the device may have stood still since.
        if !cycle.has_words {
            cycle.began = Some(outcome.began);
        }
        let result = match outcome.result {
            ReadResult::Words(words) if words.len() != usize::from(read.count) => {
                ReadResult::Garbled
            }
            // The gateway speaks for an inverter that does not.
            ReadResult::Exception(
                ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetFailedToRespond,
            ) => ReadResult::Timeout,
            ReadResult::Words(_)
            | ReadResult::Exception(_)
            | ReadResult::Timeout
            | ReadResult::Garbled
            | ReadResult::Unreachable => outcome.result,
        };
        if !matches!(result, ReadResult::Words(_)) {
            self.failures = self.failures.saturating_add(1);
        }
        match result {
            ReadResult::Words(words) => {
                self.latency.answered(outcome.latency);
                (cycle.has_words, cycle.has_answer) = (true, true);
                for (offset, column) in read.columns() {
                    if let Some(word) = words.get(usize::from(offset)) {
                        self.words[column] = *word;
                        self.marks[column] = Mark::Read;
                    }
                }
                if self.quarantine.release(&read) {
                    events.push(Event::Released {
                        source: self.number,
                        table: read.table,
                        address: read.address,
                        count: read.count,
                    });
                }
            }
            ReadResult::Exception(code) => {
                self.latency.answered(outcome.latency);
                cycle.has_answer = true;
                if is_about_addresses(code) && cycle.bisections < BISECTIONS_PER_CYCLE_MAX {
                    cycle.bisections += 1;
                    match read.bisect() {
                        Some((left, right)) => {
                            if cycle.parts.push(right).is_err() || cycle.parts.push(left).is_err() {
                                mark(&mut self.marks, &read, Mark::Exception);
                            }
                        }
                        None => {
                            mark(&mut self.marks, &read, Mark::Exception);
                            self.quarantine.add(&read, now);
                        }
                    }
                } else {
                    mark(&mut self.marks, &read, Mark::Exception);
                }
                // A source that has refused everything for a while is probed with one read.
                if self.link.state() == SourceState::Faulty && !cycle.has_words {
                    self.give_up(Mark::Exception);
                }
            }
            ReadResult::Garbled => {
                cycle.has_answer = true;
                cycle.garbled += 1;
                // Once it may have been noise on the line.
                if cycle.garbled > 1 || cycle.parts.push(read).is_err() {
                    mark(&mut self.marks, &read, Mark::Garbled);
                    self.give_up(Mark::Garbled);
                }
            }
            ReadResult::Timeout => {
                self.latency.timed_out();
                mark(&mut self.marks, &read, Mark::Timeout);
                self.give_up(Mark::Timeout);
            }
            ReadResult::Unreachable => {
                mark(&mut self.marks, &read, Mark::Unreachable);
                self.give_up(Mark::Unreachable);
            }
        }
    }

    /// Whether a cycle has nothing left to ask.
    pub(crate) fn is_over(&self) -> bool {
        self.cycle.as_ref().is_some_and(|cycle| {
            cycle.asked.is_none()
                && cycle.parts.is_empty()
                && cycle.next_read >= self.plan.reads().len()
        })
    }

    /// Ends the cycle once nothing is left to ask, and gives its sample.
    pub(crate) fn finish(
        &mut self,
        now: MonoMs,
        wall: &Wall,
        tolerance: Duration,
        events: &mut Events,
    ) -> Option<Taken<'_>> {
        if !self.is_over() {
            return None;
        }
        let cycle = self.cycle.take()?;
        let (number, columns) = (self.number, self.plan.column_count());
        self.quarantine.settle(cycle.has_words, |table, address, count| {
            events.push(Event::Quarantined { source: number, table, address, count });
        });
        let outcome = match (cycle.has_words, cycle.has_answer) {
            (true, _) => Outcome::Read,
            (false, true) => Outcome::Refused,
            (false, false) => Outcome::Quiet,
        };
        if outcome == Outcome::Read {
            self.judge_sleep();
        }
        if let Some(from) = self.link.cycle_ended(outcome) {
            let to = self.link.state();
            events.push(Event::Source { source: number, from, to });
        }
        if self.link.is_quietly_asleep() {
            self.marks[..columns].fill(Mark::Asleep);
        }
        self.plan_next(&cycle, now, wall);
        let began = cycle.began.unwrap_or(cycle.scheduled);
        let is_punctual = began.since(cycle.scheduled) <= tolerance;
        let at = if is_punctual { cycle.scheduled } else { began };
        Some(Taken { at, words: &self.words[..columns], marks: &self.marks[..columns] })
    }

    fn begin_cycle(&mut self, now: MonoMs, wall: &Wall) {
        self.words.fill(0);
        self.marks.fill(Mark::NotDue);
        // A shell that slept through several instants takes one sample, at the last of them.
        let mut scheduled = self.next_cycle;
        let missed = now.since(scheduled).as_millis() / self.interval.as_millis().max(1);
        if missed > 0 {
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            scheduled = scheduled.plus(self.interval.saturating_mul(missed)).min(now);
        }
        let mut due = 0;
        for (place, group) in self.plan.groups().iter().enumerate() {
            if self.group_due[place] > scheduled {
                continue;
            }
            due |= 1 << place;
            self.group_due[place] = match group.every_ms {
                0 => NEVER,
                ms => {
                    let own = Duration::from_millis(ms.into());
                    // An interval set by the operator takes the place of the fastest group's, and
                    // of any that is shorter.
                    let every = if own == self.fastest { self.interval } else { own };
                    wall.next_multiple(scheduled, every.max(self.interval))
                }
            };
        }
        self.cycle = Some(Cycle {
            scheduled,
            began: None,
            due,
            next_read: 0,
            parts: Vec::new(),
            asked: None,
            bisections: 0,
            garbled: 0,
            has_words: false,
            has_answer: false,
        });
    }

    /// Leaves the rest of the cycle unasked; its registers get the mark of what ended it.
    fn give_up(&mut self, with: Mark) {
        let Some(cycle) = self.cycle.as_mut() else { return };
        for part in &cycle.parts {
            mark(&mut self.marks, part, with);
        }
        cycle.parts.clear();
        let rest = self.plan.reads().get(cycle.next_read..).unwrap_or_default();
        for read in rest.iter().filter(|read| (cycle.due >> read.group) & 1 == 1) {
            mark(&mut self.marks, read, with);
        }
        cycle.next_read = self.plan.reads().len();
    }

    fn plan_next(&mut self, cycle: &Cycle, now: MonoMs, wall: &Wall) {
        // A group of which something was due and not answered is due again in the next cycle; what
        // an inverter refuses while it gives other registers, it refuses for good.
        let is_refusal_final = cycle.has_words;
        for read in self.plan.reads().iter().filter(|read| (cycle.due >> read.group) & 1 == 1) {
            let is_missing = read.columns().any(|(_, column)| match self.marks[column] {
                Mark::Timeout | Mark::Garbled | Mark::Unreachable | Mark::Asleep => true,
                Mark::Exception => !is_refusal_final,
                Mark::Read | Mark::NotDue | Mark::Quarantined => false,
            });
            if is_missing {
                self.group_due[usize::from(read.group)] = MonoMs(0);
            }
        }
        let pause = self.link.pause();
        // A pause may end on the grid; without one, the instant of this cycle is over.
        let earliest = match pause {
            Duration::ZERO => cycle.scheduled,
            pause => cycle.scheduled.plus(pause.saturating_sub(Duration::from_millis(1))),
        };
        self.next_cycle = wall.next_multiple(earliest.max(now), self.interval);
    }

    fn judge_sleep(&mut self) {
        let Some(rule) = self.plan.sleep() else { return };
        let can_tell = rule
            .conditions()
            .all(|condition| self.marks.get(usize::from(condition.column)) == Some(&Mark::Read));
        if can_tell {
            self.link.set_sleepy(rule.is_asleep(&self.words, &self.marks));
        }
    }
}

fn mark(marks: &mut [Mark], read: &Read, with: Mark) {
    for (_, column) in read.columns() {
        if let Some(mark) = marks.get_mut(column) {
            *mark = with;
        }
    }
}

/// Exceptions that inverters give for a register that does not exist: 2 by the specification, 3 by
/// several that check the count against what lies there.
fn is_about_addresses(code: ExceptionCode) -> bool {
    matches!(code, ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue)
}

//! Polling one inverter: cycles on a grid, one read at a time, one sample per cycle.
//!
//! A cycle reads the groups that are due. The first read without an answer ends it: the rest is not
//! requested and gets the same mark, so that a dead inverter costs its bus one timeout per cycle;
//! that read comes last in the next cycle. A read that is refused for its addresses is bisected
//! until the bad register is found and quarantined, or the longest read that is answered is known.
//! A sample has the instant of its cycle. Registers of a SunSpec model count only if the model's
//! header, read in the same cycle, is unchanged.

use core::time::Duration;

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::{COLUMNS_MAX, CommandId, Mark, MonoMs, SourceNumber, StreamNumber};
use ecowatt_profile::{Plan, Read, SleepTest};
use ecowatt_wire::{SourceState, SourceStatus};

use crate::cycle::{Cycle, Unanswered};
use crate::errand::{Client, Errand, ErrandEnd, Request};
use crate::event::{Event, Events};
use crate::exchange::{CompletedRead, Exchange, ReadResult, WriteResult};
use crate::inverter_state::{CycleOutcome, InverterLink, Sleep};
use crate::limits::{BISECTIONS_PER_CYCLE_MAX, ONCE_RETRY, TIMEOUT_MIN};
use crate::quarantine::{Quarantine, Verdict};
use crate::read_length::Lengths;
use crate::schedule::Schedule;
use crate::silent_reads::Mute;
use crate::wall_clock::WallClock;

/// One inverter to poll.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    pub number: SourceNumber,
    /// The number of the layout that `plan` belongs to.
    pub stream: StreamNumber,
    pub plan: Plan,
    /// Replaces the fastest group's interval; slower groups keep theirs.
    pub interval: Option<Duration>,
    /// How long to wait for the start of an answer: the longest that inverters of this kind take.
    pub timeout_max: Duration,
}

/// The sample of a finished cycle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CycleSample<'a> {
    pub(crate) at: MonoMs,
    pub(crate) words: &'a [u16],
    pub(crate) marks: &'a [Mark],
}

/// The polling of one inverter.
#[derive(Debug)]
pub(crate) struct Source {
    number: SourceNumber,
    stream: StreamNumber,
    plan: Plan,
    schedule: Schedule,
    timeout: Duration,
    cycle: Option<Cycle>,
    /// The sample of the cycle; it stays until the next cycle begins.
    words: [u16; COLUMNS_MAX],
    marks: [Mark; COLUMNS_MAX],
    link: InverterLink,
    unanswered: Unanswered,
    lengths: Lengths,
    mute: Mute,
    quarantine: Quarantine,
    requests: u32,
    failures: u32,
    /// What it does for a command or its leases; cleared by the outcome.
    errand: Option<Errand>,
}

impl Source {
    /// Nothing to poll.
    pub(crate) const IDLE: Self = Self {
        number: SourceNumber(0),
        stream: StreamNumber(0),
        plan: Plan::EMPTY,
        schedule: Schedule::IDLE,
        timeout: TIMEOUT_MIN,
        cycle: None,
        words: [0; COLUMNS_MAX],
        marks: [Mark::NotDue; COLUMNS_MAX],
        link: InverterLink::UNKNOWN,
        unanswered: Unanswered::NONE,
        lengths: Lengths::new(),
        mute: Mute::NONE,
        quarantine: Quarantine::EMPTY,
        requests: 0,
        failures: 0,
        errand: None,
    };

    /// Begins polling, from [`Source::IDLE`].
    pub(crate) fn configure(&mut self, config: &SourceConfig, now: MonoMs) {
        self.number = config.number;
        self.stream = config.stream;
        self.plan = config.plan;
        self.schedule = Schedule::new(&config.plan, config.interval, now);
        self.timeout = config.timeout_max.max(TIMEOUT_MIN);
    }

    /// Starts in the state of an inverter that had been asleep for so long when the epoch began.
    pub(crate) fn was_asleep(&mut self, asleep_for: Duration) {
        self.link = InverterLink::asleep(asleep_for);
    }

    pub(crate) fn number(&self) -> SourceNumber {
        self.number
    }

    pub(crate) fn stream(&self) -> StreamNumber {
        self.stream
    }

    /// Makes its samples belong to this stream from here on.
    pub(crate) fn relabel(&mut self, stream: StreamNumber) {
        self.stream = stream;
    }

    /// Makes a group due again, whenever it was last read.
    pub(crate) fn read_again(&mut self, now: MonoMs, group: u8) {
        self.schedule.again(group, now);
    }

    /// Reads or writes registers for a command or a lease, between two reads of a cycle.
    pub(crate) fn run(&mut self, client: Client, request: Request, latest: MonoMs) {
        self.errand = Some(Errand::new(client, request, latest));
    }

    /// Who has an errand on this inverter.
    pub(crate) fn client(&self) -> Option<Client> {
        self.errand.map(|errand| errand.client)
    }

    /// Whose exchange is under way, and what it is for.
    pub(crate) fn running(&self) -> Option<(Client, Request)> {
        let errand = self.errand.filter(Errand::is_asked)?;
        Some((errand.client, errand.request()))
    }

    /// Takes the outcome of a read for an errand; returns the end of it.
    pub(crate) fn handle_errand<'a>(
        &mut self,
        now: MonoMs,
        result: &ReadResult<'a>,
    ) -> Option<ErrandEnd<'a>> {
        let end = self.errand.as_mut()?.take_read(now, result)?;
        self.errand = None;
        Some(end)
    }

    /// Takes the outcome of a write; returns the end of its errand if nothing can be read back.
    pub(crate) fn handle_write(&mut self, result: WriteResult) -> Option<ErrandEnd<'static>> {
        let end = self.errand.as_mut()?.take_write(result)?;
        self.errand = None;
        Some(end)
    }

    /// The command that asks for a write whose deadline has passed.
    pub(crate) fn take_late(&mut self, now: MonoMs) -> Option<CommandId> {
        let errand = self.errand.as_ref().filter(|errand| errand.is_late(now))?;
        let Client::Command(command) = errand.client else { return None };
        self.errand = None;
        Some(command)
    }

    /// Whether it answers, as far as recent cycles show.
    pub(crate) fn is_answering(&self) -> bool {
        self.link.is_answering()
    }

    /// Polls at once what was given up, with its registers that could not be read.
    pub(crate) fn clear_fault(&mut self, now: MonoMs) {
        self.link.try_again();
        self.quarantine.retry_all(now);
        self.schedule.begin_at(now);
    }

    /// Milliseconds from one cycle to the next, by the device's own configuration.
    pub(crate) fn own_interval_ms(&self) -> u32 {
        self.schedule.own_ms()
    }

    /// Milliseconds from one cycle to the next.
    pub(crate) fn interval_ms(&self) -> u32 {
        self.schedule.interval_ms()
    }

    /// Begins its cycles at another interval from here on; one under way ends as it is.
    pub(crate) fn set_interval(&mut self, ms: u32, now: MonoMs, wall_clock: &WallClock) {
        self.schedule.set_interval(ms, now, wall_clock, !self.link.pause().is_zero());
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
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

    /// When [`Source::poll`] has something to do next, if no answer comes before.
    pub(crate) fn poll_at(&self) -> MonoMs {
        match &self.cycle {
            _ if self.running().is_some() => MonoMs(u64::MAX),
            Some(cycle) if cycle.is_waiting() => MonoMs(u64::MAX),
            Some(_) => MonoMs(0),
            None => {
                let next = self.schedule.next_cycle();
                self.errand.map_or(next, |errand| errand.poll_at().min(next))
            }
        }
    }

    /// Moves the next cycle to the grid of a clock that was stepped.
    pub(crate) fn realign(&mut self, now: MonoMs, wall_clock: &WallClock) {
        self.schedule.realign(now, wall_clock, !self.link.pause().is_zero());
    }

    /// The next exchange, if one is due and none is under way.
    pub(crate) fn poll(&mut self, now: MonoMs, wall_clock: &WallClock) -> Option<Exchange> {
        if self.running().is_some() {
            return None;
        }
        if self.cycle.as_ref().is_none_or(|cycle| !cycle.is_waiting())
            && let Some(exchange) = self.errand.as_mut().and_then(|errand| errand.poll(now))
        {
            return Some(exchange);
        }
        self.poll_cycle(now, wall_clock).map(Exchange::Read)
    }

    fn poll_cycle(&mut self, now: MonoMs, wall_clock: &WallClock) -> Option<Read> {
        if self.cycle.is_none() {
            if now < self.schedule.next_cycle() {
                return None;
            }
            self.begin_cycle(now, wall_clock);
        }
        let cycle = self.cycle.as_mut()?;
        if cycle.is_waiting() {
            return None;
        }
        loop {
            let read = cycle.next(&self.plan, self.unanswered)?;
            let verdict = self.quarantine.judge(&read, now);
            if verdict == Verdict::Skip {
                mark(&mut self.marks, &read, Mark::Quarantined);
                continue;
            }
            let parts = if read.count > self.lengths.limit() {
                self.plan.halve(&read)
            } else if verdict == Verdict::Split || self.mute.splits(&read) {
                read.bisect().or_else(|| self.plan.halve(&read))
            } else {
                None
            };
            let Some((left, right)) = parts else {
                cycle.ask(&self.plan, &read);
                self.requests = self.requests.saturating_add(1);
                return Some(read);
            };
            if !cycle.push(&self.plan, &[left, right]) {
                mark(&mut self.marks, &read, Mark::Quarantined);
            }
        }
    }

    /// Takes the outcome of the read under way.
    pub(crate) fn handle(&mut self, now: MonoMs, outcome: &CompletedRead<'_>, events: &mut Events) {
        let Some(cycle) = self.cycle.as_mut() else { return };
        let Some(read) = cycle.take_asked(&self.plan) else { return };
        // A sample has the instant at which its first words were requested. Requests before that
        // got no words, and may be much older: the device may have been suspended since.
        if !cycle.has_words {
            cycle.began = Some(outcome.began);
        }
        let result = match outcome.result {
            ReadResult::Words(words) if words.len() != usize::from(read.count) => {
                ReadResult::Garbled
            }
            // The gateway answers in place of an inverter that is silent.
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
            ReadResult::Words(words) => self.take_words(&read, words, events),
            ReadResult::Exception(code) => {
                self.take_refusal(now, &read, code);
                if is_about_anything(code) {
                    self.suspect_length(&read, events);
                }
            }
            ReadResult::Garbled => {
                cycle.has_answer = true;
                cycle.garbled += 1;
                // The first time it may have been noise on the line.
                if cycle.garbled > 1 || !cycle.push(&self.plan, &[read]) {
                    self.suspect_length(&read, events);
                    self.give_up(&read, Mark::Garbled);
                }
            }
            ReadResult::Timeout => {
                self.suspect_length(&read, events);
                if let Some(cycle) = self.cycle.as_mut() {
                    cycle.note_silence(&self.plan, &read);
                }
                self.give_up(&read, Mark::Timeout);
            }
            ReadResult::Unreachable => self.give_up(&read, Mark::Unreachable),
        }
    }

    /// Takes a read that may have failed for its length.
    fn suspect_length(&mut self, read: &Read, events: &mut Events) {
        if let Some(registers) = self.lengths.unanswered(read.count) {
            events.push(Event::ReadsShortened { source: self.number, registers });
        }
    }

    /// The words and marks of the cycle that ended last, until the next one begins.
    pub(crate) fn newest(&self) -> Option<(&[u16], &[Mark])> {
        let columns = self.plan.column_count();
        self.cycle.is_none().then(|| (&self.words[..columns], &self.marks[..columns]))
    }

    /// Whether a cycle has nothing left to request.
    pub(crate) fn is_over(&self) -> bool {
        self.cycle.as_ref().is_some_and(Cycle::is_over)
    }

    /// Ends the cycle once nothing is left to request, and returns its sample.
    pub(crate) fn finish(
        &mut self,
        now: MonoMs,
        wall_clock: &WallClock,
        tolerance: Duration,
        events: &mut Events,
    ) -> Option<CycleSample<'_>> {
        if !self.is_over() {
            return None;
        }
        let cycle = self.cycle.take()?;
        let (number, columns) = (self.number, self.plan.column_count());
        self.take_silence(&cycle, now);
        self.quarantine.settle(cycle.has_words, |table, address, count| {
            events.push(Event::Quarantined { source: number, table, address, count });
        });
        // Reads were refused, but all of their parts were answered: they were refused for their
        // length.
        if cycle.refused_min > cycle.answered_max
            && cycle.answered_max > 0
            && cycle.refused_min < u16::MAX
            && !cycle.has_bad_registers
            && let Some(registers) = self.lengths.refused(cycle.answered_max)
        {
            events.push(Event::ReadsShortened { source: number, registers });
        }
        self.lengths.end();
        let has_moved = self.check_guards(cycle.has_bad_registers);
        if has_moved {
            events.push(Event::ModelsMoved { source: number });
        }
        let has_words = cycle.has_words && self.marks[..columns].contains(&Mark::Read);
        let outcome = match (has_words, cycle.has_answer) {
            (true, _) => CycleOutcome::Read,
            (false, true) => CycleOutcome::Refused,
            (false, false) => CycleOutcome::Quiet,
        };
        if outcome == CycleOutcome::Read {
            self.judge_sleep();
        }
        // A cycle of quarantined registers alone says nothing about the inverter.
        if cycle.has_asked {
            self.end_on_link(outcome, &cycle, now, events);
        }
        if self.link.is_quietly_asleep() {
            self.marks[..columns].fill(Mark::Asleep);
        }
        self.plan_next(&cycle, now, wall_clock);
        // A start within the tolerance keeps its even instant, so that samples stay on the grid.
        let began = cycle.began.unwrap_or(cycle.scheduled);
        let is_punctual = began.since(cycle.scheduled) <= tolerance;
        let at = if is_punctual { cycle.scheduled } else { began };
        Some(CycleSample { at, words: &self.words[..columns], marks: &self.marks[..columns] })
    }

    /// Takes the read without an answer that ended a cycle, if others were answered in it.
    fn take_silence(&mut self, cycle: &Cycle, now: MonoMs) {
        let Some(read) = cycle.silent(&self.plan).filter(|_| cycle.has_words) else { return };
        let is_retry = self.quarantine.judge(&read, now) == Verdict::Retry;
        if is_retry || self.mute.unanswered(&read) {
            self.quarantine.add(&read, now);
        }
    }

    fn begin_cycle(&mut self, now: MonoMs, wall_clock: &WallClock) {
        let (scheduled, groups) = self.schedule.begin(&self.plan, now, wall_clock);
        self.cycle = Cycle::new(&self.plan, scheduled, groups);
        if self.cycle.is_none() {
            self.schedule.end(scheduled, Duration::ZERO, now, wall_clock);
            return;
        }
        self.words.fill(0);
        self.marks.fill(Mark::NotDue);
        self.lengths.begin(self.link.is_answering());
    }

    fn take_words(&mut self, read: &Read, words: &[u16], events: &mut Events) {
        let Some(cycle) = self.cycle.as_mut() else { return };
        (cycle.has_words, cycle.has_answer) = (true, true);
        cycle.answered_max = cycle.answered_max.max(read.count);
        self.lengths.answered(read.count);
        self.mute.answered(read);
        self.unanswered.remove(cycle.current());
        for (offset, column) in read.columns() {
            if let Some(word) = words.get(usize::from(offset)) {
                self.words[column] = *word;
                self.marks[column] = Mark::Read;
            }
        }
        if self.quarantine.release(read) {
            events.push(Event::Released {
                source: self.number,
                table: read.table,
                address: read.address,
                count: read.count,
            });
        }
    }

    fn take_refusal(&mut self, now: MonoMs, read: &Read, code: ExceptionCode) {
        let Some(cycle) = self.cycle.as_mut() else { return };
        cycle.has_answer = true;
        self.unanswered.remove(cycle.current());
        if !is_about_addresses(code) || cycle.bisections >= BISECTIONS_PER_CYCLE_MAX {
            mark(&mut self.marks, read, Mark::Exception);
            return;
        }
        cycle.bisections += 1;
        cycle.refused_min = cycle.refused_min.min(read.count);
        let parts = match read.bisect() {
            // A text that cannot be split may be too long to be read, rather than missing.
            None if !self.lengths.is_known(read.count) => self.plan.halve(read),
            parts => parts,
        };
        match parts {
            Some((left, right)) => {
                if !cycle.push(&self.plan, &[left, right]) {
                    mark(&mut self.marks, read, Mark::Exception);
                }
            }
            None => {
                cycle.has_bad_registers = true;
                mark(&mut self.marks, read, Mark::Exception);
                self.quarantine.add(read, now);
            }
        }
    }

    /// Ends the cycle after a failed read: the registers not yet requested get its mark.
    fn give_up(&mut self, read: &Read, with: Mark) {
        let Some(cycle) = self.cycle.as_mut() else { return };
        if with != Mark::Unreachable {
            self.unanswered.add(cycle.current());
        }
        mark(&mut self.marks, read, with);
        cycle.give_up(&self.plan, |rest| mark(&mut self.marks, rest, with));
    }

    /// Discards the words of models whose headers were not read or have changed; returns whether
    /// some have changed.
    fn check_guards(&mut self, has_bad_registers: bool) -> bool {
        let mut has_moved = false;
        for guard in self.plan.guards() {
            let header = self.marks.iter().skip(usize::from(guard.column)).take(2);
            let with = match guard.holds(&self.words, &self.marks) {
                Some(true) => continue,
                Some(false) => {
                    has_moved = true;
                    Mark::Garbled
                }
                None => header.copied().find(|mark| *mark != Mark::Read).unwrap_or(Mark::Garbled),
            };
            if with == Mark::NotDue {
                continue;
            }
            // An inverter that refuses the registers of a model's header does not have the model.
            has_moved |=
                with == Mark::Quarantined || (with == Mark::Exception && has_bad_registers);
            for read in self.plan.reads() {
                for (offset, column) in read.columns() {
                    let is_its = guard.covers(read.table, read.address.wrapping_add(offset));
                    if is_its && self.marks[column] == Mark::Read {
                        (self.words[column], self.marks[column]) = (0, with);
                    }
                }
            }
        }
        has_moved
    }

    fn end_on_link(
        &mut self,
        outcome: CycleOutcome,
        cycle: &Cycle,
        now: MonoMs,
        events: &mut Events,
    ) {
        let was_away = !self.link.is_answering() && self.link.state() != SourceState::Unknown;
        let changed = self.link.cycle_ended(now, outcome);
        if was_away && outcome == CycleOutcome::Read {
            // It may be another inverter: read again what is read once per connection.
            self.schedule.reconnected(&self.plan, cycle.groups);
            self.quarantine.retry_all(now);
        }
        if let Some(from) = changed {
            let to = self.link.state();
            if to == SourceState::Offline {
                self.lengths.forget();
                self.mute = Mute::NONE;
            }
            events.push(Event::Source { source: self.number, from, to });
        }
    }

    fn plan_next(&mut self, cycle: &Cycle, now: MonoMs, wall_clock: &WallClock) {
        // A group with due registers that got no answer is due again in the next cycle. What an
        // inverter refuses while it answers other reads is retried later.
        for read in self.plan.reads().iter().filter(|read| (cycle.groups >> read.group) & 1 == 1) {
            let is_once =
                self.plan.groups().get(usize::from(read.group)).is_some_and(|g| g.every_ms == 0);
            let refused_until = || self.quarantine.retry_at(read).unwrap_or(now.plus(ONCE_RETRY));
            let again = read.columns().filter_map(|(_, column)| match self.marks[column] {
                Mark::Timeout | Mark::Garbled | Mark::Unreachable | Mark::Asleep => Some(MonoMs(0)),
                Mark::Exception if !cycle.has_words => Some(MonoMs(0)),
                // Only groups that are read once need a retry; the others come again by themselves.
                Mark::Exception | Mark::Quarantined if is_once => Some(refused_until()),
                Mark::Exception | Mark::Read | Mark::NotDue | Mark::Quarantined => None,
            });
            if let Some(at) = again.min() {
                self.schedule.again(read.group, at);
            }
        }
        self.schedule.end(cycle.scheduled, self.link.pause(), now, wall_clock);
    }

    fn judge_sleep(&mut self) {
        let Some(rule) = self.plan.sleep() else { return };
        let can_tell = rule
            .conditions()
            .all(|condition| self.marks.get(usize::from(condition.column)) == Some(&Mark::Read));
        if can_tell {
            // The inverter answers, so its own figure for power counts.
            let makes_power = rule.conditions().any(|condition| {
                let word = self.words.get(usize::from(condition.column)).copied().unwrap_or(0);
                match condition.test {
                    SleepTest::Below { is_signed: true, .. } => word.cast_signed() > 0,
                    SleepTest::Below { is_signed: false, .. } => word > 0,
                    SleepTest::OneOf { .. } => false,
                }
            });
            self.link.set_sleep(match rule.is_asleep(&self.words, &self.marks) {
                false => Sleep::No,
                true if makes_power => Sleep::Soon,
                true => Sleep::Yes,
            });
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

/// Whether inverters return this exception for anything that they do not like, the length of a read
/// included.
fn is_about_anything(code: ExceptionCode) -> bool {
    matches!(code, ExceptionCode::IllegalFunction | ExceptionCode::ServerDeviceFailure)
}

/// Whether inverters return this exception for a register that does not exist: 2 by the
/// specification, 3 by several that check the count against the registers at the address.
fn is_about_addresses(code: ExceptionCode) -> bool {
    matches!(code, ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue)
}

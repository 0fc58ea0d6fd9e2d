//! One inverter of a device: its bus, the current read, and what its next sample must hold.
//!
//! Every word that reaches the node is remembered until the cycle's sample is complete. The sample
//! must hold exactly those words, under the instant at which the first of them was requested.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_codec::TimeBase;
use ecowatt_device::{CompletedRead, ReadResult, Sample, WriteResult, limits};
use ecowatt_inverter_sim::fault::{FaultSpec, Kind};
use ecowatt_model::{BootEpoch, CommandId, Mark, MonoMs, SourceNumber, UnixMs};
use ecowatt_node::SourceSetup;
use ecowatt_profile::{Read, Write};

use super::{DeviceNode, clock::DeviceClock};
use crate::faults::weights::Weights;
use crate::judges::device::JudgedSource;
use crate::judges::limit::HeldLimit;
use crate::judges::promises::Invariant;
use crate::judges::truth::Row;
use crate::plant::{Plant, Plants};
use crate::random::Random;
use crate::scenario::START;
use crate::time::after;
use crate::world::bus::{self, AnswerDelay, Bus};

/// One inverter of a device.
pub(crate) struct Line {
    number: SourceNumber,
    plant: usize,
    bus: Bus,
    random: Random,
    weights: Arc<Weights>,
    under_way: Option<Exchange>,
    cycle: Cycle,
    is_false: bool,
    /// The device did not wait for an answer that was within the profile's time.
    is_missed: bool,
    /// An answer took longer than the profile allows.
    is_slow: bool,
    /// When all its faults stopped.
    calm_at: Option<UnixMs>,
}

/// A read whose answer has not reached the node yet.
struct Exchange {
    job: Job,
    answers_at: UnixMs,
    began: MonoMs,
    latency: Duration,
    /// The command that it is for; what it brings is in no sample.
    command: Option<CommandId>,
}

enum Job {
    Read(Read),
    Write(WriteResult),
}

/// What the inverter answered to a command's read.
pub(super) struct CommandWords {
    pub(super) id: CommandId,
    pub(super) words: Vec<u16>,
    /// Whether it has them at present: they are neither misread nor from before.
    pub(super) are_present: bool,
}

/// What the current cycle has brought so far.
struct Cycle {
    words: Vec<Option<u16>>,
    began: Option<MonoMs>,
}

impl Line {
    pub(super) fn new(
        plants: &Plants,
        random: &mut Random,
        number: SourceNumber,
        weights: &Arc<Weights>,
    ) -> Self {
        let plant = usize::try_from(random.below(crate::plant::PLANTS as u64)).unwrap_or(0);
        let plan = &plants.of(plant).plan;
        let seed = random.draw();
        let bus = Bus::new(plants.of(plant), seed, START)
            .expect("the plant's configuration was checked when it was computed")
            .at_pace(AnswerDelay::of(seed))
            .misread(weights, seed);
        Self {
            number,
            plant,
            bus,
            random: Random::new(random.draw(), 0),
            weights: Arc::clone(weights),
            under_way: None,
            cycle: Cycle { words: vec![None; plan.column_count()], began: None },
            is_false: false,
            is_missed: false,
            is_slow: false,
            calm_at: (!weights.disturb_inverters()).then_some(START),
        }
    }

    pub(crate) fn number(&self) -> SourceNumber {
        self.number
    }

    /// Returns what its judge must know.
    pub(super) fn judged(&self) -> JudgedSource {
        JudgedSource { number: self.number, plant: self.plant, limit: self.bus.limit_rule() }
    }

    /// Returns the plant's lifetime counter, in watt-hours.
    pub(super) fn plant_wh(&self, at: UnixMs) -> u32 {
        u32::try_from(self.bus.table().lifetime_wh(at)).unwrap_or(u32::MAX)
    }

    pub(crate) fn bus_counts(&self) -> bus::Counts {
        self.bus.counts()
    }

    pub(super) fn setup(&self, plant: &Plant, interval: Duration) -> SourceSetup {
        SourceSetup {
            number: self.number,
            plan: plant.plan,
            controls: plant.controls.clone(),
            layout: plant.layout_cbor.clone(),
            interval: Some(interval),
            timeout_max: plant.timeout,
        }
    }

    pub(super) fn answer_at(&self) -> Option<UnixMs> {
        self.under_way.as_ref().map(|exchange| exchange.answers_at)
    }

    /// Begins a read that the node requests.
    pub(super) fn ask(
        &mut self,
        read: Read,
        timeout: Duration,
        command: Option<CommandId>,
        now: UnixMs,
        clock: &DeviceClock,
    ) {
        let answered = self.bus.read(&read, timeout, now, &mut self.random);
        self.is_false |= answered.is_false;
        self.is_missed |= answered.is_missed;
        self.is_slow |= answered.is_slow;
        if answered.is_misread {
            // A misread state or model header keeps registers from being read for a while.
            self.calm_at = self.calm_at.map(|calm| calm.max(now));
        }
        let began = clock.mono(now.plus(answered.sent_after));
        let after_ms =
            u64::try_from(answered.after.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let (answers_at, latency) = (after(now, after_ms), answered.latency);
        self.under_way =
            Some(Exchange { job: Job::Read(read), answers_at, began, latency, command });
    }

    /// Begins a write that the node requests for a command.
    pub(super) fn write(
        &mut self,
        write: Write,
        timeout: Duration,
        command: Option<CommandId>,
        now: UnixMs,
        clock: &DeviceClock,
    ) {
        let written = self.bus.write(&write, timeout, now, &mut self.random);
        let after_ms = u64::try_from(written.after.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        self.under_way = Some(Exchange {
            job: Job::Write(written.result),
            answers_at: after(now, after_ms),
            began: clock.mono(now),
            latency: Duration::ZERO,
            command,
        });
    }

    /// Returns the limit that the inverter has.
    pub(super) fn limit(&mut self, now: UnixMs) -> Option<HeldLimit> {
        self.bus.limit(now)
    }

    /// Passes the answer to the node; returns the words of a command's read.
    pub(super) fn answer(&mut self, now: MonoMs, node: &mut DeviceNode) -> Option<CommandWords> {
        let Exchange { job, began, latency, command, .. } = self.under_way.take()?;
        let read = match job {
            Job::Read(read) => read,
            Job::Write(result) => {
                node.handle_write(now, self.number, result);
                return None;
            }
        };
        let result = self.bus.result();
        if let Some(id) = command {
            node.handle_read(now, self.number, &CompletedRead { began, latency, result });
            let ReadResult::Words(words) = result else { return None };
            let (words, are_present) = (words.to_vec(), self.bus.shows_present());
            return Some(CommandWords { id, words, are_present });
        }
        // Reads without an answer before the first words are not part of the sample.
        if self.cycle.words.iter().all(Option::is_none) {
            self.cycle.began = Some(began);
        }
        if let ReadResult::Words(words) = result {
            for (offset, column) in read.columns() {
                self.cycle.words[column] = words.get(usize::from(offset)).copied();
            }
        }
        node.handle_read(now, self.number, &CompletedRead { began, latency, result });
        None
    }

    /// Compares a sample with what the cycle brought, and begins the next cycle. `stepped_ms` is by
    /// how much the clock was stepped since the epoch's start was confirmed.
    pub(super) fn check(
        &mut self,
        sample: &Sample<'_>,
        at: UnixMs,
        now: MonoMs,
        (wall_clock, stepped_ms): (Option<UnixMs>, i64),
    ) -> Result<(), (Invariant, String)> {
        let began = self.cycle.began.take();
        let words_are_true = self.cycle.words.iter_mut().zip(sample.words).zip(sample.marks).all(
            |((held, word), mark)| match (held.take(), *mark) {
                (Some(held), Mark::Read) => held == *word,
                (None, Mark::Read) => false,
                (_, _) => *word == 0,
            },
        );
        if std::mem::take(&mut self.is_false) {
            let detail = "words came from the bus that the inverter did not send".to_owned();
            return Err((Invariant::WordsAreTrue, detail));
        }
        if std::mem::take(&mut self.is_missed) {
            let detail = "an answer within the profile's time was not waited for".to_owned();
            return Err((Invariant::HealthyIsRead, detail));
        }
        let is_within_profile = !std::mem::take(&mut self.is_slow);
        let is_healthy =
            is_within_profile && self.calm_at.is_some_and(|calm| at >= calm.plus(RECOVERY));
        let is_whole = sample.marks.iter().all(|mark| {
            // Registers that were refused during faults are tried again only hours later.
            matches!(mark, Mark::Read | Mark::NotDue | Mark::Quarantined)
        });
        if is_healthy && !is_whole {
            let detail = format!("sample {} of a healthy inverter has gaps", sample.ordinal);
            return Err((Invariant::HealthyIsRead, detail));
        }
        if !words_are_true {
            let detail = format!("sample {} holds words that were not read", sample.ordinal);
            return Err((Invariant::NothingRestamped, detail));
        }
        let Some(began) = began else { return Ok(()) };
        // The node's current time of day, moved back to the beginning of the cycle.
        let age = i64::try_from(now.0.saturating_sub(began.0)).unwrap_or(i64::MAX);
        let expected = match (sample.base, wall_clock) {
            (TimeBase::Unix, Some(wall_clock)) => wall_clock.0 - age,
            (TimeBase::Unix, None) => {
                let detail =
                    format!("sample {} has a time that the device has not", sample.ordinal);
                return Err((Invariant::NothingRestamped, detail));
            }
            (TimeBase::SinceBoot, _) => {
                i64::try_from(began.0).unwrap_or(i64::MAX).saturating_add(stepped_ms)
            }
        };
        let late = expected - sample.t_ms;
        let most = i64::try_from(limits::START_TOLERANCE.as_millis()).unwrap_or(0) + ROUNDING_MS;
        if (-ROUNDING_MS..=most).contains(&late) {
            return Ok(());
        }
        let detail = format!(
            "sample {} has the time {} and was begun {late} ms after it",
            sample.ordinal, sample.t_ms
        );
        Err((Invariant::NothingRestamped, detail))
    }

    /// Drops the current read, because the device has lost its power or stopped.
    pub(super) fn drop_exchange(&mut self) {
        self.under_way = None;
        self.cycle.began = None;
        self.cycle.words.fill(None);
        self.bus.disconnect();
    }

    pub(super) fn disturb(&mut self, now: UnixMs, random: &mut Random) {
        self.calm_at = None;
        self.bus.disturb(random, now, &self.weights);
    }

    /// Lets the inverter confirm writes that it does not carry out, until its faults end.
    pub(super) fn ignore_writes(&mut self, now: UnixMs) {
        let spec = FaultSpec { probability: 0.7, ..FaultSpec::always(Kind::WriteIgnored) };
        // A full list of faults is trouble enough.
        let _ = self.bus.add_fault(&spec, now);
    }

    /// Stops misreadings: from here on the inverter answers what it holds.
    pub(super) fn misread_never(&mut self) {
        self.bus.misread_never();
    }

    pub(super) fn calm(&mut self, now: UnixMs) {
        self.bus.calm();
        self.calm_at = Some(now);
    }
}

/// Time until a device must read an inverter completely again after its faults: the longest pause
/// and some cycles.
const RECOVERY: Duration = Duration::from_secs(900);

/// Instants are whole milliseconds on clocks that drift.
const ROUNDING_MS: i64 = 2;

/// A sample as the checker compares it.
pub(super) fn row<'a>(epoch: BootEpoch, sample: &Sample<'a>) -> Row<'a> {
    Row {
        epoch: epoch.0,
        source: sample.source,
        is_unix: sample.base == TimeBase::Unix,
        t_ms: sample.t_ms,
        words: sample.words,
        marks: sample.marks,
    }
}

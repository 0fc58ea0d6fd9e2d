//! The connection from one device to its inverter: Modbus TCP in memory and in virtual time.
//!
//! A read uses real frames both ways: the device's transaction encodes and checks, the inverter's
//! station decodes, answers and misbehaves. Connections behave like those of the agent's bus
//! (`ecowatt_agent::bus`): one is closed after a timeout or garbage, one that turns out to be
//! closed is opened once more, and bytes beyond an answer wait for the next exchange. Every
//! accepted answer is compared with what the station answered and with what the table held at that
//! instant. Inverters answer at the speed of a serial line, or like dongles that are sometimes
//! slow; the device must wait for every answer within the time that the profile allows.

mod misreading;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_device::ReadResult;
use ecowatt_inverter_sim::fault::{FaultCounts, FaultError, FaultSpec, Kind};
use ecowatt_inverter_sim::journal::AnsweredRead;
use ecowatt_inverter_sim::listeners::IDLE_MAX;
use ecowatt_inverter_sim::slave::{SimulatedSlave, SlaveAction};
use ecowatt_inverter_sim::{ConfigError, Inverter, RegisterSource, Tabulation};
use ecowatt_modbus::{
    ExceptionCode, Framing, Progress, Request, RequestDecoder, Response, Transaction, Words,
    time_on_wire,
};
use ecowatt_model::UnixMs;
use ecowatt_profile::{Read, Table, Write, WriteFunction};

use crate::faults::kinds::{Fault, Occasion};
use crate::faults::table::Disturbance;
use crate::faults::weights::Weights;
use crate::plant::{LimitPlace, Plant};
use crate::random::Random;
use crate::streams;
use misreading::Misreadings;
pub use write::Written;

/// Usual time of one way through the local network, in microseconds.
const WAY_US: (u64, u64) = (200, 3_000);
const SLOW_WAY_US: (u64, u64) = (20_000, 400_000);
/// In millionths: how often a way is slow, and how often an answer arrives in two pieces.
const SLOW_WAY: u32 = 5_000;
const IN_TWO: u32 = 60_000;
/// Where the words of a frame begin: after its header, function and length.
const WORDS_AT: usize = 9;
/// Bytes that the device takes from a connection at a time.
const TAKEN_MAX: usize = 512;

/// Exceptions with which inverters and gateways answer well-formed reads.
const EXCEPTION_CODES: [u8; 4] = [2, 4, 6, 0x0B];

/// One device's bus with its inverter.
#[derive(Debug)]
pub struct Bus {
    station: SimulatedSlave,
    table: Arc<Tabulation>,
    limit: Option<LimitPlace>,
    /// Registers that a write may have changed, so that they are not those of the table.
    written: BTreeSet<u16>,
    connect_delay: Duration,
    gap_min: Duration,
    /// Longest wait for an answer, by the profile.
    patience: Duration,
    pace: AnswerDelay,
    misreadings: Misreadings,
    connection: Option<Connection>,
    decoder: RequestDecoder,
    transaction: u16,
    last_byte: UnixMs,
    /// The last read was given up before an answer arrived that was within the profile's time.
    is_missed: bool,
    /// The last answer took longer than the profile allows.
    is_slow: bool,
    /// The last answer has words that the inverter did not hold.
    is_misread: bool,
    /// How the last read ended.
    ending: Ending,
    /// Words of the answer that was accepted last.
    words: Vec<u16>,
    answered: Option<AnsweredRead>,
    counts: Counts,
}

/// How long answers take besides the network.
#[derive(Debug, Clone)]
pub enum AnswerDelay {
    /// No time.
    Prompt,
    /// The time of request and answer on a serial line of this many baud.
    Wire { baud: u32 },
    /// Usually no time; one answer in eight takes up to nearly all that the profile allows.
    Dongle { random: Random },
}

impl AnswerDelay {
    /// Returns the pace of a line; it draws from a stream of its own.
    #[must_use]
    pub fn of(line: u64) -> Self {
        let mut random = Random::new(line, streams::PACE);
        match random.below(5) {
            0 => Self::Wire { baud: 1_200 },
            1 => Self::Wire { baud: 9_600 },
            2 => Self::Wire { baud: 115_200 },
            3 => Self::Dongle { random },
            _ => Self::Prompt,
        }
    }

    fn delay(&mut self, bytes: usize, patience: Duration) -> Duration {
        match self {
            Self::Prompt => Duration::ZERO,
            Self::Wire { baud } => time_on_wire(bytes, *baud, BITS_PER_CHAR),
            Self::Dongle { random } => {
                let longest = patience.saturating_sub(Duration::from_micros(4 * SLOW_WAY_US.1));
                let longest = u64::try_from(longest.as_micros()).unwrap_or(0);
                if random.below(8) == 0 {
                    Duration::from_micros(random.below(longest.max(1)))
                } else {
                    Duration::ZERO
                }
            }
        }
    }
}

/// 8N1.
const BITS_PER_CHAR: u8 = 10;

/// An open connection.
#[derive(Debug)]
struct Connection {
    /// The inverter accepts the connection and resets it.
    is_refused: bool,
    used_at: UnixMs,
    /// Bytes beyond the answer that was accepted last.
    left_over: Vec<u8>,
}

/// Outcome of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<'a> {
    /// When the request left, counted from the call.
    pub sent_after: Duration,
    /// Time from the request to the answer; zero without one.
    pub latency: Duration,
    /// When the device has the result, counted from the call.
    pub after: Duration,
    /// The device's result.
    pub result: ReadResult<'a>,
    /// The words that the inverter sent, if any, even if they were damaged or late.
    pub answered: Option<&'a AnsweredRead>,
    /// The device accepted words that the inverter did not send, or the inverter sent words that it
    /// did not hold. Must not happen.
    pub is_false: bool,
    /// The device did not wait for an answer that was within the time that the profile allows.
    pub is_missed: bool,
    /// The answer took longer than the profile allows, so the device need not wait for it.
    pub is_slow: bool,
    /// The device accepted words that the inverter sent by a misreading, and did not hold.
    pub is_misread: bool,
}

/// Counts of one bus, or of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Reads requested by devices.
    pub reads: u64,
    /// Reads that returned words.
    pub words: u64,
    /// Reads that were refused.
    pub exceptions: u64,
    /// Reads without an answer in time.
    pub timeouts: u64,
    /// Reads that returned bytes but no valid answer.
    pub garbled: u64,
    /// Reads whose connection broke.
    pub unreachable: u64,
    /// Writes requested by devices.
    pub writes: u64,
    /// Accepted answers that were false.
    pub false_answers: u64,
    /// Accepted answers with words that the inverter did not hold.
    pub misreadings: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Faults that were added.
    pub faults: FaultCounts,
    /// How often faults took effect.
    pub struck: FaultCounts,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Words,
    /// Of a write.
    Confirmed,
    Exception(ExceptionCode),
    Timeout,
    Garbled,
    Unreachable,
}

/// What is asked of an inverter.
#[derive(Clone, Copy)]
enum Job<'a> {
    Read(&'a Read),
    Write(&'a Write),
}

impl<'a> Job<'a> {
    fn request(self) -> Request<'a> {
        match self {
            Self::Read(&Read { table, address, count, .. }) => match table {
                Table::Holding => Request::ReadHoldingRegisters { address, count },
                Table::Input => Request::ReadInputRegisters { address, count },
            },
            Self::Write(write) => match (write.function, write.words()) {
                (WriteFunction::Single, [value]) => {
                    Request::WriteSingleRegister { address: write.address, value: *value }
                }
                (WriteFunction::Single | WriteFunction::Multiple, words) => {
                    let values = Words::new(words);
                    Request::WriteMultipleRegisters { address: write.address, values }
                }
            },
        }
    }
}

/// The other side has closed the connection.
struct ConnectionClosed;

impl Bus {
    /// Returns the bus of a healthy inverter of this plant; `seed` decides which requests faults
    /// affect.
    ///
    /// # Errors
    /// Never for a plant that was computed.
    pub fn new(plant: &Plant, seed: u64, start: UnixMs) -> Result<Self, ConfigError> {
        let table = Arc::clone(&plant.table);
        let source = RegisterSource::Tabulated(Arc::clone(&table));
        let inverter = Inverter::new(table.config().clone(), source, start)?;
        let is_single_client = table.config().single_client;
        Ok(Self {
            station: SimulatedSlave::new(inverter, seed, is_single_client),
            table,
            limit: plant.limit,
            written: BTreeSet::new(),
            connect_delay: plant.connect_delay,
            gap_min: plant.gap_min,
            patience: plant.timeout,
            pace: AnswerDelay::Prompt,
            misreadings: Misreadings::never(),
            connection: None,
            decoder: RequestDecoder::new(Framing::Tcp),
            transaction: 0,
            last_byte: UnixMs(i64::MIN),
            is_missed: false,
            is_slow: false,
            is_misread: false,
            ending: Ending::Unreachable,
            words: Vec::new(),
            answered: None,
            counts: Counts::default(),
        })
    }

    /// Sets the pace of answers.
    #[must_use]
    pub fn at_pace(self, pace: AnswerDelay) -> Self {
        Self { pace, ..self }
    }

    /// Lets the inverter misread as often as the weights say.
    #[must_use]
    pub fn misread(self, weights: &Arc<Weights>, seed: u64) -> Self {
        Self { misreadings: Misreadings::of(weights, seed), ..self }
    }

    /// Carries out a read that begins at `now`; the previous read must have ended.
    pub fn read(
        &mut self,
        read: &Read,
        timeout: Duration,
        now: UnixMs,
        random: &mut Random,
    ) -> Answered<'_> {
        self.answered = None;
        self.is_missed = false;
        self.is_slow = false;
        self.is_misread = false;
        // An exception that the station did not send is a false answer.
        let refused_before = self.station.counts().exceptions;
        let mut times = Times { began: now, sent: Duration::ZERO, end: Duration::ZERO };
        self.ending = self.carry_out(read, timeout, random, &mut times);
        self.counts.reads += 1;
        let is_false = match self.ending {
            Ending::Words => !self.is_true(read),
            Ending::Exception(_) => self.station.counts().exceptions == refused_before,
            Ending::Confirmed | Ending::Timeout | Ending::Garbled | Ending::Unreachable => false,
        };
        self.counts.false_answers += u64::from(is_false);
        let is_misread = self.is_misread && matches!(self.ending, Ending::Words);
        self.counts.misreadings += u64::from(is_misread);
        let counter = match self.ending {
            Ending::Words => &mut self.counts.words,
            Ending::Exception(_) => &mut self.counts.exceptions,
            Ending::Timeout => &mut self.counts.timeouts,
            Ending::Confirmed | Ending::Garbled => &mut self.counts.garbled,
            Ending::Unreachable => &mut self.counts.unreachable,
        };
        *counter += 1;
        let latency = match self.ending {
            Ending::Words | Ending::Exception(_) => times.end - times.sent,
            Ending::Confirmed | Ending::Timeout | Ending::Garbled | Ending::Unreachable => {
                Duration::ZERO
            }
        };
        Answered {
            sent_after: times.sent,
            latency,
            after: times.end,
            result: self.result(),
            answered: self.answered.as_ref(),
            is_false,
            is_missed: self.is_missed,
            is_slow: self.is_slow,
            is_misread,
        }
    }

    /// Returns the device's result of the last read.
    pub fn result(&self) -> ReadResult<'_> {
        match self.ending {
            Ending::Words => ReadResult::Words(&self.words),
            Ending::Exception(code) => ReadResult::Exception(code),
            Ending::Timeout => ReadResult::Timeout,
            Ending::Confirmed | Ending::Garbled => ReadResult::Garbled,
            Ending::Unreachable => ReadResult::Unreachable,
        }
    }

    /// Closes the connection, because the device has stopped.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Adds some faults for a limited time.
    pub fn disturb(&mut self, random: &mut Random, now: UnixMs, weights: &Weights) {
        let faults = match weights.disturbance.faults_max {
            0 | 1 => weights.disturbance.faults_max,
            most => random.between(1, most),
        };
        for _ in 0..faults {
            let Fault::Line(kind) = weights.pick(Occasion::Disturbance, random) else { return };
            let spec = self.trouble(kind, random, weights.disturbance);
            // A full list of faults is trouble enough.
            let _ = self.add_fault(&spec, now);
        }
    }

    /// Adds one fault; its relative times count from `now`.
    ///
    /// # Errors
    /// If its values are invalid, or there are too many faults.
    pub fn add_fault(&mut self, spec: &FaultSpec, now: UnixMs) -> Result<(), FaultError> {
        self.station.add_fault(spec.check(now)?, now)?;
        self.counts.faults.count(spec.kind);
        Ok(())
    }

    /// Stops all misreadings.
    pub fn misread_never(&mut self) {
        self.misreadings = Misreadings::never();
    }

    /// Ends all faults; an absent inverter comes back.
    pub fn calm(&mut self) {
        self.station.clear_faults();
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { struck: self.station.effect_counts(), ..self.counts }
    }

    /// Returns the inverter's registers by time.
    #[must_use]
    pub fn table(&self) -> &Arc<Tabulation> {
        &self.table
    }

    fn trouble(&self, kind: Kind, random: &mut Random, disturbance: Disturbance) -> FaultSpec {
        let mut spec = FaultSpec::always(kind);
        let lasting_s = random.between(disturbance.shortest_s, disturbance.longest_s);
        spec.for_s = Some(small(lasting_s));
        if kind == Kind::Reboot {
            return spec;
        }
        spec.probability = [0.05, 0.3, 0.7, 1.0][pick(random, 4)];
        if random.happens(250_000) {
            spec.times = u32::try_from(random.between(1, 4)).ok();
        }
        match kind {
            Kind::Exception => {
                spec.code = Some(EXCEPTION_CODES[pick(random, EXCEPTION_CODES.len())]);
                if random.happens(500_000) {
                    spec.addresses = Some(self.some_registers(random));
                }
            }
            // Below and above the time that devices wait.
            Kind::Delay => spec.delay_ms = Some(random.between(50, 6_000)),
            // Lasts a night rather than minutes, and affects every request.
            Kind::NightSleep => {
                spec.for_s = spec.for_s.map(|seconds| seconds * 20.0);
                spec.probability = 1.0;
            }
            Kind::WrongCrc
            | Kind::Truncated
            | Kind::Garbage
            | Kind::Overlong
            | Kind::Duplicate
            | Kind::WrongUnit
            | Kind::WrongFunction
            | Kind::StaleAnswer
            | Kind::Silence
            | Kind::Reset
            | Kind::Frozen
            | Kind::Reboot
            | Kind::WriteIgnored
            | Kind::RefuseSecondClient
            | Kind::GridLoss => {}
        }
        spec
    }

    /// Draws one to four neighbouring registers; returns the first and the last.
    fn some_registers(&self, random: &mut Random) -> [u16; 2] {
        let width = self.table.registers(self.table.start()).len();
        let first = u16::try_from(pick(random, width)).unwrap_or(0);
        let last = first.saturating_add(u16::try_from(random.below(4)).unwrap_or(0));
        [first, last].map(|register| self.table.first_register().saturating_add(register))
    }

    /// Whether the device has the words that the inverter sent, and the inverter held them or they
    /// were misread on purpose.
    fn is_true(&self, read: &Read) -> bool {
        self.answered.as_ref().is_some_and(|answered| {
            let held = self.table.words(answered.shown_at, read.address, read.count);
            answered.is_intact
                && (answered.address, &answered.words) == (read.address, &self.words)
                && (self.is_misread || held.is_some_and(|held| self.is_held(read, held)))
        })
    }

    /// Whether the words are those of the table, but for registers that were written.
    fn is_held(&self, read: &Read, held: &[u16]) -> bool {
        let registers = read.address..=u16::MAX;
        registers
            .zip(held.iter().zip(&self.words))
            .all(|(register, (held, word))| held == word || self.written.contains(&register))
    }

    fn carry_out(
        &mut self,
        read: &Read,
        timeout: Duration,
        random: &mut Random,
        times: &mut Times,
    ) -> Ending {
        // The other side may have closed an idle connection in the meantime. That is not a failure
        // of the inverter, so the connection is opened once more.
        for _ in 0..2 {
            let was_idle = self.connection.is_some();
            self.open(random, times);
            match self.exchange(Job::Read(read), timeout, random, times) {
                Ok(ending) => return ending,
                Err(ConnectionClosed) => {
                    self.connection = None;
                    if !was_idle {
                        break;
                    }
                }
            }
        }
        Ending::Unreachable
    }

    fn open(&mut self, random: &mut Random, times: &mut Times) {
        if self.connection.is_none() {
            times.end += way(random) + way(random);
            let at = times.now();
            self.counts.connections += 1;
            self.decoder = RequestDecoder::new(Framing::Tcp);
            let is_refused = !self.station.admits(0, at);
            self.connection = Some(Connection { is_refused, used_at: at, left_over: Vec::new() });
            times.end += self.connect_delay;
        }
    }

    fn exchange(
        &mut self,
        job: Job<'_>,
        timeout: Duration,
        random: &mut Random,
        times: &mut Times,
    ) -> Result<Ending, ConnectionClosed> {
        times.end += self.gap_min.saturating_sub(times.now().since(self.last_byte));
        times.sent = times.end;
        let request = job.request();
        self.transaction = self.transaction.wrapping_add(1);
        let unit = self.station.inverter().unit();
        let exchange = Transaction::new(Framing::Tcp, unit, &request, self.transaction);
        let Ok(mut exchange) = exchange else { return Ok(Ending::Garbled) };
        let Some(connection) = &mut self.connection else { return Ok(Ending::Unreachable) };

        let sent_at = times.now();
        let idle = sent_at.since(connection.used_at);
        connection.used_at = sent_at;
        if connection.is_refused || idle >= IDLE_MAX {
            times.end += way(random);
            return Err(ConnectionClosed);
        }
        let left_over = std::mem::take(&mut connection.left_over);
        let there = way(random);
        if let Job::Write(write) = job {
            self.written.extend((write.address..=u16::MAX).zip(write.words()).map(|(at, _)| at));
        }
        let sent = match self.ask(exchange.bytes(), sent_at.plus(there)) {
            Ok(sent) => sent,
            Err(ConnectionClosed) => {
                times.end += there + way(random);
                return Err(ConnectionClosed);
            }
        };
        let mut arrival = Arrival { bytes: left_over, pieces: [(Duration::ZERO, 0); 3] };
        arrival.pieces[0].1 = arrival.bytes.len();
        if let Some((delay, bytes)) = sent {
            arrival.add(there + delay, bytes, random);
        }
        Ok(self.listen(&mut exchange, &arrival, timeout, times))
    }

    /// Returns what the inverter does about a request that reaches it at `at`: nothing, or bytes
    /// that it sends some time later.
    fn ask(
        &mut self,
        request: &[u8],
        at: UnixMs,
    ) -> Result<Option<(Duration, Vec<u8>)>, ConnectionClosed> {
        self.decoder.push(request);
        let Some(incoming) = self.decoder.next_request().map_err(|_| ConnectionClosed)? else {
            return Ok(None);
        };
        match self.station.answer(Framing::Tcp, &incoming, at) {
            SlaveAction::Silence => Ok(None),
            SlaveAction::Close => Err(ConnectionClosed),
            SlaveAction::Send { delay, mut bytes, answered } => {
                self.answered = answered;
                self.put_misreading(&mut bytes);
                let own = self.pace.delay(request.len() + bytes.len(), self.patience);
                Ok(Some((delay + own, bytes)))
            }
        }
    }

    /// Replaces the inverter's words in a frame by a misreading.
    fn put_misreading(&mut self, frame: &mut [u8]) {
        let Some(answered) = self.answered.as_mut().filter(|answered| answered.is_intact) else {
            return;
        };
        let held = frame.get_mut(WORDS_AT..).map(|bytes| bytes.chunks_exact_mut(2));
        let Some(held) = held.filter(|held| held.len() == answered.words.len()) else { return };
        let Some(words) = self.misreadings.strike(&self.table, answered) else { return };
        held.zip(&words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
        answered.words = words;
        self.is_misread = true;
    }

    /// Takes arriving bytes until there is an answer or the wait is over.
    fn listen(
        &mut self,
        exchange: &mut Transaction,
        arrival: &Arrival,
        timeout: Duration,
        times: &mut Times,
    ) -> Ending {
        let mut from = 0;
        for (after, end) in arrival.pieces {
            if after > timeout {
                break;
            }
            while from < end {
                let taken = &arrival.bytes[from..end.min(from + TAKEN_MAX)];
                from += taken.len();
                let ending = match exchange.feed(taken) {
                    Progress::NeedMore => continue,
                    Progress::Done(
                        Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words),
                    ) => {
                        self.words.clear();
                        self.words.extend(words.iter());
                        Ending::Words
                    }
                    Progress::Done(
                        Response::WriteSingleRegister { .. }
                        | Response::WriteMultipleRegisters { .. },
                    ) => Ending::Confirmed,
                    Progress::Exception(code) => Ending::Exception(code),
                    Progress::Done(_) | Progress::Failed(_) => Ending::Garbled,
                };
                times.end = times.sent + after;
                self.last_byte = times.now();
                match (&ending, &mut self.connection) {
                    (Ending::Garbled, connection) => *connection = None,
                    (_, Some(connection)) => {
                        connection.left_over.extend_from_slice(&arrival.bytes[from..]);
                    }
                    (_, None) => {}
                }
                return ending;
            }
        }
        let is_intact = self.answered.as_ref().is_some_and(|answered| answered.is_intact);
        let [.., (last, _)] = arrival.pieces;
        self.is_missed = is_intact && timeout < last && last <= self.patience;
        self.is_slow = is_intact && self.patience < last;
        times.end = times.sent + timeout;
        self.connection = None;
        if exchange.is_garbled() { Ending::Garbled } else { Ending::Timeout }
    }
}

/// Times of a read's steps, counted from the call.
struct Times {
    began: UnixMs,
    sent: Duration,
    end: Duration,
}

impl Times {
    fn now(&self) -> UnixMs {
        self.began.plus(self.end)
    }
}

/// Bytes on their way to the device.
struct Arrival {
    bytes: Vec<u8>,
    /// When the bytes up to each place arrive, counted from the request.
    pieces: [(Duration, usize); 3],
}

impl Arrival {
    /// Adds bytes that leave the inverter at this time after the request, in one piece or in two.
    fn add(&mut self, leaves: Duration, bytes: Vec<u8>, random: &mut Random) {
        let before = self.bytes.len();
        if before == 0 {
            self.bytes = bytes;
        } else {
            self.bytes.extend(bytes);
        }
        let end = self.bytes.len();
        let first = leaves + way(random);
        let (cut, second) = if random.happens(IN_TWO) {
            (before + pick(random, end - before), first + way(random))
        } else {
            (end, first)
        };
        self.pieces[1] = (first, cut);
        self.pieces[2] = (second, end);
    }
}

impl Counts {
    /// Adds the counts of another bus.
    pub fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.words += other.words;
        self.exceptions += other.exceptions;
        self.timeouts += other.timeouts;
        self.garbled += other.garbled;
        self.unreachable += other.unreachable;
        self.writes += other.writes;
        self.false_answers += other.false_answers;
        self.misreadings += other.misreadings;
        self.connections += other.connections;
        self.faults.add(&other.faults);
        self.struck.add(&other.struck);
    }
}

/// Draws how long bytes take one way.
fn way(random: &mut Random) -> Duration {
    let (shortest, longest) = if random.happens(SLOW_WAY) { SLOW_WAY_US } else { WAY_US };
    Duration::from_micros(random.between(shortest, longest))
}

/// Draws an index below `count`.
fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
}

fn small(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;

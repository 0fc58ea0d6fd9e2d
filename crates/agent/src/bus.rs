//! One owner task per bus: a serial line, or a TCP connection to an inverter or gateway.
//!
//! Inverters that share a bus share its task, so exchanges never overlap, and a command can only
//! come between two of them. An answer to another request is never taken for the expected one:
//! Modbus TCP numbers its exchanges, and [`answer_trust`] decides which answers count on other buses.
//! Waits for answers and between frames are in real time, whatever the speed of the agent's own
//! clock.

mod answer_trust;
mod http_line;
mod latency;
mod line;

use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_device::{CompletedRead, ReadResult, WriteResult};
use ecowatt_modbus::{
    ExceptionCode, Framing, Progress, Request, Response, Transaction, TransactionError, Words,
};
use ecowatt_model::{MonoMs, SourceNumber};
use ecowatt_profile::{Read, Table, Write, WriteFunction};
use tokio::sync::mpsc;

use self::answer_trust::{FRAME_MIN, Guard};
pub use self::http_line::HttpFront;
pub use self::line::{Address, ParseAddressError, Serial};
use self::line::{Line, OpenError};

/// What the inverters on a bus need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pace {
    /// Pause after a connection is opened.
    pub(crate) connect_delay: Duration,
    /// Pause between an answer and the next request.
    pub(crate) gap_min: Duration,
    /// Longest time that any of the inverters may take to answer.
    pub(crate) answer_max: Duration,
}

/// What a job does on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    Read(Read),
    /// Sent at most once, whatever the answer.
    Write(Write),
}

impl Exchange {
    fn request(&self) -> Request<'_> {
        match self {
            Self::Read(Read { table, address, count, .. }) => {
                let (address, count) = (*address, *count);
                match table {
                    Table::Holding => Request::ReadHoldingRegisters { address, count },
                    Table::Input => Request::ReadInputRegisters { address, count },
                }
            }
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

    fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }

    /// Registers in the answer; that to a write is as long as one of two registers.
    fn answer_registers(&self) -> u16 {
        match self {
            Self::Read(read) => read.count,
            Self::Write(_) => 2,
        }
    }
}

/// One exchange to carry out.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: SourceNumber,
    pub(crate) unit: u8,
    pub(crate) exchange: Exchange,
    pub(crate) timeout: Duration,
    pub(crate) done: mpsc::Sender<Done>,
}

/// Outcome of a [`Job`].
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) source: SourceNumber,
    pub(crate) is_write: bool,
    pub(crate) began: MonoMs,
    pub(crate) latency: Duration,
    pub(crate) answer: Answer,
}

/// The result of an exchange, which owns its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Words(Vec<u16>),
    /// The inverter confirmed a write.
    Confirmed,
    Exception(ExceptionCode),
    Timeout,
    /// An answer came with the transaction number of another request.
    OtherNumber,
    Garbled,
    Unreachable,
}

impl Answer {
    /// Returns what an installer should check, if the read did not succeed.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Words(_) | Self::Confirmed => None,
            Self::Exception(
                ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetFailedToRespond,
            ) => Some("the gateway does not reach a unit with this number"),
            Self::Exception(_) => Some("the inverter refuses the read: does it fit this profile?"),
            Self::Timeout => Some("no answer: is the unit right, and is the inverter on?"),
            Self::OtherNumber => Some(
                "answers come under the wrong transaction number: if the gateway does not return \
                 it, add ?transactions=any to the transport",
            ),
            Self::Garbled => Some(
                "answers are damaged: are speed, format and wiring right, and is there no other \
                 master on this bus?",
            ),
            Self::Unreachable => Some("the bus cannot be reached"),
        }
    }
}

impl Done {
    /// Converts the result for the device core.
    pub(crate) fn outcome(&self) -> CompletedRead<'_> {
        let result = match &self.answer {
            Answer::Words(words) => ReadResult::Words(words),
            Answer::Exception(code) => ReadResult::Exception(*code),
            Answer::Timeout | Answer::OtherNumber => ReadResult::Timeout,
            Answer::Garbled | Answer::Confirmed => ReadResult::Garbled,
            Answer::Unreachable => ReadResult::Unreachable,
        };
        CompletedRead { began: self.began, latency: self.latency, result }
    }

    /// Converts the result of a write for the device core.
    pub(crate) fn write_result(&self) -> WriteResult {
        match &self.answer {
            Answer::Confirmed => WriteResult::Confirmed,
            Answer::Exception(code) => WriteResult::Exception(*code),
            Answer::Unreachable => WriteResult::NotSent,
            Answer::Words(_) | Answer::Timeout | Answer::OtherNumber | Answer::Garbled => {
                WriteResult::NoAnswer
            }
        }
    }
}

/// The owner of one bus.
pub(crate) struct Bus {
    address: Address,
    pace: Pace,
    /// The agent's time, for the instant of a reading.
    clock: Clock,
    /// Real time, for latencies and gaps.
    world: Clock,
    line: Option<Line>,
    guard: Guard,
    last_byte: MonoMs,
    transaction: u16,
    /// Exchanges in a row without an answer.
    silent_exchanges: u8,
    /// Bytes at the beginning of the buffer that followed an answer of Modbus TCP.
    unread: usize,
    buffer: [u8; 512],
    /// The line returned the last read's request before the answer.
    is_echoing: bool,
    is_failure_logged: bool,
}

/// Longest wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long after its deadline an answer may be noticed. A busy processor must not look like a dead
/// inverter; but if the process was stopped for longer, the instant of the words is unknown.
const LATE_MAX: Duration = Duration::from_secs(1);
/// How long to listen for unrequested bytes. They are noticed as soon as the executor polls, which
/// this time makes sure of.
const LISTEN: Duration = Duration::from_millis(2);
/// Longest wait for a busy bus to fall silent, beyond the time that its answers take.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Most bytes after an answer that are inspected: two of the longest frames.
const FOLLOWING_MAX: usize = 512;
/// Exchanges without an answer after which the connection is opened again. One late answer is not
/// enough: many dongles ignore requests for a second or more after a connection is opened.
const SILENT_EXCHANGES_MAX: u8 = 2;

impl Bus {
    pub(crate) fn new(address: Address, pace: Pace, clock: Clock) -> Self {
        Self {
            guard: Guard::new(address.is_gateway(), pace.answer_max),
            address,
            pace,
            clock,
            world: Clock::system(),
            line: None,
            last_byte: MonoMs(0),
            transaction: 0,
            silent_exchanges: 0,
            unread: 0,
            buffer: [0; 512],
            is_echoing: false,
            is_failure_logged: false,
        }
    }

    /// Carries out jobs in order until all senders are dropped.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            let done = self.carry_out(&job).await;
            // The sender of the job may have stopped in the meantime.
            let _ = job.done.send(done).await;
        }
    }

    async fn carry_out(&mut self, job: &Job) -> Done {
        let mut done = Done {
            source: job.source,
            is_write: job.exchange.is_write(),
            began: self.clock.mono(),
            latency: Duration::ZERO,
            answer: Answer::Unreachable,
        };
        // The other side may have closed an open connection in the meantime. That is not a failure
        // of the inverter, so the connection is opened once more. Only reads may be repeated: a
        // write may have arrived.
        for _ in 0..2 {
            // What goes into a connection that the other side has closed is lost, and a write is not
            // repeated: it goes into one that was seen to be open.
            if job.exchange.is_write() && !self.is_open_and_silent().await {
                self.line = None;
            }
            let was_open = self.line.is_some();
            if let Err(error) = self.open().await {
                self.log_failure(&error);
                return done;
            }
            match self.exchange(job, &mut done).await {
                Ok(answer) => {
                    self.is_failure_logged = false;
                    done.answer = answer;
                    return done;
                }
                Err(error) => {
                    self.line = None;
                    if job.exchange.is_write() {
                        tracing::debug!(bus = %self.address, "connection broke during a write");
                        done.answer = Answer::Timeout;
                        return done;
                    }
                    if !was_open {
                        self.log_failure(&OpenError::Broken(error));
                        return done;
                    }
                }
            }
        }
        done
    }

    /// Whether the connection is open and nothing unrequested is in it.
    async fn is_open_and_silent(&mut self) -> bool {
        let Some(line) = self.line.as_mut() else { return false };
        // A line does not close, and what is on it is judged before each request.
        if self.address.is_serial() {
            return true;
        }
        line.is_idle() && tokio::time::timeout(LISTEN, line.read(&mut self.buffer)).await.is_err()
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        if self.line.is_none() {
            let opening = Line::open(&self.address);
            let line = tokio::time::timeout(CONNECT_TIMEOUT, opening)
                .await
                .map_err(|_| OpenError::Timeout)??;
            self.line = Some(line);
            self.unread = 0;
            tokio::time::sleep(self.pace.connect_delay).await;
        }
        Ok(())
    }

    async fn exchange(&mut self, job: &Job, done: &mut Done) -> std::io::Result<Answer> {
        let gap = self.pace.gap_min.max(self.address.silence());
        tokio::time::sleep(gap.saturating_sub(self.world.mono().since(self.last_byte))).await;
        let request = job.exchange.request();
        self.transaction = self.transaction.wrapping_add(1);
        let exchange =
            Transaction::new(self.address.framing(), job.unit, &request, self.transaction);
        let Ok(mut exchange) = exchange else { return Ok(Answer::Unreachable) };
        if job.exchange.is_write() && self.is_echoing {
            exchange = exchange.with_echo();
        }
        if !self.address.is_numbered() {
            exchange = exchange.with_any_transaction_id();
            if !self.fall_silent(job.unit).await? {
                let is_write = job.exchange.is_write();
                return Ok(if is_write { Answer::Unreachable } else { Answer::Garbled });
            }
        }
        // Taken before the request is sent; a pause of the process in between would otherwise make
        // the words look newer than they are.
        done.began = self.clock.mono();
        let sent = self.world.mono();
        let answer = self.ask(job, &mut exchange, sent, done).await.inspect_err(|_| {
            // A gateway may send the answer on the next connection.
            self.guard.gave_up(job.unit, sent);
        })?;
        if !job.exchange.is_write() {
            self.is_echoing = exchange.is_echoed();
        }
        match answer {
            Answer::Words(_) | Answer::Confirmed | Answer::Exception(_) => {
                self.silent_exchanges = 0;
                self.guard.answered(job.unit, done.latency);
            }
            // The beginning of the next frame is unknown.
            Answer::Garbled if self.address.framing() == Framing::Tcp => self.line = None,
            Answer::Garbled => {}
            Answer::Timeout | Answer::OtherNumber | Answer::Unreachable => {
                self.silent_exchanges = self.silent_exchanges.saturating_add(1);
                // The other side may have dropped the connection without closing it.
                if self.silent_exchanges >= SILENT_EXCHANGES_MAX && !self.address.is_serial() {
                    self.silent_exchanges = 0;
                    self.line = None;
                }
            }
        }
        Ok(answer)
    }

    /// Sends a request and waits for its answer. Fails if the connection breaks.
    async fn ask(
        &mut self,
        job: &Job,
        exchange: &mut Transaction,
        sent: MonoMs,
        done: &mut Done,
    ) -> std::io::Result<Answer> {
        let Some(line) = self.line.as_mut() else { return Ok(Answer::Unreachable) };
        line.write_all(exchange.bytes()).await?;
        let (answer, behind) = self.receive(job, exchange, sent).await?;
        done.latency = self.world.mono().since(sent);
        self.judge(job, exchange, answer, behind, sent).await
    }

    /// Receives until there is an answer or none can come. Also returns how many of the last bytes
    /// follow the answer; they are at the beginning of the buffer.
    async fn receive(
        &mut self,
        job: &Job,
        exchange: &mut Transaction,
        sent: MonoMs,
    ) -> std::io::Result<(Answer, usize)> {
        let Some(line) = self.line.as_mut() else { return Ok((Answer::Unreachable, 0)) };
        let hush = self.address.hush();
        // The timeout is for the first byte. An answer that has begun is received to its end,
        // however slow the line is.
        let latest =
            sent.plus(job.timeout + hush + self.address.time_for(job.exchange.answer_registers()));
        let mut deadline = sent.plus(job.timeout);
        let mut has_bytes = false;
        let mut fresh = std::mem::take(&mut self.unread);
        loop {
            let fed = std::mem::take(&mut fresh);
            let progress = if fed > 0 {
                exchange.feed(&self.buffer[..fed])
            } else {
                let left = deadline.since(self.world.mono());
                let wait = if has_bytes && self.address.ends_with_silence() {
                    left.min(hush)
                } else {
                    left
                };
                let received = tokio::time::timeout(wait, line.read(&mut self.buffer)).await;
                self.last_byte = self.world.mono();
                match received {
                    Ok(Ok(_)) if self.last_byte.since(deadline) > LATE_MAX => {
                        // The answer is discarded in the middle of the stream.
                        self.silent_exchanges = SILENT_EXCHANGES_MAX;
                        return Ok((Answer::Timeout, 0));
                    }
                    // A service reports that the inverter did not answer.
                    Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                        return Ok((Answer::Timeout, 0));
                    }
                    Ok(read) => {
                        fresh = read?;
                        has_bytes = true;
                        deadline = deadline.max(self.last_byte.plus(hush)).min(latest);
                        continue;
                    }
                    Err(_) if wait < left => {
                        has_bytes = false;
                        exchange.silence()
                    }
                    Err(_) if exchange.is_garbled() => return Ok((Answer::Garbled, 0)),
                    Err(_) if exchange.has_other_transaction_id() => {
                        return Ok((Answer::OtherNumber, 0));
                    }
                    Err(_) => return Ok((Answer::Timeout, 0)),
                }
            };
            if let Some(answer) = answer(progress) {
                let behind = exchange.unread().min(fed);
                self.buffer.copy_within(fed - behind..fed, 0);
                return Ok((answer, behind));
            }
        }
    }

    /// Decides whether an answer belongs to this request, on a bus without transaction numbers.
    async fn judge(
        &mut self,
        job: &Job,
        exchange: &Transaction,
        answer: Answer,
        behind: usize,
        sent: MonoMs,
    ) -> std::io::Result<Answer> {
        if self.address.is_numbered() {
            self.unread = behind;
            return Ok(answer);
        }
        match answer {
            Answer::Words(_) | Answer::Confirmed | Answer::Exception(_) => {
                // If a request of another master precedes the answer, the answer is to that
                // request.
                let is_alone = exchange.skipped() < FRAME_MIN;
                if is_alone && self.is_last(job.unit, exchange.frame(), behind, sent).await? {
                    return Ok(answer);
                }
                self.note_stray();
                if is_alone {
                    self.guard.misheard(job.unit, self.last_byte);
                } else {
                    self.guard.gave_up(job.unit, sent);
                }
                Ok(Answer::Garbled)
            }
            Answer::Garbled if exchange.skipped() >= FRAME_MIN => {
                self.guard.misheard(job.unit, self.last_byte);
                Ok(answer)
            }
            Answer::Garbled | Answer::Timeout | Answer::OtherNumber => {
                self.guard.gave_up(job.unit, sent);
                Ok(answer)
            }
            Answer::Unreachable => Ok(answer),
        }
    }

    /// Waits until no answer to an earlier request can still arrive, and drops unrequested bytes.
    /// Returns whether the bus is silent then.
    ///
    /// It always ends with a wait of at least [`LISTEN`] that brought nothing: a process that was
    /// stopped past the time until which it wanted to wait has not looked at the bus since.
    async fn fall_silent(&mut self, unit: u8) -> std::io::Result<bool> {
        let now = self.world.mono();
        let mut until = now.plus(self.guard.late_for(unit, now).max(LISTEN));
        // What is heard may be a request, whose answer would pass for ours if ours is lost.
        let usual = self.guard.usual_for(unit);
        let latest = until.plus(DRAIN_MAX + usual);
        let mut hush = self.address.hush();
        let mut come = 0;
        loop {
            let Some(line) = self.line.as_mut() else { return Ok(false) };
            let wait = until.since(self.world.mono()).max(LISTEN);
            let Ok(read) = tokio::time::timeout(wait, line.read(&mut self.buffer)).await else {
                return Ok(true);
            };
            come += read?;
            self.last_byte = self.world.mono();
            if come >= FRAME_MIN {
                come = 0;
                hush = hush.max(usual);
                self.note_stray();
            }
            if self.last_byte >= latest {
                self.guard.crowded(unit, usual / 2);
                return Ok(false);
            }
            let late = self.guard.late_for(unit, self.last_byte);
            until = self.last_byte.plus(late.max(hush));
        }
    }

    /// Whether no different answer follows: of two, it is unknown which is ours. A gateway that
    /// repeats an answer does no harm.
    async fn is_last(
        &mut self,
        unit: u8,
        frame: &[u8],
        behind: usize,
        sent: MonoMs,
    ) -> std::io::Result<bool> {
        let doubt = self.guard.doubt_for(unit, self.world.mono());
        if doubt.is_zero() && behind == 0 {
            return Ok(true);
        }
        let mut others = self.buffer[..behind].to_vec();
        let mut until = self.world.mono().plus(doubt);
        if behind > 0 {
            until = until.max(self.world.mono().plus(self.address.hush()));
        }
        while let Some(line) = self.line.as_mut()
            && others.len() <= FOLLOWING_MAX
        {
            let wait = until.since(self.world.mono()).max(LISTEN);
            match tokio::time::timeout(wait, line.read(&mut self.buffer)).await {
                Ok(Ok(read)) => {
                    self.last_byte = self.world.mono();
                    others.extend_from_slice(&self.buffer[..read]);
                    if is_different(&others, frame) {
                        break;
                    }
                    until = until.max(self.last_byte.plus(self.address.hush()));
                }
                // Some gateways close the connection after each answer. If this one was another
                // master's, ours must not arrive on the next connection.
                Ok(Err(_)) => {
                    self.line = None;
                    tokio::time::sleep(wait).await;
                }
                Err(_) => break,
            }
        }
        let is_spoilt = is_different(&others, frame);
        if is_spoilt {
            self.guard.crowded(unit, self.last_byte.since(sent));
        }
        Ok(!is_spoilt)
    }

    fn note_stray(&mut self) {
        if self.guard.heard_stray(self.world.mono()) {
            tracing::warn!(
                bus = %self.address,
                "unrequested answers on the bus: is there another master? \
                 readings take longer while there is"
            );
        }
    }

    /// Logs why a bus cannot be reached, once until it can be reached again.
    fn log_failure(&mut self, error: &OpenError) {
        if !self.is_failure_logged {
            self.is_failure_logged = true;
            let error: &dyn std::error::Error = error;
            tracing::warn!(bus = %self.address, error, "bus cannot be reached");
        }
    }
}

/// Whether bytes contain more than repetitions of a frame, the last of which may be cut, and noise.
fn is_different(bytes: &[u8], frame: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(behind) = rest.strip_prefix(frame) {
        rest = behind;
    }
    rest.len() >= FRAME_MIN && !frame.starts_with(rest)
}

/// Converts the progress of an exchange to an answer; none while the exchange goes on.
fn answer(progress: Progress<'_>) -> Option<Answer> {
    Some(match progress {
        Progress::NeedMore => return None,
        Progress::Done(
            Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words),
        ) => Answer::Words(words.iter().collect()),
        Progress::Done(
            Response::WriteSingleRegister { .. } | Response::WriteMultipleRegisters { .. },
        ) => Answer::Confirmed,
        Progress::Exception(code) => Answer::Exception(code),
        Progress::Done(_)
        | Progress::Failed(
            TransactionError::NotModbus
            | TransactionError::Reply(_)
            | TransactionError::Garbled
            | TransactionError::Over,
        ) => Answer::Garbled,
    })
}

#[cfg(test)]
mod tests;

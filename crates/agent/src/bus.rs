//! One owner task per bus: a serial line, or a TCP connection to an inverter or gateway.
//!
//! Inverters that share a bus share its task, so exchanges never overlap and a command can only ever
//! come between two of them. After a timeout a late answer must not pass for the next one: a TCP
//! connection is dropped, a serial line is drained until it is silent. Waits for answers and between
//! frames are the world's, whatever pace the agent's own clock runs at.

mod line;

use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_device::{ReadOutcome, ReadResult};
use ecowatt_modbus::{
    ExceptionCode, Framing, Progress, Request, Response, Transaction, TransactionError,
};
use ecowatt_model::{MonoMs, SourceNumber};
use ecowatt_profile::{Read, Table};
use tokio::sync::mpsc;

pub use self::line::{Address, ParseAddressError, Serial};
use self::line::{Line, OpenError};

/// What the inverters on a bus need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pace {
    /// Pause after a connection is opened.
    pub(crate) connect_delay: Duration,
    /// Pause between an answer and the next request.
    pub(crate) gap_min: Duration,
}

/// One read to carry out.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: SourceNumber,
    pub(crate) unit: u8,
    pub(crate) read: Read,
    pub(crate) timeout: Duration,
    pub(crate) done: mpsc::Sender<Done>,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) source: SourceNumber,
    pub(crate) began: MonoMs,
    pub(crate) latency: Duration,
    pub(crate) answer: Answer,
}

/// A read's result that owns its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Words(Vec<u16>),
    Exception(ExceptionCode),
    Timeout,
    Garbled,
    Unreachable,
}

impl Answer {
    /// What an installer may look for, if the read did not succeed.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Words(_) => None,
            Self::Exception(
                ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetFailedToRespond,
            ) => Some("the gateway finds no such unit behind it"),
            Self::Exception(_) => {
                Some("it refuses what it is asked for: is it an inverter of this profile?")
            }
            Self::Timeout => Some("no answer: is the unit right, and is the inverter on?"),
            Self::Garbled => Some(
                "answers are damaged: are speed, format and wiring right, and does nobody else ask \
                 on this bus?",
            ),
            Self::Unreachable => Some("the bus cannot be reached"),
        }
    }
}

impl Done {
    /// As the core takes it.
    pub(crate) fn outcome(&self) -> ReadOutcome<'_> {
        let result = match &self.answer {
            Answer::Words(words) => ReadResult::Words(words),
            Answer::Exception(code) => ReadResult::Exception(*code),
            Answer::Timeout => ReadResult::Timeout,
            Answer::Garbled => ReadResult::Garbled,
            Answer::Unreachable => ReadResult::Unreachable,
        };
        ReadOutcome { began: self.began, latency: self.latency, result }
    }
}

/// The owner of one bus.
pub(crate) struct Bus {
    address: Address,
    pace: Pace,
    /// The agent's time, for the instant of a reading.
    clock: Clock,
    /// The world's time, for latencies and gaps.
    world: Clock,
    line: Option<Line>,
    last_byte: MonoMs,
    transaction: u16,
    is_failure_logged: bool,
}

/// Longest wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long after its time an answer may be noticed. A busy processor must not look like a dead
/// inverter; but if the process stood still, nobody knows of which instant the words are.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Silence after bytes that tells that no more of an answer follows. Far above 3.5 characters,
/// because USB adapters and gateways hold bytes back for up to 16 ms.
const SILENCE: Duration = Duration::from_millis(60);
/// Longest time that a line is drained after a timeout.
const DRAIN_MAX: Duration = Duration::from_secs(1);

impl Bus {
    pub(crate) fn new(address: Address, pace: Pace, clock: Clock) -> Self {
        Self {
            address,
            pace,
            clock,
            world: Clock::system(),
            line: None,
            last_byte: MonoMs(0),
            transaction: 0,
            is_failure_logged: false,
        }
    }

    /// Carries out jobs in their order until all senders are gone.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            let done = self.carry_out(&job).await;
            // Who asked may have stopped in the meantime.
            let _ = job.done.send(done).await;
        }
    }

    async fn carry_out(&mut self, job: &Job) -> Done {
        let mut done = Done {
            source: job.source,
            began: self.clock.mono(),
            latency: Duration::ZERO,
            answer: Answer::Unreachable,
        };
        // A connection that was idle may have been closed by the other side meanwhile; that is no
        // failure of the inverter, so it is opened once more.
        for _ in 0..2 {
            let was_idle = self.line.is_some();
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
                    if !was_idle {
                        self.log_failure(&OpenError::Broken(error));
                        return done;
                    }
                }
            }
        }
        done
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        if self.line.is_none() {
            let opening = Line::open(&self.address);
            let line = tokio::time::timeout(CONNECT_TIMEOUT, opening)
                .await
                .map_err(|_| OpenError::Timeout)??;
            self.line = Some(line);
            tokio::time::sleep(self.pace.connect_delay).await;
        }
        Ok(())
    }

    async fn exchange(&mut self, job: &Job, done: &mut Done) -> std::io::Result<Answer> {
        let framing = self.address.framing();
        let gap = self.pace.gap_min.max(self.address.silence());
        tokio::time::sleep(gap.saturating_sub(self.world.mono().since(self.last_byte))).await;
        let (address, count) = (job.read.address, job.read.count);
        let request = match job.read.table {
            Table::Holding => Request::ReadHoldingRegisters { address, count },
            Table::Input => Request::ReadInputRegisters { address, count },
        };
        self.transaction = self.transaction.wrapping_add(1);
        let exchange = Transaction::new(framing, job.unit, &request, self.transaction);
        let Ok(mut exchange) = exchange else { return Ok(Answer::Garbled) };
        let Some(line) = self.line.as_mut() else { return Ok(Answer::Unreachable) };

        line.discard_input();
        // Before the request is sent, or a standstill in between would make the words younger than
        // they are.
        done.began = self.clock.mono();
        let sent = self.world.mono();
        line.write_all(exchange.bytes()).await?;
        let mut has_bytes = false;
        let mut buffer = [0; 512];
        loop {
            let left = job.timeout.saturating_sub(self.world.mono().since(sent));
            let is_rtu = framing == Framing::Rtu;
            let wait = if has_bytes && is_rtu { left.min(SILENCE) } else { left };
            let received = tokio::time::timeout(wait, line.read(&mut buffer)).await;
            self.last_byte = self.world.mono();
            let progress = match received {
                Ok(Ok(_)) if self.last_byte.since(sent) > job.timeout + LATE_MAX => {
                    self.settle().await;
                    return Ok(Answer::Timeout);
                }
                Ok(read) => {
                    has_bytes = true;
                    let read = read?;
                    exchange.feed(&buffer[..read])
                }
                Err(_) if wait < left => {
                    has_bytes = false;
                    exchange.silence()
                }
                Err(_) => {
                    let is_garbled = exchange.is_garbled();
                    self.settle().await;
                    return Ok(if is_garbled { Answer::Garbled } else { Answer::Timeout });
                }
            };
            let answer = match progress {
                Progress::NeedMore => continue,
                Progress::Done(
                    Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words),
                ) => Answer::Words(words.iter().collect()),
                Progress::Exception(code) => Answer::Exception(code),
                Progress::Done(_)
                | Progress::Failed(
                    TransactionError::NotModbus
                    | TransactionError::Reply(_)
                    | TransactionError::Garbled
                    | TransactionError::Over,
                ) => Answer::Garbled,
            };
            done.latency = self.world.mono().since(sent);
            if answer == Answer::Garbled {
                self.settle().await;
            }
            return Ok(answer);
        }
    }

    /// Makes sure that nothing late is taken for the next answer.
    async fn settle(&mut self) {
        let Some(line) = self.line.as_mut() else { return };
        if !line.can_drain() {
            self.line = None;
            return;
        }
        let began = self.world.mono();
        let mut buffer = [0; 512];
        while self.world.mono().since(began) < DRAIN_MAX {
            match tokio::time::timeout(SILENCE, line.read(&mut buffer)).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => {
                    self.line = None;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Says why a bus cannot be reached, once until it can again.
    fn log_failure(&mut self, error: &OpenError) {
        if !self.is_failure_logged {
            self.is_failure_logged = true;
            let error: &dyn std::error::Error = error;
            tracing::warn!(bus = %self.address, error, "bus cannot be reached");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc as threads;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);
    const WORD: u16 = 0x1234;

    /// An inverter that says when it is asked, and answers with one word when it may.
    fn inverter(asked: mpsc::UnboundedSender<()>, may_answer: threads::Receiver<()>) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 12];
                while stream.read_exact(&mut request).is_ok() {
                    asked.send(()).unwrap();
                    may_answer.recv().unwrap();
                    let [high, low] = WORD.to_be_bytes();
                    // Transaction, protocol, length, unit, function, length of the words, words.
                    let answer = [request[0], request[1], 0, 0, 0, 5, 1, 3, 2, high, low];
                    stream.write_all(&answer).unwrap();
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn answer_that_came_during_a_standstill_is_a_timeout() {
        let (asked, mut requests) = mpsc::unbounded_channel();
        let (answer, may_answer) = threads::channel();
        let address = inverter(asked, may_answer);
        let mut bus = Bus::new(address, Pace::default(), Clock::system());
        let read = Read::of_all(Table::Holding, 0, 1, 0, 0);
        let (done, _) = mpsc::channel(1);
        let job = Job { source: SourceNumber(0), unit: 1, read, timeout: TIMEOUT, done };

        let stand_still = async {
            requests.recv().await.unwrap();
            answer.send(()).unwrap();
            // The executor is this thread, so nobody sees the answer before it goes on.
            std::thread::sleep(TIMEOUT + LATE_MAX + Duration::from_millis(100));
        };
        let (done, ()) = tokio::join!(bus.carry_out(&job), stand_still);
        assert_eq!(done.answer, Answer::Timeout);

        answer.send(()).unwrap();
        assert_eq!(bus.carry_out(&job).await.answer, Answer::Words(vec![WORD]));
    }
}

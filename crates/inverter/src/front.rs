//! Modbus on sockets and a pseudo terminal: bytes in, outcomes carried out.
//!
//! Whatever comes in, a front goes on: what is not Modbus costs the sender its connection and nobody
//! else anything. Timeouts and delays here are the world's, however fast simulated time runs.

mod line;
pub(crate) mod pty;
pub(crate) mod tcp;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_modbus::{Framing, RequestDecoder, time_on_wire};
use ecowatt_model::UnixMs;

use crate::journal::Journal;
use crate::station::{Outcome, Station};
use line::Line;

/// Clients of one listener at a time; more are turned away.
pub const CLIENTS_MAX: usize = 64;

/// How long a TCP client may say nothing.
pub const IDLE_MAX: Duration = Duration::from_secs(300);

/// How long a client may refuse to take an answer.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// After this silence an unfinished RTU request is void. Much longer than 3.5 characters: between a
/// pty's or a socket's two ends stands a scheduler, not a wire.
const RTU_SILENCE: Duration = Duration::from_millis(100);

/// Bits of a character at 8N1.
const BITS_PER_CHAR: u8 = 10;

const READ_MAX: usize = 1_024;

/// What all fronts of one inverter share.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    clock: Clock,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) station: Station,
    pub(crate) journal: Journal,
}

impl Shared {
    pub(crate) fn new(station: Station, journal: Journal, clock: Clock) -> Self {
        Self { inner: Mutex::new(Inner { station, journal }), clock }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The station, moved on to the present.
    pub(crate) fn present(&self) -> (MutexGuard<'_, Inner>, UnixMs) {
        // A panic while it was held would have been a defect of the physics; what it left is usable.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that answers and the journal are in the order of their times.
        let now = self.clock.now();
        inner.station.advance(now);
        (inner, now)
    }

    /// The next request's outcome, journalled; `None` when more bytes are needed.
    fn next_outcome(&self, framing: Framing, decoder: &mut RequestDecoder) -> Option<Outcome> {
        let incoming = match decoder.next_request() {
            Ok(incoming) => incoming?,
            // Out of step: there is no way back on this stream.
            Err(_) => return Some(Outcome::Close),
        };
        let (mut inner, now) = self.present();
        let mut outcome = inner.station.answer(framing, &incoming, now);
        if let Outcome::Send { answered, .. } = &mut outcome
            && let Some(read) = answered.take()
        {
            inner.journal.record(read);
        }
        Some(outcome)
    }
}

/// Answers one client until it leaves, idles or errs.
async fn converse(mut line: Line, framing: Framing, baud: Option<u32>, shared: &Shared) {
    let mut decoder = RequestDecoder::new(framing);
    let mut buffer = [0; READ_MAX];
    let mut is_unfinished = false;
    loop {
        let patience = match framing {
            Framing::Rtu if is_unfinished => RTU_SILENCE,
            Framing::Tcp | Framing::Rtu => IDLE_MAX,
        };
        let read = match tokio::time::timeout(patience, line.read(&mut buffer)).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => return,
            Err(_) if is_unfinished && framing == Framing::Rtu => {
                decoder.silence();
                is_unfinished = false;
                continue;
            }
            Err(_) if line.is_serial() => continue,
            Err(_) => return,
        };
        if read == 0 {
            return;
        }
        let mut bytes = &buffer[..read];
        while !bytes.is_empty() {
            let taken = decoder.push(bytes);
            bytes = &bytes[taken..];
            is_unfinished = true;
            while let Some(outcome) = shared.next_outcome(framing, &mut decoder) {
                is_unfinished = false;
                if !carry_out(&mut line, outcome, baud).await {
                    return;
                }
            }
        }
    }
}

/// Carries an outcome out; whether the line stays open.
async fn carry_out(line: &mut Line, outcome: Outcome, baud: Option<u32>) -> bool {
    match outcome {
        Outcome::Silence => true,
        Outcome::Close if line.is_serial() => true,
        Outcome::Close => {
            line.reset();
            false
        }
        Outcome::Send { delay, bytes, .. } => {
            let wire = baud.map_or(Duration::ZERO, |baud| {
                // The request took about as long as the shortest frame of 8 bytes.
                time_on_wire(bytes.len() + 8, baud, BITS_PER_CHAR)
            });
            let delay = delay + wire;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            matches!(tokio::time::timeout(WRITE_MAX, line.write_all(&bytes)).await, Ok(Ok(())))
                || line.is_serial()
        }
    }
}

//! Modbus over sockets, HTTP and a pseudo terminal: reads requests and sends their outcomes.
//!
//! A front survives any input: bytes that are not Modbus close the sender's connection and affect
//! no other client. Timeouts and delays here are in real time, however fast simulated time runs.

mod connection;
mod http;
pub(crate) mod pty;
pub(crate) mod tcp;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_modbus::{Framing, RequestDecoder, time_on_wire};
use ecowatt_model::UnixMs;

use crate::journal::Journal;
use crate::slave::{SimulatedSlave, SlaveAction};
use connection::Connection;

/// Maximum number of clients per listener; further ones are refused.
pub const CLIENTS_MAX: usize = 64;

/// How long a TCP client may stay silent.
pub const IDLE_MAX: Duration = Duration::from_secs(300);

/// How long a client may block the sending of an answer.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// After this silence an unfinished RTU request is discarded. Much longer than 3.5 characters:
/// between the ends of a pty or a socket there is a scheduler, not a wire.
const RTU_SILENCE: Duration = Duration::from_millis(100);

/// Bits per character at 8N1.
const BITS_PER_CHAR: u8 = 10;

const READ_MAX: usize = 1_024;

/// Shared by all fronts of one inverter.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    clock: Clock,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) station: SimulatedSlave,
    pub(crate) journal: Journal,
}

impl Shared {
    pub(crate) fn new(station: SimulatedSlave, journal: Journal, clock: Clock) -> Self {
        Self { inner: Mutex::new(Inner { station, journal }), clock }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Locks the station and advances it to the current time.
    pub(crate) fn present(&self) -> (MutexGuard<'_, Inner>, UnixMs) {
        // A panic while the lock was held is a defect of the physics, but leaves the state usable.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that answers and journal are in time order.
        let now = self.clock.now();
        inner.station.advance(now);
        (inner, now)
    }

    /// Returns the next request's outcome and journals it; `None` when more bytes are needed.
    fn next_outcome(&self, framing: Framing, decoder: &mut RequestDecoder) -> Option<SlaveAction> {
        let incoming = match decoder.next_request() {
            Ok(incoming) => incoming?,
            // Out of step: the stream cannot be resynchronised.
            Err(_) => return Some(SlaveAction::Close),
        };
        let (mut inner, now) = self.present();
        let mut outcome = inner.station.answer(framing, &incoming, now);
        if let SlaveAction::Send { answered, .. } = &mut outcome
            && let Some(read) = answered.take()
        {
            inner.journal.record(read);
        }
        Some(outcome)
    }
}

/// Answers one client until it disconnects, idles too long or sends invalid bytes.
async fn serve_connection(
    mut connection: Connection,
    framing: Framing,
    baud: Option<u32>,
    shared: &Shared,
) {
    let mut decoder = RequestDecoder::new(framing);
    let mut buffer = [0; READ_MAX];
    let mut is_unfinished = false;
    loop {
        let patience = match framing {
            Framing::Rtu if is_unfinished => RTU_SILENCE,
            Framing::Tcp | Framing::Rtu => IDLE_MAX,
        };
        let read = match tokio::time::timeout(patience, connection.read(&mut buffer)).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => return,
            Err(_) if is_unfinished && framing == Framing::Rtu => {
                decoder.silence();
                is_unfinished = false;
                continue;
            }
            Err(_) if connection.is_serial() => continue,
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
                if !carry_out(&mut connection, outcome, baud).await {
                    return;
                }
            }
        }
    }
}

/// Carries out an outcome and returns whether the connection stays open.
async fn carry_out(connection: &mut Connection, outcome: SlaveAction, baud: Option<u32>) -> bool {
    match outcome {
        SlaveAction::Silence => true,
        SlaveAction::Close if connection.is_serial() => true,
        SlaveAction::Close => {
            connection.reset();
            false
        }
        SlaveAction::Send { delay, bytes, .. } => {
            let wire = baud.map_or(Duration::ZERO, |baud| {
                // The request took about as long as the shortest frame, 8 bytes.
                time_on_wire(bytes.len() + 8, baud, BITS_PER_CHAR)
            });
            let delay = delay + wire;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            matches!(
                tokio::time::timeout(WRITE_MAX, connection.write_all(&bytes)).await,
                Ok(Ok(()))
            ) || connection.is_serial()
        }
    }
}

//! What an inverter does for a command or a lease, between two reads of a cycle.
//!
//! A write is one of three exchanges: the registers are read, written, and read back. The read
//! before shows that they are where they should be, that the connection works, and whether anything
//! has to be written at all. The write goes out once, whatever comes of it: the outcome is decided
//! by what is read back.

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::{CommandId, MonoMs};
use ecowatt_profile::{PartLimit, Read, Setpoint, SetpointError, Table, Verify, Write};
use ecowatt_wire::{CommandFailure, CommandState};

use crate::commands::Outcome;
use crate::exchange::{Exchange, ReadResult, WriteResult};
use crate::limits::{READ_BACK_PAUSE, READ_BACKS_MAX};

/// Who asks for an errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Command(CommandId),
    /// The leases of the inverter.
    Leases,
}

/// What a command or a lease asks of an inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Read {
        table: Table,
        address: u16,
        count: u16,
    },
    Write(Setpoint),
    /// Write also what the registers have already: it restarts a timer.
    Rewrite(Setpoint),
    /// Write what was found before any lease.
    Restore(Setpoint),
    /// Read the registers of a setpoint that is about to be written for the first time.
    Find(PartLimit),
}

impl Request {
    /// What is written.
    fn written(&self) -> Option<Setpoint> {
        match *self {
            Self::Write(setpoint) | Self::Rewrite(setpoint) | Self::Restore(setpoint) => {
                Some(setpoint)
            }
            Self::Read { .. } | Self::Find(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The only step of a read.
    Before,
    Write(Write),
    After,
}

/// A command or a limit under way on the bus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand {
    pub(crate) client: Client,
    request: Request,
    step: Step,
    /// The exchange is requested, and the shell has not answered.
    is_asked: bool,
    /// The inverter confirmed the write.
    is_confirmed: bool,
    /// Reads of this step so far.
    reads: u8,
    /// The next exchange is not requested before this.
    not_before: MonoMs,
    /// A write is not requested after this: the deadline of its command.
    latest: MonoMs,
}

/// How an errand ended, and the registers for its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrandEnd<'a> {
    pub(crate) outcome: Outcome,
    /// Those that a write is for, or all that were read.
    pub(crate) words: &'a [u16],
}

impl Errand {
    pub(crate) fn new(client: Client, request: Request, latest: MonoMs) -> Self {
        let step = match request.written() {
            Some(setpoint @ Setpoint::Registers(_, Verify::Echo)) => {
                setpoint.write(&[]).map_or(Step::Before, Step::Write)
            }
            _ => Step::Before,
        };
        let not_before = MonoMs(0);
        Self {
            client,
            request,
            step,
            is_asked: false,
            is_confirmed: false,
            reads: 0,
            not_before,
            latest,
        }
    }

    pub(crate) fn request(&self) -> Request {
        self.request
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// When the next exchange is to be requested.
    pub(crate) fn poll_at(&self) -> MonoMs {
        self.not_before
    }

    /// Whether its command's deadline has passed before anything was written.
    pub(crate) fn is_late(&self, now: MonoMs) -> bool {
        let is_write = self.request.written().is_some();
        is_write && !self.is_asked && self.step != Step::After && now > self.latest
    }

    /// The next exchange, if one is due and none is under way.
    pub(crate) fn poll(&mut self, now: MonoMs) -> Option<Exchange> {
        if self.is_asked || now < self.not_before {
            return None;
        }
        self.is_asked = true;
        Some(match self.step {
            Step::Write(write) => Exchange::Write(write),
            Step::Before | Step::After => {
                self.reads = self.reads.saturating_add(1);
                Exchange::Read(self.read())
            }
        })
    }

    fn read(&self) -> Read {
        let read = match self.request {
            Request::Read { table, address, count } => (table, address, count),
            Request::Write(setpoint)
            | Request::Rewrite(setpoint)
            | Request::Restore(setpoint)
            | Request::Find(PartLimit { setpoint, .. }) => setpoint
                .read()
                .map_or((Table::Holding, 0, 1), |read| (read.table, read.address, read.count)),
        };
        Read::of_all(read.0, read.1, read.2, 0, 0)
    }

    /// Takes the outcome of a read; returns the end if this was the last exchange.
    pub(crate) fn take_read<'a>(
        &mut self,
        now: MonoMs,
        result: &ReadResult<'a>,
    ) -> Option<ErrandEnd<'a>> {
        self.is_asked = false;
        let whole = usize::from(self.read().count);
        let words = match *result {
            ReadResult::Words(words) if words.len() == whole => Ok(words),
            ReadResult::Exception(code) => Err(Some(code)),
            ReadResult::Words(_)
            | ReadResult::Timeout
            | ReadResult::Garbled
            | ReadResult::Unreachable => Err(None),
        };
        let Some(setpoint) = self.request.written() else {
            return Some(match words {
                Ok(words) => ErrandEnd { outcome: Outcome::SUCCEEDED, words },
                Err(code) => failed(not_read(code)),
            });
        };
        match (self.step, words) {
            (Step::After, Ok(words)) => {
                let shown = setpoint.shown(words);
                if setpoint.holds(words) {
                    return Some(ErrandEnd { outcome: Outcome::SUCCEEDED, words: shown });
                }
                // Some inverters show a value only a moment after they confirmed it.
                let outcome = Outcome::failed(match self.is_confirmed {
                    true => CommandFailure::ReadBack,
                    false => CommandFailure::NoAnswer,
                });
                self.again(now).is_none().then_some(ErrandEnd { outcome, words: shown })
            }
            (Step::After, Err(code)) => {
                // It may have been executed: only the inverter knows.
                let outcome = Outcome { state: CommandState::Unknown, ..not_read(code) };
                self.again(now).is_none().then_some(failed(outcome))
            }
            (Step::Before | Step::Write(_), Ok(words)) => {
                if setpoint.holds(words) && !matches!(self.request, Request::Rewrite(_)) {
                    let words = setpoint.shown(words);
                    return Some(ErrandEnd { outcome: Outcome::SUCCEEDED, words });
                }
                match setpoint.write(words) {
                    Ok(write) => {
                        self.step = Step::Write(write);
                        None
                    }
                    Err(SetpointError::NotVerified) => {
                        // The models are searched again when a sample shows the same.
                        Some(failed(Outcome::failed(CommandFailure::Unsupported)))
                    }
                    Err(SetpointError::TooFine) => {
                        Some(failed(Outcome::failed(CommandFailure::NotAllowed)))
                    }
                }
            }
            (Step::Before | Step::Write(_), Err(None)) if self.reads < 2 => {
                // It may have been noise on the line, and nothing was written.
                self.not_before = now.plus(READ_BACK_PAUSE);
                None
            }
            (Step::Before | Step::Write(_), Err(code)) => Some(failed(not_read(code))),
        }
    }

    /// Takes the outcome of the write; returns the end if nothing can be read back.
    pub(crate) fn take_write(&mut self, result: WriteResult) -> Option<ErrandEnd<'static>> {
        self.is_asked = false;
        self.is_confirmed = result == WriteResult::Confirmed;
        let setpoint = self.request.written()?;
        let is_readable = setpoint.read().is_some();
        (self.step, self.reads) = (Step::After, 0);
        match result {
            WriteResult::Confirmed if is_readable => None,
            WriteResult::Confirmed => Some(failed(Outcome::SUCCEEDED)),
            WriteResult::NotSent => Some(failed(Outcome::failed(CommandFailure::NoAnswer))),
            // A gateway answers in place of an inverter that is silent, and one that acknowledges
            // has begun: both may execute the write.
            WriteResult::Exception(
                ExceptionCode::Acknowledge
                | ExceptionCode::GatewayPathUnavailable
                | ExceptionCode::GatewayTargetFailedToRespond,
            )
            | WriteResult::NoAnswer => {
                let unknown = Outcome { state: CommandState::Unknown, ..not_read(None) };
                (!is_readable).then_some(failed(unknown))
            }
            WriteResult::Exception(code) => Some(failed(not_read(Some(code)))),
        }
    }

    /// Has the registers read back once more after a pause; `None` if that was the last time.
    fn again(&mut self, now: MonoMs) -> Option<()> {
        (self.reads < READ_BACKS_MAX).then(|| self.not_before = now.plus(READ_BACK_PAUSE))
    }
}

fn failed(outcome: Outcome) -> ErrandEnd<'static> {
    ErrandEnd { outcome, words: &[] }
}

fn not_read(code: Option<ExceptionCode>) -> Outcome {
    match code {
        Some(code) => {
            let detail = u16::from(code.code());
            Outcome { detail, ..Outcome::failed(CommandFailure::Exception) }
        }
        None => Outcome::failed(CommandFailure::NoAnswer),
    }
}

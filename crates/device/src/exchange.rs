//! Exchanges with an inverter, as the shell carries them out, and their outcomes.

use core::time::Duration;

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::MonoMs;
use ecowatt_profile::{Read, Write};

/// Result of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult<'a> {
    /// The words, as many as were requested.
    Words(&'a [u16]),
    Exception(ExceptionCode),
    /// No answer came in time.
    Timeout,
    /// Bytes came, but no valid answer.
    Garbled,
    /// The link to the inverter could not be opened or broke.
    Unreachable,
}

/// A read as the shell carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedRead<'a> {
    /// When the request was sent, after any wait for the bus.
    pub began: MonoMs,
    /// Time from request to answer; ignored unless there was an answer.
    pub latency: Duration,
    pub result: ReadResult<'a>,
}

/// What came of a write on the bus. Whether the inverter executed it is decided by reading back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    /// The inverter confirmed it. On a line that echoes requests this proves nothing.
    Confirmed,
    Exception(ExceptionCode),
    /// It was sent, at least in part, and there is no valid answer.
    NoAnswer,
    /// Nothing was sent: the link to the inverter could not be opened.
    NotSent,
}

/// An exchange with an inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    Read(Read),
    Write(Write),
}

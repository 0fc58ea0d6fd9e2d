//! One exchange as a master sees it: the bytes to send, and what the bytes coming back mean.
//!
//! There is no clock here. The shell sends [`Transaction::bytes`], feeds the bytes that arrive, and
//! gives up after its own timeout; [`Transaction::is_garbled`] then tells noise from silence.
//! Answers to other exchanges are skipped.
//!
//! RTU frames carry no transaction identifier, so an answer to another exchange with the same unit,
//! function and length looks valid. The shell must keep such answers out: [`Transaction::skipped`]
//! and [`Transaction::unread`] report the other bytes that arrived around the answer.

use crate::crc::crc16;
use crate::expected::{Candidate, ExpectedReply, ReplyError};
use crate::frame::{
    ADU_MAX, Framing, Header, MBAP_LEN, Mbap, RTU_CRC_LEN, encode_request, parse_mbap,
};
use crate::pdu::{EncodeError, ExceptionCode, Request, Response};

/// State of an exchange after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// No answer to this request yet.
    NeedMore,
    /// The slave carried out the request; length and echo fit it.
    Done(Response<'a>),
    /// The slave answered with an exception.
    Exception(ExceptionCode),
    /// No answer can follow.
    Failed(TransactionError),
}

/// Why an exchange ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The stream is not Modbus TCP or is out of step; it must be closed.
    #[error("stream is not Modbus TCP")]
    NotModbus,
    /// The reply to this request does not fit it.
    #[error("reply does not fit the request")]
    Reply(#[source] ReplyError),
    /// The line fell silent after bytes that are not a valid frame for the request.
    #[error("bytes arrived, but no valid frame")]
    Garbled,
    /// The exchange had already ended.
    #[error("exchange is over")]
    Over,
}

/// One request and the wait for its answer, in a fixed buffer of [`ADU_MAX`] bytes.
#[derive(Debug, Clone)]
pub struct Transaction {
    framing: Framing,
    header: Header,
    expected: ExpectedReply,
    /// The request until the first byte arrives, then the bytes received and not yet judged.
    buffer: [u8; ADU_MAX],
    len: usize,
    phase: Phase,
    is_garbled: bool,
    checks_transaction_id: bool,
    has_other_transaction_id: bool,
    echo: Echo,
    skipped: usize,
    unread: usize,
    /// Where the answer is in the buffer, framing included.
    frame: (usize, usize),
}

/// Length of every read request on RTU.
const ECHO_LEN: usize = 8;

/// Whether the line echoes the request before the answer, as two-wire adapters do if they leave
/// their receiver on while sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    /// An echo would be recognised: no answer to this request starts with the same bytes.
    Possible([u8; ECHO_LEN]),
    /// An echo cannot be told from an answer, or this framing has none.
    Unknown,
    Heard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asking,
    Waiting,
    Over,
}

/// Result of looking at the buffer.
enum Verdict {
    NeedMore,
    /// Position of the PDU in a frame for this request.
    Pdu(usize, usize),
    Failed(TransactionError),
}

impl Transaction {
    /// Prepares an exchange with a unit.
    ///
    /// `transaction` should differ from those of earlier exchanges on the same connection; RTU
    /// ignores it.
    ///
    /// # Errors
    /// When the request breaks a limit, or is a broadcast on RTU.
    pub fn new(
        framing: Framing,
        unit: u8,
        request: &Request<'_>,
        transaction: u16,
    ) -> Result<Self, EncodeError> {
        if framing == Framing::Rtu && unit == 0 {
            return Err(EncodeError::Broadcast);
        }
        let header = Header { transaction, unit };
        let mut buffer = [0; ADU_MAX];
        let len = encode_request(framing, header, request, &mut buffer)?;
        let expected = ExpectedReply::of(request);
        let echo = match buffer[..len].try_into() {
            Ok(request) if framing == Framing::Rtu && !expected.is_echo() => {
                Echo::Possible(request)
            }
            _ => Echo::Unknown,
        };
        Ok(Self {
            framing,
            header,
            expected,
            buffer,
            len,
            phase: Phase::Asking,
            is_garbled: false,
            checks_transaction_id: true,
            has_other_transaction_id: false,
            echo,
            skipped: 0,
            unread: 0,
            frame: (0, 0),
        })
    }

    /// Accepts an answer with any transaction identifier, for gateways that do not return the
    /// request's. A late answer can then only be excluded by using a fresh connection.
    #[must_use]
    pub const fn with_any_transaction_id(mut self) -> Self {
        self.checks_transaction_id = false;
        self
    }

    /// Expects the line to echo this request before the answer.
    ///
    /// Reads detect an echo by themselves. The answer to a write of one register or coil repeats
    /// the request, so on an echoing line it proves nothing until the echo is removed.
    #[must_use]
    pub fn with_echo(mut self) -> Self {
        if let (Framing::Rtu, Ok(request)) = (self.framing, self.buffer[..self.len].try_into()) {
            self.echo = Echo::Possible(request);
        }
        self
    }

    /// The frame to send; empty once bytes have been fed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self.phase {
            Phase::Asking => &self.buffer[..self.len],
            Phase::Waiting | Phase::Over => &[],
        }
    }

    /// Whether bytes arrived that belong to no valid frame for this request.
    ///
    /// After a timeout this tells a garbled answer from no answer.
    #[must_use]
    pub const fn is_garbled(&self) -> bool {
        self.is_garbled
            || matches!((self.phase, self.len), (Phase::Waiting, received) if received > 0)
    }

    /// Whether this unit and function answered with a different transaction identifier.
    #[must_use]
    pub const fn has_other_transaction_id(&self) -> bool {
        self.has_other_transaction_id
    }

    /// Whether the line echoed the request before the answer.
    #[must_use]
    pub const fn is_echoed(&self) -> bool {
        matches!(self.echo, Echo::Heard)
    }

    /// Bytes before the answer that belong neither to the answer nor to an echo. RTU only.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// Bytes after the answer, at the end of what was fed last.
    #[must_use]
    pub const fn unread(&self) -> usize {
        self.unread
    }

    /// The frame of the answer; empty until it has arrived.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.buffer[self.frame.0..self.frame.1]
    }

    /// Takes bytes from the link. Bytes after the answer are not consumed: [`Self::unread`].
    pub fn feed(&mut self, bytes: &[u8]) -> Progress<'_> {
        match self.phase {
            Phase::Asking => {
                self.phase = Phase::Waiting;
                self.len = 0;
            }
            Phase::Waiting => {}
            Phase::Over => return Progress::Failed(TransactionError::Over),
        }
        let mut rest = bytes;
        let verdict = loop {
            let taken = rest.len().min(ADU_MAX - self.len);
            self.buffer[self.len..self.len + taken].copy_from_slice(&rest[..taken]);
            self.len += taken;
            rest = &rest[taken..];
            let verdict = match self.framing {
                Framing::Tcp => self.judge_tcp(),
                Framing::Rtu => self.judge_rtu(false),
            };
            match verdict {
                Verdict::NeedMore if !rest.is_empty() => {}
                Verdict::NeedMore | Verdict::Pdu(..) | Verdict::Failed(_) => break verdict,
            }
        };
        self.unread = rest.len();
        self.conclude(verdict)
    }

    /// Reports that the RTU line has been silent for 3.5 characters since the last byte.
    ///
    /// Ends the exchange if any bytes arrived: with the answer if it was hidden behind an
    /// unfinished frame, otherwise as garbled. Has no effect on TCP.
    pub fn silence(&mut self) -> Progress<'_> {
        match self.phase {
            Phase::Over => Progress::Failed(TransactionError::Over),
            Phase::Waiting if self.framing == Framing::Rtu && self.is_garbled() => {
                match self.judge_rtu(true) {
                    Verdict::NeedMore => self.fail(TransactionError::Garbled),
                    verdict @ (Verdict::Pdu(..) | Verdict::Failed(_)) => self.conclude(verdict),
                }
            }
            Phase::Asking | Phase::Waiting => Progress::NeedMore,
        }
    }

    fn conclude(&mut self, verdict: Verdict) -> Progress<'_> {
        match verdict {
            Verdict::NeedMore => Progress::NeedMore,
            Verdict::Failed(error) => self.fail(error),
            Verdict::Pdu(start, end) => {
                self.phase = Phase::Over;
                self.frame = match self.framing {
                    Framing::Tcp => (0, end),
                    Framing::Rtu => {
                        self.skipped += start - 1;
                        (start - 1, end + RTU_CRC_LEN)
                    }
                };
                self.unread += self.len - self.frame.1;
                match self.expected.parse(&self.buffer[start..end]) {
                    Ok(Ok(response)) => Progress::Done(response),
                    Ok(Err(exception)) => Progress::Exception(exception.code),
                    Err(error) => {
                        self.is_garbled = true;
                        Progress::Failed(TransactionError::Reply(error))
                    }
                }
            }
        }
    }

    fn fail(&mut self, error: TransactionError) -> Progress<'_> {
        self.phase = Phase::Over;
        self.is_garbled = true;
        Progress::Failed(error)
    }

    /// Skips whole frames that belong to other exchanges, units or functions.
    fn judge_tcp(&mut self) -> Verdict {
        loop {
            let (header, len) = match parse_mbap(&self.buffer[..self.len]) {
                Mbap::NeedMore => return Verdict::NeedMore,
                Mbap::NotModbus => return Verdict::Failed(TransactionError::NotModbus),
                Mbap::Frame { header, len } => (header, len),
            };
            // The highest bit of the function marks an exception.
            let function = self.buffer[MBAP_LEN] & 0x7F;
            let is_for_us = header.unit == self.header.unit && function == self.expected.function();
            let is_ours =
                !self.checks_transaction_id || header.transaction == self.header.transaction;
            if is_for_us && is_ours {
                return Verdict::Pdu(MBAP_LEN, len);
            }
            self.has_other_transaction_id |= is_for_us;
            // An answer to an earlier exchange is late, not garbled.
            self.is_garbled |= header.transaction == self.header.transaction;
            self.drop_front(len);
        }
    }

    /// Looks for the answer, skipping noise before it.
    ///
    /// A possible start of the answer hides everything after it until it is complete or the line is
    /// silent: the words of an answer may look like an exception.
    fn judge_rtu(&mut self, is_silent: bool) -> Verdict {
        // An echo is exactly the request, so the first byte that differs rules it out.
        if let Echo::Possible(request) = self.echo {
            let compared = self.len.min(ECHO_LEN);
            if self.buffer[..compared] != request[..compared] {
                self.echo = Echo::Unknown;
            } else if compared == ECHO_LEN {
                self.echo = Echo::Heard;
                self.drop_front(ECHO_LEN);
            } else if !is_silent {
                return Verdict::NeedMore;
            }
        }
        let received = &self.buffer[..self.len];
        let mut keep_from = self.len;
        for start in 0..self.len {
            let frame = &received[start..];
            if frame[0] != self.header.unit {
                continue;
            }
            let pdu_len = match self.expected.candidate(&frame[1..]) {
                Candidate::Impossible => continue,
                Candidate::NeedMore => None,
                Candidate::Whole(pdu_len) => Some(pdu_len),
            };
            match pdu_len.and_then(|len| frame.get(..1 + len + RTU_CRC_LEN)) {
                Some(whole) if crc16(whole) == 0 => {
                    return Verdict::Pdu(start + 1, start + whole.len() - RTU_CRC_LEN);
                }
                Some(_) => {}
                None if is_silent => {}
                None => {
                    keep_from = start;
                    break;
                }
            }
        }
        if keep_from > 0 {
            self.is_garbled = true;
            self.skipped += keep_from;
            self.drop_front(keep_from);
        }
        Verdict::NeedMore
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

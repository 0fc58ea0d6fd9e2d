//! Requests as a slave receives them: whole frames from a stream of bytes.
//!
//! The decoder accepts every unit; the caller decides which are its own. Answers are written with
//! [`crate::encode_reply`] into a buffer that the caller may damage before sending (as simulators
//! do).

use crate::crc::crc16;
use crate::expected::{Candidate, request_candidate};
use crate::frame::{
    ADU_MAX, Framing, Header, MBAP_LEN, Mbap, RTU_ADU_MAX, RTU_CRC_LEN, parse_mbap,
};
use crate::pdu::{Request, RequestError};

/// A whole request frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFrame<'a> {
    /// Which unit it is for; repeated in the reply.
    pub header: Header,
    /// The request, or why it cannot be carried out ([`RequestError::exception`] is the answer).
    pub request: Result<Request<'a>, RequestError>,
}

/// Why no further request can be read from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// It is not Modbus TCP, or out of step.
    #[error("stream is not Modbus TCP")]
    NotModbus,
}

/// Turns a stream of bytes into request frames, in a fixed buffer of [`ADU_MAX`] bytes.
///
/// ```
/// # use ecowatt_modbus::{Framing, RequestDecoder, Request};
/// let mut decoder = RequestDecoder::new(Framing::Rtu);
/// let mut bytes: &[u8] = &[0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87];
/// while !bytes.is_empty() {
///     let taken = decoder.push(bytes);
///     bytes = &bytes[taken..];
///     while let Some(incoming) = decoder.next_request().unwrap() {
///         assert_eq!(incoming.header.unit, 0x11);
///         assert_eq!(incoming.request, Ok(Request::ReadHoldingRegisters { address: 107, count: 3 }));
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct RequestDecoder {
    framing: Framing,
    buffer: [u8; ADU_MAX],
    len: usize,
    /// Bytes at the front of the buffer that belong to the last request returned.
    given: usize,
}

impl RequestDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self { framing, buffer: [0; ADU_MAX], len: 0, given: 0 }
    }

    /// Takes as many bytes as fit and returns how many.
    ///
    /// Never returns 0 for a non-empty slice if [`Self::next_request`] was called until it returned
    /// `None` after the previous push.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.release();
        let taken = bytes.len().min(ADU_MAX - self.len);
        self.buffer[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }

    /// Returns the next whole request, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// When a TCP stream is out of step; close it.
    pub fn next_request(&mut self) -> Result<Option<RequestFrame<'_>>, StreamError> {
        self.release();
        let found = match self.framing {
            Framing::Tcp => self.find_tcp()?,
            Framing::Rtu => self.find_rtu(),
        };
        Ok(found.map(|(header, start, end)| RequestFrame {
            header,
            request: Request::parse(&self.buffer[start..end]),
        }))
    }

    /// Reports that the RTU line has been silent for 3.5 characters: an unfinished frame is void.
    ///
    /// All of it is dropped, even if its words look like a frame: they were not sent as one (SL
    /// 2.5.1.1).
    pub fn silence(&mut self) {
        if self.framing == Framing::Rtu {
            self.len = 0;
            self.given = 0;
        }
    }

    fn release(&mut self) {
        let given = core::mem::take(&mut self.given);
        self.drop_front(given);
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.len, 0);
        self.len -= count;
    }

    fn find_tcp(&mut self) -> Result<Option<(Header, usize, usize)>, StreamError> {
        match parse_mbap(&self.buffer[..self.len]) {
            Mbap::NeedMore => Ok(None),
            Mbap::NotModbus => Err(StreamError::NotModbus),
            Mbap::Frame { header, len } => {
                self.given = len;
                Ok(Some((header, MBAP_LEN, len)))
            }
        }
    }

    /// Looks for a frame with a valid checksum, skipping noise before it.
    ///
    /// A possible start of a longer frame hides everything after it until it is complete or the
    /// line is silent: the words being written may look like a frame themselves.
    fn find_rtu(&mut self) -> Option<(Header, usize, usize)> {
        let received = &self.buffer[..self.len];
        let mut keep_from = None;
        for start in 0..self.len {
            let frame = &received[start..];
            let pdu_len = match request_candidate(&frame[1..]) {
                Some(Candidate::Impossible) => continue,
                Some(Candidate::NeedMore) => None,
                Some(Candidate::Whole(pdu_len)) => Some(pdu_len),
                // The length of an unknown function is not known. At the front of the buffer, take
                // everything if the checksum matches, so that the request can be refused.
                None if start > 0 => continue,
                None if frame.len() < 2 + RTU_CRC_LEN || crc16(frame) != 0 => {
                    if frame.len() < RTU_ADU_MAX {
                        keep_from = Some(start);
                    }
                    continue;
                }
                None => Some(frame.len() - 1 - RTU_CRC_LEN),
            };
            match pdu_len.and_then(|len| frame.get(..1 + len + RTU_CRC_LEN)) {
                Some(whole) if crc16(whole) == 0 => {
                    let header = Header { transaction: 0, unit: frame[0] };
                    self.given = start + whole.len();
                    return Some((header, start + 1, self.given - RTU_CRC_LEN));
                }
                Some(_) => {}
                None => {
                    keep_from = keep_from.or(Some(start));
                    break;
                }
            }
        }
        self.drop_front(keep_from.unwrap_or(self.len));
        None
    }
}

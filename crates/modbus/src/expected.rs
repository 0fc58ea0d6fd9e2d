//! What the reply to a request must look like, and how long frames are.

use crate::pdu::{
    COIL_ON, EXCEPTION_FLAG, Exception, ExceptionCode, PDU_MAX, Reply, Request, Response, coil_word,
};
use crate::values::{Bits, Words, packed_len};

/// What a valid reply to one request looks like; all that a master must remember of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedReply {
    function: u8,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bits(u16),
    Words(u16),
    /// The first bytes of the request's data are returned.
    Echo([u8; ECHO_MAX], usize),
}

/// Address and two masks (AP 6.16).
const ECHO_MAX: usize = 6;

/// What may start at a given position in a stream of RTU bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    Impossible,
    NeedMore,
    /// A PDU of this many bytes, if the checksum matches.
    Whole(usize),
}

impl ExpectedReply {
    /// Returns what the reply to `request` must look like.
    #[must_use]
    pub fn of(request: &Request<'_>) -> Self {
        let shape = match *request {
            Request::ReadCoils { count, .. } | Request::ReadDiscreteInputs { count, .. } => {
                Shape::Bits(count)
            }
            Request::ReadHoldingRegisters { count, .. }
            | Request::ReadInputRegisters { count, .. }
            | Request::ReadWriteMultipleRegisters { read_count: count, .. } => Shape::Words(count),
            Request::WriteSingleCoil { address, on } => echo(address, coil_word(on)),
            Request::WriteSingleRegister { address, value } => echo(address, value),
            Request::WriteMultipleCoils { address, values } => echo(address, values.len()),
            Request::WriteMultipleRegisters { address, values } => {
                echo(address, u16::try_from(values.len()).unwrap_or(u16::MAX))
            }
            Request::MaskWriteRegister { address, and_mask, or_mask } => {
                let [[a, b], [c, d], [e, f]] =
                    [address.to_be_bytes(), and_mask.to_be_bytes(), or_mask.to_be_bytes()];
                Shape::Echo([a, b, c, d, e, f], ECHO_MAX)
            }
        };
        Self { function: request.function(), shape }
    }

    /// Returns the function code of the request.
    #[must_use]
    pub const fn function(&self) -> u8 {
        self.function
    }

    /// Whether a valid answer may repeat the request byte for byte.
    pub(crate) fn is_echo(&self) -> bool {
        matches!(self.shape, Shape::Echo(..))
    }

    /// Length of the PDU of a valid answer.
    fn pdu_len(&self) -> usize {
        match self.shape {
            Shape::Bits(count) => 2 + packed_len(count),
            Shape::Words(count) => 2 + usize::from(count) * 2,
            Shape::Echo(_, len) => 1 + len,
        }
    }

    /// Whether a reply can start with these bytes, and how long its PDU would be.
    pub(crate) fn candidate(&self, pdu: &[u8]) -> Candidate {
        let Some((&function, data)) = pdu.split_first() else { return Candidate::NeedMore };
        let len = if function == self.function | EXCEPTION_FLAG {
            2
        } else if function == self.function {
            let is_possible = match self.shape {
                Shape::Bits(_) | Shape::Words(_) => {
                    data.first().is_none_or(|&bytes| usize::from(bytes) + 2 == self.pdu_len())
                }
                Shape::Echo(echo, len) => data.iter().zip(&echo[..len]).all(|(a, b)| a == b),
            };
            if !is_possible {
                return Candidate::Impossible;
            }
            self.pdu_len()
        } else {
            return Candidate::Impossible;
        };
        if pdu.len() < len { Candidate::NeedMore } else { Candidate::Whole(len) }
    }

    /// Reads a PDU as the reply to the request.
    ///
    /// # Errors
    /// When it answers a different request or its length does not fit the request.
    pub fn parse<'a>(&self, pdu: &'a [u8]) -> Result<Reply<'a>, ReplyError> {
        let (&function, data) = pdu.split_first().ok_or(ReplyError::Truncated(0))?;
        if function == self.function | EXCEPTION_FLAG {
            let [code] = *data else {
                return Err(ReplyError::Length { got: pdu.len(), expected: 2 });
            };
            let code = ExceptionCode::from_code(code);
            return Ok(Err(Exception { function: self.function, code }));
        }
        if function != self.function {
            return Err(ReplyError::Function { got: function, expected: self.function });
        }
        let length = ReplyError::Length { got: pdu.len(), expected: self.pdu_len() };
        if pdu.len() != self.pdu_len() {
            return Err(length);
        }
        // Several functions share a shape; the function decides which response it is.
        let response = match self.shape {
            Shape::Bits(count) => {
                let bytes = counted(data).ok_or(length)?;
                let bits = Bits::new(bytes, count).ok_or(length)?;
                if self.function == 1 {
                    Response::ReadCoils(bits)
                } else {
                    Response::ReadDiscreteInputs(bits)
                }
            }
            Shape::Words(_) => {
                let words = Words::from_wire(counted(data).ok_or(length)?);
                match self.function {
                    3 => Response::ReadHoldingRegisters(words),
                    4 => Response::ReadInputRegisters(words),
                    _ => Response::ReadWriteMultipleRegisters(words),
                }
            }
            Shape::Echo(echo, len) => {
                if data != &echo[..len] {
                    return Err(ReplyError::Echo);
                }
                let word = |at: usize| u16::from_be_bytes([echo[at], echo[at + 1]]);
                let (address, second) = (word(0), word(2));
                match self.function {
                    5 => Response::WriteSingleCoil { address, on: second == COIL_ON },
                    6 => Response::WriteSingleRegister { address, value: second },
                    15 => Response::WriteMultipleCoils { address, count: second },
                    16 => Response::WriteMultipleRegisters { address, count: second },
                    _ => {
                        Response::MaskWriteRegister { address, and_mask: second, or_mask: word(4) }
                    }
                }
            }
        };
        Ok(Ok(response))
    }
}

/// Whether a request can start with these bytes on an RTU line, and how long its PDU would be.
///
/// `None` for functions whose length is not known here.
pub(crate) fn request_candidate(pdu: &[u8]) -> Option<Candidate> {
    let Some(&function) = pdu.first() else { return Some(Candidate::NeedMore) };
    let counted_at = match function {
        1..=6 => return Some(whole_if(pdu, 5)),
        22 => return Some(whole_if(pdu, 7)),
        15 | 16 => 5,
        23 => 9,
        _ => return None,
    };
    let Some(&bytes) = pdu.get(counted_at) else { return Some(Candidate::NeedMore) };
    let len = counted_at + 1 + usize::from(bytes);
    Some(if len > PDU_MAX { Candidate::Impossible } else { whole_if(pdu, len) })
}

fn whole_if(pdu: &[u8], len: usize) -> Candidate {
    if pdu.len() < len { Candidate::NeedMore } else { Candidate::Whole(len) }
}

fn counted(data: &[u8]) -> Option<&[u8]> {
    let (&count, values) = data.split_first()?;
    (usize::from(count) == values.len()).then_some(values)
}

fn echo(address: u16, second: u16) -> Shape {
    let ([a, b], [c, d]) = (address.to_be_bytes(), second.to_be_bytes());
    Shape::Echo([a, b, c, d, 0, 0], 4)
}

/// Why a PDU is not a reply to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It is empty or incomplete.
    #[error("reply ends after {0} bytes")]
    Truncated(usize),
    /// It answers a different function.
    #[error("reply has function {got:#04x}, the request {expected:#04x}")]
    Function {
        /// Of the reply.
        got: u8,
        /// Of the request.
        expected: u8,
    },
    /// Its length does not fit the request.
    #[error("reply has {got} bytes, not {expected}")]
    Length {
        /// Bytes of the PDU.
        got: usize,
        /// Bytes in a valid answer.
        expected: usize,
    },
    /// A write was confirmed with a different address, value or count.
    #[error("reply confirms a different write")]
    Echo,
}

//! Requests and replies of the public function codes, as borrowed values (AP 6).

use crate::values::{Bits, Words, packed_len};

/// Longest PDU: 256 bytes of RTU frame less unit and checksum (AP 4.1).
pub const PDU_MAX: usize = 253;
/// Maximum number of coils or discrete inputs in one read (AP 6.1, 6.2).
pub const READ_BITS_MAX: u16 = 2000;
/// Maximum number of registers in one read (AP 6.3, 6.4).
pub const READ_REGISTERS_MAX: u16 = 125;
/// Maximum number of coils in one write (AP 6.11).
pub const WRITE_BITS_MAX: u16 = 0x07B0;
/// Maximum number of registers in one write (AP 6.12).
pub const WRITE_REGISTERS_MAX: u16 = 0x007B;
/// Maximum number of registers read by one read/write (AP 6.17).
pub const READ_WRITE_READ_MAX: u16 = 0x007D;
/// Maximum number of registers written by one read/write (AP 6.17).
pub const READ_WRITE_WRITE_MAX: u16 = 0x0079;

/// Set in the function code of an exception reply (AP 7).
pub(crate) const EXCEPTION_FLAG: u8 = 0x80;

pub(crate) const COIL_ON: u16 = 0xFF00;
const COIL_OFF: u16 = 0x0000;

/// A master's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Function 1 (AP 6.1).
    ReadCoils {
        /// First coil.
        address: u16,
        /// How many, 1 to [`READ_BITS_MAX`].
        count: u16,
    },
    /// Function 2 (AP 6.2).
    ReadDiscreteInputs {
        /// First input.
        address: u16,
        /// How many, 1 to [`READ_BITS_MAX`].
        count: u16,
    },
    /// Function 3 (AP 6.3).
    ReadHoldingRegisters {
        /// First register.
        address: u16,
        /// How many, 1 to [`READ_REGISTERS_MAX`].
        count: u16,
    },
    /// Function 4 (AP 6.4).
    ReadInputRegisters {
        /// First register.
        address: u16,
        /// How many, 1 to [`READ_REGISTERS_MAX`].
        count: u16,
    },
    /// Function 5 (AP 6.5).
    WriteSingleCoil {
        /// The coil.
        address: u16,
        /// Its state.
        on: bool,
    },
    /// Function 6 (AP 6.6).
    WriteSingleRegister {
        /// The register.
        address: u16,
        /// Its word.
        value: u16,
    },
    /// Function 15 (AP 6.11).
    WriteMultipleCoils {
        /// First coil.
        address: u16,
        /// 1 to [`WRITE_BITS_MAX`] states.
        values: Bits<'a>,
    },
    /// Function 16 (AP 6.12).
    WriteMultipleRegisters {
        /// First register.
        address: u16,
        /// 1 to [`WRITE_REGISTERS_MAX`] words.
        values: Words<'a>,
    },
    /// Function 22: the register becomes (old and `and_mask`) or (`or_mask` and not `and_mask`)
    /// (AP 6.16).
    MaskWriteRegister {
        /// The register.
        address: u16,
        /// Bits to keep.
        and_mask: u16,
        /// Bits to set among those not kept.
        or_mask: u16,
    },
    /// Function 23: the write happens before the read (AP 6.17).
    ReadWriteMultipleRegisters {
        /// First register read.
        read_address: u16,
        /// How many, 1 to [`READ_WRITE_READ_MAX`].
        read_count: u16,
        /// First register written.
        write_address: u16,
        /// 1 to [`READ_WRITE_WRITE_MAX`] words.
        values: Words<'a>,
    },
}

/// A slave's answer after it carried out the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response<'a> {
    /// Function 1.
    ReadCoils(Bits<'a>),
    /// Function 2.
    ReadDiscreteInputs(Bits<'a>),
    /// Function 3.
    ReadHoldingRegisters(Words<'a>),
    /// Function 4.
    ReadInputRegisters(Words<'a>),
    /// Function 5.
    WriteSingleCoil {
        /// The coil.
        address: u16,
        /// Its state.
        on: bool,
    },
    /// Function 6.
    WriteSingleRegister {
        /// The register.
        address: u16,
        /// Its word.
        value: u16,
    },
    /// Function 15.
    WriteMultipleCoils {
        /// First coil.
        address: u16,
        /// How many were written.
        count: u16,
    },
    /// Function 16.
    WriteMultipleRegisters {
        /// First register.
        address: u16,
        /// How many were written.
        count: u16,
    },
    /// Function 22.
    MaskWriteRegister {
        /// The register.
        address: u16,
        /// Bits kept.
        and_mask: u16,
        /// Bits set among those not kept.
        or_mask: u16,
    },
    /// Function 23.
    ReadWriteMultipleRegisters(Words<'a>),
}

/// Why a slave did not carry out a request (AP 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExceptionCode {
    /// 1: the function is not supported.
    IllegalFunction,
    /// 2: a register or coil does not exist.
    IllegalDataAddress,
    /// 3: a count or value is not allowed.
    IllegalDataValue,
    /// 4: the slave failed.
    ServerDeviceFailure,
    /// 5: the slave is still working on it.
    Acknowledge,
    /// 6: the slave is busy.
    ServerDeviceBusy,
    /// 8: memory parity error.
    MemoryParityError,
    /// 10: the gateway has no path to the unit.
    GatewayPathUnavailable,
    /// 11: the unit behind the gateway does not answer.
    GatewayTargetFailedToRespond,
    /// Any other code.
    Other(u8),
}

impl ExceptionCode {
    /// Returns the meaning of a code.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::IllegalFunction,
            2 => Self::IllegalDataAddress,
            3 => Self::IllegalDataValue,
            4 => Self::ServerDeviceFailure,
            5 => Self::Acknowledge,
            6 => Self::ServerDeviceBusy,
            8 => Self::MemoryParityError,
            10 => Self::GatewayPathUnavailable,
            11 => Self::GatewayTargetFailedToRespond,
            other => Self::Other(other),
        }
    }

    /// Returns the code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::IllegalFunction => 1,
            Self::IllegalDataAddress => 2,
            Self::IllegalDataValue => 3,
            Self::ServerDeviceFailure => 4,
            Self::Acknowledge => 5,
            Self::ServerDeviceBusy => 6,
            Self::MemoryParityError => 8,
            Self::GatewayPathUnavailable => 10,
            Self::GatewayTargetFailedToRespond => 11,
            Self::Other(other) => other,
        }
    }
}

/// A slave's exception reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Function code of the request.
    pub function: u8,
    /// Why.
    pub code: ExceptionCode,
}

/// A slave's answer or its exception.
pub type Reply<'a> = Result<Response<'a>, Exception>;

/// Why a request or reply could not be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The output has no room for the frame.
    #[error("output buffer is too small")]
    BufferTooSmall,
    /// Zero, or more than one request of this function can carry.
    #[error("count {count} is not between 1 and {max}")]
    Count {
        /// The count in the request.
        count: usize,
        /// The limit of the function.
        max: u16,
    },
    /// The last register or coil would lie beyond 65,535.
    #[error("address {address} plus count {count} leaves the address space")]
    AddressSpace {
        /// The first.
        address: u16,
        /// How many.
        count: u16,
    },
    /// Unit 0 is the broadcast address on a serial line; slaves do not answer it (SL 2.1).
    #[error("a broadcast is never answered")]
    Broadcast,
}

/// Why a PDU is not a request that a slave can carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It has no bytes.
    #[error("request is empty")]
    Empty,
    /// The function is not supported.
    #[error("function {0} is not supported")]
    UnknownFunction(u8),
    /// Too short or too long for its contents.
    #[error("function {function} with {len} bytes")]
    Length {
        /// Function code.
        function: u8,
        /// Bytes of the PDU.
        len: usize,
    },
    /// Zero, or more than the function allows.
    #[error("function {function} with count {count}")]
    Count {
        /// Function code.
        function: u8,
        /// The count in the request.
        count: u16,
    },
    /// A coil is set with 0xFF00 and reset with 0x0000; other values are invalid (AP 6.5).
    #[error("function {function} with coil value {value:#06x}")]
    CoilValue {
        /// Function code.
        function: u8,
        /// The value in the request.
        value: u16,
    },
    /// The last register or coil would lie beyond 65,535.
    #[error("function {function} leaves the address space")]
    AddressSpace {
        /// Function code.
        function: u8,
    },
}

impl RequestError {
    /// Returns the exception that a slave answers, or `None` if there is not even a function code.
    #[must_use]
    pub const fn exception(&self) -> Option<Exception> {
        let (function, code) = match *self {
            Self::Empty => return None,
            Self::UnknownFunction(function) => (function, ExceptionCode::IllegalFunction),
            Self::Length { function, .. }
            | Self::Count { function, .. }
            | Self::CoilValue { function, .. } => (function, ExceptionCode::IllegalDataValue),
            Self::AddressSpace { function } => (function, ExceptionCode::IllegalDataAddress),
        };
        Some(Exception { function, code })
    }
}

impl<'a> Request<'a> {
    /// The function code.
    #[must_use]
    pub const fn function(&self) -> u8 {
        match self {
            Self::ReadCoils { .. } => 1,
            Self::ReadDiscreteInputs { .. } => 2,
            Self::ReadHoldingRegisters { .. } => 3,
            Self::ReadInputRegisters { .. } => 4,
            Self::WriteSingleCoil { .. } => 5,
            Self::WriteSingleRegister { .. } => 6,
            Self::WriteMultipleCoils { .. } => 15,
            Self::WriteMultipleRegisters { .. } => 16,
            Self::MaskWriteRegister { .. } => 22,
            Self::ReadWriteMultipleRegisters { .. } => 23,
        }
    }

    /// Writes the PDU into `out` and returns its length.
    ///
    /// # Errors
    /// When a limit is broken or `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut pdu = Writer { out, len: 0 };
        pdu.byte(self.function())?;
        // Each function's fields in the order of its section of AP 6; `span` checks the limits.
        match *self {
            Self::ReadCoils { address, count } | Self::ReadDiscreteInputs { address, count } => {
                pdu.span(address, usize::from(count), READ_BITS_MAX)?;
            }
            Self::ReadHoldingRegisters { address, count }
            | Self::ReadInputRegisters { address, count } => {
                pdu.span(address, usize::from(count), READ_REGISTERS_MAX)?;
            }
            Self::WriteSingleCoil { address, on } => {
                pdu.word(address)?;
                pdu.word(coil_word(on))?;
            }
            Self::WriteSingleRegister { address, value } => {
                pdu.word(address)?;
                pdu.word(value)?;
            }
            Self::WriteMultipleCoils { address, values } => {
                pdu.span(address, usize::from(values.len()), WRITE_BITS_MAX)?;
                pdu.bits(values)?;
            }
            Self::WriteMultipleRegisters { address, values } => {
                pdu.span(address, values.len(), WRITE_REGISTERS_MAX)?;
                pdu.words(values)?;
            }
            Self::MaskWriteRegister { address, and_mask, or_mask } => {
                pdu.word(address)?;
                pdu.word(and_mask)?;
                pdu.word(or_mask)?;
            }
            Self::ReadWriteMultipleRegisters {
                read_address,
                read_count,
                write_address,
                values,
            } => {
                pdu.span(read_address, usize::from(read_count), READ_WRITE_READ_MAX)?;
                pdu.span(write_address, values.len(), READ_WRITE_WRITE_MAX)?;
                pdu.words(values)?;
            }
        }
        Ok(pdu.len)
    }

    /// Reads a PDU as a request.
    ///
    /// # Errors
    /// When a slave cannot carry it out; [`RequestError::exception`] is the slave's answer then.
    pub fn parse(pdu: &'a [u8]) -> Result<Self, RequestError> {
        let (&function, data) = pdu.split_first().ok_or(RequestError::Empty)?;
        let length = RequestError::Length { function, len: pdu.len() };
        let word = |index: usize| match data.get(index * 2..index * 2 + 2) {
            Some(pair) => Ok(u16::from_be_bytes([pair[0], pair[1]])),
            None => Err(length),
        };
        let exact = |len: usize| if data.len() == len { Ok(()) } else { Err(length) };
        let span = |first: usize, max: u16| {
            let (address, count) = (word(first)?, word(first + 1)?);
            if !(1..=max).contains(&count) {
                return Err(RequestError::Count { function, count });
            }
            if !fits_address_space(address, count) {
                return Err(RequestError::AddressSpace { function });
            }
            Ok((address, count))
        };
        // The byte count at `at` and exactly that many bytes, which must be `len`.
        let values = |at: usize, len: usize| match data.get(at..) {
            Some([counted, values @ ..]) if usize::from(*counted) == len && values.len() == len => {
                Ok(values)
            }
            _ => Err(length),
        };
        match function {
            1..=4 => {
                exact(4)?;
                let max = if function <= 2 { READ_BITS_MAX } else { READ_REGISTERS_MAX };
                let (address, count) = span(0, max)?;
                Ok(match function {
                    1 => Self::ReadCoils { address, count },
                    2 => Self::ReadDiscreteInputs { address, count },
                    3 => Self::ReadHoldingRegisters { address, count },
                    _ => Self::ReadInputRegisters { address, count },
                })
            }
            5 => {
                exact(4)?;
                let (address, value) = (word(0)?, word(1)?);
                let on = coil_state(value).ok_or(RequestError::CoilValue { function, value })?;
                Ok(Self::WriteSingleCoil { address, on })
            }
            6 => {
                exact(4)?;
                Ok(Self::WriteSingleRegister { address: word(0)?, value: word(1)? })
            }
            15 => {
                let (address, count) = span(0, WRITE_BITS_MAX)?;
                let bytes = values(4, packed_len(count))?;
                let values = Bits::new(bytes, count).ok_or(length)?;
                Ok(Self::WriteMultipleCoils { address, values })
            }
            16 => {
                let (address, count) = span(0, WRITE_REGISTERS_MAX)?;
                let values = Words::from_wire(values(4, usize::from(count) * 2)?);
                Ok(Self::WriteMultipleRegisters { address, values })
            }
            22 => {
                exact(6)?;
                Ok(Self::MaskWriteRegister {
                    address: word(0)?,
                    and_mask: word(1)?,
                    or_mask: word(2)?,
                })
            }
            23 => {
                let (read_address, read_count) = span(0, READ_WRITE_READ_MAX)?;
                let (write_address, count) = span(2, READ_WRITE_WRITE_MAX)?;
                let values = Words::from_wire(values(8, usize::from(count) * 2)?);
                Ok(Self::ReadWriteMultipleRegisters {
                    read_address,
                    read_count,
                    write_address,
                    values,
                })
            }
            other => Err(RequestError::UnknownFunction(other)),
        }
    }
}

impl Response<'_> {
    /// The function code.
    #[must_use]
    pub const fn function(&self) -> u8 {
        match self {
            Self::ReadCoils(_) => 1,
            Self::ReadDiscreteInputs(_) => 2,
            Self::ReadHoldingRegisters(_) => 3,
            Self::ReadInputRegisters(_) => 4,
            Self::WriteSingleCoil { .. } => 5,
            Self::WriteSingleRegister { .. } => 6,
            Self::WriteMultipleCoils { .. } => 15,
            Self::WriteMultipleRegisters { .. } => 16,
            Self::MaskWriteRegister { .. } => 22,
            Self::ReadWriteMultipleRegisters(_) => 23,
        }
    }

    /// The words of a register read, whatever its function.
    #[must_use]
    pub const fn words(&self) -> Option<Words<'_>> {
        match self {
            Self::ReadHoldingRegisters(words)
            | Self::ReadInputRegisters(words)
            | Self::ReadWriteMultipleRegisters(words) => Some(*words),
            Self::ReadCoils(_)
            | Self::ReadDiscreteInputs(_)
            | Self::WriteSingleCoil { .. }
            | Self::WriteSingleRegister { .. }
            | Self::WriteMultipleCoils { .. }
            | Self::WriteMultipleRegisters { .. }
            | Self::MaskWriteRegister { .. } => None,
        }
    }

    /// Writes the PDU into `out` and returns its length.
    ///
    /// # Errors
    /// When a limit is broken or `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut pdu = Writer { out, len: 0 };
        pdu.byte(self.function())?;
        match *self {
            Self::ReadCoils(bits) | Self::ReadDiscreteInputs(bits) => {
                within(usize::from(bits.len()), READ_BITS_MAX)?;
                pdu.bits(bits)?;
            }
            Self::ReadHoldingRegisters(words)
            | Self::ReadInputRegisters(words)
            | Self::ReadWriteMultipleRegisters(words) => {
                within(words.len(), READ_REGISTERS_MAX)?;
                pdu.words(words)?;
            }
            Self::WriteSingleCoil { address, on } => {
                pdu.word(address)?;
                pdu.word(coil_word(on))?;
            }
            Self::WriteSingleRegister { address, value: second }
            | Self::WriteMultipleCoils { address, count: second }
            | Self::WriteMultipleRegisters { address, count: second } => {
                pdu.word(address)?;
                pdu.word(second)?;
            }
            Self::MaskWriteRegister { address, and_mask, or_mask } => {
                pdu.word(address)?;
                pdu.word(and_mask)?;
                pdu.word(or_mask)?;
            }
        }
        Ok(pdu.len)
    }
}

pub(crate) fn encode_reply_pdu(reply: &Reply<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    match reply {
        Ok(response) => response.encode(out),
        Err(Exception { function, code }) => {
            let mut pdu = Writer { out, len: 0 };
            pdu.byte(function | EXCEPTION_FLAG)?;
            pdu.byte(code.code())?;
            Ok(pdu.len)
        }
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn byte(&mut self, byte: u8) -> Result<(), EncodeError> {
        *self.out.get_mut(self.len).ok_or(EncodeError::BufferTooSmall)? = byte;
        self.len += 1;
        Ok(())
    }

    fn word(&mut self, word: u16) -> Result<(), EncodeError> {
        let [high, low] = word.to_be_bytes();
        self.byte(high)?;
        self.byte(low)
    }

    /// Address and count, both checked.
    fn span(&mut self, address: u16, count: usize, max: u16) -> Result<(), EncodeError> {
        let count = within(count, max)?;
        if !fits_address_space(address, count) {
            return Err(EncodeError::AddressSpace { address, count });
        }
        self.word(address)?;
        self.word(count)
    }

    /// Byte count and bits; the count has been checked, so it fits in a byte.
    fn bits(&mut self, bits: Bits<'_>) -> Result<(), EncodeError> {
        self.byte(u8::try_from(packed_len(bits.len())).unwrap_or(u8::MAX))?;
        bits.packed().try_for_each(|byte| self.byte(byte))
    }

    /// Byte count and words; the count has been checked, so it fits in a byte.
    fn words(&mut self, words: Words<'_>) -> Result<(), EncodeError> {
        self.byte(u8::try_from(words.len() * 2).unwrap_or(u8::MAX))?;
        words.iter().try_for_each(|word| self.word(word))
    }
}

fn within(count: usize, max: u16) -> Result<u16, EncodeError> {
    match u16::try_from(count) {
        Ok(fitting) if (1..=max).contains(&fitting) => Ok(fitting),
        Ok(_) | Err(_) => Err(EncodeError::Count { count, max }),
    }
}

fn fits_address_space(address: u16, count: u16) -> bool {
    u32::from(address) + u32::from(count) <= 0x1_0000
}

pub(crate) const fn coil_word(on: bool) -> u16 {
    if on { COIL_ON } else { COIL_OFF }
}

const fn coil_state(word: u16) -> Option<bool> {
    match word {
        COIL_ON => Some(true),
        COIL_OFF => Some(false),
        _ => None,
    }
}

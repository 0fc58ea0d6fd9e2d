//! Modbus RTU and TCP as data: frames, one master transaction, one slave decoder.
//!
//! Nothing here does IO, reads a clock or allocates, so the device core, the Linux agent and the
//! simulator share it. Bytes from outside never cause a panic and never yield a reply whose length
//! does not fit the request. Limits and layouts are those of the MODBUS Application Protocol
//! Specification V1.1b3 ("AP") and the MODBUS over Serial Line Guide V1.02 ("SL").
#![no_std]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

mod crc;
mod expected;
mod frame;
mod master;
mod pdu;
mod slave;
mod timing;
mod values;

pub use crc::crc16;
pub use expected::{ExpectedReply, ReplyError};
pub use frame::{ADU_MAX, Framing, Header, MBAP_LEN, RTU_ADU_MAX, encode_reply, encode_request};
pub use master::{Progress, Transaction, TransactionError};
pub use pdu::{
    EncodeError, Exception, ExceptionCode, PDU_MAX, READ_BITS_MAX, READ_REGISTERS_MAX,
    READ_WRITE_READ_MAX, READ_WRITE_WRITE_MAX, Reply, Request, RequestError, Response,
    WRITE_BITS_MAX, WRITE_REGISTERS_MAX,
};
pub use slave::{RequestDecoder, RequestFrame, StreamError};
pub use timing::{inter_frame_silence, time_on_wire};
pub use values::{Bits, Words};

//! The two framings of a PDU: MBAP header (TCP), or unit and checksum (RTU).
//!
//! RTU frames are the same on a serial line and inside a TCP stream ("RTU over TCP").

use crate::crc::crc16;
use crate::pdu::{EncodeError, PDU_MAX, Reply, Request, encode_reply_pdu};

/// Longest frame of either framing: MBAP header and PDU (Messaging on TCP/IP V1.0b 3.1.3).
pub const ADU_MAX: usize = MBAP_LEN + PDU_MAX;

/// Longest RTU frame: unit, PDU, checksum (AP 4.1).
pub const RTU_ADU_MAX: usize = 1 + PDU_MAX + RTU_CRC_LEN;

/// Length of the MBAP header, unit included (Messaging on TCP/IP V1.0b 3.1.3).
pub const MBAP_LEN: usize = 7;

pub(crate) const RTU_CRC_LEN: usize = 2;

/// How PDUs are wrapped on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// MBAP header with transaction identifier.
    Tcp,
    /// Unit and CRC-16, on a serial line or inside a TCP stream.
    Rtu,
}

/// Which unit a frame is for and which exchange it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// Transaction identifier; RTU frames have none and it is 0 there.
    pub transaction: u16,
    /// Unit (serial address) of the slave.
    pub unit: u8,
}

/// Writes a request frame into `out` and returns its length.
///
/// # Errors
/// When the request breaks a limit of the specification or `out` is too small; [`ADU_MAX`] bytes
/// are always enough.
pub fn encode_request(
    framing: Framing,
    header: Header,
    request: &Request<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    wrap(framing, header, out, |pdu| request.encode(pdu))
}

/// Writes a reply frame (response or exception) into `out` and returns its length.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_reply(
    framing: Framing,
    header: Header,
    reply: &Reply<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    wrap(framing, header, out, |pdu| encode_reply_pdu(reply, pdu))
}

fn wrap(
    framing: Framing,
    header: Header,
    out: &mut [u8],
    encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<usize, EncodeError> {
    let too_small = EncodeError::BufferTooSmall;
    match framing {
        Framing::Tcp => {
            let (mbap, pdu) = out.split_at_mut_checked(MBAP_LEN).ok_or(too_small)?;
            let len = encode(pdu)?;
            let following = u16::try_from(len + 1).map_err(|_| EncodeError::BufferTooSmall)?;
            mbap[..2].copy_from_slice(&header.transaction.to_be_bytes());
            mbap[2..4].copy_from_slice(&[0, 0]);
            mbap[4..6].copy_from_slice(&following.to_be_bytes());
            mbap[6] = header.unit;
            Ok(MBAP_LEN + len)
        }
        Framing::Rtu => {
            let (unit, pdu) = out.split_first_mut().ok_or(too_small)?;
            *unit = header.unit;
            let end = 1 + encode(pdu)?;
            let crc = crc16(&out[..end]).to_le_bytes();
            let slot = out.get_mut(end..end + RTU_CRC_LEN).ok_or(EncodeError::BufferTooSmall)?;
            slot.copy_from_slice(&crc);
            Ok(end + RTU_CRC_LEN)
        }
    }
}

/// What the start of a TCP stream contains.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mbap {
    /// The frame is incomplete.
    NeedMore,
    /// Not Modbus, or out of step; the stream cannot be resynchronised.
    NotModbus,
    /// A frame of this many bytes.
    Frame { header: Header, len: usize },
}

pub(crate) fn parse_mbap(bytes: &[u8]) -> Mbap {
    if bytes.len() >= 4 && bytes[2..4] != [0, 0] {
        return Mbap::NotModbus;
    }
    let Some(mbap) = bytes.get(..MBAP_LEN) else { return Mbap::NeedMore };
    let following = usize::from(u16::from_be_bytes([mbap[4], mbap[5]]));
    // At least the unit and a function code, at most a whole PDU.
    if !(2..=1 + PDU_MAX).contains(&following) {
        return Mbap::NotModbus;
    }
    let len = MBAP_LEN - 1 + following;
    if bytes.len() < len {
        return Mbap::NeedMore;
    }
    let transaction = u16::from_be_bytes([mbap[0], mbap[1]]);
    Mbap::Frame { header: Header { transaction, unit: mbap[6] }, len }
}

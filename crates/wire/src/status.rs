//! A device's report about itself.

use ecowatt_model::SourceNumber;
use minicbor::Decoder;

use crate::FIRMWARE_MAX;
use crate::encoding::{
    CODE_LEN_MAX, CursorEncoder, DecodeError, EncodeError, HEAD_LEN, Item, U8_LEN_MAX, U16_LEN_MAX,
    U32_LEN_MAX, U64_LEN_MAX, array, read_list, skip, wrong,
};
use crate::list::SectionList;

/// Why the current boot epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BootReason {
    /// Unknown to the device, or a reason that the reader does not know.
    Unknown = 0,
    /// After a power cut, a kill or a crash: the last epoch did not end cleanly.
    Unclean = 1,
    /// After an orderly stop.
    Clean = 2,
    /// The first epoch of this device.
    First = 3,
}

impl BootReason {
    const ALL: [Self; 4] = [Self::Unknown, Self::Unclean, Self::Clean, Self::First];

    fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Unknown)
    }
}

/// State of a source's link to its inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SourceState {
    /// Not polled yet, or a state that the reader does not know.
    Unknown = 0,
    Online = 1,
    Asleep = 2,
    Offline = 3,
    Faulty = 4,
}

impl SourceState {
    const ALL: [Self; 5] = [Self::Unknown, Self::Online, Self::Asleep, Self::Offline, Self::Faulty];

    fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Unknown)
    }
}

/// One inverter as its device sees it: `[source, state, requests, failures, quarantined]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceStatus {
    pub source: SourceNumber,
    pub state: SourceState,
    /// Modbus requests in this epoch.
    pub requests: u32,
    /// Requests without a valid answer.
    pub failures: u32,
    /// Registers currently skipped because reading them fails.
    pub quarantined: u16,
}

/// State and counters of a device; one array in this order.
#[derive(Debug, Clone, Copy)]
pub struct Status<'a> {
    /// Name and version of the software, at most [`FIRMWARE_MAX`] bytes.
    pub firmware: &'a str,
    pub boot_reason: BootReason,
    /// Samples taken in this epoch.
    pub samples: u32,
    /// Batches waiting for an acknowledgement.
    pub backlog_batches: u32,
    pub spool_bytes: u64,
    pub spool_capacity_bytes: u64,
    /// Uplinks in this epoch without a valid reply.
    pub link_failures: u32,
    /// Device clock minus server clock at the last reply, in milliseconds.
    pub clock_deviation_ms: i64,
    /// At most [`crate::ITEMS_MAX`].
    pub sources: SectionList<'a, SourceStatus>,
}

impl<'a> Status<'a> {
    /// Maximum length in bytes of a status with this many sources.
    #[must_use]
    pub const fn len_max(sources: usize) -> usize {
        let firmware = U8_LEN_MAX + FIRMWARE_MAX;
        let counters = 3 * U32_LEN_MAX + 3 * U64_LEN_MAX;
        HEAD_LEN + firmware + CODE_LEN_MAX + counters + HEAD_LEN + sources * SourceStatus::LEN_MAX
    }

    pub(crate) fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder
            .array(9)?
            .str(self.firmware)?
            .u8(self.boot_reason as u8)?
            .u32(self.samples)?
            .u32(self.backlog_batches)?
            .u64(self.spool_bytes)?
            .u64(self.spool_capacity_bytes)?
            .u32(self.link_failures)?
            .i64(self.clock_deviation_ms)?;
        self.sources.encode(encoder)
    }

    pub(crate) fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 9)?;
        let firmware = decoder.str()?;
        if firmware.len() > FIRMWARE_MAX {
            return Err(wrong(decoder));
        }
        let status = Self {
            firmware,
            boot_reason: BootReason::from_code(decoder.u8()?),
            samples: decoder.u32()?,
            backlog_batches: decoder.u32()?,
            spool_bytes: decoder.u64()?,
            spool_capacity_bytes: decoder.u64()?,
            link_failures: decoder.u32()?,
            clock_deviation_ms: decoder.i64()?,
            sources: SectionList::Parsed(read_list(decoder)?),
        };
        skip(decoder, more)?;
        Ok(status)
    }
}

impl SourceStatus {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + U8_LEN_MAX + CODE_LEN_MAX + 2 * U32_LEN_MAX + U16_LEN_MAX;
}

impl<'a> Item<'a> for SourceStatus {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder
            .array(5)?
            .u8(self.source.0)?
            .u8(self.state as u8)?
            .u32(self.requests)?
            .u32(self.failures)?
            .u16(self.quarantined)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 5)?;
        let status = Self {
            source: SourceNumber(decoder.u8()?),
            state: SourceState::from_code(decoder.u8()?),
            requests: decoder.u32()?,
            failures: decoder.u32()?,
            quarantined: decoder.u16()?,
        };
        skip(decoder, more)?;
        Ok(status)
    }
}

//! Messages from server to device.

use core::time::Duration;

use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{BatchId, BootEpoch, Sequence, StreamNumber, UnixMs};
use minicbor::Decoder;

use crate::ITEMS_MAX;
use crate::command::{COMMANDS_MAX, Command};
use crate::desired::Desired;
use crate::encoding::{
    CursorEncoder, DecodeError, EncodeError, HEAD_LEN, Item, KEY_LEN, LIST_HEAD_LEN, MapWriter,
    ParseError, ParsedItems, U8_LEN_MAX, U16_LEN_MAX, U32_LEN_MAX, U64_LEN_MAX, WriteError, array,
    as_millis, millis, parse_map, read, skip, wrong,
};
use crate::lease::DesiredLeases;
use crate::section_keys::reply as keys;

/// Batches that the server has stored: `[epoch, first, last]`.
///
/// A reply lists ranges for the epochs of its request. They acknowledge everything stored below
/// their end; batches between two ranges are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AckRange {
    pub epoch: BootEpoch,
    pub first: Sequence,
    pub last: Sequence,
}

impl AckRange {
    #[must_use]
    pub fn contains(&self, id: BatchId) -> bool {
        self.epoch == id.epoch && (self.first..=self.last).contains(&id.sequence)
    }
}

/// Why a batch will never be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchRefusal {
    /// The codec cannot decode its bytes.
    Undecodable,
    /// Its number of columns differs from its stream's layout.
    WrongColumns,
    /// Its stream's layout cannot be parsed.
    BadLayout,
    /// Its samples span more time than those of a batch may.
    Span,
    /// Its times count from the start of an epoch, but it does not say when the epoch began.
    NoStart,
    /// A reason added by a later version; treated like the others.
    Other(u8),
}

impl BatchRefusal {
    fn code(self) -> u8 {
        match self {
            Self::Undecodable => 1,
            Self::WrongColumns => 2,
            Self::BadLayout => 3,
            Self::Span => 4,
            Self::NoStart => 5,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Undecodable,
            2 => Self::WrongColumns,
            3 => Self::BadLayout,
            4 => Self::Span,
            5 => Self::NoStart,
            code => Self::Other(code),
        }
    }
}

/// A batch that the server refuses: `[epoch, sequence, reason]`. Sending it again is pointless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedBatch {
    pub id: BatchId,
    pub reason: BatchRefusal,
}

/// A message to a device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reply<'a> {
    acks: ParsedItems<'a, AckRange>,
    time: Option<UnixMs>,
    wanted: ParsedItems<'a, StreamNumber>,
    refused: ParsedItems<'a, RefusedBatch>,
    check_in: Option<Duration>,
    desired: Option<Desired<'a>>,
    commands: ParsedItems<'a, Command<'a>>,
    held: Duration,
    leases: Option<DesiredLeases<'a>>,
}

impl<'a> Reply<'a> {
    /// Maximum number of bytes of a message.
    pub const LEN_MAX: usize = HEAD_LEN
        + LIST_HEAD_LEN
        + ITEMS_MAX * AckRange::LEN_MAX
        + KEY_LEN
        + U64_LEN_MAX
        + LIST_HEAD_LEN
        + ITEMS_MAX * U16_LEN_MAX
        + LIST_HEAD_LEN
        + ITEMS_MAX * RefusedBatch::LEN_MAX
        + KEY_LEN
        + U32_LEN_MAX
        + KEY_LEN
        + Desired::LEN_MAX
        + LIST_HEAD_LEN
        + COMMANDS_MAX * Command::LEN_MAX
        + KEY_LEN
        + U32_LEN_MAX
        + KEY_LEN
        + DesiredLeases::LEN_MAX;

    /// Parses and checks a whole message.
    ///
    /// # Errors
    /// If a known section is not valid.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reply = Self::default();
        parse_map(bytes, |key, decoder| {
            match key {
                keys::ACKS => reply.acks = ParsedItems::parse(decoder, key)?,
                keys::TIME => reply.time = Some(UnixMs(read(decoder, Decoder::i64)?)),
                keys::WANTED => reply.wanted = ParsedItems::parse(decoder, key)?,
                keys::REFUSED => reply.refused = ParsedItems::parse(decoder, key)?,
                keys::CHECK_IN => reply.check_in = Some(read(decoder, millis)?),
                keys::DESIRED => reply.desired = Some(read(decoder, Desired::decode)?),
                keys::COMMANDS => reply.commands = ParsedItems::parse(decoder, key)?,
                keys::HELD => reply.held = read(decoder, millis)?,
                keys::LEASES => reply.leases = Some(read(decoder, DesiredLeases::decode)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(reply)
    }

    #[must_use]
    pub fn acks(&self) -> ParsedItems<'a, AckRange> {
        self.acks
    }

    /// The server's time when it wrote the reply.
    #[must_use]
    pub fn time(&self) -> Option<UnixMs> {
        self.time
    }

    /// Streams whose layout the server does not have; their batches were not stored.
    #[must_use]
    pub fn wanted(&self) -> ParsedItems<'a, StreamNumber> {
        self.wanted
    }

    #[must_use]
    pub fn refused(&self) -> ParsedItems<'a, RefusedBatch> {
        self.refused
    }

    /// How long the device should wait before its next message, if the server requests a delay.
    #[must_use]
    pub fn check_in(&self) -> Option<Duration> {
        self.check_in
    }

    #[must_use]
    pub fn desired(&self) -> Option<Desired<'a>> {
        self.desired
    }

    /// The commands that the device has not yet reported on, the most urgent first.
    #[must_use]
    pub fn commands(&self) -> ParsedItems<'a, Command<'a>> {
        self.commands
    }

    /// The leases that the device should have, if it has not reported them.
    #[must_use]
    pub fn leases(&self) -> Option<DesiredLeases<'a>> {
        self.leases
    }

    /// Time between the arrival of the message and the writing of the reply with its `time`.
    #[must_use]
    pub fn held(&self) -> Duration {
        self.held
    }
}

/// Writes a message section by section, in the order of the methods here.
pub struct ReplyWriter<'b>(MapWriter<'b>);

impl<'b> ReplyWriter<'b> {
    #[must_use]
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self(MapWriter::new(buffer))
    }

    /// Writes as many of `acks` as fit and returns their number. Batches left out are sent again by
    /// the device and acknowledged then.
    ///
    /// # Errors
    /// If a later section has already been written.
    pub fn acks(&mut self, acks: &mut dyn Iterator<Item = AckRange>) -> Result<usize, WriteError> {
        self.0.list(keys::ACKS, acks, 0)
    }

    /// # Errors
    /// If there is no room or a later section has already been written.
    pub fn time(&mut self, time: UnixMs) -> Result<(), WriteError> {
        self.0.section(keys::TIME, |encoder| encoder.i64(time.0).map(drop))
    }

    /// # Errors
    /// As for [`ReplyWriter::acks`].
    pub fn wanted(
        &mut self,
        streams: &mut dyn Iterator<Item = StreamNumber>,
    ) -> Result<usize, WriteError> {
        self.0.list(keys::WANTED, streams, 0)
    }

    /// # Errors
    /// As for [`ReplyWriter::acks`].
    pub fn refused(
        &mut self,
        refused: &mut dyn Iterator<Item = RefusedBatch>,
    ) -> Result<usize, WriteError> {
        self.0.list(keys::REFUSED, refused, 0)
    }

    /// # Errors
    /// If there is no room or a later section has already been written.
    pub fn check_in(&mut self, after: Duration) -> Result<(), WriteError> {
        self.0.section(keys::CHECK_IN, |encoder| encoder.u32(as_millis(after)).map(drop))
    }

    /// # Errors
    /// If there is no room, a later section has already been written, or there are more than
    /// [`ITEMS_MAX`] values.
    pub fn desired(&mut self, desired: &Desired<'_>) -> Result<(), WriteError> {
        if desired.values.len() > ITEMS_MAX {
            return Err(WriteError::TooManyItems);
        }
        self.0.section(keys::DESIRED, |encoder| desired.encode(encoder))
    }

    /// Writes as many of `commands` as fit, at most [`COMMANDS_MAX`], and returns their number.
    ///
    /// # Errors
    /// As for [`ReplyWriter::acks`].
    pub fn commands<'a>(
        &mut self,
        commands: &mut dyn Iterator<Item = Command<'a>>,
    ) -> Result<usize, WriteError> {
        self.0.list(keys::COMMANDS, &mut commands.take(COMMANDS_MAX), 0)
    }

    /// # Errors
    /// If there is no room.
    pub fn held(&mut self, held: Duration) -> Result<(), WriteError> {
        self.0.section(keys::HELD, |encoder| encoder.u32(as_millis(held)).map(drop))
    }

    /// # Errors
    /// If there is no room, or there are more than [`LEASES_MAX`] leases.
    pub fn leases(&mut self, leases: &DesiredLeases<'_>) -> Result<(), WriteError> {
        if leases.leases.len() > LEASES_MAX {
            return Err(WriteError::TooManyItems);
        }
        self.0.section(keys::LEASES, |encoder| leases.encode(encoder))
    }

    /// Ends the message and returns its length.
    #[must_use]
    pub fn finish(self) -> usize {
        self.0.finish()
    }
}

impl AckRange {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + 3 * U32_LEN_MAX;
}

impl RefusedBatch {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + 2 * U32_LEN_MAX + U8_LEN_MAX;
}

impl<'a> Item<'a> for AckRange {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(3)?.u32(self.epoch.0)?.u32(self.first.0)?.u32(self.last.0)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 3)?;
        let range = Self {
            epoch: BootEpoch(decoder.u32()?),
            first: Sequence(decoder.u32()?),
            last: Sequence(decoder.u32()?),
        };
        skip(decoder, more)?;
        if range.first > range.last { Err(wrong(decoder)) } else { Ok(range) }
    }
}

impl<'a> Item<'a> for StreamNumber {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.u16(self.0).map(drop)
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        decoder.u16().map(Self)
    }
}

impl<'a> Item<'a> for RefusedBatch {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(3)?.u32(self.id.epoch.0)?.u32(self.id.sequence.0)?.u8(self.reason.code())?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 3)?;
        let id = BatchId { epoch: BootEpoch(decoder.u32()?), sequence: Sequence(decoder.u32()?) };
        let reason = BatchRefusal::from_code(decoder.u8()?);
        skip(decoder, more)?;
        Ok(Self { id, reason })
    }
}

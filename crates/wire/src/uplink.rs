//! Messages from device to server.

use core::time::Duration;

use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{
    BatchId, BootEpoch, MonoMs, Sequence, SequenceRange, SourceNumber, StreamNumber, UnixMs,
};
use minicbor::Decoder;

use crate::command::{CommandResult, RESULTS_MAX};
use crate::desired::Reported;
use crate::encoding::{
    CODE_LEN_MAX, CursorEncoder, DecodeError, EncodeError, HEAD_LEN, Item, KEY_LEN, LIST_HEAD_LEN,
    MapWriter, ParseError, ParsedItems, STRING_HEAD_LEN_MAX, U8_LEN_MAX, U16_LEN_MAX, U32_LEN_MAX,
    U64_LEN_MAX, WriteError, array, as_millis, millis, or_null, parse_map, read, skip, wrong,
};
use crate::lease::{CHANGES_MAX, ReportedLeases};
use crate::section_keys::uplink as keys;
use crate::status::Status;
use crate::{ITEMS_MAX, LAYOUT_MAX};

/// An encoded batch with its identity: `[epoch, sequence, stream, bytes]`, and as fifth item the
/// start of its epoch if its times count from there. A reader treats a null fifth item as absent,
/// so that a later version can add a sixth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    pub id: BatchId,
    pub stream: StreamNumber,
    /// As encoded by the codec.
    pub bytes: &'a [u8],
    /// The same in all batches of an epoch.
    pub start: Option<EpochStart>,
}

/// When a boot epoch began: `[Unix ms, certainty]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The time of day when the epoch's monotonic clock was zero.
    pub unix: UnixMs,
    pub certainty: Certainty,
}

/// How reliably a device knows when an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// From an unconfirmed clock. A code that the reader does not know counts as this.
    Estimated,
    /// From the server's time, received in that epoch.
    Confirmed,
}

/// The device's clocks at the moment of sending: `[epoch, monotonic ms, Unix ms or null]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReport {
    pub epoch: BootEpoch,
    pub mono: MonoMs,
    /// Absent while the device does not know the time.
    pub unix: Option<UnixMs>,
}

/// Announces a stream: `[stream, source, layout]`. `ecowatt-profile` parses the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<'a> {
    pub number: StreamNumber,
    pub source: SourceNumber,
    pub layout: &'a [u8],
}

/// Samples that will never be sent: `[epoch, first, last, samples]`.
///
/// Either a run of consecutive batches that the device has lost, with all of their samples; or
/// samples that were not yet in a batch, as a total of the epoch so far. Both may be reported any
/// number of times and count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostSamples {
    pub epoch: BootEpoch,
    /// `None`, on the wire two zeros, if the samples were not in a batch.
    pub batches: Option<SequenceRange>,
    pub samples: u32,
}

/// A message from a device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uplink<'a> {
    batches: ParsedItems<'a, Batch<'a>>,
    clock: Option<ClockReport>,
    streams: ParsedItems<'a, Stream<'a>>,
    status: Option<Status<'a>>,
    dropped: ParsedItems<'a, LostSamples>,
    reported: Option<Reported<'a>>,
    results: ParsedItems<'a, CommandResult<'a>>,
    patience: Duration,
    leases: Option<ReportedLeases<'a>>,
}

impl<'a> Uplink<'a> {
    /// Parses and checks a whole message.
    ///
    /// # Errors
    /// If a known section is not valid.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut uplink = Self::default();
        parse_map(bytes, |key, decoder| {
            match key {
                keys::BATCHES => uplink.batches = ParsedItems::parse(decoder, key)?,
                keys::CLOCK => uplink.clock = Some(read(decoder, ClockReport::decode)?),
                keys::STREAMS => uplink.streams = ParsedItems::parse(decoder, key)?,
                keys::STATUS => uplink.status = Some(read(decoder, Status::decode)?),
                keys::DROPPED => uplink.dropped = ParsedItems::parse(decoder, key)?,
                keys::REPORTED => uplink.reported = Some(read(decoder, Reported::decode)?),
                keys::RESULTS => uplink.results = ParsedItems::parse(decoder, key)?,
                keys::PATIENCE => uplink.patience = read(decoder, millis)?,
                keys::LEASES => uplink.leases = Some(read(decoder, ReportedLeases::decode)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(uplink)
    }

    #[must_use]
    pub fn batches(&self) -> ParsedItems<'a, Batch<'a>> {
        self.batches
    }

    #[must_use]
    pub fn clock(&self) -> Option<ClockReport> {
        self.clock
    }

    #[must_use]
    pub fn streams(&self) -> ParsedItems<'a, Stream<'a>> {
        self.streams
    }

    #[must_use]
    pub fn status(&self) -> Option<Status<'a>> {
        self.status
    }

    #[must_use]
    pub fn dropped(&self) -> ParsedItems<'a, LostSamples> {
        self.dropped
    }

    #[must_use]
    pub fn reported(&self) -> Option<Reported<'a>> {
        self.reported
    }

    #[must_use]
    pub fn results(&self) -> ParsedItems<'a, CommandResult<'a>> {
        self.results
    }

    /// How long the server may hold the reply until it has something to say; zero without the
    /// section.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    #[must_use]
    pub fn leases(&self) -> Option<ReportedLeases<'a>> {
        self.leases
    }
}

impl Batch<'_> {
    /// Maximum number of bytes that a batch takes in a message in addition to its own.
    pub const HEAD_LEN_MAX: usize =
        HEAD_LEN + 2 * U32_LEN_MAX + U16_LEN_MAX + STRING_HEAD_LEN_MAX + EpochStart::LEN_MAX;
}

impl ClockReport {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + U32_LEN_MAX + 2 * U64_LEN_MAX;
}

impl Stream<'_> {
    /// Maximum number of bytes that a stream takes in a message in addition to its layout.
    pub const HEAD_LEN_MAX: usize = HEAD_LEN + U16_LEN_MAX + U8_LEN_MAX + STRING_HEAD_LEN_MAX;
}

impl LostSamples {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + 4 * U32_LEN_MAX;
}

/// Maximum length in bytes of a message's map head and of the sections that are not lists: clock,
/// and status with this many sources.
#[must_use]
pub const fn uplink_fixed_len_max(sources: usize) -> usize {
    HEAD_LEN + KEY_LEN + ClockReport::LEN_MAX + KEY_LEN + Status::len_max(sources)
}

/// Maximum length in bytes of the section with how long the reply may be held.
pub const PATIENCE_LEN_MAX: usize = KEY_LEN + U32_LEN_MAX;

/// Maximum length in bytes of the section with the configuration, with this many refused settings
/// and values.
#[must_use]
pub const fn reported_len_max(refused: usize, values: usize) -> usize {
    KEY_LEN + Reported::len_max(refused, values)
}

/// Maximum length in bytes of a list whose items take `items_len`.
#[must_use]
pub const fn list_len_max(items_len: usize) -> usize {
    if items_len == 0 { 0 } else { LIST_HEAD_LEN + items_len }
}

/// Writes a message section by section, in the order of the methods here.
pub struct UplinkWriter<'b>(MapWriter<'b>);

impl<'b> UplinkWriter<'b> {
    #[must_use]
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self(MapWriter::new(buffer))
    }

    /// Writes as many of `batches` as fit, in order, keeps `leave` bytes free and returns their
    /// number.
    ///
    /// # Errors
    /// If a later section has already been written.
    pub fn batches(
        &mut self,
        batches: &mut dyn Iterator<Item = Batch<'_>>,
        leave: usize,
    ) -> Result<usize, WriteError> {
        self.0.list(keys::BATCHES, batches, leave)
    }

    /// # Errors
    /// If there is no room or a later section has already been written.
    pub fn clock(&mut self, clock: &ClockReport) -> Result<(), WriteError> {
        self.0.section(keys::CLOCK, |encoder| clock.encode(encoder))
    }

    /// Writes as many of `streams` as fit, in order, keeps `leave` bytes free and returns their
    /// number.
    ///
    /// # Errors
    /// As for [`UplinkWriter::batches`].
    pub fn streams(
        &mut self,
        streams: &mut dyn Iterator<Item = Stream<'_>>,
        leave: usize,
    ) -> Result<usize, WriteError> {
        self.0.list(keys::STREAMS, streams, leave)
    }

    /// # Errors
    /// If there is no room, a later section has already been written, or there are more than
    /// [`ITEMS_MAX`] sources.
    pub fn status(&mut self, status: &Status<'_>) -> Result<(), WriteError> {
        if status.sources.len() > ITEMS_MAX {
            return Err(WriteError::TooManyItems);
        }
        self.0.section(keys::STATUS, |encoder| status.encode(encoder))
    }

    /// Writes as many of `dropped` as fit, in order, keeps `leave` bytes free and returns their
    /// number.
    ///
    /// # Errors
    /// As for [`UplinkWriter::batches`].
    pub fn dropped(
        &mut self,
        dropped: &mut dyn Iterator<Item = LostSamples>,
        leave: usize,
    ) -> Result<usize, WriteError> {
        self.0.list(keys::DROPPED, dropped, leave)
    }

    /// # Errors
    /// If there is no room, a later section has already been written, or a list has more than
    /// [`ITEMS_MAX`] items.
    pub fn reported(&mut self, reported: &Reported<'_>) -> Result<(), WriteError> {
        if reported.refused.len().max(reported.values.len()) > ITEMS_MAX {
            return Err(WriteError::TooManyItems);
        }
        self.0.section(keys::REPORTED, |encoder| reported.encode(encoder))
    }

    /// Writes as many of `results` as fit, in order, at most [`RESULTS_MAX`], keeps `leave` bytes
    /// free and returns their number.
    ///
    /// # Errors
    /// As for [`UplinkWriter::batches`].
    pub fn results<'a>(
        &mut self,
        results: &mut dyn Iterator<Item = CommandResult<'a>>,
        leave: usize,
    ) -> Result<usize, WriteError> {
        self.0.list(keys::RESULTS, &mut results.take(RESULTS_MAX), leave)
    }

    /// # Errors
    /// If there is no room.
    pub fn patience(&mut self, patience: Duration) -> Result<(), WriteError> {
        self.0.section(keys::PATIENCE, |encoder| encoder.u32(as_millis(patience)).map(drop))
    }

    /// # Errors
    /// If there is no room, a later section has already been written, or a list has more items than
    /// it may.
    pub fn leases(&mut self, leases: &ReportedLeases<'_>) -> Result<(), WriteError> {
        if leases.refused.len() > LEASES_MAX || leases.changes.len() > CHANGES_MAX {
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

impl<'a> Item<'a> for Batch<'a> {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder
            .array(4 + u64::from(self.start.is_some()))?
            .u32(self.id.epoch.0)?
            .u32(self.id.sequence.0)?
            .u16(self.stream.0)?
            .bytes(self.bytes)?;
        self.start.iter().try_for_each(|start| start.encode(encoder))
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 4)?;
        let id = BatchId { epoch: BootEpoch(decoder.u32()?), sequence: Sequence(decoder.u32()?) };
        let stream = StreamNumber(decoder.u16()?);
        let bytes = decoder.bytes()?;
        let start = if more > 0 { or_null(decoder, EpochStart::decode)? } else { None };
        skip(decoder, more.saturating_sub(1))?;
        Ok(Self { id, stream, bytes, start })
    }
}

impl EpochStart {
    const LEN_MAX: usize = HEAD_LEN + U64_LEN_MAX + CODE_LEN_MAX;
}

impl<'a> Item<'a> for EpochStart {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(2)?.i64(self.unix.0)?.u8(match self.certainty {
            Certainty::Estimated => 0,
            Certainty::Confirmed => 1,
        })?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 2)?;
        let unix = UnixMs(decoder.i64()?);
        let is_confirmed = decoder.u8()? == 1;
        skip(decoder, more)?;
        let certainty = if is_confirmed { Certainty::Confirmed } else { Certainty::Estimated };
        Ok(Self { unix, certainty })
    }
}

impl<'a> Item<'a> for ClockReport {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(3)?.u32(self.epoch.0)?.u64(self.mono.0)?;
        match self.unix {
            Some(unix) => encoder.i64(unix.0)?,
            None => encoder.null()?,
        };
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 3)?;
        let epoch = BootEpoch(decoder.u32()?);
        let mono = MonoMs(decoder.u64()?);
        let unix = or_null(decoder, |decoder| decoder.i64().map(UnixMs))?;
        skip(decoder, more)?;
        Ok(Self { epoch, mono, unix })
    }
}

impl<'a> Item<'a> for Stream<'a> {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(3)?.u16(self.number.0)?.u8(self.source.0)?.bytes(self.layout)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 3)?;
        let number = StreamNumber(decoder.u16()?);
        let source = SourceNumber(decoder.u8()?);
        let layout = decoder.bytes()?;
        if layout.len() > LAYOUT_MAX {
            return Err(wrong(decoder));
        }
        skip(decoder, more)?;
        Ok(Self { number, source, layout })
    }
}

impl<'a> Item<'a> for LostSamples {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        let (first, last) = match self.batches {
            Some(SequenceRange { first, last }) => (first, last),
            None => (Sequence(0), Sequence(0)),
        };
        encoder.array(4)?.u32(self.epoch.0)?.u32(first.0)?.u32(last.0)?.u32(self.samples)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 4)?;
        let epoch = BootEpoch(decoder.u32()?);
        let (first, last) = (Sequence(decoder.u32()?), Sequence(decoder.u32()?));
        let samples = decoder.u32()?;
        if first > last {
            return Err(wrong(decoder));
        }
        skip(decoder, more)?;
        let batches = (last > Sequence(0)).then_some(SequenceRange { first, last });
        Ok(Self { epoch, batches, samples })
    }
}

//! From device to server.

use ecowatt_model::{BatchId, BootEpoch, MonoMs, Sequence, SourceNumber, StreamNumber, UnixMs};
use minicbor::Decoder;

use crate::LAYOUT_MAX;
use crate::section::{
    CursorEncoder, DecodeError, EncodeError, Item, Items, MapWriter, ParseError, WriteError, array,
    parse_map, read, wrong,
};
use crate::status::Status;

const KEY_BATCHES: u16 = 1;
const KEY_CLOCK: u16 = 2;
const KEY_STREAMS: u16 = 3;
const KEY_STATUS: u16 = 4;
const KEY_DROPPED: u16 = 5;

/// An encoded batch with its name: `[epoch, sequence, stream, bytes]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    pub id: BatchId,
    pub stream: StreamNumber,
    /// As the codec wrote it.
    pub bytes: &'a [u8],
}

/// The device's clocks at the moment of sending: `[epoch, monotonic ms, Unix ms or null]`.
///
/// The server needs it to place samples that were taken before the device knew the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReport {
    pub epoch: BootEpoch,
    pub mono: MonoMs,
    /// Absent while the device does not know the time.
    pub unix: Option<UnixMs>,
}

/// A stream announced: `[stream, source, layout]`. The layout's bytes are for `ecowatt-profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<'a> {
    pub number: StreamNumber,
    pub source: SourceNumber,
    pub layout: &'a [u8],
}

/// Samples that will never come: `[epoch, first, last, samples]`.
///
/// Either batches that the device has lost, of which none is missing in between, with all the samples
/// that were in them; or samples that were in no batch, all that the epoch has lost so far. Both may be
/// said any number of times and count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub epoch: BootEpoch,
    /// First and last batch; none, which is two zeros on the wire, if the samples were in no batch.
    pub batches: Option<(Sequence, Sequence)>,
    pub samples: u32,
}

/// A message from a device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uplink<'a> {
    batches: Items<'a, Batch<'a>>,
    clock: Option<ClockReport>,
    streams: Items<'a, Stream<'a>>,
    status: Option<Status<'a>>,
    dropped: Items<'a, Dropped>,
}

impl<'a> Uplink<'a> {
    /// Reads and checks a whole message.
    ///
    /// # Errors
    /// If any known section is not what it should be.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut uplink = Self::default();
        parse_map(bytes, |key, decoder| {
            match key {
                KEY_BATCHES => uplink.batches = Items::parse(decoder, key)?,
                KEY_CLOCK => uplink.clock = Some(read(decoder, ClockReport::decode)?),
                KEY_STREAMS => uplink.streams = Items::parse(decoder, key)?,
                KEY_STATUS => uplink.status = Some(read(decoder, Status::decode)?),
                KEY_DROPPED => uplink.dropped = Items::parse(decoder, key)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(uplink)
    }

    #[must_use]
    pub fn batches(&self) -> Items<'a, Batch<'a>> {
        self.batches
    }

    #[must_use]
    pub fn clock(&self) -> Option<ClockReport> {
        self.clock
    }

    #[must_use]
    pub fn streams(&self) -> Items<'a, Stream<'a>> {
        self.streams
    }

    #[must_use]
    pub fn status(&self) -> Option<Status<'a>> {
        self.status
    }

    #[must_use]
    pub fn dropped(&self) -> Items<'a, Dropped> {
        self.dropped
    }
}

/// Writes a message section by section, in the order of the methods here.
pub struct UplinkWriter<'b>(MapWriter<'b>);

impl<'b> UplinkWriter<'b> {
    #[must_use]
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self(MapWriter::new(buffer))
    }

    /// Writes as many of `batches` as fit, in order; gives how many.
    ///
    /// # Errors
    /// If there is not even room for the section's head, or a later section stands already.
    pub fn batches(
        &mut self,
        batches: &mut dyn Iterator<Item = Batch<'_>>,
    ) -> Result<usize, WriteError> {
        self.0.list(KEY_BATCHES, batches)
    }

    /// # Errors
    /// If there is no room or a later section stands already.
    pub fn clock(&mut self, clock: &ClockReport) -> Result<(), WriteError> {
        self.0.section(KEY_CLOCK, |encoder| clock.encode(encoder))
    }

    /// Writes as many of `streams` as fit, in order; gives how many.
    ///
    /// # Errors
    /// As for [`UplinkWriter::batches`].
    pub fn streams(
        &mut self,
        streams: &mut dyn Iterator<Item = Stream<'_>>,
    ) -> Result<usize, WriteError> {
        self.0.list(KEY_STREAMS, streams)
    }

    /// # Errors
    /// If there is no room or a later section stands already.
    pub fn status(&mut self, status: &Status<'_>) -> Result<(), WriteError> {
        self.0.section(KEY_STATUS, |encoder| status.encode(encoder))
    }

    /// Writes as many of `dropped` as fit, in order; gives how many.
    ///
    /// # Errors
    /// As for [`UplinkWriter::batches`].
    pub fn dropped(
        &mut self,
        dropped: &mut dyn Iterator<Item = Dropped>,
    ) -> Result<usize, WriteError> {
        self.0.list(KEY_DROPPED, dropped)
    }

    /// Bytes that are left in the buffer.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.room()
    }

    /// Ends the message and gives its length.
    #[must_use]
    pub fn finish(self) -> usize {
        self.0.finish()
    }
}

impl<'a> Item<'a> for Batch<'a> {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder
            .array(4)?
            .u32(self.id.epoch.0)?
            .u32(self.id.sequence.0)?
            .u16(self.stream.0)?
            .bytes(self.bytes)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        array(decoder, 4)?;
        Ok(Self {
            id: BatchId { epoch: BootEpoch(decoder.u32()?), sequence: Sequence(decoder.u32()?) },
            stream: StreamNumber(decoder.u16()?),
            bytes: decoder.bytes()?,
        })
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
        array(decoder, 3)?;
        let epoch = BootEpoch(decoder.u32()?);
        let mono = MonoMs(decoder.u64()?);
        let unix = if decoder.datatype()? == minicbor::data::Type::Null {
            decoder.null()?;
            None
        } else {
            Some(UnixMs(decoder.i64()?))
        };
        Ok(Self { epoch, mono, unix })
    }
}

impl<'a> Item<'a> for Stream<'a> {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(3)?.u16(self.number.0)?.u8(self.source.0)?.bytes(self.layout)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        array(decoder, 3)?;
        let number = StreamNumber(decoder.u16()?);
        let source = SourceNumber(decoder.u8()?);
        let layout = decoder.bytes()?;
        if layout.len() > LAYOUT_MAX {
            return Err(wrong(decoder));
        }
        Ok(Self { number, source, layout })
    }
}

impl<'a> Item<'a> for Dropped {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        let (first, last) = self.batches.unwrap_or_default();
        encoder.array(4)?.u32(self.epoch.0)?.u32(first.0)?.u32(last.0)?.u32(self.samples)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        array(decoder, 4)?;
        let epoch = BootEpoch(decoder.u32()?);
        let (first, last) = (Sequence(decoder.u32()?), Sequence(decoder.u32()?));
        let samples = decoder.u32()?;
        if first > last {
            return Err(wrong(decoder));
        }
        let batches = (last > Sequence(0)).then_some((first, last));
        Ok(Self { epoch, batches, samples })
    }
}

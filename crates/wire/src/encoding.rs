//! Reading and writing of sections and their lists.

use core::marker::PhantomData;
use core::time::Duration;

use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, write::Cursor};

use crate::{ITEMS_MAX, canonical};

/// Why bytes are not a valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("not the expected CBOR at byte {0}")]
    Malformed(usize),
    #[error("section {0} is repeated or out of order")]
    OutOfOrder(u16),
    #[error("section {section} has {count} items, the limit is {ITEMS_MAX}")]
    TooManyItems { section: u16, count: u64 },
    #[error("{0} bytes follow the message")]
    TrailingBytes(usize),
}

/// Why a section was not written. The message is unchanged by the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the buffer is too small for the section")]
    Full,
    #[error("a list has more than {ITEMS_MAX} items")]
    TooManyItems,
    #[error("sections must be written once each, in ascending order of keys")]
    OutOfOrder,
}

pub(crate) type CursorEncoder<'b> = Encoder<Cursor<&'b mut [u8]>>;
pub(crate) type EncodeError = minicbor::encode::Error<minicbor::encode::write::EndOfSlice>;
pub(crate) type DecodeError = minicbor::decode::Error;

/// An item of a list in a message.
pub(crate) trait Item<'a>: Sized {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError>;
    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError>;
}

/// The error for valid CBOR that is not valid here.
pub(crate) fn wrong(decoder: &Decoder<'_>) -> DecodeError {
    DecodeError::message("wrong value").at(decoder.position())
}

/// Reads the head of an array of at least `least` items and returns how many more it has. A later
/// version may add items at the end, but never removes one.
pub(crate) fn array(decoder: &mut Decoder<'_>, least: u64) -> Result<u64, DecodeError> {
    let length = decoder.array()?.unwrap_or(0);
    length.checked_sub(least).ok_or_else(|| wrong(decoder))
}

/// Skips items that a later version added.
pub(crate) fn skip(decoder: &mut Decoder<'_>, items: u64) -> Result<(), DecodeError> {
    (0..items).try_for_each(|_| decoder.skip())
}

/// Reads a value, or null for an absent one.
pub(crate) fn or_null<'a, T>(
    decoder: &mut Decoder<'a>,
    decode: impl FnOnce(&mut Decoder<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if decoder.datatype()? == minicbor::data::Type::Null {
        decoder.null()?;
        return Ok(None);
    }
    decode(decoder).map(Some)
}

/// Reads a duration in milliseconds.
pub(crate) fn millis(decoder: &mut Decoder<'_>) -> Result<Duration, DecodeError> {
    Ok(Duration::from_millis(decoder.u32()?.into()))
}

/// A duration in milliseconds, at most what 32 bits hold.
pub(crate) fn as_millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Length of a key, and of the head of a list.
pub(crate) const KEY_LEN: usize = 1;
pub(crate) const LIST_HEAD_LEN: usize = KEY_LEN + 1;

/// Maximum number of bytes of numbers and of heads of arrays, strings and lists.
pub(crate) const U8_LEN_MAX: usize = 2;
/// The same for the codes of this version's enums.
pub(crate) const CODE_LEN_MAX: usize = 1;
pub(crate) const U16_LEN_MAX: usize = 3;
pub(crate) const U32_LEN_MAX: usize = 5;
pub(crate) const U64_LEN_MAX: usize = 9;
pub(crate) const HEAD_LEN: usize = 1;
/// The same for the head of a string of fewer than 65,536 bytes.
pub(crate) const STRING_HEAD_LEN_MAX: usize = 3;

/// The items of one list, already checked when the message was parsed.
#[derive(Debug, Clone, Copy)]
pub struct ParsedItems<'a, T> {
    decoder: Option<&'a [u8]>,
    left: usize,
    items: PhantomData<T>,
}

impl<T> Default for ParsedItems<'_, T> {
    fn default() -> Self {
        Self { decoder: None, left: 0, items: PhantomData }
    }
}

#[expect(private_bounds, reason = "lists contain only the crate's own items")]
impl<'a, T: Item<'a>> ParsedItems<'a, T> {
    /// Checks the list at the decoder's position and keeps a view of it.
    pub(crate) fn parse(decoder: &mut Decoder<'a>, section: u16) -> Result<Self, ParseError> {
        let at = decoder.position();
        let malformed = |_| ParseError::Malformed(at);
        let count = decoder.array().map_err(malformed)?.ok_or(ParseError::Malformed(at))?;
        let left = usize::try_from(count)
            .ok()
            .filter(|count| *count <= ITEMS_MAX)
            .ok_or(ParseError::TooManyItems { section, count })?;
        let start = decoder.position();
        for _ in 0..left {
            let at = decoder.position();
            T::decode(decoder).map_err(|_| ParseError::Malformed(at))?;
        }
        let bytes = &decoder.input()[start..decoder.position()];
        Ok(Self { decoder: Some(bytes), left, items: PhantomData })
    }
}

impl<'a, T: Item<'a>> Iterator for ParsedItems<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let bytes = self.decoder?;
        self.left = self.left.checked_sub(1)?;
        let mut decoder = Decoder::new(bytes);
        let item = T::decode(&mut decoder).ok()?;
        self.decoder = Some(&bytes[decoder.position()..]);
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, T: Item<'a>> ExactSizeIterator for ParsedItems<'a, T> {}

/// Reads a list inside a section.
pub(crate) fn read_list<'a, T: Item<'a>>(
    decoder: &mut Decoder<'a>,
) -> Result<ParsedItems<'a, T>, DecodeError> {
    ParsedItems::parse(decoder, 0).map_err(|_| wrong(decoder))
}

/// Writes a map whose number of sections is known only at the end.
pub(crate) struct MapWriter<'b> {
    buffer: &'b mut [u8],
    length: usize,
    sections: u8,
    last_key: u16,
}

impl<'b> MapWriter<'b> {
    /// Reserves the first byte for the map's head.
    pub(crate) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 1, sections: 0, last_key: 0 }
    }

    /// Adds one section, completely or not at all.
    pub(crate) fn section(
        &mut self,
        key: u16,
        write: impl FnOnce(&mut CursorEncoder<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), WriteError> {
        if key <= self.last_key {
            return Err(WriteError::OutOfOrder);
        }
        let rest = self.buffer.get_mut(self.length..).ok_or(WriteError::Full)?;
        let mut encoder = Encoder::new(Cursor::new(rest));
        encoder.u16(key).map_err(|_| WriteError::Full)?;
        write(&mut encoder).map_err(|_| WriteError::Full)?;
        self.length += encoder.writer().position();
        self.sections += 1;
        self.last_key = key;
        Ok(())
    }

    /// Adds a list of as many of `items` as fit in the buffer and in a list, in order, and returns
    /// their number. The last `leave` bytes of the buffer are kept free for later sections. If no
    /// item fits, nothing is written.
    ///
    /// The first item that does not fit has been taken from the iterator, but is not written.
    pub(crate) fn list<'a, T: Item<'a>>(
        &mut self,
        key: u16,
        items: &mut dyn Iterator<Item = T>,
        leave: usize,
    ) -> Result<usize, WriteError> {
        if key <= self.last_key {
            return Err(WriteError::OutOfOrder);
        }
        let end = self.buffer.len().saturating_sub(leave);
        let Some(rest) = self.buffer.get_mut(self.length..end) else { return Ok(0) };
        let mut encoder = Encoder::new(Cursor::new(rest));
        // The head is written last; a list of up to 23 items has a one-byte head.
        if encoder.u16(key).and_then(|e| e.array(0)).is_err() {
            return Ok(0);
        }
        let head = encoder.writer().position() - 1;
        let mut end = head + 1;
        let mut count = 0u8;
        while usize::from(count) < ITEMS_MAX {
            let Some(item) = items.next() else { break };
            if item.encode(&mut encoder).is_err() {
                break;
            }
            end = encoder.writer().position();
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        self.buffer[self.length + head] = 0x80 | count;
        self.length += end;
        self.sections += 1;
        self.last_key = key;
        Ok(usize::from(count))
    }

    /// Writes the head and returns the length of the message.
    pub(crate) fn finish(self) -> usize {
        // A buffer without room for the head cannot contain a message.
        let Some(head) = self.buffer.first_mut() else { return 0 };
        *head = 0xa0 | self.sections;
        self.length
    }
}

/// Reads the sections of a message in order; `read` returns `false` for an unknown key.
pub(crate) fn parse_map<'a>(
    bytes: &'a [u8],
    mut read: impl FnMut(u16, &mut Decoder<'a>) -> Result<bool, ParseError>,
) -> Result<(), ParseError> {
    let mut decoder = Decoder::new(bytes);
    let sections = decoder.map().ok().flatten().ok_or(ParseError::Malformed(0))?;
    let mut last_key = 0;
    for _ in 0..sections {
        let at = decoder.position();
        let key = decoder.u16().map_err(|_| ParseError::Malformed(at))?;
        if key <= last_key {
            return Err(ParseError::OutOfOrder(key));
        }
        last_key = key;
        if !read(key, &mut decoder)? {
            let at = decoder.position();
            decoder.skip().map_err(|_| ParseError::Malformed(at))?;
        }
    }
    match bytes.len() - decoder.position() {
        0 => canonical::check(bytes).map_err(ParseError::Malformed),
        left => Err(ParseError::TrailingBytes(left)),
    }
}

/// Reads one value; an error contains its position.
pub(crate) fn read<'a, T>(
    decoder: &mut Decoder<'a>,
    decode: impl FnOnce(&mut Decoder<'a>) -> Result<T, DecodeError>,
) -> Result<T, ParseError> {
    let at = decoder.position();
    decode(decoder).map_err(|_| ParseError::Malformed(at))
}

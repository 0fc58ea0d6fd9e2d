//! Maps with ascending small keys, in the one encoding that a document may have.
//!
//! What was parsed is encoded again and compared, so this file need not look for long heads,
//! indefinite lengths or repeated keys one by one.

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, write::Cursor};

use crate::tree::Hash;
use crate::version::Version;

pub(crate) type CursorEncoder<'b> = Encoder<Cursor<&'b mut [u8]>>;
pub(crate) type EncodeError = minicbor::encode::Error<minicbor::encode::write::EndOfSlice>;

/// The buffer has no room for the document; nothing useful is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is too small for the document")]
pub struct BufferTooSmall;

/// The error for valid CBOR that is not valid here.
pub(crate) fn wrong(decoder: &Decoder<'_>) -> DecodeError {
    DecodeError::message("wrong value").at(decoder.position())
}

/// Reads the head of an array of exactly `length` items.
pub(crate) fn array(decoder: &mut Decoder<'_>, length: u64) -> Result<(), DecodeError> {
    if decoder.array()? == Some(length) { Ok(()) } else { Err(wrong(decoder)) }
}

pub(crate) fn hash(decoder: &mut Decoder<'_>) -> Result<Hash, DecodeError> {
    bytes(decoder)
}

/// Reads a byte string of exactly `N` bytes.
pub(crate) fn bytes<const N: usize>(decoder: &mut Decoder<'_>) -> Result<[u8; N], DecodeError> {
    let bytes = decoder.bytes()?;
    bytes.try_into().map_err(|_| wrong(decoder))
}

pub(crate) fn version(decoder: &mut Decoder<'_>) -> Result<Version, DecodeError> {
    array(decoder, 3)?;
    Ok(Version { major: decoder.u16()?, minor: decoder.u16()?, patch: decoder.u16()? })
}

pub(crate) fn write_version(
    encoder: &mut CursorEncoder<'_>,
    version: Version,
) -> Result<(), EncodeError> {
    encoder.array(3)?.u16(version.major)?.u16(version.minor)?.u16(version.patch)?.ok()
}

/// Writes a document's content and returns its length.
pub(crate) fn write(
    out: &mut [u8],
    write: impl FnOnce(&mut CursorEncoder<'_>) -> Result<(), EncodeError>,
) -> Result<usize, BufferTooSmall> {
    let mut encoder = Encoder::new(Cursor::new(out));
    // Writing to memory fails only at its end.
    write(&mut encoder).map_err(|_| BufferTooSmall)?;
    Ok(encoder.writer().position())
}

/// Reads a content that fills `bytes`.
pub(crate) fn read<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Option<T> {
    let mut decoder = Decoder::new(bytes);
    let value = read(&mut decoder).ok()?;
    (decoder.position() == bytes.len()).then_some(value)
}

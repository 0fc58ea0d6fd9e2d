//! An operator's request to enrol a device of the earlier EcoWatt.

use ecowatt_envelope::original::OriginalKey;

/// Longest id: it is part of every path that the device calls.
const ID_CHARS_MAX: usize = 64;

const KEY_BYTES: usize = 32;

/// A request to enrol a device of the earlier EcoWatt.
pub(crate) struct OriginalRequest {
    /// What the device calls itself.
    pub(crate) id: String,
    /// 64 hexadecimal digits.
    pub(crate) key: String,
    /// The id if absent.
    pub(crate) name: Option<String>,
    /// Its name, and the time zone if it is new.
    pub(crate) site: Option<(String, Option<String>)>,
    /// Whether the key may be the published one.
    pub(crate) published_key: bool,
}

/// What is wrong with a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginalProblem {
    #[error(
        "a device of the earlier EcoWatt calls itself by 1 to {ID_CHARS_MAX} letters, digits, '-', \
         '_' and '.'"
    )]
    Id,
    #[error("a key of the earlier EcoWatt has {} hexadecimal digits", 2 * KEY_BYTES)]
    Key,
    #[error("everybody knows this key; only a demonstration accepts it, and only if asked to")]
    PublishedKey,
}

/// Returns an id that can be part of a path.
pub(crate) fn checked_id(id: String) -> Result<String, OriginalProblem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_id = (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_plain);
    if is_id { Ok(id) } else { Err(OriginalProblem::Id) }
}

/// Reads a key.
pub(crate) fn checked_key(
    text: &str,
    may_be_published: bool,
) -> Result<[u8; KEY_BYTES], OriginalProblem> {
    let mut key = [0; KEY_BYTES];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != KEY_BYTES || !rest.is_empty() {
        return Err(OriginalProblem::Key);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let (high, low) = digit(*high).zip(digit(*low)).ok_or(OriginalProblem::Key)?;
        *byte = high << 4 | low;
    }
    if OriginalKey::new(key).is_published() && !may_be_published {
        return Err(OriginalProblem::PublishedKey);
    }
    Ok(key)
}

//! A list inside a section: to be written, or parsed.

use crate::encoding::{CursorEncoder, EncodeError, Item, ParsedItems};

/// The items of a list, from a slice to be written or from a parsed message.
#[derive(Debug, Clone, Copy)]
pub enum SectionList<'a, T> {
    Given(&'a [T]),
    Parsed(ParsedItems<'a, T>),
}

#[expect(private_bounds, reason = "lists contain only the crate's own items")]
impl<'a, T: Item<'a> + Copy> SectionList<'a, T> {
    /// The items, from either.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let (given, parsed) = match *self {
            Self::Given(given) => (given, ParsedItems::default()),
            Self::Parsed(parsed) => (&[][..], parsed),
        };
        given.iter().copied().chain(parsed)
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Given(given) => given.len(),
            Self::Parsed(parsed) => parsed.len(),
        }
    }

    pub(crate) fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(u64::try_from(self.len()).unwrap_or(u64::MAX))?;
        self.iter().try_for_each(|item| item.encode(encoder))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

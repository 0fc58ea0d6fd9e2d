//! Names that people give.

use ecowatt_model::is_plain;

use crate::limits::NAME_CHARS_MAX;

/// A name without the blanks around it, if it is one: 1 to [`NAME_CHARS_MAX`] characters, all of
/// which can be seen.
pub(crate) fn checked_name(text: &str) -> Option<String> {
    let text = text.trim();
    let is_name = !text.is_empty()
        && text.chars().take(NAME_CHARS_MAX + 1).count() <= NAME_CHARS_MAX
        && text.chars().all(is_plain);
    is_name.then(|| text.into())
}

//! Names that operators enter.

use ecowatt_model::is_plain;

use crate::limits::NAME_CHARS_MAX;

/// Returns the name without surrounding blanks, if it is valid: 1 to [`NAME_CHARS_MAX`] characters,
/// all of them visible.
pub(crate) fn checked_name(text: &str) -> Option<String> {
    let text = text.trim();
    let is_name = !text.is_empty()
        && text.chars().take(NAME_CHARS_MAX + 1).count() <= NAME_CHARS_MAX
        && text.chars().all(is_plain);
    is_name.then(|| text.into())
}

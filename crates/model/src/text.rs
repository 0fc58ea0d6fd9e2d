//! Which characters are allowed in a line of text.

/// Returns whether a character always displays as itself. Refused are control characters, which a
/// terminal obeys, and characters that break the line or change its direction, which can make a
/// text look like a different one.
#[must_use]
pub fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn letters_of_all_scripts_are_plain_and_control_characters_are_not() {
        for plain in "Dach süd, крыша 屋根 ☀ 3½ €".chars() {
            assert!(is_plain(plain), "{plain:?}");
        }
        for hidden in ['\0', '\x1b', '\x07', '\n', '\x7f', '\u{9b}', '\u{202e}', '\u{2066}'] {
            assert!(!is_plain(hidden), "{hidden:?}");
        }
    }
}

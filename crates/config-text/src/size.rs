//! Sizes with units.

/// What a size looks like, for messages.
pub const SIZE_EXAMPLES: &str = "512KiB, 64MiB or 1GiB";

/// Parses a whole number of bytes: `100B`, `512KiB`, `64MiB`, `1GiB`.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let bytes = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_needed_and_numbers_bounded() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size(" 8 KiB"), Some(8 << 10));
        for bad in ["", "5", "B", "-5B", "64MB", "1.5GiB", "99999999999999GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}

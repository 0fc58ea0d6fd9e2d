//! The messages through their public API.

mod later;
mod lengths;
mod messages;
mod versions {
    mod v1;
}

/// Parses hexadecimal text with blanks, and with comments from `#` to the end of a line.
fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

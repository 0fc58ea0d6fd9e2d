//! Listings on standard output: aligned columns for people, JSON for programs.

use std::io::{self, Write as _};

use serde::Serialize;

/// Rows under a head.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_uppercase).to_vec()] }
    }

    /// Adds a row. Its cells may contain text from outside.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// The table as text; the last column is not padded.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width + 2 - cell.chars().count()));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Prints the table; without rows it prints `nothing` to standard error instead.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(crate) fn print_or(&self, nothing: &str) -> io::Result<()> {
        match self.rows.len() {
            0 | 1 => writeln!(io::stderr(), "{nothing}"),
            _ => io::stdout().write_all(self.render().as_bytes()),
        }
    }
}

/// Prints `value` as JSON.
///
/// # Errors
/// If it cannot be serialized or standard output cannot be written.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = String::new();
    for character in serde_json::to_string_pretty(value)?.chars() {
        // Except for line breaks, such characters occur only in strings, where JSON can escape
        // them.
        if character == '\n' || ecowatt_model::is_plain(character) {
            text.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text.push('\n');
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Makes text from outside safe for a terminal: control and formatting characters are replaced, so
/// that they cannot move the cursor, set colours or hide what follows.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if ecowatt_model::is_plain(c) { c } else { '\u{fffd}' }).collect()
}

/// The same for text of several lines.
#[must_use]
pub(crate) fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// A value that may be absent.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Returns a value that is one word in JSON as that word.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["device", "name"]);
        table.row(["dev-1".into(), "Müller, süd".into()]);
        table.row(["dev-1000".into(), "x".into()]);
        assert_eq!(table.render(), "DEVICE    NAME\ndev-1     Müller, süd\ndev-1000  x\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(["firmware"]);
        table.row(["\u{1b}[2J\u{1b}]0;owned\u{7}1.0\n\u{9b}31m\u{202e}x".into()]);
        let shown = "?[2J?]0;owned?1.0??31m?x".replace('?', "\u{fffd}");
        assert_eq!(table.render(), format!("FIRMWARE\n{shown}\n"));
    }
}

//! A strict reader of CSV files with samples.

use std::io::{self, BufRead};

use ecowatt_model::COLUMNS_MAX;

/// Longest accepted line: 128 numbers and the time are far shorter.
const LINE_MAX: usize = 1 << 16;

/// Longest name of a column, in bytes.
pub(super) const NAME_MAX: usize = 255;

/// Why a file is not a valid CSV of samples.
#[derive(Debug, thiserror::Error)]
pub(super) enum CsvError {
    #[error("line {line} cannot be read")]
    Read { line: usize, source: io::Error },
    #[error("line {0} is longer than {LINE_MAX} bytes")]
    Long(usize),
    #[error("line {0} does not end with a line feed")]
    Unended(usize),
    #[error("line 1 is not `t` and the names of 1 to {COLUMNS_MAX} registers")]
    Header,
    #[error("line {line} has {got} fields, not {expected}")]
    Fields { line: usize, expected: usize, got: usize },
    #[error("line {line}: `{field}` is not a time in whole Unix seconds")]
    Time { line: usize, field: String },
    #[error("line {line}, {column}: `{field}` is not a number of 0 to 65535")]
    Word { line: usize, column: String, field: String },
}

/// Reads the samples of a CSV one by one.
#[derive(Debug)]
pub(super) struct Reader<R> {
    lines: R,
    line: usize,
    text: String,
    names: Vec<String>,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(lines: R) -> Result<Self, CsvError> {
        let mut reader = Self { lines, line: 0, text: String::new(), names: Vec::new() };
        if !reader.next_line()? {
            return Err(CsvError::Header);
        }
        let mut names = reader.text.split(',');
        let is_time_first = names.next() == Some("t");
        let names: Vec<String> = names.map(str::to_owned).collect();
        let is_named = names.iter().all(|name| (1..=NAME_MAX).contains(&name.len()));
        if !is_time_first || !is_named || !(1..=COLUMNS_MAX).contains(&names.len()) {
            return Err(CsvError::Header);
        }
        reader.names = names;
        Ok(reader)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds the next sample's words to `words`; returns its time in Unix seconds, `None` at the
    /// end.
    pub(super) fn sample(&mut self, words: &mut Vec<u16>) -> Result<Option<i64>, CsvError> {
        if !self.next_line()? {
            return Ok(None);
        }
        let line = self.line;
        let (expected, got) = (self.names.len() + 1, self.text.split(',').count());
        if got != expected {
            return Err(CsvError::Fields { line, expected, got });
        }
        let mut fields = self.text.split(',');
        let field = fields.next().unwrap_or_default();
        let time = canonical(field)
            .filter(|time: &i64| time.checked_mul(1000).is_some())
            .ok_or_else(|| CsvError::Time { line, field: field.to_owned() })?;
        for (field, column) in fields.zip(&self.names) {
            words.push(canonical(field).ok_or_else(|| CsvError::Word {
                line,
                column: column.clone(),
                field: field.to_owned(),
            })?);
        }
        Ok(Some(time))
    }

    fn next_line(&mut self) -> Result<bool, CsvError> {
        self.line += 1;
        let line = self.line;
        self.text.clear();
        io::Read::take(&mut self.lines, u64::try_from(LINE_MAX).unwrap_or(u64::MAX))
            .read_line(&mut self.text)
            .map_err(|source| CsvError::Read { line, source })?;
        match self.text.pop() {
            None => Ok(false),
            Some('\n') => Ok(true),
            Some(_) if self.text.len() + 4 > LINE_MAX => Err(CsvError::Long(line)),
            Some(_) => Err(CsvError::Unended(line)),
        }
    }
}

/// Parses a number in its only accepted form.
fn canonical<T: std::str::FromStr + ToString>(field: &str) -> Option<T> {
    field.parse::<T>().ok().filter(|number| number.to_string() == field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<i64>, Vec<u16>), CsvError> {
        let mut reader = Reader::new(text.as_bytes())?;
        let (mut times, mut words) = (Vec::new(), Vec::new());
        while let Some(time) = reader.sample(&mut words)? {
            times.push(time);
        }
        Ok((times, words))
    }

    #[test]
    fn samples_are_read() {
        let read = read("t,Vac1,Pac\n-5,0,65535\n0,2305,1\n").unwrap();
        assert_eq!(read, (vec![-5, 0], vec![0, 65535, 2305, 1]));
    }

    #[test]
    fn errors_name_line_and_field() {
        for (text, error) in [
            ("", "line 1 is not `t` and the names of 1 to 128 registers"),
            ("time,a\n", "line 1 is not `t` and the names of 1 to 128 registers"),
            ("t\n", "line 1 is not `t` and the names of 1 to 128 registers"),
            ("t,a,\n", "line 1 is not `t` and the names of 1 to 128 registers"),
            ("t,a\n1,2,3\n", "line 2 has 3 fields, not 2"),
            ("t,a\n1,2\n\n", "line 3 has 1 fields, not 2"),
            ("t,a\n1,65536\n", "line 2, a: `65536` is not a number of 0 to 65535"),
            ("t,a\n1,-1\n", "line 2, a: `-1` is not a number of 0 to 65535"),
            ("t,a\n1,07\n", "line 2, a: `07` is not a number of 0 to 65535"),
            ("t,a\n1,+7\n", "line 2, a: `+7` is not a number of 0 to 65535"),
            ("t,a\n1, 7\n", "line 2, a: ` 7` is not a number of 0 to 65535"),
            ("t,a\n1,7\r\n", "line 2, a: `7\r` is not a number of 0 to 65535"),
            ("t,a\n1.5,7\n", "line 2: `1.5` is not a time in whole Unix seconds"),
            ("t,a\n-0,7\n", "line 2: `-0` is not a time in whole Unix seconds"),
            (
                "t,a\n9223372036854775807,7\n",
                "line 2: `9223372036854775807` is not a time in whole Unix seconds",
            ),
            ("t,a\n1,7", "line 2 does not end with a line feed"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error, "{text:?}");
        }
        let long = format!("t,a\n1,{}\n", "7".repeat(1 << 17));
        assert!(matches!(read(&long), Err(CsvError::Long(2))));
    }
}

//! Rows of numbers over time, read from CSV: irradiance for the physics, or registers to replay.
//!
//! The first column is `t` in Unix seconds (fractions allowed), ascending. A series may be shifted
//! to begin at the start of the simulation, and may be repeated for ever.

use std::io::BufRead;

use ecowatt_model::UnixMs;

use crate::scale;

/// Maximum number of rows: a year at 5 s.
pub const ROWS_MAX: usize = 6_500_000;
/// Maximum number of columns besides `t`.
pub const COLUMNS_MAX: usize = 125;
const LINE_MAX: usize = 4_096;

/// Numbers over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<T> {
    names: Vec<String>,
    times: Vec<i64>,
    values: Vec<T>,
    shift_ms: i64,
    period_ms: Option<i64>,
}

/// How a series is aligned with simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeriesAlignment {
    /// Its first row is shifted to this instant.
    pub starts_at: Option<UnixMs>,
    /// It starts again after its last row.
    pub is_looped: bool,
}

/// Why a CSV is not a valid series.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The reader failed.
    #[error("line {line} cannot be read")]
    Read {
        /// Counted from 1.
        line: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no header, or the header does not start with `t`.
    #[error(
        "the first line is not a header that starts with t and names 1 to {COLUMNS_MAX} columns"
    )]
    Header,
    /// A line has a different number of columns than the header, or a field is not a number in
    /// range.
    #[error("line {line} does not have an ascending t and {columns} numbers in range")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Expected number of columns besides `t`.
        columns: usize,
    },
    /// It has no rows.
    #[error("there are no rows")]
    Empty,
    /// It has more than [`ROWS_MAX`] rows.
    #[error("there are more than {ROWS_MAX} rows")]
    TooLong,
}

impl<T: Copy + std::str::FromStr> Series<T> {
    /// Parses CSV with a header.
    ///
    /// # Errors
    /// The first line that is not valid.
    pub fn from_csv(reader: impl BufRead) -> Result<Self, SeriesError> {
        let mut lines = reader.lines().enumerate().map(|(index, line)| (index + 1, line));
        let header = match lines.next() {
            Some((line, text)) => text.map_err(|source| SeriesError::Read { line, source })?,
            None => return Err(SeriesError::Empty),
        };
        let mut names = header.trim().split(',').map(|name| name.trim().to_owned());
        if names.next().as_deref() != Some("t") {
            return Err(SeriesError::Header);
        }
        let names: Vec<String> = names.collect();
        let columns = names.len();
        if columns == 0 || columns > COLUMNS_MAX {
            return Err(SeriesError::Header);
        }
        let mut series =
            Self { names, times: Vec::new(), values: Vec::new(), shift_ms: 0, period_ms: None };
        for (line, text) in lines {
            let text = text.map_err(|source| SeriesError::Read { line, source })?;
            if text.trim().is_empty() {
                continue;
            }
            if series.times.len() == ROWS_MAX {
                return Err(SeriesError::TooLong);
            }
            series.push(&text).ok_or(SeriesError::Line { line, columns })?;
        }
        if series.times.is_empty() { Err(SeriesError::Empty) } else { Ok(series) }
    }

    fn push(&mut self, line: &str) -> Option<()> {
        if line.len() > LINE_MAX {
            return None;
        }
        let mut fields = line.trim().split(',').map(str::trim);
        let seconds: f64 = fields.next()?.parse().ok()?;
        if !(-1.0e11..1.0e11).contains(&seconds) {
            return None;
        }
        let time = to_ms(seconds);
        if self.times.last().is_some_and(|last| *last >= time) {
            return None;
        }
        let before = self.values.len();
        for field in fields {
            self.values.push(field.parse().ok()?);
        }
        if self.values.len() - before != self.names.len() {
            return None;
        }
        self.times.push(time);
        Some(())
    }
}

impl<T> Series<T> {
    /// Aligns the series with simulated time.
    #[must_use]
    pub fn aligned(mut self, alignment: SeriesAlignment) -> Self {
        let (first, last) = (self.times[0], self.times[self.times.len() - 1]);
        self.shift_ms = alignment.starts_at.map_or(0, |start| start.0.saturating_sub(first));
        // The last row lasts as long as the one before it.
        let last_ms = match self.times.len() {
            1 => 1_000,
            rows => last - self.times[rows - 2],
        };
        self.period_ms = alignment.is_looped.then_some(last - first + last_ms);
        self
    }

    /// The columns' names, without `t`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When its first row begins, after any shift.
    #[must_use]
    pub fn starts_at(&self) -> UnixMs {
        UnixMs(self.times[0].saturating_add(self.shift_ms))
    }

    /// The last row that is not after `now`; before the first row, the first.
    #[must_use]
    pub fn at(&self, now: UnixMs) -> &[T] {
        self.row(self.row_index(self.own_time(now)))
    }

    fn own_time(&self, now: UnixMs) -> i64 {
        let time = now.0.saturating_sub(self.shift_ms);
        let first = self.times[0];
        match self.period_ms {
            Some(period) => first + (time.saturating_sub(first)).rem_euclid(period),
            None => time,
        }
    }

    fn row_index(&self, time: i64) -> usize {
        self.times.partition_point(|t| *t <= time).saturating_sub(1)
    }

    fn row(&self, index: usize) -> &[T] {
        let columns = self.names.len();
        &self.values[index * columns..(index + 1) * columns]
    }
}

impl Series<f64> {
    /// Returns a column at `now`, interpolated linearly between rows; `None` outside of the series.
    #[must_use]
    pub fn interpolated(&self, column: usize, now: UnixMs) -> Option<f64> {
        let time = self.own_time(now);
        if time < self.times[0] || column >= self.names.len() {
            return None;
        }
        let index = self.row_index(time);
        let here = self.row(index)[column];
        let Some(next_time) = self.times.get(index + 1) else {
            return (time == self.times[index] || self.period_ms.is_some()).then_some(here);
        };
        let passed = (time - self.times[index]) as f64 / (next_time - self.times[index]) as f64;
        Some(here + (self.row(index + 1)[column] - here) * passed)
    }

    /// The index of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
}

fn to_ms(seconds: f64) -> i64 {
    let ms = i64::try_from(scale::to_u64(seconds.abs() * 1_000.0)).unwrap_or(i64::MAX);
    if seconds < 0.0 { -ms } else { ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Series<u16> {
        Series::from_csv(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_current_row_is_the_last_that_has_begun() {
        let series = series("t,a,b\n100,1,2\n105,3,4\n110,5,6\n");
        assert_eq!(series.at(UnixMs(0)), [1, 2]);
        assert_eq!(series.at(UnixMs(104_999)), [1, 2]);
        assert_eq!(series.at(UnixMs(105_000)), [3, 4]);
        assert_eq!(series.at(UnixMs(999_000)), [5, 6]);
    }

    #[test]
    fn a_shifted_loop_begins_at_the_start_and_again_after_the_end() {
        let start = Some(UnixMs(1_000_000));
        let series = series("t,a\n100,1\n105,2\n")
            .aligned(SeriesAlignment { starts_at: start, is_looped: true });
        let seen: Vec<u16> = [0, 4_999, 5_000, 9_999, 10_000, 15_000]
            .map(|ms| series.at(UnixMs(1_000_000 + ms))[0])
            .into();
        assert_eq!(seen, [1, 1, 2, 2, 1, 2]);
        assert_eq!(series.starts_at(), UnixMs(1_000_000));
    }

    #[test]
    fn irradiance_is_interpolated_and_absent_outside() {
        let series: Series<f64> =
            Series::from_csv("t,ghi,temp\n0,0,5\n60,600,7\n".as_bytes()).unwrap();
        let ghi = series.column("ghi").unwrap();
        assert_eq!(series.interpolated(ghi, UnixMs(15_000)), Some(150.0));
        assert_eq!(series.interpolated(ghi, UnixMs(60_000)), Some(600.0));
        assert_eq!(series.interpolated(ghi, UnixMs(61_000)), None);
        assert_eq!(series.interpolated(ghi, UnixMs(-1)), None);
    }

    #[test]
    fn invalid_files_are_refused_with_the_line() {
        let refused =
            |text: &str| Series::<u16>::from_csv(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("").contains("no rows"));
        assert!(refused("x,a\n1,2\n").contains("header"));
        assert!(refused("t\n1\n").contains("header"));
        for bad in ["2", "2,3,4", "2,70000", "2,-1", "1,3", "x,3", "NaN,3"] {
            let message = refused(&format!("t,a\n1,2\n{bad}\n"));
            assert!(message.contains("line 3"), "{bad}: {message}");
        }
    }
}

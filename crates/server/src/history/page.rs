//! How an answer is split into pages, and the cursor of the next one.

use std::fmt;
use std::str::FromStr;

use ecowatt_api::Telemetry;
use ecowatt_model::UnixMs;

/// How an answer is split into pages.
pub(super) trait Paged {
    fn go_on_after(&mut self, last: Option<Place>);
    /// Whether the answer is full; if so, sets the cursor of the next page.
    fn is_full(&mut self, rows_max: usize) -> bool;
}

impl Paged for Telemetry {
    fn go_on_after(&mut self, last: Option<Place>) {
        self.truncated = true;
        self.next_cursor = last.map(|place| place.to_string());
    }

    fn is_full(&mut self, rows_max: usize) -> bool {
        if self.t_ms.len() < rows_max {
            return false;
        }
        let last = self.t_ms.last().map(|t| Place { t: UnixMs(*t), ..Place::default() });
        self.go_on_after(last);
        true
    }
}

/// A row's place in the order of all rows: by its time, and within one instant by its batch and its
/// row in that batch. A bucket's place is only its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(super) t: UnixMs,
    pub(super) epoch: u32,
    pub(super) sequence: u32,
    pub(super) row: u16,
}

impl Default for Place {
    fn default() -> Self {
        Self { t: UnixMs(0), epoch: 0, sequence: 0, row: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.t.0, self.epoch, self.sequence, self.row)
    }
}

/// A cursor that did not come from an answer.
#[derive(Debug)]
pub(crate) struct BadCursor;

impl FromStr for Place {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(BadCursor);
        let number = |text: &str| text.parse::<u32>().map_err(|_| BadCursor);
        let place = Self {
            t: UnixMs(next()?.parse().map_err(|_| BadCursor)?),
            epoch: number(next()?)?,
            sequence: number(next()?)?,
            row: next()?.parse().map_err(|_| BadCursor)?,
        };
        if parts.next().is_some() { Err(BadCursor) } else { Ok(place) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_those_that_answers_give() {
        let place = Place { t: UnixMs(1_782_000_000_000), epoch: 3, sequence: 77, row: 1023 };
        assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        for bad in ["", "1", "1.2.3", "1.2.3.4.5", "a.1.1.1", "1.-1.1.1", "1.1.1.4294967296"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}

//! Finds the local day of an instant, for many instants of few days.

use ecowatt_model::UnixMs;
use ecowatt_store::LocalDate;
use jiff::tz::TimeZone;

use crate::time::{local_date, start_of_day};

/// Remembers the last day's bounds, so that the zone's rules are evaluated once a day, not once a
/// sample.
#[derive(Debug)]
pub(super) struct Calendar<'z> {
    zone: &'z TimeZone,
    day: Option<(UnixMs, UnixMs, LocalDate)>,
}

impl<'z> Calendar<'z> {
    pub(super) fn new(zone: &'z TimeZone) -> Self {
        Self { zone, day: None }
    }

    pub(super) fn date(&mut self, at: UnixMs) -> LocalDate {
        if let Some((from, to, date)) = self.day
            && (from..to).contains(&at)
        {
            return date;
        }
        let date = local_date(at, self.zone);
        let next = LocalDate(date.0.saturating_add(1));
        self.day = Some((start_of_day(date, self.zone), start_of_day(next, self.zone), date));
        date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-29 and 2026-10-25 in Berlin, as days since 1970.
    const SHORT: LocalDate = LocalDate(20_541);
    const LONG: LocalDate = LocalDate(20_751);

    #[test]
    fn days_of_23_and_25_hours_hold_their_quarters() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for (date, hours) in [(SHORT, 23), (LONG, 25), (LocalDate(LONG.0 + 1), 24)] {
            let from = start_of_day(date, &zone);
            let mut calendar = Calendar::new(&zone);
            let quarter = |n: i64| UnixMs(from.0 + n * 900_000);
            assert_eq!(calendar.date(quarter(-1)), LocalDate(date.0 - 1));
            for n in 0..hours * 4 {
                assert_eq!(calendar.date(quarter(n)), date, "{date:?} {n}");
            }
            assert_eq!(calendar.date(quarter(hours * 4)), LocalDate(date.0 + 1));
        }
    }
}

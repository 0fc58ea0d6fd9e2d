//! Instants as text, days of a site's calendar, and the ranges of requests.

use std::time::Duration;

use ecowatt_model::UnixMs;
use ecowatt_store::LocalDate;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Formats an instant in UTC with milliseconds.
#[must_use]
pub(crate) fn rfc3339(instant: UnixMs) -> String {
    // Instants beyond jiff's years (-9999 to 9999) can only come from a damaged store.
    let timestamp = Timestamp::from_millisecond(instant.0).unwrap_or_default();
    format!("{timestamp:.3}")
}

/// Parses an RFC 3339 instant.
#[must_use]
pub(crate) fn instant(text: &str) -> Option<UnixMs> {
    text.parse::<Timestamp>().ok().map(|timestamp| UnixMs(timestamp.as_millisecond()))
}

/// Returns a zone's name in its canonical spelling, whatever case it was entered in.
pub(crate) fn checked_zone(text: &str) -> Option<String> {
    let zone = find_zone(text)?;
    Some(zone.iana_name().unwrap_or(text).to_owned())
}

/// Returns the zone of that IANA name, if there is one.
#[must_use]
pub(crate) fn find_zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some())
}

/// Returns a stored site's zone. Names were checked before they were stored; if a later version of
/// the zone database has dropped a name, UTC is used rather than hiding the site.
#[must_use]
pub(crate) fn zone_of(site: &ecowatt_store::Site) -> TimeZone {
    find_zone(&site.time_zone).unwrap_or(TimeZone::UTC)
}

/// Returns the local day of an instant.
#[must_use]
pub(crate) fn local_date(instant: UnixMs, zone: &TimeZone) -> LocalDate {
    let timestamp = Timestamp::from_millisecond(instant.0).unwrap_or_default();
    let days = timestamp.to_zoned(zone.clone()).date().duration_since(EPOCH).as_hours() / 24;
    LocalDate(i32::try_from(days).unwrap_or_default())
}

/// Returns the day as a calendar date.
#[must_use]
pub(crate) fn civil(date: LocalDate) -> Date {
    let since_epoch = SignedDuration::from_hours(i64::from(date.0) * 24);
    EPOCH.checked_add(since_epoch).unwrap_or(EPOCH)
}

/// Returns the instant at which a day begins: midnight, or the next instant where clocks skip it.
#[must_use]
pub(crate) fn start_of_day(date: LocalDate, zone: &TimeZone) -> UnixMs {
    let start = civil(date).to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    UnixMs(start.unwrap_or_default().as_millisecond())
}

/// From an instant up to, but not including, a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: UnixMs,
    pub(crate) to: UnixMs,
}

/// Why text is not a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeError {
    #[error(
        "`{0}` is neither an RFC 3339 time such as 2026-06-21T04:00:00Z nor a date such as 2026-06-21"
    )]
    Time(&'static str),
    #[error("`from` is later than `to`")]
    Backwards,
}

impl Range {
    /// Parses a range: RFC 3339 instants, or dates that stand for the site's midnight. Without `to`
    /// it ends at `now`; without `from` it is `default` long.
    ///
    /// # Errors
    /// If either is not a time, or `from` is later than `to`.
    pub(crate) fn parse(
        from: Option<&str>,
        to: Option<&str>,
        zone: &TimeZone,
        now: UnixMs,
        default: Duration,
    ) -> Result<Self, RangeError> {
        let instant = |name, text: &str| parse(text, zone).ok_or(RangeError::Time(name));
        let to = to.map_or(Ok(now), |text| instant("to", text))?;
        let before_to = i64::try_from(default.as_millis()).unwrap_or(i64::MAX);
        let from =
            from.map_or(Ok(UnixMs(to.0.saturating_sub(before_to))), |text| instant("from", text))?;
        if from > to {
            return Err(RangeError::Backwards);
        }
        Ok(Self { from, to })
    }

    /// Returns the part that is within `bounds`; empty if they do not overlap.
    #[must_use]
    pub(crate) fn within(self, bounds: Self) -> Self {
        let from = self.from.max(bounds.from).min(bounds.to);
        Self { from, to: self.to.min(bounds.to).max(from) }
    }
}

fn parse(text: &str, zone: &TimeZone) -> Option<UnixMs> {
    // A plus sign that was not percent-encoded arrives as a space.
    let repaired;
    let text = match text.rsplit_once(' ') {
        Some((head, offset)) if head.contains('T') => {
            repaired = format!("{head}+{offset}");
            &repaired
        }
        _ => text,
    };
    let date = || {
        let date = text.parse::<Date>().ok().filter(|_| text.len() == "2026-06-21".len())?;
        Some(date.to_zoned(zone.clone()).ok()?.timestamp())
    };
    let timestamp = text.parse::<Timestamp>().ok().or_else(date)?;
    Some(UnixMs(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_come_in_these_spellings() {
        let berlin = find_zone("Europe/Berlin").unwrap();
        let noon = UnixMs(1_782_036_000_000);
        assert_eq!(rfc3339(noon), "2026-06-21T10:00:00.000Z");
        for text in [
            "2026-06-21T10:00:00Z",
            "2026-06-21T12:00:00+02:00",
            "2026-06-21T12:00:00 02:00",
            "2026-06-21T10:00:00.000Z",
        ] {
            assert_eq!(parse(text, &berlin), Some(noon), "{text}");
        }
        assert_eq!(parse("2026-06-21", &berlin), Some(UnixMs(noon.0 - 12 * 3_600_000)));
        for text in ["", "now", "2026-06-21T12:00:00", "2026-13-01", "1782036000", "20260621"] {
            assert_eq!(parse(text, &berlin), None, "{text}");
        }
    }

    #[test]
    fn days_begin_by_the_zone() {
        let berlin = find_zone("Europe/Berlin").unwrap();
        let midnight = UnixMs(1_781_992_800_000);
        assert_eq!(rfc3339(midnight), "2026-06-20T22:00:00.000Z");
        let date = local_date(midnight, &berlin);
        assert_eq!(civil(date).to_string(), "2026-06-21");
        assert_eq!(start_of_day(date, &berlin), midnight);
        assert_eq!(local_date(UnixMs(midnight.0 - 1), &berlin).0, date.0 - 1);
        assert_eq!(local_date(UnixMs(-1), &TimeZone::UTC), LocalDate(-1));
    }

    #[test]
    fn range_has_an_order() {
        let now = UnixMs(1_782_036_000_000);
        let range = |from, to| Range::parse(from, to, &TimeZone::UTC, now, Duration::from_secs(60));
        assert_eq!(range(None, None), Ok(Range { from: UnixMs(now.0 - 60_000), to: now }));
        assert_eq!(range(Some("2026-06-22"), None), Err(RangeError::Backwards));
        assert_eq!(range(Some("x"), None), Err(RangeError::Time("from")));
        assert_eq!(range(None, Some("x")), Err(RangeError::Time("to")));
    }
}

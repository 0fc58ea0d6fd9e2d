//! Durations with units.

use std::time::Duration;

/// Units, the largest first, and their milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units that [`duration_text`] writes: readers need not know whether a day has 24 hours.
const WRITTEN: &[(&str, u64)] = UNITS.split_at(1).1;

/// What a duration looks like, for messages.
pub const DURATION_EXAMPLES: &str = "250ms, 90s, 15m, 1h 30m or 7d";

/// Parses whole numbers with the units `d`, `h`, `m`, `s` and `ms`, each at most once and the
/// largest first: `250ms`, `90s`, `1h30m`, `1h 30m`, `7d`. A day has 24 hours.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut units = UNITS.iter();
    let mut ms = 0_u64;
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let after = after.trim_start();
        let (unit, next) =
            after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        ms = ms.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = next.trim_start();
        if rest.is_empty() {
            return Some(Duration::from_millis(ms));
        }
    }
}

/// Writes a duration as [`duration`] reads it, without fractions of a millisecond: `1h 30m`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, factor) in WRITTEN {
        if rest >= *factor {
            parts.push(format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_need_units_which_descend() {
        for (text, ms) in [
            ("250ms", 250),
            ("0s", 0),
            ("15 m", 900_000),
            (" 90s ", 90_000),
            ("1h30m", 5_400_000),
            ("1h 30m 5s 7ms", 5_405_007),
            ("7d", 604_800_000),
            ("1d 0h", 86_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "-5s",
            "5y",
            "1.5d",
            "1h,30m",
            "30m 1h",
            "1m 1m",
            "5S",
            "1h 30",
            "1 h m",
            "٣s",
            "soon",
            "99999999999999999999s",
            "18446744073709551615d",
            "213503982335d 1d",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn texts_are_short() {
        for text in ["0s", "200ms", "1s 500ms", "1m 30s", "24h", "168h"] {
            assert_eq!(duration_text(duration(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ms: u64) {
            let written = Duration::from_millis(ms);
            prop_assert_eq!(duration(&duration_text(written)), Some(written));
        }

        #[test]
        fn no_text_is_too_strange(text: String) {
            let _ = duration(&text);
        }
    }
}

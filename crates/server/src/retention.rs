//! Removes samples, minutes and quarter hours that are older than the operator wants to keep.
//!
//! This reconciler takes no input but its configuration, the store and the time; it may run any time
//! and any number of times, and stop anywhere: what a commit removes, it also records. Days, energy
//! and what energy is derived from are never removed. The time that counts is the store's, which a
//! clock that jumps moves by a day at most (`docs/decisions/0050-retention-per-resolution.md`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_store::{Removed, Resolution, Store, StoreError};
use serde::Deserialize;
use tokio::sync::watch;

use crate::limits::{RETENTION_DAYS_MAX, RETENTION_DAYS_MIN, RETENTION_LAG_MAX, RETENTION_PAUSE};
use crate::stop::stopped;

/// How often all inverters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

const DAY_MS: i64 = 86_400_000;

/// How long measurements are kept, as it is written in the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, such as [retention], with its keys")]
pub struct Retention {
    /// Raw samples.
    pub samples: Keep,
    /// Roll-ups of one minute.
    pub minutes: Keep,
    /// Roll-ups of a quarter of an hour.
    pub quarter_hours: Keep,
}

/// How long one resolution is kept. Any number of days is less than for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Keep {
    Days(u32),
    /// Nothing is lost because a key was not written.
    #[default]
    ForEver,
}

/// Why text is not a time to keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of days such as 90d, or \"for ever\"")]
pub struct ParseKeepError;

impl FromStr for Keep {
    type Err = ParseKeepError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "for ever" {
            return Ok(Self::ForEver);
        }
        let ms = ecowatt_config_text::duration(text).ok_or(ParseKeepError)?.as_millis();
        let days = u32::try_from(ms / 86_400_000).ok().filter(|_| ms % 86_400_000 == 0);
        days.map(Self::Days).ok_or(ParseKeepError)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(f, "{days}d"),
            Self::ForEver => f.write_str("for ever"),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is wrong with a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    #[error(
        "must be between {RETENTION_DAYS_MIN}d and {RETENTION_DAYS_MAX}d, or \"for ever\"; it is \
         {}", .of.keep
    )]
    Days { of: Key },
    /// A chart shows the finest resolution that fits its length, and a coarser one where the finer
    /// has ended.
    #[error(
        "must not be shorter than {} ({}), which is finer; it is {}", .finer.name, .finer.keep,
        .of.keep
    )]
    Shorter { of: Key, finer: Key },
}

/// A key of a retention with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    name: &'static str,
    keep: Keep,
}

impl RetentionError {
    /// The configuration key concerned.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Days { of } | Self::Shorter { of, .. } => of.name,
        }
    }
}

impl Retention {
    fn keys(&self) -> [Key; 3] {
        [
            Key { name: "retention.samples", keep: self.samples },
            Key { name: "retention.minutes", keep: self.minutes },
            Key { name: "retention.quarter_hours", keep: self.quarter_hours },
        ]
    }

    /// Returns everything that is wrong with it.
    pub(crate) fn problems(&self) -> Vec<RetentionError> {
        let keys = self.keys();
        let is_allowed = |keep| match keep {
            Keep::Days(days) => (RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).contains(&days),
            Keep::ForEver => true,
        };
        let wrong = keys.into_iter().filter(|of| !is_allowed(of.keep));
        let shorter = keys.windows(2).filter(|pair| pair[1].keep < pair[0].keep);
        wrong
            .map(|of| RetentionError::Days { of })
            .chain(shorter.map(|pair| RetentionError::Shorter { of: pair[1], finer: pair[0] }))
            .collect()
    }

    fn keep(&self, resolution: Resolution) -> Keep {
        match resolution {
            Resolution::Samples => self.samples,
            Resolution::Minutes => self.minutes,
            Resolution::Quarters => self.quarter_hours,
        }
    }

    fn is_for_ever(&self) -> bool {
        self.keys().iter().all(|of| of.keep == Keep::ForEver)
    }
}

/// Runs until `stop` is true.
pub(crate) async fn reconcile(
    store: Store,
    clock: Clock,
    retention: Retention,
    mut stop: watch::Receiver<bool>,
) {
    let mut retain = Retain { store, retention, pause: RETENTION_PAUSE, lags: false };
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            _ = stopped(&mut stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = LOOK_EVERY;
        let removed = tokio::select! {
            _ = stopped(&mut stop) => return,
            removed = retain.pass(clock.now()) => removed,
        };
        match removed {
            Ok(RemovedRows { samples: 0, minutes: 0, quarter_hours: 0 }) => {}
            Ok(RemovedRows { samples, minutes, quarter_hours }) => {
                tracing::info!(samples, minutes, quarter_hours, "removed by retention");
            }
            Err(error) => tracing::warn!(%error, "retention not finished"),
        }
    }
}

/// What a pass removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovedRows {
    pub samples: u64,
    pub minutes: u64,
    pub quarter_hours: u64,
}

/// Removes everything that is due, and rests after each commit.
///
/// # Errors
/// If the store fails; what is removed is recorded.
pub async fn retain(
    store: &Store,
    retention: Retention,
    now: UnixMs,
    pause: Duration,
) -> Result<RemovedRows, StoreError> {
    Retain { store: store.clone(), retention, pause, lags: false }.pass(now).await
}

/// Passes over all inverters.
struct Retain {
    store: Store,
    retention: Retention,
    /// Rest after a commit.
    pause: Duration,
    /// Whether it was logged that retention's time is behind the clock.
    lags: bool,
}

impl Retain {
    async fn pass(&mut self, now: UnixMs) -> Result<RemovedRows, StoreError> {
        let mut removed = RemovedRows::default();
        // The clock is kept even where nothing is removed, so that it is right once something is.
        let Some(time) = self.store.move_retention_clock(now).await? else { return Ok(removed) };
        if self.retention.is_for_ever() {
            return Ok(removed);
        }
        self.note_lag(now, time);
        // From the finest on: a coarser one never ends before what is made of it.
        for resolution in Resolution::ALL {
            let Keep::Days(days) = self.retention.keep(resolution) else { continue };
            let before = UnixMs(time.0.saturating_sub(i64::from(days) * DAY_MS));
            let rows = match resolution {
                Resolution::Samples => &mut removed.samples,
                Resolution::Minutes => &mut removed.minutes,
                Resolution::Quarters => &mut removed.quarter_hours,
            };
            *rows = self.expire_all(resolution, before).await?;
        }
        Ok(removed)
    }

    /// Logs it once if retention's time is far behind the clock: that has jumped, or the fleet sends
    /// nothing.
    fn note_lag(&mut self, now: UnixMs, time: UnixMs) {
        let lag = now.since(time);
        let lags = lag > RETENTION_LAG_MAX;
        if lags && !self.lags {
            tracing::warn!(
                days = lag.as_secs() / 86_400,
                "retention waits: the server's clock is ahead of the newest sample, or has jumped"
            );
        }
        self.lags = lags;
    }

    async fn expire_all(&self, resolution: Resolution, before: UnixMs) -> Result<u64, StoreError> {
        let (mut rows, mut after) = (0, None);
        loop {
            let inverters = self.store.list_inverters(after).await?;
            let Some(last) = inverters.last() else { return Ok(rows) };
            after = Some(*last);
            for inverter in self.store.list_due(inverters, resolution, before).await? {
                rows += self.expire(inverter, resolution, before).await?;
            }
        }
    }

    async fn expire(
        &self,
        (device, source): (DeviceNumber, SourceNumber),
        resolution: Resolution,
        before: UnixMs,
    ) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let step = self.store.expire(device, source, resolution, before).await?;
            let Removed { rows, has_more, .. } = step;
            all += rows;
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            if !has_more {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_keep_are_days_or_for_ever() {
        for (text, keep) in [("90d", Keep::Days(90)), ("for ever", Keep::ForEver)] {
            assert_eq!(text.parse(), Ok(keep));
            assert_eq!(keep.to_string(), text);
        }
        assert_eq!("48h".parse(), Ok(Keep::Days(2)));
        for bad in ["", "d", "90", "-1d", "+1d", "1.5d", "3y", "90h", "forever", "99999999999d"] {
            assert_eq!(bad.parse::<Keep>(), Err(ParseKeepError), "{bad}");
        }
        assert!(Keep::Days(u32::MAX) < Keep::ForEver);
    }

    #[test]
    fn refusals_name_the_bound() {
        let texts = |samples, minutes, quarter_hours| {
            let retention = Retention { samples, minutes, quarter_hours };
            let problems = retention.problems();
            problems.iter().map(|p| format!("{}: {p}", p.key())).collect::<Vec<_>>()
        };
        let (week, year) = (Keep::Days(7), Keep::Days(365));
        assert_eq!(Retention::default().problems(), []);
        for (samples, minutes, quarter_hours) in
            [(week, week, week), (week, year, Keep::ForEver), (week, Keep::ForEver, Keep::ForEver)]
        {
            assert!(texts(samples, minutes, quarter_hours).is_empty());
        }
        assert_eq!(
            texts(Keep::Days(6), week, Keep::Days(40_000)),
            [
                "retention.samples: must be between 7d and 36525d, or \"for ever\"; it is 6d",
                "retention.quarter_hours: must be between 7d and 36525d, or \"for ever\"; it is 40000d",
            ]
        );
        assert_eq!(
            texts(year, week, Keep::ForEver),
            [
                "retention.minutes: must not be shorter than retention.samples (365d), which is finer; it is 7d"
            ]
        );
        assert_eq!(
            texts(Keep::ForEver, year, week),
            [
                "retention.minutes: must not be shorter than retention.samples (for ever), which is \
                 finer; it is 365d",
                "retention.quarter_hours: must not be shorter than retention.minutes (365d), which is \
                 finer; it is 7d",
            ]
        );
    }
}

//! The time of day, as an offset from the monotonic clock.
//!
//! A system clock may show the time of the last shutdown, a date in the past, or be two hours slow.
//! So it is an estimate until the server's time has confirmed it in this epoch. Samples taken
//! before that are dated by the monotonic clock alone, and the start of the epoch ([`WallClock::start`])
//! is fixed when the server is first heard; until then a step of the system clock moves the
//! estimate, and with it the whole epoch. Afterwards the system clock is ignored: the server's time
//! steps a clock that is off by more than [`CLOCK_STEP_MIN`], and never changes samples taken
//! before.

use core::time::Duration;

use ecowatt_codec::TimeBase;
use ecowatt_model::{MonoMs, UnixMs};
use ecowatt_wire::{Certainty, EpochStart};

use crate::limits::{CLOCK_STEP_MIN, PLAUSIBLE_UNIX_MS};

/// What the device knows about the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    offset_ms: Option<i64>,
    /// When the epoch began, fixed when the server was first heard, so that all of its samples are
    /// dated from the same start.
    confirmed_start_ms: Option<i64>,
    deviation_ms: i64,
}

/// A message and its reply, by the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) sent: MonoMs,
    pub(crate) received: MonoMs,
    /// How long the server held the message. It wrote the time at the end of that, so only the rest
    /// of the exchange makes the time uncertain.
    pub(crate) held: Duration,
}

/// Effect of a time that was heard on the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClockChange {
    Kept,
    /// The clock was right, and this was confirmed for the first time.
    Confirmed,
    Set,
    Stepped(i64),
}

impl WallClock {
    /// Uses the system clock at `now` as an estimate, if it has been set.
    #[must_use]
    pub fn new(system: Option<UnixMs>, now: MonoMs) -> Self {
        let offset_ms = system.and_then(|unix| plausible_offset(unix, now));
        Self { offset_ms, confirmed_start_ms: None, deviation_ms: 0 }
    }

    /// The time of day at a monotonic instant, as far as the device knows it.
    #[must_use]
    pub fn unix(&self, at: MonoMs) -> Option<UnixMs> {
        self.offset_ms.map(|offset| UnixMs(offset.saturating_add(signed(at.0))))
    }

    /// The monotonic instant at a time of day, as far as the device knows it.
    pub(crate) fn mono(&self, unix: UnixMs) -> Option<MonoMs> {
        let at = unix.0.saturating_sub(self.offset_ms?);
        Some(MonoMs(u64::try_from(at).unwrap_or(0)))
    }

    /// Whether the server's time was heard in this epoch.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed_start_ms.is_some()
    }

    /// When the epoch began, as far as the device knows it.
    #[must_use]
    pub fn start(&self) -> Option<EpochStart> {
        let (start, certainty) = match self.confirmed_start_ms {
            Some(start) => (start, Certainty::Confirmed),
            None => (self.offset_ms?, Certainty::Estimated),
        };
        Some(EpochStart { unix: UnixMs(start), certainty })
    }

    /// Milliseconds since the epoch began, by [`WallClock::start`]: those of the monotonic clock, until a
    /// step contradicts a confirmed start.
    pub(crate) fn since_start(&self, at: MonoMs) -> i64 {
        match (self.unix(at), self.confirmed_start_ms) {
            (Some(unix), Some(start)) => unix.0.saturating_sub(start),
            (_, _) => signed(at.0),
        }
    }

    /// Origin of the times of new samples.
    pub(crate) fn base(&self) -> TimeBase {
        if self.is_confirmed() { TimeBase::Unix } else { TimeBase::SinceBoot }
    }

    /// Device clock minus server clock when the server's time was last heard, before any step.
    #[must_use]
    pub fn deviation_ms(&self) -> i64 {
        self.deviation_ms
    }

    /// First instant after `now` that is a whole multiple of `interval` by the time of day.
    #[must_use]
    pub fn next_multiple(&self, now: MonoMs, interval: Duration) -> MonoMs {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let shown = self.offset_ms.unwrap_or(0).saturating_add(signed(now.0));
        let wait = interval - shown.rem_euclid(interval);
        MonoMs(now.0.saturating_add(wait.unsigned_abs()))
    }

    /// Takes the system clock as a better estimate, until the server has confirmed the time.
    pub(crate) fn follow(&mut self, system: UnixMs, now: MonoMs) -> ClockChange {
        let Some(offset) = plausible_offset(system, now).filter(|_| !self.is_confirmed()) else {
            return ClockChange::Kept;
        };
        let Some(known) = self.offset_ms else {
            self.offset_ms = Some(offset);
            return ClockChange::Set;
        };
        let by_ms = offset.saturating_sub(known);
        if by_ms.saturating_abs() <= signed_ms(CLOCK_STEP_MIN) {
            return ClockChange::Kept;
        }
        self.offset_ms = Some(offset);
        ClockChange::Stepped(by_ms)
    }

    /// Takes the time that the server wrote at the end of an exchange.
    pub(crate) fn hear(&mut self, server: UnixMs, exchange: Exchange) -> ClockChange {
        if server.0 < PLAUSIBLE_UNIX_MS {
            return ClockChange::Kept;
        }
        let Exchange { sent, received, held } = exchange;
        let uncertainty = signed_ms(received.since(sent).saturating_sub(held)) / 2;
        let offset = server.0.saturating_add(uncertainty).saturating_sub(signed(received.0));
        let was_confirmed = self.is_confirmed();
        let heard = match self.offset_ms {
            None => {
                self.offset_ms = Some(offset);
                self.deviation_ms = 0;
                ClockChange::Set
            }
            Some(known) => {
                self.deviation_ms = known.saturating_sub(offset);
                let tolerated = signed_ms(CLOCK_STEP_MIN).saturating_add(uncertainty);
                if self.deviation_ms.saturating_abs() > tolerated {
                    self.offset_ms = Some(offset);
                    ClockChange::Stepped(self.deviation_ms.saturating_neg())
                } else if was_confirmed {
                    ClockChange::Kept
                } else {
                    ClockChange::Confirmed
                }
            }
        };
        self.confirmed_start_ms = self.confirmed_start_ms.or(self.offset_ms);
        heard
    }
}

fn plausible_offset(unix: UnixMs, now: MonoMs) -> Option<i64> {
    (unix.0 >= PLAUSIBLE_UNIX_MS).then(|| unix.0.saturating_sub(signed(now.0)))
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn signed_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_767_268_800_000;

    fn exchange(sent: u64, received: u64, held: u64) -> Exchange {
        let (sent, received) = (MonoMs(sent), MonoMs(received));
        Exchange { sent, received, held: Duration::from_millis(held) }
    }

    fn at(ms: u64) -> Exchange {
        exchange(ms, ms, 0)
    }

    #[test]
    fn implausible_system_clock_is_not_believed() {
        assert_eq!(WallClock::new(Some(UnixMs(946_684_800_000)), MonoMs(5)).unix(MonoMs(5)), None);
        let wall_clock = WallClock::new(Some(UnixMs(NOON)), MonoMs(1_000));
        assert_eq!(wall_clock.unix(MonoMs(3_000)), Some(UnixMs(NOON + 2_000)));
    }

    #[test]
    fn small_deviation_is_kept_and_large_one_stepped() {
        let mut wall_clock = WallClock::new(Some(UnixMs(NOON)), MonoMs(0));
        let heard = wall_clock.hear(UnixMs(NOON + 1_500), at(0));
        assert_eq!((heard, wall_clock.deviation_ms()), (ClockChange::Confirmed, -1_500));
        let heard = wall_clock.hear(UnixMs(NOON + 9_000), exchange(0, 200, 0));
        assert_eq!(heard, ClockChange::Stepped(8_900));
        assert_eq!(wall_clock.unix(MonoMs(200)), Some(UnixMs(NOON + 9_100)));
        // A slow reply is too uncertain to step the clock.
        let heard = wall_clock.hear(UnixMs(NOON + 20_000), exchange(200, 40_200, 0));
        assert_eq!(heard, ClockChange::Kept);
    }

    /// A server with the right time holds the reply; the uplink takes 40 ms and the reply 60 ms.
    #[test]
    fn a_held_reply_is_as_exact_as_an_immediate_one() {
        for held in [0, 700, 20_000, 50_000, 3_600_000] {
            let exchange = exchange(1_000, 1_000 + 40 + held + 60, held);
            let server = UnixMs(NOON + 1_040 + i64::try_from(held).unwrap());
            // The device's time minus the true time.
            let after = |system_off: Option<i64>| {
                let mut wall_clock =
                    WallClock::new(system_off.map(|off| UnixMs(NOON + off)), MonoMs(0));
                let heard = wall_clock.hear(server, exchange);
                (heard, wall_clock.unix(MonoMs(0)).unwrap().0 - NOON, wall_clock.is_confirmed())
            };
            assert_eq!(after(None), (ClockChange::Set, -10, true), "{held}");
            for off in [-2_000, -5, 0, 1_990] {
                assert_eq!(after(Some(off)), (ClockChange::Confirmed, off, true), "{held}");
            }
            for off in [-3_600_000, -27_000, -2_100, 2_100, 27_000, 49_000] {
                assert_eq!(
                    after(Some(off)),
                    (ClockChange::Stepped(-10 - off), -10, true),
                    "{held}"
                );
            }
        }
        // Held for longer than the exchange, which cannot be: the time then counts from the reply.
        let mut wall_clock = WallClock::new(None, MonoMs(0));
        assert_eq!(wall_clock.hear(UnixMs(NOON), exchange(1_000, 5_000, 9_000)), ClockChange::Set);
        assert_eq!(wall_clock.unix(MonoMs(5_000)), Some(UnixMs(NOON)));
    }

    #[test]
    fn epoch_start_follows_the_best_estimate_until_it_is_confirmed() {
        let estimated = |ms| Some(EpochStart { unix: UnixMs(ms), certainty: Certainty::Estimated });
        let confirmed = |ms| Some(EpochStart { unix: UnixMs(ms), certainty: Certainty::Confirmed });
        let mut wall_clock = WallClock::new(Some(UnixMs(5_000)), MonoMs(1_000));
        assert_eq!((wall_clock.start(), wall_clock.base()), (None, TimeBase::SinceBoot));
        assert_eq!(wall_clock.follow(UnixMs(5_000), MonoMs(1_000)), ClockChange::Kept);
        assert_eq!(wall_clock.follow(UnixMs(NOON - 7_200_000), MonoMs(2_000)), ClockChange::Set);
        assert_eq!(wall_clock.start(), estimated(NOON - 7_202_000));
        // Slewed a little, then stepped.
        assert_eq!(wall_clock.follow(UnixMs(NOON - 7_197_000), MonoMs(3_000)), ClockChange::Kept);
        assert_eq!(wall_clock.follow(UnixMs(NOON), MonoMs(4_000)), ClockChange::Stepped(7_198_000));
        assert_eq!(
            (wall_clock.start(), wall_clock.base()),
            (estimated(NOON - 4_000), TimeBase::SinceBoot)
        );
        // A server that does not know the time confirms nothing.
        assert_eq!(wall_clock.hear(UnixMs(9_000), at(5_000)), ClockChange::Kept);
        assert!(!wall_clock.is_confirmed());
        let heard = wall_clock.hear(UnixMs(NOON + 7_500), at(10_000));
        assert_eq!((heard, wall_clock.deviation_ms()), (ClockChange::Confirmed, -1_500));
        assert_eq!(
            (wall_clock.start(), wall_clock.base()),
            (confirmed(NOON - 4_000), TimeBase::Unix)
        );
        // From here on the system clock is ignored, and a step moves only later samples.
        assert_eq!(wall_clock.follow(UnixMs(NOON + 99_000), MonoMs(11_000)), ClockChange::Kept);
        let heard = wall_clock.hear(UnixMs(NOON + 22_000), at(20_000));
        assert_eq!(heard, ClockChange::Stepped(6_000));
        assert_eq!(wall_clock.start(), confirmed(NOON - 4_000));
        assert_eq!(wall_clock.unix(MonoMs(20_000)), Some(UnixMs(NOON + 22_000)));
    }

    #[test]
    fn multiples_follow_the_time_of_day() {
        let wall_clock = WallClock::new(Some(UnixMs(NOON + 1_200)), MonoMs(100));
        let five = Duration::from_secs(5);
        assert_eq!(wall_clock.next_multiple(MonoMs(100), five), MonoMs(3_900));
        assert_eq!(wall_clock.next_multiple(MonoMs(3_900), five), MonoMs(8_900));
        let unset = WallClock::new(None, MonoMs(0));
        assert_eq!(unset.next_multiple(MonoMs(100), five), MonoMs(5_000));
    }
}

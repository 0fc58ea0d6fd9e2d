//! The only place that reads a clock.
//!
//! Shells get a [`Clock`] from `main` and pass plain instants to everything below them. A clock may
//! run faster than real time (as in the demonstration); all parts of one process share one.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ecowatt_model::{MonoMs, UnixMs};
use tokio::time::Instant;

/// Tells the time and sleeps, at the speed chosen for the process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Of the executor, whose time a test may stop and move.
    base: Instant,
    base_unix: Option<UnixMs>,
    speed: f64,
    /// Set by a [`ClockDriver`]; overrides the other fields.
    driven: Option<&'static AtomicI64>,
}

/// A clock that only moves when its driver sets it.
#[derive(Debug)]
pub struct DrivenClock {
    pub clock: Clock,
    pub driver: ClockDriver,
}

/// Sets the time of a driven clock.
#[derive(Debug)]
pub struct ClockDriver(&'static AtomicI64);

impl Clock {
    /// The wall clock; follows changes to the operating system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { base: instant_now(), base_unix: None, speed: 1.0, driven: None }
    }

    /// A separate time that starts at `start` and runs `speed` times as fast as real time.
    ///
    /// # Panics
    /// If `speed` is not a positive finite number.
    #[must_use]
    pub fn simulated(start: UnixMs, speed: f64) -> Self {
        assert!(speed.is_finite() && speed > 0.0, "speed is checked where it is parsed");
        Self { base: instant_now(), base_unix: Some(start), speed, driven: None }
    }

    /// A clock that only moves when it is set, for simulations in virtual time. It cannot be waited
    /// for: [`Clock::sleep`] never returns. Its eight bytes are leaked, so that it can be copied
    /// like any other clock; a simulation creates one.
    #[must_use]
    pub fn driven(start: UnixMs) -> DrivenClock {
        let time: &'static AtomicI64 = Box::leak(Box::new(AtomicI64::new(start.0)));
        let base_unix = Some(start);
        let clock = Self { base: instant_now(), base_unix, speed: 1.0, driven: Some(time) };
        DrivenClock { clock, driver: ClockDriver(time) }
    }

    /// Returns the time of day.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        match self.driven {
            Some(time) => UnixMs(time.load(Ordering::Acquire)),
            None => self.base_unix.map_or_else(system_now, |start| start.plus(self.elapsed())),
        }
    }

    /// Returns the time since the clock was created; never jumps.
    #[must_use]
    pub fn mono(&self) -> MonoMs {
        MonoMs::default().plus(self.elapsed())
    }

    /// Returns how many seconds of this clock pass in one real second.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Returns whether this clock shows simulated time instead of the wall clock.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.base_unix.is_some()
    }

    /// Returns a clock with the same time and speed whose [`Clock::mono`] starts again at zero, for
    /// a process (or part of one) that restarts.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self { base: instant_now(), base_unix: self.base_unix.map(|_| self.now()), ..*self }
    }

    /// Waits for `duration` in this clock's time.
    pub async fn sleep(&self, duration: Duration) {
        match self.driven {
            Some(_) => std::future::pending().await,
            None => tokio::time::sleep(self.to_real(duration)).await,
        }
    }

    /// Waits until [`Clock::mono`] has reached `instant`.
    pub async fn sleep_until(&self, instant: MonoMs) {
        self.sleep(instant.since(self.mono())).await;
    }

    /// Converts a duration of this clock to real time.
    #[must_use]
    pub fn to_real(&self, duration: Duration) -> Duration {
        duration.div_f64(self.speed)
    }

    fn elapsed(&self) -> Duration {
        if let (Some(time), Some(start)) = (self.driven, self.base_unix) {
            let elapsed = time.load(Ordering::Acquire).saturating_sub(start.0);
            return Duration::from_millis(u64::try_from(elapsed).unwrap_or(0));
        }
        self.base.elapsed().mul_f64(self.speed)
    }
}

impl ClockDriver {
    /// Sets the time of day.
    pub fn set(&self, now: UnixMs) {
        self.0.store(now.0, Ordering::Release);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
fn instant_now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
fn system_now() -> UnixMs {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_time_runs_at_its_speed() {
        let clock = Clock::simulated(UnixMs(1_000), 3600.0);
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.now() >= UnixMs(73_000), "{:?}", clock.now());
        assert_eq!(clock.to_real(Duration::from_secs(3600)), Duration::from_secs(1));
    }

    #[test]
    fn driven_time_moves_when_it_is_set() {
        let DrivenClock { clock, driver } = Clock::driven(UnixMs(1_000));
        assert_eq!((clock.now(), clock.mono()), (UnixMs(1_000), MonoMs(0)));
        driver.set(UnixMs(61_000));
        assert_eq!((clock.now(), clock.mono()), (UnixMs(61_000), MonoMs(60_000)));
        assert_eq!(clock.restarted().mono(), MonoMs(0));
    }
}

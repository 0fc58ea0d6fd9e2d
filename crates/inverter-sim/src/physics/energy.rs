//! Exact energy counters: whole watts times whole milliseconds.

use ecowatt_model::UnixMs;

/// Watt-milliseconds in a watt-hour.
pub const WMS_PER_WH: u64 = 3_600_000;

/// 2000-01-01T00:00:00Z: where the inverter's clock starts after a loss of power.
pub const CLOCK_RESET: UnixMs = UnixMs(946_684_800_000);

/// The lifetime and the day counter of one inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Energy {
    lifetime_wms: u64,
    day_wms: u64,
    day: i64,
}

impl Energy {
    /// Counters of an inverter that has delivered `lifetime_wh` before `day` of its own clock.
    #[must_use]
    pub fn new(lifetime_wh: u64, day: i64) -> Self {
        Self { lifetime_wms: lifetime_wh.saturating_mul(WMS_PER_WH), day_wms: 0, day }
    }

    /// Adds `watts` delivered for `duration_ms`.
    pub fn add(&mut self, watts: u32, duration_ms: u64) {
        let energy = u64::from(watts) * duration_ms;
        self.lifetime_wms = self.lifetime_wms.saturating_add(energy);
        self.day_wms = self.day_wms.saturating_add(energy);
    }

    /// Clears the day counter when the inverter's own clock has reached another day.
    pub fn turn_day(&mut self, day: i64) {
        if day != self.day {
            self.day = day;
            self.day_wms = 0;
        }
    }

    /// Clears the day counter, as after a loss of power.
    pub fn forget_day(&mut self) {
        self.day_wms = 0;
    }

    /// Delivered since the counter was created, in watt-milliseconds.
    #[must_use]
    pub fn lifetime_wms(&self) -> u64 {
        self.lifetime_wms
    }

    /// Delivered since the inverter's midnight, in watt-milliseconds.
    #[must_use]
    pub fn day_wms(&self) -> u64 {
        self.day_wms
    }

    /// Whole watt-hours delivered in total.
    #[must_use]
    pub fn lifetime_wh(&self) -> u64 {
        self.lifetime_wms / WMS_PER_WH
    }

    /// Whole watt-hours delivered since the inverter's midnight.
    #[must_use]
    pub fn day_wh(&self) -> u64 {
        self.day_wms / WMS_PER_WH
    }
}

/// The inverter's own clock: local time, drifting, reset by a loss of power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InverterClock {
    set_at: UnixMs,
    showed_ms: i64,
    drift_ppm: f64,
}

impl InverterClock {
    /// A clock set to local time at `now`.
    #[must_use]
    pub fn new(now: UnixMs, utc_offset_s: i32, drift_ppm: f64) -> Self {
        let showed_ms = now.0.saturating_add(i64::from(utc_offset_s) * 1_000);
        Self { set_at: now, showed_ms, drift_ppm }
    }

    /// Sets it to 2000-01-01T00:00:00.
    pub fn lose_power(&mut self, now: UnixMs) {
        self.set_at = now;
        self.showed_ms = CLOCK_RESET.0;
    }

    /// Its reading at `now`, as milliseconds since 1970 in its own time.
    #[must_use]
    pub fn face_ms(&self, now: UnixMs) -> i64 {
        let passed = now.0.saturating_sub(self.set_at.0);
        let drift = passed as f64 * self.drift_ppm / 1_000_000.0;
        self.showed_ms.saturating_add(passed).saturating_add(whole(drift))
    }

    /// Its current day, counted from 1970-01-01.
    #[must_use]
    pub fn day(&self, now: UnixMs) -> i64 {
        self.face_ms(now).div_euclid(86_400_000)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "casts saturate; drift is milliseconds")]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilowatt_for_an_hour_is_a_thousand_watt_hours() {
        let mut energy = Energy::new(5, 0);
        for _ in 0..3_600 {
            energy.add(1_000, 1_000);
        }
        assert_eq!((energy.day_wh(), energy.lifetime_wh()), (1_000, 1_005));
        energy.turn_day(1);
        assert_eq!((energy.day_wh(), energy.lifetime_wh()), (0, 1_005));
    }

    #[test]
    fn the_day_begins_by_the_inverters_own_clock() {
        // 2026-06-01T00:00Z; the clock gains 50 ppm, 4.32 s a day.
        let start = UnixMs(1_780_272_000_000);
        let clock = InverterClock::new(start, 2 * 3_600, 50.0);
        let later = |s: i64| UnixMs(start.0 + s * 1_000);
        assert_eq!(clock.day(start), clock.day(later(22 * 3_600 - 5)));
        assert_eq!(clock.day(start) + 1, clock.day(later(22 * 3_600 - 3)));
    }

    #[test]
    fn a_clock_without_power_starts_in_2000() {
        let mut clock = InverterClock::new(UnixMs(1_780_272_000_000), 0, 0.0);
        clock.lose_power(UnixMs(1_780_272_060_000));
        assert_eq!(clock.face_ms(UnixMs(1_780_272_061_000)), CLOCK_RESET.0 + 1_000);
    }
}

//! The export limit: a target, a ramp towards it, and an optional expiry.

use ecowatt_model::UnixMs;

use crate::physics::STEP_S;

/// The limit in per cent of rated power.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportLimit {
    target_pct: f64,
    present_pct: f64,
    ramp_pct_s: f64,
    ramp_default_pct_s: f64,
    revert_at: Option<UnixMs>,
    writes: u64,
}

/// The limit of an unlimited inverter, in per cent.
pub const UNLIMITED_PCT: f64 = 100.0;

/// A request to limit an inverter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitOrder {
    /// Per cent of rated power.
    pub target_pct: f64,
    /// Seconds after which the inverter returns to 100 %.
    pub revert_after_s: Option<u32>,
    /// Seconds in which to reach the target; default: the inverter's own ramp.
    pub ramp_s: Option<u32>,
}

impl ExportLimit {
    /// Unlimited, moving by `ramp_pct_s` per second.
    #[must_use]
    pub fn new(ramp_pct_s: f64) -> Self {
        Self {
            target_pct: UNLIMITED_PCT,
            present_pct: UNLIMITED_PCT,
            ramp_pct_s,
            ramp_default_pct_s: ramp_pct_s,
            revert_at: None,
            writes: 0,
        }
    }

    /// Applies an order received at `now`.
    pub fn order(&mut self, order: LimitOrder, now: UnixMs) {
        self.writes += 1;
        self.target_pct = order.target_pct.clamp(0.0, UNLIMITED_PCT);
        self.revert_at = order
            .revert_after_s
            .filter(|s| *s > 0)
            .map(|s| UnixMs(now.0.saturating_add(i64::from(s) * 1_000)));
        self.ramp_pct_s = match order.ramp_s {
            Some(s) if s > 0 => (self.target_pct - self.present_pct).abs() / f64::from(s),
            _ => self.ramp_default_pct_s,
        };
    }

    /// Returns to unlimited at once, as after a loss of power.
    pub fn forget(&mut self) {
        *self = Self { writes: self.writes, ..Self::new(self.ramp_default_pct_s) };
    }

    /// Advances by one step that ends at `now` and returns the current limit.
    pub fn step(&mut self, now: UnixMs) -> f64 {
        if self.revert_at.is_some_and(|at| at <= now) {
            self.revert_at = None;
            self.target_pct = UNLIMITED_PCT;
            self.ramp_pct_s = self.ramp_default_pct_s;
        }
        let change = (self.target_pct - self.present_pct)
            .clamp(-self.ramp_pct_s * STEP_S, self.ramp_pct_s * STEP_S);
        self.present_pct += change;
        self.present_pct
    }

    /// The target of the ramp.
    #[must_use]
    pub fn target_pct(&self) -> f64 {
        self.target_pct
    }

    /// The current limit.
    #[must_use]
    pub fn present_pct(&self) -> f64 {
        self.present_pct
    }

    /// When the target expires, if it does.
    #[must_use]
    pub fn revert_at(&self) -> Option<UnixMs> {
        self.revert_at
    }

    /// Orders received in total, which is what wears out a real inverter's memory.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(target_pct: f64) -> LimitOrder {
        LimitOrder { target_pct, revert_after_s: None, ramp_s: None }
    }

    #[test]
    fn the_limit_moves_no_faster_than_its_ramp() {
        let mut limit = ExportLimit::new(10.0);
        limit.order(order(75.0), UnixMs(0));
        let seen: Vec<f64> = (1..=4).map(|s| limit.step(UnixMs(s * 1_000))).collect();
        assert_eq!(seen, [90.0, 80.0, 75.0, 75.0]);
    }

    #[test]
    fn an_order_with_a_lease_expires() {
        let mut limit = ExportLimit::new(100.0);
        limit.order(LimitOrder { revert_after_s: Some(5), ..order(30.0) }, UnixMs(0));
        assert_eq!(limit.step(UnixMs(4_000)), 30.0);
        assert_eq!(limit.step(UnixMs(5_000)), 100.0);
        assert_eq!(limit.revert_at(), None);
    }

    #[test]
    fn an_order_may_have_its_own_ramp() {
        let mut limit = ExportLimit::new(100.0);
        limit.order(LimitOrder { ramp_s: Some(50), ..order(50.0) }, UnixMs(0));
        assert_eq!(limit.step(UnixMs(1_000)), 99.0);
    }
}

//! Limits the work that one device may cause.
//!
//! A few bytes can cause much work: a batch of constant words has a thousand rows in eleven bytes,
//! and each row may begin a quarter hour of its own. So a message is limited twice: by its length
//! ([`Allowance`]), and by its device's budget, which refills with time ([`Account`]). Neither loses
//! data: what is not taken is not acknowledged, and the device sends it again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecowatt_model::MonoMs;
use ecowatt_store::Summary;

use crate::limits::{
    ANNOUNCEMENT_COST_VALUES, BLOCK_CELLS, CELL_BYTES, DEVICE_CELLS_BURST, DEVICE_CELLS_PER_S,
    DEVICE_VALUES_BURST, DEVICE_VALUES_PER_S, LAYOUT_POINT_CELLS, MESSAGE_CELLS_MAX,
    MESSAGE_CELLS_MIN, MESSAGE_CELLS_PER_BYTE, MESSAGE_COST_VALUES, MESSAGE_VALUES_MIN,
    MESSAGE_VALUES_PER_BYTE, ROLL_UP_ROW_CELLS, TURNS_OF_DEVICE_MAX,
};

/// How much of one message is taken. Its first batch always is, however much it brings, so that
/// every device makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Values to decode.
    pub(super) values: usize,
    /// Cells of roll-ups to store.
    pub(super) cells: usize,
}

impl Allowance {
    pub(super) fn of(message_bytes: usize) -> Self {
        let by = |min: usize, per_byte: usize| {
            min.saturating_add(message_bytes.saturating_mul(per_byte))
        };
        Self {
            values: by(MESSAGE_VALUES_MIN, MESSAGE_VALUES_PER_BYTE),
            cells: by(MESSAGE_CELLS_MIN, MESSAGE_CELLS_PER_BYTE).min(MESSAGE_CELLS_MAX),
        }
    }
}

/// A part of what a message costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cost {
    /// Work, in values to decode.
    pub(super) values: usize,
    /// Space on disk, in cells of roll-ups.
    pub(super) cells: usize,
}

impl Cost {
    /// Decoding.
    pub(super) fn of_values(values: usize) -> Self {
        Self { values, cells: 0 }
    }

    fn of_cells(cells: usize) -> Self {
        Self { values: 0, cells }
    }

    /// Storing a batch.
    pub(super) fn of_block(summary: &Summary) -> Self {
        let rows = summary.rows().saturating_mul(ROLL_UP_ROW_CELLS);
        Self::of_cells(summary.cells().saturating_add(rows).saturating_add(BLOCK_CELLS))
    }

    /// Looking up a stream that the device has not announced before.
    pub(super) fn of_announcement() -> Self {
        Self::of_values(ANNOUNCEMENT_COST_VALUES)
    }

    /// Entering a layout of this many bytes and points into the dictionary, which no deletion of a
    /// device makes smaller.
    pub(super) fn of_layout(bytes: usize, points: usize) -> Self {
        Self::of_cells(bytes.div_ceil(CELL_BYTES) + points * LAYOUT_POINT_CELLS)
    }
}

/// What a device may still ask for, whatever key it uses.
#[derive(Debug)]
pub(super) struct Account(Mutex<Spending>);

#[derive(Debug)]
struct Spending {
    quota: Quota,
    /// Turns that it has at present.
    turns: u32,
}

impl Account {
    pub(super) fn full(now: MonoMs) -> Self {
        Self(Mutex::new(Spending { quota: Quota::full(now), turns: 0 }))
    }

    /// Spends what a message of so many bytes costs besides its content, unless there is debt.
    ///
    /// # Errors
    /// How long the device has to wait until it has no debt.
    pub(super) fn spend(&self, now: MonoMs, size_bytes: usize) -> Result<(), Duration> {
        self.lock().quota.spend(now, size_bytes)
    }

    /// Charges what a message turned out to cost.
    pub(super) fn charge(&self, cost: Cost) {
        self.lock().quota.charge(cost);
    }

    /// Lets the device have one of its turns, as long as the guard is held.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Begun> {
        let turns = &mut self.lock().turns;
        if *turns >= TURNS_OF_DEVICE_MAX {
            return None;
        }
        *turns += 1;
        Some(Begun(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Spending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Account::begin`].
#[derive(Debug)]
pub(super) struct Begun(Arc<Account>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.lock().turns -= 1;
    }
}

/// What a device has left. It may run into debt by one message, and then waits until it has not.
#[derive(Debug)]
struct Quota {
    at: MonoMs,
    values: Bucket,
    cells: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: i64,
    burst: i64,
    per_s: i64,
}

impl Bucket {
    fn full(burst: i64, per_s: i64) -> Self {
        Self { left: burst, burst, per_s }
    }

    fn refill(&mut self, elapsed: Duration) {
        let ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let more = ms.saturating_mul(self.per_s) / 1000;
        self.left = self.left.saturating_add(more).min(self.burst);
    }

    fn spend(&mut self, count: usize) {
        self.left = self.left.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Returns the time until there is no debt.
    fn wait(&self) -> Duration {
        let debt = self.left.min(0).unsigned_abs();
        Duration::from_secs(debt.div_ceil(self.per_s.unsigned_abs().max(1)))
    }
}

impl Quota {
    fn full(now: MonoMs) -> Self {
        Self {
            at: now,
            values: Bucket::full(DEVICE_VALUES_BURST, DEVICE_VALUES_PER_S),
            cells: Bucket::full(DEVICE_CELLS_BURST, DEVICE_CELLS_PER_S),
        }
    }

    /// Spends quota for a message of this many bytes, unless there is debt.
    ///
    /// # Errors
    /// How long until the debt is paid.
    fn spend(&mut self, now: MonoMs, size_bytes: usize) -> Result<(), Duration> {
        let elapsed = now.since(self.at);
        // Time too short to earn one value and one cell is kept, or rounding would lose it each
        // time.
        if elapsed >= Duration::from_millis(1) {
            self.at = now;
            self.values.refill(elapsed);
            self.cells.refill(elapsed);
        }
        let wait = self.values.wait().max(self.cells.wait());
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.values.spend(size_bytes.saturating_add(MESSAGE_COST_VALUES));
        Ok(())
    }

    fn charge(&mut self, cost: Cost) {
        self.values.spend(cost.values);
        self.cells.spend(cost.cells);
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::{Quality, UnixMs};
    use ecowatt_store::{EnergyPoints, LocalDate, PointId, Summariser};

    use super::*;

    #[test]
    fn backlog_of_a_month_passes_at_full_speed() {
        let mut quota = Quota::full(MonoMs(0));
        // 82 points sampled every 5 s: 23 batches of 180 rows per message, with the cells of their
        // minutes.
        let (rows, minutes) = (23 * 180, 23 * 15);
        for _ in 0..30 * 86_400 / 5 / rows {
            assert_eq!(quota.spend(MonoMs(0), 60_000), Ok(()));
            quota.charge(Cost { values: rows * 82, cells: minutes * 82 });
        }
    }

    /// Summarises a batch of as many samples, `step_ms` apart, of the given points.
    fn summary(rows: i64, step_ms: i64, points: u32) -> Summary {
        let ids: Vec<_> = (1..=points).map(PointId).collect();
        let mut summarise = Summariser::new(&ids, EnergyPoints::default());
        for row in 0..rows {
            let readings = ids.iter().map(|_| (Quality::Good, Some(row)));
            summarise.sample(UnixMs(row * step_ms), LocalDate(0), readings);
        }
        summarise.finish()
    }

    #[test]
    fn batches_of_a_month_pass_at_full_speed() {
        let mut quota = Quota::full(MonoMs(0));
        // A quarter hour each, in 23 to a message; in two quarter hours, as most are.
        let mut one = summary(180, 5_000, 82);
        let day = 96;
        for message in 0..30 * day / 23 {
            assert_eq!(quota.spend(MonoMs(0), 60_000), Ok(()), "message {message}");
            quota.charge(Cost::of_values(23 * 180 * 82));
            for _ in 0..23 {
                quota.charge(Cost::of_block(&one));
                quota.charge(Cost::of_cells(ROLL_UP_ROW_CELLS));
            }
        }
        one = summary(1, 1, 1);
        assert_eq!(Cost::of_block(&one).cells, one.cells() + BLOCK_CELLS + 2 * ROLL_UP_ROW_CELLS);
    }

    /// Batches of one sample take 130 bytes each besides their cells, and more of the log.
    #[test]
    fn a_day_of_tiny_batches_takes_no_more_of_the_disk_than_one_of_large_ones() {
        let mut quota = Quota::full(MonoMs(0));
        let one = summary(1, 1, 1);
        let mut blocks = 0u64;
        let (mut now, day) = (0, 86_400_000);
        while now < day {
            match quota.spend(MonoMs(now), 400) {
                Ok(()) => (0..23).for_each(|_| {
                    blocks += 1;
                    quota.charge(Cost::of_block(&one));
                }),
                Err(wait) => now += u64::try_from(wait.as_millis()).unwrap(),
            }
        }
        let bytes = blocks * (130 + 2 * 16);
        assert!(bytes < 3_500_000_000, "{blocks} blocks, {bytes} bytes");
    }

    #[test]
    fn debt_is_waited_out_and_time_pays_it() {
        let mut quota = Quota::full(MonoMs(0));
        let burst = usize::try_from(DEVICE_CELLS_BURST).unwrap();
        let per_s = usize::try_from(DEVICE_CELLS_PER_S).unwrap();
        assert_eq!(quota.spend(MonoMs(0), 1), Ok(()));
        quota.charge(Cost::of_cells(burst + 3 * per_s));
        assert_eq!(quota.spend(MonoMs(0), 1), Err(Duration::from_secs(3)));
        assert_eq!(quota.spend(MonoMs(1_000), 1), Err(Duration::from_secs(2)));
        assert_eq!(quota.spend(MonoMs(3_000), 1), Ok(()));
        // A clock that is set back earns nothing and costs nothing.
        assert_eq!(quota.spend(MonoMs(1), 1), Ok(()));
    }

    /// A device of eight inverters may announce all their layouts in one message, and again whenever
    /// it is enrolled.
    #[test]
    fn layouts_of_eight_inverters_are_a_small_part_of_the_quota() {
        let mut quota = Quota::full(MonoMs(0));
        assert_eq!(quota.spend(MonoMs(0), 60_000), Ok(()));
        for _ in 0..8 {
            quota.charge(Cost::of_announcement());
            quota.charge(Cost::of_layout(4096, 128));
        }
        assert!(quota.values.left > DEVICE_VALUES_BURST * 9 / 10, "{quota:?}");
        assert!(quota.cells.left > DEVICE_CELLS_BURST * 9 / 10, "{quota:?}");
    }

    #[test]
    fn message_is_worth_what_its_bytes_are() {
        let small = Allowance::of(400);
        let large = Allowance::of(60_000);
        assert!(small.cells < 64 * 1024 && small.values < 1 << 19, "{small:?}");
        assert!(large.cells <= MESSAGE_CELLS_MAX && large.values < 1 << 21, "{large:?}");
    }
}

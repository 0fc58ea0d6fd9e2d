//! When an inverter is polled: cycles on the grid of the wall clock, groups at their intervals.

use core::time::Duration;

use ecowatt_model::MonoMs;
use ecowatt_profile::{GROUPS_MAX, Plan};

use crate::wall_clock::WallClock;

/// The cycles of one inverter, and when each of its groups is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Shortest interval of the groups, in milliseconds.
    fastest_ms: u32,
    /// Interval by the device's own configuration.
    own_ms: u32,
    /// From one cycle to the next.
    interval_ms: u32,
    /// When each group is due next.
    due: [MonoMs; GROUPS_MAX],
    next_cycle: MonoMs,
}

/// The groups of a cycle, a bit each.
pub(crate) type GroupSet = u8;

const NEVER: MonoMs = MonoMs(u64::MAX);
const _: () = assert!(GROUPS_MAX <= 8, "a set of groups has eight bits");

/// Interval of a plan whose groups are all read once: how often it is checked for missing
/// registers.
const INTERVAL_DEFAULT_MS: u32 = 60_000;

impl Schedule {
    /// Without any cycle.
    pub(crate) const IDLE: Self = Self {
        fastest_ms: 0,
        own_ms: 0,
        interval_ms: 0,
        due: [NEVER; GROUPS_MAX],
        next_cycle: NEVER,
    };

    /// The first cycle begins at once. `interval` replaces the fastest group's.
    pub(crate) fn new(plan: &Plan, interval: Option<Duration>, now: MonoMs) -> Self {
        let used = plan.reads().iter().map(|read| usize::from(read.group));
        let every = used.filter_map(|group| plan.groups().get(group)).map(|group| group.every_ms);
        let fastest_ms = every.filter(|ms| *ms > 0).min().unwrap_or(INTERVAL_DEFAULT_MS);
        let own_ms = interval.map_or(fastest_ms, |interval| {
            u32::try_from(interval.as_millis()).unwrap_or(u32::MAX).max(1)
        });
        Self {
            fastest_ms,
            own_ms,
            interval_ms: own_ms,
            due: [MonoMs(0); GROUPS_MAX],
            next_cycle: now,
        }
    }

    pub(crate) fn next_cycle(&self) -> MonoMs {
        self.next_cycle
    }

    /// Milliseconds from one cycle to the next.
    pub(crate) fn interval_ms(&self) -> u32 {
        self.interval_ms
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.into())
    }

    /// The same by the device's own configuration.
    pub(crate) fn own_ms(&self) -> u32 {
        self.own_ms
    }

    /// Changes the interval. A cycle that is already due is not moved, so that it is not lost.
    pub(crate) fn set_interval(
        &mut self,
        ms: u32,
        now: MonoMs,
        wall_clock: &WallClock,
        is_pausing: bool,
    ) {
        self.interval_ms = ms.max(1);
        self.realign(now, wall_clock, is_pausing || self.next_cycle <= now);
    }

    /// Moves the next cycle to the grid of a clock that was stepped, or of another interval. All
    /// groups are due then: their instants are on the former grid.
    pub(crate) fn realign(&mut self, now: MonoMs, wall_clock: &WallClock, is_pausing: bool) {
        self.due = self.due.map(|due| if due == NEVER { due } else { due.min(now) });
        if !is_pausing {
            self.next_cycle = wall_clock.next_multiple(now, self.interval());
        }
    }

    /// Begins the cycle that is due; returns its instant and the groups that are due.
    pub(crate) fn begin(
        &mut self,
        plan: &Plan,
        now: MonoMs,
        wall_clock: &WallClock,
    ) -> (MonoMs, GroupSet) {
        // A shell that slept through several instants takes one sample, at the last of them.
        let mut scheduled = self.next_cycle;
        let interval = self.interval();
        let missed = now.since(scheduled).as_millis() / interval.as_millis().max(1);
        if missed > 0 {
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            scheduled = scheduled.plus(interval.saturating_mul(missed)).min(now);
        }
        let mut groups = 0;
        for (place, group) in plan.groups().iter().enumerate() {
            if self.due[place] > scheduled {
                continue;
            }
            groups |= 1 << place;
            self.due[place] = match group.every_ms {
                0 => NEVER,
                ms => {
                    // An interval set by the operator replaces the fastest group's, and
                    // of any that is shorter.
                    let every_ms = if ms == self.fastest_ms { self.interval_ms } else { ms };
                    let every_ms = every_ms.max(self.interval_ms);
                    wall_clock.next_multiple(scheduled, Duration::from_millis(every_ms.into()))
                }
            };
        }
        (scheduled, groups)
    }

    /// Makes a cycle of all groups due at `now`, also those that are read once per connection.
    pub(crate) fn begin_at(&mut self, now: MonoMs) {
        self.due = [MonoMs(0); GROUPS_MAX];
        self.next_cycle = self.next_cycle.min(now);
    }

    /// Makes a group with missing registers due again at `at`, if not before.
    pub(crate) fn again(&mut self, group: u8, at: MonoMs) {
        if let Some(due) = self.due.get_mut(usize::from(group)) {
            *due = (*due).min(at);
        }
    }

    /// The inverter is back: makes groups that are read once per connection due again, except
    /// these.
    pub(crate) fn reconnected(&mut self, plan: &Plan, except: GroupSet) {
        for (place, group) in plan.groups().iter().enumerate() {
            if group.every_ms == 0 && (except >> place) & 1 == 0 {
                self.due[place] = MonoMs(0);
            }
        }
    }

    /// Ends the cycle of `scheduled`; the next one comes after `pause`, or at the interval.
    pub(crate) fn end(
        &mut self,
        scheduled: MonoMs,
        pause: Duration,
        now: MonoMs,
        wall_clock: &WallClock,
    ) {
        // A pause may end on the grid; without one, the instant of this cycle is over.
        let earliest = match pause {
            Duration::ZERO => scheduled,
            pause => scheduled.plus(pause.saturating_sub(Duration::from_millis(1))),
        };
        self.next_cycle = wall_clock.next_multiple(earliest.max(now), self.interval());
    }
}

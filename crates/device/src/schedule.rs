//! When an inverter is polled: cycles on the grid of the wall clock, groups at their intervals.

use core::time::Duration;

use ecowatt_model::MonoMs;
use ecowatt_profile::{GROUPS_MAX, Plan};

use crate::wall::Wall;

/// The cycles of one inverter, and when each of its groups is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Shortest interval of the groups.
    fastest: Duration,
    /// From one cycle to the next.
    interval: Duration,
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
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

impl Schedule {
    /// Without any cycle.
    pub(crate) const IDLE: Self = Self {
        fastest: Duration::ZERO,
        interval: Duration::ZERO,
        due: [NEVER; GROUPS_MAX],
        next_cycle: NEVER,
    };

    /// The first cycle begins at once. `interval` replaces the fastest group's.
    pub(crate) fn new(plan: &Plan, interval: Option<Duration>, now: MonoMs) -> Self {
        let used = plan.reads().iter().map(|read| usize::from(read.group));
        let every = used.filter_map(|group| plan.groups().get(group)).map(|group| group.every_ms);
        let fastest = every.filter(|ms| *ms > 0).min();
        let fastest = fastest.map_or(INTERVAL_DEFAULT, |ms| Duration::from_millis(ms.into()));
        Self {
            fastest,
            interval: interval.unwrap_or(fastest).max(Duration::from_millis(1)),
            due: [MonoMs(0); GROUPS_MAX],
            next_cycle: now,
        }
    }

    pub(crate) fn next_cycle(&self) -> MonoMs {
        self.next_cycle
    }

    /// Moves the next cycle to the grid of a clock that was stepped.
    pub(crate) fn realign(&mut self, now: MonoMs, wall: &Wall, is_pausing: bool) {
        self.due = self.due.map(|due| if due == NEVER { due } else { due.min(now) });
        if !is_pausing {
            self.next_cycle = wall.next_multiple(now, self.interval);
        }
    }

    /// Begins the cycle that is due; returns its instant and the groups that are due.
    pub(crate) fn begin(&mut self, plan: &Plan, now: MonoMs, wall: &Wall) -> (MonoMs, GroupSet) {
        // A shell that slept through several instants takes one sample, at the last of them.
        let mut scheduled = self.next_cycle;
        let missed = now.since(scheduled).as_millis() / self.interval.as_millis().max(1);
        if missed > 0 {
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            scheduled = scheduled.plus(self.interval.saturating_mul(missed)).min(now);
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
                    let own = Duration::from_millis(ms.into());
                    // An interval set by the operator replaces the fastest group's, and
                    // of any that is shorter.
                    let every = if own == self.fastest { self.interval } else { own };
                    wall.next_multiple(scheduled, every.max(self.interval))
                }
            };
        }
        (scheduled, groups)
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
    pub(crate) fn end(&mut self, scheduled: MonoMs, pause: Duration, now: MonoMs, wall: &Wall) {
        // A pause may end on the grid; without one, the instant of this cycle is over.
        let earliest = match pause {
            Duration::ZERO => scheduled,
            pause => scheduled.plus(pause.saturating_sub(Duration::from_millis(1))),
        };
        self.next_cycle = wall.next_multiple(earliest.max(now), self.interval);
    }
}

//! Which limit holds at an instant, by the leases that a device has.
//!
//! A pure function of leases, time of day and the server's silence, so that a device works alone: it
//! asks again when the answer says that it will change. The lowest limit of all leases that last
//! counts. Two things make the device use what a lease states for *afterwards* before its time: the
//! server has been silent for longer than the lease allows, or no server has confirmed the time of
//! day in this epoch. Neither ever raises a limit above that of a lease which lasts by the best
//! estimate of the time.
//!
//! Until a device that has just started has heard the server, or has waited for it as long as a
//! lease allows, it does not know whether its leases still count: the answer is *wait*, and what the
//! inverter has stays.

use core::time::Duration;

use ecowatt_model::lease::{
    FULL_PPM, LENGTH_MAX_S, LINK_LOSS_MAX_S, LINK_LOSS_MIN_S, PERMILLE_FULL, RAMP_MAX_S, WATTS_MAX,
};
use ecowatt_model::{LeaseId, SourceNumber, UnixMs};
use ecowatt_wire::{Lease, LeaseCause, LeaseRefusal, Limit};

/// Most steps of a ramp: each is a write, and some inverters wear.
const RAMP_STEPS_MAX: u32 = 10;

/// Shortest step of a ramp, seconds: an inverter follows its limit within some seconds.
const RAMP_STEP_MIN_S: u32 = 5;

/// What a device knows at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Situation {
    /// The time of day, if there is an estimate of it.
    pub(crate) unix: Option<UnixMs>,
    /// A server has confirmed it in this epoch.
    pub(crate) is_confirmed: bool,
    /// Since the last reply or, before the first, since the start.
    pub(crate) silence: Duration,
    /// The inverter's rated power, if it is known.
    pub(crate) rated_w: Option<u32>,
}

/// The limit that holds, in millionths of the rated power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Leave the inverter as it is.
    Wait,
    /// No lease limits it: what was found before is restored.
    Free,
    Limit(InForce),
    /// A limit in watts cannot be converted, and no other lease limits it.
    NoRatedPower(LeaseId),
}

/// A limit and the lease that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) ppm: u32,
    pub(crate) lease: LeaseId,
    pub(crate) cause: LeaseCause,
}

/// A verdict, and for how long it is valid if nothing is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evaluation {
    pub(crate) verdict: Verdict,
    pub(crate) valid_for: Duration,
}

/// Without a change to come.
pub(crate) const FOR_EVER: Duration = Duration::MAX;

/// Returns the limit of an inverter.
pub(crate) fn evaluate(
    leases: impl Iterator<Item = Lease>,
    source: SourceNumber,
    at: &Situation,
) -> Evaluation {
    let mut all = Evaluation { verdict: Verdict::Free, valid_for: FOR_EVER };
    let (mut lowest, mut priority) = (None::<InForce>, 0);
    let (mut is_undecided, mut has_decided, mut unrated) = (false, false, None);
    let its = |lease: &Lease| lease.source.is_none_or(|its| its == source);
    for lease in leases.filter(its) {
        let (held, valid_for) = hold(&lease, at);
        all.valid_for = all.valid_for.min(valid_for);
        let in_force = match held {
            Held::Nothing => continue,
            Held::Unrated => {
                unrated = unrated.or(Some(lease.id));
                continue;
            }
            Held::Undecided(in_force) => {
                is_undecided = true;
                in_force
            }
            Held::Limit(in_force) => {
                has_decided = true;
                in_force
            }
        };
        let is_lower = lowest.is_none_or(|held| {
            in_force.ppm < held.ppm || (in_force.ppm == held.ppm && lease.priority > priority)
        });
        if is_lower {
            (lowest, priority) = (Some(in_force), lease.priority);
        }
    }
    all.verdict = match (lowest, unrated) {
        // Beside a lease that is decided, an undecided one can only make the limit lower.
        (Some(_), _) if is_undecided && !has_decided => Verdict::Wait,
        (Some(lowest), _) => Verdict::Limit(lowest),
        (None, Some(lease)) => Verdict::NoRatedPower(lease),
        (None, None) => Verdict::Free,
    };
    all
}

/// Whether a device can follow a lease.
pub(crate) fn check(lease: &Lease, sources: &[SourceNumber]) -> Result<(), LeaseRefusal> {
    let is_limit = |limit: Limit| match limit {
        Limit::Permille(permille) => permille <= PERMILLE_FULL,
        Limit::Watts(watts) => watts <= WATTS_MAX,
        Limit::Unknown => false,
    };
    let is_length = (1..=LENGTH_MAX_S).contains(&lease.to_s.saturating_sub(lease.from_s));
    let is_silence = (LINK_LOSS_MIN_S..=LINK_LOSS_MAX_S).contains(&lease.link_loss_s);
    let are_limits = is_limit(lease.limit) && lease.then.is_none_or(is_limit);
    if !is_length || !is_silence || !are_limits || lease.ramp_s > RAMP_MAX_S {
        return Err(LeaseRefusal::OutOfBounds);
    }
    let has_source = lease.source.is_none_or(|source| sources.contains(&source));
    if has_source { Ok(()) } else { Err(LeaseRefusal::NoSource) }
}

/// What a lease alone asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Limit(InForce),
    /// It may still count: at least this much then.
    Undecided(InForce),
    Unrated,
}

/// Where the time of day is in a lease, and in how many milliseconds that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before {
        left_ms: u64,
    },
    /// How long it has lasted.
    Lasting {
        since_ms: u64,
        left_ms: u64,
    },
    Over {
        since_ms: u64,
    },
    Unknown,
}

fn phase(lease: &Lease, unix: Option<UnixMs>) -> Phase {
    let Some(UnixMs(now)) = unix else { return Phase::Unknown };
    let (from, to) = (i64::from(lease.from_s) * 1_000, i64::from(lease.to_s) * 1_000);
    let apart = |later: i64, earlier: i64| later.saturating_sub(earlier).unsigned_abs();
    if now < from {
        Phase::Before { left_ms: apart(from, now) }
    } else if now < to {
        Phase::Lasting { since_ms: apart(now, from), left_ms: apart(to, now) }
    } else {
        Phase::Over { since_ms: apart(now, to) }
    }
}

/// Whether a lease has ended. What it states for afterwards no longer depends on the connection.
pub(crate) fn is_over(lease: &Lease, now: UnixMs) -> bool {
    matches!(phase(lease, Some(now)), Phase::Over { .. })
}

fn hold(lease: &Lease, at: &Situation) -> (Held, Duration) {
    let part = |limit: Limit| part(limit, at.rated_w);
    let Some(limit) = part(lease.limit) else { return (Held::Unrated, FOR_EVER) };
    // What cannot be converted is not above the lease itself, as far as the device can tell.
    let then = lease.then.map(|then| part(then).unwrap_or(limit));
    let phase = phase(lease, at.unix);
    let (by_time, valid_ms) = by_time(lease, limit, then, phase);
    let in_force = |ppm, cause| InForce { ppm, lease: lease.id, cause };
    let link_loss = Duration::from_secs(lease.link_loss_s.into());
    let is_lost = at.silence >= link_loss;
    let until_lost = if is_lost { FOR_EVER } else { link_loss.saturating_sub(at.silence) };
    let valid_for = valid_ms.map_or(FOR_EVER, Duration::from_millis).min(until_lost);
    // Lower than anything that the lease may come to ask for.
    let least = by_time.map_or(limit, |by_time| by_time.ppm).min(then.unwrap_or(FULL_PPM));
    let fallback = match (at.is_confirmed, is_lost) {
        (true, false) => None,
        (false, false) => {
            let undecided = Held::Undecided(in_force(least, LeaseCause::Fallback));
            return (undecided, valid_for);
        }
        // A lease that has not begun, by a time that counts, has no say yet.
        (true, true) => then.filter(|_| !matches!(phase, Phase::Before { .. })),
        // Without the time, and with nothing else stated, the lease itself is the safe side.
        (false, true) => then.or_else(|| (phase == Phase::Unknown).then_some(limit)),
    };
    let fallback = fallback.map(|ppm| in_force(ppm, LeaseCause::Fallback));
    let lower = match (by_time, fallback) {
        (Some(by_time), Some(fallback)) if fallback.ppm < by_time.ppm => Some(fallback),
        (by_time, fallback) => by_time.or(fallback),
    };
    (lower.map_or(Held::Nothing, Held::Limit), valid_for)
}

/// What a lease asks for by its times alone, and in how many milliseconds that changes.
fn by_time(
    lease: &Lease,
    limit: u32,
    then: Option<u32>,
    phase: Phase,
) -> (Option<InForce>, Option<u64>) {
    let in_force = |ppm, cause| Some(InForce { ppm, lease: lease.id, cause });
    match phase {
        Phase::Unknown => (None, None),
        Phase::Before { left_ms } => (None, Some(left_ms)),
        Phase::Lasting { since_ms, left_ms } => {
            let ramp = Ramp::of(lease.ramp_s, FULL_PPM, limit);
            // The first step is made at once, so that the limit is reached before the ramp ends.
            let (ppm, step_ms) = ramp.after(since_ms.saturating_add(ramp.step_ms));
            let valid_ms = step_ms.map_or(left_ms, |step_ms| step_ms.min(left_ms));
            (in_force(ppm, LeaseCause::Lease), Some(valid_ms))
        }
        Phase::Over { since_ms } => {
            let end = then.unwrap_or(FULL_PPM);
            let (ppm, step_ms) = Ramp::of(lease.ramp_s, limit, end.max(limit)).after(since_ms);
            match (then, step_ms) {
                // Never above what holds afterwards.
                (Some(then), _) => (in_force(ppm.min(then), LeaseCause::Afterwards), step_ms),
                (None, Some(_)) => (in_force(ppm, LeaseCause::Afterwards), step_ms),
                (None, None) => (None, None),
            }
        }
    }
}

/// A limit that changes in equal steps.
struct Ramp {
    from: u32,
    to: u32,
    steps: u32,
    step_ms: u64,
}

impl Ramp {
    fn of(ramp_s: u16, from: u32, to: u32) -> Self {
        let ramp_s = u32::from(ramp_s);
        let steps = (ramp_s / RAMP_STEP_MIN_S).clamp(1, RAMP_STEPS_MAX);
        Self { from, to, steps, step_ms: u64::from(ramp_s) * 1_000 / u64::from(steps) }
    }

    /// The limit after so many milliseconds, and how long it stays if it changes again.
    fn after(&self, ms: u64) -> (u32, Option<u64>) {
        let whole = ms.checked_div(self.step_ms).unwrap_or(u64::MAX);
        match u32::try_from(whole).ok().filter(|done| *done < self.steps) {
            Some(done) => {
                let part = |limit: u32, parts: u32| u64::from(limit) * u64::from(parts);
                let sum = part(self.from, self.steps - done) + part(self.to, done);
                let ppm = u32::try_from(sum / u64::from(self.steps)).unwrap_or(FULL_PPM);
                (ppm, Some(self.step_ms - ms % self.step_ms))
            }
            None => (self.to, None),
        }
    }
}

/// A limit in millionths of the rated power, rounded down; `None` if that is needed and not known.
fn part(limit: Limit, rated_w: Option<u32>) -> Option<u32> {
    match limit {
        Limit::Permille(permille) => Some(u32::from(permille).saturating_mul(1_000).min(FULL_PPM)),
        Limit::Watts(watts) => {
            let rated = u64::from(rated_w.filter(|rated| *rated > 0)?);
            let ppm = u64::from(watts) * u64::from(FULL_PPM) / rated;
            Some(u32::try_from(ppm).unwrap_or(FULL_PPM).min(FULL_PPM))
        }
        Limit::Unknown => None,
    }
}

#[cfg(test)]
mod tests;

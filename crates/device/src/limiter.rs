//! The limit of one inverter: what was found, what is ordered, and the proof of the last change.

use core::num::NonZeroU8;
use core::time::Duration;

use ecowatt_model::lease::FULL_PPM;
use ecowatt_model::{BootEpoch, LeaseId, MonoMs, SourceNumber, UnixMs};
use ecowatt_profile::WRITE_REGISTERS_MAX;
use ecowatt_wire::{CommandFailure, LeaseCause, LimitChange};

use crate::commands::Outcome;
use crate::lease::InForce;
use crate::limits::{
    LIMIT_CHECK, LIMIT_RETRY_MAX, PROOF_MAX, PROOF_TOLERANCE_MIN_W, PROOF_WAIT_MAX,
};

/// Registers of a limit as they were before the first lease. Without one, the inverter is not
/// limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundLimit {
    /// The limit that they mean, in millionths of the rated power.
    pub(crate) ppm: u32,
    /// The first register.
    pub(crate) address: u16,
    words: [u16; WRITE_REGISTERS_MAX],
    count: NonZeroU8,
}

impl FoundLimit {
    /// Bytes in the slot: address (2), limit (4), number of words (1), words (2 each).
    pub(crate) const LEN: usize = 2 + 4 + 1 + 2 * WRITE_REGISTERS_MAX;

    pub(crate) fn new(address: u16, ppm: u32, found: &[u16]) -> Option<Self> {
        let mut words = [0; WRITE_REGISTERS_MAX];
        words.get_mut(..found.len())?.copy_from_slice(found);
        let count = NonZeroU8::new(u8::try_from(found.len()).ok()?)?;
        Some(Self { ppm, address, words, count })
    }

    pub(crate) fn words(&self) -> &[u16] {
        self.words.get(..usize::from(self.count.get())).unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.address.to_be_bytes());
        bytes[2..6].copy_from_slice(&self.ppm.to_be_bytes());
        bytes[6] = self.count.get();
        for (place, word) in bytes[7..].as_chunks_mut().0.iter_mut().zip(self.words) {
            *place = word.to_be_bytes();
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let ([a, b, c, d, e, f, count], rest) = bytes.split_first_chunk()?;
        let mut words = [0; WRITE_REGISTERS_MAX];
        for (word, bytes) in words.iter_mut().zip(rest.as_chunks().0) {
            *word = u16::from_be_bytes(*bytes);
        }
        let ppm = u32::from_be_bytes([*c, *d, *e, *f]);
        Self::new(u16::from_be_bytes([*a, *b]), ppm, words.get(..usize::from(*count))?)
    }
}

/// No number: of a limit or a time.
const ABSENT: u32 = u32::MAX;
const ABSENT_MS: u16 = u16::MAX;

/// A change of the limit, as small as a microcontroller needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// When it began.
    mono: MonoMs,
    /// 0 for none.
    lease: u32,
    ppm: u32,
    power_w: i32,
    confirmed_ms: u16,
    power_ms: u16,
    detail: u8,
    failure: CommandFailure,
    cause: LeaseCause,
    source: SourceNumber,
}

impl Change {
    pub(crate) const NONE: Self = Self {
        mono: MonoMs(0),
        lease: 0,
        ppm: ABSENT,
        power_w: 0,
        confirmed_ms: ABSENT_MS,
        power_ms: ABSENT_MS,
        detail: 0,
        failure: CommandFailure::None,
        cause: LeaseCause::Unknown,
        source: SourceNumber(0),
    };

    /// As it is reported in this epoch.
    pub(crate) fn reported(&self, epoch: BootEpoch, at: Option<UnixMs>) -> LimitChange {
        let ms = |ms: u16| (ms < ABSENT_MS).then_some(u32::from(ms));
        LimitChange {
            source: self.source,
            epoch,
            mono: self.mono,
            at,
            lease: (self.lease > 0).then_some(LeaseId(self.lease)),
            cause: self.cause,
            limit_ppm: (self.ppm < ABSENT).then_some(self.ppm),
            failure: self.failure,
            detail: self.detail.into(),
            confirmed_ms: ms(self.confirmed_ms),
            power_w: (self.power_ms < ABSENT_MS).then_some(self.power_w),
            power_ms: ms(self.power_ms),
        }
    }

    pub(crate) fn source(&self) -> SourceNumber {
        self.source
    }

    pub(crate) fn mono(&self) -> MonoMs {
        self.mono
    }

    pub(crate) fn failure(&self) -> CommandFailure {
        self.failure
    }

    pub(crate) fn cause(&self) -> LeaseCause {
        self.cause
    }

    pub(crate) fn ppm(&self) -> Option<u32> {
        (self.ppm < ABSENT).then_some(self.ppm)
    }
}

/// How far the last change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was ordered in this epoch.
    Idle,
    /// Its errand is under way, or waits.
    Ordered,
    /// The inverter has the limit; its power is yet to be measured.
    Measuring,
    /// It is finished.
    Done,
}

/// The limit of one inverter.
#[derive(Debug)]
pub(crate) struct Limiter {
    found: Option<FoundLimit>,
    /// When the leases are to be looked at again.
    next_at: MonoMs,
    /// When the limit is written again although the inverter has it, in seconds.
    refresh_at_s: u32,
    change: Change,
    stage: Stage,
    /// Attempts in a row that failed.
    failures: u8,
}

const NEVER: MonoMs = MonoMs(u64::MAX);

impl Limiter {
    /// Of an inverter that no lease limits.
    pub(crate) const IDLE: Self = Self {
        found: None,
        next_at: NEVER,
        refresh_at_s: ABSENT,
        change: Change::NONE,
        stage: Stage::Idle,
        failures: 0,
    };

    pub(crate) fn found(&self) -> Option<FoundLimit> {
        self.found
    }

    pub(crate) fn set_found(&mut self, found: Option<FoundLimit>) {
        self.found = found;
    }

    pub(crate) fn next_at(&self) -> MonoMs {
        self.next_at
    }

    /// Has the leases looked at again at this instant at the latest, unless the inverter refused
    /// last time.
    pub(crate) fn wake(&mut self, at: MonoMs) {
        if self.failures == 0 {
            self.next_at = self.next_at.min(at);
        }
    }

    /// The same for new leases, whatever the inverter did with the last ones.
    pub(crate) fn begin_anew(&mut self, at: MonoMs) {
        (self.failures, self.next_at) = (0, at);
    }

    /// Whether a reply of the server may change what holds.
    pub(crate) fn waits_for_server(&self) -> bool {
        self.stage == Stage::Idle || self.change.cause == LeaseCause::Fallback
    }

    /// What the leases want holds until then.
    pub(crate) fn looked(&mut self, next_at: MonoMs) {
        self.next_at = next_at;
    }

    /// Whether the inverter's own timer has to be restarted.
    pub(crate) fn is_refresh_due(&self, now: MonoMs) -> bool {
        u64::from(self.refresh_at_s) * 1_000 <= now.0
    }

    /// Notes what is ordered, of which `ppm` is what the inverter can do; without either, what was
    /// found. Returns the change before it if that is finished by it.
    pub(crate) fn order(
        &mut self,
        now: MonoMs,
        source: SourceNumber,
        in_force: Option<InForce>,
        ppm: Option<u32>,
    ) -> Option<Change> {
        let ppm = ppm.unwrap_or(ABSENT);
        let (lease, cause) = match in_force {
            Some(InForce { lease, cause, ppm: _ }) => (lease.0, cause),
            None => (0, LeaseCause::Released),
        };
        let is_its = (self.change.lease, self.change.cause) == (lease, cause);
        if is_its && self.stage == Stage::Ordered {
            self.change.ppm = ppm;
            return None;
        }
        let is_held = is_its && self.stage != Stage::Idle && self.change.ppm == ppm;
        if is_held && self.change.failure == CommandFailure::None {
            return None;
        }
        let former = self.close();
        self.stage = Stage::Ordered;
        self.change = Change { mono: now, lease, ppm, cause, source, ..Change::NONE };
        former
    }

    /// The inverter has what was ordered. `reversion` is how long it keeps it by itself, from its
    /// last write on: a look at the register does not restart that time.
    pub(crate) fn confirmed(&mut self, now: MonoMs, reversion: Option<Duration>) {
        self.failures = 0;
        let refresh_at_s = reversion.map_or(ABSENT, |reversion| {
            u32::try_from(now.plus(reversion / 2).0 / 1_000).unwrap_or(ABSENT)
        });
        let is_refreshed = self.is_refresh_due(now);
        self.refresh_at_s =
            if is_refreshed { refresh_at_s } else { refresh_at_s.min(self.refresh_at_s) };
        let refresh_at = MonoMs(u64::from(self.refresh_at_s) * 1_000);
        self.next_at = self.next_at.min(now.plus(LIMIT_CHECK)).min(refresh_at);
        if self.stage == Stage::Ordered {
            self.change.confirmed_ms = short_ms(now.since(self.change.mono));
            self.stage = Stage::Measuring;
        }
    }

    /// The inverter is free of leases.
    pub(crate) fn released(&mut self) {
        (self.found, self.refresh_at_s, self.next_at) = (None, ABSENT, NEVER);
    }

    /// It failed. Returns the change to report, unless the same was reported before. The next attempt is
    /// after a pause that grows.
    pub(crate) fn failed(&mut self, now: MonoMs, outcome: Outcome) -> Option<Change> {
        let pause = LIMIT_CHECK.saturating_mul(1 << self.failures.min(8)).min(LIMIT_RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.next_at = now.plus(pause);
        self.change.failure = outcome.failure;
        self.change.detail = u8::try_from(outcome.detail).unwrap_or(u8::MAX);
        let is_new = self.stage != Stage::Done && self.failures == 1;
        self.stage = Stage::Done;
        is_new.then_some(self.change)
    }

    /// A sample was begun.
    pub(crate) fn sampled(&mut self, began: MonoMs) {
        let ms = short_ms(began.since(self.change.mono));
        if self.stage == Stage::Measuring && ms >= self.change.confirmed_ms {
            self.change.power_ms = ms;
        }
    }

    /// Takes the power of the last sample; returns the change if that proves it, or if it has had its
    /// time.
    pub(crate) fn measured(&mut self, watts: i32, rated_w: Option<u32>) -> Option<Change> {
        let Change { confirmed_ms, power_ms, .. } = self.change;
        if self.stage != Stage::Measuring || power_ms == ABSENT_MS {
            return None;
        }
        self.change.power_w = watts;
        let since = power_ms.saturating_sub(confirmed_ms);
        let is_over = Duration::from_millis(since.into()) >= PROOF_MAX;
        let is_proven = match (self.change.ppm(), rated_w) {
            (None, _) => true,
            // Without the rated power, nothing but zero can be told apart.
            (Some(ppm), None) if ppm > 0 => false,
            (Some(ppm), rated) => {
                let rated = u64::from(rated.unwrap_or(0));
                let limit = rated * u64::from(ppm) / u64::from(FULL_PPM);
                let tolerance = (rated * 4 / 100).max(PROOF_TOLERANCE_MIN_W);
                u64::try_from(watts).unwrap_or(0) <= limit + tolerance
            }
        };
        if is_over || is_proven { self.close() } else { None }
    }

    /// When a change is reported without a measurement.
    pub(crate) fn proof_at(&self) -> Option<MonoMs> {
        let is_open = self.stage == Stage::Measuring;
        is_open.then(|| self.change.mono.plus(PROOF_WAIT_MAX))
    }

    /// Finishes the change as it is; returns it if it was not finished.
    pub(crate) fn close(&mut self) -> Option<Change> {
        let is_open = matches!(self.stage, Stage::Ordered | Stage::Measuring);
        if is_open {
            self.stage = Stage::Done;
        }
        is_open.then_some(self.change)
    }
}

/// Milliseconds, at most the largest that is not [`ABSENT_MS`].
fn short_ms(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis()).unwrap_or(ABSENT_MS).min(ABSENT_MS - 1)
}

//! Deliberate faults, planned or created on request, and which of them affect a request.
//!
//! Deciding is pure: a list, an instant and random numbers determine the effects on one exchange.
//! [`damage`] changes the bytes of an answer.

pub mod damage;

use std::time::Duration;

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::UnixMs;
use serde::{Deserialize, Serialize};

pub use damage::Damage;

use crate::physics::random::Random;
use crate::scale;

/// Maximum number of faults in a list.
pub const FAULTS_MAX: usize = 64;

/// Maximum delay of an answer.
pub const DELAY_MAX: Duration = Duration::from_secs(600);

/// How long a restarting inverter is unreachable.
pub const REBOOT_MS: i64 = 60_000;

/// Kinds of faults. The aliases are the names used by the original simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An answer has a wrong checksum (on TCP, which has none, a wrong protocol identifier).
    #[serde(alias = "crc_error")]
    WrongCrc,
    /// An answer ends early.
    #[serde(alias = "truncated_payload")]
    Truncated,
    /// Noise precedes an answer.
    #[serde(alias = "garbage_data")]
    Garbage,
    /// An answer has more data than requested.
    #[serde(alias = "buffer_overflow")]
    Overlong,
    /// An answer is sent twice.
    Duplicate,
    /// An answer has a different unit.
    WrongUnit,
    /// An answer has a different function.
    WrongFunction,
    /// The answer to the previous request is sent.
    StaleAnswer,
    /// An exception with `code` (default: 4).
    #[serde(alias = "modbus_exception")]
    Exception,
    /// No answer.
    #[serde(alias = "timeout")]
    Silence,
    /// An answer is `delay_ms` late, in real time.
    Delay,
    /// The connection is reset.
    Reset,
    /// Reads return the registers from when the fault began.
    Frozen,
    /// Unreachable for 60 s; then the clock starts at 2000-01-01, and day counter and limit are
    /// reset.
    Reboot,
    /// No answer while it is dark.
    NightSleep,
    /// Writes are confirmed but have no effect.
    WriteIgnored,
    /// A second TCP client is refused.
    RefuseSecondClient,
    /// The grid is lost for `for_s` seconds (default: 10).
    GridLoss,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::WrongCrc,
        Self::Truncated,
        Self::Garbage,
        Self::Overlong,
        Self::Duplicate,
        Self::WrongUnit,
        Self::WrongFunction,
        Self::StaleAnswer,
        Self::Exception,
        Self::Silence,
        Self::Delay,
        Self::Reset,
        Self::Frozen,
        Self::Reboot,
        Self::NightSleep,
        Self::WriteIgnored,
        Self::RefuseSecondClient,
        Self::GridLoss,
    ];

    /// The name used in plans.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongCrc => "wrong_crc",
            Self::Truncated => "truncated",
            Self::Garbage => "garbage",
            Self::Overlong => "overlong",
            Self::Duplicate => "duplicate",
            Self::WrongUnit => "wrong_unit",
            Self::WrongFunction => "wrong_function",
            Self::StaleAnswer => "stale_answer",
            Self::Exception => "exception",
            Self::Silence => "silence",
            Self::Delay => "delay",
            Self::Reset => "reset",
            Self::Frozen => "frozen",
            Self::Reboot => "reboot",
            Self::NightSleep => "night_sleep",
            Self::WriteIgnored => "write_ignored",
            Self::RefuseSecondClient => "refuse_second_client",
            Self::GridLoss => "grid_loss",
        }
    }
}

/// Counts per kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts([u64; Kind::ALL.len()]);

impl FaultCounts {
    /// All kinds with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> + use<> {
        Kind::ALL.into_iter().zip(self.0)
    }

    /// The count of this kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Adds one to the count of this kind.
    pub fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl Serialize for FaultCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(kind, count)| (kind.name(), count)))
    }
}

/// A fault as written in a plan or sent to the control port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// The kind of fault.
    pub kind: Kind,
    /// Probability from 0 to 1 that it affects a request while it is active.
    #[serde(default = "always")]
    pub probability: f64,
    /// When it begins; default: at once.
    #[serde(default)]
    pub from: Option<jiff::Timestamp>,
    /// When it begins, in seconds after the plan was loaded or the request received; instead of
    /// `from`.
    #[serde(default)]
    pub after_s: Option<f64>,
    /// When it ends; default, without `for_s` too: never.
    #[serde(default, alias = "to")]
    pub until: Option<jiff::Timestamp>,
    /// Duration in seconds; instead of `until`.
    #[serde(default)]
    pub for_s: Option<f64>,
    /// First and last register; limits it to requests that touch one of them.
    #[serde(default)]
    pub addresses: Option<[u16; 2]>,
    /// How many times it happens at most.
    #[serde(default)]
    pub times: Option<u32>,
    /// For `exception`: the code, 1 to 11.
    #[serde(default)]
    pub code: Option<u8>,
    /// For `delay`.
    #[serde(default)]
    pub delay_ms: Option<u64>,
}

fn always() -> f64 {
    1.0
}

/// Why a fault is not valid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FaultError {
    /// Not between 0 and 1, or below 1 for an event that happens once.
    #[error("probability must be from 0 to 1, and 1 for reboot and grid_loss")]
    Probability,
    /// Two values for the same limit, a negative duration, or an end before the beginning.
    #[error("use from or after_s, and until or for_s; the end must be after the beginning")]
    Time,
    /// The first is above the last.
    #[error("addresses must be the first and the last register")]
    Addresses,
    /// Not an exception code, or a code for another kind.
    #[error("code must be from 1 to 11, for exception only")]
    Code,
    /// Missing, too long, or for another kind.
    #[error("delay_ms must be from 1 to 600000, for delay only")]
    Delay,
    /// The list is full.
    #[error("there are already {FAULTS_MAX} faults")]
    Full,
}

/// A checked fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    kind: Kind,
    effect: Effect,
    from: UnixMs,
    until: Option<UnixMs>,
    probability: f64,
    addresses: Option<[u16; 2]>,
    left: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    Damage(Damage),
    Exception(ExceptionCode),
    Delay(Duration),
    Silence,
    Reset,
    Frozen,
    NightSleep,
    WriteIgnored,
    RefuseSecondClient,
    Once(Event),
}

/// A fault of the inverter itself at an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// It loses power.
    Reboot,
    /// The grid fails for some seconds.
    GridLoss {
        /// Duration.
        seconds: f64,
    },
}

/// Effects on one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Effects {
    /// How the answer is damaged, if at all.
    pub damage: Option<Damage>,
    /// The exception that is answered, if any.
    pub exception: Option<ExceptionCode>,
    /// Delay of the answer.
    pub delay: Duration,
    /// No answer is sent.
    pub is_silent: bool,
    /// The connection is reset.
    pub is_reset: bool,
    /// Reads return frozen registers.
    pub is_frozen: bool,
    /// No answer is sent while it is dark.
    pub is_mute_at_night: bool,
    /// Writes have no effect.
    pub ignores_writes: bool,
}

/// The registers that a request touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first register.
    pub address: u16,
    /// Number of registers.
    pub count: u16,
}

/// The faults of one inverter.
#[derive(Debug, Clone)]
pub struct Faults {
    list: Vec<(u64, Fault)>,
    next_id: u64,
    random: Random,
    effect_counts: FaultCounts,
}

/// A fault as shown by the control port.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultStatus {
    /// Id for removing it.
    pub id: u64,
    /// Its kind.
    pub kind: Kind,
    /// When it begins, in Unix milliseconds.
    pub from_ms: i64,
    /// When it ends, in Unix milliseconds.
    pub until_ms: Option<i64>,
    /// Probability for each request.
    pub probability: f64,
    /// First and last register that it is limited to.
    pub addresses: Option<[u16; 2]>,
    /// How many more times it happens.
    pub times_left: Option<u32>,
    /// Whether it is active at the moment.
    pub is_active: bool,
}

impl FaultSpec {
    /// A fault of this kind that begins at once, never ends and affects every request.
    #[must_use]
    pub fn always(kind: Kind) -> Self {
        Self {
            kind,
            probability: 1.0,
            from: None,
            after_s: None,
            until: None,
            for_s: None,
            addresses: None,
            times: None,
            code: None,
            delay_ms: None,
        }
    }

    /// Checks the fault; relative times count from `now`.
    ///
    /// # Errors
    /// The first value that is not valid.
    pub fn check(&self, now: UnixMs) -> Result<Fault, FaultError> {
        let is_event = matches!(self.kind, Kind::Reboot | Kind::GridLoss);
        if !(0.0..=1.0).contains(&self.probability) || (is_event && self.probability < 1.0) {
            return Err(FaultError::Probability);
        }
        if self.addresses.is_some_and(|[first, last]| first > last) {
            return Err(FaultError::Addresses);
        }
        let (from, until) = self.times(now)?;
        Ok(Fault {
            kind: self.kind,
            effect: self.effect()?,
            from,
            until,
            probability: self.probability,
            addresses: self.addresses,
            left: if is_event { Some(1) } else { self.times },
        })
    }

    fn times(&self, now: UnixMs) -> Result<(UnixMs, Option<UnixMs>), FaultError> {
        let from = match (self.from, self.after_s) {
            (Some(_), Some(_)) => return Err(FaultError::Time),
            (Some(from), None) => UnixMs(from.as_millisecond()),
            (None, after_s) => now.plus(seconds(after_s.unwrap_or(0.0))?),
        };
        let until = match (self.until, self.for_s) {
            (Some(_), Some(_)) => return Err(FaultError::Time),
            (Some(until), None) => Some(UnixMs(until.as_millisecond())),
            (None, Some(for_s)) => Some(from.plus(seconds(for_s)?)),
            (None, None) => None,
        };
        if until.is_some_and(|until| until <= from) {
            return Err(FaultError::Time);
        }
        Ok((from, until))
    }

    fn effect(&self) -> Result<Effect, FaultError> {
        if self.code.is_some() && self.kind != Kind::Exception {
            return Err(FaultError::Code);
        }
        if self.delay_ms.is_some() && self.kind != Kind::Delay {
            return Err(FaultError::Delay);
        }
        Ok(match self.kind {
            Kind::WrongCrc => Effect::Damage(Damage::WrongCrc),
            Kind::Truncated => Effect::Damage(Damage::Truncated),
            Kind::Garbage => Effect::Damage(Damage::Garbage),
            Kind::Overlong => Effect::Damage(Damage::Overlong),
            Kind::Duplicate => Effect::Damage(Damage::Duplicate),
            Kind::WrongUnit => Effect::Damage(Damage::WrongUnit),
            Kind::WrongFunction => Effect::Damage(Damage::WrongFunction),
            Kind::StaleAnswer => Effect::Damage(Damage::Stale),
            Kind::Exception => match self.code.unwrap_or(4) {
                code @ 1..=11 => Effect::Exception(ExceptionCode::from_code(code)),
                _ => return Err(FaultError::Code),
            },
            Kind::Silence => Effect::Silence,
            Kind::Delay => match self.delay_ms.map(Duration::from_millis) {
                Some(delay) if !delay.is_zero() && delay <= DELAY_MAX => Effect::Delay(delay),
                _ => return Err(FaultError::Delay),
            },
            Kind::Reset => Effect::Reset,
            Kind::Frozen => Effect::Frozen,
            Kind::Reboot => Effect::Once(Event::Reboot),
            Kind::NightSleep => Effect::NightSleep,
            Kind::WriteIgnored => Effect::WriteIgnored,
            Kind::RefuseSecondClient => Effect::RefuseSecondClient,
            Kind::GridLoss => Effect::Once(Event::GridLoss { seconds: self.for_s.unwrap_or(10.0) }),
        })
    }
}

impl Fault {
    fn is_active(&self, now: UnixMs) -> bool {
        self.left != Some(0) && self.from <= now && self.until.is_none_or(|until| now < until)
    }

    fn is_over(&self, now: UnixMs) -> bool {
        self.left == Some(0) || self.until.is_some_and(|until| until <= now)
    }

    fn touches(&self, span: Option<Span>) -> bool {
        match (self.addresses, span) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some([first, last]), Some(span)) => {
                let end = u32::from(span.address) + u32::from(span.count);
                u32::from(first) < end && span.address <= last
            }
        }
    }

    fn strikes(&mut self, random: &mut Random) -> bool {
        let is_hit = self.probability >= 1.0 || random.happens(self.probability);
        if is_hit {
            self.left = self.left.map(|left| left.saturating_sub(1));
        }
        is_hit
    }
}

impl Faults {
    /// No faults; `seed` decides which requests are affected under a probability.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            list: Vec::new(),
            next_id: 1,
            random: Random::new(seed, 4),
            effect_counts: FaultCounts::default(),
        }
    }

    /// Adds a fault and returns its id.
    ///
    /// # Errors
    /// When the list is full of faults that have not ended.
    pub fn add(&mut self, fault: Fault, now: UnixMs) -> Result<u64, FaultError> {
        self.list.retain(|(_, fault)| !fault.is_over(now));
        if self.list.len() >= FAULTS_MAX {
            return Err(FaultError::Full);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.list.push((id, fault));
        Ok(id)
    }

    /// Removes a fault; returns whether it existed.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.list.len();
        self.list.retain(|(other, _)| *other != id);
        self.list.len() < before
    }

    /// Removes all faults.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// The faults that have not ended.
    #[must_use]
    pub fn status(&self, now: UnixMs) -> Vec<FaultStatus> {
        let live = self.list.iter().filter(|(_, fault)| !fault.is_over(now));
        live.map(|(id, fault)| FaultStatus {
            id: *id,
            kind: fault.kind,
            from_ms: fault.from.0,
            until_ms: fault.until.map(|until| until.0),
            probability: fault.probability,
            addresses: fault.addresses,
            times_left: fault.left,
            is_active: fault.is_active(now),
        })
        .collect()
    }

    /// Takes the next event that is due by `now`, with its instant.
    pub fn next_event(&mut self, now: UnixMs) -> Option<(UnixMs, Event)> {
        let due = self.list.iter_mut().filter_map(|(_, fault)| match fault.effect {
            Effect::Once(event) if fault.left != Some(0) && fault.from <= now => {
                Some((fault, event))
            }
            _ => None,
        });
        let (fault, event) = due.min_by_key(|(fault, _)| fault.from)?;
        fault.left = Some(0);
        self.effect_counts.count(fault.kind);
        Some((fault.from, event))
    }

    /// When the registers were frozen, if they are.
    #[must_use]
    pub fn frozen_since(&self, now: UnixMs) -> Option<UnixMs> {
        let frozen =
            self.list.iter().filter(|(_, f)| f.effect == Effect::Frozen && f.is_active(now));
        frozen.map(|(_, fault)| fault.from).min()
    }

    /// Whether clients beyond the first are refused.
    pub fn refuses_second_client(&mut self, now: UnixMs) -> bool {
        let random = &mut self.random;
        let refuses = self.list.iter_mut().any(|(_, fault)| {
            fault.effect == Effect::RefuseSecondClient
                && fault.is_active(now)
                && fault.strikes(random)
        });
        if refuses {
            self.effect_counts.count(Kind::RefuseSecondClient);
        }
        refuses
    }

    /// Returns the effects on a request; if several faults damage it, the first in the list wins.
    pub fn strike(&mut self, span: Option<Span>, now: UnixMs) -> Effects {
        let mut effects = Effects::default();
        for (_, fault) in &mut self.list {
            let is_per_request =
                !matches!(fault.effect, Effect::Once(_) | Effect::RefuseSecondClient);
            if !is_per_request || !fault.is_active(now) || !fault.touches(span) {
                continue;
            }
            if !fault.strikes(&mut self.random) {
                continue;
            }
            // Only the inverter knows whether it is dark enough for this kind.
            if fault.kind != Kind::NightSleep {
                self.effect_counts.count(fault.kind);
            }
            match fault.effect {
                Effect::Damage(damage) => effects.damage = effects.damage.or(Some(damage)),
                Effect::Exception(code) => effects.exception = effects.exception.or(Some(code)),
                Effect::Delay(delay) => effects.delay = effects.delay.max(delay),
                Effect::Silence => effects.is_silent = true,
                Effect::Reset => effects.is_reset = true,
                Effect::Frozen => effects.is_frozen = true,
                Effect::NightSleep => effects.is_mute_at_night = true,
                Effect::WriteIgnored => effects.ignores_writes = true,
                Effect::RefuseSecondClient | Effect::Once(_) => {}
            }
        }
        effects
    }

    /// How often each kind has had an effect: on a request, a client or the inverter itself.
    #[must_use]
    pub fn effect_counts(&self) -> FaultCounts {
        self.effect_counts
    }

    /// Counts an effect that only the inverter can detect.
    pub fn count(&mut self, kind: Kind) {
        self.effect_counts.count(kind);
    }

    /// The random numbers for the damage itself.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

fn seconds(value: f64) -> Result<Duration, FaultError> {
    // A hundred years; longer is a mistake, and shorter always fits.
    if !(0.0..=3.2e9).contains(&value) {
        return Err(FaultError::Time);
    }
    Ok(Duration::from_millis(scale::to_u64(value * 1_000.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_782_039_600_000);

    fn spec(json: &str) -> Result<FaultSpec, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn faults(specs: &[&str]) -> Faults {
        let mut faults = Faults::new(1);
        for text in specs {
            faults.add(spec(text).unwrap().check(NOW).unwrap(), NOW).unwrap();
        }
        faults
    }

    fn later(ms: i64) -> UnixMs {
        UnixMs(NOW.0 + ms)
    }

    #[test]
    fn names_of_the_original_simulator_are_accepted() {
        for (name, kind) in [
            ("crc_error", Kind::WrongCrc),
            ("truncated_payload", Kind::Truncated),
            ("garbage_data", Kind::Garbage),
            ("buffer_overflow", Kind::Overlong),
            ("timeout", Kind::Silence),
            ("modbus_exception", Kind::Exception),
        ] {
            assert_eq!(spec(&format!(r#"{{"kind":"{name}"}}"#)).unwrap().kind, kind);
        }
        assert!(spec(r#"{"kind":"silence","colour":1}"#).is_err());
        assert!(spec(r#"{"kind":"mischief"}"#).is_err());
    }

    #[test]
    fn names_match_those_in_a_plan() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(kind as usize, index);
            let mut counts = FaultCounts::default();
            counts.count(kind);
            assert_eq!(counts.of(kind), 1);
            assert_eq!(serde_json::to_value(counts).unwrap()[kind.name()], 1);
        }
    }

    #[test]
    fn a_fault_begins_and_ends_at_its_times() {
        let mut faults = faults(&[r#"{"kind":"silence","after_s":5,"for_s":10}"#]);
        let mut is_silent = |ms| faults.strike(None, later(ms)).is_silent;
        assert_eq!(
            [0, 4_999, 5_000, 14_999, 15_000].map(&mut is_silent),
            [false, false, true, true, false]
        );
        assert!(faults.status(later(15_000)).is_empty());
    }

    #[test]
    fn absolute_times_are_rfc_3339() {
        let from =
            r#"{"kind":"silence","from":"2026-06-21T11:00:10Z","to":"2026-06-21T13:00:20+02:00"}"#;
        let mut faults = faults(&[from]);
        let mut is_silent = |ms| faults.strike(None, later(ms)).is_silent;
        assert_eq!([9_999, 10_000, 20_000].map(&mut is_silent), [false, true, false]);
    }

    #[test]
    fn a_probability_affects_its_share_of_requests() {
        let mut faults = faults(&[r#"{"kind":"wrong_crc","probability":0.25}"#]);
        let hits = (0..4_000).filter(|_| faults.strike(None, NOW).damage.is_some()).count();
        assert!((900..1_100).contains(&hits), "{hits}");
    }

    #[test]
    fn a_fault_may_be_limited_to_registers_and_to_a_number_of_times() {
        let mut faults = faults(&[r#"{"kind":"exception","code":2,"addresses":[4,6],"times":2}"#]);
        let mut code = |address, count| faults.strike(Some(Span { address, count }), NOW).exception;
        assert_eq!(code(0, 4), None);
        assert_eq!(code(7, 3), None);
        assert_eq!(code(0, 5), Some(ExceptionCode::IllegalDataAddress));
        assert_eq!(code(6, 1), Some(ExceptionCode::IllegalDataAddress));
        assert_eq!(code(6, 1), None);
    }

    #[test]
    fn events_happen_once_and_in_order() {
        let mut faults =
            faults(&[r#"{"kind":"reboot","after_s":9}"#, r#"{"kind":"grid_loss","after_s":3}"#]);
        assert_eq!(faults.next_event(later(2_000)), None);
        let loss = Event::GridLoss { seconds: 10.0 };
        assert_eq!(faults.next_event(later(10_000)), Some((later(3_000), loss)));
        assert_eq!(faults.next_event(later(10_000)), Some((later(9_000), Event::Reboot)));
        assert_eq!(faults.next_event(later(10_000)), None);
    }

    #[test]
    fn contradictions_are_refused() {
        for (text, error) in [
            (r#"{"kind":"silence","probability":1.5}"#, FaultError::Probability),
            (r#"{"kind":"reboot","probability":0.5}"#, FaultError::Probability),
            (r#"{"kind":"silence","for_s":-1}"#, FaultError::Time),
            (r#"{"kind":"silence","for_s":0}"#, FaultError::Time),
            (r#"{"kind":"silence","for_s":1e300}"#, FaultError::Time),
            (r#"{"kind":"silence","addresses":[5,4]}"#, FaultError::Addresses),
            (r#"{"kind":"exception","code":12}"#, FaultError::Code),
            (r#"{"kind":"exception","code":0}"#, FaultError::Code),
            (r#"{"kind":"silence","code":3}"#, FaultError::Code),
            (r#"{"kind":"delay"}"#, FaultError::Delay),
            (r#"{"kind":"delay","delay_ms":600001}"#, FaultError::Delay),
        ] {
            assert_eq!(spec(text).unwrap().check(NOW), Err(error), "{text}");
        }
    }

    #[test]
    fn the_list_is_bounded() {
        let mut faults = Faults::new(1);
        let fault = FaultSpec::always(Kind::Silence).check(NOW).unwrap();
        for _ in 0..FAULTS_MAX {
            faults.add(fault.clone(), NOW).unwrap();
        }
        assert_eq!(faults.add(fault, NOW), Err(FaultError::Full));
        assert!(faults.remove(3) && !faults.remove(3));
    }
}

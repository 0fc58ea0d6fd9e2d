//! A validated profile: the contents of a TOML file about one family of inverters.

mod parse;
mod resolve;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use ecowatt_config_text::{Problem, list_problems};
use ecowatt_model::Unit;

use crate::decimal::Scaled;
use crate::layout::{CounterKind, Label};
use crate::number_type::{Kind, RawWords, Table, WordOrder};
use crate::plan::{Group, Transport};
use crate::sunspec::FoundModel;
use crate::write_rule::WriteRule;

pub use parse::RATED_W;
pub use resolve::ResolveError;

/// One family of inverters.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub(crate) id: String,
    pub(crate) version: u32,
    pub(crate) title: String,
    pub(crate) sources: Vec<String>,
    pub(crate) rated_w: Option<u32>,
    pub(crate) transport: TransportSpec,
    pub(crate) groups: Vec<NamedGroup>,
    pub(crate) points: Vec<PointSpec>,
    pub(crate) sleep: Vec<SleepSpec>,
    /// The SunSpec models that the points of a resolved profile are in.
    pub(crate) headers: Vec<FoundModel>,
    /// Points of the device that do not fit in one read together with their scale factor.
    pub(crate) out_of_reach: Vec<String>,
}

/// Points that are read together, by the name of their group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGroup {
    /// The group's name.
    pub name: String,
    /// When its points are read.
    pub group: Group,
}

/// How to talk to the inverter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportSpec {
    /// Transports that it offers.
    pub kinds: Vec<TransportKind>,
    /// Factory default of the unit (serial address).
    pub unit: u8,
    /// Its serial port, if it has one.
    pub serial: Option<SerialSpec>,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// Minimum pause between an answer and the next request.
    pub min_gap: Duration,
    /// Minimum pause after a connection is opened.
    pub connect_delay: Duration,
    /// Maximum number of registers that it returns in one read.
    pub registers_max: u16,
    /// Longest run of unneeded registers to read over; default: derived from the transport.
    pub hole_max: Option<u16>,
    /// Registers that must not be read over.
    pub barriers: Vec<Barrier>,
}

/// A register that must not be read over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// Table of the register.
    pub table: Table,
    /// Address of the register.
    pub address: u16,
}

/// A way to reach an inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// Modbus TCP.
    Tcp,
    /// Modbus RTU on a serial line.
    Rtu,
    /// RTU frames in a TCP stream.
    RtuOverTcp,
}

/// Settings of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialSpec {
    /// Bits per second.
    pub baud: u32,
    /// Parity and stop bits.
    pub format: SerialFormat,
}

/// Parity and stop bits around eight data bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SerialFormat {
    /// 8N1.
    NoneOne,
    /// 8N2.
    NoneTwo,
    /// 8E1.
    EvenOne,
    /// 8O1.
    OddOne,
}

impl SerialFormat {
    /// Bits on the line per byte, start bit included.
    #[must_use]
    pub const fn bits_per_char(self) -> u8 {
        match self {
            Self::NoneOne => 10,
            Self::NoneTwo | Self::EvenOne | Self::OddOne => 11,
        }
    }
}

/// One point of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct PointSpec {
    /// Canonical name, or one under `x.`; the name of a repeating SunSpec point contains `{n}`.
    pub name: String,
    /// Unit of the value.
    pub unit: Unit,
    /// Where its number is stored.
    pub place: RegisterPlace,
    /// Value of one count, in units of 10^`exponent`.
    pub multiplier: i64,
    /// Decimal exponent of the values.
    pub exponent: i8,
    /// Smallest plausible value, in units of 10^`exponent`.
    pub min: Option<i64>,
    /// Largest plausible value, in units of 10^`exponent`.
    pub max: Option<i64>,
    /// Smallest plausible value for each watt of rated power.
    pub min_rated: Option<Scaled>,
    /// Largest plausible value for each watt of rated power; for an energy, hours at rated power.
    pub max_rated: Option<Scaled>,
    /// Set if the value is a counter.
    pub counter: Option<CounterKind>,
    /// Index into [`Profile::groups`].
    pub group: usize,
    /// Names of its states or flags.
    pub labels: Vec<Label>,
    /// How it may be written, if at all.
    pub write: Option<WriteRule>,
}

/// Where a point's number is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterPlace {
    /// At a known address.
    Registers {
        /// Table of the registers.
        table: Table,
        /// First register.
        address: u16,
        /// Number of registers.
        count: u16,
        /// Type of the number.
        kind: Kind,
        /// Order of its words.
        word_order: WordOrder,
        /// Bit patterns that mean "no value".
        sentinels: Vec<u64>,
        /// Register of the SunSpec scale factor.
        scale_address: Option<u16>,
    },
    /// In the first of these models that the device implements.
    SunSpec(Vec<SunSpecPoint>),
}

/// A point of a SunSpec model, written `103:W`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SunSpecPoint {
    /// Number of the model.
    pub model: u16,
    /// SunSpec's name of the point.
    pub point: String,
}

/// A condition of the sleep rule, on a point by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SleepSpec {
    pub(crate) point: String,
    pub(crate) test: SleepSpecTest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SleepSpecTest {
    /// The value is below this, in units of 10^exponent of the point.
    Below(i64),
    /// The raw word is one of these.
    OneOf(Vec<u16>),
    /// The word is the one with one of these labels.
    Labelled(Vec<String>),
}

/// Why a text is not a valid profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// All that is wrong with it.
    #[error("not a valid profile: {}", list_problems(.0))]
    Invalid(Vec<Problem>),
}

impl Profile {
    /// Parses and checks a TOML file.
    ///
    /// # Errors
    /// When it is not a valid profile; all problems are listed.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        parse::parse(text)
    }

    /// Id, such as `ecowatt/seed-sim`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Version; it increases with every change that affects values.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Human-readable name of the inverters.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The documents that the register map comes from.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Rated AC power in watts. If the inverter's own is not known, the largest in the family.
    #[must_use]
    pub const fn rated_w(&self) -> Option<u32> {
        self.rated_w
    }

    /// The profile for an inverter with this rated power.
    #[must_use]
    pub fn rated(&self, rated_w: u32) -> Self {
        Self { rated_w: Some(rated_w), ..self.clone() }
    }

    /// How to talk to the inverter.
    #[must_use]
    pub const fn transport(&self) -> &TransportSpec {
        &self.transport
    }

    /// The groups of its points.
    #[must_use]
    pub fn groups(&self) -> &[NamedGroup] {
        &self.groups
    }

    /// All points.
    #[must_use]
    pub fn points(&self) -> &[PointSpec] {
        &self.points
    }

    /// Returns the point with this name.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<&PointSpec> {
        self.points.iter().find(|point| point.name == name)
    }

    /// Whether the device's SunSpec models must be discovered before the profile can be compiled.
    #[must_use]
    pub fn needs_discovery(&self) -> bool {
        self.points.iter().any(|point| matches!(point.place, RegisterPlace::SunSpec(_)))
    }

    /// Cost of a request over this kind of link, at the profile's serial speed.
    #[must_use]
    pub fn link_cost(&self, kind: TransportKind) -> Transport {
        match (kind, self.transport.serial) {
            (TransportKind::Tcp, _) | (TransportKind::RtuOverTcp, None) => Transport::TCP,
            (TransportKind::Rtu | TransportKind::RtuOverTcp, Some(serial)) => {
                Transport::serial(serial.baud)
            }
            (TransportKind::Rtu, None) => Transport::serial(9_600),
        }
    }
}

/// The smallest and largest plausible value of a point, if they are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlausibleRange {
    /// Smallest plausible value.
    pub min: Option<i64>,
    /// Largest plausible value.
    pub max: Option<i64>,
}

impl PointSpec {
    /// Returns the smallest and largest plausible value for an inverter with this rated power, in
    /// units of 10^`exponent`.
    #[must_use]
    pub fn limits(&self, rated_w: Option<u32>) -> PlausibleRange {
        let of_rated = |factor: Option<Scaled>| factor?.times(rated_w?, self.exponent);
        let narrower = |one: Option<i64>, other: Option<i64>, is_min: bool| match (one, other) {
            (Some(one), Some(other)) if is_min => Some(one.max(other)),
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        PlausibleRange {
            min: narrower(self.min, of_rated(self.min_rated), true),
            max: narrower(self.max, of_rated(self.max_rated), false),
        }
    }

    /// Encodes a value in the point's unit as words, as an inverter would hold them.
    ///
    /// `scale_factor` is the current SunSpec scale factor, if the point has one. Returns `None` if
    /// the value does not fit, the point is text or its place is not yet known.
    #[must_use]
    pub fn encode(&self, value: f64, scale_factor: Option<i8>) -> Option<RawWords> {
        let RegisterPlace::Registers { kind, word_order, .. } = &self.place else { return None };
        let count = match scale_factor {
            Some(factor) => value / std::primitive::f64::powi(10.0, i32::from(factor)),
            None => {
                let places = -i32::from(self.exponent);
                value * std::primitive::f64::powi(10.0, places) / as_float(self.multiplier)
            }
        };
        if *kind == Kind::F32 {
            return kind.encode_f32(*word_order, narrow(value));
        }
        kind.encode(*word_order, whole(count)?)
    }
}

#[expect(clippy::cast_precision_loss, reason = "multipliers are small")]
fn as_float(multiplier: i64) -> f64 {
    multiplier as f64
}

#[expect(clippy::cast_possible_truncation, reason = "an f32 register holds no more")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(count: f64) -> Option<i64> {
    /// Above this, an `f64` cannot represent every integer.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (count.abs() <= EXACT_MAX).then(|| count.round() as i64)
}

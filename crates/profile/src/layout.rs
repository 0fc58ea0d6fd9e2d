//! What the words of a sample mean.
//!
//! A layout is compiled from a profile, is sent once as CBOR ([`Layout::to_cbor`]) and then turns
//! every sample of its stream into readings, on the device and on the server. Readings are exact
//! integers: the value of point p is `value` × 10^`points()[p].exponent`, always with that one
//! exponent, so that values can be added. A SunSpec scale factor that is finer than the point's
//! exponent is rounded half away from zero; nothing is lost, since the raw words are kept.

mod cbor;
mod decode;
mod filler;

use alloc::string::String;
use alloc::vec::Vec;

use ecowatt_model::{COLUMNS_MAX, Mark, Quality, Unit};

use crate::names;
use crate::number_type::{Kind, Table, WordOrder};
use crate::plan::GROUPS_MAX;

use decode::Access;
use filler::{ReadCheck, ReadSet};

/// Maximum length of a layout as CBOR.
pub const LAYOUT_BYTES_MAX: usize = 4096;
/// Maximum number of points in one layout.
pub const POINTS_MAX: usize = 128;
/// Maximum number of points that share a column: a register may hold a few numbers, but a sample
/// must not have many times more values than words. Scale factors are not counted.
pub const POINTS_PER_COLUMN_MAX: usize = 4;
/// Maximum length of a point name or profile id, in bytes.
pub const NAME_BYTES_MAX: usize = 32;
/// Maximum number of named states or flags of one point.
pub const LABELS_MAX: usize = 32;
/// Maximum length of the name of a state or flag, in bytes.
pub const LABEL_BYTES_MAX: usize = 24;
/// Maximum number of bit patterns of one point that mean "no value".
pub const SENTINELS_MAX: usize = 4;

/// Smallest exponent of a point; it can have up to six decimal places.
pub(crate) const EXPONENT_MIN: i8 = -6;

/// Where one word of a sample comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Table of the register.
    pub table: Table,
    /// The register.
    pub address: u16,
    /// Index into [`Layout::groups`].
    pub group: u8,
    /// Index of the read that contains it. Columns of one read are in order of address.
    pub read: u8,
}

/// When a counter restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterKind {
    /// Only increases; a decrease means that the inverter or its counter was replaced.
    Monotonic,
    /// Resets to zero once a day by the inverter's own clock.
    Daily,
}

/// One quantity of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Name, one of [`crate::names`] or under `x.`.
    pub name: String,
    /// Unit of the value.
    pub unit: Unit,
    /// Type of the number in the registers.
    pub kind: Kind,
    /// Order of its words.
    pub word_order: WordOrder,
    /// First of its columns; the others follow it.
    pub first_column: u8,
    /// How many columns the number takes, not counting the scale factor.
    pub column_count: u8,
    /// Column of the SunSpec scale factor, if the value has one.
    pub scale_column: Option<u8>,
    /// Value of one count, in units of 10^`exponent`; 1 if a scale factor sets it.
    pub multiplier: i64,
    /// Decimal exponent of the point's values, -6 to 0.
    pub exponent: i8,
    /// Bit patterns that mean "no value".
    pub sentinels: Vec<u64>,
    /// Smallest plausible value, in units of 10^`exponent`.
    pub min: Option<i64>,
    /// Largest plausible value, in units of 10^`exponent`.
    pub max: Option<i64>,
    /// Set if the value is a counter.
    pub counter: Option<CounterKind>,
    /// Names of its states or flags.
    pub labels: Vec<Label>,
}

/// The name of a state or of a flag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The state's value, or the flag's bit number.
    pub code: u32,
    /// The name.
    pub text: String,
}

impl Point {
    /// Returns the name of a state by its value, or of a flag by its bit number.
    #[must_use]
    pub fn label(&self, code: i64) -> Option<&str> {
        let found = self.labels.iter().find(|label| i64::from(label.code) == code);
        found.map(|label| label.text.as_str())
    }
}

/// One point of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Index into [`Layout::points`].
    pub point: usize,
    /// Whether the value can be relied on.
    pub quality: Quality,
    /// The value in units of 10^exponent of the point. Present if the quality is good or out of
    /// range; never for text.
    pub value: Option<i64>,
}

impl Reading {
    /// Returns the value if it can be relied on.
    #[must_use]
    pub fn good(&self) -> Option<i64> {
        if self.quality == Quality::Good { self.value } else { None }
    }
}

/// Indices of the points that mean the same for every inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownPoints {
    /// Active power.
    pub ac_power: Option<usize>,
    /// Lifetime energy counter.
    pub energy_total: Option<usize>,
    /// Energy counter of the inverter's own day.
    pub energy_day: Option<usize>,
    /// Voltage of the first string.
    pub pv_voltage: Option<usize>,
    /// State.
    pub state: Option<usize>,
}

/// Why bytes or parts are not a valid layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Longer than [`LAYOUT_BYTES_MAX`].
    #[error("layout has {0} bytes, more than {LAYOUT_BYTES_MAX}")]
    TooLong(usize),
    /// Not the CBOR of a layout.
    #[error("layout is not valid at byte {0}")]
    Malformed(usize),
    /// Written by a later version.
    #[error("layout has version {0}")]
    Version(u64),
    /// More columns, points, groups, labels or sentinels than allowed, or none where one is
    /// required.
    #[error("layout has {count} {what}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A name is empty, too long or not allowed.
    #[error("point {point} has the name {name:?}")]
    Name {
        /// Which point.
        point: usize,
        /// Its name.
        name: String,
    },
    /// A point uses a column that [`POINTS_PER_COLUMN_MAX`] others already use.
    #[error("point {point} shares a column with {POINTS_PER_COLUMN_MAX} others, the limit")]
    Crowded {
        /// Which point.
        point: usize,
    },
    /// A field of a point is not valid.
    #[error("point {point} has no valid {what}")]
    Point {
        /// Which point.
        point: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Columns and points of one stream, ready to decode.
#[derive(Debug, Clone)]
pub struct Layout {
    profile: String,
    profile_version: u32,
    rated_w: Option<u32>,
    groups: Vec<u32>,
    columns: Vec<Column>,
    points: Vec<Point>,
    access: Vec<Access>,
    roles: KnownPoints,
    read_check: ReadCheck,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        // The other fields are derived from these.
        self.profile == other.profile
            && self.profile_version == other.profile_version
            && self.rated_w == other.rated_w
            && self.groups == other.groups
            && self.columns == other.columns
            && self.points == other.points
    }
}

impl Eq for Layout {}

impl Layout {
    /// Builds a layout from its parts; `groups` are milliseconds between reads (0: once).
    ///
    /// # Errors
    /// When a limit is broken or a part refers to something that does not exist.
    pub fn new(
        profile: &str,
        profile_version: u32,
        groups: &[u32],
        columns: &[Column],
        points: Vec<Point>,
    ) -> Result<Self, LayoutError> {
        let counted = |what, count, max| {
            if (1..=max).contains(&count) {
                Ok(())
            } else {
                Err(LayoutError::Count { what, count })
            }
        };
        counted("profile id bytes", profile.len(), NAME_BYTES_MAX)?;
        counted("groups", groups.len(), GROUPS_MAX)?;
        counted("columns", columns.len(), COLUMNS_MAX)?;
        counted("points", points.len(), POINTS_MAX)?;
        if columns.iter().any(|column| usize::from(column.group) >= groups.len()) {
            return Err(LayoutError::Count { what: "groups", count: groups.len() });
        }
        for (index, point) in points.iter().enumerate() {
            check(index, point, columns.len())?;
            if points[..index].iter().any(|earlier| earlier.name == point.name) {
                return Err(LayoutError::Name { point: index, name: point.name.clone() });
            }
        }
        // Limits how often points share a column, and with it the number of values per sample.
        let mut points_of = [0usize; COLUMNS_MAX];
        for (index, point) in points.iter().enumerate() {
            let from = usize::from(point.first_column);
            let own = points_of.iter_mut().skip(from).take(usize::from(point.column_count));
            for count in own {
                *count += 1;
                if *count > POINTS_PER_COLUMN_MAX {
                    return Err(LayoutError::Crowded { point: index });
                }
            }
        }
        let access: Vec<Access> = points.iter().map(Access::of).collect();
        let layout = Self {
            read_check: ReadCheck::of(columns, &access)?,
            profile: profile.into(),
            profile_version,
            rated_w: None,
            groups: groups.into(),
            columns: columns.into(),
            access,
            roles: roles(&points),
            points,
        };
        layout.fitting()
    }

    /// Returns the layout for an inverter with this rated power.
    ///
    /// # Errors
    /// When the layout becomes too long.
    pub fn rated(self, rated_w: Option<u32>) -> Result<Self, LayoutError> {
        Self { rated_w, ..self }.fitting()
    }

    fn fitting(self) -> Result<Self, LayoutError> {
        let length = cbor::encode(&self).len();
        if length > LAYOUT_BYTES_MAX {
            return Err(LayoutError::TooLong(length));
        }
        Ok(self)
    }

    /// Parses a layout from its CBOR.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a valid layout.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, LayoutError> {
        if bytes.len() > LAYOUT_BYTES_MAX {
            return Err(LayoutError::TooLong(bytes.len()));
        }
        cbor::decode(bytes)
    }

    /// Encodes the layout as CBOR, at most [`LAYOUT_BYTES_MAX`] bytes; equal layouts encode to
    /// equal bytes.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Id of the profile, such as `ecowatt/seed-sim`.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Version of the profile.
    #[must_use]
    pub const fn profile_version(&self) -> u32 {
        self.profile_version
    }

    /// Rated AC power of the inverter in watts, if known.
    #[must_use]
    pub const fn rated_w(&self) -> Option<u32> {
        self.rated_w
    }

    /// Milliseconds between the reads of each group; 0 means once per connection.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Where each word of a sample comes from.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The points, in profile order.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Returns the index of the point with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.points.iter().position(|point| point.name == name)
    }

    /// The points that mean the same for every inverter.
    #[must_use]
    pub const fn roles(&self) -> KnownPoints {
        self.roles
    }

    /// Decodes one point of one sample.
    ///
    /// An index that does not exist reads as garbled.
    #[must_use]
    pub fn reading(&self, point: usize, words: &[u16], marks: &[Mark]) -> Reading {
        let Some(access) = self.access.get(point) else {
            return Reading { point, quality: Quality::Garbled, value: None };
        };
        let unmeasured = self.read_check.unmeasured(&self.access, words, marks);
        self.judged(point, access.decode(words, marks), unmeasured)
    }

    /// Makes a good reading bad if its read was filler, not a measurement.
    #[inline]
    fn judged(
        &self,
        point: usize,
        (quality, value): (Quality, Option<i64>),
        unmeasured: ReadSet,
    ) -> Reading {
        if !unmeasured.is_empty()
            && quality == Quality::Good
            && self.read_check.is_in(point, unmeasured)
        {
            return Reading { point, quality: Quality::OutOfRange, value: None };
        }
        Reading { point, quality, value }
    }

    /// Decodes all points of one sample, in order; `words` and `marks` have one entry per column.
    pub fn decode<'a>(
        &'a self,
        words: &'a [u16],
        marks: &'a [Mark],
    ) -> impl ExactSizeIterator<Item = Reading> + 'a {
        let unmeasured = self.read_check.unmeasured(&self.access, words, marks);
        self.access
            .iter()
            .enumerate()
            .map(move |(point, access)| self.judged(point, access.decode(words, marks), unmeasured))
    }

    /// Returns the text of a text point up to its first zero byte; `None` unless all of it was
    /// read.
    #[must_use]
    pub fn text(&self, point: usize, words: &[u16], marks: &[Mark]) -> Option<String> {
        let text = self.points.get(point).filter(|point| point.kind == Kind::Text)?;
        let from = usize::from(text.first_column);
        let columns = from..from + usize::from(text.column_count);
        if self.reading(point, words, marks).quality != Quality::Good {
            return None;
        }
        let bytes = words.get(columns)?.iter().flat_map(|word| word.to_be_bytes());
        let bytes: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
        Some(String::from_utf8_lossy(&bytes).trim_end().into())
    }
}

fn check(index: usize, point: &Point, columns: usize) -> Result<(), LayoutError> {
    if point.name.len() > NAME_BYTES_MAX || !names::is_allowed(&point.name) {
        return Err(LayoutError::Name { point: index, name: point.name.clone() });
    }
    let fault = |what| Err(LayoutError::Point { point: index, what });
    let width_fits = match point.kind.registers() {
        Some(width) => point.column_count == width,
        None => point.column_count > 0,
    };
    let end = usize::from(point.first_column) + usize::from(point.column_count);
    if !width_fits || end > columns {
        return fault("columns");
    }
    if point.scale_column.is_some_and(|column| usize::from(column) >= columns) {
        return fault("scale column");
    }
    if point.scale_column.is_some() && matches!(point.kind, Kind::F32 | Kind::Text) {
        return fault("scale column");
    }
    if point.multiplier < 1 || (point.multiplier > 1 && point.scale_column.is_some()) {
        return fault("multiplier");
    }
    if !(EXPONENT_MIN..=0).contains(&point.exponent) {
        return fault("exponent");
    }
    if point.sentinels.len() > SENTINELS_MAX {
        return fault("sentinels");
    }
    let labels_fit = point.labels.len() <= LABELS_MAX
        && point.labels.iter().all(|label| (1..=LABEL_BYTES_MAX).contains(&label.text.len()));
    if !labels_fit {
        return fault("labels");
    }
    Ok(())
}

fn roles(points: &[Point]) -> KnownPoints {
    let named = |name| points.iter().position(|point| point.name == name);
    KnownPoints {
        ac_power: named(names::AC_POWER),
        energy_total: named(names::AC_ENERGY_TOTAL),
        energy_day: named(names::AC_ENERGY_DAY),
        pv_voltage: points.iter().position(|point| names::is_pv_voltage(&point.name)),
        state: named(names::STATE),
    }
}

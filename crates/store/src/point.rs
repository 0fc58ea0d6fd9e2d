//! Points of the dictionary: named quantities with unit and scale.

use crate::ids::PointId;
use ecowatt_model::Unit;

/// What a point's integers mean: `value × 10^exponent` in `unit`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PointDef {
    /// Canonical name such as `ac.power`.
    pub name: String,
    pub unit: Unit,
    pub exponent: i8,
}

/// A point of the dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub id: PointId,
    pub def: PointDef,
}

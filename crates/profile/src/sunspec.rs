//! SunSpec: where a device's models are (discovered) and what they contain (fixed tables).
//!
//! Offsets count from the model's first register, its identifier, so they include the two header
//! registers. They follow the model definitions published by the SunSpec Alliance (repository
//! `sunspec/models`, files `json/model_N.json`). The tables are used both to read an inverter and
//! to build the register image of a simulated one.

mod discovery;
mod tables;

pub use discovery::{
    BASES, Discovery, Findings, FoundModel, MARKER, MODELS_MAX, NoModels, ProbeAnswer, ProbeRead,
    TRIES_MAX,
};
pub use tables::MODELS;

use crate::number_type::Kind;

/// Registers before a model's first point: identifier and length.
pub const HEADER_LEN: u16 = 2;

/// Identifier that ends the chain of models.
pub const END_ID: u16 = 0xFFFF;

/// A model's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// Number of the model.
    pub id: u16,
    /// Registers of the fixed part without the header: the model's length without modules.
    pub length: u16,
    /// Points of the fixed part.
    pub points: &'static [Point],
    /// The repeating part after the fixed part.
    pub module: Option<Module>,
}

/// The repeating part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// Registers of one repetition.
    pub length: u16,
    /// Its points; offsets count from the repetition's first register.
    pub points: &'static [Point],
}

/// One point of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// SunSpec's name.
    pub name: &'static str,
    /// Registers from the start of the model (or of the repetition).
    pub offset: u16,
    /// Type of the number.
    pub kind: Kind,
    /// Registers it takes.
    pub registers: u16,
    /// Offset of its scale factor from the start of the model.
    pub scale_offset: Option<u16>,
    /// Names of its states by value, where models differ in them.
    pub labels: &'static [(u32, &'static str)],
}

impl Model {
    /// Returns the table of a model, if it is known here.
    #[must_use]
    pub fn find(id: u16) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.id == id)
    }

    /// Returns a point of the fixed part.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<&'static Point> {
        self.points.iter().find(|point| point.name == name)
    }

    /// Returns a point of the repeating part.
    #[must_use]
    pub fn module_point(&self, name: &str) -> Option<&'static Point> {
        self.module?.points.iter().find(|point| point.name == name)
    }

    /// Offset of the first register of repetition `index`, counted from 0.
    #[must_use]
    pub fn module_offset(&self, index: u16) -> Option<u16> {
        let before = self.module?.length.checked_mul(index)?;
        before.checked_add(HEADER_LEN + self.length)
    }

    /// Number of repetitions in a model of this length.
    #[must_use]
    pub fn module_count(&self, length: u16) -> u16 {
        self.module.map_or(0, |module| length.saturating_sub(self.length) / module.length)
    }
}

/// SunSpec's name of a model, if inverters or their meters use the model.
#[must_use]
pub fn model_name(id: u16) -> Option<&'static str> {
    tables::NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

/// The bit pattern by which SunSpec marks a point as not implemented.
#[must_use]
pub const fn not_implemented(kind: Kind) -> Option<u64> {
    match kind {
        Kind::U16 | Kind::Enum16 | Kind::Bits16 => Some(0xFFFF),
        Kind::I16 => Some(0x8000),
        Kind::U32 | Kind::Bits32 => Some(0xFFFF_FFFF),
        Kind::I32 => Some(0x8000_0000),
        Kind::U64 => Some(u64::MAX),
        Kind::Acc32 => Some(0),
        // NaN needs no pattern, and a text without a value is empty.
        Kind::F32 | Kind::Text => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fill_their_models_without_overlap() {
        let follow = |points: &[Point], start: u16, end: u16| {
            let mut next = start;
            for point in points {
                assert!(point.offset >= next, "{} overlaps", point.name);
                assert!(point.kind.registers().is_none_or(|n| u16::from(n) == point.registers));
                next = point.offset + point.registers;
            }
            assert!(next <= end);
        };
        for model in MODELS {
            follow(model.points, HEADER_LEN, HEADER_LEN + model.length);
            for point in model.points.iter().chain(model.module.iter().flat_map(|m| m.points)) {
                let Some(offset) = point.scale_offset else { continue };
                let scale = model.points.iter().find(|scale| scale.offset == offset).unwrap();
                assert!(scale.name.ends_with("_SF"), "{} of {}", point.name, model.id);
            }
            if let Some(module) = model.module {
                follow(module.points, 0, module.length);
            }
        }
    }

    #[test]
    fn lengths_and_offsets_are_those_of_the_published_models() {
        let length = |id| Model::find(id).unwrap().length;
        let lengths = [1, 103, 113, 120, 121, 123, 160].map(length);
        assert_eq!(lengths, [66, 50, 60, 26, 30, 24, 8]);
        assert_eq!([701, 702, 704, 713, 714].map(length), [153, 50, 65, 7, 18]);
        let at = |id, name| Model::find(id).unwrap().point(name).unwrap().offset;
        assert_eq!((at(103, "W"), at(103, "WH"), at(103, "St")), (14, 24, 38));
        assert_eq!((at(123, "WMaxLimPct"), at(123, "WMaxLimPct_SF")), (5, 23));
        assert_eq!((at(701, "W"), at(701, "TotWhInj"), at(701, "W_SF")), (10, 19, 116));
        assert_eq!((at(704, "WMaxLimPct"), at(704, "WMaxLimPct_SF")), (15, 54));
        assert_eq!((at(702, "WMaxRtg"), at(702, "W_SF")), (2, 45));
        let ports = Model::find(714).unwrap();
        assert_eq!((ports.module_count(18 + 3 * 25), ports.module_offset(1)), (3, Some(45)));
        assert_eq!(ports.module_point("DCWhInj").unwrap().offset, 13);
        let mppt = Model::find(160).unwrap();
        assert_eq!(mppt.module_count(8 + 2 * 20), 2);
        assert_eq!(mppt.module_offset(1), Some(30));
        assert_eq!(mppt.module_point("DCW").unwrap().offset, 11);
    }
}

//! A profile of SunSpec points becomes one of registers, once the device's models are known.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::{Place, PointSpec, Profile, SunSpecPoint};
use crate::kind::{Table, WordOrder};
use crate::sunspec::{self, Found, HEADER_LEN, Model};

/// Why a profile does not fit a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The device has none of the models that the profile knows.
    #[error("none of the device's models has a point of the profile")]
    NothingFits,
}

impl Profile {
    /// The profile with the addresses of one device, whose models [`sunspec::Discovery`] found.
    ///
    /// Points that the device does not have are left out; one with `{n}` becomes one per module.
    /// Modules whose values lie too far from their scale factor to be read with it are left out.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn resolve(&self, models: &[Found]) -> Result<Self, ResolveError> {
        let points: Vec<PointSpec> = self
            .points
            .iter()
            .flat_map(|point| match &point.place {
                Place::Registers { .. } => vec![point.clone()],
                Place::SunSpec(candidates) => candidates
                    .iter()
                    .map(|candidate| self.resolve_point(point, candidate, models))
                    .find(|points| !points.is_empty())
                    .unwrap_or_default(),
            })
            .collect();
        if points.is_empty() {
            return Err(ResolveError::NothingFits);
        }
        Ok(Self { points, ..self.clone() })
    }

    /// The points that one candidate gives; none if the device does not have it.
    fn resolve_point(
        &self,
        point: &PointSpec,
        candidate: &SunSpecPoint,
        models: &[Found],
    ) -> Vec<PointSpec> {
        let found = models.iter().find(|found| found.id == candidate.model);
        let (Some(found), Some(model)) = (found, Model::find(candidate.model)) else {
            return vec![];
        };
        if !point.name.contains("{n}") {
            let place = model
                .point(&candidate.point)
                .and_then(|spec| self.place(*found, spec, spec.offset));
            return place.map(|place| PointSpec { place, ..point.clone() }).into_iter().collect();
        }
        let Some(spec) = model.module_point(&candidate.point) else { return vec![] };
        (0..model.module_count(found.length))
            .filter_map(|index| {
                let offset = model.module_offset(index)?.checked_add(spec.offset)?;
                let place = self.place(*found, spec, offset)?;
                let name = point.name.replace("{n}", &format!("{}", index + 1));
                Some(PointSpec { name, place, ..point.clone() })
            })
            .collect()
    }

    fn place(&self, found: Found, spec: &sunspec::Point, offset: u16) -> Option<Place> {
        let end = offset.checked_add(spec.registers)?;
        let model_end = found.length.checked_add(HEADER_LEN)?;
        let first = spec.scale_offset.map_or(offset, |scale| scale.min(offset));
        let last = spec.scale_offset.map_or(end, |scale| end.max(scale + 1));
        if last > model_end || last - first > self.transport.registers_max {
            return None;
        }
        let at = |offset: u16| found.address.checked_add(offset);
        let scale_address = match spec.scale_offset {
            Some(scale) => Some(at(scale)?),
            None => None,
        };
        Some(Place::Registers {
            table: Table::Holding,
            address: at(offset)?,
            count: spec.registers,
            kind: spec.kind,
            word_order: WordOrder::Big,
            sentinels: sunspec::not_implemented(spec.kind).into_iter().collect(),
            scale_address,
        })
    }
}

//! Turns a profile of SunSpec points into one of registers, once the device's models are known.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{PointSpec, Profile, RegisterPlace, SunSpecPoint};
use crate::layout::Label;
use crate::number_type::{Kind, Table, WordOrder};
use crate::sunspec::{self, FoundModel, HEADER_LEN, Model};

/// Why a profile does not fit a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The device has no model with a point from the profile's fastest group: it may identify
    /// itself, but it reports no measurements.
    #[error("none of its models has a measurement of the profile")]
    NothingFits,
}

impl Profile {
    /// Fills in the addresses of one device, whose models [`sunspec::Discovery`] found.
    ///
    /// Points that the device does not have are left out; a point with `{n}` becomes one per
    /// module. Values too far from their scale factor to be read together with it are also left
    /// out, and listed in [`Profile::out_of_reach`]. The headers of the models in use are added to
    /// the reads.
    ///
    /// # Errors
    /// When no point of the fastest group is left.
    pub fn resolve(&self, models: &[FoundModel]) -> Result<Self, ResolveError> {
        let (mut points, mut headers, mut out_of_reach) = (vec![], vec![], vec![]);
        for point in &self.points {
            let RegisterPlace::SunSpec(candidates) = &point.place else {
                points.push(point.clone());
                continue;
            };
            let placed = candidates
                .iter()
                .map(|candidate| self.resolve_point(point, candidate, models))
                .find(|placed| !placed.is_empty());
            for Placed { name, place, labels, header } in placed.unwrap_or_default() {
                let Some(place) = place else {
                    out_of_reach.push(name);
                    continue;
                };
                if !headers.contains(&header) {
                    headers.push(header);
                }
                points.push(PointSpec { name, place, labels, ..point.clone() });
            }
        }
        let fastest = self.groups.iter().enumerate().filter(|(_, named)| named.group.every_ms > 0);
        let fastest = fastest.min_by_key(|(_, named)| named.group.every_ms).map(|(index, _)| index);
        let is_measured = |point: &PointSpec| fastest.is_none_or(|fastest| point.group == fastest);
        if !points.iter().any(is_measured) {
            return Err(ResolveError::NothingFits);
        }
        headers.sort_by_key(|header| header.address);
        Ok(Self { points, headers, out_of_reach, ..self.clone() })
    }

    /// Points of the device that cannot be read: they are further from their scale factor than one
    /// read can span.
    #[must_use]
    pub fn out_of_reach(&self) -> &[String] {
        &self.out_of_reach
    }

    /// The models that the points of a resolved profile are in.
    #[must_use]
    pub fn models_used(&self) -> &[FoundModel] {
        &self.headers
    }

    /// Returns the points of one candidate; none if the device does not have it.
    fn resolve_point(
        &self,
        point: &PointSpec,
        candidate: &SunSpecPoint,
        models: &[FoundModel],
    ) -> Vec<Placed> {
        let found = models.iter().find(|found| found.id == candidate.model);
        let (Some(&header), Some(model)) = (found, Model::find(candidate.model)) else {
            return vec![];
        };
        let placed = |name: String, spec: &sunspec::Point, offset: u16| {
            let end = offset.checked_add(spec.registers)?;
            let is_there = end <= header.length.checked_add(HEADER_LEN)?;
            let own = spec
                .labels
                .iter()
                .map(|(code, text)| Label { code: *code, text: (*text).to_owned() });
            let labels = match point.labels.as_slice() {
                [] => own.collect(),
                labels => labels.to_vec(),
            };
            let place = self.place(header, spec, offset);
            is_there.then_some(Placed { name, place, labels, header })
        };
        if !point.name.contains("{n}") {
            let spec = model.point(&candidate.point);
            return spec
                .and_then(|spec| placed(point.name.clone(), spec, spec.offset))
                .into_iter()
                .collect();
        }
        let Some(spec) = model.module_point(&candidate.point) else { return vec![] };
        (0..model.module_count(header.length).min(MODULES_MAX))
            .filter_map(|index| {
                let offset = model.module_offset(index)?.checked_add(spec.offset)?;
                placed(point.name.replace("{n}", &format!("{}", index + 1)), spec, offset)
            })
            .collect()
    }

    fn place(
        &self,
        found: FoundModel,
        spec: &sunspec::Point,
        offset: u16,
    ) -> Option<RegisterPlace> {
        let end = offset.checked_add(spec.registers)?;
        let first = spec.scale_offset.map_or(offset, |scale| scale.min(offset));
        let last = spec.scale_offset.map_or(end, |scale| end.max(scale + 1));
        let is_text = spec.kind == Kind::Text;
        if !is_text && last - first > self.transport.registers_max {
            return None;
        }
        let at = |offset: u16| found.address.checked_add(offset);
        let scale_address = match spec.scale_offset {
            Some(scale) => Some(at(scale)?),
            None => None,
        };
        // The last register must exist too.
        at(last.checked_sub(1)?)?;
        Some(RegisterPlace::Registers {
            table: Table::Holding,
            address: at(offset)?,
            count: spec.registers,
            kind: spec.kind,
            word_order: WordOrder::Big,
            sentinels: sentinels(spec.kind),
            scale_address,
        })
    }
}

/// A point of a device.
struct Placed {
    name: String,
    /// `None` if it cannot be read.
    place: Option<RegisterPlace>,
    labels: Vec<Label>,
    /// The model that contains it.
    header: FoundModel,
}

/// Maximum number of modules of one model that become points: names count to 99.
const MODULES_MAX: u16 = 99;

/// Bit patterns by which inverters mark a point as having no value: SunSpec's own, and all ones for
/// an accumulator, which many use instead of zero.
fn sentinels(kind: Kind) -> Vec<u64> {
    let ones = (kind == Kind::Acc32).then_some(0xFFFF_FFFF);
    sunspec::not_implemented(kind).into_iter().chain(ones).collect()
}

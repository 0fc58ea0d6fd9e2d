//! The points of the inverters that may be written, kept beside the core.

use alloc::vec::Vec;

use ecowatt_device::{Controls, Sample};
use ecowatt_model::SourceNumber;
use ecowatt_profile::names::AC_POWER;
use ecowatt_profile::{Control, Layout, NamedControl, Scaled};

/// Controls of one inverter that are kept; the catalogue has at most two. Later ones cannot be
/// written.
pub(super) const CONTROLS_MAX: usize = 16;

/// The controls of one inverter.
#[derive(Debug, Clone, Default)]
pub struct SourceControls {
    pub points: Vec<NamedControl>,
    /// The inverter's rated power in watts, if it is known.
    pub rated_w: Option<u32>,
    /// What its samples mean: the proof of a limit is the power after it. Without it, limits are not
    /// proven.
    pub layout: Option<Layout>,
}

/// The controls of all inverters.
#[derive(Debug)]
pub(super) struct AllControls(Vec<(SourceNumber, SourceControls)>);

impl AllControls {
    pub(super) fn new(sources: Vec<(SourceNumber, SourceControls)>) -> Self {
        let mut all = Self(sources);
        for (_, controls) in &mut all.0 {
            controls.points.truncate(CONTROLS_MAX);
            controls.points.shrink_to_fit();
        }
        all
    }

    pub(super) fn set_rated(&mut self, source: SourceNumber, watts: u32) {
        for (_, controls) in self.0.iter_mut().filter(|(number, _)| *number == source) {
            controls.rated_w = Some(watts);
        }
    }

    /// The power in a sample, in watts.
    pub(super) fn power_w(&self, sample: &Sample<'_>) -> Option<i32> {
        let layout = self.of(sample.source)?.layout.as_ref()?;
        let point = layout.find(AC_POWER)?;
        let value = layout.reading(point, sample.words, sample.marks).good()?;
        let exponent = layout.points().get(point)?.exponent;
        let watts = Scaled { mantissa: value, exponent }.times(1, 0)?;
        i32::try_from(watts).ok()
    }

    fn of(&self, source: SourceNumber) -> Option<&SourceControls> {
        self.0.iter().find(|(number, _)| *number == source).map(|(_, controls)| controls)
    }
}

impl Controls for AllControls {
    fn find(&self, source: SourceNumber, point: &str) -> Option<Control> {
        let points = &self.of(source)?.points;
        points.iter().find(|known| known.point == point).map(|known| known.control.clone())
    }

    fn rated_w(&self, source: SourceNumber) -> Option<u32> {
        self.of(source)?.rated_w
    }
}

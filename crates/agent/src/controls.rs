//! What may be written to an inverter.

use ecowatt_node::SourceControls;
use ecowatt_profile::Layout;

use crate::config::InverterConfig;
use crate::model_search::Survey;
use crate::rated_power;

/// Returns the points of an inverter that may be written, and what a limit in watts is a part of.
pub(crate) fn of(
    inverter: &InverterConfig,
    survey: Option<&Survey>,
    layout: &Layout,
    said_w: Option<u32>,
) -> SourceControls {
    let points = match survey {
        None => inverter.profile.controls(),
        Some(survey) => inverter
            .profile
            .resolve(&survey.models)
            .map(|profile| profile.controls())
            .unwrap_or_default(),
    };
    // Where inverters report their own, the profile's is the largest of a family.
    let is_own = inverter.profile.point(rated_power::POINT).is_none();
    let rated_w = inverter.rated_w.or(said_w);
    let rated_w = rated_w.or(inverter.profile.rated_w().filter(|_| is_own));
    SourceControls { points, rated_w, layout: Some(layout.clone()) }
}

//! The closing audit of settings: what is desired has been decided on, value by value.

use ecowatt_model::UnixMs;
use ecowatt_store::{ConfigState, DeviceConfig, SettingKey};

use crate::judges::device::DeviceJudge;
use crate::judges::promises::Invariant;

/// Compares what the store holds with what the device has reported.
pub(super) fn check(judge: &mut DeviceJudge, config: &DeviceConfig, end: UnixMs) {
    let acknowledged = judge.reports().acknowledged();
    let highest = config.report.as_ref().map(|report| report.highest).unwrap_or_default();
    if highest < acknowledged {
        let detail = format!("the store has {highest}, it has acknowledged {acknowledged}");
        judge.violate(end, Invariant::ReportedNeverFalls, detail);
    }
    let Some(desired) = config.desired.as_ref().map(|version| &version.desired) else { return };
    let reported = match config.current_report() {
        Some(report) if report.reported.generation == desired.generation => &report.reported,
        other => {
            let reported = other.map(|report| report.reported.generation);
            let detail = format!("{} is desired, {reported:?} is reported", desired.generation);
            return judge.violate(end, Invariant::SettingsArrive, detail);
        }
    };
    if reported.state == ConfigState::Reverted {
        return;
    }
    for (key, value) in &desired.settings.0 {
        let is_refused = reported.refused.iter().any(|refused| refused.key == *key);
        // Inverters report their intervals one by one. A value for all is that of those that have
        // none of their own.
        let is_for = |used: &SettingKey| {
            used.setting == key.setting
                && (used.source == key.source
                    || key.source.is_none() && !desired.settings.0.contains_key(used))
        };
        let mut used = reported.values.0.iter().filter(|(used, _)| is_for(used));
        let is_known = reported.values.0.keys().any(|used| used.setting == key.setting);
        let is_used = is_known && used.all(|(_, used)| used == value);
        if !is_refused && !is_used {
            let values = &reported.values.0;
            let detail = format!("{key:?} is to be {value} and not refused, in use is {values:?}");
            judge.violate(end, Invariant::SettingsArrive, detail);
        }
    }
}

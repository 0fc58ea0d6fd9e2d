//! The closing audit of templates: every device is to have the values of its template, and its own
//! over them.

use std::collections::BTreeMap;

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::{ConfigTemplate, DeviceConfig, SettingKey};

use crate::judges::device::DeviceJudge;
use crate::judges::promises::Invariant;

/// What operators know of templates: the outcome of each last act that was answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownTemplates {
    /// By device, the name of its template; absent if the last request was not answered.
    pub(crate) assigned: BTreeMap<DeviceNumber, Option<String>>,
    /// By template and setting, its value; absent if the last request was not answered.
    pub(crate) values: BTreeMap<(String, SettingKey), Option<u32>>,
}

/// Compares a device's desired configuration with its template, and both with what operators did.
pub(super) fn check(
    judge: &mut DeviceJudge,
    config: &DeviceConfig,
    template: Option<&ConfigTemplate>,
    known: &KnownTemplates,
    end: UnixMs,
) {
    let mut broken = Vec::new();
    if let Some(name) = known.assigned.get(&judge.device())
        && *name != config.template
    {
        broken.push(format!("{name:?} was assigned, it has {:?}", config.template));
    }
    let shared = template.map(|template| &template.settings.0);
    let value = |key: &SettingKey| shared.and_then(|shared| shared.get(key)).copied();
    for ((name, key), known) in &known.values {
        if config.template.as_ref() == Some(name) && value(key) != *known {
            broken.push(format!("{key:?} of {name} is {:?}, set was {known:?}", value(key)));
        }
    }
    let newest = config.desired.as_ref();
    let own = |key: &SettingKey| newest.and_then(|newest| newest.own.0.get(key)).copied();
    let desired = |key: &SettingKey| newest.and_then(|n| n.desired.settings.0.get(key)).copied();
    let keys = newest.into_iter().flat_map(|newest| newest.desired.settings.0.keys());
    for key in keys.chain(shared.into_iter().flat_map(BTreeMap::keys)) {
        if desired(key) != own(key).or(value(key)) {
            let values = (desired(key), own(key), value(key));
            broken.push(format!("{key:?} is desired, own, and of the template: {values:?}"));
        }
    }
    for detail in broken {
        judge.violate(end, Invariant::TemplateIsFollowed, detail);
    }
}

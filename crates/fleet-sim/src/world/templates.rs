//! The operator of templates: changes values that devices share, and which devices use them.
//!
//! Beside these acts it runs one step of what the server's reconciler does, so that devices follow
//! while everything else goes wrong, and the rest of them after the faults have stopped.

use ecowatt_model::setting::{BATCH_ROWS, LOG_LEVEL, UPLOAD_INTERVAL};
use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::{EditTemplate, SettingKey, Settings};

use crate::judges::audit::templates::KnownTemplates;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::streams;
use crate::time::{FAR, after};

/// Time between two steps of the reconciler. A change of the last moment is derived early in the time
/// to settle, and leaves the devices most of it.
const STEP_MS: u64 = 5 * 60_000;

const NAMES: [&str; 2] = ["north", "south"];

/// What is done to a template.
#[derive(Debug, Clone)]
pub(crate) enum TemplateAct {
    /// Created unless it exists, and changed.
    Edit(EditTemplate),
    Assign {
        device: DeviceNumber,
        name: Option<String>,
    },
    /// Devices follow.
    Derive,
}

pub(crate) struct TemplateOperator {
    random: Random,
    devices: u32,
    /// Mean number of steps between two acts; 0 for none at all.
    every_steps: u64,
    /// No more acts are made from then on, so that all can arrive.
    until: UnixMs,
    at: UnixMs,
    known: KnownTemplates,
}

impl TemplateOperator {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let every_ms = scenario.templates_every.map_or(0, |every| every.as_millis());
        let every_steps = u64::try_from(every_ms).unwrap_or(0).div_ceil(STEP_MS);
        Self {
            random: Random::new(scenario.seed, streams::TEMPLATES),
            devices: scenario.devices,
            every_steps,
            until: scenario.calm_at(),
            at: if every_steps == 0 { FAR } else { after(crate::scenario::START, STEP_MS) },
            known: KnownTemplates::default(),
        }
    }

    /// When the next act is due.
    pub(crate) fn at(&self) -> UnixMs {
        self.at
    }

    /// Takes the outcome of an act; one that was not answered may have been done or not.
    pub(crate) fn done(&mut self, act: TemplateAct, is_done: bool) {
        match act {
            TemplateAct::Edit(edit) => {
                let set = edit.set.0.into_iter().map(|(key, value)| (key, Some(value)));
                for (key, value) in set.chain(edit.unset.into_iter().map(|key| (key, None))) {
                    let place = (edit.name.clone(), key);
                    match is_done {
                        true => drop(self.known.values.insert(place, value)),
                        false => drop(self.known.values.remove(&place)),
                    }
                }
            }
            TemplateAct::Assign { device, name } => match is_done {
                true => drop(self.known.assigned.insert(device, name)),
                false => drop(self.known.assigned.remove(&device)),
            },
            TemplateAct::Derive => {}
        }
    }

    /// Returns what operators know at the end.
    pub(crate) fn take_known(&mut self) -> KnownTemplates {
        std::mem::take(&mut self.known)
    }

    /// Returns the act that is due. `number` is that of the device with an index.
    pub(crate) fn act(&mut self, number: fn(u32) -> DeviceNumber) -> TemplateAct {
        let is_over = self.at >= self.until;
        self.at = after(self.at, STEP_MS);
        let random = &mut self.random;
        if is_over || random.below(self.every_steps) != 0 {
            return TemplateAct::Derive;
        }
        let name = NAMES[usize::from(random.happens(500_000))].to_owned();
        if random.happens(500_000) {
            let index = u32::try_from(random.below(u64::from(self.devices))).unwrap_or(0);
            // Every fifth time the device is left without a template.
            let name = random.happens(800_000).then_some(name);
            return TemplateAct::Assign { device: number(index), name };
        }
        let mut edit =
            EditTemplate { name, set: Settings::default(), unset: Vec::new(), expected: None };
        let between =
            |random: &mut Random, min, max| u32::try_from(random.between(min, max)).unwrap_or(1);
        let (setting, value) = match random.below(4) {
            0 => (UPLOAD_INTERVAL, between(random, 60, 900) * 1_000),
            1 => (BATCH_ROWS, between(random, 1, 30)),
            2 => (LOG_LEVEL, between(random, 0, 3)),
            // What a device has to refuse.
            _ => (BATCH_ROWS, 100_000),
        };
        let key = SettingKey { setting, source: None };
        if random.happens(750_000) {
            edit.set.0.insert(key, value);
        } else {
            edit.unset.push(key);
        }
        TemplateAct::Edit(edit)
    }
}

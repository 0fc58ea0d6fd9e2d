//! The newest desired configuration that the device decided on, as the slot *desired* holds it.
//!
//! Version 1, integers big-endian: version (1), generation (4), state (1: 1 applied, 2 on trial, 3
//! reverted), starts (1), generation of the previous values (4), number of values (1), number of
//! previous values (1); then the values and the previous ones, each setting (1), source (1), value
//! (4); then the refused ones until the end, each setting (1), reason (1), source (1). The top bit
//! of a setting of a value, and of a reason, is set if there is a source; otherwise the source is
//! zero.

use ecowatt_model::{ConfigGeneration, SourceNumber};
use ecowatt_wire::{ConfigState, ITEMS_MAX, RefusedSetting, SettingRefusal};
use heapless::Vec;

use crate::settings::{FOR_SOURCE, Settings, VALUE_LEN, VALUES_MAX};

const VERSION: u8 = 1;
const HEAD_LEN: usize = 13;
const REFUSED_LEN: usize = 3;

/// A decision. A device that never had a desired configuration decided on generation 0, in which
/// every setting has its own value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) generation: ConfigGeneration,
    pub(crate) state: ConfigState,
    /// Starts of the device while the generation is on trial.
    pub(crate) starts: u8,
    /// The values of the generation that the device accepts.
    pub(crate) accepted: Settings,
    /// The values that a trial returns to: the last ones with which the server was reached.
    pub(crate) previous: Settings,
    pub(crate) previous_generation: ConfigGeneration,
    pub(crate) refused: Refused,
}

/// Values of a generation that the device refuses, in the form of the slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Refused(Vec<[u8; REFUSED_LEN], ITEMS_MAX, u8>);

impl Refused {
    pub(crate) fn add(&mut self, refused: &RefusedSetting) {
        let RefusedSetting { setting, source, reason } = *refused;
        let (flag, source) = source.map_or((0, 0), |source| (FOR_SOURCE, source.0));
        // There is room: a desired configuration has no more values.
        let _ = self.0.push([setting, reason as u8 | flag, source]);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = RefusedSetting> {
        self.0.iter().map(|[setting, reason, source]| RefusedSetting {
            setting: *setting,
            source: (reason & FOR_SOURCE != 0).then_some(SourceNumber(*source)),
            reason: SettingRefusal::from_code(reason & !FOR_SOURCE),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            generation: ConfigGeneration(0),
            state: ConfigState::Applied,
            starts: 0,
            accepted: Settings::default(),
            previous: Settings::default(),
            previous_generation: ConfigGeneration(0),
            refused: Refused::default(),
        }
    }
}

impl Decision {
    pub(crate) const LEN_MAX: usize =
        HEAD_LEN + 2 * VALUES_MAX * VALUE_LEN + ITEMS_MAX * REFUSED_LEN;

    /// Returns `None` if the bytes are damaged or of another version.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let [version, a, b, c, d, state, starts, e, f, g, h, values, previous] = *head;
        let state = match ConfigState::from_code(state) {
            ConfigState::Unknown => return None,
            state @ (ConfigState::Applied | ConfigState::Trial | ConfigState::Reverted) => state,
        };
        let (accepted, rest) = rest.split_at_checked(usize::from(values) * VALUE_LEN)?;
        let (previous, refused) = rest.split_at_checked(usize::from(previous) * VALUE_LEN)?;
        let (refused, left) = refused.as_chunks::<REFUSED_LEN>();
        if version != VERSION || !left.is_empty() {
            return None;
        }
        Some(Self {
            generation: ConfigGeneration(u32::from_be_bytes([a, b, c, d])),
            state,
            starts,
            accepted: Settings::from_entries(accepted.as_chunks().0)?,
            previous: Settings::from_entries(previous.as_chunks().0)?,
            previous_generation: ConfigGeneration(u32::from_be_bytes([e, f, g, h])),
            refused: Refused(Vec::from_slice(refused).ok()?),
        })
    }

    /// Writes it to the start of `out`, which has room for [`Decision::LEN_MAX`] bytes, and returns
    /// the length.
    pub(crate) fn write(&self, out: &mut [u8]) -> usize {
        let count = |settings: &Settings| u8::try_from(settings.entries().len()).unwrap_or(0);
        let [a, b, c, d] = self.generation.0.to_be_bytes();
        let [e, f, g, h] = self.previous_generation.0.to_be_bytes();
        let (values, previous) = (count(&self.accepted), count(&self.previous));
        let state = self.state as u8;
        let head = [VERSION, a, b, c, d, state, self.starts, e, f, g, h, values, previous];
        let parts = [
            head.as_slice(),
            self.accepted.entries().as_flattened(),
            self.previous.entries().as_flattened(),
            self.refused.0.as_flattened(),
        ];
        let mut len = 0;
        for part in parts {
            if let Some(place) = out.get_mut(len..len + part.len()) {
                place.copy_from_slice(part);
                len += part.len();
            }
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::setting::SAMPLING_INTERVAL;
    use ecowatt_wire::SettingValue;

    use super::*;

    fn full() -> Decision {
        let mut decision = Decision {
            generation: ConfigGeneration(u32::MAX),
            state: ConfigState::Trial,
            starts: 2,
            previous_generation: ConfigGeneration(u32::MAX - 1),
            ..Decision::default()
        };
        for source in (0u8..).take(VALUES_MAX) {
            let setting = SAMPLING_INTERVAL;
            let value = u32::MAX - u32::from(source);
            let source = Some(SourceNumber(source));
            decision.accepted.set(&SettingValue { setting, value, source });
            decision.previous.set(&SettingValue { setting, value: value / 2, source });
        }
        for setting in (0xE0u8..).take(ITEMS_MAX) {
            let source = (setting % 2 == 0).then_some(SourceNumber(0xFF));
            let reason = SettingRefusal::NoSource;
            decision.refused.add(&RefusedSetting { setting, source, reason });
        }
        decision
    }

    fn written(decision: &Decision) -> std::vec::Vec<u8> {
        let mut bytes = [0xee; Decision::LEN_MAX];
        let len = decision.write(&mut bytes);
        bytes[..len].to_vec()
    }

    #[test]
    fn the_longest_is_parsed_back_and_so_is_the_shortest() {
        let full = full();
        assert_eq!(written(&full).len(), Decision::LEN_MAX);
        assert_eq!(Decision::parse(&written(&full)), Some(full.clone()));
        assert_eq!(full.refused.iter().next().unwrap().source, Some(SourceNumber(0xFF)));
        assert_eq!(full.refused.iter().nth(1).unwrap().source, None);
        let none = Decision::default();
        assert_eq!(written(&none).len(), HEAD_LEN);
        assert_eq!(Decision::parse(&written(&none)), Some(none));
    }

    #[test]
    fn damaged_bytes_and_other_versions_are_refused() {
        let bytes = written(&full());
        let values = HEAD_LEN + 2 * VALUES_MAX * VALUE_LEN;
        // A cut between two refused values cannot be seen here; the shell's copies have a checksum.
        let is_whole = |cut: &usize| *cut >= values && (cut - values).is_multiple_of(REFUSED_LEN);
        for cut in (0..bytes.len()).filter(|cut| !is_whole(cut)) {
            assert_eq!(Decision::parse(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Decision::parse(&[&[2], &bytes[1..]].concat()), None);
        assert_eq!(Decision::parse(&[&bytes[..], &[0; REFUSED_LEN]].concat()), None);
        for state in [0, 4] {
            let mut bytes = bytes.clone();
            bytes[5] = state;
            assert_eq!(Decision::parse(&bytes), None);
        }
    }
}

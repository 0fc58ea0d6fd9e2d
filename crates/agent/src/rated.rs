//! What an inverter is rated for, as it says itself.
//!
//! The register that a profile names `info.rated_power` is read with the others. What it says becomes
//! part of the layout, which limits what is plausible; so a value that is learned begins another
//! epoch. It is kept in the data folder, because an inverter that sleeps says nothing.

use ecowatt_device::Sample;
use ecowatt_model::SourceNumber;
use ecowatt_profile::{Layout, RATED_W};

use crate::config::InverterConfig;
use crate::storage::Disk;

const KEPT_BYTES_MAX: usize = 256;

/// The name of the point.
const POINT: &str = "info.rated_power";

/// Looks for the rated power in an inverter's samples.
pub(crate) struct Watch {
    layout: Layout,
    point: usize,
    /// What the layout was compiled with, if the inverter said it.
    known: Option<u32>,
    /// What the last reading said, if that was something else.
    said: Option<u32>,
}

impl Watch {
    /// None where the profile has no such point, or the configuration says the rated power.
    pub(crate) fn new(
        layout: &Layout,
        inverter: &InverterConfig,
        known: Option<u32>,
    ) -> Option<Self> {
        let point = layout.find(POINT).filter(|_| inverter.rated_w.is_none())?;
        Some(Self { layout: layout.clone(), point, known, said: None })
    }

    /// Takes a sample; gives the rated power if that was not known or has changed. What contradicts
    /// what is known must be read twice: an inverter is replaced seldom, and misread now and then.
    pub(crate) fn take(&mut self, sample: &Sample<'_>) -> Option<u32> {
        let value = self.layout.reading(self.point, sample.words, sample.marks).good()?;
        let exponent = self.layout.points().get(self.point)?.exponent;
        let watts = value / 10i64.pow(u32::from(exponent.unsigned_abs()));
        let watts = u32::try_from(watts).ok().filter(|watts| RATED_W.contains(watts))?;
        let is_sure = self.known.is_none() || self.said == Some(watts);
        self.said = Some(watts).filter(|watts| Some(*watts) != self.known);
        if !is_sure || self.said.is_none() {
            return None;
        }
        self.known = self.said.take();
        self.known
    }
}

/// The inverter as its configuration has it, with what it said that it is rated for.
pub(crate) fn known(inverter: &InverterConfig, said: Option<u32>) -> InverterConfig {
    let inverter = inverter.clone();
    match said.filter(|_| inverter.rated_w.is_none()) {
        Some(watts) => InverterConfig { profile: inverter.profile.rated(watts), ..inverter },
        None => inverter,
    }
}

/// What this inverter said when it was asked before.
pub(crate) fn recall(
    disk: &impl Disk,
    source: SourceNumber,
    inverter: &InverterConfig,
) -> Option<u32> {
    let bytes = disk.read(&file_name(source), KEPT_BYTES_MAX).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    if lines.next()? != title(inverter) {
        return None;
    }
    let watts = lines.next()?.parse().ok().filter(|watts| RATED_W.contains(watts));
    // Without its last line it is torn.
    watts.filter(|_| lines.next() == Some(END))
}

/// Keeps what an inverter said.
pub(crate) fn keep(
    disk: &impl Disk,
    source: SourceNumber,
    inverter: &InverterConfig,
    watts: u32,
) -> std::io::Result<()> {
    let text = format!("{}\n{watts}\n{END}", title(inverter));
    let name = file_name(source);
    disk.write_at(&name, 0, text.as_bytes())?;
    disk.truncate(&name, u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    disk.sync(&name)
}

const END: &str = "end";

fn file_name(source: SourceNumber) -> String {
    format!("rated-{source}")
}

/// Another inverter or profile at the same place is asked anew.
fn title(inverter: &InverterConfig) -> String {
    format!("{} {} {}", inverter.address, inverter.unit, inverter.profile.id())
}

#[cfg(test)]
mod tests {
    use ecowatt_codec::TimeBase;
    use ecowatt_model::Mark;
    use ecowatt_profile::catalogue;

    use super::*;

    #[test]
    fn rated_power_is_learned_at_once_and_changed_when_it_is_said_twice() {
        let profile = catalogue::find("sungrow/sg-string").unwrap();
        let layout = profile.compile(ecowatt_profile::Transport::TCP).unwrap().layout;
        let inverter = InverterConfig {
            name: "roof".into(),
            address: "tcp://127.0.0.1:502".parse().unwrap(),
            unit: 1,
            profile,
            rated_w: None,
        };
        let column = usize::from(layout.points()[layout.find(POINT).unwrap()].first_column);
        let mut watch = Watch::new(&layout, &inverter, None).unwrap();
        let columns = layout.columns().len();
        let mut take = |hundreds: Option<u16>| {
            let (mut words, mut marks) = (vec![0; columns], vec![Mark::NotDue; columns]);
            if let Some(hundreds) = hundreds {
                (words[column], marks[column]) = (hundreds, Mark::Read);
            }
            watch.take(&Sample {
                source: SourceNumber(0),
                stream: ecowatt_model::StreamNumber(1),
                base: TimeBase::Unix,
                ordinal: 1,
                t_ms: 0,
                words: &words,
                marks: &marks,
            })
        };
        assert_eq!([None, Some(0), Some(0xFFFF), Some(7)].map(&mut take), [None; 4]);
        assert_eq!([Some(50), Some(50), None].map(&mut take), [Some(5_000), None, None]);
        assert_eq!([Some(80), Some(50), Some(80), None].map(&mut take), [None; 4]);
        assert_eq!([Some(80), Some(80)].map(&mut take), [Some(8_000), None]);
        let said = InverterConfig { rated_w: Some(6_000), ..inverter };
        assert!(Watch::new(&layout, &said, None).is_none());
    }
}

//! Keeps what a search found across restarts: a sleeping inverter cannot be searched.
//!
//! It is one [`TwoCopies`], so a cut at any byte leaves the previous state. It belongs to one inverter
//! at one address with one profile; another one there is searched again. It may be out of date,
//! which the headers in the samples show.

use std::fmt::Write as _;

use ecowatt_model::SourceNumber;
use ecowatt_node::storage::{Areas, Fault, SmallArea, TwoCopies};
use ecowatt_profile::sunspec::{FoundModel, MODELS_MAX};

use super::Survey;
use crate::config::InverterConfig;

const BYTES_MAX: usize = 4096;
const COMPLETE: &str = "complete";
const INCOMPLETE: &str = "incomplete";

/// Returns what an earlier search of this inverter found.
pub(crate) fn recall<D: Areas + Clone>(
    disk: &D,
    source: SourceNumber,
    inverter: &InverterConfig,
) -> Option<Survey> {
    let (_, newest) = open(disk, source);
    newest?.strip_prefix(&title(inverter))?.strip_prefix('\n').and_then(parse)
}

/// Stores what a search found; after an error the previous state still counts.
pub(crate) fn keep<D: Areas + Clone>(
    disk: &D,
    source: SourceNumber,
    inverter: &InverterConfig,
    survey: &Survey,
) -> Result<(), Fault> {
    let (mut pair, _) = open(disk, source);
    let mut text = title(inverter);
    text.push('\n');
    text.push_str(if survey.is_complete { COMPLETE } else { INCOMPLETE });
    for FoundModel { id, address, length } in &survey.models {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{id} {address} {length}");
    }
    pair.store(text.as_bytes())
}

fn open<D: Areas + Clone>(disk: &D, source: SourceNumber) -> (TwoCopies<D>, Option<String>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let (pair, opened) = TwoCopies::open(disk.clone(), SmallArea::Models(source), BYTES_MAX, text);
    (pair, opened.value)
}

fn parse(text: &str) -> Option<Survey> {
    let mut lines = text.lines();
    let is_complete = match lines.next()? {
        COMPLETE => true,
        INCOMPLETE => false,
        _ => return None,
    };
    let models = lines
        .take(MODELS_MAX)
        .map(|line| {
            let mut numbers = line.split(' ').map(str::parse::<u16>);
            let mut next = || numbers.next()?.ok();
            Some(FoundModel { id: next()?, address: next()?, length: next()? })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Survey { models, is_complete })
}

fn title(inverter: &InverterConfig) -> String {
    format!("{} {} {}", inverter.address, inverter.unit, inverter.profile.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_folder::Folder;

    fn inverter(unit: u8) -> InverterConfig {
        InverterConfig {
            name: "Roof".to_owned(),
            address: "tcp://192.0.2.7:502".parse().unwrap(),
            unit,
            rated_w: None,
            profile: ecowatt_profile::catalogue::find("sunspec/generic-pv").unwrap(),
        }
    }

    fn survey(lengths: &[u16]) -> Survey {
        let models = lengths.iter().map(|&length| FoundModel { id: 103, address: 40_002, length });
        Survey { models: models.collect(), is_complete: lengths.len() > 1 }
    }

    #[test]
    fn what_was_found_is_kept_for_this_inverter_alone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = std::sync::Arc::new(Folder::open(folder.path()).unwrap());
        assert_eq!(recall(&disk, SourceNumber(0), &inverter(1)), None);
        for found in [&[50, 60][..], &[50], &[51, 61, 71], &[]] {
            keep(&disk, SourceNumber(0), &inverter(1), &survey(found)).unwrap();
            assert_eq!(recall(&disk, SourceNumber(0), &inverter(1)), Some(survey(found)));
        }
        assert_eq!(recall(&disk, SourceNumber(1), &inverter(1)), None);
        assert_eq!(recall(&disk, SourceNumber(0), &inverter(2)), None);
        keep(&disk, SourceNumber(0), &inverter(2), &survey(&[9])).unwrap();
        assert_eq!(recall(&disk, SourceNumber(0), &inverter(2)), Some(survey(&[9])));
    }

    #[test]
    fn a_rewrite_that_is_cut_leaves_the_list_before() {
        let folder = tempfile::tempdir().unwrap();
        let disk = std::sync::Arc::new(Folder::open(folder.path()).unwrap());
        let former = survey(&[50, 60]);
        keep(&disk, SourceNumber(0), &inverter(1), &survey(&[1])).unwrap();
        keep(&disk, SourceNumber(0), &inverter(1), &former).unwrap();
        let rewritten = folder.path().join("models-0.0");
        let before = std::fs::read(&rewritten).unwrap();
        keep(&disk, SourceNumber(0), &inverter(1), &survey(&[77, 88, 99])).unwrap();
        let after = std::fs::read(&rewritten).unwrap();
        for cut in 0..after.len() {
            // The first bytes of the new copy, followed by the rest of the old one.
            let mut torn = after[..cut].to_vec();
            torn.extend(before.get(cut..).unwrap_or_default());
            std::fs::write(&rewritten, &torn).unwrap();
            assert_eq!(recall(&disk, SourceNumber(0), &inverter(1)), Some(former.clone()), "{cut}");
        }
        std::fs::write(&rewritten, &after).unwrap();
        assert_eq!(recall(&disk, SourceNumber(0), &inverter(1)), Some(survey(&[77, 88, 99])));
        for name in ["models-0.0", "models-0.1"] {
            std::fs::write(folder.path().join(name), b"3 tcp://192.0.2.7:502 1 su").unwrap();
        }
        assert_eq!(recall(&disk, SourceNumber(0), &inverter(1)), None);
    }
}

//! What a search found, across restarts: an inverter that sleeps cannot be searched.
//!
//! Two copies are written in turn, each with its checksum, so that a cut at any byte leaves the one
//! before. A copy is of one inverter at one address under one profile; another one there is searched
//! afresh. Even a whole copy may be out of date, which the headers in the samples tell.

use std::fmt::Write as _;

use ecowatt_model::SourceNumber;
use ecowatt_profile::sunspec::{Found, MODELS_MAX};

use super::Survey;
use crate::config::InverterConfig;
use crate::storage::{Disk, crc32};

const COPIES: usize = 2;
const BYTES_MAX: usize = 4096;
const COMPLETE: &str = "complete";
const INCOMPLETE: &str = "incomplete";

/// What an earlier search of this inverter found.
pub(crate) fn recall(
    disk: &impl Disk,
    source: SourceNumber,
    inverter: &InverterConfig,
) -> Option<Survey> {
    let title = title(inverter);
    let copies = (0..COPIES).filter_map(|copy| read(disk, source, copy));
    let (_, newest) = copies.max_by_key(|(generation, _)| *generation)?;
    newest.strip_prefix(&title)?.strip_prefix('\n').and_then(parse)
}

/// Keeps what a search found; on an error what was kept before still counts.
pub(crate) fn keep(
    disk: &impl Disk,
    source: SourceNumber,
    inverter: &InverterConfig,
    survey: &Survey,
) -> std::io::Result<()> {
    let generations: [_; COPIES] = std::array::from_fn(|copy| {
        read(disk, source, copy).map_or(0, |(generation, _)| generation)
    });
    let newest = generations.into_iter().max().unwrap_or(0);
    let copy = usize::from(generations[0] == newest && newest > 0);
    let mut text = format!("{} {}\n", newest.saturating_add(1), title(inverter));
    text.push_str(if survey.is_complete { COMPLETE } else { INCOMPLETE });
    for Found { id, address, length } in &survey.models {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{id} {address} {length}");
    }
    let checksum = crc32(&[text.as_bytes()]);
    let _ = write!(text, "\n{checksum:08x}");
    let name = file_name(source, copy);
    disk.write_at(&name, 0, text.as_bytes())?;
    disk.truncate(&name, u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    disk.sync(&name)?;
    disk.sync_names()
}

/// Generation and text of a copy, if it is whole.
fn read(disk: &impl Disk, source: SourceNumber, copy: usize) -> Option<(u64, String)> {
    let bytes = disk.read(&file_name(source, copy), BYTES_MAX).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let (text, checksum) = text.rsplit_once('\n')?;
    let is_whole = u32::from_str_radix(checksum, 16) == Ok(crc32(&[text.as_bytes()]));
    let (generation, text) = text.split_once(' ').filter(|_| is_whole)?;
    Some((generation.parse().ok()?, text.to_owned()))
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
            Some(Found { id: next()?, address: next()?, length: next()? })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Survey { models, is_complete })
}

fn file_name(source: SourceNumber, copy: usize) -> String {
    format!("models-{source}.{copy}")
}

fn title(inverter: &InverterConfig) -> String {
    format!("{} {} {}", inverter.address, inverter.unit, inverter.profile.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Folder;

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
        let models = lengths.iter().map(|&length| Found { id: 103, address: 40_002, length });
        Survey { models: models.collect(), is_complete: lengths.len() > 1 }
    }

    #[test]
    fn what_was_found_is_kept_for_this_inverter_alone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
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
        let disk = Folder::open(folder.path()).unwrap();
        let former = survey(&[50, 60]);
        keep(&disk, SourceNumber(0), &inverter(1), &survey(&[1])).unwrap();
        keep(&disk, SourceNumber(0), &inverter(1), &former).unwrap();
        let rewritten = folder.path().join("models-0.0");
        let before = std::fs::read(&rewritten).unwrap();
        keep(&disk, SourceNumber(0), &inverter(1), &survey(&[77, 88, 99])).unwrap();
        let after = std::fs::read(&rewritten).unwrap();
        for cut in 0..after.len() {
            // As many bytes of the new copy, and of the old one what lies behind them.
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

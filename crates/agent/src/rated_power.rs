//! The rated power that an inverter reports itself.
//!
//! The register that a profile names `info.rated_power` is read with the others. Its value becomes
//! part of the layout and limits which readings are plausible. So it counts only once it was read
//! twice in a row, some seconds apart, and so does a later value that contradicts it. The second
//! read is requested here, outside the samples, which hold constant registers only once. The value
//! is kept in the data folder, because a sleeping inverter does not answer.

use std::time::Duration;

use ecowatt_device::Sample;
use ecowatt_model::{Mark, MonoMs, SourceNumber};
use ecowatt_node::storage::{Areas, Fault, SmallArea, TwoCopies};
use ecowatt_profile::{Compiled, Layout, RATED_W, Read};

use crate::config::InverterConfig;
use crate::model_search::{self, Survey, SurveyError};

const KEPT_BYTES_MAX: usize = 256;

/// The name of the point.
pub(crate) const POINT: &str = "info.rated_power";

/// Pause between two readings. A momentary misreading is over by then.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Most extra readings before the claim is dropped until a sample repeats it.
const ASKS_MAX: u8 = 8;

/// Watches an inverter's samples for its rated power.
pub(crate) struct Watch {
    inverter: InverterConfig,
    survey: Option<Survey>,
    layout: Layout,
    point: usize,
    /// A read of only the point's registers.
    read: Read,
    /// The confirmed rated power, in watts.
    known: Option<u32>,
    claim: Option<Claim>,
}

/// A rated power read from the inverter that differs from the confirmed one.
struct Claim {
    /// In a sample.
    sampled: u32,
    /// In the last extra reading.
    said: u32,
    /// When to read again; none while a reading is in progress.
    ask_at: Option<MonoMs>,
    asks_left: u8,
}

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The newly confirmed rated power, in watts.
    pub(crate) learned: Option<u32>,
    /// The group to read again, because a sample has a misread value.
    pub(crate) misread: Option<u8>,
}

impl Watch {
    /// Returns none if the profile has no such point, or the configuration has the rated power.
    pub(crate) fn new(
        compiled: &Compiled,
        inverter: &InverterConfig,
        survey: Option<&Survey>,
        known: Option<u32>,
    ) -> Option<Self> {
        let layout = &compiled.layout;
        let point = layout.find(POINT).filter(|_| inverter.rated_w.is_none())?;
        let read = read_of(compiled, point)?;
        let (inverter, survey) = (inverter.clone(), survey.cloned());
        Some(Self { inverter, survey, layout: layout.clone(), point, read, known, claim: None })
    }

    /// Takes a sample. Its rated power is a claim until it is settled.
    pub(crate) fn take(&mut self, now: MonoMs, sample: &Sample<'_>) {
        let Some(watts) = self.watts(sample.words, sample.marks) else { return };
        if self.claim.is_some() || self.known == Some(watts) {
            return;
        }
        let ask_at = Some(now.plus(ASK_AGAIN));
        self.claim = Some(Claim { sampled: watts, said: watts, ask_at, asks_left: ASKS_MAX });
    }

    /// Returns when [`Watch::poll`] has a read to request.
    pub(crate) fn ask_at(&self) -> Option<MonoMs> {
        self.claim.as_ref()?.ask_at
    }

    /// Returns the read to carry out; its answer goes to [`Watch::handle`].
    pub(crate) fn poll(&mut self, now: MonoMs) -> Option<Read> {
        let claim = self.claim.as_mut()?;
        claim.ask_at.take_if(|ask_at| *ask_at <= now)?;
        Some(self.read)
    }

    /// Takes the words of the requested read; none if it failed.
    pub(crate) fn handle(&mut self, now: MonoMs, answer: Option<&[u16]>) -> Option<Settled> {
        let columns = self.layout.columns().len();
        let (mut words, mut marks) = (vec![0; columns], vec![Mark::NotDue; columns]);
        for (offset, column) in self.read.columns() {
            if let Some(word) = answer.and_then(|answer| answer.get(usize::from(offset))) {
                (words[column], marks[column]) = (*word, Mark::Read);
            }
        }
        let said = self.watts(&words, &marks);
        let claim = self.claim.as_mut()?;
        claim.asks_left = claim.asks_left.saturating_sub(1);
        let is_believed = said.is_some() && (said == Some(claim.said) || said == self.known);
        if !is_believed && claim.asks_left > 0 {
            claim.said = said.unwrap_or(claim.said);
            claim.ask_at = Some(now.plus(ASK_AGAIN));
            return None;
        }
        let claim = self.claim.take()?;
        let learned = said.filter(|_| is_believed && said != self.known);
        self.known = learned.or(self.known);
        let group = self.layout.columns().get(usize::from(self.read.first_column))?.group;
        let misread = (is_believed && said != Some(claim.sampled)).then_some(group);
        Some(Settled { learned, misread })
    }

    pub(crate) fn inverter(&self) -> &InverterConfig {
        &self.inverter
    }

    /// Returns the inverter's layout with the confirmed rated power.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub(crate) fn layout(&self) -> Result<Layout, SurveyError> {
        let inverter = known(&self.inverter, self.known);
        Ok(model_search::compile(&inverter, self.survey.as_ref())?.layout)
    }

    fn watts(&self, words: &[u16], marks: &[Mark]) -> Option<u32> {
        let value = self.layout.reading(self.point, words, marks).good()?;
        let exponent = self.layout.points().get(self.point)?.exponent;
        let watts = value / 10i64.pow(u32::from(exponent.unsigned_abs()));
        u32::try_from(watts).ok().filter(|watts| RATED_W.contains(watts))
    }
}

/// Returns a read of only one point, with its scale factor.
fn read_of(compiled: &Compiled, point: usize) -> Option<Read> {
    let point = compiled.layout.points().get(point)?;
    let first = usize::from(point.first_column);
    let own = first..first + usize::from(point.column_count);
    let is_own = |column: usize| {
        own.contains(&column) || point.scale_column.map(usize::from) == Some(column)
    };
    compiled.plan.reads().iter().find_map(|read| {
        let offsets = read.columns().filter(|(_, column)| is_own(*column));
        let (start, end) = offsets.fold((u16::MAX, 0), |(start, end), (offset, _)| {
            (start.min(offset), end.max(offset + 1))
        });
        (start < end).then(|| read.part(start, end))
    })
}

/// Returns the inverter's configuration with the rated power that the inverter reported.
pub(crate) fn known(inverter: &InverterConfig, said: Option<u32>) -> InverterConfig {
    let inverter = inverter.clone();
    match said.filter(|_| inverter.rated_w.is_none()) {
        Some(watts) => InverterConfig { profile: inverter.profile.rated(watts), ..inverter },
        None => inverter,
    }
}

/// Returns the stored rated power of this inverter.
pub(crate) fn recall<D: Areas + Clone>(
    disk: &D,
    source: SourceNumber,
    inverter: &InverterConfig,
) -> Option<u32> {
    let (_, said) = open(disk, source);
    let (of, watts) = said?;
    (of == title(inverter)).then_some(watts)
}

/// Stores the rated power of an inverter.
pub(crate) fn keep<D: Areas + Clone>(
    disk: &D,
    source: SourceNumber,
    inverter: &InverterConfig,
    watts: u32,
) -> Result<(), Fault> {
    let (mut pair, _) = open(disk, source);
    pair.store(format!("{}\n{watts}", title(inverter)).as_bytes())
}

/// Opens the stored rated power, with the inverter that reported it.
fn open<D: Areas + Clone>(disk: &D, source: SourceNumber) -> (TwoCopies<D>, Option<(String, u32)>) {
    let parse = |bytes: &[u8]| {
        let (title, watts) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let watts = watts.parse().ok().filter(|watts| RATED_W.contains(watts))?;
        Some((title.to_owned(), watts))
    };
    let (pair, opened) =
        TwoCopies::open(disk.clone(), SmallArea::Rated(source), KEPT_BYTES_MAX, parse);
    (pair, opened.value)
}

/// Identifies the inverter: for another inverter or profile at the same place the stored value does
/// not count.
fn title(inverter: &InverterConfig) -> String {
    format!("{} {} {}", inverter.address, inverter.unit, inverter.profile.id())
}

#[cfg(test)]
mod tests {
    use ecowatt_codec::TimeBase;
    use ecowatt_model::Mark;
    use ecowatt_profile::catalogue;

    use super::*;

    fn watch(known: Option<u32>) -> Watch {
        let profile = catalogue::find("sungrow/sg-string").unwrap();
        let compiled = profile.compile(ecowatt_profile::Transport::TCP).unwrap();
        let inverter = InverterConfig {
            name: "roof".into(),
            address: "tcp://127.0.0.1:502".parse().unwrap(),
            unit: 1,
            profile,
            rated_w: None,
        };
        let said = InverterConfig { rated_w: Some(6_000), ..inverter.clone() };
        assert!(Watch::new(&compiled, &said, None, None).is_none());
        Watch::new(&compiled, &inverter, None, known).unwrap()
    }

    fn take(watch: &mut Watch, now: MonoMs, hundreds: u16) {
        let columns = watch.layout.columns().len();
        let (mut words, mut marks) = (vec![0; columns], vec![Mark::NotDue; columns]);
        let column = usize::from(watch.read.first_column);
        (words[column], marks[column]) = (hundreds, Mark::Read);
        let (source, stream) = (SourceNumber(0), ecowatt_model::StreamNumber(1));
        let (words, marks) = (&words[..], &marks[..]);
        let base = TimeBase::Unix;
        watch.take(now, &Sample { source, stream, base, ordinal: 1, t_ms: 0, words, marks });
    }

    /// What comes of a first reading in a sample, in hundreds of watts, and answers to what is asked.
    fn settle(known: Option<u32>, sampled: u16, answers: &[Option<u16>]) -> Option<Settled> {
        let (mut watch, mut now) = (watch(known), MonoMs(1_000));
        take(&mut watch, now, sampled);
        let mut settled = None;
        for answer in answers {
            assert_eq!(settled, None, "nothing is asked about what is settled");
            assert_eq!(watch.poll(now), None, "not at once");
            now = watch.ask_at().expect("another reading");
            assert_eq!(watch.poll(now).map(|read| read.count), Some(1));
            assert_eq!((watch.poll(now), watch.ask_at()), (None, None), "once");
            settled = watch.handle(now, answer.map(|word| [word]).as_ref().map(|word| &word[..]));
        }
        assert_eq!(watch.ask_at().is_none(), settled.is_some() || answers.is_empty());
        settled
    }

    #[test]
    fn rated_power_is_believed_when_two_readings_in_a_row_agree() {
        let learned = |watts, misread: bool| {
            Some(Settled { learned: Some(watts), misread: misread.then_some(2) })
        };
        for known in [None, Some(8_000)] {
            assert_eq!(settle(known, 50, &[Some(50)]), learned(5_000, false));
            // The first was wrong: ten times too much, or another's.
            assert_eq!(settle(known, 500, &[Some(50), Some(50)]), learned(5_000, true));
            assert_eq!(settle(known, 60, &[Some(500), Some(50), Some(50)]), learned(5_000, true));
            // An inverter that does not answer says nothing, and neither do readings that cannot be.
            let silence = [None, Some(0xFFFF), Some(0), Some(7), None, Some(50)];
            assert_eq!(settle(known, 50, &silence), learned(5_000, false));
            // One that says something else each time is not believed at all.
            let told = [51, 52, 53, 54, 55, 56, 57, 58].map(Some);
            assert_eq!(settle(known, 50, &told), Some(Settled { learned: None, misread: None }));
        }
        // Filler and zero are no claims.
        for none in [0, 7, 0xFFFF, 0x8000] {
            assert_eq!(settle(None, none, &[]), None);
        }
        // What is known and read again needs no third reading.
        let misread = Some(Settled { learned: None, misread: Some(2) });
        assert_eq!(settle(Some(8_000), 50, &[Some(80)]), misread);
        assert_eq!(settle(Some(5_000), 50, &[]), None);
    }
}

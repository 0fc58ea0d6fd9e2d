//! Compares persisted samples with stored ones: the checker behind `crash` and `chaos`.
//!
//! Three witnesses: the log in which an agent notes each durable sample, the journals in which its
//! inverter notes each answer before it is sent, and the server's raw history. Every sample in the
//! agent's log must be stored once, at its own time; every stored sample must be what the inverter
//! answered at that time.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ecowatt_api::{Resolution, Telemetry};
use ecowatt_client::{Client, TelemetryQuery};

/// Registers of the simulated inverter.
pub(crate) const COLUMNS: usize = 10;

/// How much earlier than its answer a sample may be. A sample has the instant at which its read was
/// sent; the agent waits at most 3 s for an answer and may notice it 1 s later. The rest is for the
/// error of the agent's clock.
const ANSWER_LATE_MAX_MS: i64 = 4_500;
/// How much later than its answer a sample may be: for the error of the agent's clock.
const ANSWER_EARLY_MAX_MS: i64 = 1_000;

/// Described findings of each kind; all are counted.
const DESCRIBED_MAX: u64 = 10;

/// The time of a sample in Unix milliseconds, and its words in the order of the registers.
pub(crate) type Sample = (i64, Words);
type Words = [Option<u16>; COLUMNS];

/// How often each sample occurs.
pub(crate) type Count = BTreeMap<Sample, u32>;

/// The real times, in Unix milliseconds, at which an inverter answered these words.
pub(crate) type Answers = HashMap<[u16; COLUMNS], Vec<i64>>;

/// Result of the comparison.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Samples that an agent had made durable.
    pub(crate) persisted: u64,
    /// Samples in the server's history.
    pub(crate) stored: u64,
    /// Persisted, and not stored.
    pub(crate) lost: u64,
    /// Stored more often than taken.
    pub(crate) doubled: u64,
    /// Stored with a time at which the inverter did not answer these words.
    pub(crate) restamped: u64,
    /// Stored with words that no inverter ever answered.
    pub(crate) not_sampled: u64,
    /// Descriptions of the first few of each kind.
    pub(crate) findings: Vec<String>,
}

/// Evidence of the three witnesses for one device.
#[derive(Debug, Default)]
pub(crate) struct Testimony {
    /// What the agent had persisted after all data had time to arrive.
    pub(crate) persisted: Count,
    /// The same, and what it sampled while the comparison was made.
    pub(crate) persisted_at_last: Count,
    /// What the inverter answered.
    pub(crate) answers: Answers,
    /// What the server has.
    pub(crate) stored: Count,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.restamped + self.not_sampled == 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.persisted += other.persisted;
        self.stored += other.stored;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.restamped += other.restamped;
        self.not_sampled += other.not_sampled;
        self.findings.extend(other.findings);
    }

    /// Judges one device.
    pub(crate) fn of(device: &str, testimony: &Testimony) -> Self {
        let Testimony { persisted, persisted_at_last, answers, stored } = testimony;
        let mut verdict =
            Self { persisted: total(persisted), stored: total(stored), ..Self::default() };
        let mut findings = Vec::new();
        let mut find = |count: &mut u64, times: u64, what: &str, sample: &Sample| {
            if *count < DESCRIBED_MAX {
                findings.push(format!("{device}: {what} {sample:?}"));
            }
            *count += times;
        };
        for sample in persisted.keys().filter(|sample| !stored.contains_key(*sample)) {
            find(&mut verdict.lost, 1, "lost", sample);
        }
        for (sample, times) in stored {
            let once = persisted_at_last.get(sample).copied().unwrap_or(1);
            if *times > once {
                find(&mut verdict.doubled, u64::from(times - once), "doubled", sample);
            }
            // A sample without words claims no answer of an inverter.
            if sample.1.iter().all(Option::is_none) {
                continue;
            }
            // A kill between persisting a sample and noting it leaves one that is only in the
            // inverter's journal, so the journal is checked for all of them.
            let whole: Option<Vec<u16>> = sample.1.iter().copied().collect();
            let whole: Option<[u16; COLUMNS]> = whole.and_then(|words| words.try_into().ok());
            match whole.and_then(|words| answers.get(&words)) {
                None => find(&mut verdict.not_sampled, 1, "not sampled", sample),
                Some(times) if times.iter().any(|answered| is_of(sample.0, *answered)) => {}
                Some(times) => {
                    let nearest = times.iter().min_by_key(|t| (*t - sample.0).abs());
                    let what = format!("re-stamped (answered at {nearest:?})");
                    find(&mut verdict.restamped, 1, &what, sample);
                }
            }
        }
        verdict.findings = findings;
        verdict
    }
}

fn is_of(sampled: i64, answered: i64) -> bool {
    (sampled - ANSWER_EARLY_MAX_MS..=sampled + ANSWER_LATE_MAX_MS).contains(&answered)
}

/// Reads what an inverter answered from its journals, one for each of its runs.
pub(crate) fn answers<'a>(journals: impl IntoIterator<Item = &'a Path>) -> Result<Answers> {
    let mut answers = Answers::new();
    for journal in journals {
        // A run that was killed at once has no journal.
        if !journal.exists() {
            continue;
        }
        let text = std::fs::read_to_string(journal)
            .with_context(|| format!("reading {}", journal.display()))?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let at = line["world_ms"].as_i64().context("a journal line has no real time")?;
            let words = line["words"].as_array().context("a journal line has no words")?;
            let word = |word: &serde_json::Value| word.as_u64().and_then(|w| u16::try_from(w).ok());
            let words: Option<Vec<u16>> = words.iter().map(word).collect();
            let words = words.context("a word is not 16 bits wide")?;
            let Ok(words) = words.try_into() else { bail!("the map is read in one piece") };
            answers.entry(words).or_default().push(at);
        }
    }
    Ok(answers)
}

/// Reads an agent's log, with lines `epoch,sequence,source,t_ms,word|word|…,mark|mark|…`; an
/// incomplete last line was not persisted.
pub(crate) fn sample_log(path: &Path) -> Result<Count> {
    if !path.exists() {
        return Ok(Count::new());
    }
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut count = Count::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        let [_, _, _, t, words, marks] = fields[..] else { bail!("a sample log's line {line:?}") };
        let mut sample = [None; COLUMNS];
        for ((cell, word), mark) in sample.iter_mut().zip(words.split('|')).zip(marks.split('|')) {
            *cell = (mark == "0").then(|| word.parse()).transpose()?;
        }
        *count.entry((logged_time(t)?, sample)).or_default() += 1;
    }
    Ok(count)
}

/// `unix_ms`, or `b`, milliseconds since boot, `+`, and the Unix milliseconds of the boot.
fn logged_time(text: &str) -> Result<i64> {
    let Some(since_boot) = text.strip_prefix('b') else { return Ok(text.parse()?) };
    let (since_boot, boot) =
        since_boot.split_once('+').context("a time since boot has no second part")?;
    Ok(since_boot.parse::<i64>()? + boot.parse::<i64>()?)
}

/// Returns the server's raw history of a device, as registers.
pub(crate) fn history(client: &Client, device: &str) -> Result<Count> {
    let detail = client.find_device(device)?;
    let Some(last) = detail.device.last_sample else { return Ok(Count::new()) };
    let to = rfc3339(unix_ms(&last)? + 1)?;
    let mut query = TelemetryQuery {
        from: Some(detail.device.created),
        to: Some(to),
        resolution: Resolution::Raw,
        points: Vec::new(),
        inverter: 0,
        cursor: None,
    };
    let mut count = Count::new();
    loop {
        let page = client.list_telemetry(device, &query)?;
        let columns = columns(&page)?;
        for (row, t) in page.t_ms.iter().enumerate() {
            let mut sample = [None; COLUMNS];
            for (cell, column) in sample.iter_mut().zip(&columns) {
                *cell = column[row];
            }
            *count.entry((*t, sample)).or_default() += 1;
        }
        if page.next_cursor.is_none() {
            return Ok(count);
        }
        query.cursor = page.next_cursor;
    }
}

/// The registers of a page of history, column by column.
fn columns(page: &Telemetry) -> Result<Vec<Vec<Option<u16>>>> {
    let column = |point: &&str| {
        let series = page.series.iter().find(|series| series.point == **point);
        let series = series.with_context(|| format!("the history lacks {point}"))?;
        let factor = 10f64.powi(i32::from(series.decimals));
        Ok(series.value.iter().map(|value| value.map(|v| register(v * factor))).collect())
    };
    REGISTERS.iter().map(column).collect()
}

fn unix_ms(text: &str) -> Result<i64> {
    Ok(text.parse::<jiff::Timestamp>().with_context(|| format!("reading {text}"))?.as_millisecond())
}

fn rfc3339(unix_ms: i64) -> Result<String> {
    Ok(jiff::Timestamp::from_millisecond(unix_ms)?.to_string())
}

/// The points of the seed map in the order of its registers.
const REGISTERS: [&str; COLUMNS] = [
    "ac.l1.voltage",
    "ac.l1.current",
    "ac.frequency",
    "pv.1.voltage",
    "pv.2.voltage",
    "pv.1.current",
    "pv.2.current",
    "temp.internal",
    "control.p_limit",
    "ac.power",
];

/// The word behind a scaled value; negative ones are two's complement.
fn register(value: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "points of the map are 16 bits wide")]
    let whole = value.round() as i32;
    (whole & 0xffff).try_into().unwrap_or(0)
}

fn total(count: &Count) -> u64 {
    count.values().map(|times| u64::from(*times)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_767_268_800_000;

    fn words(n: u16) -> [u16; COLUMNS] {
        [n; COLUMNS]
    }

    fn sample(t: i64, n: u16) -> Sample {
        (t, words(n).map(Some))
    }

    /// Three samples that were taken, noted and delivered.
    fn honest() -> Testimony {
        let taken: Count = (0..3).map(|n| (sample(NOON + i64::from(n) * 200, n), 1)).collect();
        Testimony {
            persisted: taken.clone(),
            persisted_at_last: taken.clone(),
            answers: taken
                .keys()
                .map(|(t, w)| (w.map(Option::unwrap_or_default), vec![*t]))
                .collect(),
            stored: taken,
        }
    }

    fn judged(change: impl FnOnce(&mut Testimony)) -> [u64; 4] {
        let mut testimony = honest();
        change(&mut testimony);
        let verdict = Verdict::of("dev-1", &testimony);
        assert_eq!(verdict.is_clean(), verdict.findings.is_empty());
        [verdict.lost, verdict.doubled, verdict.restamped, verdict.not_sampled]
    }

    fn with(sample: Sample) -> impl FnOnce(&mut Testimony) {
        move |testimony| {
            testimony.stored.insert(sample, 1);
        }
    }

    #[test]
    fn agreeing_witnesses_are_clean() {
        assert_eq!(judged(|_| {}), [0; 4]);
    }

    #[test]
    fn sample_missing_from_the_log_is_found_in_the_journal() {
        assert_eq!(judged(|t| t.persisted.clear()), [0; 4]);
        assert_eq!(
            judged(|t| {
                t.persisted.clear();
                t.persisted_at_last.clear();
            }),
            [0; 4]
        );
    }

    #[test]
    fn each_kind_of_damage_is_found() {
        let lose = |t: &mut Testimony| {
            t.stored.pop_first();
        };
        assert_eq!(judged(lose), [1, 0, 0, 0]);
        assert_eq!(judged(|t| *t.stored.entry(sample(NOON, 0)).or_default() += 2), [0, 2, 0, 0]);
        assert_eq!(judged(with(sample(NOON, 9))), [0, 0, 0, 1]);
        let later = sample(NOON + 60_000, 0);
        assert_eq!(judged(with(later)), [0, 0, 1, 0]);
        // Moved: missing where it belongs, and present where it does not.
        let move_one = |t: &mut Testimony| {
            lose(t);
            t.stored.insert(later, 1);
        };
        assert_eq!(judged(move_one), [1, 0, 1, 0]);
    }

    #[test]
    fn unread_registers_claim_nothing_unless_some_were_read() {
        assert_eq!(judged(with((NOON, [None; COLUMNS]))), [0; 4]);
        let mut half = sample(NOON, 0);
        half.1[3] = None;
        assert_eq!(judged(with(half)), [0, 0, 0, 1]);
    }

    #[test]
    fn journal_is_read_up_to_the_line_that_a_kill_cut() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.jsonl");
        let line =
            "{\"t_ms\":66000,\"words\":[1,1,1,1,1,1,1,1,1,1],\"world_ms\":7}\n{\"t_ms\":9,\"wor";
        std::fs::write(&journal, line).unwrap();
        let absent = folder.path().join("absent.jsonl");
        let answers = answers([&*journal, &*absent]).unwrap();
        assert_eq!(answers, Answers::from([(words(1), vec![7])]));
    }
}

//! What must survive a power cut: the nonce, the settings, and samples that were not acknowledged.
//!
//! Two files in the data folder: `original.json`, which is replaced as a whole, and
//! `original-N.samples`, to which a line is appended for each sample. The first names N and how many
//! lines of the second were acknowledged. Once enough were, the rest is written to N + 1, and only
//! then named.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use super::upload::Sample;

const STATE_FILE: &str = "original.json";

/// Acknowledged lines after which the others are written to a new file: it stays below half a
/// megabyte while the server answers.
const ACKNOWLEDGED_MAX: usize = 4_096;

/// Samples that are kept while the server does not answer: six days at 5 s, some 8 MB. The oldest
/// eighth goes first.
const SAMPLES_MAX: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The last nonce that may have been used.
    nonce: u32,
    /// Which file has the samples.
    generation: u64,
    /// Its lines that need not be sent any more.
    acknowledged: usize,
    /// How many of the others were sent together and not acknowledged. They are sent again together,
    /// so that a server that has them can recognise their packet. 0: none.
    #[serde(default)]
    sent: usize,
    settings: Option<Settings>,
}

/// The files, and what is in them.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    state: State,
    file: File,
    /// Lines in the file.
    lines: usize,
    waiting: VecDeque<Sample>,
}

impl Store {
    /// Opens the files, or creates them. A new device begins with a nonce above `first_nonce`.
    pub(super) fn open(folder: &Path, first_nonce: u32) -> io::Result<Self> {
        let path = folder.join(STATE_FILE);
        let state: State = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State {
                nonce: first_nonce,
                generation: 0,
                acknowledged: 0,
                sent: 0,
                settings: None,
            },
            Err(error) => return Err(error),
        };
        let samples = samples_path(folder, state.generation);
        let text = match std::fs::read_to_string(&samples) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let complete: Vec<&str> =
            text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        let waiting: VecDeque<Sample> =
            complete.iter().skip(state.acknowledged).filter_map(|line| parse(line)).collect();
        let damaged = complete.len().saturating_sub(state.acknowledged) - waiting.len();
        if damaged > 0 {
            tracing::error!(lines = damaged, "samples in the data folder cannot be read");
        }
        let mut store = Self {
            folder: folder.to_owned(),
            file: appendable(&samples)?,
            state,
            lines: complete.len(),
            waiting,
        };
        // Removes the half line of a power cut, and lines that cannot be read.
        store.rewrite()?;
        Ok(store)
    }

    /// Returns the settings that were kept, if any were.
    pub(super) fn settings(&self) -> Option<&Settings> {
        self.state.settings.as_ref()
    }

    /// Returns the samples that were not acknowledged, the oldest first.
    pub(super) fn waiting(&self) -> &VecDeque<Sample> {
        &self.waiting
    }

    /// Makes a sample durable. Returns how many old ones were given up for want of room.
    pub(super) fn append(&mut self, sample: Sample) -> io::Result<usize> {
        let mut given_up = 0;
        if self.waiting.len() >= SAMPLES_MAX {
            given_up = SAMPLES_MAX / 8;
            self.waiting.drain(..given_up);
            self.state.sent = 0;
            self.rewrite()?;
        }
        self.file.write_all(line(&sample).as_bytes())?;
        self.file.sync_data()?;
        self.lines += 1;
        self.waiting.push_back(sample);
        Ok(given_up)
    }

    /// Returns the samples that must be sent together: those of an upload without an answer, or all.
    pub(super) fn to_send(&self) -> impl Iterator<Item = &Sample> {
        let most = if self.state.sent == 0 { usize::MAX } else { self.state.sent };
        self.waiting.iter().take(most)
    }

    /// Returns a nonce for an upload of the first `samples` that was never used, and never will be
    /// again however the process ends.
    pub(super) fn next_nonce(&mut self, samples: usize) -> io::Result<u32> {
        let used_up =
            || io::Error::other("all nonces are used up: enrol the device with a new key");
        let nonce = self.state.nonce.checked_add(1).ok_or_else(used_up)?;
        self.replace(State { nonce, sent: samples, ..self.state.clone() })?;
        Ok(nonce)
    }

    /// Notes that the server has the first `count` samples.
    pub(super) fn acknowledge(&mut self, count: usize) -> io::Result<()> {
        self.waiting.drain(..count.min(self.waiting.len()));
        self.state.sent = 0;
        let acknowledged = self.lines - self.waiting.len();
        if acknowledged >= ACKNOWLEDGED_MAX {
            return self.rewrite();
        }
        self.replace(State { acknowledged, ..self.state.clone() })
    }

    /// Keeps settings.
    pub(super) fn keep(&mut self, settings: &Settings) -> io::Result<()> {
        self.replace(State { settings: Some(settings.clone()), ..self.state.clone() })
    }

    /// Writes what waits to a new file.
    fn rewrite(&mut self) -> io::Result<()> {
        let generation = self.state.generation + 1;
        let path = samples_path(&self.folder, generation);
        // A start that failed here may have left it.
        let _ = std::fs::remove_file(&path);
        let text: String = self.waiting.iter().map(line).collect();
        let mut file = appendable(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        self.replace(State { generation, acknowledged: 0, ..self.state.clone() })?;
        self.file = file;
        self.lines = self.waiting.len();
        let old = samples_path(&self.folder, generation - 1);
        if let Err(error) = std::fs::remove_file(&old)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %old.display(), %error, "file cannot be removed");
        }
        Ok(())
    }

    /// Replaces the state; the old one stands until the new one is durable.
    fn replace(&mut self, state: State) -> io::Result<()> {
        let (path, part) = (self.folder.join(STATE_FILE), self.folder.join("original.part"));
        let bytes = serde_json::to_vec(&state).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, &path)?;
        File::open(&self.folder)?.sync_all()?;
        self.state = state;
        Ok(())
    }
}

fn samples_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("original-{generation}.samples"))
}

fn appendable(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// `TIME REGISTER:WORD …`, with a line end.
fn line(sample: &Sample) -> String {
    let mut line = sample.time_s.to_string();
    for (register, word) in sample.registers.iter().zip(&sample.words) {
        line.push_str(&format!(" {register}:{word}"));
    }
    line.push('\n');
    line
}

fn parse(line: &str) -> Option<Sample> {
    let mut parts = line.trim_end().split(' ');
    let time_s = parts.next()?.parse().ok()?;
    let pair = |part: &str| {
        let (register, word) = part.split_once(':')?;
        Some((register.parse().ok()?, word.parse().ok()?))
    };
    let (registers, words): (Vec<u8>, Vec<u16>) =
        parts.map(pair).collect::<Option<Vec<(u8, u16)>>>()?.into_iter().unzip();
    (!registers.is_empty()).then_some(Sample { time_s, registers, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time_s: i64) -> Sample {
        Sample { time_s, registers: vec![0, 9], words: vec![2_300, 4_000] }
    }

    fn times(store: &Store) -> Vec<i64> {
        store.waiting().iter().map(|sample| sample.time_s).collect()
    }

    #[test]
    fn samples_and_nonces_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), 11_000).unwrap();
        for time in 0..5 {
            store.append(sample(time)).unwrap();
        }
        assert_eq!(store.to_send().count(), 5);
        assert_eq!(store.next_nonce(2).unwrap(), 11_001);
        assert_eq!(store.to_send().count(), 2);
        store.acknowledge(2).unwrap();
        assert_eq!(store.to_send().count(), 3);
        store.keep(&Settings::new(2, 30)).unwrap();
        drop(store);
        let mut store = Store::open(folder.path(), 5).unwrap();
        assert_eq!(times(&store), [2, 3, 4]);
        assert_eq!(store.waiting()[0], sample(2));
        assert_eq!(store.next_nonce(2).unwrap(), 11_002);
        drop(store);
        let mut store = Store::open(folder.path(), 5).unwrap();
        assert_eq!((store.to_send().count(), store.waiting().len()), (2, 3));
        assert_eq!(store.settings(), Some(&Settings::new(2, 30)));
        store.acknowledge(3).unwrap();
        drop(store);
        assert_eq!(times(&Store::open(folder.path(), 0).unwrap()), [0; 0]);
    }

    #[test]
    fn half_a_line_is_removed_and_what_follows_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), 0).unwrap();
        store.append(sample(1)).unwrap();
        let path = samples_path(folder.path(), store.state.generation);
        drop(store);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"2 0:23").unwrap();
        let mut store = Store::open(folder.path(), 0).unwrap();
        store.append(sample(3)).unwrap();
        drop(store);
        assert_eq!(times(&Store::open(folder.path(), 0).unwrap()), [1, 3]);
    }

    #[test]
    fn an_acknowledged_file_is_replaced_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), 0).unwrap();
        store.state.acknowledged = 0;
        for time in 0..i64::try_from(ACKNOWLEDGED_MAX).unwrap() + 3 {
            // Without a sync for each, which takes minutes on some machines.
            store.file.write_all(line(&sample(time)).as_bytes()).unwrap();
            store.lines += 1;
            store.waiting.push_back(sample(time));
        }
        store.acknowledge(ACKNOWLEDGED_MAX).unwrap();
        assert_eq!(store.state.acknowledged, 0);
        store.append(sample(9_000)).unwrap();
        let expected = times(&store);
        drop(store);
        assert_eq!(times(&Store::open(folder.path(), 0).unwrap()), expected);
        let is_samples = |name: &str| name.ends_with(".samples");
        let files = std::fs::read_dir(folder.path()).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| is_samples(name)).count(), 1);
    }

    #[test]
    fn the_last_nonce_is_not_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), u32::MAX - 1).unwrap();
        assert_eq!(store.next_nonce(2).unwrap(), u32::MAX);
        assert!(store.next_nonce(2).is_err());
    }
}

//! Records an inverter's answers: the truth that a server's store is compared with.
//!
//! One JSON object per line, written before the answer is sent, with the wall-clock time as well as
//! the simulated one. The last entries are also kept in memory for the control port.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use serde::Serialize;

use crate::inverter::Table;

/// Maximum number of entries in memory.
pub const ENTRIES_MAX: usize = 10_000;

/// An answered read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Number of the entry within one run, from 1.
    pub seq: u64,
    /// Time of the read, in Unix milliseconds of simulated time.
    pub t_ms: i64,
    /// Unit of the request.
    pub unit: u8,
    /// Table of the request.
    pub table: Table,
    /// The first register.
    pub address: u16,
    /// Words of the answer.
    pub words: Vec<u16>,
    /// Whether the answer was sent undamaged.
    pub intact: bool,
}

/// An entry as written to the file.
#[derive(Serialize)]
struct JournalLine<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// When it was written, in Unix milliseconds of the wall clock.
    world_ms: i64,
}

/// An answered read without a journal number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredRead {
    /// Time of the read.
    pub at: UnixMs,
    /// The instant that the registers are from: before `at` if they were frozen, or by less than
    /// one step of the physics.
    pub shown_at: UnixMs,
    /// Unit of the request.
    pub unit: u8,
    /// Table of the request.
    pub table: Table,
    /// The first register.
    pub address: u16,
    /// Words of the answer.
    pub words: Vec<u16>,
    /// Whether the answer was sent undamaged.
    pub is_intact: bool,
}

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    entries: VecDeque<Entry>,
    next_seq: u64,
    file: Option<File>,
    line: Vec<u8>,
}

impl Journal {
    /// A journal only in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { entries: VecDeque::new(), next_seq: 1, file: None, line: Vec::new() }
    }

    /// A journal that also appends to a file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn appending_to(path: &Path) -> std::io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Self { file: Some(file), ..Self::in_memory() })
    }

    /// Records an answer that is about to be sent.
    pub fn record(&mut self, read: AnsweredRead) {
        let entry = Entry {
            seq: self.next_seq,
            t_ms: read.at.0,
            unit: read.unit,
            table: read.table,
            address: read.address,
            words: read.words,
            intact: read.is_intact,
        };
        self.next_seq += 1;
        self.append(&entry);
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Up to `limit` entries after number `since`, oldest first.
    pub fn since(&self, since: u64, limit: usize) -> impl Iterator<Item = &Entry> {
        let skipped = self.entries.partition_point(|entry| entry.seq <= since);
        self.entries.iter().skip(skipped).take(limit)
    }

    /// One write per line, so that a kill leaves only whole lines.
    fn append(&mut self, entry: &Entry) {
        let Some(file) = &mut self.file else { return };
        self.line.clear();
        let line = JournalLine { entry, world_ms: Clock::system().now().0 };
        let written = serde_json::to_writer(&mut self.line, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| {
                self.line.push(b'\n');
                file.write_all(&self.line)
            });
        if let Err(error) = written {
            tracing::error!(%error, "journal cannot be written; continuing in memory only");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ms: i64) -> AnsweredRead {
        AnsweredRead {
            at: UnixMs(ms),
            shown_at: UnixMs(ms),
            unit: 17,
            table: Table::Holding,
            address: 0,
            words: vec![1, 2],
            is_intact: true,
        }
    }

    #[test]
    fn a_file_has_one_line_per_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        Journal::appending_to(&path).unwrap().record(read(5));
        Journal::appending_to(&path).unwrap().record(read(6));
        let line = |ms| {
            format!(
                r#"{{"seq":1,"t_ms":{ms},"unit":17,"table":"holding","address":0,"words":[1,2],"intact":true"#
            )
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().filter_map(|l| l.split_once(",\"world_ms\":")).collect();
        let entries: Vec<_> = lines.iter().map(|(entry, _)| *entry).collect();
        assert_eq!(entries, [line(5), line(6)]);
        let written = lines.iter().map(|(_, ms)| ms.trim_end_matches('}').parse::<i64>().unwrap());
        assert!(written.is_sorted() && text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn memory_keeps_the_last_entries() {
        let mut journal = Journal::in_memory();
        for ms in 0..12_000 {
            journal.record(read(ms));
        }
        let seqs: Vec<u64> = journal.since(0, 3).map(|entry| entry.seq).collect();
        assert_eq!(seqs, [2_001, 2_002, 2_003]);
        assert_eq!(journal.since(11_999, 100).count(), 1);
    }
}

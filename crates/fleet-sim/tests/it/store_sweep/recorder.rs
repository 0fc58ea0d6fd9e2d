//! Files under SQLite that record every operation, so that it can be replayed on another disk up to
//! any place.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use ecowatt_fleet_sim::disk::{Disk, OpenFile};
use ecowatt_vfs::{File, Files};

/// An operation, or a mark of the life's progress.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The commit of this number begins.
    Begun(usize),
    /// Every request in the commit of this number was answered.
    Answered(usize),
    Open {
        name: String,
    },
    Op(Op),
}

/// An operation at which the power can fail.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write { name: String, offset: u64, bytes: Arc<[u8]> },
    Truncate { name: String, len: u64 },
    Sync { name: String },
    Remove { name: String },
    SyncNames,
}

impl Op {
    /// Applies the operation to a disk.
    pub(crate) fn apply(&self, disk: &Disk) -> io::Result<()> {
        match self {
            Self::Write { name, offset, bytes } => disk.open(name, false)?.write_at(*offset, bytes),
            Self::Truncate { name, len } => disk.open(name, false)?.truncate(*len),
            Self::Sync { name } => disk.open(name, false)?.sync(),
            Self::Remove { name } => Files::remove(disk, name),
            Self::SyncNames => Files::sync_names(disk),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    disk: Disk,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    pub(crate) fn new(disk: Disk) -> Self {
        Self { disk, events: Arc::default() }
    }

    pub(crate) fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

pub(crate) struct Recorded {
    recorder: Recorder,
    name: String,
    file: OpenFile,
}

impl Files for Recorder {
    type File = Recorded;

    fn open(&self, name: &str, creates: bool) -> io::Result<Recorded> {
        let file = self.disk.open(name, creates)?;
        self.note(Event::Open { name: name.to_owned() });
        Ok(Recorded { recorder: self.clone(), name: name.to_owned(), file })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Files::remove(&self.disk, name)?;
        self.note(Event::Op(Op::Remove { name: name.to_owned() }));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Files::sync_names(&self.disk)?;
        self.note(Event::Op(Op::SyncNames));
        Ok(())
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.disk.exists(name)
    }
}

impl File for Recorded {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)?;
        let op = Op::Write { name: self.name.clone(), offset, bytes: bytes.into() };
        self.recorder.note(Event::Op(op));
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)?;
        self.recorder.note(Event::Op(Op::Truncate { name: self.name.clone(), len }));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        self.recorder.note(Event::Op(Op::Sync { name: self.name.clone() }));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

/// Counts how often each kind of operation was recorded.
pub(crate) fn tally(events: &[Event]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for event in events {
        let kind = match event {
            Event::Op(Op::Write { .. }) => "writes",
            Event::Op(Op::Truncate { .. }) => "truncations",
            Event::Op(Op::Sync { .. }) => "syncs",
            Event::Op(Op::Remove { .. }) => "removals",
            Event::Op(Op::SyncNames) => "syncs of names",
            Event::Answered(_) => "commits",
            Event::Begun(_) | Event::Open { .. } => continue,
        };
        *tally.entry(kind).or_default() += 1;
    }
    tally
}

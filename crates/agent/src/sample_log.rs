//! Writes a line of CSV for every durable sample, for comparison with what a server stores.
//!
//! `epoch,-,source,time,word|word|…,mark|mark|…`, where the dash keeps the place of the sequence
//! that the sample's batch does not have yet, time is in Unix milliseconds, and marks are their codes.
//! Before the clock was confirmed, time is `b`, milliseconds since boot, `+`, and the Unix
//! milliseconds of the boot as they are known at that time.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use ecowatt_codec::TimeBase;
use ecowatt_device::Sample;
use ecowatt_model::{BootEpoch, UnixMs};

/// The file.
#[derive(Debug)]
pub(crate) struct SampleLog(File);

impl SampleLog {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Appends a sample with a single write, so that a kill leaves whole lines.
    pub(crate) fn append(
        &mut self,
        epoch: BootEpoch,
        boot: Option<UnixMs>,
        sample: &Sample<'_>,
    ) -> io::Result<()> {
        let mut line = format!("{epoch},-,{},", sample.source);
        // Writing to a string cannot fail.
        let _ = match sample.base {
            TimeBase::Unix => write!(line, "{},", sample.t_ms),
            TimeBase::SinceBoot => {
                write!(line, "b{}+{},", sample.t_ms, boot.map_or(0, |boot| boot.0))
            }
        };
        let words: Vec<String> = sample.words.iter().map(u16::to_string).collect();
        let marks: Vec<String> = sample.marks.iter().map(|mark| mark.code().to_string()).collect();
        let _ = writeln!(line, "{},{}", words.join("|"), marks.join("|"));
        self.0.write_all(line.as_bytes())
    }
}

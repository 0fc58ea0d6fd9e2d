//! Compares the bytes that our codec and others take for files of samples.

mod original;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ecowatt_clock::Clock;
use ecowatt_codec::{Batch, CodecMemory, Decoder, TimeBase, encode, encoded_len_max};
use ecowatt_model::Mark;
use serde::Serialize;

use super::{csv, open};

/// Speed is the best of this many rounds, each at least this long.
const ROUNDS: usize = 8;
const ROUND_MS: u64 = 40;

#[derive(Debug, Serialize)]
struct Line<'a> {
    file: &'a str,
    samples: usize,
    method: &'static str,
    bytes: usize,
    raw: usize,
    ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    encode_mvps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_mvps: Option<f64>,
    /// Share of the values that a server gets as the device read them. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<f64>,
}

/// Which methods are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    Ours,
    /// And those of the earlier EcoWatt's devices.
    WithOriginal,
}

/// The samples of one file.
struct Table {
    columns: usize,
    times: Vec<i64>,
    words: Vec<u16>,
}

impl Table {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let mut csv = csv::Reader::new(open(path)?)?;
        let columns = csv.names().len();
        let (mut times, mut words) = (Vec::new(), Vec::new());
        while let Some(seconds) = csv.sample(&mut words)? {
            times.push(seconds * 1000);
        }
        Ok(Self { columns, times, words })
    }

    fn batches(&self, samples: usize) -> impl Iterator<Item = Batch<'_>> {
        let words = self.words.chunks(samples * self.columns);
        self.times.chunks(samples).zip(words).map(|(times, words)| Batch {
            base: TimeBase::Unix,
            columns: self.columns,
            times,
            words,
            marks: None,
        })
    }
}

/// Prints a line for each file, batch size and method.
pub(crate) fn run(
    inputs: &[PathBuf],
    samples: &[usize],
    methods: Methods,
    is_json: bool,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if !is_json {
        writeln!(
            out,
            "{:<44} {:>7} {:<10} {:>9} {:>9} {:>7} {:>7} {:>13} {:>13}",
            "file",
            "samples",
            "method",
            "bytes",
            "raw",
            "ratio",
            "exact",
            "encode Mval/s",
            "decode Mval/s"
        )?;
    }
    for path in inputs {
        let table = Table::read(path).with_context(|| format!("reading {}", path.display()))?;
        let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        for &samples in samples {
            let ours = Ours::measure(&table, samples, clock)?;
            let mut line = |method, bytes, encode_mvps, decode_mvps, exact| {
                let raw = 2 * table.words.len();
                let ratio = float(bytes) / float(raw).max(1.0);
                let line = Line {
                    file: &file,
                    samples,
                    method,
                    bytes,
                    raw,
                    ratio,
                    encode_mvps,
                    decode_mvps,
                    exact,
                };
                print(&line, is_json, out)
            };
            line("ecowatt", ours.bytes, Some(ours.encode_mvps), Some(ours.decode_mvps), None)?;
            let all = |size: fn(&Batch<'_>) -> usize| {
                table.batches(samples).map(|batch| size(&batch)).sum()
            };
            line("rice", all(rice), None, None, None)?;
            line("deflate", all(deflate), None, None, None)?;
            if methods == Methods::WithOriginal {
                for it in original::compare(&table, samples)? {
                    line(it.method, it.bytes, None, None, Some(it.exact))?;
                }
            }
        }
    }
    Ok(())
}

fn print(line: &Line<'_>, is_json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if is_json {
        serde_json::to_writer(&mut *out, line)?;
        writeln!(out)?;
        return Ok(());
    }
    let speed = |mvps: Option<f64>| mvps.map(|mvps| format!("{mvps:.1}")).unwrap_or_default();
    writeln!(
        out,
        "{:<44} {:>7} {:<10} {:>9} {:>9} {:>7.4} {:>7} {:>13} {:>13}",
        line.file,
        line.samples,
        line.method,
        line.bytes,
        line.raw,
        line.ratio,
        format!("{:.1}%", 100.0 * line.exact.unwrap_or(1.0)),
        speed(line.encode_mvps),
        speed(line.decode_mvps),
    )?;
    Ok(())
}

/// Size of a table in our codec, and its speed.
struct Ours {
    bytes: usize,
    encode_mvps: f64,
    decode_mvps: f64,
}

impl Ours {
    fn measure(table: &Table, samples: usize, clock: Clock) -> anyhow::Result<Self> {
        let mut state: Box<CodecMemory> = Box::default();
        let mut buffer = vec![0; encoded_len_max(samples, table.columns)];
        let mut encoded: Vec<Vec<u8>> = Vec::new();
        for batch in table.batches(samples) {
            let len = encode(&batch, &mut state, &mut buffer)?;
            encoded.push(buffer[..len].to_vec());
        }
        let encode_mvps = speed(table, clock, || {
            for batch in table.batches(samples) {
                encode(&batch, &mut state, &mut buffer)?;
            }
            Ok(())
        })?;
        let (mut words, mut marks) = (vec![0; table.columns], vec![Mark::Read; table.columns]);
        let mut is_same = true;
        let decode_mvps = speed(table, clock, || {
            let mut expected = table.words.chunks(table.columns);
            for bytes in &encoded {
                let mut decoder = Decoder::new(bytes, &mut state)?;
                while decoder.next_row(&mut words, &mut marks)?.is_some() {
                    is_same &= expected.next() == Some(&words[..]);
                }
            }
            Ok(())
        })?;
        anyhow::ensure!(is_same, "decoded words differ from the encoded ones");
        Ok(Self { bytes: encoded.iter().map(Vec::len).sum(), encode_mvps, decode_mvps })
    }
}

/// Million values per second that `pass` processes; one pass is the whole table.
///
/// The best of several rounds, since other load on the machine can only slow it down.
fn speed(
    table: &Table,
    clock: Clock,
    mut pass: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let start = clock.mono();
        let mut values = 0;
        loop {
            pass()?;
            values += table.words.len().max(1);
            let millis = u64::try_from(clock.mono().since(start).as_millis())?;
            if millis >= ROUND_MS {
                best = best.max(float(values) / 1000.0 / float(usize::try_from(millis)?));
                break;
            }
        }
    }
    Ok(best)
}

/// Differences down each column, mapped to 0, 1, 2, … in the order 0, -1, 1, …; a column starts
/// from zero.
fn zigzag_columns(batch: &Batch<'_>) -> impl Iterator<Item = Vec<u16>> {
    (0..batch.columns).map(|column| {
        let mut last = 0_u16;
        batch
            .words
            .chunks(batch.columns)
            .map(|row| {
                let difference =
                    row[column].wrapping_sub(std::mem::replace(&mut last, row[column]));
                let sign = if difference >> 15 == 0 { 0 } else { u16::MAX };
                difference << 1 ^ sign
            })
            .collect()
    })
}

/// Bytes of delta + zigzag + a Rice code for each column: the first word as it is, four bits for
/// the parameter (one of its values says that all differences are zero), at most 16 ones before 16
/// bits as they are. Times and sizes are not counted.
fn rice(batch: &Batch<'_>) -> usize {
    let bits = |shift: u32, value: u16| match value >> shift {
        quotient @ 0..16 => usize::from(quotient) + 1 + usize::try_from(shift).unwrap_or(0),
        _ => 16 + 16,
    };
    let columns = zigzag_columns(batch).map(|column| {
        let steps = column.get(1..).unwrap_or_default();
        let all = |shift| steps.iter().map(|&step| bits(shift, step)).sum();
        let is_constant = steps.iter().all(|&step| step == 0);
        16 + 4 + if is_constant { 0 } else { (0..15).map(all).min().unwrap_or(0) }
    });
    columns.sum::<usize>().div_ceil(8)
}

/// Bytes of raw deflate over the low bytes, then the high bytes, of each column's differences.
fn deflate(batch: &Batch<'_>) -> usize {
    let mut planes = Vec::with_capacity(2 * batch.words.len());
    for column in zigzag_columns(batch) {
        planes.extend(column.iter().map(|value| value.to_le_bytes()[0]));
        planes.extend(column.iter().map(|value| value.to_le_bytes()[1]));
    }
    miniz_oxide::deflate::compress_to_vec(&planes, 9).len()
}

fn float(count: usize) -> f64 {
    // Counts of bytes and values stay far below 2^53.
    count as f64
}

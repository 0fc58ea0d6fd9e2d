//! The file format of `ecowatt codec encode`.
//!
//! | bytes | meaning |
//! |---|---|
//! | 8 | `EcoWattC` |
//! | 1 | version, 1 |
//! | 1 | number of columns |
//! | 1 + n, for each column | length and UTF-8 of its name |
//! | 4 + n, for each batch | length (little-endian) and bytes of a batch of the codec |
//! | 4 | zero: the end |

use std::io::{BufRead, Read, Write};

use anyhow::{Context, bail, ensure};
use ecowatt_codec::{
    Batch, CodecMemory, Decoder, TimeBase, encode as encode_batch, encoded_len_max,
};
use ecowatt_model::{COLUMNS_MAX, Mark, ROWS_MAX};

use super::csv;

const MAGIC: &[u8; 8] = b"EcoWattC";
const VERSION: u8 = 1;

/// Encodes the samples of a CSV in batches.
pub(super) fn encode(
    samples: &mut csv::Reader<impl BufRead>,
    samples_per_batch: usize,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let columns = samples.names().len();
    out.write_all(MAGIC)?;
    out.write_all(&[VERSION, u8::try_from(columns).context("counting columns")?])?;
    for name in samples.names() {
        out.write_all(&[u8::try_from(name.len()).context("measuring a name")?])?;
        out.write_all(name.as_bytes())?;
    }
    let mut state: Box<CodecMemory> = Box::default();
    let mut bytes = vec![0; encoded_len_max(samples_per_batch, columns)];
    let (mut times, mut words) = (Vec::new(), Vec::new());
    loop {
        times.clear();
        words.clear();
        while times.len() < samples_per_batch
            && let Some(seconds) = samples.sample(&mut words)?
        {
            times.push(seconds * 1000);
        }
        if times.is_empty() {
            out.write_all(&0_u32.to_le_bytes())?;
            return Ok(());
        }
        let batch =
            Batch { base: TimeBase::Unix, columns, times: &times, words: &words, marks: None };
        let len = encode_batch(&batch, &mut state, &mut bytes).context("encoding a batch")?;
        out.write_all(&u32::try_from(len).context("measuring a batch")?.to_le_bytes())?;
        out.write_all(&bytes[..len])?;
    }
}

/// Decodes such a file into the original CSV.
pub(super) fn decode(mut input: impl Read, out: &mut impl Write) -> anyhow::Result<()> {
    let mut start = [0; 10];
    input.read_exact(&mut start).context("reading the start of the file")?;
    ensure!(start.starts_with(MAGIC), "not a file of `ecowatt codec encode`");
    ensure!(start[8] == VERSION, "unknown version {}", start[8]);
    let columns = usize::from(start[9]);
    ensure!((1..=COLUMNS_MAX).contains(&columns), "{columns} columns");
    out.write_all(b"t")?;
    for column in 1..=columns {
        let name = name(&mut input).with_context(|| format!("reading name {column}"))?;
        write!(out, ",{name}")?;
    }
    out.write_all(b"\n")?;

    let mut state: Box<CodecMemory> = Box::default();
    let len_max = encoded_len_max(ROWS_MAX, columns);
    let mut bytes = Vec::new();
    for number in 1_usize.. {
        let mut len = [0; 4];
        input.read_exact(&mut len).with_context(|| format!("reading batch {number}"))?;
        let len = usize::try_from(u32::from_le_bytes(len)).context("measuring a batch")?;
        if len == 0 {
            break;
        }
        ensure!(len <= len_max, "batch {number} has {len} bytes");
        bytes.resize(len, 0);
        input.read_exact(&mut bytes).with_context(|| format!("reading batch {number}"))?;
        rows(&bytes, columns, &mut state, out)
            .with_context(|| format!("decoding batch {number}"))?;
    }
    ensure!(input.read(&mut [0])? == 0, "bytes follow the end");
    Ok(())
}

fn name(input: &mut impl Read) -> anyhow::Result<String> {
    let mut len = [0];
    input.read_exact(&mut len)?;
    let mut name = vec![0; usize::from(len[0])];
    input.read_exact(&mut name)?;
    let name = String::from_utf8(name).context("not UTF-8")?;
    ensure!(!name.is_empty() && !name.contains([',', '\n']), "not a valid name of a CSV column");
    Ok(name)
}

fn rows(
    bytes: &[u8],
    columns: usize,
    state: &mut CodecMemory,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut batch = Decoder::new(bytes, state)?;
    ensure!(batch.columns() == columns, "{} columns, not {columns}", batch.columns());
    ensure!(batch.base() == TimeBase::Unix, "times do not count from 1970");
    let (mut words, mut marks) = (vec![0; columns], vec![Mark::Read; columns]);
    while let Some(time) = batch.next_row(&mut words, &mut marks)? {
        if time % 1000 != 0 || marks.iter().any(|&mark| mark != Mark::Read) {
            bail!("a sample that cannot be written as CSV");
        }
        write!(out, "{}", time / 1000)?;
        for word in &words {
            write!(out, ",{word}")?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, samples: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut csv = csv::Reader::new(text.as_bytes()).unwrap();
        encode(&mut csv, samples, &mut bytes).unwrap();
        bytes
    }

    fn decoded(bytes: &[u8]) -> anyhow::Result<String> {
        let mut text = Vec::new();
        decode(bytes, &mut text)?;
        Ok(String::from_utf8(text)?)
    }

    const TEXT: &str = "t,Vac1,Pac\n-5,0,65535\n0,2305,1\n7,2305,1\n";

    #[test]
    fn the_text_comes_back() {
        for text in [TEXT, "t,only\n"] {
            for samples in [1, 2, 3, 1024] {
                assert_eq!(decoded(&encoded(text, samples)).unwrap(), text);
            }
        }
    }

    #[test]
    fn the_days_come_back() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/pv");
        let mut days = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "csv") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(decoded(&encoded(&text, 180)).unwrap() == text, "{}", path.display());
                days += 1;
            }
        }
        assert_eq!(days, 3);
    }

    #[test]
    fn a_part_of_a_file_is_no_file() {
        let bytes = encoded(TEXT, 2);
        for len in 0..bytes.len() {
            assert!(decoded(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
        }
        assert!(decoded(&[&bytes[..], &[0]].concat()).is_err());
    }
}

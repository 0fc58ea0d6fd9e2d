//! Finds the records in a device's files. An independent reader of the two formats that hold
//! samples, so that the product's reader is not its own judge.

use std::collections::BTreeMap;
use std::ops::Range;

use ecowatt_model::{BatchId, BootEpoch, Sequence, SourceNumber};

/// What a record holds.
pub(crate) enum Record<'a> {
    Batch {
        id: BatchId,
        source: SourceNumber,
        last_ordinal: u32,
        bytes: &'a [u8],
    },
    Sample {
        epoch: BootEpoch,
        source: SourceNumber,
        ordinal: u32,
    },
    /// A record of what was lost, up to where everything was written, or which batches are gone.
    Note,
}

/// Returns all intact records of a file, with the bytes that they depend on.
pub(crate) fn records<'a>(name: &str, bytes: &'a [u8]) -> Vec<(Range<usize>, Record<'a>)> {
    match name.split('-').collect::<Vec<_>>()[..] {
        ["spool", _] => batches(bytes),
        ["draft", epoch, source, columns, _] => {
            let name = (epoch.parse(), source.parse(), columns.parse());
            let (Ok(epoch), Ok(source), Ok(columns)) = name else { return Vec::new() };
            samples((BootEpoch(epoch), SourceNumber(source)), columns, bytes)
        }
        _ => Vec::new(),
    }
}

/// `kind (1) | length (4) | CRC (4) | body`; the body of a batch, kind 2, is `epoch (4) | sequence (4) |
/// source (1) | 4 more | last ordinal (4) | 8 more | bytes`.
fn batches(bytes: &[u8]) -> Vec<(Range<usize>, Record<'_>)> {
    let mut found = Vec::new();
    let mut at = 0;
    let cuts = cuts(bytes);
    while let Some(len) = number(bytes, at + 1) {
        if let Some(cut) = cuts.get(&at) {
            at = *cut;
            found.push((at..at + CUT_BYTES, Record::Note));
            at += CUT_BYTES;
            continue;
        }
        let end = at + 9 + usize::try_from(len).unwrap_or(0);
        let Some(body) = bytes.get(at + 9..end) else { break };
        if bytes[at] == 2
            && let (Some(epoch), Some(sequence)) = (number(body, 0), number(body, 4))
            && let (Some(source), Some(last_ordinal)) = (body.get(8), number(body, 13))
            && let Some(bytes) = body.get(25..)
        {
            let id = BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
            let source = SourceNumber(*source);
            found.push((at..end, Record::Batch { id, source, last_ordinal, bytes }));
        } else {
            found.push((at..end, Record::Note));
        }
        at = end;
    }
    found
}

const CUT_BYTES: usize = 9 + 8;

/// Where what does not count begins, and the record that ends it: kind 5, whose body is that offset
/// (8).
fn cuts(bytes: &[u8]) -> BTreeMap<usize, usize> {
    let cut = |(at, record): (usize, &[u8])| {
        let is_cut = record.starts_with(&[5, 8, 0, 0, 0]) && number(record, 13) == Some(0);
        let from = usize::try_from(number(record, 9).filter(|_| is_cut)?).ok()?;
        (from < at).then_some((from, at))
    };
    bytes.windows(CUT_BYTES).enumerate().filter_map(cut).collect()
}

/// `CRC (4) | kind (1) | ordinal (4) | 11 more | 3 for each register | 2 more`, kind 2.
fn samples(
    (epoch, source): (BootEpoch, SourceNumber),
    columns: usize,
    bytes: &[u8],
) -> Vec<(Range<usize>, Record<'_>)> {
    let len = 22 + 3 * columns;
    let mut found = Vec::new();
    for (place, record) in bytes.chunks_exact(len).enumerate() {
        let range = place * len..(place + 1) * len;
        found.push(match (record.get(4), number(record, 5)) {
            (Some(2), Some(ordinal)) => (range, Record::Sample { epoch, source, ordinal }),
            _ => (range, Record::Note),
        });
    }
    found
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let number = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(number.try_into().ok()?))
}

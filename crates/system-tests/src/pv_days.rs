//! Inverter days from `testdata/pv`, cut into batches and sealed as devices do.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ecowatt_codec::{Batch as Table, CodecMemory, TimeBase, encode, encoded_len_max};
use ecowatt_envelope::{LinkKeys, MESSAGE_MAX, RequestId, UPLINK_OVERHEAD_MAX, seal_uplink};
use ecowatt_model::{BatchId, StreamNumber};
use ecowatt_wire::{Batch, UplinkWriter};

/// Registers of the original's map.
pub(crate) const COLUMNS: usize = 10;

/// Samples of one day: Unix seconds and ten words each.
pub(crate) struct Day {
    pub(crate) rows: Vec<(i64, [u16; COLUMNS])>,
}

impl Day {
    /// Reads `t` and ten registers from a CSV file with a heading.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let rows = text.lines().skip(1).map(row).collect::<Result<_>>();
        Ok(Self { rows: rows.with_context(|| format!("reading {}", path.display()))? })
    }
}

fn row(line: &str) -> Result<(i64, [u16; COLUMNS])> {
    let mut fields = line.split(',');
    let t = fields.next().context("a line has a time")?.parse()?;
    let mut words = [0; COLUMNS];
    for word in &mut words {
        *word = fields.next().context("a line has ten registers")?.parse()?;
    }
    if fields.next().is_some() {
        bail!("a line has more than ten registers");
    }
    Ok((t, words))
}

/// Encodes rows as one batch with their times shifted by `shift_ms`.
pub(crate) fn encode_rows(
    rows: &[(i64, [u16; COLUMNS])],
    shift_ms: i64,
    state: &mut CodecMemory<COLUMNS>,
) -> Result<Vec<u8>> {
    let times: Vec<i64> = rows.iter().map(|(t, _)| t * 1_000 + shift_ms).collect();
    encode_at(&times, rows, state)
}

/// Encodes the words of rows as one batch with the given times, in Unix milliseconds.
pub(crate) fn encode_at(
    times: &[i64],
    rows: &[(i64, [u16; COLUMNS])],
    state: &mut CodecMemory<COLUMNS>,
) -> Result<Vec<u8>> {
    let words: Vec<u16> = rows.iter().flat_map(|(_, words)| *words).collect();
    let batch = Table { base: TimeBase::Unix, columns: COLUMNS, times, words: &words, marks: None };
    let mut bytes = vec![0; encoded_len_max(rows.len(), COLUMNS)];
    let length = encode(&batch, state, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Frames one batch and seals it.
pub(crate) fn seal_batch(
    keys: &LinkKeys,
    request: RequestId,
    id: BatchId,
    stream: StreamNumber,
    batch: &[u8],
) -> Result<Vec<u8>> {
    seal_batches(
        keys,
        request,
        &mut std::iter::once(Batch { id, stream, bytes: batch, start: None }),
    )
}

/// Frames batches, as many as a message may have, and seals them.
pub(crate) fn seal_batches(
    keys: &LinkKeys,
    request: RequestId,
    batches: &mut dyn Iterator<Item = Batch<'_>>,
) -> Result<Vec<u8>> {
    let mut message = vec![0; MESSAGE_MAX];
    let mut writer = UplinkWriter::new(&mut message[..MESSAGE_MAX - UPLINK_OVERHEAD_MAX]);
    writer.batches(batches, 0)?;
    let length = writer.finish();
    let length = seal_uplink(keys, request, &mut message, length)?;
    message.truncate(length);
    message.shrink_to_fit();
    Ok(message)
}

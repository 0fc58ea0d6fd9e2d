//! The minimum of a server's memory: opens messages, keeps their contents, acknowledges them. It
//! shares only the envelope and wire crates with our server.

use std::collections::BTreeMap;

use ecowatt_codec::{Decoder, State, TimeBase};
use ecowatt_envelope::{DeviceKey, Kid, LinkKeys, Sealed, seal_reply};
use ecowatt_model::{BatchId, Counter, DeviceNumber, KeyGeneration, Mark, UnixMs};
use ecowatt_wire::{AckRange, EpochStart, Reply, ReplyWriter, SourceState, Uplink};

pub(crate) const KID: Kid = Kid { device: DeviceNumber(7), generation: KeyGeneration(1) };

/// One row as the server stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) epoch: u32,
    pub(crate) is_unix: bool,
    pub(crate) t_ms: i64,
    pub(crate) words: Vec<u16>,
    pub(crate) marks: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) batches: BTreeMap<BatchId, Vec<Row>>,
    pub(crate) counters: Vec<u64>,
    pub(crate) layouts: BTreeMap<u16, Vec<u8>>,
    /// The layout of each batch.
    pub(crate) streams: BTreeMap<BatchId, u16>,
    pub(crate) resent: usize,
    pub(crate) violations: Vec<String>,
    /// The last message and its reply: the same bytes get the same reply.
    answered: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) key: Option<DeviceKey>,
    /// The time that it sends to devices, if it knows the time.
    pub(crate) time: Option<UnixMs>,
    /// Starts of the epochs, by number.
    pub(crate) starts: BTreeMap<u32, EpochStart>,
    /// The states of the inverters in the latest message.
    pub(crate) states: Vec<SourceState>,
}

/// Takes a message and returns the reply.
pub(crate) fn take(kept: &mut Kept, body: &[u8]) -> Option<Vec<u8>> {
    if let Some((message, reply)) = &kept.answered
        && message == body
    {
        return Some(reply.clone());
    }
    let sealed = Sealed::parse(body).ok()?;
    let keys = LinkKeys::derive(kept.key.as_ref()?, KID);
    let mut plain = vec![0; body.len()];
    let uplink = Uplink::parse(sealed.open(&keys, &mut plain).ok()?).unwrap();
    // A device must never use a counter twice.
    let Counter(counter) = sealed.request().counter;
    if kept.counters.last().is_some_and(|last| *last >= counter) {
        kept.violations.push(format!("counter {counter} after {:?}", kept.counters.last()));
    }
    kept.counters.push(counter);
    for stream in uplink.streams() {
        kept.layouts.insert(stream.number.0, stream.layout.to_vec());
    }
    if let Some(status) = uplink.status() {
        kept.states = status.sources.iter().map(|source| source.state).collect();
    }
    // Without its layout a batch is not stored; the reply asks for the layout.
    let mut wanted = Vec::new();
    for batch in uplink.batches() {
        if !kept.layouts.contains_key(&batch.stream.0) {
            wanted.push(batch.stream);
            continue;
        }
        let rows = rows(batch.id.epoch.0, batch.bytes);
        if batch.start.is_some() == rows[0].is_unix {
            kept.violations.push(format!("batch {} starts at {:?}", batch.id, batch.start));
        }
        if let (Some(start), Some(_)) = (batch.start, kept.time)
            && *kept.starts.entry(batch.id.epoch.0).or_insert(start) != start
        {
            kept.violations.push(format!("batch {} has another start", batch.id));
        }
        match kept.batches.get(&batch.id) {
            Some(known) if *known == rows => kept.resent += 1,
            Some(_) => kept.violations.push(format!("batch {} has two contents", batch.id)),
            None => {
                kept.batches.insert(batch.id, rows);
                kept.streams.insert(batch.id, batch.stream.0);
            }
        }
    }
    // Acknowledges everything stored of the epochs in this message, so that a lost reply costs
    // nothing.
    let mut acks: Vec<AckRange> = Vec::new();
    let is_asked = |id: &&BatchId| uplink.batches().any(|batch| batch.id.epoch == id.epoch);
    for id in kept.batches.keys().filter(is_asked) {
        match acks.last_mut() {
            Some(last) if last.epoch == id.epoch && last.last.0 + 1 == id.sequence.0 => {
                last.last = id.sequence;
            }
            _ => acks.push(AckRange { epoch: id.epoch, first: id.sequence, last: id.sequence }),
        }
    }
    let mut reply = vec![0; 1024];
    let mut writer = ReplyWriter::new(&mut reply);
    writer.acks(&mut acks.into_iter()).unwrap();
    if let Some(time) = kept.time {
        writer.time(time).unwrap();
    }
    writer.wanted(&mut wanted.into_iter()).unwrap();
    let len = writer.finish();
    assert!(Reply::parse(&reply[..len]).is_ok());
    let len = seal_reply(&keys, sealed.request(), &[1; 12], &mut reply, len).unwrap();
    reply.truncate(len);
    kept.answered = Some((body.to_vec(), reply.clone()));
    Some(reply)
}

fn rows(epoch: u32, bytes: &[u8]) -> Vec<Row> {
    let mut state: Box<State> = Box::new(State::new());
    let mut decoder = Decoder::new(bytes, &mut state).unwrap();
    let columns = decoder.columns();
    let is_unix = decoder.base() == TimeBase::Unix;
    let (mut words, mut marks) = (vec![0; columns], vec![Mark::Read; columns]);
    let mut rows = Vec::new();
    while let Some(t_ms) = decoder.next_row(&mut words, &mut marks).unwrap() {
        let marks = marks.iter().map(|mark| mark.code()).collect();
        rows.push(Row { epoch, is_unix, t_ms, words: words.clone(), marks });
    }
    rows
}

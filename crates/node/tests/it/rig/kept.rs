//! The minimum of a server's memory: opens messages, keeps their contents, acknowledges them. It
//! shares only the envelope and wire crates with our server.

use std::collections::BTreeMap;
use std::time::Duration;

use ecowatt_codec::{CodecMemory, Decoder, TimeBase};
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, UnverifiedUplink, seal_reply};
use ecowatt_model::{
    BatchId, CommandId, ConfigGeneration, Counter, DeviceNumber, KeyGeneration, Mark, SourceNumber,
    UnixMs,
};
use ecowatt_wire::{
    AckRange, Command, CommandAction, CommandFailure, CommandState, ConfigState, Desired,
    EpochStart, RefusedSetting, Reply, ReplyWriter, SectionList, SettingValue, SourceState, Uplink,
};

pub(crate) const KID: KeyId = KeyId { device: DeviceNumber(7), generation: KeyGeneration(1) };

/// One row as the server stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) epoch: u32,
    pub(crate) is_unix: bool,
    pub(crate) t_ms: i64,
    pub(crate) words: Vec<u16>,
    pub(crate) marks: Vec<u8>,
}

/// The settings of a device, as it reported them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) generation: u32,
    pub(crate) state: ConfigState,
    pub(crate) refused: Vec<RefusedSetting>,
    pub(crate) values: Vec<SettingValue>,
}

impl Report {
    /// The value in use of a setting, for its first source if it is one of inverters.
    pub(crate) fn value(&self, setting: u8) -> Option<u32> {
        self.values.iter().find(|value| value.setting == setting).map(|value| value.value)
    }
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
    /// The settings that the device should have, with their generation.
    pub(crate) desired: Option<(u32, Vec<SettingValue>)>,
    pub(crate) reports: Vec<Report>,
    /// The commands for the device; sent until their state is reported.
    pub(crate) commands: Vec<Command<'static>>,
    pub(crate) results: Vec<CommandReport>,
}

/// The state of a command, as the device reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandReport {
    pub(crate) id: CommandId,
    pub(crate) state: CommandState,
    pub(crate) failure: CommandFailure,
    pub(crate) detail: u16,
    pub(crate) words: Vec<u8>,
}

impl Kept {
    /// Wants these settings from here on.
    pub(crate) fn want(&mut self, values: &[(u8, u32)]) {
        let generation = self.desired.as_ref().map_or(1, |(generation, _)| generation + 1);
        let value = |&(setting, value)| SettingValue { setting, value, source: None };
        self.desired = Some((generation, values.iter().map(value).collect()));
    }

    /// Wants a command executed from here on; returns its number.
    pub(crate) fn order(&mut self, source: Option<u8>, order: CommandAction<'static>) -> CommandId {
        let id = CommandId(1 + u32::try_from(self.commands.len()).unwrap());
        let source = source.map(SourceNumber);
        // A busy machine may take long, and the clock of an agent under test is fast.
        let deadline = self.time.unwrap().plus(Duration::from_secs(86_400));
        self.commands.push(Command { id, source, deadline, not_before: None, order });
        id
    }

    /// How a command ended, if that was reported.
    pub(crate) fn ended(&self, id: CommandId) -> Option<&CommandReport> {
        let is_its =
            |result: &&CommandReport| result.id == id && result.state != CommandState::Accepted;
        self.results.iter().find(is_its)
    }

    /// Whether the device has not reported the wanted settings, so that replies bring them.
    pub(crate) fn is_waiting(&self) -> bool {
        let wanted = self.desired.as_ref().map(|(generation, _)| *generation);
        wanted > self.reported().map(|(generation, _)| generation)
    }

    /// Generation and state as last reported.
    pub(crate) fn reported(&self) -> Option<(u32, ConfigState)> {
        self.reports.last().map(|report| (report.generation, report.state))
    }
}

/// Takes a message and returns the reply.
pub(crate) fn take(kept: &mut Kept, body: &[u8]) -> Option<Vec<u8>> {
    if let Some((message, reply)) = &kept.answered
        && message == body
    {
        return Some(reply.clone());
    }
    let sealed = UnverifiedUplink::parse(body).ok()?;
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
    if let Some(reported) = uplink.reported() {
        let report = Report {
            generation: reported.generation.0,
            state: reported.state,
            refused: reported.refused.iter().collect(),
            values: reported.values.iter().collect(),
        };
        if let Some(last) = kept.reports.last().filter(|last| last.generation > report.generation) {
            kept.violations.push(format!("{report:?} after {last:?}"));
        }
        kept.reports.push(report);
    }
    for result in uplink.results() {
        let result = CommandReport {
            id: result.id,
            state: result.state,
            failure: result.failure,
            detail: result.detail,
            words: result.words.to_vec(),
        };
        if let Some(ended) = kept.ended(result.id).filter(|ended| ended.state != result.state) {
            kept.violations.push(format!("{result:?} after {ended:?}"));
        }
        kept.results.push(result);
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
    if let Some((generation, values)) = kept.desired.as_ref().filter(|_| kept.is_waiting()) {
        let generation = ConfigGeneration(*generation);
        writer.desired(&Desired { generation, values: SectionList::Given(values) }).unwrap();
    }
    let is_sent = |c: &&Command<'_>| !kept.results.iter().any(|result| result.id == c.id);
    writer.commands(&mut kept.commands.iter().filter(is_sent).copied()).unwrap();
    let len = writer.finish();
    assert!(Reply::parse(&reply[..len]).is_ok());
    let len = seal_reply(&keys, sealed.request(), &[1; 12], &mut reply, len).unwrap();
    reply.truncate(len);
    kept.answered = Some((body.to_vec(), reply.clone()));
    Some(reply)
}

fn rows(epoch: u32, bytes: &[u8]) -> Vec<Row> {
    let mut state: Box<CodecMemory> = Box::new(CodecMemory::new());
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

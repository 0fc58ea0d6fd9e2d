//! A minimal device: enrols itself and delivers samples of the ten-register inverter.

use ecowatt_codec::{Batch, CodecMemory, TimeBase, encode, encoded_len_max};
use ecowatt_envelope::enrol::{DeviceHalf, ENROL_MESSAGE_MAX, Identity};
use ecowatt_envelope::{ClaimCode, KeyId, LinkKeys, RequestId, open_reply, seal_uplink};
use ecowatt_model::{
    BatchId, BootEpoch, COLUMNS_MAX, Counter, Mark, MonoMs, Sequence, SourceNumber, StreamNumber,
    UnixMs,
};
use ecowatt_profile::{Layout, Profile, Transport, catalogue};
use ecowatt_wire::{
    BootReason, Certainty, ClockReport, EpochStart, Reply, SectionList, SourceState, SourceStatus,
    Status, Stream, Uplink, UplinkWriter,
};
use serde_json::Value;

use crate::rig::world::{Answer, World};

const COSE: (&str, &str) = ("content-type", "application/cose");
const SOURCE: SourceNumber = SourceNumber(0);

pub(crate) struct TestDevice {
    pub(crate) id: String,
    identity: Identity,
    keys: LinkKeys,
    layout: Layout,
    /// How many streams the device had before this one.
    stream: u16,
    epoch: BootEpoch,
    counter: u64,
    sequence: u32,
}

/// One sample: its time, and the inverter's power; none if the inverter did not answer.
pub(crate) type Sample = (UnixMs, Option<u16>);

impl TestDevice {
    /// Creates a claim as an operator does and redeems it as a device does.
    pub(crate) async fn enrol(world: &World, name: &str) -> Self {
        let claim = Self::claim(world, name).await;
        Self::redeemed(world, claim).await
    }

    /// Creates a claim; returns the operator's answer.
    pub(crate) async fn claim(world: &World, name: &str) -> Value {
        let body =
            format!(r#"{{"name":"{name}","site":{{"name":"Home","time_zone":"Europe/Berlin"}}}}"#);
        let enrolment = world.post("/api/v1/devices", &body).await;
        assert_eq!(enrolment.status, 201, "{}", enrolment.text());
        enrolment.json()
    }

    /// Redeems a claim.
    pub(crate) async fn redeemed(world: &World, claim: Value) -> Self {
        let code = claim["claim_code"].as_str().unwrap().parse().unwrap();
        let half = DeviceHalf::new([7; 32]);
        let answer = Self::redeem(world, &half, &code).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/cose"));
        let identity = half.finish(&code, &answer.body).unwrap();
        let id = identity.grant.device.to_string();
        assert_eq!(claim["device"], id);
        let kid = KeyId { device: identity.grant.device, generation: identity.grant.generation };
        let profile = catalogue::find("ecowatt/seed-sim").unwrap();
        Self {
            id,
            keys: LinkKeys::derive(&identity.key, kid),
            epoch: identity.grant.first_epoch,
            identity,
            layout: profile.compile(Transport::TCP).unwrap().layout,
            stream: 0,
            counter: 0,
            sequence: 0,
        }
    }

    pub(crate) async fn redeem(world: &World, half: &DeviceHalf, code: &ClaimCode) -> Answer {
        let mut message = [0; ENROL_MESSAGE_MAX];
        let length = half.request(code, &mut message);
        world.send("POST", "/link/enrol", &[COSE], &message[..length]).await
    }

    /// Returns the device's id.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Returns the same device under another identity, with its counters at the start.
    pub(crate) fn with(&self, identity: Identity) -> Self {
        let kid = KeyId { device: identity.grant.device, generation: identity.grant.generation };
        Self {
            id: self.id.clone(),
            keys: LinkKeys::derive(&identity.key, kid),
            epoch: identity.grant.first_epoch,
            identity,
            layout: self.layout.clone(),
            stream: 0,
            counter: 0,
            sequence: 0,
        }
    }

    /// Continues where another copy with the same identity is.
    pub(crate) fn continue_from(&mut self, other: &Self) {
        (self.counter, self.sequence) = (other.counter, other.sequence);
    }

    /// Continues in the epoch of another copy, after this many batches.
    pub(crate) fn continue_names_of(&mut self, other: &Self, batches: u32) {
        (self.epoch, self.sequence) = (other.epoch, batches);
    }

    /// Returns the same device with an inverter of this layout, on a stream of its own.
    pub(crate) fn use_layout(&mut self, layout: Layout) {
        self.layout = layout;
        self.stream += 1;
    }

    pub(crate) fn layout(&self) -> Vec<u8> {
        self.layout.to_cbor()
    }

    /// Sends a message with what `write` puts into it.
    pub(crate) async fn report(
        &mut self,
        world: &World,
        write: impl FnOnce(&mut UplinkWriter<'_>),
    ) -> Answer {
        let message = self.sealed(write);
        Self::send_bytes(world, &message).await
    }

    /// Sends the last message's bytes again, or any others.
    pub(crate) async fn send_bytes(world: &World, bytes: &[u8]) -> Answer {
        world.send("POST", "/link", &[COSE], bytes).await
    }

    /// Seals a message with what `write` puts into it, without sending it.
    pub(crate) fn sealed(&mut self, write: impl FnOnce(&mut UplinkWriter<'_>)) -> Vec<u8> {
        self.counter += 1;
        let mut buffer = vec![0; 60_000];
        let mut writer = UplinkWriter::new(&mut buffer);
        write(&mut writer);
        let length = writer.finish();
        let length = seal_uplink(&self.keys, self.request(), &mut buffer, length).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// Opens the reply to the last message and returns what `read` finds in it.
    pub(crate) fn read<T>(&self, answer: &Answer, read: impl FnOnce(Reply<'_>) -> T) -> T {
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut plain = [0; 4096];
        let plain = open_reply(&self.keys, self.request(), &answer.body, &mut plain).unwrap();
        read(Reply::parse(plain).unwrap())
    }

    /// Delivers samples as one batch and checks that the server acknowledged it.
    pub(crate) async fn deliver(&mut self, world: &World, now: UnixMs, samples: &[Sample]) {
        self.deliver_as(world, now, samples, SourceState::Online).await;
    }

    pub(crate) async fn deliver_as(
        &mut self,
        world: &World,
        now: UnixMs,
        samples: &[Sample],
        state: SourceState,
    ) {
        let answer = self.send(world, now, samples, state).await;
        let id = self.batch();
        let is_stored = self.read(&answer, |reply| reply.acks().any(|ack| ack.contains(id)));
        assert!(is_stored, "batch is acknowledged");
    }

    /// Sends samples as one batch; returns the sealed answer.
    pub(crate) async fn send(
        &mut self,
        world: &World,
        now: UnixMs,
        samples: &[Sample],
        state: SourceState,
    ) -> Answer {
        let bytes = self.encode(samples);
        self.send_batch(world, now, &bytes, state).await
    }

    /// Delivers one sample in which the inverter reported only its state.
    pub(crate) async fn deliver_state(&mut self, world: &World, at: UnixMs, code: u16) {
        let point = self.layout.find("state").unwrap();
        let column = usize::from(self.layout.points()[point].first_column);
        let mut words = vec![0; self.layout.columns().len()];
        let mut marks = vec![Mark::NotDue; words.len()];
        (words[column], marks[column]) = (code, Mark::Read);
        let bytes = pack(TimeBase::Unix, words.len(), &[at.0], &words, &marks);
        let answer = self.send_batch(world, at, &bytes, SourceState::Online).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Delivers samples as one batch, with all registers of the layout given.
    pub(crate) async fn deliver_words(&mut self, world: &World, samples: &[(UnixMs, Vec<u16>)]) {
        let times: Vec<i64> = samples.iter().map(|(at, _)| at.0).collect();
        let words: Vec<u16> = samples.iter().flat_map(|(_, words)| words.clone()).collect();
        let marks = vec![Mark::Read; words.len()];
        let bytes = pack(TimeBase::Unix, self.layout.columns().len(), &times, &words, &marks);
        let now = samples.last().unwrap().0;
        let answer = self.send_batch(world, now, &bytes, SourceState::Online).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Delivers samples at these milliseconds after a start whose time the server never confirmed.
    pub(crate) async fn deliver_estimated(
        &mut self,
        world: &World,
        start: UnixMs,
        samples: &[Sample],
    ) {
        self.sequence += 1;
        self.counter += 1;
        let bytes = self.encode_from(TimeBase::SinceBoot, samples);
        let start = EpochStart { unix: start, certainty: Certainty::Estimated };
        let message = self.seal(start.unix, &bytes, SourceState::Online, Some(start));
        let answer = world.send("POST", "/link", &[COSE], &message).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn send_batch(
        &mut self,
        world: &World,
        now: UnixMs,
        bytes: &[u8],
        state: SourceState,
    ) -> Answer {
        self.sequence += 1;
        self.counter += 1;
        let message = self.seal(now, bytes, state, None);
        world.send("POST", "/link", &[COSE], &message).await
    }

    /// Returns the id of the last batch sent.
    fn batch(&self) -> BatchId {
        BatchId { epoch: self.epoch, sequence: Sequence(self.sequence) }
    }

    /// Returns the last message sent.
    fn request(&self) -> RequestId {
        let grant = &self.identity.grant;
        let kid = KeyId { device: grant.device, generation: grant.generation };
        RequestId { kid, counter: Counter(self.counter) }
    }

    fn seal(
        &self,
        now: UnixMs,
        bytes: &[u8],
        state: SourceState,
        start: Option<EpochStart>,
    ) -> Vec<u8> {
        let id = self.batch();
        let stream = StreamNumber(self.identity.grant.first_stream.0 + self.stream);
        let layout = self.layout.to_cbor();
        let mut buffer = vec![0; 60_000];
        let mut writer = UplinkWriter::new(&mut buffer);
        let batch = ecowatt_wire::Batch { id, stream, bytes, start };
        writer.batches(&mut std::iter::once(batch), 0).unwrap();
        let clock = ClockReport { epoch: id.epoch, mono: MonoMs(1), unix: Some(now) };
        writer.clock(&clock).unwrap();
        let announced = Stream { number: stream, source: SOURCE, layout: &layout };
        writer.streams(&mut std::iter::once(announced), 0).unwrap();
        let source =
            SourceStatus { source: SOURCE, state, requests: 9, failures: 0, quarantined: 0 };
        let status = Status {
            firmware: "test 1.0",
            boot_reason: BootReason::First,
            samples: 1,
            backlog_batches: 0,
            spool_bytes: 0,
            spool_capacity_bytes: 1,
            link_failures: 0,
            clock_deviation_ms: 0,
            sources: SectionList::Given(&[source]),
        };
        writer.status(&status).unwrap();
        let length = writer.finish();
        assert!(Uplink::parse(&buffer[..length]).is_ok());
        let length = seal_uplink(&self.keys, self.request(), &mut buffer, length).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// Registers of a sunny day; the last one is the power.
    pub(crate) fn encode(&self, samples: &[Sample]) -> Vec<u8> {
        self.encode_from(TimeBase::Unix, samples)
    }

    fn encode_from(&self, base: TimeBase, samples: &[Sample]) -> Vec<u8> {
        let columns = self.layout.columns().len();
        let times: Vec<i64> = samples.iter().map(|(at, _)| at.0).collect();
        let mut words = Vec::new();
        let mut marks = Vec::new();
        for (_, power) in samples {
            let mut row = vec![2300, 40, 5001, 3000, 3000, 20, 20, 350, 100, 0];
            row[columns - 1] = power.unwrap_or(0);
            words.extend(row);
            let mark = if power.is_some() { Mark::Read } else { Mark::Timeout };
            marks.extend(vec![mark; columns]);
        }
        for (word, mark) in words.iter_mut().zip(&marks) {
            *word = if *mark == Mark::Read { *word } else { 0 };
        }
        pack(base, columns, &times, &words, &marks)
    }
}

fn pack(base: TimeBase, columns: usize, times: &[i64], words: &[u16], marks: &[Mark]) -> Vec<u8> {
    let batch = Batch { base, columns, times, words, marks: Some(marks) };
    let mut out = vec![0; encoded_len_max(times.len(), columns)];
    let mut state = Box::new(CodecMemory::<COLUMNS_MAX>::new());
    let length = encode(&batch, &mut state, &mut out).unwrap();
    out.truncate(length);
    out
}

/// The layout of an inverter rated 5,000 W with these points, in the form of a profile's table.
pub(crate) fn layout_of(points: &str) -> Layout {
    let profile = format!(
        r#"
schema = 1
id = "test/inverter"
version = 1
title = "Inverter"
rated_w = 5000
sources = ["this test"]
[transport]
kinds = ["tcp"]
unit = 1
timeout_ms = 1000
[defaults]
table = "holding"
[groups.live]
every_s = 5
[points]
{points}
"#
    );
    Profile::parse(&profile).unwrap().compile(Transport::TCP).unwrap().layout
}

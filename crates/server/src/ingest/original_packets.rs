//! What an upload of the earlier EcoWatt contains, and its packets as batches of ours.

use std::sync::LazyLock;

use ecowatt_codec::{CodecMemory, TimeBase, encode, encoded_len_max};
use ecowatt_model::{BatchId, BootEpoch, Mark, Sequence, StreamNumber, UnixMs};
use ecowatt_original::{Dating, Memory, PacketDigest, PacketError, Sending, Shape, from_base64};
use ecowatt_profile::{Transport, catalogue};
use ecowatt_wire::{BatchRefusal, Certainty, EpochStart};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::batch::{Batch, Stage};

/// The profile with the registers that these devices read.
const PROFILE: &str = "ecowatt/seed-sim";

/// Registers of the profile.
const COLUMNS: usize = 10;

/// Packets of one upload: the device queues 20 and sends at most 8.
const PACKETS_MAX: usize = 64;

/// The stream of all batches.
pub(super) const STREAM: StreamNumber = StreamNumber(1);

/// How samples are encoded: the layout, and the column of each register.
pub(super) struct SeedLayout {
    pub(super) cbor: Vec<u8>,
    columns: [Option<usize>; COLUMNS],
}

pub(super) static LAYOUT: LazyLock<SeedLayout> = LazyLock::new(|| {
    let profile = catalogue::find(PROFILE).expect("the catalogue has the profile");
    let layout = profile.compile(Transport::TCP).expect("profiles of the catalogue compile").layout;
    let columns = std::array::from_fn(|register| {
        layout.columns().iter().position(|column| usize::from(column.address) == register)
    });
    SeedLayout { cbor: layout.to_cbor(), columns }
});

/// Why an authentic text brings no packets. The original answers it with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPackets {
    #[error("Unexpected binary payload format")]
    Binary,
    #[error("Failed to parse decrypted payload")]
    Unreadable,
    #[error("Missing compressed_data or aggregated_data field")]
    Missing,
    #[error("aggregated_data must be a list")]
    NoList,
    #[error("more than {PACKETS_MAX} packets")]
    TooMany,
}

/// An upload as far as it counts.
pub(super) struct Content {
    sending: Sending,
    packets: Vec<Packet>,
}

struct Packet {
    /// `None` if it is not base64.
    bytes: Option<Vec<u8>>,
    registers: Vec<u8>,
    samples: Option<usize>,
    low_ms: Option<u32>,
}

/// Returns a whole number; programs write some with a point.
#[expect(clippy::cast_possible_truncation, reason = "a number that large is no time")]
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
}

impl Content {
    pub(super) fn parse(text: &[u8], received_at: UnixMs) -> Result<Self, NoPackets> {
        let inner: Value = serde_json::from_slice(text).map_err(|_| NoPackets::Unreadable)?;
        let interval = inner.get("sampling_interval").and_then(whole);
        let sending = Sending {
            sent_s: inner.get("timestamp").and_then(whole),
            // The original's default.
            interval_s: interval.and_then(|seconds| seconds.try_into().ok()).unwrap_or(5),
            received_ms: received_at.0,
        };
        let packets = match (inner.get("compressed_data"), inner.get("aggregated_data")) {
            (Some(Value::Array(packets)), _) => packets.iter().map(Packet::read).collect(),
            (Some(one @ Value::String(_)), _) => vec![Packet::read(one)],
            (Some(_), _) => return Err(NoPackets::Unreadable),
            // Samples of programs; the original's server stores nothing of them either.
            (None, Some(Value::Array(_))) => Vec::new(),
            (None, Some(_)) => return Err(NoPackets::NoList),
            (None, None) => return Err(NoPackets::Missing),
        };
        if packets.len() > PACKETS_MAX {
            return Err(NoPackets::TooMany);
        }
        Ok(Self { sending, packets })
    }
}

impl Packet {
    fn read(value: &Value) -> Self {
        let none = Value::Null;
        let text = value.as_str().or_else(|| value.get("compressed_binary")?.as_str());
        let described = value.get("decompression_metadata").unwrap_or(&none);
        let register = |value: &Value| value.as_u64().and_then(|number| u8::try_from(number).ok());
        let registers = match described.get("register_layout").and_then(Value::as_array) {
            // An unknown register makes the layout empty, which no packet has.
            Some(layout) => layout.iter().map(register).collect::<Option<_>>().unwrap_or_default(),
            None => (0..10).collect(),
        };
        let number = |name: &str| described.get(name).and_then(Value::as_u64);
        Self {
            bytes: text.and_then(from_base64),
            registers,
            samples: number("sample_count").and_then(|samples| samples.try_into().ok()),
            low_ms: number("timestamp").and_then(|low| low.try_into().ok()),
        }
    }

    /// Identifies it among the device's: the same bytes at another time are another packet.
    fn digest(&self, sent_s: Option<i64>) -> PacketDigest {
        let mut digest = Sha256::new();
        match self.low_ms {
            Some(low) => digest.update(i64::from(low).to_be_bytes()),
            None => digest.update(sent_s.unwrap_or_default().to_be_bytes()),
        }
        digest.update([u8::try_from(self.registers.len()).unwrap_or(u8::MAX)]);
        digest.update(&self.registers);
        digest.update(self.bytes.as_deref().unwrap_or_default());
        let digest: [u8; 32] = digest.finalize().into();
        std::array::from_fn(|place| digest[place])
    }
}

/// What is kept of a device between its uploads.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The number of the next batch in the key's first epoch.
    next: u32,
    memory: Memory,
}

impl Kept {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (next, memory) = bytes.split_first_chunk()?;
        Some(Self { next: u32::from_be_bytes(*next), memory: Memory::from_bytes(memory)? })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&self.next.to_be_bytes()[..], &self.memory.to_bytes()].concat()
    }

    /// Takes the packets of an upload, in order.
    pub(super) fn take(&mut self, content: &Content, epoch: BootEpoch) -> TakenPackets {
        let mut taken = TakenPackets::default();
        let mut sending = content.sending;
        for packet in &content.packets {
            let digest = packet.digest(sending.sent_s);
            let before = sending;
            if packet.low_ms.is_none() {
                // Packets without a time of their own follow one another.
                let rows = i64::try_from(packet.samples.unwrap_or(1)).unwrap_or(1);
                let span = rows.saturating_mul(sending.interval_s.into());
                sending.sent_s = sending.sent_s.map(|sent| sent.saturating_add(span));
            }
            if self.memory.repeats(&digest) {
                taken.repeated += 1;
                continue;
            }
            let id = BatchId { epoch, sequence: Sequence(self.next) };
            self.next = self.next.saturating_add(1);
            let stage = match self.rows(packet, digest, before) {
                Ok(rows) => {
                    taken.samples += rows.times.len();
                    rows.encoded()
                }
                Err(reason) => {
                    taken.refusal = Some(reason.to_string());
                    Stage::Refused(BatchRefusal::Undecodable)
                }
            };
            taken.batches.push(Batch { id, stream: STREAM, stage });
        }
        taken
    }

    fn rows(
        &mut self,
        packet: &Packet,
        digest: PacketDigest,
        sending: Sending,
    ) -> Result<Rows, PacketError> {
        let Packet { bytes, registers, samples, low_ms } = packet;
        let shape = Shape { registers, samples: *samples };
        let bytes = bytes.as_deref().unwrap_or_default();
        let times_of = |rows| sending.times(*low_ms, rows);
        let values = self.memory.take(digest, bytes, &shape, times_of)?;
        let columns: Vec<usize> = registers
            .iter()
            .map(|register| LAYOUT.columns.get(usize::from(*register)).copied().flatten())
            .collect::<Option<_>>()
            .ok_or(PacketError::Registers)?;
        let rows = values.len().checked_div(columns.len()).unwrap_or_default();
        // A register that the packet lacks, the device did not read.
        let mut words = vec![0; rows * COLUMNS];
        let mut marks = vec![Mark::NotDue; rows * COLUMNS];
        for (row, values) in values.chunks(columns.len().max(1)).enumerate() {
            for (column, value) in columns.iter().zip(values) {
                words[row * COLUMNS + column] = *value;
                marks[row * COLUMNS + column] = Mark::Read;
            }
        }
        let times = times_of(rows);
        Ok(Rows { dating: times.dating, times: times.rows(rows), words, marks })
    }
}

/// What an upload brings.
#[derive(Debug, Default)]
pub(super) struct TakenPackets {
    pub(super) batches: Vec<Batch>,
    pub(super) samples: usize,
    /// Packets that were taken before.
    pub(super) repeated: usize,
    /// Why the last refused packet was.
    pub(super) refusal: Option<String>,
}

/// The samples of a packet.
struct Rows {
    dating: Dating,
    times: Vec<i64>,
    words: Vec<u16>,
    marks: Vec<Mark>,
}

impl Rows {
    /// Encodes them as a device of ours does.
    fn encoded(mut self) -> Stage {
        let first = self.times.first().copied().unwrap_or_default();
        let since = |certainty| Some(EpochStart { unix: UnixMs(first), certainty });
        let start = match self.dating {
            Dating::Device => None,
            Dating::SinceStart => since(Certainty::Confirmed),
            Dating::Estimated => since(Certainty::Estimated),
        };
        let base = if start.is_some() { TimeBase::SinceBoot } else { TimeBase::Unix };
        if start.is_some() {
            self.times.iter_mut().for_each(|time| *time -= first);
        }
        let mut bytes = vec![0; encoded_len_max(self.times.len(), COLUMNS)];
        let batch = ecowatt_codec::Batch {
            base,
            columns: COLUMNS,
            times: &self.times,
            words: &self.words,
            marks: Some(&self.marks),
        };
        match encode(&batch, &mut CodecMemory::<COLUMNS>::new(), &mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                Stage::Sent(bytes, start)
            }
            Err(_) => Stage::Refused(BatchRefusal::Undecodable),
        }
    }
}

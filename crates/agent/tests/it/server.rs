//! The least of a link server: enrols, opens, keeps, acknowledges. Not our server's code, but the
//! same envelope and wire crates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecowatt_codec::{Decoder, State, TimeBase};
use ecowatt_envelope::enrol::{ENROL_MESSAGE_MAX, Grant, Request};
use ecowatt_envelope::{ClaimCode, DeviceKey, Kid, LinkKeys, Sealed, seal_reply};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Mark, StreamNumber, UnixMs,
};
use ecowatt_wire::{AckRange, EpochStart, Reply, ReplyWriter, SourceState, Uplink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One row as the server has it.
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
    pub(crate) enrolments: usize,
    pub(crate) refused: usize,
    pub(crate) violations: Vec<String>,
    enrolled: Option<(Vec<u8>, Vec<u8>)>,
    /// The last message and its reply: the same bytes get the same answer.
    answered: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) key: Option<DeviceKey>,
    /// What it tells devices, if it knows.
    pub(crate) time: Option<UnixMs>,
    /// Where epochs began, by number.
    pub(crate) starts: BTreeMap<u32, EpochStart>,
    /// The states of the inverters that a message told last.
    pub(crate) states: Vec<SourceState>,
}

/// What goes wrong with replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    /// Takes its time to answer.
    Slow(Duration),
    /// Stores and does not answer.
    LosesReplies,
    /// Closes the connection after each reply, without a word before.
    Closes,
    Busy,
    /// Answers everything with this status line.
    Refuses(&'static str),
}

/// A running server; it can be taken away and brought back under the same address.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) claim: ClaimCode,
    pub(crate) kept: Arc<Mutex<Kept>>,
    mode: Arc<Mutex<Mode>>,
    task: Option<JoinHandle<()>>,
}

pub(crate) const KID: Kid = Kid { device: DeviceNumber(7), generation: KeyGeneration(1) };

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            claim: ClaimCode::from_random(&[7; 20]),
            kept: Arc::default(),
            mode: Arc::new(Mutex::new(Mode::Well)),
            task: None,
        };
        server.serve(listener);
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub(crate) fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    pub(crate) async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    /// All rows, by time within their epoch.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let kept = self.kept.lock().unwrap();
        assert_eq!(kept.violations, Vec::<String>::new());
        let mut rows: Vec<Row> = kept.batches.values().flatten().cloned().collect();
        rows.sort();
        rows
    }

    fn serve(&mut self, listener: TcpListener) {
        let (kept, mode, claim) = (self.kept.clone(), self.mode.clone(), self.claim.clone());
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, kept.clone(), mode.clone(), claim.clone()));
            }
        }));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn converse(
    mut stream: TcpStream,
    kept: Arc<Mutex<Kept>>,
    mode: Arc<Mutex<Mode>>,
    claim: ClaimCode,
) {
    while let Some((path, body)) = read_request(&mut stream).await {
        let mode = *mode.lock().unwrap();
        if mode == Mode::Busy {
            let busy = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
            if stream.write_all(busy.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        if let Mode::Refuses(status) = mode {
            kept.lock().unwrap().refused += 1;
            let refused = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(refused.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let reply = match path.as_str() {
            "/link/enrol" => enrol(&mut kept.lock().unwrap(), &claim, &body),
            "/link" => take(&mut kept.lock().unwrap(), &body),
            _ => None,
        };
        if mode == Mode::LosesReplies {
            return;
        }
        if let Mode::Slow(latency) = mode {
            tokio::time::sleep(latency).await;
        }
        let (status, reply) = reply.map_or(("401 No", vec![]), |reply| ("200 OK", reply));
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", reply.len());
        let sent = stream.write_all(&[head.as_bytes(), &reply].concat()).await;
        if sent.is_err() || mode == Mode::Closes {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some((path, body))
}

fn enrol(kept: &mut Kept, claim: &ClaimCode, body: &[u8]) -> Option<Vec<u8>> {
    let request = Request::parse(body).ok()?;
    if let Some((first, answer)) = &kept.enrolled {
        return (first == body).then(|| answer.clone());
    }
    let grant = Grant {
        device: KID.device,
        generation: KID.generation,
        first_epoch: BootEpoch(1),
        first_stream: StreamNumber(1),
        time: UnixMs(1_767_268_800_000),
    };
    let mut out = [0; ENROL_MESSAGE_MAX];
    let (len, key) = request.answer(claim, &grant, [3; 32], &mut out).ok()?;
    kept.enrolled = Some((body.to_vec(), out[..len].to_vec()));
    kept.enrolments += 1;
    kept.key = Some(key);
    Some(out[..len].to_vec())
}

/// Takes a message in and answers it.
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

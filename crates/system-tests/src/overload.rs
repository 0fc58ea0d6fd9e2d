//! Ten times the server's capacity: it must reject the excess with 503 and Retry-After, and store
//! everything that it acknowledges.
//!
//! The capacity is measured first, with a closed loop. The overload is an open one: each device has
//! its own connection and sends when a message is due, whether or not the last one has been
//! answered. Messages are those of a fleet that comes back from an outage: as many batches as fit
//! (23 of 180 samples), so that the load generator, which shares the machine, has little work per
//! batch.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ecowatt_codec::CodecMemory;
use ecowatt_envelope::{LinkKeys, RequestId, open_reply};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, Sequence, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_store::{Store, TimeRange};
use ecowatt_wire::{Batch, ITEMS_MAX, Reply};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::answers::{Answer, Answers};
use crate::devices::Devices;
use crate::load::{instant, request, send};
use crate::pv_days::{Day, encode_at, seal_batches};

/// How many times its capacity the server is offered.
const TIMES: f64 = 10.0;
/// Devices, each with a connection: more than the server works on at once (1,024), and fewer than
/// it accepts (4,096).
const DEVICES: u32 = 2_000;
/// Samples of a batch, and batches of a message.
const ROWS: usize = 180;
const BATCHES: usize = ITEMS_MAX;
/// Samples of a message.
pub(crate) const SAMPLES: usize = ROWS * BATCHES;
/// Connections and messages that the capacity is measured with.
const CAPACITY_CONNECTIONS: usize = 64;
const CAPACITY_MESSAGES: usize = 640;
/// Most messages of one overload: a quarter of a GiB.
const MESSAGES_MAX: usize = 25_000;
/// How long an answer may take; the server answers 503 after 30 s.
const ANSWER_MAX: Duration = Duration::from_secs(45);
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How often `/health` is requested, and after how long it counts as not answered. The machine is
/// overloaded too, so this is a device's timeout; the time it takes is printed, not judged.
const HEALTH_EVERY: Duration = Duration::from_millis(100);
pub(crate) const HEALTH_MAX: Duration = Duration::from_secs(30);
/// The first sample that is sent: 2026-01-01T00:00:00Z.
const FIRST_MS: i64 = 1_767_225_600_000;
/// Interval of the samples: that of the trial's agents, so that their roll-ups take little room.
const EVERY_MS: usize = 200;

/// Devices that are idle until they all send at once.
pub(crate) struct Crowd {
    devices: Devices,
    day: Day,
}

/// Outcomes of the messages of an overload.
#[derive(Debug, Default, Clone)]
pub(crate) struct OverloadResult {
    /// Messages per second in a closed loop.
    pub(crate) capacity: f64,
    /// Messages per second that were due, and that could be sent.
    pub(crate) planned_rate: f64,
    pub(crate) offered_rate: f64,
    pub(crate) offered: u64,
    /// Answered 200 with an acknowledgement of all batches: devices and numbers of messages.
    pub(crate) acknowledged: Vec<(usize, u32)>,
    /// Answered 200 with anything else.
    pub(crate) not_acknowledged: u64,
    /// 503 with Retry-After, and without.
    pub(crate) rejected: u64,
    pub(crate) rejected_without_time: u64,
    pub(crate) other_statuses: BTreeMap<u16, u64>,
    /// No connection, or one that ended before the answer.
    pub(crate) cut_off: u64,
    /// Sent after a message whose answer closed the connection.
    pub(crate) behind: u64,
    /// Connections that were opened.
    pub(crate) connections: u64,
    pub(crate) unanswered: u64,
    /// Times of `/health`, ascending, and how often it failed.
    pub(crate) health: Vec<Duration>,
    pub(crate) health_failures: u64,
}

/// Batches of an overload in the store.
#[derive(Debug, Default)]
pub(crate) struct StoredBatches {
    pub(crate) acknowledged: u64,
    pub(crate) stored: u64,
    /// Acknowledged and not stored.
    pub(crate) missing: u64,
    /// Stored more than once, as blocks or in the roll-ups.
    pub(crate) doubled: u64,
}

impl Crowd {
    /// Creates the devices in a store that no server has open yet.
    pub(crate) async fn create(data: &Path, day: &Path) -> Result<Self> {
        Ok(Self { devices: Devices::create(data, DEVICES).await?, day: Day::read(day)? })
    }

    /// Announces the stream of each device.
    pub(crate) async fn announce(&self, listen: &str) -> Result<()> {
        self.devices.announce(listen).await
    }

    /// Measures the capacity, then offers ten times as much for a while. `from` is the number of
    /// the first message of each device, which no two overloads may share; it is moved on.
    pub(crate) async fn overload(
        &self,
        listen: &str,
        lasting: Duration,
        from: &mut u32,
        is_on: &AtomicBool,
    ) -> Result<OverloadResult> {
        let mut outcome = OverloadResult {
            capacity: self.capacity(listen, from).await?,
            ..OverloadResult::default()
        };
        let rate = outcome.capacity * TIMES;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let wanted = (rate * lasting.as_secs_f64()) as usize;
        let each = wanted.min(MESSAGES_MAX).div_ceil(self.devices.keys.len()).max(2);
        let messages = self.messages(self.devices.keys.len(), each, *from)?;
        let first = *from;
        *from += u32::try_from(each)?;

        let schedule = Schedule {
            start: instant() + Duration::from_millis(200),
            pace: Duration::from_secs_f64(self.devices.keys.len() as f64 / rate),
            devices: self.devices.keys.len(),
        };
        outcome.planned_rate = rate;
        is_on.store(true, Ordering::Release);
        let (report, mut health) = mpsc::unbounded_channel();
        let watching = tokio::spawn(watch_health(listen.to_owned(), report));
        let mut tasks = JoinSet::new();
        for (device, messages) in messages.into_iter().enumerate() {
            tasks.spawn(speak(listen.to_owned(), device, messages, schedule));
        }
        let mut last_sent = schedule.start;
        while let Some(spoken) = tasks.join_next().await {
            let spoken = spoken.context("a device's task")?;
            last_sent = last_sent.max(spoken.last_sent);
            outcome.connections += spoken.connections;
            for (index, fate) in spoken.fates {
                self.note(&mut outcome, spoken.device, first + index, fate)?;
            }
        }
        watching.abort();
        is_on.store(false, Ordering::Release);
        let sending = last_sent.saturating_duration_since(schedule.start).as_secs_f64();
        outcome.offered_rate = outcome.offered as f64 / sending.max(f64::MIN_POSITIVE);
        while let Ok(answered) = health.try_recv() {
            match answered {
                Some(took) => outcome.health.push(took),
                None => outcome.health_failures += 1,
            }
        }
        outcome.health.sort_unstable();
        Ok(outcome)
    }

    /// Messages per second that the server accepts while each connection waits for its answer.
    async fn capacity(&self, listen: &str, from: &mut u32) -> Result<f64> {
        let each = CAPACITY_MESSAGES / CAPACITY_CONNECTIONS;
        let messages = self.messages(CAPACITY_CONNECTIONS, each, *from)?;
        *from += u32::try_from(each)?;
        let run = send(listen, messages, None).await.context("measuring the capacity")?;
        ensure!(
            run.turned_away == 0,
            "{CAPACITY_CONNECTIONS} connections do not overload a server"
        );
        Ok(run.rate())
    }

    /// `each` messages of each of the first `devices`, from message number `from` on.
    fn messages(&self, devices: usize, each: usize, from: u32) -> Result<Vec<Vec<Vec<u8>>>> {
        let mut state = CodecMemory::new();
        let rows = &self.day.rows;
        let span = rows.len() - ROWS;
        let mut all = vec![Vec::with_capacity(each); devices];
        for number in (from..).take(each) {
            let mut batches = Vec::with_capacity(BATCHES);
            for place in 0..BATCHES {
                let position = (number as usize * BATCHES + place) * ROWS;
                let first = FIRST_MS + i64::try_from(position * EVERY_MS)?;
                let times: Vec<i64> = (first..).step_by(EVERY_MS).take(ROWS).collect();
                let at = position % span;
                batches.push(encode_at(&times, &rows[at..at + ROWS], &mut state)?);
            }
            for (device, messages) in all.iter_mut().enumerate() {
                let mut batches = ids(number).zip(&batches).map(|(id, bytes)| Batch {
                    id,
                    stream: StreamNumber(1),
                    bytes,
                    start: None,
                });
                let (keys, request) = self.name(device, number)?;
                messages.push(seal_batches(keys, request, &mut batches)?);
            }
        }
        Ok(all)
    }

    fn name(&self, device: usize, number: u32) -> Result<(&LinkKeys, RequestId)> {
        // The announcement had counter 1.
        let counter = Counter(u64::from(number) + 2);
        Ok((&self.devices.keys[device], RequestId { kid: Devices::kid(device)?, counter }))
    }

    fn note(
        &self,
        outcome: &mut OverloadResult,
        device: usize,
        number: u32,
        fate: MessageFate,
    ) -> Result<()> {
        outcome.offered += 1;
        match fate {
            MessageFate::Answered(Answer { status: 200, body, .. }) => {
                let (keys, request) = self.name(device, number)?;
                let mut plain = vec![0; body.len()];
                let reply = open_reply(keys, request, &body, &mut plain).ok();
                let reply = reply.and_then(|plain| Reply::parse(plain).ok());
                let has = |id| reply.is_some_and(|r| r.acks().any(|range| range.contains(id)));
                if ids(number).all(has) {
                    outcome.acknowledged.push((device, number));
                } else {
                    outcome.not_acknowledged += 1;
                }
            }
            MessageFate::Answered(Answer { status: 503, retry_after: Some(_), .. }) => {
                outcome.rejected += 1;
            }
            MessageFate::Answered(Answer { status: 503, .. }) => outcome.rejected_without_time += 1,
            MessageFate::Answered(answer) => {
                *outcome.other_statuses.entry(answer.status).or_default() += 1;
            }
            MessageFate::CutOff => outcome.cut_off += 1,
            MessageFate::Behind => outcome.behind += 1,
            MessageFate::Unanswered => outcome.unanswered += 1,
        }
        Ok(())
    }

    /// Checks the store, after the server has closed it.
    pub(crate) async fn check(
        &self,
        data: &Path,
        outcomes: &[OverloadResult],
    ) -> Result<StoredBatches> {
        let store = Store::open(data).context("opening the store")?;
        let mut acknowledged: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (device, number) in outcomes.iter().flat_map(|outcome| &outcome.acknowledged) {
            acknowledged.entry(*device).or_default().push(*number);
        }
        let mut kept = StoredBatches::default();
        for index in 0..self.devices.keys.len() {
            let device = DeviceNumber(u32::try_from(index + 1)?);
            let mut stored = BTreeMap::new();
            let mut rows = 0u64;
            for batch in store.list_batches(device).await? {
                *stored.entry(batch.id).or_insert(0u64) += 1;
                rows += u64::from(batch.rows);
            }
            kept.stored += stored.values().sum::<u64>();
            kept.doubled += stored.values().map(|times| times - 1).sum::<u64>();
            for number in acknowledged.get(&index).into_iter().flatten() {
                for id in ids(*number) {
                    kept.acknowledged += 1;
                    kept.missing += u64::from(!stored.contains_key(&id));
                }
            }
            // The power of every sample of these days is good, so that the roll-ups count them all.
            let counted = rolled_up(&store, device).await?;
            kept.missing += rows.saturating_sub(counted).div_ceil(ROWS as u64);
            kept.doubled += counted.saturating_sub(rows).div_ceil(ROWS as u64);
        }
        Ok(kept)
    }
}

/// The batches of a device's message.
fn ids(number: u32) -> impl Iterator<Item = BatchId> {
    let count = u32::try_from(BATCHES).unwrap_or(u32::MAX);
    let sequences = (number * count + 1..).take(BATCHES);
    sequences.map(|sequence| BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) })
}

/// Number of power readings in the minutes of a device.
async fn rolled_up(store: &Store, device: DeviceNumber) -> Result<u64> {
    let source = SourceNumber(0);
    let points = store.list_points(device, source).await?;
    let power = points.iter().find(|point| point.def.name == "ac.power");
    let power = power.context("the devices have no point for power")?.id;
    let range = TimeRange { from: UnixMs(FIRST_MS), to: UnixMs(i64::MAX / 2) };
    let minutes = store.minutes(device, source, range, vec![power]).await?;
    let aggregates = minutes.iter().flat_map(|minute| minute.aggregates.iter().flatten());
    Ok(aggregates.map(|aggregate| u64::from(aggregate.count)).sum())
}

/// When each message is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    /// Time between two messages of one device.
    pace: Duration,
    devices: usize,
}

impl Schedule {
    fn due(&self, device: usize, index: u32) -> Instant {
        // Devices send one after the other, not in step.
        let offset = self.pace.mul_f64(device as f64 / self.devices as f64);
        self.start + self.pace * index + offset
    }
}

/// Outcome of a message.
#[derive(Debug)]
enum MessageFate {
    Answered(Answer),
    CutOff,
    Behind,
    Unanswered,
}

struct Spoken {
    device: usize,
    last_sent: Instant,
    connections: u64,
    /// By number of the message, from 0.
    fates: Vec<(u32, MessageFate)>,
}

/// Sends a device's messages when they are due, on one connection while it stays open.
async fn speak(
    listen: String,
    device: usize,
    messages: Vec<Vec<u8>>,
    schedule: Schedule,
) -> Spoken {
    let mut spoken =
        Spoken { device, last_sent: schedule.start, connections: 0, fates: Vec::new() };
    let mut left = (0u32..).zip(&messages).peekable();
    while let Some((index, _)) = left.peek() {
        sleep_until(schedule.due(device, *index)).await;
        let stream = match timeout(CONNECT_MAX, TcpStream::connect(&listen)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => {
                spoken.fates.extend(left.next().map(|(index, _)| (index, MessageFate::CutOff)));
                continue;
            }
        };
        spoken.connections += 1;
        let _ = stream.set_nodelay(true);
        let (receiver, mut sender) = stream.into_split();
        let (note, sent) = mpsc::unbounded_channel();
        let hear = hear(receiver, sent, &mut spoken.fates);
        let say = async {
            while let Some((index, message)) = left.peek() {
                sleep_until(schedule.due(device, *index)).await;
                let is_noted = note.send(*index).is_ok();
                if !is_noted || sender.write_all(&request(&listen, message)).await.is_err() {
                    left.next();
                    break;
                }
                left.next();
                spoken.last_sent = instant();
            }
            drop(note);
            sender
        };
        // Answers may arrive after the last message is sent; when no more can arrive, sending
        // stops.
        let mut hear = std::pin::pin!(hear);
        tokio::select! {
            () = &mut hear => {}
            sender = say => {
                hear.await;
                drop::<OwnedWriteHalf>(sender);
            }
        }
    }
    spoken
}

/// Reads the answers to the sent messages, in that order, until all have arrived or no more can.
async fn hear(
    receiver: OwnedReadHalf,
    mut sent: mpsc::UnboundedReceiver<u32>,
    fates: &mut Vec<(u32, MessageFate)>,
) {
    let mut answers = Answers::new(receiver);
    while let Some(index) = sent.recv().await {
        let fate = match timeout(ANSWER_MAX, answers.next()).await {
            Ok(Ok(answer)) => {
                fates.push((index, MessageFate::Answered(answer)));
                continue;
            }
            Ok(Err(_)) => MessageFate::CutOff,
            Err(_) => MessageFate::Unanswered,
        };
        fates.push((index, fate));
        // All further messages on this connection are lost with it.
        sent.close();
        while let Some(index) = sent.recv().await {
            fates.push((index, MessageFate::Behind));
        }
    }
}

/// Requests the server's health repeatedly, each time on a new connection.
async fn watch_health(listen: String, report: mpsc::UnboundedSender<Option<Duration>>) {
    loop {
        let start = instant();
        let answered = timeout(HEALTH_MAX, is_healthy(&listen)).await;
        let took = matches!(answered, Ok(true)).then(|| start.elapsed());
        if report.send(took).is_err() {
            return;
        }
        tokio::time::sleep(HEALTH_EVERY).await;
    }
}

/// Whether the server reports on a new connection that it is healthy.
pub(crate) async fn is_healthy(listen: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(listen).await?;
        let request =
            format!("GET /health HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        Answers::new(stream).next().await
    };
    ask.await.is_ok_and(|answer| answer.status == 200)
}

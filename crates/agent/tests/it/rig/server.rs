//! A minimal link server: enrols, opens, stores, acknowledges. Not our server's code, but the same
//! envelope and wire crates.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_envelope::ClaimCode;
use ecowatt_envelope::enrol::{ENROL_MESSAGE_MAX, EnrolmentGrant, Request};
use ecowatt_model::{BootEpoch, StreamNumber, UnixMs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::rig::kept::take;
pub(crate) use crate::rig::kept::{KID, Kept, Row};

/// What devices were told that gave no sealed message.
#[derive(Default)]
pub(crate) struct Door {
    pub(crate) enrolments: usize,
    pub(crate) refused: usize,
    /// If it knows the time.
    clock: Option<Clock>,
    enrolled: Option<(Vec<u8>, Vec<u8>)>,
}

/// What goes wrong with replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    /// Takes its time to answer.
    Slow(Duration),
    /// Stores and does not answer.
    LosesReplies,
    /// Answers until it has sent settings, then loses replies.
    LeavesWithSettings,
    /// Closes the connection after each reply, without announcing it.
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
    pub(crate) door: Arc<Mutex<Door>>,
    mode: Arc<Mutex<Mode>>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            claim: ClaimCode::from_random(&[7; 20]),
            kept: Arc::default(),
            door: Arc::default(),
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

    /// Knows the time from here on, which passes as fast as for agents under test.
    pub(crate) fn set_clock(&self) {
        let clock = Clock::simulated(UnixMs(1_767_268_800_000), 100.0);
        self.door.lock().unwrap().clock = Some(clock);
        self.kept.lock().unwrap().time = Some(clock.now());
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
        let (kept, door) = (self.kept.clone(), self.door.clone());
        let (mode, claim) = (self.mode.clone(), self.claim.clone());
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let states = (kept.clone(), door.clone());
                connections.spawn(converse(stream, states, mode.clone(), claim.clone()));
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
    (kept, door): (Arc<Mutex<Kept>>, Arc<Mutex<Door>>),
    mode: Arc<Mutex<Mode>>,
    claim: ClaimCode,
) {
    while let Some((path, body)) = read_request(&mut stream).await {
        let modes = &mode;
        let mode = *modes.lock().unwrap();
        if mode == Mode::Busy {
            let busy = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
            if stream.write_all(busy.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        if let Mode::Refuses(status) = mode {
            door.lock().unwrap().refused += 1;
            let refused = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(refused.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let reply = match path.as_str() {
            "/link/enrol" => {
                enrol(&mut door.lock().unwrap(), &mut kept.lock().unwrap(), &claim, &body)
            }
            "/link" => {
                let mut kept = kept.lock().unwrap();
                kept.time = door.lock().unwrap().clock.map(|clock| clock.now());
                take(&mut kept, &body)
            }
            _ => None,
        };
        if mode == Mode::LosesReplies {
            return;
        }
        if mode == Mode::LeavesWithSettings && kept.lock().unwrap().is_waiting() {
            *modes.lock().unwrap() = Mode::LosesReplies;
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

fn enrol(door: &mut Door, kept: &mut Kept, claim: &ClaimCode, body: &[u8]) -> Option<Vec<u8>> {
    let request = Request::parse(body).ok()?;
    if let Some((first, answer)) = &door.enrolled {
        return (first == body).then(|| answer.clone());
    }
    let grant = EnrolmentGrant {
        device: KID.device,
        generation: KID.generation,
        first_epoch: BootEpoch(1),
        first_stream: StreamNumber(1),
        time: UnixMs(1_767_268_800_000),
    };
    let mut out = [0; ENROL_MESSAGE_MAX];
    let (len, key) = request.answer(claim, &grant, [3; 32], &mut out).ok()?;
    door.enrolled = Some((body.to_vec(), out[..len].to_vec()));
    door.enrolments += 1;
    kept.key = Some(key);
    Some(out[..len].to_vec())
}

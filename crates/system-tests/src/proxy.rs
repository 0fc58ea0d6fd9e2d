//! A seeded TCP proxy on loopback that turns a good network into a bad one.
//!
//! It passes bytes until a trouble is due, at any byte in either direction, and then causes it:
//! resets the connection, flips bits, waits, closes one direction, or cuts off the reply to an
//! accepted request. In parted condition it does not listen. A trouble is counted when it happens,
//! not when it is planned.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ecowatt_fleet_sim::random::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::WriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::process::free_port;

/// What can happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// RST to both sides.
    Reset,
    /// One to four bits flipped, near each other.
    Corrupt,
    /// Bytes wait for less than a second.
    Delay,
    /// Nothing moves for seconds.
    Stall,
    /// One direction ends (FIN), the other goes on; bytes sent in the ended direction are dropped.
    HalfClose,
    /// The request passed and was answered; the answer is dropped and the connection reset.
    CutReply,
}

/// All troubles, for sealed messages.
pub(crate) const LINK_TROUBLES: &[Trouble] = &[
    Trouble::Reset,
    Trouble::Corrupt,
    Trouble::Delay,
    Trouble::Stall,
    Trouble::HalfClose,
    Trouble::CutReply,
];

/// Modbus TCP has no checksum (Modbus Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3: the
/// MBAP header), so a flipped bit could not be told from a reading: bytes are not corrupted.
pub(crate) const BUS_TROUBLES: &[Trouble] =
    &[Trouble::Reset, Trouble::Delay, Trouble::Stall, Trouble::HalfClose, Trouble::CutReply];

/// Condition of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkCondition {
    Clear,
    /// Troubles happen.
    Rough,
    /// Connections are reset and no new ones are accepted.
    Parted,
}

/// Bytes between two troubles: 2 to the power of these.
const GAP_BITS: (u64, u64) = (4, 11);
const DELAY_MS: (u64, u64) = (20, 900);
const STALL_MS: (u64, u64) = (1_000, 6_000);
const FLIPS_MAX: u64 = 4;
/// Pause before a bind to a busy port is repeated.
const BIND_RETRY: Duration = Duration::from_millis(50);

/// Counts of the troubles that happened.
#[derive(Debug, Default)]
pub(crate) struct TroubleCounts(Mutex<BTreeMap<Trouble, u64>>);

impl TroubleCounts {
    fn add(&self, trouble: Trouble) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(trouble).or_default() += 1;
    }

    pub(crate) fn count(&self, trouble: Trouble) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&trouble).copied().unwrap_or(0)
    }
}

/// A running proxy; it ends with its runtime.
pub(crate) struct Proxy {
    pub(crate) address: String,
    condition: watch::Sender<LinkCondition>,
}

/// Settings of a proxy.
pub(crate) struct Plan {
    pub(crate) target: String,
    pub(crate) troubles: &'static [Trouble],
    pub(crate) seed: u64,
    /// This proxy's stream of the seed; the next 1,000,000 streams are for its connections.
    pub(crate) part: u64,
    pub(crate) tally: Arc<TroubleCounts>,
}

impl Proxy {
    /// Starts listening, in clear condition.
    pub(crate) fn start(runtime: &Handle, plan: Plan) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let (condition, forecast) = watch::channel(LinkCondition::Clear);
        let listener = runtime.block_on(TcpListener::bind(address)).context("starting a proxy")?;
        runtime.spawn(listen(listener, address, plan, forecast));
        Ok(Self { address: address.to_string(), condition })
    }

    pub(crate) fn set(&self, condition: LinkCondition) {
        self.condition.send_replace(condition);
    }
}

async fn listen(
    listener: TcpListener,
    address: SocketAddr,
    plan: Plan,
    mut forecast: watch::Receiver<LinkCondition>,
) {
    let plan = Arc::new(plan);
    let mut listener = Some(listener);
    let mut connections = 0;
    loop {
        let Some(open) = &listener else {
            if forecast.wait_for(|condition| *condition != LinkCondition::Parted).await.is_err() {
                return;
            }
            match TcpListener::bind(address).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => tokio::time::sleep(BIND_RETRY).await,
            }
            continue;
        };
        let accepted = tokio::select! {
            accepted = open.accept() => accepted,
            parted = is_parted(&mut forecast) => {
                if !parted {
                    return;
                }
                listener = None;
                continue;
            }
        };
        let Ok((client, _)) = accepted else {
            tokio::time::sleep(BIND_RETRY).await;
            continue;
        };
        connections += 1;
        let random = Random::new(plan.seed, plan.part + connections);
        tokio::spawn(carry(client, Arc::clone(&plan), random, forecast.clone()));
    }
}

/// Ready when the condition becomes parted; returns false if the forecast has ended.
async fn is_parted(forecast: &mut watch::Receiver<LinkCondition>) -> bool {
    forecast.wait_for(|condition| *condition == LinkCondition::Parted).await.is_ok()
}

/// Carries one connection from its beginning to its end.
async fn carry(
    mut client: TcpStream,
    plan: Arc<Plan>,
    random: Random,
    forecast: watch::Receiver<LinkCondition>,
) {
    let Ok(mut server) = TcpStream::connect(&plan.target).await else {
        // The target is down, and the client should see a reset.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let mut parted = forecast.clone();
    let passage =
        Passage { deck: Vec::new(), due: None, passed: [0; 2], plan: &plan, random, forecast };
    let end = tokio::select! {
        end = passage.converse(&mut client, &mut server) => end,
        _ = is_parted(&mut parted) => End::Reset,
    };
    if end == End::Reset {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    Reset,
}

/// What to do with a direction after a piece of it was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Swallow,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// A trouble and the byte of a direction at which it happens.
#[derive(Debug, Clone, Copy)]
struct Due {
    trouble: Trouble,
    way: Way,
    at: u64,
}

/// One connection's state.
struct Passage<'a> {
    plan: &'a Plan,
    random: Random,
    forecast: watch::Receiver<LinkCondition>,
    /// Troubles still to draw before any is drawn again.
    deck: Vec<Trouble>,
    due: Option<Due>,
    /// Bytes that went up, and down.
    passed: [u64; 2],
}

impl Passage<'_> {
    async fn converse(mut self, client: &mut TcpStream, server: &mut TcpStream) -> End {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut is_open = [true; 2];
        let mut is_swallowed = [false; 2];
        while is_open[0] || is_open[1] {
            let (way, read) = tokio::select! {
                read = from_client.read(&mut up), if is_open[0] => (Way::Up, read),
                read = from_server.read(&mut down), if is_open[1] => (Way::Down, read),
            };
            let (side, bytes, target) = match way {
                Way::Up => (0, &mut up, &mut to_server),
                Way::Down => (1, &mut down, &mut to_client),
            };
            let Ok(count) = read else { return End::Reset };
            if count == 0 {
                is_open[side] = false;
                let _ = target.shutdown().await;
                continue;
            }
            if is_swallowed[side] {
                continue;
            }
            match self.pass(way, &mut bytes[..count], target).await {
                Then::GoOn => {}
                Then::Swallow => is_swallowed[side] = true,
                Then::Reset => return End::Reset,
            }
        }
        End::Over
    }

    /// Passes bytes on, with the troubles that are due among them.
    async fn pass(&mut self, way: Way, mut bytes: &mut [u8], target: &mut WriteHalf<'_>) -> Then {
        let side = match way {
            Way::Up => 0,
            Way::Down => 1,
        };
        let begin = self.passed[side];
        loop {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let due = self.due(way).filter(|due| due.at < self.passed[side] + length);
            let Some(due) = due else {
                self.passed[side] += length;
                return if target.write_all(bytes).await.is_ok() {
                    Then::GoOn
                } else {
                    Then::Reset
                };
            };
            let before = usize::try_from(due.at.saturating_sub(self.passed[side])).unwrap_or(0);
            if due.trouble == Trouble::CutReply && (before > 0 || self.passed[side] > begin) {
                // It is due at the start of the next reply.
                self.due = Some(Due { at: 0, ..due });
                self.passed[side] += length;
                return if target.write_all(bytes).await.is_ok() {
                    Then::GoOn
                } else {
                    Then::Reset
                };
            }
            let (first, rest) = std::mem::take(&mut bytes).split_at_mut(before);
            if target.write_all(first).await.is_err() {
                return Then::Reset;
            }
            self.passed[side] += u64::try_from(before).unwrap_or(0);
            self.due = None;
            self.plan.tally.add(due.trouble);
            match due.trouble {
                Trouble::Reset | Trouble::CutReply => return Then::Reset,
                Trouble::Corrupt => self.flip(rest),
                Trouble::Delay => self.wait(DELAY_MS).await,
                Trouble::Stall => self.wait(STALL_MS).await,
                Trouble::HalfClose => {
                    let _ = target.shutdown().await;
                    return Then::Swallow;
                }
            }
            bytes = rest;
        }
    }

    /// The next trouble in this direction. Drawn in rough condition, and dropped when it clears.
    fn due(&mut self, way: Way) -> Option<Due> {
        if *self.forecast.borrow() != LinkCondition::Rough {
            self.due = None;
            return None;
        }
        if self.due.is_none() {
            if self.deck.is_empty() {
                self.deck.extend_from_slice(self.plan.troubles);
            }
            let place = self.random.below(self.deck.len() as u64);
            let trouble = self.deck.swap_remove(usize::try_from(place).unwrap_or(0));
            let is_up = trouble != Trouble::CutReply && self.random.below(2) == 0;
            let (way, passed) =
                if is_up { (Way::Up, self.passed[0]) } else { (Way::Down, self.passed[1]) };
            let bits = self.random.between(GAP_BITS.0, GAP_BITS.1);
            let gap = self.random.below(1 << bits);
            self.due = Some(Due { trouble, way, at: passed + gap });
        }
        self.due.filter(|due| due.way == way)
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.random.between(1, FLIPS_MAX) {
            let place = usize::try_from(self.random.below(bytes.len() as u64)).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << self.random.below(8);
            }
        }
    }

    /// Waits, at most while the condition is rough.
    async fn wait(&mut self, (least, most): (u64, u64)) {
        let time = Duration::from_millis(self.random.between(least, most));
        let clears = self.forecast.wait_for(|condition| *condition != LinkCondition::Rough);
        let _ = tokio::time::timeout(time, clears).await;
    }
}

//! A TCP proxy on loopback that makes a bad network of a good one, seeded.
//!
//! It passes bytes until it has a trouble due, at any byte of either way, and then does that: resets
//! the connection, flips bits, waits, closes one way, or cuts off the reply to a request that was
//! taken. In parted weather nobody is listening. What it did is counted when it was done, not when
//! it was planned.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ecowatt_fleet::random::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::WriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::process::free_port;

/// What can befall a connection.
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
    /// One way ends (FIN), the other goes on; what is sent on the ended way is swallowed.
    HalfClose,
    /// The request passed and was answered; the answer is dropped and the connection reset.
    CutReply,
}

/// Everything, for messages that are sealed.
pub(crate) const LINK_TROUBLES: &[Trouble] = &[
    Trouble::Reset,
    Trouble::Corrupt,
    Trouble::Delay,
    Trouble::Stall,
    Trouble::HalfClose,
    Trouble::CutReply,
];

/// Modbus TCP has no checksum (Modbus Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3: the
/// MBAP header), so nobody could tell a flipped bit from a reading: bytes stay as they are.
pub(crate) const BUS_TROUBLES: &[Trouble] =
    &[Trouble::Reset, Trouble::Delay, Trouble::Stall, Trouble::HalfClose, Trouble::CutReply];

/// What the network is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Clear,
    /// Troubles come and go.
    Rough,
    /// Connections are reset and no others are accepted.
    Parted,
}

/// Bytes between two troubles: 2 to the power of these.
const GAP_BITS: (u64, u64) = (4, 11);
const DELAY_MS: (u64, u64) = (20, 900);
const STALL_MS: (u64, u64) = (1_000, 6_000);
const FLIPS_MAX: u64 = 4;
/// Pause before a port is taken again that was not free.
const BIND_RETRY: Duration = Duration::from_millis(50);

/// How often what was done.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<Trouble, u64>>);

impl Tally {
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
    weather: watch::Sender<Weather>,
}

/// What a proxy does to whom.
pub(crate) struct Plan {
    pub(crate) target: String,
    pub(crate) troubles: &'static [Trouble],
    pub(crate) seed: u64,
    /// Which stream of the seed is this proxy's; the next 1,000,000 are its connections'.
    pub(crate) part: u64,
    pub(crate) tally: Arc<Tally>,
}

impl Proxy {
    /// Begins to listen, in clear weather.
    pub(crate) fn start(runtime: &Handle, plan: Plan) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let (weather, forecast) = watch::channel(Weather::Clear);
        let listener = runtime.block_on(TcpListener::bind(address)).context("starting a proxy")?;
        runtime.spawn(listen(listener, address, plan, forecast));
        Ok(Self { address: address.to_string(), weather })
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn listen(
    listener: TcpListener,
    address: SocketAddr,
    plan: Plan,
    mut forecast: watch::Receiver<Weather>,
) {
    let plan = Arc::new(plan);
    let mut listener = Some(listener);
    let mut connections = 0;
    loop {
        let Some(open) = &listener else {
            if forecast.wait_for(|weather| *weather != Weather::Parted).await.is_err() {
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

/// Ready when the weather is parted; false if there will be no more weather.
async fn is_parted(forecast: &mut watch::Receiver<Weather>) -> bool {
    forecast.wait_for(|weather| *weather == Weather::Parted).await.is_ok()
}

/// Carries one connection from its beginning to its end.
async fn carry(
    mut client: TcpStream,
    plan: Arc<Plan>,
    random: Random,
    forecast: watch::Receiver<Weather>,
) {
    let Ok(mut server) = TcpStream::connect(&plan.target).await else {
        // Nobody is at home there, and the client should see as much.
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

/// What is to be done with a way after a piece of it.
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

/// A trouble and the byte of a way at which it comes.
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
    forecast: watch::Receiver<Weather>,
    /// Troubles that are left until each has had its turn.
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

    /// Passes bytes on, with whatever trouble is due among them.
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
                // It waits for the beginning of the next reply.
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

    /// The next trouble of this way. Drawn when the weather is rough, and forgotten when it clears.
    fn due(&mut self, way: Way) -> Option<Due> {
        if *self.forecast.borrow() != Weather::Rough {
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

    /// Waits, but not longer than the weather is rough.
    async fn wait(&mut self, (least, most): (u64, u64)) {
        let time = Duration::from_millis(self.random.between(least, most));
        let clears = self.forecast.wait_for(|weather| *weather != Weather::Rough);
        let _ = tokio::time::timeout(time, clears).await;
    }
}

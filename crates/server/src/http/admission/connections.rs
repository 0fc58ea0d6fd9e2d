//! Open connections, and which of them is closed when there are too many.
//!
//! No connection is refused while another one is idle: when all places are taken, a new one
//! replaces the one that has been idle for longest. It is taken from the same address if that has
//! used up its share, else from the address with the most connections. A connection whose request
//! is being worked on is not closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_clock::Clock;
use tokio::sync::Notify;

use super::{Network, Share};

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    network: Network,
    clock: Clock,
    /// When bytes last moved on it.
    moved_ms: AtomicU64,
    is_at_work: AtomicBool,
    has_unread: AtomicBool,
    cut: Notify,
}

impl Connection {
    /// Notes that bytes were read or written.
    pub(crate) fn moved(&self) {
        self.moved_ms.store(self.clock.mono().0, Ordering::Relaxed);
    }

    /// Marks the connection as working on a request until the guard is dropped.
    pub(crate) fn work(self: &Arc<Self>) -> AtWork {
        self.is_at_work.store(true, Ordering::Relaxed);
        AtWork(Arc::clone(self))
    }

    /// Notes that a request was answered before all of it was read.
    pub(crate) fn leave_unread(&self) {
        self.has_unread.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.has_unread.load(Ordering::Relaxed)
    }

    /// Waits until the connection has to close for another.
    pub(crate) async fn cut(&self) {
        self.cut.notified().await;
    }
}

/// See [`Connection::work`].
#[derive(Debug)]
pub(crate) struct AtWork(Arc<Connection>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.moved();
        self.0.is_at_work.store(false, Ordering::Relaxed);
    }
}

/// All open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    clock: Clock,
    max: usize,
    of_one_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    count: usize,
    of: HashMap<Network, Peer>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Peer {
    /// Whether it is a trusted proxy, which carries many clients and is not limited to a share.
    is_proxy: bool,
    connections: Vec<Arc<Connection>>,
}

impl Peer {
    /// Returns the connection that has been idle for longest and is not at work.
    fn idlest(&self) -> Option<usize> {
        (self.connections.iter().enumerate())
            .filter(|(_, connection)| !connection.is_at_work.load(Ordering::Relaxed))
            .min_by_key(|(_, connection)| connection.moved_ms.load(Ordering::Relaxed))
            .map(|(place, _)| place)
    }
}

impl Open {
    /// Cuts the idlest connection of an address; returns whether there was one.
    fn cut(&mut self, network: Network) -> bool {
        let Some(peer) = self.of.get_mut(&network) else { return false };
        let Some(place) = peer.idlest() else { return false };
        let connection = peer.connections.swap_remove(place);
        if peer.connections.is_empty() {
            self.of.remove(&network);
        }
        self.count -= 1;
        connection.cut.notify_one();
        true
    }

    /// Cuts a connection of the address with the most; a proxy's only if there is no other.
    fn cut_any(&mut self) -> bool {
        let mut networks: Vec<_> = (self.of.iter())
            .filter(|(_, peer)| peer.idlest().is_some())
            .map(|(network, peer)| ((!peer.is_proxy, peer.connections.len()), *network))
            .collect();
        networks.sort_unstable_by_key(|(rank, _)| *rank);
        networks.pop().is_some_and(|(_, network)| self.cut(network))
    }
}

impl Connections {
    pub(crate) fn new(clock: Clock, share: Share, max: u32) -> Arc<Self> {
        let of_one_max = usize::try_from(share.of(max)).unwrap_or(usize::MAX);
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Arc::new(Self { clock, max, of_one_max, open: Mutex::default() })
    }

    /// Returns a place for a connection; none if all others, or all of its address, are at work.
    pub(crate) fn open(
        self: &Arc<Self>,
        address: IpAddr,
        is_proxy: bool,
    ) -> Option<ConnectionPlace> {
        let network = Network::of(address);
        let mut open = self.lock();
        let of_its_own = open.of.get(&network).map_or(0, |peer| peer.connections.len());
        let has_room = if !is_proxy && of_its_own >= self.of_one_max {
            open.cut(network)
        } else {
            open.count < self.max || open.cut_any()
        };
        if !has_room {
            return None;
        }
        let connection = Arc::new(Connection {
            network,
            clock: self.clock,
            moved_ms: AtomicU64::new(self.clock.mono().0),
            is_at_work: AtomicBool::new(false),
            has_unread: AtomicBool::new(false),
            cut: Notify::new(),
        });
        open.count += 1;
        let peer = open.of.entry(network).or_default();
        peer.is_proxy = is_proxy;
        peer.connections.push(Arc::clone(&connection));
        Some(ConnectionPlace { connections: Arc::clone(self), connection })
    }

    /// Cuts an idle connection, because something other than places has run out.
    pub(crate) fn make_room(&self) {
        self.lock().cut_any();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, released when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    connections: Arc<Connections>,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let network = self.connection.network;
        let Some(peer) = open.of.get_mut(&network) else { return };
        let is_this = |held: &Arc<Connection>| Arc::ptr_eq(held, &self.connection);
        // A connection that was cut has already lost its place.
        let Some(place) = peer.connections.iter().position(is_this) else { return };
        peer.connections.swap_remove(place);
        if peer.connections.is_empty() {
            open.of.remove(&network);
        }
        open.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_clock::DrivenClock;
    use ecowatt_model::UnixMs;

    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn is_cut(held: &ConnectionPlace) -> bool {
        use futures_util::FutureExt as _;
        held.connection.cut().now_or_never().is_some()
    }

    #[test]
    fn idlest_of_an_address_is_cut_for_its_next() {
        let DrivenClock { clock, driver } = Clock::driven(UnixMs(0));
        let connections = Connections::new(clock, Share(50), 64);
        let share = connections.of_one_max;
        let mut held = Vec::new();
        for n in 0..share {
            driver.set(UnixMs(i64::try_from(n).unwrap()));
            held.push(connections.open(address(1), false).unwrap());
        }
        driver.set(UnixMs(10_000));
        held[0].connection.moved();
        let work = held[1].connection.work();
        let next = connections.open(address(1), false).unwrap();
        let cut: Vec<usize> = (0..share).filter(|n| is_cut(&held[*n])).collect();
        assert_eq!(cut, [2], "the first has moved, the second is at work");
        assert_eq!(connections.lock().count, share);
        drop((work, next, held));
        assert_eq!(connections.lock().count, 0);
        assert!(connections.lock().of.is_empty());
    }

    #[test]
    fn newcomer_takes_from_the_address_with_most_and_is_refused_only_when_all_work() {
        let connections = Connections::new(Clock::system(), Share(50), 64);
        let mut held = Vec::new();
        for n in [1, 1, 2, 3] {
            for _ in 0..connections.max / 4 {
                held.push(connections.open(address(n), false).unwrap());
            }
        }
        let newcomer = connections.open(address(4), false).unwrap();
        assert_eq!(held[..connections.max / 2].iter().filter(|held| is_cut(held)).count(), 1);
        assert_eq!(held[connections.max / 2..].iter().filter(|held| is_cut(held)).count(), 0);
        let work: Vec<_> = held.iter().map(|held| held.connection.work()).collect();
        let _work = newcomer.connection.work();
        assert!(connections.open(address(5), false).is_none());
        drop(work);
        assert!(connections.open(address(5), false).is_some());
    }

    #[test]
    fn proxy_has_no_share_and_is_cut_last() {
        let connections = Connections::new(Clock::system(), Share(10), 64);
        let mut held: Vec<_> =
            (1..connections.max).map(|_| connections.open(address(1), true).unwrap()).collect();
        held.push(connections.open(address(2), false).unwrap());
        let _next = connections.open(address(1), true).unwrap();
        assert!(is_cut(held.last().unwrap()));
        assert!(!held[..connections.max - 1].iter().any(is_cut));
    }
}

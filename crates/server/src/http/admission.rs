//! Decides which connections and requests are served; the one place for it.
//!
//! Every connection has a place ([`connections`]), and so has every request while it is worked on.
//! Requests are of a few kinds ([`Kind`]), each with its own budget, so that a flood of one kind
//! does not affect the others: devices that come back from an outage do not lock an operator out.
//! One source address gets at most a share of each budget; loopback is treated like any other
//! address.
//!
//! A request takes its place when it has been received completely. A client that sends slowly only
//! holds a connection, which is closed before others are refused. The place is released with the
//! head of the answer. An event stream then takes a place of its own ([`Kind::Waiting`]), so that
//! idle streams never use up the places of requests.
//!
//! Devices may have a [`Door`] of their own.

mod address;
mod connections;
mod original_paths;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Method;
use ecowatt_envelope::MESSAGE_MAX;
use ecowatt_envelope::enrol::ENROL_MESSAGE_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use address::{Network, Proxies};
pub(crate) use connections::{Connection, Connections};

use crate::limits::{
    ACCESS_REQUESTS_MAX, API_REQUESTS_MAX, ENROLMENTS_MAX, HELD_REPLIES_MAX, JSON_BYTES_MAX,
    MESSAGES_MAX, ORIGINAL_CALLS_MAX, ORIGINAL_REQUESTS_MAX, PAGE_REQUESTS_MAX, REPLY_HELD_MAX,
    REQUEST_TIMEOUT, STREAM_LIFETIME, WAITING_MAX,
};

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A device's message.
    Message,
    /// A device that redeems a claim code, and any other path below `/link`.
    Enrolment,
    /// A call of a device of the earlier EcoWatt.
    Original,
    /// Another path of the earlier EcoWatt, for its operators and their programs.
    OriginalApi,
    /// Log-in and set-up, which need no token.
    Access,
    /// The rest of the API.
    Api,
    /// Files of the dashboard.
    Page,
    /// Health, readiness, metrics: answered under any load.
    Own,
    /// A device's message whose reply is held. No request begins as this kind; a message moves here
    /// while it waits.
    Held,
    /// An event stream. No request begins as this kind; one of another kind moves here when its
    /// answer has begun.
    Waiting,
}

/// What a kind may use.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// Requests worked on at once.
    places: u32,
    /// Longest body.
    body_bytes: usize,
    /// From the request's end to the head of its answer; for an event stream, to its end.
    deadline: Duration,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Message,
        Self::Enrolment,
        Self::Original,
        Self::OriginalApi,
        Self::Access,
        Self::Api,
        Self::Page,
        Self::Own,
        Self::Held,
        Self::Waiting,
    ];

    pub(crate) fn of(method: &Method, path: &str) -> Self {
        match path {
            "/health" | "/ready" | "/metrics" => Self::Own,
            "/link" => Self::Message,
            path if path.starts_with("/link/") => Self::Enrolment,
            "/api/v1/session" | "/api/v1/setup" if method == Method::POST => Self::Access,
            path if path == "/api" || path.starts_with("/api/") => Self::Api,
            path => match original_paths::caller(method, path) {
                Some(original_paths::Caller::Device) => Self::Original,
                Some(original_paths::Caller::Operator) => Self::OriginalApi,
                None => Self::Page,
            },
        }
    }

    /// The label in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Message | Self::Held | Self::Enrolment | Self::Original => "link",
            Self::Access | Self::Api | Self::OriginalApi | Self::Waiting => "api",
            Self::Page => "page",
            Self::Own => "own",
        }
    }

    /// Whether devices send it.
    pub(crate) fn is_link(self) -> bool {
        matches!(self, Self::Message | Self::Held | Self::Enrolment | Self::Original)
    }

    /// Whether it speaks the protocol of the earlier EcoWatt, and so do its refusals.
    pub(crate) fn is_original(self) -> bool {
        matches!(self, Self::Original | Self::OriginalApi)
    }

    /// Whether a page of another site can make a browser send it.
    pub(crate) fn is_for_browsers(self) -> bool {
        matches!(self, Self::Access | Self::Api | Self::OriginalApi | Self::Page | Self::Waiting)
    }

    /// Longest body that is read.
    pub(crate) fn body_bytes_max(self) -> usize {
        self.budget().body_bytes
    }

    /// How long it may take.
    pub(crate) fn deadline(self) -> Duration {
        self.budget().deadline
    }

    fn budget(self) -> Budget {
        let (places, body_bytes, deadline) = match self {
            // The time for which its reply is held is not part of its own.
            Self::Message => (MESSAGES_MAX, MESSAGE_MAX, REPLY_HELD_MAX + 2 * REQUEST_TIMEOUT),
            Self::Held => (HELD_REPLIES_MAX, 0, REPLY_HELD_MAX),
            Self::Enrolment => (ENROLMENTS_MAX, ENROL_MESSAGE_MAX, REQUEST_TIMEOUT),
            Self::Original => (ORIGINAL_CALLS_MAX, MESSAGE_MAX, REQUEST_TIMEOUT),
            Self::OriginalApi => (ORIGINAL_REQUESTS_MAX, JSON_BYTES_MAX, REQUEST_TIMEOUT),
            Self::Access => (ACCESS_REQUESTS_MAX, JSON_BYTES_MAX, REQUEST_TIMEOUT),
            Self::Api => (API_REQUESTS_MAX, JSON_BYTES_MAX, REQUEST_TIMEOUT),
            Self::Page => (PAGE_REQUESTS_MAX, 0, REQUEST_TIMEOUT),
            Self::Own => (u32::MAX, 0, REQUEST_TIMEOUT),
            Self::Waiting => (WAITING_MAX, 0, STREAM_LIFETIME),
        };
        Budget { places, body_bytes, deadline }
    }
}

/// The listening address that a connection came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The server's own address, for all clients.
    Main,
    /// The address for devices.
    Devices,
}

impl Door {
    /// Whether such a request is answered here. The devices' door answers nothing but what devices
    /// send and `/health`.
    pub(crate) fn lets_in(self, kind: Kind, path: &str) -> bool {
        match self {
            Self::Main => true,
            Self::Devices => kind.is_link() || path == "/health",
        }
    }
}

/// How much of each budget one address may take, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share(pub(crate) u32);

impl Share {
    fn of(self, places: u32) -> u32 {
        let share = u64::from(places) * u64::from(self.0) / 100;
        u32::try_from(share).unwrap_or(places).max(1)
    }
}

/// The places of all kinds.
#[derive(Debug)]
pub(crate) struct Admission {
    kinds: [Arc<Places>; Kind::ALL.len()],
}

impl Admission {
    pub(crate) fn new(share: Share) -> Self {
        Self { kinds: Kind::ALL.map(|kind| Arc::new(Places::new(kind.budget().places, share))) }
    }

    /// Returns a place for a request of this kind from this address, unless all are taken or the
    /// address has its share. Without a socket there is no address.
    pub(crate) fn admit(&self, kind: Kind, address: Option<IpAddr>) -> Option<Place> {
        self.places(kind).take(address.map(Network::of))
    }

    /// Returns how many places of a kind are taken.
    pub(crate) fn taken(&self, kind: Kind) -> u64 {
        let free = self.places(kind).free.available_permits();
        u64::from(kind.budget().places).saturating_sub(u64::try_from(free).unwrap_or(u64::MAX))
    }

    fn places(&self, kind: Kind) -> &Arc<Places> {
        let place = Kind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        &self.kinds[place]
    }

    /// Takes all places of a kind, for tests.
    #[cfg(test)]
    pub(crate) fn fill(&self, kind: Kind) -> tokio::sync::SemaphorePermit<'_> {
        self.places(kind).free.try_acquire_many(kind.budget().places).unwrap()
    }
}

/// The places of one kind.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    of_one_max: u32,
    taken: Mutex<HashMap<Network, u32>>,
}

impl Places {
    fn new(count: u32, share: Share) -> Self {
        let permits = usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(permits));
        Self { free, of_one_max: share.of(count), taken: Mutex::default() }
    }

    fn take(self: &Arc<Self>, network: Option<Network>) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        if let Some(network) = network {
            let mut taken = self.lock();
            let count = taken.entry(network).or_default();
            if *count >= self.of_one_max {
                return None;
            }
            *count += 1;
        }
        Some(Place { places: Arc::clone(self), network, _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a request, which its handler can leave while it waits.
#[derive(Debug, Clone)]
pub(crate) struct RequestPlace(Arc<Mutex<Option<Place>>>);

impl RequestPlace {
    pub(crate) fn new(place: Option<Place>) -> Self {
        Self(Arc::new(Mutex::new(place)))
    }

    /// Replaces the place by another, or by none.
    pub(crate) fn replace(&self, place: Option<Place>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

/// A place, released when it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place {
    places: Arc<Places>,
    network: Option<Network>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_kind() {
        let (get, post) = (Method::GET, Method::POST);
        let cases = [
            (&post, "/link", Kind::Message),
            (&post, "/link/enrol", Kind::Enrolment),
            (&get, "/link/other", Kind::Enrolment),
            (&post, "/api/v1/session", Kind::Access),
            (&get, "/api/v1/session", Kind::Api),
            (&post, "/api/v1/setup", Kind::Access),
            (&get, "/api", Kind::Api),
            (&get, "/apiary", Kind::Page),
            (&get, "/", Kind::Page),
            (&get, "/linked", Kind::Page),
            (&post, "/aggregated/ESP32_001", Kind::Original),
            (&post, "/aggregated/", Kind::OriginalApi),
            (&post, "/aggregated/a/b", Kind::OriginalApi),
            (&get, "/aggregated/ESP32_001", Kind::OriginalApi),
            (&get, "/aggregation", Kind::OriginalApi),
            (&get, "/ready", Kind::Own),
        ];
        for (method, path, kind) in cases {
            assert_eq!(Kind::of(method, path), kind, "{method} {path}");
        }
    }

    #[test]
    fn one_address_has_its_share_of_each_kind_and_others_have_theirs() {
        let admission = Admission::new(Share(75));
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let there = Some(IpAddr::from([127, 0, 0, 2]));
        let mut places: Vec<_> = std::iter::from_fn(|| admission.admit(Kind::Api, here)).collect();
        assert_eq!(places.len(), usize::try_from(API_REQUESTS_MAX * 3 / 4).unwrap());
        assert!(admission.admit(Kind::Message, here).is_some(), "another kind");
        assert!(admission.admit(Kind::Api, there).is_some(), "another address");
        places.pop();
        assert!(admission.admit(Kind::Api, here).is_some(), "one was released");
        drop(places);
        assert!(admission.places(Kind::Api).lock().is_empty(), "no address is remembered");
    }

    #[test]
    fn addresses_of_one_ipv6_network_share() {
        let admission = Admission::new(Share(50));
        let of = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let places: Vec<_> = (0..ENROLMENTS_MAX / 2)
            .filter_map(|host| admission.admit(Kind::Enrolment, of(&format!("2001:db8::{host:x}"))))
            .collect();
        assert_eq!(places.len(), usize::try_from(ENROLMENTS_MAX / 2).unwrap());
        assert!(admission.admit(Kind::Enrolment, of("2001:db8::ffff")).is_none());
        assert!(admission.admit(Kind::Enrolment, of("2001:db8:0:1::1")).is_some());
    }
}

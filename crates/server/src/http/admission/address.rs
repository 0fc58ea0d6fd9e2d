//! Finds the address that a request came from: its socket's, or behind a trusted proxy the one that
//! the proxy names.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use axum::http::header;

use crate::config::Network as Trusted;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// What counts as one address: the owner of an IPv6 address usually has its whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
        })
    }
}

/// The proxies that may name the client.
#[derive(Debug, Default)]
pub(crate) struct Proxies(Vec<Trusted>);

impl Proxies {
    pub(crate) fn new(trusted: Vec<Trusted>) -> Self {
        Self(trusted)
    }

    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns the client's address of a request that came through a socket from `peer`.
    ///
    /// Each proxy appends the address of its own peer to a list. So the list can be trusted from
    /// its end up to the first address that is not a trusted proxy's, which is the client's. If
    /// both `Forwarded` and `X-Forwarded-For` are present, the client may have sent one of them; if
    /// they name different clients, neither is believed.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trust(peer) {
            return peer;
        }
        let forwarded = headers.contains_key(header::FORWARDED).then(|| {
            self.nearest(peer, list(headers, header::FORWARDED.as_str()).map(forwarded_for))
        });
        let forwarded_for = headers.contains_key(FORWARDED_FOR).then(|| {
            self.nearest(peer, list(headers, FORWARDED_FOR).map(|entry| node(entry.trim())))
        });
        match (forwarded, forwarded_for) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => peer,
        }
    }

    /// Returns the last address that is not a trusted proxy's; an unreadable entry ends the search.
    fn nearest(
        &self,
        peer: IpAddr,
        hops: impl DoubleEndedIterator<Item = Option<IpAddr>>,
    ) -> IpAddr {
        let mut client = peer;
        for hop in hops.rev() {
            let Some(address) = hop else { return client };
            client = address;
            if !self.trust(address) {
                return client;
            }
        }
        client
    }
}

/// The entries of a list that may stand in several headers. An entry that is no text is an empty one.
fn list<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> impl DoubleEndedIterator<Item = &'a str> {
    headers.get_all(name).iter().flat_map(|value| value.to_str().unwrap_or_default().split(','))
}

/// The node of one element of `Forwarded` (RFC 7239, 4 and 6): `for=192.0.2.60;proto=http`. No comma
/// stands in an address, quoted or not, so elements may be split there.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let (_, value) = element
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value.trim().trim_matches('"'))
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8:ff::/48"];
        let proxies =
            Proxies::new(proxies.iter().map(|network| network.parse().unwrap()).collect());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn rightmost_address_that_is_no_proxys_is_the_client() {
        let xff = |value| [("x-forwarded-for", value)];
        let cases = [
            ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("::ffff:127.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("127.0.0.1", "6.6.6.6, 192.0.2.1", "192.0.2.1"),
            ("127.0.0.1", "6.6.6.6, 192.0.2.1,10.1.2.3", "192.0.2.1"),
            ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
            ("127.0.0.1", "6.6.6.6, unknown", "127.0.0.1"),
            ("127.0.0.1", "6.6.6.6, unknown, 10.1.2.3", "10.1.2.3"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
            ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("2001:db8:ff::5", "2001:db8::1", "2001:db8::1"),
            // Only trusted proxies are believed.
            ("192.0.2.9", "192.0.2.1", "192.0.2.9"),
            ("127.0.0.2", "192.0.2.1", "127.0.0.2"),
        ];
        for (peer, value, expected) in cases {
            assert_eq!(client(peer, &xff(value)), expected, "{peer} {value}");
        }
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("127.0.0.1", &two), "192.0.2.1");
    }

    #[test]
    fn forwarded_is_read_too_and_contradictions_are_not_believed() {
        let forwarded = |value| [("forwarded", value)];
        let cases = [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1"),
            ("proto=https; for=\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("for=6.6.6.6, for=192.0.2.1, for=10.0.0.1", "192.0.2.1"),
            ("for=6.6.6.6, for=_hidden", "127.0.0.1"),
            ("proto=https", "127.0.0.1"),
        ];
        for (value, expected) in cases {
            assert_eq!(client("127.0.0.1", &forwarded(value)), expected, "{value}");
        }
        let both = |other| [("forwarded", "for=192.0.2.1"), ("x-forwarded-for", other)];
        assert_eq!(client("127.0.0.1", &both("192.0.2.1")), "192.0.2.1");
        assert_eq!(client("127.0.0.1", &both("192.0.2.2")), "127.0.0.1");
    }
}

//! Whether a request is meant for this server.
//!
//! A page of another site can make a browser send requests here under a name that the site's owner
//! has pointed to this server (DNS rebinding); the browser would treat the answers as that site's
//! own. It cannot change the name. So the routes for browsers answer only under known names, and
//! under IP addresses, which cannot be rebound.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::header::{self, HeaderMap};
use axum::http::{StatusCode, Uri, Version};

use super::admission::Kind;
use super::error::ApiError;
use super::error_code::ErrorCode;

/// Names under which the server answers browsers, besides IP addresses and `localhost`.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| plain(&name)).collect())
    }

    /// Refuses a request that does not name its server (RFC 9112, section 3.2), and a browser's
    /// request for another server.
    pub(super) fn check(
        &self,
        kind: Kind,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let mut named = headers.get_all(header::HOST).iter();
        let (first, second) = (named.next(), named.next());
        let host = match (first, second) {
            (Some(host), None) => Some(host.to_str().ok().and_then(host_of).ok_or_else(invalid)?),
            (None, None) if version < Version::HTTP_11 => None,
            _ => return Err(invalid()),
        };
        if !kind.is_for_browsers() {
            return Ok(());
        }
        // A request target in absolute form names a server too.
        let in_target = match uri.authority() {
            Some(authority) => Some(host_of(authority.as_str()).ok_or_else(invalid)?),
            None => None,
        };
        if [host, in_target].into_iter().flatten().all(|host| self.know(host)) {
            return Ok(());
        }
        Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            ErrorCode::HostUnknown,
            "the server does not answer to this host name; set public_url or hosts",
        ))
    }

    fn know(&self, host: &str) -> bool {
        if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
            return true;
        }
        let host = plain(host);
        // Browsers take every name below localhost for the machine itself (RFC 6761, 6.3).
        host == "localhost" || host.ends_with(".localhost") || self.0.contains(&host)
    }
}

/// Returns the host of `host[:port]`; none if `authority` has another form.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (&authority[..address.len() + 2], after.strip_prefix(':').or(Some(after))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let is_name = host.starts_with('[')
        || !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    (is_name && (port.is_empty() || port.parse::<u16>().is_ok())).then_some(host)
}

/// Returns a name as names are compared: in lower case, without the final dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn invalid() -> ApiError {
    ApiError::bad_request(ErrorCode::InvalidHost, "a request names the server in one Host header")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, target: &str, hosts: &[&str]) -> u16 {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        let known = Hosts::new(["Eco.Example".to_owned()]);
        let checked = known.check(kind, Version::HTTP_11, &target.parse().unwrap(), &headers);
        checked.map_or_else(|refused| refused.status().as_u16(), |()| 200)
    }

    #[test]
    fn browsers_are_answered_under_known_names_and_addresses() {
        let cases = [
            ("127.0.0.1:8080", 200),
            ("127.0.0.1", 200),
            ("192.168.1.9:80", 200),
            ("[::1]:8080", 200),
            ("[fe80::1]", 200),
            ("localhost:8080", 200),
            ("LOCALHOST.", 200),
            ("eco.localhost", 200),
            ("eco.example", 200),
            ("ECO.example.:443", 200),
            ("evil.example", 421),
            ("eco.example.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("localhost.evil.example", 421),
            ("evillocalhost", 421),
            ("2130706433", 421),
            ("", 400),
            ("a b", 400),
            ("user@127.0.0.1", 400),
            ("127.0.0.1/evil.example", 400),
            ("127.0.0.1:port", 400),
            ("127.0.0.1:99999", 400),
            ("[::1", 400),
            ("[evil.example]", 400),
            ("::1", 400),
            ("127.0.0.1, evil.example", 400),
        ];
        for (host, status) in cases {
            for kind in [Kind::Page, Kind::Api, Kind::Access] {
                assert_eq!(check(kind, "/", &[host]), status, "{host:?}");
            }
        }
        assert_eq!(check(Kind::Page, "http://evil.example/", &["127.0.0.1"]), 421);
        assert_eq!(check(Kind::Page, "http://127.0.0.1/", &["evil.example"]), 421);
        assert_eq!(check(Kind::Page, "http://eco.example/", &["eco.example"]), 200);
    }

    #[test]
    fn devices_know_the_server_by_any_name_but_name_it_once() {
        for kind in [Kind::Message, Kind::Enrolment, Kind::Own] {
            assert_eq!(check(kind, "/link", &["eco.lan:8080"]), 200);
            assert_eq!(check(kind, "/link", &[]), 400);
            assert_eq!(check(kind, "/link", &["a", "a"]), 400);
            assert_eq!(check(kind, "/link", &["a/b"]), 400);
        }
        assert_eq!(check(Kind::Page, "/", &[]), 400);
        assert_eq!(check(Kind::Page, "/", &["127.0.0.1", "127.0.0.1"]), 400);
    }
}

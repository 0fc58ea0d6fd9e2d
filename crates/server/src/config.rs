//! The server's configuration.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ecowatt_config_text::DURATION_EXAMPLES;
use serde::Deserialize;

use crate::retention::{Retention, RetentionError};

/// Shortest and longest time after which a device may count as silent.
const SILENT_AFTER_MIN: Duration = Duration::from_secs(10);
const SILENT_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The server's part of the configuration file, as it is written there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, such as [server], with its keys")]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// A second address and port, for devices only: it answers messages, enrolment and health, and
    /// nothing else.
    #[serde(deserialize_with = "some_address")]
    pub listen_devices: Option<SocketAddr>,
    /// The URL under which browsers reach the server, if it differs from `listen`, for example
    /// behind a proxy that ends TLS. With `https://` session cookies are never sent over plain
    /// connections.
    pub public_url: Option<String>,
    /// Further names under which browsers may use the server, besides the host of `public_url`,
    /// `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// Proxies that are trusted to name the client, as addresses or networks.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<Network>,
    /// Share of the server's connections, and of its places for requests of each kind, that one
    /// source address may take, in percent.
    pub address_share: u32,
    /// How long a device may send nothing before it counts as silent.
    #[serde(deserialize_with = "duration")]
    pub silent_after: Duration,
    /// How long measurements are kept. The file has a table of its own for it.
    #[serde(skip)]
    pub retention: Retention,
    /// Whether it is a demonstration, which may use keys that everybody knows.
    #[serde(skip)]
    pub is_demo: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            listen_devices: None,
            public_url: None,
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            // A whole fleet may share one address, and other clients must still get in.
            address_share: 75,
            // Two uploads may fail at the usual interval of five minutes.
            silent_after: Duration::from_secs(15 * 60),
            retention: Retention::default(),
            is_demo: false,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0:?} does not begin with http:// or https://, or has more than a host")]
    PublicUrl(String),
    #[error("{0:?} is not a host name without a port")]
    Hosts(String),
    #[error("must be between 1 and 100 percent")]
    AddressShare,
    #[error("must be between 10 seconds and 7 days")]
    SilentAfter,
    #[error(transparent)]
    Retention(RetentionError),
}

impl ConfigError {
    /// The configuration key concerned, with its table.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::PublicUrl(_) => "server.public_url",
            Self::Hosts(_) => "server.hosts",
            Self::AddressShare => "server.address_share",
            Self::SilentAfter => "server.silent_after",
            Self::Retention(problem) => problem.key(),
        }
    }
}

impl Config {
    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        if let Some(url) = &self.public_url {
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let host = host.map(|host| host.strip_suffix('/').unwrap_or(host));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', ' '])) {
                problems.push(ConfigError::PublicUrl(url.clone()));
            }
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        };
        for name in self.hosts.iter().filter(|name| !is_name(name)) {
            problems.push(ConfigError::Hosts(name.clone()));
        }
        if !(1..=100).contains(&self.address_share) {
            problems.push(ConfigError::AddressShare);
        }
        if !(SILENT_AFTER_MIN..=SILENT_AFTER_MAX).contains(&self.silent_after) {
            problems.push(ConfigError::SilentAfter);
        }
        problems.extend(self.retention.problems().into_iter().map(ConfigError::Retention));
        problems
    }

    /// Returns the names under which browsers reach the server.
    pub(crate) fn host_names(&self) -> impl Iterator<Item = String> {
        // A bracket begins an IPv6 address, which is always answered.
        let public = self.public_url.as_ref().and_then(|url| {
            let authority = url.split_once("://")?.1.trim_end_matches('/');
            authority.split(':').next().filter(|host| !host.starts_with('[')).map(str::to_owned)
        });
        self.hosts.iter().cloned().chain(public)
    }

    pub(crate) fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }

    /// Returns the base URL for links, without a slash at the end.
    pub(crate) fn base_url(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').into(),
            None => format!("http://{address}"),
        }
    }
}

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address or network looks like \"127.0.0.1\", \"10.0.0.0/8\" or \"fd00::/8\"")]
pub struct ParseNetworkError;

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ParseNetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| ParseNetworkError)?;
        if bits > most { Err(ParseNetworkError) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(
            "an address and port look like \"127.0.0.1:8080\" or \"[::]:8080\"",
        )
    })
}

fn some_address<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    ecowatt_config_text::duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!("must be a duration such as {DURATION_EXAMPLES}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_named() {
        assert_eq!(Config::default().problems(), []);
        let config = Config {
            public_url: Some("ftp://x".into()),
            silent_after: Duration::ZERO,
            ..Config::default()
        };
        let named = [ConfigError::PublicUrl("ftp://x".into()), ConfigError::SilentAfter];
        assert_eq!(config.problems(), named);
        for (url, is_fine) in [
            ("https://eco.example", true),
            ("http://eco.example:81/", true),
            ("https://", false),
            ("https://eco.example/path", false),
        ] {
            let config = Config { public_url: Some(url.into()), ..Config::default() };
            assert_eq!(config.problems().is_empty(), is_fine, "{url}");
        }
    }

    #[test]
    fn networks_contain_what_begins_alike() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        for (network, address, is_in) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
        ] {
            assert_eq!(contains(network, address), is_in, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "localhost", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Network>(), Err(ParseNetworkError), "{bad}");
        }
    }

    #[test]
    fn host_of_the_public_address_is_a_name_of_the_server() {
        let names = |url: &str| {
            let config = Config { public_url: Some(url.into()), ..Config::default() };
            config.host_names().collect::<Vec<_>>()
        };
        assert_eq!(names("https://eco.example/"), ["eco.example"]);
        assert_eq!(names("http://eco.example:81"), ["eco.example"]);
        let hosts = vec!["eco.lan".to_owned()];
        let config = Config { hosts, ..Config::default() };
        assert_eq!(config.host_names().collect::<Vec<_>>(), ["eco.lan"]);
        let config = Config { hosts: vec!["a:80".into(), String::new()], ..Config::default() };
        assert_eq!(config.problems().len(), 2);
    }

    #[test]
    fn links_follow_the_public_address() {
        let at = SocketAddr::from(([127, 0, 0, 1], 81));
        assert_eq!(Config::default().base_url(at), "http://127.0.0.1:81");
        let config = Config { public_url: Some("https://e.example/".into()), ..Config::default() };
        assert_eq!(config.base_url(at), "https://e.example");
        assert!(config.is_https());
    }
}

//! What an operator may choose about the server.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

/// Shortest and longest time after which a device may count as silent.
const SILENT_AFTER_MIN: Duration = Duration::from_secs(10);
const SILENT_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The server's part of the configuration file, as it stands there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, such as [server], with its keys")]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The address under which people reach the server, if that is another: behind a proxy that ends
    /// TLS, say. With `https://` session cookies are kept off plain connections.
    pub public_url: Option<String>,
    /// How long a device may say nothing before it counts as silent.
    #[serde(deserialize_with = "duration")]
    pub silent_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            // Two uploads at the usual five minutes may fail.
            silent_after: Duration::from_secs(15 * 60),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0:?} does not begin with http:// or https://, or has more than a host")]
    PublicUrl(String),
    #[error("must be between 10 seconds and 7 days")]
    SilentAfter,
}

impl ConfigError {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::PublicUrl(_) => "public_url",
            Self::SilentAfter => "silent_after",
        }
    }
}

impl Config {
    /// Everything that is wrong with it.
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
        if !(SILENT_AFTER_MIN..=SILENT_AFTER_MAX).contains(&self.silent_after) {
            problems.push(ConfigError::SilentAfter);
        }
        problems
    }

    pub(crate) fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }

    /// The address for links, without a slash at the end.
    pub(crate) fn base_url(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').into(),
            None => format!("http://{address}"),
        }
    }
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(
            "an address and port look like \"127.0.0.1:8080\" or \"[::]:8080\"",
        )
    })
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| serde::de::Error::custom("a duration looks like \"90s\" or \"15m\""))
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
    fn links_follow_the_public_address() {
        let at = SocketAddr::from(([127, 0, 0, 1], 81));
        assert_eq!(Config::default().base_url(at), "http://127.0.0.1:81");
        let config = Config { public_url: Some("https://e.example/".into()), ..Config::default() };
        assert_eq!(config.base_url(at), "https://e.example");
        assert!(config.is_https());
    }
}

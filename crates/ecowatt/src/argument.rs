//! Parsers of arguments. On anything else they return a description of what they accept.

use std::net::SocketAddr;
use std::time::Duration;

use ecowatt_config_text::DURATION_EXAMPLES;

/// An address and port to listen on.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an IP address and port such as 127.0.0.1:8080 or [::]:8080".into())
}

/// A duration such as `90m`, `24h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    ecowatt_config_text::duration(text)
        .ok_or_else(|| format!("a duration such as {DURATION_EXAMPLES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        let seconds = |text| duration(text).ok().map(|duration| duration.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("7d"), Some(604_800));
        for bad in ["", "d", "7", "-7d", "-1h", "1.5d", "soon", "999999999999d"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        assert!(address("127.0.0.1:0").is_ok() && address("[::]:8080").is_ok());
        for bad in ["80", ":80", "127.0.0.1", "localhost:80"] {
            let error = address(bad).unwrap_err();
            assert!(error.contains("127.0.0.1:8080"), "{error}");
        }
    }
}

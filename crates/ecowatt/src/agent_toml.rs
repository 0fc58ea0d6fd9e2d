//! A complete configuration for an agent, ready to be pasted.
//!
//! The dashboard's enrolment page shows the same text. `testdata/agent-toml.json` has the cases
//! that both are tested with.

use std::fmt;

use serde::Deserialize;

/// Where the file belongs on the device.
pub(crate) const AGENT_FILE: &str = "/etc/ecowatt/agent.toml";
/// Where the agent keeps its data, as in the unit for systemd.
const DATA: &str = "/var/lib/ecowatt-agent";

/// The settings that an agent needs to start.
#[derive(Debug, Deserialize)]
pub(crate) struct AgentToml {
    pub(crate) server: String,
    pub(crate) claim_code: String,
    pub(crate) transport: String,
    /// Default: the profile's.
    pub(crate) unit: Option<u8>,
    pub(crate) profile: String,
}

impl fmt::Display for AgentToml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.strip_suffix('/').unwrap_or(&self.server);
        writeln!(f, "server = {}", quoted(server))?;
        writeln!(f, "data = {}", quoted(DATA))?;
        writeln!(f, "claim_code = {}\n", quoted(&self.claim_code))?;
        writeln!(f, "[[inverter]]\ntransport = {}", quoted(&self.transport))?;
        if let Some(unit) = self.unit {
            writeln!(f, "unit = {unit}")?;
        }
        writeln!(f, "profile = {}", quoted(&self.profile))
    }
}

fn quoted(text: &str) -> String {
    // JSON's escapes are also TOML's, except that JSON does not escape DEL.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ecowatt_agent::Config;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        settings: AgentToml,
        text: String,
    }

    #[test]
    fn text_is_that_of_the_page_and_is_valid_for_agents() {
        let cases = include_str!("../../../testdata/agent-toml.json");
        let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
        assert!(!cases.is_empty());
        for Case { settings, text } in cases {
            assert_eq!(settings.to_string(), text);
            let config = Config::parse(&text, Path::new("")).unwrap();
            assert_eq!(config.data, Path::new(DATA));
            assert!(config.claim.is_some());
        }
    }

    #[test]
    fn text_from_outside_stays_in_its_quotes() {
        for text in ["a\"b", "a\\b", "a\nb", "a\u{7f}b", "\u{1b}[2J", "ü"] {
            let toml: toml::Table = toml::from_str(&format!("x = {}", quoted(text))).unwrap();
            assert_eq!(toml["x"].as_str(), Some(text));
        }
    }
}

//! The agent's TOML file, checked into types once.
//!
//! All problems are reported together, each with the path of its key. This is the boot
//! configuration; a server's desired configuration is another type and arrives over the link.

mod original;
mod permits;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecowatt_config_text::{
    DURATION_EXAMPLES, Document, Problem, SIZE_EXAMPLES, duration, duration_text, list_problems,
    size,
};
use ecowatt_device::batch_bytes_max;
use ecowatt_device::limits::CHECK_IN_MAX;
use ecowatt_envelope::{ClaimCode, MESSAGE_MAX};
use ecowatt_model::SOURCES_MAX;
use ecowatt_node::storage::{SendOrder, spool_bytes_min};
use ecowatt_profile::{Profile, RATED_W, TransportKind, catalogue};
use serde::Deserialize;

pub use self::original::OriginalConfig;
use self::original::{OriginalFile, original};
pub use self::permits::Permits;
use crate::bus::Address;
use crate::link::ServerUrl;

/// The agent's boot configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: ServerUrl,
    /// Folder for identity, spool and draft; one agent at a time uses it.
    pub data: PathBuf,
    /// Redeemed once; not needed when the data folder already holds an identity.
    pub claim: Option<ClaimCode>,
    /// Replaces the fastest interval of each profile.
    pub sample_interval: Option<Duration>,
    pub upload_interval: Duration,
    pub order: SendOrder,
    pub message_bytes: usize,
    pub spool_bytes: u64,
    pub inverters: Vec<InverterConfig>,
    /// Appends a line of CSV for every sample that became durable.
    pub sample_log: Option<PathBuf>,
    pub permits: Permits,
    /// Speaks to the server as a device of the earlier EcoWatt (`protocol = "original"`).
    pub original: Option<OriginalConfig>,
}

/// One inverter.
#[derive(Debug, Clone)]
pub struct InverterConfig {
    pub name: String,
    pub address: Address,
    pub unit: u8,
    pub profile: Profile,
    /// Rated power in watts, if the file has it; otherwise the inverter may report it.
    pub rated_w: Option<u32>,
}

/// Shortest wait for an answer over a network, where waiting does not block other inverters.
const NETWORK_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The same for a service, which may ask the inverter itself over a network.
const HTTP_TIMEOUT_MIN: Duration = Duration::from_secs(5);

impl InverterConfig {
    /// Returns how long an answer may take to begin: the profile's time, but no less than networks
    /// and busy gateways need.
    pub(crate) fn patience(&self) -> Duration {
        let timeout = self.profile.transport().timeout;
        if matches!(self.address, Address::Http(_)) {
            return timeout.max(HTTP_TIMEOUT_MIN);
        }
        match self.address.kind() {
            TransportKind::Rtu => timeout,
            TransportKind::Tcp | TransportKind::RtuOverTcp => timeout.max(NETWORK_TIMEOUT_MIN),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot be read")]
    Read(#[source] std::io::Error),
    #[error("{}", list_problems(.0))]
    Invalid(Vec<Problem>),
}

/// The ten registers that devices of the original read.
const ORIGINAL_PROFILE: &str = "ecowatt/seed-sim";

const UPLOAD_INTERVAL: Duration = Duration::from_secs(60);
const MESSAGE_BYTES: u64 = 48 * 1024;
/// Room for the longest layout and for batches.
const MESSAGE_BYTES_MIN: u64 = 8 * 1024;
const _: () = assert!(MESSAGE_BYTES_MIN >= ecowatt_device::limits::MESSAGE_BYTES_MIN as u64);
const SPOOL_BYTES: u64 = 64 * 1024 * 1024;
const SAMPLE_INTERVAL_MIN: Duration = Duration::from_millis(200);

/// [`Check`] requires the mandatory keys, so that a missing one is a problem among others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    protocol: Option<String>,
    data: Option<PathBuf>,
    claim_code: Option<String>,
    claim_file: Option<PathBuf>,
    sample_interval: Option<String>,
    sample_log: Option<PathBuf>,
    #[serde(default)]
    upload: Upload,
    #[serde(default)]
    spool: Spool,
    #[serde(default)]
    commands: permits::Commands,
    original: Option<OriginalFile>,
    #[serde(default)]
    inverter: Vec<Inverter>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, expecting = "a table, such as [upload], with its keys")]
struct Upload {
    interval: Option<String>,
    order: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, expecting = "a table, such as [spool], with its keys")]
struct Spool {
    limit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, such as [[inverter]], with its keys")]
struct Inverter {
    name: Option<String>,
    transport: Option<String>,
    unit: Option<i64>,
    profile: Option<String>,
    rated_power: Option<i64>,
    api_key_file: Option<PathBuf>,
}

impl Config {
    /// Reads a configuration file; paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(ConfigError::Read)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads TOML; paths in it are relative to `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let document = Document::parse(text).map_err(ConfigError::Invalid)?;
        let (file, problems) = document.read::<File>();
        let Some(file) = file else { return Err(ConfigError::Invalid(problems)) };
        // Every value is checked even if another is wrong, so that all problems are listed.
        let mut check = Check { folder, document, problems, addresses: Vec::new() };
        let server = check
            .given("server", file.server.as_deref())
            .and_then(|server| check.parse::<ServerUrl>("server", server));
        let data = check.given("data", file.data);
        let claim = check.claim(file.claim_code.as_deref(), file.claim_file.as_deref());
        let sample_interval = file.sample_interval.as_deref().and_then(|text| {
            check.duration("sample_interval", text, SAMPLE_INTERVAL_MIN, CHECK_IN_MAX)
        });
        let second = Duration::from_secs(1);
        let upload_interval =
            file.upload.interval.as_deref().map_or(Some(UPLOAD_INTERVAL), |text| {
                check.duration("upload.interval", text, second, CHECK_IN_MAX)
            });
        let order = match file.upload.order.as_deref() {
            None | Some("oldest-first") => Some(SendOrder::BacklogOldestFirst),
            Some("newest-first") => Some(SendOrder::BacklogNewestFirst),
            Some(_) => check.problem("upload.order", "must be oldest-first or newest-first"),
        };
        let message_max = u64::try_from(MESSAGE_MAX).unwrap_or(u64::MAX);
        let message = file.upload.message.as_deref().map_or(Some(MESSAGE_BYTES), |text| {
            check.size("upload.message", text, MESSAGE_BYTES_MIN, message_max)
        });
        let spool_bytes = file.spool.limit.as_deref().map_or(Some(SPOOL_BYTES), |text| {
            // The spool must hold the largest batch that fits a message.
            let message = usize::try_from(message.unwrap_or(MESSAGE_BYTES)).unwrap_or(MESSAGE_MAX);
            check.size("spool.limit", text, spool_bytes_min(batch_bytes_max(message)), 1 << 50)
        });
        if !(1..=SOURCES_MAX).contains(&file.inverter.len()) && !check.is_wrong("inverter") {
            check.problem::<()>("inverter", &format!("must be given 1 to {SOURCES_MAX} times"));
        }
        let inverters: Vec<InverterConfig> = file
            .inverter
            .iter()
            .enumerate()
            .filter_map(|(place, inverter)| check.inverter(place, inverter))
            .collect();
        let permits = check.permits(file.commands);
        let original = check.original(file.protocol.as_deref(), file.original.as_ref(), &inverters);
        if original.is_some() && (file.claim_code.is_some() || file.claim_file.is_some()) {
            check.problem::<()>("claim_code", "is not for devices of the original");
        }
        check.problems.sort_by_key(|problem| problem.line);
        match (server, data, upload_interval, order, message, spool_bytes) {
            (
                Some(server),
                Some(data),
                Some(upload_interval),
                Some(order),
                Some(message),
                Some(spool_bytes),
            ) if check.problems.is_empty() => Ok(Self {
                server,
                data: folder.join(data),
                claim,
                sample_interval,
                upload_interval,
                order,
                message_bytes: usize::try_from(message).unwrap_or(MESSAGE_MAX),
                spool_bytes,
                inverters,
                sample_log: file.sample_log.map(|path| folder.join(path)),
                permits,
                original,
            }),
            _ => Err(ConfigError::Invalid(check.problems)),
        }
    }

    /// Returns a configuration with the file's defaults, for a process that builds its own.
    #[must_use]
    pub fn new(server: ServerUrl, data: PathBuf, inverters: Vec<InverterConfig>) -> Self {
        Self {
            server,
            data,
            claim: None,
            sample_interval: None,
            upload_interval: UPLOAD_INTERVAL,
            order: SendOrder::default(),
            message_bytes: usize::try_from(MESSAGE_BYTES).unwrap_or(MESSAGE_MAX),
            spool_bytes: SPOOL_BYTES,
            inverters,
            sample_log: None,
            permits: Permits::default(),
            original: None,
        }
    }
}

struct Check<'a> {
    folder: &'a Path,
    document: Document<'a>,
    problems: Vec<Problem>,
    /// The addresses of the inverters checked so far.
    addresses: Vec<Address>,
}

impl Check<'_> {
    fn problem<T>(&mut self, path: &str, text: &str) -> Option<T> {
        let (path, line) = (path.to_owned(), self.document.line_of(path));
        self.problems.push(Problem { path, line, text: text.to_owned() });
        None
    }

    /// Whether a key is present and invalid.
    fn is_wrong(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.path == path)
    }

    fn given<T>(&mut self, path: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.is_wrong(path) {
            self.problem::<()>(path, "must be given");
        }
        value
    }

    fn parse<T: std::str::FromStr<Err: fmt::Display>>(
        &mut self,
        path: &str,
        text: &str,
    ) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.problem(path, &error.to_string()),
        }
    }

    fn duration(
        &mut self,
        path: &str,
        text: &str,
        min: Duration,
        max: Duration,
    ) -> Option<Duration> {
        match duration(text) {
            None => self.problem(path, &format!("must be a duration such as {DURATION_EXAMPLES}")),
            Some(value) if !(min..=max).contains(&value) => {
                let (min, max) = (duration_text(min), duration_text(max));
                self.problem(path, &format!("must be between {min} and {max}"))
            }
            Some(value) => Some(value),
        }
    }

    fn size(&mut self, path: &str, text: &str, min: u64, max: u64) -> Option<u64> {
        match size(text) {
            None => self.problem(path, &format!("must be a size such as {SIZE_EXAMPLES}")),
            Some(value) if !(min..=max).contains(&value) => {
                self.problem(path, &format!("must be between {min} and {max} bytes"))
            }
            Some(value) => Some(value),
        }
    }

    fn claim(&mut self, code: Option<&str>, file: Option<&Path>) -> Option<ClaimCode> {
        match (code, file) {
            (Some(_), Some(_)) => self.problem("claim_file", "claim_code is given as well"),
            (Some(code), None) => self.parse("claim_code", code),
            (None, Some(file)) => match std::fs::read_to_string(self.folder.join(file)) {
                Ok(code) => self.parse("claim_file", &code),
                Err(error) => self.problem("claim_file", &format!("cannot be read: {error}")),
            },
            (None, None) => None,
        }
    }

    /// Checks whether the agent is a device of the original, and what it needs for that.
    fn original(
        &mut self,
        protocol: Option<&str>,
        file: Option<&OriginalFile>,
        inverters: &[InverterConfig],
    ) -> Option<OriginalConfig> {
        match protocol {
            Some("original") => {}
            None | Some("link") if file.is_none() => return None,
            None | Some("link") => {
                return self.problem("original", "is for `protocol = \"original\"`");
            }
            Some(_) => return self.problem("protocol", "must be link or original"),
        }
        let is_known = |inverter: &InverterConfig| inverter.profile.id() == ORIGINAL_PROFILE;
        if inverters.len() > 1 || !inverters.iter().all(is_known) {
            let text = format!("must be one with the profile {ORIGINAL_PROFILE}");
            self.problem::<()>("inverter", &text);
        }
        let found = original(file.unwrap_or(&OriginalFile::default()), self.folder);
        let problems = match found {
            Ok(original) => return Some(original),
            Err(problems) => problems,
        };
        for (path, text) in problems {
            self.problem::<()>(path, &text);
        }
        None
    }

    fn permits(&mut self, commands: permits::Commands) -> Permits {
        let is_program = |words: &Vec<String>| words.first().is_some_and(|word| !word.is_empty());
        if commands.reboot.as_ref().is_some_and(|words| !is_program(words)) {
            self.problem::<()>("commands.reboot", "must be a program with its arguments");
        }
        Permits { reboot: commands.reboot, read_only: commands.read_only.unwrap_or(false) }
    }

    fn inverter(&mut self, place: usize, inverter: &Inverter) -> Option<InverterConfig> {
        let path = |key: &str| format!("inverter[{place}].{key}");
        let address = self
            .given(&path("transport"), inverter.transport.as_deref())
            .and_then(|transport| self.parse(&path("transport"), transport))
            .and_then(|address| self.with_key(&path("api_key_file"), address, inverter))
            .and_then(|address| self.address(&path("transport"), address));
        let profile = self
            .given(&path("profile"), inverter.profile.as_deref())
            .and_then(|profile| self.profile(&path("profile"), profile));
        let is_tcp = address.as_ref().map(Address::kind) == Some(TransportKind::Tcp);
        let unit = match inverter.unit.map(u8::try_from) {
            Some(Ok(unit @ 1..=247)) => Some(unit),
            // Modbus on Serial Line V1.02, 2.2; TCP devices without a bus answer to 255 or 0 too.
            Some(Ok(unit)) if is_tcp => Some(unit),
            Some(_) if is_tcp => self.problem(&path("unit"), "must be between 0 and 255"),
            Some(_) => self.problem(&path("unit"), "must be between 1 and 247"),
            None => profile.as_ref().map(|profile| profile.transport().unit),
        };
        let name = inverter.name.clone().unwrap_or_else(|| format!("inverter-{place}"));
        if name.is_empty() || name.len() > 32 {
            self.problem::<()>(&path("name"), "must have 1 to 32 bytes");
        }
        let rated_w = match inverter.rated_power.map(u32::try_from) {
            None => None,
            Some(Ok(rated_w)) if RATED_W.contains(&rated_w) => Some(rated_w),
            Some(_) => {
                let (least, most) = (RATED_W.start(), RATED_W.end());
                self.problem(&path("rated_power"), &format!("must be {least} to {most} watts"))
            }
        };
        let profile = match rated_w {
            Some(rated_w) => profile?.rated(rated_w),
            None => profile?,
        };
        Some(InverterConfig { name, address: address?, unit: unit?, profile, rated_w })
    }

    /// Reads the key of an inverter's service.
    fn with_key(&mut self, path: &str, address: Address, inverter: &Inverter) -> Option<Address> {
        let Some(file) = &inverter.api_key_file else { return Some(address) };
        let Address::Http(front) = address else {
            return self.problem(path, "is for transports that begin with http://");
        };
        let key = match std::fs::read_to_string(self.folder.join(file)) {
            Ok(key) => key,
            Err(error) => return self.problem(path, &format!("cannot be read: {error}")),
        };
        match front.with_key(key.trim()) {
            Some(front) => Some(Address::Http(front)),
            None => self.problem(path, "must have the key on one line, in ASCII"),
        }
    }

    /// Checks an address: inverters with the same transport share a bus, and one bus cannot be used
    /// in two ways.
    fn address(&mut self, path: &str, address: Address) -> Option<Address> {
        let place = address.place();
        let other =
            self.addresses.iter().position(|known| *known != address && known.place() == place);
        if let Some(other) = other {
            let other = self.addresses[other].to_string();
            return self.problem(path, &format!("uses the same bus as {other} in another way"));
        }
        self.addresses.push(address.clone());
        Some(address)
    }

    fn profile(&mut self, path: &str, name: &str) -> Option<Profile> {
        if !name.ends_with(".toml") {
            let known = || {
                let ids: Vec<_> = catalogue::list().iter().map(|entry| entry.id).collect();
                format!("is not known; known are {}, or give a .toml file", ids.join(", "))
            };
            let found = catalogue::find(name);
            return if found.is_some() { found } else { self.problem(path, &known()) };
        }
        match std::fs::read_to_string(self.folder.join(name)) {
            Ok(text) => match Profile::parse(&text) {
                Ok(profile) => Some(profile),
                Err(error) => self.problem(path, &error.to_string()),
            },
            Err(error) => self.problem(path, &format!("cannot be read: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match Config::parse(text, Path::new("/nowhere")) {
            Ok(_) => vec![],
            Err(ConfigError::Invalid(problems)) => {
                problems.iter().map(ToString::to_string).collect()
            }
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn example_is_valid_and_shows_the_defaults() {
        let text = include_str!("../../../examples/agent.toml");
        let example = Config::parse(text, Path::new("/etc/ecowatt")).unwrap();
        let inverters = example.inverters.clone();
        let defaults = Config::new(example.server.clone(), example.data.clone(), inverters);
        assert_eq!(example.upload_interval, defaults.upload_interval);
        assert_eq!(example.order, defaults.order);
        assert_eq!(example.message_bytes, defaults.message_bytes);
        assert_eq!(example.spool_bytes, defaults.spool_bytes);
        assert_eq!(example.sample_interval, defaults.sample_interval);
        assert_eq!(example.sample_log, defaults.sample_log);
        assert_eq!(example.permits, defaults.permits);
    }

    #[test]
    fn everything_wrong_is_said_with_its_key() {
        let text = r#"
            server = "https://a.example"
            data = "data"
            claim_code = "nonsense"
            sample_interval = "5 parsecs"
            [upload]
            interval = "0s"
            order = "random"
            [spool]
            limit = "3 bytes"
            [[inverter]]
            transport = "carrier-pigeon://roof"
            profile = "acme/none"
            [[inverter]]
            transport = "serial:///dev/ttyUSB0"
            profile = "ecowatt/seed-sim"
            unit = 0
        "#;
        let found = problems(text);
        let keys: Vec<&str> = found.iter().map(|p| p.split(": ").nth(1).unwrap()).collect();
        assert_eq!(
            keys,
            [
                "server",
                "claim_code",
                "sample_interval",
                "upload.interval",
                "upload.order",
                "spool.limit",
                "inverter[0].transport",
                "inverter[0].profile",
                "inverter[1].unit",
            ],
            "{found:#?}"
        );
    }

    #[test]
    fn spool_must_hold_the_largest_batch_that_a_message_carries() {
        let with = |message: &str, limit: u64| {
            problems(&format!(
                r#"
                server = "http://a.example"
                data = "data"
                [upload]
                {message}
                [spool]
                limit = "{limit}B"
                [[inverter]]
                transport = "tcp://10.0.0.7:502"
                profile = "ecowatt/seed-sim"
                "#
            ))
        };
        let settings = [
            (String::new(), usize::try_from(MESSAGE_BYTES).unwrap()),
            ("message = \"8KiB\"".to_owned(), 8 * 1024),
            (format!("message = \"{MESSAGE_MAX}B\""), MESSAGE_MAX),
        ];
        for (message, bytes) in settings {
            let min = spool_bytes_min(batch_bytes_max(bytes));
            assert_eq!(with(&message, min), Vec::<String>::new(), "{message}");
            let found = with(&message, min - 1);
            assert_eq!(found.len(), 1, "{message}: {found:?}");
            assert!(
                found[0].contains("spool.limit") && found[0].contains(&min.to_string()),
                "{found:?}"
            );
        }
    }

    #[test]
    fn one_bus_is_used_in_one_way() {
        let with = |first: &str, second: &str| {
            let inverter = |transport: &str| {
                format!(
                    "[[inverter]]\ntransport = \"{transport}\"\nprofile = \"ecowatt/seed-sim\"\n"
                )
            };
            problems(&format!(
                "server = \"http://a.example\"\ndata = \"d\"\n{}{}",
                inverter(first),
                inverter(second)
            ))
        };
        let tty = "serial:///dev/ttyUSB0";
        for (first, second) in [
            (format!("{tty}?baud=9600"), format!("{tty}?baud=19200")),
            (format!("{tty}?format=8N1"), "serial:///dev/../dev/ttyUSB0?format=8E1".to_owned()),
            ("tcp://gateway:502".to_owned(), "rtu-over-tcp://Gateway:502".to_owned()),
            ("tcp://gateway:502".to_owned(), "tcp://gateway:502?transactions=any".to_owned()),
        ] {
            let found = with(&first, &second);
            assert_eq!(found.len(), 1, "{first} and {second}: {found:?}");
            assert!(found[0].contains("inverter[1].transport: uses the same bus as"), "{found:?}");
        }
        assert!(with(tty, &format!("{tty}?baud=9600&format=8n1")).is_empty());
        assert!(with("tcp://gateway:502", "tcp://gateway:503").is_empty());
    }

    #[test]
    fn unknown_key_is_refused() {
        let found = problems("server = \"http://a\"\ndata = \"d\"\nupload_intervall = \"5s\"");
        let named = found.iter().filter(|problem| problem.contains("upload_intervall"));
        assert_eq!(named.count(), 1, "{found:?}");
    }

    #[test]
    fn keys_that_cannot_be_read_do_not_hide_what_else_is_wrong() {
        let text = r#"
            server = 5
            dta = "x"
            [upload]
            order = "random"
            [[inverter]]
            nme = "roof"
            profile = "ecowatt/seed-sim"
            unit = 1000
        "#;
        let found = problems(text);
        let starts = [
            "data: must be given",
            "line 2: server: invalid type",
            "line 3: dta: unknown field",
            "line 5: upload.order: must be",
            "line 6: inverter[0].transport: must be given",
            "line 7: inverter[0].nme: unknown field",
            "line 9: inverter[0].unit: must be between 1 and 247",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found} is not {start}");
        }
    }
}

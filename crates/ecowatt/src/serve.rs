//! `ecowatt serve`: the server.

use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use ecowatt_clock::Clock;
use ecowatt_config_text::{Document, Problem, list_problems};
use ecowatt_server::{Config, Retention};
use ecowatt_store::Store;
use serde::Deserialize;

use crate::argument;
use crate::hint::WithHint as _;

/// Default data folder.
const DATA: &str = "ecowatt-data";

/// Run the server: it receives data from devices, stores it and shows it.
///
/// The first start prints a set-up link that works once and creates an owner. With access to the
/// data folder, `ecowatt token create --data DIR --role owner` creates further tokens.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration (TOML); examples/server.toml shows every key with its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = argument::address)]
    listen: Option<SocketAddr>,
    /// The store, as `sqlite:DIR` [default: the embedded store in the data folder].
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    store: Option<String>,
    /// Folder of the embedded store; created if it is missing [default: ecowatt-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The configuration file: the server's own keys, and where its data is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    server: Config,
    retention: Retention,
}

impl File {
    fn config(&self) -> Config {
        Config { retention: self.retention, ..self.server.clone() }
    }
}

/// Runs the server until `shutdown` is ready.
///
/// # Errors
/// If the configuration is wrong, the folder is in use, or the address is taken.
pub(crate) async fn run(
    args: ServeArgs,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let file = match &args.config {
        Some(path) => {
            load(path).with_context(|| format!("reading the configuration {}", path.display()))?
        }
        None => File::default(),
    };
    let mut config = file.config();
    config.listen = args.listen.unwrap_or(config.listen);
    let named = args.store.as_deref().map(folder_of).transpose()?;
    let data = named.or(args.data).or(file.data).unwrap_or_else(|| DATA.into());
    // Printed as an absolute path: the default depends on the current folder.
    let data = std::path::absolute(&data)
        .with_context(|| format!("finding the data folder {}", data.display()))?;
    // A first start that cannot listen is usually a mistyped address; it must leave no folder
    // behind. If the folder cannot be examined, opening it below reports that.
    if matches!(Store::is_in(&data), Ok(false)) {
        for address in [config.listen].into_iter().chain(config.listen_devices) {
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        }
    }
    let store = Store::open(&data).with_context(|| format!("opening {}", data.display()))?;
    let running = ecowatt_server::serve(config, store, clock, shutdown).await?;
    let mut stderr = io::stderr();
    writeln!(
        stderr,
        "EcoWatt listens at {} and keeps its data in {}",
        running.url,
        data.display()
    )?;
    if let Some(address) = running.device_address {
        writeln!(stderr, "A second address, for devices only: http://{address}")?;
    }
    if let Some(link) = &running.setup_link {
        writeln!(
            stderr,
            "This server has no owner yet. This link creates one and works once:\n  {link}"
        )?;
    }
    running.stopped().await?;
    Ok(())
}

/// Checks a configuration file.
///
/// # Errors
/// With all of its problems.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    load(path).map(drop)
}

fn load(path: &Path) -> anyhow::Result<File> {
    let text = fs::read_to_string(path).context("cannot be read")?;
    parse(&text).map_err(|problems| anyhow!(list_problems(&problems)))
}

fn parse(text: &str) -> Result<File, Vec<Problem>> {
    let document = Document::parse(text)?;
    let (file, mut problems) = document.read::<File>();
    for problem in file.iter().flat_map(|file| file.config().problems()) {
        let path = problem.key().to_owned();
        let line = document.line_of(&path);
        problems.push(Problem { path, line, text: problem.to_string() });
    }
    problems.sort_by_key(|problem| problem.line);
    match file {
        Some(file) if problems.is_empty() => Ok(file),
        _ => Err(problems),
    }
}

fn folder_of(url: &str) -> anyhow::Result<PathBuf> {
    match url.split_once(':') {
        Some(("sqlite", folder)) if !folder.is_empty() => Ok(folder.into()),
        _ => Err(anyhow!("`{url}` is not a store")).with_hint(|| "a store is written `sqlite:DIR`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_shows_every_key_with_its_default() {
        let text = include_str!("../../../examples/server.toml");
        let file = parse(text).unwrap();
        let Config {
            listen,
            listen_devices,
            public_url,
            hosts,
            trusted_proxies,
            address_share,
            silent_after,
            retention,
            // The file has no key for it.
            is_demo,
        } = file.config();
        assert!(!is_demo);
        let default = Config::default();
        assert_eq!((listen, silent_after), (default.listen, default.silent_after));
        assert_eq!((hosts, trusted_proxies), (default.hosts, default.trusted_proxies));
        assert_eq!((address_share, retention), (default.address_share, default.retention));
        let devices = SocketAddr::from(([0, 0, 0, 0], 8081));
        assert_eq!(listen_devices, Some(devices), "has no default");
        assert_eq!(public_url.as_deref(), Some("https://ecowatt.example"), "has no default");
        assert_eq!(file.data, Some(DATA.into()));
    }

    #[test]
    fn misspelt_key_is_an_error() {
        for text in ["dada = 'x'", "[server]\nlissen = '127.0.0.1:1'", "[server]\nlisten = 'here'"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_problem_has_its_key() {
        let text = "dta = 'x'
[server]
listen = 'here'
lissen = '127.0.0.1:1'
public_url = 'foo'
silent_after = '1s'
[retention]
samples = '90d'
minutes = '30d'
quarter_hours = '1y'
";
        let problems = parse(text).unwrap_err();
        let found: Vec<_> =
            problems.iter().map(|problem| (problem.line, problem.path.as_str())).collect();
        let expected = [
            (Some(1), "dta"),
            (Some(3), "server.listen"),
            (Some(4), "server.lissen"),
            (Some(5), "server.public_url"),
            (Some(6), "server.silent_after"),
            (Some(9), "retention.minutes"),
            (Some(10), "retention.quarter_hours"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn store_is_named_by_a_url() {
        assert_eq!(folder_of("sqlite:/var/lib/x").unwrap(), PathBuf::from("/var/lib/x"));
        for bad in ["", "sqlite:", "postgres://host/db", "/var/lib/x"] {
            assert!(folder_of(bad).is_err(), "{bad}");
        }
    }
}

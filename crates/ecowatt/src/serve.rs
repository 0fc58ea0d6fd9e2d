//! `ecowatt serve`: the server.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ecowatt_clock::Clock;
use ecowatt_server::Config;
use ecowatt_store::Store;
use serde::Deserialize;

/// Where data goes if nothing else is said.
const DATA: &str = "ecowatt-data";

/// Take what devices send, keep it, and show it.
///
/// At its first start it prints a set-up link that works once and makes an owner. Whoever owns the
/// data folder can make further tokens with `ecowatt token create --data DIR`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration (TOML); examples/server.toml shows every key with its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on, 127.0.0.1:8080 unless told otherwise.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The store: `sqlite:DIR`. The embedded store in the data folder unless told otherwise.
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    store: Option<String>,
    /// Folder of the embedded store, made if it is missing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The configuration file: the server's own keys, and where its data is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    server: Config,
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
    let file = args.config.as_deref().map(load).transpose()?.unwrap_or_default();
    let mut config = file.server;
    config.listen = args.listen.unwrap_or(config.listen);
    let named = args.store.as_deref().map(folder_of).transpose()?;
    let data = named.or(args.data).or(file.data).unwrap_or_else(|| DATA.into());
    let store = Store::open(&data).with_context(|| format!("opening {}", data.display()))?;
    let running = ecowatt_server::serve(config, store, clock, shutdown).await?;
    let mut stderr = io::stderr();
    writeln!(
        stderr,
        "EcoWatt listens at {} and keeps its data in {}",
        running.url,
        data.display()
    )?;
    if let Some(link) = &running.setup_link {
        writeln!(stderr, "Nobody owns this server yet. This link makes an owner, once:\n  {link}")?;
    }
    running.stopped().await;
    Ok(())
}

/// Says what is wrong with a configuration file.
///
/// # Errors
/// With everything that is wrong.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    let problems = load(path)?.server.problems();
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems.iter().map(|problem| format!("server.{problem}")).collect();
    bail!("{}", lines.join("\n"))
}

fn load(path: &Path) -> anyhow::Result<File> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

fn folder_of(url: &str) -> anyhow::Result<PathBuf> {
    match url.split_once(':') {
        Some(("sqlite", folder)) if !folder.is_empty() => Ok(folder.into()),
        _ => bail!("{url:?} is not a store: write sqlite:DIR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_shows_every_key_with_its_default() {
        let text = include_str!("../../../examples/server.toml");
        let file: File = toml::from_str(text).unwrap();
        let Config { listen, public_url, silent_after } = file.server;
        let default = Config::default();
        assert_eq!((listen, silent_after), (default.listen, default.silent_after));
        assert_eq!(public_url.as_deref(), Some("https://ecowatt.example"), "has no default");
        assert_eq!(file.data, Some(DATA.into()));
    }

    #[test]
    fn misspelt_key_is_an_error() {
        for text in ["dada = 'x'", "[server]\nlissen = '127.0.0.1:1'", "[server]\nlisten = 'here'"]
        {
            assert!(toml::from_str::<File>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn store_is_named_by_a_url() {
        assert_eq!(folder_of("sqlite:/var/lib/x").unwrap(), PathBuf::from("/var/lib/x"));
        for bad in ["", "sqlite:", "postgres://host/db", "/var/lib/x"] {
            assert!(folder_of(bad).is_err(), "{bad}");
        }
    }
}

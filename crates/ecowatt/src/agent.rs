//! `ecowatt agent`: the device of a Linux box.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ecowatt_agent::Config;
use ecowatt_clock::Clock;

/// Poll inverters, keep what they answer through power cuts and outages, and send it to a server.
///
/// docs/agent.md explains the file, examples/agent.toml shows every key with its default.
/// `ecowatt check-config --agent FILE` says what is wrong with one.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The configuration (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs until `shutdown` is ready.
///
/// # Errors
/// If the configuration is wrong, the data folder cannot be used, or there is no way to an identity.
pub(crate) async fn run(
    args: AgentArgs,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let config =
        Config::load(&args.config).with_context(|| format!("reading {}", args.config.display()))?;
    ecowatt_agent::run(config, clock, shutdown).await.context("the agent ended")
}

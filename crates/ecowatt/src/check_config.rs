//! `ecowatt check-config`: lists all problems of a configuration file.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

/// Check configuration files without starting anything. Lists all problems, each with its line and
/// key.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct CheckConfigArgs {
    /// Configuration of an agent.
    #[arg(long, value_name = "FILE")]
    agent: Vec<PathBuf>,
    /// Configuration of a server.
    #[arg(long, value_name = "FILE")]
    server: Vec<PathBuf>,
}

/// Checks each file.
///
/// # Errors
/// If any of them has a problem.
pub(crate) fn run(args: &CheckConfigArgs) -> anyhow::Result<()> {
    let agents = args.agent.iter().map(|path| {
        (path, ecowatt_agent::Config::load(path).map(drop).map_err(anyhow::Error::new))
    });
    let servers = args.server.iter().map(|path| (path, crate::serve::check(path)));
    let mut wrong = 0;
    let mut stderr = io::stderr().lock();
    for (path, outcome) in agents.chain(servers) {
        match outcome.with_context(|| path.display().to_string()) {
            Ok(()) => writeln!(stderr, "{}: no problems", path.display())?,
            Err(error) => {
                wrong += 1;
                writeln!(stderr, "{error:#}")?;
            }
        }
    }
    let files = if wrong == 1 { "file has" } else { "files have" };
    anyhow::ensure!(wrong == 0, "{wrong} {files} problems");
    Ok(())
}

//! The one binary: it ties agent, inverter, server and client together.
//!
//! The environment, the clock and the runtime are chosen here, and errors are printed here;
//! everything else is one module per verb on top of a library.

mod agent;
mod agent_toml;
mod argument;
mod artifact;
mod audit;
mod check_config;
mod claim;
mod codec;
mod command;
mod completions;
mod config;
mod demo;
mod device;
mod hint;
mod import_original;
mod inverter;
mod key_file;
mod keys;
mod lease;
mod log;
mod openapi;
mod operator;
mod original;
mod original_tools;
mod pages;
mod serve;
mod session;
mod shutdown;
mod simulate;
mod site;
mod store;
mod table;
mod telemetry;
mod token;
mod trust;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use ecowatt_clock::Clock;
use tracing::level_filters::LevelFilter;

use self::log::Log;

/// Solar fleets: from an inverter's register to a chart, exactly once.
///
/// Try it: `ecowatt demo` runs a server with three simulated plants and prints the dashboard's
/// address. Data goes to standard output, everything else to standard error.
///
/// Exit codes: 0 success, 1 failure (the reason is on standard error), 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// How much to log: off, error, warn, info, debug or trace.
    #[arg(long, global = true, env = "ECOWATT_LOG", value_name = "LEVEL", display_order = 900)]
    log: Option<LevelFilter>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Serve(serve::ServeArgs),
    Agent(agent::AgentArgs),
    Inverter(inverter::InverterArgs),
    Simulate(simulate::SimulateArgs),
    Device(device::DeviceArgs),
    Config(config::ConfigArgs),
    #[command(name = "command")]
    Order(command::CommandArgs),
    Lease(lease::LeaseArgs),
    Site(site::SiteArgs),
    Telemetry(telemetry::TelemetryArgs),
    Token(token::TokenArgs),
    Session(session::SessionArgs),
    Claim(claim::ClaimArgs),
    Audit(audit::AuditArgs),
    Store(store::StoreArgs),
    Keys(keys::KeysArgs),
    Artifact(artifact::ArtifactArgs),
    Trust(trust::TrustArgs),
    Codec(codec::CodecArgs),
    ImportOriginal(import_original::ImportOriginalArgs),
    #[command(name = "original")]
    OriginalTools(original_tools::OriginalToolsArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Openapi(openapi::OpenapiArgs),
    Completions(completions::CompletionsArgs),
}

fn main() -> ExitCode {
    let Cli { log, command } = Cli::parse();
    let level = log.unwrap_or(match command {
        Command::Serve(_) | Command::Agent(_) => LevelFilter::INFO,
        // Faults are on purpose there; the report has the results.
        Command::Simulate(_) => LevelFilter::OFF,
        _ => LevelFilter::WARN,
    });
    match run(command, Log::start(level)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed there is nowhere left to report that.
            let _ = print(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error with its causes on one line, and each hint on a line of its own.
fn print(error: &anyhow::Error) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "error: {}", table::plain_lines(&format!("{error:#}")))?;
    for hint in hint::hints(error) {
        writeln!(stderr, "hint: {}", table::plain_lines(&hint))?;
    }
    Ok(())
}

fn run(command: Command, log: Log) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => threads()?.block_on(demo::run(args)),
        Command::Serve(args) => threads()?
            .block_on(async { serve::run(args, Clock::system(), shutdown::signal()).await }),
        // One thread and one small heap: the agent is not alone on its machine.
        Command::Agent(args) => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                agent::run(args, Clock::system(), log.control(), shutdown::signal()).await
            })
        }
        Command::Inverter(args) => {
            threads()?.block_on(async { inverter::run(args, shutdown::signal()).await })
        }
        Command::Simulate(args) => simulate::run(&args, Clock::system()),
        Command::Device(args) => device::run(&args),
        Command::Config(args) => config::run(&args, Clock::system()),
        Command::Order(args) => command::run(&args, Clock::system()),
        Command::Lease(args) => lease::run(&args),
        Command::Site(args) => site::run(&args),
        Command::Telemetry(args) => telemetry::run(&args),
        Command::Token(args) => threads()?.block_on(token::run(args, Clock::system())),
        Command::Session(args) => session::run(&args),
        Command::Claim(args) => claim::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Store(args) => threads()?.block_on(store::run(&args, Clock::system())),
        Command::Keys(args) => keys::run(&args),
        Command::Artifact(args) => artifact::run(&args, &Clock::system()),
        Command::Trust(args) => trust::run(&args, &Clock::system()),
        Command::Codec(args) => codec::run(args),
        Command::ImportOriginal(args) => import_original::run(&args),
        Command::OriginalTools(args) => original_tools::run(args, Clock::system()),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Openapi(args) => openapi::run(&args),
        Command::Completions(args) => completions::run(&args, &Cli::command()),
    }
}

fn threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Whether output failed because its reader, such as `head`, closed the pipe.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

//! Tests the product's promises with the real binary: no data lost or doubled under kills and other
//! faults, and the figures of `docs/figures.md`. Run it through `cargo xtask crash`, `commands`,
//! `chaos` and `bench`.

mod answers;
mod bench;
mod chaos;
mod commands;
mod crash;
mod devices;
mod load;
mod overload;
mod process;
mod proxy;
mod pv_days;
mod rig;
mod test_disk;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
enum Command {
    Bench(bench::BenchArgs),
    Chaos(chaos::ChaosArgs),
    Commands(commands::CommandArgs),
    Crash(crash::CrashArgs),
}

#[expect(clippy::print_stderr, reason = "a command line tool says why it failed")]
fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Bench(args) => bench::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Commands(args) => commands::run(&args),
        Command::Crash(args) => crash::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

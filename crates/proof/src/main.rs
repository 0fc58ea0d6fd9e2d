//! Proves what the product promises, with the real binary: nothing lost or doubled under kills, and
//! the figures of `docs/figures.md`. Run it through `cargo xtask crash` and `cargo xtask bench`.

mod crash;
mod process;
mod random;

use clap::Parser;

#[derive(Debug, Parser)]
enum Command {
    Crash(crash::CrashArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Crash(args) => crash::run(&args),
    }
}

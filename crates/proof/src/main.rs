//! Proves what the product promises, with the real binary: nothing lost or doubled under kills, and
//! the figures of `docs/figures.md`. Run it through `cargo xtask crash` and `cargo xtask bench`.

mod bench;
mod crash;
mod days;
mod load;
mod process;
mod random;

use clap::Parser;

#[derive(Debug, Parser)]
enum Command {
    Bench(bench::BenchArgs),
    Crash(crash::CrashArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Bench(args) => bench::run(&args),
        Command::Crash(args) => crash::run(&args),
    }
}

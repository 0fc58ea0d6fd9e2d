//! Runs small fleets in trouble under the given seeds and ends with 1 at the first broken promise.
//!
//! `cargo xtask mutations` runs it on sources that it has broken on purpose.

use std::process::ExitCode;
use std::time::Duration;

use ecowatt_fleet::plant::Plants;
use ecowatt_fleet::scenario::{Level, START, Scenario};
use ecowatt_fleet::{Threads, run};

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() -> ExitCode {
    let seeds: Vec<u64> = std::env::args().skip(1).filter_map(|seed| seed.parse().ok()).collect();
    let step = Duration::from_secs(60);
    let Ok(plants) = Plants::compute(1, START, step, 49 * 60 + 1, &|_, _| {}) else {
        return ExitCode::from(2);
    };
    for seed in seeds {
        let scenario = Scenario::new(seed, 10, 2, Level::High);
        let report = run(&scenario, &plants, Threads::One, &|_, _| {});
        if let Some(violation) = report.violations.first() {
            println!("seed {seed}: {:?}: {}", violation.invariant, violation.detail);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

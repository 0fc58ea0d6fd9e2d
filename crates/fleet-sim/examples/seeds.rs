//! Runs small fleets in trouble under the given seeds; exits with 1 at the first broken promise.
//!
//! `cargo xtask mutations` runs it on sources that it has broken on purpose. It prints each promise
//! that a seed breaks once, as `seed: promise: how`. With `--breaks PROMISE` before the seeds, it
//! exits only at a seed that breaks that promise.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use ecowatt_fleet_sim::plant::Plants;
use ecowatt_fleet_sim::scenario::{FaultLevel, START, Scenario};
use ecowatt_fleet_sim::{Invariant, Threads, run};

const OF_SETTINGS: [Invariant; 2] = [Invariant::ReportedNeverFalls, Invariant::SettingsArrive];
const OF_COMMANDS: [Invariant; 7] = [
    Invariant::CommandIsOrdered,
    Invariant::CommandOnce,
    Invariant::CommandInTime,
    Invariant::CommandEnds,
    Invariant::CommandEndsTruly,
    Invariant::LimitIsAsOrdered,
    Invariant::UrgentGoesFirst,
];

#[expect(clippy::print_stdout, reason = "the output is its purpose")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted = args.iter().position(|arg| arg == "--breaks").and_then(|at| args.get(at + 1));
    // Settings change and commands are sent only where a promise about them is to be broken: other
    // seeds were found without.
    let is_one_of = |invariants: &[Invariant]| {
        wanted.is_some_and(|name| invariants.iter().any(|one| format!("{one:?}") == *name))
    };
    let settings_every = is_one_of(&OF_SETTINGS).then(|| Duration::from_secs(4 * 3_600));
    let templates_every =
        is_one_of(&[Invariant::TemplateIsFollowed]).then(|| Duration::from_secs(1_800));
    let commands_every = is_one_of(&OF_COMMANDS).then(|| Duration::from_secs(20 * 60));
    let seeds = args.iter().filter_map(|seed| seed.parse::<u64>().ok());
    let step = Duration::from_secs(60);
    let Ok(plants) = Plants::compute(1, START, step, 49 * 60 + 1, Threads::Two, &|_, _| {}) else {
        return ExitCode::from(2);
    };
    for seed in seeds {
        let trouble = Scenario::new(seed, 10, 2, FaultLevel::High);
        let scenario = Scenario { settings_every, templates_every, commands_every, ..trouble };
        let report = run(&scenario, &plants, Threads::One, &|_, _| {});
        let mut said = BTreeSet::new();
        for violation in &report.violations {
            if said.insert(violation.invariant) {
                println!("{seed}: {:?}: {}", violation.invariant, violation.detail);
            }
        }
        let is_wanted =
            |name: &String| said.iter().any(|invariant| format!("{invariant:?}") == *name);
        if !said.is_empty() && wanted.is_none_or(is_wanted) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

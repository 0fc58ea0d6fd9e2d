//! Whole fleets under seeds: every promise holds, and a seed always yields the same run.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use ecowatt_fleet_sim::plant::Plants;
use ecowatt_fleet_sim::scenario::{FaultLevel, START, Scenario};
use ecowatt_fleet_sim::{Report, Threads, run};

/// Returns the plants for all scenarios here: two days and the hour after them, a row a minute.
fn plants() -> &'static Plants {
    static PLANTS: OnceLock<Plants> = OnceLock::new();
    PLANTS.get_or_init(|| {
        Plants::compute(1, START, Duration::from_secs(60), 49 * 60 + 1, Threads::Two, &|_, _| {})
            .unwrap()
    })
}

fn simulate(scenario: &Scenario, threads: Threads) -> Report {
    run(scenario, plants(), threads, &|_, _| {})
}

#[track_caller]
fn keeps_every_promise(scenario: &Scenario) -> Report {
    let report = simulate(scenario, Threads::One);
    let broken: String = report.violations.iter().map(ToString::to_string).collect();
    let server = report.server.join("\n");
    assert!(report.is_clean(), "seed {}: {broken}{report}\n{server}", scenario.seed);
    report
}

#[test]
fn quiet_fleet_delivers_every_sample() {
    let report = keeps_every_promise(&Scenario::new(1, 6, 1, FaultLevel::None));
    let verdict = report.verdict;
    assert!(verdict.taken > 6 * 1_440, "{report}");
    assert_eq!((verdict.taken, verdict.taken), (verdict.durable, verdict.stored), "{report}");
    assert!(report.counts.energy.compared > 0, "{report}");
}

#[test]
fn fleet_in_trouble_keeps_every_promise() {
    for seed in 1..=6 {
        let report = keeps_every_promise(&Scenario::new(seed, 10, 2, FaultLevel::High));
        assert!(report.counts.devices.power_cuts > 10, "{report}");
        assert!(report.counts.server.packed > 1_000, "{report}");
    }
}

#[test]
fn settings_change_in_trouble_and_all_arrive() {
    for seed in 1..=3 {
        let settings_every = Some(Duration::from_secs(4 * 3_600));
        let scenario = Scenario { settings_every, ..Scenario::new(seed, 10, 2, FaultLevel::High) };
        let report = keeps_every_promise(&scenario);
        assert!(report.counts.server.settings_changed > 50, "{report}");
        assert!(report.counts.server.restarts > 3, "{report}");
    }
}

#[test]
fn devices_follow_templates_in_trouble_and_all_arrive() {
    for seed in 1..=3 {
        let settings_every = Some(Duration::from_secs(12 * 3_600));
        let templates_every = Some(Duration::from_secs(1_800));
        let trouble = Scenario::new(seed, 10, 2, FaultLevel::High);
        let report = keeps_every_promise(&Scenario { settings_every, templates_every, ..trouble });
        assert!(report.counts.server.templates_derived > 50, "{report}");
        assert!(report.counts.server.restarts > 3, "{report}");
    }
}

#[test]
fn commands_in_trouble_are_executed_once_in_time_and_end_with_the_truth() {
    let commands_every = Some(Duration::from_secs(20 * 60));
    for seed in 1..=3 {
        let trouble = Scenario::new(seed, 10, 2, FaultLevel::High);
        let report = keeps_every_promise(&Scenario { commands_every, ..trouble });
        let commands = report.counts.commands;
        assert!(commands.succeeded > 200 && commands.failed > 100, "{report}");
        assert!(commands.expired > 100 && commands.cancelled > 10, "{report}");
        assert!(report.counts.inverters.writes > 100, "{report}");
        assert!(report.counts.server.restarts > 3, "{report}");
    }
    let quiet = Scenario::new(1, 6, 1, FaultLevel::None);
    let report = keeps_every_promise(&Scenario { commands_every, ..quiet });
    assert!(report.counts.commands.succeeded > 100, "{report}");
    // Those that wait for their time when another one restarts the device.
    assert!(report.counts.commands.unknown < 5, "{report}");
}

#[test]
fn ten_thousand_commands_to_a_hundred_devices_are_executed_once_and_end() {
    let commands_every = Some(Duration::from_secs(15 * 60));
    let trouble = Scenario::new(1, 100, 1, FaultLevel::High);
    let report = keeps_every_promise(&Scenario { commands_every, ..trouble });
    let commands = report.counts.commands;
    assert!(commands.ordered > 10_000 && commands.executed > 4_000, "{report}");
    assert!(commands.unknown < commands.ordered / 50, "{report}");
    assert!(report.counts.devices.power_cuts > 200, "{report}");
    assert!(report.counts.server.restarts > 2, "{report}");
}

/// A power cut, or a restart by another command, came between a read and the report of it: the
/// registers were lost, and the command had succeeded without them.
#[test]
fn what_was_read_for_a_command_is_reported_after_a_power_cut() {
    let commands_every = Some(Duration::from_secs(20 * 60));
    for seed in [2, 4, 9] {
        let trouble = Scenario::new(seed, 8, 2, FaultLevel::High);
        keeps_every_promise(&Scenario { commands_every, ..trouble });
    }
}

#[test]
fn full_spools_tell_of_every_gap_whatever_cuts_the_power() {
    // The records of the first gaps were dropped together with their segments.
    let report = keeps_every_promise(&Scenario::new(2, 10, 2, FaultLevel::High));
    assert!(report.verdict.dropped > 0, "{report}");
}

#[test]
fn media_that_fail_cost_what_they_destroy_and_every_sample_of_it_is_told() {
    let (mut destroyed, mut errors) = (0, 0);
    for seed in [28, 33] {
        let report = keeps_every_promise(&Scenario::new(seed, 10, 2, FaultLevel::High));
        let disks = report.counts.device_disks;
        let flaws = [disks.sectors_lost, disks.bits_rotted, disks.files_closed];
        assert!(flaws.iter().all(|count| *count > 0), "{report}");
        destroyed += report.verdict.destroyed;
        errors += disks.media_errors;
    }
    assert!(destroyed > 0 && errors > 0, "{destroyed} samples destroyed, {errors} errors");
}

#[test]
fn samples_on_a_full_disk_are_delivered_although_memory_let_them_go() {
    keeps_every_promise(&Scenario::new(15, 10, 2, FaultLevel::High));
}

#[test]
fn server_whose_clock_was_wrong_placed_samples_by_it() {
    keeps_every_promise(&Scenario::new(25, 10, 2, FaultLevel::High));
}

#[test]
fn swarm_keeps_every_promise() {
    let mut weights = Vec::new();
    for seed in [1, 3, 4, 5] {
        let report = keeps_every_promise(&Scenario::new(seed, 10, 2, FaultLevel::Swarm));
        let drawn = report.weights.unwrap();
        assert!(!weights.contains(&drawn), "{report}");
        weights.push(drawn);
    }
}

/// The first message to arrive took 12 minutes, and the epoch was placed in time by it.
#[test]
fn seed_30_places_no_sample_by_a_message_that_came_late() {
    let scenario = Scenario {
        sample_interval: Duration::from_secs(5),
        ..Scenario::new(30, 20, 3, FaultLevel::High)
    };
    let rows = 73 * 720 + 1;
    let plants =
        Plants::compute(1, START, scenario.sample_interval, rows, Threads::Two, &|_, _| {})
            .unwrap();
    let report = run(&scenario, &plants, Threads::One, &|_, _| {});
    let broken: String = report.violations.iter().map(ToString::to_string).collect();
    assert!(report.is_clean(), "{broken}{report}");
}

#[test]
fn seed_gives_one_run_whatever_the_threads() {
    // One way in their networks takes at least 20, 200 and 4,000 ms, which is how far devices run
    // ahead.
    let mut digests = BTreeSet::new();
    for seed in [77, 79, 78] {
        let scenario = Scenario::new(seed, 12, 1, FaultLevel::High);
        let once = simulate(&scenario, Threads::One);
        assert_eq!(once, simulate(&scenario, Threads::One));
        for _ in 0..2 {
            assert_eq!(once, simulate(&scenario, Threads::Two));
        }
        digests.insert(once.digest);
    }
    assert_eq!(digests.len(), 3);
}

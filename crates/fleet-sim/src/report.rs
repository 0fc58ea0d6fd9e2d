//! The report of a simulation, for readers and for programs.

use std::fmt;

use serde::Serialize;

use crate::faults::{self, Weights};
use crate::judges::audit::EnergyCounts;
use crate::judges::audit::commands::CommandCounts;
use crate::judges::promises::Violation;
use crate::judges::truth::SampleAudit;
use crate::scenario::{FaultLevel, Scenario};
use crate::trace::Digest;
use crate::world::bus;
use crate::world::device::DeviceCounts;
use crate::world::disk;
use crate::world::network::NetworkCounts;
use crate::world::server::ServerCounts;

/// The outcome of one simulation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub seed: u64,
    pub devices: u32,
    pub days: u32,
    pub faults: FaultLevel,
    /// How likely each fault was, where the seed has drawn that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    pub sample_interval_s: u64,
    pub upload_interval_s: u64,
    /// Shortest time of one way between device and server.
    pub latency_min_ms: u64,
    pub verdict: SampleAudit,
    pub counts: Counts,
    /// Number of all violations.
    pub violations_found: u64,
    /// By virtual time. If there are many: the first ones, and the first of each promise.
    pub violations: Vec<Violation>,
    /// The server's last events, if a promise was broken.
    pub server: Vec<String>,
    /// The whole trace of the traced device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
    /// Digest of everything that happened: the same for the same seed and program.
    pub digest: u64,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub devices: DeviceCounts,
    pub inverters: bus::Counts,
    pub network: NetworkCounts,
    pub server: ServerCounts,
    pub device_disks: disk::Counts,
    pub server_disk: disk::Counts,
    pub energy: EnergyCounts,
    pub commands: CommandCounts,
    /// Size of the database and its log at the end; the largest of several runs.
    pub store_bytes: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.devices.add(&other.devices);
        self.inverters.add(&other.inverters);
        self.network.add(&other.network);
        self.server.add(&other.server);
        self.device_disks.add(&other.device_disks);
        self.server_disk.add(&other.server_disk);
        self.energy.add(&other.energy);
        self.commands.add(&other.commands);
        self.store_bytes = self.store_bytes.max(other.store_bytes);
    }
}

impl Report {
    pub(crate) fn new(scenario: &Scenario, weights: &Weights) -> Self {
        Self {
            seed: scenario.seed,
            devices: scenario.devices,
            days: scenario.days,
            faults: scenario.faults,
            weights: (scenario.faults == FaultLevel::Swarm).then_some(*weights),
            sample_interval_s: scenario.sample_interval.as_secs(),
            upload_interval_s: scenario.upload_interval.as_secs(),
            latency_min_ms: scenario.latency_min_ms(),
            verdict: SampleAudit::default(),
            counts: Counts::default(),
            violations_found: 0,
            violations: Vec::new(),
            server: Vec::new(),
            trace: Vec::new(),
            digest: 0,
        }
    }

    /// Adds another run, so that the report covers both.
    pub fn add(&mut self, other: &Self) {
        self.verdict.add(&other.verdict);
        self.counts.add(&other.counts);
        // Each seed has weights of its own.
        self.weights = self.weights.filter(|own| other.weights == Some(*own));
        self.violations_found += other.violations_found;
        self.violations.extend_from_slice(&other.violations);
        let mut digest = Digest(self.digest);
        digest.add(other.digest);
        self.digest = digest.0;
    }

    pub(crate) fn violate(&mut self, violation: Violation) {
        self.violations_found += 1;
        self.violations.push(violation);
    }

    /// Keeps this many violations, by virtual time, and besides the first of each promise.
    pub(crate) fn keep_violations(&mut self, most: usize) {
        self.violations.sort_by_key(|violation| (violation.at_ms, violation.device.clone()));
        let mut kept: Vec<Violation> = Vec::new();
        for violation in self.violations.drain(..) {
            let is_first = kept.iter().all(|held| held.invariant != violation.invariant);
            if is_first || kept.len() < most {
                kept.push(violation);
            }
        }
        self.violations = kept;
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.verdict.is_clean()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<(&str, String)> = Vec::new();
        let Counts {
            devices,
            inverters,
            network,
            server,
            device_disks,
            server_disk,
            energy,
            commands,
            ..
        } = &self.counts;
        let verdict = &self.verdict;
        rows.push(("samples taken", grouped(verdict.taken)));
        rows.push(("  of them durable on the device", grouped(verdict.durable)));
        rows.push(("  stored", grouped(verdict.stored)));
        rows.push(("  lost", grouped(verdict.lost)));
        rows.push(("  doubled", grouped(verdict.doubled)));
        rows.push(("  re-stamped", grouped(verdict.restamped)));
        rows.push(("  stored but never sampled", grouped(verdict.invented)));
        rows.push((
            "  dropped by a full spool, with a gap record",
            grouped(verdict.dropped.saturating_sub(verdict.destroyed)),
        ));
        rows.push(("  destroyed by a medium, with a gap record", grouped(verdict.destroyed)));
        rows.push(("  destroyed with every record of them", grouped(verdict.untellable)));
        rows.push(("  destroyed by a medium, in no gap", grouped(verdict.untold)));
        rows.push(("  in a gap record without a loss", grouped(verdict.needless)));
        rows.push(("  only in memory at a power cut", grouped(devices.not_durable)));
        rows.push(("batches made", grouped(devices.batches)));
        rows.push(("  sent again", grouped(devices.resent)));
        rows.push(("  longest backlog of a device", grouped(devices.backlog_max)));
        rows.push(("messages", grouped(devices.messages)));
        rows.push(("  bytes on air", grouped(devices.bytes)));
        rows.push((
            "  answered, busy, stale, refused, unanswered",
            join(&[server.answered, server.busy, server.stale, server.refused, server.unanswered]),
        ));
        rows.push(("starts of devices, of the server", join(&[devices.starts, server.restarts])));
        rows.push(("  samples recovered from a draft", grouped(devices.recovered_samples)));
        rows.push(("inverters whose energy was compared", grouped(energy.compared)));
        rows.push(("  largest difference, mWh", grouped(energy.difference_max_mwh)));
        if commands.ordered > 0 {
            rows.push(("commands ordered", grouped(commands.ordered)));
            rows.push((
                "  succeeded, failed, expired, cancelled, unknown",
                join(&[
                    commands.succeeded,
                    commands.failed,
                    commands.expired,
                    commands.cancelled,
                    commands.unknown,
                ]),
            ));
            rows.push(("  executed by devices", grouped(commands.executed)));
        }
        rows.push(("memory of a device, at most, bytes", grouped(devices.memory_max_bytes)));
        rows.push(("size of the store, bytes", grouped(self.counts.store_bytes)));
        rows.push(("FAULTS", String::new()));
        rows.push(("power cuts of devices", grouped(devices.power_cuts)));
        rows.push(("  in the middle of a write", grouped(devices.power_cuts_at_step)));
        rows.push(("  in the middle of recovery", grouped(devices.power_cuts_in_recovery)));
        rows.push(("power cuts of the server", grouped(server.power_cuts)));
        rows.push(("  within a minute of a start", grouped(server.power_cuts_after_start)));
        rows.push(("server killed", grouped(server.kills)));
        rows.push((
            "unsynced writes of devices' disks lost, torn, kept",
            join(&[
                device_disks.damage.writes_lost,
                device_disks.damage.writes_torn,
                device_disks.damage.writes_kept,
            ]),
        ));
        rows.push((
            "  of the server's disk",
            join(&[
                server_disk.damage.writes_lost,
                server_disk.damage.writes_torn,
                server_disk.damage.writes_kept,
            ]),
        ));
        rows.push(("disks full: devices, server", join(&[devices.disk_full, server.disk_full])));
        rows.push((
            "disks failing: devices, server",
            join(&[devices.disk_failing, server.disk_failing]),
        ));
        rows.push((
            "media: sectors lost, bits rotted, files closed",
            join(&[device_disks.sectors_lost, device_disks.bits_rotted, device_disks.files_closed]),
        ));
        rows.push(("  reads and writes that failed", grouped(device_disks.media_errors)));
        rows.push((
            "clocks unset, wrong by more than 10 s, server's set wrong",
            join(&[devices.clocks_unset, devices.clocks_wrong, server.clock_steps]),
        ));
        rows.push(("batches packed by the server", grouped(server.packed)));
        rows.push(("changes of settings", grouped(server.settings_changed)));
        rows.push(("partitions", grouped(devices.partitions)));
        rows.push(("messages and replies lost", grouped(network.lost)));
        rows.push(("  doubled", grouped(network.doubled)));
        rows.push(("  held back", grouped(network.held_back)));
        rows.push(("  corrupted", grouped(network.corrupted)));
        rows.push(("  swapped for an earlier one", grouped(network.swapped)));
        rows.push(("  sent into a partition", grouped(network.partitioned)));
        rows.push(("  refused by devices as foreign", grouped(devices.foreign_replies_refused)));
        rows.push(("inverters disturbed", grouped(devices.inverter_disturbed)));
        rows.push((
            "  reads timed out, garbled, refused, broken off",
            join(&[
                inverters.timeouts,
                inverters.garbled,
                inverters.exceptions,
                inverters.unreachable,
            ]),
        ));
        rows.push(("  answers misread", grouped(inverters.misreadings)));
        if let Some(weights) = &self.weights {
            writeln!(f, "WEIGHTS OF FAULTS")?;
            for (what, often) in faults::print::rows(weights) {
                writeln!(f, "{what:<58} {often:>20}")?;
            }
            writeln!(f, "RESULTS")?;
        }
        for (what, value) in rows {
            writeln!(f, "{what:<58} {value:>20}")?;
        }
        writeln!(f, "{:<58} {:>20}", "digest", format!("{:016x}", self.digest))?;
        writeln!(f, "{:<58} {:>20}", "VIOLATIONS", grouped(self.violations_found))
    }
}

fn join(values: &[u64]) -> String {
    values.iter().map(|value| grouped(*value)).collect::<Vec<_>>().join(" / ")
}

/// Formats a number with a comma after every three digits.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(43_200_000), "43,200,000");
    }
}

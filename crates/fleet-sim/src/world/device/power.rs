//! Starts and ends of a device: in order, or by a power cut.

use ecowatt_device::Permissions;
use ecowatt_envelope::{DeviceKey, KeyId};
use ecowatt_model::UnixMs;
use ecowatt_node::storage::{Identity, Ledger, LedgerError, Recovered, StorageError};
use ecowatt_node::{NodeConfig, StartError};

use super::checks::ordinals;
use super::clock::DeviceClock;
use super::{Device, DeviceNode, Life, Running, has_no_battery};
use crate::faults::kinds::{DeviceStartFault, Fault};
use crate::judges::promises::Invariant;
use crate::time::after;
use crate::trace::What;
use crate::world::disk::Disk;
use crate::world::network::Message;

/// Factor by which boards without a battery are without power for longer than others, so that the
/// end of the previous epoch says little about the time.
const NO_BATTERY_AWAY: u64 = 30;
/// The service supervisor's pause before it restarts an agent that gave up.
const SUPERVISOR_PAUSE_MS: u64 = 10_000;

impl Device {
    pub(super) fn start(&mut self, now: UnixMs) {
        if self.disk.is_off() {
            self.disk.restart();
        }
        // The power may fail again during recovery.
        let again = Fault::DeviceStart(DeviceStartFault::PowerCutInRecovery);
        if !self.is_calm && self.weights.happens(again, &mut self.random) {
            let operations = self.random.between(1, 30);
            self.disk.cut_after(operations);
        }
        let clock = DeviceClock::at_boot(now, &mut self.random, &self.weights);
        let clock = if !self.is_calm && has_no_battery(self.index) {
            self.find_network_late(now);
            clock.without_battery()
        } else {
            clock
        };
        match clock.system_error_ms() {
            None => self.counts.clocks_unset += 1,
            Some(error) => self.counts.clocks_wrong += u64::from(error.abs() > 10_000),
        }
        let config = NodeConfig {
            spool_bytes: self.spool_bytes,
            message_bytes: self.message_bytes,
            upload_interval: self.scenario.upload_interval,
            order: self.order,
            seed: u32::try_from(self.random.below(u64::from(u32::MAX))).unwrap_or(1),
            start_tolerance: ecowatt_device::limits::START_TOLERANCE,
            log_level: None,
            permissions: Permissions {
                reboot: false,
                writes: self.scenario.commands_every.is_some(),
            },
            firmware: "ecowatt-fleet",
        };
        let started = Ledger::open(self.disk.clone())
            .map_err(StorageError::from)
            .map_err(StartError::from)
            .and_then(|ledger| {
                let setups = self.setups.clone();
                let at = || (clock.mono(now), Some(clock.system(now)));
                DeviceNode::start(&config, ledger, self.disk.clone(), setups, at)
            });
        let mut node = match started {
            Ok(node) => node,
            Err(_) if self.disk.is_off() => {
                self.counts.power_cuts_in_recovery += 1;
                self.go_off(now, true);
                return;
            }
            Err(StartError::Storage(StorageError::Ledger(LedgerError::Damaged))) => {
                let detail = "both copies of the ledger are damaged".to_owned();
                self.judge.violate(now, Invariant::DeviceStarts, detail);
                self.life = Life::Ended;
                return;
            }
            Err(error) => {
                if self.is_calm {
                    self.judge.violate(now, Invariant::DeviceStarts, format!("{error:?}"));
                    self.give_up();
                    return;
                }
                self.life = Life::Off { until: after(now, SUPERVISOR_PAUSE_MS) };
                return;
            }
        };
        self.counts.starts += 1;
        self.judge.recovered(node.report().dropped_batches);
        let epoch = node.epoch();
        let recovered = self.take_recovered(now, &mut node);
        self.check_kept(now, &node);
        let clock_error_ms = clock.system_error_ms();
        self.judge.trace.note(now, What::Started { epoch, recovered, clock_error_ms });
        self.judge.started(now, epoch, clock.birth());
        self.life = Life::On(Box::new(Running {
            node,
            epoch,
            clock,
            sent: None,
            is_stopping: false,
            ends_at: None,
        }));
    }

    /// Takes the batches that recovery made; they are of earlier epochs and already in the spool.
    pub(super) fn take_recovered(&mut self, now: UnixMs, node: &mut DeviceNode) -> u64 {
        let mut samples = 0;
        for batch in node.take_recovered() {
            samples += u64::from(batch.rows);
            self.note_recovered(now, &batch);
        }
        samples
    }

    pub(super) fn note_recovered(&mut self, now: UnixMs, batch: &Recovered) {
        let Recovered { id, source, rows, last_ordinal, .. } = *batch;
        self.judge.named(now, id);
        self.judge.truth.batched(id, source, ordinals(last_ordinal, rows));
        self.counts.recovered_samples += u64::from(rows);
    }

    /// Cuts and persists what is buffered, as far as the disk works.
    pub(super) fn persist_all(&mut self, now: UnixMs) {
        let Life::On(running) = &mut self.life else { return };
        running.node.refuse_commands();
        running.node.flush(running.clock.mono(now));
        let mut unsent = Vec::new();
        // A message built here is lost with the connection.
        self.act(now, &mut unsent);
        for message in unsent {
            self.in_flight.remove(&message.serial);
        }
    }

    pub(super) fn go_off(&mut self, now: UnixMs, is_at_step: bool) {
        let away = match self.random.below(10) {
            0 => self.random.waiting_ms(6 * 3_600_000),
            1..=3 => self.random.waiting_ms(20 * 60_000),
            _ => self.random.waiting_ms(20_000),
        };
        let away = if has_no_battery(self.index) { NO_BATTERY_AWAY * away } else { away };
        let until = after(now, away);
        let until = if now < self.scenario.calm_at() {
            until.min(self.scenario.calm_at())
        } else {
            after(now, 1_000)
        };
        self.turn_off(now, until, is_at_step);
    }

    pub(super) fn turn_off(&mut self, now: UnixMs, until: UnixMs, is_at_step: bool) {
        if !self.disk.is_off() {
            self.disk.cut();
        }
        self.counts.power_cuts += 1;
        self.life = Life::Off { until };
        for line in &mut self.lines {
            line.drop_exchange();
        }
        self.judge.trace.note(now, What::PowerCut { is_at_step });
    }

    /// Ends sampling and flushes everything; the device stops for good later.
    pub(super) fn wind_up(&mut self, now: UnixMs, out: &mut Vec<Message>) {
        let Life::On(running) = &mut self.life else { return };
        if !running.is_stopping {
            running.is_stopping = true;
            running.node.refuse_commands();
            running.node.flush(running.clock.mono(now));
            self.act(now, out);
            return;
        }
        if now < self.scenario.end() {
            return;
        }
        self.judge.last_states =
            running.node.core().sources().map(|source| (source.source, source.state)).collect();
        let report = running.node.report();
        let buffered = running.node.core().buffered();
        if report.batches > 0 || buffered > 0 {
            let detail = format!(
                "{} batches and {buffered} samples are still on the device",
                report.batches
            );
            self.judge.violate(now, Invariant::Delivered, detail);
        }
        for line in &mut self.lines {
            if let Some(limit) = line.limit(now) {
                self.judge.left(now, line.number(), limit);
            }
        }
        self.life = Life::Ended;
        self.judge.trace.note(now, What::Stopped);
    }
}

pub(super) fn enrol(disk: &Disk, kid: KeyId, key: &DeviceKey) {
    let mut ledger = Ledger::open(disk.clone()).expect("a new disk works");
    let mut record = ledger.record().clone();
    record.reserved = 1;
    record.identity = Some(Identity {
        device: kid.device.0,
        key_generation: kid.generation.0,
        claim_id: "00000".to_owned(),
        key: key.expose().to_vec(),
    });
    ledger.store(record).expect("a new disk works");
}

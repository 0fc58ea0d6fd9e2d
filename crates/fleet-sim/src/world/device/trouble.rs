//! Troubles of one device: when they begin and when they end.

use std::sync::Arc;

use ecowatt_model::UnixMs;

use super::{Device, FAR, Life, Line, is_cut_off_for_long, medium};
use crate::faults::kinds::{DeviceFault, DeviceStartFault, Fault, Occasion, OutageFault};
use crate::faults::weights::{Weights, lasting_ms};
use crate::random::Random;
use crate::streams;
use crate::time::after;
use crate::trace::What;

/// The end of a lasting trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relief {
    Disk,
    Inverters,
}

/// In millionths: how often a disturbed inverter ignores writes as well, if there are commands.
const WRITES_IGNORED: u32 = 300_000;

const HOUR_MS: u64 = 60 * 60_000;
/// How long modems are late.
const MODEM_LATE_MS: u64 = 12 * HOUR_MS;

impl Device {
    pub(super) fn next_trouble(&mut self, now: UnixMs) -> UnixMs {
        self.weights.next(Occasion::DeviceTrouble, now, &mut self.random)
    }

    /// Begins a trouble.
    pub(super) fn trouble(&mut self, now: UnixMs) {
        self.trouble_at = self.next_trouble(now);
        let fault = self.weights.pick(Occasion::DeviceTrouble, &mut self.random);
        let Fault::Device(trouble) = fault else { return };
        match trouble {
            DeviceFault::PowerCutInOperation => {
                let operations = self.random.between(1, 120);
                self.disk.cut_after(operations);
                self.judge.trace.note(now, What::Trouble("power will go in the middle of a write"));
            }
            DeviceFault::PowerCut => self.go_off(now, false),
            DeviceFault::Restart => self.restart_in_order(now),
            DeviceFault::Partition => {
                // Outages are longer where media fail, so that a backlog is on the medium when it
                // fails.
                let (long, mean) =
                    match (is_cut_off_for_long(self.index), medium::is_bad(self.index)) {
                        (true, _) => (900_000, 36),
                        (_, true) => (700_000, 6),
                        (false, false) => (150_000, 24),
                    };
                let lasting = if self.random.happens(long) {
                    self.random.waiting_ms(mean * HOUR_MS)
                } else {
                    lasting_ms(fault, &mut self.random)
                };
                self.partition(now, after(now, lasting));
            }
            DeviceFault::DiskFull => {
                self.counts.disk_full += 1;
                let room = self.disk.bytes() + self.random.below(3_000);
                self.disk.set_room(Some(room));
                self.relieve_after(now, fault, Relief::Disk);
                self.judge.trace.note(now, What::Trouble("disk is full"));
            }
            DeviceFault::DiskFailing => {
                self.counts.disk_failing += 1;
                self.disk.set_failing(true);
                self.relieve_after(now, fault, Relief::Disk);
                self.judge.trace.note(now, What::Trouble("disk fails"));
            }
            DeviceFault::InverterDisturbed => {
                self.counts.inverter_disturbed += 1;
                for line in &mut self.lines {
                    line.disturb(now, &mut self.random);
                    if let Some(random) = &mut self.ignored_writes
                        && random.happens(WRITES_IGNORED)
                    {
                        line.ignore_writes(now);
                    }
                }
                self.relieve_after(now, fault, Relief::Inverters);
                self.judge.trace.note(now, What::Trouble("inverter is disturbed"));
            }
        }
    }

    /// Begins a trouble that many devices share.
    pub(super) fn share(&mut self, now: UnixMs) {
        let trouble = self.shared[self.next_shared];
        self.next_shared += 1;
        if !trouble.concerns(self.index) {
            return;
        }
        match trouble.what {
            OutageFault::PowerCut => {
                let until = after(trouble.until.max(now), self.random.below(3_000));
                match self.life {
                    Life::On(_) => self.turn_off(now, until, false),
                    Life::Off { until: mine } => self.life = Life::Off { until: until.max(mine) },
                    Life::Ended => {}
                }
            }
            OutageFault::Partition => self.partition(now, trouble.until),
        }
    }

    pub(super) fn relieve(&mut self, now: UnixMs, relief: Relief) {
        match relief {
            Relief::Disk => {
                self.disk.set_room(None);
                self.disk.set_failing(false);
                self.judge.trace.note(now, What::Relief("disk is well"));
            }
            Relief::Inverters => {
                for line in &mut self.lines {
                    line.calm(now);
                }
                self.judge.trace.note(now, What::Relief("inverter is well"));
            }
        }
    }

    /// Ends all troubles for good.
    pub(super) fn calm(&mut self, now: UnixMs) {
        self.is_calm = true;
        self.weights = Arc::new(Weights::calm());
        self.trouble_at = FAR;
        self.medium.calm();
        self.lines.iter_mut().for_each(Line::misread_never);
        self.reliefs.clear();
        self.relieve(now, Relief::Disk);
        self.relieve(now, Relief::Inverters);
        self.disk.cut_never();
        self.network.calm();
        self.partition_until = now;
        self.next_shared = self.shared.len();
        if let Life::Off { until } = &mut self.life {
            *until = now;
        }
    }

    fn relieve_after(&mut self, now: UnixMs, fault: Fault, relief: Relief) {
        let at = after(now, lasting_ms(fault, &mut self.random));
        self.next_relief += 1;
        self.reliefs.insert((at, self.next_relief), relief);
    }

    /// Lets the modem of a board without a battery come up late, usually with only time servers
    /// reachable.
    pub(super) fn find_network_late(&mut self, now: UnixMs) {
        let mut modem = Random::new(now.0.cast_unsigned(), streams::MODEM);
        if self.weights.happens(Fault::DeviceStart(DeviceStartFault::ModemLate), &mut modem) {
            self.partition(now, after(now, modem.waiting_ms(MODEM_LATE_MS)));
        }
    }

    fn partition(&mut self, now: UnixMs, until: UnixMs) {
        self.counts.partitions += 1;
        self.partition_until = self.partition_until.max(until);
        self.judge.trace.note(now, What::Trouble("no way to the server"));
    }

    /// Restarts the device in order, as a supervisor does: buffers are persisted, the epoch ends.
    pub(super) fn restart_in_order(&mut self, now: UnixMs) {
        let Life::On(_) = &self.life else { return };
        self.persist_all(now);
        if !matches!(self.life, Life::On(_)) {
            return;
        }
        let Life::On(running) =
            std::mem::replace(&mut self.life, Life::Off { until: after(now, 2_000) })
        else {
            return;
        };
        for line in &mut self.lines {
            line.drop_exchange();
        }
        // If the disk fails here, the next start is an unclean one.
        let _ = running.node.stop();
        if self.disk.is_off() {
            self.turn_off(now, after(now, 20_000), true);
            return;
        }
        self.counts.stops += 1;
        self.judge.trace.note(now, What::Stopped);
    }
}

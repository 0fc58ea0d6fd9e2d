//! What devices of the earlier EcoWatt say of themselves without a proof: their firmware, recoveries
//! from faults, reports of energy, diagnostics.
//!
//! It is held in memory, and the newest of it is stored with the device's next upload, which has a
//! proof and a commit anyway: so it costs no write of its own, and stops with the device.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::Diagnostic;
use serde_json::Value;

/// Devices of which remarks are held, at most some 8 KiB each; beyond that all are forgotten.
const DEVICES_MAX: usize = 4_096;

/// Remarks of one kind that are held of a device, for operators who look at once.
const REMARKS_MAX: usize = 10;

/// Longest text that is kept of what a device says.
const TEXT_CHARS_MAX: usize = 127;

/// Longest diagnostics that are kept.
pub(crate) const DIAGNOSTICS_BYTES_MAX: usize = 2_048;

/// A recovery from a fault of the inverter's bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Seconds, by the device's clock.
    pub(crate) at_s: i64,
    pub(crate) fault: String,
    pub(crate) action: String,
    pub(crate) is_success: bool,
    pub(crate) details: String,
    pub(crate) retries: u64,
}

/// What a device claims to have saved; the firmware calculates it from constants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PowerReport {
    pub(crate) at: UnixMs,
    pub(crate) is_enabled: bool,
    pub(crate) techniques: u8,
    /// Absent where the firmware divided by zero.
    pub(crate) average_ma: Option<f64>,
    pub(crate) saved_mah: Option<f64>,
    pub(crate) peripheral_saved_mah: Option<f64>,
    pub(crate) uptime_ms: u64,
    /// Time in high, normal and low power and in sleep.
    pub(crate) modes_ms: [u64; 4],
}

/// The remarks of one device, the newest last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remarks {
    pub(crate) firmware: Option<String>,
    pub(crate) recoveries: VecDeque<Recovery>,
    /// Recoveries since the server started, and those of them that failed.
    pub(crate) recovered: u64,
    pub(crate) failed: u64,
    pub(crate) power: VecDeque<PowerReport>,
    pub(crate) diagnostics: VecDeque<Value>,
    /// Whether the next upload is to store something.
    is_new: bool,
}

/// Holds the remarks of all devices.
#[derive(Debug, Default)]
pub(crate) struct OriginalRemarks(Mutex<HashMap<DeviceNumber, Remarks>>);

/// Shortens a text, and replaces what a terminal would not show.
pub(crate) fn plain_text(text: &str) -> String {
    let plain = |c| if ecowatt_model::is_plain(c) { c } else { '\u{fffd}' };
    text.chars().take(TEXT_CHARS_MAX).map(plain).collect()
}

impl OriginalRemarks {
    /// Notes something of a device.
    pub(crate) fn note(&self, device: DeviceNumber, note: impl FnOnce(&mut Remarks)) {
        let mut all = self.lock();
        if all.len() >= DEVICES_MAX && !all.contains_key(&device) {
            all.clear();
        }
        let remarks = all.entry(device).or_default();
        note(remarks);
        remarks.is_new = true;
    }

    /// Returns what is held of a device.
    pub(crate) fn of(&self, device: DeviceNumber) -> Remarks {
        self.lock().get(&device).cloned().unwrap_or_default()
    }

    /// Returns what the next upload of a device is to store, if anything is new.
    pub(super) fn take_new(&self, device: DeviceNumber) -> Option<Remarks> {
        let mut all = self.lock();
        let remarks = all.get_mut(&device).filter(|remarks| remarks.is_new)?;
        remarks.is_new = false;
        Some(remarks.clone())
    }

    /// Leaves to the next upload what this one did not store.
    pub(super) fn keep(&self, device: DeviceNumber) {
        if let Some(remarks) = self.lock().get_mut(&device) {
            remarks.is_new = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceNumber, Remarks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= REMARKS_MAX {
        list.pop_front();
    }
    list.push_back(item);
}

impl Remarks {
    pub(crate) fn runs(&mut self, firmware: &str) {
        self.firmware = Some(plain_text(firmware));
    }

    pub(crate) fn recovered_from(&mut self, recovery: Recovery) {
        let count = if recovery.is_success { &mut self.recovered } else { &mut self.failed };
        *count = count.saturating_add(1);
        push(&mut self.recoveries, recovery);
    }

    pub(crate) fn saved(&mut self, report: PowerReport) {
        push(&mut self.power, report);
    }

    pub(crate) fn diagnosed(&mut self, diagnostics: Value) {
        push(&mut self.diagnostics, diagnostics);
    }

    /// Returns values for the device's diagnostics.
    pub(super) fn values(&self) -> Vec<Diagnostic> {
        let mut values = Vec::new();
        let mut add = |name: &str, value: String| values.push(Diagnostic::new(name, value));
        if let Some(last) = self.recoveries.back() {
            add("faults_recovered", self.recovered.to_string());
            add("faults_not_recovered", self.failed.to_string());
            add("last_fault", last.fault.clone());
        }
        if let Some(last) = self.power.back() {
            add("power_saving", last.is_enabled.to_string());
            add("uptime_ms", last.uptime_ms.to_string());
            // Calculated from constants by the firmware, so the name says who claims it.
            if let Some(average) = last.average_ma {
                add("claimed_average_ma", format!("{average:.2}"));
            }
        }
        if let Some(Value::Object(last)) = self.diagnostics.back() {
            for name in ["free_heap", "wifi_rssi", "uptime_seconds", "last_upload_status"] {
                match last.get(name) {
                    Some(Value::String(text)) => add(name, plain_text(text)),
                    Some(Value::Number(number)) => add(name, number.to_string()),
                    _ => {}
                }
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_taken_once() {
        let remarks = OriginalRemarks::default();
        let device = DeviceNumber(1);
        let recovery = |at_s| Recovery {
            at_s,
            fault: "crc_error".into(),
            action: "retry_read".into(),
            is_success: at_s % 2 == 0,
            details: String::new(),
            retries: 1,
        };
        assert!(remarks.take_new(device).is_none());
        for at_s in 0..25 {
            remarks.note(device, |remarks| remarks.recovered_from(recovery(at_s)));
        }
        let taken = remarks.take_new(device).unwrap();
        assert!(remarks.take_new(device).is_none());
        assert_eq!((taken.recovered, taken.failed), (13, 12));
        assert_eq!(taken.recoveries.len(), REMARKS_MAX);
        assert_eq!(taken.recoveries.back().unwrap().at_s, 24);
        assert_eq!(taken.values()[0], Diagnostic::new("faults_recovered", "13"));
        assert_eq!(plain_text(&"\u{1b}[31m".repeat(100)).chars().count(), TEXT_CHARS_MAX);
        assert!(!plain_text("\u{1b}[31m").contains('\u{1b}'));
        for other in 0..u32::try_from(DEVICES_MAX).unwrap() + 5 {
            remarks.note(DeviceNumber(other), |remarks| remarks.runs("1"));
        }
        assert!(remarks.lock().len() <= DEVICES_MAX);
    }
}

//! What the original's server can change on its devices.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::registers;

/// Settings in use, kept across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) sampling_s: u32,
    pub(super) upload_s: u32,
    pub(super) config_poll_s: u32,
    pub(super) command_poll_s: u32,
    /// In ascending order, without repetition, at least one.
    pub(super) registers: Vec<u8>,
}

/// Defaults of the firmware for what the agent's file does not set.
const CONFIG_POLL_S: u32 = 5;
const COMMAND_POLL_S: u32 = 10;

/// Keys that a device of the original takes and this one has no use for: it always compresses, and
/// manages neither power nor updates on the server's behalf.
const WITHOUT_EFFECT: [&str; 4] =
    ["compression_enabled", "power_management", "energy_poll_interval", "firmware_check_interval"];

impl Settings {
    pub(super) fn new(sampling_s: u32, upload_s: u32) -> Self {
        Self {
            sampling_s,
            upload_s,
            config_poll_s: CONFIG_POLL_S,
            command_poll_s: COMMAND_POLL_S,
            registers: registers::all(),
        }
    }

    /// Returns the settings after a change, or why it is refused as a whole.
    pub(super) fn changed(&self, update: &Map<String, Value>) -> Result<Self, String> {
        let mut settings = self.clone();
        for (key, value) in update {
            match key.as_str() {
                "sampling_interval" => settings.sampling_s = seconds(key, value, 300)?,
                "upload_interval" => settings.upload_s = seconds(key, value, 3_600)?,
                "config_poll_interval" => settings.config_poll_s = seconds(key, value, 300)?,
                "command_poll_interval" => settings.command_poll_s = seconds(key, value, 300)?,
                "registers" => settings.registers = selection(value)?,
                key if WITHOUT_EFFECT.contains(&key) => {}
                _ => return Err("a setting is unknown".to_owned()),
            }
        }
        Ok(settings)
    }

    /// The body of the report at the start.
    pub(super) fn report(&self, now_s: i64) -> Value {
        let names: Vec<&str> = self.registers.iter().map(|it| registers::name(*it)).collect();
        serde_json::json!({
            "sampling_interval": self.sampling_s,
            "upload_interval": self.upload_s,
            "config_poll_interval": self.config_poll_s,
            "command_poll_interval": self.command_poll_s,
            "compression_enabled": true,
            "power_management": power_management(),
            "registers": names,
            "timestamp": now_s,
        })
    }
}

/// What every report says of power: nothing is managed.
pub(super) fn power_management() -> Value {
    serde_json::json!({ "enabled": false, "techniques": "0x00" })
}

fn seconds(key: &str, value: &Value, most: u32) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| format!("{key} must be an integer between 1 and {most} seconds"))
}

fn selection(value: &Value) -> Result<Vec<u8>, String> {
    let wrong = || "registers must be a list of names of registers".to_owned();
    let names = value.as_array().filter(|names| !names.is_empty()).ok_or_else(wrong)?;
    let number = |name: &Value| name.as_str().and_then(registers::number).ok_or_else(wrong);
    let mut numbers = names.iter().map(number).collect::<Result<Vec<u8>, String>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_taken_as_a_whole_or_refused() {
        let before = Settings::new(5, 15);
        let changed = |update: Value| before.changed(update.as_object().unwrap());
        let update = json!({
            "sampling_interval": 2, "registers": ["Pac", "Vac1", "Pac"], "compression_enabled": false,
        });
        let after = changed(update).unwrap();
        assert_eq!((after.sampling_s, after.upload_s, after.registers), (2, 15, vec![0, 9]));
        for bad in [
            json!({ "sampling_interval": 0 }),
            json!({ "sampling_interval": 301 }),
            json!({ "sampling_interval": true }),
            json!({ "upload_interval": "15" }),
            json!({ "upload_interval": 10, "registers": [] }),
            json!({ "registers": ["Vac1", "battery"] }),
            json!({ "wifi_password": "x" }),
        ] {
            assert!(changed(bad.clone()).is_err(), "{bad}");
        }
    }
}

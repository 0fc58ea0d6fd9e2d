//! The canonical names of points, so that the same quantity has the same name on every inverter.
//!
//! `{n}` stands for a number from 1. Names without a canonical form start with `x.`.

/// Active power fed to the grid, W.
pub const AC_POWER: &str = "ac.power";
/// Apparent power, VA.
pub const AC_APPARENT: &str = "ac.apparent";
/// Reactive power, var.
pub const AC_REACTIVE: &str = "ac.reactive";
/// Power factor.
pub const AC_POWER_FACTOR: &str = "ac.pf";
/// Current of all phases combined, A.
pub const AC_CURRENT: &str = "ac.current";
/// Grid frequency, Hz.
pub const AC_FREQUENCY: &str = "ac.frequency";
/// Energy over the inverter's life, Wh.
pub const AC_ENERGY_TOTAL: &str = "ac.energy.total";
/// Energy of the inverter's own day, Wh; only a cross-check, since its clock is not ours.
pub const AC_ENERGY_DAY: &str = "ac.energy.day";
/// Power of all strings, W.
pub const PV_POWER: &str = "pv.power";
/// State reported by the inverter.
pub const STATE: &str = "state";
/// Temperature inside the case, °C.
pub const TEMP_INTERNAL: &str = "temp.internal";
/// Temperature of the heat sink, °C.
pub const TEMP_HEATSINK: &str = "temp.heatsink";
/// Limit of the active power, % of the rated power.
pub const CONTROL_P_LIMIT: &str = "control.p_limit";
/// Whether the limit is in force.
pub const CONTROL_LIMIT_ON: &str = "control.limit_on";
/// Manufacturer.
pub const INFO_VENDOR: &str = "info.vendor";
/// Model.
pub const INFO_MODEL: &str = "info.model";
/// Serial number.
pub const INFO_SERIAL: &str = "info.serial";
/// Firmware version.
pub const INFO_FIRMWARE: &str = "info.firmware";
/// Rated power, W.
pub const INFO_RATED_POWER: &str = "info.rated_power";

/// Every canonical name and pattern.
pub const CANONICAL: &[&str] = &[
    AC_POWER,
    AC_APPARENT,
    AC_REACTIVE,
    AC_POWER_FACTOR,
    AC_CURRENT,
    AC_FREQUENCY,
    AC_ENERGY_TOTAL,
    AC_ENERGY_DAY,
    "ac.l{n}.voltage",
    "ac.l{n}.current",
    "ac.l{n}.power",
    PV_POWER,
    "pv.{n}.voltage",
    "pv.{n}.current",
    "pv.{n}.power",
    "pv.{n}.energy",
    STATE,
    TEMP_INTERNAL,
    TEMP_HEATSINK,
    "alarm.{n}",
    CONTROL_P_LIMIT,
    CONTROL_LIMIT_ON,
    INFO_VENDOR,
    INFO_MODEL,
    INFO_SERIAL,
    INFO_FIRMWARE,
    INFO_RATED_POWER,
];

/// Whether a point may have this name: canonical, or vendor-specific under `x.`.
#[must_use]
pub fn is_allowed(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'_';
    if let Some(own) = name.strip_prefix("x.") {
        return !own.is_empty() && own.bytes().all(is_plain);
    }
    CANONICAL.iter().any(|pattern| matches(pattern, name))
}

/// Whether this is the voltage of a string: `pv.1.voltage` and so on.
#[must_use]
pub fn is_pv_voltage(name: &str) -> bool {
    matches("pv.{n}.voltage", name)
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once("{n}") else { return pattern == name };
    let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    number.is_some_and(|digits| {
        (1..=2).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_and_vendor_names_are_allowed() {
        for good in ["ac.power", "pv.1.voltage", "pv.12.voltage", "ac.l3.current", "x.acme.fan_2"] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["power", "pv.0.voltage", "pv.01.voltage", "pv.x.voltage", "pv..voltage", "x."] {
            assert!(!is_allowed(bad), "{bad}");
        }
        assert!(is_pv_voltage("pv.2.voltage"));
        assert!(!is_pv_voltage("pv.2.current"));
    }
}

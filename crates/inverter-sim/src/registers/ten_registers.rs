//! The ten holding registers of the original's simulator (`profiles/ecowatt-seed.toml`).

use ecowatt_modbus::ExceptionCode;

use super::RegisterRange;
use crate::physics::plant::Reading;
use crate::scale::{to_i16_bits, to_u16};

/// The export limit in per cent: the only register that may be written.
pub(crate) const LIMIT: u16 = 8;

const LIMIT_MAX: u16 = 100;

pub(crate) fn image(reading: &Reading) -> RegisterRange {
    let string = |index: usize| reading.strings.get(index);
    let pv_volts = |index| string(index).map_or(0, |s| to_u16(s.volts, 10.0));
    let pv_amps = |index| string(index).map_or(0, |s| to_u16(s.amps, 10.0));
    let words = vec![
        to_u16(reading.ac_v[0], 10.0),
        to_u16(reading.ac_a, 10.0),
        to_u16(reading.hz, 100.0),
        pv_volts(0),
        pv_volts(1),
        pv_amps(0),
        pv_amps(1),
        to_i16_bits(reading.internal_c, 10.0),
        // The ordered limit, not the ramp's current value: a master reads back what it wrote.
        to_u16(reading.limit_target_pct, 1.0),
        // The register is unsigned; power drawn at night is not shown.
        u16::try_from(reading.ac_w.max(0)).unwrap_or(u16::MAX),
    ];
    RegisterRange { first: 0, words }
}

/// Returns the limit that a write requests.
pub(crate) fn limit(address: u16, values: &[u16]) -> Result<u16, ExceptionCode> {
    match (address, values) {
        (LIMIT, [value]) if *value <= LIMIT_MAX => Ok(*value),
        (LIMIT, [_]) => Err(ExceptionCode::IllegalDataValue),
        _ => Err(ExceptionCode::IllegalDataAddress),
    }
}

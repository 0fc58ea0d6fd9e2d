//! How long RTU bytes take and how long the line must be silent between frames (SL 2.5.1.1).

use core::time::Duration;

/// Above this speed the silence is fixed (SL 2.5.1.1).
const VARIABLE_SILENCE_BAUD_MAX: u32 = 19_200;

/// The fixed silence above 19,200 Bd (SL 2.5.1.1).
const FIXED_SILENCE: Duration = Duration::from_micros(1_750);

/// Silence that separates two RTU frames: 3.5 characters, or 1.75 ms above 19,200 Bd.
///
/// `bits_per_char` counts start, parity and stop bits: 10 for 8N1, 11 for 8E1 and 8N2.
#[must_use]
pub fn inter_frame_silence(baud: u32, bits_per_char: u8) -> Duration {
    if baud > VARIABLE_SILENCE_BAUD_MAX {
        return FIXED_SILENCE;
    }
    // 3.5 characters are seven half characters.
    micros_for_bits(7 * u64::from(bits_per_char), 2, baud)
}

/// Time that `bytes` take on the line, with no gaps between them.
#[must_use]
pub fn time_on_wire(bytes: usize, baud: u32, bits_per_char: u8) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    micros_for_bits(bytes.saturating_mul(u64::from(bits_per_char)), 1, baud)
}

/// `bits / divisor` bit times, rounded up to a microsecond; speed 0 counts as 1 Bd.
fn micros_for_bits(bits: u64, divisor: u64, baud: u32) -> Duration {
    let micros = bits.saturating_mul(1_000_000).div_ceil(divisor * u64::from(baud.max(1)));
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_follows_the_speed_up_to_19200() {
        assert_eq!(inter_frame_silence(9_600, 11), Duration::from_micros(4_011));
        assert_eq!(inter_frame_silence(9_600, 10), Duration::from_micros(3_646));
        assert_eq!(inter_frame_silence(19_200, 11), Duration::from_micros(2_006));
        assert_eq!(inter_frame_silence(19_201, 11), Duration::from_micros(1_750));
        assert_eq!(inter_frame_silence(115_200, 10), Duration::from_micros(1_750));
    }

    #[test]
    fn time_on_the_wire_counts_every_bit() {
        assert_eq!(time_on_wire(96, 9_600, 10), Duration::from_millis(100));
        assert_eq!(time_on_wire(0, 9_600, 10), Duration::ZERO);
        assert!(time_on_wire(usize::MAX, 0, 11) > Duration::from_secs(1));
    }
}

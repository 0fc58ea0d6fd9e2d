//! When the samples of a packet were taken.
//!
//! An upload has the time of sending in seconds; a packet has the time of its last sample in
//! milliseconds, of which only the lower 32 bits arrive. Together they name one instant. The
//! original's server took the time of sending for that of the first sample instead, so its rows ran
//! into the future and a packet that was sent twice was stored at two times.

use alloc::vec::Vec;

/// 2020-01-01T00:00:00Z. A device whose clock is before that counts from its start.
const EARLIEST_MS: i64 = 1_577_836_800_000;

/// A sample may be this much later than the second in which it was sent: the second was cut, and
/// the device stamps both within one period.
const LATER_MAX_MS: i64 = 60_000;

/// A packet may wait so long on the device: 20 packets, one an hour at the slowest, leave a day and
/// a half for its radio.
const WAIT_MAX_MS: i64 = 2 * 24 * 3_600_000;

/// Distance of samples that are less than a second apart, which arrives as 0: the shortest that the
/// device honours. Their order is right, and they lie too close together.
const STEP_MIN_MS: i64 = 100;

/// What an upload says of its time.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// Seconds by the device's clock; since 1970, or since its start if it never learned the time.
    pub sent_s: Option<i64>,
    /// Seconds between samples; 0 if there is less than one.
    pub interval_s: u32,
    /// Milliseconds since 1970 by the server's clock.
    pub received_ms: i64,
}

/// How the times of a packet were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dating {
    /// By the device's clock.
    Device,
    /// By the time since the device's start, and the server's clock.
    SinceStart,
    /// The packet has no usable time of its own, or its samples are closer than a second.
    Estimated,
}

/// The times of a packet's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Milliseconds since 1970.
    pub last_ms: i64,
    pub step_ms: i64,
    pub dating: Dating,
}

impl Sending {
    /// Finds the times of a packet of `rows` samples. `low_ms` is what arrives of its own time.
    /// Packets without a time of their own follow one another from the time of sending, so the caller
    /// moves `sent_s` on by what came before such a packet.
    #[must_use]
    pub fn times(&self, low_ms: Option<u32>, rows: usize) -> Times {
        let step_ms = match i64::from(self.interval_s) {
            0 => STEP_MIN_MS,
            seconds => seconds * 1000,
        };
        let sent_ms = self.sent_s.and_then(|seconds| seconds.checked_mul(1000));
        let sent_ms = sent_ms.filter(|sent| (0..i64::MAX / 2).contains(sent));
        let span_ms =
            i64::try_from(rows).unwrap_or_default().saturating_sub(1).saturating_mul(step_ms);
        let (last_ms, dating) = match (sent_ms, low_ms) {
            (None, _) => (self.received_ms, Dating::Estimated),
            // Only programs send packets without a time, and they mean the first sample.
            (Some(sent), None) if sent >= EARLIEST_MS => {
                (sent.saturating_add(span_ms), Dating::Estimated)
            }
            (Some(_), None) => (self.received_ms, Dating::Estimated),
            (Some(sent), Some(low)) => {
                let own = nearest(low, sent);
                let is_usable = (sent - WAIT_MAX_MS..=sent + LATER_MAX_MS).contains(&own);
                let (own, dating) =
                    if is_usable { (own, Dating::Device) } else { (sent, Dating::Estimated) };
                if sent >= EARLIEST_MS {
                    (own, dating)
                } else {
                    let since_start = if is_usable { Dating::SinceStart } else { dating };
                    (self.received_ms.saturating_sub(sent).saturating_add(own), since_start)
                }
            }
        };
        let dating = if self.interval_s == 0 { Dating::Estimated } else { dating };
        Times { last_ms, step_ms, dating }
    }
}

impl Times {
    /// Returns the time of each of `rows` samples.
    #[must_use]
    pub fn rows(&self, rows: usize) -> Vec<i64> {
        let rows = i64::try_from(rows).unwrap_or_default();
        (0..rows)
            .map(|row| self.last_ms.saturating_sub((rows - 1 - row).saturating_mul(self.step_ms)))
            .collect()
    }
}

/// Returns the instant with these lower 32 bits that is nearest to another.
fn nearest(low: u32, to: i64) -> i64 {
    let distance = low.wrapping_sub(lower(to)).cast_signed();
    to.saturating_add(i64::from(distance))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the lower half is meant"
)]
fn lower(instant: i64) -> u32 {
    instant as u32
}

//! What a server remembers of a device between uploads, to be stored with what an upload brings.
//!
//! A device sends packets again under another nonce when it had no answer, in other groups and
//! behind newer ones. [`Memory`] recognises them by their digests, and knows whether a delta's
//! predecessors are complete.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::{History, PacketError, Shape, Times, VALUES_MAX};

/// Digests remembered. A device queues 20 packets, drains at most 8 at once and puts those without
/// an answer behind the others. So fewer than 40 packets are accepted between two sendings of one.
const DIGESTS_MAX: usize = 64;

/// Length of a digest that is kept: half of SHA-256, which a device could only collide with itself.
pub const DIGEST_BYTES: usize = 16;

/// First byte of the stored form.
const FORMAT: u8 = 1;

/// Identifies a packet among those of its device.
pub type PacketDigest = [u8; DIGEST_BYTES];

/// What is remembered of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    history: History,
    /// Time of the last sample of the packet that was added to the history last.
    last_ms: Option<i64>,
    digests: VecDeque<PacketDigest>,
}

impl Memory {
    /// Returns whether a packet was taken before. It is remembered as the newest then, because the
    /// device may send it once more.
    pub fn repeats(&mut self, digest: &PacketDigest) -> bool {
        let Some(place) = self.digests.iter().position(|known| known == digest) else {
            return false;
        };
        self.digests.remove(place);
        self.digests.push_back(*digest);
        true
    }

    /// Restores a packet and remembers it, also if it cannot be restored: sent again, it would be
    /// the same.
    ///
    /// # Errors
    /// Fails unless every value is exactly what the device read.
    pub fn take(
        &mut self,
        digest: PacketDigest,
        packet: &[u8],
        shape: &Shape<'_>,
        times_of: impl Fn(usize) -> Times,
    ) -> Result<Vec<u16>, PacketError> {
        while self.digests.len() >= DIGESTS_MAX {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
        let rows = shape.samples.or_else(|| rows_of(packet, shape)).unwrap_or_default();
        let times = times_of(rows);
        if !self.is_next(times, rows) {
            // An older packet arrives late: what it would be the base of was refused already.
            if self.last_ms.is_some_and(|last| times.last_ms <= last) {
                return shape.decode(packet, &History::default());
            }
            self.history.forget();
        }
        let decoded = shape.decode(packet, &self.history);
        match &decoded {
            Ok(values) => self.history.add(shape.registers, values),
            Err(_) => self.history.forget(),
        }
        self.last_ms = Some(times.last_ms);
        decoded
    }

    /// Whether a packet begins where the last one ended. A packet holds every sample since the one
    /// before it, so another packet between them leaves at least one interval more.
    fn is_next(&self, times: Times, rows: usize) -> bool {
        let Some(last) = self.last_ms else { return true };
        let rows = i64::try_from(rows).unwrap_or_default();
        let gap = times.last_ms.saturating_sub(last);
        // Half an interval for a sample that was late.
        let own = rows.saturating_mul(times.step_ms).saturating_add(times.step_ms / 2);
        gap > 0 && gap < own
    }

    /// Returns the form to be stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + 9 + DIGESTS_MAX * DIGEST_BYTES);
        out.extend([FORMAT, u8::from(self.last_ms.is_some())]);
        out.extend(self.last_ms.unwrap_or_default().to_le_bytes());
        self.history.write(&mut out);
        self.digests.iter().for_each(|digest| out.extend(digest));
        out
    }

    /// Reads the stored form; none if it is not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[format, has_last], rest) = bytes.split_first_chunk()?;
        if format != FORMAT || has_last > 1 {
            return None;
        }
        let (last_ms, rest) = rest.split_first_chunk()?;
        let last_ms = (has_last == 1).then(|| i64::from_le_bytes(*last_ms));
        let (history, rest) = History::read(rest)?;
        let (digests, rest) = rest.as_chunks();
        if !rest.is_empty() || digests.len() > DIGESTS_MAX {
            return None;
        }
        Some(Self { history, last_ms, digests: digests.iter().copied().collect() })
    }
}

/// Returns the samples of a packet by its own count; none beyond 255 values.
fn rows_of(packet: &[u8], shape: &Shape<'_>) -> Option<usize> {
    // 0x01 and 0xBF have the width of a value before the count.
    let place = if matches!(packet.first()?, 0x01 | 0xbf) { 2 } else { 1 };
    let rows = usize::from(*packet.get(place)?).checked_div(shape.registers.len())?;
    Some(rows).filter(|rows| *rows <= VALUES_MAX)
}

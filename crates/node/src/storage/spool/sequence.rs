//! The sequence numbers of batches: those that a boot epoch assigns, and those of recovery.
//!
//! A batch of recovered samples belongs to the epoch that took them. It is uncertain which numbers
//! that epoch had used: a damaged medium may have destroyed its last batches after the server took
//! them. So recovery uses a range of its own, and each start that recovers begins its own series in
//! it. No id is then used for two batches, whatever was destroyed.

use ecowatt_model::{BatchId, BootEpoch, Sequence};

/// The first number that no epoch reaches by itself: with one batch a second that takes 68 years.
const RECOVERED: u32 = 1 << 31;
/// Numbers in one series: more than the batches in the full journals of all inverters.
const LEN: u32 = 1 << 12;

/// The first number for the batches of earlier epochs that the start of epoch `by` recovers. Series
/// repeat after half a million starts; no journal waits that long.
pub(super) fn first_recovered(by: BootEpoch) -> Sequence {
    Sequence(RECOVERED | (by.0.wrapping_mul(LEN) % RECOVERED))
}

/// The first id of a batch's series.
pub(super) fn first(id: BatchId) -> BatchId {
    let first = if id.sequence.0 < RECOVERED { 1 } else { id.sequence.0 / LEN * LEN };
    BatchId { sequence: Sequence(first), ..id }
}

/// Whether two batches are in the same series; batches of different epochs never are.
pub(super) fn is_one(one: BatchId, other: BatchId) -> bool {
    first(one) == first(other)
}

#[cfg(test)]
mod tests {
    use ecowatt_device::batch_rows_max;
    use ecowatt_device::limits::MESSAGE_BYTES_MIN;
    use ecowatt_model::{COLUMNS_MAX, SOURCES_MAX};

    use super::*;
    use crate::storage::draft;

    #[test]
    fn a_series_has_numbers_for_all_that_journals_hold() {
        for columns in 1..=COLUMNS_MAX {
            let batches =
                draft::samples_max(columns).div_ceil(batch_rows_max(columns, MESSAGE_BYTES_MIN));
            assert!(SOURCES_MAX * batches < usize::try_from(LEN).unwrap(), "{columns}: {batches}");
        }
    }

    #[test]
    fn each_start_that_recovers_has_a_series_apart() {
        let id = |sequence| BatchId { epoch: BootEpoch(7), sequence };
        let of = |by| id(first_recovered(BootEpoch(by)));
        let own = [id(Sequence(1)), id(Sequence(RECOVERED - 1))];
        let last = BatchId { sequence: Sequence(of(9).sequence.0 + LEN - 1), ..of(9) };
        assert!(is_one(own[0], own[1]) && is_one(of(9), last));
        let begins = [own[0], of(8), of(9), of(10)];
        assert!(begins.is_sorted() && begins.iter().all(|begin| first(*begin) == *begin));
        assert!(begins.windows(2).all(|pair| !is_one(pair[0], pair[1])));
        assert_eq!(of(8 + (RECOVERED / LEN)), of(8));
    }
}

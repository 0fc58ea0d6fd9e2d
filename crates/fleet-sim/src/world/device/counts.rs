//! Counts of what happened to a device and what it did.

/// Counts of what happened to a device and what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceCounts {
    pub starts: u64,
    pub stops: u64,
    pub power_cuts: u64,
    pub power_cuts_at_step: u64,
    pub power_cuts_in_recovery: u64,
    pub partitions: u64,
    pub disk_full: u64,
    pub disk_failing: u64,
    pub inverter_disturbed: u64,
    pub clocks_unset: u64,
    pub clocks_wrong: u64,
    /// Messages built, including those for which there was no connection.
    pub messages: u64,
    /// Bytes of messages sent, including the seal but not HTTP and the layers below.
    pub bytes: u64,
    pub batches: u64,
    /// Batches that were sent more than once.
    pub resent: u64,
    pub recovered_samples: u64,
    /// Samples that were only in memory when the power failed, or that no storage could take.
    pub not_durable: u64,
    pub backlog_max: u64,
    pub memory_max_bytes: u64,
    /// Replies to other messages than the current one, or without a current one.
    pub foreign_replies_refused: u64,
}

impl DeviceCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.starts += other.starts;
        self.stops += other.stops;
        self.power_cuts += other.power_cuts;
        self.power_cuts_at_step += other.power_cuts_at_step;
        self.power_cuts_in_recovery += other.power_cuts_in_recovery;
        self.partitions += other.partitions;
        self.disk_full += other.disk_full;
        self.disk_failing += other.disk_failing;
        self.inverter_disturbed += other.inverter_disturbed;
        self.clocks_unset += other.clocks_unset;
        self.clocks_wrong += other.clocks_wrong;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.batches += other.batches;
        self.resent += other.resent;
        self.recovered_samples += other.recovered_samples;
        self.not_durable += other.not_durable;
        self.backlog_max = self.backlog_max.max(other.backlog_max);
        self.memory_max_bytes = self.memory_max_bytes.max(other.memory_max_bytes);
        self.foreign_replies_refused += other.foreign_replies_refused;
    }
}

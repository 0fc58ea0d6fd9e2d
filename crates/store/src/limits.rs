//! Every limit of the store.

use std::time::Duration;

/// Requests that may wait for the writer; further ones are answered `Busy`.
pub const WRITE_QUEUE_MAX: usize = 4096;

/// Requests that share one commit. Larger groups save little: at 512 the fsync is a small part.
pub const GROUP_MAX: usize = 512;

/// Queries that may wait for a reader; further ones are answered `Busy`.
pub const READ_QUEUE_MAX: usize = 1024;

/// Look-ups of single rows that may wait; further ones are answered `Busy`. Each takes some 20 us.
pub const LOOK_UP_QUEUE_MAX: usize = 1024;

/// Look-ups of keys among them; further ones wait for a permit.
pub const KEY_LOOK_UPS_MAX: usize = LOOK_UP_QUEUE_MAX / 2;

/// Keys remembered not to exist, so that asking for them again costs no query.
pub const ABSENT_KEYS_MAX: usize = 16_384;

/// Connections that read lists and charts.
pub const READERS: usize = 2;

/// Size of a page of a new database. An upload changes one row on each of five pages, so smaller
/// pages mean less to write; at 1 KiB a batch of 180 samples would fill pages of its own.
pub(crate) const PAGE_BYTES: u32 = 2048;

/// Pages that a backup copies between two checks whether it was cancelled: 16 MiB.
pub(crate) const BACKUP_STEP_PAGES: std::ffi::c_int = 8192;

/// How long a claim is kept after it has expired, in milliseconds: a week.
pub const CLAIM_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// Ranges of received sequences per boot epoch. A device that sends newest first after a long
/// outage makes two. Holes that the device has reported as lost do not count.
pub const RECEIVED_RANGES_MAX: usize = 64;

/// Ranges of lost sequences per boot epoch. A full spool loses its oldest end, which is one; each
/// damage to a device's disk makes one more. Further reported losses are not counted.
pub const LOST_RANGES_MAX: usize = 256;

/// Streams that a device may announce under one key: 8 inverters with a layout change each month
/// for 10 years.
pub const STREAMS_PER_KEY_MAX: u32 = 1024;

/// Distinct points that the layouts of one inverter may have under one key: four layouts of the
/// greatest width that have no point in common. Each batch is merged with the quarter hour of all of
/// them, whose row is then some 100 KB at most.
pub const POINTS_PER_SOURCE_MAX: usize = 512;

/// Distinct points, counted by inverter, that a device may announce under one key: 8 inverters with
/// 128 points each, and as many again when their profile changes. They take some 2 MiB of
/// [`STATES_BYTES_MAX`].
pub const POINTS_PER_KEY_MAX: usize = 2048;

/// Boot epochs that a device may be in under one key: one start per second for half a year. A
/// stolen key can use up these and no others.
pub const EPOCHS_PER_KEY: u32 = 1 << 24;

/// Tokens, including expired ones.
pub const TOKENS_MAX: usize = 1000;

/// Browser sessions of one token; a further one replaces the oldest.
pub const SESSIONS_PER_TOKEN_MAX: usize = 32;

/// Most outstanding claim codes that are listed, newest first.
pub const CLAIMS_LISTED_MAX: usize = 1000;

/// Rows and bytes of blocks after which a query stops.
pub const BLOCK_ROWS_PER_QUERY: u32 = 32_768;
pub const BLOCK_BYTES_PER_QUERY: usize = 2 * 1024 * 1024;

/// Rows and bytes of blocks that go into one pack, which is a commit: a day with a sample every 3
/// s. Deleting that many blocks takes the writer some 10 ms.
pub const PACK_ROWS_MAX: u32 = 28_800;
pub const PACK_BYTES_MAX: usize = 1024 * 1024;

/// Edges of one pack: more than a batch a second for a day.
pub(crate) const EDGES_PER_PACK_MAX: u32 = 100_000;

/// Most inverters that one query returns.
pub const INVERTERS_PER_QUERY_MAX: u32 = 500;

/// Values (buckets x points) after which a query stops, at the end of a UTC day.
pub const BUCKET_CELLS_PER_QUERY_MAX: usize = 200_000;

/// Returns how many buckets of so many points a query returns before it stops. With fewer there are
/// no more.
#[must_use]
pub fn buckets_max(points: usize) -> usize {
    (BUCKET_CELLS_PER_QUERY_MAX / points.max(1)).max(1)
}

/// Most gaps that one query returns.
pub const GAPS_PER_QUERY_MAX: u32 = 20_000;

/// Values of a configuration: as many as a message can carry.
pub const SETTINGS_MAX: usize = 23;

/// Generations that a restored backup may lack: a device that reports one further above the newest is
/// not believed, as the thief of its key could use up all that are left.
pub const LOST_GENERATIONS_MAX: u32 = 1 << 20;

/// Generations of a device's desired configuration that are kept: more than one a day for half a
/// year, some 20 KiB.
pub const CONFIGURATIONS_KEPT: u32 = 200;

/// Released leases of a device that are kept: one a day for more than half a year.
pub const RELEASED_LEASES_KEPT: u32 = 200;

/// Leases of a device in one answer.
pub const LEASES_LISTED_MAX: u32 = 50;

/// Changes of limits of a device that are kept: some 60 KiB. A ramp has ten.
pub const LIMIT_CHANGES_KEPT: u32 = 1_000;

/// Changes of limits in one answer.
pub const LIMIT_CHANGES_LISTED_MAX: u32 = 100;

/// Commands of a device that have not ended. At four per message they take it half a minute or more.
pub const OPEN_COMMANDS_MAX: u32 = 100;

/// Commands of a device that were sent and not reported on, or accepted and not ended: as many as a
/// device keeps and a reply carries.
pub const COMMANDS_OUT_MAX: usize = 4;

/// Commands among them that wait for their time; the others must not wait for these.
pub const COMMANDS_WAITING_MAX: usize = 2;

/// How long before its time a command may be sent, in milliseconds: an hour, the longest time between
/// two messages that settings allow. Until it is sent it can be cancelled.
pub const COMMAND_SENT_AHEAD_MS: i64 = 3600 * 1000;

/// Time after its deadline until a command that was sent is given up as unknown, in milliseconds: an
/// hour, in which every device in order has sent a message.
pub const COMMAND_GRACE_MS: i64 = 3600 * 1000;

/// Ended commands of a device that are kept, with their history: some 300 KiB.
pub const ENDED_COMMANDS_KEPT: u32 = 1000;

/// Most commands that one query returns.
pub const COMMANDS_PER_QUERY_MAX: u32 = 200;

/// Commands that one commit ends because their time has passed: a few milliseconds of the writer's
/// time.
pub const COMMANDS_ENDED_PER_COMMIT: u32 = 256;

/// Most ended commands that one query of figures reads, the newest ones: some 50 ms.
pub const COMMAND_FIGURES_MAX: u32 = 50_000;

/// Longest name that a client gives its request: two random numbers of 128 bits in hexadecimal.
pub const COMMAND_KEY_CHARS_MAX: usize = 64;

/// Most templates of configurations: the list of all is one answer.
pub const TEMPLATES_MAX: u32 = 500;

/// Versions of a template that are kept, as of a device's configuration: some 20 KiB.
pub const TEMPLATE_VERSIONS_KEPT: u32 = CONFIGURATIONS_KEPT;

/// Devices whose configuration follows a change of their template, or that are given one, in one
/// commit: a few milliseconds of the writer's time.
pub const TEMPLATE_DEVICES_PER_COMMIT: u32 = 100;

/// How long audit lines are kept: a year including a leap day.
pub const AUDIT_KEPT: Duration = Duration::from_secs(366 * 86_400);

/// Most audit lines removed when one is written. More than one, so that they are removed faster
/// than they are added; few, because a change waits for it.
pub const AUDIT_REMOVED_MAX: u32 = 16;

/// Most audit lines that one query returns.
pub const AUDIT_LINES_PER_QUERY_MAX: u32 = 1000;

/// Rows of a deleted device removed in one commit: a few milliseconds of the writer's time.
pub const DELETED_ROWS_PER_COMMIT: u32 = 512;

/// Most blocks that one query returns.
pub const BLOCKS_PER_QUERY_MAX: u32 = 20_000;

/// Pages of the write-ahead log after which it is moved into the database: 32 MiB, so that a row
/// changed by many consecutive groups is moved once.
pub(crate) const CHECKPOINT_PAGES: u32 = 16_384;

/// Approximate memory for the device states that the writer keeps between groups. A device with one
/// inverter of ten points takes some 12 KiB at the end of a quarter hour, one of 128 points 140
/// KiB.
pub(crate) const STATES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Blocks or packs that retention removes in one commit, and the bytes of them after which it stops:
/// some 10 ms of the writer's time.
pub const EXPIRED_ROWS_PER_COMMIT: u32 = 512;
pub const EXPIRED_BYTES_PER_COMMIT: u64 = 1024 * 1024;

/// How much faster than the server's clock retention's own may run, to catch up after an outage: a
/// month of it takes 30 hours, and a clock that is years ahead erases 24 days in the day that it takes
/// an operator to see it.
pub(crate) const RETENTION_CLOCK_SPEED_MAX: i64 = 24;

/// Most of the server's time between two looks that counts, in milliseconds: retention looks every
/// hour.
pub(crate) const RETENTION_CLOCK_STEP_MAX_MS: i64 = 3_600_000;

//! Every bound of the store in one place.

use std::time::Duration;

/// Requests that may wait for the writer; one more is answered `Busy`.
pub const WRITE_QUEUE_MAX: usize = 4096;

/// Requests that share one commit. Larger groups save little: at 512 the fsync is a small part.
pub const GROUP_MAX: usize = 512;

/// Queries that may wait for a reader; one more is answered `Busy`.
pub const READ_QUEUE_MAX: usize = 1024;

/// Look-ups of single rows that may wait; one more is answered `Busy`. Each takes some 20 us.
pub const LOOK_UP_QUEUE_MAX: usize = 1024;

/// Look-ups of keys among them; further ones wait their turn.
pub const KEY_LOOK_UPS_MAX: usize = LOOK_UP_QUEUE_MAX / 2;

/// Keys that are remembered not to exist, so that whoever asks for them again asks no database.
pub const ABSENT_KEYS_MAX: usize = 16_384;

/// Connections that read lists and charts.
pub const READERS: usize = 2;

/// Size of a page of a new database. An upload changes one row on each of five pages, so smaller
/// pages mean less to write; at 1 KiB a batch of 180 samples would fill pages of its own.
pub(crate) const PAGE_BYTES: u32 = 2048;

/// Pages that a backup copies between two looks at whether it is still wanted: 16 MiB.
pub(crate) const BACKUP_STEP_PAGES: std::ffi::c_int = 8192;

/// How long a claim is kept after it has expired, in milliseconds: a week.
pub const CLAIM_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// Ranges of received sequences per boot epoch. A device that sends newest first after a long
/// outage makes two. Holes of which the device says that nothing will come do not count.
pub const RECEIVED_RANGES_MAX: usize = 64;

/// Ranges of lost sequences per boot epoch. A full spool loses its oldest end, which is one; each
/// damage to a device's disk makes one more. A report beyond that is not counted.
pub const LOST_RANGES_MAX: usize = 256;

/// Streams that a device may announce under one key: 8 inverters with a layout change each month for
/// 10 years.
pub const STREAMS_PER_KEY_MAX: u32 = 1024;

/// Boot epochs that a device may be in under one key: a start each second for half a year. Whoever
/// has stolen a key can use up these and no others.
pub const EPOCHS_PER_KEY: u32 = 1 << 24;

/// Tokens, those that expired included.
pub const TOKENS_MAX: usize = 1000;

/// Browser sessions of one token; the oldest makes way for one more.
pub const SESSIONS_PER_TOKEN_MAX: usize = 32;

/// Most outstanding claim codes that are listed, the youngest first.
pub const CLAIMS_LISTED_MAX: usize = 1000;

/// Rows and bytes of blocks after which a query returns no further one.
pub const BLOCK_ROWS_PER_QUERY: u32 = 32_768;
pub const BLOCK_BYTES_PER_QUERY: usize = 2 * 1024 * 1024;

/// Rows and bytes of blocks that go into one pack, which is a commit: a day at a sample each 3 s.
/// Deleting as many blocks takes the writer some 10 ms.
pub const PACK_ROWS_MAX: u32 = 28_800;
pub const PACK_BYTES_MAX: usize = 1024 * 1024;

/// Most inverters that one query returns.
pub const INVERTERS_PER_QUERY_MAX: u32 = 500;

/// Most values (buckets x points) that one query returns, rounded up to whole quarter hours.
pub const BUCKET_CELLS_PER_QUERY_MAX: usize = 200_000;

/// Most gaps that one query returns.
pub const GAPS_PER_QUERY_MAX: u32 = 20_000;

/// How long it is kept who changed what: a year, and the leap day of it.
pub const AUDIT_KEPT: Duration = Duration::from_secs(366 * 86_400);

/// Most lines of who changed what that go when one is written. More than one, so that lines go faster
/// than they come; few, because a change waits for it.
pub const AUDIT_REMOVED_MAX: u32 = 16;

/// Most lines of who changed what that one query returns.
pub const AUDIT_LINES_PER_QUERY_MAX: u32 = 1000;

/// Rows of a deleted device that go in one commit: a few milliseconds of the writer's time.
pub const DELETED_ROWS_PER_COMMIT: u32 = 512;

/// Most blocks that one query returns.
pub const BLOCKS_PER_QUERY_MAX: u32 = 20_000;

/// Write-ahead log pages after which they are moved into the database: 32 MiB, so that a
/// row that many groups in a row change is moved once.
pub(crate) const CHECKPOINT_PAGES: u32 = 16_384;

/// Memory of the devices' states that the writer keeps between groups, about. A device with one
/// inverter of ten points takes some 12 KiB at the end of a quarter hour, one of 128 points 140.
pub(crate) const STATES_BYTES_MAX: usize = 64 * 1024 * 1024;

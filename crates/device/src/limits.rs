//! Named limits and time constants of the core.

use core::time::Duration;

use ecowatt_envelope::UPLINK_OVERHEAD_MAX;
use ecowatt_model::SOURCES_MAX;
use ecowatt_wire::{Dropped, LAYOUT_MAX, Stream, list_len_max, uplink_fixed_len_max};

/// Shortest wait for an answer, whatever the profile says. A busy gateway or a scheduler that wakes
/// late must not look like a dead inverter.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(200);

/// Cycles without a reading after which a source is not online any more.
pub const FAILED_CYCLES_MAX: u32 = 3;

/// Each further failed cycle of a source lengthens the pause before the next by this.
pub const BACK_OFF_STEP: Duration = Duration::from_secs(2);

/// Longest pause between attempts to reach a source.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// Pause between attempts to reach a sleeping inverter: soon enough at dawn, seldom enough at night.
pub const ASLEEP_PAUSE: Duration = Duration::from_secs(60);

/// Silence of a sleeping inverter that is longer than this is a failure. The longest winter night at 60
/// degrees north has 18 h without sun. Beyond the polar circle a dark season is longer than that: there
/// an inverter is called offline, which it is, until the sun is back.
pub const NIGHT_MAX: Duration = Duration::from_secs(20 * 3600);

/// What is left of a night at least after a start, however long the clock says that the inverter slept.
pub const WAKE_UP_MIN: Duration = Duration::from_secs(3600);

/// Least time between two notes of which inverters sleep: each is a write, and at dusk an inverter may
/// change its mind with every cloud.
pub const SLEEP_NOTED_EVERY: Duration = Duration::from_secs(300);

/// A cycle that begins this late still counts as its scheduled instant, unless the shell says more.
pub const START_TOLERANCE: Duration = Duration::from_millis(100);

/// Runs of registers that one source can leave out.
pub const QUARANTINE_MAX: usize = 16;

/// First pause before a quarantined register is tried again; doubles up to [`QUARANTINE_RETRY_MAX`].
pub const QUARANTINE_RETRY_MIN: Duration = Duration::from_secs(600);

/// Longest pause before a quarantined register is tried again.
pub const QUARANTINE_RETRY_MAX: Duration = Duration::from_secs(6 * 3600);

/// Pause before a group that is read once per connection is read again because something of it was
/// refused and is not quarantined.
pub const ONCE_RETRY: Duration = Duration::from_secs(60);

/// Exceptions of one cycle that are followed up by bisecting; a rebooting inverter that refuses
/// everything must not be asked hundreds of times.
pub const BISECTIONS_PER_CYCLE_MAX: u8 = 24;

/// Parts of a read that wait their turn while it is bisected: seven halvings of 125 registers leave
/// single ones, and cuts that must keep points whole need a few more.
pub const PARTS_MAX: usize = 12;

/// Counters that one durable reservation covers. A power cut skips at most this many, and a flash
/// page is written once per so many messages.
pub const COUNTERS_PER_RESERVATION: u64 = 1024;

/// Counters that are left when the next block is reserved.
pub const COUNTERS_LEFT_MIN: u64 = 16;

/// Deviation from the server's clock that is stepped away; below it, samples keep their even times.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(2);

/// 2024-01-01T00:00:00Z: a system clock that shows less has not been set.
pub const PLAUSIBLE_UNIX_MS: i64 = 1_704_067_200_000;

/// Pause after a write to storage failed, before it is tried again.
pub const STORAGE_RETRY: Duration = Duration::from_secs(10);

/// First pause after a message without a valid reply; doubles up to [`LINK_RETRY_MAX`].
pub const LINK_RETRY_MIN: Duration = Duration::from_secs(2);

/// Longest pause of its own accord before the server is tried again.
pub const LINK_RETRY_MAX: Duration = Duration::from_secs(300);

/// Shortest pause that a server can ask for: one that asks for less, or for nothing, does not make a
/// device send without pause.
pub const CHECK_IN_MIN: Duration = Duration::from_secs(5);

/// Longest pause that a server can ask for in a sealed reply.
pub const CHECK_IN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest pause after an answer that says *come again later* and is not sealed: whoever sits between
/// device and server can write such answers.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(900);

/// Smallest permitted size of a message: clock, status, the longest layout and one gap have room in
/// it, and so has a batch of one row of the most registers.
pub const MESSAGE_BYTES_MIN: usize = UPLINK_OVERHEAD_MAX
    + uplink_fixed_len_max(SOURCES_MAX)
    + list_len_max(LAYOUT_MAX + Stream::HEAD_LEN_MAX)
    + list_len_max(Dropped::LEN_MAX);

/// Span over which devices that start together spread their first message.
pub const START_SPREAD: Duration = Duration::from_secs(2);

/// How often a message carries the status even though nothing changed.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(900);

/// Events that wait for the shell; beyond that the oldest is lost.
pub const EVENTS_MAX: usize = 16;

/// Streams whose layout waits to be announced.
pub const ANNOUNCED_MAX: usize = 8;

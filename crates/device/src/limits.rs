//! Named limits and time constants of the core.

use core::time::Duration;

use ecowatt_envelope::UPLINK_OVERHEAD_MAX;
use ecowatt_model::SOURCES_MAX;
use ecowatt_model::lease::LINK_LOSS_DEFAULT_S;
use ecowatt_wire::{LAYOUT_MAX, LostSamples, Stream, list_len_max, uplink_fixed_len_max};

/// Shortest wait for an answer, whatever the profile says. A busy gateway or a scheduler that wakes
/// late must not look like a dead inverter.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(200);

/// Failed cycles in a row after which a source is no longer online.
pub const FAILED_CYCLES_MAX: u32 = 3;

/// Each further failed cycle of a source lengthens the pause before the next by this.
pub const BACK_OFF_STEP: Duration = Duration::from_secs(2);

/// Longest pause between attempts to reach a source.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// Pause between attempts to reach a sleeping inverter: soon enough at dawn, seldom enough at
/// night.
pub const ASLEEP_PAUSE: Duration = Duration::from_secs(60);

/// A sleeping inverter that is silent for longer than this has failed. The longest winter night at
/// 60 degrees north has 18 h without sun. Beyond the polar circle the dark season is longer: an
/// inverter there is shown as offline, which it is, until the sun is back.
pub const NIGHT_MAX: Duration = Duration::from_secs(20 * 3600);

/// A sleeping inverter has at least this long to answer after a start, even if it slept for
/// [`NIGHT_MAX`] by the clock, which may be wrong.
pub const WAKE_UP_MIN: Duration = Duration::from_secs(3600);

/// Shortest time between two notes of which inverters sleep: each is a write, and at dusk an
/// inverter may fall asleep and wake with every cloud.
pub const SLEEP_NOTED_EVERY: Duration = Duration::from_secs(300);

/// Default for how late a cycle may begin and still be dated to its scheduled instant.
pub const START_TOLERANCE: Duration = Duration::from_millis(100);

/// Quarantined runs of registers per source.
pub const QUARANTINE_MAX: usize = 16;

/// First pause before a quarantined register is tried again; doubles up to
/// [`QUARANTINE_RETRY_MAX`].
pub const QUARANTINE_RETRY_MIN: Duration = Duration::from_secs(600);

/// Longest pause before a quarantined register is tried again.
pub const QUARANTINE_RETRY_MAX: Duration = Duration::from_secs(6 * 3600);

/// Pause before a group that is read once per connection is read again, if some of its registers
/// were refused without being quarantined.
pub const ONCE_RETRY: Duration = Duration::from_secs(60);

/// Cycles in a row in which one read gets no answer, while others do, before it is asked for in
/// halves. A line that loses three frames in ten does that to a read once in 400 tries.
pub const MUTE_CYCLES: u8 = 5;

/// Refused reads that are bisected in one cycle; a rebooting inverter that refuses everything must
/// not get hundreds of requests.
pub const BISECTIONS_PER_CYCLE_MAX: u8 = 24;

/// Queued parts of a read that is being bisected: seven halvings of 125 registers leave single
/// ones, and cuts that must keep points whole need a few more.
pub const PARTS_MAX: usize = 12;

/// Counters in one durable reservation. A power cut skips at most this many, and the reservation is
/// written to flash once per this many messages.
pub const COUNTERS_PER_RESERVATION: u64 = 1024;

/// The next block is reserved when fewer counters than this are left.
pub const COUNTERS_LEFT_MIN: u64 = 16;

/// A deviation from the server's clock above this steps the device's clock; below it, samples keep
/// their even times.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(2);

/// 2024-01-01T00:00:00Z: a system clock that shows less has not been set.
pub const PLAUSIBLE_UNIX_MS: i64 = 1_704_067_200_000;

/// Pause after a write to storage failed, before it is tried again.
pub const STORAGE_RETRY: Duration = Duration::from_secs(10);

/// First pause after a message without a valid reply; doubles up to [`LINK_RETRY_MAX`].
pub const LINK_RETRY_MIN: Duration = Duration::from_secs(2);

/// Longest pause of the device's own choosing before it tries the server again.
pub const LINK_RETRY_MAX: Duration = Duration::from_secs(300);

/// Shortest pause that a server can ask for: one that asks for less, or for nothing, does not make
/// a device send without pause.
pub const CHECK_IN_MIN: Duration = Duration::from_secs(5);

/// Shortest time for which the server is asked to hold its reply, and first pause after a reply that
/// it did not hold: a server that does not hold replies, or has no room for more, must not make a
/// device send without pause.
pub const WAIT_MIN: Duration = Duration::from_secs(1);

/// Longest pause that a server can ask for in a sealed reply.
pub const CHECK_IN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest pause that an unsealed *retry later* answer can ask for: any proxy between device and
/// server can write one.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(900);

/// Smallest permitted size limit for messages: clock, status, the longest layout and one gap fit,
/// and so does a batch of one row of the most registers.
pub const MESSAGE_BYTES_MIN: usize = UPLINK_OVERHEAD_MAX
    + uplink_fixed_len_max(SOURCES_MAX)
    + list_len_max(LAYOUT_MAX + Stream::HEAD_LEN_MAX)
    + list_len_max(LostSamples::LEN_MAX);

/// Span over which devices that start together spread their first message.
pub const START_SPREAD: Duration = Duration::from_secs(2);

/// Interval at which a message carries the status although nothing changed.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(900);

/// Shortest time between two messages of a device that saves power. A modem stays connected for some
/// ten seconds after each. By default a server counts a device as silent after three times this.
pub const SAVING_INTERVAL: Duration = Duration::from_secs(300);

/// Default for how long settings are used without an answer from the server before the previous
/// ones return. The first eight attempts to reach it take 510 s at most, so a short outage does not
/// undo a change.
pub const REVERT_AFTER_DEFAULT: Duration = Duration::from_secs(600);

/// The start of the device at which settings on trial are given up. Two are allowed: a power cut
/// may happen to fall into a trial, and the machine may start twice after it.
pub const TRIAL_STARTS_MAX: u8 = 3;

/// Accepted commands that wait for the time before which they are not to be begun. The others of the
/// [`COMMANDS_MAX`](ecowatt_wire::COMMANDS_MAX) places stay free for what is to be done at once.
pub const WAITING_MAX: usize = 2;

/// Times that registers are read back after a write, [`READ_BACK_PAUSE`] apart. An inverter that
/// does not show the value by then does not have it.
pub const READ_BACKS_MAX: u8 = 4;

/// Pause before registers are read again for a command.
pub const READ_BACK_PAUSE: Duration = Duration::from_secs(1);

/// Time between two looks at the register of an inverter that a lease limits: one that has lost its
/// limit feeds in too much for so long, and 15 s are allowed.
pub const LIMIT_CHECK: Duration = Duration::from_secs(10);

/// Longest pause before a limit that an inverter refused is tried again: it will hardly change its
/// mind.
pub const LIMIT_RETRY_MAX: Duration = Duration::from_secs(320);

/// Time in which an inverter must follow a limit (AS/NZS 4777.2). After it the change is reported
/// with the power that it has by then.
pub const PROOF_MAX: Duration = Duration::from_secs(15);

/// Time after which a change is reported without a measurement, as of an inverter that fell silent.
pub const PROOF_WAIT_MAX: Duration = Duration::from_secs(60);

/// Power above a limit that still counts as within it, for small inverters; 4 % of the rated power
/// for others.
pub const PROOF_TOLERANCE_MIN_W: u64 = 100;

/// Finished changes of limits that the server may not have; beyond that the oldest is lost.
pub const CHANGES_KEPT: usize = 3;

/// Silence after a start before a limit is lifted that no lease states any more: the server may have
/// another one.
pub const RELEASE_WAIT: Duration = Duration::from_secs(LINK_LOSS_DEFAULT_S as u64);

/// Events not yet polled by the shell; beyond that the oldest is lost.
pub const EVENTS_MAX: usize = 16;

/// Streams whose layouts are due to be announced.
pub const ANNOUNCED_MAX: usize = 8;

//! All limits of the server that are not part of its configuration.

use std::time::Duration;

/// Live events that a slow reader may be behind before it has to reload.
pub const LIVE_EVENTS_MAX: usize = 1024;

/// Event streams open at once.
pub const WAITING_MAX: u32 = 256;

/// Longest JSON body of a request.
pub const JSON_BYTES_MAX: usize = 64 * 1024;

/// Longest request head (request line and headers).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;

/// Connections open at once; a further one replaces an idle one.
pub const CONNECTIONS_MAX: u32 = 4096;

/// Connections of devices open at once, where they have an address of their own. With those above and
/// the store's files they stay below the 8,192 descriptors of the unit in `packaging/`.
pub const DEVICE_CONNECTIONS_MAX: u32 = 3072;

/// Connections that wait to be accepted, if the system allows as many (`net.core.somaxconn`):
/// enough for a fleet that reconnects all at once. A client that finds no room tries again after a
/// second.
pub const BACKLOG: u32 = 1024;

/// Device messages worked on at once; further ones are answered 503.
pub const MESSAGES_MAX: u32 = 1024;

/// Calls of devices of the earlier EcoWatt worked on at once: each device makes one at a time.
pub const ORIGINAL_CALLS_MAX: u32 = 512;

/// Devices of the earlier EcoWatt of which something is held in memory, some hundred bytes each;
/// beyond that all is forgotten. What is forgotten is sent or reported once more.
pub const ORIGINAL_DEVICES_HELD_MAX: usize = 16_384;

/// Requests of its operators worked on at once.
pub const ORIGINAL_REQUESTS_MAX: u32 = 64;

/// Replies held at once for devices that wait; further ones are not held. Their connections are a part
/// of [`CONNECTIONS_MAX`], and of [`DEVICE_CONNECTIONS_MAX`], that no other client can replace.
pub const HELD_REPLIES_MAX: u32 = 1_536;

/// Longest time for which a reply is held.
pub const REPLY_HELD_MAX: Duration = Duration::from_secs(60);

/// Enrolments worked on at once.
pub const ENROLMENTS_MAX: u32 = 64;

/// Log-ins and set-ups worked on at once.
pub const ACCESS_REQUESTS_MAX: u32 = 64;

/// Other requests to the API worked on at once, event streams aside.
pub const API_REQUESTS_MAX: u32 = 256;

/// Requests for the dashboard's files worked on at once.
pub const PAGE_REQUESTS_MAX: u32 = 256;

/// A message with more than this to decode (rows × columns or points, whichever is more) takes a turn
/// and is decoded on a thread of its own; up to this it takes a fraction of a millisecond, which an
/// executor's thread can spare.
pub const DECODE_INLINE_VALUES_MAX: usize = 4_000;

/// Cells of roll-ups that messages being decoded may fill, in units of [`TURN_CELLS`]. A cell takes
/// about 60 bytes, so this bounds the memory at about 120 MiB. Decoding more messages in parallel
/// would not finish sooner.
pub const TURNS_MAX: u32 = 2048;
pub const TURN_CELLS: usize = 1024;

/// Messages that wait for their turn, a part of [`MESSAGES_MAX`]; further ones are answered 503.
pub const TURNS_WAITING_MAX: usize = 256;

/// Messages of one device that have or wait for a turn; further ones are answered 429.
pub const TURNS_OF_DEVICE_MAX: u32 = 2;

/// Cells of roll-ups that are decoded and wait for the store, in units of [`TURN_CELLS`]; a message
/// beyond that is answered 503.
pub const CELLS_WAITING_MAX: u32 = 4096;

/// Longest time from the first to the last sample of a batch. Agents sample at least once a day and
/// put at most 512 samples into a batch.
pub const BATCH_SPAN_MAX: Duration = Duration::from_secs(600 * 24 * 3600);

/// Values of one message that are decoded: a minimum, and more for each of its bytes. Real samples
/// have four values to a byte.
pub const MESSAGE_VALUES_MIN: usize = 256 * 1024;
pub const MESSAGE_VALUES_PER_BYTE: usize = 16;

/// Cells of roll-ups (minutes × points) that one message may bring, likewise: at one sample a minute
/// real messages have four to a byte, sometimes a few more. The device sends batches beyond that
/// again.
pub const MESSAGE_CELLS_MIN: usize = 32 * 1024;
pub const MESSAGE_CELLS_PER_BYTE: usize = 32;
pub const MESSAGE_CELLS_MAX: usize = 512 * 1024;

/// Cost of a message besides its values: its share of a commit takes as long as decoding this many.
pub const MESSAGE_COST_VALUES: usize = 1_000;

/// Values that a device may have decoded at once, and in a second: a month of 82 points each 5 s is
/// 43 million, and eight inverters of 128 points each 200 ms make 5,000 a second.
pub const DEVICE_VALUES_BURST: i64 = 50_000_000;
pub const DEVICE_VALUES_PER_S: i64 = 500_000;

/// Cells of roll-ups that a device may bring at once, and in a second: a month of 82 points is 3.6
/// million, and eight inverters of 128 points make 17 a second. A cell takes 8 to 20 bytes on disk.
pub const DEVICE_CELLS_BURST: i64 = 4_000_000;
pub const DEVICE_CELLS_PER_S: i64 = 5_000;

/// What a cell takes on disk, about.
pub const CELL_BYTES: usize = 16;

/// Cells that a stored batch is charged besides its own: its row and those of its two edges of energy
/// take some 130 bytes and grow the indexes, and a device needs one in a quarter of an hour.
pub const BLOCK_CELLS: usize = 16;

/// Cells that a batch is charged for each quarter hour and day that it is merged with, as their rows
/// are read and written whole, with up to 512 points: a batch of one sample may touch full ones.
pub const ROLL_UP_ROW_CELLS: usize = 16;

/// Cost of an announced stream that the device has not announced before: reading what is announced
/// already takes up to 2 ms of a reader, as long as decoding this many.
pub const ANNOUNCEMENT_COST_VALUES: usize = 20_000;

/// Cells that a point of an unseen layout is charged besides the layout's bytes: its name with an
/// index, its place in the layout and its place among those of the inverter take some 80 bytes.
pub const LAYOUT_POINT_CELLS: usize = 5;

/// Shortest time between log lines about refused announcements of one device.
pub const REFUSED_LAYOUT_LINE_EVERY: Duration = Duration::from_secs(60);

/// Time for a request's head to arrive, and for an idle connection to send another.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for a request's body to arrive, before the request has a place: 60 KiB at 4 KiB/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Time from a request's end to the head of its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a reader may refuse to take bytes before its connection is closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long, and how many bytes, the server goes on reading after it has refused a request: if it
/// closed at once, the connection would be reset and the answer could be lost.
pub const LINGER: Duration = Duration::from_secs(5);
pub const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Time between comments that keep a silent event stream alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Longest lifetime of an event stream; its reader connects and authenticates again.
pub const STREAM_LIFETIME: Duration = Duration::from_secs(3600);

/// How long the store may take before the server counts as not ready.
pub const READY_DEADLINE: Duration = Duration::from_secs(5);

/// How long a readiness answer is reused.
pub const READY_FOR: Duration = Duration::from_secs(1);

/// How often the server checks that its disk works, and how long the disk may fail before the
/// server stops, so that its supervisor restarts it and the store is opened again.
pub const LOOK_AT_MEDIUM_EVERY: Duration = Duration::from_secs(1);
pub const MEDIUM_FAILS_MAX: Duration = Duration::from_secs(15);

/// `Retry-After` of a 503.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Shortest time between log lines about rejected requests or connections not accepted.
pub const PUT_OFF_LINE_EVERY: Duration = Duration::from_secs(1);

/// Shortest time between log lines about a full disk.
pub const FULL_LINE_EVERY: Duration = Duration::from_secs(60);

/// How long requests in flight may take to finish when the server stops.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Devices whose states the reconciler of states derives at each pass: a fleet of 10,000 is swept in
/// 20 seconds, at a few percent of one processor.
pub const SWEEP_PAGE: u32 = 500;

/// Pause between two commits that remove the data of deleted devices.
pub const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// Time from a day's end until its batches are packed; later batches get a pack of their own.
pub const PACK_AFTER: Duration = Duration::from_secs(6 * 3600);

/// Pause between two commits that pack batches: each takes the writer about 10 ms.
pub const PACK_PAUSE: Duration = Duration::from_millis(50);

/// Devices whose lines are published at each pass.
pub const LINES_MAX: usize = 200;

/// Devices on a page by default.
pub const DEVICES_PAGE_DEFAULT: usize = 100;

/// Longest name of a template: it is one segment of an address and one cell of a table.
pub const TEMPLATE_NAME_BYTES_MAX: usize = 64;

/// Devices of a preview on a page, where the request names no number.
pub const PREVIEW_PAGE_DEFAULT: usize = 100;

/// Devices that one request gives a template because they match a filter. Each hundred of them is
/// one commit; 50,000 take some ten seconds.
pub const TEMPLATE_GROUP_MAX: u64 = 50_000;

/// Changes on a page of the audit log if the request does not say.
pub const AUDIT_PAGE_DEFAULT: u32 = 100;

/// Changes of a configuration on a page, where the request names no number.
pub const CONFIG_CHANGES_PAGE_DEFAULT: u32 = 20;

/// Time in which a device may begin a command: by default the longest time between two uploads that
/// settings allow, and at most a week.
pub const COMMAND_VALID_DEFAULT: Duration = Duration::from_secs(15 * 60);
pub const COMMAND_VALID_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far ahead a command may be sent for: a month.
pub const COMMAND_AHEAD_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// Priorities of commands: 0 to this.
pub const COMMAND_PRIORITY_MAX: u8 = 9;
pub const COMMAND_PRIORITY_DEFAULT: u8 = 5;

/// Commands on a page, where the request names no number.
pub const COMMANDS_PAGE_DEFAULT: u32 = 50;

/// Time that figures on commands cover: a day by default, and at most a month.
pub const COMMAND_FIGURES_HOURS_DEFAULT: u32 = 24;
pub const COMMAND_FIGURES_HOURS_MAX: u32 = 31 * 24;

/// Longest search text of a device list.
pub const SEARCH_CHARS_MAX: usize = 80;

/// Most points that one telemetry request may name, and that an answer has if it names none.
pub const POINTS_MAX: usize = 128;

/// Longest JSON of an answer, before it is compressed.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most values (instants × points) in an answer with samples, and the longest JSON of one: a number
/// of 24 characters, or null and the quality that says why.
pub const RAW_CELLS_MAX: usize = 400_000;
const RAW_CELL_BYTES_MAX: usize = 40;

/// Most values (instants × points) in an answer with a roll-up, and the longest JSON of one: four
/// such numbers and a count.
pub const BUCKET_CELLS_MAX: usize = 140_000;
const BUCKET_CELL_BYTES_MAX: usize = 4 * 25 + 11;

/// Longest JSON of an instant, and of a point's fields besides its values.
const INSTANT_BYTES_MAX: usize = 20;
const POINT_BYTES_MAX: usize = 512;

/// Most gaps that an energy answer lists.
pub const ENERGY_GAPS_MAX: usize = 5_000;

/// Answers with history, energy or a list of devices that are built at once: each takes a processor
/// and one of the store's readers. Others wait for their turn.
pub const ANSWERS_MADE_MAX: usize = 2;

/// Memory for all answers of more than one piece that wait for their readers.
pub const ANSWERS_KEPT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A large answer is handed to its connection in pieces of this size.
pub const ANSWER_PIECE_BYTES: usize = 64 * 1024;

/// How long a reader may take for a large answer, plus a second for each piece; after that its
/// connection is closed.
pub const ANSWER_SEND_TIME: Duration = Duration::from_secs(30);

/// Shortest answer that is compressed.
pub const COMPRESSED_BYTES_MIN: usize = 1024;

/// Longest name of a device, site or token.
pub const NAME_CHARS_MAX: usize = 80;

/// How long a browser session lasts.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Longest lifetime of a token that expires.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Tokens and sessions whose last use waits to be stored, and how often they are stored.
pub const USES_HELD_MAX: usize = 4096;
pub const USES_KEPT_EVERY: Duration = Duration::from_secs(60);

/// How often an event stream checks that its reader may still read. A revoked stream must end
/// within a second, into which two checks fit.
pub const STREAM_LOOK_EVERY: Duration = Duration::from_millis(400);

/// How long an event stream goes on while the store cannot say whether its reader may read.
pub const STREAM_UNCONFIRMED_MAX: Duration = Duration::from_secs(10);

/// Shortest time between log lines about refused log-ins and claim codes.
pub const REFUSED_LINE_EVERY: Duration = Duration::from_secs(1);

/// Default and longest lifetime of a claim code.
pub const CLAIM_LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);
pub const CLAIM_LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Wrong codes for one claim that are answered in a row, and the time after which one more is. The
/// right code is always accepted.
pub const WRONG_CODES_BURST: u32 = 10;
pub const WRONG_CODE_EVERY: Duration = Duration::from_secs(3);

/// Claims whose wrong codes are remembered; beyond that the claim idle for longest is forgotten.
pub const WRONG_CODES_CLAIMS_MAX: usize = 4096;

const _: () =
    assert!(STREAM_LOOK_EVERY.as_millis() <= 500, "a revoked stream ends within a second");
const _: () = assert!(
    RAW_CELLS_MAX * RAW_CELL_BYTES_MAX
        + ecowatt_api::TELEMETRY_ROWS_MAX * INSTANT_BYTES_MAX
        + POINTS_MAX * POINT_BYTES_MAX
        <= ANSWER_BYTES_MAX
);
const _: () = assert!(
    BUCKET_CELLS_MAX * BUCKET_CELL_BYTES_MAX
        + ecowatt_api::TELEMETRY_ROWS_MAX * INSTANT_BYTES_MAX
        + POINTS_MAX * POINT_BYTES_MAX
        <= ANSWER_BYTES_MAX
);
const _: () = assert!(
    BUCKET_CELLS_MAX <= ecowatt_store::limits::BUCKET_CELLS_PER_QUERY_MAX,
    "one query of the store is enough"
);
const _: () = assert!(ANSWER_BYTES_MAX <= ANSWERS_KEPT_BYTES_MAX);
const _: () = assert!(READY_DEADLINE.as_secs() < REQUEST_TIMEOUT.as_secs());
const _: () = assert!(
    HELD_REPLIES_MAX <= DEVICE_CONNECTIONS_MAX / 2 && HELD_REPLIES_MAX <= CONNECTIONS_MAX / 2,
    "half of all connections are for those that do not wait"
);
const _: () = assert!(TURNS_WAITING_MAX < MESSAGES_MAX as usize, "small messages find a place");
const _: () = assert!(CLAIM_LIFETIME_DEFAULT.as_secs() <= CLAIM_LIFETIME_MAX.as_secs());
const _: () = assert!(
    ecowatt_api::AUDIT_PAGE_MAX < ecowatt_store::limits::AUDIT_LINES_PER_QUERY_MAX,
    "a page and one more line"
);
const _: () = assert!(DEVICES_PAGE_DEFAULT <= ecowatt_api::DEVICES_PAGE_MAX);

/// Days of an inverter with nothing to pack that one pass looks at. Late batches leave a few; a device
/// that puts each batch into a day of its own gets no more of the readers' time than about 20 ms an
/// hour.
pub const PACK_LOOKS_MAX: u32 = 100;

/// Packs of rows of one kind that one pass makes, or looks at in vain, for an inverter: a year's
/// minutes take four passes. A device that sends late batches for many days then waits for itself
/// alone.
pub const ROW_PACKS_MAX: u32 = 100;

/// Shortest and longest time that a resolution may be kept, in days. What a device sends after a week
/// without a link must still be there to be looked at, and a slip of the pen (`7h`, `0d`) must not erase
/// what was measured; a century is as good as for ever.
pub const RETENTION_DAYS_MIN: u32 = 7;
pub const RETENTION_DAYS_MAX: u32 = 36_525;

/// Pause between two commits that remove what retention no longer keeps: each takes the writer about
/// 10 ms.
pub const RETENTION_PAUSE: Duration = Duration::from_millis(50);

/// How far retention's time may be behind the clock before that is logged. It is behind by an upload
/// in any case.
pub const RETENTION_LAG_MAX: Duration = Duration::from_secs(2 * 86_400);

/// Priorities of leases.
pub const LEASE_PRIORITY_MAX: u8 = 9;
pub const LEASE_PRIORITY_DEFAULT: u8 = 5;

/// How far ahead a lease may begin, seconds: a year.
pub const LEASE_AHEAD_MAX_S: i64 = 366 * 86_400;

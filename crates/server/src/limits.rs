//! Every bound of the server that is not part of its configuration, in one place.

use std::time::Duration;

/// Live events that a slow reader may be behind before it is told to reload.
pub const LIVE_EVENTS_MAX: usize = 1024;

/// Event streams open at once.
pub const STREAMS_MAX: usize = 256;

/// Longest JSON body of a request.
pub const JSON_BYTES_MAX: usize = 64 * 1024;

/// Longest request head (request line and headers).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;

/// Connections open at once; a further one takes the place of one that idles.
pub const CONNECTIONS_MAX: u32 = 4096;

/// Connections that wait to be accepted, where the system allows as many (`net.core.somaxconn`):
/// enough for a fleet that comes back at once. One that finds no room tries again after a second.
pub const BACKLOG: u32 = 1024;

/// Device messages worked on at once; further ones are answered 503.
pub const MESSAGES_MAX: u32 = 1024;

/// Enrolments worked on at once.
pub const ENROLMENTS_MAX: u32 = 64;

/// Log-ins and set-ups worked on at once.
pub const ACCESS_REQUESTS_MAX: u32 = 64;

/// Other requests to the API worked on at once, event streams aside.
pub const API_REQUESTS_MAX: u32 = 256;

/// Requests for the dashboard's files worked on at once.
pub const PAGE_REQUESTS_MAX: u32 = 256;

/// Longest device message that needs no turn: several batches of 180 samples fit.
pub const SMALL_MESSAGE_BYTES: usize = 2048;

/// Larger device messages worked on at once; others that have a place wait for their turn. They bring
/// thousands of samples each: a thousand that are decoded side by side are done no sooner, take a
/// thousand times the memory, and whoever asks for the server's health waits behind them all.
pub const LARGE_MESSAGES_MAX: usize = 32;

/// Time for a request's head to arrive, and for an idle connection to send another.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for a request's body to arrive, before the request has a place: 60 KiB at 4 KiB/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Time from a request's end to the head of its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a reader may refuse to take bytes before its connection is closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long, and how many bytes, the server goes on reading what a client still sends after it was
/// refused: closed at once, the connection would be reset, and the answer could be lost with it.
pub const LINGER: Duration = Duration::from_secs(5);
pub const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Time between comments that keep a silent event stream alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long an event stream lasts; its reader comes again and shows its token again.
pub const STREAM_LIFETIME: Duration = Duration::from_secs(3600);

/// How long the store may take to answer that the server is ready.
pub const READY_DEADLINE: Duration = Duration::from_secs(5);

/// How long that answer counts for others who ask.
pub const READY_FOR: Duration = Duration::from_secs(1);

/// What a 503 tells its reader to wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How often the log says that requests are put off or connections not accepted, with how many.
pub const PUT_OFF_LINE_EVERY: Duration = Duration::from_secs(1);

/// How often the log says that the disk is full, at most.
pub const FULL_LINE_EVERY: Duration = Duration::from_secs(60);

/// How long requests in flight may take to finish when the server stops.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Devices whose states are derived at each look of the presence reconciler: a fleet of 10,000 is
/// swept in 20 seconds, at a few percent of one processor.
pub const SWEEP_PAGE: u32 = 500;

/// Devices whose lines are published at each look.
pub const LINES_MAX: usize = 200;

/// Devices on a page unless the request says otherwise.
pub const DEVICES_PAGE_DEFAULT: usize = 100;

/// Longest text that a device list is searched for.
pub const SEARCH_CHARS_MAX: usize = 80;

/// Most points that one telemetry request may name.
pub const POINTS_MAX: usize = 128;

/// Longest JSON of an answer, before it is compressed.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most values (instants × points) in an answer with samples, and JSON of one at most: a number of 24
/// characters, or none and the quality that says why.
pub const RAW_CELLS_MAX: usize = 400_000;
const RAW_CELL_BYTES_MAX: usize = 40;

/// Most values (instants × points) in an answer with a roll-up, and JSON of one at most: four such
/// numbers and a count.
pub const BUCKET_CELLS_MAX: usize = 140_000;
const BUCKET_CELL_BYTES_MAX: usize = 4 * 25 + 11;

/// JSON of an instant, and of what is said of a point besides its values, at most.
const INSTANT_BYTES_MAX: usize = 20;
const POINT_BYTES_MAX: usize = 512;

/// Most gaps that an energy answer lists.
pub const ENERGY_GAPS_MAX: usize = 5_000;

/// Answers with history, energy or a list of devices that are made at once: each takes a processor and
/// one of the store's readers. Others wait their turn.
pub const ANSWERS_MADE_MAX: usize = 2;

/// Answers of more than a piece, as they are kept until their readers have taken them, altogether.
pub const ANSWERS_KEPT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A large answer is handed to its connection in pieces of this size.
pub const ANSWER_PIECE_BYTES: usize = 64 * 1024;

/// How long a reader may take for a large answer, and a second more for each piece; its connection is
/// closed then.
pub const ANSWER_SEND_TIME: Duration = Duration::from_secs(30);

/// Shortest answer that is compressed.
pub const COMPRESSED_BYTES_MIN: usize = 1024;

/// Longest name of a device, site or token.
pub const NAME_CHARS_MAX: usize = 80;

/// How long a browser session lasts.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a token that ends may be valid.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Tokens and sessions whose last use waits to be stored, and how often it is.
pub const USES_HELD_MAX: usize = 4096;
pub const USES_KEPT_EVERY: Duration = Duration::from_secs(60);

/// How often an event stream looks whether its reader may still read. Two looks fit into the second
/// within which it must end.
pub const STREAM_LOOK_EVERY: Duration = Duration::from_millis(400);

/// How long an event stream goes on while the store cannot say whether its reader may read.
pub const STREAM_UNCONFIRMED_MAX: Duration = Duration::from_secs(10);

/// How often the log tells of refused log-ins and claim codes.
pub const REFUSED_LINE_EVERY: Duration = Duration::from_secs(1);

/// How long a claim code is valid unless told otherwise, and at most.
pub const CLAIM_LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);
pub const CLAIM_LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Wrong codes for one claim that are answered as such in a row, and the time after which one more
/// is. The right code is taken whenever it comes.
pub const WRONG_CODES_BURST: u32 = 10;
pub const WRONG_CODE_EVERY: Duration = Duration::from_secs(3);

/// Claims whose wrong codes are remembered; beyond that the one idle for longest is forgotten.
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
const _: () = assert!(CLAIM_LIFETIME_DEFAULT.as_secs() <= CLAIM_LIFETIME_MAX.as_secs());
const _: () = assert!(DEVICES_PAGE_DEFAULT <= ecowatt_api::DEVICES_PAGE_MAX);

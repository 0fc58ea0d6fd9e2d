//! The numbers of the random streams, in one place so that a new one can be seen to be free.
//!
//! Two parts that share a number and a seed draw the same. That is harmless where what they decide
//! is unrelated, and their numbers stay as they are: another number is another run for every seed.

/// Streams of a scenario's seed. A device has its index, which is below 2^32.
pub(crate) const SERVER: u64 = 1 << 40;
/// Nonces, so that they do not shift the server's other draws.
pub(crate) const NONCES: u64 = SERVER ^ 1;
/// When the server's clock is astray.
pub(crate) const ASTRAY: u64 = SERVER ^ 2;
/// Outages of many devices.
pub(crate) const OUTAGES: u64 = 1 << 41;
/// The salts of write-ahead logs: bytes on the disk depend on them, answers do not.
pub(crate) const SALTS: u64 = 1 << 41;
/// The operator of settings.
pub(crate) const SETTINGS: u64 = 1 << 42;
/// Failures of the first device's medium; the others follow by index.
pub(crate) const MEDIA: u64 = 1 << 42;
/// What a swarm draws of all faults.
pub(crate) const SWARM: u64 = 1 << 44;
/// The operator of templates.
pub(crate) const TEMPLATES: u64 = 1 << 45;
/// The operator of commands.
pub(crate) const COMMANDS: u64 = 1 << 46;
/// Writes that the first device's inverters ignore; the others follow by index.
pub(crate) const IGNORED_WRITES: u64 = 1 << 47;
/// The shortest way between devices and server.
pub(crate) const LATENCY: u64 = u64::MAX;

/// Streams of a line's seed.
pub(crate) const PACE: u64 = 1 << 42;
pub(crate) const MISREADINGS: u64 = 1 << 43;

/// Streams of an instant at which a device starts.
pub(crate) const TIME_SERVERS: u64 = 0x7469_6d65;
pub(crate) const MODEM: u64 = 0x6d6f_6465;

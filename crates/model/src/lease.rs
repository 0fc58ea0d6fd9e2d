//! Bounds of leases: limits of an inverter's power that hold for a time.
//!
//! Server and device check the same bounds.

/// Leases that a device holds at a time: one each of a grid operator, an operator and a tariff, and
/// one that is to follow.
pub const LEASES_MAX: usize = 4;

/// Most watts of a limit: more than any one inverter has.
pub const WATTS_MAX: u32 = 10_000_000;

/// All of an inverter's rated power, in thousandths.
pub const PERMILLE_FULL: u16 = 1_000;

/// All of an inverter's rated power, in the unit in which limits are compared: millionths, in which
/// neither thousandths nor the watts of any inverter lose anything that its register could show.
pub const FULL_PPM: u32 = 1_000_000;

/// Longest ramp, seconds. A limit that takes longer is two leases.
pub const RAMP_MAX_S: u16 = 3_600;

/// Shortest time without a reply that counts as a lost link, seconds: longer than one failed attempt
/// and the retry after it.
pub const LINK_LOSS_MIN_S: u16 = 10;

/// Longest time without a reply that counts as a lost link, seconds: 18 hours.
pub const LINK_LOSS_MAX_S: u16 = 64_800;

/// The same if a lease does not say, seconds. A device reports its status at least this often.
pub const LINK_LOSS_DEFAULT_S: u16 = 900;

/// Longest time of a lease, seconds: a year and a month.
pub const LENGTH_MAX_S: u32 = 397 * 24 * 3_600;

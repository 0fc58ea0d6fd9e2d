//! The table of all faults: when each is drawn, how likely it is, how long it lasts and what it does.
//!
//! A new fault is a row here and a variant of [`super::kinds`]; the compiler then names the place
//! where it must take effect. `docs/simulation.md` shows the table as `ecowatt simulate
//! --faults-table` prints it.

use ecowatt_inverter_sim::fault::Kind as Line;

use super::kinds::{
    Corruption, DeviceFault as Device, DeviceStartFault as Start, Fault, MediumFault as Medium,
    MessageFault as Message, Misread, Occasion, OutageFault as Outage, ServerFault as Server,
    UnsyncedDamage,
};

/// How the faults of an occasion are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Now and then, with this mean time in between, one of them, by their weights.
    Every { low_ms: u64, high_ms: u64 },
    /// One of them, by their weights, which are the same at all levels.
    One,
    /// Each for itself; its weight is a probability in millionths.
    Each,
}

impl Rule {
    /// Returns the mean time between two occasions at the level low; 0 if they come by themselves.
    pub(crate) fn low_ms(self) -> u64 {
        match self {
            Self::Every { low_ms, .. } => low_ms,
            Self::One | Self::Each => 0,
        }
    }

    /// The same for the level high.
    pub(crate) fn high_ms(self) -> u64 {
        match self {
            Self::Every { high_ms, .. } => high_ms,
            Self::One | Self::Each => 0,
        }
    }
}

/// An occasion, and how its faults are drawn.
pub(crate) struct Draw {
    pub(crate) occasion: Occasion,
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
}

/// A fault.
pub(crate) struct Row {
    pub(crate) fault: Fault,
    pub(crate) name: &'static str,
    /// Weights at the levels low and high; at none, nothing happens.
    pub(crate) low: u32,
    pub(crate) high: u32,
    /// Mean time until it ends, in seconds; 0 if it ends at once or as `effect` says.
    pub(crate) lasts_s: u64,
    pub(crate) effect: &'static str,
}

impl Row {
    /// Returns the probability, in millionths, of a heavy fault in a swarm.
    pub(crate) fn heavy(&self) -> u32 {
        (self.high * HEAVY_CHANCE).min(CERTAIN)
    }
}

/// How many times as likely as at the level high a heavy fault is that is drawn for itself.
const HEAVY_CHANCE: u32 = 3;
/// A probability of 1, in millionths.
const CERTAIN: u32 = 1_000_000;

/// How badly a line is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disturbance {
    /// Faults at once: from one to this many.
    pub(crate) faults_max: u64,
    pub(crate) shortest_s: u64,
    pub(crate) longest_s: u64,
}

pub(crate) const NO_DISTURBANCE: Disturbance =
    Disturbance { faults_max: 0, shortest_s: 0, longest_s: 0 };
pub(crate) const LOW_DISTURBANCE: Disturbance =
    Disturbance { faults_max: 1, shortest_s: 30, longest_s: 900 };
pub(crate) const HIGH_DISTURBANCE: Disturbance =
    Disturbance { faults_max: 3, shortest_s: 30, longest_s: 7_200 };

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;

const fn every(low_ms: u64, high_ms: u64) -> Rule {
    Rule::Every { low_ms, high_ms }
}

const fn draw(occasion: Occasion, name: &'static str, rule: Rule) -> Draw {
    Draw { occasion, name, rule }
}

/// All occasions, in the order of the faults.
pub(crate) const OCCASIONS: [Draw; 14] = [
    draw(Occasion::DeviceTrouble, "trouble of a device", every(48 * HOUR_MS, 5 * HOUR_MS)),
    draw(Occasion::Disturbance, "fault of a disturbed inverter", Rule::One),
    draw(Occasion::Answer, "answer of an inverter", Rule::Each),
    draw(Occasion::Misreading, "misread answer", Rule::One),
    draw(Occasion::MediumTrouble, "failure of a medium", every(24 * HOUR_MS, 30 * MINUTE_MS)),
    draw(Occasion::DeviceStart, "start of a device", Rule::Each),
    draw(Occasion::FleetOutage, "outage of many devices", every(120 * HOUR_MS, 36 * HOUR_MS)),
    draw(Occasion::Message, "message or reply", Rule::Each),
    draw(Occasion::Corruption, "corrupted message or reply", Rule::One),
    draw(Occasion::Reply, "reply", Rule::Each),
    draw(Occasion::ServerTrouble, "trouble of the server", every(48 * HOUR_MS, 4 * HOUR_MS)),
    draw(Occasion::ServerClock, "server's clock", every(480 * HOUR_MS, 24 * HOUR_MS)),
    draw(Occasion::ServerStart, "start of the server", Rule::Each),
    draw(Occasion::PowerCut, "power cut of a disk", Rule::One),
];

/// One fault whose weight is the same at both levels.
const fn same(
    fault: Fault,
    name: &'static str,
    weight: u32,
    lasts_s: u64,
    effect: &'static str,
) -> Row {
    Row { fault, name, low: weight, high: weight, lasts_s, effect }
}

/// One fault with a probability for each level, in millionths.
const fn each(fault: Fault, name: &'static str, low: u32, high: u32, effect: &'static str) -> Row {
    Row { fault, name, low, high, lasts_s: 0, effect }
}

/// All faults. Those of one occasion are neighbours; their order decides which one a number draws.
#[rustfmt::skip]
pub(crate) const FAULTS: [Row; 58] = [
    same(Fault::Device(Device::PowerCutInOperation), "power cut in an operation", 6, 0, "the power fails in the middle of one of the disk's next 120 operations; it returns after 20 s, 20 min or 6 h on average"),
    same(Fault::Device(Device::PowerCut), "power cut", 3, 0, "the power fails between two operations; it returns as above"),
    same(Fault::Device(Device::Restart), "restart", 1, 0, "the agent stops in order and starts again after 2 s"),
    same(Fault::Device(Device::Partition), "partition", 3, 30 * MINUTE_S, "the device cannot reach the server; some devices often for hours or days"),
    same(Fault::Device(Device::DiskFull), "disk full", 2, 20 * MINUTE_S, "at most 3 kB more fit on the disk"),
    same(Fault::Device(Device::DiskFailing), "disk failing", 1, 10 * MINUTE_S, "every change of the disk fails"),
    same(Fault::Device(Device::InverterDisturbed), "inverters disturbed", 4, HOUR_S, "each line gets one fault (low) or up to three (high), each for 30 s to 15 min (low) or 2 h (high)"),

    same(Fault::Line(Line::WrongCrc), "wrong checksum", 1, 0, "answers have a wrong checksum; over TCP, a wrong protocol number"),
    same(Fault::Line(Line::Truncated), "truncated", 1, 0, "answers end early"),
    same(Fault::Line(Line::Garbage), "garbage", 1, 0, "noise precedes answers"),
    same(Fault::Line(Line::Overlong), "overlong", 1, 0, "answers have more data than requested"),
    same(Fault::Line(Line::Duplicate), "duplicate", 1, 0, "answers are sent twice"),
    same(Fault::Line(Line::WrongUnit), "wrong unit", 1, 0, "answers have another unit"),
    same(Fault::Line(Line::WrongFunction), "wrong function", 1, 0, "answers have another function"),
    same(Fault::Line(Line::StaleAnswer), "stale answer", 1, 0, "the answer to the previous request is sent"),
    same(Fault::Line(Line::Exception), "exception", 1, 0, "reads are refused, half of the time only those of some registers"),
    same(Fault::Line(Line::Silence), "silence", 1, 0, "there is no answer"),
    same(Fault::Line(Line::Delay), "delay", 1, 0, "answers are 50 ms to 6 s late"),
    same(Fault::Line(Line::Reset), "reset", 1, 0, "the connection is reset"),
    same(Fault::Line(Line::Frozen), "frozen", 1, 0, "registers keep the words that they had when the fault began"),
    same(Fault::Line(Line::Reboot), "reboot", 1, 0, "the inverter is unreachable for a minute"),
    same(Fault::Line(Line::NightSleep), "night sleep", 1, 0, "no answer in the dark, for 20 times as long as other faults"),

    each(Fault::Misreading, "misread", 50, 2_000, "a correct frame has words that the inverter does not hold"),

    same(Fault::Misread(Misread::OldAnswer), "old answer", 1, 0, "the words are those of 1 min to 24 h ago"),
    same(Fault::Misread(Misread::Filler), "filler", 1, 0, "all words are zeros or all are ones"),
    same(Fault::Misread(Misread::WordAbove), "word above", 1, 0, "one word is higher by one, like the half of a number whose carry came too early"),
    same(Fault::Misread(Misread::WordBelow), "word below", 1, 0, "one word is lower by one"),
    same(Fault::Misread(Misread::ArbitraryWord), "arbitrary word", 1, 0, "one word is arbitrary"),

    same(Fault::Medium(Medium::SectorsLost), "sectors lost", 9, 0, "up to eight sectors cannot be read until they are written again"),
    same(Fault::Medium(Medium::BitRotted), "bit rotted", 8, 0, "a bit changes in data synced long ago"),
    same(Fault::Medium(Medium::ContentsClosed), "file closed", 2, 0, "a file can neither be read nor written any more"),
    same(Fault::Medium(Medium::FileClosed), "file and length closed", 1, 0, "of a file, only the name is left"),

    each(Fault::DeviceStart(Start::PowerCutInRecovery), "power cut in recovery", 100_000, 100_000, "the power fails again within 30 operations of the disk"),
    each(Fault::DeviceStart(Start::ClockUnset), "clock unset", 50_000, 250_000, "the system clock shows the year 2000; a time server corrects half of them within 3 h"),
    each(Fault::DeviceStart(Start::ClockWrong), "clock wrong", 20_000, 100_000, "the system clock is wrong by up to 3 days; a time server corrects half of them within 3 h"),
    each(Fault::DeviceStart(Start::ClockDrifting), "clock drifting", CERTAIN, CERTAIN, "the monotonic clock is fast or slow by up to 100 ppm"),
    each(Fault::DeviceStart(Start::ModemLate), "modem late", 700_000, 700_000, "the server is out of reach for 12 h on average; only of boards without a battery"),

    same(Fault::Outage(Outage::PowerCut), "grid failure", 1, 10 * MINUTE_S, "the power fails for all devices or for three of ten"),
    same(Fault::Outage(Outage::Partition), "carrier failure", 1, HOUR_S, "all devices or three of ten cannot reach the server, and reconnect at once"),

    each(Fault::Message(Message::Lost), "lost", 10_000, 50_000, "no copy arrives"),
    each(Fault::Message(Message::Doubled), "doubled", 2_000, 30_000, "a second copy arrives up to 30 min later"),
    each(Fault::Message(Message::HeldBack), "held back", 2_000, 30_000, "it arrives up to 30 min late"),
    each(Fault::Message(Message::Corrupted), "corrupted", 1_000, 20_000, "its bytes are changed"),

    same(Fault::Corruption(Corruption::CutShort), "cut short", 3, 0, "the end is missing"),
    same(Fault::Corruption(Corruption::BitsChanged), "bits changed", 7, 0, "one bit of each of up to four neighbouring bytes is changed"),

    each(Fault::SwappedReply, "swapped", 500, 10_000, "one of the last four replies arrives in its place"),

    same(Fault::Server(Server::PowerCutInOperation), "power cut in an operation", 4, 0, "the power fails in the middle of one of the disk's next 400 operations; it returns as below"),
    same(Fault::Server(Server::PowerCut), "power cut", 1, 2 * MINUTE_S, "the power fails between two operations"),
    same(Fault::Server(Server::Killed), "killed", 2, MINUTE_S, "the process ends; what it has written stays"),
    same(Fault::Server(Server::DiskFull), "disk full", 1, 20 * MINUTE_S, "at most 200 kB more fit on the disk"),
    same(Fault::Server(Server::DiskFailing), "disk failing", 1, 10 * MINUTE_S, "every change of the disk fails"),
    same(Fault::Server(Server::ClockStepped), "clock stepped", 1, 15 * MINUTE_S, "the clock is wrong by up to 20 s, or up to an hour once in five times"),

    same(Fault::ServerClock, "clock astray", 1, 2 * HOUR_S, "the clock is wrong by up to 6 h or, half of the time, up to 3 days"),

    each(Fault::PowerCutInServerStart, "power cut in a start", 200_000, 200_000, "the power fails again within 60 operations of the disk"),

    same(Fault::Cut(UnsyncedDamage::Kept), "all kept", 1, 0, "all unsynced operations have reached the disk"),
    same(Fault::Cut(UnsyncedDamage::Lost), "all lost", 1, 0, "none has"),
    same(Fault::Cut(UnsyncedDamage::Ordered), "first ones kept", 2, 0, "those before a moment have"),
    same(Fault::Cut(UnsyncedDamage::Mixed), "mixed", 4, 0, "each is kept, lost or torn for itself; on devices' flash one write in three has some bits changed"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_drawn_at_one_occasion_among_its_neighbours() {
        let mut occasions: Vec<Occasion> = FAULTS.iter().map(|row| row.fault.occasion()).collect();
        occasions.dedup();
        let of_table: Vec<Occasion> = OCCASIONS.iter().map(|draw| draw.occasion).collect();
        assert_eq!(occasions, of_table);
        for (place, row) in FAULTS.iter().enumerate() {
            let others =
                FAULTS[..place].iter().filter(|o| o.fault.occasion() == row.fault.occasion());
            for other in others {
                assert!(other.fault != row.fault && other.name != row.name, "{}", row.name);
            }
        }
    }

    #[test]
    fn low_is_below_high_and_chances_are_chances() {
        for row in &FAULTS {
            assert!(0 < row.low && row.low <= row.high && row.high <= CERTAIN, "{}", row.name);
        }
        for draw in &OCCASIONS {
            if let Rule::Every { low_ms, high_ms } = draw.rule {
                assert!(high_ms < low_ms, "{}", draw.name);
            }
        }
    }
}

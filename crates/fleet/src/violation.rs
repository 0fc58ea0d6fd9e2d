//! A broken promise: which, when, and what the device concerned went through before.

use std::fmt;

use ecowatt_model::UnixMs;

use crate::trace::Instant;

/// What must hold in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// What was durable on the device is stored, once it could be delivered.
    NothingLost,
    /// What is stored is stored once.
    NothingDoubled,
    /// What is stored was sampled.
    NothingInvented,
    /// A sample's time and quality are those at which it was taken, from register to store.
    NothingRestamped,
    /// A sample that was placed in time afterwards is where it belongs, if its device heard the server
    /// in that boot epoch, or had a clock that was right.
    WellPlaced,
    /// A device that has just heard the server has its time.
    ClockFollows,
    /// What was acknowledged is stored from then on.
    AcknowledgedIsStored,
    /// No counter seals two messages under one key.
    CounterUsedOnce,
    /// No batch name stands for two batches.
    BatchNamedOnce,
    /// A message that is older than one that was taken gets no reply, whatever befell the server.
    OldIsRefused,
    /// Only the reply to the message under way is accepted.
    ReplyIsBound,
    /// What an enrolled device sent, and arrived as it was sent, is not refused.
    IntactIsTaken,
    /// What a failing medium destroys of what was durable is told as a gap.
    DamageIsTold,
    /// A failing medium costs what it destroys, and nothing else.
    DamageIsContained,
    /// The spool stays within its limit.
    SpoolWithinLimit,
    /// Only a full spool drops batches, the oldest first.
    OldestDroppedFirst,
    /// The device's memory stays within its constants.
    MemoryWithinLimit,
    /// Everything is delivered within a bound once faults have stopped.
    Delivered,
    /// The state of an inverter that the server shows is the last that its device saw, within a bound
    /// once faults have stopped; until then every message tells of it unless the server knows.
    StatesArrive,
    /// A message can always be made.
    MessageIsMade,
    /// Energy equals what the inverter's counter has moved by; where the device's clock was wrong for
    /// a while, it equals what the batches hold in the order of their times.
    EnergyIsCounted,
    /// No day and no quarter hour has a power that the inverter cannot make, whatever was misread.
    NothingImpossible,
    /// Days and quarter hours have number, sum and extremes of the stored readings.
    RollUpsAddUp,
    /// Roll-ups that are made again from the batches are what they were, to the byte.
    RebuildChangesNothing,
    /// What the device core has had kept is handed back to it.
    KeptIsHandedBack,
    /// The device starts whatever a power cut has left.
    DeviceStarts,
    /// The server starts whatever a power cut has left.
    ServerStarts,
    /// An inverter that answers correctly within its profile's limits has its registers stored, whatever
    /// the length and speed of its reads.
    HealthyIsRead,
    /// Words that reach the device are those that the inverter sent.
    WordsAreTrue,
    /// Nothing panics.
    NoPanic,
}

/// A promise broken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    pub invariant: Invariant,
    /// Virtual time.
    pub at_ms: i64,
    /// The device as the store names it; none if it is the server's.
    pub device: Option<String>,
    pub detail: String,
    /// What happened before, oldest first.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.as_deref().unwrap_or("server");
        writeln!(
            f,
            "{}  {device}: {:?} is broken: {}",
            Instant(UnixMs(self.at_ms)),
            self.invariant,
            self.detail
        )?;
        for line in &self.trace {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

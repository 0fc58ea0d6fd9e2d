//! A broken promise: which, when, and what happened to the device before.

use std::fmt;

use ecowatt_model::UnixMs;

use crate::trace::Instant;

/// What must hold in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// Samples that were durable on the device are stored, once they could be delivered.
    NothingLost,
    /// What is stored is stored once.
    NothingDoubled,
    /// What is stored was sampled.
    NothingInvented,
    /// A sample keeps the time and quality with which it was taken, from register to store.
    NothingRestamped,
    /// A sample whose time was determined afterwards has the right time, if its device heard from
    /// the server in that boot epoch, or had a correct clock.
    WellPlaced,
    /// A device that has just heard from the server has the server's time.
    ClockFollows,
    /// What was acknowledged stays stored.
    AcknowledgedIsStored,
    /// No counter seals two messages under one key.
    CounterUsedOnce,
    /// No two batches have the same name.
    BatchNamedOnce,
    /// A message older than an accepted one gets no reply, whatever happened to the server.
    OldIsRefused,
    /// A device accepts only the reply to its current message.
    ReplyIsBound,
    /// A message of an enrolled device that arrives unchanged is not refused.
    IntactIsTaken,
    /// Durable samples that a failing medium destroys are reported as a gap.
    DamageIsTold,
    /// A failing medium loses what it destroys, and nothing else.
    DamageIsContained,
    /// The spool stays within its limit.
    SpoolWithinLimit,
    /// Only a full spool drops batches, the oldest first.
    OldestDroppedFirst,
    /// The device's memory stays within its constants.
    MemoryWithinLimit,
    /// Everything is delivered within a bound once faults have stopped.
    Delivered,
    /// The server shows the last inverter state that the device saw, within a bound once faults
    /// have stopped; until then every message reports the state unless the server has it.
    StatesArrive,
    /// A device can always build a message.
    MessageIsMade,
    /// Energy equals the increase of the inverter's counter; where the device's clock was wrong for
    /// a while, it equals the increase in the batches, ordered by their times.
    EnergyIsCounted,
    /// No day or quarter hour shows a power that the inverter cannot produce, whatever was misread.
    NothingImpossible,
    /// Days and quarter hours have the number, sum and extremes of the stored readings.
    RollUpsAddUp,
    /// Roll-ups that are rebuilt from the batches are equal to the stored ones, to the byte.
    RebuildChangesNothing,
    /// What the device core has stored in a slot is handed back to it at the next start.
    KeptIsHandedBack,
    /// The generation of settings that a device reports never falls, and neither does the one that
    /// the server has.
    ReportedNeverFalls,
    /// A desired configuration is reported within a bound once faults have stopped, each of its
    /// values in use or refused, or all of them reverted.
    SettingsArrive,
    /// Within a bound once faults have stopped, the configuration that is desired for a device has the
    /// values of the template that was assigned to it last, and the device's own over them.
    TemplateIsFollowed,
    /// A device executes only what an operator ordered for it, and the requests of one order make one
    /// command.
    CommandIsOrdered,
    /// A command is executed at most once.
    CommandOnce,
    /// A command is begun before its deadline and not before its time, by a clock that the server has
    /// confirmed.
    CommandInTime,
    /// Of commands that were ordered at the same time, the more urgent ones are sent first.
    UrgentGoesFirst,
    /// Every command has ended an hour after its deadline.
    CommandEnds,
    /// A command's end is the truth: it succeeded only if it was executed, it failed, expired or was
    /// cancelled only if it was not, and it is unknown only if the device has not reported its end or
    /// was restarted in between. What it has read is what the inverter answered.
    CommandEndsTruly,
    /// An inverter has the limit of the last command that has set it, as the device and the server
    /// report: a command has succeeded only if its limit is in force.
    LimitIsAsOrdered,
    /// The device starts whatever a power cut has left on its disk.
    DeviceStarts,
    /// The server starts whatever a power cut has left on its disk.
    ServerStarts,
    /// The registers of an inverter that answers correctly within its profile's limits are stored,
    /// whatever the length and speed of its reads.
    HealthyIsRead,
    /// The device takes only words that the inverter sent.
    WordsAreTrue,
    /// Nothing panics.
    NoPanic,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    pub invariant: Invariant,
    /// Virtual time.
    pub at_ms: i64,
    /// The device's id in the store; `None` if the server broke the promise.
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

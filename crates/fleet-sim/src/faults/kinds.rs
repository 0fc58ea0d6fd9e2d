//! The kinds of faults, by the occasion at which they are drawn. [`super::table()`] says what each of
//! them does and how likely it is.

use ecowatt_inverter_sim::fault::Kind as LineFault;

/// Every fault of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Device(DeviceFault),
    Line(LineFault),
    Medium(MediumFault),
    Outage(OutageFault),
    Server(ServerFault),
    ServerClock,
    Cut(UnsyncedDamage),
    DeviceStart(DeviceStartFault),
    PowerCutInServerStart,
    Message(MessageFault),
    Corruption(Corruption),
    SwappedReply,
    Misreading,
    Misread(Misread),
}

/// When faults are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Now and then, of each device.
    DeviceTrouble,
    /// Each of the faults with which [`DeviceFault::InverterDisturbed`] disturbs a line.
    Disturbance,
    /// Now and then, of every fourth device.
    MediumTrouble,
    /// Now and then, of many devices at once.
    FleetOutage,
    /// Now and then, of the server.
    ServerTrouble,
    /// Now and then, of the server's clock.
    ServerClock,
    /// When power returns: what a cut has left of operations that were not synced.
    PowerCut,
    /// At each start of a device.
    DeviceStart,
    /// At each start of the server but its first.
    ServerStart,
    /// For each message and each reply.
    Message,
    /// For each message or reply that is corrupted.
    Corruption,
    /// For each reply.
    Reply,
    /// For each answer of an inverter.
    Answer,
    /// For each answer that is misread.
    Misreading,
}

/// What happens to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceFault {
    PowerCutInOperation,
    PowerCut,
    Restart,
    Partition,
    DiskFull,
    DiskFailing,
    InverterDisturbed,
}

/// What happens to the medium under a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediumFault {
    SectorsLost,
    BitRotted,
    /// The contents of a file can neither be read nor written.
    ContentsClosed,
    /// Of a file, only the name is left.
    FileClosed,
}

/// What happens to many devices at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutageFault {
    PowerCut,
    Partition,
}

/// What happens to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerFault {
    PowerCutInOperation,
    PowerCut,
    Killed,
    DiskFull,
    DiskFailing,
    ClockStepped,
}

/// What a power cut leaves of the operations that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsyncedDamage {
    /// Everything has reached the disk.
    Kept,
    /// Nothing has.
    Lost,
    /// The operations before a certain moment have, in their order.
    Ordered,
    /// Each operation has or has not; a write also in part.
    Mixed,
}

impl UnsyncedDamage {
    /// All kinds of damage.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Lost, Self::Ordered, Self::Mixed];
}

/// What is wrong at the start of a device. Each of them is drawn for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceStartFault {
    PowerCutInRecovery,
    ClockUnset,
    ClockWrong,
    ClockDrifting,
    ModemLate,
}

/// What happens to a message or reply. Each of them is drawn for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageFault {
    Lost,
    Doubled,
    HeldBack,
    Corrupted,
}

/// How bytes are corrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corruption {
    CutShort,
    BitsChanged,
}

/// The words that an inverter sends in place of those that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misread {
    OldAnswer,
    Filler,
    WordAbove,
    WordBelow,
    ArbitraryWord,
}

impl Fault {
    /// Returns when it is drawn.
    pub(crate) fn occasion(self) -> Occasion {
        match self {
            Self::Device(_) => Occasion::DeviceTrouble,
            Self::Line(_) => Occasion::Disturbance,
            Self::Medium(_) => Occasion::MediumTrouble,
            Self::Outage(_) => Occasion::FleetOutage,
            Self::Server(_) => Occasion::ServerTrouble,
            Self::ServerClock => Occasion::ServerClock,
            Self::Cut(_) => Occasion::PowerCut,
            Self::DeviceStart(_) => Occasion::DeviceStart,
            Self::PowerCutInServerStart => Occasion::ServerStart,
            Self::Message(_) => Occasion::Message,
            Self::Corruption(_) => Occasion::Corruption,
            Self::SwappedReply => Occasion::Reply,
            Self::Misreading => Occasion::Answer,
            Self::Misread(_) => Occasion::Misreading,
        }
    }
}

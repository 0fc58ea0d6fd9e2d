//! What is simulated: how many devices for how long, and how often things go wrong.

use std::time::Duration;

use ecowatt_model::{DeviceNumber, UnixMs};

use crate::random::Random;
use crate::streams;

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultLevel {
    /// Nothing.
    None,
    /// What a well-kept fleet sees in a bad month.
    #[default]
    Low,
    /// Everything, all the time.
    High,
    /// What the seed decides: some faults never, others far more often than at the level high.
    Swarm,
}

/// One simulation. Together with the program it determines every byte of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    pub seed: u64,
    pub devices: u32,
    pub days: u32,
    pub faults: FaultLevel,
    pub sample_interval: Duration,
    pub upload_interval: Duration,
    /// Mean time between two changes of the settings of one device; `None` for no changes.
    pub settings_every: Option<Duration>,
    /// Mean time between two changes of templates, or of which devices use them; `None` for none.
    pub templates_every: Option<Duration>,
    /// Mean time between two commands to one device; `None` for none.
    pub commands_every: Option<Duration>,
    /// The report has the whole trace of this device. It changes nothing else.
    pub traced: Option<DeviceNumber>,
}

/// How the work is spread over threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    One,
    /// Devices on one thread, the server on another.
    Two,
}

impl Threads {
    /// Returns how many threads may compute at once.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// 2026-06-01T00:00:00Z, when every simulation begins.
pub const START: UnixMs = UnixMs(1_780_272_000_000);

/// Most devices of one simulation.
pub const DEVICES_MAX: u32 = 10_000;
/// Most days of one simulation.
pub const DAYS_MAX: u32 = 366;

/// Time for the fleet to deliver everything once the faults have stopped: two of the longest pauses
/// between attempts (5 min each), an upload interval of 15 min, and the backlog of a full spool at
/// a message every 20 s.
pub const SETTLE: Duration = Duration::from_secs(3600);

/// Larger fleets always have the slow network, which lets devices and server run in parallel on two
/// cores, and a server whose commits take long, so that several messages share one.
const SLOW_NETWORK_DEVICES: u32 = 100;
const SLOW_GROUP_SPAN_MS: u64 = 2_000;

const GROUP_SPAN_MAX_MS: u64 = 50;

impl Scenario {
    /// Returns a scenario with a sample a minute and an upload every 15 minutes.
    #[must_use]
    pub fn new(seed: u64, devices: u32, days: u32, faults: FaultLevel) -> Self {
        Self {
            seed,
            devices,
            days,
            faults,
            sample_interval: Duration::from_secs(60),
            upload_interval: Duration::from_secs(900),
            settings_every: None,
            templates_every: None,
            commands_every: None,
            traced: None,
        }
    }

    /// Returns the end of the last day, when all faults stop.
    #[must_use]
    pub fn calm_at(&self) -> UnixMs {
        START.plus(Duration::from_secs(u64::from(self.days) * 86_400))
    }

    /// Returns when sampling ends and buffers are flushed.
    pub(crate) fn flush_at(&self) -> UnixMs {
        self.calm_at().plus(SETTLE / 2)
    }

    /// Returns the end of the simulation.
    #[must_use]
    pub fn end(&self) -> UnixMs {
        self.calm_at().plus(SETTLE)
    }

    /// Returns the shortest time of one way between device and server.
    pub(crate) fn latency_min_ms(&self) -> u64 {
        if self.devices > SLOW_NETWORK_DEVICES {
            return 4_000;
        }
        let latencies = [20, 200, 4_000];
        latencies[usize::try_from(Random::new(self.seed, streams::LATENCY).below(3)).unwrap_or(0)]
    }

    /// Messages that arrive within this time share a commit of the server; it is never longer than
    /// the shortest way.
    pub(crate) fn group_span_ms(&self) -> u64 {
        if self.devices > SLOW_NETWORK_DEVICES {
            return SLOW_GROUP_SPAN_MS;
        }
        self.latency_min_ms().min(GROUP_SPAN_MAX_MS)
    }
}

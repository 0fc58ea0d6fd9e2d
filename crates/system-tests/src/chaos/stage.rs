//! The rig with a bad network between its parts, and the faults against it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ecowatt_clock::Clock;
use ecowatt_fleet_sim::random::Random;
use ecowatt_model::MonoMs;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::console::Console;
use super::kind::{Deck, KINDS, Kind, Part};
use super::starvation::{FaultReport, Target, crowd, fill_up, starve};
use crate::overload::{Crowd, OverloadResult, StoredBatches, is_healthy};
use crate::proxy::{
    BUS_TROUBLES, LINK_TROUBLES, LinkCondition, Plan, Proxy, Trouble, TroubleCounts,
};
use crate::rig::{Rig, Routes, STOP_MAX};
use crate::test_disk::Volume;
use crate::verdict::Verdict;

/// Room for the server's data: two completely accepted overloads fit (100,000 messages of 4 KB
/// each, roll-ups included). Memory is used only as the disk fills.
const SERVER_DISK_BYTES: u64 = 1024 * 1024 * 1024;
const AGENT_DISK_BYTES: u64 = 8 * 1024 * 1024;
/// How long messages are sent in an overload; answering the accepted ones takes longer.
const OVERLOAD: Duration = Duration::from_secs(5);
/// How often states are checked.
const TICK: Duration = Duration::from_millis(25);
/// How often the server's memory is measured.
const MEMORY_EVERY: Duration = Duration::from_millis(200);
/// Pause before a process that could not start is started again, as a supervisor would.
const RESTART: Duration = Duration::from_millis(500);
/// How long a server may take to answer `/health` before the request is repeated.
const ASK_MAX: Duration = Duration::from_millis(500);
/// How long a start on a full disk may take to fail.
const FAILED_START_MAX: Duration = Duration::from_secs(60);
/// How long faults may go on after the time is up, until each kind has occurred and has ended.
const OVERTIME_MAX: Duration = Duration::from_secs(600);

/// Settings of a run.
pub(crate) struct Wishes {
    pub(crate) seed: u64,
    pub(crate) agents: u8,
    pub(crate) lasting: Duration,
    pub(crate) day: PathBuf,
}

/// Results of a run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) counts: BTreeMap<Kind, u64>,
    pub(crate) link: Arc<TroubleCounts>,
    pub(crate) bus: Arc<TroubleCounts>,
    /// Kinds that this machine does not allow, and why.
    pub(crate) not_tested: Vec<(Kind, String)>,
    /// Starts that failed because the disk was full.
    pub(crate) failed_starts: u64,
    /// Requests that a server on a full disk rejected with 503 and Retry-After.
    pub(crate) rejected_full: u64,
    pub(crate) overloads: Vec<OverloadResult>,
    pub(crate) kept: StoredBatches,
    /// Peak memory of the server, at all times and under overload.
    pub(crate) memory: u64,
    pub(crate) memory_overloaded: u64,
    pub(crate) verdict: Verdict,
    pub(crate) violations: Vec<String>,
}

enum Ending {
    At(MonoMs),
    Task(JoinHandle<Result<FaultReport>>),
}

/// A fault that has begun.
struct Active {
    kind: Kind,
    number: usize,
    ending: Ending,
}

/// The processes, proxies and disks of a run, and the faults in progress.
pub(crate) struct Stage<'a> {
    // Processes end before their disks go.
    rig: Rig,
    links: Vec<Proxy>,
    buses: Vec<Proxy>,
    server_disk: Option<Arc<Volume>>,
    agent_disk: Option<Volume>,
    data: PathBuf,
    crowd: Arc<Crowd>,
    next_message: u32,
    is_overloaded: Arc<AtomicBool>,
    runtime: Handle,
    console: &'a Console,
    clock: Clock,
    random: Random,
    wishes: Wishes,
    active: Vec<Active>,
    /// Processes that ended because the disk was full, and when they are restarted.
    down: BTreeMap<Part, MonoMs>,
    /// Processes that were started on a full disk, and when.
    started_full: BTreeMap<Part, MonoMs>,
    /// Whether the server has answered since it was started.
    is_server_up: bool,
    pub(crate) report: Report,
}

impl<'a> Stage<'a> {
    /// Starts everything and waits until samples arrive.
    pub(crate) fn set(
        wishes: Wishes,
        folder: &Path,
        runtime: Handle,
        console: &'a Console,
    ) -> Result<Self> {
        let mut report = Report::default();
        let data = folder.join("server");
        let server_disk = disk(&data, SERVER_DISK_BYTES, Kind::ServerDiskFull, &mut report);
        let agent_data = folder.join("agent-0");
        let agent_disk = disk(&agent_data, AGENT_DISK_BYTES, Kind::AgentDiskFull, &mut report);
        console.note("making the devices of the overload");
        let crowd = Arc::new(runtime.block_on(Crowd::create(&data, &wishes.day))?);
        console.note("starting server, inverters and agents");
        let mut rig = Rig::start(folder, &data)?;
        runtime.block_on(crowd.announce(&rig.listen))?;
        let (mut links, mut buses) = (Vec::new(), Vec::new());
        for number in 0..wishes.agents {
            let plan = |target: &str, troubles, part: u64, tally: &Arc<TroubleCounts>| Plan {
                target: target.to_owned(),
                troubles,
                seed: wishes.seed,
                part: (1 + 2 * u64::from(number) + part) * 1_000_000,
                tally: Arc::clone(tally),
            };
            let inverter = rig.add_inverter()?;
            let bus = Proxy::start(&runtime, plan(&inverter, BUS_TROUBLES, 0, &report.bus))?;
            let link = Proxy::start(&runtime, plan(&rig.listen, LINK_TROUBLES, 1, &report.link))?;
            let data = folder.join(format!("agent-{number}"));
            let (server, inverter) = (link.address.clone(), bus.address.clone());
            rig.add_agent(&Routes { server, inverter, data })?;
            links.push(link);
            buses.push(bus);
        }
        rig.wait_for_uploads()?;
        Ok(Self {
            rig,
            links,
            buses,
            server_disk: server_disk.map(Arc::new),
            agent_disk,
            data,
            crowd,
            next_message: 0,
            is_overloaded: Arc::default(),
            runtime,
            console,
            clock: Clock::system(),
            random: Random::new(wishes.seed, 0),
            wishes,
            active: Vec::new(),
            down: BTreeMap::new(),
            started_full: BTreeMap::new(),
            is_server_up: true,
            report,
        })
    }

    /// Causes faults, several at a time, until the time is up, each kind and each trouble of the
    /// networks has occurred, and all have ended.
    pub(crate) fn play(&mut self) -> Result<()> {
        let is_tested =
            |kind: &Kind| self.report.not_tested.iter().all(|(missing, _)| missing != kind);
        let mut deck = Deck::new(KINDS.iter().copied().filter(is_tested).collect());
        for proxy in self.links.iter().chain(&self.buses) {
            proxy.set(LinkCondition::Rough);
        }
        let end = self.clock.mono().plus(self.wishes.lasting);
        let limit = end.plus(OVERTIME_MAX);
        let (mut next_fault, mut next_look) = (MonoMs(0), MonoMs(0));
        loop {
            let now = self.clock.mono();
            let has_shown_all = deck.has_shown_all() && self.has_troubled_all();
            let is_over = now >= end && has_shown_all || now >= limit;
            if is_over && self.active.is_empty() && self.down.is_empty() {
                break;
            }
            self.console.show(self.wishes.lasting.saturating_sub(end.since(now)));
            self.finish_due(now)?;
            self.supervise(now)?;
            self.look_at_server();
            if now >= next_look {
                next_look = now.plus(MEMORY_EVERY);
                self.look_at_memory();
            }
            if !is_over && now >= next_fault {
                next_fault = now.plus(Duration::from_millis(self.random.between(100, 1_200)));
                let mut taken: Vec<Part> =
                    self.active.iter().flat_map(|a| a.kind.needs(a.number)).collect();
                // A process that is down gets no fault.
                taken.extend(self.down.keys());
                taken.extend((!self.is_server_up).then_some(Part::Server));
                let is_free = |parts: &[Part]| parts.iter().all(|part| !taken.contains(part));
                let agents = usize::from(self.wishes.agents);
                if let Some((kind, number)) = deck.draw(&mut self.random, agents, is_free) {
                    self.begin(kind, number, now)?;
                }
            }
            std::thread::sleep(TICK);
        }
        for proxy in self.links.iter().chain(&self.buses) {
            proxy.set(LinkCondition::Clear);
        }
        Ok(())
    }

    /// Whether every trouble of the networks has occurred.
    fn has_troubled_all(&self) -> bool {
        let has_done = |troubles: &[Trouble], tally: &TroubleCounts| {
            troubles.iter().all(|trouble| tally.count(*trouble) > 0)
        };
        has_done(LINK_TROUBLES, &self.report.link) && has_done(BUS_TROUBLES, &self.report.bus)
    }

    /// Compares, after all faults have ended.
    pub(crate) fn judge(&mut self) -> Result<()> {
        self.console.note("all faults have ended; waiting for the backlog");
        let console = self.console;
        self.report.verdict = self.rig.judge(&mut |line| console.note(line))?;
        self.rig.server.stop(STOP_MAX)?;
        let checked = self.crowd.check(&self.data, &self.report.overloads);
        self.report.kept = self.runtime.block_on(checked)?;
        Ok(())
    }

    /// Copies the contents of disks that will be unmounted to an ordinary folder.
    pub(crate) fn keep(&self) -> Result<()> {
        for disk in self.disks() {
            let mut kept = disk.path().as_os_str().to_owned();
            kept.push("-kept");
            disk.copy_to(Path::new(&kept))?;
        }
        Ok(())
    }

    /// The disks that must be unmounted whatever happens.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        self.disks().map(|disk| disk.path().to_owned()).collect()
    }

    fn disks(&self) -> impl Iterator<Item = &Volume> {
        self.server_disk.iter().map(|disk| &**disk).chain(&self.agent_disk)
    }

    fn begin(&mut self, kind: Kind, number: usize, now: MonoMs) -> Result<()> {
        let (mut least_ms, mut most_ms) = (500, self.longest_ms());
        match kind {
            Kind::ServerKilled => self.rig.server.kill()?,
            Kind::ServerPaused => self.rig.server.pause()?,
            Kind::AgentKilled => self.rig.agents[number].process.kill()?,
            Kind::AgentPaused => self.rig.agents[number].process.pause()?,
            Kind::InverterKilled => self.rig.inverters[number].process.kill()?,
            Kind::InverterPaused => self.rig.inverters[number].process.pause()?,
            Kind::LinkParted => self.links[number].set(LinkCondition::Parted),
            Kind::BusParted => self.buses[number].set(LinkCondition::Parted),
            Kind::AgentDiskFull => fill(self.agent_disk.as_ref())?,
            Kind::ServerDiskFull
            | Kind::ServerFilesUsedUp
            | Kind::ServerCrowded
            | Kind::Overload => {}
        }
        match kind {
            Kind::ServerKilled | Kind::AgentKilled | Kind::InverterKilled => {
                // A killed process is down for a moment.
                self.down.remove(&kind.needs(number)[0]);
                (least_ms, most_ms) = (0, 1_000);
            }
            Kind::ServerDiskFull | Kind::AgentDiskFull | Kind::ServerFilesUsedUp => {
                (least_ms, most_ms) = (3_000, most_ms.max(4_000));
            }
            _ => {}
        }
        let time = Duration::from_millis(self.random.between(least_ms, most_ms));
        let listen = self.rig.listen.clone();
        let ending = match (kind, &self.server_disk) {
            (Kind::ServerFilesUsedUp, _) => {
                Ending::Task(self.runtime.spawn(starve(self.target()?, time)))
            }
            (Kind::ServerCrowded, _) => Ending::Task(self.runtime.spawn(crowd(self.target()?))),
            (Kind::ServerDiskFull, Some(disk)) => {
                let (disk, token) = (Arc::clone(disk), self.rig.token.clone());
                Ending::Task(self.runtime.spawn(fill_up(disk, listen, token, time)))
            }
            (Kind::Overload, _) => Ending::Task(self.overload(listen)),
            _ => Ending::At(now.plus(time)),
        };
        let whose = match kind.needs(number)[0] {
            Part::Agent(n) | Part::Link(n) | Part::Inverter(n) | Part::Bus(n) => format!(" {n}"),
            Part::AgentDisk => " 0".to_owned(),
            Part::Server | Part::ServerDisk => String::new(),
        };
        let lasting = match ending {
            Ending::At(_) => format!("for {:.1} s", time.as_secs_f64()),
            Ending::Task(_) => "…".to_owned(),
        };
        self.console.note(&format!("{}{whose} {lasting}", kind.label()));
        *self.report.counts.entry(kind).or_default() += 1;
        self.active.push(Active { kind, number, ending });
        Ok(())
    }

    fn target(&self) -> Result<Target> {
        Ok(Target {
            pid: self.rig.server.pid()?,
            listen: self.rig.listen.clone(),
            log: self.rig.server_log(),
            agents: self.wishes.agents.into(),
        })
    }

    fn overload(&self, listen: String) -> JoinHandle<Result<FaultReport>> {
        let (crowd, is_on) = (Arc::clone(&self.crowd), Arc::clone(&self.is_overloaded));
        let mut from = self.next_message;
        self.runtime.spawn(async move {
            let outcome = crowd.overload(&listen, OVERLOAD, &mut from, &is_on).await?;
            let note = format!(
                "overload has ended: capacity {:.0} messages/s, offered {:.0}/s; {} accepted, \
                 {} rejected",
                outcome.capacity,
                outcome.offered_rate,
                outcome.acknowledged.len(),
                outcome.rejected
            );
            Ok(FaultReport { note, overload: Some((outcome, from)), ..FaultReport::default() })
        })
    }

    fn finish_due(&mut self, now: MonoMs) -> Result<()> {
        let is_due = |active: &mut Active| match &active.ending {
            Ending::At(at) => *at <= now,
            Ending::Task(task) => task.is_finished(),
        };
        let due: Vec<Active> = self.active.extract_if(.., is_due).collect();
        for Active { kind, number, ending } in due {
            if let Ending::Task(task) = ending {
                let report = self.runtime.block_on(task).context("a fault's task")?;
                let report = report.with_context(|| kind.label())?;
                self.console.note(&report.note);
                self.report.violations.extend(report.violation);
                self.report.rejected_full += report.rejected_full;
                if let Some((outcome, from)) = report.overload {
                    self.report.overloads.push(outcome);
                    self.next_message = from;
                }
            }
            match kind {
                Kind::ServerKilled | Kind::AgentKilled | Kind::InverterKilled => {
                    self.restart(kind.needs(number)[0], now)?;
                }
                Kind::ServerPaused => self.rig.server.resume()?,
                Kind::AgentPaused => self.rig.agents[number].process.resume()?,
                Kind::InverterPaused => self.rig.inverters[number].process.resume()?,
                Kind::LinkParted => self.links[number].set(LinkCondition::Rough),
                Kind::BusParted => self.buses[number].set(LinkCondition::Rough),
                Kind::AgentDiskFull => free(self.agent_disk.as_ref())?,
                Kind::ServerDiskFull
                | Kind::ServerFilesUsedUp
                | Kind::ServerCrowded
                | Kind::Overload => {}
            }
        }
        // Space that the agent frees meanwhile is filled again.
        if self.active.iter().any(|active| active.kind == Kind::AgentDiskFull) {
            fill(self.agent_disk.as_ref())?;
        }
        Ok(())
    }

    fn restart(&mut self, part: Part, now: MonoMs) -> Result<()> {
        match self.has_full_disk(part) {
            true => self.started_full.insert(part, now),
            false => self.started_full.remove(&part),
        };
        match part {
            Part::Server => {
                self.is_server_up = false;
                self.rig.restart_server()
            }
            Part::Agent(number) => self.rig.restart_agent(number),
            Part::Inverter(number) => self.rig.restart_inverter(number),
            Part::ServerDisk | Part::AgentDisk | Part::Link(_) | Part::Bus(_) => Ok(()),
        }
    }

    fn has_full_disk(&self, part: Part) -> bool {
        let full = match part {
            Part::Server => Some(Kind::ServerDiskFull),
            Part::Agent(0) => Some(Kind::AgentDiskFull),
            _ => None,
        };
        self.active.iter().any(|active| Some(active.kind) == full)
    }

    fn look_at_server(&mut self) {
        if !self.is_server_up {
            let listen = &self.rig.listen;
            let asked = async { tokio::time::timeout(ASK_MAX, is_healthy(listen)).await };
            self.is_server_up = self.runtime.block_on(asked).unwrap_or(false);
        }
    }

    /// Restarts processes that have ended by themselves, as a supervisor would. Only a process that
    /// could not start on a full disk may end by itself.
    fn supervise(&mut self, now: MonoMs) -> Result<()> {
        let agents = 0..usize::from(self.wishes.agents);
        let all = std::iter::once(Part::Server)
            .chain(agents.clone().map(Part::Agent))
            .chain(agents.map(Part::Inverter));
        for part in all {
            let is_killed = self.active.iter().any(|active| {
                matches!(active.kind, Kind::ServerKilled | Kind::AgentKilled | Kind::InverterKilled)
                    && active.kind.needs(active.number) == [part]
            });
            let process = match part {
                Part::Server => &mut self.rig.server,
                Part::Agent(number) => &mut self.rig.agents[number].process,
                Part::Inverter(number) => &mut self.rig.inverters[number].process,
                Part::ServerDisk | Part::AgentDisk | Part::Link(_) | Part::Bus(_) => continue,
            };
            if is_killed || !process.has_ended()? {
                continue;
            }
            match self.down.get(&part) {
                Some(restart) if now < *restart => continue,
                Some(_) => {
                    self.down.remove(&part);
                    self.restart(part, now)?;
                }
                None => {
                    let start = self.started_full.get(&part);
                    let has_not_started = part != Part::Server || !self.is_server_up;
                    if has_not_started && start.is_some_and(|at| now.since(*at) < FAILED_START_MAX)
                    {
                        self.report.failed_starts += 1;
                        self.console.note(&format!("{part:?} ended on its full disk"));
                    } else {
                        let violation = format!("{part:?} ended by itself");
                        self.console.note(&violation);
                        self.report.violations.push(violation);
                    }
                    self.down.insert(part, now.plus(RESTART));
                }
            }
        }
        Ok(())
    }

    fn look_at_memory(&mut self) {
        // Between a kill and the next start there is no process.
        let Ok(bytes) = self.rig.server.pss() else { return };
        self.report.memory = self.report.memory.max(bytes);
        if self.is_overloaded.load(Ordering::Acquire) {
            self.report.memory_overloaded = self.report.memory_overloaded.max(bytes);
        }
    }

    /// Longest time for which a process is stopped or a network is parted.
    fn longest_ms(&self) -> u64 {
        (self.wishes.lasting.as_secs() * 1_000 / 7).clamp(4_000, 25_000)
    }
}

fn disk(path: &Path, size_bytes: u64, kind: Kind, report: &mut Report) -> Option<Volume> {
    Volume::mount(path, size_bytes)
        .map_err(|error| report.not_tested.push((kind, format!("{error:#}"))))
        .ok()
}

fn fill(disk: Option<&Volume>) -> Result<()> {
    disk.map_or(Ok(()), Volume::fill)
}

fn free(disk: Option<&Volume>) -> Result<()> {
    disk.map_or(Ok(()), Volume::free)
}

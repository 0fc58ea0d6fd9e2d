//! Sends commands while server and agents are killed, and counts at the inverters how often each was
//! executed.
//!
//! Real processes, as in `crash`. Agents read holding registers; commands read input registers, in
//! each round another stretch of them, so that the inverter's journal shows every execution of every
//! read. Of writes there is one per round, and the inverter counts those.

mod judge;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use ecowatt_api::{Command, CreateCommand};
use ecowatt_client::{Client, CommandQuery};
use ecowatt_fleet_sim::random::Random;

use crate::process::wait_until;
use crate::rig::{Rig, Routes};
use judge::{CommandVerdict, RoundEvidence};

/// Send commands while server and agents are killed.
#[derive(Debug, Args)]
pub(crate) struct CommandArgs {
    /// How many commands to send; whole rounds are sent.
    #[arg(long, default_value_t = 240)]
    commands: u32,
    /// Number of agents, each with its own inverter.
    #[arg(long, default_value_t = 3)]
    agents: u8,
    /// Seed of victims and moments [default: random, printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the data folder for inspection.
    #[arg(long)]
    keep: bool,
}

/// Stretches of the ten registers, each for one read of a round: address and count.
const STRETCHES: [(u16, u16); 36] = stretches();
/// What a round sends to an agent besides reads: a limit, an upload, a clearing of faults, a restart.
const OTHERS: u32 = 4;
/// Commands of a round for one agent; fewer than may be open at once.
const PER_AGENT: u32 = 36 + OTHERS;
/// How long processes are killed in a round, unless its commands have ended.
const KILLING_MAX: Duration = Duration::from_secs(30);
/// How long commands may take to end when nothing is killed any more.
const ENDING_MAX: Duration = Duration::from_secs(120);
/// Time to begin a command. An agent that could not reach its server waits up to five minutes.
const VALID_S: u64 = 600;
/// Pause between two commands: a round takes long enough for some kills.
const SENDING_PAUSE: Duration = Duration::from_millis(25);
/// Pause between two tries of a request, and most tries: the server is away for a moment.
const PAUSE: Duration = Duration::from_millis(200);
const TRIES_MAX: u32 = 150;

const fn stretches() -> [(u16, u16); 36] {
    let (mut all, mut at, mut address) = ([(0, 0); 36], 0, 0);
    while address < 8 {
        let mut count = 1;
        while count <= 8 - address {
            all[at] = (address, count);
            (at, count) = (at + 1, count + 1);
        }
        address += 1;
    }
    all
}

pub(crate) fn run(args: &CommandArgs) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = args.commands.div_ceil(PER_AGENT * u32::from(args.agents.max(1)));
    say(&format!("seed {seed}, {rounds} rounds of {PER_AGENT} commands to {} agents", args.agents));
    let folder = tempfile::tempdir().context("making a folder")?;
    let tried = attempt(args, rounds, folder.path(), &mut Random::new(seed, 1));
    let is_bad = tried.as_ref().map_or(true, |verdict| !verdict.is_clean());
    if args.keep || is_bad {
        say(&format!("kept {}", folder.keep().display()));
    }
    let verdict = tried?;
    verdict.findings.iter().for_each(|finding| say(finding));
    print(&verdict.to_string());
    ensure!(verdict.succeeded > 0, "no command succeeded, so nothing was tested");
    ensure!(verdict.is_clean(), "seed {seed}: a promise on commands is broken");
    Ok(())
}

fn attempt(
    args: &CommandArgs,
    rounds: u32,
    folder: &Path,
    random: &mut Random,
) -> Result<CommandVerdict> {
    let mut rig = Rig::start(folder, &folder.join("server"))?;
    for number in 0..args.agents {
        let inverter = rig.add_inverter()?;
        let data = folder.join(format!("agent-{number}"));
        rig.add_agent(&Routes { server: rig.listen.clone(), inverter, data })?;
    }
    rig.wait_for_uploads()?;
    let client = Client::new(&format!("http://{}", rig.listen), &rig.token)?;
    let mut verdict = CommandVerdict::default();
    for round in 0..rounds {
        let devices: Vec<String> = rig.agents.iter().map(|agent| agent.device.clone()).collect();
        let before = evidence(&rig)?;
        let is_over = AtomicBool::new(false);
        let sent = std::thread::scope(|scope| {
            let killing = scope.spawn(|| kill_until(&mut rig, &is_over, random));
            let sent = send_round(&client, &devices, round);
            is_over.store(true, Ordering::Relaxed);
            let kills = killing.join().map_err(|_| anyhow!("killing panicked"))??;
            verdict.kills += kills;
            sent
        })?;
        let ended = wait_for_ends(&client, &devices, &sent)?;
        let after = evidence(&rig)?;
        for (number, device) in devices.iter().enumerate() {
            let of_device = ended.iter().filter(|command| command.device == *device);
            verdict.judge(of_device, &before[number], &after[number]);
        }
    }
    Ok(verdict)
}

fn evidence(rig: &Rig) -> Result<Vec<RoundEvidence>> {
    rig.inverters.iter().map(judge::evidence).collect()
}

/// Kills one process after the other until the round is over; all run then.
fn kill_until(rig: &mut Rig, is_over: &AtomicBool, random: &mut Random) -> Result<u32> {
    let mut kills = 0;
    let mut spent = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) && spent < KILLING_MAX {
        let pause = Duration::from_millis(random.between(100, 900));
        let down = Duration::from_millis(random.below(300));
        std::thread::sleep(pause);
        if random.below(3) == 0 {
            rig.server.kill()?;
            std::thread::sleep(down);
            rig.restart_server()?;
        } else {
            let victim = usize::try_from(random.below(rig.agents.len() as u64))?;
            rig.agents[victim].process.kill()?;
            std::thread::sleep(down);
            rig.restart_agent(victim)?;
        }
        kills += 1;
        spent += pause + down;
    }
    Ok(kills)
}

/// Sends the commands of a round, a request of which is repeated with its key until it is answered,
/// and waits a while for their ends; returns their ids.
fn send_round(client: &Client, devices: &[String], round: u32) -> Result<Vec<String>> {
    let mut sent = Vec::new();
    for (number, request) in requests(round).into_iter().enumerate() {
        for device in devices {
            let request =
                CreateCommand { key: Some(format!("{round}-{number}")), ..request.clone() };
            sent.push(retried(|| client.create_command(device, &request))?.id);
            std::thread::sleep(SENDING_PAUSE);
        }
    }
    let mut waited = Duration::ZERO;
    while waited < KILLING_MAX && count_open(client, devices, &sent)? > 0 {
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
    Ok(sent)
}

/// The commands of a round for one agent, in the order in which they are sent.
fn requests(round: u32) -> Vec<CreateCommand> {
    let plain = |kind: &str| CreateCommand {
        kind: kind.to_owned(),
        inverter: None,
        arguments: BTreeMap::new(),
        valid_for_s: Some(VALID_S),
        priority: None,
        not_before: None,
        key: None,
    };
    let of_inverter = |kind: &str, arguments: &[(&str, String)]| CreateCommand {
        inverter: Some(0),
        arguments: arguments
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect(),
        ..plain(kind)
    };
    let mut all: Vec<CreateCommand> = STRETCHES
        .iter()
        .map(|(address, count)| {
            let arguments = [
                ("address", address.to_string()),
                ("count", count.to_string()),
                ("table", "input".to_owned()),
            ];
            of_inverter("read_register", &arguments)
        })
        .collect();
    // Never the limit of the round before, so that it has to be written.
    let percent = [("percent", (20 + round % 60).to_string())];
    all.insert(10, of_inverter("set_power_percentage", &percent));
    all.insert(15, plain("upload"));
    all.insert(20, of_inverter("clear_fault", &[]));
    all.insert(30, CreateCommand { priority: Some(3), ..plain("restart") });
    all
}

/// Repeats a request that fails.
fn retried<T, E: std::error::Error + Send + Sync + 'static>(
    mut request: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let mut last = None;
    for _ in 0..TRIES_MAX {
        match request() {
            Ok(answer) => return Ok(answer),
            Err(error) => last = Some(error),
        }
        std::thread::sleep(PAUSE);
    }
    match last {
        Some(error) => Err(error).context("the server does not answer"),
        None => bail!("nothing was tried"),
    }
}

fn count_open(client: &Client, devices: &[String], sent: &[String]) -> Result<usize> {
    let held = list(client, devices)?;
    let is_open = |id: &&String| held.get(*id).is_none_or(|command| command.state.is_open());
    Ok(sent.iter().filter(is_open).count())
}

/// Waits until all have ended; returns them.
fn wait_for_ends(client: &Client, devices: &[String], sent: &[String]) -> Result<Vec<Command>> {
    // One that has not ended by then is a finding.
    let _ = wait_until("all commands have ended", ENDING_MAX, || {
        std::thread::sleep(PAUSE);
        Ok(count_open(client, devices, sent)? == 0)
    });
    let mut held = list(client, devices)?;
    sent.iter().map(|id| held.remove(id).with_context(|| format!("{id} is not stored"))).collect()
}

/// Returns the newest commands of each device, by their ids.
fn list(client: &Client, devices: &[String]) -> Result<BTreeMap<String, Command>> {
    let mut all = BTreeMap::new();
    for device in devices {
        let page = retried(|| client.list_commands(device, &CommandQuery::default()))?;
        all.extend(page.commands.into_iter().map(|command| (command.id.clone(), command)));
    }
    Ok(all)
}

#[expect(clippy::print_stderr, reason = "progress is for people")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "the verdict is the output")]
fn print(line: &str) {
    println!("{line}");
}

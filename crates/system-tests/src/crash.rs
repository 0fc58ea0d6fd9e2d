//! Kills server and agents at random moments under load and counts lost and doubled samples.
//!
//! Real processes: one server, one simulated inverter per agent, real Modbus TCP, the real link.
//! After the last kill, when the backlog has drained, persisted samples are compared with stored
//! ones.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ecowatt_fleet_sim::random::Random;

use crate::rig::{Rig, Routes};
use crate::verdict::Verdict;

/// Kill server and agents at random under load.
#[derive(Debug, Args)]
pub(crate) struct CrashArgs {
    /// How many processes to kill, one at a time.
    #[arg(long, default_value_t = 100)]
    kills: u32,
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

#[derive(Debug, Default)]
struct Kills {
    server: u32,
    agents: u32,
}

pub(crate) fn run(args: &CrashArgs) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    writeln_stderr(&format!("seed {seed}, {} kills, {} agents", args.kills, args.agents));
    let folder = tempfile::tempdir().context("making a folder")?;
    let tried = attempt(args, folder.path(), &mut Random::new(seed, 0));
    let is_bad = tried.as_ref().map_or(true, |(_, verdict)| !verdict.is_clean());
    if args.keep || is_bad {
        writeln_stderr(&format!("kept {}", folder.keep().display()));
    }
    let (kills, verdict) = tried?;
    for finding in &verdict.findings {
        writeln_stderr(finding);
    }
    writeln_stdout(&format!(
        "kills: {} server, {} agents; samples persisted {}, stored {}, lost {}, doubled {}, \
         re-stamped {}, not sampled {}",
        kills.server,
        kills.agents,
        verdict.persisted,
        verdict.stored,
        verdict.lost,
        verdict.doubled,
        verdict.restamped,
        verdict.not_sampled
    ));
    ensure!(verdict.persisted > 0, "no sample was taken, so nothing was tested");
    ensure!(verdict.is_clean(), "seed {seed}: stored samples differ from the persisted ones");
    Ok(())
}

fn attempt(
    args: &CrashArgs,
    folder: &std::path::Path,
    random: &mut Random,
) -> Result<(Kills, Verdict)> {
    let mut rig = Rig::start(folder, &folder.join("server"))?;
    for number in 0..args.agents {
        let inverter = rig.add_inverter()?;
        let data = folder.join(format!("agent-{number}"));
        rig.add_agent(&Routes { server: rig.listen.clone(), inverter, data })?;
    }
    let kills = kill_at_random(&mut rig, args.kills, random)?;
    Ok((kills, rig.judge(&mut writeln_stderr)?))
}

fn kill_at_random(rig: &mut Rig, kills: u32, random: &mut Random) -> Result<Kills> {
    let mut done = Kills::default();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(random.between(100, 1_300)));
        let down = Duration::from_millis(random.below(400));
        // Every third victim is the server.
        if random.below(3) == 0 {
            rig.server.kill()?;
            std::thread::sleep(down);
            rig.restart_server()?;
            done.server += 1;
        } else {
            let victim = usize::try_from(random.below(rig.agents.len() as u64))?;
            rig.agents[victim].process.kill()?;
            std::thread::sleep(down);
            rig.restart_agent(victim)?;
            done.agents += 1;
        }
    }
    Ok(done)
}

#[expect(clippy::print_stderr, reason = "progress is for people")]
fn writeln_stderr(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "the verdict is the output")]
fn writeln_stdout(line: &str) {
    println!("{line}");
}

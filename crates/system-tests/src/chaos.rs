//! Causes every fault around the real binary at once, and checks its promises meanwhile.
//!
//! One server and some agents with an inverter each, as processes. All connections go through
//! proxies that reset, corrupt, delay, stall, half-close and cut off. Meanwhile processes are
//! killed and stopped, disks fill up, file descriptors and connections run out, and the server is
//! offered ten times its capacity. When the faults have ended, every sample must be stored once and
//! unchanged, every batch acknowledged under overload must be stored, and no process may have ended
//! by itself.
//!
//! Bytes between agent and inverter are not corrupted: Modbus TCP has no checksum, so the damage
//! could not be detected. Damaged frames on serial lines are faults of the simulated inverter,
//! tested with the agent.

mod console;
mod kind;
mod stage;
mod starvation;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ecowatt_clock::Clock;
use tokio::signal::unix::{SignalKind, signal};

use self::console::Console;
use self::kind::{KINDS, Kind};
use self::stage::{Report, Stage, Wishes};
use crate::overload::{HEALTH_MAX, OverloadResult, SAMPLES};
use crate::process::{allow_many_files, kill_all};
use crate::proxy::{BUS_TROUBLES, LINK_TROUBLES, Trouble};
use crate::test_disk::release;

/// Most memory of the server. In an overload it has read a message of some 25 KiB from each of
/// 2,000 connections (50 MiB), of which those being decoded fill at most 120 MiB, and keeps up to
/// 16 KiB for each connection (32 MiB), 64 MiB of database pages to write and as many to read, and
/// rows in memory; the rest is the allocator's.
const MEMORY_MAX: u64 = 512 * 1024 * 1024;
/// File descriptors that this process needs for the overload and for idle connections.
const FILES_MIN: u64 = 10_000;
/// The inverter day that is sent under overload.
const DAY: &str = "d2_midc_boulder_20181014.csv";

/// Cause faults of all kinds around server and agents.
#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
    /// Minutes of faults; starting, draining and comparing take about half a minute more.
    #[arg(long, default_value_t = 3.0, value_parser = minutes)]
    minutes: f64,
    /// Seed of faults, victims and moments [default: random].
    #[arg(long)]
    seed: Option<u64>,
    /// Number of agents, each with its own inverter.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    agents: u8,
    /// Folder with the inverter days.
    #[arg(long, default_value = "testdata/pv")]
    days: PathBuf,
    /// Keep the folder with data, logs and journals.
    #[arg(long)]
    keep: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=1_440.0).contains(&minutes) { Ok(minutes) } else { Err("0.1 to 1440".to_owned()) }
}

pub(crate) fn run(args: &ChaosArgs) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| Clock::system().now().0.unsigned_abs() % 1_000_000);
    let lasting = Duration::from_secs_f64(args.minutes * 60.0);
    line(&format!("chaos: seed {seed}, {} min, {} agents", args.minutes, args.agents));
    let files = allow_many_files()?;
    ensure!(
        files >= FILES_MIN,
        "{FILES_MIN} open files are needed and {files} allowed (ulimit -Hn)"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let console = Console::new(lasting);
    let wishes = Wishes { seed, agents: args.agents, lasting, day: args.days.join(DAY) };

    let mut stage = Stage::set(wishes, folder.path(), runtime.handle().clone(), &console)?;
    for (kind, why) in &stage.report.not_tested {
        console.note(&format!("NOT TESTED: {} ({why})", kind.label()));
    }
    let mounts = stage.mounts();
    let _signals = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    runtime.spawn(async move {
        let interrupted = tokio::signal::ctrl_c();
        tokio::select! {
            _ = interrupted => {}
            _ = terminate.recv() => {}
        }
        kill_all();
        mounts.iter().for_each(|mount| release(mount));
        std::process::exit(130);
    });
    let played = stage.play().and_then(|()| stage.judge());
    console.close();
    if let Err(error) = &played {
        stage.report.violations.push(format!("the trial was aborted: {error:#}"));
    }
    let violations = violations(&stage.report);
    table(&stage.report);
    if args.keep || !violations.is_empty() {
        stage.keep()?;
        line(&format!("kept: {}", folder.keep().display()));
    }
    line("");
    for violation in &violations {
        line(&format!("VIOLATION: {violation}"));
    }
    ensure!(violations.is_empty(), "seed {seed}: {} violations", violations.len());
    line(&format!("seed {seed}: everything held"));
    Ok(())
}

/// Lists the broken promises.
fn violations(report: &Report) -> Vec<String> {
    let mut all = report.violations.clone();
    let mut check = |is_so: bool, what: String| all.extend((!is_so).then_some(what));
    let verdict = &report.verdict;
    check(verdict.persisted > 0, "no sample was taken, so nothing was tested".into());
    check(verdict.is_clean(), "stored samples differ from the persisted ones".into());
    for outcome in &report.overloads {
        let OverloadResult { rejected, rejected_without_time, not_acknowledged, .. } = outcome;
        check(*rejected > 0, "no message got 503, so there was no overload".into());
        check(*rejected_without_time == 0, "503 without Retry-After".into());
        check(*not_acknowledged == 0, "200 without an acknowledgement".into());
        check(outcome.other_statuses.is_empty(), "a status other than 200 and 503".into());
        check(outcome.unanswered == 0, "a message was never answered".into());
        check(
            outcome.cut_off + outcome.behind == 0,
            "a connection was refused or ended before the answer under overload".into(),
        );
        check(!outcome.acknowledged.is_empty(), "no message was accepted under overload".into());
        check(
            outcome.health_failures == 0 && !outcome.health.is_empty(),
            format!("/health was not answered within {HEALTH_MAX:?} under overload"),
        );
    }
    check(
        !report.counts.contains_key(&Kind::ServerDiskFull)
            || report.rejected_full + report.failed_starts > 0,
        "no request got 503 while the server's disk was full".into(),
    );
    check(report.kept.missing == 0, "acknowledged under overload, and not stored".into());
    check(report.kept.doubled == 0, "stored twice under overload".into());
    check(report.memory <= MEMORY_MAX, "the server exceeded its memory limit".into());
    for kind in KINDS {
        let is_excused = report.not_tested.iter().any(|(missing, _)| *missing == kind);
        let is_shown = report.counts.contains_key(&kind) || is_excused;
        check(is_shown, format!("never happened: {}", kind.label()));
    }
    for (troubles, tally) in [(LINK_TROUBLES, &report.link), (BUS_TROUBLES, &report.bus)] {
        for trouble in troubles {
            check(tally.count(*trouble) > 0, format!("never happened: {}", label(*trouble)));
        }
    }
    all.extend(verdict.findings.iter().cloned());
    all
}

fn table(report: &Report) {
    heading("faults");
    for kind in KINDS {
        let count = report.counts.get(&kind).copied().unwrap_or(0);
        match report.not_tested.iter().find(|(missing, _)| *missing == kind) {
            Some((_, why)) => row(kind.label(), &format!("NOT TESTED: {why}")),
            None => row(kind.label(), &count.to_string()),
        }
    }
    for (troubles, tally, name) in [
        (LINK_TROUBLES, &report.link, "agent–server"),
        (BUS_TROUBLES, &report.bus, "agent–inverter"),
    ] {
        for trouble in troubles {
            row(&format!("{name}: {}", label(*trouble)), &tally.count(*trouble).to_string());
        }
    }
    row("agent–inverter: bytes corrupted", "left out, Modbus TCP has no checksum");
    row("starts that failed on a full disk", &report.failed_starts.to_string());
    row("on a full disk: 503 with Retry-After", &report.rejected_full.to_string());

    heading("samples");
    let verdict = &report.verdict;
    row("persisted by agents", &verdict.persisted.to_string());
    row("stored by the server", &verdict.stored.to_string());
    row("lost", &verdict.lost.to_string());
    row("doubled", &verdict.doubled.to_string());
    row("re-stamped", &verdict.restamped.to_string());
    row("invented (never sampled)", &verdict.not_sampled.to_string());

    for outcome in &report.overloads {
        heading("overload");
        let factor = |rate: f64| format!("{rate:.0}/s ({:.1} times)", rate / outcome.capacity);
        row(
            &format!("capacity, messages of {SAMPLES} samples"),
            &format!("{:.0}/s", outcome.capacity),
        );
        row("due", &factor(outcome.planned_rate));
        row("offered", &factor(outcome.offered_rate));
        row("messages offered", &outcome.offered.to_string());
        row("accepted and acknowledged", &outcome.acknowledged.len().to_string());
        row("503 with Retry-After", &outcome.rejected.to_string());
        row("503 without Retry-After", &outcome.rejected_without_time.to_string());
        row("200 without acknowledgement", &outcome.not_acknowledged.to_string());
        row("other statuses", &format!("{:?}", outcome.other_statuses));
        row("connection refused or ended before the answer", &outcome.cut_off.to_string());
        row("sent behind such a message", &outcome.behind.to_string());
        row("connections opened", &outcome.connections.to_string());
        row("never answered", &outcome.unanswered.to_string());
        let asked = outcome.health.len() as u64 + outcome.health_failures;
        let took = |share: f64| {
            format!("{:.0} ms", quantile(&outcome.health, share).as_secs_f64() * 1_000.0)
        };
        row("/health, answered", &format!("{} of {asked}", outcome.health.len()));
        row("/health, median and slowest", &format!("{}, {}", took(0.5), took(1.0)));
    }
    if !report.overloads.is_empty() {
        let kept = &report.kept;
        row(
            "batches acknowledged, of which missing",
            &format!("{}, {}", kept.acknowledged, kept.missing),
        );
        row(
            "batches stored, of which more than once",
            &format!("{}, {}", kept.stored, kept.doubled),
        );
    }
    heading("server");
    row("memory at most, under overload (PSS)", &mebibytes(report.memory_overloaded));
    row("memory at most, at all times (PSS)", &mebibytes(report.memory));
    row("  allowed", &mebibytes(MEMORY_MAX));
}

fn label(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Reset => "connections reset",
        Trouble::Corrupt => "bytes corrupted",
        Trouble::Delay => "bytes delayed",
        Trouble::Stall => "stalled for seconds",
        Trouble::HalfClose => "half closed",
        Trouble::CutReply => "replies cut off",
    }
}

/// The time that `share` of ascending times stay below.
fn quantile(times: &[Duration], share: f64) -> Duration {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place")]
    let place = (times.len() as f64 * share) as usize;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

fn heading(text: &str) {
    line("");
    line(text);
}

fn row(what: &str, value: &str) {
    line(&format!("  {what:<48} {value:>12}"));
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn line(text: &str) {
    println!("{text}");
}

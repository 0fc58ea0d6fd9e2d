//! `ecowatt simulate`: the whole fleet and the server under one seed, in virtual time.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ecowatt_clock::Clock;
use ecowatt_fleet_sim::faults;
use ecowatt_fleet_sim::plant::Plants;
use ecowatt_fleet_sim::scenario::{DAYS_MAX, DEVICES_MAX, FaultLevel, START, Scenario};
use ecowatt_fleet_sim::{Report, Threads, run as simulate};
use ecowatt_model::DeviceNumber;
use indicatif::{ProgressBar, ProgressStyle};

/// Simulate a whole fleet with its server, and check that no data is lost, doubled or invented.
///
/// Devices, link, ingest and store are the real code; inverters, disks, clocks, power and network
/// are simulated and fail as often as `--faults` says. Everything follows from the seed, which is
/// printed first: the same seed repeats the same run, to the last digit of the digest.
///
/// Exit codes: 0 if every promise was kept, 1 if one was broken (its trace is printed).
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Number of devices, most with one inverter, some with two.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    devices: u32,
    /// Days with faults; in an hour without faults after them everything must be delivered.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    days: u32,
    /// The first seed [default: random].
    #[arg(long)]
    seed: Option<u64>,
    /// How many consecutive seeds to run.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Run consecutive seeds for this long instead.
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,
    /// How much goes wrong.
    #[arg(long, value_enum, default_value_t = Faults::Low)]
    faults: Faults,
    /// Draw from each seed how likely every fault is, instead of `--faults`: some never happen,
    /// others happen all the time. The report shows what was drawn.
    #[arg(long, conflicts_with = "faults")]
    swarm: bool,
    /// Print how likely each fault is and what it does, as a Markdown table, and simulate nothing.
    #[arg(long, exclusive = true)]
    faults_table: bool,
    /// Seconds between two samples; a few devices with small spools take more.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    sample_s: u64,
    /// Seconds between two uploads.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    upload_s: u64,
    /// Mean hours between two changes of the settings of a device; 0 changes none.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(0..=720))]
    settings_h: u64,
    /// Mean minutes between two changes of templates of settings, or of which devices use them; 0
    /// changes none.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=43_200))]
    templates_min: u64,
    /// Mean minutes between two commands to a device; 0 sends none.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=43_200))]
    commands_min: u64,
    /// Use one thread instead of two. The result is the same.
    #[arg(long)]
    one_thread: bool,
    /// Print every event of this device, such as dev-3, to standard error.
    #[arg(long, value_name = "DEVICE")]
    trace: Option<DeviceNumber>,
    /// Print the report as JSON, one line per seed.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Faults {
    None,
    Low,
    High,
}

/// Seed of weather and plants: not that of a run, so that many runs can share them.
const PLANTS_SEED: u64 = 1;

pub(crate) fn run(args: &SimulateArgs, clock: Clock) -> anyhow::Result<()> {
    if args.faults_table {
        write!(io::stdout(), "{}", faults::table())?;
        return Ok(());
    }
    let first = match args.seed {
        Some(seed) => seed,
        // 32 bits: short enough to type.
        None => u64::from(getrandom::u32().context("drawing a seed")?),
    };
    let faults = match args.faults {
        _ if args.swarm => FaultLevel::Swarm,
        Faults::None => FaultLevel::None,
        Faults::Low => FaultLevel::Low,
        Faults::High => FaultLevel::High,
    };
    let scenario = Scenario {
        sample_interval: Duration::from_secs(args.sample_s),
        upload_interval: Duration::from_secs(args.upload_s),
        settings_every: (args.settings_h > 0).then(|| Duration::from_secs(args.settings_h * 3_600)),
        templates_every: (args.templates_min > 0)
            .then(|| Duration::from_secs(args.templates_min * 60)),
        commands_every: (args.commands_min > 0)
            .then(|| Duration::from_secs(args.commands_min * 60)),
        traced: args.trace,
        ..Scenario::new(first, args.devices, args.days, faults)
    };
    writeln!(
        io::stderr(),
        "seed {first}: devices {}, days {}, a sample every {} s, an upload every {} s, faults {}",
        args.devices,
        args.days,
        args.sample_s,
        args.upload_s,
        if args.swarm { "as the seed decides".to_owned() } else { name_of(args.faults) },
    )?;
    // Plants are the slow part; they are computed once for all seeds.
    let bar = bar();
    let span_s = u64::try_from((scenario.end().0 - START.0) / 1_000)?;
    let rows = usize::try_from(span_s.div_ceil(args.sample_s) + 1)?;
    bar.set_message("computing plants");
    let computing = |done: usize, total: usize| {
        bar.set_position(u64::try_from(done * 1_000 / total.max(1)).unwrap_or(0));
    };
    let threads = if args.one_thread { Threads::One } else { Threads::Two };
    let plants =
        Plants::compute(PLANTS_SEED, START, scenario.sample_interval, rows, threads, &computing)
            .context("computing plants")?;
    let mut broken = Vec::new();
    let mut all: Option<Report> = None;
    let began = clock.mono();
    let last = match args.minutes {
        Some(_) => u64::MAX,
        None => first.saturating_add(args.seeds),
    };
    for seed in first..last {
        let limit = args.minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
        if limit.is_some_and(|limit| clock.mono().since(began) >= limit) {
            break;
        }
        let scenario = Scenario { seed, ..scenario };
        let stage = Mutex::new("");
        let progress = |share: f64, what: &'static str| {
            let mut stage = stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *stage != what {
                *stage = what;
                bar.set_message(what);
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share from 0 to 1"
            )]
            bar.set_position((share * 1_000.0) as u64);
        };
        let report = simulate(&scenario, &plants, threads, &progress);
        if !report.is_clean() {
            broken.push(seed);
        }
        bar.suspend(|| print(&report, args))?;
        match &mut all {
            Some(all) => all.add(&report),
            None => all = Some(report),
        }
    }
    bar.finish_and_clear();
    if let Some(all) = all
        && !args.json
        && !is_single(args)
    {
        write!(io::stdout(), "ALL SEEDS\n{all}")?;
    }
    if !broken.is_empty() {
        bail!("promises were broken under seed {broken:?}");
    }
    Ok(())
}

fn name_of(faults: Faults) -> String {
    faults.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn is_single(args: &SimulateArgs) -> bool {
    args.seeds == 1 && args.minutes.is_none()
}

fn print(report: &Report, args: &SimulateArgs) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else if is_single(args) {
        write!(out, "{report}")?;
    } else {
        writeln!(
            out,
            "seed {}: {} samples stored, {} messages, {} power cuts, {} violations, digest {:016x}",
            report.seed,
            report.verdict.stored,
            report.counts.devices.messages,
            report.counts.devices.power_cuts + report.counts.server.power_cuts,
            report.violations_found,
            report.digest,
        )?;
    }
    for line in &report.trace {
        writeln!(io::stderr(), "{line}")?;
    }
    for violation in &report.violations {
        write!(io::stderr(), "seed {}: {violation}", report.seed)?;
    }
    for line in &report.server {
        writeln!(io::stderr(), "{line}")?;
    }
    Ok(())
}

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1_000);
    if let Ok(style) =
        ProgressStyle::with_template("{msg:<18} {wide_bar} {percent:>3} %  {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}

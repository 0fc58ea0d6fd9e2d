//! `ecowatt store`: backs up and restores the server's database, rebuilds its roll-ups, and reports its
//! use of space.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use ecowatt_clock::Clock;
use ecowatt_model::DeviceNumber;
use ecowatt_store::{
    Author, BackupError, Contents, CopyProgress, Kind, Rebuilt, Resolution, Store, StoreReport,
};
use serde::Serialize;

use crate::argument;
use crate::hint::WithHint as _;
use crate::table::print_json;

const MIB: u64 = 1024 * 1024;

/// Devices per query.
const DEVICES_AT_ONCE: u32 = 500;

/// Back up, restore and repair the server's database.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Copy the database to one file and check the copy, while the server runs or not.
    ///
    /// The copy has everything that was acknowledged before it began. The file appears once it is
    /// complete and checked; a name ending in `.partial` means that the copy was interrupted.
    Backup(BackupArgs),
    /// Check a copy and restore it into a folder that has no database.
    ///
    /// Keys and tokens that were revoked after the copy was made stay revoked if the file `revoked`
    /// of the lost folder is in the new one or is given. Sessions and claim codes end.
    Restore(RestoreArgs),
    /// Recompute minutes, quarter hours, days and energy from the samples, while no server runs.
    ///
    /// For past days after a site's time zone was corrected, and for damaged roll-ups. Each device
    /// is rebuilt completely or not at all; after an interruption, run it again.
    Rebuild(RebuildArgs),
    /// Report what uses the database's space, while the server runs or not.
    ///
    /// Reads the whole file. Samples of the last days take more space than older ones, which the server
    /// packs.
    Report(ReportArgs),
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Use of the database's space.
#[derive(Debug, Serialize)]
struct Space {
    samples: u64,
    inverter_days: u64,
    kinds: Vec<SpaceOfKind>,
    /// What retention has removed so far.
    removed: Vec<RemovedOfKind>,
    free_bytes: u64,
}

#[derive(Debug, Serialize)]
struct SpaceOfKind {
    kind: &'static str,
    bytes: u64,
    bytes_per_sample: f64,
    bytes_per_inverter_day: u64,
}

#[derive(Debug, Serialize)]
struct RemovedOfKind {
    #[serde(flatten)]
    space: SpaceOfKind,
    /// Samples, minutes or quarter hours.
    rows: u64,
}

#[derive(Debug, Args)]
struct BackupArgs {
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file to create, or a folder for a file named by the time.
    #[arg(long, value_name = "FILE-OR-DIR")]
    to: PathBuf,
    /// Give up when the server's write-ahead log has grown by this much: it cannot be reset during
    /// the copy.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    log_max_mib: u64,
    /// Give up after this time.
    #[arg(long, value_name = "DURATION", value_parser = argument::duration, default_value = "6h")]
    within: Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// The copy.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The server's new data folder; created if it is missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file `revoked` of the lost folder, if it is not in the new one.
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RebuildArgs {
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Change nothing; fail if something would change.
    #[arg(long)]
    check: bool,
    /// Only this device, such as dev-42 [default: all].
    #[arg(long, value_name = "ID")]
    device: Option<DeviceNumber>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Result of a rebuild.
#[derive(Debug, Default, Serialize)]
struct Report {
    devices: u64,
    /// Devices with rows that changed, or with `--check` would change.
    devices_changed: u64,
    batches: u64,
    batches_unreadable: u64,
    rows_changed: u64,
}

/// Contents of a copy.
#[derive(Debug, Serialize)]
struct Copied {
    file: PathBuf,
    schema: u32,
    sites: u64,
    devices: u64,
    keys: u64,
    tokens: u64,
    batches: u64,
    samples: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocations: Option<usize>,
}

impl Copied {
    fn new(file: PathBuf, contents: Contents, revocations: Option<usize>) -> Self {
        let Contents { schema, sites, devices, keys, tokens, batches, samples } = contents;
        Self { file, schema, sites, devices, keys, tokens, batches, samples, revocations }
    }

    fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            return print_json(self);
        }
        writeln!(
            io::stdout(),
            "{}: {} devices, {} batches, {} samples",
            self.file.display(),
            self.devices,
            self.batches,
            self.samples
        )?;
        Ok(())
    }
}

/// Carries out a verb.
///
/// # Errors
/// If the copy cannot be made, is damaged or cannot be restored, or a device cannot be rebuilt.
pub(crate) async fn run(args: &StoreArgs, clock: Clock) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Backup(args) => back_up(args, clock),
        Verb::Restore(args) => restore(args),
        Verb::Rebuild(args) => rebuild(args, clock).await,
        Verb::Report(args) => report(args).await,
    }
}

fn back_up(args: &BackupArgs, clock: Clock) -> anyhow::Result<()> {
    let to = if args.to.is_dir() { args.to.join(name(clock)?) } else { args.to.clone() };
    let started = clock.mono();
    let mut log_growth = 0;
    let go_on = |progress: CopyProgress| {
        log_growth = progress.log_growth;
        log_growth <= args.log_max_mib.saturating_mul(MIB)
            && clock.mono().since(started) <= args.within
    };
    let contents = match ecowatt_store::back_up(&args.data, &to, go_on) {
        Err(error @ BackupError::BrokenOff) => Err(error)
            .with_context(|| {
                format!(
                    "limit reached after {} s, in which the server's log grew by {} MiB",
                    clock.mono().since(started).as_secs(),
                    log_growth / MIB
                )
            })
            .with_hint(|| "`--within` and `--log-max-mib` raise the limits"),
        copied => copied.map_err(anyhow::Error::new),
    };
    let contents = contents.with_context(|| format!("backing up {}", args.data.display()))?;
    Copied::new(to, contents, None).print(args.json)
}

/// A name that sorts by time.
fn name(clock: Clock) -> anyhow::Result<String> {
    let now = jiff::Timestamp::from_millisecond(clock.now().0).context("the clock is wrong")?;
    Ok(format!("ecowatt-{}.db", now.strftime("%Y%m%dT%H%M%SZ")))
}

fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let restored =
        ecowatt_store::restore(&args.from, &args.data, args.revocations.as_deref(), |_| true)
            .with_context(|| {
                format!("restoring {} into {}", args.from.display(), args.data.display())
            })?;
    let mut stderr = io::stderr();
    if !restored.was_sealed {
        writeln!(
            stderr,
            "{} was not made by `ecowatt store backup` and has no checksum; only its structure was \
             checked",
            args.from.display()
        )?;
    }
    if restored.revocations == 0 && !has_journal(args) {
        writeln!(
            stderr,
            "no list of revocations was found: keys and tokens that were revoked after the copy was \
             made work again; revoke them once more, or restore with `--revocations FILE`"
        )?;
    }
    Copied::new(args.data.clone(), restored.contents, Some(restored.revocations)).print(args.json)
}

async fn rebuild(args: &RebuildArgs, clock: Clock) -> anyhow::Result<()> {
    let data = args.data.display();
    ensure!(Store::is_in(&args.data)?, "{data} has no server data");
    let store = Store::open(&args.data).with_context(|| format!("opening {data}"))?;
    let by = || (!args.check).then(|| Author::new("ecowatt store rebuild", clock.now()));
    let mut report = Report::default();
    let mut next = args.device.map(|device| vec![device]);
    let mut after = None;
    loop {
        let (devices, has_more) = match next.take() {
            Some(devices) => (devices, false),
            None => {
                let swept = store.sweep_devices(after, DEVICES_AT_ONCE).await?;
                (swept.devices.iter().map(|device| device.number).collect(), swept.has_more)
            }
        };
        after = devices.last().copied();
        for device in devices {
            let rebuilt = ecowatt_server::ingest::rebuild(&store, by(), device).await;
            report.add(device, &rebuilt.with_context(|| device.to_string())?)?;
        }
        if !has_more {
            break;
        }
    }
    report.print(args)?;
    let is_unchanged = report.rows_changed == 0;
    ensure!(!args.check || is_unchanged, "roll-ups differ from the samples");
    Ok(())
}

async fn report(args: &ReportArgs) -> anyhow::Result<()> {
    let data = args.data.display();
    ensure!(Store::is_in(&args.data)?, "{data} holds no server's data");
    let store = Store::open_beside(&args.data).with_context(|| format!("opening {data}"))?;
    let space = Space::of(&store.report().await?);
    if args.json { print_json(&space) } else { Ok(space.print()?) }
}

impl Space {
    fn of(report: &StoreReport) -> Self {
        let (samples, days) = (report.samples.max(1), report.inverter_days.max(1));
        let all = report.kinds.iter().map(|of| of.bytes).sum();
        let each = report.kinds.iter().map(|of| (name_of(of.kind), of.bytes));
        let space = |kind, bytes| SpaceOfKind {
            kind,
            bytes,
            bytes_per_sample: per(bytes, samples),
            bytes_per_inverter_day: bytes / days,
        };
        let kinds = each.chain([("all", all)]).map(|(kind, bytes)| space(kind, bytes));
        let removed = report.removed.iter().map(|of| RemovedOfKind {
            space: space(removed_name_of(of.resolution), of.bytes),
            rows: of.rows,
        });
        Self {
            samples: report.samples,
            inverter_days: report.inverter_days,
            kinds: kinds.collect(),
            removed: removed.collect(),
            free_bytes: report.free_bytes,
        }
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout();
        writeln!(
            out,
            "{:<10} {:>14} {:>12} {:>18}",
            "", "BYTES", "PER SAMPLE", "PER INVERTER-DAY"
        )?;
        for of in &self.kinds {
            writeln!(out, "{}", of.line())?;
        }
        writeln!(
            out,
            "{} samples, {} inverter-days, {} bytes free",
            self.samples, self.inverter_days, self.free_bytes
        )?;
        // Per sample and inverter-day as above, so what is there and what is gone can be added.
        let mut removed = self.removed.iter().filter(|of| of.rows > 0).peekable();
        if removed.peek().is_some() {
            writeln!(out, "removed by retention:")?;
        }
        for RemovedOfKind { space, rows } in removed {
            writeln!(out, "{}   {rows} rows", space.line())?;
        }
        Ok(())
    }
}

impl SpaceOfKind {
    fn line(&self) -> String {
        let Self { kind, bytes, bytes_per_sample, bytes_per_inverter_day } = self;
        format!("{kind:<10} {bytes:>14} {bytes_per_sample:>12.2} {bytes_per_inverter_day:>18}")
    }
}

fn removed_name_of(resolution: Resolution) -> &'static str {
    name_of(match resolution {
        Resolution::Samples => Kind::Samples,
        Resolution::Minutes => Kind::Minutes,
        Resolution::Quarters => Kind::Quarters,
    })
}

/// Hundredths are enough.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per(bytes: u64, count: u64) -> f64 {
    (bytes as f64 / count as f64 * 100.0).round() / 100.0
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Samples => "samples",
        Kind::Minutes => "minutes",
        Kind::Quarters => "quarters",
        Kind::Days => "days",
        Kind::Energy => "energy",
        Kind::States => "states",
        Kind::Rest => "rest",
    }
}

impl Report {
    fn add(&mut self, device: DeviceNumber, rebuilt: &Rebuilt) -> io::Result<()> {
        let Rebuilt { blocks, unreadable, rows_changed } = *rebuilt;
        self.devices += 1;
        self.devices_changed += u64::from(rows_changed > 0);
        self.batches += blocks;
        self.batches_unreadable += unreadable;
        self.rows_changed += rows_changed;
        if unreadable > 0 {
            writeln!(
                io::stderr(),
                "{device}: {unreadable} batches cannot be read and are skipped"
            )?;
        }
        Ok(())
    }

    fn print(&self, args: &RebuildArgs) -> anyhow::Result<()> {
        if args.json {
            return print_json(self);
        }
        let change = if args.check { "would change" } else { "changed" };
        writeln!(
            io::stdout(),
            "{} devices, {} batches: {} rows of {} devices {change}",
            self.devices,
            self.batches,
            self.rows_changed,
            self.devices_changed
        )?;
        Ok(())
    }
}

fn has_journal(args: &RestoreArgs) -> bool {
    args.revocations.is_some() || Path::new(&args.data).join("revoked").exists()
}

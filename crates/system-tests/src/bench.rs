//! Measures the product against the figures of `docs/figures.md`, with the real binary.
//!
//! The load generator runs on the same machine as the server. Messages are made and sealed before
//! the clock starts; each is a different message from a real inverter day.

mod disk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ecowatt_client::Client;
use ecowatt_codec::CodecMemory;
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, RequestId};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Sequence, StreamNumber,
};

use crate::devices::Devices;
use crate::load::{self, Run, send};
use crate::process::{Process, Program, free_port, wait_until};
use crate::pv_days::{COLUMNS, Day, encode_rows, seal_batch};
use crate::rig::meet;

/// How long a process may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);
/// Time of the first sample that is sent: 2026-01-01T00:00:00Z.
const FIRST_DAY_MS: i64 = 1_767_225_600_000;
const DAY_MS: i64 = 86_400_000;
/// Batches that an agent has sent before its memory is measured.
const AGENT_BATCHES: u64 = 5;
/// Inverter days that are sent; the second, of broken clouds, compresses worst.
const DAYS: [&str; 3] = [
    "d1_surfrad_alamosa_20160101_clear_winter.csv",
    "d2_midc_boulder_20181014.csv",
    "d4_srml_eugene_20180101.csv",
];

/// Measure the product against its figures.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Number of devices.
    #[arg(long, default_value_t = 1_000)]
    devices: u32,
    /// Connections that the devices share.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Messages of each kind.
    #[arg(long, default_value_t = 100_000)]
    messages: u32,
    /// Folder with the inverter days.
    #[arg(long, default_value = "testdata/pv")]
    days: PathBuf,
    /// How often each throughput is measured; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Measure what a sample takes on the disk, and nothing else.
    #[arg(long)]
    disk: bool,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let day = Day::read(&args.days.join(DAYS[1]))?;
    row("figure", "measured", "bar");
    let folder = tempfile::tempdir().context("making a folder")?;
    let program = Program::find()?;
    disk::kept(&runtime, &program, folder.path(), &day)?;
    wire_size(&args.days)?;
    let fleet = runtime.block_on(Devices::create(&folder.path().join("server"), args.devices))?;
    let mut server = Server::start(&program, folder.path())?;
    row("server memory, idle (PSS)", &mebibytes(server.process.pss()?), "≤ 40 MiB");
    runtime.block_on(fleet.announce(&server.listen))?;

    let small = Sender { fleet: &fleet, day: &day, rows: 7, connections: args.connections };
    let mut sent = Sent::default();
    disk::written(&runtime, &server, &small, &mut sent)?;
    if args.disk {
        server.process.stop(Duration::from_secs(20))?;
        return Ok(());
    }
    let mut rates = Vec::new();
    for _ in 0..args.rounds {
        rates.push(
            runtime.block_on(small.full_speed(&server.listen, args.messages, &mut sent))?.rate(),
        );
    }
    let rate = median(&mut rates);
    row("uploads/s, 7 × 10, durable", &format!("{rate:.0}"), "≥ 25,000");

    let paced = runtime.block_on(small.paced(&server.listen, rate / 2.0, &mut sent))?;
    let p99 = paced.quantile(0.99);
    row("latency at half that load, from due time, p50", &millis(paced.quantile(0.5)), "");
    row("latency at half that load, from due time, p99", &millis(p99), "≤ 10 ms");

    let large = Sender { fleet: &fleet, day: &day, rows: 180, connections: args.connections };
    let mut points = Vec::new();
    for _ in 0..args.rounds {
        let run =
            runtime.block_on(large.full_speed(&server.listen, args.messages / 5, &mut sent))?;
        points.push(run.rate() * 180.0 * COLUMNS as f64);
    }
    row(
        "points/s, 180 × 10, durable, rolled up",
        &format!("{:.0}", median(&mut points)),
        "≥ 8,000,000",
    );
    // With few devices each waits for its quota: the rate above is then the quota's.
    row("  answers 429 (over quota)", &sent.over_quota.to_string(), "");
    row("server memory, after that load (PSS)", &mebibytes(server.process.pss()?), "≤ 1 GiB");
    queries(&server.client, &runtime, &fleet, &day, &server.listen)?;
    agent_memory(&program, &server, folder.path())?;
    server.process.stop(Duration::from_secs(20))?;
    Ok(())
}

/// Bytes of a 7 × 10 upload on the link, without the transport, over all batches of all days.
fn wire_size(days: &Path) -> Result<()> {
    let kid = KeyId { device: DeviceNumber(200), generation: KeyGeneration(1) };
    let keys = LinkKeys::derive(&DeviceKey::new([7; 32]), kid);
    let mut state = CodecMemory::new();
    let (mut bytes, mut beyond, mut heads, mut count) = (0, 0, 0, 0u32);
    for day in DAYS {
        for rows in Day::read(&days.join(day))?.rows.chunks_exact(7) {
            let batch = encode_rows(rows, 0, &mut state)?;
            count += 1;
            let request = RequestId { kid, counter: Counter(u64::from(100_000 + count)) };
            let id = BatchId { epoch: BootEpoch(30), sequence: Sequence(300 + count) };
            let message = seal_batch(&keys, request, id, StreamNumber(1), &batch)?;
            bytes += message.len();
            beyond += message.len() - batch.len();
            heads += load::request("203.0.113.1:8080", &message).len() - message.len();
        }
    }
    let mean = |sum: usize| format!("{:.1}", sum as f64 / f64::from(count));
    row("7 × 10 upload, bytes on the wire, mean of three days", &mean(bytes), "≤ 70");
    row("  of which beyond the codec's bytes", &mean(beyond), "≤ 40");
    row("  and the head of its HTTP request", &mean(heads), "");
    Ok(())
}

/// Progress of each device, so that counters and sequences never repeat between runs.
#[derive(Debug, Default)]
struct Sent {
    messages: u32,
    rows: u32,
    /// How often a device had to wait for its quota.
    over_quota: u64,
}

struct Sender<'a> {
    fleet: &'a Devices,
    day: &'a Day,
    rows: usize,
    connections: usize,
}

impl Sender<'_> {
    async fn full_speed(&self, listen: &str, messages: u32, sent: &mut Sent) -> Result<Run> {
        let connections = self.messages(messages, sent)?;
        let count: usize = connections.iter().map(Vec::len).sum();
        let run = send(listen, connections, None).await?;
        ensure!(run.accepted + run.turned_away == count as u64, "every message is answered");
        sent.over_quota += run.over_quota;
        ensure!(run.turned_away == 0, "64 connections do not overload a server");
        Ok(run)
    }

    async fn paced(&self, listen: &str, rate: f64, sent: &mut Sent) -> Result<Run> {
        // Ten seconds of messages.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let messages = (rate * 10.0) as u32;
        let run = send(listen, self.messages(messages, sent)?, Some(rate)).await?;
        sent.over_quota += run.over_quota;
        Ok(run)
    }

    /// About `count` messages, the same number for each device; a device stays on one connection.
    fn messages(&self, count: u32, sent: &mut Sent) -> Result<Vec<Vec<Vec<u8>>>> {
        let devices = self.fleet.keys.len();
        let each = (count as usize / devices).max(1);
        let rows = u32::try_from(self.rows)?;
        let mut batches = Vec::new();
        let mut state = CodecMemory::new();
        for index in 0..each {
            let from = (sent.rows as usize + index * self.rows) % (self.day.rows.len() - self.rows);
            let days = (sent.rows as usize + index * self.rows) / (self.day.rows.len() - self.rows);
            let shift = FIRST_DAY_MS + i64::try_from(days)? * DAY_MS - self.day.rows[0].0 * 1_000;
            batches.push(encode_rows(&self.day.rows[from..from + self.rows], shift, &mut state)?);
        }
        let mut connections = vec![Vec::new(); self.connections.min(devices)];
        for (index, batch) in (0u32..).zip(&batches) {
            for (device, keys) in self.fleet.keys.iter().enumerate() {
                let number = sent.messages + index;
                let request = RequestId {
                    kid: Devices::kid(device)?,
                    counter: Counter(u64::from(number) + 2),
                };
                let id = BatchId { epoch: BootEpoch(1), sequence: Sequence(number + 1) };
                let message = seal_batch(keys, request, id, StreamNumber(1), batch)?;
                let connection = device % connections.len();
                connections[connection].push(message);
            }
        }
        sent.messages += u32::try_from(each)?;
        sent.rows += rows * u32::try_from(each)?;
        Ok(connections)
    }
}

struct Server {
    process: Process,
    listen: String,
    client: Client,
}

impl Server {
    fn start(program: &Program, folder: &Path) -> Result<Self> {
        let data = folder.join("server");
        let data = data.to_str().context("paths are UTF-8")?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let args = ["serve", "--listen", &listen, "--data", data];
        let mut process = program.start(&args, &folder.join("server.log"))?;
        let (_, client) = meet(program, &mut process, &listen, data)?;
        Ok(Self { process, listen, client })
    }
}

/// Measures an agent with one inverter after it has sampled, sent and freed batches for a while.
fn agent_memory(program: &Program, server: &Server, folder: &Path) -> Result<()> {
    let address = format!("127.0.0.1:{}", free_port()?);
    let inverter = ["inverter", "--listen", &address, "--profile", "ecowatt/seed-sim"];
    let _inverter = program.start(&inverter, &folder.join("inverter.log"))?;
    let client = &server.client;
    let request = ecowatt_api::CreateDevice {
        name: "Agent".into(),
        site: ecowatt_api::NewSite { name: "Bench".into(), time_zone: Some("UTC".into()) },
        valid_for_s: None,
    };
    let enrolment = client.create_device(&request).context("enrolling")?;
    let config = folder.join("agent.toml");
    let toml = format!(
        "server = \"http://{}\"\ndata = \"{}\"\nclaim_code = \"{}\"\n\
         sample_interval = \"200ms\"\n[upload]\ninterval = \"1s\"\n\
         [[inverter]]\ntransport = \"tcp://{address}\"\nprofile = \"ecowatt/seed-sim\"\n",
        server.listen,
        folder.join("agent").display(),
        enrolment.claim_code,
    );
    std::fs::write(&config, toml).context("writing the agent's configuration")?;
    let config = config.to_str().context("paths are UTF-8")?;
    let agent = program.start(&["agent", "--config", config], &folder.join("agent.log"))?;
    wait_until("some batches have arrived", START_MAX, || {
        Ok(client.find_device(&enrolment.device)?.link.batches >= AGENT_BATCHES)
    })?;
    row("agent memory, sampling and sending (PSS)", &mebibytes(agent.pss()?), "≤ 8 MiB");
    Ok(())
}

/// Measures the time to query one day of one device, as a chart does.
fn queries(
    client: &Client,
    runtime: &tokio::runtime::Runtime,
    fleet: &Devices,
    day: &Day,
    listen: &str,
) -> Result<()> {
    let whole = Sender { fleet, day, rows: 180, connections: 1 };
    // One device gets the whole of a day far from the others' days.
    let mut state = CodecMemory::new();
    let shift = FIRST_DAY_MS + 300 * DAY_MS - day.rows[0].0 * 1_000;
    let mut messages = Vec::new();
    for (index, rows) in (0u32..).zip(day.rows.chunks(whole.rows)) {
        let batch = encode_rows(rows, shift, &mut state)?;
        let request =
            RequestId { kid: Devices::kid(0)?, counter: Counter(1_000_000 + u64::from(index)) };
        let id = BatchId { epoch: BootEpoch(2), sequence: Sequence(1 + index) };
        messages.push(seal_batch(&fleet.keys[0], request, id, StreamNumber(1), &batch)?);
    }
    runtime.block_on(send(listen, vec![messages], None))?;
    let from = jiff::Timestamp::from_millisecond(FIRST_DAY_MS + 300 * DAY_MS)?;
    let to = jiff::Timestamp::from_millisecond(FIRST_DAY_MS + 301 * DAY_MS)?;
    for (name, points, bar) in [
        ("one device-day, 1-minute means, power (HTTP)", vec!["ac.power".to_owned()], "≤ 5 ms"),
        ("one device-day, 1-minute means, 10 points (HTTP)", Vec::new(), ""),
    ] {
        let query = ecowatt_client::TelemetryQuery {
            from: Some(from.to_string()),
            to: Some(to.to_string()),
            resolution: ecowatt_api::Resolution::Minute,
            points,
            inverter: 0,
            cursor: None,
        };
        let mut times = Vec::new();
        for _ in 0..50 {
            let start = instant();
            let answer = client.list_telemetry("dev-1", &query)?;
            times.push(start.elapsed().as_secs_f64() * 1_000.0);
            ensure!(
                answer.t_ms.len() == 1_440,
                "a whole day has 1,440 minutes, not {}",
                answer.t_ms.len()
            );
        }
        row(name, &format!("{:.1} ms", median(&mut times)), bar);
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn row(figure: &str, measured: &str, bar: &str) {
    println!("{figure:<54} {measured:>14} {bar:>14}");
}

//! `ecowatt demo`: server, inverters and agents in one process and in simulated time.
//!
//! Server, inverters and agents are the same code that `serve`, `inverter` and `agent` run; they
//! talk real Modbus TCP and the real link over loopback and share one simulated clock.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use ecowatt_agent::{Config as AgentConfig, InverterConfig};
use ecowatt_api::{CreateDevice, NewSite};
use ecowatt_client::Client;
use ecowatt_clock::Clock;
use ecowatt_inverter_sim::{
    Config as Plant, RegisterMap, Running as RunningInverter, ServeConfig, Simulation, Site,
};
use ecowatt_model::UnixMs;
use ecowatt_profile::catalogue;
use ecowatt_server::ServeError;
use ecowatt_server::access::{Access, TokenRequest};
use ecowatt_store::{Author, Role, Store};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::argument;
use crate::hint::WithHint as _;
use crate::shutdown;

/// 2026-06-21T02:25:00Z: a quarter of an hour before sunrise at the demonstration's site.
const START: UnixMs = UnixMs(1_782_008_700_000);
/// A day in half an hour.
const SPEED: f64 = 48.0;
const SPEED_MAX: f64 = 600.0;
const TIME_ZONE: &str = "Europe/Berlin";
const DEVICES_MAX: u16 = 50;
/// Upload interval of the agents, in simulated time; just over a real second.
const UPLOAD_INTERVAL: Duration = Duration::from_secs(60);
/// Written when everything runs.
const READY_FILE: &str = "demo.json";
/// Marks the folder of a demonstration; locked while one runs there.
const LOCK_FILE: &str = "demo.lock";

/// Run a server, simulated inverters and agents, and print the dashboard's address.
///
/// Time is simulated: it begins before sunrise and runs fast, a day in half an hour. The pages show
/// simulated time. Ctrl-C stops everything.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of plants, each an inverter with its agent.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(DEVICES_MAX)))]
    devices: u16,
    /// Simulated seconds per real second, from 1 to 600.
    #[arg(long, default_value_t = SPEED, value_parser = speed)]
    speed: f64,
    /// Seed of weather, plants and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after this real time, such as 30s or 5m.
    #[arg(long = "for", value_name = "DURATION", value_parser = argument::duration)]
    limit: Option<Duration>,
    /// Address of the server; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = argument::address)]
    listen: SocketAddr,
    /// Folder for data and demo.json (address, token, devices); what an earlier demonstration left
    /// there is removed [default: a temporary folder].
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Contents of `demo.json`.
#[derive(Debug, Serialize)]
struct Ready {
    url: String,
    token: String,
    devices: Vec<ReadyDevice>,
}

#[derive(Debug, Serialize)]
struct ReadyDevice {
    id: String,
    inverter: SocketAddr,
}

/// Runs the demonstration until its time is over or a signal arrives.
///
/// # Errors
/// If a part does not start or an agent ends with an error.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let signal = shutdown::signal();
    let temporary = match &args.data {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("making a temporary folder")?),
    };
    let data = match (&args.data, &temporary) {
        (Some(data), _) => data.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => unreachable!("a folder is given or made"),
    };
    let _alone = clear(&data)?;

    let clock = Clock::simulated(START, args.speed);
    // Agents stop first, so that their last samples still reach the server.
    let (stop_agents, agents_stopped) = watch::channel(false);
    let (stop_server, server_stopped) = watch::channel(false);
    let ended = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender was dropped, which also means stop.
        let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
    };

    let store = Store::open(&data.join("server")).context("opening the store")?;
    let token = Access::new(store.clone(), clock)
        .make_token(
            Author::new("ecowatt demo", clock.now()),
            TokenRequest { name: "demonstration".into(), role: Role::Owner, valid_for: None },
        )
        .await
        .context("making a token")?
        .text
        .expose();
    let config =
        ecowatt_server::Config { listen: args.listen, is_demo: true, ..Default::default() };
    let server = match ecowatt_server::serve(config, store, clock, ended(server_stopped)).await {
        Err(error @ ServeError::Listen { .. }) => {
            Err(error).with_hint(|| "`--listen 127.0.0.1:0` picks a free port")
        }
        started => started.map_err(anyhow::Error::new),
    };
    let server = server.context("starting the server")?;

    // Plants one by one: each device needs its claim code and the port that its inverter got.
    let mut inverters: Vec<RunningInverter> = Vec::new();
    let mut agents = JoinSet::new();
    let mut devices = Vec::new();
    for index in 0..args.devices {
        let (inverter, map) = start_inverter(args.seed, index, clock).await?;
        let address = inverter.addresses().tcp.context("the inverter has no TCP address")?;
        let (id, code) = enrol(&server.url, &token, index).await?;
        let folder = data.join(format!("device-{}", index + 1));
        let config = agent_config(&server.url, folder, &code, address, map)?;
        agents.spawn(ecowatt_agent::run(config, clock, ended(agents_stopped.clone())));
        inverters.push(inverter);
        devices.push(ReadyDevice { id, inverter: address });
    }

    let ready = Ready { url: server.url.clone(), token, devices };
    write_ready(&data, &ready)?;
    announce(&ready, &args)?;

    // An agent that ends before the others is a failure of the demonstration.
    let over = async {
        match args.limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        () = over => Ok(()),
        () = signal => Ok(()),
        Some(ended) = agents.join_next() => match ended {
            Ok(Ok(())) => Err(anyhow!("an agent ended early")),
            Ok(Err(error)) => Err(anyhow::Error::new(error).context("an agent failed")),
            Err(error) => Err(anyhow::Error::new(error).context("an agent panicked")),
        },
    };
    stop_agents.send_replace(true);
    while agents.join_next().await.is_some() {}
    for inverter in inverters {
        inverter.stop().await;
    }
    stop_server.send_replace(true);
    outcome.and(server.stopped().await.map_err(anyhow::Error::new))
}

/// Removes what an earlier demonstration left, and nothing else. Returns a locked file: no other
/// demonstration uses the folder while it is open.
fn clear(data: &Path) -> anyhow::Result<fs::File> {
    fs::create_dir_all(data).with_context(|| format!("making {}", data.display()))?;
    let lock_path = data.join(LOCK_FILE);
    let is_ours = lock_path.exists();
    if !is_ours && let Some(entry) = fs::read_dir(data)?.next() {
        let name = entry?.file_name();
        let other = anyhow!("{} has other files, such as {}", data.display(), name.display());
        return Err(other)
            .with_hint(|| "give an empty folder, or the folder of an earlier demonstration");
    }
    let lock =
        fs::File::create(&lock_path).with_context(|| format!("making {}", lock_path.display()))?;
    if lock.try_lock().is_err() {
        bail!("a demonstration is running in {}", data.display());
    }
    close(data).with_context(|| format!("closing {} to other users", data.display()))?;
    for entry in fs::read_dir(data).with_context(|| format!("reading {}", data.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let removed = match &*name {
            READY_FILE => fs::remove_file(entry.path()),
            name if name == "server" || name.starts_with("device-") => {
                fs::remove_dir_all(entry.path())
            }
            _ => Ok(()),
        };
        removed.with_context(|| format!("removing {}", entry.path().display()))?;
    }
    Ok(lock)
}

/// Protects the owner's token and the devices' keys from other users of the machine.
fn close(data: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(data, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = data;
    Ok(())
}

/// Starts an inverter. Every third one has SunSpec registers, of the older and the newer models by
/// turns; the others have the original's ten.
async fn start_inverter(
    seed: u64,
    index: u16,
    clock: Clock,
) -> anyhow::Result<(RunningInverter, RegisterMap)> {
    let mut plant = Plant::varied(seed, index.into(), Site::BERLIN);
    plant.map = match index % 6 {
        2 => RegisterMap::SunSpec,
        5 => RegisterMap::Der,
        _ => RegisterMap::Seed,
    };
    // The site observes summer time.
    plant.site.utc_offset_s = 7_200;
    let map = plant.map;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServeConfig { tcp: Some(any), ..ServeConfig::default() };
    let running = ecowatt_inverter_sim::serve(
        Simulation::healthy(plant),
        &config,
        clock,
        std::future::pending::<()>(),
    )
    .await
    .with_context(|| format!("starting inverter {}", index + 1))?;
    Ok((running, map))
}

/// Enrols a device as an operator does; returns its id and claim code.
async fn enrol(url: &str, token: &str, index: u16) -> anyhow::Result<(String, String)> {
    const ROOFS: [&str; 6] = ["Barn", "School", "Bakery", "Workshop", "Town hall", "Depot"];
    let roof = ROOFS[usize::from(index) % ROOFS.len()];
    let round = usize::from(index) / ROOFS.len();
    let name = if round == 0 { roof.to_owned() } else { format!("{roof} {}", round + 1) };
    let request = CreateDevice {
        name,
        site: NewSite { name: "Havelberg".into(), time_zone: Some(TIME_ZONE.into()) },
        valid_for_s: None,
    };
    let client = Client::new(url, token)?;
    let enrolment = tokio::task::spawn_blocking(move || client.create_device(&request))
        .await?
        .context("enrolling a device")?;
    Ok((enrolment.device, enrolment.claim_code))
}

fn agent_config(
    server: &str,
    data: PathBuf,
    code: &str,
    inverter: SocketAddr,
    map: RegisterMap,
) -> anyhow::Result<AgentConfig> {
    let profile = map.profile();
    let inverter = InverterConfig {
        name: "inverter".into(),
        address: format!("tcp://{inverter}").parse()?,
        unit: Plant::default().unit,
        profile: catalogue::find(profile).with_context(|| format!("no profile {profile}"))?,
        rated_w: None,
    };
    let mut config = AgentConfig::new(server.parse()?, data, vec![inverter]);
    config.claim = Some(code.parse()?);
    config.upload_interval = UPLOAD_INTERVAL;
    Ok(config)
}

/// Written under another name first, so that a script that waits for the file never reads half of
/// it.
fn write_ready(data: &Path, ready: &Ready) -> anyhow::Result<()> {
    let (part, whole) = (data.join("demo.json.part"), data.join(READY_FILE));
    let text = serde_json::to_vec_pretty(ready)?;
    // A demonstration that was killed may have left it.
    let _ = fs::remove_file(&part);
    let mut options = fs::OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&part)
        .and_then(|mut file| file.write_all(&text))
        .and_then(|()| fs::rename(&part, &whole))
        .with_context(|| format!("writing {}", whole.display()))
}

fn announce(ready: &Ready, args: &DemoArgs) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    writeln!(
        stderr,
        "EcoWatt demonstration: {} plants in simulated time, from 21 June 2026, 04:25 in Berlin, at \
         {}\u{d7} real time.",
        ready.devices.len(),
        args.speed
    )?;
    for device in &ready.devices {
        writeln!(stderr, "  {} reads its inverter at {} (Modbus TCP)", device.id, device.inverter)?;
    }
    writeln!(
        stderr,
        "Open the dashboard at this address; the part after # logs you in. Ctrl-C stops everything."
    )?;
    let mut data = io::stdout().lock();
    writeln!(data, "{}/#token={}", ready.url, ready.token)?;
    data.flush()
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| (1.0..=SPEED_MAX).contains(speed))
        .ok_or_else(|| format!("a number from 1 to {SPEED_MAX}"))
}

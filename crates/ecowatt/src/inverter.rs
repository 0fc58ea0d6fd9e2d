//! `ecowatt inverter`: one simulated inverter on the network or on a pseudo terminal.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use ecowatt_clock::Clock;
use ecowatt_inverter_sim::fault::FaultSpec;
use ecowatt_inverter_sim::series::{Series, SeriesAlignment};
use ecowatt_inverter_sim::{
    Addresses, Config, HttpConfig, RegisterMap, RegisterSource, SerialConfig, ServeConfig,
    Simulation, Site, Weather, serve,
};
use ecowatt_model::UnixMs;
use serde::{Deserialize, Serialize};

use crate::argument;

/// Run a simulated inverter: sun, clouds, modules, grid and faults behind real Modbus.
///
/// Without options it is a 5 kW inverter with two strings in Berlin at the current time, answering
/// Modbus TCP at 127.0.0.1:1502 as unit 17 with ten registers. The same seed and start produce the
/// same values at the same instants. It runs until it is interrupted.
///
/// Examples:
///
///   a sunny day in 24 seconds:
///     ecowatt inverter --start 2026-06-21T00:00:00Z --speed 3600
///   a serial port for testing an agent, with SunSpec registers:
///     ecowatt inverter --serial /tmp/ttyINV --profile sunspec
///   one answer in ten damaged for ten minutes, through the control port:
///     ecowatt inverter --control 127.0.0.1:1580
///     curl -H 'content-type: application/json' 127.0.0.1:1580/faults \
///       -d '{"kind":"wrong_crc","probability":0.1,"for_s":600}'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct InverterArgs {
    /// Answer Modbus TCP here; port 0 picks a free one [default: 127.0.0.1:1502 if none of
    /// --rtu-listen, --serial and --http is given].
    #[arg(long, value_name = "ADDR", value_parser = argument::address)]
    listen: Option<SocketAddr>,
    /// Answer RTU frames inside a TCP stream here.
    #[arg(long, value_name = "ADDR", value_parser = argument::address)]
    rtu_listen: Option<SocketAddr>,
    /// Answer RTU on a pseudo terminal and create a symbolic link to it at PATH.
    #[arg(long, value_name = "PATH")]
    serial: Option<PathBuf>,
    /// With --serial: take as long for an answer as a line at this speed.
    #[arg(long, value_name = "BD", requires = "serial", value_parser = clap::value_parser!(u32).range(50..=4_000_000))]
    baud: Option<u32>,
    /// Register map: ecowatt/seed-sim (ten registers), sunspec (models 1, 120, 121, 103, 123, 160
    /// from 40000 on) or sunspec/der (models 1, 701 to 705, 711, 714; read by sunspec/generic-pv).
    #[arg(long, value_name = "NAME", conflicts_with = "replay")]
    profile: Option<RegisterMap>,
    /// Answer RTU frames as hexadecimal text in JSON over HTTP here, as the earlier EcoWatt's
    /// Inverter SIM does: POST /api/inverter/read and /write, /api/user/error-flag/add.
    #[arg(long, value_name = "ADDR", value_parser = argument::address)]
    http: Option<SocketAddr>,
    /// With --http: refuse requests whose Authorization header is not KEY [default: accept all].
    #[arg(long, value_name = "KEY", requires = "http")]
    http_key: Option<String>,
    /// Unit identifier [default: 17].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=247))]
    unit: Option<u8>,
    /// Seed of everything random.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// TOML file that describes plant, site and inverter, with the keys that --print-plant shows;
    /// other options override it.
    #[arg(long, value_name = "FILE")]
    plant: Option<PathBuf>,
    /// Location of the plant: berlin, colombo, or degrees as LATITUDE,LONGITUDE.
    #[arg(long, value_name = "PLACE", value_parser = place, allow_hyphen_values = true)]
    site: Option<Site>,
    /// Use measured irradiance: CSV with columns t (Unix seconds), ghi (W/m²) and optionally temp
    /// (°C).
    #[arg(long, value_name = "CSV", conflicts_with = "replay")]
    irradiance: Option<PathBuf>,
    /// Replay recorded registers instead of a simulation: CSV with t (Unix seconds), then one
    /// column per register from 0 on. Unless --start is given, time starts at the first row.
    #[arg(long, value_name = "CSV")]
    replay: Option<PathBuf>,
    /// Shift the times of the CSV so that its first row is at the start.
    #[arg(long)]
    shift: bool,
    /// Repeat the CSV after its end.
    #[arg(long = "loop")]
    is_looped: bool,
    /// Simulated seconds per real second, 1 to 3600.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Start of simulated time, such as 2026-06-21T04:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    start: Option<Start>,
    /// Control port (HTTP, loopback only): GET /state, /faults, /log; POST /faults, /irradiance;
    /// DELETE /faults, /faults/ID, /irradiance.
    #[arg(long, value_name = "ADDR", value_parser = argument::address)]
    control: Option<SocketAddr>,
    /// Plan of faults: TOML with a table `fault` for each, or JSON with {"fault": […]}; keys kind,
    /// probability, from, until, after_s, for_s, addresses, times, code, delay_ms.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Append every answered read to FILE, one JSON object per line: seq, t_ms, unit, table,
    /// address, words, intact.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Print the addresses as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// Print the plant that the options describe as TOML and exit.
    #[arg(long)]
    print_plant: bool,
}

#[derive(Debug, Clone, Copy)]
struct Start(UnixMs);

impl std::str::FromStr for Start {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.parse()?;
        Ok(Self(UnixMs(time.as_millisecond())))
    }
}

/// Printed once the inverter runs.
#[derive(Serialize)]
struct Started<'a> {
    #[serde(flatten)]
    addresses: &'a Addresses,
    map: RegisterMap,
    unit: u8,
    seed: u64,
    start: String,
    speed: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    fault: Vec<FaultSpec>,
}

/// Runs the inverter until `shutdown` is ready.
///
/// # Errors
/// If a file cannot be read, an address is taken, or the plant is not valid.
pub(crate) async fn run(
    args: InverterArgs,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let config = args.config()?;
    if args.print_plant {
        let text = toml::to_string(&config).context("writing the plant as TOML")?;
        return Ok(io::stdout().write_all(text.as_bytes())?);
    }
    let faults = args.faults.as_deref().map(plan).transpose()?.unwrap_or_default();
    let recording = args.replay.as_deref().map(series::<u16>).transpose()?;
    let clock = args.clock(recording.as_ref());
    let start = clock.now();
    let alignment =
        SeriesAlignment { starts_at: args.shift.then_some(start), is_looped: args.is_looped };
    let source = match (recording, &args.irradiance) {
        (Some(recording), _) => RegisterSource::Recorded(recording.aligned(alignment)),
        (None, Some(path)) => {
            let irradiance: Series<f64> = series(path)?;
            let has_ghi = irradiance.column("ghi").is_some();
            anyhow::ensure!(has_ghi, "{} has no column ghi", path.display());
            RegisterSource::Simulated(Weather::Measured(irradiance.aligned(alignment)))
        }
        (None, None) => RegisterSource::Simulated(Weather::Modelled),
    };
    let (unit, seed) = (config.unit, config.seed);
    let map =
        if matches!(source, RegisterSource::Recorded(_)) { RegisterMap::Seed } else { config.map };
    let simulation = Simulation { config, source, faults };
    let running = serve(simulation, &args.serve_config(), clock, shutdown)
        .await
        .context("starting the inverter")?;

    let started = Started {
        addresses: running.addresses(),
        map,
        unit,
        seed,
        start: rfc_3339(start),
        speed: args.speed,
    };
    writeln!(io::stderr(), "{}", started.line())?;
    if args.json {
        let mut stdout = io::stdout().lock();
        serde_json::to_writer(&mut stdout, &started)?;
        writeln!(stdout)?;
        stdout.flush()?;
    }
    running.join().await;
    Ok(())
}

impl InverterArgs {
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.plant {
            None => Config::default(),
            Some(path) => {
                let text = read(path)?;
                toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?
            }
        };
        config.map = self.profile.unwrap_or(config.map);
        config.unit = self.unit.unwrap_or(config.unit);
        config.seed = self.seed.unwrap_or(config.seed);
        if let Some(site) = &self.site {
            config.site = site.clone();
        }
        Ok(config)
    }

    fn serve_config(&self) -> ServeConfig {
        let is_unnamed = self.listen.is_none()
            && self.rtu_listen.is_none()
            && self.serial.is_none()
            && self.http.is_none();
        let usual: SocketAddr = ([127, 0, 0, 1], 1_502).into();
        ServeConfig {
            tcp: if is_unnamed { Some(usual) } else { self.listen },
            rtu_tcp: self.rtu_listen,
            serial: self
                .serial
                .clone()
                .map(|link| SerialConfig { link: Some(link), baud: self.baud }),
            http: self.http.map(|address| HttpConfig { address, key: self.http_key.clone() }),
            control: self.control,
            journal: self.journal.clone(),
        }
    }

    /// The system clock, unless another time or speed is asked for.
    fn clock(&self, recording: Option<&Series<u16>>) -> Clock {
        let of_recording = recording.filter(|_| !self.shift).map(Series::starts_at);
        let start = self.start.map(|start| start.0).or(of_recording);
        match start {
            None if self.speed <= 1.0 => Clock::system(),
            None => Clock::simulated(Clock::system().now(), self.speed),
            Some(start) => Clock::simulated(start, self.speed),
        }
    }
}

impl Started<'_> {
    fn line(&self) -> String {
        let addresses = self.addresses;
        let mut places = Vec::new();
        if let Some(address) = addresses.tcp {
            places.push(format!("Modbus TCP at {address}"));
        }
        if let Some(address) = addresses.rtu_tcp {
            places.push(format!("RTU over TCP at {address}"));
        }
        if let Some(path) = &addresses.serial {
            places.push(format!("RTU on {}", path.display()));
        }
        if let Some(address) = addresses.http {
            places.push(format!("frames over HTTP at http://{address}"));
        }
        if let Some(address) = addresses.control {
            places.push(format!("control at http://{address}"));
        }
        format!(
            "inverter: {} as unit {}, {}; from {} at {}\u{d7} real time, seed {}",
            self.map,
            self.unit,
            places.join(", "),
            self.start,
            self.speed,
            self.seed
        )
    }
}

fn plan(path: &Path) -> anyhow::Result<Vec<FaultSpec>> {
    let text = read(path)?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let plan: anyhow::Result<Plan> = if is_json {
        serde_json::from_str(&text).map_err(Into::into)
    } else {
        toml::from_str(&text).map_err(Into::into)
    };
    Ok(plan.with_context(|| format!("reading {}", path.display()))?.fault)
}

fn series<T: Copy + std::str::FromStr>(path: &Path) -> anyhow::Result<Series<T>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Series::from_csv(BufReader::new(file)).with_context(|| format!("reading {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn rfc_3339(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |t| t.to_string())
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (1.0..=3_600.0).contains(&speed) => Ok(speed),
        _ => Err("speed is a number from 1 to 3600".to_owned()),
    }
}

fn place(text: &str) -> Result<Site, String> {
    let unknown = || "a place is berlin, colombo, or LATITUDE,LONGITUDE in degrees".to_owned();
    match text {
        "berlin" => return Ok(Site::BERLIN),
        "colombo" => return Ok(Site::COLOMBO),
        _ => {}
    }
    let (latitude, longitude) = text.split_once(',').ok_or_else(unknown)?;
    let degrees = |text: &str, max: f64| match text.trim().parse::<f64>() {
        Ok(degrees) if (-max..=max).contains(&degrees) => Ok(degrees),
        _ => Err(unknown()),
    };
    Ok(Site::at(degrees(latitude, 90.0)?, degrees(longitude, 180.0)?))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: InverterArgs,
    }

    fn parse(line: &str) -> Result<InverterArgs, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.args)
    }

    #[test]
    fn tcp_is_the_default_front() {
        let config = parse("inverter").unwrap().serve_config();
        assert_eq!(config.tcp.unwrap().port(), 1_502);
        let config = parse("inverter --serial /tmp/x").unwrap().serve_config();
        assert_eq!((config.tcp, config.serial.unwrap().baud), (None, None));
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for line in [
            "inverter --speed 0.5",
            "inverter --speed 3601",
            "inverter --speed nan",
            "inverter --replay a --irradiance b",
            "inverter --replay a --profile sunspec",
            "inverter --profile nothing",
            "inverter --baud 9600",
            "inverter --start yesterday",
            "inverter --site nowhere",
            "inverter --site 91,0",
            "inverter --unit 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn options_override_the_plant_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plant.toml");
        std::fs::write(&path, "rated_w = 3000\nunit = 5\n[site]\nlatitude = 10.0\n").unwrap();
        let line = format!("inverter --unit 9 --plant {} --site -33.9,18.4", path.display());
        let config = parse(&line).unwrap().config().unwrap();
        assert_eq!((config.rated_w, config.unit), (3_000, 9));
        assert!((config.site.latitude + 33.9).abs() < 1e-9);
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn the_default_plant_is_read_back_from_its_toml() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn plans_are_toml_or_json() {
        let folder = tempfile::tempdir().unwrap();
        let toml = folder.path().join("plan.toml");
        let json = folder.path().join("plan.json");
        let text = "[[fault]]\nkind = \"crc_error\"\nprobability = 0.1\nfrom = \"2026-06-21T10:00:00Z\"\nfor_s = 60\n";
        std::fs::write(&toml, text).unwrap();
        let text = r#"{"fault":[{"kind":"wrong_crc","probability":0.1,"from":"2026-06-21T10:00:00Z","for_s":60}]}"#;
        std::fs::write(&json, text).unwrap();
        assert_eq!(plan(&toml).unwrap(), plan(&json).unwrap());
        std::fs::write(&toml, "[[fault]]\nkind = \"mischief\"\n").unwrap();
        assert!(plan(&toml).is_err());
    }
}

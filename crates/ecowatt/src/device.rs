//! `ecowatt device`: enrol, show and correct devices.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use ecowatt_agent::{Address, ServerUrl};
use ecowatt_api::{
    CreateClaim, CreateDevice, Device, DeviceDetail, DeviceState, Enrolment, NewSite, UpdateDevice,
};
use ecowatt_client::DeviceQuery;
use ecowatt_profile::catalogue;
use serde::Serialize;

use crate::agent_toml::{AGENT_FILE, AgentToml};
use crate::argument;
use crate::hint::WithHint as _;
use crate::operator::Connection;
use crate::original::{OriginalArgs, enrolled_original};
use crate::table::{Table, or_dash, plain, print_json, word};

/// Placeholder for an inverter's address: reserved for documentation (RFC 5737).
const TRANSPORT: &str = "tcp://192.0.2.10:502";
/// Default profile.
const PROFILE: &str = "sunspec/generic-pv";

/// Enrol, show, correct and delete devices.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a claim code that an agent redeems once for its identity and key.
    ///
    /// The code goes to standard output, everything else to standard error, so that `CODE=$(ecowatt
    /// device enrol --name Roof --site Home --time-zone Europe/Berlin)` works. Standard error has
    /// the agent's complete configuration, with notes as comments: `2> agent.toml` saves it.
    /// --transport, --unit and --profile name the inverter that the agent reads.
    ///
    /// `ecowatt device enrol ID --original --key HEX32` enrols a device of the earlier EcoWatt
    /// instead; its number goes to standard output.
    Enrol(EnrolArgs),
    /// List devices.
    List(ListArgs),
    /// Show one device with its newest readings.
    Show(ShowArgs),
    /// Rename a device.
    Rename {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// The new name.
        name: String,
    },
    /// Move a device to another site.
    Move {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Name of the site; created if it does not exist and a time zone is given.
        #[arg(long)]
        site: String,
        /// IANA time zone of a new site, such as Europe/Berlin.
        #[arg(long)]
        time_zone: Option<String>,
        /// If the new site has another time zone: accept that past days keep their bounds and that
        /// today mixes both.
        #[arg(long)]
        keep_past_days: bool,
    },
    /// Revoke a device's keys and claim codes, and forget the state that was reported under the
    /// keys.
    ///
    /// For a device whose key may have been stolen. Its stored data is kept. Enrol it again with
    /// `ecowatt device enrol --device ID`.
    Reset {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
    },
    /// Delete a device and all of its data.
    Delete {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct EnrolArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    original: OriginalArgs,
    /// Name of the device.
    #[arg(long, required_unless_present_any = ["device", "original"])]
    name: Option<String>,
    /// Name of its site; created if it does not exist.
    #[arg(long, required_unless_present_any = ["device", "original"])]
    site: Option<String>,
    /// IANA time zone of a new site, such as Europe/Berlin.
    #[arg(long)]
    time_zone: Option<String>,
    /// How long the code can be redeemed, such as 24h or 7d [default: 1d].
    #[arg(long, value_name = "DURATION", value_parser = argument::duration)]
    valid_for: Option<Duration>,
    /// Enrol this existing device again, such as dev-42; it gets a new key.
    #[arg(long, value_name = "ID", conflicts_with_all = ["name", "site", "time_zone"])]
    device: Option<String>,
    #[command(flatten)]
    reads: Reads,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Settings for the agent's configuration, apart from the code.
#[derive(Debug, Args)]
struct Reads {
    /// The inverter's address for the agent: tcp://HOST:PORT, rtu-over-tcp://HOST:PORT or
    /// serial:///dev/ttyUSB0?baud=9600&format=8N1.
    #[arg(long, value_name = "URL", value_parser = transport)]
    transport: Option<String>,
    /// The inverter's unit identifier [default: the profile's].
    #[arg(long, value_name = "N", requires = "transport")]
    unit: Option<u8>,
    /// The inverter's profile, an id from the catalogue [default: sunspec/generic-pv].
    #[arg(long, value_name = "ID", requires = "transport", value_parser = profile)]
    profile: Option<String>,
    /// This server's address for the agent [default: the address used by this command].
    #[arg(long, value_name = "URL", value_parser = server)]
    server: Option<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    connection: Connection,
    /// Only devices whose name, site or id contains this text.
    #[arg(long)]
    search: Option<String>,
    /// Only devices in this state: producing, idle, asleep, waiting, faulty or silent.
    #[arg(long, value_parser = state)]
    state: Option<DeviceState>,
    /// Print JSON, one array of all devices.
    #[arg(long)]
    json: bool,
    /// With --json: also print today's power by quarter hour.
    #[arg(long, requires = "json")]
    spark: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    connection: Connection,
    /// The device, such as dev-42.
    device: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Carries out a verb.
///
/// # Errors
/// If the server refuses, cannot be reached, or standard output cannot be written.
pub(crate) fn run(args: &DeviceArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Enrol(args) => enrol(args),
        Verb::List(args) => list(args),
        Verb::Show(args) => show(args),
        Verb::Rename { connection, device, name } => {
            let change = UpdateDevice { name: Some(name.clone()), ..UpdateDevice::default() };
            let updated = connection.client()?.update_device(device, &change);
            warn(updated.context("renaming the device")?.warning)
        }
        Verb::Move { connection, device, site, time_zone, keep_past_days } => {
            let site = NewSite { name: site.clone(), time_zone: time_zone.clone() };
            let change =
                UpdateDevice { name: None, site: Some(site), keep_past_days: *keep_past_days };
            let updated = connection.client()?.update_device(device, &change);
            warn(updated.context("moving the device")?.warning)
        }
        Verb::Reset { connection, device } => {
            connection.client()?.reset_device(device).context("resetting the device")?;
            writeln!(
                io::stderr(),
                "keys of {device} revoked; `ecowatt device enrol --device {device}` creates a claim \
                 code for a new one"
            )?;
            Ok(())
        }
        Verb::Delete { connection, device, yes } => delete(connection, device, *yes),
    }
}

fn enrol(args: &EnrolArgs) -> anyhow::Result<()> {
    let client = args.connection.client()?;
    let site = args.site.clone().map(|name| NewSite { name, time_zone: args.time_zone.clone() });
    if let Some(request) = args.original.request(args.name.clone(), site) {
        let enrolled = client.enrol_original(&request).context("enrolling the device")?;
        return enrolled_original(&enrolled, args.json);
    }
    let valid_for_s = args.valid_for.map(|duration| duration.as_secs());
    let enrolment = match &args.device {
        Some(device) => client.create_claim(device, &CreateClaim { valid_for_s }),
        None => client.create_device(&CreateDevice {
            name: args.name.clone().unwrap_or_default(),
            site: NewSite {
                name: args.site.clone().unwrap_or_default(),
                time_zone: args.time_zone.clone(),
            },
            valid_for_s,
        }),
    };
    let enrolment = enrolment.context("creating a claim code")?;
    let agent_toml = agent_toml(args, &enrolment.claim_code);
    if args.json {
        let agent_toml = agent_toml.to_string();
        return print_json(&Enrolled { enrolment: &enrolment, agent_toml: &agent_toml });
    }
    let Enrolment { device, claim_code, expires, warning } = enrolment;
    let mut stderr = io::stderr().lock();
    // All of it is a comment or configuration, so that all of it can be pasted.
    if let Some(warning) = warning {
        writeln!(stderr, "# note: {}", plain(&warning))?;
    }
    writeln!(stderr, "# The agent of {device} can redeem this code once, until {expires}.")?;
    if args.device.is_some() && args.reads.transport.is_none() {
        writeln!(stderr, "# Replace the old code in {AGENT_FILE}, then restart the agent:")?;
        writeln!(stderr, "claim_code = \"{claim_code}\"")?;
    } else {
        writeln!(stderr, "# Complete {AGENT_FILE} for `ecowatt agent --config {AGENT_FILE}`.")?;
        if args.reads.transport.is_none() {
            writeln!(
                stderr,
                "# Edit transport and profile for its inverter, or give --transport and --profile."
            )?;
        }
        if let Some(remark) = remark_on(&agent_toml.server) {
            writeln!(stderr, "# {remark}")?;
        }
        write!(stderr, "\n{agent_toml}\n")?;
    }
    stderr.flush()?;
    writeln!(io::stdout(), "{claim_code}")?;
    Ok(())
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Enrolled<'a> {
    #[serde(flatten)]
    enrolment: &'a Enrolment,
    /// The agent's complete configuration.
    agent_toml: &'a str,
}

fn agent_toml(args: &EnrolArgs, claim_code: &str) -> AgentToml {
    let Reads { transport, unit, profile, server } = &args.reads;
    AgentToml {
        server: server.clone().unwrap_or_else(|| args.connection.url().to_owned()),
        claim_code: claim_code.to_owned(),
        transport: transport.clone().unwrap_or_else(|| TRANSPORT.to_owned()),
        unit: *unit,
        profile: profile.clone().unwrap_or_else(|| PROFILE.to_owned()),
    }
}

/// Returns what may keep an agent from reaching a server at this address.
fn remark_on(server: &str) -> Option<String> {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let is_loopback = host.parse::<SocketAddr>().map(|address| address.ip()).or(host.parse());
    let is_loopback = is_loopback.is_ok_and(|address: IpAddr| address.is_loopback())
        || host.split(':').next() == Some("localhost");
    match server.parse::<ServerUrl>() {
        Err(problem) => Some(format!("server: {problem}; --server sets another address.")),
        Ok(_) if is_loopback => Some(
            "Only an agent on this machine can reach this server address; --server sets another."
                .to_owned(),
        ),
        Ok(_) => None,
    }
}

fn delete(connection: &Connection, device: &str, is_sure: bool) -> anyhow::Result<()> {
    let client = connection.client()?;
    if !is_sure {
        let Device { name, site, .. } =
            client.find_device(device).context("finding the device")?.device;
        write!(
            io::stderr(),
            "Delete {device} ({} at {}) and all of its data? Type its id to confirm: ",
            plain(&name),
            plain(&site.name)
        )?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if answer.trim() != device {
            return Err(anyhow!("not confirmed; nothing was deleted"))
                .with_hint(|| "`--yes` deletes without asking");
        }
    }
    client.delete_device(device).context("deleting the device")?;
    writeln!(io::stderr(), "{device} deleted")?;
    Ok(())
}

fn warn(warning: Option<String>) -> anyhow::Result<()> {
    if let Some(warning) = warning {
        writeln!(io::stderr(), "note: {}", plain(&warning))?;
    }
    Ok(())
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let client = args.connection.client()?;
    let mut devices = Vec::new();
    let mut query = DeviceQuery {
        limit: Some(ecowatt_api::DEVICES_PAGE_MAX),
        search: args.search.clone(),
        state: args.state,
        cursor: None,
    };
    loop {
        let page = client.list_devices(&query).context("listing devices")?;
        devices.extend(page.devices);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    if args.json {
        return print_json(&json_of(&devices, args.spark)?);
    }
    let mut table =
        Table::new(["device", "name", "site", "state", "power W", "today Wh", "last seen"]);
    for device in &devices {
        table.row([
            device.id.clone(),
            device.name.clone(),
            device.site.name.clone(),
            word(&device.state),
            watts(device),
            or_dash(device.energy_today_wh),
            or_dash(device.last_seen.as_ref()),
        ]);
    }
    let is_searched = args.search.is_some() || args.state.is_some();
    table.print_or(if is_searched {
        "no device matches; without `--search` and `--state` all devices are listed"
    } else {
        "no devices yet; `ecowatt device enrol` creates a claim code for one"
    })?;
    Ok(())
}

fn json_of(devices: &[Device], with_spark: bool) -> anyhow::Result<serde_json::Value> {
    let mut list = serde_json::to_value(devices)?;
    for device in list.as_array_mut().into_iter().flatten().filter(|_| !with_spark) {
        if let Some(device) = device.as_object_mut() {
            device.remove("spark");
        }
    }
    Ok(list)
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let detail =
        args.connection.client()?.find_device(&args.device).context("finding the device")?;
    if args.json {
        return print_json(&detail);
    }
    let mut out = io::stdout();
    write!(out, "{}", facts(&detail).render())?;
    for inverter in &detail.inverters {
        writeln!(
            out,
            "\ninverter {}: {} ({}), {}",
            inverter.number,
            plain(&inverter.title),
            plain(&inverter.profile),
            word(&inverter.state)
        )?;
        let mut table = Table::new(["point", "value", "unit", "read at", "quality"]);
        for point in &inverter.points {
            let value = point
                .value
                .map(|value| format!("{value:.*}", usize::from(point.decimals)))
                .map(|value| match &point.text {
                    Some(text) => format!("{value} ({text})"),
                    None => value,
                });
            table.row([
                point.point.clone(),
                or_dash(value),
                point.unit.clone(),
                or_dash(point.read_at.as_ref()),
                point.quality.clone(),
            ]);
        }
        write!(out, "{}", table.render())?;
    }
    Ok(())
}

fn facts(detail: &DeviceDetail) -> Table {
    let device = &detail.device;
    let mut table = Table::new(["fact", "value"]);
    let mut fact = |name: &str, value: String| table.row([name.into(), value]);
    fact("id", device.id.clone());
    fact("name", device.name.clone());
    fact("site", format!("{} ({})", device.site.name, device.site.time_zone));
    let since = device.state_since.as_ref().map(|since| format!(", since {since}"));
    fact("state", format!("{}{}", word(&device.state), since.unwrap_or_default()));
    fact("power W", watts(device));
    fact("energy today Wh", or_dash(device.energy_today_wh));
    fact("last seen", or_dash(device.last_seen.as_ref()));
    fact("last sample", or_dash(device.last_sample.as_ref()));
    fact("firmware", or_dash(device.firmware.as_ref()));
    fact("key generation", crate::keys::generation(&detail.link));
    fact("messages", detail.link.messages.to_string());
    fact("batches", detail.link.batches.to_string());
    fact("samples", detail.link.samples.to_string());
    fact("duplicates", detail.link.duplicates.to_string());
    fact("refused batches", detail.link.refused.to_string());
    fact("lost samples", detail.link.dropped_samples.to_string());
    for (name, value) in &detail.diagnostics {
        fact(&format!("reported {name}"), value.clone());
    }
    table
}

fn watts(device: &Device) -> String {
    or_dash(device.power_w.map(|watts| format!("{watts:.0}")))
}

fn transport(text: &str) -> Result<String, String> {
    text.parse::<Address>().map(|_| text.to_owned()).map_err(|problem| problem.to_string())
}

fn server(text: &str) -> Result<String, String> {
    text.parse::<ServerUrl>().map(|_| text.to_owned()).map_err(|problem| problem.to_string())
}

fn profile(text: &str) -> Result<String, String> {
    match catalogue::find(text) {
        Some(_) => Ok(text.to_owned()),
        None => {
            let known: Vec<&str> = catalogue::list().iter().map(|entry| entry.id).collect();
            Err(format!("the catalogue has {}", known.join(", ")))
        }
    }
}

fn state(text: &str) -> Result<DeviceState, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "one of producing, idle, asleep, waiting, faulty, silent".into())
}

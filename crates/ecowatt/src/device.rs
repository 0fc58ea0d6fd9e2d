//! `ecowatt device`: enrol, show and correct devices.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
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
use crate::operator::Connection;
use crate::table::{Table, or_dash, plain, print_json, word};

/// Where the inverter is if nothing was said of it: an address that nobody has (RFC 5737).
const TRANSPORT: &str = "tcp://192.0.2.10:502";
/// Which inverter it is then.
const PROFILE: &str = "sunspec/generic-pv";

/// Enrol, show, correct and delete devices.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a claim code that an agent redeems once for its identity and key.
    ///
    /// The code goes to standard output, everything else to standard error, so that
    /// `CODE=$(ecowatt device enrol --name Roof --site Home --time-zone Europe/Berlin)` works.
    /// Standard error has the agent's whole configuration, with remarks as comments:
    /// `2> agent.toml` keeps it. --transport, --unit and --profile say which inverter it reads.
    Enrol(EnrolArgs),
    /// List devices.
    List(ListArgs),
    /// Show one device with everything that was last measured.
    Show(ShowArgs),
    /// Give a device another name.
    Rename {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// What people call it from now on.
        name: String,
    },
    /// Put a device at another site.
    Move {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Name of its site; made if there is none of that name and a time zone is given.
        #[arg(long)]
        site: String,
        /// IANA time zone of a site that does not exist yet, such as Europe/Berlin.
        #[arg(long)]
        time_zone: Option<String>,
        /// Where the zone of the site is another: past days stay as they were cut, and today is a
        /// mixture.
        #[arg(long)]
        keep_past_days: bool,
    },
    /// Forget what was reported under a device's keys, and revoke them and its claim codes.
    ///
    /// For a device whose key somebody else may have had. What it has stored stays. Then make a code
    /// with `ecowatt device enrol --device ID`.
    Reset {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
    },
    /// Delete a device and everything that it has stored.
    Delete {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct EnrolArgs {
    #[command(flatten)]
    connection: Connection,
    /// What people call the device.
    #[arg(long, required_unless_present = "device")]
    name: Option<String>,
    /// Name of its site; made if there is none of that name.
    #[arg(long, required_unless_present = "device")]
    site: Option<String>,
    /// IANA time zone of a site that does not exist yet, such as Europe/Berlin.
    #[arg(long)]
    time_zone: Option<String>,
    /// How long the code may be redeemed, such as 24h or 7d; a day unless told otherwise.
    #[arg(long, value_name = "DURATION", value_parser = argument::duration)]
    valid_for: Option<Duration>,
    /// Give this device (such as dev-42) a new code and thereby a new key, instead of making one.
    #[arg(long, value_name = "ID", conflicts_with_all = ["name", "site", "time_zone"])]
    device: Option<String>,
    #[command(flatten)]
    reads: Reads,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What stands in the agent's configuration beside the code.
#[derive(Debug, Args)]
struct Reads {
    /// The inverter as its agent reaches it: tcp://HOST:PORT, rtu-over-tcp://HOST:PORT or
    /// serial:///dev/ttyUSB0?baud=9600&format=8N1.
    #[arg(long, value_name = "URL", value_parser = transport)]
    transport: Option<String>,
    /// The inverter's unit; what its profile says unless told otherwise.
    #[arg(long, value_name = "N", requires = "transport")]
    unit: Option<u8>,
    /// The inverter's profile, an id of the catalogue; any SunSpec inverter unless told otherwise.
    #[arg(long, value_name = "ID", requires = "transport", value_parser = profile)]
    profile: Option<String>,
    /// This server as the agent reaches it; the address that is used here unless told otherwise.
    #[arg(long, value_name = "URL", value_parser = server)]
    server: Option<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    connection: Connection,
    /// Only devices whose name, site or id contains this.
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

/// Does what the verb says.
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
            warn(updated.context("moving the device (--keep-past-days)")?.warning)
        }
        Verb::Reset { connection, device } => {
            connection.client()?.reset_device(device).context("resetting the device")?;
            writeln!(
                io::stderr(),
                "the keys of {device} are void; `ecowatt device enrol --device {device}` makes a \
                 code for another"
            )?;
            Ok(())
        }
        Verb::Delete { connection, device, yes } => delete(connection, device, *yes),
    }
}

fn enrol(args: &EnrolArgs) -> anyhow::Result<()> {
    let client = args.connection.client()?;
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
    let mut people = io::stderr().lock();
    // All of it is a comment or configuration, so that all of it can be pasted.
    if let Some(warning) = warning {
        writeln!(people, "# note: {}", plain(&warning))?;
    }
    writeln!(people, "# {device} may be claimed once with this code, until {expires}.")?;
    if args.device.is_some() && args.reads.transport.is_none() {
        writeln!(
            people,
            "# In {AGENT_FILE}, in place of the former code; then restart the agent:"
        )?;
        writeln!(people, "claim_code = \"{claim_code}\"")?;
    } else {
        writeln!(people, "# The whole of {AGENT_FILE} for `ecowatt agent --config {AGENT_FILE}`:")?;
        if args.reads.transport.is_none() {
            writeln!(
                people,
                "# put in where its inverter is (or give --transport and --profile)."
            )?;
        }
        if let Some(hint) = hint(&agent_toml.server) {
            writeln!(people, "# {hint}")?;
        }
        write!(people, "\n{agent_toml}\n")?;
    }
    people.flush()?;
    writeln!(io::stdout(), "{claim_code}")?;
    Ok(())
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Enrolled<'a> {
    #[serde(flatten)]
    enrolment: &'a Enrolment,
    /// The whole configuration of the agent.
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

/// What may keep an agent from reaching a server there.
fn hint(server: &str) -> Option<String> {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let is_loopback = host.parse::<SocketAddr>().map(|address| address.ip()).or(host.parse());
    let is_loopback = is_loopback.is_ok_and(|address: IpAddr| address.is_loopback())
        || host.split(':').next() == Some("localhost");
    match server.parse::<ServerUrl>() {
        Err(problem) => Some(format!("server: {problem} (--server).")),
        Ok(_) if is_loopback => {
            Some("Only an agent on this machine reaches the server there (--server).".to_owned())
        }
        Ok(_) => None,
    }
}

fn delete(connection: &Connection, device: &str, is_sure: bool) -> anyhow::Result<()> {
    let client = connection.client()?;
    if !is_sure {
        let Device { name, site, .. } = client.find_device(device).context("finding it")?.device;
        write!(
            io::stderr(),
            "Delete {device} ({} at {}) and everything that it has stored? Type its id: ",
            plain(&name),
            plain(&site.name)
        )?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        anyhow::ensure!(answer.trim() == device, "nothing was deleted (--yes does not ask)");
    }
    client.delete_device(device).context("deleting the device")?;
    writeln!(io::stderr(), "{device} is deleted")?;
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
        "no device is like that; without --search and --state, all of them are listed"
    } else {
        "there is no device yet; `ecowatt device enrol` makes a claim code for one"
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

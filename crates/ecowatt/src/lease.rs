//! `ecowatt lease`: limits inverters for a time, and shows what came of it.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ecowatt_api::{CreateLease, Lease, LeaseList, LimitChange};

use crate::argument;
use crate::operator::Connection;
use crate::table::{Table, or_dash, print_json, word};

/// Limit the power of inverters for a time.
///
/// A device keeps its leases without the server. The lowest of them counts; when none is left, the
/// inverter gets back the limit that was found before.
#[derive(Debug, Args)]
pub(crate) struct LeaseArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Set(Box<SetArgs>),
    /// List the leases of a device and what its inverters made of them, newest first.
    List {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Release a lease before its time is over.
    Release {
        #[command(flatten)]
        connection: Connection,
        /// The lease, such as lease-7.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Limit a device's inverters for a time.
#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    connection: Connection,
    /// The device, such as dev-42.
    device: String,
    /// A part of the rated power, such as 50%, or watts, such as 3000W.
    #[arg(long, value_name = "LIMIT")]
    limit: String,
    /// How long it lasts.
    #[arg(long = "for", value_name = "DURATION", value_parser = argument::duration)]
    lasts: Duration,
    /// When it begins, such as 2026-11-28T11:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The inverter, from 0 [default: all of the device].
    #[arg(long, value_name = "N")]
    inverter: Option<u8>,
    /// Time in which the limit falls at the beginning and rises at the end.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = argument::duration)]
    ramp: Duration,
    /// The limit that holds afterwards until the lease is released, and while the connection is lost
    /// [default: what was found before].
    #[arg(long, value_name = "LIMIT")]
    then: Option<String>,
    /// Time without the server after which the connection counts as lost.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = argument::duration)]
    link_loss: Duration,
    /// Which of two equal limits is named, 0 to 9 [default: 5].
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Carries out a verb.
///
/// # Errors
/// If the server refuses or cannot be reached.
pub(crate) fn run(args: &LeaseArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Set(args) => set(args),
        Verb::List { connection, device, json } => {
            let found = connection.client()?.list_leases(device).context("listing leases")?;
            if *json { print_json(&found) } else { print(&found) }
        }
        Verb::Release { connection, id, json } => {
            let released = connection.client()?.release_lease(id).context("releasing the lease")?;
            if *json { print_json(&released) } else { print_leases(&[released]) }
        }
    }
}

fn set(args: &SetArgs) -> anyhow::Result<()> {
    // What is longer than the field holds is longer than the server allows, too.
    let short = |duration: Duration| u16::try_from(duration.as_secs()).unwrap_or(u16::MAX);
    let request = CreateLease {
        limit: args.limit.clone(),
        inverter: args.inverter,
        from: args.from.clone(),
        for_s: u32::try_from(args.lasts.as_secs()).unwrap_or(u32::MAX),
        ramp_s: Some(short(args.ramp)),
        link_loss_s: Some(short(args.link_loss)),
        then: args.then.clone(),
        priority: args.priority,
    };
    let client = args.connection.client()?;
    let made = client.create_lease(&args.device, &request).context("making the lease")?;
    if args.json { print_json(&made) } else { print_leases(&[made]) }
}

fn print(found: &LeaseList) -> anyhow::Result<()> {
    print_leases(&found.leases)?;
    if !found.changes.is_empty() {
        print_changes(&found.changes)?;
    }
    Ok(())
}

fn print_leases(leases: &[Lease]) -> anyhow::Result<()> {
    let mut table =
        Table::new(["lease", "inverter", "limit", "from", "to", "then", "made by", "state"]);
    for lease in leases {
        let state = word(&lease.state);
        table.row([
            lease.id.clone(),
            lease.inverter.map_or_else(|| "all".into(), |inverter| inverter.to_string()),
            lease.limit.clone(),
            lease.from.clone(),
            lease.to.clone(),
            lease.then.clone().unwrap_or_else(|| "as found".into()),
            lease.made_by.clone(),
            match &lease.refusal {
                Some(refusal) => format!("{state}: {}", word(refusal).replace('_', " ")),
                None => state,
            },
        ]);
    }
    table.print_or("no leases; `ecowatt lease set` makes one")?;
    Ok(())
}

fn print_changes(changes: &[LimitChange]) -> anyhow::Result<()> {
    let mut table =
        Table::new(["changed", "inverter", "lease", "cause", "limit", "read back", "measured"]);
    let after = |ms: u32| format!("after {:.1} s", f64::from(ms) / 1_000.0);
    for change in changes {
        let read_back = match (&change.failure, change.confirmed_ms) {
            (Some(failure), _) => Some(word(failure).replace('_', " ")),
            (None, ms) => ms.map(after),
        };
        let measured = change.power_w.zip(change.power_ms);
        table.row([
            change.at.clone(),
            change.inverter.to_string(),
            or_dash(change.lease.clone()),
            word(&change.cause),
            change.limit_percent.map_or_else(|| "as found".into(), |limit| format!("{limit}%")),
            or_dash(read_back),
            or_dash(measured.map(|(watts, ms)| format!("{watts} W {}", after(ms)))),
        ]);
    }
    table.print_or("")?;
    Ok(())
}

//! Makes a simulated inverter misbehave, with the names that the earlier EcoWatt has for it.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ecowatt_client::{InverterControl, ListedFault};
use ecowatt_inverter_sim::fault::{FaultSpec, Kind};

use crate::argument;
use crate::table::{Table, print_json};

/// Make a simulated inverter misbehave, through the control port of `ecowatt inverter`.
///
/// Faults can be injected into simulated inverters only; server and agent have no such switch.
///
/// Example:
///   ecowatt inverter --control 127.0.0.1:1580
///   ecowatt original fault add CRC_ERROR
///   ecowatt original fault add EXCEPTION --code 2 --times 3
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct FaultArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(AddArgs),
    /// List the faults that have not ended.
    List {
        #[command(flatten)]
        control: Control,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a fault, or all.
    Clear {
        #[command(flatten)]
        control: Control,
        /// The id that `add` printed [default: all].
        id: Option<u64>,
    },
}

/// Add a fault and print its id. Unless --times or --for is given, it affects the next request, as
/// with the earlier EcoWatt.
#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    control: Control,
    /// EXCEPTION, CRC_ERROR, CORRUPT, PACKET_DROP or DELAY, or a kind of `ecowatt inverter
    /// --faults`, such as truncated.
    #[arg(value_name = "TYPE", value_parser = kind)]
    kind: Kind,
    /// With EXCEPTION: the Modbus exception, 1 to 11 [default: 4].
    #[arg(long, value_name = "N")]
    code: Option<u8>,
    /// With DELAY: how late the answer is.
    #[arg(long, value_name = "MS")]
    delay_ms: Option<u64>,
    /// How many requests it affects [default: 1; with --for: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
    /// When it ends, such as 10m.
    #[arg(long = "for", value_name = "DURATION", value_parser = argument::duration)]
    duration: Option<Duration>,
    /// Probability from 0 to 1 that it affects a request.
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    probability: f64,
}

/// The inverter to talk to.
#[derive(Debug, Args)]
struct Control {
    /// Address of the inverter's control port.
    #[arg(long = "control", value_name = "URL", default_value = "http://127.0.0.1:1580")]
    url: String,
}

impl Control {
    fn client(&self) -> anyhow::Result<InverterControl> {
        Ok(InverterControl::new(&self.url)?)
    }
}

/// Carries out a verb.
///
/// # Errors
/// If the control port cannot be reached or refuses.
pub(super) fn run(args: &FaultArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Add(args) => {
            let id = args.control.client()?.add_fault(&args.spec()).context("adding the fault")?;
            writeln!(io::stdout(), "{id}")?;
        }
        Verb::List { control, json } => {
            let faults = control.client()?.list_faults().context("listing faults")?;
            if *json {
                return print_json(&faults);
            }
            let mut table = Table::new(["id", "type", "active", "probability", "times left"]);
            for fault in &faults {
                table.row(row(fault));
            }
            table.print_or("no faults")?;
        }
        Verb::Clear { control, id } => {
            control.client()?.remove_faults(*id).context("removing faults")?;
        }
    }
    Ok(())
}

impl AddArgs {
    fn spec(&self) -> FaultSpec {
        let is_event = matches!(self.kind, Kind::Reboot | Kind::GridLoss);
        let once = (self.duration.is_none() && !is_event).then_some(1);
        FaultSpec {
            probability: self.probability,
            for_s: self.duration.map(|duration| duration.as_secs_f64()),
            times: self.times.or(once),
            code: self.code,
            delay_ms: self.delay_ms,
            ..FaultSpec::always(self.kind)
        }
    }
}

fn row(fault: &ListedFault) -> [String; 5] {
    [
        fault.id.to_string(),
        fault.kind.clone(),
        if fault.is_active { "yes" } else { "no" }.to_owned(),
        fault.probability.to_string(),
        fault.times_left.map_or_else(|| "-".to_owned(), |times| times.to_string()),
    ]
}

/// The names of the original's Inverter SIM, and ours.
fn kind(text: &str) -> Result<Kind, String> {
    let original = match text.to_ascii_uppercase().as_str() {
        "EXCEPTION" => Some(Kind::Exception),
        "CRC_ERROR" => Some(Kind::WrongCrc),
        "CORRUPT" => Some(Kind::Garbage),
        "PACKET_DROP" => Some(Kind::Silence),
        "DELAY" => Some(Kind::Delay),
        _ => None,
    };
    original.or_else(|| Kind::ALL.into_iter().find(|kind| kind.name() == text)).ok_or_else(|| {
        let ours: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("EXCEPTION, CRC_ERROR, CORRUPT, PACKET_DROP, DELAY, {}", ours.join(", "))
    })
}

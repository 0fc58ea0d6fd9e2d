//! `ecowatt command`: sends commands to devices and follows them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use ecowatt_api::{
    Command, CommandArgument, CommandArgumentKind, CommandDetail, CommandState, CreateCommand,
};
use ecowatt_client::{Client, ClientError, CommandQuery};
use ecowatt_clock::Clock;

use crate::argument;
use crate::hint::WithHint as _;
use crate::operator::Connection;
use crate::pages;
use crate::table::{Table, or_dash, print_json, word};

/// Pause between two looks at how far a command is. A device can report within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often a request without an answer is made, and the pause before the next. All have the same
/// key, so they make one command.
const TRIES: usize = 3;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Commands that are listed by default: as many as fit a screen.
const COMMANDS_SHOWN: usize = 20;

/// Send commands to devices and follow them.
///
/// `ecowatt command kinds` lists the commands and their arguments. A device executes each at most
/// once: a command whose end is not known is not sent again.
#[derive(Debug, Args)]
pub(crate) struct CommandArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Send(Box<SendArgs>),
    /// List the commands of a device, newest first.
    List {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Only those in this state, such as queued or failed.
        #[arg(long)]
        state: Option<String>,
        /// How many commands to list.
        #[arg(long, value_name = "N", default_value_t = COMMANDS_SHOWN)]
        limit: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a command with every state that it had.
    Show {
        #[command(flatten)]
        connection: Connection,
        /// The command, such as cmd-17.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Cancel a command that was not sent yet.
    Cancel {
        #[command(flatten)]
        connection: Connection,
        /// The command, such as cmd-17.
        id: String,
    },
    /// Show how many commands succeeded and how long they took.
    Stats {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42. Without it all are counted.
        device: Option<String>,
        /// Hours back.
        #[arg(long, value_name = "N", default_value_t = 24)]
        hours: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List all commands and their arguments.
    Kinds {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Send a command to a device. It gets it with the reply to its next message.
#[derive(Debug, Args)]
struct SendArgs {
    #[command(flatten)]
    connection: Connection,
    /// The device, such as dev-42.
    device: String,
    /// The command, such as set_power.
    #[arg(value_parser = kinds())]
    kind: String,
    /// Arguments and their values, such as watts=3000.
    #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
    arguments: Vec<Assignment>,
    /// The inverter that the command is for; needed if the device has several.
    #[arg(long, value_name = "N")]
    inverter: Option<u8>,
    /// Time in which the device may begin it.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = argument::duration)]
    deadline: Duration,
    /// A higher one is sent before a lower one, 0 to 9 [default: 5].
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Begin it at this time and not before, such as 2026-11-28T11:00:00Z.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Wait until it has ended; fails unless it succeeded.
    #[arg(long)]
    wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "20m", requires = "wait",
          value_parser = argument::duration)]
    timeout: Duration,
    /// Name of this request: the same request with the same key makes no second command [default:
    /// random].
    #[arg(long)]
    key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn kinds() -> clap::builder::PossibleValuesParser {
    ecowatt_model::command::COMMANDS.map(|kind| kind.name).into()
}

/// An argument and its value.
#[derive(Debug, Clone)]
struct Assignment {
    name: String,
    value: String,
}

fn assignment(text: &str) -> Result<Assignment, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(Assignment { name: name.into(), value: value.into() })
        }
        _ => Err("an argument and its value, such as watts=3000".into()),
    }
}

/// Carries out a verb.
///
/// # Errors
/// If the server refuses or cannot be reached, or a command that is waited for does not succeed.
pub(crate) fn run(args: &CommandArgs, clock: Clock) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Send(args) => send(args, clock),
        Verb::List { connection, device, state, limit, json } => {
            list(&connection.client()?, device, state.as_ref(), *limit, *json)
        }
        Verb::Show { connection, id, json } => {
            let found = connection.client()?.find_command(id).context("reading the command")?;
            if *json { print_json(&found) } else { show(&found) }
        }
        Verb::Cancel { connection, id } => {
            let cancelled = connection.client()?.cancel_command(id);
            print(&[cancelled.context("cancelling the command")?.command])
        }
        Verb::Stats { connection, device, hours, json } => {
            stats(&connection.client()?, device.as_deref(), *hours, *json)
        }
        Verb::Kinds { connection, json } => list_kinds(&connection.client()?, *json),
    }
}

fn send(args: &SendArgs, clock: Clock) -> anyhow::Result<()> {
    let client = args.connection.client()?;
    let mut arguments = BTreeMap::new();
    for Assignment { name, value } in &args.arguments {
        if arguments.insert(name.clone(), value.clone()).is_some() {
            return Err(anyhow!("`{name}` is given twice"));
        }
    }
    let key = args.key.clone().map_or_else(random_key, Ok)?;
    let request = CreateCommand {
        kind: args.kind.clone(),
        inverter: args.inverter,
        arguments,
        valid_for_s: Some(args.deadline.as_secs()),
        priority: args.priority,
        not_before: args.at.clone(),
        key: Some(key.clone()),
    };
    let command = create(&client, &args.device, &request)
        .context("sending the command")
        .with_hint(|| "`ecowatt command kinds` lists the commands and their arguments")?;
    if !args.wait {
        if args.json {
            return print_json(&command);
        }
        writeln!(io::stdout(), "{}", command.id)?;
        let (id, deadline) = (&command.id, &command.deadline);
        writeln!(
            io::stderr(),
            "{}; to be begun before {deadline}; `ecowatt command show {id}` shows how far it is",
            word(&command.state)
        )?;
        return Ok(());
    }
    let ended = wait(&client, command, args.timeout, clock)?;
    if args.json {
        print_json(&ended)?;
    } else {
        print(std::slice::from_ref(&ended.command))?;
    }
    let Command { id, state, .. } = &ended.command;
    match state {
        CommandState::Succeeded => Ok(()),
        _ => Err(anyhow!("{id} {}", outcome(&ended.command))),
    }
}

/// Makes the request, again if no answer came: it may have made its command.
fn create(client: &Client, device: &str, request: &CreateCommand) -> anyhow::Result<Command> {
    let mut tries = 1;
    loop {
        match client.create_command(device, request) {
            Err(ClientError::Unreachable { .. } | ClientError::Foreign { .. }) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(TRY_AGAIN_AFTER);
            }
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Foreign { .. })) => {
                let key = request.key.clone().unwrap_or_default();
                return Err(error).with_hint(|| {
                    format!(
                        "the command may have been made; the same request with `--key {key}` makes \
                         no second one"
                    )
                });
            }
            other => return Ok(other?),
        }
    }
}

fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("drawing a key")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn wait(
    client: &Client,
    command: Command,
    timeout: Duration,
    clock: Clock,
) -> anyhow::Result<CommandDetail> {
    let begun = clock.mono();
    loop {
        let found = client.find_command(&command.id).context("reading the command")?;
        if !found.command.state.is_open() {
            return Ok(found);
        }
        if clock.mono().since(begun) >= timeout {
            return Err(anyhow!(
                "{} has not ended yet; it is {}",
                command.id,
                word(&found.command.state)
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn list(
    client: &Client,
    device: &str,
    state: Option<&String>,
    limit: usize,
    json: bool,
) -> anyhow::Result<()> {
    let commands = pages::first(limit, |cursor| {
        let query = CommandQuery { state: state.cloned(), cursor };
        let page = client.list_commands(device, &query).context("listing commands")?;
        Ok((page.commands, page.next_cursor))
    })?
    .items;
    if json { print_json(&commands) } else { print(&commands) }
}

fn print(commands: &[Command]) -> anyhow::Result<()> {
    let mut table =
        Table::new(["command", "created", "kind", "inverter", "arguments", "state", "registers"]);
    for command in commands {
        let arguments: Vec<_> =
            command.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let registers: Vec<_> = command.registers.iter().map(ToString::to_string).collect();
        table.row([
            command.id.clone(),
            command.created.clone(),
            command.kind.clone(),
            or_dash(command.inverter),
            or_dash((!arguments.is_empty()).then(|| arguments.join(" "))),
            outcome(command),
            or_dash((!registers.is_empty()).then(|| registers.join(" "))),
        ]);
    }
    table.print_or("no commands; `ecowatt command send` sends one")?;
    Ok(())
}

/// The state, and why the command failed.
fn outcome(command: &Command) -> String {
    let state = word(&command.state);
    let Some(failure) = &command.failure else { return state };
    let failure = word(failure).replace('_', " ");
    match command.exception {
        Some(code) => format!("{state}: {failure} {code}"),
        None => format!("{state}: {failure}"),
    }
}

fn show(found: &CommandDetail) -> anyhow::Result<()> {
    print(std::slice::from_ref(&found.command))?;
    writeln!(io::stdout())?;
    let mut table = Table::new(["state", "at", "by", "device's time"]);
    for step in &found.transitions {
        table.row([
            word(&step.state),
            step.at.clone(),
            step.by.clone(),
            or_dash(step.device_at.as_ref()),
        ]);
    }
    table.print_or("no history")?;
    Ok(())
}

fn stats(client: &Client, device: Option<&str>, hours: u32, json: bool) -> anyhow::Result<()> {
    let figures = client.command_statistics(device, hours).context("counting commands")?;
    if json {
        return print_json(&figures);
    }
    let mut table = Table::new(["figure", "value"]);
    let counts = [
        ("queued", figures.queued),
        ("sent", figures.sent),
        ("accepted", figures.accepted),
        ("completed", figures.succeeded),
        ("failed", figures.failed),
        ("expired", figures.expired),
        ("cancelled", figures.cancelled),
        ("unknown", figures.unknown),
    ];
    for (name, count) in counts {
        table.row([name.into(), count.to_string()]);
    }
    let percent = figures.success_rate.map(|rate| format!("{:.1} %", rate * 100.0));
    table.row(["success rate".into(), or_dash(percent)]);
    let latency = |ms: Option<i64>| or_dash(ms.map(|ms| format!("{ms} ms")));
    table.row(["latency, median".into(), latency(figures.latency_median_ms)]);
    table.row(["latency, 99 of 100".into(), latency(figures.latency_p99_ms)]);
    table.print_or("no figures")?;
    Ok(())
}

fn list_kinds(client: &Client, json: bool) -> anyhow::Result<()> {
    let list = client.list_command_kinds().context("listing commands")?;
    if json {
        return print_json(&list.kinds);
    }
    let mut table = Table::new(["command", "for", "arguments", "summary"]);
    for kind in list.kinds {
        let arguments: Vec<_> = kind.arguments.iter().map(argument_text).collect();
        let arguments = or_dash((!arguments.is_empty()).then(|| arguments.join(", ")));
        table.row([kind.name, word(&kind.scope), arguments, kind.summary]);
    }
    table.print_or("no commands")?;
    Ok(())
}

fn argument_text(argument: &CommandArgument) -> String {
    let default = argument.default.as_ref().map(|value| format!(" [{value}]"));
    let values = match (argument.kind, argument.min, argument.max) {
        (CommandArgumentKind::Number, Some(min), Some(max)) => {
            let unit = argument.unit.as_deref().unwrap_or_default();
            format!("{min} to {max} {unit}").trim_end().to_owned()
        }
        (CommandArgumentKind::Point, ..) => "value".into(),
        _ => argument.choices.join("|"),
    };
    format!("{}={values}{}", argument.name, default.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignment_has_a_name_and_a_value() {
        let parts = |text| assignment(text).ok().map(|Assignment { name, value }| (name, value));
        assert_eq!(parts("watts=3000"), Some(("watts".into(), "3000".into())));
        for bad in ["", "=5", "watts"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_differ() {
        let (one, two) = (random_key().unwrap(), random_key().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}

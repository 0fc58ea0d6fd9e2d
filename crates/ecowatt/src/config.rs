//! `ecowatt config`: shows and changes the settings of devices.

mod template;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use ecowatt_api::{
    ConfigState, DeviceConfig, Setting, SettingOrigin, SettingState, SettingStatus, SettingValue,
    UpdateConfig,
};
use ecowatt_client::Client;
use ecowatt_clock::Clock;

use crate::argument;
use crate::hint::WithHint as _;
use crate::operator::Connection;
use crate::pages;
use crate::table::{Table, or_dash, print_json, word};
use template::TemplateVerb;

/// Pause between two looks at whether the device has reported a change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes of a configuration that are printed by default: as many as fit a screen.
const CHANGES_SHOWN: usize = 20;

/// Show and change the settings of devices.
///
/// Values are durations such as 5s or 2m, numbers, or words; `ecowatt config settings` lists them.
/// A setting of one inverter has its number: sampling_interval@0=5s.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Change settings of a device. It gets the change with the reply to its next message.
    Set {
        #[command(flatten)]
        change: ChangeArgs,
        /// Settings and their values, such as upload_interval=30s or sampling_interval@0=5s.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        values: Vec<Assignment>,
    },
    /// Leave settings to the device's template, or else to its own configuration, again.
    Unset {
        #[command(flatten)]
        change: ChangeArgs,
        /// Settings, such as upload_interval or sampling_interval@0.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Show what a device should use and what it uses.
    Show {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show who changed which settings of a device, newest first.
    History {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// How many changes to show.
        #[arg(long, value_name = "N", default_value_t = CHANGES_SHOWN)]
        limit: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Share values of settings between devices.
    Template {
        #[command(subcommand)]
        verb: TemplateVerb,
    },
    /// List all settings and their allowed values.
    Settings {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct ChangeArgs {
    #[command(flatten)]
    connection: Connection,
    /// The device, such as dev-42.
    device: String,
    /// Refuse the change unless the configuration has this generation.
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// Wait until the device has reported the change; fails if it refuses a value.
    #[arg(long)]
    wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", requires = "wait",
          value_parser = argument::duration)]
    timeout: Duration,
}

/// A setting and its new value.
#[derive(Debug, Clone)]
struct Assignment {
    key: String,
    value: String,
}

fn assignment(text: &str) -> Result<Assignment, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(Assignment { key: key.into(), value: value.into() })
        }
        _ => Err("a setting and its value, such as upload_interval=30s".into()),
    }
}

/// Returns values by setting.
fn assigned(values: &[Assignment]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut set = BTreeMap::new();
    for Assignment { key, value } in values {
        if set.insert(key.clone(), value.clone()).is_some() {
            return Err(anyhow!("`{key}` is given twice"));
        }
    }
    Ok(set)
}

/// Carries out a verb.
///
/// # Errors
/// If the server refuses or cannot be reached, or the device does not use what it should.
pub(crate) fn run(args: &ConfigArgs, clock: Clock) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Set { change, values } => {
            let set = assigned(values)?;
            edit(change, UpdateConfig { set, ..UpdateConfig::default() }, clock)
        }
        Verb::Unset { change, keys } => {
            edit(change, UpdateConfig { unset: keys.clone(), ..UpdateConfig::default() }, clock)
        }
        Verb::Show { connection, device, json } => {
            let config = find(&connection.client()?, device)?;
            if *json { print_json(&config) } else { show(&config) }
        }
        Verb::History { connection, device, limit, json } => {
            history(&connection.client()?, device, *limit, *json)
        }
        Verb::Template { verb } => template::run(verb),
        Verb::Settings { connection, json } => settings(&connection.client()?, *json),
    }
}

fn find(client: &Client, device: &str) -> anyhow::Result<DeviceConfig> {
    client.find_config(device).context("reading the configuration")
}

fn edit(args: &ChangeArgs, mut update: UpdateConfig, clock: Clock) -> anyhow::Result<()> {
    let client = args.connection.client()?;
    update.generation = args.generation;
    let config = client
        .update_config(&args.device, &update)
        .context("changing the configuration")
        .with_hint(|| "`ecowatt config settings` lists the settings and their values")?;
    if !args.wait {
        return show(&config);
    }
    let generation = config.generation;
    let config = wait(&client, args, config, clock)?;
    show(&config)?;
    if config.generation != generation {
        return Err(anyhow!("the configuration was changed again while this change was under way"));
    }
    let failed = config.settings.iter().find(|setting| is_failed(setting.state));
    match failed {
        Some(setting) => Err(anyhow!("{}: {}", key_text(setting), state_text(setting))),
        None => Ok(()),
    }
}

/// Waits until the device has reported the configuration and, if that was on trial, has confirmed
/// it.
fn wait(
    client: &Client,
    args: &ChangeArgs,
    mut config: DeviceConfig,
    clock: Clock,
) -> anyhow::Result<DeviceConfig> {
    let begun = clock.mono();
    loop {
        let state = config.report.as_ref().map(|report| report.state);
        let is_settled = !config.pending && state != Some(ConfigState::Trial);
        if is_settled {
            return Ok(config);
        }
        if clock.mono().since(begun) >= args.timeout {
            return Err(anyhow!(
                "{} has not reported generation {} yet; it gets it with the reply to its next \
                 message",
                args.device,
                config.generation
            ));
        }
        std::thread::sleep(LOOK_EVERY);
        config = find(client, &args.device)?;
    }
}

fn is_failed(state: SettingState) -> bool {
    matches!(state, SettingState::Refused | SettingState::Reverted | SettingState::NotUsed)
}

fn show(config: &DeviceConfig) -> anyhow::Result<()> {
    let mut table = Table::new(["setting", "desired", "in use", "state"]);
    for setting in &config.settings {
        table.row([
            key_text(setting),
            desired_text(setting),
            text(setting.in_use.as_ref()),
            state_text(setting),
        ]);
    }
    table.print_or("no settings")?;
    let reported = config.report.as_ref().map_or_else(
        || "the device has not reported its configuration yet".into(),
        |report| {
            format!(
                "the device reported generation {} ({}) at {}",
                report.generation,
                word(&report.state),
                report.received
            )
        },
    );
    let template = config.template.as_ref().map(|name| format!(", template {name}"));
    let template = template.unwrap_or_default();
    writeln!(io::stderr(), "generation {}{template}; {reported}", config.generation)?;
    Ok(())
}

fn key_text(setting: &SettingStatus) -> String {
    with_inverter(&setting.name, setting.inverter)
}

fn with_inverter(name: &str, inverter: Option<u8>) -> String {
    inverter.map_or_else(|| name.into(), |inverter| format!("{name}@{inverter}"))
}

fn text(value: Option<&SettingValue>) -> String {
    or_dash(value.map(|value| &value.text))
}

/// The desired value; one that the device has from its template is marked.
fn desired_text(setting: &SettingStatus) -> String {
    let value = text(setting.desired.as_ref());
    match setting.origin {
        Some(SettingOrigin::Template) => format!("{value} (template)"),
        Some(SettingOrigin::Device) | None => value,
    }
}

fn state_text(setting: &SettingStatus) -> String {
    let state = word(&setting.state).replace('_', " ");
    match &setting.refused {
        Some(reason) => format!("{state}: {}", word(reason).replace('_', " ")),
        None => state,
    }
}

fn history(client: &Client, device: &str, limit: usize, json: bool) -> anyhow::Result<()> {
    let changes = pages::first(limit, |cursor| {
        let page = client
            .list_config_changes(device, cursor.as_deref())
            .context("reading the history of the configuration")?;
        Ok((page.changes, page.next_cursor))
    })?
    .items;
    if json {
        return print_json(&changes);
    }
    let mut table = Table::new(["generation", "at", "by", "setting", "before", "after"]);
    for change in changes {
        for setting in change.settings {
            table.row([
                change.generation.to_string(),
                change.at.clone(),
                change.by.clone(),
                with_inverter(&setting.name, setting.inverter),
                text(setting.before.as_ref()),
                text(setting.after.as_ref()),
            ]);
        }
    }
    table.print_or("no change was made; `ecowatt config set` makes one")?;
    Ok(())
}

fn settings(client: &Client, json: bool) -> anyhow::Result<()> {
    let list = client.list_settings().context("listing settings")?;
    if json {
        return print_json(&list.settings);
    }
    let mut table = Table::new(["setting", "values", "for", "summary"]);
    for setting in list.settings {
        let values = allowed(&setting);
        table.row([setting.name, values, word(&setting.scope), setting.summary]);
    }
    table.print_or("no settings")?;
    Ok(())
}

fn allowed(setting: &Setting) -> String {
    match (&setting.min, &setting.max) {
        (Some(min), Some(max)) => format!("{} to {}", min.text, max.text),
        _ => setting.choices.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignment_has_a_key_and_a_value() {
        let parts = |text| assignment(text).ok().map(|Assignment { key, value }| (key, value));
        let expected = ("sampling_interval@0".to_owned(), "5s".to_owned());
        assert_eq!(parts("sampling_interval@0=5s"), Some(expected));
        assert_eq!(parts("log_level="), Some(("log_level".into(), String::new())));
        for bad in ["", "=5s", "upload_interval"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}

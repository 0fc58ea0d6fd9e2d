//! `ecowatt config template`: values of settings that many devices share.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ecowatt_api::{
    AssignTemplateToGroup, ConfigTemplate, CreateTemplate, DeviceState, SettingChange,
    UpdateTemplate,
};

use super::{Assignment, assigned, assignment, text, with_inverter};
use crate::hint::WithHint as _;
use crate::operator::Connection;
use crate::pages::{self, FirstItems};
use crate::table::{Table, print_json};

/// Devices of a preview that are printed by default: as many as fit a few screens.
const DEVICES_SHOWN: usize = 100;

/// Changes of a template that are printed by default: as many as fit a screen.
const CHANGES_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum TemplateVerb {
    /// List all templates.
    List {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the values of a template.
    Show {
        #[command(flatten)]
        connection: Connection,
        /// The template.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create a template.
    Create {
        #[command(flatten)]
        connection: Connection,
        /// Its name: 1 to 64 letters, digits, - and _.
        name: String,
        /// Settings and their values, such as upload_interval=5m.
        #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
        values: Vec<Assignment>,
    },
    /// Change a template. The devices that use it follow.
    #[command(disable_version_flag = true)]
    Set(TemplateChangeArgs),
    /// Show which devices a change would change, and how, without making it.
    #[command(disable_version_flag = true)]
    Preview {
        #[command(flatten)]
        change: TemplateChangeArgs,
        /// How many devices to show.
        #[arg(long, value_name = "N", default_value_t = DEVICES_SHOWN)]
        limit: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show who changed a template and how, newest first.
    History {
        #[command(flatten)]
        connection: Connection,
        /// The template.
        name: String,
        /// How many changes to show.
        #[arg(long, value_name = "N", default_value_t = CHANGES_SHOWN)]
        limit: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give devices a template: those that are named, or those that match a filter.
    Use {
        #[command(flatten)]
        connection: Connection,
        /// The template.
        name: String,
        /// Devices, such as dev-42.
        #[arg(required_unless_present_any = ["search", "state"])]
        devices: Vec<String>,
        /// Those with this in their name, site or id.
        #[arg(long, value_name = "TEXT", conflicts_with = "devices")]
        search: Option<String>,
        /// Those in this state.
        #[arg(long, conflicts_with = "devices", value_parser = state)]
        state: Option<DeviceState>,
    },
    /// Take its template from a device.
    Leave {
        #[command(flatten)]
        connection: Connection,
        /// Devices, such as dev-42.
        #[arg(required = true)]
        devices: Vec<String>,
    },
    /// Delete a template that no device uses.
    Delete {
        #[command(flatten)]
        connection: Connection,
        /// The template.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct TemplateChangeArgs {
    #[command(flatten)]
    connection: Connection,
    /// The template.
    name: String,
    /// Settings and their values, such as upload_interval=5m.
    #[arg(value_name = "KEY=VALUE", value_parser = assignment, required_unless_present = "unset")]
    values: Vec<Assignment>,
    /// A setting that the template leaves to the devices; may be repeated.
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Refuse the change unless the template has this version.
    #[arg(long, value_name = "N")]
    version: Option<u32>,
}

fn state(text: &str) -> Result<DeviceState, String> {
    serde_json::from_value(text.into()).map_err(|_| "a state, such as online or silent".into())
}

impl TemplateChangeArgs {
    fn request(&self) -> anyhow::Result<UpdateTemplate> {
        let set = assigned(&self.values)?;
        Ok(UpdateTemplate { set, unset: self.unset.clone(), version: self.version })
    }
}

/// Carries out a verb.
///
/// # Errors
/// If the server refuses or cannot be reached.
pub(super) fn run(verb: &TemplateVerb) -> anyhow::Result<()> {
    match verb {
        TemplateVerb::List { connection, json } => list(connection, *json),
        TemplateVerb::Show { connection, name, json } => {
            let found = connection.client()?.find_template(name).context("reading the template")?;
            if *json { print_json(&found) } else { show(&found) }
        }
        TemplateVerb::Create { connection, name, values } => {
            let request = CreateTemplate { name: name.clone(), set: assigned(values)? };
            let made = connection.client()?.create_template(&request);
            show(&made.context("creating the template")?)
        }
        TemplateVerb::Set(change) => set(change),
        TemplateVerb::Preview { change, limit, json } => preview(change, *limit, *json),
        TemplateVerb::History { connection, name, limit, json } => {
            history(connection, name, *limit, *json)
        }
        TemplateVerb::Use { connection, name, devices, search, state } => {
            let (devices, search, state) = (devices.clone(), search.clone(), *state);
            let group = AssignTemplateToGroup { devices, search, state };
            let made = connection.client()?.assign_template_to_group(name, &group);
            let made = made.context("giving the devices the template")?;
            writeln!(io::stderr(), "{} devices, {} changed", made.devices, made.changed)?;
            Ok(())
        }
        TemplateVerb::Leave { connection, devices } => {
            let client = connection.client()?;
            for device in devices {
                client
                    .assign_template(device, None)
                    .with_context(|| format!("taking its template from {device}"))?;
            }
            Ok(())
        }
        TemplateVerb::Delete { connection, name } => {
            connection.client()?.delete_template(name).context("deleting the template")
        }
    }
}

fn list(connection: &Connection, json: bool) -> anyhow::Result<()> {
    let list = connection.client()?.list_templates().context("listing templates")?;
    if json {
        return print_json(&list.templates);
    }
    let mut table = Table::new(["template", "version", "devices", "outdated", "changed", "by"]);
    for template in list.templates {
        table.row([
            template.name,
            template.version.to_string(),
            template.devices.to_string(),
            template.outdated.to_string(),
            template.changed,
            template.by,
        ]);
    }
    table.print_or("no templates; `ecowatt config template create` makes one")?;
    Ok(())
}

fn show(template: &ConfigTemplate) -> anyhow::Result<()> {
    let mut table = Table::new(["setting", "value"]);
    for setting in &template.settings {
        table.row([setting.name.clone(), setting.value.text.clone()]);
    }
    table.print_or("the template has no values")?;
    let ConfigTemplate { version, devices, outdated, .. } = template;
    writeln!(io::stderr(), "version {version}; {devices} devices, {outdated} of them to follow")?;
    Ok(())
}

fn set(change: &TemplateChangeArgs) -> anyhow::Result<()> {
    let changed = change
        .connection
        .client()?
        .update_template(&change.name, &change.request()?)
        .context("changing the template")
        .with_hint(|| "`ecowatt config settings` lists the settings and their values")?;
    show(&changed)
}

fn preview(change: &TemplateChangeArgs, limit: usize, json: bool) -> anyhow::Result<()> {
    let (client, request) = (change.connection.client()?, change.request()?);
    let FirstItems { items: devices, has_more } = pages::first(limit, |cursor| {
        let page = client
            .preview_template(&change.name, &request, cursor.as_deref())
            .context("looking what the change would do")?;
        Ok((page.devices, page.next_cursor))
    })?;
    if json {
        return print_json(&devices);
    }
    let mut table = Table::new(["device", "setting", "before", "after"]);
    for device in devices {
        for change in device.settings {
            let [name, before, after] = cells(&change);
            table.row([device.device.clone(), name, before, after]);
        }
    }
    table.print_or("the change would change no device")?;
    if has_more {
        writeln!(io::stderr(), "and further devices; --limit shows more")?;
    }
    Ok(())
}

fn history(connection: &Connection, name: &str, limit: usize, json: bool) -> anyhow::Result<()> {
    let client = connection.client()?;
    let changes = pages::first(limit, |cursor| {
        let page = client
            .list_template_changes(name, cursor.as_deref())
            .context("reading the history of the template")?;
        Ok((page.changes, page.next_cursor))
    })?
    .items;
    if json {
        return print_json(&changes);
    }
    let mut table = Table::new(["version", "at", "by", "setting", "before", "after"]);
    for change in changes {
        for setting in &change.settings {
            let [name, before, after] = cells(setting);
            let (at, by) = (change.at.clone(), change.by.clone());
            table.row([change.version.to_string(), at, by, name, before, after]);
        }
    }
    table.print_or("the template never had a value")?;
    Ok(())
}

fn cells(change: &SettingChange) -> [String; 3] {
    [
        with_inverter(&change.name, change.inverter),
        text(change.before.as_ref()),
        text(change.after.as_ref()),
    ]
}

//! `ecowatt site`: places with devices.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ecowatt_api::UpdateSite;

use crate::operator::Connection;
use crate::table::{Table, print_json};

/// List, correct and delete sites. `ecowatt device enrol` creates them.
#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List sites.
    List {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rename a site.
    Rename {
        #[command(flatten)]
        connection: Connection,
        /// Number of the site, from `ecowatt site list`.
        id: i64,
        /// The new name.
        name: String,
    },
    /// Correct a site's time zone. It applies from now on; `ecowatt store rebuild` recomputes past
    /// days.
    SetTimeZone {
        #[command(flatten)]
        connection: Connection,
        /// Number of the site, from `ecowatt site list`.
        id: i64,
        /// IANA name, such as Europe/Berlin.
        time_zone: String,
        /// Accept that past days keep the bounds of the old time zone until they are rebuilt, and
        /// that today mixes both.
        #[arg(long)]
        keep_past_days: bool,
    },
    /// Delete a site that has no devices.
    Delete {
        #[command(flatten)]
        connection: Connection,
        /// Number of the site, from `ecowatt site list`.
        id: i64,
    },
}

/// Carries out a verb.
///
/// # Errors
/// If the server refuses or cannot be reached.
pub(crate) fn run(args: &SiteArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::List { connection, json } => {
            let sites = connection.client()?.list_sites().context("listing sites")?;
            if *json {
                return print_json(&sites);
            }
            let mut table = Table::new(["id", "name", "time zone"]);
            for site in sites {
                table.row([site.id.to_string(), site.name, site.time_zone]);
            }
            table.print_or(
                "no sites yet; `ecowatt device enrol` creates one with its first device",
            )?;
        }
        Verb::Rename { connection, id, name } => {
            let change = UpdateSite { name: Some(name.clone()), ..UpdateSite::default() };
            connection.client()?.update_site(*id, &change).context("renaming the site")?;
        }
        Verb::SetTimeZone { connection, id, time_zone, keep_past_days } => {
            let change = UpdateSite {
                name: None,
                time_zone: Some(time_zone.clone()),
                keep_past_days: *keep_past_days,
            };
            connection.client()?.update_site(*id, &change).context("correcting the time zone")?;
        }
        Verb::Delete { connection, id } => {
            connection.client()?.delete_site(*id).context("deleting the site")?;
            writeln!(io::stderr(), "site {id} deleted")?;
        }
    }
    Ok(())
}

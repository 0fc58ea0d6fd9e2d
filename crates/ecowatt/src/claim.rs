//! `ecowatt claim`: claim codes that are not yet redeemed.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::operator::Connection;
use crate::table::{Table, print_json};

/// List and revoke claim codes that can still be redeemed. `ecowatt device enrol` creates them.
#[derive(Debug, Args)]
pub(crate) struct ClaimArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the codes by their first group; the rest of a code is not shown again.
    List {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a code.
    Revoke {
        #[command(flatten)]
        connection: Connection,
        /// The code's first group.
        id: String,
    },
}

/// Carries out a verb.
///
/// # Errors
/// If the server cannot be reached or refuses.
pub(crate) fn run(args: &ClaimArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::List { connection, json } => {
            let claims = connection.client()?.list_claims().context("listing claim codes")?;
            if *json {
                return print_json(&claims);
            }
            let mut table = Table::new(["code", "device", "name", "created", "expires"]);
            for claim in claims {
                let code = format!("{}-…", claim.id);
                table.row([code, claim.device, claim.device_name, claim.created, claim.expires]);
            }
            table.print_or(
                "no claim code can be redeemed; `ecowatt device enrol` creates one for a device's agent",
            )?;
        }
        Verb::Revoke { connection, id } => {
            let id = id.split('-').next().unwrap_or(id);
            connection.client()?.void_claim(id).context("revoking the claim code")?;
            writeln!(io::stderr(), "claim code {id}-… revoked")?;
        }
    }
    Ok(())
}

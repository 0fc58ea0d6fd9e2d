//! `ecowatt session`: the browsers that are logged in.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::operator::Connection;
use crate::table::{Table, or_dash, print_json};

/// List and end browser sessions.
#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the sessions that run.
    List {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a session, or all of them. Whoever has the token can log in again.
    Revoke {
        #[command(flatten)]
        connection: Connection,
        /// Its number, as `ecowatt session list` shows it.
        #[arg(required_unless_present = "all")]
        id: Option<i64>,
        /// All sessions.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// Carries out a verb.
///
/// # Errors
/// If the server does not answer or there is no such session.
pub(crate) fn run(args: &SessionArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::List { connection, json } => {
            let sessions = connection.client()?.list_sessions().context("listing sessions")?;
            if *json {
                return print_json(&sessions);
            }
            let mut table = Table::new(["id", "token", "name", "created", "expires", "last used"]);
            for session in sessions {
                table.row([
                    session.id.to_string(),
                    session.token_id.to_string(),
                    session.token_name,
                    session.created,
                    session.expires,
                    or_dash(session.last_used),
                ]);
            }
            table.print_or(
                "no browser is logged in; one logs in with a token, which `ecowatt token create` makes",
            )?;
        }
        Verb::Revoke { connection, id: Some(id), .. } => {
            let client = connection.client()?;
            client.end_session(*id).with_context(|| format!("ending session {id}"))?;
            writeln!(io::stderr(), "session {id} has ended")?;
        }
        Verb::Revoke { connection, id: None, .. } => {
            connection.client()?.end_sessions().context("ending all sessions")?;
            writeln!(io::stderr(), "no session runs")?;
        }
    }
    Ok(())
}

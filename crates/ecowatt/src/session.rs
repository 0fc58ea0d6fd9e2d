//! `ecowatt session`: browsers that are logged in.

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
    /// List open sessions.
    List {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End one session, or all of them. The token of a session stays valid.
    Revoke {
        #[command(flatten)]
        connection: Connection,
        /// Number of the session, from `ecowatt session list`.
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
/// If the server cannot be reached or refuses.
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
                "no browser is logged in; the login page asks for a token, and `ecowatt token create` \
                 creates one",
            )?;
        }
        Verb::Revoke { connection, id: Some(id), .. } => {
            let client = connection.client()?;
            client.end_session(*id).with_context(|| format!("ending session {id}"))?;
            writeln!(io::stderr(), "session {id} ended")?;
        }
        Verb::Revoke { connection, id: None, .. } => {
            connection.client()?.end_sessions().context("ending all sessions")?;
            writeln!(io::stderr(), "all sessions ended")?;
        }
    }
    Ok(())
}

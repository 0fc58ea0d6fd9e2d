//! `ecowatt token`: access for whoever owns the data folder.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use ecowatt_server::access::Access;
use ecowatt_store::Store;
use serde::Serialize;

use crate::table::{Table, or_dash, print_json};

/// Make and list tokens, for whoever owns the server's data folder.
///
/// Works while the server runs and while it does not.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it, this once.
    Create {
        /// The server's data folder.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// What it allows.
        #[arg(long)]
        role: Role,
        /// What people call it; its role and the time unless told otherwise.
        #[arg(long)]
        name: Option<String>,
    },
    /// List tokens; their secrets are not kept.
    List {
        /// The server's data folder.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A token in a listing.
#[derive(Debug, Serialize)]
struct Listed {
    id: i64,
    name: String,
    role: &'static str,
    created: String,
    expires: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Everything.
    Owner,
}

/// Carries out a verb.
///
/// # Errors
/// If the folder is no store or cannot be written to.
pub(crate) async fn run(args: TokenArgs, clock: Clock) -> anyhow::Result<()> {
    match args.verb {
        Verb::Create { data, role: Role::Owner, name } => {
            let name = match name {
                Some(name) => name,
                None => format!("owner {}", instant(clock.now())?),
            };
            let access = Access::new(open(&data)?, clock);
            let token = access
                .make_token(&name, ecowatt_store::Role::Owner)
                .await
                .with_context(|| format!("making the token {name:?}"))?;
            writeln!(io::stdout(), "{}", token.expose())?;
        }
        Verb::List { data, json } => {
            let mut tokens = Vec::new();
            for token in open(&data)?.list_tokens().await? {
                let role = match token.role {
                    ecowatt_store::Role::Owner => "owner",
                };
                tokens.push(Listed {
                    id: token.id.0,
                    name: token.name,
                    role,
                    created: instant(token.created)?,
                    expires: token.expires.map(instant).transpose()?,
                });
            }
            if json {
                return print_json(&tokens);
            }
            let mut table = Table::new(["id", "name", "role", "created", "expires"]);
            for token in tokens {
                table.row([
                    token.id.to_string(),
                    token.name,
                    token.role.into(),
                    token.created,
                    or_dash(token.expires),
                ]);
            }
            table.print()?;
        }
    }
    Ok(())
}

/// Opens the store, beside the server that may be running on it.
///
/// A folder without a store is a folder that somebody mistyped: a token of a store made on the spot
/// would open nothing.
fn open(data: &Path) -> anyhow::Result<Store> {
    let is_there = Store::is_in(data)
        .with_context(|| format!("looking for the server's data in {}", data.display()))?;
    anyhow::ensure!(
        is_there,
        "{} holds no server's data; give the folder that `ecowatt serve` names when it starts \
         (`ecowatt serve --data DIR` makes one)",
        data.display()
    );
    Store::open_beside(data).with_context(|| format!("opening {}", data.display()))
}

fn instant(at: UnixMs) -> anyhow::Result<String> {
    let at = jiff::Timestamp::from_millisecond(at.0).context("a stored time is strange")?;
    Ok(format!("{at:.3}"))
}

//! `ecowatt token`: access for whoever owns the data folder.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ecowatt_clock::Clock;
use ecowatt_server::access::Access;
use ecowatt_store::Store;

use crate::table::Table;

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
        /// What people call it.
        #[arg(long, default_value = "made on the server")]
        name: String,
    },
    /// List tokens; their secrets are not kept.
    List {
        /// The server's data folder.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
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
            std::fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
            let access = Access::new(open(&data)?, clock);
            let token = access.make_token(&name, ecowatt_store::Role::Owner).await?;
            writeln!(io::stdout(), "{}", token.expose())?;
        }
        Verb::List { data } => {
            let mut table = Table::new(["id", "name", "role", "created"]);
            for token in open(&data)?.list_tokens().await? {
                let created = jiff::Timestamp::from_millisecond(token.created.0)?;
                let role = format!("{:?}", token.role).to_lowercase();
                table.row([token.id.0.to_string(), token.name, role, created.to_string()]);
            }
            table.print()?;
        }
    }
    Ok(())
}

/// Beside a running server, if there is one.
fn open(data: &std::path::Path) -> anyhow::Result<Store> {
    Store::open_beside(data).with_context(|| format!("opening {}", data.display()))
}

//! `ecowatt token`: who has access, by the data folder or by an owner's token.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ecowatt_api::{CreateToken, Role, Token};
use ecowatt_client::Client;
use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use ecowatt_server::access::{Access, TokenRequest};
use ecowatt_store::{self as stored, By, Store, TokenId};

use crate::argument;
use crate::operator::Connection;
use crate::table::{Table, or_dash, print_json, word};

/// Make, list and revoke tokens.
///
/// With --data for whoever owns the server's data folder, while the server runs and while it does
/// not; otherwise over the network with an owner's token.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it, this once.
    Create {
        #[command(flatten)]
        place: Place,
        /// What it allows.
        #[arg(long)]
        role: RoleArg,
        /// What people call it; its role and the time unless told otherwise.
        #[arg(long)]
        name: Option<String>,
        /// How long it is valid, such as 12h or 90d; without end unless told otherwise.
        #[arg(long, value_name = "DURATION", value_parser = argument::duration)]
        valid_for: Option<Duration>,
    },
    /// List tokens; their secrets are not kept.
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token. Browser sessions and event streams that were opened with it end at once.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// Its number, as `ecowatt token list` shows it.
        id: i64,
    },
}

/// Where the tokens are.
#[derive(Debug, Args)]
struct Place {
    /// The server's data folder, on this machine.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Everything.
    Owner,
    /// Looking at devices, sites and measurements.
    Viewer,
    /// Reading the server's own counts, for Prometheus.
    Metrics,
}

/// Somebody who can do it.
enum Keeper {
    Folder(Access, Store),
    Server(Client),
}

/// Carries out a verb.
///
/// # Errors
/// If the folder is no store or cannot be written to, or the server refuses.
pub(crate) async fn run(args: TokenArgs, clock: Clock) -> anyhow::Result<()> {
    // The folder has no users: write access to it is the only right.
    let by = By::new("ecowatt token", clock.now());
    match args.verb {
        Verb::Create { place, role, name, valid_for } => {
            let (api, stored) = roles(role);
            let name = match name {
                Some(name) => name,
                None => format!("{} {}", stored.as_str(), instant(clock.now())?),
            };
            let making = || format!("making the token {name:?}");
            let text = match place.keeper(clock)? {
                Keeper::Folder(access, _) => {
                    let request = TokenRequest { name: name.clone(), role: stored, valid_for };
                    access.make_token(by, request).await.with_context(making)?.text.expose()
                }
                Keeper::Server(client) => {
                    let valid_for_s = valid_for.map(|valid_for| valid_for.as_secs());
                    let request = CreateToken { name: name.clone(), role: api, valid_for_s };
                    client.create_token(&request).with_context(making)?.secret
                }
            };
            writeln!(io::stdout(), "{text}")?;
        }
        Verb::List { place, json } => {
            let tokens = match place.keeper(clock)? {
                Keeper::Folder(access, _) => {
                    access.tokens().await?.into_iter().map(listed).collect::<Result<_, _>>()?
                }
                Keeper::Server(client) => client.list_tokens().context("listing tokens")?,
            };
            list(&tokens, json)?;
        }
        Verb::Revoke { place, id } => {
            let revoking = || format!("revoking token {id}");
            match place.keeper(clock)? {
                // Whoever owns the folder can always make another, so the last one may go too.
                Keeper::Folder(_, store) => {
                    store.delete_token(by, TokenId(id), None).await.with_context(revoking)?;
                }
                Keeper::Server(client) => client.revoke_token(id).with_context(revoking)?,
            }
            writeln!(io::stderr(), "token {id} is void, and so are its browser sessions")?;
        }
    }
    Ok(())
}

impl Place {
    fn keeper(&self, clock: Clock) -> anyhow::Result<Keeper> {
        let Some(data) = &self.data else { return Ok(Keeper::Server(self.connection.client()?)) };
        let store = open(data)?;
        Ok(Keeper::Folder(Access::new(store.clone(), clock), store))
    }
}

fn roles(role: RoleArg) -> (Role, stored::Role) {
    match role {
        RoleArg::Owner => (Role::Owner, stored::Role::Owner),
        RoleArg::Viewer => (Role::Viewer, stored::Role::Viewer),
        RoleArg::Metrics => (Role::Metrics, stored::Role::Metrics),
    }
}

fn listed(token: stored::Token) -> anyhow::Result<Token> {
    Ok(Token {
        id: token.id.0,
        name: token.name,
        role: match token.role {
            stored::Role::Owner => Role::Owner,
            stored::Role::Viewer => Role::Viewer,
            stored::Role::Metrics => Role::Metrics,
        },
        created: instant(token.created)?,
        expires: token.expires.map(instant).transpose()?,
        last_used: token.last_used.map(instant).transpose()?,
        is_own: false,
    })
}

fn list(tokens: &[Token], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&tokens);
    }
    let mut table = Table::new(["id", "name", "role", "created", "expires", "last used"]);
    for token in tokens {
        table.row([
            token.id.to_string(),
            token.name.clone(),
            word(&token.role),
            token.created.clone(),
            or_dash(token.expires.as_ref()),
            or_dash(token.last_used.as_ref()),
        ]);
    }
    table.print_or(
        "there is no token; `ecowatt token create --data DIR --role owner` makes one for an owner",
    )?;
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

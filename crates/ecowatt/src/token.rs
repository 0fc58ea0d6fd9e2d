//! `ecowatt token`: tokens for access, through the data folder or with an owner's token.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use ecowatt_api::{CreateToken, Role, Token};
use ecowatt_client::Client;
use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use ecowatt_server::access::{Access, TokenRequest};
use ecowatt_store::{self as stored, Author, Store, TokenId};

use crate::argument;
use crate::hint::WithHint as _;
use crate::operator::Connection;
use crate::table::{Table, or_dash, print_json, word};

/// Create, list and revoke tokens.
///
/// With --data directly in the server's data folder, whether the server runs or not; otherwise over
/// the network with an owner's token.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a token and print it. It cannot be shown again.
    Create {
        #[command(flatten)]
        place: Place,
        /// What the token allows.
        #[arg(long)]
        role: RoleArg,
        /// Name of the token [default: its role and the time].
        #[arg(long)]
        name: Option<String>,
        /// How long the token is valid, such as 12h or 90d [default: without end].
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
        /// Number of the token, from `ecowatt token list`.
        id: i64,
    },
}

/// Where to find the tokens: in a folder on this machine, or on a server.
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
    /// Reading devices, sites and measurements.
    Viewer,
    /// Reading the server's own metrics, for Prometheus.
    Metrics,
}

/// Access to the tokens.
enum Keeper {
    Folder(Access, Store),
    Server(Client),
}

/// Carries out a verb.
///
/// # Errors
/// If the folder has no store or cannot be written to, or the server refuses.
pub(crate) async fn run(args: TokenArgs, clock: Clock) -> anyhow::Result<()> {
    // The folder has no users: write access to it is the only right that counts.
    let by = Author::new("ecowatt token", clock.now());
    match args.verb {
        Verb::Create { place, role, name, valid_for } => {
            let (api, stored) = roles(role);
            let name = match name {
                Some(name) => name,
                None => format!("{} {}", stored.as_str(), instant(clock.now())?),
            };
            let creating = || format!("creating the token `{name}`");
            let text = match place.keeper(clock)? {
                Keeper::Folder(access, _) => {
                    let request = TokenRequest { name: name.clone(), role: stored, valid_for };
                    access.make_token(by, request).await.with_context(creating)?.text.expose()
                }
                Keeper::Server(client) => {
                    let valid_for_s = valid_for.map(|valid_for| valid_for.as_secs());
                    let request = CreateToken { name: name.clone(), role: api, valid_for_s };
                    client.create_token(&request).with_context(creating)?.secret
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
                // With the folder another can always be created, so the last one may be revoked
                // too.
                Keeper::Folder(_, store) => {
                    store.delete_token(by, TokenId(id), None).await.with_context(revoking)?;
                }
                Keeper::Server(client) => client.revoke_token(id).with_context(revoking)?,
            }
            writeln!(io::stderr(), "token {id} revoked; its browser sessions ended")?;
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
        "no tokens yet; `ecowatt token create --data DIR --role owner` creates one for an owner",
    )?;
    Ok(())
}

/// Opens the store; a server may be running on it.
///
/// A folder without a store was mistyped: a token in a store created here would open nothing.
fn open(data: &Path) -> anyhow::Result<Store> {
    let is_there = Store::is_in(data)
        .with_context(|| format!("looking for the server's data in {}", data.display()))?;
    if !is_there {
        return Err(anyhow!("{} has no server data", data.display()))
            .with_hint(|| "give the folder that `ecowatt serve` prints when it starts");
    }
    Store::open_beside(data).with_context(|| format!("opening {}", data.display()))
}

fn instant(at: UnixMs) -> anyhow::Result<String> {
    let at = jiff::Timestamp::from_millisecond(at.0).context("stored timestamp is out of range")?;
    Ok(format!("{at:.3}"))
}

//! The server and the token that the operator's verbs use.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use ecowatt_client::Client;

use crate::hint::WithHint as _;

/// Default address of the server.
const URL: &str = "http://127.0.0.1:8080";

/// The server to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// Address of the server [default: ECOWATT_URL, else http://127.0.0.1:8080].
    #[arg(long)]
    pub url: Option<String>,

    /// The address from the environment. If it were not hidden, clap's usage would list it with the
    /// required arguments whenever it is set.
    #[arg(long = "url-from-environment", env = "ECOWATT_URL", hide = true)]
    pub default_url: Option<String>,

    /// File with the token; keeps it out of the process list and the environment.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The token. A flag would show it to every user of the machine, so it comes from the
    /// environment.
    #[arg(
        long = "token-from-environment",
        env = "ECOWATT_TOKEN",
        hide = true,
        hide_env_values = true
    )]
    pub token: Option<String>,
}

impl Connection {
    /// Returns a client. It connects at its first request.
    ///
    /// # Errors
    /// If there is no token or the address is invalid.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = match (&self.token_file, &self.token) {
            (Some(path), _) => fs::read_to_string(path)
                .with_context(|| format!("reading the token from {}", path.display()))?,
            (None, Some(token)) => token.clone(),
            (None, None) => {
                return Err(anyhow!("no token: set ECOWATT_TOKEN or give `--token-file FILE`"))
                    .with_hint(|| {
                        "on the server's machine, `ecowatt token create --data DIR --role owner` \
                         creates one"
                    });
            }
        };
        anyhow::ensure!(
            !token.trim().is_empty(),
            "the token in {} is empty",
            self.token_file
                .as_ref()
                .map_or("ECOWATT_TOKEN".into(), |path| path.display().to_string())
        );
        Ok(Client::new(self.url(), &token)?)
    }

    /// Address of the server.
    pub(crate) fn url(&self) -> &str {
        self.url.as_ref().or(self.default_url.as_ref()).map_or(URL, String::as_str)
    }
}

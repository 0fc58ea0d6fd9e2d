//! Where the operator's verbs find their server and whose token they show.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ecowatt_client::Client;

/// Where the server is if nothing else is said.
const URL: &str = "http://127.0.0.1:8080";

/// The server to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// Address of the server; ECOWATT_URL if not given, otherwise http://127.0.0.1:8080.
    #[arg(long)]
    pub url: Option<String>,

    /// The address from the environment. An argument that is set but not hidden would stand among the
    /// required ones in clap's usage.
    #[arg(long = "url-from-environment", env = "ECOWATT_URL", hide = true)]
    pub default_url: Option<String>,

    /// File that holds the token; keeps it out of the process list and the environment.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The token. A flag would show it to everyone on the machine, so it comes from the environment.
    #[arg(
        long = "token-from-environment",
        env = "ECOWATT_TOKEN",
        hide = true,
        hide_env_values = true
    )]
    pub token: Option<String>,
}

impl Connection {
    /// Opens nothing yet: the first request does.
    ///
    /// # Errors
    /// If there is no token or the address is none.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = match (&self.token_file, &self.token) {
            (Some(path), _) => fs::read_to_string(path)
                .with_context(|| format!("reading the token from {}", path.display()))?,
            (None, Some(token)) => token.clone(),
            (None, None) => anyhow::bail!(
                "a token is needed: set ECOWATT_TOKEN or give --token-file FILE (whoever owns the \
                 server's data folder makes one with `ecowatt token create --data DIR --role owner`)"
            ),
        };
        anyhow::ensure!(
            !token.trim().is_empty(),
            "there is nothing in {}, where the token should be",
            self.token_file
                .as_ref()
                .map_or("ECOWATT_TOKEN".into(), |path| path.display().to_string())
        );
        Ok(Client::new(self.url(), &token)?)
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> &str {
        self.url.as_ref().or(self.default_url.as_ref()).map_or(URL, String::as_str)
    }
}

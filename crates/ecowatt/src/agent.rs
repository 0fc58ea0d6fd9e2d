//! `ecowatt agent`: polls inverters and sends their data to a server.

use std::future::Future;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ecowatt_agent::{Config, LogControl, ServerContact};
use ecowatt_clock::Clock;
use tokio::sync::watch;

/// Poll inverters, keep their data across power cuts, and send it to a server.
///
/// docs/agent.md describes the configuration; `ecowatt check-config --agent FILE` lists its
/// problems. The agent runs until it is interrupted; it then sends what it still has, if the server
/// answers.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// systemd's notification socket.
    #[arg(long, env = "NOTIFY_SOCKET", hide = true)]
    notify_socket: Option<String>,
    /// Longest interval between signs of life that systemd accepts, in microseconds.
    #[arg(long, env = "WATCHDOG_USEC", hide = true)]
    watchdog_usec: Option<u64>,
}

/// Runs until `shutdown` is ready.
///
/// # Errors
/// If the configuration is wrong or the data folder cannot be used.
pub(crate) async fn run(
    args: AgentArgs,
    clock: Clock,
    log: Option<LogControl>,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let config = Config::load(&args.config)
        .with_context(|| format!("reading the configuration {}", args.config.display()))?;
    let supervisor = match &args.notify_socket {
        Some(path) => Some(Supervisor::connect(path).context("reaching systemd")?),
        None => None,
    };
    let say = |state: &str| supervisor.as_ref().map_or(Ok(()), |s| s.say(state));
    let stopping = async {
        shutdown.await;
        if let Err(error) = say("STOPPING=1") {
            tracing::debug!(%error, "systemd was not told");
        }
    };
    say("READY=1").context("notifying systemd")?;
    // On the agent's own thread, so that the signs of life stop if the agent hangs.
    let alive = async {
        let Some(usec) = args.watchdog_usec.filter(|usec| *usec > 0) else {
            return std::future::pending().await;
        };
        loop {
            if let Err(error) = say("WATCHDOG=1") {
                tracing::debug!(%error, "systemd was not told");
            }
            tokio::time::sleep(Duration::from_micros(usec / 2)).await;
        }
    };
    let (standing, mut stands) = watch::channel(ServerContact::default());
    // Shown by `systemctl status`.
    let status = async {
        while stands.changed().await.is_ok() {
            let state = format!("STATUS={}", *stands.borrow_and_update());
            if let Err(error) = say(&state) {
                tracing::debug!(%error, "systemd was not told");
            }
        }
        std::future::pending().await
    };
    let ended = ecowatt_agent::run_and_tell(config, clock, standing, log, stopping);
    tokio::select! {
        ended = ended => ended.context("running the agent"),
        () = alive => Ok(()),
        () = status => Ok(()),
    }
}

/// systemd's notification socket, see sd_notify(3).
struct Supervisor(UnixDatagram);

impl Supervisor {
    fn connect(path: &str) -> std::io::Result<Self> {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self(socket))
    }

    fn say(&self, state: &str) -> std::io::Result<()> {
        self.0.send(state.as_bytes()).map(drop)
    }
}

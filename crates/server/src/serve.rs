//! Starts the server's parts, and stops them in order.

use std::net::SocketAddr;
use std::sync::Arc;

use ecowatt_clock::Clock;
use ecowatt_store::{Store, StoreError};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::{self, AccessError};
use crate::config::{Config, ConfigError};
use crate::corrections;
use crate::http::{self, AppState, Connections, Door, Share};
use crate::limits::{
    BACKLOG, CONNECTIONS_MAX, DEVICE_CONNECTIONS_MAX, LOOK_AT_MEDIUM_EVERY, MEDIUM_FAILS_MAX,
};
use crate::subjects::Subjects;
use crate::{packing, retention, state_reconciler};

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The address that answers devices only, if there is one.
    pub device_address: Option<SocketAddr>,
    /// The base URL for operators.
    pub url: String,
    /// The one-time set-up link, while there is no token. It is a secret.
    pub setup_link: Option<String>,
    tasks: JoinHandle<Result<(), StoreFailed>>,
}

/// The server stopped because it can store nothing more. A new start opens the store again.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailed {
    #[error("the store's writer has ended, so nothing can be stored; the log has the cause")]
    Writer,
    #[error(
        "the store has failed for {} s, so nothing can be stored; it may work after a restart",
        MEDIUM_FAILS_MAX.as_secs()
    )]
    Medium(#[source] StoreError),
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{key}: {problem}", key = .problem.key())]
    Config { problem: ConfigError },
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        cause: std::io::Error,
    },
    #[error("cannot create the set-up code")]
    Access(#[from] AccessError),
}

/// Starts the server. It runs until `shutdown` is ready or the store is lost. Then it accepts no
/// more connections, finishes the requests in flight, ends event streams and releases the store.
///
/// # Errors
/// If the configuration is wrong, the address is taken, or the store fails.
pub async fn serve(
    config: Config,
    store: Store,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Running, ServeError> {
    if let Some(problem) = config.problems().into_iter().next() {
        return Err(ServeError::Config { problem });
    }
    let (listener, address) = bind(config.listen)?;
    let devices = config.listen_devices.map(bind).transpose()?;
    let device_address = devices.as_ref().map(|(_, address)| *address);

    let (stop, stopping) = watch::channel(false);
    let subjects = Subjects::new(&config, store, clock);
    let app = Arc::new(AppState::new(&config, subjects, stopping.clone()));
    let url = config.base_url(address);
    let setup_link =
        app.access.setup_code().await?.map(|code| format!("{url}/setup#code={}", code.expose()));
    let (fleet, live, access) = (app.fleet.clone(), app.live.clone(), app.access.clone());
    let (commands, templates) = (app.commands.clone(), app.templates.clone());
    let real_time = app.real_time;
    let share = Share(config.address_share);
    let doors = [
        (Door::Main, CONNECTIONS_MAX, Some(listener)),
        (Door::Devices, DEVICE_CONNECTIONS_MAX, devices.map(|(listener, _)| listener)),
    ];
    let lost = app.store.writer_ended();
    let store = app.store.clone();
    let tasks = tokio::spawn(async move {
        let listen = doors.into_iter().filter_map(|(door, connections_max, listener)| {
            let connections = Connections::new(real_time, share, connections_max);
            let router = http::router(&app, door);
            let (app, stopping) = (Arc::clone(&app), stopping.clone());
            Some(tokio::spawn(http::listen(listener?, connections, router, app, stopping)))
        });
        // Collecting starts the listeners. The app is dropped then, so that only they keep it
        // alive.
        let listen: Vec<_> = listen.collect();
        drop(app);
        let states = tokio::spawn(state_reconciler::reconcile(fleet, live, stopping.clone()));
        let uses = tokio::spawn(access::keep_uses(access, stopping.clone()));
        let commands = tokio::spawn(commands.reconcile(stopping.clone()));
        let templates = tokio::spawn(templates.reconcile(stopping.clone()));
        let app_store = store.clone();
        let sweep = tokio::spawn(corrections::sweep(store.clone(), stopping.clone()));
        let keep = retention::reconcile(store.clone(), clock, config.retention, stopping.clone());
        let keep = tokio::spawn(keep);
        let packing = tokio::spawn(packing::reconcile(store, clock, stopping));
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            () = lost => Err(StoreFailed::Writer),
            failure = failing_medium(&app_store, real_time) => Err(StoreFailed::Medium(failure)),
        };
        match &outcome {
            Ok(()) => tracing::info!("server stops"),
            Err(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "server stops");
            }
        }
        // Fails only if every task has already ended.
        let _ = stop.send(true);
        let own = [states, uses, commands, templates, sweep, keep, packing];
        for task in listen.into_iter().chain(own) {
            if let Err(error) = task.await {
                tracing::error!(%error, "server task failed");
            }
        }
        outcome
    });
    Ok(Running { address, device_address, url, setup_link, tasks })
}

/// Ready when the medium has failed at every check for [`MEDIUM_FAILS_MAX`]. Going on would not
/// help: a disk that was detached and attached again has other files than the open ones, and only
/// a start finds what is left of a log that was cut.
async fn failing_medium(store: &Store, real_time: Clock) -> StoreError {
    let mut since = None;
    loop {
        tokio::time::sleep(LOOK_AT_MEDIUM_EVERY).await;
        match store.check_writer().await {
            Err(failure) if failure.is_of_medium() => {
                let since = *since.get_or_insert(real_time.mono());
                if real_time.mono().since(since) >= MEDIUM_FAILS_MAX {
                    return failure;
                }
            }
            Ok(()) | Err(_) => since = None,
        }
    }
}

/// Listens with a backlog for a fleet that reconnects all at once.
fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let bound = open(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (local, listener) = bound.map_err(|cause| ServeError::Listen { address, cause })?;
    Ok((listener, local))
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // After a restart, connections of the previous process are still closing. Windows allows
    // binding without the option, and with it would share the port with another process.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Running {
    /// Waits until the server has stopped. No part of it uses the store after that.
    ///
    /// # Errors
    /// If it stopped by itself because it lost its store.
    pub async fn stopped(self) -> Result<(), StoreFailed> {
        self.tasks.await.unwrap_or_else(|error| {
            tracing::error!(%error, "server task failed");
            Err(StoreFailed::Writer)
        })
    }
}

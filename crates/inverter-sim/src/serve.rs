//! Runs an inverter: opens its fronts and its control port, keeps its time, and stops it cleanly.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_modbus::Framing;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{Config, ConfigError};
use crate::control;
use crate::fault::{FaultError, FaultSpec};
use crate::inverter::{Inverter, RegisterSource};
use crate::journal::Journal;
use crate::listeners::tcp::{self, Protocol};
use crate::listeners::{Shared, pty::Pty};
use crate::slave::SimulatedSlave;

/// How often an idle inverter is advanced, so that no request has to wait for hours of physics.
const TICK: Duration = Duration::from_millis(100);

/// The addresses and files of an inverter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// Modbus TCP; port 0 picks a free one.
    pub tcp: Option<SocketAddr>,
    /// RTU frames inside a TCP stream.
    pub rtu_tcp: Option<SocketAddr>,
    /// RTU on a pseudo terminal.
    pub serial: Option<SerialConfig>,
    /// RTU frames as text in JSON over HTTP, as the earlier EcoWatt's devices ask for them.
    pub http: Option<HttpConfig>,
    /// The control port, on loopback.
    pub control: Option<SocketAddr>,
    /// Where answered reads are recorded, one JSON object a line.
    pub journal: Option<PathBuf>,
}

/// The front of the earlier EcoWatt's Inverter SIM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where; port 0 picks a free one.
    pub address: SocketAddr,
    /// What the `Authorization` header of a request must be; default: anything.
    #[serde(default)]
    pub key: Option<String>,
}

/// A pseudo terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SerialConfig {
    /// A symbolic link to create to it.
    pub link: Option<PathBuf>,
    /// Answers take as long as at this speed; default: no delay.
    pub baud: Option<u32>,
}

/// Why an inverter cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The plant cannot be simulated.
    #[error("plant cannot be simulated")]
    Config(#[source] ConfigError),
    /// A fault of the plan is not valid.
    #[error("fault {number} of the plan is not valid")]
    Fault {
        /// Counted from 1.
        number: usize,
        /// Why.
        #[source]
        source: FaultError,
    },
    /// An address is in use or not local.
    #[error("{front} cannot listen on {address}")]
    Listen {
        /// The front.
        front: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control port has no authentication.
    #[error("the control port may only listen on loopback, not on {0}")]
    ControlAddress(SocketAddr),
    /// A pseudo terminal or its link cannot be created.
    #[error("pseudo terminal cannot be opened")]
    Serial(#[source] std::io::Error),
    /// The journal cannot be opened.
    #[error("journal {} cannot be opened", path.display())]
    Journal {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running inverter; dropping it stops it at once.
#[derive(Debug)]
pub struct Running {
    addresses: Addresses,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Where a running inverter can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Addresses {
    /// Modbus TCP.
    pub tcp: Option<SocketAddr>,
    /// RTU over TCP.
    pub rtu_tcp: Option<SocketAddr>,
    /// The device to open for RTU.
    pub serial: Option<PathBuf>,
    /// Frames over HTTP.
    pub http: Option<SocketAddr>,
    /// The control port.
    pub control: Option<SocketAddr>,
}

/// The inverter to serve.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The plant.
    pub config: Config,
    /// Source of its registers.
    pub source: RegisterSource,
    /// Initial faults; their relative times count from the start.
    pub faults: Vec<FaultSpec>,
}

impl Simulation {
    /// A fault-free plant with modelled weather.
    #[must_use]
    pub fn healthy(config: Config) -> Self {
        let source = RegisterSource::Simulated(crate::physics::plant::Weather::Modelled);
        Self { config, source, faults: Vec::new() }
    }
}

/// Opens everything in `config` and runs the inverter from the clock's current time until
/// `shutdown` is ready or [`Running::stop`] is called.
///
/// # Errors
/// When the plant, the plan, an address or a file is not usable; then nothing is started.
pub async fn serve(
    simulation: Simulation,
    config: &ServeConfig,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Running, ServeError> {
    if let Some(address) = config.control.filter(|address| !control::is_allowed(address)) {
        return Err(ServeError::ControlAddress(address));
    }
    // Everything that can fail comes first: an error must not leave tasks running.
    let station = station(simulation, &clock)?;
    let journal = match &config.journal {
        None => Journal::in_memory(),
        Some(path) => journal(path)?,
    };
    let tcp_listener = listen("Modbus TCP", config.tcp).await?;
    let rtu_listener = listen("RTU over TCP", config.rtu_tcp).await?;
    let http_listener = listen("HTTP", config.http.as_ref().map(|http| http.address)).await?;
    let control_listener = listen("control port", config.control).await?;
    let pty = match &config.serial {
        None => None,
        Some(serial) => Some((
            Pty::open(serial.link.as_deref()).map_err(ServeError::Serial)?,
            serial.baud.filter(|baud| *baud > 0),
        )),
    };

    let shared = Arc::new(Shared::new(station, journal, clock));
    let clients = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut addresses = Addresses::default();
    let key = config.http.as_ref().and_then(|http| http.key.as_deref()).map(Arc::from);
    for (listener, protocol) in [
        (tcp_listener, Protocol::Modbus(Framing::Tcp)),
        (rtu_listener, Protocol::Modbus(Framing::Rtu)),
        (http_listener, Protocol::Http { key }),
    ] {
        let Some((listener, address)) = listener else { continue };
        match protocol {
            Protocol::Modbus(Framing::Tcp) => addresses.tcp = Some(address),
            Protocol::Modbus(Framing::Rtu) => addresses.rtu_tcp = Some(address),
            Protocol::Http { .. } => addresses.http = Some(address),
        }
        let (shared, clients) = (Arc::clone(&shared), Arc::clone(&clients));
        tasks.spawn(tcp::serve(listener, protocol, shared, clients, stopped.clone()));
    }
    if let Some((listener, address)) = control_listener {
        addresses.control = Some(address);
        tasks.spawn(control::serve(listener, Arc::clone(&shared), stopped.clone()));
    }
    if let Some((pty, baud)) = pty {
        addresses.serial = Some(pty.path().to_owned());
        tasks.spawn(pty.serve(baud, Arc::clone(&shared), stopped.clone()));
    }
    tasks.spawn(keep_time(shared, stop.clone(), shutdown));
    Ok(Running { addresses, tasks, stop })
}

impl Running {
    /// Where it can be reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until it has stopped.
    pub async fn join(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops it and waits for its tasks.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.join().await;
    }
}

/// Advances the inverter while it is idle, and passes on the request to stop.
async fn keep_time(
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut stopped = stop.subscribe();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => {
                stop.send_replace(true);
                return;
            }
            _ = stopped.wait_for(|is_set| *is_set) => return,
            () = tokio::time::sleep(TICK) => drop(shared.present()),
        }
    }
}

fn station(simulation: Simulation, clock: &Clock) -> Result<SimulatedSlave, ServeError> {
    let Simulation { config, source, faults } = simulation;
    let (seed, is_single_client) = (config.seed, config.single_client);
    let now = clock.now();
    let inverter = Inverter::new(config, source, now).map_err(ServeError::Config)?;
    let mut station = SimulatedSlave::new(inverter, seed, is_single_client);
    for (number, spec) in (1..).zip(&faults) {
        spec.check(now)
            .and_then(|fault| station.add_fault(fault, now))
            .map_err(|source| ServeError::Fault { number, source })?;
    }
    Ok(station)
}

fn journal(path: &Path) -> Result<Journal, ServeError> {
    Journal::appending_to(path)
        .map_err(|source| ServeError::Journal { path: path.to_owned(), source })
}

async fn listen(
    front: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    let failed = |source| ServeError::Listen { front, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, local)))
}

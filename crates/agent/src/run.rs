//! The agent's life: identity, then epochs of sampling and sending, until it is told to stop.

mod epoch;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::SourceNumber;
use ecowatt_profile::sunspec::Found;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::epoch::{Carried, Ended, Epoch};
use crate::bus::{Address, Bus, Job, Pace};
use crate::config::{Config, InverterConfig};
use crate::enrol::{EnrolError, enrol, is_enrolled};
use crate::link::Link;
use crate::node::StartError;
use crate::sample_log::SampleLog;
use crate::standing::{Standing, Teller};
use crate::storage::{Disk, Folder, FolderError, Ledger, LedgerError, StorageError};
use crate::survey::{self, SurveyError};

/// Why the agent ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("sample log cannot be opened")]
    SampleLog(#[source] std::io::Error),
    #[error("no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("a task of the agent ended early")]
    Task,
}

/// Jobs that wait on one bus: each inverter has at most one.
const JOBS_MAX: usize = 16;
/// How long the start waits for SunSpec inverters that were never searched.
const FIRST_SURVEY_MAX: Duration = Duration::from_secs(3);
/// Pause between searches of an inverter that does not answer.
const SURVEY_PAUSE: Duration = Duration::from_secs(30);

/// Polls, keeps and sends until `shutdown` is ready.
///
/// Samples that are durable survive whatever ends the process. After `shutdown` what is buffered is
/// persisted, and sent if the server answers within a few seconds.
///
/// # Errors
/// When the data folder cannot be used, or when the device has no identity and no way to get one.
/// A missing server, a missing inverter and a full disk are no errors.
pub async fn run(
    config: Config,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let (standing, _) = watch::channel(Standing::default());
    run_and_tell(config, clock, standing, shutdown).await
}

/// As [`run`], and says in `standing` how the agent stands with its server.
///
/// # Errors
/// See [`run`].
pub async fn run_and_tell(
    config: Config,
    clock: Clock,
    standing: watch::Sender<Standing>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let mut shutdown = pin!(shutdown);
    let disk = Arc::new(Folder::open(&config.data)?);
    let mut ledger = Ledger::open(disk.clone())?;
    let mut link = Link::new(config.server.clone());
    let mut teller = Teller::new(standing);
    if !is_enrolled(&ledger, config.claim.as_ref()) {
        let claim = config.claim.as_ref();
        tokio::select! {
            enrolled = enrol(&mut ledger, claim, &mut link, &mut teller, clock) => enrolled?,
            () = &mut shutdown => return Ok(()),
        }
    }
    let log = match &config.sample_log {
        Some(path) => Some(SampleLog::open(path).map_err(RunError::SampleLog)?),
        None => None,
    };
    let mut tasks = JoinSet::new();
    let mut sites = connect(&config, &clock, &*disk, &mut tasks);
    let first = search_missing(&config, &mut sites, &*disk);
    tokio::select! {
        _ = tokio::time::timeout(FIRST_SURVEY_MAX, first) => {}
        () = &mut shutdown => return Ok(()),
    }
    let mut carried = Carried { ledger, link, log, teller };
    loop {
        let mut epoch = Epoch::start(&config, clock, disk.clone(), &sites, carried)?;
        let is_missing = sites.iter().any(Site::is_missing);
        let ended = {
            let surveyed = survey_later(&config, &mut sites, &*disk, is_missing);
            epoch.run(&mut shutdown, surveyed).await
        };
        match ended {
            Ended::Stopped => {
                epoch.stop().await?;
                break;
            }
            Ended::Surveyed => carried = epoch.break_off().await?,
            Ended::Failed => return Err(RunError::Task),
        }
    }
    // The buses end when nobody can send them jobs any more.
    drop(sites);
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// One configured inverter, the bus that leads to it, and what is known of its models.
struct Site {
    source: SourceNumber,
    bus: mpsc::Sender<Job>,
    models: Option<Vec<Found>>,
    needs_models: bool,
    is_failure_logged: bool,
}

impl Site {
    fn is_missing(&self) -> bool {
        self.needs_models && self.models.is_none()
    }
}

fn connect<D: Disk>(
    config: &Config,
    clock: &Clock,
    disk: &D,
    tasks: &mut JoinSet<()>,
) -> Vec<Site> {
    let mut buses: Vec<(Address, mpsc::Sender<Job>)> = Vec::new();
    let mut sites = Vec::new();
    for (source, inverter) in (0u8..).map(SourceNumber).zip(&config.inverters) {
        let known = buses.iter().find(|(address, _)| *address == inverter.address);
        let bus = match known {
            Some((_, bus)) => bus.clone(),
            None => {
                let (bus, jobs) = mpsc::channel(JOBS_MAX);
                let address = inverter.address.clone();
                let pace = pace(&config.inverters, &address);
                tasks.spawn(Bus::new(address.clone(), pace, *clock).run(jobs));
                buses.push((address, bus.clone()));
                bus
            }
        };
        let needs_models = inverter.profile.needs_discovery();
        let models = if needs_models { survey::recall(disk, source, inverter) } else { None };
        sites.push(Site { source, bus, models, needs_models, is_failure_logged: false });
    }
    sites
}

/// The slowest of those who share a bus sets its pace.
fn pace(inverters: &[InverterConfig], address: &Address) -> Pace {
    inverters.iter().filter(|inverter| inverter.address == *address).fold(
        Pace::default(),
        |pace, inverter| {
            let transport = inverter.profile.transport();
            Pace {
                connect_delay: pace.connect_delay.max(transport.connect_delay),
                gap_min: pace.gap_min.max(transport.min_gap),
                answer_max: pace.answer_max.max(transport.timeout),
            }
        },
    )
}

/// Searches every inverter that needs it once; whether one was found.
async fn search_missing<D: Disk>(config: &Config, sites: &mut [Site], disk: &D) -> bool {
    let mut is_found = false;
    for site in sites.iter_mut().filter(|site| site.is_missing()) {
        let Some(inverter) = config.inverters.get(usize::from(site.source.0)) else { continue };
        let searched = survey::search(site.source, inverter.unit, &site.bus).await;
        match searched.and_then(|models| survey::compile(inverter, Some(&models)).map(|_| models)) {
            Ok(models) => {
                tracing::info!(inverter = %inverter.name, models = models.len(), "inverter searched");
                if let Err(error) = survey::keep(disk, site.source, inverter, &models) {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "models will be searched again at the next start");
                }
                site.models = Some(models);
                is_found = true;
            }
            Err(error) => log_survey(site, inverter, &error),
        }
    }
    is_found
}

/// Ready when an inverter that was left out can take part.
async fn survey_later<D: Disk>(config: &Config, sites: &mut [Site], disk: &D, is_missing: bool) {
    if !is_missing {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(SURVEY_PAUSE).await;
        if search_missing(config, sites, disk).await {
            return;
        }
    }
}

fn log_survey(site: &mut Site, inverter: &InverterConfig, error: &SurveyError) {
    if !site.is_failure_logged {
        site.is_failure_logged = true;
        let error: &dyn std::error::Error = error;
        tracing::warn!(inverter = %inverter.name, error, "inverter is left out for the time being");
    }
}

//! The agent's life: identity, then epochs of sampling and sending, until shutdown.

mod epoch;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::SourceNumber;
use ecowatt_node::StartError;
use ecowatt_node::storage::{Areas, Ledger, LedgerError, StorageError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use self::epoch::{Ended, Epoch, Handover};
use crate::bus::{Address, Bus, Job, Pace};
use crate::config::{Config, InverterConfig};
use crate::data_folder::{Folder, FolderError};
use crate::enrol::{EnrolError, enrol, is_enrolled};
use crate::link::Link;
use crate::log_control::LogControl;
use crate::model_search::{self, News, Survey, Surveyor};
use crate::original::{self, OriginalError};
use crate::rated_power;
use crate::sample_log::SampleLog;
use crate::server_contact::{ServerContact, StatusLog};

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
    #[error("the operating system has no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("a task of the agent ended early")]
    Task,
    #[error(transparent)]
    Original(#[from] OriginalError),
}

/// Jobs that wait on one bus: each inverter has at most one for a sample, one for a search and one
/// for its rated power. Further ones wait for room.
const JOBS_MAX: usize = 16;
/// How long the start waits for SunSpec inverters that were never searched.
const FIRST_SURVEY_MAX: Duration = Duration::from_secs(3);

/// Polls, stores and sends samples until `shutdown` is ready.
///
/// Durable samples survive however the process ends. After `shutdown` buffered samples are
/// persisted, and sent if the server answers within a few seconds.
///
/// # Errors
/// If the data folder cannot be used, or the device has no identity and no way to get one. A
/// missing server, a missing inverter and a full disk are not errors.
pub async fn run(
    config: Config,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let (standing, _) = watch::channel(ServerContact::default());
    run_and_tell(config, clock, standing, None, shutdown).await
}

/// Does the same as [`run`], publishes the agent's relation to its server in `standing`, and lets
/// the server set the level of the log that `log_control` changes.
///
/// # Errors
/// See [`run`].
pub async fn run_and_tell(
    config: Config,
    clock: Clock,
    standing: watch::Sender<ServerContact>,
    log_control: Option<LogControl>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let mut shutdown = pin!(shutdown);
    let disk = Arc::new(Folder::open(&config.data)?);
    if let Some(original) = &config.original {
        return Ok(original::run(&config, original, clock, shutdown).await?);
    }
    let mut ledger = Ledger::open(disk.clone())?;
    let mut link = Link::new(config.server.clone());
    let mut status_log = StatusLog::new(standing);
    if !is_enrolled(&ledger, config.claim.as_ref()) {
        let claim = config.claim.as_ref();
        tokio::select! {
            enrolled = enrol(&mut ledger, claim, &mut link, &mut status_log, clock) => enrolled?,
            () = &mut shutdown => return Ok(()),
        }
    }
    let log = match &config.sample_log {
        Some(path) => Some(SampleLog::open(path).map_err(RunError::SampleLog)?),
        None => None,
    };
    let mut tasks = JoinSet::new();
    let mut sites = connect(&config, &clock, &disk, &mut tasks);
    let (mut news, surveyors) = survey_all(&config, &sites, &disk);
    // A short wait here usually saves a second epoch right after the first.
    tokio::select! {
    _ = tokio::time::timeout(FIRST_SURVEY_MAX, first_news(&mut sites, &mut news)) => {}
        () = &mut shutdown => return Ok(()),
    }
    let mut handover = Handover { ledger, link, log, status_log, log_control };
    loop {
        let mut epoch = Epoch::start(&config, clock, disk.clone(), &sites, handover)?;
        let ended = epoch.run(&mut shutdown, later_news(&mut sites, &mut news)).await;
        match ended {
            Ended::Stopped => {
                epoch.stop().await?;
                break;
            }
            Ended::Surveyed => {
                take_rated(&mut sites, &mut epoch);
                handover = epoch.break_off().await?;
            }
            Ended::Restarted => {
                take_rated(&mut sites, &mut epoch);
                handover = epoch.restart().await?;
            }
            Ended::Failed => return Err(RunError::Task),
        }
    }
    // The buses end when all senders of jobs are dropped.
    drop(surveyors);
    drop(sites);
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// One configured inverter, its bus, and what is known of its models.
struct Site {
    source: SourceNumber,
    bus: mpsc::Sender<Job>,
    survey: Option<Survey>,
    needs_survey: bool,
    /// The rated power that it reported, in watts.
    rated_w: Option<u32>,
    /// Notified when samples show that the models have moved.
    moved: Arc<Notify>,
}

impl Site {
    fn is_missing(&self) -> bool {
        self.needs_survey && self.survey.is_none()
    }
}

fn connect<D: Areas + Clone>(
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
        let needs_survey = inverter.profile.needs_discovery();
        // A stored list that the profile cannot use is ignored.
        let is_of_use = |survey: &Survey| model_search::compile(inverter, Some(survey)).is_ok();
        let kept = if needs_survey { model_search::recall(disk, source, inverter) } else { None };
        let survey = kept.filter(is_of_use);
        let rated_w = rated_power::recall(disk, source, inverter);
        let moved = Arc::default();
        sites.push(Site { source, bus, survey, needs_survey, rated_w, moved });
    }
    sites
}

/// Searches every inverter that needs it, as long as the returned tasks are held.
fn survey_all(
    config: &Config,
    sites: &[Site],
    disk: &Arc<Folder>,
) -> (mpsc::Receiver<News>, JoinSet<()>) {
    let mut surveyors = JoinSet::new();
    let (news, told) = mpsc::channel(1);
    for (site, inverter) in sites.iter().zip(&config.inverters) {
        if site.needs_survey {
            let surveyor = Surveyor {
                source: site.source,
                inverter: inverter.clone(),
                bus: site.bus.clone(),
                disk: disk.clone(),
                known: site.survey.clone(),
                moved: site.moved.clone(),
                news: news.clone(),
            };
            surveyors.spawn(surveyor.run());
        }
    }
    (told, surveyors)
}

/// Ready when every inverter without stored models has been searched once.
async fn first_news(sites: &mut [Site], news: &mut mpsc::Receiver<News>) {
    let mut waiting = sites.iter().filter(|site| site.is_missing()).count();
    while waiting > 0
        && let Some(news) = news.recv().await
    {
        waiting -= usize::from(news.is_first);
        take_news(sites, news);
    }
}

/// Ready when an inverter must be polled in another way.
async fn later_news(sites: &mut [Site], news: &mut mpsc::Receiver<News>) {
    while let Some(news) = news.recv().await {
        if take_news(sites, news) {
            return;
        }
    }
    // No inverter needs a search.
    std::future::pending().await
}

/// Takes the rated powers that an epoch has learned.
fn take_rated(sites: &mut [Site], epoch: &mut Epoch) {
    for (source, watts) in epoch.take_rated() {
        let site = sites.iter_mut().find(|site| site.source == source);
        site.into_iter().for_each(|site| site.rated_w = Some(watts));
    }
}

fn take_news(sites: &mut [Site], news: News) -> bool {
    let site = sites.iter_mut().find(|site| site.source == news.source);
    let Some((site, survey)) = site.zip(news.survey) else { return false };
    site.survey = Some(survey);
    true
}

/// Returns the pace of a bus, which its slowest inverter sets.
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

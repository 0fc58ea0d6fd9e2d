//! Makes a plan from a profile; SunSpec inverters are searched for their models first.
//!
//! A search shares the bus with the polling. It runs when nothing is known of an inverter,
//! repeatedly while its list of models is incomplete, when samples show that the models have moved,
//! and when an inverter goes offline or is faulty, because another one may have replaced it. An
//! inverter that was never searched is skipped until it answers; the agent then starts an epoch
//! with it.

mod kept;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_modbus::ExceptionCode;
use ecowatt_model::SourceNumber;
use ecowatt_node::storage::Areas;
use ecowatt_profile::sunspec::{self, Discovery, FoundModel, NoModels, ProbeAnswer};
use ecowatt_profile::{Compiled, Profile, Read, Table};
use tokio::sync::{Notify, mpsc};

use crate::bus::{Answer, Exchange, Job};
use crate::config::InverterConfig;

pub(crate) use self::kept::recall;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) models: Vec<FoundModel>,
    /// Whether the end of the list of models was found.
    pub(crate) is_complete: bool,
}

/// Why an inverter cannot be polled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error(transparent)]
    NoModels(#[from] NoModels),
    #[error("profile {profile} does not fit the inverter: {problem}{}", of_models(.models))]
    Profile { profile: String, problem: String, models: Vec<FoundModel> },
    #[error("the bus is gone")]
    NoBus,
}

/// Pause before a register is read again that was not answered, or answered with "busy".
const AGAIN: Duration = Duration::from_secs(1);
/// First pause between two searches of one inverter; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// Longest pause for an inverter that does not answer, or whose samples do not fit its models.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Longest pause for one that answers with an incomplete list.
const PAUSE_ANSWERED_MAX: Duration = Duration::from_secs(3600);

/// Returns the plan and layout of an inverter whose models are known or not needed.
pub(crate) fn compile(
    inverter: &InverterConfig,
    survey: Option<&Survey>,
) -> Result<Compiled, SurveyError> {
    resolve(inverter, survey).map(|(_, compiled)| compiled)
}

/// Does the same as [`compile`], and also returns the resolved profile.
fn resolve(
    inverter: &InverterConfig,
    survey: Option<&Survey>,
) -> Result<(Profile, Compiled), SurveyError> {
    let failed = |error: &dyn std::error::Error| {
        let mut problem = error.to_string();
        if let Some(cause) = error.source() {
            let _ = write!(problem, ": {cause}");
        }
        let models = survey.map(|survey| survey.models.clone()).unwrap_or_default();
        SurveyError::Profile { profile: inverter.profile.id().into(), problem, models }
    };
    let kind = inverter.address.kind();
    let profile = match survey {
        None => inverter.profile.clone(),
        Some(survey) => inverter.profile.resolve(&survey.models).map_err(|error| failed(&error))?,
    };
    let compiled = profile.compile(profile.link_cost(kind)).map_err(|error| failed(&error))?;
    Ok((profile, compiled))
}

/// News of one inverter.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) source: SourceNumber,
    /// Whether it is from the first search of an inverter without stored models.
    pub(crate) is_first: bool,
    /// None if a first search found nothing that can be polled; further searches follow.
    pub(crate) survey: Option<Survey>,
}

/// Searches one inverter, as long as the agent runs.
pub(crate) struct Surveyor<D> {
    pub(crate) source: SourceNumber,
    pub(crate) inverter: InverterConfig,
    pub(crate) bus: mpsc::Sender<Job>,
    pub(crate) disk: D,
    /// The models that the polling uses.
    pub(crate) known: Option<Survey>,
    /// Notified when samples show that the models have moved, or have none.
    pub(crate) moved: Arc<Notify>,
    pub(crate) news: mpsc::Sender<News>,
}

/// How much a search has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// The whole list.
    Whole,
    /// A part; there may be more models.
    Part,
    Nothing,
}

impl<D: Areas + Clone> Surveyor<D> {
    /// Searches, and sends what is new, until the receiver is dropped.
    pub(crate) async fn run(mut self) {
        if self.known.as_ref().is_some_and(|known| known.is_complete) {
            self.moved.notified().await;
        }
        let (mut pause, mut said) = (PAUSE_MIN, String::new());
        let mut is_first = self.known.is_none();
        loop {
            let searched = self.search().await;
            if matches!(searched, Err(SurveyError::NoBus)) {
                return;
            }
            let (worth, found) = self.weigh(searched, &mut said);
            if found.is_some() {
                pause = PAUSE_MIN;
            }
            if found.is_some() || is_first {
                let news = News { source: self.source, is_first, survey: found };
                if self.news.send(news).await.is_err() {
                    return;
                }
                is_first = false;
            }
            let moved = self.moved.notified();
            match worth {
                Worth::Whole => {
                    tokio::time::sleep(pause.min(PAUSE_MAX)).await;
                    moved.await;
                }
                Worth::Part => {
                    tokio::time::sleep(pause.min(PAUSE_MAX)).await;
                    let _ = tokio::time::timeout(pause.saturating_sub(PAUSE_MAX), moved).await;
                }
                Worth::Nothing => tokio::time::sleep(pause.min(PAUSE_MAX)).await,
            }
            pause = (pause * 2).min(PAUSE_ANSWERED_MAX);
        }
    }

    /// Returns how much a search has found, and its models if the polling should use them from here
    /// on.
    fn weigh(
        &mut self,
        searched: Result<Survey, SurveyError>,
        said: &mut String,
    ) -> (Worth, Option<Survey>) {
        let resolved = searched.and_then(|survey| {
            let (profile, _) = resolve(&self.inverter, Some(&survey))?;
            Ok((survey, profile))
        });
        let (survey, profile) = match resolved {
            Ok(resolved) => resolved,
            Err(error) => {
                let text = error.to_string();
                let is_silent = matches!(error, SurveyError::NoModels(NoModels::Unanswered));
                // The polling already logs that a known inverter does not answer.
                if text != *said && !(is_silent && self.known.is_some()) {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(inverter = %self.inverter.name, error, "inverter is searched again");
                    *said = text;
                }
                return (if is_silent { Worth::Nothing } else { Worth::Part }, None);
            }
        };
        said.clear();
        let worth = if survey.is_complete { Worth::Whole } else { Worth::Part };
        if self.known.as_ref().is_some_and(|known| !survey.replaces(known)) {
            return (worth, None);
        }
        if let Err(error) = kept::keep(&self.disk, self.source, &self.inverter, &survey) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "models will be searched again at the next start");
        }
        let is_same = self.known.as_ref().is_some_and(|known| known.models == survey.models);
        self.known = Some(survey.clone());
        if is_same {
            return (worth, None);
        }
        log(&self.inverter.name, &survey, &profile);
        (worth, Some(survey))
    }

    async fn search(&self) -> Result<Survey, SurveyError> {
        let mut discovery = Discovery::new();
        let timeout = self.inverter.patience();
        let (done, mut answers) = mpsc::channel(1);
        while let Some(probe) = discovery.next_read() {
            if discovery.is_again() {
                tokio::time::sleep(AGAIN).await;
            }
            let read = Read::of_all(Table::Holding, probe.address, probe.count, 0, 0);
            let (source, unit, done) = (self.source, self.inverter.unit, done.clone());
            let exchange = Exchange::Read(read);
            let job = Job { source, unit, exchange, timeout, done };
            self.bus.send(job).await.map_err(|_| SurveyError::NoBus)?;
            let answered = answers.recv().await.ok_or(SurveyError::NoBus)?;
            discovery.handle(match &answered.answer {
                Answer::Words(words) => ProbeAnswer::Words(words),
                Answer::Exception(
                    ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue,
                ) => ProbeAnswer::Refused,
                Answer::Exception(
                    ExceptionCode::GatewayPathUnavailable
                    | ExceptionCode::GatewayTargetFailedToRespond,
                )
                | Answer::Timeout
                | Answer::OtherNumber
                | Answer::Unreachable => ProbeAnswer::Silent,
                Answer::Exception(_) | Answer::Garbled | Answer::Confirmed => ProbeAnswer::Busy,
            });
        }
        let findings = discovery.findings().ok_or(SurveyError::NoBus)??;
        Ok(Survey { models: findings.models.to_vec(), is_complete: findings.is_complete })
    }
}

impl Survey {
    /// Whether it has more or other models than are known: an incomplete list of the known ones
    /// does not count.
    fn replaces(&self, known: &Self) -> bool {
        self.is_complete || !known.models.starts_with(&self.models)
    }
}

fn log(inverter: &str, survey: &Survey, profile: &Profile) {
    let models = list(&survey.models);
    if survey.is_complete {
        tracing::info!(inverter, models, "inverter searched");
    } else {
        tracing::warn!(
            inverter,
            models,
            "end of the list of models not found; the inverter is searched again"
        );
    }
    let out_of_reach = profile.out_of_reach();
    if let Some(first) = out_of_reach.first() {
        tracing::warn!(
            inverter,
            points = out_of_reach.len(),
            first,
            "points are left out: one read does not reach from them to their scale factor"
        );
    }
}

fn of_models(models: &[FoundModel]) -> String {
    if models.is_empty() { String::new() } else { format!("; its models are {}", list(models)) }
}

/// Lists models by number and, if known, name; each once.
fn list(models: &[FoundModel]) -> String {
    let mut text = String::new();
    for (index, model) in models.iter().enumerate() {
        if models[..index].iter().any(|earlier| earlier.id == model.id) {
            continue;
        }
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}", model.id);
        if let Some(name) = sunspec::model_name(model.id) {
            let _ = write!(text, " ({name})");
        }
    }
    text
}

//! From a profile to a plan: SunSpec inverters are searched for their models first.
//!
//! What was found is kept in the data folder, because an inverter that sleeps cannot be searched. An
//! inverter that was never searched is left out until it answers; the agent then starts an epoch in
//! which it takes part.

use std::time::Duration;

use ecowatt_model::SourceNumber;
use ecowatt_profile::sunspec::{Discovery, Found};
use ecowatt_profile::{Compiled, Profile, Read, Table};
use tokio::sync::mpsc;

use crate::bus::{Answer, Job};
use crate::config::InverterConfig;
use crate::storage::Disk;

/// Why an inverter cannot be polled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error("inverter has no SunSpec models")]
    NoSunSpec,
    #[error("inverter did not answer the search for its models")]
    Quiet,
    #[error("profile {0} does not fit the inverter: {1}")]
    Profile(String, String),
}

/// Wait for one answer of a search.
const TIMEOUT: Duration = Duration::from_secs(2);
const KEPT_BYTES_MAX: usize = 4096;

/// The plan and layout of an inverter whose models are known or need not be.
pub(crate) fn compile(
    inverter: &InverterConfig,
    models: Option<&[Found]>,
) -> Result<Compiled, SurveyError> {
    let profile = &inverter.profile;
    let failed = |error: &dyn std::error::Error| {
        SurveyError::Profile(profile.id().into(), error.to_string())
    };
    let kind = inverter.address.kind();
    let resolved: Profile;
    let profile = match models {
        None => profile,
        Some(models) => {
            resolved = profile.resolve(models).map_err(|error| failed(&error))?;
            &resolved
        }
    };
    profile.compile(profile.link_cost(kind)).map_err(|error| failed(&error))
}

/// Searches an inverter for its models.
pub(crate) async fn search(
    source: SourceNumber,
    unit: u8,
    bus: &mpsc::Sender<Job>,
) -> Result<Vec<Found>, SurveyError> {
    let mut discovery = Discovery::new();
    let (done, mut answers) = mpsc::channel(1);
    while let Some(probe) = discovery.next_read() {
        let read = Read::of_all(Table::Holding, probe.address, probe.count, 0, 0);
        let job = Job { source, unit, read, timeout: TIMEOUT, done: done.clone() };
        bus.send(job).await.map_err(|_| SurveyError::Quiet)?;
        match answers.recv().await.map(|done| done.answer) {
            Some(Answer::Words(words)) => discovery.handle_words(&words),
            Some(Answer::Exception(_)) => discovery.handle_exception(),
            Some(Answer::Timeout | Answer::OtherNumber | Answer::Garbled | Answer::Unreachable)
            | None => {
                return Err(SurveyError::Quiet);
            }
        }
    }
    discovery.models().map(<[Found]>::to_vec).ok_or(SurveyError::NoSunSpec)
}

/// What an earlier search of this inverter found.
pub(crate) fn recall(
    disk: &impl Disk,
    source: SourceNumber,
    inverter: &InverterConfig,
) -> Option<Vec<Found>> {
    let bytes = disk.read(&file_name(source), KEPT_BYTES_MAX).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    if lines.next()? != title(inverter) {
        return None;
    }
    let mut models = Vec::new();
    for line in lines.by_ref() {
        if line == END {
            return Some(models);
        }
        let mut numbers = line.split(' ').map(str::parse::<u16>);
        let mut next = || numbers.next()?.ok();
        models.push(Found { id: next()?, address: next()?, length: next()? });
    }
    // Torn: searched again.
    None
}

/// Keeps what a search found.
pub(crate) fn keep(
    disk: &impl Disk,
    source: SourceNumber,
    inverter: &InverterConfig,
    models: &[Found],
) -> std::io::Result<()> {
    let mut text = format!("{}\n", title(inverter));
    for model in models {
        text.push_str(&format!("{} {} {}\n", model.id, model.address, model.length));
    }
    text.push_str(END);
    let name = file_name(source);
    disk.write_at(&name, 0, text.as_bytes())?;
    disk.truncate(&name, u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    disk.sync(&name)
}

const END: &str = "end";

fn file_name(source: SourceNumber) -> String {
    format!("models-{source}")
}

/// Another inverter or profile at the same place is searched afresh.
fn title(inverter: &InverterConfig) -> String {
    format!("{} {} {}", inverter.address, inverter.unit, inverter.profile.id())
}

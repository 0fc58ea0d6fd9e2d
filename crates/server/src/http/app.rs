//! The state of the routes: the server's subjects, and what only HTTP needs.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use ecowatt_clock::Clock;
use tokio::sync::watch;

use super::admission::{Admission, Proxies, Share};
use super::answer::Answers;
use super::health::Readiness;
use super::host::Hosts;
use crate::config::Config;
use crate::disk_space::DiskSpace;
use crate::limits::{PUT_OFF_LINE_EVERY, REFUSED_LINE_EVERY};
use crate::log_limit::LogLimit;
use crate::subjects::Subjects;
use crate::throttle::Throttle;

/// The state of the routes; they use the subjects as if they were its own fields.
pub(crate) type App = Arc<AppState>;

/// The subjects, and the places that requests compete for.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) subjects: Subjects,
    /// Real time, for what concerns clients rather than devices.
    pub(crate) real_time: Clock,
    /// Wrong codes for claims.
    pub(crate) wrong_codes: Mutex<Throttle>,
    /// Reports of settings by devices of the earlier EcoWatt.
    pub(crate) original_reports: Mutex<Throttle>,
    /// Places for requests in flight and for event streams.
    pub(crate) admission: Admission,
    /// The proxies that may name the client.
    pub(crate) proxies: Proxies,
    /// The host names that the server answers to.
    pub(crate) hosts: Hosts,
    /// Limits the log line about requests rejected because of overload.
    pub(crate) overload_line: LogLimit,
    /// Limits the log line about refused log-ins and enrolments.
    pub(crate) refused_line: LogLimit,
    /// Logs that the disk is full, and that it has space again.
    pub(crate) disk_space: DiskSpace,
    /// Turns and memory for large answers.
    pub(crate) answers: Answers,
    /// Whether the store can be written and read.
    pub(crate) readiness: Readiness,
    /// Whether browsers reach the server through TLS.
    pub(crate) is_https: bool,
    /// Becomes true when the server stops.
    pub(crate) stop: watch::Receiver<bool>,
}

impl AppState {
    pub(crate) fn new(config: &Config, subjects: Subjects, stop: watch::Receiver<bool>) -> Self {
        Self {
            subjects,
            real_time: Clock::system(),
            wrong_codes: Mutex::default(),
            original_reports: Mutex::default(),
            admission: Admission::new(Share(config.address_share)),
            proxies: Proxies::new(config.trusted_proxies.clone()),
            hosts: Hosts::new(config.host_names()),
            overload_line: LogLimit::new(PUT_OFF_LINE_EVERY),
            refused_line: LogLimit::new(REFUSED_LINE_EVERY),
            disk_space: DiskSpace::default(),
            answers: Answers::default(),
            readiness: Readiness::default(),
            is_https: config.is_https(),
            stop,
        }
    }
}

impl Deref for AppState {
    type Target = Subjects;

    fn deref(&self) -> &Subjects {
        &self.subjects
    }
}

//! What the server is made of: its subject modules, built on one store.

use std::sync::Arc;

use ecowatt_clock::Clock;
use ecowatt_store::Store;

use crate::access::Access;
use crate::audit::Audit;
use crate::command::Commands;
use crate::config::Config;
use crate::corrections::Editor;
use crate::desired::{DesiredConfigs, Templates};
use crate::enrolment::Enrolment;
use crate::entropy::Entropy;
use crate::fleet::Fleet;
use crate::history::History;
use crate::ingest::Ingest;
use crate::lease::Leases;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::waiting_devices::WaitingDevices;

/// The subject modules. None of them knows HTTP.
#[derive(Debug)]
pub(crate) struct Subjects {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) live: Live,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access: Access,
    pub(crate) audit: Audit,
    pub(crate) fleet: Fleet,
    pub(crate) history: History,
    pub(crate) enrolment: Enrolment,
    pub(crate) editor: Editor,
    pub(crate) desired: DesiredConfigs,
    pub(crate) templates: Templates,
    pub(crate) commands: Commands,
    pub(crate) leases: Leases,
    pub(crate) ingest: Ingest,
}

impl Subjects {
    pub(crate) fn new(config: &Config, store: Store, clock: Clock) -> Self {
        let live = Live::default();
        let waiting = WaitingDevices::default();
        let metrics = Arc::new(Metrics::default());
        Self {
            access: Access::new(store.clone(), clock),
            audit: Audit::new(store.clone()),
            fleet: Fleet::new(store.clone(), clock, config.silent_after),
            history: History::new(store.clone(), clock),
            enrolment: Enrolment::new(store.clone(), clock, config.is_demo),
            editor: Editor::new(store.clone()),
            desired: DesiredConfigs::new(store.clone(), live.clone(), waiting.clone()),
            templates: Templates::new(store.clone(), live.clone(), waiting.clone()),
            commands: Commands::new(store.clone(), clock, live.clone(), waiting.clone()),
            leases: Leases::new(store.clone(), live.clone(), waiting.clone()),
            ingest: Ingest::new(
                store.clone(),
                clock,
                Entropy::system(),
                live.clone(),
                Arc::clone(&metrics),
            )
            .with_waiting(waiting),
            store,
            clock,
            live,
            metrics,
        }
    }
}

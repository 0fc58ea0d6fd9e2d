//! The plants that a fleet is made of: a few inverters, each with its registers computed ahead and
//! with what a device must know to read them.
//!
//! Physics would take most of a simulation's time and depends least on its seed, so a few plants
//! are computed once and shared by all devices and seeds. Plan and layout come from the catalogue's
//! profiles in the same way as on a device, including the search for SunSpec models.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ecowatt_inverter_sim::{Config, ConfigError, RegisterMap, Site, Tabulation, Weather};
use ecowatt_model::UnixMs;
use ecowatt_node::SourceControls;
use ecowatt_profile::sunspec::{Discovery, FoundModel, ProbeAnswer};
use ecowatt_profile::{Layout, Plan, Profile, TransportKind, catalogue};

use crate::scenario::Threads;

/// Rows between two calls of `progress`.
const REPORT_ROWS: usize = 500;

/// Register map and site of each plant. The slow ones are not all at the end, so that the threads
/// finish together.
const KINDS: [(RegisterMap, Site); 8] = [
    (RegisterMap::Seed, Site::BERLIN),
    (RegisterMap::SunSpec, Site::BERLIN),
    (RegisterMap::Seed, Site::COLOMBO),
    (RegisterMap::SunSpec, Site::COLOMBO),
    (RegisterMap::Seed, Site::BERLIN),
    (RegisterMap::Seed, Site::COLOMBO),
    (RegisterMap::SunSpec, Site::BERLIN),
    (RegisterMap::Seed, Site::BERLIN),
];

/// How many plants there are.
pub const PLANTS: usize = KINDS.len();

/// One plant with its inverter, shared by many devices.
#[derive(Debug)]
pub struct Plant {
    /// The inverter's registers by time.
    pub table: Arc<Tabulation>,
    /// Id of the profile that reads it.
    pub profile: &'static str,
    /// The SunSpec models that a search found; empty if it has another map.
    pub models: Vec<FoundModel>,
    /// The registers to read.
    pub plan: Plan,
    /// The meaning of the registers.
    pub layout: Layout,
    /// The layout in the form that devices send.
    pub layout_cbor: Vec<u8>,
    /// The points that may be written, and the rated power.
    pub controls: SourceControls,
    /// Where its limit is.
    pub limit: Option<LimitPlace>,
    /// Longest wait for an answer, by the profile.
    pub timeout: Duration,
    /// Pause after a connection is opened, by the profile.
    pub connect_delay: Duration,
    /// Pause between an answer and the next request, by the profile.
    pub gap_min: Duration,
}

/// The registers of an inverter's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitPlace {
    /// The register of the limit.
    pub address: u16,
    /// The register that is 1 while the limit is in force; without one it always is.
    pub switch: Option<u16>,
    /// Tenths of a percent that a count stands for.
    pub tenths: u16,
}

/// The plants of a simulation.
#[derive(Debug)]
pub struct Plants(Vec<Plant>);

/// Why plants cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// The plant, the step or the number of rows does not fit.
    #[error("plant cannot be simulated")]
    Config(#[from] ConfigError),
    /// The catalogue's profile does not fit the inverter.
    #[error("profile {profile} does not fit the inverter: {problem}")]
    Profile {
        /// Its id.
        profile: &'static str,
        /// Why.
        problem: String,
    },
}

impl Plants {
    /// Computes all plants from `start` on, a row every `step`.
    ///
    /// The same arguments yield the same plants. `progress` is called with the rows done and the
    /// rows in total, every [`REPORT_ROWS`] rows of a plant, from any of the threads.
    ///
    /// # Errors
    /// When `step` or `rows` does not fit.
    pub fn compute(
        seed: u64,
        start: UnixMs,
        step: Duration,
        rows: usize,
        threads: Threads,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, PlantError> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let total = rows.saturating_mul(PLANTS);
        let report = |row: usize| {
            if row.is_multiple_of(REPORT_ROWS) || row == rows {
                let more = (row - 1) % REPORT_ROWS + 1;
                progress(done.fetch_add(more, Ordering::Relaxed) + more, total);
            }
        };
        // Each thread takes the next plant until none is left.
        let compute_some = || -> Result<_, PlantError> {
            let mut computed = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((map, site)) = KINDS.get(index) else { return Ok(computed) };
                let varied = Config::varied(seed, u64::try_from(index).unwrap_or(0), site.clone());
                let config = Config { map: *map, ..varied };
                let weather = Weather::Modelled;
                let table =
                    Tabulation::compute_reporting(config, weather, start, step, rows, report)?;
                computed.push((index, Plant::new(table)?));
            }
        };
        let computed: Result<Vec<_>, PlantError> = thread::scope(|scope| {
            let threads: Vec<_> = (1..threads.count()).map(|_| scope.spawn(compute_some)).collect();
            let mut computed = compute_some()?;
            for thread in threads {
                match thread.join() {
                    Ok(more) => computed.extend(more?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(computed)
        });
        let mut computed = computed?;
        // The order must not depend on which thread was faster.
        computed.sort_unstable_by_key(|(index, _)| *index);
        Ok(Self(computed.into_iter().map(|(_, plant)| plant).collect()))
    }

    /// Returns the plant of a device.
    #[must_use]
    pub fn of(&self, device: usize) -> &Plant {
        &self.0[device % self.0.len()]
    }

    /// Returns all plants.
    #[must_use]
    pub fn all(&self) -> &[Plant] {
        &self.0
    }
}

impl Plant {
    fn new(table: Tabulation) -> Result<Self, PlantError> {
        let id = table.map().profile();
        let failed = |problem: String| PlantError::Profile { profile: id, problem };
        let profile = catalogue::find(id)
            .ok_or_else(|| failed("the catalogue does not list it".to_owned()))?;
        let models = if profile.needs_discovery() {
            search(&table).ok_or_else(|| failed("there are no SunSpec models".to_owned()))?
        } else {
            Vec::new()
        };
        let resolved: Profile = if profile.needs_discovery() {
            profile.resolve(&models).map_err(|error| failed(error.to_string()))?
        } else {
            profile
        };
        let resolved = resolved.rated(table.config().rated_w);
        let compiled = resolved
            .compile(resolved.link_cost(TransportKind::Tcp))
            .map_err(|error| failed(error.to_string()))?;
        let transport = resolved.transport();
        let controls = SourceControls {
            points: resolved.controls(),
            rated_w: Some(table.config().rated_w),
            layout: Some(compiled.layout.clone()),
        };
        let limit = match table.map() {
            RegisterMap::Seed => Some(LimitPlace { address: 8, switch: None, tenths: 10 }),
            // Offsets in model 123 with its header; the inverter's scale factor is -1.
            RegisterMap::SunSpec | RegisterMap::Der => {
                let model = models.iter().find(|model| model.id == 123);
                model.map(|model| LimitPlace {
                    address: model.address + 5,
                    switch: Some(model.address + 9),
                    tenths: 1,
                })
            }
        };
        Ok(Self {
            profile: id,
            models,
            plan: compiled.plan,
            layout_cbor: compiled.layout.to_cbor(),
            layout: compiled.layout,
            controls,
            limit,
            timeout: transport.timeout,
            connect_delay: transport.connect_delay,
            gap_min: transport.min_gap,
            table: Arc::new(table),
        })
    }

    /// Returns the unit identifier that the inverter answers to.
    #[must_use]
    pub fn unit(&self) -> u8 {
        self.table.config().unit
    }
}

/// Returns the SunSpec models that a device would find.
fn search(table: &Tabulation) -> Option<Vec<FoundModel>> {
    let mut discovery = Discovery::new();
    while let Some(probe) = discovery.next_read() {
        match table.words(table.start(), probe.address, probe.count) {
            Some(words) => discovery.handle(ProbeAnswer::Words(words)),
            None => discovery.handle(ProbeAnswer::Refused),
        }
    }
    discovery.findings()?.ok().map(|findings| findings.models.to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use ecowatt_model::Mark;

    use super::*;

    /// 2026-06-21T04:00Z: morning in Colombo, dawn in Berlin.
    const START: UnixMs = UnixMs(1_782_014_400_000);
    const STEP: Duration = Duration::from_secs(60);

    fn plants(rows: usize) -> Plants {
        Plants::compute(7, START, STEP, rows, Threads::Two, &|_, _| {}).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_plants_and_another_others() {
        let (first, second) = (plants(30), plants(30));
        for (one, other) in first.all().iter().zip(second.all()) {
            assert_eq!(one.table, other.table);
            assert_eq!(one.layout_cbor, other.layout_cbor);
        }
        let other = Plants::compute(8, START, STEP, 30, Threads::Two, &|_, _| {}).unwrap();
        assert_ne!(first.of(0).table, other.of(0).table);
        let at = START.plus(STEP * 29);
        let rows: Vec<_> = first.all().iter().map(|plant| plant.table.registers(at)).collect();
        assert!((1..rows.len()).all(|n| !rows[..n].contains(&rows[n])));
    }

    #[test]
    fn every_planned_read_has_words_and_they_mean_something() {
        let plants = plants(600);
        assert_eq!(plants.all().len(), PLANTS);
        let later = START.plus(STEP * 480);
        for plant in plants.all() {
            let (mut words, marks) = (vec![0; plant.plan.column_count()], Mark::Read);
            for read in plant.plan.reads() {
                let shown = plant.table.words(later, read.address, read.count).unwrap();
                for (offset, column) in read.columns() {
                    words[column] = shown[usize::from(offset)];
                }
            }
            let marks = vec![marks; words.len()];
            let power = plant.layout.find("ac.power").unwrap();
            let reading = plant.layout.reading(power, &words, &marks);
            assert!(reading.good().is_some_and(|value| value > 0), "{reading:?}");
            assert_eq!(Layout::from_cbor(&plant.layout_cbor).as_ref(), Ok(&plant.layout));
            assert_eq!(plant.models.is_empty(), plant.table.map() == RegisterMap::Seed);
            assert!(plant.table.lifetime_wh(later) > plant.table.lifetime_wh(START));
            assert_eq!(plant.unit(), 0x11);
        }
        let counter =
            plants.all().iter().find(|plant| plant.table.map() == RegisterMap::SunSpec).unwrap();
        assert!(counter.layout.find("ac.energy.total").is_some());
    }

    #[test]
    fn progress_ends_with_all_rows() {
        let (most, reports) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let progress = |done: usize, total: usize| {
            assert_eq!(total, PLANTS * 1_100);
            most.fetch_max(done, Ordering::Relaxed);
            reports.fetch_add(1, Ordering::Relaxed);
        };
        Plants::compute(7, START, Duration::from_secs(1), 1_100, Threads::Two, &progress).unwrap();
        assert_eq!(most.into_inner(), PLANTS * 1_100);
        assert_eq!(reports.into_inner(), PLANTS * 3);
    }

    #[test]
    fn nothing_to_compute_is_refused() {
        assert!(Plants::compute(7, START, STEP, 0, Threads::Two, &|_, _| {}).is_err());
        assert!(Plants::compute(7, START, Duration::ZERO, 10, Threads::Two, &|_, _| {}).is_err());
    }
}

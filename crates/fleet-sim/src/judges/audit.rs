//! The closing audit of one device: compares blocks, roll-ups and energy in the store with what was
//! sampled.

pub(crate) mod commands;
mod energy;
mod settings;
pub(crate) mod templates;

use ecowatt_codec::CodecMemory;
use ecowatt_model::{BatchId, DeviceNumber, Mark, SourceNumber, UnixMs};
use ecowatt_profile::Layout;
use ecowatt_server::ingest::{RebuildError, rebuild};
use ecowatt_store::{
    Aggregate, Block, ConfigTemplate, DateRange, DeviceConfig, ENERGY_POINT, EnergyFigure,
    InverterReport, InverterState, LocalDate, POWER_POINT, Store, StoreError, TimeQuality,
    TimeRange, limits,
};
use ecowatt_wire::SourceState;

use crate::judges::device::DeviceJudge;
use crate::judges::orders::Ordered;
use crate::judges::promises::Invariant;
use crate::judges::truth::{ClockError, Missing, SampleAudit};
use crate::plant::Plants;
use commands::{CommandCounts, HeldCommands};
use energy::{Energy, Reading};
use templates::KnownTemplates;

/// What the store holds of a device.
pub(crate) struct Held {
    sources: Vec<HeldSource>,
    states: Vec<InverterReport>,
    /// Rows of roll-ups that change when they are rebuilt from the blocks.
    rows_changed: u64,
    config: DeviceConfig,
    /// The device's template.
    template: Option<ConfigTemplate>,
    /// Absent if nothing sends commands.
    commands: Option<HeldCommands>,
}

/// What is known besides what the store holds.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) end: UnixMs,
    pub(crate) clock_errors: &'a [ClockError],
    pub(crate) templates: &'a KnownTemplates,
}

struct HeldSource {
    source: SourceNumber,
    blocks: Vec<Block>,
    /// The power over all days, and over all quarter hours.
    days: Totals,
    quarters: Totals,
    energy: Vec<EnergyFigure>,
}

/// Good readings of one point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    count: u64,
    sum: i64,
    /// Smallest and largest.
    extremes: Option<(i64, i64)>,
}

impl Totals {
    fn add(&mut self, count: u64, sum: i64, (min, max): (i64, i64)) {
        self.count += count;
        self.sum = self.sum.wrapping_add(sum);
        let (least, most) = self.extremes.unwrap_or((min, max));
        self.extremes = Some((least.min(min), most.max(max)));
    }

    fn of<'a>(buckets: impl Iterator<Item = &'a Vec<Option<Aggregate>>>) -> Self {
        let mut totals = Self::default();
        for Aggregate { count, sum, min, max, .. } in buckets.filter_map(|found| *found.first()?) {
            totals.add(count.into(), sum, (min, max));
        }
        totals
    }
}

/// Counts of the energy audit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct EnergyCounts {
    /// Inverters whose counter was compared with the store's energy.
    pub compared: u64,
    /// Inverters without a counter.
    pub without_counter: u64,
    /// Of those compared, inverters that repeated an old answer, so that the counter falls
    /// somewhere.
    pub old_answers: u64,
    /// Largest difference found, in milliwatt-hours.
    pub difference_max_mwh: u64,
}

impl EnergyCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.compared += other.compared;
        self.without_counter += other.without_counter;
        self.old_answers += other.old_answers;
        self.difference_max_mwh = self.difference_max_mwh.max(other.difference_max_mwh);
    }
}

const ALWAYS: TimeRange = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
const ALL_DAYS: DateRange = DateRange { from: LocalDate(i32::MIN), to: LocalDate(i32::MAX) };

/// Devices whose roll-ups are rebuilt, which takes as long as their uploads did.
const REBUILT_MAX: u32 = 4;

/// Reads everything that the store holds of a device.
pub(crate) async fn hold(
    store: &Store,
    device: DeviceNumber,
    sources: u8,
    ordered: Option<Vec<Ordered>>,
) -> Result<Held, StoreError> {
    let mut held = Vec::new();
    let energy = store.energy_days(device, ALL_DAYS).await?;
    for source in (0..sources).map(SourceNumber) {
        let mut blocks: Vec<Block> = Vec::new();
        loop {
            let after = blocks.last().map(|block| (block.first, block.id));
            let page = store.list_blocks(device, source, after).await?;
            let is_last = page.len() < usize::try_from(limits::BLOCKS_PER_QUERY_MAX).unwrap_or(0);
            blocks.extend(page);
            if is_last {
                break;
            }
        }
        let points = store.list_points(device, source).await?;
        let power = points.iter().find(|point| point.def.name == POWER_POINT);
        let (mut days, mut quarters) = (Totals::default(), Totals::default());
        if let Some(point) = power {
            let found = store.days(device, source, ALL_DAYS, vec![point.id]).await?;
            days = Totals::of(found.iter().map(|day| &day.aggregates));
            let found = store.quarters(device, source, ALWAYS, vec![point.id]).await?;
            quarters = Totals::of(found.iter().map(|quarter| &quarter.aggregates));
        }
        let energy =
            energy.iter().filter(|day| day.source == source).map(|day| day.energy).collect();
        held.push(HeldSource { source, blocks, days, quarters, energy });
    }
    let found = store.find_device(device).await?;
    let states = found.map(|device| device.link.inverters).unwrap_or_default();
    let rows_changed = if device.0 <= REBUILT_MAX {
        let rebuilt = rebuild(store, None, device).await.map_err(|error| match error {
            RebuildError::Store(error) => error,
            RebuildError::UnknownDevice => StoreError::Corrupt("device"),
            RebuildError::Layout(..) => StoreError::Corrupt("layout"),
        })?;
        rebuilt.rows_changed
    } else {
        0
    };
    let config = store.find_config(device).await?;
    let commands = match ordered {
        Some(ordered) => Some(commands::hold(store, device, ordered).await?),
        None => None,
    };
    let template = match config.template.clone() {
        Some(name) => store.find_template(name).await?,
        None => None,
    };
    Ok(Held { sources: held, states, rows_changed, config, template, commands })
}

/// Compares the store with the device's truth; violations are noted with the device.
pub(crate) fn check(
    judge: &mut DeviceJudge,
    held: &Held,
    plants: &Plants,
    Known { end, clock_errors, templates }: Known<'_>,
    state: &mut CodecMemory,
    (energy, counts): (&mut EnergyCounts, &mut CommandCounts),
) -> SampleAudit {
    let mut verdict = SampleAudit::default();
    let mut stored: Vec<BatchId> = Vec::new();
    for held in &held.sources {
        let source = judge.sources().iter().find(|source| source.number == held.source);
        let Some(plant) = source.map(|source| plants.of(source.plant)) else { continue };
        let rated_w = plant.table.config().rated_w;
        let mut summary = Summary::new(&plant.layout);
        for block in &held.blocks {
            stored.push(block.id);
            let is_suspect = block.time_quality == TimeQuality::Suspect;
            let row = |words: &[u16], marks: &[Mark], plant_wh: u32| {
                summary.row(words, marks, plant_wh, is_suspect);
            };
            let truth = &mut judge.truth;
            let audited = truth.audit(held.source, block, clock_errors, state, &mut verdict, row);
            summary.finish_batch(block.id);
            if let Err(wrong) = audited {
                let detail = format!("batch {}: {wrong}", block.id);
                judge.violate(end, Invariant::NothingInvented, detail);
            }
        }
        check_source(judge, held, &summary, rated_w, end, energy);
    }
    // Facts that the store holds of the device as a whole.
    let last_states: Vec<_> = judge
        .last_states
        .iter()
        .map(|(source, state)| InverterReport { source: *source, state: shown(*state) })
        .collect();
    if held.states != last_states {
        let detail = format!("{:?} are shown, the device saw {last_states:?}", held.states);
        judge.violate(end, Invariant::StatesArrive, detail);
    }
    settings::check(judge, &held.config, end);
    templates::check(judge, &held.config, held.template.as_ref(), templates, end);
    if let Some(held) = &held.commands {
        commands::check(judge, held, end, counts);
    }
    if held.rows_changed > 0 {
        let detail = format!("{} rows come out otherwise", held.rows_changed);
        judge.violate(end, Invariant::RebuildChangesNothing, detail);
    }
    // Every block has been compared, so what is missing can be counted.
    let may_drop = judge.may_drop();
    judge.truth.finish(may_drop, &mut verdict);
    stored.sort_unstable();
    if stored.windows(2).any(|pair| pair[0] == pair[1]) {
        judge.violate(end, Invariant::NothingDoubled, "a batch is stored twice".to_owned());
    }
    let unkept = judge.unkept(&stored);
    verdict.unkept = u64::try_from(unkept.len()).unwrap_or(u64::MAX);
    let broken = [
        (verdict.doubled, Invariant::NothingDoubled, "samples are stored more than once"),
        (verdict.invented, Invariant::NothingInvented, "stored rows were never sampled"),
        (verdict.restamped, Invariant::NothingRestamped, "samples are stored with another time"),
        (verdict.unkept, Invariant::AcknowledgedIsStored, "acknowledged batches are not stored"),
    ];
    if let Some((id, by_ms)) = judge.truth.misplaced {
        let count = verdict.misplaced;
        let detail =
            format!("{count} samples are at another time, the first of {id} by {by_ms} ms");
        judge.violate(end, Invariant::WellPlaced, detail);
    }
    let truth = &judge.truth;
    let missing = [
        (
            truth.lost,
            verdict.lost,
            Invariant::NothingLost,
            "samples that were durable are not stored",
        ),
        (
            truth.untold,
            verdict.untold,
            Invariant::DamageIsTold,
            "samples that a medium destroyed are in no gap",
        ),
        (
            truth.needless,
            verdict.needless,
            Invariant::DamageIsContained,
            "samples are reported as lost that nothing destroyed",
        ),
    ];
    for (missing, count, invariant, what) in missing {
        let Some(Missing { epoch, first }) = missing else { continue };
        let of = match first {
            Some((source, ordinal)) => format!("sample {ordinal} of inverter {}", source.0),
            None => "in unknown batches".to_owned(),
        };
        let detail = format!("{count} {what}, the first of epoch {epoch}, {of}");
        judge.violate(end, invariant, detail);
    }
    for (count, invariant, what) in broken {
        if count > 0 {
            judge.violate(end, invariant, format!("{count} {what}"));
        }
    }
    verdict
}

/// Returns how the server shows a state that a device reports.
fn shown(state: SourceState) -> InverterState {
    match state {
        SourceState::Unknown => InverterState::Unknown,
        SourceState::Online => InverterState::Online,
        SourceState::Asleep => InverterState::Asleep,
        SourceState::Offline => InverterState::Offline,
        SourceState::Faulty => InverterState::Faulty,
    }
}

/// Power and counter readings in an inverter's rows.
struct Summary<'a> {
    layout: &'a Layout,
    power_point: Option<usize>,
    counter: Option<usize>,
    power: Totals,
    /// The counter's readings in the current batch, in the order in which they were taken.
    readings: Vec<Reading>,
    energy: Energy,
}

impl<'a> Summary<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            power_point: layout.find(POWER_POINT),
            counter: layout.find(ENERGY_POINT),
            power: Totals::default(),
            readings: Vec::new(),
            energy: Energy::default(),
        }
    }

    /// Adds a row; batches whose times are suspect do not count.
    fn row(&mut self, words: &[u16], marks: &[Mark], plant_wh: u32, is_suspect: bool) {
        if is_suspect {
            return;
        }
        let good = |point: Option<usize>| self.layout.reading(point?, words, marks).good();
        if let Some(value) = good(self.power_point) {
            self.power.add(1, value, (value, value));
        }
        if let Some((point, value)) = self.counter.zip(good(self.counter)) {
            // Energy points are watt-hours times a power of ten.
            let exponent = i32::from(self.layout.points()[point].exponent) + 3;
            let factor = 10i64.pow(u32::try_from(exponent.max(0)).unwrap_or(0));
            let plant_mwh = i64::from(plant_wh) * 1_000;
            self.readings.push(Reading { shown_mwh: value.saturating_mul(factor), plant_mwh });
        }
    }

    fn finish_batch(&mut self, id: BatchId) {
        self.energy.add(id, &self.readings);
        self.readings.clear();
    }
}

/// Returns the powers that roll-ups may show, in watts: more than profiles permit, less than what a
/// register with an arbitrary number usually has.
fn possible_w(rated_w: u32) -> std::ops::RangeInclusive<i64> {
    let rated_w = i64::from(rated_w);
    -rated_w / 2..=2 * rated_w
}

fn check_source(
    judge: &mut DeviceJudge,
    held: &HeldSource,
    summary: &Summary<'_>,
    rated_w: u32,
    end: UnixMs,
    energy: &mut EnergyCounts,
) {
    for (what, totals) in [("days", held.days), ("quarter hours", held.quarters)] {
        if totals != summary.power {
            let batches = summary.power;
            let detail = format!("{what} have {totals:?} of the power, the batches {batches:?}");
            judge.violate(end, Invariant::RollUpsAddUp, detail);
        }
        let possible = possible_w(rated_w);
        let extremes = totals.extremes.into_iter().flat_map(|(min, max)| [min, max]);
        if !extremes.into_iter().all(|power| possible.contains(&power)) {
            let detail = format!("{what} have {totals:?} of an inverter of {rated_w} W");
            judge.violate(end, Invariant::NothingImpossible, detail);
        }
    }
    if summary.counter.is_none() {
        energy.without_counter += 1;
        return;
    }
    let Some(expected) = summary.energy.expected(rated_w) else { return };
    energy.old_answers += u64::from(summary.energy.falls());
    let figures = held.energy.iter().filter_map(|figure| match figure {
        EnergyFigure::Counter { mwh, .. } => Some(*mwh),
        EnergyFigure::Integrated { .. } | EnergyFigure::Nothing => None,
    });
    let stored: i64 = figures.sum();
    let nearest = stored.clamp(expected.least_mwh, expected.most_mwh);
    energy.compared += 1;
    energy.difference_max_mwh = energy.difference_max_mwh.max(stored.abs_diff(nearest));
    if stored != nearest {
        let detail = format!("{stored} mWh are stored, the counter moved by {expected:?}");
        judge.violate(end, Invariant::EnergyIsCounted, detail);
    }
}

//! The closing audit of one device: blocks, roll-ups and energy in the store against what was
//! sampled.

use ecowatt_codec::State;
use ecowatt_model::{BatchId, DeviceNumber, Mark, SourceNumber, UnixMs};
use ecowatt_profile::Layout;
use ecowatt_store::{
    Block, ENERGY_POINT, EnergyFigure, LocalDate, POWER_POINT, Store, StoreError, limits,
};

use crate::device::Device;
use crate::plant::Plants;
use crate::truth::Verdict;
use crate::violation::Invariant;

/// What the store holds of a device.
pub(crate) struct Held {
    pub(crate) device: u32,
    sources: Vec<HeldSource>,
}

struct HeldSource {
    source: SourceNumber,
    blocks: Vec<Block>,
    /// Readings of the power in all days together.
    power_readings: Option<u64>,
    energy: Vec<EnergyFigure>,
}

/// How many inverters' energy was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct EnergyCounts {
    /// Inverters whose counter was compared with the store's energy.
    pub compared: u64,
    /// Inverters without a counter.
    pub without_counter: u64,
    /// Inverters whose device's clock was wrong for a while, so that their samples are not in order.
    pub overlapping: u64,
    /// Largest difference found, in milliwatt-hours.
    pub difference_max_mwh: u64,
}

impl EnergyCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.compared += other.compared;
        self.without_counter += other.without_counter;
        self.overlapping += other.overlapping;
        self.difference_max_mwh = self.difference_max_mwh.max(other.difference_max_mwh);
    }
}

const ALL_DAYS: (LocalDate, LocalDate) = (LocalDate(i32::MIN), LocalDate(i32::MAX));

/// Reads everything of a device.
pub(crate) async fn hold(
    store: &Store,
    device: DeviceNumber,
    index: u32,
    sources: u8,
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
        let power_readings = match power {
            None => None,
            Some(point) => {
                let days = store.days(device, source, ALL_DAYS, vec![point.id]).await?;
                let counts =
                    days.iter().filter_map(|day| day.aggregates.first().copied().flatten());
                Some(counts.map(|aggregate| u64::from(aggregate.count)).sum())
            }
        };
        let energy =
            energy.iter().filter(|day| day.source == source).map(|day| day.energy).collect();
        held.push(HeldSource { source, blocks, power_readings, energy });
    }
    Ok(Held { device: index, sources: held })
}

/// Compares; whatever is wrong is told to the device.
pub(crate) fn check(
    device: &mut Device,
    held: &Held,
    plants: &Plants,
    end: UnixMs,
    state: &mut State,
    energy: &mut EnergyCounts,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut stored: Vec<BatchId> = Vec::new();
    for held in &held.sources {
        let line = device.lines().iter().find(|line| line.number() == held.source);
        let Some(layout) = line.map(|line| &plants.of(line.plant()).layout) else { continue };
        let mut summary = Summary::new(layout);
        for block in &held.blocks {
            stored.push(block.id);
            summary.begin(block);
            let row = |words: &[u16], marks: &[Mark]| summary.row(words, marks);
            if let Err(wrong) = device.truth.audit(held.source, block, state, &mut verdict, row) {
                let detail = format!("batch {}: {wrong}", block.id);
                device.violate(end, Invariant::NothingInvented, detail);
            }
        }
        check_source(device, held, &summary, end, energy);
    }
    device.truth.finish(&mut verdict);
    stored.sort_unstable();
    if stored.windows(2).any(|pair| pair[0] == pair[1]) {
        device.violate(end, Invariant::NothingDoubled, "a batch is stored twice".to_owned());
    }
    let unkept = device.unkept(&stored);
    verdict.unkept = u64::try_from(unkept.len()).unwrap_or(u64::MAX);
    let broken = [
        (verdict.lost, Invariant::NothingLost, "samples that were durable are not stored"),
        (verdict.doubled, Invariant::NothingDoubled, "samples are stored more than once"),
        (verdict.invented, Invariant::NothingInvented, "stored rows were never sampled"),
        (verdict.restamped, Invariant::NothingRestamped, "samples are stored with another time"),
        (verdict.misplaced, Invariant::WellPlaced, "samples are placed at another time"),
        (verdict.unkept, Invariant::AcknowledgedIsStored, "acknowledged batches are not stored"),
    ];
    for (count, invariant, what) in broken {
        if count > 0 {
            device.violate(end, invariant, format!("{count} {what}"));
        }
    }
    verdict
}

/// What an inverter's rows say of power and counter.
struct Summary<'a> {
    layout: &'a Layout,
    power: Option<usize>,
    counter: Option<usize>,
    power_readings: u64,
    first: Option<i64>,
    last: Option<i64>,
    end: Option<UnixMs>,
    is_overlapping: bool,
}

impl<'a> Summary<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            power: layout.find(POWER_POINT),
            counter: layout.find(ENERGY_POINT),
            power_readings: 0,
            first: None,
            last: None,
            end: None,
            is_overlapping: false,
        }
    }

    fn begin(&mut self, block: &Block) {
        self.is_overlapping |= self.end.is_some_and(|end| block.first <= end);
        self.end = self.end.max(Some(block.last));
    }

    fn row(&mut self, words: &[u16], marks: &[Mark]) {
        let good = |point: Option<usize>| self.layout.reading(point?, words, marks).good();
        self.power_readings += u64::from(good(self.power).is_some());
        if let Some(value) = good(self.counter) {
            self.first.get_or_insert(value);
            // A clock that was wrong for a while puts samples beyond others that came after them.
            self.is_overlapping |= self.last.is_some_and(|last| value < last);
            self.last = Some(value);
        }
    }
}

fn check_source(
    device: &mut Device,
    held: &HeldSource,
    summary: &Summary<'_>,
    end: UnixMs,
    energy: &mut EnergyCounts,
) {
    if held.power_readings.unwrap_or(0) != summary.power_readings {
        let detail = format!(
            "days count {} readings of the power, the batches hold {}",
            held.power_readings.unwrap_or(0),
            summary.power_readings
        );
        device.violate(end, Invariant::RollUpsAddUp, detail);
    }
    let Some(counter) = summary.counter else {
        energy.without_counter += 1;
        return;
    };
    if summary.is_overlapping {
        energy.overlapping += 1;
        return;
    }
    let (Some(first), Some(last)) = (summary.first, summary.last) else { return };
    // Energy points are watt-hours times a power of ten; the store's are milliwatt-hours.
    let exponent = i32::from(summary.layout.points()[counter].exponent) + 3;
    let factor = 10i64.pow(u32::try_from(exponent.max(0)).unwrap_or(0));
    let expected = (last - first).saturating_mul(factor);
    let figures = held.energy.iter().filter_map(|figure| match figure {
        EnergyFigure::Counter { mwh, .. } => Some(*mwh),
        EnergyFigure::Integrated { .. } | EnergyFigure::Nothing => None,
    });
    let stored: i64 = figures.sum();
    energy.compared += 1;
    energy.difference_max_mwh = energy.difference_max_mwh.max(stored.abs_diff(expected));
    if stored != expected {
        let detail = format!("{stored} mWh are stored, the counter moved by {expected}");
        device.violate(end, Invariant::EnergyIsCounted, detail);
    }
}

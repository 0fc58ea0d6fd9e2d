//! Sites and devices as an operator sees them: is each one well, and how much does it produce?
//!
//! A device's state is derived from what the store holds and the current time, by [`state_of`]
//! alone. The store keeps the derived state so that lists can be filtered by it and show since when
//! it holds; the reconciler of states keeps it up to date.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{DeviceNumber, Quality, SourceNumber, UnixMs};
use ecowatt_profile::Layout;
use ecowatt_store::{
    Attempt, Device, DeviceDay, DeviceQuery, DeviceState, DeviceSweep, InverterReport,
    InverterState, LayoutId, Link, Reading, STATE_POINT, Site, SourceLatest, SourcePower,
    StateReading, Store, StoreError, Stream,
};

use crate::access::{Reach, Scope};
use crate::live::DeviceLine;
use crate::time::{local_date, zone_of};
use crate::trouble::{Key, Trouble, trouble_of};

/// How much newer than its last good reading a failed attempt may be for the reading to stand, as
/// long as the device has not given the inverter up: a lost frame or two are no change of power.
const FAILED_ATTEMPTS_MAX: Duration = Duration::from_secs(60);

/// The word in a state's label that marks the state as a fault, in small or capital letters.
const FAULT_WORD: &str = "fault";

/// Reads the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    store: Store,
    clock: Clock,
    silent_after: Duration,
}

/// A device in a list.
#[derive(Debug, Clone)]
pub(crate) struct Overview {
    pub(crate) device: Device,
    pub(crate) state: DeviceState,
    pub(crate) state_since: Option<UnixMs>,
    pub(crate) power_w: Option<f64>,
    /// The site's current day; absent until something was received for it.
    pub(crate) today: Option<DeviceDay>,
    /// When that day began.
    pub(crate) midnight: UnixMs,
    /// Its newest key; its last message may have used an older one.
    pub(crate) key: Key,
    pub(crate) trouble: Option<Trouble>,
}

/// One page of devices.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) devices: Vec<Overview>,
    pub(crate) next: Option<DeviceNumber>,
    pub(crate) total: u64,
}

/// A device with its latest readings.
#[derive(Debug, Clone)]
pub(crate) struct Detail {
    pub(crate) overview: Overview,
    pub(crate) latest: Vec<SourceLatest>,
    pub(crate) streams: Vec<Stream>,
}

/// A device that the caller may see, as it was found in the store.
#[derive(Debug, Clone)]
pub(crate) struct Reached(Device);

/// One page of devices that a caller may change.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) devices: Vec<Reached>,
    pub(crate) next: Option<DeviceNumber>,
    pub(crate) total: u64,
}

impl Reached {
    pub(crate) fn number(&self) -> DeviceNumber {
        self.0.number
    }

    pub(crate) fn site(&self) -> &Site {
        &self.0.site
    }

    /// Returns the device's inverter, if it has reported exactly one.
    pub(crate) fn only_inverter(&self) -> Option<SourceNumber> {
        match self.0.link.inverters[..] {
            [inverter] => Some(inverter.source),
            _ => None,
        }
    }

    /// Returns whether the device has this inverter, or has yet to report which ones it has.
    pub(crate) fn may_have(&self, source: SourceNumber) -> bool {
        let inverters = &self.0.link.inverters;
        inverters.is_empty() || inverters.iter().any(|inverter| inverter.source == source)
    }
}

/// The part of the fleet that a caller may see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within<'a> {
    fleet: &'a Fleet,
    reach: Reach,
}

impl Within<'_> {
    /// Returns all sites by name.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn sites(self) -> Result<Vec<Site>, StoreError> {
        match self.reach {
            Reach::Fleet => self.fleet.store.list_sites().await,
        }
    }

    /// Returns one page of devices.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn list(self, query: DeviceQuery) -> Result<Page, StoreError> {
        let page = match self.reach {
            Reach::Fleet => self.fleet.store.list_devices(query).await?,
        };
        let next = page.devices.last().map(|device| device.number).filter(|_| page.has_more);
        let devices = self.fleet.overviews(page.devices).await?;
        Ok(Page { devices, next, total: page.total })
    }

    /// Returns a page of the devices of a group that is about to be changed.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn select(self, query: DeviceQuery) -> Result<Selection, StoreError> {
        let page = match self.reach {
            Reach::Fleet => self.fleet.store.list_devices(query).await?,
        };
        let next = page.devices.last().map(|device| device.number).filter(|_| page.has_more);
        let devices = page.devices.into_iter().map(Reached).collect();
        Ok(Selection { devices, next, total: page.total })
    }

    /// Returns a device, if it exists and the caller may see it. Every other read or change of a
    /// device begins here.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn device(self, number: DeviceNumber) -> Result<Option<Reached>, StoreError> {
        match self.reach {
            Reach::Fleet => Ok(self.fleet.store.find_device(number).await?.map(Reached)),
        }
    }
}

impl Fleet {
    /// `silent_after` is how long a device may send nothing before it counts as silent.
    #[must_use]
    pub(crate) fn new(store: Store, clock: Clock, silent_after: Duration) -> Self {
        Self { store, clock, silent_after }
    }

    /// Returns the part of the fleet that is within a caller's scope.
    pub(crate) fn within(&self, scope: Scope) -> Within<'_> {
        Within { fleet: self, reach: scope.reach() }
    }

    /// Returns a device with its latest readings; none if it was deleted in the meantime.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn detail(&self, device: Reached) -> Result<Option<Detail>, StoreError> {
        let number = device.number();
        let Some(overview) = self.overviews(vec![device.0]).await?.pop() else { return Ok(None) };
        let latest = self.store.latest(number).await?;
        let streams = self.store.list_streams(number).await?;
        Ok(Some(Detail { overview, latest, streams }))
    }

    /// Returns a device as the fleet's list shows it.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn line(&self, number: DeviceNumber) -> Result<Option<Overview>, StoreError> {
        let Some(device) = self.store.find_device(number).await? else { return Ok(None) };
        Ok(self.overviews(vec![device]).await?.pop())
    }

    /// Derives the states of a page of devices and stores those that changed. Returns the devices
    /// that changed, and the device after which the next page begins.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn refresh_states(
        &self,
        after: Option<DeviceNumber>,
        limit: u32,
    ) -> Result<(Vec<Overview>, Option<DeviceNumber>), StoreError> {
        let DeviceSweep { devices, has_more } = self.store.sweep_devices(after, limit).await?;
        let next = devices.last().map(|device| device.number).filter(|_| has_more);
        let overviews = self.overviews(devices).await?;
        let now = self.clock.now();
        let stale: Vec<_> = overviews
            .iter()
            .filter(|overview| overview.state != overview.device.state)
            .map(|overview| (overview.device.number, overview.state))
            .collect();
        if stale.is_empty() {
            return Ok((Vec::new(), next));
        }
        let changed = self.store.set_states(stale, now).await?;
        let overviews = overviews
            .into_iter()
            .filter(|overview| changed.contains(&overview.device.number))
            .collect();
        Ok((overviews, next))
    }

    async fn overviews(&self, mut devices: Vec<Device>) -> Result<Vec<Overview>, StoreError> {
        self.mark_faults(&mut devices).await?;
        let now = self.clock.now();
        let wanted: Vec<_> = devices
            .iter()
            .map(|device| (device.number, local_date(now, &zone_of(&device.site))))
            .collect();
        let numbers: Vec<_> = devices.iter().map(|device| device.number).collect();
        let keys = self.store.newest_keys(numbers.clone()).await?;
        // One query for each kind of fact, whatever the number of devices.
        let mut powers = self.store.powers(numbers).await?;
        let mut days: HashMap<_, _> = self
            .store
            .device_days(wanted)
            .await?
            .into_iter()
            .map(|day| (day.device, day))
            .collect();
        let overview = |device: Device| {
            let zone = zone_of(&device.site);
            let midnight = crate::time::start_of_day(local_date(now, &zone), &zone);
            let powers = powers.remove(&device.number).unwrap_or_default();
            let power_w = power_of(&powers, &device.link, now, self.silent_after);
            let state = state_of(&device.link, power_w, now, self.silent_after);
            // The stored instant belongs to the stored state; the beginning of a newer state is
            // unknown.
            let is_stored = state == device.state;
            let state_since = device.state_since.filter(|_| is_stored);
            let key = match keys.get(&device.number) {
                None => Key::Absent,
                Some(None) => Key::Valid,
                Some(Some(at)) => Key::Revoked(*at),
            };
            Overview {
                state,
                state_since,
                key,
                trouble: trouble_of(state, state_since, &device.link, &powers, key),
                power_w,
                today: days.remove(&device.number),
                midnight,
                device,
            }
        };
        Ok(devices.into_iter().map(overview).collect())
    }

    /// Marks inverters as faulty whose own state reading is a fault, whatever their device reports.
    async fn mark_faults(&self, devices: &mut [Device]) -> Result<(), StoreError> {
        let numbers = devices.iter().map(|device| device.number).collect();
        let states = self.store.states(numbers).await?;
        let ids: HashSet<_> = states.values().flatten().map(|reading| reading.layout).collect();
        let layouts = self.store.layouts(ids.into_iter().collect()).await?;
        let faults: HashMap<_, _> =
            layouts.into_iter().map(|(id, cbor)| (id, fault_codes(&cbor))).collect();
        for device in devices {
            let readings = states.get(&device.number).map_or(&[][..], Vec::as_slice);
            mark_faulty(&mut device.link.inverters, readings, &faults);
        }
        Ok(())
    }
}

impl Overview {
    /// Energy of the site's present day.
    #[must_use]
    pub(crate) fn energy_today_wh(&self) -> Option<i64> {
        self.today.as_ref().and_then(|today| today.energy_wh)
    }

    /// The device's line for live views.
    #[must_use]
    pub(crate) fn line(&self) -> DeviceLine {
        DeviceLine {
            state: self.state,
            power_w: self.power_w,
            energy_today_wh: self.energy_today_wh(),
            last_seen: self.device.link.last_seen,
        }
    }
}

/// Returns the values of the state point that mean a fault; none for a layout that cannot be read.
fn fault_codes(cbor: &[u8]) -> Vec<i64> {
    let Ok(layout) = Layout::from_cbor(cbor) else { return Vec::new() };
    let point = layout.find(STATE_POINT).and_then(|at| layout.points().get(at));
    let labels = point.map_or(&[][..], |point| &point.labels);
    let is_fault =
        |label: &str| label.split_whitespace().any(|word| word.eq_ignore_ascii_case(FAULT_WORD));
    labels.iter().filter(|label| is_fault(&label.text)).map(|label| i64::from(label.code)).collect()
}

/// Marks inverters whose state reading is a fault. One that does not answer stays offline: that is
/// worse, and newer.
fn mark_faulty(
    inverters: &mut [InverterReport],
    readings: &[StateReading],
    faults: &HashMap<LayoutId, Vec<i64>>,
) {
    for InverterReport { source, state } in inverters {
        let reading = readings.iter().find(|reading| reading.source == *source);
        let is_fault = |reading: &StateReading| {
            faults.get(&reading.layout).is_some_and(|codes| codes.contains(&reading.code))
        };
        if *state != InverterState::Offline && reading.is_some_and(is_fault) {
            *state = InverterState::Faulty;
        }
    }
}

/// Derives a device's state. The worst known condition wins.
#[must_use]
pub(crate) fn state_of(
    link: &Link,
    power_w: Option<f64>,
    now: UnixMs,
    silent_after: Duration,
) -> DeviceState {
    let Some(last_seen) = link.last_seen else { return DeviceState::Waiting };
    if now.since(last_seen) > silent_after {
        return DeviceState::Silent;
    }
    let mut states = link.inverters.iter().map(|inverter| inverter.state);
    let is_bad = |state| matches!(state, InverterState::Offline | InverterState::Faulty);
    if states.clone().any(is_bad) {
        return DeviceState::Faulty;
    }
    if power_w.is_some_and(|power| power > 0.0) {
        return DeviceState::Producing;
    }
    let is_asleep = |state| matches!(state, InverterState::Asleep);
    if !link.inverters.is_empty() && states.all(is_asleep) {
        return DeviceState::Asleep;
    }
    DeviceState::Idle
}

/// Returns the sum of the inverters' AC power in watts, of those whose latest good reading still
/// counts.
#[must_use]
pub(crate) fn power_of(
    powers: &[SourcePower],
    link: &Link,
    now: UnixMs,
    recent: Duration,
) -> Option<f64> {
    let standing_mw = powers.iter().filter_map(|power| {
        let Reading { at, value: mw } = power.good_mw?;
        let known = link.inverters.iter().find(|inverter| inverter.source == power.source);
        let stands = stands(power, at, known.map(|inverter| inverter.state));
        (stands && now.since(at) <= recent).then_some(mw)
    });
    standing_mw.reduce(i64::saturating_add).map(|mw| scaled(mw, -3))
}

/// Whether the good reading of `at` tells what the inverter makes.
fn stands(power: &SourcePower, at: UnixMs, state: Option<InverterState>) -> bool {
    let Attempt { at: tried_at, quality } = power.tried;
    let has_failed = !matches!(quality, Quality::Good | Quality::NotDue);
    match state {
        // The status may come before the samples that failed.
        Some(InverterState::Offline) => false,
        Some(InverterState::Asleep | InverterState::Faulty) => !has_failed,
        Some(InverterState::Online | InverterState::Unknown) | None => {
            !has_failed || tried_at.since(at) <= FAILED_ATTEMPTS_MAX
        }
    }
}

/// Converts a point's integer to the point's unit.
///
/// Dividing by a power of ten yields the double nearest to the decimal value; multiplying by the
/// power's inexact inverse would not.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "integers of points stay far below 2^53")]
pub(crate) fn scaled(value: i64, exponent: i8) -> f64 {
    let power = 10f64.powi(i32::from(exponent).abs());
    if exponent < 0 { value as f64 / power } else { value as f64 * power }
}

/// Returns the number of decimals of a point's values.
#[must_use]
pub(crate) fn decimals(exponent: i8) -> u8 {
    u8::try_from(-i16::from(exponent)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_layout::with_states;

    const QUIET: Duration = Duration::from_secs(600);
    const NOW: UnixMs = UnixMs(10_000_000);

    fn link(last_seen: i64, inverters: &[InverterState]) -> Link {
        let reports = (0..).map(SourceNumber).zip(inverters);
        let inverters =
            reports.map(|(source, state)| InverterReport { source, state: *state }).collect();
        Link { last_seen: Some(UnixMs(last_seen)), inverters, ..Link::default() }
    }

    fn power(good: Option<(i64, i64)>, tried: (i64, Quality)) -> SourcePower {
        SourcePower {
            source: SourceNumber(0),
            good_mw: good.map(|(at, value)| Reading { at: UnixMs(at), value }),
            tried: Attempt { at: UnixMs(tried.0), quality: tried.1 },
        }
    }

    #[test]
    fn fault_is_a_word_of_its_own_however_it_is_written() {
        let labels = r#"1 = "on", 2 = "fault", 3 = "Fault", 4 = "FAULT (grid)", 5 = "default", 6 = "grid Fault""#;
        assert_eq!(fault_codes(&with_states(labels)), [2, 3, 4, 6]);
    }

    #[test]
    fn worst_that_is_known_is_the_state() {
        use InverterState::{Asleep, Faulty, Offline, Online, Unknown};
        let heard = NOW.0 - 1_000;
        let cases = [
            (link(heard, &[Online]), Some(5.0), DeviceState::Producing),
            (link(heard, &[Online]), Some(0.0), DeviceState::Idle),
            (link(heard, &[Online]), None, DeviceState::Idle),
            (link(heard, &[Asleep, Asleep]), None, DeviceState::Asleep),
            (link(heard, &[Asleep, Online]), Some(5.0), DeviceState::Producing),
            (link(heard, &[Asleep, Offline]), None, DeviceState::Faulty),
            (link(heard, &[Online, Faulty]), Some(5.0), DeviceState::Faulty),
            (link(heard, &[Unknown]), None, DeviceState::Idle),
            (link(heard, &[]), None, DeviceState::Idle),
            (link(NOW.0 - 600_000, &[Online]), Some(5.0), DeviceState::Producing),
            (link(NOW.0 - 600_001, &[Faulty]), None, DeviceState::Silent),
            (link(NOW.0 + 600_001, &[Online]), Some(5.0), DeviceState::Producing),
            (Link::default(), None, DeviceState::Waiting),
        ];
        for (link, power_w, expected) in cases {
            assert_eq!(state_of(&link, power_w, NOW, QUIET), expected, "{link:?}");
        }
    }

    #[test]
    fn power_is_of_readings_that_stand() {
        let recent = (NOW.0 - 5_000, 1_500_000);
        let cases = [
            (vec![], None),
            (vec![power(Some(recent), (recent.0, Quality::Good))], Some(1_500.0)),
            (vec![power(None, (recent.0, Quality::Timeout))], None),
            (vec![power(Some(recent), (NOW.0, Quality::Timeout))], Some(1_500.0)),
            (vec![power(Some((NOW.0 - 90_000, 1)), (NOW.0, Quality::Timeout))], None),
            (vec![power(Some((NOW.0 - 600_001, 1)), (NOW.0 - 600_001, Quality::Good))], None),
            (
                vec![
                    power(Some(recent), (recent.0, Quality::Good)),
                    power(Some((recent.0, -2_000)), (recent.0, Quality::Good)),
                    power(None, (NOW.0, Quality::Asleep)),
                ],
                Some(1_498.0),
            ),
        ];
        for (powers, expected) in cases {
            let link = Link::default();
            assert_eq!(power_of(&powers, &link, NOW, QUIET), expected, "{powers:?}");
        }
    }

    #[test]
    fn power_of_an_inverter_that_was_given_up_does_not_stand() {
        use InverterState::{Asleep, Faulty, Offline, Online};
        let at = NOW.0 - 5_000;
        let good = power(Some((at, 1_000)), (at, Quality::Good));
        let failed = power(Some((at, 1_000)), (NOW.0, Quality::Timeout));
        for (state, of_good, of_failed) in [
            (Online, Some(1.0), Some(1.0)),
            (Asleep, Some(1.0), None),
            (Faulty, Some(1.0), None),
            (Offline, None, None),
        ] {
            let link = link(NOW.0, &[state]);
            assert_eq!(power_of(&[good], &link, NOW, QUIET), of_good, "{state:?}");
            assert_eq!(power_of(&[failed], &link, NOW, QUIET), of_failed, "{state:?}");
        }
    }

    #[test]
    fn scaling_keeps_decimal_values() {
        assert_eq!(scaled(4_998, -2), 49.98);
        assert_eq!(scaled(3, 1), 30.0);
        assert_eq!((decimals(-2), decimals(0), decimals(1)), (2, 0, 0));
    }
}

//! Why a device needs attention: the known cause, since when, and the last good reading.
//!
//! A pure function of what the store holds. It states only what the server knows; the pages and the
//! command line add what to try.

use ecowatt_model::{Quality, SourceNumber, UnixMs};
use ecowatt_store::{DeviceState, InverterState, Link, SourcePower};

/// What is wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    /// The inverters concerned; none if the device itself is.
    pub(crate) inverters: Vec<SourceNumber>,
    /// How the latest attempt to read the power of one of them ended.
    pub(crate) quality: Option<Quality>,
    pub(crate) since: Option<UnixMs>,
    /// When power was last read with good quality, of these inverters or else of any.
    pub(crate) last_good: Option<UnixMs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    NotClaimed,
    NothingReceived,
    KeyRevoked,
    NotHeard,
    InverterOffline,
    InverterFaulty,
}

/// State of the newest key of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// It has no key yet.
    Absent,
    Valid,
    Revoked(UnixMs),
}

/// Returns what is wrong with a device, if anything is.
#[must_use]
pub(crate) fn trouble_of(
    state: DeviceState,
    state_since: Option<UnixMs>,
    link: &Link,
    powers: &[SourcePower],
    key: Key,
) -> Option<Trouble> {
    let newest_good = powers.iter().filter_map(|power| Some(power.good_mw?.at)).max();
    let of_device = |cause, since| Trouble {
        cause,
        inverters: Vec::new(),
        quality: None,
        since,
        last_good: newest_good,
    };
    if let Key::Revoked(at) = key {
        return Some(of_device(Cause::KeyRevoked, Some(at)));
    }
    match state {
        DeviceState::Producing | DeviceState::Idle | DeviceState::Asleep => None,
        DeviceState::Waiting if key == Key::Absent => Some(of_device(Cause::NotClaimed, None)),
        DeviceState::Waiting => Some(of_device(Cause::NothingReceived, None)),
        DeviceState::Silent => Some(of_device(Cause::NotHeard, link.last_seen)),
        DeviceState::Faulty => of_inverters(state_since, link, powers),
    }
}

/// Inverters that do not answer come before faulty ones: nothing is known of the former's power.
fn of_inverters(
    state_since: Option<UnixMs>,
    link: &Link,
    powers: &[SourcePower],
) -> Option<Trouble> {
    let in_state = |wanted| -> Vec<SourceNumber> {
        link.inverters
            .iter()
            .filter(|inverter| inverter.state == wanted)
            .map(|inverter| inverter.source)
            .collect()
    };
    let (cause, inverters) = match in_state(InverterState::Offline) {
        offline if !offline.is_empty() => (Cause::InverterOffline, offline),
        _ => (Cause::InverterFaulty, in_state(InverterState::Faulty)),
    };
    if inverters.is_empty() {
        return None;
    }
    let concerned = || powers.iter().filter(|power| inverters.contains(&power.source));
    let last_good = concerned().filter_map(|power| Some(power.good_mw?.at)).max();
    let quality =
        concerned().map(|power| power.tried.quality).find(|quality| *quality != Quality::Good);
    // An inverter is offline from its last good reading on; the device notices later.
    let since = match cause {
        Cause::InverterOffline => last_good.or(state_since),
        _ => state_since,
    };
    Some(Trouble { cause, inverters, quality, since, last_good })
}

#[cfg(test)]
mod tests {
    use ecowatt_store::{Attempt, InverterReport, Reading};

    use super::*;

    fn link(inverters: &[InverterState]) -> Link {
        let reports = (0..).map(SourceNumber).zip(inverters);
        let inverters =
            reports.map(|(source, state)| InverterReport { source, state: *state }).collect();
        Link { last_seen: Some(UnixMs(900)), inverters, ..Link::default() }
    }

    fn power(source: u8, good: Option<i64>, quality: Quality) -> SourcePower {
        SourcePower {
            source: SourceNumber(source),
            good_mw: good.map(|at| Reading { at: UnixMs(at), value: 1 }),
            tried: Attempt { at: UnixMs(950), quality },
        }
    }

    #[test]
    fn nothing_is_the_matter_with_a_healthy_device() {
        for state in [DeviceState::Producing, DeviceState::Idle, DeviceState::Asleep] {
            assert_eq!(trouble_of(state, None, &link(&[]), &[], Key::Valid), None);
        }
    }

    #[test]
    fn inverter_is_offline_since_its_last_good_reading() {
        let states = [InverterState::Online, InverterState::Faulty, InverterState::Offline];
        let powers = [
            power(0, Some(940), Quality::Good),
            power(1, Some(800), Quality::Exception),
            power(2, Some(700), Quality::Timeout),
        ];
        let since = Some(UnixMs(760));
        let found = trouble_of(DeviceState::Faulty, since, &link(&states), &powers, Key::Valid);
        let expected = Trouble {
            cause: Cause::InverterOffline,
            inverters: vec![SourceNumber(2)],
            quality: Some(Quality::Timeout),
            since: Some(UnixMs(700)),
            last_good: Some(UnixMs(700)),
        };
        assert_eq!(found, Some(expected));
        let never = [power(2, None, Quality::Timeout)];
        let found = trouble_of(DeviceState::Faulty, since, &link(&states), &never, Key::Valid);
        assert_eq!(found.map(|trouble| (trouble.since, trouble.last_good)), Some((since, None)));
    }

    #[test]
    fn inverter_that_answers_wrongly_is_faulty_since_it_was_noticed() {
        let powers = [power(0, Some(940), Quality::Good)];
        let states = [InverterState::Faulty];
        let since = Some(UnixMs(760));
        let found = trouble_of(DeviceState::Faulty, since, &link(&states), &powers, Key::Valid);
        let expected = Trouble {
            cause: Cause::InverterFaulty,
            inverters: vec![SourceNumber(0)],
            quality: None,
            since,
            last_good: Some(UnixMs(940)),
        };
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn device_is_silent_since_it_was_heard_last_unless_its_key_says_more() {
        let silent =
            |key| trouble_of(DeviceState::Silent, Some(UnixMs(2_000)), &link(&[]), &[], key);
        let not_heard = silent(Key::Valid).map(|trouble| (trouble.cause, trouble.since));
        assert_eq!(not_heard, Some((Cause::NotHeard, Some(UnixMs(900)))));
        let revoked = silent(Key::Revoked(UnixMs(5))).map(|trouble| (trouble.cause, trouble.since));
        assert_eq!(revoked, Some((Cause::KeyRevoked, Some(UnixMs(5)))));
    }

    #[test]
    fn waiting_device_lacks_its_key_or_its_first_message() {
        let waiting = |key| trouble_of(DeviceState::Waiting, None, &Link::default(), &[], key);
        assert_eq!(waiting(Key::Absent).map(|trouble| trouble.cause), Some(Cause::NotClaimed));
        assert_eq!(waiting(Key::Valid).map(|trouble| trouble.cause), Some(Cause::NothingReceived));
    }
}

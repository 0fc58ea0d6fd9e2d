//! An inverter with its faults behind a Modbus link: whole requests in, bytes to send out.
//!
//! Pure: the inverter, the faults, the request and the instant determine what is sent, how late,
//! and whether the connection is closed. Fronts carry it out.

use std::time::Duration;

use ecowatt_modbus::{
    ADU_MAX, Exception, ExceptionCode, Framing, Header, Reply, Request, RequestFrame, Response,
    Words, encode_reply,
};
use ecowatt_model::UnixMs;
use serde::Serialize;

use crate::fault::damage::{Damage, damaged};
use crate::fault::{
    Event, Fault, FaultCounts, FaultError, FaultStatus, Faults, Kind, REBOOT_MS, Span,
};
use crate::inverter::{Inverter, Table};
use crate::journal::AnsweredRead;
use crate::registers::RegisterRange;

/// What the slave does in response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlaveAction {
    /// Nothing is sent.
    Silence,
    /// The connection is reset; a serial line stays silent.
    Close,
    /// Bytes are sent.
    Send {
        /// After this delay in real time.
        delay: Duration,
        /// The bytes.
        bytes: Vec<u8>,
        /// The answer to a read, for the journal.
        answered: Option<AnsweredRead>,
    },
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RequestCounts {
    /// Whole requests to this unit.
    pub requests: u64,
    /// Answers sent, including exceptions and damaged answers.
    pub answers: u64,
    /// How many of them were exceptions.
    pub exceptions: u64,
    /// How many of them were damaged.
    pub damaged: u64,
    /// Requests without an answer.
    pub silent: u64,
    /// Clients refused.
    pub refused_clients: u64,
}

/// An inverter with its faults.
#[derive(Debug)]
pub struct SimulatedSlave {
    inverter: Inverter,
    faults: Faults,
    is_single_client: bool,
    frozen: Option<Frozen>,
    away_until: Option<UnixMs>,
    /// The last answer of each framing, before damage.
    previous: [Vec<u8>; 2],
    counts: RequestCounts,
}

/// Frozen registers.
#[derive(Debug)]
struct Frozen {
    /// When the fault began.
    since: UnixMs,
    /// The instant that the registers are from.
    shown_at: UnixMs,
    image: RegisterRange,
}

/// A request that was carried out.
struct Executed {
    response: OwnedResponse,
    read: Option<ReadRegisters>,
}

/// The registers that a read returned.
struct ReadRegisters {
    table: Table,
    address: u16,
    at: UnixMs,
}

enum OwnedResponse {
    Words(Table, Vec<u16>),
    One { address: u16, value: u16 },
    Several { address: u16, count: u16 },
}

impl SimulatedSlave {
    /// A fault-free inverter; `seed` decides which requests faults will affect.
    #[must_use]
    pub fn new(inverter: Inverter, seed: u64, is_single_client: bool) -> Self {
        Self {
            inverter,
            faults: Faults::new(seed),
            is_single_client,
            frozen: None,
            away_until: None,
            previous: [Vec::new(), Vec::new()],
            counts: RequestCounts::default(),
        }
    }

    /// The inverter.
    #[must_use]
    pub fn inverter(&self) -> &Inverter {
        &self.inverter
    }

    /// The inverter.
    pub fn inverter_mut(&mut self) -> &mut Inverter {
        &mut self.inverter
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> RequestCounts {
        self.counts
    }

    /// The faults that have not ended.
    #[must_use]
    pub fn faults(&self, now: UnixMs) -> Vec<FaultStatus> {
        self.faults.status(now)
    }

    /// How often each kind of fault has had an effect.
    #[must_use]
    pub fn effect_counts(&self) -> FaultCounts {
        self.faults.effect_counts()
    }

    /// Adds a fault and returns its id.
    ///
    /// # Errors
    /// When there are too many.
    pub fn add_fault(&mut self, fault: Fault, now: UnixMs) -> Result<u64, FaultError> {
        let id = self.faults.add(fault, now)?;
        self.advance(now);
        Ok(id)
    }

    /// Removes a fault; returns whether it existed.
    pub fn remove_fault(&mut self, id: u64) -> bool {
        self.faults.remove(id)
    }

    /// Removes all faults; an inverter that is restarting is back at once.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
        self.away_until = None;
    }

    /// Whether it is unreachable at `now` because it is restarting.
    #[must_use]
    pub fn is_away(&self, now: UnixMs) -> bool {
        self.away_until.is_some_and(|until| now < until)
    }

    /// Advances to `now`, through every event on the way.
    pub fn advance(&mut self, now: UnixMs) {
        while let Some((at, event)) = self.faults.next_event(now) {
            self.inverter.advance(at);
            match event {
                Event::Reboot => {
                    self.inverter.lose_power(at);
                    self.away_until = Some(UnixMs(at.0.saturating_add(REBOOT_MS)));
                }
                Event::GridLoss { seconds } => {
                    if let Some(plant) = self.inverter.plant_mut() {
                        plant.cut_grid(seconds);
                    }
                }
            }
        }
        self.freeze(now);
        self.inverter.advance(now);
    }

    /// Whether another client is admitted in addition to `present` others.
    pub fn admits(&mut self, present: usize, now: UnixMs) -> bool {
        let is_full =
            present > 0 && (self.is_single_client || self.faults.refuses_second_client(now));
        let is_admitted = !is_full && !self.is_away(now);
        self.counts.refused_clients += u64::from(!is_admitted);
        is_admitted
    }

    /// Answers a request.
    pub fn answer(
        &mut self,
        framing: Framing,
        incoming: &RequestFrame<'_>,
        now: UnixMs,
    ) -> SlaveAction {
        self.advance(now);
        let RequestFrame { header, request } = *incoming;
        if self.is_away(now) {
            return SlaveAction::Close;
        }
        let is_broadcast = framing == Framing::Rtu && header.unit == 0;
        if !self.is_mine(framing, header.unit) && !is_broadcast {
            return SlaveAction::Silence;
        }
        self.counts.requests += 1;
        let effects = self.faults.strike(request.ok().as_ref().and_then(span), now);
        let is_mute = effects.is_mute_at_night && self.inverter.is_asleep();
        if is_mute {
            self.faults.count(Kind::NightSleep);
        }
        if effects.is_silent || is_mute || is_broadcast {
            if let (true, Ok(request)) = (is_broadcast, request) {
                // A broadcast is never answered, valid or not (Modbus over Serial Line V1.02, 2.1).
                let _ = self.carry_out(&request, now, effects.is_frozen, effects.ignores_writes);
            }
            self.counts.silent += 1;
            return SlaveAction::Silence;
        }
        if effects.is_reset {
            self.counts.silent += 1;
            return SlaveAction::Close;
        }

        let function = match request {
            Ok(request) => request.function(),
            Err(error) => match error.exception() {
                Some(exception) => exception.function,
                None => return SlaveAction::Silence,
            },
        };
        let result = match (effects.exception, request) {
            (Some(code), _) => Err(code),
            (None, Ok(request)) => {
                self.carry_out(&request, now, effects.is_frozen, effects.ignores_writes)
            }
            (None, Err(error)) => Err(error
                .exception()
                .map_or(ExceptionCode::IllegalFunction, |exception| exception.code)),
        };
        self.counts.answers += 1;
        self.counts.exceptions += u64::from(result.is_err());
        let Some(bytes) = encoded(framing, header, function, &result) else {
            return SlaveAction::Silence;
        };
        self.send(framing, bytes, result.ok().and_then(|done| done.answered(header, now)), &effects)
    }

    fn send(
        &mut self,
        framing: Framing,
        bytes: Vec<u8>,
        answered: Option<AnsweredRead>,
        effects: &crate::fault::Effects,
    ) -> SlaveAction {
        let previous = match framing {
            Framing::Tcp => &mut self.previous[0],
            Framing::Rtu => &mut self.previous[1],
        };
        let damaged_bytes = effects.damage.map(|damage| {
            self.counts.damaged += 1;
            damaged(damage, framing, &bytes, previous, self.faults.random())
        });
        // A duplicate is intact: both copies are.
        let is_intact = matches!(effects.damage, None | Some(Damage::Duplicate));
        previous.clone_from(&bytes);
        let bytes = damaged_bytes.unwrap_or(bytes);
        if bytes.is_empty() {
            return SlaveAction::Silence;
        }
        let answered = answered.map(|read| AnsweredRead { is_intact, ..read });
        SlaveAction::Send { delay: effects.delay, bytes, answered }
    }

    fn is_mine(&self, framing: Framing, unit: u8) -> bool {
        // On TCP the address selects the device; 255 and 0 mean "any unit" (Messaging on TCP/IP
        // V1.0b, 4.4.2).
        unit == self.inverter.unit() || (framing == Framing::Tcp && matches!(unit, 0 | 255))
    }

    fn freeze(&mut self, now: UnixMs) {
        match self.faults.frozen_since(now) {
            None => self.frozen = None,
            Some(since) if self.frozen.as_ref().is_none_or(|frozen| frozen.since != since) => {
                self.inverter.advance(since);
                let (shown_at, image) = (self.inverter.now(), self.inverter.image());
                self.frozen = Some(Frozen { since, shown_at, image });
            }
            Some(_) => {}
        }
    }

    fn carry_out(
        &mut self,
        request: &Request<'_>,
        now: UnixMs,
        is_frozen: bool,
        ignores_writes: bool,
    ) -> Result<Executed, ExceptionCode> {
        // The instant comes with the words: for frozen registers it is not `now`.
        let mut read = |table, address, count| {
            let (at, words) = match (&self.frozen, is_frozen) {
                (Some(frozen), true) => {
                    (frozen.shown_at, frozen.image.slice(address, count)?.to_vec())
                }
                _ => {
                    let words = self.inverter.read(table, address, count, now)?;
                    (self.inverter.now(), words)
                }
            };
            let read = Some(ReadRegisters { table, address, at });
            Ok(Executed { response: OwnedResponse::Words(table, words), read })
        };
        match *request {
            Request::ReadHoldingRegisters { address, count } => {
                read(Table::Holding, address, count)
            }
            Request::ReadInputRegisters { address, count } => read(Table::Input, address, count),
            Request::WriteSingleRegister { address, value } => {
                self.write(address, &[value], now, ignores_writes)?;
                Ok(Executed { response: OwnedResponse::One { address, value }, read: None })
            }
            Request::WriteMultipleRegisters { address, values } => {
                let values: Vec<u16> = values.iter().collect();
                self.write(address, &values, now, ignores_writes)?;
                let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
                Ok(Executed { response: OwnedResponse::Several { address, count }, read: None })
            }
            Request::ReadCoils { .. }
            | Request::ReadDiscreteInputs { .. }
            | Request::WriteSingleCoil { .. }
            | Request::WriteMultipleCoils { .. }
            | Request::MaskWriteRegister { .. }
            | Request::ReadWriteMultipleRegisters { .. } => Err(ExceptionCode::IllegalFunction),
        }
    }

    fn write(
        &mut self,
        address: u16,
        values: &[u16],
        now: UnixMs,
        is_ignored: bool,
    ) -> Result<(), ExceptionCode> {
        if is_ignored {
            return self.inverter.check_write(address, values);
        }
        self.inverter.write(address, values, now)
    }
}

impl Executed {
    fn answered(self, header: Header, at: UnixMs) -> Option<AnsweredRead> {
        let ReadRegisters { table, address, at: shown_at } = self.read?;
        match self.response {
            OwnedResponse::Words(_, words) => {
                let unit = header.unit;
                Some(AnsweredRead { at, shown_at, unit, table, address, words, is_intact: true })
            }
            OwnedResponse::One { .. } | OwnedResponse::Several { .. } => None,
        }
    }
}

fn encoded(
    framing: Framing,
    header: Header,
    function: u8,
    result: &Result<Executed, ExceptionCode>,
) -> Option<Vec<u8>> {
    let reply: Reply<'_> = match result {
        Ok(executed) => Ok(match &executed.response {
            OwnedResponse::Words(Table::Holding, words) => {
                Response::ReadHoldingRegisters(Words::new(words))
            }
            OwnedResponse::Words(Table::Input, words) => {
                Response::ReadInputRegisters(Words::new(words))
            }
            OwnedResponse::One { address, value } => {
                Response::WriteSingleRegister { address: *address, value: *value }
            }
            OwnedResponse::Several { address, count } => {
                Response::WriteMultipleRegisters { address: *address, count: *count }
            }
        }),
        Err(code) => Err(Exception { function, code: *code }),
    };
    let mut out = [0; ADU_MAX];
    let length = encode_reply(framing, header, &reply, &mut out).ok()?;
    out.get(..length).map(<[u8]>::to_vec)
}

fn span(request: &Request<'_>) -> Option<Span> {
    let length = |words: &Words<'_>| u16::try_from(words.len()).unwrap_or(u16::MAX);
    Some(match request {
        Request::ReadHoldingRegisters { address, count }
        | Request::ReadInputRegisters { address, count } => {
            Span { address: *address, count: *count }
        }
        Request::WriteSingleRegister { address, .. } => Span { address: *address, count: 1 },
        Request::WriteMultipleRegisters { address, values } => {
            Span { address: *address, count: length(values) }
        }
        Request::ReadCoils { .. }
        | Request::ReadDiscreteInputs { .. }
        | Request::WriteSingleCoil { .. }
        | Request::WriteMultipleCoils { .. }
        | Request::MaskWriteRegister { .. }
        | Request::ReadWriteMultipleRegisters { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::fault::FaultSpec;
    use crate::inverter::RegisterSource;
    use crate::physics::plant::Weather;

    /// 2026-06-21T11:00Z.
    const NOON: UnixMs = UnixMs(1_782_039_600_000);
    const HEADER: Header = Header { transaction: 7, unit: 0x11 };
    const READ: Request<'static> = Request::ReadHoldingRegisters { address: 0, count: 10 };

    fn later(ms: i64) -> UnixMs {
        UnixMs(NOON.0 + ms)
    }

    fn station() -> SimulatedSlave {
        let mut config = Config::default();
        config.grid.outages_per_day = 0.0;
        let source = RegisterSource::Simulated(Weather::Modelled);
        SimulatedSlave::new(Inverter::new(config, source, NOON).unwrap(), 1, false)
    }

    fn with(kind: Kind) -> SimulatedSlave {
        let mut station = station();
        let fault = FaultSpec::always(kind).check(NOON).unwrap();
        station.add_fault(fault, NOON).unwrap();
        station
    }

    fn ask(station: &mut SimulatedSlave, request: Request<'_>, now: UnixMs) -> SlaveAction {
        let incoming = RequestFrame { header: HEADER, request: Ok(request) };
        station.answer(Framing::Rtu, &incoming, now)
    }

    fn words(outcome: SlaveAction) -> Vec<u16> {
        let SlaveAction::Send { bytes, .. } = outcome else { panic!("no answer: {outcome:?}") };
        assert_eq!(bytes[1], 3, "{bytes:?}");
        bytes[3..bytes.len() - 2].chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect()
    }

    #[test]
    fn other_units_are_not_answered_and_a_broadcast_is_carried_out() {
        let mut station = station();
        let limit = Request::WriteSingleRegister { address: 8, value: 40 };
        let to = |unit, request| RequestFrame {
            header: Header { unit, ..HEADER },
            request: Ok(request),
        };
        assert_eq!(station.answer(Framing::Rtu, &to(0x12, READ), NOON), SlaveAction::Silence);
        assert_eq!(station.answer(Framing::Rtu, &to(0, limit), NOON), SlaveAction::Silence);
        assert_eq!(words(ask(&mut station, READ, NOON))[8], 40);
        assert_ne!(station.answer(Framing::Tcp, &to(255, READ), NOON), SlaveAction::Silence);
    }

    #[test]
    fn frozen_registers_keep_their_values() {
        let mut station = with(Kind::Frozen);
        let first = words(ask(&mut station, READ, NOON));
        assert_eq!(words(ask(&mut station, READ, later(60_000))), first);
        station.clear_faults();
        assert_ne!(words(ask(&mut station, READ, later(61_000))), first);
    }

    #[test]
    fn a_read_records_the_instant_of_its_registers() {
        let mut station = with(Kind::Frozen);
        let shown_at = |station: &mut SimulatedSlave, now| {
            let SlaveAction::Send { answered, .. } = ask(station, READ, now) else { panic!() };
            let answered = answered.unwrap();
            assert_eq!(answered.at, now);
            answered.shown_at
        };
        assert_eq!(shown_at(&mut station, later(60_000)), NOON);
        station.clear_faults();
        assert_eq!(shown_at(&mut station, later(61_000)), later(61_000));
        // The fault begins before the instant that was last read.
        let fault = FaultSpec::always(Kind::Frozen).check(later(60_500)).unwrap();
        station.add_fault(fault, later(60_500)).unwrap();
        assert_eq!(shown_at(&mut station, later(99_000)), later(61_000));
    }

    #[test]
    fn effects_are_counted_by_kind() {
        let mut station = with(Kind::NightSleep);
        let damaged = FaultSpec { times: Some(2), ..FaultSpec::always(Kind::Truncated) };
        station.add_fault(damaged.check(NOON).unwrap(), NOON).unwrap();
        for ms in [0, 1_000, 2_000, 12 * 3_600_000] {
            ask(&mut station, READ, later(ms));
        }
        let effect_counts: Vec<_> =
            station.effect_counts().iter().filter(|(_, times)| *times > 0).collect();
        assert_eq!(effect_counts, [(Kind::Truncated, 2), (Kind::NightSleep, 1)]);
    }

    #[test]
    fn a_reboot_lasts_a_minute_and_resets_clock_limit_and_day() {
        let mut station = station();
        ask(&mut station, Request::WriteSingleRegister { address: 8, value: 40 }, NOON);
        station.advance(later(600_000));
        let spec = FaultSpec { after_s: Some(1.0), ..FaultSpec::always(Kind::Reboot) };
        let now = later(600_000);
        station.add_fault(spec.check(now).unwrap(), now).unwrap();
        assert_eq!(ask(&mut station, READ, later(602_000)), SlaveAction::Close);
        assert!(!station.admits(0, later(602_000)));
        assert_eq!(words(ask(&mut station, READ, later(661_000)))[8], 100);
        let reading = station.inverter().reading().unwrap();
        assert_eq!(reading.own_clock_ms, 946_684_800_000 + 60_000);
        assert_eq!(reading.day_wh, 0);
        assert!(reading.lifetime_wh > 12_000_000);
    }

    #[test]
    fn an_ignored_write_is_confirmed_without_effect() {
        let mut station = with(Kind::WriteIgnored);
        let request = Request::WriteSingleRegister { address: 8, value: 40 };
        let SlaveAction::Send { bytes, .. } = ask(&mut station, request, NOON) else { panic!() };
        assert_eq!(bytes[..6], [0x11, 6, 0, 8, 0, 40]);
        assert_eq!(words(ask(&mut station, READ, NOON))[8], 100);
        let request = Request::WriteSingleRegister { address: 8, value: 400 };
        let SlaveAction::Send { bytes, .. } = ask(&mut station, request, NOON) else { panic!() };
        assert_eq!(bytes[..3], [0x11, 0x86, 3]);
    }

    #[test]
    fn night_sleep_is_silent_only_in_the_dark() {
        let mut station = with(Kind::NightSleep);
        assert_ne!(ask(&mut station, READ, later(60_000)), SlaveAction::Silence);
        assert_eq!(ask(&mut station, READ, later(12 * 3_600_000)), SlaveAction::Silence);
    }

    #[test]
    fn a_second_client_is_refused() {
        let mut station = with(Kind::RefuseSecondClient);
        assert!(station.admits(0, NOON));
        assert!(!station.admits(1, NOON));
        station.clear_faults();
        assert!(station.admits(1, NOON));
    }

    #[test]
    fn a_stale_answer_is_the_previous_one_or_silence() {
        let mut station = with(Kind::StaleAnswer);
        assert_eq!(ask(&mut station, READ, NOON), SlaveAction::Silence);
        let one = Request::ReadHoldingRegisters { address: 2, count: 1 };
        assert_eq!(words(ask(&mut station, one, NOON)).len(), 10);
        let SlaveAction::Send { answered, .. } = ask(&mut station, READ, NOON) else { panic!() };
        assert!(!answered.unwrap().is_intact);
    }

    #[test]
    fn unsupported_functions_are_refused() {
        let mut station = station();
        let request = Request::ReadCoils { address: 0, count: 1 };
        let SlaveAction::Send { bytes, .. } = ask(&mut station, request, NOON) else { panic!() };
        assert_eq!(bytes[..3], [0x11, 0x81, 1]);
    }
}

//! Leases: taken from replies, kept, then followed by the inverters.
//!
//! The points that may be written are the shell's knowledge, so a limit is computed when the shell
//! answers [`Action::Limit`](super::Action::Limit) with [`Device::limit`]. Nothing is read or written
//! for a lease before the slot *limits* has it, and nothing is written before the slot has what was
//! found at the inverter.

use core::time::Duration;

use ecowatt_model::lease::FULL_PPM;
use ecowatt_model::{MonoMs, SOURCES_MAX, SourceNumber};
use ecowatt_profile::names::CONTROL_P_LIMIT;
use ecowatt_profile::{Control, ControlError, PartLimit};
use ecowatt_wire::{CommandFailure, CommandState, DesiredLeases, LeaseCause};
use heapless::Vec;

use super::{Controls, Device, Inverter, find};
use crate::commands::Outcome;
use crate::errand::{Client, ErrandEnd, Request};
use crate::event::Event;
use crate::lease::{Evaluation, InForce, Situation, Verdict, evaluate};
use crate::limiter::{Change, FoundLimit};
use crate::limits::RELEASE_WAIT;
use crate::slot::Slot;

impl<I, const COLUMNS: usize, const ROWS: usize> Device<I, COLUMNS, ROWS>
where
    I: AsRef<[Inverter<COLUMNS, ROWS>]> + AsMut<[Inverter<COLUMNS, ROWS>]>,
{
    /// Has the leases of an inverter carried out, after an [`Action::Limit`](super::Action::Limit).
    pub fn limit(&mut self, now: MonoMs, source: SourceNumber, controls: &dyn Controls) {
        let situation = Situation {
            unix: self.wall_clock.unix(now),
            is_confirmed: self.wall_clock.is_confirmed(),
            silence: now.since(self.heard_at),
            rated_w: controls.rated_w(source),
        };
        let leases = self.leases.followed();
        let Evaluation { verdict, valid_for } = evaluate(leases, source, &situation);
        let Some(inverter) = find(self.inverters.as_mut(), source) else { return };
        let limiter = &mut inverter.limiter;
        limiter.looked(now.plus(valid_for));
        let in_force = match verdict {
            Verdict::Wait => return,
            Verdict::Free if limiter.found().is_none() => return,
            Verdict::Free if !situation.is_confirmed && situation.silence < RELEASE_WAIT => {
                limiter.wake(now.plus(RELEASE_WAIT.saturating_sub(situation.silence)));
                return;
            }
            Verdict::Free => None,
            Verdict::Limit(in_force) => Some(in_force),
            Verdict::NoRatedPower(lease) => {
                let in_force = InForce { ppm: FULL_PPM, lease, cause: LeaseCause::Lease };
                self.limit_failed(now, source, Some(in_force), CommandFailure::NoRatedPower);
                return;
            }
        };
        let request = match controls.find(source, CONTROL_P_LIMIT) {
            _ if !self.permissions.writes => Err(CommandFailure::Locked),
            None => Err(CommandFailure::ReadOnly),
            Some(control) => self.request(now, source, in_force, &control),
        };
        match request {
            Ok(request) => {
                if let Some(inverter) = find(self.inverters.as_mut(), source) {
                    inverter.source.run(Client::Leases, request, MonoMs(u64::MAX));
                }
            }
            Err(failure) => self.limit_failed(now, source, in_force, failure),
        }
    }

    /// What an inverter has to do, which is noted as ordered; or why it cannot.
    fn request(
        &mut self,
        now: MonoMs,
        source: SourceNumber,
        in_force: Option<InForce>,
        control: &Control,
    ) -> Result<Request, CommandFailure> {
        let full = control.limit_part(FULL_PPM).map_err(refused)?;
        let inverter = find(self.inverters.as_mut(), source).ok_or(CommandFailure::NoSource)?;
        let limiter = &mut inverter.limiter;
        // What was found elsewhere is of another profile, and cannot be restored.
        let address = full.setpoint.address();
        let found = limiter.found().filter(|found| Some(found.address) == address);
        let (request, ppm) = match (in_force, found) {
            // It must be readable: what cannot be restored is not touched.
            (Some(in_force), None) => {
                full.setpoint.read().ok_or(CommandFailure::Unsupported)?;
                (Request::Find(full), Some(in_force.ppm))
            }
            (Some(in_force), Some(found)) => {
                let PartLimit { setpoint, ppm } =
                    control.limit_part(in_force.ppm.min(found.ppm)).map_err(refused)?;
                let request = match limiter.is_refresh_due(now) {
                    true => Request::Rewrite(setpoint),
                    false => Request::Write(setpoint),
                };
                (request, Some(ppm))
            }
            (None, Some(found)) => {
                let setpoint = full.setpoint.found(found.words());
                (Request::Restore(setpoint.ok_or(CommandFailure::Unsupported)?), None)
            }
            (None, None) => return Err(CommandFailure::Unsupported),
        };
        let former = limiter.order(now, source, in_force, ppm);
        self.report_change(former);
        Ok(request)
    }

    /// Takes the leases of a reply. Each reply ends the server's silence, which may be a change.
    pub(super) fn take_leases(&mut self, now: MonoMs, desired: Option<&DesiredLeases<'_>>) {
        self.heard_at = now;
        let inverters = self.inverters.as_ref().iter().take(SOURCES_MAX);
        let sources: Vec<SourceNumber, SOURCES_MAX> =
            inverters.map(|inverter| inverter.source.number()).collect();
        match desired {
            Some(desired) if self.leases.take(desired, &sources) => {
                self.keeping.changed(Slot::Limits);
                self.inverters.as_mut().iter_mut().for_each(|i| i.limiter.begin_anew(now));
            }
            // The server has lost the report.
            Some(_) if self.keeping.is_done(Slot::Limits) => self.leases.report(),
            Some(_) | None => {}
        }
        // A lease may have come, or ended.
        self.apply_intervals(now);
        // Otherwise nothing depends on the silence, or will be looked at before it does.
        if self.inverters.as_ref().iter().any(|inverter| inverter.limiter.waits_for_server()) {
            self.wake_limiters(now);
        }
    }

    /// Has the leases looked at again: what the device knows has changed.
    pub(super) fn wake_limiters(&mut self, now: MonoMs) {
        let is_empty = self.leases.is_empty();
        for inverter in self.inverters.as_mut() {
            if !is_empty || inverter.limiter.found().is_some() {
                inverter.limiter.wake(now);
            }
        }
    }

    /// The slot has the leases and what was found.
    pub(super) fn limits_kept(&mut self, now: MonoMs) {
        self.wake_limiters(now);
    }

    /// Whether there is something to report of leases. What a power cut could take back is not
    /// reported.
    pub(super) fn reports_leases(&self) -> bool {
        self.leases.is_report_due() && self.keeping.is_done(Slot::Limits)
    }

    /// An inverter whose leases are to be looked at.
    pub(super) fn poll_limits(&mut self, now: MonoMs) -> Option<SourceNumber> {
        for inverter in self.inverters.as_mut() {
            if inverter.limiter.proof_at().is_some_and(|at| at <= now)
                && let Some(change) = inverter.limiter.close()
            {
                add_change(&mut self.leases, &mut self.events, change);
            }
        }
        if self.reports_leases() {
            self.uplink.check_in(now);
        }
        let can_act = self.keeping.is_done(Slot::Limits);
        let mut inverters = self.inverters.as_ref().iter().filter(|_| can_act);
        let inverter = inverters.find(|i| limit_at(i).is_some_and(|at| at <= now))?;
        Some(inverter.source.number())
    }

    /// When [`Device::poll_limits`] has something to do next.
    pub(super) fn limits_poll_at(&self) -> Option<MonoMs> {
        let can_act = self.keeping.is_done(Slot::Limits);
        let proof = |i: &Inverter<COLUMNS, ROWS>| i.limiter.proof_at();
        let inverters = self.inverters.as_ref();
        let looks = inverters.iter().filter(|_| can_act).filter_map(limit_at);
        looks.chain(inverters.iter().filter_map(proof)).min()
    }

    /// Takes the power that a source's newest sample shows, in watts: the proof of a new limit.
    pub fn handle_power(&mut self, source: SourceNumber, watts: i32, rated_w: Option<u32>) {
        let Some(inverter) = find(self.inverters.as_mut(), source) else { return };
        let change = inverter.limiter.measured(watts, rated_w);
        self.report_change(change);
    }

    /// Takes the end of what an inverter did for its leases.
    pub(super) fn end_limit(
        &mut self,
        now: MonoMs,
        source: SourceNumber,
        request: Request,
        end: &ErrandEnd<'_>,
    ) {
        let Some(inverter) = find(self.inverters.as_mut(), source) else { return };
        let limiter = &mut inverter.limiter;
        let change = match request {
            _ if end.outcome.state != CommandState::Succeeded => limiter.failed(now, end.outcome),
            Request::Find(full) => match found(&full, end.words) {
                Some(found) => {
                    limiter.set_found(Some(found));
                    // It answers: the write need not wait for a pause after earlier failures.
                    limiter.begin_anew(now);
                    self.keeping.changed(Slot::Limits);
                    None
                }
                None => limiter.failed(now, Outcome::failed(CommandFailure::Unsupported)),
            },
            Request::Restore(_) => {
                limiter.confirmed(now, None);
                limiter.released();
                self.keeping.changed(Slot::Limits);
                None
            }
            Request::Write(setpoint) | Request::Rewrite(setpoint) => {
                let reversion = setpoint.reversion_s(end.words);
                limiter.confirmed(now, reversion.map(|s| Duration::from_secs(s.into())));
                None
            }
            Request::Read { .. } => None,
        };
        self.report_change(change);
    }

    /// Whether leases decide on an inverter's limit.
    pub(super) fn is_leased(&self, source: SourceNumber) -> bool {
        let mut inverters = self.inverters.as_ref().iter();
        let inverter = inverters.find(|inverter| inverter.source.number() == source);
        inverter.is_some_and(|inverter| {
            inverter.limiter.found().is_some() || inverter.source.client() == Some(Client::Leases)
        })
    }

    /// What was found at each inverter that a lease limits.
    pub(super) fn found_limits(&self) -> impl Iterator<Item = (SourceNumber, FoundLimit)> {
        self.inverters
            .as_ref()
            .iter()
            .filter_map(|inverter| Some((inverter.source.number(), inverter.limiter.found()?)))
    }

    fn limit_failed(
        &mut self,
        now: MonoMs,
        source: SourceNumber,
        in_force: Option<InForce>,
        failure: CommandFailure,
    ) {
        let Some(inverter) = find(self.inverters.as_mut(), source) else { return };
        let limiter = &mut inverter.limiter;
        let is_known = failure != CommandFailure::NoRatedPower;
        let ppm = in_force.filter(|_| is_known).map(|in_force| in_force.ppm);
        let former = limiter.order(now, source, in_force, ppm);
        let change = limiter.failed(now, Outcome::failed(failure));
        self.report_change(former);
        self.report_change(change);
    }

    fn report_change(&mut self, change: Option<Change>) {
        if let Some(change) = change {
            add_change(&mut self.leases, &mut self.events, change);
        }
    }
}

/// When the leases of an inverter are to be looked at, if it can do something for them.
fn limit_at<const COLUMNS: usize, const ROWS: usize>(
    inverter: &Inverter<COLUMNS, ROWS>,
) -> Option<MonoMs> {
    let source = &inverter.source;
    let can_act = source.client().is_none() && source.is_answering();
    can_act.then(|| inverter.limiter.next_at())
}

fn add_change(
    leases: &mut crate::leases::Leases,
    events: &mut crate::event::Events,
    change: Change,
) {
    events.push(Event::Limit {
        source: change.source(),
        ppm: change.ppm(),
        cause: change.cause(),
        failure: change.failure(),
    });
    leases.add(change);
}

/// The limit that was found, by all registers that were read.
fn found(full: &PartLimit, words: &[u16]) -> Option<FoundLimit> {
    let ppm = full.setpoint.part_shown(full.ppm, words).ok()?;
    FoundLimit::new(full.setpoint.address()?, ppm, full.setpoint.shown(words))
}

fn refused(error: ControlError) -> CommandFailure {
    match error {
        ControlError::OutOfBounds(_) => CommandFailure::OutOfBounds,
        ControlError::NotAllowed => CommandFailure::NotAllowed,
    }
}

//! Writes over a bus: a request goes out once, whatever comes of it.

use std::time::Duration;

use ecowatt_device::WriteResult;
use ecowatt_inverter_sim::fault::Kind;
use ecowatt_model::UnixMs;
use ecowatt_profile::Write;

use super::{Bus, ConnectionClosed, Ending, IDLE_MAX, Job, Times};
use crate::judges::limit::{HeldLimit, LimitRule};
use crate::random::Random;

/// Outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// When the device has the result, counted from the call.
    pub after: Duration,
    /// The device's result.
    pub result: WriteResult,
}

impl Bus {
    /// Carries out a write that begins at `now`; the previous exchange must have ended.
    pub fn write(
        &mut self,
        write: &Write,
        timeout: Duration,
        now: UnixMs,
        random: &mut Random,
    ) -> Written {
        let mut times = Times { began: now, sent: Duration::ZERO, end: Duration::ZERO };
        self.counts.writes += 1;
        // A connection that the other side has closed is seen to be closed before the request.
        let is_closed = |used_at: UnixMs| now.since(used_at) >= IDLE_MAX;
        self.connection.take_if(|connection| is_closed(connection.used_at));
        self.open(random, &mut times);
        let ending = self.exchange(Job::Write(write), timeout, random, &mut times);
        self.ending = ending.unwrap_or_else(|ConnectionClosed| {
            self.connection = None;
            Ending::Timeout
        });
        let result = match self.ending {
            Ending::Confirmed => WriteResult::Confirmed,
            Ending::Exception(code) => WriteResult::Exception(code),
            Ending::Words | Ending::Timeout | Ending::Garbled => WriteResult::NoAnswer,
            Ending::Unreachable => WriteResult::NotSent,
        };
        Written { after: times.end, result }
    }

    /// Whether the last answer has the words that the inverter holds at present.
    pub fn shows_present(&self) -> bool {
        let answered = self.answered.as_ref().filter(|_| !self.is_misread);
        answered.is_some_and(|answered| answered.is_intact && answered.shown_at == answered.at)
    }

    /// Returns what a limit of the inverter is.
    pub(crate) fn limit_rule(&self) -> Option<LimitRule> {
        let rated_w = self.table.config().rated_w;
        self.limit.map(|place| LimitRule { address: place.address, tenths: place.tenths, rated_w })
    }

    /// Returns the limit that the inverter has, whatever it shows; `None` if it has none.
    pub(crate) fn limit(&mut self, now: UnixMs) -> Option<HeldLimit> {
        self.station.advance(now);
        let image = self.station.inverter().image();
        let word = |address: u16| image.slice(address, 1).ok()?.first().copied();
        let place = self.limit?;
        let is_on = place.switch.is_none_or(|switch| word(switch) == Some(1));
        let tenths = if is_on { word(place.address)? * place.tenths } else { 1_000 };
        Some(HeldLimit { tenths, reboots: self.station.effect_counts().of(Kind::Reboot) })
    }
}

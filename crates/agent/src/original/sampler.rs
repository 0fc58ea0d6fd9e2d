//! Reads the inverter at whole multiples of the sampling interval, and writes its limit.

use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{SourceNumber, UnixMs};
use ecowatt_profile::{Read, Table, Write, WriteFunction};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::settings::Settings;
use super::upload::Sample;
use crate::bus::{Answer, Bus, Exchange, Job, Pace};
use crate::config::Config;

/// Jobs that wait on the bus: one sample and one command.
const JOBS_MAX: usize = 2;

/// The register of the limit, in percent.
const LIMIT_REGISTER: u16 = 8;

/// The one inverter of such a device.
#[derive(Debug, Clone)]
pub(super) struct Inverter {
    unit: u8,
    timeout: Duration,
    bus: mpsc::Sender<Job>,
}

/// Starts the bus and the sampling. Both end with the returned tasks.
pub(super) fn start(
    config: &Config,
    clock: Clock,
    settings: watch::Receiver<Settings>,
    samples: mpsc::Sender<Sample>,
) -> (Inverter, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let (bus, jobs) = mpsc::channel(JOBS_MAX);
    // The configuration has exactly one.
    let known = config.inverters.first();
    let (unit, timeout) = known.map_or((1, Duration::ZERO), |it| (it.unit, it.patience()));
    if let Some(known) = known {
        let transport = known.profile.transport();
        let pace = Pace {
            connect_delay: transport.connect_delay,
            gap_min: transport.min_gap,
            answer_max: transport.timeout,
        };
        tasks.spawn(Bus::new(known.address.clone(), pace, clock).run(jobs));
    }
    let inverter = Inverter { unit, timeout, bus };
    tasks.spawn(sample(inverter.clone(), clock, settings, samples));
    (inverter, tasks)
}

/// Takes samples until their receiver is gone.
async fn sample(
    inverter: Inverter,
    clock: Clock,
    mut settings: watch::Receiver<Settings>,
    samples: mpsc::Sender<Sample>,
) {
    let mut last_s = 0;
    loop {
        let (interval_s, registers) = {
            let settings = settings.borrow_and_update();
            (i64::from(settings.sampling_s), settings.registers.clone())
        };
        let now = clock.now().0;
        // A clock that is set back repeats no instant until it has caught up with a day.
        let due_s = (now / 1_000 / interval_s + 1) * interval_s;
        let wait = u64::try_from(due_s * 1_000 - now).unwrap_or_default();
        tokio::select! {
            () = clock.sleep(Duration::from_millis(wait)) => {}
            changed = settings.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        if due_s == last_s {
            continue;
        }
        last_s = due_s;
        let Some(words) = inverter.read(&registers).await else { continue };
        if samples.send(Sample { time_s: due_s, registers, words }).await.is_err() {
            return;
        }
    }
}

impl Inverter {
    /// Reads the block from the first to the last register, and returns the wanted ones.
    async fn read(&self, registers: &[u8]) -> Option<Vec<u16>> {
        let (first, last) = (*registers.first()?, *registers.last()?);
        let count = u16::from(last - first) + 1;
        let read = Read::of_all(Table::Holding, first.into(), count, 0, 0);
        match self.exchange(Exchange::Read(read)).await {
            Some(Answer::Words(words)) if words.len() == usize::from(count) => {
                let word = |register: &u8| words.get(usize::from(register - first)).copied();
                registers.iter().map(word).collect()
            }
            answer => {
                let hint = answer.as_ref().and_then(Answer::hint);
                tracing::debug!(?answer, hint, "inverter not read");
                None
            }
        }
    }

    /// Writes the limit once, and decides by what is read back.
    pub(super) async fn limit(&self, percent: u16) -> Result<(), String> {
        let write = Write::new(LIMIT_REGISTER, WriteFunction::Single, &[percent]);
        let write = write.ok_or_else(|| "the limit cannot be written".to_owned())?;
        let answer = self.exchange(Exchange::Write(write)).await;
        if let Some(Answer::Exception(code)) = answer {
            return Err(format!("the inverter refuses the limit: {code:?}"));
        }
        let read = u8::try_from(LIMIT_REGISTER).ok().map(|register| [register]);
        match self.read(&read.unwrap_or_default()).await.as_deref() {
            Some([shown]) if *shown == percent => Ok(()),
            Some(_) => Err("the inverter shows another limit".to_owned()),
            None => Err("the inverter does not answer".to_owned()),
        }
    }

    async fn exchange(&self, exchange: Exchange) -> Option<Answer> {
        let (done, mut answers) = mpsc::channel(1);
        let (source, unit, timeout) = (SourceNumber(0), self.unit, self.timeout);
        self.bus.send(Job { source, unit, exchange, timeout, done }).await.ok()?;
        answers.recv().await.map(|done| done.answer)
    }
}

/// The time as the firmware writes it, `YYYY-MM-DDThh:mm:ssZ`.
pub(super) fn iso_8601(at: UnixMs) -> String {
    let (days, second) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000) / 1_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// The date of a day since 1970, by the arithmetic of the proleptic Gregorian calendar: years begin
/// in March, so that the odd day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_firmwares_form() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_000, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_782_039_600_999, "2026-06-21T11:00:00Z"),
        ] {
            assert_eq!(iso_8601(UnixMs(ms)), text);
        }
    }
}

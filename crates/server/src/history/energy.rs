//! Energy by the local days of a site.

use std::iter::Peekable;
use std::vec;

use ecowatt_api::{ENERGY_DAYS_MAX, Energy, EnergyDay, EnergyGap, EnergySource};
use ecowatt_model::UnixMs;
use ecowatt_store::{DateRange, EnergyFigure, LocalDate, TimeRange};

use super::{History, HistoryError};
use crate::fleet::Reached;
use crate::limits::ENERGY_GAPS_MAX;
use crate::time::{Range, civil, local_date, rfc3339, start_of_day, zone_of};

impl History {
    /// Returns the energy of a device by the days of its site that the range touches.
    ///
    /// # Errors
    /// If the range is too long or the store fails.
    pub(crate) async fn energy(
        &self,
        device: &Reached,
        range: Range,
    ) -> Result<Energy, HistoryError> {
        let (device, site) = (device.number(), device.site());
        let zone = zone_of(site);
        let last = UnixMs(range.to.0.saturating_sub(1)).max(range.from);
        let (from, to) = (local_date(range.from, &zone), local_date(last, &zone));
        let to = LocalDate(to.0.saturating_add(1));
        if usize::try_from(to.0 - from.0).unwrap_or(usize::MAX) > ENERGY_DAYS_MAX {
            return Err(HistoryError::TooManyDays);
        }
        let figures = self.store.energy_days(device, DateRange { from, to }).await?;
        let whole = TimeRange { from: start_of_day(from, &zone), to: start_of_day(to, &zone) };
        let mut gaps = Gaps::new(self.store.energy_gaps(device, whole).await?);
        let mut days: Vec<EnergyDay> = Vec::new();
        let mut mwh_sums: Vec<i64> = Vec::new();
        for figure in figures {
            let (mwh, source, refused) = match figure.energy {
                EnergyFigure::Counter { mwh, refused_steps } => {
                    (mwh, EnergySource::Counter, u64::try_from(refused_steps).unwrap_or(0))
                }
                EnergyFigure::Integrated { mwh } => (mwh, EnergySource::Integrated, 0),
                EnergyFigure::Nothing => continue,
            };
            let date = civil(figure.date).to_string();
            match (days.last_mut(), mwh_sums.last_mut()) {
                (Some(day), Some(sum)) if day.date == date => {
                    *sum = sum.saturating_add(mwh);
                    day.refused_steps = day.refused_steps.saturating_add(refused);
                    // A sum is only as reliable as its least reliable part.
                    if source == EnergySource::Integrated {
                        day.source = source;
                    }
                }
                _ => {
                    let begins = start_of_day(figure.date, &zone);
                    let ends = start_of_day(LocalDate(figure.date.0.saturating_add(1)), &zone);
                    let gaps = gaps.within(begins, ends);
                    days.push(EnergyDay {
                        date,
                        energy_wh: 0,
                        source,
                        refused_steps: refused,
                        gaps,
                    });
                    mwh_sums.push(mwh);
                }
            }
        }
        // Rounded once, after the inverters are added up.
        for (day, mwh) in days.iter_mut().zip(mwh_sums) {
            day.energy_wh = mwh.div_euclid(1000);
        }
        Ok(Energy {
            device: device.to_string(),
            time_zone: site.time_zone.clone(),
            from: rfc3339(range.from),
            to: rfc3339(range.to),
            days,
            gaps_listed_until: gaps.listed_until.map(rfc3339),
        })
    }
}

/// The gaps of a range, handed out day by day in ascending order.
struct Gaps {
    /// Gaps not handed out yet, ascending by their beginning.
    coming: Peekable<vec::IntoIter<ecowatt_store::EnergyGap>>,
    /// Gaps that reach into the last requested day.
    open: Vec<ecowatt_store::EnergyGap>,
    listed: usize,
    /// Beginning of the first day whose gaps are not all listed.
    listed_until: Option<UnixMs>,
}

impl Gaps {
    fn new(gaps: Vec<ecowatt_store::EnergyGap>) -> Self {
        Self {
            coming: gaps.into_iter().peekable(),
            open: Vec::new(),
            listed: 0,
            listed_until: None,
        }
    }

    /// Returns the parts of gaps in a day, up to the number that an answer may list.
    fn within(&mut self, begins: UnixMs, ends: UnixMs) -> Vec<EnergyGap> {
        self.open.retain(|gap| gap.to > begins);
        while let Some(gap) = self.coming.next_if(|gap| gap.from < ends) {
            if gap.to > begins {
                self.open.push(gap);
            }
        }
        if self.listed + self.open.len() > ENERGY_GAPS_MAX {
            self.listed_until.get_or_insert(begins);
        }
        if self.listed_until.is_some() {
            return Vec::new();
        }
        self.listed += self.open.len();
        let part = |gap: &ecowatt_store::EnergyGap| EnergyGap {
            inverter: gap.source.0,
            from: rfc3339(gap.from.max(begins)),
            to: rfc3339(gap.to.min(ends)),
        };
        self.open.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::SourceNumber;

    use super::*;

    #[test]
    fn gaps_are_listed_by_day_up_to_a_limit() {
        let gap = |from, to| ecowatt_store::EnergyGap {
            source: SourceNumber(0),
            from: UnixMs(from),
            to: UnixMs(to),
        };
        let day = |n: i64| (UnixMs(n * 100), UnixMs(n * 100 + 100));
        let mut gaps = Gaps::new(vec![gap(-5, 5), gap(50, 250), gap(90, 100), gap(300, 310)]);
        let counts: Vec<_> =
            (0..5).map(day).map(|(begins, ends)| gaps.within(begins, ends).len()).collect();
        assert_eq!(counts, [3, 1, 1, 1, 0]);
        assert_eq!(gaps.listed_until, None);

        let many = i64::try_from(ENERGY_GAPS_MAX).unwrap();
        let mut gaps = Gaps::new((0..=many).map(|n| gap(n * 10, n * 10 + 1)).collect());
        let listed: usize =
            (0..many / 10 + 2).map(day).map(|(from, to)| gaps.within(from, to).len()).sum();
        assert_eq!(listed, ENERGY_GAPS_MAX);
        assert_eq!(gaps.listed_until, Some(UnixMs(many * 10)));
    }
}

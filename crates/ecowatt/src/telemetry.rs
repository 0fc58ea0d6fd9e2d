//! `ecowatt telemetry`: a device's history and energy as CSV or JSON.

use std::io::{self, BufWriter, Write};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use ecowatt_api::{EnergyDay, EnergySource, Resolution, Series, Telemetry, UnsureTime};
use ecowatt_client::{Client, TelemetryQuery};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::hint::WithHint as _;
use crate::operator::Connection;
use crate::table::print_json;

/// Export history and energy.
#[derive(Debug, Args)]
pub(crate) struct TelemetryArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a device's history to standard output as CSV.
    ///
    /// One line per instant. Raw readings have one column per point, empty without a good reading,
    /// and `time_quality`, how well the time is known. Coarser resolutions have mean, min, max,
    /// last and count per point; days also have their date at the site.
    Export(ExportArgs),
    /// Write a device's energy by day of its site to standard output as CSV.
    Energy(EnergyArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    connection: Connection,
    /// The device, such as dev-42.
    #[arg(long)]
    device: String,
    /// Number of the inverter, from 0.
    #[arg(long, default_value_t = 0)]
    inverter: u8,
    /// Start (RFC 3339), or a date for midnight at the site.
    #[arg(long)]
    from: String,
    /// End, exclusive [default: now].
    #[arg(long)]
    to: Option<String>,
    #[arg(long, value_enum, default_value_t = Step::Minute)]
    resolution: Step,
    /// Points, such as ac.power,pv.1.voltage [default: all].
    #[arg(long, value_delimiter = ',')]
    points: Vec<String>,
    /// Write times in the site's time zone with their offset, instead of in UTC.
    #[arg(long)]
    local_time: bool,
    /// Write a JSON array with one object per instant.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct EnergyArgs {
    #[command(flatten)]
    connection: Connection,
    /// The device, such as dev-42.
    #[arg(long)]
    device: String,
    /// First day at the site, or an instant (RFC 3339) in it [default: 30 days before the end].
    #[arg(long)]
    from: Option<String>,
    /// End, exclusive [default: now].
    #[arg(long)]
    to: Option<String>,
    /// Print the server's answer as JSON, gaps included.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Step {
    /// Samples as they were taken.
    Raw,
    #[value(name = "1m")]
    Minute,
    #[value(name = "15m")]
    Quarter,
    /// Days in the site's time zone.
    #[value(name = "1d")]
    Day,
}

impl From<Step> for Resolution {
    fn from(step: Step) -> Self {
        match step {
            Step::Raw => Self::Raw,
            Step::Minute => Self::Minute,
            Step::Quarter => Self::Quarter,
            Step::Day => Self::Day,
        }
    }
}

/// Carries out a verb.
///
/// # Errors
/// If the server refuses, cannot be reached, or standard output cannot be written.
pub(crate) fn run(args: &TelemetryArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Export(args) => export(args),
        Verb::Energy(args) => energy(args),
    }
}

/// How instants are written.
struct Times {
    /// The site's time zone, if it is needed.
    zone: Option<TimeZone>,
    is_local: bool,
    /// Whether each day's date is written next to its start.
    has_dates: bool,
}

impl Times {
    fn new(client: &Client, args: &ExportArgs) -> anyhow::Result<Self> {
        let has_dates = Resolution::from(args.resolution) == Resolution::Day;
        let zone = if has_dates || args.local_time {
            let device = client.find_device(&args.device).context("finding the device")?.device;
            let name = device.site.time_zone;
            Some(TimeZone::get(&name).with_context(|| format!("the site's time zone {name:?}"))?)
        } else {
            None
        };
        Ok(Self { zone, is_local: args.local_time, has_dates })
    }

    /// The instant, and the date if there is one.
    fn write(&self, t_ms: i64) -> anyhow::Result<(String, Option<String>)> {
        let instant =
            Timestamp::from_millisecond(t_ms).context("the server sent a time out of range")?;
        let at_site = self.zone.as_ref().map(|zone| instant.to_zoned(zone.clone()));
        let time = match &at_site {
            Some(at) if self.is_local => at.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
            _ => format!("{instant:.3}"),
        };
        let date = at_site.filter(|_| self.has_dates).map(|at| at.date().to_string());
        Ok((time, date))
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let client = args.connection.client()?;
    let times = Times::new(&client, args)?;
    let mut query = TelemetryQuery {
        from: Some(args.from.clone()),
        to: args.to.clone(),
        resolution: args.resolution.into(),
        points: args.points.clone(),
        inverter: args.inverter,
        cursor: None,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut columns: Option<Vec<String>> = None;
    let mut is_first = true;
    loop {
        let page = client.list_telemetry(&args.device, &query).context("fetching telemetry")?;
        let head = head(&page, times.has_dates);
        match &columns {
            None => {
                note_removed(&page)?;
                if !args.json {
                    writeln!(out, "{}", head.join(","))?;
                }
                columns = Some(head);
            }
            // A layout that changed between two pages would put values under wrong names.
            Some(known) if *known == head => {}
            Some(_) => {
                return Err(anyhow!("the device's points change within the range"))
                    .with_hint(|| "name the points with `--points`");
            }
        }
        if args.json {
            write_objects(&page, &times, &mut is_first, &mut out)?;
        } else {
            write_rows(&page, &times, &mut out)?;
        }
        if page.next_cursor.is_none() {
            break;
        }
        // Later pages must have the end of the first one; the default end moves.
        query.to = Some(page.to);
        query.cursor = page.next_cursor;
    }
    if args.json {
        writeln!(out, "{}", if is_first { "[]" } else { "\n]" })?;
    }
    out.flush()?;
    Ok(())
}

/// Explains rows that are missing because the server no longer keeps them.
fn note_removed(page: &Telemetry) -> io::Result<()> {
    let Some(before) = &page.removed_before else { return Ok(()) };
    let what = match page.resolution {
        Resolution::Raw => "samples",
        Resolution::Minute => "minutes",
        Resolution::Quarter => "quarter hours",
        Resolution::Day => "days",
    };
    writeln!(io::stderr(), "{what} before {before} were removed by the server's retention")
}

/// Decimals of a mean beyond those of its readings.
const MEAN_DECIMALS: usize = 2;

/// The figures of each point in a bucket.
const FIGURES: [&str; 5] = ["mean", "min", "max", "last", "count"];

fn head(page: &Telemetry, has_dates: bool) -> Vec<String> {
    let of_series = |series: &Series| -> Vec<String> {
        let point = &series.point;
        if page.resolution == Resolution::Raw {
            return vec![point.clone()];
        }
        FIGURES.map(|what| format!("{point}.{what}")).to_vec()
    };
    let time = std::iter::once("time".to_owned()).chain(has_dates.then(|| "date".to_owned()));
    let quality = (page.resolution == Resolution::Raw).then(|| TIME_QUALITY.to_owned());
    time.chain(page.series.iter().flat_map(of_series)).chain(quality).collect()
}

/// The column for how well a sample's time is known.
const TIME_QUALITY: &str = "time_quality";

/// How well the time of a sample is known; `None` if the answer does not say.
fn time_quality(page: &Telemetry, at: usize) -> Option<&'static str> {
    let stretches = page.unsure_times.as_ref()?;
    let holds = |(from, to, _): &&(u32, u32, UnsureTime)| {
        u32::try_from(at).is_ok_and(|at| (*from..*to).contains(&at))
    };
    Some(stretches.iter().find(holds).map_or("good", |(_, _, why)| why.as_str()))
}

fn write_rows(page: &Telemetry, times: &Times, out: &mut impl Write) -> anyhow::Result<()> {
    for (i, t_ms) in page.t_ms.iter().enumerate() {
        let (time, date) = times.write(*t_ms)?;
        write!(out, "{time}")?;
        if let Some(date) = date {
            write!(out, ",{date}")?;
        }
        for series in &page.series {
            let decimals = usize::from(series.decimals);
            let value = series.value.get(i).copied().flatten();
            if page.resolution == Resolution::Raw {
                number(out, value, decimals)?;
                continue;
            }
            number(out, value, decimals + MEAN_DECIMALS)?;
            for column in [&series.min, &series.max, &series.last] {
                let value = column.as_ref().and_then(|column| column.get(i).copied().flatten());
                number(out, value, decimals)?;
            }
            let count = series.count.as_ref().and_then(|column| column.get(i));
            write!(out, ",{}", count.copied().unwrap_or(0))?;
        }
        if page.resolution == Resolution::Raw {
            write!(out, ",{}", time_quality(page, i).unwrap_or_default())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn number(out: &mut impl Write, value: Option<f64>, decimals: usize) -> io::Result<()> {
    match value {
        Some(value) => write!(out, ",{value:.decimals$}"),
        None => write!(out, ","),
    }
}

fn write_objects(
    page: &Telemetry,
    times: &Times,
    is_first: &mut bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    for (i, t_ms) in page.t_ms.iter().enumerate() {
        let (time, date) = times.write(*t_ms)?;
        let mut row = Map::new();
        row.insert("time".into(), time.into());
        row.extend(date.map(|date| ("date".to_owned(), Value::from(date))));
        for series in &page.series {
            let value = series.value.get(i).copied().flatten();
            let of = |column: &Option<Vec<Option<f64>>>| {
                column.as_ref().and_then(|column| column.get(i).copied().flatten())
            };
            let reading = if page.resolution == Resolution::Raw {
                json!(value)
            } else {
                let count = series.count.as_ref().and_then(|column| column.get(i)).copied();
                json!({
                    "mean": value,
                    "min": of(&series.min),
                    "max": of(&series.max),
                    "last": of(&series.last),
                    "count": count.unwrap_or(0),
                })
            };
            row.insert(series.point.clone(), reading);
        }
        if let Some(quality) = time_quality(page, i) {
            row.insert(TIME_QUALITY.into(), quality.into());
        }
        write!(out, "{}", if *is_first { "[\n" } else { ",\n" })?;
        *is_first = false;
        serde_json::to_writer(&mut *out, &row)?;
    }
    Ok(())
}

fn energy(args: &EnergyArgs) -> anyhow::Result<()> {
    let energy = args
        .connection
        .client()?
        .list_energy(&args.device, args.from.as_deref(), args.to.as_deref())
        .context("fetching energy")?;
    if args.json {
        return print_json(&energy);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "date,energy_wh,source,gap_minutes")?;
    for day in &energy.days {
        let source = match day.source {
            EnergySource::Counter => "counter",
            EnergySource::Integrated => "integrated",
        };
        writeln!(out, "{},{},{source},{}", day.date, day.energy_wh, gap_minutes(day)?)?;
    }
    out.flush()?;
    if let Some(until) = &energy.gaps_listed_until {
        writeln!(
            io::stderr(),
            "note: too many gaps to list; gaps from {until} on are not counted"
        )?;
    }
    Ok(())
}

/// Minutes without readings, of all inverters.
fn gap_minutes(day: &EnergyDay) -> anyhow::Result<i64> {
    let mut seconds = 0;
    for gap in &day.gaps {
        let instant = |text: &str| {
            text.parse::<Timestamp>().with_context(|| format!("the server sent the time `{text}`"))
        };
        seconds += instant(&gap.to)?.as_second() - instant(&gap.from)?.as_second();
    }
    Ok(seconds / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Telemetry {
        let series = |point: &str, decimals, value| Series {
            point: point.into(),
            unit: "W".into(),
            decimals,
            value,
            min: None,
            max: None,
            last: None,
            count: None,
            not_good: None,
        };
        Telemetry {
            device: "dev-1".into(),
            inverter: 0,
            resolution: Resolution::Raw,
            from: String::new(),
            to: String::new(),
            t_ms: vec![0, 5_000],
            series: vec![
                series("ac.power", 0, vec![Some(12.0), None]),
                series("ac.frequency", 2, vec![Some(49.98), Some(50.0)]),
            ],
            unsure_times: Some(vec![(1, 2, UnsureTime::Estimated)]),
            removed_before: None,
            truncated: false,
            next_cursor: None,
        }
    }

    const UTC: Times = Times { zone: None, is_local: false, has_dates: false };

    #[test]
    fn missing_reading_is_an_empty_cell() {
        let page = page();
        let mut out = Vec::new();
        write_rows(&page, &UTC, &mut out).unwrap();
        assert_eq!(head(&page, false).join(","), "time,ac.power,ac.frequency,time_quality");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00.000Z,12,49.98,good\n1970-01-01T00:00:05.000Z,,50.00,estimated\n"
        );
    }

    #[test]
    fn objects_make_one_array() {
        let (mut out, mut is_first) = (Vec::new(), true);
        write_objects(&page(), &UTC, &mut is_first, &mut out).unwrap();
        write_objects(&page(), &UTC, &mut is_first, &mut out).unwrap();
        out.extend(b"\n]");
        let rows: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 4);
        assert_eq!(
            rows[1],
            json!({"time": "1970-01-01T00:00:05.000Z", "ac.power": null, "ac.frequency": 50.0, "time_quality": "estimated"})
        );
    }

    /// A day of 25 hours starts and ends at different offsets.
    #[test]
    fn days_and_times_are_those_of_the_site() {
        let zone = Some(TimeZone::get("Europe/Berlin").unwrap());
        let midnight = "2026-10-24T22:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        let times = Times { zone: zone.clone(), is_local: false, has_dates: true };
        assert_eq!(
            times.write(midnight).unwrap(),
            ("2026-10-24T22:00:00.000Z".into(), Some("2026-10-25".into()))
        );
        let times = Times { zone, is_local: true, has_dates: false };
        let hour = 3_600_000;
        let written = [0, 2, 3, 4].map(|hours| times.write(midnight + hours * hour).unwrap().0);
        assert_eq!(
            written,
            [
                "2026-10-25T00:00:00.000+02:00",
                "2026-10-25T02:00:00.000+02:00",
                "2026-10-25T02:00:00.000+01:00",
                "2026-10-25T03:00:00.000+01:00",
            ]
        );
    }
}

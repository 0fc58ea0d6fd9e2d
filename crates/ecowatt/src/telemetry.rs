//! `ecowatt telemetry export`: a device's history as CSV.

use std::io::{self, BufWriter, Write};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ecowatt_api::{Resolution, Series, Telemetry};
use ecowatt_client::TelemetryQuery;

use crate::operator::Connection;

/// Export history.
#[derive(Debug, Args)]
pub(crate) struct TelemetryArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a device's history to standard output as CSV.
    ///
    /// One line per instant. Raw readings have a column per point and an empty cell where there is
    /// no good reading; coarser resolutions have mean, min, max, last and count per point.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    connection: Connection,
    /// The device, such as dev-42.
    #[arg(long)]
    device: String,
    /// Which of its inverters, from 0.
    #[arg(long, default_value_t = 0)]
    inverter: u8,
    /// First instant (RFC 3339), or a date that stands for the site's midnight.
    #[arg(long)]
    from: String,
    /// End, itself not included; the present if not given.
    #[arg(long)]
    to: Option<String>,
    #[arg(long, value_enum, default_value_t = Step::Minute)]
    resolution: Step,
    /// Points such as ac.power,pv.1.voltage; all if not given.
    #[arg(long, value_delimiter = ',')]
    points: Vec<String>,
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

/// Does what the verb says.
///
/// # Errors
/// If the server refuses, cannot be reached, or standard output cannot be written.
pub(crate) fn run(args: &TelemetryArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Export(args) => export(args),
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let client = args.connection.client()?;
    let mut query = TelemetryQuery {
        from: Some(args.from.clone()),
        to: args.to.clone(),
        resolution: args.resolution.into(),
        points: args.points.clone(),
        inverter: args.inverter,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut columns: Option<Vec<String>> = None;
    loop {
        let page = client.list_telemetry(&args.device, &query).context("fetching telemetry")?;
        let head = head(&page);
        match &columns {
            None => {
                writeln!(out, "{}", head.join(","))?;
                columns = Some(head);
            }
            // A layout that changed between two pages would shift values under wrong names.
            Some(known) if *known == head => {}
            Some(_) => anyhow::bail!("the device's points change within the range; name --points"),
        }
        write_rows(&page, &mut out)?;
        let Some(last) = page.t_ms.last().filter(|_| page.truncated) else { break };
        // The end must stay what it was when the first page was asked for.
        query.to = Some(page.to.clone());
        query.from = Some(instant(last + 1)?);
    }
    out.flush()?;
    Ok(())
}

/// Decimals that a mean has beyond those of its readings.
const MEAN_DECIMALS: usize = 2;

fn head(page: &Telemetry) -> Vec<String> {
    let of_series = |series: &Series| -> Vec<String> {
        let point = &series.point;
        if page.resolution == Resolution::Raw {
            return vec![point.clone()];
        }
        ["mean", "min", "max", "last", "count"].map(|what| format!("{point}.{what}")).to_vec()
    };
    std::iter::once("time".into()).chain(page.series.iter().flat_map(of_series)).collect()
}

fn write_rows(page: &Telemetry, out: &mut impl Write) -> anyhow::Result<()> {
    for (i, t_ms) in page.t_ms.iter().enumerate() {
        write!(out, "{}", instant(*t_ms)?)?;
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

fn instant(t_ms: i64) -> anyhow::Result<String> {
    let instant =
        jiff::Timestamp::from_millisecond(t_ms).context("the server gave a strange time")?;
    Ok(format!("{instant:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_reading_is_an_empty_cell() {
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
        let page = Telemetry {
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
            truncated: false,
            next_cursor: None,
        };
        let mut out = Vec::new();
        write_rows(&page, &mut out).unwrap();
        assert_eq!(head(&page).join(","), "time,ac.power,ac.frequency");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00.000Z,12,49.98\n1970-01-01T00:00:05.000Z,,50.00\n"
        );
    }
}

//! The table of faults as text.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::kinds::Occasion;
use super::table::{FAULTS, OCCASIONS, Row, Rule};
use super::weights::{Weights, rule};
use crate::scenario::FaultLevel;

/// Returns the table of all faults in Markdown.
#[must_use]
pub fn table() -> String {
    let (low, high) = (Weights::of(FaultLevel::Low, 0), Weights::of(FaultLevel::High, 0));
    let mut text = line(["fault", "low", "high", "lasts", "what happens"]);
    text += "|---|--:|--:|--:|---|\n";
    for draw in &OCCASIONS {
        let how = match draw.rule {
            Rule::Every { .. } => "one of these, after a random time",
            Rule::One => "one of these",
            Rule::Each => "each of these by chance",
        };
        let often = [&low, &high].map(|weights| frequency(weights, draw.occasion));
        text += &line([&format!("**{}**", draw.name), &often[0], &often[1], "", how]);
        for row in FAULTS.iter().filter(|row| row.fault.occasion() == draw.occasion) {
            let shares = [&low, &high].map(|weights| share(weights, row));
            let lasts = if row.lasts_s == 0 { String::new() } else { span(row.lasts_s * 1_000) };
            text += &line([row.name, &shares[0], &shares[1], &lasts, row.effect]);
        }
    }
    text
}

/// The weights as rows of a report: what, and how often.
pub(crate) fn rows(weights: &Weights) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for draw in &OCCASIONS {
        rows.push((draw.name.to_owned(), frequency(weights, draw.occasion)));
        let its = FAULTS.iter().filter(|row| row.fault.occasion() == draw.occasion);
        rows.extend(its.map(|row| (format!("  {}", row.name), share(weights, row))));
    }
    rows
}

impl Serialize for Weights {
    /// Writes an object for each occasion: how often it comes, and how likely its faults are.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(OCCASIONS.iter().map(|draw| {
            let its = FAULTS.iter().filter(|row| row.fault.occasion() == draw.occasion);
            let often = Some(frequency(self, draw.occasion)).filter(|often| !often.is_empty());
            let often = often.map(|often| ("comes", often));
            let shares = its.map(|row| (row.name, share(self, row)));
            (draw.name, often.into_iter().chain(shares).collect::<BTreeMap<_, _>>())
        }))
    }
}

/// Formats a line of a table.
fn line(cells: [&str; 5]) -> String {
    let cells =
        cells.map(|cell| if cell.is_empty() { " ".to_owned() } else { format!(" {cell} ") });
    format!("|{}|\n", cells.join("|"))
}

/// Returns how often an occasion comes; nothing if it comes by itself.
fn frequency(weights: &Weights, occasion: Occasion) -> String {
    match (rule(occasion), weights.mean_ms(occasion)) {
        (Rule::Every { .. }, 0) => "never".to_owned(),
        (Rule::Every { .. }, mean_ms) => format!("every {}", span(mean_ms)),
        (Rule::One | Rule::Each, _) => String::new(),
    }
}

/// Returns how likely a fault is at its occasion.
fn share(weights: &Weights, row: &Row) -> String {
    let (occasion, weight) = (row.fault.occasion(), weights.of_fault(row.fault));
    match rule(occasion) {
        Rule::Each => percent(weight),
        Rule::Every { .. } | Rule::One => format!("{weight} of {}", weights.total(occasion)),
    }
}

/// Formats millionths as percent.
fn percent(millionths: u32) -> String {
    let (whole, rest) = (millionths / 10_000, millionths % 10_000);
    let text = format!("{whole}.{rest:04}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Formats a time in the largest unit that has no remainder.
fn span(ms: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let fitting = units.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit));
    fitting.map_or_else(|| format!("{ms} ms"), |(unit, name)| format!("{} {name}", ms / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_and_times_are_short() {
        let chances = [50, 500, 20_000, 1_000_000].map(percent);
        assert_eq!(chances, ["0.005 %", "0.05 %", "2 %", "100 %"]);
        assert_eq!([172_800_000, 1_800_000, 6_000_000].map(span), ["48 h", "30 min", "100 min"]);
    }
}

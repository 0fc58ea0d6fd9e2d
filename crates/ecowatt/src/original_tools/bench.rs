//! Compares the compression of the earlier EcoWatt's devices with ours.

use std::path::PathBuf;

use clap::Args;
use ecowatt_clock::Clock;

use crate::codec::{bench, samples};

/// Print how many bytes each method of the earlier EcoWatt's devices takes for files of samples,
/// how much of it arrives exactly, and what our codec takes.
///
/// The methods are those of the firmware, byte for byte: `smart` is what a device sends, the
/// shortest of `dictionary`, `temporal`, `semantic` and `bitpack`. A packet holds at most 50
/// samples. "exact" is the share of values that a server can restore as the device read them: the
/// semantic form loses values, and the device's uploader cuts packets off after 189 bytes. "raw" is
/// two bytes per register value.
///
/// Example:
///   ecowatt original bench --samples 3,7 testdata/pv/d2_midc_boulder_20181014.csv
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct BenchArgs {
    /// Samples in a packet; several sizes separated by commas. A device that reads every 5 s and
    /// uploads every 15 s has 3.
    #[arg(
        long, value_name = "N,…", default_value = "3,7,25", value_delimiter = ',',
        value_parser = samples
    )]
    samples: Vec<usize>,
    /// Print one JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
    /// CSV files: `t` in Unix seconds, then one to ten registers, from register 0 on.
    #[arg(value_name = "IN.csv", required = true)]
    inputs: Vec<PathBuf>,
}

/// Prints the comparison.
///
/// # Errors
/// If a file cannot be read or has more registers than the original's devices.
pub(super) fn run(args: &BenchArgs, clock: Clock) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let methods = bench::Methods::WithOriginal;
    bench::run(&args.inputs, &args.samples, methods, args.json, clock, &mut stdout)
}

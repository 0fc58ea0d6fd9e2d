//! `ecowatt codec`: CSV of samples ↔ bytes, and a comparison of the size with other codecs.
//!
//! The CSV is strict so that decoding reproduces the encoded file exactly: a header `t,NAME,…`,
//! then per line Unix seconds and one number from 0 to 65,535 for each register, without plus sign
//! or leading zeros, ended by `\n`.

pub(crate) mod bench;
mod container;
mod csv;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ecowatt_model::ROWS_MAX;

/// Encode CSV files of samples, decode them, or compare codecs on them.
#[derive(Debug, clap::Args)]
pub(crate) struct CodecArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Encode a CSV file (`t` in Unix seconds, then registers) in batches of N samples.
    Encode {
        /// Samples in a batch; each batch can be decoded alone.
        #[arg(long, value_name = "N", default_value_t = 180, value_parser = samples)]
        samples: usize,
        #[arg(value_name = "IN.csv")]
        input: PathBuf,
        #[arg(value_name = "OUT")]
        output: PathBuf,
    },
    /// Decode a file written by `encode` into the same CSV, byte for byte.
    Decode {
        #[arg(value_name = "IN")]
        input: PathBuf,
        #[arg(value_name = "OUT.csv")]
        output: PathBuf,
    },
    /// Print how many bytes each codec takes for these files, and how fast ours is.
    ///
    /// "raw" is two bytes per register value. "ecowatt" includes times and headers; the other
    /// codecs do not.
    Bench {
        /// Samples in a batch; several sizes separated by commas.
        #[arg(
            long, value_name = "N,…", default_value = "7,25,180", value_delimiter = ',',
            value_parser = samples
        )]
        samples: Vec<usize>,
        /// Print one JSON object per line instead of a table.
        #[arg(long)]
        json: bool,
        #[arg(value_name = "IN.csv", required = true)]
        inputs: Vec<PathBuf>,
    },
}

pub(crate) fn samples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(samples) if (1..=ROWS_MAX).contains(&samples) => Ok(samples),
        _ => Err(format!("a batch holds 1 to {ROWS_MAX} samples")),
    }
}

/// Runs one of the codec's commands.
pub(crate) fn run(args: CodecArgs) -> anyhow::Result<()> {
    match args.command {
        Command::Encode { samples, input, output } => convert(&input, &output, |reader, writer| {
            let mut csv = csv::Reader::new(reader)?;
            container::encode(&mut csv, samples, writer)
        }),
        Command::Decode { input, output } => convert(&input, &output, container::decode),
        Command::Bench { samples, json, inputs } => {
            let clock = ecowatt_clock::Clock::system();
            let mut stdout = std::io::stdout().lock();
            bench::run(&inputs, &samples, bench::Methods::Ours, json, clock, &mut stdout)
        }
    }
}

/// Converts one file into another; a failure leaves no output behind.
fn convert(
    input: &Path,
    output: &Path,
    body: impl FnOnce(BufReader<File>, &mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let reader = open(input)?;
    let file = File::create(output).with_context(|| format!("creating {}", output.display()))?;
    let mut writer = BufWriter::new(file);
    let converted = body(reader, &mut writer)
        .with_context(|| format!("converting {}", input.display()))
        .and_then(|()| writer.flush().with_context(|| format!("writing {}", output.display())));
    if converted.is_err() {
        // Half a file; a failure to remove it would add nothing to the error.
        drop(std::fs::remove_file(output));
    }
    converted
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(BufReader::new(file))
}

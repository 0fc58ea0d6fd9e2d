//! `ecowatt original`: what the scripts of the earlier EcoWatt did for its devices.

mod bench;
mod fault;
mod firmware;
mod key_files;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ecowatt_clock::Clock;

/// Tools for devices of the earlier EcoWatt: keys, firmware images, a comparison of codecs, and
/// faults of simulated inverters.
///
/// These devices are enrolled with `ecowatt device enrol ID --original` and from then on are
/// devices like all others. What is special about them is here.
#[derive(Debug, Args)]
pub(crate) struct OriginalToolsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Keys(key_files::KeysArgs),
    DeviceKey(key_files::DeviceKeyArgs),
    Firmware(firmware::FirmwareArgs),
    Bench(bench::BenchArgs),
    Fault(fault::FaultArgs),
}

/// Carries out a verb.
///
/// # Errors
/// See the verbs.
pub(crate) fn run(args: OriginalToolsArgs, clock: Clock) -> anyhow::Result<()> {
    match args.verb {
        Verb::Keys(args) => key_files::run(&args),
        Verb::DeviceKey(args) => key_files::print_device_key(&args),
        Verb::Firmware(args) => firmware::run(&args, clock),
        Verb::Fault(args) => fault::run(&args),
        Verb::Bench(args) => bench::run(&args, clock),
    }
}

/// Creates a file that did not exist, readable for its owner only if it is secret.
fn create(path: &Path, bytes: &[u8], is_secret: bool) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(if is_secret { 0o600 } else { 0o644 });
    let write = |mut file: std::fs::File| {
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    };
    options.open(path).and_then(write).with_context(|| format!("creating {}", path.display()))
}

/// Fails if one of these files exists, so that nothing is written beside an older half.
fn refuse_existing(paths: &[PathBuf]) -> anyhow::Result<()> {
    match paths.iter().find(|path| path.exists()) {
        Some(path) => anyhow::bail!("{} exists already and is not overwritten", path.display()),
        None => Ok(()),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

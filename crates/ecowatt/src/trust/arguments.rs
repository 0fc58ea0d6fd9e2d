//! The arguments of `ecowatt trust`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::argument;

/// Make and check the documents that say which images count: root, targets and timestamp.
///
/// All of it works without a server (`docs/firmware.md`).
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Write a root: the keys of all roles, and how many of them must sign.
    Root(RootArgs),
    /// Write targets: the manifests that may be installed.
    Targets(TargetsArgs),
    /// Write a timestamp, which names the newest targets.
    Timestamp(TimestampArgs),
    /// Add a signature to a document, on the machine of another key.
    Cosign(CosignArgs),
    /// Check documents, and manifests, as a device does.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct RootArgs {
    /// Its number: 1, then one more for each root.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) number: u32,
    /// A root key; may be repeated.
    #[arg(long = "root-key", value_name = "FILE.pub", required = true)]
    pub(super) root_keys: Vec<PathBuf>,
    /// How many root keys must sign the next root.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) root_threshold: u8,
    /// A targets key; may be repeated.
    #[arg(long = "targets-key", value_name = "FILE.pub", required = true)]
    pub(super) targets_keys: Vec<PathBuf>,
    /// How many targets keys must sign targets.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) targets_threshold: u8,
    /// A timestamp key; may be repeated.
    #[arg(long = "timestamp-key", value_name = "FILE.pub", required = true)]
    pub(super) timestamp_keys: Vec<PathBuf>,
    /// How many timestamp keys must sign timestamps.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) timestamp_threshold: u8,
    /// How long the root counts.
    #[arg(long, value_name = "DURATION", value_parser = argument::duration, default_value = "365d")]
    pub(super) valid_for: Duration,
    /// A secret root key to sign with, also one of the root before; may be repeated.
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub(super) keys: Vec<PathBuf>,
    /// Where to write the root.
    #[arg(short, long, value_name = "ROOT")]
    pub(super) output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TargetsArgs {
    /// The manifests; none to take all images back.
    pub(super) manifests: Vec<PathBuf>,
    /// Its number, higher than that of the targets before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) number: u32,
    /// How long the targets count: the longest that a stolen server can hide newer ones.
    #[arg(long, value_name = "DURATION", value_parser = argument::duration, default_value = "30d")]
    pub(super) valid_for: Duration,
    /// A secret targets key to sign with; may be repeated.
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub(super) keys: Vec<PathBuf>,
    /// Where to write the targets.
    #[arg(short, long, value_name = "TARGETS")]
    pub(super) output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TimestampArgs {
    /// The newest targets, with all their signatures.
    pub(super) targets: PathBuf,
    /// Its number, higher than that of the timestamp before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) number: u32,
    /// How long the timestamp counts: the longest that newer targets can be hidden on the way.
    #[arg(long, value_name = "DURATION", value_parser = argument::duration, default_value = "2d")]
    pub(super) valid_for: Duration,
    /// A secret timestamp key to sign with; may be repeated.
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub(super) keys: Vec<PathBuf>,
    /// Where to write the timestamp.
    #[arg(short, long, value_name = "TIMESTAMP")]
    pub(super) output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct CosignArgs {
    /// The document.
    pub(super) document: PathBuf,
    /// The secret key; its kind must be the document's.
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// Where to write the document [default: in place of the old one].
    #[arg(short, long, value_name = "DOCUMENT")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Manifests that must be among the targets.
    pub(super) manifests: Vec<PathBuf>,
    /// The root that a device was built with, then each that follows it.
    #[arg(long = "root", value_name = "ROOT", required = true)]
    pub(super) roots: Vec<PathBuf>,
    /// The targets.
    #[arg(long, value_name = "TARGETS")]
    pub(super) targets: PathBuf,
    /// The timestamp.
    #[arg(long, value_name = "TIMESTAMP")]
    pub(super) timestamp: PathBuf,
}

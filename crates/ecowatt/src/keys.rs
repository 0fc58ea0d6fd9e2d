//! `ecowatt keys`: the keys of devices, and keys that sign images.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ecowatt_api::LinkState;
use ecowatt_envelope::signed::SignatureKey;
use serde::Serialize;

use crate::key_file::{self, KeyKind};
use crate::operator::Connection;
use crate::table::print_json;

/// Show and revoke the keys of devices; generate keys that sign images.
///
/// To rotate one, enrol the device again: `ecowatt device enrol --device dev-42` creates a claim
/// code; redeeming it replaces the key.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the generation of the key that a device last used, and whether it is revoked.
    Show {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke all keys of a device: its messages are rejected until it is enrolled again.
    Revoke {
        #[command(flatten)]
        connection: Connection,
        /// The device, such as dev-42.
        device: String,
    },
    /// Generate a key for signing, without a server: FILE gets the secret half, which only its owner
    /// may read, and FILE.pub the public half.
    Generate {
        /// What the key is for.
        #[arg(long)]
        kind: KeyKind,
        /// Where to write the secret half; neither file may exist.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// A device's key in JSON.
#[derive(Debug, Serialize)]
struct Shown<'a, G> {
    device: &'a str,
    /// The generation that it last used; `None` before its first message.
    generation: Option<G>,
    revoked: Option<String>,
}

/// Carries out a verb.
///
/// # Errors
/// If the server cannot be reached or refuses.
pub(crate) fn run(args: &KeysArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Show { connection, device, json } => {
            let link = connection.client()?.find_device(device).context("finding the device")?.link;
            if *json {
                // Generations begin at 1.
                let generation = Some(link.key_generation).filter(|generation| *generation != 0);
                return print_json(&Shown { device, generation, revoked: link.key_revoked });
            }
            writeln!(io::stdout(), "{device} key generation {}", generation(&link))?;
        }
        Verb::Generate { kind, output } => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).context("drawing a random key")?;
            let key = SignatureKey::new(&seed);
            let public = key_file::create(output, *kind, &key)?;
            let (id, kind) = (key.public().id(), kind.as_str());
            writeln!(
                io::stderr(),
                "{kind} key {id}: {} is secret, {} is for everyone who checks",
                output.display(),
                public.display()
            )?;
        }
        Verb::Revoke { connection, device } => {
            connection.client()?.revoke_keys(device).context("revoking its keys")?;
            writeln!(
                io::stderr(),
                "keys of {device} revoked; its messages are rejected until it is enrolled again: \
                 `ecowatt device enrol --device {device}`"
            )?;
        }
    }
    Ok(())
}

/// The generation of a device's key, and whether it is revoked.
pub(crate) fn generation(link: &LinkState) -> String {
    let generation = match link.key_generation {
        0 => "- (no message yet)".to_owned(),
        generation => generation.to_string(),
    };
    match &link.key_revoked {
        None => generation,
        Some(at) => format!("{generation}, revoked at {at}"),
    }
}

//! What a sample costs on the disk: bytes that are kept, and bytes that are written.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ecowatt_model::UnixMs;
use ecowatt_store::{Kind, Store};

use super::{Sender, Sent, Server, row};
use crate::devices::Devices;
use crate::load::send;
use crate::process::Program;
use crate::pv_days::Day;

/// Devices that send a whole day each.
const DEVICES: u32 = 8;
/// Connections that they share.
const CONNECTIONS: usize = 8;
/// Uploads a second at which what is written is counted, and for how long: a fleet at its ease.
const CALM_RATE: u32 = 200;
const CALM_SECONDS: u32 = 20;

/// A day of samples each 5 s, sent in small batches and in large ones, before and after the server has
/// packed it. The server's own reconciler runs hours after a day's end; this does the same at once.
pub(super) fn kept(
    runtime: &tokio::runtime::Runtime,
    program: &Program,
    folder: &Path,
    day: &Day,
) -> Result<()> {
    for rows in [7, 180] {
        let folder = folder.join(format!("disk-{rows}"));
        std::fs::create_dir_all(&folder)?;
        let fleet = runtime.block_on(Devices::create(&folder.join("server"), DEVICES))?;
        let mut server = Server::start(program, &folder)?;
        runtime.block_on(fleet.announce(&server.listen))?;
        let sender = Sender { fleet: &fleet, day, rows, connections: CONNECTIONS };
        let each = day.rows.len() / rows;
        let messages = sender.messages(u32::try_from(each)? * DEVICES, &mut Sent::default())?;
        runtime.block_on(send(&server.listen, messages, None))?;
        server.process.stop(Duration::from_secs(20))?;

        let store = Store::open(&folder.join("server")).context("opening the store")?;
        say(&runtime.block_on(store.report())?, &format!("{rows} × 10, as it came"), ["", ""]);
        let all = ecowatt_server::packing::pack_all(&store, UnixMs(i64::MAX), Duration::ZERO);
        runtime.block_on(all)?;
        let packed = runtime.block_on(store.report())?;
        say(&packed, &format!("{rows} × 10, packed"), ["≤ 4", "≤ 1.9"]);
    }
    Ok(())
}

fn say(report: &ecowatt_store::StoreReport, what: &str, [all, samples]: [&str; 2]) {
    let of = |wanted: &[Kind]| {
        let kinds = report.kinds.iter().filter(|of| wanted.contains(&of.kind));
        let bytes: u64 = kinds.map(|of| of.bytes).sum();
        format!("{:.2}", bytes as f64 / report.samples.max(1) as f64)
    };
    row(&format!("bytes on disk per sample, {what}"), &of(&Kind::ALL), all);
    row("  of which samples", &of(&[Kind::Samples]), samples);
    row("  of which minutes", &of(&[Kind::Minutes]), "");
    row("  of which quarter hours", &of(&[Kind::Quarters]), "");
    row("  of which energy's edges", &of(&[Kind::Energy]), "");
}

/// What a server writes while few messages share a commit.
pub(super) fn written(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    sender: &Sender<'_>,
    sent: &mut Sent,
) -> Result<()> {
    let messages = sender.messages(CALM_RATE * CALM_SECONDS, sent)?;
    let before = server.process.written()?;
    let run = runtime.block_on(send(&server.listen, messages, Some(CALM_RATE.into())))?;
    let bytes = server.process.written()?.saturating_sub(before);
    let samples = run.accepted * u64::try_from(sender.rows)?;
    let each = bytes as f64 / samples.max(1) as f64;
    row("bytes written per sample, 7 × 10, 200 uploads/s", &format!("{each:.0}"), "≤ 100");
    Ok(())
}

//! SIGKILL at any moment: what was acknowledged is stored once, and nothing is stored partly.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ecowatt_model::{DeviceNumber, KeyGeneration};
use ecowatt_store::{DateRange, EnergyFigure, LocalDate, PointId, Store, UploadOutcome};

use crate::configuration::reported;
use crate::fixture::{
    GENERATION, SOURCE, announce, block, enrol, runtime, samples, upload, utc_date,
};

const DEVICES: u32 = 6;
const KILLS: usize = 6;
const FOLDER: &str = "ECOWATT_TEST_CRASH_FOLDER";

/// Not a test of its own: the process killed by [`nothing_acknowledged_is_lost_or_doubled`].
#[test]
fn child_stores_until_it_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    runtime().block_on(async {
        let store = Store::open(&dir).unwrap();
        let out = Arc::new(std::sync::Mutex::new(std::io::stdout()));
        let mut tasks = Vec::new();
        for device in (1..=DEVICES).map(DeviceNumber) {
            let (store, out) = (store.clone(), Arc::clone(&out));
            tasks.push(tokio::spawn(async move {
                let points: Vec<PointId> =
                    store.list_points(device, SOURCE).await.unwrap().iter().map(|p| p.id).collect();
                let key = store.find_key(device, GENERATION).await.unwrap().unwrap();
                // Only the store knows how far the killed predecessor came; sending its last
                // batches again must store nothing twice.
                let last = u32::try_from(key.counter.0).unwrap();
                let mut sequence = last.saturating_sub(3);
                for counter in key.counter.0 + 1.. {
                    sequence += 1;
                    let blocks = [sequence, sequence + 1]
                        .map(|s| block(&points, (1, s), &samples(i64::from(s) * 35, 7), utc_date));
                    let mut message = upload(device, counter, blocks.into());
                    message.reported.config = Some(reported(u32::try_from(counter).unwrap()));
                    let outcome = store.ingest(message).await;
                    let UploadOutcome::Stored(_) = outcome.unwrap() else { panic!("not stored") };
                    let mut out = out.lock().unwrap();
                    writeln!(out, "stored {} {counter} {sequence}", device.0).unwrap();
                    out.flush().unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn prepare(dir: &Path) {
    let store = Store::open(dir).unwrap();
    for number in 1..=DEVICES {
        let device = enrol(&store, &format!("device {number}")).await;
        announce(&store, device).await;
    }
}

async fn check(dir: &Path, acknowledged: &BTreeMap<u32, (u64, BTreeSet<u32>)>) {
    let store = Store::open(dir).unwrap();
    for (number, (counter, sequences)) in acknowledged {
        let device = DeviceNumber(*number);
        let key = store.find_key(device, KeyGeneration(1)).await.unwrap().unwrap();
        assert!(key.counter.0 >= *counter);
        // Each message reports the generation of its own counter.
        let report = store.find_config(device).await.unwrap().report.unwrap();
        assert_eq!(u64::from(report.reported.generation.0), key.counter.0);
        let batches = store.list_batches(device).await.unwrap();
        let held: BTreeSet<u32> = batches.iter().map(|batch| batch.id.sequence.0).collect();
        assert_eq!(held.len(), batches.len(), "a batch is stored twice");
        assert!(held.is_superset(sequences), "an acknowledged batch is lost");

        // The rest of the transaction is stored as well, no more and no less.
        let rows: u64 = batches.iter().map(|batch| u64::from(batch.rows)).sum();
        let link = store.find_device(device).await.unwrap().unwrap().link;
        assert_eq!((link.samples, link.messages), (rows, key.counter.0));
        let points: Vec<PointId> =
            store.list_points(device, SOURCE).await.unwrap().iter().map(|p| p.id).collect();
        let dates = DateRange { from: LocalDate(0), to: LocalDate(i32::MAX) };
        let days = store.days(device, SOURCE, dates, points[..1].to_vec()).await.unwrap();
        let counted: u64 =
            days.iter().filter_map(|d| d.aggregates[0]).map(|a| u64::from(a.count)).sum();
        assert_eq!(counted, rows);
        let energy = store.energy_days(device, dates).await.unwrap();
        let mwh: i64 = energy.iter().filter_map(|day| day.energy.mwh()).sum();
        let span = i64::try_from(rows).unwrap() * 5 - 5;
        assert_eq!(mwh, span * 1000, "a watt-hour a second: {:?}", energy.first());
        assert!(
            energy
                .iter()
                .all(|day| matches!(day.energy, EnergyFigure::Counter { refused_steps: 0, .. }))
        );
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(prepare(dir.path()));
    let mut acknowledged = BTreeMap::<u32, (u64, BTreeSet<u32>)>::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_stores_until_it_is_killed", "--exact", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The moment varies from kill to kill by the number of acknowledgements seen before it;
        // those that the child sent until it ended count as well.
        let (mut seen, enough) = (0, 40 + kill * 97);
        for line in lines {
            let line = line.unwrap();
            let Some(numbers) = line.strip_prefix("stored ") else { continue };
            let numbers: Vec<u32> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
            let (counter, sequences) = acknowledged.entry(numbers[0]).or_default();
            *counter = u64::from(numbers[1]);
            sequences.extend([numbers[2], numbers[2] + 1]);
            seen += 1;
            if seen == enough {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        assert!(seen >= enough, "the child ended by itself after {seen} acknowledgements");
        runtime().block_on(check(dir.path(), &acknowledged));
    }
}

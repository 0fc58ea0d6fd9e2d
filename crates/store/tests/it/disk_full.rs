//! A full disk: a clear error, nothing stored partly, and normal work once there is space.

use std::path::Path;
use std::process::Command;

use ecowatt_store::{DateRange, LocalDate, Store, StoreError, UploadOutcome};

use crate::fixture::{GENERATION, SOURCE, announce, block, enrol, samples, upload, utc_date};

/// A file system of a few MiB, unmounted on drop.
pub(crate) struct Small(tempfile::TempDir);

impl Small {
    pub(crate) fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "ecowatt-test"])
            .arg(dir.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn writer_survives_a_full_disk() {
    let Some(disk) = Small::mount() else {
        eprintln!("SKIPPED writer_survives_a_full_disk: mounting a tmpfs needs root");
        return;
    };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1_200_000]).unwrap();
    let folder = disk.path().join("store");
    let store = Store::open(&folder).unwrap();
    let device = enrol(&store, "a").await;
    let points = announce(&store, device).await;
    let message = |counter: u64| {
        let sequence = u32::try_from(counter).unwrap();
        let samples = samples(i64::from(sequence) * 35, 7);
        let mut block = block(&points, (1, sequence), &samples, utc_date);
        block.bytes = vec![7; 20_000];
        upload(device, counter, vec![block])
    };
    let mut stored = 0;
    let failure = loop {
        match store.ingest(message(stored + 1)).await {
            Ok(outcome) => assert!(matches!(outcome, UploadOutcome::Stored(_)), "{outcome:?}"),
            Err(failure) => break failure,
        }
        stored += 1;
        assert!(stored < 1000, "the disk does not fill");
    };
    assert!(matches!(failure, StoreError::Full | StoreError::Io(_)), "{failure:?}");
    assert!(failure.is_transient());
    // Reading still works, and shows nothing of the failed upload.
    assert_eq!(store.list_batches(device).await.unwrap().len(), usize::try_from(stored).unwrap());
    assert_eq!(store.find_key(device, GENERATION).await.unwrap().unwrap().counter.0, stored);
    assert!(store.ingest(message(stored + 1)).await.is_err());

    std::fs::remove_file(&ballast).unwrap();
    for counter in stored + 1..stored + 11 {
        let outcome = store.ingest(message(counter)).await.unwrap();
        assert!(matches!(outcome, UploadOutcome::Stored(_)), "{outcome:?}");
    }
    let days = DateRange { from: LocalDate(0), to: LocalDate(i32::MAX) };
    let day = &store.days(device, SOURCE, days, points.clone()).await.unwrap()[0];
    assert_eq!(u64::from(day.aggregates[0].unwrap().count), (stored + 10) * 7);
    drop(store);
    let store = Store::open(&folder).unwrap();
    let batches = store.list_batches(device).await.unwrap().len();
    assert_eq!(u64::try_from(batches).unwrap(), stored + 10);
}

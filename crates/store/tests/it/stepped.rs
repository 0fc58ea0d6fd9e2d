//! The store without threads: it works only when called, and otherwise behaves the same.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use ecowatt_model::DeviceNumber;
use ecowatt_store::limits::{GROUP_MAX, WRITE_QUEUE_MAX};
use ecowatt_store::{NewBlock, OpenError, Stepper, Store, StoreError, UploadOutcome};

use crate::fixture::{Fixture, SOURCE, announce, block, by, enrol, samples, upload, utc_date};

/// SQLite's own VFS.
const VFS: &str = "unix";

type Asked<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>>>>;

fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Commits until the future is ready.
fn done<T>(stepper: &Stepper, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..100 {
        if let Some(value) = poll(future.as_mut()) {
            return value;
        }
        stepper.commit();
    }
    panic!("the future waits for something other than a commit");
}

fn open(dir: &Path) -> (Store, Stepper, DeviceNumber) {
    let (store, stepper) = Store::open_stepped(&dir.join("ecowatt.db"), VFS).unwrap();
    let device = done(&stepper, enrol(&store, "a"));
    done(&stepper, announce(&store, device));
    (store, stepper, device)
}

/// A block that may be stored without its layout's points.
fn plain(sequence: u32) -> NewBlock {
    block(&[], (1, sequence), &samples(i64::from(sequence % 7000) * 5, 0), utc_date)
}

fn ask(store: &Store, device: DeviceNumber, counter: u32) -> Asked<UploadOutcome> {
    let store = store.clone();
    let message = upload(device, u64::from(counter), vec![plain(counter)]);
    let mut asked: Asked<UploadOutcome> = Box::pin(async move { store.ingest(message).await });
    assert!(poll(asked.as_mut()).is_none(), "answered before the commit");
    asked
}

#[test]
fn nothing_is_done_before_the_commit_and_everything_of_a_group_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, stepper, device) = open(dir.path());
    assert_eq!((stepper.queued(), stepper.commit()), (0, 0));
    let count = u32::try_from(GROUP_MAX + 10).unwrap();
    let mut asked: Vec<_> = (1..=count).map(|counter| ask(&store, device, counter)).collect();
    assert_eq!(stepper.queued(), GROUP_MAX + 10);
    let batches = || poll(pin!(store.list_batches(device))).unwrap().unwrap().len();
    assert_eq!(batches(), 0);
    assert_eq!(stepper.commit(), GROUP_MAX);
    assert_eq!((stepper.queued(), batches()), (10, GROUP_MAX));
    let mut later = asked.split_off(GROUP_MAX);
    for asked in &mut asked {
        assert!(matches!(poll(asked.as_mut()), Some(Ok(UploadOutcome::Stored(_)))));
    }
    assert!(later.iter_mut().all(|asked| poll(asked.as_mut()).is_none()));
    assert_eq!(stepper.commit(), 10);
    assert!(later.iter_mut().all(|asked| poll(asked.as_mut()).is_some()));
    let counts = poll(pin!(store.counts())).unwrap().unwrap();
    assert_eq!(batches(), count.try_into().unwrap());
    assert!(counts.database_bytes > 4096, "{counts:?}");
}

#[test]
fn full_queue_refuses_and_what_is_queued_at_the_end_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, stepper, device) = open(dir.path());
    let count = u32::try_from(WRITE_QUEUE_MAX).unwrap();
    let asked: Vec<_> = (1..=count).map(|counter| ask(&store, device, counter)).collect();
    let one_more = upload(device, u64::from(count) + 1, Vec::new());
    assert!(matches!(poll(pin!(store.ingest(one_more))), Some(Err(StoreError::Busy))));
    drop(asked);
    assert_eq!(stepper.commit(), GROUP_MAX, "also if no caller waits for the answer");

    // Only the store's own future may be alive, without a clone that keeps the store open.
    let message = upload(device, u64::from(count) + 1, Vec::new());
    let token = store.create_token(
        by(),
        ecowatt_store::NewToken {
            name: "late".into(),
            role: ecowatt_store::Role::Owner,
            hash: [1; 32],
            created: message.received_at,
            expires: None,
        },
    );
    let mut token = Box::pin(token);
    assert!(poll(token.as_mut()).is_none());
    drop(token);
    drop((store, stepper));
    let (store, _stepper) = Store::open_stepped(&dir.path().join("ecowatt.db"), VFS).unwrap();
    assert_eq!(poll(pin!(store.list_batches(device))).unwrap().unwrap().len(), GROUP_MAX);
    assert!(poll(pin!(store.list_tokens())).unwrap().unwrap().is_empty());
}

#[test]
fn file_is_one_stores_alone_and_any_stores_to_read_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ecowatt.db");
    let (store, stepper, device) = open(dir.path());
    let mut asked = ask(&store, device, 1);
    stepper.commit();
    assert!(poll(asked.as_mut()).is_some());
    drop(asked);
    drop((store, stepper));
    assert!(!dir.path().join("ecowatt.db-wal").exists(), "closed cleanly");
    let (store, stepper) = Store::open_stepped(&path, VFS).unwrap();
    assert_eq!(poll(pin!(store.list_batches(device))).unwrap().unwrap().len(), 1);
    drop((store, stepper));
    assert!(matches!(Store::open_stepped(&path, "no such VFS"), Err(OpenError::Database { .. })));
    let store = Store::open(dir.path()).unwrap();
    let runtime = crate::fixture::runtime();
    assert_eq!(runtime.block_on(store.list_batches(device)).unwrap().len(), 1);
}

#[tokio::test]
async fn all_blocks_of_an_inverter_are_read_page_by_page() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    // More than a page; many begin at the same instant.
    let count = ecowatt_store::limits::BLOCKS_PER_QUERY_MAX + 1000;
    let sequences: Vec<u32> = (1..=count).collect();
    for (counter, sequences) in (1..).zip(sequences.chunks(1000)) {
        let blocks = sequences.iter().map(|sequence| plain(*sequence)).collect();
        fixture.stored(upload(device, counter, blocks)).await;
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.store.list_blocks(device, SOURCE, after).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.first, last.id));
        found.extend(page);
    }
    assert_eq!(found.len(), sequences.len());
    assert!(found.is_sorted_by_key(|block| (block.first, block.id)));
    for block in &found {
        assert_eq!(block.bytes, block.id.sequence.0.to_be_bytes());
    }
    found.dedup_by_key(|block| block.id);
    assert_eq!(found.len(), sequences.len());
}

//! More requests than the store can handle: the excess is refused at once, and nothing acknowledged
//! is lost.

use std::sync::Arc;

use ecowatt_store::limits::{GROUP_MAX, WRITE_QUEUE_MAX};
use ecowatt_store::{StoreError, UploadOutcome};

use crate::fixture::{Fixture, samples, upload};

#[tokio::test]
async fn full_queue_refuses_and_the_rest_is_stored() {
    let fixture = Arc::new(Fixture::new().await);
    let device = fixture.device();
    // Another process holds the write lock, so the server's writes wait.
    let other = rusqlite::Connection::open(fixture.dir.path().join("ecowatt.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let count = WRITE_QUEUE_MAX + GROUP_MAX + 100;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 1..=count {
        let fixture = Arc::clone(&fixture);
        let sequence = u32::try_from(n).unwrap();
        let batches = vec![fixture.block(1, sequence, &samples(i64::from(sequence) * 5, 1))];
        let message = upload(device, u64::from(sequence), batches);
        tasks.spawn(async move { fixture.store.ingest(message).await });
    }
    let mut refused = 0;
    let mut stored = 0;
    let mut is_held = true;
    while let Some(answer) = tasks.join_next().await {
        match answer.unwrap() {
            Ok(UploadOutcome::Stored(_)) => stored += 1,
            Err(StoreError::Busy) => refused += 1,
            unexpected => panic!("{unexpected:?}"),
        }
        if is_held && refused >= 100 {
            other.execute_batch("COMMIT").unwrap();
            is_held = false;
        }
    }
    assert!(refused >= 100, "{refused}");
    assert_eq!(stored + refused, count);
    assert_eq!(fixture.store.list_batches(device).await.unwrap().len(), stored);
}

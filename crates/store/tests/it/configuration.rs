//! The desired configuration is sent until it is reported, and a report counts with its message.

use ecowatt_model::{BootEpoch, ConfigGeneration, DeviceNumber, KeyGeneration, UnixMs};
use ecowatt_store::limits::CONFIGURATIONS_KEPT;
use ecowatt_store::{
    Author, ClaimFor, ConfigState, Desired, EditConfig, EditConfigError, EditedConfig, NewClaim,
    RedeemClaim, ReportedConfig, SettingKey, Settings, Store, Upload, UploadOutcome,
};

use crate::fixture::{DAY, Fixture, by, samples, upload};

const ROWS: SettingKey = SettingKey { setting: 5, source: None };

/// Sets the rows of a batch.
pub(crate) fn set_rows(device: DeviceNumber, rows: u32) -> EditConfig {
    let set = Settings([(ROWS, rows)].into());
    EditConfig { device, set, unset: Vec::new(), expected: None }
}

/// A report that the generation is in use.
pub(crate) fn reported(generation: u32) -> ReportedConfig {
    ReportedConfig {
        generation: ConfigGeneration(generation),
        state: ConfigState::Applied,
        refused: Vec::new(),
        values: Settings([(ROWS, 60)].into()),
    }
}

fn reporting(device: DeviceNumber, counter: u64, generation: u32) -> Upload {
    let mut message = upload(device, counter, Vec::new());
    message.reported.config = Some(reported(generation));
    message
}

async fn set(store: &Store, device: DeviceNumber, rows: u32) -> EditedConfig {
    store.edit_config(by(), set_rows(device, rows)).await.unwrap()
}

/// The generation that the reply to a message carries.
async fn sent(fixture: &Fixture, message: Upload) -> Option<u32> {
    let receipt = match fixture.store.ingest(message).await.unwrap() {
        UploadOutcome::Stored(receipt) | UploadOutcome::Duplicate(receipt) => receipt,
        other => panic!("{other:?}"),
    };
    receipt.pending.map(|desired| desired.generation.0)
}

#[tokio::test]
async fn desired_is_in_every_receipt_until_it_is_reported() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let plain = |counter| upload(device, counter, Vec::new());
    assert_eq!(sent(&fixture, plain(1)).await, None);
    let first = set(store, device, 60).await;
    assert_eq!(first, EditedConfig { generation: ConfigGeneration(1), is_changed: true });
    // A device that never reported gets it, and again with the same message.
    assert_eq!(sent(&fixture, plain(2)).await, Some(1));
    assert_eq!(sent(&fixture, plain(2)).await, Some(1));
    assert_eq!(sent(&fixture, reporting(device, 3, 0)).await, Some(1));
    assert_eq!(sent(&fixture, reporting(device, 4, 1)).await, None);
    assert_eq!(sent(&fixture, plain(5)).await, None);
    // What is set already makes no generation.
    let again = set(store, device, 60).await;
    assert_eq!(again, EditedConfig { generation: ConfigGeneration(1), is_changed: false });
    assert_eq!(set(store, device, 90).await.generation.0, 2);
    let receipt = fixture.stored(plain(6)).await;
    let settings = Settings([(ROWS, 90)].into());
    let wanted = Desired { generation: ConfigGeneration(2), settings };
    assert_eq!(receipt.pending, Some(wanted));

    let config = store.find_config(device).await.unwrap();
    assert!(config.is_pending());
    let report = config.report.unwrap();
    assert_eq!((report.reported, report.highest.0), (reported(1), 1));
    assert_eq!(report.received_at, plain(4).received_at);
}

#[tokio::test]
async fn report_is_stored_once_with_the_counter() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    set(store, device, 60).await;
    fixture.stored(reporting(device, 5, 1)).await;
    // A message that the network kept back reports what has passed.
    let stale = store.ingest(reporting(device, 4, 0)).await.unwrap();
    assert!(matches!(stale, UploadOutcome::Stale { .. }), "{stale:?}");
    let mut altered = reporting(device, 5, 0);
    altered.digest = [1; 32];
    store.ingest(altered).await.unwrap();
    let report = || async { store.find_config(device).await.unwrap().report.unwrap() };
    assert_eq!(report().await.reported, reported(1));
    // A device that lost its settings reports it and gets them again under the same number.
    assert_eq!(sent(&fixture, reporting(device, 6, 0)).await, Some(1));
    assert_eq!((report().await.reported.generation.0, report().await.highest.0), (0, 1));
    assert!(store.find_config(device).await.unwrap().is_pending());
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    set(&fixture.store, device, 60).await;
    fixture.stored(reporting(device, 1, 1)).await;
    set(&fixture.store, device, 90).await;
    let before = fixture.store.find_config(device).await.unwrap();
    let Fixture { store, points, dir } = fixture;
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let fixture = Fixture { store, points, dir };
    assert_eq!(fixture.store.find_config(device).await.unwrap(), before);
    assert_eq!(sent(&fixture, upload(device, 2, Vec::new())).await, Some(2));
    assert_eq!(sent(&fixture, reporting(device, 3, 2)).await, None);
}

#[tokio::test]
async fn one_group_sees_its_own_changes() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    // All are queued before any is answered, so most share a group.
    let messages = (1..=20u64).map(|counter| {
        let block = fixture.block(1, u32::try_from(counter).unwrap(), &samples(0, 3));
        let mut message = upload(device, counter, vec![block]);
        message.reported.config = Some(reported(u32::try_from(counter / 2).unwrap()));
        (counter, message)
    });
    let results = futures_of(store, device, messages).await;
    for (counter, pending) in results {
        let generation = u32::try_from(counter).unwrap();
        assert_eq!(pending, Some(generation), "message {counter}");
    }
}

/// Sets generation `counter`, then sends the message, for each.
async fn futures_of(
    store: &Store,
    device: DeviceNumber,
    messages: impl Iterator<Item = (u64, Upload)>,
) -> Vec<(u64, Option<u32>)> {
    let mut tasks = Vec::new();
    for (counter, message) in messages {
        let (edit, ingest) = (store.clone(), store.clone());
        let rows = u32::try_from(counter).unwrap();
        let edit =
            tokio::spawn(async move { edit.edit_config(by(), set_rows(device, rows)).await });
        tokio::task::yield_now().await;
        let ingest = tokio::spawn(async move { ingest.ingest(message).await });
        tokio::task::yield_now().await;
        tasks.push((counter, edit, ingest));
    }
    let mut results = Vec::new();
    for (counter, edit, ingest) in tasks {
        edit.await.unwrap().unwrap();
        let UploadOutcome::Stored(receipt) = ingest.await.unwrap().unwrap() else { panic!() };
        results.push((counter, receipt.pending.map(|desired| desired.generation.0)));
    }
    results
}

#[tokio::test]
async fn history_is_bounded_and_says_who_changed_what() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    for rows in 1..=CONFIGURATIONS_KEPT + 3 {
        let by = Author { who: format!("token {rows}"), request: Some("r".into()), at: DAY };
        store.edit_config(by, set_rows(device, rows)).await.unwrap();
    }
    let all = store.list_configs(device, None, 1_000).await.unwrap();
    assert_eq!(all.len(), usize::try_from(CONFIGURATIONS_KEPT).unwrap());
    assert_eq!(all[0].by.who, format!("token {}", CONFIGURATIONS_KEPT + 3));
    assert_eq!(all[0].desired.settings.0[&ROWS], CONFIGURATIONS_KEPT + 3);
    assert_eq!(all.last().unwrap().desired.generation.0, 4);
    let page = store.list_configs(device, Some(ConfigGeneration(6)), 2).await.unwrap();
    assert_eq!(page.iter().map(|v| v.desired.generation.0).collect::<Vec<_>>(), [5, 4]);
}

#[tokio::test]
async fn change_is_audited_unless_it_changes_nothing() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    set(store, device, 60).await;
    set(store, device, 60).await;
    let mut late = set_rows(device, 70);
    late.expected = Some(ConfigGeneration(0));
    let refused = store.edit_config(by(), late).await;
    assert!(matches!(refused, Err(EditConfigError::OtherGeneration(ConfigGeneration(1)))));
    let unknown = store.edit_config(by(), set_rows(DeviceNumber(99), 70)).await;
    assert!(matches!(unknown, Err(EditConfigError::UnknownDevice)));
    let lines = store.list_audit(None, 1_000).await.unwrap();
    let lines: Vec<_> = lines.iter().filter(|line| line.change == "config.set").collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].subject.as_str(), &lines[0].by), ("dev-1", &by()));
}

#[tokio::test]
async fn reset_and_new_key_send_the_configuration_again() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    set(store, device, 60).await;
    assert_eq!(sent(&fixture, reporting(device, 1, 1)).await, None);
    let second = enrol_again(store, device).await;
    let mut message = upload(device, 1, Vec::new());
    (message.generation, message.epoch) = second;
    assert_eq!(sent(&fixture, message.clone()).await, Some(1));
    assert!(store.find_config(device).await.unwrap().is_pending());
    message.counter.0 += 1;
    message.reported.config = Some(reported(1));
    assert_eq!(sent(&fixture, message).await, None);
    assert!(!store.find_config(device).await.unwrap().is_pending());
    assert!(store.reset_device(by(), device).await.unwrap());
    let config = store.find_config(device).await.unwrap();
    assert_eq!((config.report, config.desired.map(|v| v.desired.generation.0)), (None, Some(1)));
}

/// Enrols the device under another key; returns its generation and first epoch.
pub(crate) async fn enrol_again(store: &Store, device: DeviceNumber) -> (KeyGeneration, BootEpoch) {
    let claim = NewClaim {
        claim_for: ClaimFor::Existing(device),
        id: "C-again".into(),
        secret: vec![1; 15],
        created: DAY,
        expires: UnixMs(DAY.0 + 1000),
    };
    store.create_claim(by(), claim).await.unwrap();
    let claim = store.find_claim("C-again".into()).await.unwrap().unwrap();
    let redeemed = RedeemClaim {
        id: "C-again".into(),
        public_key: [7; 32],
        generation: claim.next_generation,
        first_epoch: claim.safe_epoch,
        secret: [9; 32],
        reply: b"welcome".to_vec(),
        at: DAY,
    };
    store.redeem_claim(by(), redeemed).await.unwrap();
    (claim.next_generation, claim.safe_epoch)
}

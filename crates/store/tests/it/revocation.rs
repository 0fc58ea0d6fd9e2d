//! Revocations stay in effect, even if the folder gets an older database.

use std::fs;
use std::path::Path;

use ecowatt_model::{DeviceNumber, KeyGeneration, UnixMs};
use ecowatt_store::{
    ClaimFor, DeleteTokenError, NewClaim, NewSession, NewToken, Role, Store, StoreError,
};

use crate::fixture::{DAY, Fixture, GENERATION, by, by_at, enrol};

const DATABASE: &str = "ecowatt.db";

fn token(name: &str) -> NewToken {
    let hash = [u8::try_from(name.len()).unwrap(); 32];
    NewToken { name: name.into(), role: Role::Owner, hash, created: UnixMs(0), expires: None }
}

/// Replaces the folder's database by an older one.
fn put_back(older: &Path, folder: &Path) {
    for left in ["ecowatt.db-wal", "ecowatt.db-shm"] {
        let _ = fs::remove_file(folder.join(left));
    }
    fs::copy(older, folder.join(DATABASE)).unwrap();
}

#[tokio::test]
async fn revoked_is_what_was_revoked_after_the_database_was_copied() {
    let Fixture { store, dir, .. } = Fixture::new().await;
    let second = enrol(&store, "second").await;
    let kept = store.create_token(by(), token("kept")).await.unwrap();
    let lost = store.create_token(by(), token("lost token")).await.unwrap();
    drop(store);
    let copies = tempfile::tempdir().unwrap();
    let older = copies.path().join(DATABASE);
    fs::copy(dir.path().join(DATABASE), &older).unwrap();

    let store = Store::open(dir.path()).unwrap();
    assert!(store.revoke_keys(by_at(UnixMs(DAY.0 + 5)), DeviceNumber(1)).await.unwrap());
    store.delete_token(by(), lost.id, None).await.unwrap();
    let third = enrol(&store, "third").await;
    assert!(store.revoke_keys(by_at(UnixMs(DAY.0 + 6)), third).await.unwrap());
    drop(store);
    put_back(&older, dir.path());

    for _ in 0..2 {
        let store = Store::open(dir.path()).unwrap();
        let key = store.find_key(DeviceNumber(1), GENERATION).await.unwrap().unwrap();
        assert_eq!(key.revoked, Some(UnixMs(DAY.0 + 5)));
        let key = store.find_key(second, GENERATION).await.unwrap().unwrap();
        assert_eq!(key.revoked, None, "it was not revoked");
        assert_eq!(store.list_tokens().await.unwrap(), std::slice::from_ref(&kept));
        drop(store);
    }
    // The third device is not in the copy, and its number is not used again.
    let store = Store::open(dir.path()).unwrap();
    assert!(enrol(&store, "fourth").await > third);
}

#[tokio::test]
async fn generation_that_the_database_forgot_is_not_given_again() {
    let Fixture { store, dir, .. } = Fixture::new().await;
    let device = DeviceNumber(1);
    let claim = |id: &str| NewClaim {
        claim_for: ClaimFor::Existing(device),
        id: id.into(),
        secret: vec![1; 15],
        created: DAY,
        expires: UnixMs(DAY.0 + 1000),
    };
    drop(store);
    let copies = tempfile::tempdir().unwrap();
    let older = copies.path().join(DATABASE);
    fs::copy(dir.path().join(DATABASE), &older).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create_claim(by(), claim("AGAIN")).await.unwrap();
    let redeemed = ecowatt_store::RedeemClaim {
        id: "AGAIN".into(),
        public_key: [7; 32],
        generation: KeyGeneration(2),
        first_epoch: ecowatt_model::BootEpoch(3),
        secret: [8; 32],
        reply: Vec::new(),
        at: DAY,
    };
    store.redeem_claim(by(), redeemed).await.unwrap();
    store.revoke_keys(by_at(DAY), device).await.unwrap();
    drop(store);
    put_back(&older, dir.path());

    let store = Store::open(dir.path()).unwrap();
    assert!(!store.revoke_keys(by_at(DAY), device).await.unwrap(), "both are revoked");
    store.create_claim(by(), claim("LATER")).await.unwrap();
    let claim = store.find_claim("LATER".into()).await.unwrap().unwrap();
    assert_eq!(claim.next_generation, KeyGeneration(3));
}

#[tokio::test]
async fn command_beside_the_server_writes_down_what_it_revokes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let token = store.create_token(by(), token("a")).await.unwrap();
    let beside = Store::open_beside(dir.path()).unwrap();
    beside.delete_token(by(), token.id, None).await.unwrap();
    let journal = fs::read_to_string(dir.path().join("revoked")).unwrap();
    assert!(journal.ends_with(&format!("token {}\n", "01".repeat(32))), "{journal}");
}

#[tokio::test]
async fn line_that_a_power_cut_tore_spoils_no_other() {
    let Fixture { store, dir, .. } = Fixture::new().await;
    drop(store);
    let journal = dir.path().join("revoked");
    fs::write(&journal, "1234abcd keys 1").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.revoke_keys(by_at(DAY), DeviceNumber(1)).await.unwrap());
    drop(store);
    let database = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    database.execute("UPDATE device_key SET revoked = NULL", []).unwrap();
    drop(database);
    let store = Store::open(dir.path()).unwrap();
    let key = store.find_key(DeviceNumber(1), GENERATION).await.unwrap().unwrap();
    assert_eq!(key.revoked, Some(DAY));
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let token = store.create_token(by(), token("a")).await.unwrap();
    fs::create_dir(dir.path().join("revoked")).unwrap();
    let refused = store.delete_token(by(), token.id, None).await;
    let is_journal = matches!(refused, Err(DeleteTokenError::Store(StoreError::Journal(_))));
    assert!(is_journal, "{refused:?}");
    assert_eq!(store.list_tokens().await.unwrap(), std::slice::from_ref(&token));
    fs::remove_dir(dir.path().join("revoked")).unwrap();
    store.delete_token(by(), token.id, None).await.unwrap();
}

#[tokio::test]
async fn sessions_that_ended_and_claims_that_are_void_or_spent_stay_so() {
    let Fixture { store, dir, .. } = Fixture::new().await;
    let owner = store.create_token(by(), token("owner")).await.unwrap();
    let expires = UnixMs(DAY.0 + 1000);
    let session = |hash| NewSession { hash: [hash; 32], token: owner.id, created: DAY, expires };
    let mut ids = Vec::new();
    for hash in 1..=4 {
        ids.push(store.create_session(by(), session(hash)).await.unwrap().unwrap());
    }
    let mut devices = Vec::new();
    for id in ["VOID", "SPENT", "KEYS", "KEPT"] {
        let claim_for = ClaimFor::New {
            name: id.into(),
            site: "Hof".into(),
            time_zone: Some("Europe/Berlin".into()),
        };
        let claim =
            NewClaim { claim_for, id: id.into(), secret: vec![1; 15], created: DAY, expires };
        devices.push(store.create_claim(by(), claim).await.unwrap());
    }
    drop(store);
    let copies = tempfile::tempdir().unwrap();
    let older = copies.path().join(DATABASE);
    fs::copy(dir.path().join(DATABASE), &older).unwrap();

    let store = Store::open(dir.path()).unwrap();
    assert!(store.delete_session(by(), ids[0]).await.unwrap());
    assert!(store.delete_claim(by(), "VOID".into()).await.unwrap());
    assert!(store.revoke_keys(by_at(DAY), devices[2]).await.unwrap());
    let redeemed = ecowatt_store::RedeemClaim {
        id: "SPENT".into(),
        public_key: [7; 32],
        generation: GENERATION,
        first_epoch: ecowatt_model::BootEpoch(1),
        secret: [8; 32],
        reply: Vec::new(),
        at: DAY,
    };
    store.redeem_claim(by(), redeemed).await.unwrap();
    assert_eq!(store.delete_sessions(by(), Some(ids[1])).await.unwrap(), 2);
    drop(store);
    put_back(&older, dir.path());

    let store = Store::open(dir.path()).unwrap();
    let sessions = store.list_sessions(DAY).await.unwrap();
    assert_eq!(sessions.iter().map(|session| session.id).collect::<Vec<_>>(), [ids[1]]);
    let claims = store.list_claims(DAY).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(), ["KEPT"]);
}

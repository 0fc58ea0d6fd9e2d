//! Tokens, sessions and the set-up code.

use ecowatt_model::UnixMs;
use ecowatt_store::{
    CreateTokenError, NewSession, NewToken, RedeemSetup, RedeemSetupError, Role, SecretHash, Store,
};

fn token(name: &str, secret: u8, expires: Option<i64>) -> NewToken {
    NewToken {
        name: name.into(),
        role: Role::Owner,
        hash: [secret; 32],
        created: UnixMs(10),
        expires: expires.map(UnixMs),
    }
}

#[tokio::test]
async fn token_is_found_until_it_expires_or_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let made = store.create_token(token("ci", 1, Some(100))).await.unwrap();
    let taken = store.create_token(token("ci", 2, None)).await;
    assert!(matches!(taken, Err(CreateTokenError::NameTaken)), "{taken:?}");
    assert_eq!(store.find_token([1; 32], UnixMs(99)).await.unwrap(), Some(made.clone()));
    assert_eq!(store.find_token([1; 32], UnixMs(100)).await.unwrap(), None);
    assert_eq!(store.find_token([2; 32], UnixMs(99)).await.unwrap(), None);
    assert!(store.delete_token(made.id).await.unwrap());
    assert!(!store.delete_token(made.id).await.unwrap());
    assert_eq!(store.find_token([1; 32], UnixMs(99)).await.unwrap(), None);
}

#[tokio::test]
async fn session_lives_as_long_as_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let owner = store.create_token(token("owner", 1, None)).await.unwrap();
    let session =
        NewSession { hash: [5; 32], token: owner.id, created: UnixMs(10), expires: UnixMs(50) };
    store.create_session(session).await.unwrap();
    assert_eq!(store.find_session([5; 32], UnixMs(49)).await.unwrap(), Some(owner.clone()));
    assert_eq!(store.find_session([5; 32], UnixMs(50)).await.unwrap(), None);
    store.delete_token(owner.id).await.unwrap();
    assert_eq!(store.find_session([5; 32], UnixMs(49)).await.unwrap(), None);
}

fn redeem(code: SecretHash, token: NewToken) -> RedeemSetup {
    RedeemSetup { code, token, session: [77; 32], session_expires: UnixMs(50) }
}

/// An owner's token that its owner never saw would leave a server that nobody can log in to.
#[tokio::test]
async fn setup_code_is_not_spent_without_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.replace_setup_code([1; 32], UnixMs(0)).await.unwrap();
    let other = rusqlite::Connection::open(dir.path().join("ecowatt.db")).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON session
             BEGIN SELECT RAISE(ABORT, 'no session'); END",
        )
        .unwrap();
    let refused = store.redeem_setup(redeem([1; 32], token("owner", 3, None))).await;
    assert!(matches!(refused, Err(RedeemSetupError::Store(_))), "{refused:?}");
    assert_eq!(store.list_tokens().await.unwrap(), []);
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    let owner = store.redeem_setup(redeem([1; 32], token("owner", 3, None))).await.unwrap();
    assert_eq!(store.find_session([77; 32], UnixMs(49)).await.unwrap(), Some(owner));
}

#[tokio::test]
async fn setup_code_is_redeemed_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.replace_setup_code([1; 32], UnixMs(0)).await.unwrap();
    store.replace_setup_code([2; 32], UnixMs(0)).await.unwrap();
    let replaced = store.redeem_setup(redeem([1; 32], token("owner", 3, None))).await;
    assert!(matches!(replaced, Err(RedeemSetupError::Unknown)), "{replaced:?}");
    store.redeem_setup(redeem([2; 32], token("owner", 3, None))).await.unwrap();
    let again = store.redeem_setup(redeem([2; 32], token("owner 3", 5, None))).await;
    assert!(matches!(again, Err(RedeemSetupError::Unknown)), "{again:?}");
    let names: Vec<String> =
        store.list_tokens().await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["owner"]);
    store.replace_setup_code([6; 32], UnixMs(0)).await.unwrap();
    let owned = store.redeem_setup(redeem([6; 32], token("second owner", 7, None))).await;
    assert!(matches!(owned, Err(RedeemSetupError::Unknown)), "{owned:?}");
}

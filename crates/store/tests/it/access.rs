//! Tokens, sessions and the set-up code.

use ecowatt_model::UnixMs;
use ecowatt_store::limits::SESSIONS_PER_TOKEN_MAX;
use ecowatt_store::{
    CreateTokenError, DeleteTokenError, NewSession, NewToken, RedeemSetup, RedeemSetupError, Role,
    SecretHash, Store, TokenSession, TokenUse,
};

use crate::fixture::by;

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
    let made = store.create_token(by(), token("ci", 1, Some(100))).await.unwrap();
    let taken = store.create_token(by(), token("ci", 2, None)).await;
    assert!(matches!(taken, Err(CreateTokenError::NameTaken)), "{taken:?}");
    assert_eq!(store.find_token([1; 32], UnixMs(99)).await.unwrap(), Some(made.clone()));
    assert_eq!(store.find_token([1; 32], UnixMs(100)).await.unwrap(), None);
    assert_eq!(store.find_token([2; 32], UnixMs(99)).await.unwrap(), None);
    let kept = store.delete_token(by(), made.id, Some(UnixMs(99))).await;
    assert!(matches!(kept, Err(DeleteTokenError::LastOwner)), "{kept:?}");
    store.delete_token(by(), made.id, None).await.unwrap();
    let again = store.delete_token(by(), made.id, None).await;
    assert!(matches!(again, Err(DeleteTokenError::Unknown)), "{again:?}");
    assert_eq!(store.find_token([1; 32], UnixMs(99)).await.unwrap(), None);
}

#[tokio::test]
async fn session_lives_as_long_as_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let owner = store.create_token(by(), token("owner", 1, None)).await.unwrap();
    let session =
        NewSession { hash: [5; 32], token: owner.id, created: UnixMs(10), expires: UnixMs(50) };
    let id = store.create_session(by(), session.clone()).await.unwrap().unwrap();
    assert_eq!(
        store.find_session([5; 32], UnixMs(49)).await.unwrap(),
        Some(TokenSession { token: owner.clone(), session: id })
    );
    assert_eq!(store.find_session([5; 32], UnixMs(50)).await.unwrap(), None);
    assert!(store.is_valid(owner.id, Some(id), UnixMs(49)).await.unwrap());
    assert!(!store.is_valid(owner.id, Some(id), UnixMs(50)).await.unwrap());
    store.delete_token(by(), owner.id, None).await.unwrap();
    assert_eq!(store.find_session([5; 32], UnixMs(49)).await.unwrap(), None);
    assert!(!store.is_valid(owner.id, Some(id), UnixMs(49)).await.unwrap());
    assert_eq!(store.create_session(by(), session).await.unwrap(), None, "of a token that is gone");
}

#[tokio::test]
async fn last_owner_is_the_last_whose_token_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let lasting = store.create_token(by(), token("lasting", 1, None)).await.unwrap();
    let ending = store.create_token(by(), token("ending", 2, Some(100))).await.unwrap();
    let viewer = NewToken { role: Role::Viewer, ..token("viewer", 3, None) };
    let viewer = store.create_token(by(), viewer).await.unwrap();
    let kept = store.delete_token(by(), lasting.id, Some(UnixMs(100))).await;
    assert!(matches!(kept, Err(DeleteTokenError::LastOwner)), "the other has expired: {kept:?}");
    store.delete_token(by(), viewer.id, Some(UnixMs(100))).await.unwrap();
    store.delete_token(by(), ending.id, Some(UnixMs(100))).await.unwrap();
    let kept = store.delete_token(by(), lasting.id, Some(UnixMs(100))).await;
    assert!(matches!(kept, Err(DeleteTokenError::LastOwner)), "{kept:?}");
}

#[tokio::test]
async fn token_has_a_number_of_sessions_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let owner = store.create_token(by(), token("owner", 1, None)).await.unwrap();
    let other = store.create_token(by(), token("other", 2, None)).await.unwrap();
    let session = |token, secret| NewSession {
        hash: [secret; 32],
        token,
        created: UnixMs(10),
        expires: UnixMs(50),
    };
    store.create_session(by(), session(other.id, 255)).await.unwrap();
    let max = u8::try_from(SESSIONS_PER_TOKEN_MAX).unwrap();
    for secret in 0..max + 3 {
        store.create_session(by(), session(owner.id, secret)).await.unwrap();
    }
    for secret in 0..max + 3 {
        let found = store.find_session([secret; 32], UnixMs(10)).await.unwrap();
        assert_eq!(found.is_some(), secret >= 3, "{secret}");
    }
    assert!(store.find_session([255; 32], UnixMs(10)).await.unwrap().is_some(), "of another");
    let sessions = store.list_sessions(UnixMs(10)).await.unwrap();
    assert_eq!(sessions.len(), SESSIONS_PER_TOKEN_MAX + 1);
    let youngest = &sessions[0];
    let used = TokenUse { token: owner.id, session: Some(youngest.id), at: UnixMs(20) };
    store.note_uses(vec![used, TokenUse { at: UnixMs(15), ..used }]).await.unwrap();
    let sessions = store.list_sessions(UnixMs(10)).await.unwrap();
    assert_eq!((sessions[0].last_used, sessions[1].last_used), (Some(UnixMs(20)), None));
    let tokens = store.list_tokens().await.unwrap();
    assert_eq!((tokens[0].last_used, tokens[1].last_used), (Some(UnixMs(20)), None));
    assert_eq!(store.delete_sessions(by(), Some(sessions[0].id)).await.unwrap(), usize::from(max));
    assert_eq!(store.list_sessions(UnixMs(10)).await.unwrap().len(), 1);
    assert_eq!(store.delete_sessions(by(), None).await.unwrap(), 1);
}

#[tokio::test]
async fn viewer_does_not_own_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let viewer = NewToken { role: Role::Viewer, ..token("viewer", 3, None) };
    store.create_token(by(), viewer).await.unwrap();
    assert!(!store.is_owned().await.unwrap());
    store.replace_setup_code(by(), [2; 32], UnixMs(0)).await.unwrap();
    store.redeem_setup(by(), redeem([2; 32], token("owner", 4, None))).await.unwrap();
    assert!(store.is_owned().await.unwrap());
}

fn redeem(code: SecretHash, token: NewToken) -> RedeemSetup {
    RedeemSetup { code, token, session: [77; 32], session_expires: UnixMs(50) }
}

/// An owner token whose secret was never delivered would leave a server that no operator can log in to.
#[tokio::test]
async fn setup_code_is_not_spent_without_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.replace_setup_code(by(), [1; 32], UnixMs(0)).await.unwrap();
    let other = rusqlite::Connection::open(dir.path().join("ecowatt.db")).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON session
             BEGIN SELECT RAISE(ABORT, 'no session'); END",
        )
        .unwrap();
    let refused = store.redeem_setup(by(), redeem([1; 32], token("owner", 3, None))).await;
    assert!(matches!(refused, Err(RedeemSetupError::Store(_))), "{refused:?}");
    assert_eq!(store.list_tokens().await.unwrap(), []);
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    let owner = store.redeem_setup(by(), redeem([1; 32], token("owner", 3, None))).await.unwrap();
    assert_eq!(store.find_session([77; 32], UnixMs(49)).await.unwrap(), Some(owner));
}

#[tokio::test]
async fn setup_code_is_redeemed_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.replace_setup_code(by(), [1; 32], UnixMs(0)).await.unwrap();
    store.replace_setup_code(by(), [2; 32], UnixMs(0)).await.unwrap();
    let replaced = store.redeem_setup(by(), redeem([1; 32], token("owner", 3, None))).await;
    assert!(matches!(replaced, Err(RedeemSetupError::Unknown)), "{replaced:?}");
    store.redeem_setup(by(), redeem([2; 32], token("owner", 3, None))).await.unwrap();
    let again = store.redeem_setup(by(), redeem([2; 32], token("owner 3", 5, None))).await;
    assert!(matches!(again, Err(RedeemSetupError::Unknown)), "{again:?}");
    let names: Vec<String> =
        store.list_tokens().await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["owner"]);
    store.replace_setup_code(by(), [6; 32], UnixMs(0)).await.unwrap();
    let owned = store.redeem_setup(by(), redeem([6; 32], token("second owner", 7, None))).await;
    assert!(matches!(owned, Err(RedeemSetupError::Unknown)), "{owned:?}");
}

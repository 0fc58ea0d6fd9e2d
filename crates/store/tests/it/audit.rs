//! The audit log has a line for every change, and only for changes that were made.

use ecowatt_store::{
    Author, DeleteTokenError, EditDevice, EditSite, NewSession, NewToken, Role, SiteId, TokenId,
};

use crate::fixture::{DAY, Fixture, by};

#[tokio::test]
async fn every_change_says_who_made_it_on_which_request() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let newest = store.list_audit(None, 1).await.unwrap()[0].id;
    let at = DAY.plus(std::time::Duration::from_secs(9));
    let me = || Author { who: "token 7 (me)".into(), request: Some("r-1".into()), at };

    let new = |name: &str| NewToken {
        name: name.into(),
        role: Role::Owner,
        hash: [u8::try_from(name.len()).unwrap(); 32],
        created: DAY,
        expires: None,
    };
    let token = store.create_token(me(), new("a")).await.unwrap();
    store.create_token(me(), new("a")).await.unwrap_err();
    let session = NewSession { hash: [9; 32], token: token.id, created: DAY, expires: at };
    let session = store.create_session(me(), session).await.unwrap().unwrap();
    let gone = NewSession { hash: [8; 32], token: TokenId(99), created: DAY, expires: at };
    assert_eq!(store.create_session(me(), gone).await.unwrap(), None);
    assert!(store.delete_session(me(), session).await.unwrap());
    assert!(!store.delete_session(me(), session).await.unwrap());
    assert_eq!(store.delete_sessions(me(), None).await.unwrap(), 0);
    let refused = store.delete_token(me(), token.id, Some(at)).await;
    assert!(matches!(refused, Err(DeleteTokenError::LastOwner)));
    store.delete_token(me(), token.id, None).await.unwrap();
    store.replace_setup_code(me(), [1; 32], DAY).await.unwrap();
    let edit = EditDevice { device, name: Some("b".into()), site: None, keeps_past_days: false };
    store.edit_device(me(), edit).await.unwrap();
    let site = SiteId(1);
    let edit = EditSite { site, name: Some("Tal".into()), time_zone: None, keeps_past_days: false };
    store.edit_site(me(), edit).await.unwrap();
    store.delete_site(me(), site).await.unwrap_err();
    assert!(!store.delete_claim(me(), "none".into()).await.unwrap());
    assert!(store.revoke_keys(me(), device).await.unwrap());
    assert!(!store.revoke_keys(me(), device).await.unwrap());
    assert!(store.reset_device(me(), device).await.unwrap());
    assert!(store.delete_device(me(), device).await.unwrap());
    assert!(!store.delete_device(me(), device).await.unwrap());

    let mut lines = store.list_audit(None, 1000).await.unwrap();
    lines.retain(|line| line.id > newest);
    assert!(lines.iter().all(|line| line.by == me()), "{lines:?}");
    lines.reverse();
    let said: Vec<String> =
        lines.iter().map(|line| format!("{} {}", line.change, line.subject)).collect();
    assert_eq!(
        said,
        [
            "token.create token 1 (a)",
            "session.create session 1",
            "session.delete session 1",
            "token.delete token 1",
            "setup.replace set-up code",
            "device.edit dev-1",
            "site.edit site 1",
            "key.revoke dev-1",
            "device.reset dev-1",
            "device.delete dev-1",
        ]
    );
    let older = store.list_audit(Some(newest + 1), 1).await.unwrap();
    assert_eq!((older[0].id, older[0].by.clone()), (newest, by()));
    assert_eq!((older[0].change.as_str(), older[0].subject.as_str()), ("claim.redeem", "dev-1"));
    while store.sweep().await.unwrap() {}
    assert_eq!(store.list_audit(None, 1000).await.unwrap()[0].subject, "dev-1");
}

#[tokio::test]
async fn lines_go_after_a_year() {
    let fixture = Fixture::new().await;
    let rename = async |days: u64, name: &str| {
        let at = DAY.plus(std::time::Duration::from_secs(days * 86_400));
        let (device, new_name) = (fixture.device(), Some(name.into()));
        let edit = EditDevice { device, name: new_name, site: None, keeps_past_days: false };
        fixture.store.edit_device(Author::new(name, at), edit).await.unwrap();
        fixture.store.list_audit(None, 1000).await.unwrap()
    };
    let before = fixture.store.list_audit(None, 1000).await.unwrap();
    assert_eq!(rename(365, "a year later").await.len(), before.len() + 1);
    let left = rename(367, "two days on").await;
    let names: Vec<_> = left.iter().map(|line| line.by.who.as_str()).collect();
    assert_eq!(names, ["two days on", "a year later"]);
    assert!(left[1].id > before[0].id, "numbers are not given twice");
}

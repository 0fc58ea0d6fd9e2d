//! Work for one device, code or session does not grow with the number of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ecowatt_model::{BootEpoch, DeviceNumber, KeyGeneration, UnixMs};
use rusqlite::Connection;

use super::revocation_file::Journal;
use super::{access, claim, configure, deletion, device, key, latest, schema};
use crate::access::{NewSession, SessionId, TokenId, TokenUse};
use crate::fleet::{ClaimFor, DeviceState, EditDevice, NewClaim, RedeemClaim};

const DEVICE: DeviceNumber = DeviceNumber(150);
const NOW: UnixMs = UnixMs(1_000_000_000_000);
const LATER: UnixMs = UnixMs(NOW.0 + 1);

/// Creates `count` devices at one site, each with a key, a link, a redeemed code, an open one and a
/// session.
fn filled(folder: &tempfile::TempDir, count: u32) -> Connection {
    let path = folder.path().join("test.db");
    let mut db = Connection::open(&path).unwrap();
    configure(&db).unwrap();
    schema::migrate(&mut db, &path).unwrap();
    db.pragma_update(None, "synchronous", "off").unwrap();
    let each = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    );
    let (now, later) = (NOW.0, LATER.0);
    db.execute_batch(&format!(
        "BEGIN;
         INSERT INTO site VALUES (1, 1, 'Hof', 'UTC');
         INSERT INTO token VALUES (1, 1, 'a', 'owner', x'00', 0, NULL, NULL);
         {each} INSERT INTO device (number, name, site, created, state)
             SELECT i, 'Device ' || i, 1, 0, 0 FROM n;
         {each} INSERT INTO device_key (device, generation, secret, created)
             SELECT i, 1, zeroblob(32), 0 FROM n;
         {each} INSERT INTO claim (id, device, secret, created, expires, redeemed)
             SELECT 'old' || i, i, x'00', 0, {later}, {now} FROM n;
         {each} INSERT INTO claim (id, device, secret, created, expires)
             SELECT 'new' || i, i, x'00', {now}, {later} FROM n;
         {each} INSERT INTO session (id, hash, token, created, expires)
             SELECT i, CAST('hash' || i AS BLOB), 1, {now}, {later} FROM n WHERE i < 50;
         {each} INSERT INTO inverter_state (device, source, readings) SELECT i, 0, x'01' FROM n;
         COMMIT;
         ANALYZE;"
    ))
    .unwrap();
    db
}

type Work = fn(&Connection, &Journal);

const WORK: [(&str, Work); 17] = [
    ("create a claim of a new device", |db, journal| {
        let site = (String::from("Hof"), Some(String::from("UTC")));
        let claim_for = ClaimFor::New { name: "x".into(), site: site.0, time_zone: site.1 };
        claim::create_claim(db, journal, &claim(claim_for)).unwrap();
    }),
    ("create a claim of a device", |db, journal| {
        claim::create_claim(db, journal, &claim(ClaimFor::Existing(DEVICE))).unwrap();
    }),
    ("find a claim", |db, _| assert!(claim::find_claim(db, "new150").unwrap().is_some())),
    ("redeem a claim", |db, journal| {
        let redeem = RedeemClaim {
            id: "new150".into(),
            public_key: [1; 32],
            generation: KeyGeneration(2),
            first_epoch: BootEpoch(3),
            secret: [2; 32],
            reply: Vec::new(),
            at: NOW,
        };
        key::redeem_claim(db, journal, &redeem).unwrap();
    }),
    ("delete a claim", |db, journal| {
        assert!(claim::delete_claim(db, journal, "new150").unwrap());
    }),
    ("find a key", |db, _| {
        assert!(key::find_key(db, DEVICE, KeyGeneration(1)).unwrap().is_some());
    }),
    ("revoke keys", |db, journal| {
        assert!(key::revoke_keys(db, journal, DEVICE, NOW).unwrap());
    }),
    ("find a device", |db, _| assert!(device::find_device(db, DEVICE).unwrap().is_some())),
    ("edit a device", |db, _| {
        let edit = EditDevice {
            device: DEVICE,
            name: Some("b".into()),
            site: None,
            keeps_past_days: false,
        };
        device::edit_device(db, &edit).unwrap();
    }),
    ("reset a device", |db, journal| {
        assert!(device::reset_device(db, journal, DEVICE, NOW).unwrap());
    }),
    ("delete a device", |db, journal| {
        assert!(deletion::delete_device(db, journal, DEVICE, NOW).unwrap());
        while deletion::sweep(db).unwrap() {}
    }),
    ("look for namesakes", |db, _| assert!(device::namesakes(db, DEVICE).unwrap().is_empty())),
    ("set a state", |db, _| {
        assert_eq!(device::set_states(db, &[(DEVICE, DeviceState::Idle)], NOW).unwrap().len(), 1);
    }),
    ("list a page of devices to look after", |db, _| {
        assert_eq!(device::sweep_devices(db, None, 50).unwrap().devices.len(), 50);
    }),
    ("look up newest readings", |db, _| drop(latest::latest(db, DEVICE))),
    ("create a session", |db, _| {
        let (hash, token) = ([1; 32], TokenId(1));
        let new = NewSession { hash, token, created: NOW, expires: LATER };
        assert!(access::create_session(db, &new).unwrap().is_some());
    }),
    ("note a use", |db, _| {
        let used = TokenUse { token: TokenId(1), session: Some(SessionId(20)), at: NOW };
        access::note_uses(db, &[used]).unwrap();
    }),
];

fn claim(claim_for: ClaimFor) -> NewClaim {
    NewClaim { claim_for, id: "id".into(), secret: vec![0], created: NOW, expires: LATER }
}

/// Counts the steps of SQLite's virtual machine.
fn steps(db: &mut Connection, work: Work) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let step = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    db.execute_batch("BEGIN").unwrap();
    db.progress_handler(1, Some(step)).unwrap();
    work(db, &Journal::none());
    db.progress_handler(1, None::<fn() -> bool>).unwrap();
    db.execute_batch("ROLLBACK").unwrap();
    count.load(Ordering::Relaxed)
}

#[test]
fn work_for_one_does_not_grow_with_the_fleet() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut few = filled(&folders[0], 300);
    let mut many = filled(&folders[1], 3_000);
    let took = WORK.map(|(name, work)| (name, steps(&mut few, work), steps(&mut many, work)));
    assert!(took.iter().all(|(_, few, _)| *few > 0), "all of it asks the database: {took:?}");
    let grows: Vec<_> = took.iter().filter(|(_, few, many)| *many > few + few / 4).collect();
    assert!(grows.is_empty(), "steps beside 300 devices and beside 3,000: {grows:?}");
}

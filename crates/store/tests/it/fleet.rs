//! Sites, devices, claims, keys and streams.

use ecowatt_model::{BootEpoch, DeviceNumber, KeyGeneration, UnixMs};
use ecowatt_store::{
    AnnounceError, ClaimFor, CreateClaimError, DeviceQuery, DeviceReport, DeviceState, Diagnostic,
    InverterReport, InverterState, NewClaim, NewStream, RedeemClaim, RedeemClaimError,
    StreamPoints, UploadOutcome,
};

use crate::fixture::{
    ARRIVAL, DAY, Fixture, GENERATION, SOURCE, STREAM, by, by_at, enrol, samples, upload,
};

fn claim(id: &str, claim_for: ClaimFor) -> NewClaim {
    let expires = UnixMs(DAY.0 + 1000);
    NewClaim { claim_for, id: id.into(), secret: vec![1; 15], created: DAY, expires }
}

fn redeem(id: &str, public_key: u8, generation: u16, at: i64) -> RedeemClaim {
    RedeemClaim {
        id: id.into(),
        public_key: [public_key; 32],
        generation: KeyGeneration(generation),
        first_epoch: BootEpoch(9),
        secret: [public_key; 32],
        reply: vec![public_key, u8::try_from(generation).unwrap()],
        at: UnixMs(DAY.0 + at),
    }
}

#[tokio::test]
async fn claim_is_redeemed_by_one_device_which_may_repeat_it() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let store = &fixture.store;
    let block = fixture.block(7, 1, &samples(0, 2));
    fixture.stored(upload(device, 1, vec![block])).await;

    store.create_claim(by(), claim("VOID", ClaimFor::Existing(device))).await.unwrap();
    store.create_claim(by(), claim("SECOND", ClaimFor::Existing(device))).await.unwrap();
    assert!(store.find_claim("VOID".into()).await.unwrap().is_none(), "one code at a time");
    let held = store.find_claim("SECOND".into()).await.unwrap().unwrap();
    assert_eq!(held.next_generation, KeyGeneration(2));
    assert_eq!(held.first_epoch, BootEpoch(9));

    let late = store.redeem_claim(by(), redeem("SECOND", 1, 2, 1000)).await;
    assert!(matches!(late, Err(RedeemClaimError::Expired)), "{late:?}");
    let wrong = store.redeem_claim(by(), redeem("SECOND", 1, 1, 0)).await;
    assert!(matches!(wrong, Err(RedeemClaimError::Overtaken)), "{wrong:?}");
    store.redeem_claim(by(), redeem("SECOND", 1, 2, 0)).await.unwrap();
    match store.redeem_claim(by(), redeem("SECOND", 1, 3, 5000)).await {
        Err(RedeemClaimError::Repeated(first)) => assert_eq!(first.reply, [1, 2]),
        other => panic!("{other:?}"),
    }
    let other = store.redeem_claim(by(), redeem("SECOND", 2, 3, 0)).await;
    assert!(matches!(other, Err(RedeemClaimError::RedeemedByOther)), "{other:?}");
    let unknown = store.redeem_claim(by(), redeem("NONE", 2, 3, 0)).await;
    assert!(matches!(unknown, Err(RedeemClaimError::Unknown)), "{unknown:?}");

    let old = store.find_key(device, GENERATION).await.unwrap().unwrap();
    assert_eq!((old.revoked, old.counter.0), (Some(DAY), 1));
    let refused = store.ingest(upload(device, 2, Vec::new())).await.unwrap();
    assert_eq!(refused, UploadOutcome::UnknownDevice, "the old key is revoked");
    let mut message = upload(device, 1, Vec::new());
    message.generation = KeyGeneration(2);
    let taken = store.ingest(message).await.unwrap();
    assert!(
        matches!(taken, UploadOutcome::Stored(_)),
        "the other key counts from the start: {taken:?}"
    );
    assert!(store.revoke_keys(by_at(DAY), device).await.unwrap());
    let refused = store.find_key(device, KeyGeneration(2)).await.unwrap().unwrap();
    assert_eq!(refused.revoked, Some(DAY));
}

#[tokio::test]
async fn failed_claim_leaves_no_device_behind() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let new = |site: &str, zone: Option<&str>| ClaimFor::New {
        name: "next".into(),
        site: site.into(),
        time_zone: zone.map(Into::into),
    };
    let refused = store.create_claim(by(), claim("X", new("Nowhere", None))).await;
    assert!(matches!(refused, Err(CreateClaimError::UnknownSite)), "{refused:?}");
    let refused = store.create_claim(by(), claim("X", new("Hof", Some("Asia/Tokyo")))).await;
    assert!(matches!(refused, Err(CreateClaimError::OtherTimeZone(_))), "{refused:?}");
    let refused =
        store.create_claim(by(), claim("C-first", new("Alm", Some("Europe/Vienna")))).await;
    assert!(matches!(refused, Err(CreateClaimError::IdTaken)), "{refused:?}");
    let refused = store.create_claim(by(), claim("X", ClaimFor::Existing(DeviceNumber(9)))).await;
    assert!(matches!(refused, Err(CreateClaimError::UnknownDevice)), "{refused:?}");
    assert_eq!(store.list_sites().await.unwrap().len(), 1);
    let page = store.list_devices(DeviceQuery { limit: 10, ..DeviceQuery::default() }).await;
    assert_eq!(page.unwrap().total, 1);
}

#[tokio::test]
async fn fleet_is_paged_searched_and_filtered() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    for name in ["Barn 1", "barn_2", "100 %"] {
        enrol(store, name).await;
    }
    let page = |after, limit, search: Option<&str>, state| DeviceQuery {
        after,
        limit,
        search: search.map(Into::into),
        state,
    };
    let numbers = async |query| {
        let page = store.list_devices(query).await.unwrap();
        let numbers: Vec<u32> = page.devices.iter().map(|device| device.number.0).collect();
        (numbers, page.has_more, page.total)
    };
    assert_eq!(numbers(page(None, 3, None, None)).await, (vec![1, 2, 3], true, 4));
    let next = page(Some(DeviceNumber(3)), 3, None, None);
    assert_eq!(numbers(next).await, (vec![4], false, 4));
    assert_eq!(numbers(page(None, 9, Some("BARN"), None)).await, (vec![2, 3], false, 2));
    assert_eq!(numbers(page(None, 9, Some("0 %"), None)).await, (vec![4], false, 1));
    assert_eq!(numbers(page(None, 9, Some("n_2"), None)).await, (vec![3], false, 1));
    assert_eq!(numbers(page(None, 9, Some("dev-2"), None)).await, (vec![2], false, 1));
    assert_eq!(numbers(page(None, 9, Some("hof"), None)).await.2, 4);

    let states = vec![(DeviceNumber(2), DeviceState::Silent), (DeviceNumber(3), DeviceState::Idle)];
    let changed = store.set_states(states.clone(), UnixMs(5)).await.unwrap();
    assert_eq!(changed, [DeviceNumber(2), DeviceNumber(3)]);
    assert!(store.set_states(states, UnixMs(6)).await.unwrap().is_empty());
    let silent = store.list_devices(page(None, 9, None, Some(DeviceState::Silent))).await.unwrap();
    assert_eq!(silent.devices[0].number, DeviceNumber(2));
    assert_eq!(silent.devices[0].state_since, Some(UnixMs(5)));
}

#[tokio::test]
async fn device_shows_what_it_last_reported() {
    let fixture = Fixture::new().await;
    let device = fixture.device();
    let mut first = upload(device, 1, vec![fixture.block(3, 1, &samples(0, 4))]);
    first.reported = DeviceReport {
        leases: None,
        config: None,
        firmware: Some("agent 0.1".into()),
        diagnostics: Some(vec![Diagnostic::new("boot", "power cut")]),
        inverters: Some(vec![InverterReport { source: SOURCE, state: InverterState::Online }]),
        results: Vec::new(),
    };
    first.epoch = BootEpoch(3);
    fixture.stored(first).await;
    fixture.stored(upload(device, 2, Vec::new())).await;
    let found = fixture.store.find_device(device).await.unwrap().unwrap();
    assert_eq!(found.site.time_zone, "Europe/Berlin");
    assert_eq!(found.link.firmware.as_deref(), Some("agent 0.1"));
    assert_eq!(found.link.diagnostics, [Diagnostic::new("boot", "power cut")]);
    assert_eq!(
        found.link.inverters,
        [InverterReport { source: SOURCE, state: InverterState::Online }]
    );
    assert_eq!(found.link.boot_epoch, Some(BootEpoch(3)));
    assert_eq!(found.link.last_seen, Some(UnixMs(ARRIVAL.0 + 2)));
    assert_eq!(found.link.last_sample, Some(UnixMs(DAY.0 + 15_000)));
    assert_eq!((found.link.messages, found.link.batches, found.link.samples), (2, 1, 4));
    assert_eq!(fixture.store.find_device(DeviceNumber(2)).await.unwrap(), None);
}

#[tokio::test]
async fn stream_keeps_its_first_layout() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let stream = |layout: &[u8]| NewStream {
        id: STREAM,
        source: SOURCE,
        layout: layout.to_vec(),
        points: Vec::new(),
        at: DAY,
    };
    assert_eq!(store.announce(device, stream(b"layout")).await.unwrap(), fixture.points);
    let other = store.announce(device, stream(b"other")).await;
    assert!(matches!(other, Err(AnnounceError::OtherLayout)), "{other:?}");
    let unknown = store.announce(DeviceNumber(9), stream(b"layout")).await;
    assert!(matches!(unknown, Err(AnnounceError::UnknownDevice)), "{unknown:?}");
    let found = store.find_stream(device, STREAM).await.unwrap().unwrap();
    let StreamPoints { stream: held, points } = found;
    assert_eq!((held.layout, points), (b"layout".to_vec(), fixture.points.clone()));
    assert_eq!(store.list_streams(device).await.unwrap().len(), 1);
    let names: Vec<String> =
        store.list_points(device, SOURCE).await.unwrap().into_iter().map(|p| p.def.name).collect();
    assert_eq!(names, ["ac.power", "ac.energy.total"]);
}

#[tokio::test]
async fn secret_of_a_code_is_not_kept_for_ever() {
    use ecowatt_store::limits::CLAIM_KEPT_MS;

    let fixture = Fixture::new().await;
    let claims = || {
        let database = rusqlite::Connection::open(fixture.dir.path().join("ecowatt.db")).unwrap();
        let sql = "SELECT count(*) FROM claim";
        database.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    // The fixture's device redeemed its claim, which expires a second after its creation.
    let claim = |id: &str, created| NewClaim {
        claim_for: ClaimFor::Existing(fixture.device()),
        id: id.into(),
        secret: vec![1; 15],
        created,
        expires: UnixMs(created.0 + 1000),
    };
    let kept_until = UnixMs(DAY.0 + 1000 + CLAIM_KEPT_MS);
    fixture.store.create_claim(by(), claim("A", kept_until)).await.unwrap();
    assert_eq!(claims(), 2);
    fixture.store.create_claim(by(), claim("B", UnixMs(kept_until.0 + 1))).await.unwrap();
    assert_eq!(claims(), 1, "only what was just made");
}

#[tokio::test]
async fn key_is_found_as_soon_as_it_is_given() {
    let fixture = Fixture::new().await;
    let second = DeviceNumber(fixture.device().0 + 1);
    for _ in 0..2 {
        let found = fixture.store.find_key(second, GENERATION).await.unwrap();
        assert!(found.is_none());
    }
    assert_eq!(enrol(&fixture.store, "second").await, second);
    assert!(fixture.store.find_key(second, GENERATION).await.unwrap().is_some());
}

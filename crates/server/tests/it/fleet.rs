//! What operators see of devices that deliver samples.

use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_envelope::ClaimCode;
use ecowatt_envelope::enrol::DeviceHalf;
use ecowatt_model::UnixMs;
use ecowatt_profile::{Transport, catalogue, sunspec::FoundModel};
use ecowatt_wire::SourceState;

use crate::rig::device::TestDevice;
use crate::rig::world::{LOOK_AGAIN, World, within};

/// Now, on a full second.
fn now() -> UnixMs {
    UnixMs(Clock::system().now().0 / 1000 * 1000)
}

fn ago(now: UnixMs, seconds: i64) -> UnixMs {
    UnixMs(now.0 - seconds * 1000)
}

#[tokio::test]
async fn power_of_an_inverter_that_stopped_answering_is_not_shown() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let target = format!("/api/v1/devices/{}", device.id);
    let now = now();
    device.deliver(&world, now, &[(ago(now, 20), Some(3_000))]).await;
    assert_eq!(world.get_json(&target).await["power_w"], 3_000.0);
    // Three failed cycles after it, all within the tolerance for lost frames.
    let failed = [(ago(now, 15), None), (ago(now, 10), None), (ago(now, 5), None)];
    device.deliver_as(&world, now, &failed, SourceState::Offline).await;
    let seen = world.get_json(&target).await;
    assert_eq!((&seen["state"], &seen["power_w"]), (&"faulty".into(), &serde_json::Value::Null));
    let list = world.get_json("/api/v1/devices").await;
    assert!(list["devices"][0]["power_w"].is_null());
}

#[tokio::test]
async fn device_waits_and_then_produces() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let target = format!("/api/v1/devices/{}", device.id);
    let waiting = world.get_json(&target).await;
    assert_eq!(waiting["state"], "waiting");
    assert!(waiting["power_w"].is_null());
    assert_eq!(waiting["inverters"], serde_json::json!([]));

    let now = now();
    let samples = [(ago(now, 10), Some(1200)), (ago(now, 5), Some(1234))];
    device.deliver(&world, now, &samples).await;
    let seen = world.get_json(&target).await;
    assert_eq!(seen["state"], "producing");
    assert_eq!(seen["power_w"], 1234.0);
    assert_eq!(seen["firmware"], "test 1.0");
    assert_eq!(seen["link"]["samples"], 2);
    assert_eq!(seen["link"]["key_generation"], 1);
    assert_eq!(seen["inverters"][0]["profile"], "ecowatt/seed-sim");
    assert_eq!(seen["inverters"][0]["title"], "EcoWatt seed inverter (10 holding registers)");
    assert_eq!(seen["inverters"][0]["state"], "online");
    let points = seen["inverters"][0]["points"].as_array().unwrap();
    assert_eq!(points.len(), 10);
    let point = |name: &str| points.iter().find(|point| point["point"] == name).unwrap();
    assert_eq!(points[0]["point"], "ac.frequency", "in the layout's order");
    assert_eq!(point("ac.frequency")["value"], 50.01);
    assert_eq!(point("ac.frequency")["decimals"], 2);
    assert_eq!(point("temp.internal")["unit"], "degC");
    assert_eq!(point("ac.power")["quality"], "good");

    let list = world.get_json("/api/v1/devices").await;
    assert_eq!(list["total"], 1);
    assert_eq!(list["devices"][0]["power_w"], 1234.0);
    assert_eq!(list["devices"][0]["site"]["time_zone"], "Europe/Berlin");
    // The two samples may be on both sides of a quarter hour, or of midnight.
    let spark = &list["devices"][0]["spark"];
    let midnight: jiff::Timestamp = spark["from"].as_str().unwrap().parse().unwrap();
    let of_today = samples.iter().map(|(at, _)| (at.0 - midnight.as_millisecond()) / 1000);
    let mut quarters: Vec<_> = of_today.filter(|s| *s >= 0).map(|s| s / 900 * 900).collect();
    quarters.dedup();
    assert_eq!(spark["offset_s"], serde_json::json!(quarters));
    assert_eq!(spark["power_w"].as_array().unwrap().len(), quarters.len());
}

#[tokio::test]
async fn device_in_trouble_says_why_since_when_and_what_was_read_last() {
    let world = World::start().await;
    let trouble = async |id: &str| {
        let target = format!("/api/v1/devices/{id}");
        let listed = world.get_json("/api/v1/devices").await["devices"]
            .as_array()
            .unwrap()
            .iter()
            .find(|device| device["id"] == id)
            .map(|device| device["trouble"].clone());
        let shown = world.get_json(&target).await["trouble"].clone();
        assert_eq!(Some(&shown), listed.as_ref(), "the list says what the page says");
        shown
    };
    let body = r#"{"name":"Barn","site":{"name":"Home","time_zone":"Europe/Berlin"}}"#;
    let unclaimed = world.post("/api/v1/devices", body).await.json();
    let unclaimed = unclaimed["device"].as_str().unwrap();
    assert_eq!(trouble(unclaimed).await["cause"], "not_claimed");

    let mut device = TestDevice::enrol(&world, "Roof").await;
    let id = device.id.clone();
    assert_eq!(trouble(&id).await["cause"], "nothing_received");

    let now = now();
    device.deliver(&world, now, &[(ago(now, 60), Some(1200))]).await;
    assert!(trouble(&id).await.is_null(), "all is well");

    let failed = [(ago(now, 30), None), (ago(now, 20), None)];
    device.deliver_as(&world, now, &failed, SourceState::Offline).await;
    let offline = trouble(&id).await;
    assert_eq!(offline["cause"], "inverter_offline");
    assert_eq!(offline["inverters"], serde_json::json!([0]));
    assert_eq!(offline["quality"], "timeout");
    let last_good = jiff::Timestamp::from_millisecond(ago(now, 60).0).unwrap();
    for field in ["since", "last_good"] {
        let said: jiff::Timestamp = offline[field].as_str().unwrap().parse().unwrap();
        assert_eq!(said, last_good, "{field}");
    }

    let faulty = [(ago(now, 10), Some(900))];
    device.deliver_as(&world, now, &faulty, SourceState::Faulty).await;
    assert_eq!(trouble(&id).await["cause"], "inverter_faulty");

    let (name, token) = world.bearer();
    let revoked =
        world.send("DELETE", &format!("/api/v1/devices/{id}/keys"), &[(name, &token)], "").await;
    assert_eq!(revoked.status, 204);
    assert_eq!(trouble(&id).await["cause"], "key_revoked");
}

#[tokio::test]
async fn inverter_that_says_that_it_has_a_fault_is_faulty_until_it_says_otherwise() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let id = device.id.clone();
    let mut at = now();
    at.0 -= 60_000;
    let sunspec = |model: u16, length: u16| {
        let models = [FoundModel { id: model, address: 2, length }];
        catalogue::find("sunspec/generic-pv").unwrap().resolve(&models).unwrap()
    };
    let profile = |id: &str| catalogue::find(id).unwrap();
    // States "running" and "fault".
    let cases = [
        (sunspec(101, 50), 4, 7),
        (sunspec(103, 50), 8, 7),
        (sunspec(113, 60), 4, 7),
        (sunspec(701, 153), 7, 6),
        (profile("huawei/sun2000"), 0x0200, 0x0300),
        (profile("sungrow/sg-string"), 0x0000, 0x5500),
        (profile("sungrow/sg-string"), 0x9100, 0x2500),
    ];
    for (profile, running, fault) in cases {
        let name = profile.id().to_owned();
        let compiled = profile
            .compile(Transport::serial(9600))
            .or_else(|_| profile.compile(Transport::TCP))
            .unwrap();
        device.use_layout(compiled.layout);
        for (code, state, cause) in [
            (running, "idle", None),
            (fault, "faulty", Some("inverter_faulty")),
            (running, "idle", None),
        ] {
            at.0 += 1_000;
            device.deliver_state(&world, at, code).await;
            let seen = world.get_json(&format!("/api/v1/devices/{id}")).await;
            assert_eq!(seen["state"], state, "{name} {code:#x}");
            assert_eq!(seen["trouble"]["cause"].as_str(), cause, "{name} {code:#x}");
            let inverter = if cause.is_some() { "faulty" } else { "online" };
            assert_eq!(seen["inverters"][0]["state"], inverter, "{name} {code:#x}");
            if cause.is_some() {
                assert_eq!(seen["trouble"]["inverters"], serde_json::json!([0]));
            }
        }
    }
}

#[tokio::test]
async fn history_is_what_was_delivered() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    // A whole quarter hour, some days ago.
    let start = UnixMs(now().0 / 86_400_000 * 86_400_000 - 3 * 86_400_000 + 36_000_000);
    let mut samples = Vec::new();
    for i in 0..180 {
        let power = if i == 7 { None } else { Some(1000 + i) };
        samples.push((UnixMs(start.0 + i64::from(i) * 5000), power));
    }
    for part in samples.chunks(60) {
        device.deliver(&world, now(), part).await;
    }
    let text = |at: UnixMs| jiff::Timestamp::from_millisecond(at.0).unwrap().to_string();
    let range = format!("from={}&to={}", text(start), text(UnixMs(start.0 + 900_000)));
    let get = |rest: &str| {
        let target = format!("/api/v1/devices/{}/telemetry?{range}&{rest}", device.id);
        let world = &world;
        async move { world.get_json(&target).await }
    };

    let raw = get("resolution=raw&points=ac.power,ac.frequency").await;
    assert_eq!(raw["t_ms"].as_array().unwrap().len(), 180);
    assert_eq!(raw["t_ms"][0], start.0);
    assert_eq!(raw["truncated"], false);
    let power = &raw["series"][0];
    assert_eq!((&power["point"], &power["unit"]), (&"ac.power".into(), &"W".into()));
    assert_eq!(power["value"][0], 1000.0);
    assert_eq!(power["value"][179], 1179.0);
    assert!(power["value"][7].is_null());
    assert_eq!(power["not_good"], serde_json::json!([[7, "timeout"]]));
    assert_eq!(raw["series"][1]["value"][8], 50.01);

    let minutes = get("resolution=1m&points=ac.power").await;
    assert_eq!(minutes["t_ms"].as_array().unwrap().len(), 15);
    let power = &minutes["series"][0];
    assert_eq!(power["count"][0], 11, "one of twelve was not read");
    assert_eq!(power["count"][1], 12);
    assert_eq!((&power["min"][1], &power["max"][1]), (&1012.0.into(), &1023.0.into()));
    assert_eq!((&power["value"][1], &power["last"][1]), (&1017.5.into(), &1023.0.into()));

    let quarter = get("resolution=15m&points=ac.power").await;
    assert_eq!(quarter["t_ms"], serde_json::json!([start.0]));
    assert_eq!(quarter["series"][0]["count"][0], 179);
    assert_eq!(get("resolution=15m").await["series"].as_array().unwrap().len(), 10);

    let day = world
        .get_json(&format!(
            "/api/v1/devices/{}/telemetry?from={}&resolution=1d&points=ac.power",
            device.id,
            text(UnixMs(start.0 - 86_400_000))
        ))
        .await;
    assert_eq!(day["t_ms"].as_array().unwrap().len(), 1);
    assert_eq!(day["series"][0]["max"][0], 1179.0);

    let energy =
        world.get_json(&format!("/api/v1/devices/{}/energy?from={}", device.id, text(start))).await;
    assert_eq!(energy["time_zone"], "Europe/Berlin");
    let days = energy["days"].as_array().unwrap();
    assert_eq!(days.len(), 1);
    assert_eq!(days[0]["source"], "integrated");
    // 179 steps of 5 s at 1,000 to 1,179 W.
    assert_eq!(days[0]["energy_wh"], 270);
}

#[tokio::test]
async fn samples_whose_times_are_not_sure_say_so() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = now();
    let power = Some(1000);
    device.deliver(&world, now, &[(ago(now, 300), power), (ago(now, 290), power)]).await;
    // Among those that are sure, and after them.
    let since = |ms| (UnixMs(ms), power);
    device
        .deliver_estimated(&world, ago(now, 295), &[since(0), since(15_000), since(20_000)])
        .await;
    device.deliver(&world, now, &[(ago(now, 100), power), (ago(now, -172_800), power)]).await;
    let text = |at: UnixMs| jiff::Timestamp::from_millisecond(at.0).unwrap().to_string();
    let get = async |resolution: &str| {
        let (from, to) = (text(ago(now, 300)), text(ago(now, -200_000)));
        let range = format!("from={from}&to={to}&resolution={resolution}&points=ac.power");
        world.get_json(&format!("/api/v1/devices/{}/telemetry?{range}", device.id)).await
    };
    let raw = get("raw").await;
    let expected = serde_json::json!([[1, 2, "estimated"], [3, 5, "estimated"], [5, 7, "suspect"]]);
    assert_eq!(raw["unsure_times"], expected, "{:?}", raw["t_ms"]);
    assert!(get("1m").await["unsure_times"].is_null());
}

#[tokio::test]
async fn list_is_read_page_by_page() {
    let world = World::start().await;
    for name in ["Alpha", "Beta", "Gamma"] {
        let body =
            format!(r#"{{"name":"{name}","site":{{"name":"{name} site","time_zone":"UTC"}}}}"#);
        assert_eq!(world.post("/api/v1/devices", &body).await.status, 201);
    }
    let mut names = Vec::new();
    let mut target = "/api/v1/devices?limit=2".to_owned();
    loop {
        let page = world.get_json(&target).await;
        assert_eq!(page["total"], 3);
        for device in page["devices"].as_array().unwrap() {
            names.push(device["name"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        target = format!("/api/v1/devices?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["Alpha", "Beta", "Gamma"]);
    let found = world.get_json("/api/v1/devices?search=beta").await;
    assert_eq!((&found["total"], &found["devices"][0]["id"]), (&1.into(), &"dev-2".into()));
    assert_eq!(world.get_json("/api/v1/devices?state=producing").await["total"], 0);
    assert_eq!(world.get_json("/api/v1/devices?state=waiting").await["total"], 3);
    assert_eq!(world.get_json("/api/v1/sites").await.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn stored_state_follows_and_can_be_asked_for() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = now();
    device.deliver_as(&world, now, &[(ago(now, 1), None)], SourceState::Offline).await;
    within("the list of faulty devices has it", async {
        while world.get_json("/api/v1/devices?state=faulty").await["total"] != 1 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    let device = world.get_json("/api/v1/devices/dev-1").await;
    assert_eq!(device["state"], "faulty");
    assert!(device["state_since"].is_string());
}

#[tokio::test]
async fn claim_code_is_redeemed_by_one_device() {
    let world = World::start().await;
    let body = r#"{"name":"Roof","site":{"name":"Home","time_zone":"Europe/Berlin"}}"#;
    let enrolment = world.post("/api/v1/devices", body).await.json();
    let code: ClaimCode = enrolment["claim_code"].as_str().unwrap().parse().unwrap();
    let first = DeviceHalf::new([1; 32]);
    let answer = TestDevice::redeem(&world, &first, &code).await;
    assert_eq!(answer.status, 200);
    let again = TestDevice::redeem(&world, &first, &code).await;
    assert_eq!(again.body, answer.body, "a lost answer is given again");
    let other = TestDevice::redeem(&world, &DeviceHalf::new([2; 32]), &code).await;
    assert_eq!((other.status, other.body.len()), (409, 0));

    // With a second code the device gets a second key.
    let enrolment = world.post("/api/v1/devices/dev-1/claim", "{}").await;
    assert_eq!(enrolment.status, 201, "{}", enrolment.text());
    let code: ClaimCode = enrolment.json()["claim_code"].as_str().unwrap().parse().unwrap();
    let half = DeviceHalf::new([3; 32]);
    let answer = TestDevice::redeem(&world, &half, &code).await;
    let identity = half.finish(&code, &answer.body).unwrap();
    assert_eq!((identity.grant.device.0, identity.grant.generation.0), (1, 2));
}

#[tokio::test]
async fn only_who_holds_a_claim_code_learns_that_it_was_used_or_has_expired() {
    let world = World::start().await;
    let claim = async |valid_for_s: u32| -> (ClaimCode, ClaimCode) {
        let body = format!(
            r#"{{"name":"Roof","site":{{"name":"Home","time_zone":"UTC"}},"valid_for_s":{valid_for_s}}}"#
        );
        let enrolment = world.post("/api/v1/devices", &body).await.json();
        let code = enrolment["claim_code"].as_str().unwrap();
        let expires: jiff::Timestamp = enrolment["expires"].as_str().unwrap().parse().unwrap();
        if valid_for_s == 1 {
            let left = u64::try_from(expires.as_millisecond() - now().0).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(left + 1)).await;
        }
        // The same claim with a secret that differs in its last symbol.
        let last = if code.ends_with('A') { 'B' } else { 'A' };
        let guess = format!("{}{last}", &code[..code.len() - 1]);
        (code.parse().unwrap(), guess.parse().unwrap())
    };
    let (used, guess_of_used) = claim(60).await;
    assert_eq!(TestDevice::redeem(&world, &DeviceHalf::new([1; 32]), &used).await.status, 200);
    let (expired, guess_of_expired) = claim(1).await;
    let (_, guess) = claim(60).await;
    let nobodys: ClaimCode = "AAAAA-AAAAA-AAAAA-AAAAA".parse().unwrap();
    let half = DeviceHalf::new([2; 32]);
    let mut strangers = Vec::new();
    for (code, status) in [(&used, 409), (&expired, 410)] {
        let answer = TestDevice::redeem(&world, &half, code).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    for code in [&guess_of_used, &guess_of_expired, &guess, &nobodys] {
        let mut answer = TestDevice::redeem(&world, &half, code).await;
        answer.headers.retain(|(name, _)| name != "x-request-id" && name != "date");
        strangers.push((answer.status, answer.headers, answer.body));
    }
    assert_eq!(strangers[0].0, 401);
    assert!(strangers.iter().all(|answer| *answer == strangers[0]), "{strangers:?}");
}

#[tokio::test]
async fn revoked_device_is_refused_until_it_is_enrolled_again() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = now();
    device.deliver(&world, now, &[(ago(now, 9), Some(1))]).await;
    let (name, value) = world.bearer();
    let owner = [(name, value.as_str())];
    for _ in 0..2 {
        let revoked = world.send("DELETE", "/api/v1/devices/dev-1/keys", &owner, "").await;
        assert_eq!((revoked.status, revoked.body.len()), (204, 0));
    }
    let unknown = world.send("DELETE", "/api/v1/devices/dev-9/keys", &owner, "").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "device_unknown"));
    assert!(world.get_json("/api/v1/devices/dev-1").await["link"]["key_revoked"].is_string());
    let refused = device.send(&world, now, &[(ago(now, 4), Some(2))], SourceState::Online).await;
    assert_eq!((refused.status, refused.body.len()), (401, 0));
    let link = &world.get_json("/api/v1/devices/dev-1").await["link"];
    assert_eq!((&link["samples"], &link["key_generation"]), (&1.into(), &1.into()));
    assert!(link["key_revoked"].is_string(), "{link}");

    let enrolment = world.post("/api/v1/devices/dev-1/claim", "{}").await.json();
    let code: ClaimCode = enrolment["claim_code"].as_str().unwrap().parse().unwrap();
    assert_eq!(TestDevice::redeem(&world, &DeviceHalf::new([3; 32]), &code).await.status, 200);
    let link = &world.get_json("/api/v1/devices/dev-1").await["link"];
    assert!(link["key_revoked"].is_null(), "{link}");
}

#[tokio::test]
async fn device_is_spared_the_headers_that_browsers_want() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = now();
    let answer = device.send(&world, now, &[(ago(now, 4), Some(1))], SourceState::Online).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/cose")));
    assert!(answer.header("x-request-id").is_some(), "what a proxy's log can be asked for");
    let spared = ["content-security-policy", "referrer-policy", "cache-control"];
    assert!(spared.iter().all(|name| answer.header(name).is_none()), "{answer:?}");
    let refused = world.send("GET", "/link", &[], "").await;
    assert!(spared.iter().all(|name| refused.header(name).is_some()), "{refused:?}");
}

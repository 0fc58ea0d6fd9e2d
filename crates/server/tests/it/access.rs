//! Set-up link, tokens, sessions, and requests that pages of other sites may not make.

use ecowatt_envelope::ClaimCode;
use ecowatt_envelope::enrol::DeviceHalf;
use ecowatt_server::Config;

use ecowatt_clock::Clock;
use serde_json::Value;

use crate::events::Reader;
use crate::rig::device::TestDevice;
use crate::rig::world::{Answer, JSON, World};

fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().into()
}

async fn open_session(world: &World) -> String {
    let body = format!(r#"{{"token":"{}"}}"#, world.token);
    let answer = world.send("POST", "/api/v1/session", &[JSON], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    cookie(&answer)
}

#[tokio::test]
async fn set_up_link_works_once() {
    let world = World::start_unclaimed(Config::default()).await;
    let link = world.setup_link.clone().unwrap();
    assert!(link.starts_with(&format!("http://{}/setup#code=", world.address)), "{link}");
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let first = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.json()["role"], "owner");
    let again = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    assert_eq!((again.status, again.code().as_str()), (401, "setup_code_unknown"));

    let token = first.json()["token"].as_str().unwrap().to_owned();
    let header = format!("Bearer {token}");
    let answer = world.send("GET", "/api/v1/session", &[("authorization", &header)], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["token_name"], "set-up");
    assert!(answer.json().get("token").is_none(), "shown once");
    let answer = world.send("GET", "/api/v1/session", &[("cookie", &cookie(&first))], "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn start_ends_the_set_up_link_of_the_start_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = World::start_in(folder.path(), Config::default()).await;
    let old = first.code();
    first.stop();
    first.stopped().await;
    let mut second = World::start_in(folder.path(), Config::default()).await;
    let redeem = |code: &str| format!(r#"{{"code":"{code}"}}"#);
    let answer = second.send("POST", "/api/v1/setup", &[JSON], redeem(&old)).await;
    assert_eq!(answer.status, 401);
    let answer = second.send("POST", "/api/v1/setup", &[JSON], redeem(&second.code())).await;
    assert_eq!(answer.status, 200);
    second.stop();
    second.stopped().await;
    let third = World::start_in(folder.path(), Config::default()).await;
    assert_eq!(third.setup_link, None, "the server has an owner");
}

#[tokio::test]
async fn session_ends_when_told() {
    let world = World::start().await;
    let session = open_session(&world).await;
    let own = [("cookie", session.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(world.send("GET", "/api/v1/devices", &own, "").await.status, 200);
    let ended = world.send("DELETE", "/api/v1/session", &own, "").await;
    assert_eq!(ended.status, 204);
    assert_eq!(cookie(&ended), "ecowatt_session=");
    assert_eq!(world.send("GET", "/api/v1/devices", &own, "").await.status, 401);
}

#[tokio::test]
async fn cookie_is_kept_from_scripts_and_other_sites() {
    let world = World::start().await;
    let body = format!(r#"{{"token":"{}"}}"#, world.token);
    let answer = world.send("POST", "/api/v1/session", &[JSON], &body).await;
    let cookie = answer.header("set-cookie").unwrap();
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/;"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain HTTP on loopback: {cookie}");

    let config = Config { public_url: Some("https://eco.example".into()), ..Config::default() };
    let world = World::start_unclaimed(config).await;
    assert!(world.setup_link.as_ref().unwrap().starts_with("https://eco.example/setup#code="));
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn pages_of_other_sites_cannot_use_a_session() {
    let world = World::start().await;
    let session = open_session(&world).await;
    let host = world.address.to_string();
    let origin = format!("http://{host}");
    let body = r#"{"name":"Roof","site":{"name":"Home","time_zone":"Europe/Berlin"}}"#;
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[], 403),
        (&[("origin", "http://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", &origin)], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("origin", &origin)], 201),
        (&[("sec-fetch-site", "same-origin")], 201),
    ];
    for (headers, expected) in cases {
        let mut all = vec![("cookie", session.as_str()), JSON];
        all.extend_from_slice(headers);
        let answer = world.send("POST", "/api/v1/devices", &all, body).await;
        assert_eq!(answer.status, expected, "{headers:?} {}", answer.text());
        if expected == 403 {
            assert_eq!(answer.code(), "cross_site");
        }
    }
    // A page of another site cannot log its visitor in either.
    let body = format!(r#"{{"token":"{}"}}"#, world.token);
    let foreign = [JSON, ("origin", "http://evil.example")];
    assert_eq!(world.send("POST", "/api/v1/session", &foreign, body).await.status, 403);
}

/// Guesses at every kind of secret that is accepted without another one, and no secret at all.
async fn guess(world: &World, n: usize) -> u16 {
    let cose = [("content-type", "application/cose")];
    let token = format!(r#"{{"token":"ew_00000000_{n:064x}"}}"#);
    let code = format!(r#"{{"code":"{n:064x}"}}"#);
    let answer = match n % 4 {
        0 => world.send("POST", "/api/v1/session", &[JSON], token).await,
        1 => world.send("POST", "/api/v1/setup", &[JSON], code).await,
        2 => world.send("POST", "/link/enrol", &cose, "").await,
        _ => {
            let code = ClaimCode::from_random(&std::array::from_fn(|i| n.to_le_bytes()[i % 2]));
            TestDevice::redeem(world, &DeviceHalf::new([9; 32]), &code).await
        }
    };
    answer.status
}

#[tokio::test]
async fn right_secrets_are_taken_however_many_wrong_ones_came() {
    let mut world = World::start_unclaimed(Config::default()).await;
    for n in 0..431 {
        assert_eq!(guess(&world, n).await, 401, "{n}");
    }
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    assert_eq!(answer.status, 200, "the set-up code");
    world.token = answer.json()["token"].as_str().unwrap().into();
    for n in 0..20 {
        guess(&world, n).await;
        open_session(&world).await;
        TestDevice::enrol(&world, "Roof").await;
    }
}

#[tokio::test]
async fn wrong_codes_for_one_claim_are_slowed_down_and_its_right_one_is_taken() {
    let world = World::start().await;
    let body = r#"{"name":"Roof","site":{"name":"Home","time_zone":"Europe/Berlin"}}"#;
    let enrolment = world.post("/api/v1/devices", body).await.json();
    let right = enrolment["claim_code"].as_str().unwrap();
    let half = DeviceHalf::new([9; 32]);
    let mut statuses = Vec::new();
    // Codes of the same claim with another secret; some alphabets have look-alikes for one symbol.
    for symbol in ['0', '1', '2', '3', '4', '5', '6', '7'].into_iter().cycle().take(40) {
        let mut wrong: Vec<char> = right.chars().collect();
        let last = wrong.len() - 1;
        wrong[last] = symbol;
        let wrong: String = wrong.into_iter().collect();
        if wrong == right {
            continue;
        }
        let answer = TestDevice::redeem(&world, &half, &wrong.parse().unwrap()).await;
        if answer.status == 429 {
            assert_eq!(answer.code(), "too_many_attempts");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=3).contains(&wait), "{wait}");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[0], 401);
    assert!(statuses.contains(&429) && statuses.iter().all(|s| [401, 429].contains(s)));
    let answer = TestDevice::redeem(&world, &half, &right.parse().unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Creates a token through the API; returns its number and text.
async fn token(world: &World, name: &str, role: &str, valid_for_s: Option<u64>) -> (i64, String) {
    let mut body = serde_json::json!({ "name": name, "role": role });
    body["valid_for_s"] = valid_for_s.into();
    let made = world.post("/api/v1/tokens", &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    (made["id"].as_i64().unwrap(), made["secret"].as_str().unwrap().into())
}

async fn log_in(world: &World, token: &str) -> String {
    let body = format!(r#"{{"token":"{token}"}}"#);
    let answer = world.send("POST", "/api/v1/session", &[JSON], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    cookie(&answer)
}

async fn delete(world: &World, target: &str) -> Answer {
    let (name, value) = world.bearer();
    world.send("DELETE", target, &[(name, &value)], "").await
}

fn find<'a>(list: &'a Value, name: &str, value: impl Into<Value>) -> &'a Value {
    let value = value.into();
    list.as_array().unwrap().iter().find(|item| item[name] == value).unwrap()
}

#[tokio::test]
async fn revoked_token_is_void_with_its_sessions_and_streams() {
    let world = World::start().await;
    let (id, text) = token(&world, "laptop", "viewer", None).await;
    let bearer = format!("Bearer {text}");
    let session = log_in(&world, &text).await;
    let shown = [("authorization", bearer.as_str()), ("cookie", session.as_str())];
    for header in shown {
        assert_eq!(world.send("GET", "/api/v1/devices", &[header], "").await.status, 200);
    }
    let mut streams = Vec::new();
    for header in shown {
        streams.push(Reader::open_as(&world, header).await);
    }
    let mut others = Reader::open(&world, "").await;
    let tokens = world.get_json("/api/v1/tokens").await;
    assert!(find(&tokens, "id", id)["last_used"].is_string(), "{tokens}");
    assert!(!tokens.to_string().contains(&text), "secrets are not kept");

    assert_eq!(delete(&world, &format!("/api/v1/tokens/{id}")).await.status, 204);
    for header in shown {
        assert_eq!(world.send("GET", "/api/v1/devices", &[header], "").await.status, 401);
    }
    let body = format!(r#"{{"token":"{text}"}}"#);
    assert_eq!(world.send("POST", "/api/v1/session", &[JSON], &body).await.status, 401);
    for stream in &mut streams {
        stream.ends().await;
    }
    let again = delete(&world, &format!("/api/v1/tokens/{id}")).await;
    assert_eq!((again.status, again.code().as_str()), (404, "token_unknown"));
    // Streams of other readers go on.
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = Clock::system().now();
    device.deliver(&world, now, &[(now, Some(5))]).await;
    others.event("sample").await;
}

#[tokio::test]
async fn last_owner_stays_until_there_is_another() {
    let world = World::start().await;
    let own = world.get_json("/api/v1/tokens").await;
    let own = find(&own, "is_own", true)["id"].as_i64().unwrap();
    let target = format!("/api/v1/tokens/{own}");
    let kept = delete(&world, &target).await;
    assert_eq!((kept.status, kept.code().as_str()), (409, "last_owner"));
    token(&world, "wall", "viewer", None).await;
    assert_eq!(delete(&world, &target).await.status, 409, "a viewer cannot let anybody in");
    token(&world, "second", "owner", None).await;
    assert_eq!(delete(&world, &target).await.status, 204);
    assert_eq!(world.get("/api/v1/devices").await.status, 401);
}

#[tokio::test]
async fn stream_ends_with_its_session_however_it_ends() {
    let world = World::start().await;
    let own = log_in(&world, &world.token).await;
    let (_, text) = token(&world, "other", "viewer", None).await;
    let headers = |session: &str| [("cookie", session.to_owned())];
    let id_of = async |session: &str| {
        let target = "/api/v1/sessions";
        let shown = [("cookie", session)];
        let listed = world.send("GET", target, &shown, "").await.json();
        find(&listed, "is_own", true)["id"].as_i64().unwrap()
    };

    // Ended by logging out.
    let session = log_in(&world, &world.token).await;
    let mut stream = Reader::open_as(&world, ("cookie", &session)).await;
    let out = [("cookie", session.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(world.send("DELETE", "/api/v1/session", &out, "").await.status, 204);
    stream.ends().await;

    // Ended by another caller.
    let session = log_in(&world, &world.token).await;
    let mut stream = Reader::open_as(&world, ("cookie", &session)).await;
    let id = id_of(&session).await;
    assert_eq!(delete(&world, &format!("/api/v1/sessions/{id}")).await.status, 204);
    stream.ends().await;
    assert_eq!(delete(&world, &format!("/api/v1/sessions/{id}")).await.status, 404);

    // Ended together with all others; the caller's own session stays.
    let session = log_in(&world, &text).await;
    let mut stream = Reader::open_as(&world, ("cookie", &session)).await;
    let mut kept = Reader::open_as(&world, ("cookie", &own)).await;
    let all = [("cookie", own.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(world.send("DELETE", "/api/v1/sessions", &all, "").await.status, 204);
    stream.ends().await;
    for (session, status) in [(&session, 401), (&own, 200)] {
        let [(name, value)] = headers(session);
        let answer = world.send("GET", "/api/v1/devices", &[(name, &value)], "").await;
        assert_eq!(answer.status, status);
    }
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = Clock::system().now();
    device.deliver(&world, now, &[(now, Some(5))]).await;
    kept.event("sample").await;
}

#[tokio::test]
async fn token_that_another_process_revokes_or_time_ends_is_void_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start_in(folder.path(), ecowatt_server::Config::default()).await;
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    world.token = answer.json()["token"].as_str().unwrap().into();
    let (id, text) = token(&world, "leaked", "viewer", None).await;
    let bearer = format!("Bearer {text}");
    let mut stream = Reader::open_as(&world, ("authorization", &bearer)).await;
    let beside = ecowatt_store::Store::open_beside(folder.path()).unwrap();
    let by = ecowatt_store::Author::new("a test", Clock::system().now());
    beside.delete_token(by.clone(), ecowatt_store::TokenId(id), None).await.unwrap();
    stream.ends().await;

    // One that expires: created directly in the store, since the API requires at least a minute.
    let access = ecowatt_server::access::Access::new(beside, Clock::system());
    let short = ecowatt_server::access::TokenRequest {
        name: "short".into(),
        role: ecowatt_store::Role::Viewer,
        valid_for: Some(std::time::Duration::from_secs(1)),
    };
    let refused = access.make_token(by, short).await;
    assert!(matches!(refused, Err(ecowatt_server::access::MakeTokenError::Lifetime)));
}

#[tokio::test]
async fn tokens_are_refused_that_make_no_sense() {
    let world = World::start().await;
    token(&world, "taken", "viewer", Some(3600)).await;
    let tokens = world.get_json("/api/v1/tokens").await;
    let taken = find(&tokens, "name", "taken");
    assert!(taken["expires"].as_str() > taken["created"].as_str(), "{taken}");
    let long = "x".repeat(81);
    for (name, valid_for_s, status, code) in [
        ("taken", None, 409, "token_name_taken"),
        ("", None, 400, "invalid_name"),
        (long.as_str(), None, 400, "invalid_name"),
        ("red\u{1b}[31m", None, 400, "invalid_name"),
        ("turned \u{202e}", None, 400, "invalid_name"),
        ("short", Some(0), 400, "invalid_duration"),
        ("long", Some(u64::MAX), 400, "invalid_duration"),
    ] {
        let body = serde_json::json!({ "name": name, "role": "owner", "valid_for_s": valid_for_s });
        let answer = world.post("/api/v1/tokens", &body.to_string()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name:?}");
    }
    let body = r#"{"name":"x","role":"root"}"#;
    assert!(world.post("/api/v1/tokens", body).await.status >= 400);
    for target in ["/api/v1/tokens/x", "/api/v1/sessions/x"] {
        assert_eq!(delete(&world, target).await.code(), "invalid_id");
    }
}

#[tokio::test]
async fn outstanding_claim_codes_are_listed_voided_and_go_with_the_keys() {
    let world = World::start().await;
    let claim = async |target: &str, body: &str| -> ClaimCode {
        let enrolment = world.post(target, body).await;
        enrolment.json()["claim_code"].as_str().unwrap().parse().unwrap()
    };
    let site = r#""site":{"name":"Home","time_zone":"UTC"}"#;
    let first = claim("/api/v1/devices", &format!(r#"{{"name":"Roof",{site}}}"#)).await;
    let second = claim("/api/v1/devices", &format!(r#"{{"name":"Shed",{site}}}"#)).await;
    let listed = world.get_json("/api/v1/claims").await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let shown = find(&listed, "id", first.id().as_str());
    assert_eq!((&shown["device"], &shown["device_name"]), (&"dev-1".into(), &"Roof".into()));
    assert!(!listed.to_string().contains(&first.expose().to_string()));

    let target = format!("/api/v1/claims/{}", first.id().as_str());
    assert_eq!(delete(&world, &target).await.status, 204);
    let half = DeviceHalf::new([1; 32]);
    assert_eq!(TestDevice::redeem(&world, &half, &first).await.status, 401);
    let gone = delete(&world, &target).await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "claim_unknown"));

    // A redeemed code is no longer listed; a second code of the device is voided with its keys.
    assert_eq!(TestDevice::redeem(&world, &half, &second).await.status, 200);
    assert_eq!(world.get_json("/api/v1/claims").await, serde_json::json!([]));
    let third = claim("/api/v1/devices/dev-2/claim", "{}").await;
    assert_eq!(delete(&world, "/api/v1/devices/dev-2/keys").await.status, 204);
    assert_eq!(TestDevice::redeem(&world, &DeviceHalf::new([2; 32]), &third).await.status, 401);
    assert_eq!(world.get_json("/api/v1/claims").await, serde_json::json!([]));
}

#[tokio::test]
async fn session_is_found_behind_cookies_that_are_none() {
    let world = World::start().await;
    let cookie = open_session(&world).await;
    let unknown = format!("ecowatt_session={}", "0".repeat(64));
    for cookies in [
        format!("ecowatt_session=garbage; {cookie}"),
        format!("ecowatt_session=; {cookie}"),
        format!("{unknown}; {cookie}"),
        format!("{cookie}; {unknown}"),
        format!("theme=dark; ecowatt_session=\"x\"; {cookie}; ecowatt_session=y"),
    ] {
        let answer = world.send("GET", "/api/v1/sites", &[("cookie", &cookies)], "").await;
        assert_eq!(answer.status, 200, "{cookies}");
    }
    // Only a limited number of cookies is tried.
    let many = format!("{}{cookie}", format!("{unknown}; ").repeat(20));
    let answer = world.send("GET", "/api/v1/sites", &[("cookie", &many)], "").await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn cookie_behind_tls_is_this_hosts_alone() {
    let config = Config { public_url: Some("https://ecowatt.example".into()), ..Config::default() };
    let world = World::start_unclaimed(config).await;
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    let whole = answer.header("set-cookie").unwrap();
    assert!(whole.starts_with("__Host-ecowatt_session="), "{whole}");
    assert!(whole.contains("; Secure") && whole.contains("; Path=/;"), "{whole}");
    assert!(!whole.to_lowercase().contains("domain"), "{whole}");
    let cookie = cookie(&answer);
    let ask = |cookie: String| {
        let world = &world;
        async move { world.send("GET", "/api/v1/sites", &[("cookie", &cookie)], "").await.status }
    };
    assert_eq!(ask(cookie.clone()).await, 200);
    // A neighbouring host can set this cookie.
    assert_eq!(ask(cookie.trim_start_matches("__Host-").to_owned()).await, 401);
}

#[tokio::test]
async fn change_leaves_who_made_it_and_on_which_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start_in(folder.path(), ecowatt_server::Config::default()).await;
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    let set_up = answer.header("x-request-id").unwrap().to_owned();
    world.token = answer.json()["token"].as_str().unwrap().into();
    let body = r#"{"name":"Roof","site":{"name":"Hof","time_zone":"Europe/Berlin"}}"#;
    let claimed = world.post("/api/v1/devices", body).await;
    let claimed = claimed.header("x-request-id").unwrap().to_owned();
    let (name, bearer) = world.bearer();
    let refused = world.send("DELETE", "/api/v1/sites/1", &[(name, &bearer)], "").await;
    assert_eq!(refused.status, 409, "it has a device");

    let store = ecowatt_store::Store::open_beside(folder.path()).unwrap();
    let mut lines = store.list_audit(None, 2).await.unwrap();
    lines.reverse();
    let said = lines.iter().map(|line| {
        let request = line.by.request.as_deref().unwrap();
        (line.by.who.as_str(), request, line.change.as_str(), line.subject.as_str())
    });
    let said: Vec<_> = said.collect();
    assert_eq!(
        said,
        [
            ("set-up link", set_up.as_str(), "setup.redeem", "token 1 (set-up)"),
            ("token 1 (set-up)", claimed.as_str(), "claim.create", "dev-1"),
        ]
    );
}

/// A demonstration's clock is not the wall clock; the pages compare times with the server's clock.
#[tokio::test]
async fn changes_are_dated_by_the_server_s_own_clock() {
    let folder = tempfile::tempdir().unwrap();
    let solstice = ecowatt_model::UnixMs(1_782_036_000_000);
    let clock = ecowatt_clock::Clock::simulated(solstice, 1.0);
    let mut world = World::start_by(clock, folder.path(), ecowatt_server::Config::default()).await;
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    world.token = answer.json()["token"].as_str().unwrap().into();
    let body = r#"{"name":"Roof","site":{"name":"Hof","time_zone":"Europe/Berlin"}}"#;
    assert_eq!(world.post("/api/v1/devices", body).await.status, 201);

    let store = ecowatt_store::Store::open_beside(folder.path()).unwrap();
    for line in store.list_audit(None, 10).await.unwrap() {
        assert!((0..60_000).contains(&(line.by.at.0 - solstice.0)), "{line:?}");
    }
}

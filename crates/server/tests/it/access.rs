//! Set-up link, tokens, sessions, and what other sites' pages may not do.

use ecowatt_server::Config;

use crate::world::{Answer, JSON, World};

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
    assert_eq!(third.setup_link, None, "somebody owns it");
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
    // A foreign page cannot log its visitor in either.
    let body = format!(r#"{{"token":"{}"}}"#, world.token);
    let foreign = [JSON, ("origin", "http://evil.example")];
    assert_eq!(world.send("POST", "/api/v1/session", &foreign, body).await.status, 403);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let world = World::start().await;
    let wrong = format!(r#"{{"token":"ew_00000000_{}"}}"#, "0".repeat(64));
    let right = format!(r#"{{"token":"{}"}}"#, world.token);
    for _ in 0..30 {
        let answer = world.send("POST", "/api/v1/session", &[JSON], &right).await;
        assert_eq!(answer.status, 200, "right tokens cost nothing");
    }
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(world.send("POST", "/api/v1/session", &[JSON], &wrong).await);
    }
    assert_eq!(answers[0].status, 401);
    let refused = answers.last().unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    // Whoever has a token is not locked out by one who guesses.
    assert_eq!(world.get("/api/v1/devices").await.status, 200);
}

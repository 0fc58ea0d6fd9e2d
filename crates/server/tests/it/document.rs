//! The OpenAPI document, and that every route it names is guarded as it says.

use std::path::Path;

use serde_json::Value;

use crate::world::{JSON, World};

/// Routes that need no token; whoever adds one says so here.
const OPEN: [&str; 7] = [
    "get /api/v1/openapi.json",
    "get /health",
    "get /ready",
    "post /api/v1/session",
    "post /api/v1/setup",
    "post /link",
    "post /link/enrol",
];

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    operations
}

#[test]
fn committed_document_is_the_one_that_the_routes_make() {
    let made = ecowatt_server::openapi();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../api/openapi.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if made != committed {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
        std::fs::write(&fresh, made).unwrap();
        panic!(
            "api/openapi.json is out of date: `cargo run -- openapi > api/openapi.json`, or copy {}",
            fresh.display()
        );
    }
}

#[test]
fn open_routes_are_the_listed_ones() {
    let document: Value = serde_json::from_str(&ecowatt_server::openapi()).unwrap();
    let mut open: Vec<_> = operations(&document)
        .into_iter()
        .filter(|(_, _, operation)| operation["security"].as_array().unwrap().is_empty())
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    open.sort();
    assert_eq!(open, OPEN);
}

#[tokio::test]
async fn every_other_route_wants_a_token() {
    let world = World::start().await;
    let document = world.send("GET", "/api/v1/openapi.json", &[], "").await.json();
    let operations = operations(&document);
    assert!(operations.len() >= 16, "{}", operations.len());
    for (method, path, _) in operations {
        let name = format!("{method} {path}");
        let target = path.replace("{id}", "1");
        let method = method.to_uppercase();
        let wrong = format!("Bearer ew_{}_{}", "0".repeat(8), "0".repeat(64));
        for headers in [
            vec![],
            vec![("authorization", wrong.as_str())],
            vec![("authorization", "Basic b3duZXI6b3duZXI=")],
            vec![("cookie", "ecowatt_session=0000")],
        ] {
            let answer = world.send(&method, &target, &headers, "").await;
            if OPEN.contains(&name.as_str()) {
                // The link answers every message that it cannot open this way.
                assert!(answer.status != 401 || path == "/link", "{name}: {answer:?}");
            } else {
                assert_eq!(answer.status, 401, "{name} {headers:?}");
                assert_eq!(answer.code(), "unauthorized");
            }
        }
    }
}

/// Operations beside those that write which only an owner may do: they say who has access.
const OWNERS: [&str; 3] = ["get /api/v1/claims", "get /api/v1/sessions", "get /api/v1/tokens"];

/// What anybody may do who has a token: it is about that token's own session.
const ANYBODYS: [&str; 2] = ["delete /api/v1/session", "get /api/v1/session"];

#[tokio::test]
async fn roles_may_do_what_the_document_says_and_no_more() {
    let world = World::start().await;
    let mut tokens = Vec::new();
    for (role, rights) in [
        ("metrics", &["enter", "measure"][..]),
        ("viewer", &["enter", "measure", "read"]),
        ("owner", &["enter", "measure", "read", "write"]),
    ] {
        let body = format!(r#"{{"name":"{role}","role":"{role}"}}"#);
        let made = world.post("/api/v1/tokens", &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let token = made.json()["secret"].as_str().unwrap().to_owned();
        let body = format!(r#"{{"token":"{token}"}}"#);
        let opened = world.send("POST", "/api/v1/session", &[JSON], &body).await;
        let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        tokens.push((role, rights, format!("Bearer {token}"), cookie));
    }
    let document: Value = serde_json::from_str(&ecowatt_server::openapi()).unwrap();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        if OPEN.contains(&name.as_str()) {
            continue;
        }
        let security = &operation["security"];
        assert_eq!(security[0]["token"], security[1]["session"], "{name}");
        let right = security[0]["token"][0].as_str().unwrap();
        // Reading is what does not change anything; whoever adds an exception says so above.
        let expected = match name.as_str() {
            name if ANYBODYS.contains(&name) => "enter",
            "get /metrics" => "measure",
            name if method != "get" || OWNERS.contains(&name) => "write",
            _ => "read",
        };
        assert_eq!(right, expected, "{name}");
        if name == "get /api/v1/events" || right == "enter" {
            continue;
        }
        let target = path.replace("{id}", "999999");
        for (role, rights, bearer, cookie) in &tokens {
            for shown in [("authorization", bearer.as_str()), ("cookie", cookie.as_str())] {
                let headers = [shown, ("sec-fetch-site", "same-origin")];
                let method = method.to_uppercase();
                // The owner's sessions are still needed.
                if *role == "owner" && name == "delete /api/v1/sessions" {
                    continue;
                }
                let answer = world.send(&method, &target, &headers, "").await;
                let is_refused = answer.status == 403;
                assert_ne!(answer.status, 401, "{name} {role} {shown:?}");
                assert_eq!(is_refused, !rights.contains(&right), "{name} {role} {answer:?}");
                assert!(!is_refused || answer.code() == "forbidden", "{name}");
            }
        }
    }
}

#[test]
fn operation_ids_and_answers_are_named() {
    let document: Value = serde_json::from_str(&ecowatt_server::openapi()).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id), "{method} {path}");
        assert!(operation["summary"].is_string(), "{method} {path}");
    }
    assert!(document["components"]["schemas"]["Error"].is_object());
}

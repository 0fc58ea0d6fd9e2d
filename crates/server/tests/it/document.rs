//! The OpenAPI document, and that every route in it is guarded as documented.

use std::path::Path;

use serde_json::Value;

use crate::rig::world::{Answer, JSON, World};

/// Routes that need no token. A new one must be added here.
const OPEN: [&str; 34] = [
    "get /api/v1/openapi.json",
    "get /changes",
    "get /commands/{id}/poll",
    "get /config",
    "get /config/{id}",
    "get /health",
    "get /ota/check/{id}",
    "get /ota/chunk/{id}",
    "get /ota/status",
    "get /ping",
    "get /ready",
    "post /aggregated/{id}",
    "post /api/v1/session",
    "post /api/v1/setup",
    "post /changes",
    "post /command/get",
    "post /command/poll",
    "post /command/report",
    "post /command/result",
    "post /commands/{id}/result",
    "post /config/{id}/acknowledge",
    "post /config/{id}/current",
    "post /devices",
    "post /diagnostics/{id}",
    "post /fault/recovery",
    "post /integration/test/sync",
    "post /link",
    "post /link/enrol",
    "post /ota/check",
    "post /ota/initiate/{id}",
    "post /ota/{id}/complete",
    "post /ota/{id}/progress",
    "post /power/energy/{id}",
    "post /process",
];

/// Whether an operation speaks the protocol of the earlier EcoWatt, whose refusals have a shape of
/// their own and which knows fewer statuses.
fn is_original(operation: &Value) -> bool {
    operation["tags"].as_array().unwrap().iter().any(|tag| tag == "original")
}

/// Checks that a refusal has the shape of its protocol; returns its text.
fn refusal(operation: &Value, answer: &Answer) -> String {
    let body = answer.json();
    if is_original(operation) {
        assert_eq!(body.as_object().unwrap().len(), 2, "{answer:?}");
        assert_eq!(body["success"], false, "{answer:?}");
        return body["error"].as_str().unwrap().into();
    }
    assert_eq!(body.as_object().unwrap().len(), 1, "{answer:?}");
    body["error"]["code"].as_str().unwrap().into()
}

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
    for (method, path, operation) in operations {
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
                // The link answers this to every message that it cannot open.
                assert!(answer.status != 401 || path == "/link", "{name}: {answer:?}");
            } else {
                assert_eq!(answer.status, 401, "{name} {headers:?}");
                let text = refusal(&operation, &answer);
                let expected = match is_original(&operation) {
                    true => "a valid token or session is needed",
                    false => "unauthorized",
                };
                assert_eq!(text, expected, "{name}");
            }
        }
    }
}

/// Reads that only an owner may do, because they show who has access.
const OWNERS: [&str; 4] =
    ["get /api/v1/audit", "get /api/v1/claims", "get /api/v1/sessions", "get /api/v1/tokens"];

/// Operations that every token may do, because they concern its own session.
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
        // Safe methods need the right to read; exceptions are listed above.
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
                // The owner's sessions are needed for the rest of the test.
                if *role == "owner" && name == "delete /api/v1/sessions" {
                    continue;
                }
                let answer = world.send(&method, &target, &headers, "").await;
                let is_refused = answer.status == 403;
                assert_ne!(answer.status, 401, "{name} {role} {shown:?}");
                assert_eq!(is_refused, !rights.contains(&right), "{name} {role} {answer:?}");
                if is_refused {
                    let text = refusal(&operation, &answer);
                    let expected = match is_original(&operation) {
                        true => "the role of this token or session does not allow that",
                        false => "forbidden",
                    };
                    assert_eq!(text, expected, "{name}");
                }
            }
        }
    }
}

#[test]
fn every_field_has_an_example_of_its_type() {
    let document: Value = serde_json::from_str(&ecowatt_server::openapi()).unwrap();
    let mut fields = 0;
    for (schema, described) in document["components"]["schemas"].as_object().unwrap() {
        // A flattened type adds its own fields.
        let parts = described["allOf"].as_array().into_iter().flatten().chain([described]);
        let properties = parts.filter_map(|part| part["properties"].as_object()).flatten();
        for (field, property) in properties {
            // A field of another named type takes the examples of that type.
            if property.to_string().contains("$ref") {
                continue;
            }
            fields += 1;
            let kind = match &property["example"] {
                Value::Null => panic!("{schema}.{field} has no example"),
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            let is_of_type = match &property["type"] {
                Value::Array(types) => types.iter().any(|one| one == kind),
                one => one == kind,
            };
            assert!(is_of_type, "{schema}.{field}: the example is a {kind}");
        }
    }
    assert!(fields > 100, "{fields}");
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

/// Routes that limit how much one sender may send.
const LIMITED: [&str; 5] =
    ["/aggregated/{id}", "/config/{id}/current", "/link", "/link/enrol", "/process"];

fn statuses(operation: &Value) -> Vec<u16> {
    let responses = operation["responses"].as_object().unwrap();
    responses.keys().map(|status| status.parse().unwrap()).collect()
}

#[test]
fn refusals_are_in_the_document() {
    let document: Value = serde_json::from_str(&ecowatt_server::openapi()).unwrap();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let is_open = OPEN.contains(&name.as_str());
        let is_original = is_original(&operation);
        let content = &operation["requestBody"]["content"];
        let has_body = content.is_object();
        let is_json = content["application/json"].is_object();
        let takes_parameters =
            operation["parameters"].as_array().is_some_and(|list| !list.is_empty());
        let statuses = statuses(&operation);
        let says = |status: u16| statuses.contains(&status);
        let expect = |status, wanted| assert_eq!(says(status), wanted, "{name}: {status}");
        expect(400, is_json || takes_parameters);
        // The original calls all that is wrong with a body a bad request.
        expect(422, is_json && !is_original);
        expect(408, has_body);
        expect(413, has_body);
        expect(415, has_body && !is_original);
        expect(503, path != "/health");
        if !is_open {
            assert!(says(401), "{name}");
        }
        expect(429, LIMITED.contains(&path.as_str()));
        if path.contains("{id}") && path.contains("/devices/") {
            assert!(says(404) && says(400), "{name}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            if status.as_str() >= "400" && response["content"].is_object() {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                let expected = if is_original { "OriginalRefusal" } else { "Error" };
                assert_eq!(*schema, format!("#/components/schemas/{expected}"), "{name}: {status}");
            }
        }
    }
}

/// What stands behind the path, the headers and the body.
type Request<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8]);

#[tokio::test]
async fn no_operation_answers_what_the_document_does_not_say() {
    let world = World::start().await;
    let document = world.send("GET", "/api/v1/openapi.json", &[], "").await.json();
    let (name, token) = world.bearer();
    let token = (name, token.as_str());
    let json = ("content-type", "application/json");
    let cookie = ("cookie", "ecowatt_session=00");
    let large = vec![b' '; 70 * 1024];
    for (method, path, operation) in operations(&document) {
        let documented = statuses(&operation);
        // These either answer with a stream or end the session.
        if path.ends_with("/events") || path.ends_with("/openapi.json") {
            continue;
        }
        let has_body = operation["requestBody"].is_object();
        for id in ["dev-7", "x", "%E0%A4%A", "99999999999999999999"] {
            let target = path.replace("{id}", id);
            let requests: [Request<'_>; 9] = [
                ("", vec![], b""),
                ("", vec![cookie, ("sec-fetch-site", "cross-site")], b""),
                ("", vec![token, ("sec-fetch-site", "cross-site"), json], b"{}"),
                ("?nonsense=1", vec![token, json], b"{}"),
                ("", vec![token, json], b"{"),
                ("", vec![token, json], b"[1]"),
                ("", vec![token, ("content-type", "text/plain")], b"x"),
                ("", vec![token, ("content-type", "application/cose")], b"x"),
                ("", vec![token, json], &large),
            ];
            for (query, headers, body) in requests {
                let body = if has_body { body } else { b"" };
                let target = format!("{target}{query}");
                let answer = world.send(&method.to_uppercase(), &target, &headers, body).await;
                assert!(
                    documented.contains(&answer.status),
                    "{method} {target} {headers:?}: {} is not in {documented:?}",
                    answer.status
                );
                if is_original(&operation) && answer.status >= 400 {
                    refusal(&operation, &answer);
                }
            }
        }
    }
}

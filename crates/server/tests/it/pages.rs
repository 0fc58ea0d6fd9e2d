//! The dashboard's files and the headers around every answer.

use crate::rig::world::World;

#[tokio::test]
async fn every_answer_is_hard_to_misuse() {
    let world = World::start().await;
    for target in ["/health", "/api/v1/devices", "/api/v1/nothing", "/devices/dev-1"] {
        let answer = world.get(target).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{target}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{target}: {policy}");
        assert_eq!(answer.header("x-request-id").unwrap().len(), 16, "{target}");
    }
    assert_eq!(world.get("/api/v1/devices").await.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn client_routes_get_the_index_and_missing_files_do_not() {
    let world = World::start().await;
    let index = world.send("GET", "/", &[], "").await;
    let missing = world.send("GET", "/no-such-script.js", &[], "").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "page_unknown"));
    assert_eq!(world.send("POST", "/", &[], "").await.status, 405);
    if index.status == 404 {
        // The working tree lacks the dashboard's built files.
        assert_eq!(index.code(), "page_unknown");
        return;
    }
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(index.header("cache-control"), Some("no-cache"));
    assert!(index.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
    for route in ["/devices/dev-1", "/login", "/setup"] {
        assert_eq!(world.send("GET", route, &[], "").await.body, index.body, "{route}");
    }
    let tag = index.header("etag").unwrap();
    let known = world.send("GET", "/", &[("if-none-match", tag)], "").await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let other = world.send("GET", "/", &[("if-none-match", "\"other\"")], "").await;
    assert_eq!(other.status, 200);
    for bad in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/..%2fCargo.toml", "//etc/passwd"] {
        let answer = world.send("GET", bad, &[], "").await;
        assert!(answer.status == 404 || answer.body == index.body, "{bad}");
    }
}

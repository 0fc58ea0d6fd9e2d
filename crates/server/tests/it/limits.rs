//! Places that clients compete for.

use ecowatt_server::limits::STREAMS_MAX;

use crate::events::Reader;
use crate::world::World;

#[tokio::test]
async fn streams_are_bounded_and_places_come_back() {
    let world = World::start().await;
    let mut readers = Vec::new();
    for _ in 0..STREAMS_MAX {
        readers.push(Reader::open(&world, "").await);
    }
    let refused = world.get("/api/v1/events").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.get("/api/v1/devices").await.status, 200, "others are served");
    drop(readers);
    let mut reader = None;
    for _ in 0..100 {
        let metrics = world.get("/metrics").await.text();
        if metrics.contains("ecowatt_http_event_streams 0\n") {
            reader = Some(Reader::open(&world, "").await);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(reader.is_some(), "places come back when readers go");
}

#[tokio::test]
async fn metrics_count_requests() {
    let world = World::start().await;
    world.get("/api/v1/nothing").await;
    let answer = world.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    assert!(text.contains(r#"ecowatt_http_requests_total{kind="api",status="4xx"} 1"#), "{text}");
    assert!(text.contains("ecowatt_http_request_duration_seconds_count"), "{text}");
    assert!(text.contains("# TYPE ecowatt_http_connections gauge"), "{text}");
}

#[tokio::test]
async fn ready_while_the_store_answers() {
    let world = World::start().await;
    assert_eq!(world.send("GET", "/ready", &[], "").await.text(), "ready\n");
    assert_eq!(world.send("GET", "/health", &[], "").await.text(), "ok\n");
}

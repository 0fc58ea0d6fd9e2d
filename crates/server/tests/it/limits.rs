//! Limits on what clients compete for.

use std::net::SocketAddr;
use std::pin::pin;

use ecowatt_clock::Clock;
use ecowatt_server::limits::WAITING_MAX;
use ecowatt_server::{Config, serve};
use ecowatt_store::{Stepper, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::events::Reader;
use crate::rig::world::{World, within};

#[tokio::test]
async fn streams_are_bounded_and_places_come_back() {
    let config = Config { address_share: 100, ..Config::default() };
    let world = World::start_with(config).await;
    let mut readers = Vec::new();
    for _ in 0..WAITING_MAX {
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
async fn address_that_has_its_share_of_streams_leaves_others_theirs() {
    let config = Config { address_share: 2, ..Config::default() };
    let world = World::start_with(config).await;
    let mut readers = Vec::new();
    for _ in 0..WAITING_MAX * 2 / 100 {
        readers.push(Reader::open(&world, "").await);
    }
    let refused = world.get("/api/v1/events").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"));
    let get = format!(
        "GET /api/v1/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
        world.address, world.token
    );
    let mut elsewhere = world.connect_from([127, 0, 0, 2]).await;
    elsewhere.write_all(get.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within("a stream begins", elsewhere.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
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

/// Steps the store until `future` is ready.
async fn stepped<T>(stepper: &Stepper, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        tokio::select! {
            done = future.as_mut() => return done,
            () = tokio::task::yield_now() => {
                stepper.commit();
            }
        }
    }
}

/// A stuck writer stands for a disk that does not answer, a missing one for a panic of the writer.
#[tokio::test]
async fn ready_is_whoever_can_store_and_a_server_that_never_will_again_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecowatt.db");
    let (store, stepper) = Store::open_stepped(&path, "unix").unwrap();
    let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
    let serving = serve(config, store, Clock::system(), std::future::pending());
    let mut world = World::of(stepped(&stepper, serving).await.unwrap());

    let stuck = world.send("GET", "/ready", &[], "").await;
    assert_eq!((stuck.status, stuck.code().as_str()), (503, "busy"));
    assert_eq!(world.send("GET", "/health", &[], "").await.text(), "ok\n");
    let mut answer = stuck;
    for _ in 0..100 {
        answer = stepped(&stepper, world.send("GET", "/ready", &[], "")).await;
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(answer.text(), "ready\n", "it works again");

    drop(stepper);
    let lost = world.ended().await.unwrap_err();
    assert!(lost.to_string().contains("nothing can be stored"), "{lost}");
}

//! Clients without a key that take all they can get, while others must still be served.

use ecowatt_model::UnixMs;
use ecowatt_server::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::rig::device::TestDevice;
use crate::rig::world::{HERE, World, within};

const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];
const THERE: [u8; 4] = [127, 0, 0, 3];

/// File descriptors that the test needs: both ends of all connections are in this process.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

async fn crowd(world: &World, source: [u8; 4], count: usize, says: &[u8]) -> Vec<TcpStream> {
    let mut opening = JoinSet::new();
    let mut crowd = Vec::new();
    for _ in 0..count {
        let mut stream = world.connect_from(source).await;
        let says = says.to_vec();
        opening.spawn(async move {
            let _ = stream.write_all(&says).await;
            stream
        });
        if opening.len() >= 64 {
            crowd.extend(opening.join_next().await.map(Result::unwrap));
        }
    }
    while let Some(stream) = opening.join_next().await {
        crowd.push(stream.unwrap());
    }
    crowd
}

/// A device's upload and an operator's read, from the crowd's address and from another one.
async fn others_are_served(world: &World, device: &mut TestDevice, what: &str) {
    let now = ecowatt_clock::Clock::system().now();
    device.deliver(world, now, &[(UnixMs(now.0 - 5_000), Some(1_000))]).await;
    for source in [HERE, ELSEWHERE] {
        let answer = world.get_from(source, "/api/v1/sites").await;
        assert_eq!(answer.status, 200, "{what}: {source:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn heads_without_bodies_keep_nobody_out() {
    allow_many_files();
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let head = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: 10\r\n\r\n",
            world.address
        )
    };
    let mut held = Vec::new();
    for target in ["/link", "/api/v1/session", "/link/enrol"] {
        held.push(crowd(&world, HERE, 1_100, head(target).as_bytes()).await);
        others_are_served(&world, &mut device, target).await;
        // The process may not be allowed the descriptors for both ends of more connections.
        if held.len() > 1 {
            held.remove(0);
        }
    }
}

#[tokio::test]
async fn address_with_its_share_of_connections_loses_its_idlest() {
    allow_many_files();
    let world = World::start_with(Config { address_share: 1, ..Config::default() }).await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let get = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", world.address);
    let half =
        format!("POST /link HTTP/1.1\r\nhost: {}\r\ncontent-length: 9\r\n\r\nab", world.address);
    let mut elsewhere = world.connect_from(ELSEWHERE).await;
    let mut crowds = Vec::new();
    for says in ["", &get, &half, "POST /link HT"] {
        crowds.extend(crowd(&world, HERE, 120, says.as_bytes()).await);
        others_are_served(&world, &mut device, says).await;
    }
    let metrics = world.get_from(ELSEWHERE, "/metrics").await.text();
    let line = metrics.lines().find(|line| line.starts_with("ecowatt_http_connections "));
    let open: usize = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(open <= 40 + 2, "{open} of 480 are open");
    // An idle connection of another address was not closed.
    elsewhere.write_all(get.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within("an answer", elsewhere.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn proxy_that_is_trusted_has_no_share() {
    let config = Config {
        address_share: 1,
        trusted_proxies: vec!["127.0.0.3/32".parse().unwrap()],
        ..Config::default()
    };
    let world = World::start_with(config).await;
    let get = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", world.address);
    let proxied = crowd(&world, THERE, 100, b"").await;
    for mut stream in proxied {
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        within("an answer", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

#[tokio::test]
async fn slow_readers_of_the_pages_keep_nobody_out() {
    allow_many_files();
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", world.address);
    let pages = get("/app.js").repeat(8);
    let documents = get("/api/v1/openapi.json").repeat(8);
    let _held = crowd(&world, HERE, 400, pages.as_bytes()).await;
    let _more = crowd(&world, HERE, 400, documents.as_bytes()).await;
    others_are_served(&world, &mut device, "slow readers").await;
}

//! Server-sent events.

use std::time::Duration;

use ecowatt_clock::Clock;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;

use crate::rig::device::TestDevice;
use crate::rig::world::{World, within};

/// A reader of the event stream.
pub(crate) struct Reader(Lines<BufReader<TcpStream>>);

impl Reader {
    pub(crate) async fn open(world: &World, query: &str) -> Self {
        let (name, value) = world.bearer();
        Self::open_with(world, query, (name, &value)).await
    }

    /// Opens the stream of all events with this header for authentication.
    pub(crate) async fn open_as(world: &World, shown: (&str, &str)) -> Self {
        Self::open_with(world, "", shown).await
    }

    async fn open_with(world: &World, query: &str, (name, value): (&str, &str)) -> Self {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let request = format!(
            "GET /api/v1/events{query} HTTP/1.1\r\nhost: localhost\r\n{name}: {value}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Self(BufReader::new(stream).lines());
        let status = reader.line().await.unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK");
        while !reader.line().await.unwrap().is_empty() {}
        reader
    }

    /// Returns the next line; none at the stream's end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        within("a line comes", self.0.next_line()).await.unwrap()
    }

    /// Waits until the stream ends, which it must within a second, plus what a busy machine needs.
    pub(crate) async fn ends(&mut self) {
        let world = Clock::system();
        let begun = world.mono();
        // The last chunk of a chunked body has the length 0.
        while self.line().await.is_some_and(|line| line != "0") {}
        let took = world.mono().since(begun);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    /// Returns the data of the next event with this name.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        let head = format!("event: {name}");
        while self.line().await.expect("stream goes on") != head {}
        let data = self.line().await.unwrap();
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
    }
}

#[tokio::test]
async fn delivered_sample_is_told_at_once() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let mut other = TestDevice::enrol(&world, "Shed").await;
    let mut reader = Reader::open(&world, &format!("?device={}", device.id)).await;
    let now = Clock::system().now();
    other.deliver(&world, now, &[(now, Some(1))]).await;
    device.deliver(&world, now, &[(now, Some(777))]).await;

    let sample = reader.event("sample").await;
    assert_eq!(sample["device"], device.id.as_str(), "only the device asked for");
    assert_eq!(sample["t_ms"], now.0);
    let values = sample["values"].as_array().unwrap();
    assert!(values.contains(&serde_json::json!(["ac.power", 777.0])), "{values:?}");
    let changed = reader.event("device").await;
    assert_eq!(changed["device"], device.id.as_str());
    assert_eq!(changed["state"], "producing");
    assert_eq!(changed["power_w"], 777.0);
}

#[tokio::test]
async fn stopping_ends_streams_and_lets_the_server_go() {
    let mut world = World::start().await;
    let mut reader = Reader::open(&world, "").await;
    // A connection that is kept open without a request must not delay the server's end.
    let _idle = TcpStream::connect(world.address).await.unwrap();
    world.stop();
    while let Some(line) = reader.line().await {
        assert!(!line.starts_with("event"), "{line}");
    }
    world.stopped().await;
    assert!(TcpStream::connect(world.address).await.is_err(), "the server still listens");
}

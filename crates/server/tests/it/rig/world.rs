//! A running server and a client that sends exactly what a test says.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use ecowatt_server::packing::pack_all;
use ecowatt_server::{Config, Running, StoreFailed, serve};
use ecowatt_store::Store;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// The address that most requests come from.
pub(crate) const HERE: [u8; 4] = [127, 0, 0, 1];

/// Longest wait for an expected state: far more than it takes, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Pause between two looks at whether it is there.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A server on a port of its own, with an owner's token.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    /// The address for devices only, if there is one.
    pub(crate) device_address: Option<SocketAddr>,
    pub(crate) setup_link: Option<String>,
    pub(crate) token: String,
    running: Option<Running>,
    stop: Option<oneshot::Sender<()>>,
    folder: Option<TempDir>,
}

/// The server's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl World {
    /// Starts a server whose set-up code was redeemed.
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// Does the same with a configuration.
    pub(crate) async fn start_with(config: Config) -> Self {
        let mut world = Self::start_unclaimed(config).await;
        let answer = world
            .send("POST", "/api/v1/setup", &[JSON], &format!(r#"{{"code":"{}"}}"#, world.code()))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        world.token = answer.json()["token"].as_str().unwrap().into();
        world
    }

    /// Starts a server without any token.
    pub(crate) async fn start_unclaimed(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self::start_in(folder.path(), config).await;
        world.folder = Some(folder);
        world
    }

    /// Wraps a server that the test has started.
    pub(crate) fn of(running: Running) -> Self {
        Self {
            address: running.address,
            device_address: running.device_address,
            setup_link: running.setup_link.clone(),
            token: String::new(),
            running: Some(running),
            stop: None,
            folder: None,
        }
    }

    /// Returns how the server ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), StoreFailed> {
        within("the server ends", self.running.take().unwrap().stopped()).await
    }

    /// Starts a server on a store that the test keeps.
    pub(crate) async fn start_in(folder: &Path, config: Config) -> Self {
        Self::start_by(Clock::system(), folder, config).await
    }

    /// Starts a server with a clock of its own.
    pub(crate) async fn start_by(clock: Clock, folder: &Path, config: Config) -> Self {
        let store = Store::open(folder).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let shutdown = async {
            let _ = stopped.await;
        };
        let running = serve(config, store, clock, shutdown).await.unwrap();
        Self {
            address: running.address,
            device_address: running.device_address,
            setup_link: running.setup_link.clone(),
            token: String::new(),
            running: Some(running),
            stop: Some(stop),
            folder: None,
        }
    }

    /// Packs all stored batches, as a server does days later.
    pub(crate) async fn pack(&self) -> u64 {
        let folder = self.folder.as_ref().unwrap().path();
        let store = Store::open_beside(folder).unwrap();
        pack_all(&store, UnixMs(i64::MAX), Duration::ZERO).await.unwrap()
    }

    /// Returns the code of the set-up link.
    pub(crate) fn code(&self) -> String {
        let link = self.setup_link.as_ref().unwrap();
        link.split_once("/setup#code=").unwrap().1.into()
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(&mut self) {
        let running = self.running.take().unwrap();
        within("the server stops", running.stopped()).await.unwrap();
    }

    /// Returns the header with the owner's token.
    pub(crate) fn bearer(&self) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.token))
    }

    /// Sends a request without a token.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.address);
        request.push_str("connection: close\r\n");
        if !body.is_empty() || method == "POST" {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send_raw(&bytes).await
    }

    /// Connects from another of the machine's own addresses.
    pub(crate) async fn connect_from(&self, source: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        within("a connection is made", socket.connect(self.address)).await.unwrap()
    }

    /// Sends bytes unchanged and reads the answer to its end.
    pub(crate) async fn send_raw(&self, bytes: &[u8]) -> Answer {
        self.send_raw_from(HERE, bytes).await
    }

    /// Does the same from another address.
    pub(crate) async fn send_raw_from(&self, source: [u8; 4], bytes: &[u8]) -> Answer {
        let mut stream = self.connect_from(source).await;
        // A server that refuses early may close before everything is sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        within("an answer ends", async {
            let _ = stream.read_to_end(&mut answer).await;
        })
        .await;
        Answer::parse(&answer)
    }

    /// Reads a route with the owner's token from another address.
    pub(crate) async fn get_from(&self, source: [u8; 4], target: &str) -> Answer {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             connection: close\r\n\r\n",
            self.address, self.token
        );
        self.send_raw_from(source, request.as_bytes()).await
    }

    /// Reads a route with the owner's token.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        let (name, value) = self.bearer();
        self.send("GET", target, &[(name, &value)], "").await
    }

    /// Reads a route that must succeed.
    pub(crate) async fn get_json(&self, target: &str) -> Value {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// Posts JSON with the owner's token.
    pub(crate) async fn post(&self, target: &str, body: &str) -> Answer {
        let (name, value) = self.bearer();
        self.send("POST", target, &[(name, &value), JSON], body).await
    }
}

/// The content type of a JSON body.
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else { return Self { status: 0, headers: vec![], body: bytes.into() } };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("0");
        Self {
            status: status.parse().unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.into()))
                .collect(),
            body: bytes[end + 4..].into(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Returns the error's code, after checking that the body has the API's shape.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(!body["error"]["message"].as_str().unwrap().is_empty());
        assert_eq!(body["error"]["request_id"].as_str(), self.header("x-request-id"));
        body["error"]["code"].as_str().unwrap().into()
    }
}

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("in time: {what}"))
}

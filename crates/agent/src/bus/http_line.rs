//! A bus behind HTTP: the front of the earlier EcoWatt's Inverter SIM, which takes an RTU frame as
//! hexadecimal text in JSON and answers with another.
//!
//! An answer belongs to its request by the rules of HTTP: one request at a time is on a connection,
//! and one that was given up ends it.

use std::future::Future;
use std::io;
use std::pin::Pin;

use ecowatt_modbus::ADU_MAX;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::link::ServerUrl;

/// Longest answer: the longest frame as text, and room for what a service may add.
const ANSWER_MAX: usize = 2 * ADU_MAX + 4 * 1024;

/// Where such a front is, and the key that it wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpFront {
    pub url: ServerUrl,
    /// The whole `Authorization` header; not printed.
    key: Option<HeaderValue>,
}

impl HttpFront {
    /// Returns a front that is asked without a key.
    #[must_use]
    pub fn new(url: ServerUrl) -> Self {
        Self { url, key: None }
    }

    /// Adds the key; `None` if it cannot be in a header.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Option<Self> {
        let mut key = HeaderValue::from_str(key).ok().filter(|key| !key.is_empty())?;
        key.set_sensitive(true);
        self.key = Some(key);
        Some(self)
    }
}

#[derive(Deserialize)]
struct Frame {
    frame: String,
}

/// What an exchange brings: the bytes of a frame, none if the inverter sent nothing.
type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send>>;

/// An open connection to a front.
pub(super) struct HttpLine {
    front: HttpFront,
    sender: SendRequest<Full<Bytes>>,
    /// Ends when the connection does.
    driver: JoinHandle<()>,
    state: State,
}

enum State {
    Idle,
    Asked(Answer),
    /// Bytes of an answer that were not read yet.
    Answered(Vec<u8>),
    /// The inverter did not answer, and nothing more comes.
    Silent,
}

impl std::fmt::Debug for HttpLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpLine").field("front", &self.front).finish_non_exhaustive()
    }
}

impl Drop for HttpLine {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl HttpLine {
    pub(super) async fn open(front: &HttpFront) -> io::Result<Self> {
        let stream = TcpStream::connect(front.url.host_port()).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Its end is noticed by `read`; an error by the request that meets it.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { front: front.clone(), sender, driver, state: State::Idle })
    }

    /// Whether a request can be sent: none is waiting for its answer.
    pub(super) fn is_idle(&self) -> bool {
        !matches!(self.state, State::Asked(_)) && !self.sender.is_closed()
    }

    /// Sends a whole frame.
    pub(super) async fn write_all(&mut self, frame: &[u8]) -> io::Result<()> {
        if !self.is_idle() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.sender.ready().await.map_err(io::Error::other)?;
        let request = self.request(frame).map_err(io::Error::other)?;
        let sent = self.sender.send_request(request);
        self.state = State::Asked(Box::pin(async move {
            let response = sent.await.map_err(io::Error::other)?;
            let status = response.status();
            if !status.is_success() {
                let text = format!("the inverter's service answered {status}");
                return Err(io::Error::other(text));
            }
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            let unreadable = || io::Error::other("the answer has no frame in hexadecimal digits");
            let Frame { frame } = serde_json::from_slice(&body).map_err(|_| unreadable())?;
            from_hex(&frame).ok_or_else(unreadable)
        }));
        Ok(())
    }

    fn request(&self, frame: &[u8]) -> hyper::http::Result<Request<Full<Bytes>>> {
        // The functions that change something have these numbers.
        let path = match frame.get(1) {
            Some(5 | 6 | 15 | 16) => "/api/inverter/write",
            _ => "/api/inverter/read",
        };
        let digits: String = frame.iter().map(|byte| format!("{byte:02X}")).collect();
        // As the original's devices write it, with one space.
        let body = format!("{{\"frame\": \"{digits}\"}}");
        let mut request = Request::post(format!("{}{path}", self.front.url.base()))
            .header(HOST, self.front.url.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "*/*");
        if let Some(key) = &self.front.key {
            request = request.header(AUTHORIZATION, key);
        }
        request.body(Full::new(body.into()))
    }

    /// Reads some bytes of the answer. May be dropped and called again. Fails with
    /// [`io::ErrorKind::TimedOut`] if the service reports that the inverter sent nothing.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let State::Asked(answer) = &mut self.state {
            let answered = answer.await;
            self.state = State::Idle;
            let bytes = answered?;
            self.state = if bytes.is_empty() { State::Silent } else { State::Answered(bytes) };
        }
        match &mut self.state {
            State::Answered(bytes) => {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                bytes.drain(..count);
                if bytes.is_empty() {
                    self.state = State::Idle;
                }
                Ok(count)
            }
            State::Silent => Err(io::ErrorKind::TimedOut.into()),
            State::Idle | State::Asked(_) => {
                // Nothing was asked, so all that can happen is that the connection ends.
                if !self.driver.is_finished() {
                    let _ = (&mut self.driver).await;
                }
                Ok(0)
            }
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

//! HTTP calls to the original's server: one connection each, as its devices make them.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::link::ServerUrl;

/// Longest wait for connection, request and answer together: the longest of the firmware's.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest answer that is read: the firmware's parser takes a tenth of it.
const ANSWER_MAX: usize = 64 * 1024;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("server cannot be reached")]
    Connect(#[source] std::io::Error),
    #[error("connection to the server broke")]
    Broken(#[source] hyper::Error),
    #[error("server did not answer in time")]
    Timeout,
    #[error("answer is too long or broke off")]
    Body,
    #[error("request cannot be written")]
    Request(#[source] hyper::http::Error),
    #[error("server answered {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("answer is not JSON")]
    Json(#[source] serde_json::Error),
}

/// The server, and who calls it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) url: ServerUrl,
    pub(super) device: String,
}

impl Server {
    /// Posts JSON to a path; any status in `good` is a success.
    pub(super) async fn post(
        &self,
        path: &str,
        body: String,
        good: &[StatusCode],
    ) -> Result<(), CallError> {
        self.call(Method::POST, path, body, good).await.map(drop)
    }

    /// Returns the JSON at a path.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CallError> {
        let bytes = self.call(Method::GET, path, String::new(), &[StatusCode::OK]).await?;
        serde_json::from_slice(&bytes).map_err(CallError::Json)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: String,
        good: &[StatusCode],
    ) -> Result<Bytes, CallError> {
        let exchange = self.exchange(method, path, body);
        let exchanged = tokio::time::timeout(CALL_TIMEOUT, exchange).await;
        let (status, bytes) = exchanged.map_err(|_| CallError::Timeout)??;
        if good.contains(&status) {
            return Ok(bytes);
        }
        Err(CallError::Status { status, text: error_text(&bytes) })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let stream = TcpStream::connect(self.url.host_port()).await.map_err(CallError::Connect)?;
        stream.set_nodelay(true).map_err(CallError::Connect)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(CallError::Broken)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.base()))
            .header(HOST, self.url.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(CallError::Request)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(CallError::Broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            Ok((status, body.map_err(|_| CallError::Body)?.to_bytes()))
        };
        // The answer is there before the connection is over, or neither comes.
        tokio::pin!(answer, connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }
}

/// The server's own words, for the log.
fn error_text(bytes: &[u8]) -> String {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    let text = body.as_ref().and_then(|body| body["error"].as_str());
    text.unwrap_or("no reason given").chars().filter(|it| !it.is_control()).take(200).collect()
}

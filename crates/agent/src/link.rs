//! HTTP to the server: one connection, kept open, one message at a time.
//!
//! Messages are sealed before they come here and replies are opened later, so nothing relies on the
//! transport. Waits are in real time, whatever the speed of the agent's clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longest wait for connection, request and reply together, if the server does not hold the reply.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(20);
const MEDIA_TYPE: &str = "application/cose";

/// Where the server is: `http://host:port` with an optional path before `/link`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    authority: String,
    host_port: String,
    base: String,
}

/// Why text is not the address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseServerUrlError {
    #[error("must look like http://host:port")]
    Malformed,
    #[error(
        "https is not supported by this agent; messages are sealed end to end, so http reveals \
         sizes and times only"
    )]
    Https,
}

/// Why a request brought no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("server cannot be reached")]
    Connect(#[source] std::io::Error),
    #[error("connection to the server broke")]
    Broken(#[source] hyper::Error),
    #[error("server did not answer in time")]
    Timeout,
    #[error("server is busy")]
    Busy { retry_after: Option<Duration> },
    #[error("server answered {0}")]
    Status(StatusCode),
    #[error("reply is too long or broke off")]
    Body,
}

impl FromStr for ServerUrl {
    type Err = ParseServerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("https://") {
            return Err(ParseServerUrlError::Https);
        }
        let rest = text.strip_prefix("http://").ok_or(ParseServerUrlError::Malformed)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let has_port = authority.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@');
        if authority.is_empty() || !rest.chars().all(is_plain) {
            return Err(ParseServerUrlError::Malformed);
        }
        let path = path.trim_end_matches('/');
        Ok(Self {
            authority: authority.to_owned(),
            host_port: if has_port { authority.to_owned() } else { format!("{authority}:80") },
            base: if path.is_empty() { String::new() } else { format!("/{path}") },
        })
    }
}

impl ServerUrl {
    /// Returns host and port to connect to.
    pub(crate) fn host_port(&self) -> &str {
        &self.host_port
    }

    /// Returns what the `Host` header names.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the path before all others: empty, or with a slash in front.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.base)
    }
}

/// The connection to the server.
#[derive(Debug)]
pub(crate) struct Link {
    server: ServerUrl,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(crate) fn new(server: ServerUrl) -> Self {
        Self { server, connection: None }
    }

    /// Posts bytes to a path below the server's and returns the reply's bytes, at most `reply_max`. The
    /// server may hold the reply for `patience`.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        message: Vec<u8>,
        reply_max: usize,
        patience: Duration,
    ) -> Result<Bytes, LinkError> {
        let exchange = self.exchange(path, Bytes::from(message), reply_max);
        let result = tokio::time::timeout(EXCHANGE_TIMEOUT + patience, exchange).await;
        let result = result.unwrap_or(Err(LinkError::Timeout));
        match &result {
            Ok(_) | Err(LinkError::Busy { .. } | LinkError::Status(_)) => {}
            // The rest of a broken exchange must not reach the next one.
            Err(_) => self.connection = None,
        }
        result
    }

    async fn exchange(
        &mut self,
        path: &str,
        message: Bytes,
        reply_max: usize,
    ) -> Result<Bytes, LinkError> {
        let was_open = self.connection.is_some();
        let response = match self.send(path, message.clone()).await {
            // A server may close an idle connection while a request is on its way. Sending the same
            // bytes again is safe even if they did arrive: the server repeats its answer.
            Err(LinkError::Broken(_)) if was_open => {
                self.connection = None;
                self.send(path, message).await?
            }
            sent => sent?,
        };
        let status = response.status();
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            self.connection = None;
            return Err(LinkError::Busy { retry_after });
        }
        if status != StatusCode::OK {
            self.connection = None;
            return Err(LinkError::Status(status));
        }
        let body = Limited::new(response.into_body(), reply_max).collect().await;
        Ok(body.map_err(|_| LinkError::Body)?.to_bytes())
    }

    async fn send(&mut self, path: &str, body: Bytes) -> Result<Response<Incoming>, LinkError> {
        if self.connection.as_ref().is_none_or(|c| c.sender.is_closed()) {
            self.connection = Some(connect(&self.server.host_port).await?);
        }
        let Some(connection) = self.connection.as_mut() else { return Err(LinkError::Timeout) };
        connection.sender.ready().await.map_err(LinkError::Broken)?;
        let request = Request::post(format!("{}{path}", self.server.base))
            .header(HOST, &self.server.authority)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .body(Full::new(body))
            .map_err(|_| LinkError::Body)?;
        connection.sender.send_request(request).await.map_err(LinkError::Broken)
    }
}

async fn connect(host_port: &str) -> Result<Connection, LinkError> {
    let stream = TcpStream::connect(host_port).await.map_err(LinkError::Connect)?;
    stream.set_nodelay(true).map_err(LinkError::Connect)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(LinkError::Broken)?;
    // The sender shows its end; the error is returned by the request that met it.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { sender, driver })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_addresses_are_checked() {
        let url = |text: &str| text.parse::<ServerUrl>();
        assert_eq!(url("http://a.example").unwrap().host_port, "a.example:80");
        assert_eq!(url("http://[::1]:8080/eco/").unwrap().to_string(), "http://[::1]:8080/eco");
        assert_eq!(url("https://a.example"), Err(ParseServerUrlError::Https));
        for bad in ["a.example", "http://", "http://a b", "http://user@host/", "http://h?x"] {
            assert_eq!(url(bad), Err(ParseServerUrlError::Malformed), "{bad}");
        }
    }
}

//! Accepts connections and serves HTTP/1.1 on them, within limits that keep slow or greedy clients
//! from affecting others, and ends them in order when the server stops.
//!
//! `admission` decides which connection gets a place and which is closed for another.

use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tower::Service as _;

use super::App;
use super::admission::{Connection, Connections};
use super::extract::Peer;
use crate::limits::{
    HEAD_BYTES_MAX, HEAD_TIMEOUT, HEADERS_MAX, LINGER, LINGER_BYTES_MAX, PUT_OFF_LINE_EVERY,
    SHUTDOWN_DEADLINE, WRITE_TIMEOUT,
};
use crate::log_limit::LogLimit;
use crate::stop::stopped;

/// Pause after `accept` failed, which it does at once while file descriptors or memory are short.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until the server stops, then lets requests in flight finish within
/// [`SHUTDOWN_DEADLINE`].
pub(crate) async fn listen(
    listener: TcpListener,
    places: Arc<Connections>,
    router: Router,
    app: App,
    mut stop: watch::Receiver<bool>,
) {
    let not_accepted = LogLimit::new(PUT_OFF_LINE_EVERY);
    let all_at_work = LogLimit::new(PUT_OFF_LINE_EVERY);
    let mut connections = JoinSet::new();
    loop {
        // Reap finished connections here, so that the set stays as small as what is open.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            _ = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let address = peer.ip();
                let held = places.open(address, app.proxies.trust(address));
                let Some(held) = held else {
                    if let Some(others) = all_at_work.allow(app.real_time.mono()) {
                        tracing::warn!(%address, others, "connection closed: all others are busy");
                    }
                    continue;
                };
                let connection = Arc::clone(&held.connection);
                let serve =
                    serve(stream, address, connection, router.clone(), app.clone(), stop.clone());
                connections.spawn(async move {
                    let _held = held;
                    serve.await;
                });
            }
            Err(error) => {
                if let Some(others) = not_accepted.allow(app.real_time.mono()) {
                    tracing::warn!(%error, others, "connection not accepted");
                }
                // Usually file descriptors have run out; closing an idle connection frees one.
                places.make_room();
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_DEADLINE, finished).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut off at shutdown");
        connections.shutdown().await;
    }
}

async fn serve(
    stream: TcpStream,
    address: IpAddr,
    place: Arc<Connection>,
    router: Router,
    app: App,
    mut stop: watch::Receiver<bool>,
) {
    let _open = app.metrics.connections.enter();
    // Answers are small and the client waits for them.
    let _ = stream.set_nodelay(true);
    let stream = Guarded::new(stream, Arc::clone(&place));
    let (of_request, of_service) = (Arc::clone(&place), Arc::clone(&app));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let client = of_service.proxies.client(address, request.headers());
        request.extensions_mut().insert(Peer(Some(client)));
        request.extensions_mut().insert(Arc::clone(&of_request));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = async {
        tokio::select! {
            outcome = connection.as_mut() => outcome,
            _ = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        outcome = served => {
            if let Err(error) = outcome {
                tracing::debug!(%error, "connection ended early");
            }
        }
        () = place.cut() => tracing::debug!(%address, "idle connection closed for another"),
    }
}

/// A stream that records when bytes move and fails if the client takes no bytes for
/// [`WRITE_TIMEOUT`]. If it ends while a request is partly unread, it is read on for a while.
struct Guarded {
    stream: TcpStream,
    connection: Arc<Connection>,
    stuck: Option<Pin<Box<Sleep>>>,
    linger: Option<Pin<Box<Sleep>>>,
    linger_bytes: usize,
}

impl Guarded {
    fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, stuck: None, linger: None, linger_bytes: LINGER_BYTES_MAX }
    }

    /// Passes `outcome` on; a pending one starts or checks the write timeout.
    fn watch<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stuck = None;
            self.connection.moved();
            return outcome;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and discards until the client closes, or [`LINGER`] or [`LINGER_BYTES_MAX`] is used
    /// up.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 8192];
        while self.linger_bytes > 0 {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.linger_bytes = self.linger_bytes.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let end =
                        self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                    return end.as_mut().poll(context);
                }
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if outcome.is_ready() {
            self.connection.moved();
        }
        outcome
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        ready!(self.watch(outcome, context))?;
        if self.connection.has_unread() {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

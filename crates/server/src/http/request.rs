//! The outermost layer around every request: assigns a request id and a span, checks the host,
//! reads the body, takes a place among the requests in flight, enforces the deadline, catches
//! panics, writes errors as JSON, and sets the security headers.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ecowatt_api::{Error, ErrorBody, OriginalRefusal};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::App;
use super::admission::{Connection, Door, Kind, RequestPlace};
use super::error::{ApiError, Failure};
use super::error_code::ErrorCode;
use super::extract::Peer;
use super::request_id::{REQUEST_ID, RequestId};
use crate::disk_space::Evidence;
use crate::limits::{BODY_TIMEOUT, RETRY_AFTER};

/// The content type of refusals that a handler has written.
const JSON: &str = "application/json";

pub(crate) async fn process(
    State((app, door)): State<(App, Door)>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId(getrandom::u64().unwrap_or_default());
    request.extensions_mut().insert(id);
    let kind = Kind::of(request.method(), request.uri().path());
    let span = span(kind, id, &request);
    let started = app.real_time.mono();
    let _in_flight = app.metrics.requests_in_flight.enter();

    let response = async {
        let response = answer(&app, (door, kind), request, next).await;
        finish(&app, response, id, kind)
    }
    .instrument(span)
    .await;

    let took = app.real_time.mono().since(started);
    app.metrics.request_durations.observe(took);
    app.metrics.requests.add([kind.as_str(), class(response.status())], 1);
    response
}

/// Device messages come by the thousand a second and are seldom logged, so they get a span at debug
/// level; the few lines about them carry the id themselves.
fn span(kind: Kind, id: RequestId, request: &Request) -> tracing::Span {
    let (method, path) = (request.method(), request.uri().path());
    if kind.is_link() {
        tracing::debug_span!("request", request_id = %id, %method, %path)
    } else {
        tracing::info_span!("request", request_id = %id, %method, %path)
    }
}

async fn answer(app: &App, (door, kind): (Door, Kind), request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let connection = parts.extensions.get::<Arc<Connection>>().map(Arc::clone);
    let leave_unread = || connection.iter().for_each(|connection| connection.leave_unread());
    if kind.body_bytes_max() == 0 && !body.is_end_stream() {
        leave_unread();
    }
    let checked = if door.lets_in(kind, parts.uri.path()) {
        app.hosts.check(kind, parts.version, &parts.uri, &parts.headers)
    } else {
        Err(ApiError::not_found(ErrorCode::RouteUnknown, "there is no such route for devices"))
    };
    let received = match checked {
        Ok(()) => receive(kind, body).await,
        Err(refused) => Err(refused),
    };
    let body = match received {
        Ok(body) => body,
        Err(refused) => {
            leave_unread();
            return refused.into_response();
        }
    };
    let _work = connection.as_ref().map(Connection::work);
    let address = parts.extensions.get::<Peer>().and_then(|Peer(address)| *address);
    let place = app.admission.admit(kind, address);
    if place.is_none() && kind != Kind::Own {
        return ApiError::busy().into_response();
    }
    let place = RequestPlace::new(place);
    parts.extensions.insert(place.clone());
    let response = run(app, kind, Request::from_parts(parts, body), next).await;
    place.replace(None);
    response
}

/// Reads a body to its end, so that handlers never wait for a client. A client that sent
/// `Expect: 100-continue` is asked to continue only if the length it announces is allowed.
async fn receive(kind: Kind, body: Body) -> Result<Body, ApiError> {
    let length_max = kind.body_bytes_max();
    // A kind without a body budget ignores its body; the connection deals with what is unread.
    if length_max == 0 || body.is_end_stream() {
        return Ok(body);
    }
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > length_max) {
        return Err(ApiError::too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, length_max)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(_)) => Err(ApiError::too_large()),
        Err(_) => Err(ApiError::slow_body()),
    }
}

async fn run(app: &App, kind: Kind, request: Request, next: Next) -> Response {
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(kind.deadline(), run).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            app.metrics.panics.add(1);
            let text = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            ApiError::internal(anyhow::anyhow!("panic: {text}")).into_response()
        }
        Err(_) => ApiError::busy().into_response(),
    }
}

fn finish(app: &App, mut response: Response, id: RequestId, kind: Kind) -> Response {
    let status = response.status();
    let failure = response.extensions_mut().remove::<Failure>();
    // Of the API's answers, 201 means that something was stored.
    let evidence = match &failure {
        Some(failure) if failure.code == ErrorCode::StorageFull => Evidence::Full,
        _ if status == StatusCode::CREATED => Evidence::Stored,
        _ => Evidence::Nothing,
    };
    app.disk_space.note(&app.metrics, app.real_time.mono(), evidence);
    if status.is_client_error() || status.is_server_error() {
        // Devices read only the status of a link answer, and the original's routes write their own
        // refusals.
        let is_written = match kind.is_original() {
            true => response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == JSON),
            false => kind.is_link(),
        };
        if !is_written || failure.is_some() {
            let failure = failure.unwrap_or_else(|| Failure::of_status(status));
            log(app, status, &failure, id);
            response = render(response, &failure, kind, id);
        }
    }
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(RETRY_AFTER)));
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, value);
    }
    if kind.is_link() && status.is_success() {
        // Only devices read it, and a device may pay for every byte.
        return response;
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Pages set their own policy; no other answer is a document.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn render(response: Response, failure: &Failure, kind: Kind, id: RequestId) -> Response {
    let message = failure.message.clone().into_owned();
    let mut rendered = if kind.is_original() {
        let body = OriginalRefusal { success: false, error: message };
        (response.status(), axum::Json(body)).into_response()
    } else {
        let (code, request_id) = (failure.code.as_str().to_owned(), id.to_string());
        let body = Error { error: ErrorBody { code, message, request_id } };
        (response.status(), axum::Json(body)).into_response()
    };
    // Keep headers such as `Allow` of a 405 and `Retry-After` of a 429.
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

fn log(app: &App, status: StatusCode, failure: &Failure, id: RequestId) {
    let request_id = tracing::Span::current().is_disabled().then(|| tracing::field::display(id));
    let cause = failure.cause.as_ref().map(|cause| Chain(Arc::clone(cause)));
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::error!(
            status = status.as_u16(),
            code = failure.code.as_str(),
            cause = cause.map(tracing::field::display),
            request_id,
            "request failed"
        );
    } else if status == StatusCode::SERVICE_UNAVAILABLE {
        if let Some(others) = app.overload_line.allow(app.real_time.mono()) {
            tracing::warn!(
                code = failure.code.as_str(),
                cause = cause.map(tracing::field::display),
                request_id,
                others,
                "request rejected: overloaded"
            );
        }
    } else {
        tracing::debug!(status = status.as_u16(), code = failure.code.as_str(), "request refused");
    }
}

/// Prints an error with all its causes on one line.
struct Chain(Arc<anyhow::Error>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// Returns whole seconds, rounded up, for `Retry-After`.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::to_bytes;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use ecowatt_clock::Clock;
    use ecowatt_envelope::MESSAGE_MAX;
    use ecowatt_store::Store;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;
    use tower::ServiceExt as _;

    use super::*;
    use crate::Config;
    use crate::http::{AppState, Connections, Share};
    use crate::subjects::Subjects;

    fn app(folder: &std::path::Path) -> App {
        let store = Store::open(folder).unwrap();
        let (_, stop) = watch::channel(false);
        let config = Config::default();
        let subjects = Subjects::new(&config, store, Clock::system());
        Arc::new(AppState::new(&config, subjects, stop))
    }

    fn listen(
        listener: TcpListener,
        router: Router,
        app: &App,
        stopping: watch::Receiver<bool>,
    ) -> tokio::task::JoinHandle<()> {
        let connections = Connections::new(app.real_time, Share(100), 64);
        tokio::spawn(crate::http::listen(listener, connections, router, Arc::clone(app), stopping))
    }

    async fn boom() -> StatusCode {
        panic!("the secret is 42")
    }

    async fn ask(app: &App, path: &str) -> (Response, Error) {
        let router = Router::new()
            .route("/api/boom", get(boom))
            .route(
                "/health",
                get(|| async { ApiError::bad_request(ErrorCode::InvalidName, "answered") }),
            )
            .layer(from_fn_with_state((Arc::clone(app), Door::Main), process));
        let request = Request::builder()
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .body(Body::empty())
            .unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, 10_000).await.unwrap();
        let error = serde_json::from_slice(&body).unwrap();
        (Response::from_parts(parts, Body::empty()), error)
    }

    #[tokio::test]
    async fn panic_is_an_internal_error_that_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let (response, Error { error }) = ask(&app, "/api/boom").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(error.code, "internal");
        assert!(!error.message.contains("secret"), "{}", error.message);
        assert_eq!(response.headers()[REQUEST_ID], error.request_id.as_str());
        assert_eq!(app.metrics.panics.get(), 1);
    }

    #[tokio::test]
    async fn overload_is_reported_and_does_not_hide_the_servers_health() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let taken = app.admission.fill(Kind::Api);
        let (response, Error { error }) = ask(&app, "/api/boom").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (error.code.as_str(), &response.headers()[header::RETRY_AFTER]),
            ("busy", &"2".parse().unwrap())
        );
        assert_eq!(ask(&app, "/health").await.1.error.code, "invalid_name");
        drop(taken);
        assert_eq!(ask(&app, "/api/boom").await.1.error.code, "internal");
    }

    #[tokio::test]
    async fn rejected_message_is_read_so_that_its_connection_stays() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let _taken = app.admission.fill(Kind::Message);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let router = crate::http::router(&app, Door::Main);
        let listen = listen(listener, router, &app, stopping);

        let mut answers = String::new();
        for _ in 0..2 {
            let head =
                format!("POST /link HTTP/1.1\r\nhost: h\r\ncontent-length: {MESSAGE_MAX}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
            for piece in vec![0; MESSAGE_MAX].chunks(10_000) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            while !answers.ends_with('}') {
                let mut buffer = [0; 2_000];
                let count = stream.read(&mut buffer).await.unwrap();
                assert_ne!(count, 0, "closed after {answers}");
                answers.push_str(str::from_utf8(&buffer[..count]).unwrap());
            }
            answers.push('\n');
        }
        assert_eq!(answers.matches("HTTP/1.1 503").count(), 2, "{answers}");
        assert_eq!(answers.matches("retry-after: 2").count(), 2, "{answers}");
        drop(stream);
        stop.send(true).unwrap();
        listen.await.unwrap();
    }

    /// The status line that a request gets over a socket.
    async fn status(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().into()
    }

    #[tokio::test]
    async fn kind_that_has_used_up_its_budget_leaves_every_other_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let listen = listen(listener, crate::http::router(&app, Door::Main), &app, stopping);
        let head =
            |line: &str| format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        let of_each = [
            (Kind::Message, head("POST /link")),
            (Kind::Enrolment, head("POST /link/enrol")),
            (Kind::Access, head("POST /api/v1/session")),
            (Kind::Api, head("GET /api/v1/sites")),
            (Kind::Page, head("GET /")),
        ];
        for full in [Kind::Message, Kind::Enrolment, Kind::Access, Kind::Api, Kind::Page] {
            let taken = app.admission.fill(full);
            for (kind, request) in &of_each {
                let status = status(address, request).await;
                assert_eq!(status.contains("503"), *kind == full, "{full:?} {kind:?}: {status}");
            }
            assert!(status(address, &head("GET /health")).await.contains("200"), "{full:?}");
            drop(taken);
        }
        stop.send(true).unwrap();
        listen.await.unwrap();
    }
}

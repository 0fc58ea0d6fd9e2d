//! The front of the earlier EcoWatt's Inverter SIM: RTU frames as hexadecimal text in JSON over HTTP.
//!
//! `POST /api/inverter/read` and `/write` take `{"frame":"…"}` and answer with the frame that the
//! inverter sends, or an empty one if it sends nothing. `POST /api/user/error-flag/add` makes the
//! next request fail. A request may need a key, which is the whole `Authorization` header.
//!
//! What the original's service answered to wrong requests is not known; its devices look at no
//! status. Here they get one that fits, and `{"error":"…"}`.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_modbus::{ADU_MAX, Framing, RequestDecoder};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::{IDLE_MAX, Shared};
use crate::fault::{FaultSpec, Kind};
use crate::slave::SlaveAction;

/// Longest body: the longest frame as text, and room for the JSON around it.
const BODY_MAX: usize = 2 * ADU_MAX + 512;

/// How long a client may take to send a body of this size.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct Frame {
    frame: String,
}

#[derive(Serialize)]
struct Failed {
    error: String,
}

/// The fault that the original's server asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorFlag {
    error_type: ErrorType,
    exception_code: Option<u8>,
    delay_ms: Option<u64>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ErrorType {
    Exception,
    CrcError,
    Corrupt,
    PacketDrop,
    Delay,
}

/// The answer to a request, before it is written.
enum Answer {
    Frame(Frame),
    Accepted,
    Failed(StatusCode, String),
    /// The connection ends without one.
    None,
}

/// Answers one client until it disconnects or idles too long.
pub(super) async fn serve_client(stream: TcpStream, key: Option<&str>, shared: &Arc<Shared>) {
    let service = service_fn(|request| respond(request, key, shared));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}

/// Why a connection ends without an answer: the fault asks for it.
#[derive(Debug, thiserror::Error)]
#[error("the inverter resets the connection")]
struct Reset;

async fn respond(
    request: Request<Incoming>,
    key: Option<&str>,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, Reset> {
    let (status, body) = match answer(request, key, shared).await {
        Answer::Frame(frame) => (StatusCode::OK, json(&frame)),
        Answer::Accepted => (StatusCode::OK, json(&serde_json::json!({ "success": true }))),
        Answer::Failed(status, error) => (status, json(&Failed { error })),
        Answer::None => return Err(Reset),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn json(value: &impl Serialize) -> Bytes {
    // Texts and numbers only: it cannot fail.
    serde_json::to_vec(value).unwrap_or_default().into()
}

async fn answer(request: Request<Incoming>, key: Option<&str>, shared: &Shared) -> Answer {
    let path = request.uri().path().to_owned();
    let is_frame = matches!(path.as_str(), "/api/inverter/read" | "/api/inverter/write");
    if !is_frame && path != "/api/user/error-flag/add" {
        return failed(StatusCode::NOT_FOUND, "no such path");
    }
    if request.method() != Method::POST {
        return failed(StatusCode::METHOD_NOT_ALLOWED, "only POST is possible on this path");
    }
    let given = request.headers().get(AUTHORIZATION).map(|key| key.as_bytes());
    if key.is_some_and(|key| given != Some(key.as_bytes())) {
        return failed(StatusCode::UNAUTHORIZED, "the Authorization header is not the key");
    }
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    let body = match tokio::time::timeout(BODY_TIME_MAX, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return failed(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"),
        Err(_) => return failed(StatusCode::REQUEST_TIMEOUT, "the body did not arrive"),
    };
    if is_frame { exchange(&body, shared).await } else { add_fault(&body, shared) }
}

async fn exchange(body: &[u8], shared: &Shared) -> Answer {
    let frame: Frame = match serde_json::from_slice(body) {
        Ok(frame) => frame,
        Err(error) => return failed(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let Some(bytes) = from_hex(&frame.frame).filter(|bytes| bytes.len() <= ADU_MAX) else {
        return failed(StatusCode::BAD_REQUEST, "frame must be an RTU frame in hexadecimal digits");
    };
    let mut decoder = RequestDecoder::new(Framing::Rtu);
    decoder.push(&bytes);
    match shared.next_outcome(Framing::Rtu, &mut decoder) {
        // A slave does not answer a damaged frame, or one for another unit.
        None | Some(SlaveAction::Silence) => Answer::Frame(Frame { frame: String::new() }),
        Some(SlaveAction::Close) => Answer::None,
        Some(SlaveAction::Send { delay, bytes, .. }) => {
            tokio::time::sleep(delay).await;
            let frame = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            Answer::Frame(Frame { frame })
        }
    }
}

fn add_fault(body: &[u8], shared: &Shared) -> Answer {
    let flag: ErrorFlag = match serde_json::from_slice(body) {
        Ok(flag) => flag,
        Err(error) => return failed(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    // The original's server sends all three fields, whatever the type.
    let only = |is_it: ErrorType| (flag.error_type == is_it).then_some(());
    let spec = FaultSpec {
        times: Some(1),
        code: only(ErrorType::Exception).and(flag.exception_code),
        delay_ms: only(ErrorType::Delay).and(flag.delay_ms),
        ..FaultSpec::always(flag.error_type.kind())
    };
    let (mut inner, now) = shared.present();
    match spec.check(now).and_then(|fault| inner.station.add_fault(fault, now)) {
        Ok(_) => Answer::Accepted,
        Err(error) => failed(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    }
}

impl ErrorType {
    const fn kind(self) -> Kind {
        match self {
            Self::Exception => Kind::Exception,
            Self::CrcError => Kind::WrongCrc,
            Self::Corrupt => Kind::Garbage,
            Self::PacketDrop => Kind::Silence,
            Self::Delay => Kind::Delay,
        }
    }
}

fn failed(status: StatusCode, error: &str) -> Answer {
    Answer::Failed(status, error.to_owned())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

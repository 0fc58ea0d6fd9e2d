//! The dashboard's files, embedded in the binary.
//!
//! File names are stable, so browsers must revalidate every answer by the hash of its content.
//! Paths without a file are the dashboard's own routes and get its index.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::admission::Kind;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::gzip::{gzip, is_accepted};

#[derive(RustEmbed)]
#[folder = "../../dashboard/dist"]
struct Dist;

/// Allows no inline script, nothing from other origins, no frames.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Answers requests that match no route.
pub(crate) async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if is_ours(path) || Kind::of(&method, uri.path()).is_original() {
        return ApiError::not_found(ErrorCode::RouteUnknown, "there is no such route")
            .into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        let allow = [(header::ALLOW, HeaderValue::from_static("GET, HEAD"))];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    }
    if let Some(asset) = ASSETS.get(path) {
        return answer(asset, &headers);
    }
    // A missing script must not come back as HTML.
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    match ASSETS.get("index.html") {
        Some(index) if !is_file => answer(index, &headers),
        _ => ApiError::not_found(ErrorCode::PageUnknown, "there is no such page").into_response(),
    }
}

/// A file as it is sent.
struct Asset {
    kind: &'static str,
    plain: Form,
    /// Absent where it would not be smaller.
    gzip: Option<Form>,
}

/// The bytes of a file in one encoding, and their entity tag.
struct Form {
    bytes: Bytes,
    tag: HeaderValue,
}

/// All files by path, compressed once.
static ASSETS: LazyLock<HashMap<String, Asset>> = LazyLock::new(|| {
    Dist::iter().filter_map(|path| Some((path.to_string(), Asset::new(&path)?))).collect()
});

impl Asset {
    fn new(path: &str) -> Option<Self> {
        let file = Dist::get(path)?;
        let mut hash = String::new();
        for byte in &file.metadata.sha256_hash()[..16] {
            // Writing to a String cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        let tag = |suffix: &str| HeaderValue::from_str(&format!("\"{hash}{suffix}\"")).ok();
        let bytes = match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        let smaller = gzip(&bytes, 9);
        let gzip = (smaller.len() < bytes.len())
            .then(|| Some(Form { bytes: smaller.into(), tag: tag("-gzip")? }))
            .flatten();
        Some(Self { kind: content_type(path), plain: Form { bytes, tag: tag("")? }, gzip })
    }
}

fn is_ours(path: &str) -> bool {
    ["api", "link"].iter().any(|own| {
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn answer(asset: &Asset, request: &HeaderMap) -> Response {
    let compressed = asset.gzip.as_ref().filter(|_| is_accepted(request));
    let form = compressed.unwrap_or(&asset.plain);
    let headers = [
        (header::ETAG, form.tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    let is_known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/").as_bytes() == form.tag.as_bytes());
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
    if compressed.is_some() {
        return (headers, encoding, form.bytes.clone()).into_response();
    }
    (headers, form.bytes.clone()).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

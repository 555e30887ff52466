//! What the demo upstream answers.
//!
//! Invariant: but for `/echo`, no answer holds a value of a header that may carry a credential, nor of the query:
//! fingerprints only.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use hyper::{Request, Response};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// The longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How many events `/sse` sends before it ends.
const EVENTS_MAX: u32 = 600;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Answers one request.
pub(super) async fn answer<B>(request: Request<B>) -> Result<Answer, Infallible>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    match head.uri.path() {
        "/echo" => Ok(as_json(&json!({ "headers": raw(&head.headers) }))),
        "/sse" => Ok(events()),
        path => {
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let length = match body {
                Ok(body) => body.to_bytes().len().into(),
                Err(_) => Value::from("more than 1 MiB, or broken off"),
            };
            Ok(as_json(&json!({
                "hello": "this is what the upstream received",
                "method": head.method.as_str(),
                "path": path,
                "query": head.uri.query().map(query),
                "protocol": format!("{:?}", head.version),
                "headers": fingerprinted(&head.headers),
                "body_bytes": length,
            })))
        }
    }
}

/// The first twelve hexadecimal digits of a value's SHA-256: enough to compare, useless to recover.
pub(in crate::dev) fn fingerprint(value: &[u8]) -> String {
    let digest = Sha256::digest(value);
    let hex: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

fn raw(headers: &HeaderMap) -> Value {
    let fields = headers.iter().map(|(name, value)| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), text.into())
    });
    Value::Object(fields.collect())
}

fn fingerprinted(headers: &HeaderMap) -> Value {
    let mut fields = Map::new();
    for (name, value) in headers {
        let (name, value) = (name.as_str(), value.as_bytes());
        let text = if is_public(name) {
            String::from_utf8_lossy(value).into_owned()
        } else {
            scheme_and_fingerprint(value)
        };
        fields.insert(name.to_owned(), text.into());
    }
    Value::Object(fields)
}

/// What cannot be a credential; everything else is treated as one.
fn is_public(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "content-length"
            | "content-type"
            | "host"
            | "te"
            | "transfer-encoding"
            | "user-agent"
    )
}

/// `Bearer VALUE` keeps its first word: it says how, not what.
fn scheme_and_fingerprint(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    match text.split_once(' ') {
        Some((scheme @ ("Bearer" | "Basic" | "token"), rest)) => {
            format!("{scheme} {}", fingerprint(rest.as_bytes()))
        }
        _ => fingerprint(value),
    }
}

fn query(query: &str) -> Value {
    let fields = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), fingerprint(value.as_bytes()).into())
    });
    Value::Object(fields.collect())
}

fn as_json(value: &Value) -> Answer {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(text + "\n")).boxed());
    answer.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    answer
}

/// One event a second.
fn events() -> Answer {
    let stream = futures_util::stream::iter(1..=EVENTS_MAX).then(|n| async move {
        if n > 1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(Frame::data(Bytes::from(format!(
            "id: {n}\ndata: tick {n}\n\n"
        ))))
    });
    let mut answer = Response::new(BoxBody::new(StreamBody::new(stream)));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(
        CACHE_CONTROL,
        hyper::header::HeaderValue::from_static("no-store"),
    );
    answer
}

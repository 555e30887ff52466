//! Answers that give back the credential that came with the request, in every encoding and framing.
//!
//! The credential is `x-api-key` if it is there, else what `Authorization` carries behind its scheme (for `Basic` the
//! decoded password), else the query parameter `key`. Every answer has harmless text around it.

use std::io::Write as _;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};

use super::answer::{Query, typed};
use super::body::{self, Body};

const BEFORE: &str = "what you sent: ";
const AFTER: &str = " (that was it)";

/// The credential of a request; empty if it has none.
#[must_use]
pub fn credential(head: &Parts) -> Vec<u8> {
    let header = |name: HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
    if let Some(key) = header(HeaderName::from_static("x-api-key")) {
        return key.to_vec();
    }
    if let Some(value) = header(AUTHORIZATION) {
        let space = value.iter().position(|&byte| byte == b' ').unwrap_or(0);
        let (scheme, rest) = value.split_at(space);
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"basic") {
            let pair = STANDARD.decode(rest).unwrap_or_default();
            let colon = pair.iter().position(|&byte| byte == b':');
            return pair
                .get(colon.map_or(0, |at| at + 1)..)
                .unwrap_or_default()
                .to_vec();
        }
        return rest.to_vec();
    }
    Query::of(head)
        .text("key")
        .unwrap_or_default()
        .as_bytes()
        .to_vec()
}

/// Answers `/echo/HOW`, or nothing if there is no such way.
///
/// # Errors
/// When the answer cannot be made of these bytes.
pub fn answer(head: &Parts, how: &str) -> Result<Option<Response<Body>>> {
    let query = Query::of(head);
    let secret = credential(head);
    let text = |middle: &[u8]| [BEFORE.as_bytes(), middle, AFTER.as_bytes()].concat();
    Ok(Some(match how {
        "header" => in_headers(head)?,
        "name" => in_name(&secret)?,
        "json" => json(&secret)?,
        "raw" => plain(body::full(text(&secret))),
        "base64" => base64_at(&secret, query.number("align", 0)?),
        "base64url" => plain(body::full(text(URL_SAFE.encode(&secret).as_bytes()))),
        "hex" => plain(body::full(text(&hex(&secret, "")))),
        "percent" => plain(body::full(text(&hex(&secret, "%")))),
        "split" => split(&text(&secret), BEFORE.len() + query.number("at", 0)?),
        "chunks" => {
            let all = Bytes::from(text(&secret));
            let size = query.number("size", 1)?.max(1);
            let chunks = all.chunks(size).map(|chunk| all.slice_ref(chunk));
            plain(body::pieces(chunks.collect()))
        }
        "trailer" => trailer(&secret)?,
        "gzip" => gzip(&text(&secret))?,
        _ => return Ok(None),
    }))
}

fn plain(body: Body) -> Response<Body> {
    typed("text/plain; charset=utf-8", body)
}

fn in_headers(head: &Parts) -> Result<Response<Body>> {
    let mut answer = plain(body::full("see the headers\n"));
    for (from, to) in [
        ("authorization", "x-echo-authorization"),
        ("x-api-key", "x-echo-api-key"),
    ] {
        if let Some(value) = head.headers.get(from) {
            answer.headers_mut().append(to, value.clone());
        }
    }
    // Once more inside other text, as `Location` and `Set-Cookie` would have it.
    let mut cookie = b"last=".to_vec();
    cookie.extend(credential(head));
    cookie.extend(b"; Path=/");
    answer
        .headers_mut()
        .insert("x-echo-inside", HeaderValue::from_bytes(&cookie)?);
    Ok(answer)
}

/// HTTP/2 has lower-case names only, so that the credential comes back in another case than it was sent in.
fn in_name(secret: &[u8]) -> Result<Response<Body>> {
    let name = HeaderName::from_bytes(&[b"x-echo-", secret].concat())?;
    let mut answer = plain(body::full("see the names\n"));
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static("1"));
    Ok(answer)
}

fn json(secret: &[u8]) -> Result<Response<Body>> {
    let value = serde_json::json!({
        "note": "what you sent",
        "token": String::from_utf8_lossy(secret),
        "nested": {"again": [String::from_utf8_lossy(secret)]},
    });
    Ok(typed(
        "application/json",
        body::full(serde_json::to_vec(&value)?),
    ))
}

/// The credential in the middle of a longer text that is encoded as a whole, so that it starts at any alignment.
fn base64_at(secret: &[u8], align: usize) -> Response<Body> {
    let mut inner = vec![b'.'; align];
    inner.extend_from_slice(secret);
    inner.extend_from_slice(b" and more");
    let encoded = STANDARD.encode(inner);
    plain(body::full(format!("{BEFORE}{encoded}{AFTER}")))
}

fn hex(secret: &[u8], prefix: &str) -> Vec<u8> {
    secret
        .iter()
        .flat_map(|byte| format!("{prefix}{byte:02x}").into_bytes())
        .collect()
}

fn split(all: &[u8], at: usize) -> Response<Body> {
    let (first, second) = all.split_at(at.min(all.len()));
    plain(body::pieces(vec![
        Bytes::copy_from_slice(first),
        Bytes::copy_from_slice(second),
    ]))
}

fn trailer(secret: &[u8]) -> Result<Response<Body>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-echo-trailer", HeaderValue::from_bytes(secret)?);
    // More than a frame of HTTP/2, which has 16 KiB.
    let text = "see the trailers\n".repeat(1_200);
    let mut answer = plain(body::with_trailers(text, trailers));
    // Over HTTP/1.1 hyper sends only trailers that were announced, and only to a client that said `TE: trailers`.
    answer
        .headers_mut()
        .insert("trailer", HeaderValue::from_static("x-echo-trailer"));
    Ok(answer)
}

fn gzip(text: &[u8]) -> Result<Response<Body>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text)?;
    let mut answer = plain(body::full(encoder.finish()?));
    answer
        .headers_mut()
        .insert("content-encoding", HeaderValue::from_static("gzip"));
    Ok(answer)
}

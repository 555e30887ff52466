//! Hosts of vendors: each answers what a table says, and only who shows the credential that the table asks for.
//!
//! A host that is in the table answers nothing else: a request that is not in it gets 404, one without what must arrive
//! gets 401. So a client that goes on was sent there with the right credential.
//!
//! The table is JSON, a list of [`Row`]s.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde::Deserialize;

use super::answer::status;
use super::body::{self, Body};

/// A request and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The host, without a port.
    pub host: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers that must arrive, each once and with this value.
    #[serde(default)]
    pub arrives: Vec<(String, String)>,
    /// The answer's status.
    #[serde(default = "ok")]
    pub status: u16,
    /// The answer's headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The answer's body; in gRPC the message, in hexadecimal.
    #[serde(default)]
    pub body: String,
    /// Whether the answer is gRPC: framed, with `grpc-status: 0` behind it.
    #[serde(default)]
    pub grpc: bool,
}

const fn ok() -> u16 {
    200
}

/// All rows, by host.
#[derive(Debug, Default)]
pub struct Table(HashMap<String, Vec<Row>>);

impl Table {
    /// Reads a file; without one the table is empty.
    ///
    /// # Errors
    /// When the file cannot be read, or is not such a table.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let rows: Vec<Row> = serde_json::from_str(&text).context("the table of answers")?;
        let mut table = Self::default();
        for row in rows {
            table.0.entry(row.host.clone()).or_default().push(row);
        }
        Ok(table)
    }

    /// The answer to a request for one of its hosts; nothing for other hosts.
    ///
    /// # Errors
    /// When a row cannot be sent.
    pub fn answer(&self, head: &Parts) -> Result<Option<Response<Body>>> {
        let Some(rows) = self.0.get(host(head)) else {
            return Ok(None);
        };
        let target = head.uri.path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let asked = |row: &&Row| row.method == head.method.as_str() && row.target == target;
        Ok(Some(match rows.iter().find(asked) {
            None => status(StatusCode::NOT_FOUND, "not in the table\n"),
            Some(row) if row.has_arrived(&head.headers) => row.answer(&head.method)?,
            Some(_) => status(StatusCode::UNAUTHORIZED, "who are you?\n"),
        }))
    }
}

/// The name of the host that was asked, which HTTP/2 has in `:authority`.
fn host(head: &Parts) -> &str {
    let header = head.headers.get("host").and_then(|host| host.to_str().ok());
    let host = head.uri.host().or(header).unwrap_or_default();
    host.split_once(':').map_or(host, |(name, _)| name)
}

impl Row {
    fn has_arrived(&self, headers: &HeaderMap) -> bool {
        self.arrives.iter().all(|(name, value)| {
            let mut all = headers.get_all(name).iter();
            all.next().is_some_and(|found| found == value.as_str()) && all.next().is_none()
        })
    }

    fn answer(&self, method: &Method) -> Result<Response<Body>> {
        let mut answer = Response::new(self.body(method)?);
        *answer.status_mut() = StatusCode::from_u16(self.status)?;
        let content_type = if self.grpc {
            "application/grpc"
        } else {
            "application/json"
        };
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in &self.headers {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        Ok(answer)
    }

    fn body(&self, method: &Method) -> Result<Body> {
        if method == Method::HEAD {
            return Ok(body::full(Bytes::new()));
        }
        if !self.grpc {
            return Ok(body::full(self.body.clone()));
        }
        let message = unhex(&self.body)?;
        // A frame of gRPC: not compressed, and how long it is.
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len())?.to_be_bytes());
        frame.extend(message);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Ok(body::with_trailers(frame, trailers))
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<_> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    if digits.len() != text.len() || digits.len() % 2 != 0 {
        bail!("{text} is not hexadecimal");
    }
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Ok(u8::try_from(high * 16 + low)?),
        _ => bail!("half a byte"),
    });
    pairs.collect()
}

//! What the upstream was sent, as JSON lines.
//!
//! A line is one `write`, so that a reader never sees half of one from a process that was killed.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::http::request::Parts;
use serde::Serialize;

use super::body::Received;

/// The most bytes of a body that are written down.
pub const BODY_MAX: usize = 64 * 1024;

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// Unique in the process, from 1.
    pub id: u64,
    /// Whether it is TLS.
    pub tls: bool,
}

/// One request.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    connection: u64,
    tls: bool,
    method: &'a str,
    version: &'a str,
    host: &'a str,
    /// Path and query.
    target: &'a str,
    /// In order, repeated ones too.
    headers: Vec<(&'a str, String)>,
    body_base64: String,
    body_bytes: u64,
    /// False if it broke off.
    body_complete: bool,
}

/// Appends requests to a file, if there is one.
#[derive(Debug)]
pub struct Recorder(Option<Mutex<File>>);

impl Recorder {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let opened = File::options().create(true).append(true).open(path);
            opened.with_context(|| format!("cannot write {}", path.display()))
        };
        Ok(Self(path.map(open).transpose()?.map(Mutex::new)))
    }

    /// Writes a request down.
    ///
    /// # Errors
    /// When the file cannot be written: the request must then fail too.
    pub fn record(&self, on: Connection, head: &Parts, body: &Received) -> Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut line = serde_json::to_vec(&entry(on, head, body))?;
        line.push(b'\n');
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.write_all(&line)?)
    }

    /// Writes down a head that was never parsed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_raw(&self, on: Connection, head: &str) -> Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let entry = serde_json::json!({"connection": on.id, "tls": on.tls, "raw": head});
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.write_all(format!("{entry}\n").as_bytes())?)
    }
}

/// A request as `/json` answers it and the file holds it.
#[must_use]
pub fn json(on: Connection, head: &Parts, body: &Received) -> String {
    serde_json::to_string(&entry(on, head, body)).unwrap_or_default()
}

fn entry<'a>(on: Connection, head: &'a Parts, body: &Received) -> Entry<'a> {
    let version = match head.version {
        hyper::Version::HTTP_2 => "HTTP/2",
        hyper::Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let header = head.headers.get("host").and_then(|host| host.to_str().ok());
    let authority = head
        .uri
        .authority()
        .map(hyper::http::uri::Authority::as_str);
    let kept = body.kept.get(..BODY_MAX).unwrap_or(&body.kept);
    Entry {
        connection: on.id,
        tls: on.tls,
        method: head.method.as_str(),
        version,
        host: authority.or(header).unwrap_or_default(),
        target: head
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str()),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
        body_base64: STANDARD.encode(kept),
        body_bytes: body.bytes,
        body_complete: body.complete,
    }
}

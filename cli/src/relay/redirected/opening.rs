//! The first bytes of a client that believes that it talks to the host itself: which host that is.
//!
//! Invariants: no more is read than it takes, in size and, by the caller, in time. What is read is kept as it came, so
//! that the gateway reads the same. A name is the client's own: of its TLS greeting (SNI), or of its `Host` header.
//! Deliberately not here: whether names agree later on, which the gateway checks for every request.

use httparse::{EMPTY_HEADER, Status};
use rustls::server::Acceptor;
use serde_json::json;
use sortie_proto::host::Host;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::tally::Reason;
use crate::relay::gateway::HEAD_BYTES_MAX;

/// The most fields of a head.
const FIELDS_MAX: usize = 128;
/// The type of a TLS record that holds a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// A head that is parsed with each segment, so that what is none is found out at once. In bytes.
const SHORT: usize = 512;
/// RFC 8446, 6.2.
const ACCESS_DENIED: u8 = 49;
/// RFC 6066, 3.
const UNRECOGNIZED_NAME: u8 = 112;

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Tls,
    Http,
}

/// What a client began with.
#[derive(Debug)]
pub(super) struct Opening {
    /// The host that it wants.
    pub(super) name: String,
    /// All that was read.
    pub(super) bytes: Vec<u8>,
    /// How it speaks.
    pub(super) speech: Speech,
}

/// Why there is no name, and how the client speaks, as far as that was found out.
pub(super) type Nameless = (Reason, Option<Speech>);

/// Reads until there is a name.
///
/// # Errors
/// Why there is none.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Opening, Nameless> {
    let mut bytes = Vec::with_capacity(4096);
    // What a segment brings is fed to it once; a greeting may come in many.
    let (mut greeting, mut fed) = (Acceptor::default(), 0);
    let mut parsed = 0;
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return Err((Reason::Silent, None)),
            Ok(_) if bytes.len() > HEAD_BYTES_MAX => return Err((Reason::TooLong, None)),
            Ok(_) => {}
        }
        let (found, speech) = match bytes.first() {
            Some(&HANDSHAKE) => {
                let new = bytes.get(fed..).unwrap_or_default();
                fed = bytes.len();
                (of_tls(&mut greeting, new), Speech::Tls)
            }
            Some(first) if first.is_ascii_uppercase() => {
                let found = if is_worth_parsing(&bytes, (fed, parsed)) {
                    parsed = bytes.len();
                    of_http(&bytes)
                } else {
                    Ok(None)
                };
                fed = bytes.len();
                (found, Speech::Http)
            }
            _ => return Err((Reason::Unknown, None)),
        };
        if let Some(name) = found.map_err(|reason| (reason, Some(speech)))? {
            return Ok(Opening {
                name,
                bytes,
                speech,
            });
        }
    }
}

/// The name of a TLS greeting; none as long as it is not whole.
fn of_tls(greeting: &mut Acceptor, mut new: &[u8]) -> Result<Option<String>, Reason> {
    while !new.is_empty() {
        let taken = greeting.read_tls(&mut new);
        if !matches!(taken, Ok(taken) if taken > 0) {
            return Err(Reason::TooLong);
        }
        match greeting.accept() {
            Ok(Some(whole)) => {
                let hello = whole.client_hello();
                return name(hello.server_name().unwrap_or_default()).map(Some);
            }
            Ok(None) => {}
            Err(_odd) => return Err(Reason::Unknown),
        }
    }
    Ok(None)
}

/// Whether a head may be whole that was not before, or is short, or has doubled since it was parsed: parsing all of a long
/// one with each byte would be work that grows with the square of it.
fn is_worth_parsing(bytes: &[u8], (fed, parsed): (usize, usize)) -> bool {
    // The end may have begun in what was there.
    let new = bytes.get(fed.saturating_sub(3)..).unwrap_or_default();
    let ends =
        new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
    ends || bytes.len() <= SHORT || bytes.len() >= parsed.saturating_mul(2)
}

/// The name of an HTTP/1 request's head; none as long as it is not whole.
fn of_http(bytes: &[u8]) -> Result<Option<String>, Reason> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Ok(None),
        Err(_odd) => return Err(Reason::Unknown),
    }
    // A client that means to speak to a proxy has the relay's own port.
    if !request
        .path
        .is_some_and(|path| path.starts_with('/') || path == "*")
    {
        return Err(Reason::Unknown);
    }
    let mut hosts = request
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("host"));
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Reason::Nameless);
    };
    let text = str::from_utf8(host.value).or(Err(Reason::Nameless))?;
    // The port is the one that was dialled; the gateway compares.
    name(text.split(':').next().unwrap_or_default().trim()).map(Some)
}

fn name(text: &str) -> Result<String, Reason> {
    match Host::parse(text) {
        Ok(Host::Name(name)) => Ok(name.to_string()),
        Ok(Host::Address(_)) | Err(_) => Err(Reason::Nameless),
    }
}

/// What a client is told that gets nowhere: an alert in TLS, an answer in HTTP, and nothing where it speaks neither.
pub(super) fn refusal(speech: Option<Speech>, reason: Reason) -> Vec<u8> {
    match speech {
        None => Vec::new(),
        Some(Speech::Tls) => {
            let what = if reason == Reason::Nameless {
                UNRECOGNIZED_NAME
            } else {
                ACCESS_DENIED
            };
            // A record of TLS 1.2, as every version begins: type, version, length, and a fatal alert.
            vec![21, 3, 3, 0, 2, 2, what]
        }
        Some(Speech::Http) => {
            let code = reason.code();
            let body = json!({"code": code, "message": reason.words(), "docs": "docs/relay.md#redirected-traffic"});
            format!(
                "HTTP/1.1 403 Forbidden\r\nX-Sortie-Code: {code}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.to_string().len()
            )
            .into_bytes()
        }
    }
}

#[cfg(test)]
mod tests;

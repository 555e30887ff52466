//! The head of an HTTP/1 request, read byte-strictly (RFC 9112).
//!
//! Pingora's parser mends what is ambiguous before any filter sees it: an illegal target is percent-encoded, folds are
//! joined, `Content-Length` beside `Transfer-Encoding` is dropped. Whatever could be read in two ways is refused here,
//! so that the request that was decided about is the request that is sent.
//!
//! Invariant: a [`Head`] has one meaning, under any parser. It does not say whether the request is allowed.

use bytes::{BufMut, Bytes, BytesMut};
use sortie_proto::code::Code;

/// The most headers that a request may have.
pub const HEADERS_MAX: usize = 128;
/// The longest method, in bytes: it is recorded, and the longest that is registered has 17 (IANA, HTTP methods).
pub const METHOD_BYTES_MAX: usize = 32;

/// A request's head, with one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The bytes, from the request line to the empty line.
    bytes: Bytes,
    method: Span,
    target: Span,
    /// Name and value of each header, in order.
    headers: Vec<(Span, Span)>,
    /// Whether it is HTTP/1.0.
    old: bool,
    /// What follows it.
    body: Body,
}

/// What follows a head (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing, or so many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

impl Body {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::Length(0))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

/// The length of the first complete head in the bytes: up to and with the first empty line.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a complete head.
///
/// # Errors
/// `request_malformed` for whatever RFC 9112 does not allow or two parsers could read differently; `head_too_large` for
/// too many headers.
pub fn parse(bytes: Bytes) -> Result<Head, Code> {
    let malformed = Code::RequestMalformed;
    let text = bytes.strip_suffix(b"\r\n\r\n").ok_or(malformed)?;
    let mut lines = Lines { text, at: 0 };
    let (method, target, old) = request_line(text, lines.next().ok_or(malformed)??)?;
    let mut headers = Vec::with_capacity(16);
    for line in lines {
        if headers.len() == HEADERS_MAX {
            return Err(Code::HeadTooLarge);
        }
        headers.push(header_line(text, line?)?);
    }
    let mut head = Head {
        bytes,
        method,
        target,
        headers,
        old,
        body: Body::Length(0),
    };
    head.body = head.framing()?;
    head.check_host()?;
    Ok(head)
}

/// Lines that end in CR LF; a CR or an LF anywhere else is an error.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Result<Span, Code>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at > self.text.len() {
            return None;
        }
        let start = self.at;
        let rest = self.text.get(start..)?;
        let line = match memchr::memchr2(b'\r', b'\n', rest) {
            None => rest.len(),
            Some(at) if rest.get(at..at + 2) == Some(b"\r\n") => at,
            Some(_bare) => {
                self.at = self.text.len() + 1;
                return Some(Err(Code::RequestMalformed));
            }
        };
        self.at = start + line + 2;
        Some(Ok(Span {
            start,
            end: start + line,
        }))
    }
}

fn request_line(text: &[u8], line: Span) -> Result<(Span, Span, bool), Code> {
    let bytes = line.of(text);
    let first = memchr::memchr(b' ', bytes).ok_or(Code::RequestMalformed)?;
    let last = memchr::memrchr(b' ', bytes).ok_or(Code::RequestMalformed)?;
    let method = line.part(0, first);
    let target = line.part(first + 1, last.max(first + 1));
    let old = match line.part(last + 1, bytes.len()).of(text) {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Code::RequestMalformed),
    };
    let well_formed = is_token(method.of(text))
        && method.of(text).len() <= METHOD_BYTES_MAX
        && !target.of(text).is_empty()
        // A fragment is never sent (RFC 9112, 3.2.1), and the other three are what Pingora would percent-encode.
        && target.of(text).iter().all(|byte| matches!(byte, 0x21..=0x7e) && !b"#<>`".contains(byte));
    if well_formed {
        Ok((method, target, old))
    } else {
        Err(Code::RequestMalformed)
    }
}

fn header_line(text: &[u8], line: Span) -> Result<(Span, Span), Code> {
    let bytes = line.of(text);
    let colon = memchr::memchr(b':', bytes).ok_or(Code::RequestMalformed)?;
    let name = line.part(0, colon);
    // An obs-fold starts with a space and a space before the colon is no token: both fail here.
    if !is_token(name.of(text)) {
        return Err(Code::RequestMalformed);
    }
    let value = line.part(colon + 1, bytes.len());
    let raw = value.of(text);
    if !raw
        .iter()
        .all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..))
    {
        return Err(Code::RequestMalformed);
    }
    let before = raw.len() - raw.trim_ascii_start().len();
    let after = raw.len() - raw.trim_ascii_end().len();
    let end = (value.end - after).max(value.start + before);
    Ok((
        name,
        Span {
            start: value.start + before,
            end,
        },
    ))
}

/// Whether bytes are a token (RFC 9110, 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    const fn part(self, from: usize, to: usize) -> Self {
        Self {
            start: self.start + from,
            end: self.start + to,
        }
    }
}

impl Head {
    /// The method, as sent.
    #[must_use]
    pub fn method(&self) -> &str {
        std::str::from_utf8(self.method.of(&self.bytes)).unwrap_or_default()
    }

    /// The request target, as sent.
    #[must_use]
    pub fn target(&self) -> &str {
        std::str::from_utf8(self.target.of(&self.bytes)).unwrap_or_default()
    }

    /// What follows it.
    #[must_use]
    pub const fn body(&self) -> Body {
        self.body
    }

    /// The head's bytes, as sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The values of a header, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.of(&self.bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.of(&self.bytes))
    }

    /// The `Host` header; a 1.0 request may have none.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        std::str::from_utf8(self.values("host").next()?).ok()
    }

    /// Whether the client waits for `100 Continue`.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.values("expect").next().is_some()
    }

    /// Whether it asks for a WebSocket (RFC 6455, 4.1): the one protocol that what follows may change to. It is asked
    /// here and nowhere else: an `Upgrade` that asks for anything else, or in another way, is not handed on.
    #[must_use]
    pub fn upgrades(&self) -> bool {
        let mut protocols = self.values("upgrade");
        let websocket = protocols
            .next()
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        let nominated = self
            .values("connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
        websocket
            && protocols.next().is_none()
            && nominated
            && !self.old
            && self.method() == "GET"
            && self.body.is_empty()
            && self.values("content-length").next().is_none()
    }

    /// Whether there is an `Upgrade` that is not handed on.
    #[must_use]
    pub fn upgrades_oddly(&self) -> bool {
        self.values("upgrade").next().is_some() && !self.upgrades()
    }

    /// Whether the client wants the connection kept.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        let named = |word: &[u8]| {
            ["connection", "proxy-connection"].iter().any(|name| {
                self.values(name)
                    .flat_map(|value| value.split(|byte| *byte == b','))
                    .any(|found| found.trim_ascii().eq_ignore_ascii_case(word))
            })
        };
        if self.old {
            named(b"keep-alive")
        } else {
            !named(b"close")
        }
    }

    /// The head in origin form, for a host: what Pingora is given for a request in absolute form. Its `Host` is ours
    /// and what was for this proxy is gone (RFC 9112, 3.2.2), as is an `Upgrade` that is not handed on, and each header
    /// for whose name and value `leaves_out` says so.
    #[must_use]
    pub fn origin_form(
        &self,
        authority: &str,
        path: &str,
        leaves_out: impl Fn(&[u8], &[u8]) -> bool,
    ) -> BytesMut {
        let mut head = BytesMut::with_capacity(self.bytes.len() + authority.len());
        head.put_slice(self.method.of(&self.bytes));
        head.put_u8(b' ');
        head.put_slice(path.as_bytes());
        head.put_slice(if self.old {
            b" HTTP/1.0\r\nHost: "
        } else {
            b" HTTP/1.1\r\nHost: "
        });
        head.put_slice(authority.as_bytes());
        head.put_slice(b"\r\n");
        let upgrades = self.upgrades();
        for (name, value) in &self.headers {
            let (name, value) = (name.of(&self.bytes), value.of(&self.bytes));
            let ours = leaves_out(name, value)
                || name.eq_ignore_ascii_case(b"host")
                || (!upgrades && name.eq_ignore_ascii_case(b"upgrade"))
                || name
                    .get(..6)
                    .is_some_and(|start| start.eq_ignore_ascii_case(b"proxy-"));
            if !ours {
                head.put_slice(name);
                head.put_slice(b": ");
                head.put_slice(value);
                head.put_slice(b"\r\n");
            }
        }
        head.put_slice(b"\r\n");
        head
    }

    /// Works out what follows (RFC 9112, 6.3); whatever could be framed in two ways is refused.
    fn framing(&self) -> Result<Body, Code> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        match (
            lengths.next(),
            lengths.next(),
            codings.next(),
            codings.next(),
        ) {
            (None, None, None, None) => Ok(Body::Length(0)),
            (Some(length), None, None, None) => content_length(length).map(Body::Length),
            (None, None, Some(coding), None)
                if !self.old && coding.eq_ignore_ascii_case(b"chunked") =>
            {
                Ok(Body::Chunked)
            }
            _ => Err(Code::RequestMalformed),
        }
    }

    fn check_host(&self) -> Result<(), Code> {
        let mut hosts = self.values("host");
        let first = hosts.next();
        let one = hosts.next().is_none() && first.is_none_or(|host| !host.is_empty());
        // CONNECT carries its authority in the target, and some clients leave Host out there.
        if one && (first.is_some() || self.old || self.method() == "CONNECT") {
            Ok(())
        } else {
            Err(Code::RequestMalformed)
        }
    }
}

fn content_length(value: &[u8]) -> Result<u64, Code> {
    let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(Code::RequestMalformed)
}

#[cfg(test)]
mod tests;

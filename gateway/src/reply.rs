//! The answers that we write ourselves: a code in every form that a client may look at.
//!
//! The reason phrase of a 407 (curl and git print it), a JSON body, `Proxy-Status` (RFC 9209), `X-Sortie-Code`. Nothing
//! from a request or an upstream is in any of them.

use bytes::Bytes;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::Value;
use sortie_proto::code::Code;
use sortie_proto::id::DecisionId;

use crate::error::Exceeded;

/// Who is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The client of this proxy.
    Proxy,
    /// A client that takes us for the API itself, and its token for a key.
    Base,
    /// The client inside a tunnel, which takes a 407 for an answer of another proxy.
    Tunnel,
}

/// What becomes of the connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Another request may follow.
    Keep,
    /// It ends.
    Close,
}

impl Connection {
    const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep-alive",
            Self::Close => "close",
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    reason: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

const RETRY_AFTER: &str = "Retry-After";
/// Seconds after which to try again what may pass by itself.
const RETRY_AFTER_SECONDS: &str = "5";

impl Answer {
    /// The answer for a code.
    #[must_use]
    pub fn new(code: Code, decision: Option<DecisionId>, place: Place) -> Self {
        let status = match place {
            Place::Tunnel if code.is_authentication() => 403,
            Place::Base if code.is_authentication() => 401,
            Place::Proxy | Place::Base | Place::Tunnel => code.status(),
        };
        let decision = decision.map(|id| id.to_string());
        let body = serde_json::json!({
            "code": code.name(),
            "message": code.text(),
            "decision_id": decision,
            "docs": format!("docs/errors.md#{}", code.name()),
        });
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
            ("X-Sortie-Code", code.name().to_owned()),
            (
                "Proxy-Status",
                format!(
                    "sortie; error={}; details=\"{}\"",
                    proxy_error(code),
                    code.name()
                ),
            ),
        ];
        headers.extend(decision.map(|id| ("X-Sortie-Decision", id)));
        let challenge = match status {
            407 => Some("Proxy-Authenticate"),
            401 => Some("WWW-Authenticate"),
            _ => None,
        };
        if let Some(name) = challenge {
            headers.push((name, "Basic realm=\"sortie\"".to_owned()));
            headers.push((name, "Bearer realm=\"sortie\"".to_owned()));
        }
        if code == Code::MethodNotAllowed {
            headers.push(("Allow", "GET, HEAD".to_owned()));
        }
        if matches!(status, 429 | 503) {
            headers.push((RETRY_AFTER, RETRY_AFTER_SECONDS.to_owned()));
        }
        let phrase = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Refused");
        Self {
            status,
            reason: format!("{phrase} ({})", code.name()),
            headers,
            body: Bytes::from(body.to_string()),
        }
    }

    /// The same answer, with the limit that was reached and when there is room again: in whole seconds, at least one.
    #[must_use]
    pub fn naming(mut self, exceeded: Exceeded) -> Self {
        let whole = exceeded.retry_after.as_nanos().div_ceil(1_000_000_000);
        let seconds = whole.max(1);
        if let Ok(Value::Object(mut body)) = serde_json::from_slice(&self.body) {
            let limit = serde_json::json!({
                "of": exceeded.of.name(),
                "unit": exceeded.unit.name(),
                "retry_after_seconds": u64::try_from(seconds).unwrap_or(u64::MAX),
            });
            let _absent = body.insert("limit".to_owned(), limit);
            self.body = Bytes::from(Value::Object(body).to_string());
        }
        self.headers.retain(|(name, _)| *name != RETRY_AFTER);
        self.headers.push((RETRY_AFTER, seconds.to_string()));
        self
    }

    /// A page of the gateway's own.
    #[must_use]
    pub fn page(content_type: &'static str, body: Bytes) -> Self {
        Self {
            status: 200,
            reason: "OK".to_owned(),
            headers: vec![
                ("Content-Type", content_type.to_owned()),
                ("Cache-Control", "no-store".to_owned()),
                ("X-Content-Type-Options", "nosniff".to_owned()),
            ],
            body,
        }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// As HTTP/1.1, for the request loops: the answer to a request with this method.
    #[must_use]
    pub fn to_wire(&self, connection: Connection, method: &str) -> Vec<u8> {
        let mut wire = Vec::with_capacity(768);
        let mut put = |parts: &[&str]| {
            parts
                .iter()
                .for_each(|part| wire.extend_from_slice(part.as_bytes()));
        };
        put(&[
            "HTTP/1.1 ",
            &self.status.to_string(),
            " ",
            &self.reason,
            "\r\n",
        ]);
        for (name, value) in &self.headers {
            put(&[name, ": ", value, "\r\n"]);
        }
        put(&["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        put(&["Connection: ", connection.name(), "\r\n\r\n"]);
        if method != "HEAD" {
            wire.extend_from_slice(&self.body);
        }
        wire
    }

    /// Writes it as the answer on a stream of HTTP/2 that is not handed to Pingora's proxy.
    ///
    /// # Errors
    /// When the client has gone, or takes nothing.
    pub async fn send_on(&self, stream: &mut HttpSession) -> pingora_error::Result<()> {
        let head_only = stream.req_header().method == http::Method::HEAD;
        stream.write_response_header(Box::new(self.head()?), head_only)?;
        if head_only {
            return Ok(());
        }
        stream.write_body(self.body.clone(), true).await
    }

    fn head(&self) -> pingora_error::Result<ResponseHeader> {
        let mut header = ResponseHeader::build(self.status, Some(self.headers.len() + 1))?;
        for (name, value) in &self.headers {
            header.append_header(*name, value)?;
        }
        header.insert_header("Content-Length", self.body.len())?;
        Ok(header)
    }

    /// Writes it as the answer of a Pingora session. The connection is closed behind it unless the request's body is
    /// read: whatever followed would be taken for the next request.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn send(&self, session: &mut Session) -> pingora_error::Result<()> {
        if !session.is_body_done() {
            session.set_keepalive(None);
        }
        let mut header = self.head()?;
        if session.as_downstream().as_http1().is_some() {
            header.set_reason_phrase(Some(&self.reason))?;
        }
        let head_only = session.req_header().method == http::Method::HEAD;
        session
            .write_response_header(Box::new(header), head_only)
            .await?;
        if head_only {
            return Ok(());
        }
        session
            .write_response_body(Some(self.body.clone()), true)
            .await
    }
}

/// The nearest error types of RFC 9209, 2.3; every other code is `http_request_denied`.
const PROXY_ERRORS: &[(Code, &str)] = &[
    (Code::DnsFailed, "dns_error"),
    (Code::AddressRefused, "destination_ip_prohibited"),
    (Code::UpstreamConnect, "connection_refused"),
    (Code::UpstreamTls, "tls_certificate_error"),
    (Code::UpstreamTimeout, "connection_read_timeout"),
    (Code::UpstreamProtocol, "http_protocol_error"),
    (Code::ResponseEncoded, "http_protocol_error"),
    (Code::RequestMalformed, "http_request_error"),
    (Code::HeadTooLarge, "http_request_error"),
    (Code::HeadTimeout, "http_request_error"),
    (Code::TargetInvalid, "http_request_error"),
    (Code::TooMany, "connection_limit_reached"),
    (Code::Overloaded, "connection_limit_reached"),
    (Code::VaultUnavailable, "destination_unavailable"),
    (Code::StaleLease, "destination_unavailable"),
    (Code::Internal, "proxy_internal_error"),
    (Code::JournalFull, "proxy_internal_error"),
    (Code::CredentialUnusable, "proxy_internal_error"),
];

fn proxy_error(code: Code) -> &'static str {
    PROXY_ERRORS
        .iter()
        .find(|(known, _)| *known == code)
        .map_or("http_request_denied", |(_, error)| error)
}

#[cfg(test)]
mod tests;

//! What the relay answers by itself, in the shape of the gateway's answers: JSON with a code and what to do.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;
use sortie_proto::code::Code;

/// What the gateway sent, or what the relay says itself.
pub(super) type Body = Either<Incoming, Full<Bytes>>;

/// What an answer of the relay's own says, in a word.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
struct Told(&'static str);

/// The code of a refusal, the relay's own or the gateway's.
#[cfg(target_os = "linux")]
pub(super) fn code<B>(answer: &Response<B>) -> &'static str {
    let told = answer.extensions().get::<Told>().map(|told| told.0);
    told.or_else(|| {
        let value = answer.headers().get("x-sortie-code")?;
        Code::from_name(value.to_str().ok()?).map(Code::name)
    })
    .unwrap_or(UNREACHABLE)
}

/// Of a gateway that cannot be reached, or does not answer as one.
pub(super) const UNREACHABLE: &str = "gateway_unreachable";

/// What only a relay answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// No password, or not the relay's.
    Password,
    /// The gateway cannot be reached.
    Unreachable,
    /// The gateway's certificate is not trusted.
    Untrusted,
}

impl Own {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Password => (
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                "relay_password",
                "This relay wants its password. Set HTTPS_PROXY=http://x:PASSWORD@host:port to what `sortie relay` \
                 printed, or to what stands in its password file.",
            ),
            Self::Unreachable => (
                StatusCode::BAD_GATEWAY,
                UNREACHABLE,
                "The relay cannot reach the gateway. Try again; if it lasts, check --proxy and that the gateway runs.",
            ),
            Self::Untrusted => (
                StatusCode::BAD_GATEWAY,
                "gateway_untrusted",
                "The gateway's certificate is not trusted. Start the relay with --gateway-ca FILE, the authority that \
                 signed it.",
            ),
        }
    }
}

/// An answer that only a relay gives.
pub(super) fn own(own: Own) -> Response<Body> {
    let (status, code, text) = own.parts();
    let mut answer = write(status, code, text);
    let headers = answer.headers_mut();
    match own {
        Own::Password => {
            let realm = HeaderValue::from_static("Basic realm=\"sortie relay\"");
            let _none = headers.insert(PROXY_AUTHENTICATE, realm);
        }
        Own::Unreachable => {
            let _none = headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        Own::Untrusted => {}
    }
    answer
}

/// A refusal with a code of the gateway's. A 407 becomes 403: the agent has nothing to authenticate with, and clients
/// would ask a person for a password.
pub(super) fn refusal(code: Code) -> Response<Body> {
    let status = match StatusCode::from_u16(code.status()) {
        Ok(StatusCode::PROXY_AUTHENTICATION_REQUIRED) | Err(_) => StatusCode::FORBIDDEN,
        Ok(status) => status,
    };
    write(status, code.name(), code.text())
}

fn write(status: StatusCode, code: &'static str, text: &str) -> Response<Body> {
    let body = json!({
        "code": code,
        "message": text,
        "docs": format!("docs/errors.md#{code}"),
    });
    let mut answer = Response::new(full(format!("{body}\n")));
    *answer.status_mut() = status;
    #[cfg(target_os = "linux")]
    let _none = answer.extensions_mut().insert(Told(code));
    let headers = answer.headers_mut();
    let _none = headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let _none = headers.insert("x-sortie-code", HeaderValue::from_static(code));
    answer
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(nothing());
    *answer.status_mut() = status;
    answer
}

/// No body.
pub(super) fn nothing() -> Body {
    Either::Right(Full::default())
}

fn full(text: String) -> Body {
    Either::Right(Full::new(Bytes::from(text)))
}

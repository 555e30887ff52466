//! The agent's requests: CONNECT and absolute-form `http://`, sent on with the session's token.
//!
//! Invariants: what the agent sends as `Proxy-Authorization` ends here, and the token is in nothing that goes back. A
//! head is bounded in size and time. The relay reads no tunnel.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING, UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use sortie_proto::code::Code;
use sortie_proto::secret::Secret;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{self, Body, Own};
use super::gateway::{Gateway, HEAD_BYTES_MAX, Opened, copy};
use super::session::Session;
use crate::output::Output;
use crate::tasks::Crew;

/// How long a head may take, and how long a connection may be silent between two requests.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// Where a supervisor asks whether the session is live.
const HEALTH: &str = "/healthz";

/// What every connection needs.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) session: Arc<Session>,
    pub(super) gateway: Arc<Gateway>,
    /// What the agent must show; none where nobody else can come.
    pub(super) password: Option<Secret>,
    pub(super) crew: Crew,
    pub(super) out: Output,
}

impl Door {
    /// Serves a connection to its end.
    pub(super) async fn serve(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) {
        let service = service_fn(move |request| {
            let door = self.clone();
            async move { Ok::<_, Infallible>(Box::pin(door.answer(request)).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(HEAD_BYTES_MAX)
            .preserve_header_case(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // An agent that went away, or spoke no HTTP: it has been told what there is to tell.
        let _ended = served.await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() == HEALTH && request.uri().authority().is_none() {
            return answer::empty(match self.session.id() {
                Some(_) => StatusCode::OK,
                None => StatusCode::SERVICE_UNAVAILABLE,
            });
        }
        if !self.knows(request.headers()) {
            return answer::own(Own::Password);
        }
        let done = if request.method() == Method::CONNECT {
            self.connect(request).await
        } else {
            self.forward(request).await
        };
        done.unwrap_or_else(|refusal| *refusal)
    }

    /// Whether the agent showed the relay's password. The user name does not matter.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(password) = &self.password else {
            return true;
        };
        let shown = headers
            .get(PROXY_AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(6))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim_ascii()).ok())
            .map(Secret::new);
        shown.is_some_and(|shown| {
            let pair = shown.expose();
            let colon = pair.iter().position(|byte| *byte == b':');
            colon
                .and_then(|at| pair.get(at + 1..))
                .is_some_and(|shown| password.same_as(shown))
        })
    }

    async fn connect(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Refused> {
        let authority = authority(&request).ok_or_else(|| refused(Code::TargetInvalid))?;
        let mut opened = self.tunnel(&authority).await?;
        if !opened.response.status().is_success() {
            return Ok(passed(opened));
        }
        let near = hyper::upgrade::on(&mut request);
        let far = hyper::upgrade::on(&mut opened.response);
        let place = opened.place;
        self.crew.start(async move {
            if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
                // Either side may end a tunnel as it likes.
                drop(copy(TokioIo::new(near), TokioIo::new(far)).await);
            }
            drop(place);
        });
        Ok(answer::empty(StatusCode::OK))
    }

    /// Asks the gateway for a tunnel; once more if the token ended on the way.
    pub(super) async fn tunnel(&self, authority: &str) -> Result<Opened, Refused> {
        let mut again = true;
        loop {
            let authorization = self.session.authorization().map_err(refused)?;
            let opened = self.gateway.connect(authority, &authorization).await;
            let opened = opened.map_err(|fault| Box::new(answer::own(fault.into())))?;
            let Some(code) = self.objection(&opened.response) else {
                return Ok(opened);
            };
            let stale = code == Code::TokenExpired && std::mem::take(&mut again);
            if !(stale && self.session.newer_than(&authorization).await) {
                return Err(refused(code));
            }
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Refused> {
        if request.uri().scheme_str() != Some("http") {
            return Err(refused(Code::TargetInvalid));
        }
        let upgrade = prepare(request.headers_mut());
        let authorization = self.session.authorization().map_err(refused)?;
        let _none = request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, authorization);
        let near = upgrade.then(|| hyper::upgrade::on(&mut request));
        *request.version_mut() = Version::HTTP_11;
        let opened = self.gateway.forward(request.map(Either::Left)).await;
        let mut opened = opened.map_err(|fault| Box::new(answer::own(fault.into())))?;
        if let Some(code) = self.objection(&opened.response) {
            return Err(refused(code));
        }
        if let Some(near) = near
            && opened.response.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            let far = hyper::upgrade::on(&mut opened.response);
            self.crew.start(async move {
                if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
                    drop(copy(TokioIo::new(near), TokioIo::new(far)).await);
                }
            });
            return Ok(opened.response.map(Either::Left));
        }
        Ok(passed(opened))
    }

    /// What the gateway has against the session itself.
    fn objection(&self, response: &Response<Incoming>) -> Option<Code> {
        if response.status() != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return None;
        }
        let code = response
            .headers()
            .get("x-sortie-code")
            .and_then(|value| value.to_str().ok())
            .and_then(Code::from_name)
            .unwrap_or(Code::TokenInvalid);
        if code == Code::SessionRevoked {
            self.session.end(code, self.out);
        }
        Some(code)
    }
}

/// What the agent gets instead of an answer of the gateway's.
pub(super) type Refused = Box<Response<Body>>;

fn refused(code: Code) -> Refused {
    Box::new(answer::refusal(code))
}

/// `HOST:PORT` and nothing else (RFC 9110, 9.3.6), without a body.
fn authority(request: &Request<Incoming>) -> Option<String> {
    let headers = request.headers();
    let body = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let uri = request.uri();
    let authority = uri.authority()?;
    let strict = uri.scheme().is_none()
        && uri.path_and_query().is_none()
        && !authority.as_str().contains('@')
        && authority.port_u16().is_some_and(|port| port > 0)
        && !authority.host().is_empty();
    (strict && !body).then(|| authority.as_str().to_owned())
}

/// The gateway's answer, for the agent's connection.
fn passed(opened: Opened) -> Response<Body> {
    let mut response = opened.response;
    let _upgrade = prepare(response.headers_mut());
    let _none = response.headers_mut().remove(PROXY_AUTHENTICATE);
    *response.version_mut() = Version::HTTP_11;
    response.map(Either::Left)
}

/// Takes away what is for one connection only (RFC 9110, 7.6.1). Says whether another protocol is asked for, which is
/// left in.
fn prepare(headers: &mut HeaderMap) -> bool {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let upgrade = nominated.contains(&UPGRADE) && headers.contains_key(UPGRADE);
    for name in nominated.iter().filter(|name| **name != UPGRADE) {
        let _old = headers.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
    ] {
        let _old = headers.remove(name);
    }
    if upgrade {
        let _none = headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        let _old = headers.remove(UPGRADE);
    }
    upgrade
}

#[cfg(test)]
pub(in crate::relay) mod tests;

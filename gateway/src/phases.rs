//! Pingora's phases of a request: each calls stages and holds no logic of its own.
//!
//! A stage's error becomes one code and one answer here. A panic in a stage is `internal` for that request and nothing
//! else. Pingora's errors are looked at by type and source only: their text may hold bytes of a head.

pub mod guide;
pub mod mask;
pub mod outcome;
pub mod stages;
mod location;
mod upgrade;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use sortie_proto::code::Code;

use crate::context::Context;
use crate::fail;
use crate::reply::Answer;
use stages::Stages;

/// The proxy behind the client stage.
#[derive(Debug, Clone)]
pub struct Phases(pub Arc<Stages>);

/// Stops a request in Pingora; the code stays in the context.
fn stop(context: &mut Context, error: &crate::error::Error) -> Box<Error> {
    context.fail(error.code());
    Error::new(ErrorType::HTTPStatus(error.code().status()))
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::default()
    }

    // Pingora's default adds a compression module; answers are passed on as they are.
    fn init_downstream_modules(&self, _modules: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let deciding = async {
            let decided = self.0.decide(session, context).await;
            fail::point("decide", session.req_header().uri.path());
            decided
        };
        let decided = self.0.guarded(deciding).await;
        let error = match decided {
            Ok(None) => return Ok(false),
            Ok(Some(page)) => {
                if page.send(session).await.is_err() {
                    tracing::debug!("the client left before it was answered");
                }
                return Ok(true);
            }
            Err(error) => error,
        };
        context.fail(error.code());
        let decision = context
            .entry
            .as_ref()
            .map(crate::journal::entry::Entry::decision);
        let answer = Answer::new(error.code(), decision, context.place());
        let answer = match error.exceeded() {
            Some(exceeded) => answer.naming(exceeded),
            None => answer,
        };
        // What speaks against the tunnel itself may be over with the next one.
        let spent = error.code() == Code::UpstreamConnect
            || (context.inbound.as_ref()).is_some_and(|inbound| inbound.refused.is_some());
        if spent || error.code().is_authentication() {
            session.set_keepalive(None);
        }
        if answer.send(session).await.is_err() {
            tracing::debug!(code = %error.code(), "the client left before it was answered");
        }
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        let leaving = async {
            fail::point("leave", session.req_header().uri.path());
            self.0.leave(context).await
        };
        let peer = self.0.guarded(leaving).await;
        peer.map_err(|error| stop(context, &error))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent yet, so that another address is as good.
        if outcome::is_unreachable(&error) && context.next_address() {
            error.set_retry(true);
        }
        error
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        _fd: RawFd,
        digest: Option<&Digest>,
        context: &mut Context,
    ) -> Result<()> {
        self.0
            .check_connection(peer, digest)
            .map_err(|error| stop(context, &error))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let rewritten = self.0.caught(|| {
            fail::point("rewrite", request.uri.path());
            stages::rewrite(request, context)
        });
        rewritten.map_err(|error| stop(context, &error))?;
        upgrade::head_leaves(context);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> Result<()> {
        context.passed(body.as_ref());
        if end {
            upgrade::request_ends(context);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let masked = self.0.caught(|| {
            fail::point("answer", session.req_header().uri.path());
            mask::mask_head(answer, context, &self.0.credentials)
                .and_then(|()| upgrade::bind_to_lease(answer, context))
                .and_then(|()| location::rewrite(answer, context))
        });
        masked.map_err(|error| stop(context, &error))
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        context.passed(body.as_ref());
        let masked = self.0.caught(|| {
            fail::point("body", session.req_header().uri.path());
            mask::mask_body(body, end, context)
        });
        masked.map_err(|error| stop(context, &error))?;
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut Context,
    ) -> Result<Option<Bytes>> {
        Ok(mask::mask_trailers(trailers, context))
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        if session.was_upgraded() {
            // There is nobody to tell any more, and why it ended is looked for when it is recorded.
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        }
        let written = session.response_written().is_some();
        let mut code = context
            .failed
            .unwrap_or_else(|| outcome::code_of(error, written));
        let is_gone = code == Code::ClientGone;
        if context.failed.is_none() && *error.esource() == ErrorSource::Downstream {
            code = upgrade::cut(context, &self.0.state).unwrap_or(code);
        }
        context.fail(code);
        if !is_gone && !written {
            let decision = context
                .entry
                .as_ref()
                .map(crate::journal::entry::Entry::decision);
            let answer = Answer::new(code, decision, context.place());
            session.set_keepalive(None);
            if answer.send(session).await.is_err() {
                tracing::debug!(%code, "the client left before it was answered");
            }
        }
        FailToProxy {
            error_code: code.status(),
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        self.0.close(session, error, context);
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &Context,
        _error: &Error,
        _what: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _session: &Session, _context: &Context) -> String {
        String::new()
    }
}

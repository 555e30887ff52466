//! The stages of a request, in the order of the path: decide, resolve and record, rewrite, mask, close.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, IF_RANGE,
    RANGE, SEC_WEBSOCKET_EXTENSIONS, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use sortie_proto::code::Code;
use sortie_proto::service::Scheme;

use crate::client::Inbound;
use crate::client::authenticate::Caller;
use crate::client::head::METHOD_BYTES_MAX;
use crate::clock;
use crate::context::{Context, Ends, Exchange, Masking};
use crate::decision::limit::Limits;
use crate::decision::{matching, policy};
use crate::error::{Error, Result};
use crate::exchange::credential::Credentials;
use crate::exchange::inject::{self, Injection};
use crate::exchange::peer::Peers;
use crate::exchange::redact::Redactor;
use crate::journal::Journal;
use crate::journal::entry::{Entry, Request};
use crate::metrics::Metrics;
use crate::snapshot::link::Link;
use crate::snapshot::{State, VaultState};

/// What the stages work with.
#[derive(Debug)]
pub struct Stages {
    /// What control said.
    pub state: State,
    /// The way to control, for vaults that are not in memory.
    pub link: Link,
    /// Opened credentials.
    pub credentials: Credentials,
    /// Addresses and pools.
    pub peers: Peers,
    /// How many requests are open.
    pub limits: Limits,
    /// Where every request is recorded.
    pub journal: Arc<Journal>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Stages {
    /// Runs a stage; a panic in it is `internal` for this request.
    pub(super) async fn guarded<T>(&self, stage: impl Future<Output = Result<T>>) -> Result<T> {
        AssertUnwindSafe(Box::pin(stage))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| {
                // The payload may hold anything: it is dropped unread.
                drop(panic);
                self.metrics.panics.inc();
                Err(Code::Internal.into())
            })
    }

    /// Whether the request may be exchanged, and what it gets.
    pub(super) async fn decide(&self, session: &Session, context: &mut Context) -> Result<()> {
        let inbound = inbound(session)?;
        context.inbound = Some(inbound.clone());
        let Inbound { caller, target, .. } = &*inbound;
        let request = session.req_header();
        let entry = context.entry.insert(Entry::open(
            self.journal.clone(),
            caller,
            Request {
                target: Some(target),
                method: request.method.as_str(),
                path: request.uri.path(),
            },
        ));
        let now = clock::seconds();
        caller.check(&self.state, now)?;
        if let Some(code) = caller.wrong().or(inbound.refused) {
            return Err(code.into());
        }
        if request.method.as_str().len() > METHOD_BYTES_MAX {
            return Err(Code::RequestMalformed.into());
        }
        check_authority(request, &inbound)?;
        let vaults = self.vaults(caller).await?;
        if is_untouched(&vaults, &inbound) {
            return Err(Code::UpstreamConnect.into());
        }
        let (method, path) = (request.method.as_str(), request.uri.path());
        let found = matching::find(&vaults, target, method, path)?;
        let injects = found
            .service
            .as_ref()
            .is_some_and(|service| !service.inject.is_empty() || service.placeholders.is_some());
        // The client stage hands on an `Upgrade` that asks for a WebSocket as it should, and no other.
        let upgrade = request.headers.get(UPGRADE).cloned();
        if upgrade.is_some() && injects {
            return Err(Code::UpgradeUnsupported.into());
        }
        let permit = policy::decide(&self.state, caller, found, entry.decision(), now)?;
        let slot = self
            .limits
            .admit(caller.claims().session, permit.vault().vault.id)?;
        let injection = inject::prepare(&permit, &self.credentials, target, request)?;
        let redact = permit.service().is_some_and(|service| service.redact);
        context.exchange = Some(Exchange {
            slot,
            permit,
            injection,
            redact,
            upgrade,
            h1: !session.is_http2(),
        });
        Ok(())
    }

    /// Resolves the host, and writes the record: behind this the request leaves.
    pub(super) async fn leave(&self, context: &mut Context) -> Result<Box<HttpPeer>> {
        let inbound = context.inbound()?.clone();
        let exchange = context.exchange()?;
        let address = match context.address {
            Some(address) => address,
            None => {
                self.peers
                    .resolve(&exchange.permit, &inbound.target)
                    .await?
            }
        };
        let peer = self
            .peers
            .peer(&exchange.permit, &inbound.target, address, exchange.h1)?;
        if let (Some(entry), Some(exchange)) = (&mut context.entry, &context.exchange) {
            entry.leave(&exchange.permit, Some(&exchange.injection))?;
        }
        context.address = Some(address);
        Ok(Box::new(peer))
    }

    /// Whether the connection that Pingora chose is one that this request may use.
    pub(super) fn check_connection(&self, peer: &HttpPeer, digest: Option<&Digest>) -> Result<()> {
        let Some(tls) = digest.and_then(|digest| digest.ssl_digest.as_ref()) else {
            return Ok(());
        };
        // Pingora's connector takes TLS 1.0 and up, and has no option for it.
        if !matches!(&*tls.version, "TLSv1.2" | "TLSv1.3") {
            return Err(Code::UpstreamTls.into());
        }
        // The pool's key is a hash: the number of the pool itself is compared where the connection carries it.
        if tls
            .extension
            .get::<u64>()
            .is_some_and(|tag| *tag != peer.group_key)
        {
            self.metrics.pool_mismatches.inc();
            tracing::error!("an upstream connection of another pool was refused");
            return Err(Code::Internal.into());
        }
        Ok(())
    }

    /// Takes down how the request ended.
    pub(super) fn close(
        &self,
        session: &Session,
        error: Option<&pingora_error::Error>,
        context: &mut Context,
    ) {
        if error.is_some() && context.failed.is_none() {
            // It broke off behind the answer's head, where `fail_to_proxy` can say nothing any more.
            context.fail(Code::UpstreamProtocol);
        }
        match context.failed {
            Some(code) => self.metrics.refused(code),
            None => self.metrics.requests.inc(),
        }
        let status = session
            .response_written()
            .map_or(0, |answer| answer.status.as_u16());
        if let Some(entry) = &mut context.entry {
            if let Some(masking) = &context.masking {
                let count = masking.redactor.count();
                self.metrics.redactions.inc_by(u64::from(count));
                entry.redacted(count);
            }
            entry.end(
                status,
                session.body_bytes_read() as u64,
                session.body_bytes_sent() as u64,
            );
            self.metrics.request_seconds.observe(entry.seconds());
        }
        context.entry = None;
    }

    /// The vaults of a caller, in order: from memory, but for the first request.
    pub(crate) async fn vaults(&self, caller: &Caller) -> Result<Vec<Arc<VaultState>>> {
        let mut vaults = Vec::with_capacity(caller.claims().vaults.len());
        for id in caller.vaults() {
            vaults.push(self.link.vault(id, caller.claims(), caller.token()).await?);
        }
        Ok(vaults)
    }
}

fn inbound(session: &Session) -> Result<Arc<Inbound>> {
    session
        .digest()
        .and_then(|digest| digest.proxy_digest.as_ref())
        .and_then(|proxy| proxy.user_data.as_ref())
        .and_then(|data| data.downcast_ref::<Arc<Inbound>>())
        .cloned()
        .ok_or_else(|| Error::from(Code::Internal))
}

/// Whether the tunnel is one that is opened for nobody: its service became `intercept: never` after it was intercepted.
/// The next one is passed on.
fn is_untouched(vaults: &[Arc<VaultState>], inbound: &Inbound) -> bool {
    let Inbound { target, .. } = inbound;
    inbound.tunnelled
        && target.scheme == Scheme::Https
        && matching::passes_untouched(vaults, target).is_some()
}

/// Every name that a request gives its host must be the target's.
fn check_authority(request: &RequestHeader, inbound: &Inbound) -> Result<()> {
    let target = &inbound.target;
    let mut hosts = request.headers.get_all(HOST).iter();
    let host_agrees = hosts.all(|host| host.to_str().is_ok_and(|host| target.agrees(host)));
    let authority = request.uri.authority();
    let authority_agrees = authority.is_none_or(|authority| target.agrees(authority.as_str()));
    let scheme_agrees = request
        .uri
        .scheme_str()
        .is_none_or(|scheme| scheme.eq_ignore_ascii_case(target.scheme.name()));
    if inbound.agreed && host_agrees && authority_agrees && scheme_agrees {
        Ok(())
    } else {
        Err(Code::AuthorityMismatch.into())
    }
}

/// Makes the request that leaves. It may run again for another try, on a fresh copy.
pub(super) fn rewrite(request: &mut RequestHeader, context: &Context) -> Result<()> {
    let inbound = context.inbound()?;
    let exchange = context.exchange()?;
    let unusable = |error: Box<pingora_error::Error>| {
        // Pingora's error may hold the value: it is dropped unread.
        drop(error);
        Error::from(Code::CredentialUnusable)
    };
    inject::strip(request);
    if request.uri.authority().is_some() {
        let path = request.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        request.set_uri(http::Uri::from(path));
    }
    request
        .insert_header(HOST, inbound.target.authority())
        .map_err(unusable)?;
    if let Some(protocol) = &exchange.upgrade {
        request
            .insert_header(UPGRADE, protocol.clone())
            .map_err(unusable)?;
        request
            .insert_header(CONNECTION, "upgrade")
            .map_err(unusable)?;
    }
    exchange.injection.apply(request)?;
    if masks(exchange) {
        request
            .insert_header(ACCEPT_ENCODING, "identity")
            .map_err(unusable)?;
        if request.headers.contains_key("grpc-accept-encoding") {
            request
                .insert_header("grpc-accept-encoding", "identity")
                .map_err(unusable)?;
        }
        for name in [RANGE, IF_RANGE, SEC_WEBSOCKET_EXTENSIONS] {
            let _removed = request.remove_header(&name);
        }
    }
    Ok(())
}

fn masks(exchange: &Exchange) -> bool {
    let Injection { used, .. } = &exchange.injection;
    exchange.redact && !used.is_empty()
}

/// Masks an answer's head.
pub(super) fn mask_head(answer: &mut ResponseHeader, context: &mut Context) -> Result<()> {
    if let Some(entry) = &mut context.entry {
        entry.answered();
    }
    // It would send the agent past the tunnel.
    let _removed = answer.remove_header("alt-svc");
    let exchange = context.exchange()?;
    if !masks(exchange) {
        return Ok(());
    }
    // A try before this one may have left its own.
    let Some(mut redactor) = Redactor::new(&exchange.injection.used) else {
        return Ok(());
    };
    mask_headers(answer, &mut redactor)?;
    if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let encoded = answer
        .headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let grpc_encoded = answer
        .headers
        .get("grpc-encoding")
        .is_some_and(|coding| coding != "identity");
    if encoded || grpc_encoded {
        return Err(Code::ResponseEncoded.into());
    }
    let ends = ends_of(&answer.headers);
    context.masking = Some(Masking { redactor, ends });
    Ok(())
}

fn ends_of(headers: &HeaderMap) -> Ends {
    let grpc = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return Ends::messages();
    }
    headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .map_or(Ends::Stream, Ends::Length)
}

fn mask_headers(answer: &mut ResponseHeader, redactor: &mut Redactor) -> Result<()> {
    let masked = |redactor: &mut Redactor, values: Vec<HeaderValue>| {
        let mut changed = false;
        let values: Vec<_> = values
            .into_iter()
            .map(|value| match redactor.header(&value) {
                Some(masked) => {
                    changed = true;
                    masked
                }
                None => value,
            })
            .collect();
        changed.then_some(values)
    };
    let names: Vec<_> = answer.headers.keys().cloned().collect();
    for name in names {
        let values = answer.headers.get_all(&name).iter().cloned().collect();
        let Some(values) = masked(redactor, values) else {
            continue;
        };
        let _removed = answer.remove_header(&name);
        for value in values {
            answer.append_header(name.clone(), value).map_err(|error| {
                drop(error);
                Error::from(Code::Internal)
            })?;
        }
    }
    Ok(())
}

/// Masks a chunk of an answer's body.
pub(super) fn mask_body(body: &mut Option<Bytes>, end: bool, context: &mut Context) {
    let Some(masking) = &mut context.masking else {
        return;
    };
    let had_body = body.is_some();
    let masked = masking.chunk(body.take().unwrap_or_default(), end);
    // An empty chunk is kept: `None` before the end is skipped by Pingora, and at the end it ends the body.
    if had_body || !masked.is_empty() {
        *body = Some(masked);
    }
}

/// Masks trailers. What is still held back takes their place: losing bytes of the body would be worse.
pub(super) fn mask_trailers(trailers: &mut HeaderMap, context: &mut Context) -> Option<Bytes> {
    let masking = context.masking.as_mut()?;
    for value in trailers.values_mut() {
        if let Some(masked) = masking.redactor.header(value) {
            *value = masked;
        }
    }
    let held = masking.redactor.body(Bytes::new(), true);
    (!held.is_empty()).then_some(held)
}

#[cfg(test)]
mod tests;

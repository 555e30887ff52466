//! The stages of a request, in the order of the path: decide, resolve and record, rewrite, close. Masking is in
//! [`mask`].

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::HeaderValue;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, HOST, IF_RANGE, RANGE, SEC_WEBSOCKET_EXTENSIONS, UPGRADE,
};
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::{HttpPeer, Scheme as PeerScheme};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use sortie_proto::code::Code;
use sortie_proto::service::Scheme;

use crate::client::Inbound;
use crate::client::authenticate::Caller;
use crate::client::head::METHOD_BYTES_MAX;
use crate::client::leaf::Leaves;
use crate::clock;
use crate::context::{Context, Exchange};
use crate::decision::limit::{Asked, Limits};
use crate::decision::policy::Permit;
use crate::decision::{matching, policy};
use crate::error::{Error, Result};
use crate::exchange::credential::Credentials;
use crate::exchange::inject::{self, Injection};
use crate::exchange::peer::upgrade::Gate;
use crate::exchange::peer::{self, Peers};
use crate::journal::Journal;
use crate::journal::entry::{Entry, Request};
use crate::metrics::Metrics;
use crate::phases::{guide, mask, upgrade};
use crate::pressure::Pressure;
use crate::reply::Answer;
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
    /// Certificates for the hosts that agents reach.
    pub leaves: Arc<Leaves>,
    /// Addresses and pools.
    pub peers: Peers,
    /// What may be open, and taken.
    pub limits: Limits,
    /// What the node is short of.
    pub pressure: Pressure,
    /// Where every request is recorded.
    pub journal: Arc<Journal>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Stages {
    /// Runs a stage; a panic in it is `internal` for this request.
    pub(super) fn guarded<T>(
        &self,
        stage: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        // Not an `async fn`, which would keep the stage twice: as its argument, and where it waits for it.
        AssertUnwindSafe(stage)
            .catch_unwind()
            .map(|outcome| outcome.unwrap_or_else(|panic| self.panicked(panic)))
    }

    /// The same for a stage that does not wait.
    pub(super) fn caught<T>(&self, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        std::panic::catch_unwind(AssertUnwindSafe(stage))
            .unwrap_or_else(|panic| self.panicked(panic))
    }

    /// The payload may hold anything: it is dropped unread.
    fn panicked<T>(&self, payload: Box<dyn Any + Send>) -> Result<T> {
        drop(payload);
        self.metrics.panics.inc();
        Err(Code::Internal.into())
    }

    /// Whether the request may be exchanged, and what it gets; or what the gateway itself answers to it.
    pub(super) async fn decide(
        &self,
        session: &Session,
        context: &mut Context,
    ) -> Result<Option<Answer>> {
        let inbound = inbound(session)?;
        context.inbound = Some(inbound.clone());
        let Inbound { caller, target, .. } = &*inbound;
        let request = session.req_header();
        let entry = context.entry.insert(Entry::open(
            self.journal.clone(),
            caller,
            Request {
                origin: inbound.origin().clone(),
                method: request.method.as_str(),
                path: request.uri.path(),
            },
        ));
        entry.runs_on(inbound.lease.clone());
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
        if guide::is_here(target) {
            let asked = (&request.method, request.uri.path());
            // Boxed: its place would be in the future of every request.
            let page = guide::answer(self, caller, &vaults, entry.decision(), asked);
            let page = Box::pin(page).await?;
            entry.answer()?;
            return Ok(Some(page));
        }
        if is_untouched(&vaults, &inbound) {
            return Err(Code::UpstreamConnect.into());
        }
        let found = matching::find(&vaults, target, request.method.as_str(), request.uri.path())?;
        check_named(&found, &inbound)?;
        let injects = found
            .service
            .as_ref()
            .is_some_and(|service| !service.inject.is_empty() || service.placeholders.is_some());
        let upgrade = upgrade::is_asked(request);
        if upgrade && injects && !upgrade::is_handshake(request) {
            return Err(Code::UpgradeUnsupported.into());
        }
        let permit = policy::decide(&self.state, caller, found, entry.decision(), now)?;
        let slot = self.limits.admit(&Asked::of(caller.claims(), &permit))?;
        let injection = self.prepare(&inbound, &permit, request)?;
        let redact = permit.service().is_some_and(|service| service.redact);
        context.exchange = Some(Exchange {
            slot,
            permit,
            injection,
            redact,
            upgrade,
        });
        Ok(None)
    }

    /// Works out what the request gets, and binds the connection to the credentials among it. A revocation that comes
    /// meanwhile is seen here or by who cuts: the note comes before the question.
    fn prepare(
        &self,
        inbound: &Inbound,
        permit: &Permit,
        request: &RequestHeader,
    ) -> Result<Injection> {
        let injection = inject::prepare(permit, &self.credentials, &inbound.target, request)?;
        for opened in &injection.used {
            let used = opened.key.version();
            let tenant = inbound.caller.claims().tenant;
            if inbound.lease.uses(used) && self.state.use_ended(tenant, &[used]) {
                return Err(Code::CredentialRevoked.into());
            }
        }
        Ok(injection)
    }

    /// Resolves the host, and writes the record: behind this the request leaves.
    pub(super) async fn leave(&self, context: &mut Context) -> Result<Box<HttpPeer>> {
        let inbound = context.inbound()?.clone();
        if let Some(code) = inbound.lease.cut() {
            return Err(code.into());
        }
        let exchange = context.exchange()?;
        let addresses = match context.addresses.as_slice() {
            [] => {
                self.peers
                    .resolve(&exchange.permit, &inbound.target)
                    .await?
            }
            left => left.to_vec(),
        };
        let address = *addresses.first().ok_or(Code::DnsFailed)?;
        let gate = exchange.upgrade.then(Arc::<Gate>::default);
        let permit = &exchange.permit;
        let peer = self
            .peers
            .peer(permit, &inbound.target, address, gate.as_ref())?;
        if let (Some(entry), Some(exchange)) = (&mut context.entry, &context.exchange) {
            entry
                .leave(&exchange.permit, Some(&exchange.injection))
                .await?;
        }
        context.addresses = addresses;
        context.gate = gate;
        Ok(Box::new(peer))
    }

    /// Whether the connection that Pingora chose is one that this request may use.
    pub(super) fn check_connection(&self, peer: &HttpPeer, digest: Option<&Digest>) -> Result<()> {
        let Some(tls) = digest.and_then(|digest| digest.ssl_digest.as_ref()) else {
            // Without TLS there is no tag; what plain HTTP may carry, a credential's destination says.
            return match peer.scheme {
                PeerScheme::HTTP => Ok(()),
                PeerScheme::HTTPS => Err(Code::UpstreamTls.into()),
            };
        };
        // Pingora's connector takes TLS 1.0 and up, and has no option for it.
        if !matches!(&*tls.version, "TLSv1.2" | "TLSv1.3") {
            return Err(Code::UpstreamTls.into());
        }
        if !peer::is_of_pool(peer, tls) {
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
        if context.failed.is_none() {
            let ended = if session.was_upgraded() {
                upgrade::ending(error, context, &self.state)
            } else {
                // It broke off behind the answer's head, where `fail_to_proxy` can say nothing any more.
                error.map(|_| Code::UpstreamProtocol)
            };
            if let Some(code) = ended {
                context.fail(code);
            }
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
                let count = masking.count();
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
            let vault = self.link.vault(id, caller.end(), || {
                let latest = caller.latest();
                (latest.claims.clone(), latest.token.clone())
            });
            vaults.push(vault.await?);
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

/// Whoever names a service gets that one, or none.
fn check_named(found: &matching::Match, inbound: &Inbound) -> Result<()> {
    let Some(base) = &inbound.base else {
        return Ok(());
    };
    match &found.service {
        Some(service) if service.id == base.service => Ok(()),
        _ => Err(Code::RequestUnmatched.into()),
    }
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
    if exchange.upgrade {
        request
            .insert_header(UPGRADE, "websocket")
            .map_err(unusable)?;
        request
            .insert_header(CONNECTION, "upgrade")
            .map_err(unusable)?;
        if !exchange.injection.used.is_empty() {
            // Frames that an extension has changed could not be searched.
            let _removed = request.remove_header(&SEC_WEBSOCKET_EXTENSIONS);
        }
    }
    exchange.injection.apply(request)?;
    if mask::masks(exchange) {
        request
            .insert_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .map_err(unusable)?;
        if request.headers.contains_key("grpc-accept-encoding") {
            request
                .insert_header("grpc-accept-encoding", "identity")
                .map_err(unusable)?;
        }
        for name in [RANGE, IF_RANGE] {
            let _removed = request.remove_header(&name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! What stands behind the client stage: the proxies, the decision about whole tunnels, and the record of refusals.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_proxy::HttpProxy;
use sortie_proto::code::Code;
use sortie_proto::id::DecisionId;
use sortie_proto::service::Scheme;
use tokio::net::TcpStream;

use crate::client::authenticate::Caller;
use crate::client::base::Named;
use crate::client::connect::Target;
use crate::client::origin::Origin;
use crate::client::transport::socket;
use crate::client::{Behind, Passage, Passed, Refusal, Way};
use crate::clock;
use crate::decision::limit::{Asked, Slot};
use crate::decision::{matching, policy};
use crate::error::{Error, Result};
use crate::journal::entry::{Entry, Request};
use crate::phases::stages::Stages;
use crate::phases::{Phases, guide};

/// How long connecting to the upstream of a tunnel that is passed on may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long such an upstream may take nothing of what was sent to it.
const UNREAD: Duration = Duration::from_secs(60);

/// Pingora's proxies, and the stages that they run.
pub struct Broker {
    stages: Arc<Stages>,
    /// Never empty.
    proxies: Vec<Arc<HttpProxy<Phases>>>,
    first: Arc<HttpProxy<Phases>>,
    hasher: RandomState,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("proxies", &self.proxies.len())
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Makes `count` proxies over the same stages.
    pub fn new(
        stages: Arc<Stages>,
        count: usize,
        make: impl Fn(Phases) -> HttpProxy<Phases>,
    ) -> Self {
        let one = || Arc::new(make(Phases(stages.clone())));
        let first = one();
        let mut proxies = vec![first.clone()];
        proxies.resize_with(count.max(1), one);
        Self {
            stages,
            proxies,
            first,
            hasher: RandomState::new(),
        }
    }

    async fn untouched(
        &self,
        caller: &Caller,
        found: matching::Match,
        target: &Target,
    ) -> Result<Passage> {
        let stages = &self.stages;
        let mut entry = Entry::open(
            stages.journal.clone(),
            caller,
            Request {
                origin: Origin::new(caller, Some(target)),
                method: "CONNECT",
                path: "",
            },
        );
        let opened = async {
            let decision = entry.decision();
            let permit = policy::decide(&stages.state, caller, found, decision, clock::seconds())?;
            // A tunnel is one request, and its bytes are counted when it has ended.
            let slot = stages.limits.admit(&Asked::of(caller.claims(), &permit))?;
            let addresses = stages.peers.resolve(&permit, target).await?;
            entry.pass(&permit).await?;
            let connecting = TcpStream::connect(addresses.as_slice());
            match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
                Ok(Ok(stream)) => {
                    socket::tune(&stream, UNREAD);
                    Ok((stream, permit.vault().clone(), slot))
                }
                Ok(Err(error)) => Err(Error::because(Code::UpstreamConnect, error)),
                Err(_elapsed) => Err(Code::UpstreamTimeout.into()),
            }
        };
        match opened.await {
            Ok((upstream, vault, slot)) => Ok(Passage {
                upstream,
                vault,
                record: Box::new(Relayed { entry, slot }),
            }),
            Err(error) => {
                entry.fail(error.code());
                entry.end(error.code().status(), 0, 0);
                Err(error)
            }
        }
    }
}

/// The entry of a tunnel that is passed on untouched, and its place.
#[derive(Debug)]
struct Relayed {
    entry: Entry,
    slot: Slot,
}

impl Passed for Relayed {
    fn passed(mut self: Box<Self>, sent: u64, received: u64) {
        self.slot.count(sent.saturating_add(received));
        self.entry.end(200, sent, received);
    }
}

#[async_trait]
impl Behind for Broker {
    type App = HttpProxy<Phases>;

    fn app(&self, caller: &Caller) -> &Arc<Self::App> {
        let hash = caller
            .vaults()
            .next()
            .map_or(0, |vault| self.hasher.hash_one(vault));
        let at = usize::try_from(hash % self.proxies.len() as u64).unwrap_or(0);
        self.proxies.get(at).unwrap_or(&self.first)
    }

    fn refused(&self, refusal: Refusal<'_>) -> DecisionId {
        let code = refusal.code;
        self.stages.metrics.refused(code);
        let Some(caller) = refusal.caller else {
            // Nobody's: there is no tenant whose audit it would belong to.
            let decision = DecisionId::generate();
            tracing::debug!(decision.id = %decision, %code, "a request without a session was refused");
            return decision;
        };
        let request = Request {
            origin: Origin::new(caller, refusal.target),
            method: refusal.method,
            path: "",
        };
        let mut entry = Entry::open(self.stages.journal.clone(), caller, request);
        entry.fail(code);
        entry.end(code.status(), 0, 0);
        entry.decision()
    }

    async fn named(&self, caller: &Caller, service: &str) -> Result<Named> {
        let vaults = self.stages.vaults(caller).await?;
        // A vault was named with the service, so that there is one.
        let vault = vaults.first().ok_or(Code::VaultMismatch)?;
        // Whoever has no role here does not learn what there is.
        let role = vault.role(caller.claims().agent, clock::seconds());
        let _any = role.ok_or(Code::RoleMissing)?;
        matching::named(vault, service)
    }

    async fn way(&self, caller: &Caller, target: &Target) -> Result<Way> {
        if guide::is_here(target) {
            return Ok(Way::Intercept { known: true });
        }
        let vaults = self.stages.vaults(caller).await?;
        // What is spoken in the tunnel is not known yet: an untouched service is asked for as TLS.
        let target = Target {
            scheme: Scheme::Https,
            ..target.clone()
        };
        if let Some(found) = matching::passes_untouched(&vaults, &target) {
            let passage = self.untouched(caller, found, &target).await?;
            return Ok(Way::Untouched(passage));
        }
        let known = matching::may_match(&vaults, &target);
        Ok(Way::Intercept { known })
    }
}

//! From the socket to a decrypted stream with a known caller, and to the requests on it.
//!
//! [`accept`] takes connections, [`authenticate`] says who calls, [`connect`] where to, [`intercept`] decrypts, and
//! [`requests`] reads each request strictly and hands it on; [`relay`] passes on what is not decrypted. [`base`] is for
//! clients that use no proxy. What stands behind is [`Behind`]: this stage knows neither decisions nor the exchange.

pub mod accept;
pub mod authenticate;
pub mod base;
pub mod connect;
pub mod head;
mod idle;
pub mod intercept;
pub mod leaf;
pub mod origin;
pub mod relay;
pub mod requests;
pub mod transport;
pub mod tunnels;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use boring::ssl::SslAcceptor;
use moka::sync::Cache;
use pingora_core::apps::HttpServerApp;
use sortie_proto::code::Code;
use sortie_proto::host::Host;
use sortie_proto::id::{DecisionId, SessionId};
use tokio::net::TcpStream;

use crate::error::Result;
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::snapshot::VaultState;
use authenticate::{Authenticator, Caller};
use base::{Base, Named};
use connect::Target;
use leaf::{Leaf, Leaves};
use origin::Origin;
use tunnels::{Lease, Tunnels};

/// What rides on a connection to every request on it: who calls, and where to.
#[derive(Debug)]
pub struct Inbound {
    /// Who calls.
    pub caller: Caller,
    /// Where to.
    pub target: Target,
    /// Whether the client speaks through a tunnel.
    pub tunnelled: bool,
    /// Whether the client's TLS named this target (SNI, RFC 6066), or none. If not, every request is refused.
    pub agreed: bool,
    /// Whether any request on it can be allowed. If not, the session has only so many leaves for such hosts.
    pub known: bool,
    /// Why every request is refused, if the tunnel was opened only to say so.
    pub refused: Option<Code>,
    /// What the connection may be bound to.
    pub lease: Arc<Lease>,
    /// What was asked for in the base-URL form, if it was.
    pub base: Option<Base>,
    /// What is recorded of each request alike, once one was made.
    pub origin: OnceLock<Origin>,
}

impl Inbound {
    /// What is recorded of each request alike.
    pub fn origin(&self) -> &Origin {
        self.origin
            .get_or_init(|| Origin::new(&self.caller, Some(&self.target)))
    }
}

/// A request that goes no further than this stage.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// Who calls, once known.
    pub caller: Option<&'a Caller>,
    /// Where to, once known.
    pub target: Option<&'a Target>,
    /// The method, once read.
    pub method: &'a str,
    /// Why.
    pub code: Code,
}

/// What happens to a tunnel.
#[derive(Debug)]
pub enum Way {
    /// It is opened. `known` says whether any request on it can be allowed.
    Intercept {
        /// Whether a vault covers the host, or observes.
        known: bool,
    },
    /// It is passed on untouched.
    Untouched(Passage),
}

/// An upstream connection for a tunnel that is passed on untouched.
#[derive(Debug)]
pub struct Passage {
    /// The connection.
    pub upstream: TcpStream,
    /// The vault that allows it: it ends with that vault's lease.
    pub vault: Arc<VaultState>,
    /// Told what went through when it is over.
    pub record: Box<dyn Passed>,
}

/// Takes down how a tunnel that was passed on untouched ended. Dropped untold, it takes down that it broke off.
pub trait Passed: Send + Sync + std::fmt::Debug {
    /// Bytes that the agent sent and received.
    fn passed(self: Box<Self>, sent: u64, received: u64);
}

/// What stands behind this stage.
#[async_trait]
pub trait Behind: Send + Sync + 'static {
    /// Pingora's proxy.
    type App: HttpServerApp + Send + Sync + 'static;

    /// The proxy for a caller: there are several, because each one's pools have locks.
    fn app(&self, caller: &Caller) -> &Arc<Self::App>;

    /// Takes down a refusal of this stage, and gives it an id.
    fn refused(&self, refusal: Refusal<'_>) -> DecisionId;

    /// Finds the service that a request in the base-URL form names in the caller's vault.
    async fn named(&self, caller: &Caller, service: &str) -> Result<Named>;

    /// Decides what happens to a tunnel. An error opens it too: it is answered inside, whatever is asked.
    async fn way(&self, caller: &Caller, target: &Target) -> Result<Way>;
}

/// Limits of this stage.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most connections at once; beyond it new ones are closed at accept.
    pub connections_max: usize,
    /// The most connections of one address at once; beyond it new ones are closed at accept.
    pub connections_per_source_max: usize,
    /// The most connections of one session at once; beyond it CONNECT is answered with `too_many`.
    pub connections_per_session_max: usize,
    /// Connections of one tenant at once.
    pub connections_per_tenant_max: usize,
    /// The most bytes of a head before the caller is known.
    pub head_bytes_max: usize,
    /// The most bytes of a head inside a tunnel.
    pub tunnel_head_bytes_max: usize,
    /// How long a head may take from its first byte, in all.
    pub head_deadline: Duration,
    /// How long TLS with the agent may take, and how long an opened tunnel may stay silent.
    pub handshake_deadline: Duration,
    /// How long a connection may be idle between requests.
    pub idle: Duration,
    /// How long an agent may take nothing of an answer.
    pub write_timeout: Duration,
    /// The most HTTP/2 streams of a connection at once.
    pub streams_max: u32,
    /// The most hosts without a service for which a session gets a leaf in ten minutes.
    pub refused_hosts_max: u32,
}

/// Everything that a connection needs.
pub struct Frontend<B: Behind> {
    pub(crate) behind: B,
    pub(crate) authenticator: Authenticator,
    pub(crate) leaves: Arc<Leaves>,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) acceptor: SslAcceptor,
    /// The certificate of the port itself, if it has one.
    pub(crate) secure: Option<Arc<accept::secure::Secure>>,
    pub(crate) limits: Limits,
    /// Whether the base-URL form is taken in the clear from other machines.
    pub(crate) cleartext_base_url: bool,
    pub(crate) metrics: Metrics,
    /// What the node is short of.
    pub(crate) pressure: Pressure,
    /// How many hosts without a service each session has asked for.
    pub(crate) refused_hosts: Cache<SessionId, Arc<AtomicU32>>,
}

impl<B: Behind> Frontend<B> {
    /// A leaf for a tunnel's host. `known` says whether any request on it can be allowed.
    ///
    /// # Errors
    /// `too_many`, and what [`Leaves::get`] reports.
    async fn leaf(&self, caller: &Caller, host: &Host, known: bool) -> Result<Arc<Leaf>> {
        if known {
            self.leaves.get(caller, host).await
        } else {
            self.leaf_to_refuse_on(caller, host).await
        }
    }

    /// A leaf for a host on which every request will be refused, so that the refusal can be read. Each session has so
    /// many: names are the agent's to choose, and a leaf costs a signature.
    ///
    /// # Errors
    /// `too_many`, and what [`Leaves::get`] reports.
    async fn leaf_to_refuse_on(&self, caller: &Caller, host: &Host) -> Result<Arc<Leaf>> {
        if !self.leaves.holds(caller, host) {
            let session = caller.claims().session;
            let asked = self.refused_hosts.get_with(session, Arc::default);
            if asked.fetch_add(1, Ordering::Relaxed) >= self.limits.refused_hosts_max {
                return Err(Code::TooMany.into());
            }
        }
        self.leaves.get(caller, host).await
    }
}

impl<B: Behind> std::fmt::Debug for Frontend<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frontend")
            .field("tunnels", &self.tunnels.open())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

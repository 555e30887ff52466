//! The live connections of every session, so that a revocation ends them.
//!
//! A request that is under way is not asked again whether its session holds; a silent stream never is. Cutting the
//! line (its socket, or its stream of a connection that other tunnels share) ends whatever runs on it: HTTP/1 and HTTP/2
//! requests, event streams, relays. Pingora then sees a client that went away, and the journal's entries close as they
//! always do.
//!
//! What is endless by its nature ends with the lease of its vault too ([`Lease`]): a WebSocket, a stream of events, a
//! tunnel that is passed on untouched. And a connection ends with each credential that requests on it were given.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use sortie_proto::code::Code;
use sortie_proto::id::{CredentialId, SessionId, TenantId, VaultId};
use sortie_proto::vault::Vault;
use tokio::sync::{Notify, watch};

use super::authenticate::Caller;
use super::transport::line::{Line, WeakLine};
use crate::error::Result;
use crate::snapshot::State;

const SHARDS: usize = 16;

type Shard = HashMap<SessionId, HashMap<u64, Live>>;

#[derive(Debug)]
struct Live {
    line: WeakLine,
    ended: Arc<Notify>,
    caller: Caller,
    lease: Arc<Lease>,
}

/// For how long without a word from control a connection may go on.
#[derive(Debug, Default)]
pub struct Lease {
    /// The vaults that something endless on it belongs to, each once, with their staleness at that time. A new list for
    /// each more.
    bound: ArcSwapOption<Vec<(VaultId, Duration)>>,
    /// The credentials that were put into requests on it, each once, in the lowest version. A new list for each more.
    used: ArcSwapOption<Vec<(CredentialId, u32)>>,
    /// Why it was cut, once it was.
    cut: OnceLock<Code>,
}

impl Lease {
    /// From here on the connection ends with the lease of this vault, too.
    pub fn bind(&self, vault: &Vault) {
        let is_bound = |bound: &Vec<(VaultId, Duration)>| {
            let mut bound = bound.iter();
            bound.any(|(id, _)| *id == vault.id)
        };
        if self.bound.load().as_deref().is_some_and(is_bound) {
            return;
        }
        self.bound.rcu(|bound| {
            let mut bound = bound.as_deref().cloned().unwrap_or_default();
            bound.push((vault.id, vault.staleness));
            Some(Arc::new(bound))
        });
    }

    /// Notes that a request uses a credential; answers whether that is news.
    pub fn uses(&self, (credential, version): (CredentialId, u32)) -> bool {
        let is_noted = |used: &Vec<(CredentialId, u32)>| {
            let mut used = used.iter();
            used.any(|(id, least)| *id == credential && *least <= version)
        };
        if self.used.load().as_deref().is_some_and(is_noted) {
            return false;
        }
        self.used.rcu(|used| {
            let mut used = used.as_deref().cloned().unwrap_or_default();
            match used.iter_mut().find(|(id, _)| *id == credential) {
                Some((_, least)) => *least = version.min(*least),
                None => used.push((credential, version)),
            }
            Some(Arc::new(used))
        });
        true
    }

    /// Whether a credential was revoked that was used on it.
    fn uses_ended(&self, state: &State, tenant: TenantId) -> bool {
        let used = self.used.load();
        used.as_deref()
            .is_some_and(|used| state.use_ended(tenant, used))
    }

    /// Whether all that it is bound to hold. A vault that is not in memory at the moment, as before a stream has sent it
    /// again, is judged by what it said when the connection was bound.
    #[must_use]
    pub fn holds(&self, state: &State) -> bool {
        let bound = self.bound.load();
        let mut bound = bound.as_deref().into_iter().flatten();
        // Asking for the vault says that it is used, and so keeps it in memory.
        bound.all(|(id, staleness)| match state.vault(*id) {
            Some(vault) => state.vault_lease_holds(&vault),
            None => state.lease_holds(*staleness),
        })
    }

    /// Notes why the connection is cut. The first reason stands.
    pub(crate) fn was_cut(&self, code: Code) {
        let _first = self.cut.get_or_init(|| code);
    }

    /// Why the connection was cut, if it was.
    #[must_use]
    pub fn cut(&self) -> Option<Code> {
        self.cut.get().copied()
    }
}

/// The live connections, by session.
#[derive(Debug)]
pub struct Tunnels {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    next: AtomicU64,
    open: AtomicUsize,
    tenants: Mutex<HashMap<TenantId, usize>>,
    per_session_max: usize,
    per_tenant_max: usize,
    closing: watch::Sender<bool>,
}

/// Takes a connection off the list when it is dropped.
#[derive(Debug)]
pub struct Registered {
    tunnels: Arc<Tunnels>,
    session: SessionId,
    number: u64,
    ended: Arc<Notify>,
    lease: Arc<Lease>,
    _of_tenant: OfTenant,
}

/// One of a tenant's connections, until it is dropped.
#[derive(Debug)]
struct OfTenant {
    tunnels: Arc<Tunnels>,
    tenant: TenantId,
}

impl OfTenant {
    fn enter(tunnels: &Arc<Tunnels>, tenant: TenantId) -> Result<Self> {
        let mut counts = tunnels.tenants.lock();
        let count = counts.entry(tenant).or_default();
        if *count >= tunnels.per_tenant_max {
            return Err(Code::TooMany.into());
        }
        *count += 1;
        Ok(Self {
            tunnels: tunnels.clone(),
            tenant,
        })
    }
}

impl Drop for OfTenant {
    fn drop(&mut self) {
        let mut counts = self.tunnels.tenants.lock();
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                let _zero = counts.remove(&self.tenant);
            }
        }
    }
}

impl Registered {
    /// What the connection may be bound to.
    #[must_use]
    pub const fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Waits until the connection was cut: for what does not see that from the socket.
    pub async fn cut(&self) {
        self.ended.notified().await;
    }
}

impl Tunnels {
    /// Makes an empty list. A session and a tenant may have so many connections at once.
    #[must_use]
    pub fn new(per_session_max: usize, per_tenant_max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            next: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            tenants: Mutex::default(),
            per_session_max,
            per_tenant_max,
            closing: watch::Sender::new(false),
        }
    }

    /// Puts a connection on the list. It comes before the decision about what runs on it, which asks about revocations
    /// again: one that comes in between is seen by one of the two.
    ///
    /// # Errors
    /// `too_many` for a session or a tenant that has as many as it may.
    pub fn register(self: &Arc<Self>, caller: &Caller, line: &Line) -> Result<Registered> {
        let of_tenant = OfTenant::enter(self, caller.claims().tenant)?;
        let session = caller.claims().session;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let ended = Arc::new(Notify::new());
        let lease = Arc::new(Lease::default());
        {
            let mut shard = self.shard(session).lock();
            let live = shard.entry(session).or_default();
            if live.len() >= self.per_session_max {
                return Err(Code::TooMany.into());
            }
            let found = Live {
                line: line.downgrade(),
                ended: ended.clone(),
                caller: caller.clone(),
                lease: lease.clone(),
            };
            // Numbers are never reused, so nothing was there.
            let _nothing = live.insert(number, found);
        }
        let _count = self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Registered {
            tunnels: self.clone(),
            session,
            number,
            ended,
            lease,
            _of_tenant: of_tenant,
        })
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many sessions have something open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Cuts what no longer holds, at a time in seconds since the Unix epoch. Says how many.
    pub fn cut_ended(&self, state: &State, now: i64) -> usize {
        self.cut(|live| {
            let tenant = live.caller.claims().tenant;
            if let Err(error) = live.caller.check(state, now) {
                Some(error.code())
            } else if state.is_unclear(tenant) {
                Some(Code::VaultUnavailable)
            } else {
                let ended = live.lease.uses_ended(state, tenant);
                ended.then_some(Code::CredentialRevoked)
            }
        })
    }

    /// Cuts what has expired, and what is bound to a lease that has ended. Cheaper than asking about revocations.
    pub fn cut_expired(&self, state: &State, now: i64) -> usize {
        self.cut(|live| {
            if live.caller.end() <= now {
                Some(Code::TokenExpired)
            } else {
                (!live.lease.holds(state)).then_some(Code::StaleLease)
            }
        })
    }

    /// Has every WebSocket closed, as its protocol does it: the end of the drain is near.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Turns true when [`close`](Self::close) is called.
    #[must_use]
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Cuts everything: the end of the drain.
    pub fn cut_all(&self) -> usize {
        self.cut(|_| Some(Code::Overloaded))
    }

    fn cut(&self, ended: impl Fn(&Live) -> Option<Code>) -> usize {
        let mut count = 0;
        for shard in &self.shards {
            // They are cut behind the lock: shutting a socket down is a call to the kernel.
            let found: Vec<_> = shard
                .lock()
                .values()
                .flat_map(HashMap::values)
                .filter_map(|live| Some((ended(live)?, live)))
                .filter_map(|(code, live)| {
                    let line = live.line.upgrade()?;
                    live.lease.was_cut(code);
                    Some((line, live.ended.clone()))
                })
                .collect();
            count += found.len();
            for (line, ended) in found {
                line.cut();
                ended.notify_one();
            }
        }
        count
    }

    fn shard(&self, session: SessionId) -> &Mutex<Shard> {
        let at = usize::try_from(self.hasher.hash_one(session) % SHARDS as u64).unwrap_or(0);
        let [first, ..] = &self.shards;
        self.shards.get(at).unwrap_or(first)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut shard = self.tunnels.shard(self.session).lock();
        if let Some(live) = shard.get_mut(&self.session) {
            let _live = live.remove(&self.number);
            if live.is_empty() {
                let _empty = shard.remove(&self.session);
            }
        }
        let _count = self.tunnels.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

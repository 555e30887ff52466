//! What refuses tokens that verify: sessions by id; agents, vaults, tenants, users and parents by generation. And what
//! ends the use of credentials: versions up to one.
//!
//! Read on every request, so a read takes no lock: a tenant's entries are a value that is swapped whole. **Invariant:**
//! a generation only rises. An entry may be forgotten once the last token that it covers has ended; doing it later is
//! harmless.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::id::{AgentId, CredentialId, SessionId, TenantId, VaultId};
use sortie_proto::token::Claims;
use tokio::sync::watch;

/// How much longer than said an entry is kept, in seconds: this node's clock and control's differ, and an entry that is
/// kept too long refuses nothing more.
const EXPIRY_SLACK: i64 = 600;

/// A generation, and when it may be forgotten.
type Below = (u64, i64);

/// The live revocations of a tenant. Each entry carries when it may be forgotten.
#[derive(Debug, Clone, Default)]
struct Entries {
    sessions: HashMap<SessionId, i64>,
    agents: HashMap<AgentId, Below>,
    vaults: HashMap<VaultId, Below>,
    users: HashMap<String, Below>,
    parents: HashMap<SessionId, Below>,
    credentials: HashMap<CredentialId, (u32, i64)>,
    tenant: Below,
}

/// All live revocations that this node knows.
#[derive(Debug)]
pub(super) struct Revocations {
    tenants: papaya::HashMap<TenantId, Arc<Entries>>,
    /// One writer at a time: entries are read, copied and put back.
    writing: Mutex<()>,
    version: AtomicU64,
    woken: watch::Sender<u64>,
    /// Up to where open connections were cut.
    cut: watch::Sender<u64>,
}

impl Revocations {
    /// None.
    pub(super) fn new() -> Self {
        Self {
            tenants: papaya::HashMap::new(),
            writing: Mutex::new(()),
            version: AtomicU64::new(0),
            woken: watch::Sender::new(0),
            cut: watch::Sender::new(0),
        }
    }

    /// Adds revocations.
    pub(super) fn add(&self, revocations: impl IntoIterator<Item = Revocation>) {
        let mut by_tenant: HashMap<TenantId, Vec<Revocation>> = HashMap::new();
        for revocation in revocations {
            by_tenant
                .entry(revocation.tenant)
                .or_default()
                .push(revocation);
        }
        let turn = self.writing.lock();
        let tenants = self.tenants.pin();
        for (tenant, revocations) in by_tenant {
            let mut entries = tenants
                .get(&tenant)
                .map_or_else(Entries::default, |held| (**held).clone());
            for revocation in revocations {
                entries.add(&revocation);
            }
            tenants.insert(tenant, Arc::new(entries));
        }
        drop(turn);
        self.changed();
    }

    /// Forgets a tenant's revocations: an epoch began, or the tenant is gone.
    pub(super) fn forget(&self, tenant: TenantId) {
        let turn = self.writing.lock();
        self.tenants.pin().remove(&tenant);
        drop(turn);
    }

    /// Forgets the entries that have ended a while ago. `now` is seconds since the Unix epoch.
    pub(super) fn expire(&self, now: i64) {
        let now = now.saturating_sub(EXPIRY_SLACK);
        let turn = self.writing.lock();
        let tenants = self.tenants.pin();
        for (tenant, held) in &tenants {
            if held.any_ended(now) {
                let mut entries = (**held).clone();
                entries.forget_ended(now);
                if entries.is_empty() {
                    tenants.remove(tenant);
                } else {
                    tenants.insert(*tenant, Arc::new(entries));
                }
            }
        }
        drop(turn);
    }

    /// Has checked callers checked again, without waking anybody: an object arrived that no live tunnel can use.
    pub(super) fn arrived(&self) -> u64 {
        self.version
            .fetch_add(1, Ordering::AcqRel)
            .saturating_add(1)
    }

    /// Says that what refuses tokens has changed, by a revocation or by an object's generation.
    pub(super) fn changed(&self) {
        let version = self.arrived();
        self.woken.send_modify(|woken| *woken = version.max(*woken));
    }

    /// Rises with every change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Wakes with every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.woken.subscribe()
    }

    /// Says that open connections were cut, up to a version that a subscriber saw before it cut them.
    pub(super) fn was_cut(&self, version: u64) {
        self.cut.send_modify(|cut| *cut = version.max(*cut));
    }

    /// Waits until what was woken for by now is cut, or until nobody cuts: then nothing is open.
    pub(super) async fn cut(&self) {
        let version = *self.woken.borrow();
        let mut cut = self.cut.subscribe();
        // Its sender is here, so that it cannot have gone.
        let reached = async { cut.wait_for(|cut| *cut >= version).await.is_ok() };
        tokio::select! {
            _reached = reached => {}
            () = self.woken.closed() => {}
        }
    }

    /// Whether a token is covered.
    pub(super) fn cover(&self, claims: &Claims) -> bool {
        let tenants = self.tenants.pin();
        tenants
            .get(&claims.tenant)
            .is_some_and(|entries| entries.cover(claims))
    }

    /// Whether one of a tenant's credential versions must not be used any more.
    pub(super) fn end_use(&self, tenant: TenantId, used: &[(CredentialId, u32)]) -> bool {
        let tenants = self.tenants.pin();
        tenants.get(&tenant).is_some_and(|entries| {
            let ended = |(id, version): &(CredentialId, u32)| {
                let found = entries.credentials.get(id);
                found.is_some_and(|(last, _)| version <= last)
            };
            !entries.credentials.is_empty() && used.iter().any(ended)
        })
    }
}

impl Entries {
    fn add(&mut self, revocation: &Revocation) {
        let end = revocation.expires_at;
        let raise = |held: &mut Below, generation: u64| {
            *held = (held.0.max(generation), held.1.max(end));
        };
        match &revocation.subject {
            RevokedSubject::Session(id) => {
                let held = self.sessions.entry(*id).or_insert(end);
                *held = end.max(*held);
            }
            RevokedSubject::Agent(id, generation) => {
                raise(self.agents.entry(*id).or_default(), *generation);
            }
            RevokedSubject::Vault(id, generation) => {
                raise(self.vaults.entry(*id).or_default(), *generation);
            }
            RevokedSubject::Tenant(generation) => raise(&mut self.tenant, *generation),
            RevokedSubject::User(user, generation) => {
                raise(self.users.entry(user.clone()).or_default(), *generation);
            }
            RevokedSubject::Parent(id, generation) => {
                raise(self.parents.entry(*id).or_default(), *generation);
            }
            RevokedSubject::Credential(id, version) => {
                let held = self.credentials.entry(*id).or_default();
                *held = (held.0.max(*version), held.1.max(end));
            }
        }
    }

    fn cover(&self, claims: &Claims) -> bool {
        let below = |generation: u64, found: Option<&Below>| {
            found.is_some_and(|(least, _)| generation < *least)
        };
        let subjects = claims.subjects_generation;
        below(claims.tenant_generation, Some(&self.tenant))
            || self.sessions.contains_key(&claims.session)
            || below(claims.agent_generation, self.agents.get(&claims.agent))
            || (claims.vaults.iter())
                .any(|vault| below(vault.generation, self.vaults.get(&vault.id)))
            || (claims.user.as_ref()).is_some_and(|user| below(subjects, self.users.get(user)))
            || (claims.lineage()).any(|session| below(subjects, self.parents.get(&session)))
    }

    fn any_ended(&self, now: i64) -> bool {
        self.sessions.values().any(|end| *end <= now)
            || any_ended(&self.agents, now)
            || any_ended(&self.vaults, now)
            || any_ended(&self.users, now)
            || any_ended(&self.parents, now)
            || any_ended(&self.credentials, now)
            || (self.tenant != Below::default() && self.tenant.1 <= now)
    }

    fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.agents.is_empty()
            && self.vaults.is_empty()
            && self.users.is_empty()
            && self.parents.is_empty()
            && self.credentials.is_empty()
            && self.tenant == Below::default()
    }

    fn forget_ended(&mut self, now: i64) {
        self.sessions.retain(|_, end| *end > now);
        self.agents.retain(|_, (_, end)| *end > now);
        self.vaults.retain(|_, (_, end)| *end > now);
        self.users.retain(|_, (_, end)| *end > now);
        self.parents.retain(|_, (_, end)| *end > now);
        self.credentials.retain(|_, (_, end)| *end > now);
        if self.tenant.1 <= now {
            self.tenant = Below::default();
        }
    }
}

fn any_ended<K, N>(held: &HashMap<K, (N, i64)>, now: i64) -> bool {
    held.values().any(|(_, end)| *end <= now)
}

//! The state that control sent: read lock-free, swapped whole.
//!
//! [`follow`] keeps it up to date over one stream from control and is its only writer; [`link`] asks that service for
//! what is not here. **Invariants:** nothing of it is ever on disk; what cannot be understood is refused together with
//! what it names, since what it would have forbidden is not known ([`read`]); a vault of which a whole snapshot cannot
//! be understood is served as it last was, for no longer than its staleness from when that was known to be complete.

pub mod identity;
pub mod follow;
mod replica;
pub mod lease;
pub mod read;
pub mod merge;
pub mod quarantine;
mod revocations;
pub mod link;
pub mod whereabouts;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use sortie_proto::agent::{Grant, Revocation, VaultRole};
use sortie_proto::credential::Credential;
use sortie_proto::host::{Host, HostPattern};
use sortie_proto::id::{AgentId, CredentialId, TenantId, VaultId};
use sortie_proto::matching::Index;
use sortie_proto::revision::Revision;
use sortie_proto::sealed::{KeyRef, SealingKey};
use sortie_proto::tenant::Tenant;
use sortie_proto::token::{Claims, VaultClaim, VerifyingKeys};
use sortie_proto::vault::Vault;

use self::lease::{BootClock, Lease};
use self::quarantine::Quarantined;
use self::revocations::Revocations;

/// A vault at a revision. Never altered: a change makes a new one.
#[derive(Debug)]
pub struct VaultState {
    /// The revision that it is complete up to.
    pub revision: Revision,
    /// Its settings.
    pub vault: Vault,
    /// Its services.
    pub index: Index,
    /// Its credentials by name, sealed.
    pub credentials: HashMap<String, Arc<Credential>>,
    /// Its grants by agent.
    pub grants: HashMap<AgentId, Grant>,
    /// The keys that open its credentials.
    pub data_keys: Vec<Arc<SealingKey>>,
    /// Never reused in the life of the process, and raised when the vault's keys or credentials change: pools are keyed
    /// by it.
    pub pool: u64,
    /// Hosts of services that were not understood: nothing to them is allowed.
    pub refused_hosts: Vec<HostPattern>,
    /// When this was last known to be complete, on the lease's clock in milliseconds, if something that came since could
    /// not be understood: its lease runs from then.
    pub frozen_at: Option<u64>,
}

impl VaultState {
    /// Whether a service for this host was not understood.
    #[must_use]
    pub fn refuses(&self, host: &Host) -> bool {
        self.refused_hosts
            .iter()
            .any(|pattern| pattern.matches(host))
    }

    /// The agent's role at a time in seconds since the Unix epoch.
    #[must_use]
    pub fn role(&self, agent: AgentId, now: i64) -> Option<VaultRole> {
        let grant = self.grants.get(&agent)?;
        grant
            .expires_at
            .is_none_or(|end| now < end)
            .then_some(grant.role)
    }

    /// The key that opens what was sealed with it.
    #[must_use]
    pub fn data_key(&self, reference: KeyRef) -> Option<&Arc<SealingKey>> {
        self.data_keys
            .iter()
            .find(|key| key.reference() == reference)
    }

    /// The credential that a placeholder stands for.
    #[must_use]
    pub fn placeholder(&self, text: &str) -> Option<&Arc<Credential>> {
        self.credentials
            .values()
            .find(|credential| credential.placeholder == text)
    }
}

/// What this node knows. Cheap to clone; every read is lock-free.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    vaults: papaya::HashMap<VaultId, Arc<Held>>,
    tenants: papaya::HashMap<TenantId, Arc<Tenant>>,
    /// Tenants of which something was not understood, or which may not be served any more: what is open is cut.
    unclear: papaya::HashSet<TenantId>,
    keys: ArcSwap<VerifyingKeys>,
    revocations: Revocations,
    lease: Lease,
    epoch: AtomicU64,
    open: Open,
    gateways: AtomicU32,
    quarantined: ArcSwap<Vec<Quarantined>>,
}

/// What is open on this node, for control to show. Written once a second.
#[derive(Debug, Default)]
struct Open {
    sessions: AtomicUsize,
    connections: AtomicUsize,
}

/// A vault in memory.
#[derive(Debug)]
struct Held {
    state: ArcSwap<VaultState>,
    /// Set by use and cleared by the follow service, which keeps the time: a request reads no clock for it.
    used: AtomicBool,
    /// When the latest token that is known for it ends, in seconds since the Unix epoch.
    latest: AtomicI64,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A node that knows nothing: it refuses every token and serves no vault.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(lease::boot_clock)
    }

    /// The same on a clock of the caller's, for tests.
    #[must_use]
    pub fn with_clock(clock: BootClock) -> Self {
        Self(Arc::new(Inner {
            vaults: papaya::HashMap::new(),
            tenants: papaya::HashMap::new(),
            unclear: papaya::HashSet::new(),
            keys: ArcSwap::from_pointee(VerifyingKeys::default()),
            revocations: Revocations::new(),
            lease: Lease::new(clock),
            epoch: AtomicU64::new(0),
            open: Open::default(),
            quarantined: ArcSwap::default(),
            gateways: AtomicU32::new(0),
        }))
    }

    /// A vault that is in memory, whether its lease holds or not.
    #[must_use]
    pub fn vault(&self, id: VaultId) -> Option<Arc<VaultState>> {
        self.vault_and_latest(id).map(|(state, _)| state)
    }

    /// A vault that is in memory, and when the latest token ends that is known for it.
    pub(crate) fn vault_and_latest(&self, id: VaultId) -> Option<(Arc<VaultState>, i64)> {
        let vaults = self.0.vaults.pin();
        let held = vaults.get(&id)?;
        // Read first: a line that all workers write would cost each of them more than the vault itself.
        if !held.used.load(Ordering::Relaxed) {
            held.used.store(true, Ordering::Relaxed);
        }
        let latest_end = held.latest.load(Ordering::Relaxed);
        Some((held.state.load_full(), latest_end))
    }

    /// A tenant that is in memory.
    #[must_use]
    pub fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.0.tenants.pin().get(&id).cloned()
    }

    /// The keys that tokens are accepted from.
    #[must_use]
    pub fn keys(&self) -> Arc<VerifyingKeys> {
        self.0.keys.load_full()
    }

    /// Rises with every revocation: while it stands still, a caller that was checked need not be checked again.
    #[must_use]
    pub fn revocation_version(&self) -> u64 {
        self.0.revocations.version()
    }

    /// Whether a token is refused by a revocation or by its epoch: one of an earlier epoch may have been revoked by what
    /// the restored database has forgotten.
    #[must_use]
    pub fn revoked(&self, claims: &Claims) -> bool {
        let tenants = self.0.tenants.pin();
        let tenant = tenants.get(&claims.tenant);
        if tenant.is_some_and(|tenant| claims.tenant_generation < tenant.generation) {
            return true;
        }
        let vaults = self.0.vaults.pin();
        let below = |claim: &VaultClaim| {
            vaults
                .get(&claim.id)
                .is_some_and(|held| claim.generation < held.state.load().vault.generation)
        };
        claims.epoch != self.0.epoch.load(Ordering::Acquire)
            || claims.vaults.iter().any(below)
            || self.0.revocations.cover(claims)
    }

    /// Whether credentials of a tenant, each with a version, may not be used any more: what they were put into ends.
    #[must_use]
    pub fn use_ended(&self, tenant: TenantId, used: &[(CredentialId, u32)]) -> bool {
        self.0.revocations.end_use(tenant, used)
    }

    /// Whether nothing of a tenant may stay open, since it is not known what its revocations say.
    #[must_use]
    pub fn is_unclear(&self, tenant: TenantId) -> bool {
        self.0.unclear.pin().contains(&tenant)
    }

    /// Takes down what is open on this node.
    pub fn note_open(&self, sessions: usize, connections: usize) {
        self.0.open.sessions.store(sessions, Ordering::Relaxed);
        let open = &self.0.open.connections;
        open.store(connections, Ordering::Relaxed);
    }

    /// Wakes with every revocation, to cut live tunnels. Who subscribes says [`was_cut`](Self::was_cut) each time: until
    /// then control is told of nothing that came.
    #[must_use]
    pub fn revocations(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.revocations.subscribe()
    }

    /// Says that live tunnels were cut. The version was read from [`revocations`](Self::revocations) before that.
    pub fn was_cut(&self, version: u64) {
        self.0.revocations.was_cut(version);
    }

    /// Waits until live tunnels are cut as all that has come demands; not at all where nobody cuts any.
    pub(crate) async fn cut(&self) {
        self.0.revocations.cut().await;
    }

    /// What this node holds, for whoever operates it: names and versions, never a value or a key.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        let vaults = self.0.vaults.pin();
        let vaults: Vec<_> = vaults
            .values()
            .map(|held| describe(&held.state.load()))
            .collect();
        let age = self.lease().age().map(|age| age.as_millis());
        let quarantined: Vec<_> = self
            .quarantined()
            .iter()
            .map(Quarantined::describe)
            .collect();
        serde_json::json!({
            "lease_age_ms": age,
            "gateways": self.gateways(),
            "vaults": vaults,
            "quarantined": quarantined,
        })
    }

    /// What this node could not understand, and refuses.
    #[must_use]
    pub fn quarantined(&self) -> Arc<Vec<Quarantined>> {
        self.0.quarantined.load_full()
    }

    /// Whether a vault of this staleness may be served.
    #[must_use]
    pub fn lease_holds(&self, staleness: Duration) -> bool {
        self.0.lease.holds(staleness)
    }

    /// Whether a vault may be served: as its staleness says, and from when it was last known to be complete.
    #[must_use]
    pub fn vault_lease_holds(&self, vault: &VaultState) -> bool {
        let staleness = vault.vault.staleness;
        let lease = &self.0.lease;
        lease.holds(staleness)
            && vault
                .frozen_at
                .is_none_or(|at| lease.is_within(at, staleness))
    }

    /// How many gateways the cluster has, this one included, as control last said; 0 before it did.
    #[must_use]
    pub fn gateways(&self) -> u32 {
        self.0.gateways.load(Ordering::Relaxed)
    }

    // What follows is the follow service's: it alone writes.

    pub(crate) fn set_gateways(&self, gateways: u32) {
        self.0.gateways.store(gateways, Ordering::Relaxed);
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.0.lease
    }

    pub(crate) fn set_quarantined(&self, quarantined: Vec<Quarantined>) {
        self.0.quarantined.store(Arc::new(quarantined));
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        let before = self.0.epoch.swap(epoch, Ordering::AcqRel);
        if before != 0 && before != epoch {
            self.0.revocations.changed();
        }
    }

    pub(crate) fn set_keys(&self, keys: VerifyingKeys) {
        self.0.keys.store(Arc::new(keys));
    }

    pub(crate) fn put_vault(&self, state: Arc<VaultState>) {
        let id = state.vault.id;
        let vaults = self.0.vaults.pin();
        let Some(held) = vaults.get(&id) else {
            let held = Held {
                state: ArcSwap::new(state),
                used: AtomicBool::new(true),
                latest: AtomicI64::new(0),
            };
            vaults.insert(id, Arc::new(held));
            self.0.revocations.arrived();
            return;
        };
        let raised = held.state.load().vault.generation < state.vault.generation;
        held.state.store(state);
        if raised {
            self.0.revocations.changed();
        }
    }

    pub(crate) fn drop_vault(&self, id: VaultId) {
        self.0.vaults.pin().remove(&id);
    }

    pub(crate) fn put_tenant(&self, tenant: Tenant) {
        let tenants = self.0.tenants.pin();
        let held = tenants.get(&tenant.id);
        if held.is_some_and(|held| held.version >= tenant.version) {
            return;
        }
        let raised = held.is_some_and(|held| held.generation < tenant.generation);
        tenants.insert(tenant.id, Arc::new(tenant));
        if raised {
            self.0.revocations.changed();
        } else {
            self.0.revocations.arrived();
        }
    }

    pub(crate) fn drop_tenant(&self, id: TenantId) {
        self.0.tenants.pin().remove(&id);
    }

    /// Has all that is open for a tenant cut, until it is clear again.
    pub(crate) fn set_unclear(&self, id: TenantId) {
        if self.0.unclear.pin().insert(id) {
            self.0.revocations.changed();
        }
    }

    pub(crate) fn set_clear(&self, id: TenantId) {
        self.0.unclear.pin().remove(&id);
    }

    /// Sessions and connections that are open, and vaults in memory.
    pub(crate) fn open(&self) -> (usize, usize, usize) {
        let Open {
            sessions,
            connections,
        } = &self.0.open;
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (read(sessions), read(connections), self.0.vaults.len())
    }

    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        self.0.tenants.pin().keys().copied().collect()
    }

    pub(crate) fn forget_revocations(&self, tenant: TenantId) {
        self.0.revocations.forget(tenant);
    }

    pub(crate) fn revoke(&self, revocations: impl IntoIterator<Item = Revocation>) {
        self.0.revocations.add(revocations);
    }

    pub(crate) fn expire_revocations(&self, now: i64) {
        self.0.revocations.expire(now);
    }

    /// Whether a vault was used since the last call.
    pub(crate) fn take_used(&self, id: VaultId) -> bool {
        let vaults = self.0.vaults.pin();
        vaults
            .get(&id)
            .is_some_and(|held| held.used.swap(false, Ordering::Relaxed))
    }

    /// Notes the end of the latest token that is known for a vault.
    pub(crate) fn note_latest(&self, id: VaultId, end: i64) {
        if let Some(held) = self.0.vaults.pin().get(&id) {
            held.latest.fetch_max(end, Ordering::Relaxed);
        }
    }
}

fn describe(vault: &VaultState) -> serde_json::Value {
    let services: Vec<_> = vault
        .index
        .iter()
        .map(|service| serde_json::json!({ "name": service.name, "version": service.version }))
        .collect();
    let credentials: Vec<_> = vault
        .credentials
        .values()
        .map(|one| serde_json::json!({ "name": one.name, "version": one.version }))
        .collect();
    serde_json::json!({
        "id": vault.vault.id,
        "tenant": vault.vault.tenant,
        "name": vault.vault.name,
        "revision": vault.revision.to_string(),
        "services": services,
        "credentials": credentials,
        "grants": vault.grants.len(),
    })
}

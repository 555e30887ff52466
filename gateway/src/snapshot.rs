//! The state that control sent: read lock-free, swapped whole.

pub mod follow;
pub mod lease;
pub mod merge;
pub mod link;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sortie_proto::agent::{Grant, VaultRole};
use sortie_proto::credential::Credential;
use sortie_proto::id::{AgentId, TenantId, VaultId};
use sortie_proto::matching::Index;
use sortie_proto::revision::Revision;
use sortie_proto::sealed::{KeyRef, SealingKey};
use sortie_proto::tenant::Tenant;
use sortie_proto::token::{Claims, VerifyingKeys};
use sortie_proto::vault::Vault;

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
}

impl VaultState {
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
pub struct State {}

impl State {
    /// A vault that is in memory, whether its lease holds or not.
    #[must_use]
    pub fn vault(&self, id: VaultId) -> Option<Arc<VaultState>> {
        let _ = id;
        todo!()
    }

    /// A tenant that is in memory.
    #[must_use]
    pub fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>> {
        let _ = id;
        todo!()
    }

    /// The keys that tokens are accepted from.
    #[must_use]
    pub fn keys(&self) -> Arc<VerifyingKeys> {
        todo!()
    }

    /// Rises with every revocation: while it stands still, a caller that was checked need not be checked again.
    #[must_use]
    pub fn revocation_version(&self) -> u64 {
        todo!()
    }

    /// Whether a token is refused by a revocation or by its epoch.
    #[must_use]
    pub fn revoked(&self, claims: &Claims) -> bool {
        let _ = claims;
        todo!()
    }

    /// Wakes whenever `revocation_version` rises, to cut live tunnels.
    #[must_use]
    pub fn revocations(&self) -> tokio::sync::watch::Receiver<u64> {
        todo!()
    }

    /// Whether a vault of this staleness may be served.
    #[must_use]
    pub fn lease_holds(&self, staleness: Duration) -> bool {
        let _ = staleness;
        todo!()
    }
}

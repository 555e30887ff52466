//! What a vault becomes: snapshot → state, and state and change → next state. Pure.
//!
//! Changes of a stream come in order, so one that is not behind the state's revision is a repetition. Beyond that an
//! object replaces another only if its version is higher.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sortie_proto::agent::Grant;
use sortie_proto::change::{Change, Object, Snapshot, Tombstone};
use sortie_proto::credential::Credential;
use sortie_proto::id::VaultId;
use sortie_proto::matching::Index;
use sortie_proto::sealed::SealingKey;
use sortie_proto::service::Service;

use super::VaultState;

/// The vault that a change is about; `None` for one about a tenant or the cluster.
#[must_use]
pub fn vault_of(object: &Object) -> Option<VaultId> {
    match object {
        Object::Vault(vault) => Some(vault.id),
        Object::Service(service) => Some(service.vault),
        Object::Credential(credential) => Some(credential.vault),
        Object::Grant(grant) => Some(grant.vault),
        Object::Tombstone(
            Tombstone::Vault(vault)
            | Tombstone::Service(vault, _)
            | Tombstone::Credential(vault, _)
            | Tombstone::Grant(vault, _),
        ) => Some(*vault),
        Object::Tombstone(Tombstone::Tenant(_))
        | Object::Tenant(_)
        | Object::Revocation(_)
        | Object::SigningKey(_) => None,
    }
}

/// A vault's state with the list behind its index, which a change of one service needs.
#[derive(Debug)]
pub struct Whole {
    /// What requests see.
    pub state: Arc<VaultState>,
    /// All services, by id.
    pub services: Vec<Arc<Service>>,
}

/// The state of a vault from its snapshot.
#[must_use]
pub fn from_snapshot(snapshot: Snapshot) -> Whole {
    Next::from_snapshot(snapshot).done()
}

/// The state with a newer snapshot; `None` if it says nothing new.
#[must_use]
pub fn replace(whole: &Whole, snapshot: Snapshot) -> Option<Whole> {
    let held = &whole.state;
    if snapshot.revision <= held.revision {
        // Older than what is known, but the keys may be newer: a new data key is no change of an object.
        let mut next = Next::copy(whole);
        let unknown = |key: &Arc<SealingKey>| held.data_key(key.reference()).is_none();
        let keys = &mut next.state.data_keys;
        keys.extend(snapshot.data_keys.into_iter().filter(unknown));
        if keys.len() == held.data_keys.len() {
            return None;
        }
        next.state.pool = next_pool();
        return Some(next.done());
    }
    Some(refresh(whole, snapshot))
}

/// The state of a snapshot in place of another, whichever is newer: what is held is known to have gaps.
#[must_use]
pub fn refresh(whole: &Whole, snapshot: Snapshot) -> Whole {
    let held = &whole.state;
    let mut next = Next::from_snapshot(snapshot);
    let same_keys = same_keys(&next.state.data_keys, &held.data_keys);
    if same_keys && next.state.credentials == held.credentials {
        next.state.pool = held.pool;
    }
    next.done()
}

/// The state behind a change of this vault; `None` if it is a repetition. A vault's own tombstone is the caller's.
#[must_use]
pub fn apply(whole: &Whole, change: &Change) -> Option<Whole> {
    if change.revision <= whole.state.revision {
        return None;
    }
    let mut next = Next::copy(whole);
    next.state.revision = change.revision;
    match &change.object {
        Object::Vault(vault) if vault.version > whole.state.vault.version => {
            next.state.vault = vault.clone();
        }
        Object::Service(service) => next.put_service(service),
        Object::Credential(credential) => next.put_credential(credential),
        Object::Grant(grant) => next.put_grant(grant),
        Object::Tombstone(tombstone) => next.bury(*tombstone),
        Object::Vault(_) | Object::Tenant(_) | Object::Revocation(_) | Object::SigningKey(_) => {}
    }
    Some(next.done())
}

/// A number for pools that this process has not given out before.
fn next_pool() -> u64 {
    static POOLS: AtomicU64 = AtomicU64::new(1);
    POOLS.fetch_add(1, Ordering::Relaxed)
}

fn same_keys(one: &[Arc<SealingKey>], other: &[Arc<SealingKey>]) -> bool {
    let among = |keys: &[Arc<SealingKey>], key: &Arc<SealingKey>| {
        keys.iter().any(|one| one.reference() == key.reference())
    };
    one.iter().all(|key| among(other, key)) && other.iter().all(|key| among(one, key))
}

/// A state in the making.
struct Next {
    state: VaultState,
    services: Vec<Arc<Service>>,
}

impl Next {
    fn from_snapshot(snapshot: Snapshot) -> Self {
        let named = |credential: Credential| (credential.name.clone(), Arc::new(credential));
        let by_agent = |grant: Grant| (grant.agent, grant);
        Self {
            services: snapshot.services,
            state: VaultState {
                revision: snapshot.revision,
                vault: snapshot.vault,
                index: Index::default(),
                credentials: snapshot.credentials.into_iter().map(named).collect(),
                grants: snapshot.grants.into_iter().map(by_agent).collect(),
                data_keys: snapshot.data_keys,
                pool: next_pool(),
            },
        }
    }

    fn copy(whole: &Whole) -> Self {
        let state = &whole.state;
        Self {
            services: whole.services.clone(),
            state: VaultState {
                revision: state.revision,
                vault: state.vault.clone(),
                index: Index::default(),
                credentials: state.credentials.clone(),
                grants: state.grants.clone(),
                data_keys: state.data_keys.clone(),
                pool: state.pool,
            },
        }
    }

    fn done(mut self) -> Whole {
        // One order for one content, so that it does not matter in which order services came.
        self.services.sort_by_key(|service| service.id);
        self.state.index = Index::new(self.services.clone());
        Whole {
            state: Arc::new(self.state),
            services: self.services,
        }
    }

    fn put_service(&mut self, service: &Arc<Service>) {
        let held = self.services.iter().find(|held| held.id == service.id);
        if held.is_none_or(|held| held.version < service.version) {
            self.services.retain(|held| held.id != service.id);
            self.services.push(Arc::clone(service));
        }
    }

    fn put_credential(&mut self, credential: &Credential) {
        let all = &mut self.state.credentials;
        let held = all.values().find(|held| held.id == credential.id);
        // Within a version a credential is only ever revoked.
        let newer = |held: &Arc<Credential>| {
            let revoked = held.version == credential.version && credential.sealed.is_none();
            held.version < credential.version || revoked
        };
        if held.is_none_or(newer) {
            all.retain(|_, held| held.id != credential.id);
            all.insert(credential.name.clone(), Arc::new(credential.clone()));
            self.state.pool = next_pool();
        }
    }

    fn put_grant(&mut self, grant: &Grant) {
        let held = self.state.grants.get(&grant.agent);
        if held.is_none_or(|held| held.version < grant.version) {
            self.state.grants.insert(grant.agent, grant.clone());
        }
    }

    fn bury(&mut self, tombstone: Tombstone) {
        match tombstone {
            Tombstone::Service(_, id) => self.services.retain(|held| held.id != id),
            Tombstone::Credential(_, id) => {
                self.state.credentials.retain(|_, held| held.id != id);
                self.state.pool = next_pool();
            }
            Tombstone::Grant(_, agent) => {
                self.state.grants.remove(&agent);
            }
            Tombstone::Vault(_) | Tombstone::Tenant(_) => {}
        }
    }
}

//! What a vault becomes: snapshot → state, and state and change → next state. Pure.
//!
//! Changes of a stream come in order, so one that is not behind the state's revision is a repetition. Beyond that an
//! object replaces another only if its version is higher. One that was not understood refuses what it names
//! ([`read`](super::read)) until a later version of it is.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sortie_proto::agent::Grant;
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::credential::Credential;
use sortie_proto::host::HostPattern;
use sortie_proto::id::CredentialId;
use sortie_proto::matching::Index;
use sortie_proto::sealed::SealingKey;
use sortie_proto::service::Service;

use super::VaultState;
use super::read::{Read, Reading, Refused, Unread};

/// A vault's state with the list behind its index, which a change of one service needs.
#[derive(Debug)]
pub struct Whole {
    /// What requests see.
    pub state: Arc<VaultState>,
    /// All services, by id.
    pub services: Vec<Arc<Service>>,
    /// What was not understood.
    pub refused: Refused,
}

/// The state of a vault from its snapshot.
#[must_use]
pub fn from_snapshot(read: Read) -> Whole {
    Next::from_snapshot(read).done()
}

/// The state with a newer snapshot; `None` if it says nothing new.
#[must_use]
pub fn replace(whole: &Whole, read: Read) -> Option<Whole> {
    let held = &whole.state;
    let snapshot = &read.snapshot;
    if snapshot.revision <= held.revision {
        // Older than what is known, but the keys may be newer: a new data key is no change of an object.
        let mut next = Next::copy(whole);
        let unknown = |key: &&Arc<SealingKey>| held.data_key(key.reference()).is_none();
        let keys = &mut next.state.data_keys;
        keys.extend(snapshot.data_keys.iter().filter(unknown).cloned());
        if keys.len() == held.data_keys.len() {
            return None;
        }
        next.state.pool = next_pool();
        return Some(next.done());
    }
    Some(refresh(whole, read))
}

/// The state of a snapshot in place of another, whichever is newer: what is held is known to have gaps.
#[must_use]
pub fn refresh(whole: &Whole, read: Read) -> Whole {
    let held = &whole.state;
    let mut next = Next::from_snapshot(read);
    let same_keys = same_keys(&next.state.data_keys, &held.data_keys);
    if same_keys && next.state.credentials == held.credentials {
        next.state.pool = held.pool;
    }
    next.done()
}

/// The state behind a change of this vault; `None` if it is a repetition. What takes the whole vault away is the
/// caller's.
#[must_use]
pub fn apply(whole: &Whole, change: &Reading) -> Option<Whole> {
    if change.revision <= whole.state.revision {
        return None;
    }
    let mut next = Next::copy(whole);
    next.state.revision = change.revision;
    match &change.object {
        Ok(object) => next.put(object),
        Err(unread) => next.refuse(unread),
    }
    Some(next.done())
}

/// The same state, known to be complete no later than a moment of the lease's clock. The earliest stands.
#[must_use]
pub fn freeze(whole: &Whole, complete_at: u64) -> Whole {
    let mut next = Next::copy(whole);
    next.state.frozen_at = Some(whole.state.frozen_at.unwrap_or(complete_at));
    next.done()
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
    refused: Refused,
}

impl Next {
    fn from_snapshot(read: Read) -> Self {
        let Read { snapshot, refused } = read;
        let named = |credential: Credential| (credential.name.clone(), Arc::new(credential));
        let by_agent = |grant: Grant| (grant.agent, grant);
        Self {
            refused,
            services: snapshot.services,
            state: VaultState {
                revision: snapshot.revision,
                vault: snapshot.vault,
                index: Index::default(),
                credentials: snapshot.credentials.into_iter().map(named).collect(),
                grants: snapshot.grants.into_iter().map(by_agent).collect(),
                data_keys: snapshot.data_keys,
                pool: next_pool(),
                refused_hosts: Vec::new(),
                frozen_at: None,
            },
        }
    }

    fn copy(whole: &Whole) -> Self {
        let state = &whole.state;
        Self {
            services: whole.services.clone(),
            refused: whole.refused.clone(),
            state: VaultState {
                revision: state.revision,
                vault: state.vault.clone(),
                index: Index::default(),
                credentials: state.credentials.clone(),
                grants: state.grants.clone(),
                data_keys: state.data_keys.clone(),
                pool: state.pool,
                refused_hosts: Vec::new(),
                frozen_at: state.frozen_at,
            },
        }
    }

    fn done(mut self) -> Whole {
        // One order for one content, so that it does not matter in which order services came.
        self.services.sort_by_key(|service| service.id);
        self.state.index = Index::new(self.services.clone());
        self.state.refused_hosts = self.refused_hosts();
        Whole {
            state: Arc::new(self.state),
            services: self.services,
            refused: self.refused,
        }
    }

    /// The hosts of the services that are refused: as they were last understood, and as they may be.
    fn refused_hosts(&self) -> Vec<HostPattern> {
        let refused = &self.refused.services;
        let held = self.services.iter();
        let held = held.filter(|service| refused.contains_key(&service.id));
        let held = held.map(|service| &service.host);
        let hosts: HashSet<_> = held.chain(refused.values()).collect();
        hosts.into_iter().cloned().collect()
    }

    fn put(&mut self, object: &Object) {
        match object {
            Object::Vault(vault) if vault.version > self.state.vault.version => {
                self.state.vault = vault.clone();
            }
            Object::Service(service) => self.put_service(service),
            Object::Credential(credential) => self.put_credential(credential),
            Object::Grant(grant) => self.put_grant(grant),
            Object::Tombstone(tombstone) => self.bury(*tombstone),
            Object::Vault(_)
            | Object::Tenant(_)
            | Object::Revocation(_)
            | Object::SigningKey(_) => {}
        }
    }

    fn refuse(&mut self, unread: &Unread) {
        match unread {
            Unread::Service(_, id, host) => {
                self.refused.services.insert(*id, host.clone());
            }
            Unread::Credential(_, id) => {
                self.bury_credential(*id);
                self.refused.credentials.insert(*id);
            }
            Unread::Grant(_, agent) => {
                self.state.grants.remove(agent);
                self.refused.grants.insert(*agent);
            }
            Unread::Vault(_) | Unread::Tenant(_) | Unread::Key | Unread::Unknown => {}
        }
    }

    fn bury_credential(&mut self, id: CredentialId) {
        self.refused.credentials.remove(&id);
        self.state.credentials.retain(|_, held| held.id != id);
        self.state.pool = next_pool();
    }

    fn put_service(&mut self, service: &Arc<Service>) {
        let held = self.services.iter().find(|held| held.id == service.id);
        if held.is_none_or(|held| held.version < service.version) {
            self.services.retain(|held| held.id != service.id);
            self.services.push(Arc::clone(service));
            self.refused.services.remove(&service.id);
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
            self.refused.credentials.remove(&credential.id);
            self.state.pool = next_pool();
        }
    }

    fn put_grant(&mut self, grant: &Grant) {
        let held = self.state.grants.get(&grant.agent);
        if held.is_none_or(|held| held.version < grant.version) {
            self.state.grants.insert(grant.agent, grant.clone());
            self.refused.grants.remove(&grant.agent);
        }
    }

    fn bury(&mut self, tombstone: Tombstone) {
        match tombstone {
            Tombstone::Service(_, id) => {
                self.services.retain(|held| held.id != id);
                self.refused.services.remove(&id);
            }
            Tombstone::Credential(_, id) => self.bury_credential(id),
            Tombstone::Grant(_, agent) => {
                self.state.grants.remove(&agent);
                self.refused.grants.remove(&agent);
            }
            Tombstone::Vault(_) | Tombstone::Tenant(_) => {}
        }
    }
}

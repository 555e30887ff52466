//! What travels on the feed: whole objects with a revision, and snapshots.

use std::sync::Arc;

use crate::agent::{Grant, Revocation};
use crate::credential::Credential;
use crate::id::{AgentId, CredentialId, ServiceId, TenantId, VaultId};
use crate::revision::Revision;
use crate::sealed::SealingKey;
use crate::service::Service;
use crate::tenant::Tenant;
use crate::token::VerifyingKey;
use crate::vault::Vault;

/// The largest event of the feed, in bytes as encoded. Control sends none beyond it; gateways take somewhat more.
pub const EVENT_BYTES_MAX: usize = 48 * 1024 * 1024;

/// A change of the cluster's state. Applying one twice, or late, is harmless: it carries the whole object.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its position.
    pub revision: Revision,
    /// What is new.
    pub object: Object,
}

/// What a change carries.
#[derive(Debug, Clone)]
pub enum Object {
    /// A tenant.
    Tenant(Tenant),
    /// A vault.
    Vault(Vault),
    /// A service.
    Service(Arc<Service>),
    /// A new version of a credential.
    Credential(Credential),
    /// A grant.
    Grant(Grant),
    /// A revocation.
    Revocation(Revocation),
    /// A key that signs session tokens.
    SigningKey(VerifyingKey),
    /// A deleted object.
    Tombstone(Tombstone),
}

/// A deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstone {
    /// A tenant and all that it had.
    Tenant(TenantId),
    /// A vault and all that it had.
    Vault(VaultId),
    /// A service.
    Service(VaultId, ServiceId),
    /// A credential and all its versions.
    Credential(VaultId, CredentialId),
    /// A grant.
    Grant(VaultId, AgentId),
}

/// All of a vault at a revision.
#[derive(Debug)]
pub struct Snapshot {
    /// The highest revision that the reading transaction saw.
    pub revision: Revision,
    /// The vault.
    pub vault: Vault,
    /// Its services.
    pub services: Vec<Arc<Service>>,
    /// Its credentials, sealed.
    pub credentials: Vec<Credential>,
    /// Its grants.
    pub grants: Vec<Grant>,
    /// The keys that open the credentials.
    pub data_keys: Vec<Arc<SealingKey>>,
}

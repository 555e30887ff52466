//! What control sent, read object by object: what cannot be understood is narrowed down to what it names.
//!
//! **What is decided.** A service that is not understood refuses every request to the hosts that it, or its last version
//! that was understood, names: what it would have forbidden there is not known. A credential or a grant that is not
//! understood is as good as deleted. The rest of its vault goes on. What cannot be named, and a vault's own settings,
//! refuse the vault; a tenant's settings and a revocation refuse the tenant, for nobody knows whom it was to stop.
//! Objects refer to each other by name and never back, so there are no cycles to find.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use prost::Message;
use sortie_proto::agent::Grant;
use sortie_proto::change::{Change, Object, Snapshot, Tombstone};
use sortie_proto::credential::Credential;
use sortie_proto::host::HostPattern;
use sortie_proto::id::{AgentId, CredentialId, ServiceId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::sealed::SealingKey;
use sortie_proto::service::Service;
use sortie_proto::vault::{STALENESS_MAX, Vault};
use sortie_proto::wire::v1;

/// The most services, and the most credentials, of a vault that is taken: ten times what control lets anyone make.
const OBJECTS_MAX: usize = 10_000;
/// The longest name of anything, in bytes.
const NAME_MAX: usize = 1_024;

/// A change, as far as it was understood.
#[derive(Debug)]
pub struct Reading {
    /// Its position.
    pub revision: Revision,
    /// What is new, or what it is that is not known.
    pub object: Result<Object, Unread>,
}

/// What was not understood, as far as its names tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// A service, and the hosts that it is about.
    Service(VaultId, ServiceId, HostPattern),
    /// A credential.
    Credential(VaultId, CredentialId),
    /// A grant.
    Grant(VaultId, AgentId),
    /// A vault's settings, or something of it that cannot be named.
    Vault(VaultId),
    /// A tenant's settings, or a revocation.
    Tenant(TenantId),
    /// A key: one that is not known verifies nothing.
    Key,
    /// Anything.
    Unknown,
}

/// What of a vault is refused until it comes again and is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Services, with the hosts that their last version is about.
    pub services: BTreeMap<ServiceId, HostPattern>,
    /// Credentials.
    pub credentials: BTreeSet<CredentialId>,
    /// The grants of these agents.
    pub grants: BTreeSet<AgentId>,
}

/// A snapshot, as far as it was understood.
#[derive(Debug)]
pub struct Read {
    /// What was.
    pub snapshot: Snapshot,
    /// What was not.
    pub refused: Refused,
}

/// Why a snapshot as a whole means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub &'static str);

/// Reads a snapshot as it was encoded for all gateways.
///
/// # Errors
/// [`Unreadable`] says why none of it is taken.
pub fn encoded(bytes: &[u8], vault: VaultId, tenant: Option<TenantId>) -> Result<Read, Unreadable> {
    let wire = v1::VaultSnapshot::decode(bytes)
        .or(Err(Unreadable("its snapshot is cut off or damaged")))?;
    snapshot(wire, vault, tenant)
}

/// Reads a snapshot of a vault, which must be of the tenant whose token asked for it.
///
/// # Errors
/// [`Unreadable`] says why none of it is taken.
pub fn snapshot(
    wire: v1::VaultSnapshot,
    vault: VaultId,
    tenant: Option<TenantId>,
) -> Result<Read, Unreadable> {
    if wire.services.len() > OBJECTS_MAX || wire.credentials.len() > OBJECTS_MAX {
        return Err(Unreadable("it has too many services or credentials"));
    }
    let revision = wire
        .revision
        .ok_or(Unreadable("its snapshot has no revision"))?
        .into();
    let settings = wire
        .vault
        .and_then(|wire| Vault::try_from(wire).ok())
        .filter(is_sound)
        .ok_or(Unreadable("its settings have no meaning here"))?;
    if settings.id != vault || tenant.is_some_and(|tenant| tenant != settings.tenant) {
        return Err(Unreadable("its snapshot is of another vault or tenant"));
    }
    let mut refused = Refused::default();
    let services = services(wire.services, vault, &mut refused)?;
    let credentials = credentials(wire.credentials, vault, &mut refused)?;
    let grants = grants(wire.grants, vault, &mut refused)?;
    let key = |key: v1::DataKey| SealingKey::try_from(key).ok().map(Arc::new);
    Ok(Read {
        snapshot: Snapshot {
            revision,
            vault: settings,
            services,
            credentials,
            grants,
            // What was sealed with a key that is left out does not open, and is refused when it is used.
            data_keys: wire.data_keys.into_iter().filter_map(key).collect(),
        },
        refused,
    })
}

const TWICE: Unreadable = Unreadable("it has something twice");
const NAMELESS: Unreadable = Unreadable("something of it cannot be named");

fn services(
    wire: Vec<v1::Service>,
    vault: VaultId,
    refused: &mut Refused,
) -> Result<Vec<Arc<Service>>, Unreadable> {
    let mut seen = HashSet::new();
    let mut read = Vec::with_capacity(wire.len());
    for wire in wire {
        let (id, host) = (wire.id.clone(), wire.host.clone());
        let service = Service::try_from(wire).ok();
        let id = ServiceId::from_bytes(&id).or(Err(NAMELESS))?;
        if !seen.insert(id) {
            return Err(TWICE);
        }
        match service.filter(|service| service.vault == vault && is_name(&service.name)) {
            Some(service) => read.push(Arc::new(service)),
            None => {
                let host = HostPattern::parse(&host).or(Err(NAMELESS))?;
                refused.services.insert(id, host);
            }
        }
    }
    Ok(read)
}

fn credentials(
    wire: Vec<v1::Credential>,
    vault: VaultId,
    refused: &mut Refused,
) -> Result<Vec<Credential>, Unreadable> {
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    let mut read = Vec::with_capacity(wire.len());
    for wire in wire {
        let id = CredentialId::from_bytes(&wire.id).or(Err(NAMELESS))?;
        let name = wire.name.clone();
        if !ids.insert(id) || !names.insert(name) {
            return Err(TWICE);
        }
        let sound = |one: &Credential| one.vault == vault && is_name(&one.name);
        match Credential::try_from(wire).ok().filter(sound) {
            Some(credential) => read.push(credential),
            None => {
                refused.credentials.insert(id);
            }
        }
    }
    Ok(read)
}

fn grants(
    wire: Vec<v1::Grant>,
    vault: VaultId,
    refused: &mut Refused,
) -> Result<Vec<Grant>, Unreadable> {
    let mut seen = HashSet::new();
    let mut read = Vec::with_capacity(wire.len());
    for wire in wire {
        let agent = AgentId::from_bytes(&wire.agent_id).or(Err(NAMELESS))?;
        if !seen.insert(agent) {
            return Err(TWICE);
        }
        match Grant::try_from(wire)
            .ok()
            .filter(|grant| grant.vault == vault)
        {
            Some(grant) => read.push(grant),
            None => {
                refused.grants.insert(agent);
            }
        }
    }
    Ok(read)
}

/// Reads a change.
#[must_use]
pub fn change(wire: v1::Change, revision: Revision) -> Reading {
    let unread = Unread::of(&wire);
    let envelope = VaultId::from_bytes(&wire.vault_id).ok();
    let owner = TenantId::from_bytes(&wire.tenant_id).ok();
    let object = match Change::try_from(wire) {
        Ok(change) if is_meant(&change.object) => Ok(change.object),
        Ok(_) | Err(_) => Err(unread),
    };
    let mut reading = Reading { revision, object };
    let strange = match &reading.object {
        Ok(Object::Vault(vault)) => owner.is_some_and(|owner| owner != vault.tenant),
        Ok(_) | Err(_) => false,
    };
    if let Some(vault) = envelope.filter(|vault| strange || reading.vault() != Some(*vault)) {
        // It is about this vault, and names another or another's: what it says of this one is not known.
        reading.object = Err(Unread::Vault(vault));
    }
    reading
}

/// Whether an object that has the right form may be what an admin made.
fn is_meant(object: &Object) -> bool {
    match object {
        Object::Vault(vault) => is_sound(vault),
        Object::Service(service) => is_name(&service.name),
        Object::Credential(credential) => is_name(&credential.name),
        Object::Tenant(tenant) => is_name(&tenant.name),
        Object::Grant(_) | Object::Revocation(_) | Object::SigningKey(_) | Object::Tombstone(_) => {
            true
        }
    }
}

fn is_sound(vault: &Vault) -> bool {
    is_name(&vault.name) && vault.staleness <= STALENESS_MAX
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
}

impl Reading {
    /// The vault that it is about; `None` for one about a tenant or the cluster.
    #[must_use]
    pub fn vault(&self) -> Option<VaultId> {
        match &self.object {
            Ok(object) => vault_of(object),
            Err(unread) => unread.vault(),
        }
    }
}

fn vault_of(object: &Object) -> Option<VaultId> {
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

impl Unread {
    fn of(wire: &v1::Change) -> Self {
        use v1::change::Object as Wire;
        let envelope = || Self::vault_or_tenant(&wire.vault_id, &wire.tenant_id);
        let about = match &wire.object {
            Some(Wire::Vault(vault)) => Self::whole_vault(&vault.id),
            Some(Wire::Service(service)) => Self::service(service),
            Some(Wire::Credential(credential)) => Self::credential(credential),
            Some(Wire::Grant(grant)) => Self::grant(grant),
            Some(Wire::Tenant(tenant)) => Self::tenant(&tenant.id),
            Some(Wire::Revocation(revocation)) => Self::tenant(&revocation.tenant_id),
            Some(Wire::SigningKey(_)) => Some(Self::Key),
            Some(Wire::Tombstone(tombstone)) => {
                Self::vault_or_tenant(&tombstone.vault_id, &tombstone.tenant_id)
            }
            None => None,
        };
        about.or_else(envelope).unwrap_or(Self::Unknown)
    }

    const fn vault(&self) -> Option<VaultId> {
        match self {
            Self::Service(vault, _, _)
            | Self::Credential(vault, _)
            | Self::Grant(vault, _)
            | Self::Vault(vault) => Some(*vault),
            Self::Tenant(_) | Self::Key | Self::Unknown => None,
        }
    }

    fn service(wire: &v1::Service) -> Option<Self> {
        let vault = VaultId::from_bytes(&wire.vault_id).ok()?;
        let id = ServiceId::from_bytes(&wire.id).ok();
        let named = id.zip(HostPattern::parse(&wire.host).ok());
        Some(named.map_or(Self::Vault(vault), |(id, host)| {
            Self::Service(vault, id, host)
        }))
    }

    fn credential(wire: &v1::Credential) -> Option<Self> {
        let vault = VaultId::from_bytes(&wire.vault_id).ok()?;
        let id = CredentialId::from_bytes(&wire.id);
        Some(id.map_or(Self::Vault(vault), |id| Self::Credential(vault, id)))
    }

    fn grant(wire: &v1::Grant) -> Option<Self> {
        let vault = VaultId::from_bytes(&wire.vault_id).ok()?;
        let agent = AgentId::from_bytes(&wire.agent_id);
        Some(agent.map_or(Self::Vault(vault), |agent| Self::Grant(vault, agent)))
    }

    fn vault_or_tenant(vault: &[u8], tenant: &[u8]) -> Option<Self> {
        Self::whole_vault(vault).or_else(|| Self::tenant(tenant))
    }

    fn whole_vault(id: &[u8]) -> Option<Self> {
        VaultId::from_bytes(id).ok().map(Self::Vault)
    }

    fn tenant(id: &[u8]) -> Option<Self> {
        TenantId::from_bytes(id).ok().map(Self::Tenant)
    }
}

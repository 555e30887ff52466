//! Changes, and whole vaults.

use std::sync::Arc;

use super::{Invalid, Result, agent_id, required, v1, vault_id};
use crate::change::{Change, Object, Snapshot, Tombstone};
use crate::id::{CredentialId, ServiceId, TenantId};

impl From<&Tombstone> for v1::Tombstone {
    fn from(tombstone: &Tombstone) -> Self {
        use v1::ObjectKind as Kind;
        let (kind, id, vault_id, tenant_id) = match tombstone {
            Tombstone::Tenant(id) => (Kind::Tenant, id.to_bytes(), Vec::new(), id.to_bytes()),
            Tombstone::Vault(id) => (Kind::Vault, id.to_bytes(), id.to_bytes(), Vec::new()),
            Tombstone::Service(vault, id) => {
                (Kind::Service, id.to_bytes(), vault.to_bytes(), Vec::new())
            }
            Tombstone::Credential(vault, id) => (
                Kind::Credential,
                id.to_bytes(),
                vault.to_bytes(),
                Vec::new(),
            ),
            Tombstone::Grant(vault, agent) => {
                (Kind::Grant, agent.to_bytes(), vault.to_bytes(), Vec::new())
            }
        };
        Self {
            kind: kind.into(),
            id,
            vault_id,
            tenant_id,
        }
    }
}

impl TryFrom<v1::Tombstone> for Tombstone {
    type Error = Invalid;

    fn try_from(wire: v1::Tombstone) -> Result<Self> {
        let id = wire.id.as_slice();
        Ok(match wire.kind() {
            v1::ObjectKind::Tenant => {
                Self::Tenant(TenantId::from_bytes(id).or(Err(Invalid("tombstone.id")))?)
            }
            v1::ObjectKind::Vault => Self::Vault(vault_id(id)?),
            v1::ObjectKind::Service => Self::Service(
                vault_id(&wire.vault_id)?,
                ServiceId::from_bytes(id).or(Err(Invalid("tombstone.id")))?,
            ),
            v1::ObjectKind::Credential => Self::Credential(
                vault_id(&wire.vault_id)?,
                CredentialId::from_bytes(id).or(Err(Invalid("tombstone.id")))?,
            ),
            v1::ObjectKind::Grant => Self::Grant(vault_id(&wire.vault_id)?, agent_id(id)?),
            v1::ObjectKind::SigningKey | v1::ObjectKind::Unspecified => {
                return Err(Invalid("tombstone.kind"));
            }
        })
    }
}

impl From<&Change> for v1::Change {
    fn from(change: &Change) -> Self {
        use v1::change::Object as Wire;
        let object = match &change.object {
            Object::Tenant(tenant) => Wire::Tenant(tenant.into()),
            Object::Vault(vault) => Wire::Vault(vault.into()),
            Object::Service(service) => Wire::Service(service.as_ref().into()),
            Object::Credential(credential) => Wire::Credential(credential.into()),
            Object::Grant(grant) => Wire::Grant(grant.into()),
            Object::Revocation(revocation) => Wire::Revocation(revocation.into()),
            Object::SigningKey(key) => Wire::SigningKey(key.into()),
            Object::Tombstone(tombstone) => Wire::Tombstone(tombstone.into()),
        };
        Self {
            revision: Some(change.revision.into()),
            object: Some(object),
            // Known to whoever sends it, not to the object.
            tenant_id: Vec::new(),
            vault_id: Vec::new(),
        }
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = Invalid;

    fn try_from(wire: v1::Change) -> Result<Self> {
        use v1::change::Object as Wire;
        let object = match required(wire.object, "change.object")? {
            Wire::Tenant(tenant) => Object::Tenant(tenant.try_into()?),
            Wire::Vault(vault) => Object::Vault(vault.try_into()?),
            Wire::Service(service) => Object::Service(Arc::new(service.try_into()?)),
            Wire::Credential(credential) => Object::Credential(credential.try_into()?),
            Wire::Grant(grant) => Object::Grant(grant.try_into()?),
            Wire::Revocation(revocation) => Object::Revocation(revocation.try_into()?),
            Wire::SigningKey(key) => Object::SigningKey(key.try_into()?),
            Wire::Tombstone(tombstone) => Object::Tombstone(tombstone.try_into()?),
        };
        Ok(Self {
            revision: required(wire.revision, "change.revision")?.into(),
            object,
        })
    }
}

impl From<&Snapshot> for v1::VaultSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            revision: Some(snapshot.revision.into()),
            vault: Some((&snapshot.vault).into()),
            services: snapshot
                .services
                .iter()
                .map(|service| service.as_ref().into())
                .collect(),
            credentials: snapshot.credentials.iter().map(Into::into).collect(),
            grants: snapshot.grants.iter().map(Into::into).collect(),
            data_keys: snapshot
                .data_keys
                .iter()
                .map(|key| key.as_ref().into())
                .collect(),
        }
    }
}

impl TryFrom<v1::VaultSnapshot> for Snapshot {
    type Error = Invalid;

    fn try_from(wire: v1::VaultSnapshot) -> Result<Self> {
        let service = |service: v1::Service| service.try_into().map(Arc::new);
        let key = |key: v1::DataKey| key.try_into().map(Arc::new);
        Ok(Self {
            revision: required(wire.revision, "snapshot.revision")?.into(),
            vault: required(wire.vault, "snapshot.vault")?.try_into()?,
            services: wire
                .services
                .into_iter()
                .map(service)
                .collect::<Result<_>>()?,
            credentials: wire
                .credentials
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_>>()?,
            grants: wire
                .grants
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_>>()?,
            data_keys: wire.data_keys.into_iter().map(key).collect::<Result<_>>()?,
        })
    }
}

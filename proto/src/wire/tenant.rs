//! Tenants, vaults and grants.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Invalid, Result, agent_id, v1, vault_id};
use crate::agent::{Grant, VaultRole};
use crate::id::TenantId;
use crate::tenant::Tenant;
use crate::vault::{Vault, VaultMode};

impl From<&Tenant> for v1::Tenant {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_bytes(),
            name: tenant.name.clone(),
            version: tenant.version,
            generation: tenant.generation,
            enabled: tenant.enabled,
            private_allow: tenant
                .private_allow
                .iter()
                .map(ToString::to_string)
                .collect(),
            limits: (&tenant.limits).into(),
            weight: tenant.weight.get(),
        }
    }
}

impl TryFrom<v1::Tenant> for Tenant {
    type Error = Invalid;

    fn try_from(wire: v1::Tenant) -> Result<Self> {
        let parse = |text: &String| text.parse().or(Err(Invalid("tenant.private_allow")));
        Ok(Self {
            id: TenantId::from_bytes(&wire.id).or(Err(Invalid("tenant.id")))?,
            private_allow: wire
                .private_allow
                .iter()
                .map(parse)
                .collect::<Result<_>>()?,
            name: wire.name,
            version: wire.version,
            generation: wire.generation,
            enabled: wire.enabled,
            limits: wire.limits.try_into()?,
            weight: NonZeroU32::new(wire.weight).unwrap_or(NonZeroU32::MIN),
        })
    }
}

impl From<&Vault> for v1::Vault {
    fn from(vault: &Vault) -> Self {
        let mode = match vault.mode {
            VaultMode::Deny => v1::VaultMode::Deny,
            VaultMode::Observe => v1::VaultMode::Observe,
        };
        Self {
            id: vault.id.to_bytes(),
            tenant_id: vault.tenant.to_bytes(),
            name: vault.name.clone(),
            version: vault.version,
            generation: vault.generation,
            enabled: vault.enabled,
            mode: mode.into(),
            staleness_seconds: u32::try_from(vault.staleness.as_secs()).unwrap_or(u32::MAX),
            durable: vault.durable,
            limits: (&vault.limits).into(),
            session_limits: (&vault.session_limits).into(),
        }
    }
}

impl TryFrom<v1::Vault> for Vault {
    type Error = Invalid;

    fn try_from(wire: v1::Vault) -> Result<Self> {
        let mode = match wire.mode() {
            v1::VaultMode::Deny => VaultMode::Deny,
            v1::VaultMode::Observe => VaultMode::Observe,
            v1::VaultMode::Unspecified => return Err(Invalid("vault.mode")),
        };
        Ok(Self {
            id: vault_id(&wire.id)?,
            tenant: TenantId::from_bytes(&wire.tenant_id).or(Err(Invalid("vault.tenant_id")))?,
            name: wire.name,
            version: wire.version,
            generation: wire.generation,
            enabled: wire.enabled,
            mode,
            staleness: Duration::from_secs(wire.staleness_seconds.into()),
            durable: wire.durable,
            limits: wire.limits.try_into()?,
            session_limits: wire.session_limits.try_into()?,
        })
    }
}

impl From<&Grant> for v1::Grant {
    fn from(grant: &Grant) -> Self {
        let role = match grant.role {
            VaultRole::User => v1::VaultRole::User,
            VaultRole::Editor => v1::VaultRole::Editor,
            VaultRole::Admin => v1::VaultRole::Admin,
        };
        Self {
            vault_id: grant.vault.to_bytes(),
            agent_id: grant.agent.to_bytes(),
            role: role.into(),
            expires_at: grant.expires_at.unwrap_or(0),
            version: grant.version,
            agent_limits: (&grant.agent_limits).into(),
            session_limits: (&grant.session_limits).into(),
        }
    }
}

impl TryFrom<v1::Grant> for Grant {
    type Error = Invalid;

    fn try_from(wire: v1::Grant) -> Result<Self> {
        let role = match wire.role() {
            v1::VaultRole::User => VaultRole::User,
            v1::VaultRole::Editor => VaultRole::Editor,
            v1::VaultRole::Admin => VaultRole::Admin,
            v1::VaultRole::Unspecified => return Err(Invalid("grant.role")),
        };
        Ok(Self {
            vault: vault_id(&wire.vault_id)?,
            agent: agent_id(&wire.agent_id)?,
            role,
            expires_at: (wire.expires_at != 0).then_some(wire.expires_at),
            version: wire.version,
            agent_limits: wire.agent_limits.try_into()?,
            session_limits: wire.session_limits.try_into()?,
        })
    }
}

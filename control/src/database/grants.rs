//! The table `grants`.

use jiff::Timestamp;
use sortie_proto::agent::{Grant, VaultRole};
use sortie_proto::id::{AgentId, TenantId, VaultId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Transaction;
use super::column::{id, limits, unsigned};
use crate::error::{Error, Result};

/// A grant with the names of its two ends.
#[derive(Debug, Clone)]
pub struct GrantRow {
    /// What gateways see.
    pub grant: Grant,
    /// The vault's name.
    pub vault_name: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

fn read(row: &Row) -> Result<Grant> {
    let role = VaultRole::from_name(row.try_get("role")?)
        .ok_or_else(|| Error::internal("a grant of an unknown role"))?;
    let expires_at: Option<Timestamp> = row.try_get("expires_at")?;
    Ok(Grant {
        vault: id(row, "vault_id")?,
        agent: id(row, "agent_id")?,
        role,
        expires_at: expires_at.map(Timestamp::as_second),
        version: unsigned(row, "version")?,
        agent_limits: limits(row, "limits")?,
        session_limits: limits(row, "session_limits")?,
    })
}

/// How many grants a vault has, besides one of this agent.
///
/// # Errors
/// As the database's.
pub async fn count_others(
    tx: &Transaction,
    tenant: TenantId,
    (vault, agent): (VaultId, AgentId),
) -> Result<i64> {
    let row = tx
        .query_one(
            "/* grants.count */ SELECT count(*) FROM grants WHERE tenant_id = $1 AND vault_id = $2 AND agent_id <> $3",
            &[&tenant.uuid(), &vault.uuid(), &agent.uuid()],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// The agent's limits, which each of its grants carries to gateways.
const AGENT: &str = "(SELECT limits FROM agents a WHERE a.id = agent_id), \
                     (SELECT session_limits FROM agents a WHERE a.id = agent_id)";

/// Adds a grant or replaces it.
///
/// # Errors
/// As the database's.
pub async fn put(
    tx: &Transaction,
    tenant: TenantId,
    (vault, agent): (VaultId, AgentId),
    role: VaultRole,
    expires_at: Option<Timestamp>,
) -> Result<Grant> {
    let row = tx
        .query_one(
            &format!(
                "/* grants.put */ INSERT INTO grants (tenant_id, vault_id, agent_id, role, expires_at) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (vault_id, agent_id) DO UPDATE SET role = excluded.role, \
                 expires_at = excluded.expires_at, version = grants.version + 1 RETURNING *, {AGENT}"
            ),
            &[
                &tenant.uuid(),
                &vault.uuid(),
                &agent.uuid(),
                &role.name(),
                &expires_at,
            ],
        )
        .await?;
    read(&row)
}

/// The grants of an agent, a version up: its limits, which they carry, have changed.
///
/// # Errors
/// As the database's.
pub async fn raise(tx: &Transaction, tenant: TenantId, agent: AgentId) -> Result<Vec<Grant>> {
    tx.query(
        &format!(
            "/* grants.raise */ UPDATE grants SET version = version + 1 WHERE tenant_id = $1 AND agent_id = $2 \
             RETURNING *, {AGENT}"
        ),
        &[&tenant.uuid(), &agent.uuid()],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Removes a grant; answers whether there was one.
///
/// # Errors
/// As the database's.
pub async fn delete(
    tx: &Transaction,
    tenant: TenantId,
    (vault, agent): (VaultId, AgentId),
) -> Result<bool> {
    let removed = tx
        .execute(
            "/* grants.delete */ DELETE FROM grants WHERE tenant_id = $1 AND vault_id = $2 AND agent_id = $3",
            &[&tenant.uuid(), &vault.uuid(), &agent.uuid()],
        )
        .await?;
    Ok(removed > 0)
}

/// The grants of some agents, ended ones too.
///
/// # Errors
/// As the database's.
pub async fn of_agents(
    tx: &Transaction,
    tenant: TenantId,
    agents: &[Uuid],
) -> Result<Vec<GrantRow>> {
    tx.query(
        "/* grants.of_agents */ SELECT g.*, v.name, a.limits, a.session_limits FROM grants g \
         JOIN vaults v ON v.id = g.vault_id AND v.tenant_id = g.tenant_id JOIN agents a ON a.id = g.agent_id WHERE g.tenant_id = $1 AND g.agent_id = ANY ($2) ORDER BY v.name",
        &[&tenant.uuid(), &agents],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(GrantRow {
            grant: read(row)?,
            vault_name: row.try_get("name")?,
            expires_at: row.try_get("expires_at")?,
        })
    })
    .collect()
}

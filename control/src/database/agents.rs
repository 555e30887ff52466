//! The table `agents`.

use jiff::Timestamp;
use sortie_proto::id::{AgentId, TenantId};
use sortie_proto::limits::Limits;
use tokio_postgres::Row;

use super::column::{id, limits, stored_limits, unsigned};
use super::{Reference, Transaction};
use crate::error::Result;

/// An agent as it stands in the database, without its key's hash.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// Unique in the tenant.
    pub name: String,
    /// Whether it may mint sessions for a person.
    pub delegate: bool,
    /// Rises by revoking.
    pub generation: u64,
    /// What it may use, in all vaults together.
    pub limits: Limits,
    /// What each of its sessions may use, in all vaults together.
    pub session_limits: Limits,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An agent that its key names.
#[derive(Debug)]
pub struct AgentOfKey {
    /// The agent.
    pub agent: AgentId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The tenant's name.
    pub tenant_name: String,
}

fn read(row: &Row) -> Result<AgentRow> {
    Ok(AgentRow {
        id: id(row, "id")?,
        name: row.try_get("name")?,
        delegate: row.try_get("delegate")?,
        generation: unsigned(row, "generation")?,
        limits: limits(row, "limits")?,
        session_limits: limits(row, "session_limits")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Adds an agent; `None` if the name is taken.
///
/// # Errors
/// As the database's.
pub async fn insert(
    tx: &Transaction,
    (tenant, agent): (TenantId, AgentId),
    name: &str,
    delegate: bool,
    key_hash: &[u8; 32],
) -> Result<Option<AgentRow>> {
    tx.query_opt(
        "/* agents.insert */ INSERT INTO agents (id, tenant_id, name, delegate, key_hash) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, name) DO NOTHING RETURNING *",
        &[
            &agent.uuid(),
            &tenant.uuid(),
            &name,
            &delegate,
            &key_hash.as_slice(),
        ],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// The agent of a key, in any tenant. Only authentication asks.
///
/// # Errors
/// As the database's.
pub async fn of_key(tx: &Transaction, key_hash: &[u8; 32]) -> Result<Option<AgentOfKey>> {
    tx.query_opt(
        "/* agents.of_key */ SELECT a.id, a.tenant_id, t.name FROM agents a JOIN tenants t ON t.id = a.tenant_id \
         WHERE a.key_hash = $1",
        &[&key_hash.as_slice()],
    )
    .await?
    .map(|row| {
        Ok(AgentOfKey {
            agent: id(&row, "id")?,
            tenant: id(&row, "tenant_id")?,
            tenant_name: row.try_get("name")?,
        })
    })
    .transpose()
}

/// An agent by id or name.
///
/// # Errors
/// As the database's.
pub async fn get(
    tx: &Transaction,
    tenant: TenantId,
    agent: Reference<'_>,
) -> Result<Option<AgentRow>> {
    tx.query_opt(
        "/* agents.get */ SELECT * FROM agents WHERE tenant_id = $1 AND (id = $2 OR name = $3)",
        &[&tenant.uuid(), &agent.id, &agent.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// An agent by id or name, which stays as it is until the transaction ends.
///
/// # Errors
/// As the database's.
pub async fn share(
    tx: &Transaction,
    tenant: TenantId,
    agent: Reference<'_>,
) -> Result<Option<AgentRow>> {
    tx.query_opt(
        "/* agents.share */ SELECT * FROM agents WHERE tenant_id = $1 AND (id = $2 OR name = $3) FOR SHARE",
        &[&tenant.uuid(), &agent.id, &agent.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Agents of a tenant behind an id, in order.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    tenant: TenantId,
    after: Option<AgentId>,
    limit: i64,
) -> Result<Vec<AgentRow>> {
    tx.query(
        "/* agents.list */ SELECT * FROM agents WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) \
         ORDER BY id LIMIT $3",
        &[&tenant.uuid(), &after.map(AgentId::uuid), &limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Changes the limits that are named.
///
/// # Errors
/// As the database's.
pub async fn limit(
    tx: &Transaction,
    tenant: TenantId,
    agent: Reference<'_>,
    (limits, session_limits): (Option<Limits>, Option<Limits>),
) -> Result<Option<AgentRow>> {
    tx.query_opt(
        "/* agents.limit */ UPDATE agents SET limits = CASE WHEN $4 THEN $5 ELSE limits END, \
         session_limits = CASE WHEN $6 THEN $7 ELSE session_limits END \
         WHERE tenant_id = $1 AND (id = $2 OR name = $3) RETURNING *",
        &[
            &tenant.uuid(),
            &agent.id,
            &agent.name,
            &limits.is_some(),
            &limits.as_ref().and_then(stored_limits),
            &session_limits.is_some(),
            &session_limits.as_ref().and_then(stored_limits),
        ],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Raises the generation, so that tokens that carry a lower one are refused.
///
/// # Errors
/// As the database's.
pub async fn raise(
    tx: &Transaction,
    tenant: TenantId,
    agent: Reference<'_>,
) -> Result<Option<AgentRow>> {
    tx.query_opt(
        "/* agents.raise */ UPDATE agents SET generation = generation + 1 \
         WHERE tenant_id = $1 AND (id = $2 OR name = $3) RETURNING *",
        &[&tenant.uuid(), &agent.id, &agent.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Removes an agent with its grants; answers what it was.
///
/// # Errors
/// As the database's.
pub async fn delete(
    tx: &Transaction,
    tenant: TenantId,
    agent: Reference<'_>,
) -> Result<Option<AgentRow>> {
    tx.query_opt(
        "/* agents.delete */ DELETE FROM agents WHERE tenant_id = $1 AND (id = $2 OR name = $3) RETURNING *",
        &[&tenant.uuid(), &agent.id, &agent.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

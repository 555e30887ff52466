//! The table `sessions`, and what minting reads of others.
//!
//! A session keeps the generations that its tokens carry: what was revoked since is never renewed back to life.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use sortie_proto::id::{AgentId, ServiceId, SessionId, TenantId, VaultId};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::Transaction;
use super::column::{id, signed, unsigned};
use crate::error::Result;

/// Whether neither the user of a session `s` nor what it came from was revoked since it was minted.
pub const SUBJECTS_HOLD: &str = "NOT EXISTS (SELECT FROM revocations r WHERE r.tenant_id = s.tenant_id \
     AND r.kind = 'user' AND r.user_name = s.user_name AND r.generation > s.subjects_generation) \
     AND NOT EXISTS (SELECT FROM revocations r WHERE r.tenant_id = s.tenant_id AND r.kind = 'parent' \
     AND r.subject_id = ANY (s.parent || s.ancestors) AND r.generation > s.subjects_generation)";

/// A session as it stands in the database.
#[derive(Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub agent: AgentId,
    /// The agent's name; empty once the agent is deleted.
    pub agent_name: String,
    /// Its vaults, in the order in which they are searched.
    pub vaults: Vec<VaultId>,
    /// The generations that its token carries: tenant's, agent's.
    pub generations: (u64, u64),
    /// The vaults' generations that its token carries, in the order of the vaults.
    pub vault_generations: Vec<i64>,
    /// The person that it is for.
    pub user: Option<String>,
    /// Labels of the run.
    pub labels: BTreeMap<String, String>,
    /// The session that it came from.
    pub parent: Option<SessionId>,
    /// The sessions that its parent came from, the nearest first.
    pub ancestors: Vec<SessionId>,
    /// The generation of the tenant's subjects that its token carries.
    pub subjects_generation: u64,
    /// Whether neither its user nor what it came from was revoked since.
    pub subjects_hold: bool,
    /// The network that it may be used from.
    pub source_cidr: Option<String>,
    /// The services that it is narrowed to.
    pub scope: Vec<ServiceId>,
    /// When it was minted.
    pub created_at: Timestamp,
    /// When its last token ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A session that is to be kept. Serialized for `jsonb_to_recordset`: the fields are the columns.
#[derive(Debug, Serialize)]
pub struct NewSession<'a> {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub agent_id: Uuid,
    /// Its vaults.
    pub vaults: Vec<Uuid>,
    /// The tenant's generation.
    pub tenant_generation: u64,
    /// The agent's generation.
    pub agent_generation: u64,
    /// The vaults' generations.
    pub vault_generations: Vec<u64>,
    /// The person that it is for.
    pub user_name: Option<&'a str>,
    /// The session that it came from.
    pub parent: Option<Uuid>,
    /// The sessions that its parent came from.
    pub ancestors: Vec<Uuid>,
    /// The generation of the tenant's subjects.
    pub subjects_generation: u64,
    /// Labels of the run.
    pub labels: &'a BTreeMap<String, String>,
    /// The network that it may be used from.
    pub source_cidr: Option<String>,
    /// The services that it is narrowed to.
    pub scope: Vec<Uuid>,
    /// When it was minted.
    pub created_at: Timestamp,
    /// When its token ends.
    pub expires_at: Timestamp,
}

fn read(row: &Row) -> Result<SessionRow> {
    let vaults: Vec<Uuid> = row.try_get("vaults")?;
    let scope: Vec<Uuid> = row.try_get("scope")?;
    let ancestors: Vec<Uuid> = row.try_get("ancestors")?;
    let agent_name: Option<String> = row.try_get("agent_name")?;
    Ok(SessionRow {
        id: id(row, "id")?,
        agent: id(row, "agent_id")?,
        agent_name: agent_name.unwrap_or_default(),
        vaults: vaults.into_iter().map(Into::into).collect(),
        generations: (
            unsigned(row, "tenant_generation")?,
            unsigned(row, "agent_generation")?,
        ),
        vault_generations: row.try_get("vault_generations")?,
        user: row.try_get("user_name")?,
        labels: row.try_get::<_, Json<_>>("labels")?.0,
        parent: row.try_get::<_, Option<Uuid>>("parent")?.map(Into::into),
        ancestors: ancestors.into_iter().map(Into::into).collect(),
        subjects_generation: unsigned(row, "subjects_generation")?,
        subjects_hold: row.try_get("subjects_hold")?,
        source_cidr: row.try_get("source_cidr")?,
        scope: scope.into_iter().map(Into::into).collect(),
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

/// An agent with a vault that it may use right now, or with none.
#[derive(Debug)]
pub struct Mintable {
    /// The tenant's generation.
    pub tenant_generation: u64,
    /// The generation of the tenant's subjects.
    pub subjects_generation: u64,
    /// Whether the tenant is switched on.
    pub tenant_enabled: bool,
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub agent_name: String,
    /// Whether it may mint for a person.
    pub delegate: bool,
    /// Its generation.
    pub agent_generation: u64,
    /// The vault, its name and its generation.
    pub vault: Option<(VaultId, String, u64)>,
}

/// What minting needs to know, in one statement: each named agent with each named vault that it holds a live grant on.
/// Nothing is locked: a token minted beside a revocation carries the lower generation and is refused.
///
/// # Errors
/// As the database's.
pub async fn mintable(
    tx: &Transaction,
    tenant: TenantId,
    (agents, agent_names): (&[Uuid], &[&str]),
    (vaults, vault_names): (&[Uuid], &[&str]),
) -> Result<Vec<Mintable>> {
    tx.query(
        "/* sessions.mintable */ SELECT t.generation AS tenant_generation, t.subjects_generation, t.enabled, a.id AS agent_id, \
         a.name AS agent_name, a.delegate, a.generation AS agent_generation, v.id AS vault_id, \
         v.name AS vault_name, coalesce(v.generation, 0) AS vault_generation FROM agents a \
         JOIN tenants t ON t.id = a.tenant_id LEFT JOIN (grants g JOIN vaults v ON v.tenant_id = g.tenant_id \
         AND v.id = g.vault_id AND (v.id = ANY ($4) OR v.name = ANY ($5))) ON g.tenant_id = a.tenant_id \
         AND g.agent_id = a.id AND (g.expires_at IS NULL OR g.expires_at > now()) \
         WHERE a.tenant_id = $1 AND (a.id = ANY ($2) OR a.name = ANY ($3))",
        &[
            &tenant.uuid(),
            &agents,
            &agent_names,
            &vaults,
            &vault_names,
        ],
    )
    .await?
    .iter()
    .map(|row| {
        let vault: Option<Uuid> = row.try_get("vault_id")?;
        let name: Option<String> = row.try_get("vault_name")?;
        let generation = unsigned(row, "vault_generation")?;
        Ok(Mintable {
            tenant_generation: unsigned(row, "tenant_generation")?,
            subjects_generation: unsigned(row, "subjects_generation")?,
            tenant_enabled: row.try_get("enabled")?,
            agent: id(row, "agent_id")?,
            agent_name: row.try_get("agent_name")?,
            delegate: row.try_get("delegate")?,
            agent_generation: unsigned(row, "agent_generation")?,
            vault: vault
                .zip(name)
                .map(|(vault, name)| (vault.into(), name, generation)),
        })
    })
    .collect()
}

/// Adds sessions in one statement.
///
/// # Errors
/// As the database's.
pub async fn insert(tx: &Transaction, tenant: TenantId, sessions: &[NewSession<'_>]) -> Result<()> {
    tx.execute(
        "/* sessions.insert */ INSERT INTO sessions (tenant_id, id, agent_id, vaults, tenant_generation, \
         agent_generation, vault_generations, user_name, parent, ancestors, subjects_generation, labels, source_cidr, \
         scope, created_at, expires_at) \
         SELECT $1, r.* FROM jsonb_to_recordset($2) AS r (id uuid, agent_id uuid, vaults uuid[], \
         tenant_generation bigint, agent_generation bigint, vault_generations bigint[], user_name text, \
         parent uuid, ancestors uuid[], subjects_generation bigint, labels jsonb, source_cidr text, scope uuid[], created_at timestamptz, expires_at timestamptz)",
        &[&tenant.uuid(), &Json(sessions)],
    )
    .await?;
    Ok(())
}

/// A session, locked.
///
/// # Errors
/// As the database's.
pub async fn lock(
    tx: &Transaction,
    tenant: TenantId,
    session: SessionId,
) -> Result<Option<SessionRow>> {
    let sql = format!(
        "/* sessions.lock */ SELECT s.*, (SELECT name FROM agents a WHERE a.tenant_id = s.tenant_id \
         AND a.id = s.agent_id) AS agent_name, {SUBJECTS_HOLD} AS subjects_hold \
         FROM sessions s WHERE s.tenant_id = $1 AND s.id = $2 FOR UPDATE"
    );
    tx.query_opt(&sql, &[&tenant.uuid(), &session.uuid()])
        .await?
        .map(|row| read(&row))
        .transpose()
}

/// Those of some sessions that hold: not ended, and nothing that they depend on revoked. They are not locked: what is
/// revoked meanwhile covers what a caller then makes of them.
///
/// # Errors
/// As the database's.
pub async fn current(
    tx: &Transaction,
    tenant: TenantId,
    sessions: &[Uuid],
) -> Result<Vec<SessionRow>> {
    let sql = format!(
        "/* sessions.current */ SELECT s.*, a.name AS agent_name, true AS subjects_hold FROM sessions s \
         JOIN tenants t ON t.id = s.tenant_id JOIN agents a ON a.tenant_id = s.tenant_id AND a.id = s.agent_id \
         WHERE s.tenant_id = $1 AND s.id = ANY ($2) AND s.revoked_at IS NULL AND s.expires_at > now() \
         AND s.tenant_generation >= t.generation AND s.agent_generation >= a.generation AND {SUBJECTS_HOLD} \
         AND NOT EXISTS (SELECT FROM unnest(s.vaults, s.vault_generations) AS c (id, generation) \
         LEFT JOIN vaults v ON v.tenant_id = s.tenant_id AND v.id = c.id \
         WHERE v.id IS NULL OR c.generation IS NULL OR v.generation > c.generation)"
    );
    tx.query(&sql, &[&tenant.uuid(), &sessions])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Moves a session's end. It never comes nearer: a token that is out already may end later than the new one.
///
/// # Errors
/// As the database's.
pub async fn extend(tx: &Transaction, session: SessionId, expires_at: Timestamp) -> Result<()> {
    tx.execute(
        "/* sessions.extend */ UPDATE sessions SET expires_at = greatest(expires_at, $2) WHERE id = $1",
        &[&session.uuid(), &expires_at],
    )
    .await?;
    Ok(())
}

/// Marks a session as revoked; the first time counts.
///
/// # Errors
/// As the database's.
pub async fn revoke(tx: &Transaction, session: SessionId) -> Result<()> {
    tx.execute(
        "/* sessions.revoke */ UPDATE sessions SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1",
        &[&session.uuid()],
    )
    .await?;
    Ok(())
}

/// Which sessions are wanted, newest first.
#[derive(Debug)]
pub struct Filter {
    /// Of this agent only.
    pub agent: Option<AgentId>,
    /// Ended and revoked ones too.
    pub include_ended: bool,
    /// Behind this one.
    pub before: Option<SessionId>,
    /// How many at most.
    pub limit: i64,
}

/// Sessions of a tenant, newest first.
///
/// # Errors
/// As the database's.
pub async fn list(tx: &Transaction, tenant: TenantId, filter: &Filter) -> Result<Vec<SessionRow>> {
    let sql = format!(
        "/* sessions.list */ SELECT s.*, a.name AS agent_name, true AS subjects_hold FROM sessions s \
         JOIN tenants t ON t.id = s.tenant_id LEFT JOIN agents a ON a.tenant_id = s.tenant_id AND a.id = s.agent_id \
         WHERE s.tenant_id = $1 AND ($2::uuid IS NULL OR s.agent_id = $2) AND ($3::uuid IS NULL OR s.id < $3) \
         AND ($4 OR (s.revoked_at IS NULL AND s.expires_at > now() AND s.tenant_generation >= t.generation \
         AND s.agent_generation >= a.generation AND {SUBJECTS_HOLD})) ORDER BY s.id DESC LIMIT $5"
    );
    tx.query(
        &sql,
        &[
            &tenant.uuid(),
            &filter.agent.map(AgentId::uuid),
            &filter.before.map(SessionId::uuid),
            &filter.include_ended,
            &filter.limit,
        ],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The generations that hold for a session.
#[derive(Debug)]
pub struct Generations {
    /// The tenant's.
    pub tenant: u64,
    /// Whether the tenant is switched on.
    pub tenant_enabled: bool,
    /// The agent's.
    pub agent: u64,
    /// The vaults, with their names and generations. A deleted one is missing.
    pub vaults: Vec<(VaultId, String, u64)>,
}

/// The generations that hold for an agent and some vaults; `None` if the agent is deleted.
///
/// # Errors
/// As the database's.
pub async fn generations(
    tx: &Transaction,
    tenant: TenantId,
    agent: AgentId,
    vaults: &[VaultId],
) -> Result<Option<Generations>> {
    let vaults: Vec<Uuid> = vaults.iter().map(|vault| vault.uuid()).collect();
    let rows = tx
        .query(
            "/* sessions.generations */ SELECT t.generation AS tenant_generation, t.enabled, \
             a.generation AS agent_generation, v.id, v.name, coalesce(v.generation, 0) AS generation FROM agents a \
             JOIN tenants t ON t.id = a.tenant_id LEFT JOIN vaults v ON v.tenant_id = a.tenant_id \
             AND v.id = ANY ($3) WHERE a.tenant_id = $1 AND a.id = $2",
            &[&tenant.uuid(), &agent.uuid(), &vaults],
        )
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut found = Generations {
        tenant: unsigned(first, "tenant_generation")?,
        tenant_enabled: first.try_get("enabled")?,
        agent: unsigned(first, "agent_generation")?,
        vaults: Vec::with_capacity(rows.len()),
    };
    for row in &rows {
        let vault: Option<Uuid> = row.try_get("id")?;
        if let Some(vault) = vault {
            found.vaults.push((
                vault.into(),
                row.try_get("name")?,
                unsigned(row, "generation")?,
            ));
        }
    }
    Ok(Some(found))
}

impl SessionRow {
    /// Whether its token carries the generations that hold: nothing that it depends on was revoked or deleted.
    #[must_use]
    pub fn is_current(&self, now: &Generations) -> bool {
        let mut vaults = self.vaults.iter().zip(&self.vault_generations);
        let carried = vaults.len() == self.vaults.len()
            && vaults.all(|(vault, carried)| {
                now.vaults.iter().any(|(id, _, generation)| {
                    id == vault
                        && signed(*generation).is_ok_and(|generation| *carried >= generation)
                })
            });
        let (tenant, agent) = self.generations;
        carried && tenant >= now.tenant && agent >= now.agent
    }
}

//! The table `audit_acts`: what administrators and agents did. Written in the transaction that does it.

use jiff::Timestamp;
use sortie_proto::id::{ActId, AgentId, SessionId, TenantId, VaultId};
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Transaction;
use super::column::id;
use crate::error::Result;

/// An act that is to be recorded. It holds ids and names, never a value.
#[derive(Debug)]
pub struct Act<'a> {
    /// Whose log it goes to; `None` for an act on the cluster.
    pub tenant: Option<TenantId>,
    /// Who did it: the id of a key or an agent.
    pub actor: &'a str,
    /// What was done, as `credential.put`.
    pub action: &'static str,
    /// What it was done to, as a caller would name it.
    pub subject: String,
    /// The vault that it is about.
    pub vault: Option<VaultId>,
    /// The session that it is about.
    pub session: Option<SessionId>,
    /// The agent that it is about.
    pub agent: Option<AgentId>,
    /// More about it.
    pub detail: serde_json::Value,
}

/// Records an act.
///
/// # Errors
/// As the database's.
pub async fn insert(tx: &Transaction, act: &Act<'_>) -> Result<()> {
    tx.execute(
        "/* acts.insert */ INSERT INTO audit_acts (id, tenant_id, actor, action, subject, vault_id, session_id, \
         agent_id, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            &ActId::generate().uuid(),
            &act.tenant.map(TenantId::uuid),
            &act.actor,
            &act.action,
            &act.subject,
            &act.vault.map(VaultId::uuid),
            &act.session.map(SessionId::uuid),
            &act.agent.map(AgentId::uuid),
            &act.detail,
        ],
    )
    .await?;
    Ok(())
}

/// Which acts are wanted, newest first.
#[derive(Debug)]
pub struct Filter {
    /// Of this vault only.
    pub vault: Option<VaultId>,
    /// Of this session only.
    pub session: Option<SessionId>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// Behind this act: its time and id.
    pub before: Option<(Timestamp, Uuid)>,
    /// How many at most.
    pub limit: i64,
}

/// Acts of a tenant, newest first.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    tenant: TenantId,
    filter: &Filter,
) -> Result<Vec<v1::AuditEntry>> {
    let (at, before) = filter.before.unzip();
    tx.query(
        "/* acts.list */ SELECT * FROM audit_acts WHERE tenant_id = $1 AND ($2::uuid IS NULL OR vault_id = $2) \
         AND ($3::uuid IS NULL OR session_id = $3) AND ($4::timestamptz IS NULL OR at >= $4) \
         AND ($5::timestamptz IS NULL OR at < $5) AND ($6::timestamptz IS NULL OR (at, id) < ($6, $7::uuid)) \
         ORDER BY at DESC, id DESC LIMIT $8",
        &[
            &tenant.uuid(),
            &filter.vault.map(VaultId::uuid),
            &filter.session.map(SessionId::uuid),
            &filter.since,
            &filter.until,
            &at,
            &before,
            &filter.limit,
        ],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

fn read(row: &Row) -> Result<v1::AuditEntry> {
    let text = |column| -> Result<Option<Uuid>> { Ok(row.try_get(column)?) };
    let vault = text("vault_id")?.map(VaultId::from);
    let session = text("session_id")?.map(SessionId::from);
    let agent = text("agent_id")?.map(AgentId::from);
    Ok(v1::AuditEntry {
        id: id::<ActId>(row, "id")?.to_string(),
        kind: "admin".to_owned(),
        at: row.try_get::<_, Timestamp>("at")?.to_string(),
        vault_id: vault.map_or_else(String::new, |vault| vault.to_string()),
        session_id: session.map_or_else(String::new, |session| session.to_string()),
        agent_id: agent.map_or_else(String::new, |agent| agent.to_string()),
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        actor: row.try_get("actor")?,
        outcome: "ok".to_owned(),
        ..v1::AuditEntry::default()
    })
}

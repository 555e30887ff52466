//! The journal's tables: cursors, alarms, uses, completions, quarantine; and the audit log as it is read.
//!
//! Deciding which records are well-formed is the caller's part; nothing here refuses one.

pub mod alarms;
pub mod cursors;
pub mod write;

use std::collections::HashSet;

use sortie_proto::id::{BootId, GatewayId, SessionId, TenantId, VaultId};
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::Transaction;
use crate::error::{Error, Result};

/// One life of a gateway's process.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// The node.
    pub gateway: GatewayId,
    /// Which life.
    pub id: BootId,
}

/// Which of these tenants a gateway ever had a vault of.
///
/// # Errors
/// As the database's.
pub async fn served(
    tx: &Transaction,
    gateway: GatewayId,
    tenants: &[Uuid],
) -> Result<HashSet<Uuid>> {
    let rows = tx
        .query(
            "/* journal.served */ SELECT DISTINCT tenant_id FROM vault_releases \
             WHERE gateway_id = $1 AND tenant_id = ANY($2)",
            &[&gateway.uuid(), &tenants],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Which entries of the audit log to list. The newest come first.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whose.
    pub tenant: TenantId,
    /// Of this vault only.
    pub vault: Option<VaultId>,
    /// Of this session only.
    pub session: Option<SessionId>,
    /// Not before, in microseconds since the Unix epoch.
    pub since_micros: Option<i64>,
    /// Before, in microseconds since the Unix epoch.
    pub until_micros: Option<i64>,
    /// Behind this entry, in the order of the listing.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: i64,
}

/// The place of an entry in the listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The node's clock, in microseconds since the Unix epoch.
    pub at_micros: i64,
    /// Tells entries of one microsecond apart.
    pub decision: Uuid,
}

/// Lists what was brokered and refused, each use with its completion, and the place of each.
///
/// # Errors
/// As the database's.
pub async fn list(tx: &Transaction, filter: &Filter) -> Result<Vec<(Cursor, v1::AuditEntry)>> {
    let rows = tx
        .query(
            "/* audit_uses.list */ SELECT u.decision_id, (extract(epoch FROM u.at) * 1000000)::int8, u.vault_id, \
             u.session_id, u.agent_id, u.user_name, u.labels, u.service, u.credentials, u.method, u.url, u.outcome, \
             u.code, u.gateway_id, c.status, c.request_bytes, c.response_bytes, c.duration_micros, c.code \
             FROM audit_uses u LEFT JOIN LATERAL (SELECT * FROM audit_completions c \
                WHERE c.decision_id = u.decision_id AND c.tenant_id = u.tenant_id \
                AND c.gateway_id = u.gateway_id AND c.boot_id = u.boot_id LIMIT 1) c ON true \
             WHERE u.tenant_id = $1 AND ($2::uuid IS NULL OR u.vault_id = $2) AND ($3::uuid IS NULL OR u.session_id = $3) \
             AND ($4::int8 IS NULL OR u.at >= 'epoch'::timestamptz + $4 * interval '1 microsecond') \
             AND ($5::int8 IS NULL OR u.at < 'epoch'::timestamptz + $5 * interval '1 microsecond') \
             AND ($6::int8 IS NULL OR (u.at, u.decision_id) < ('epoch'::timestamptz + $6 * interval '1 microsecond', $7::uuid)) \
             ORDER BY u.at DESC, u.decision_id DESC LIMIT $8",
            &[
                &filter.tenant.uuid(),
                &filter.vault.map(VaultId::uuid),
                &filter.session.map(SessionId::uuid),
                &filter.since_micros,
                &filter.until_micros,
                &filter.before.map(|cursor| cursor.at_micros),
                &filter.before.map(|cursor| cursor.decision),
                &filter.limit,
            ],
        )
        .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<(Cursor, v1::AuditEntry)> {
    let id = |at: usize| row.try_get::<_, Uuid>(at);
    let cursor = Cursor {
        decision: id(0)?,
        at_micros: row.try_get(1)?,
    };
    let decision = sortie_proto::id::DecisionId::from(cursor.decision).to_string();
    let labels: serde_json::Value = row.try_get(6)?;
    let credentials: serde_json::Value = row.try_get(8)?;
    let number = |at: usize| -> Result<u64> {
        let found: Option<i64> = row.try_get(at)?;
        u64::try_from(found.unwrap_or(0)).map_err(Error::internal)
    };
    let refusal: String = row.try_get(12)?;
    let failure: Option<String> = row.try_get(18)?;
    let at = jiff::Timestamp::from_microsecond(cursor.at_micros).map_err(Error::internal)?;
    let entry = v1::AuditEntry {
        id: decision.clone(),
        kind: "request".to_owned(),
        at: at.to_string(),
        vault_id: VaultId::from(id(2)?).to_string(),
        session_id: SessionId::from(id(3)?).to_string(),
        agent_id: sortie_proto::id::AgentId::from(id(4)?).to_string(),
        user: row.try_get(5)?,
        labels: serde_json::from_value(labels).map_err(Error::internal)?,
        service: row.try_get(7)?,
        credentials: serde_json::from_value(credentials).map_err(Error::internal)?,
        method: row.try_get(9)?,
        url: row.try_get(10)?,
        outcome: outcome_name(row.try_get(11)?).to_owned(),
        code: if refusal.is_empty() {
            failure.unwrap_or_default()
        } else {
            refusal
        },
        status: u32::try_from(row.try_get::<_, Option<i32>>(14)?.unwrap_or(0))
            .map_err(Error::internal)?,
        request_bytes: number(15)?,
        response_bytes: number(16)?,
        duration_micros: number(17)?,
        gateway_id: GatewayId::from(id(13)?).to_string(),
        decision_id: decision,
        ..v1::AuditEntry::default()
    };
    Ok((cursor, entry))
}

fn outcome_name(outcome: i16) -> &'static str {
    match v1::Outcome::try_from(i32::from(outcome)) {
        Ok(v1::Outcome::Brokered) => "brokered",
        Ok(v1::Outcome::Passed) => "passed",
        Ok(v1::Outcome::Tunnelled) => "tunnelled",
        Ok(v1::Outcome::Refused) => "refused",
        Ok(v1::Outcome::Answered) => "answered",
        Ok(v1::Outcome::Unspecified) | Err(_) => "unknown",
    }
}

//! How records of uses and completions go in: `COPY` into a temporary table, then one `INSERT … SELECT` from it.
//!
//! A time that lies more than five minutes after the arrival, or a month before it, is drawn to that bound: what a node
//! says cannot put its records in front of everybody's for ever.
//!
//! `COPY` cannot write to a table under row-level security. The temporary tables live as long as their connection and
//! are emptied at the end of each transaction: making and dropping them each time would fill the system's catalogue with
//! dead rows, at every batch of every gateway.

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::Boot;
use crate::database::Transaction;
use crate::error::Result;

/// A use, ready to be stored. Each field is the column of its name.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is the column of its name")]
pub struct Use {
    pub lane: i32,
    pub sequence: i64,
    pub decision: Uuid,
    /// Microseconds since the Unix epoch.
    pub at: i64,
    pub tenant: Uuid,
    pub vault: Uuid,
    pub session: Uuid,
    pub agent: Uuid,
    pub user: String,
    /// JSON.
    pub labels: String,
    pub service: String,
    /// JSON.
    pub credentials: String,
    pub method: String,
    pub url: String,
    pub outcome: i16,
    pub code: String,
    pub source: String,
}

/// A completion, ready to be stored.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is the column of its name")]
pub struct Completion {
    pub decision: Uuid,
    /// Microseconds since the Unix epoch.
    pub at: i64,
    pub tenant: Uuid,
    pub status: i32,
    pub request_bytes: i64,
    pub response_bytes: i64,
    pub duration_micros: i64,
    pub upstream_micros: i64,
    pub code: String,
    pub redactions: i32,
}

/// The time of a record of the temporary tables.
const AT: &str = "least(greatest('epoch'::timestamptz + at * interval '1 microsecond', now() - interval '31 days'), \
                  now() + interval '5 minutes')";

/// Stores the uses of a boot.
///
/// # Errors
/// As the database's.
pub async fn uses(tx: &Transaction, boot: Boot, uses: &[Use]) -> Result<()> {
    if uses.is_empty() {
        return Ok(());
    }
    tx.batch(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_uses (lane int4, sequence int8, decision uuid, at int8, tenant uuid, \
         vault uuid, session uuid, agent uuid, user_name text, labels text, service text, credentials text, method text, \
         url text, outcome int2, code text, source text) ON COMMIT DELETE ROWS",
    )
    .await?;
    tx.copy(
        "/* audit_uses.copy */ COPY pg_temp.incoming_uses FROM STDIN (FORMAT binary)",
        USE_TYPES,
        uses.iter().map(use_values),
    )
    .await?;
    tx.execute(
        &format!("/* audit_uses.insert */ INSERT INTO audit_uses (decision_id, at, tenant_id, vault_id, session_id, agent_id, \
         user_name, labels, service, credentials, method, url, outcome, code, source, gateway_id, boot_id, lane, sequence) \
         SELECT decision, {AT}, tenant, vault, session, agent, user_name, \
         labels::jsonb, service, credentials::jsonb, method, url, outcome, code, source, $1, $2, lane, sequence \
         FROM pg_temp.incoming_uses"),
        &[&boot.gateway.uuid(), &boot.id.uuid()],
    )
    .await?;
    Ok(())
}

const USE_TYPES: [Type; 17] = [
    Type::INT4,
    Type::INT8,
    Type::UUID,
    Type::INT8,
    Type::UUID,
    Type::UUID,
    Type::UUID,
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::INT2,
    Type::TEXT,
    Type::TEXT,
];

fn use_values(row: &Use) -> [&(dyn ToSql + Sync); 17] {
    [
        &row.lane,
        &row.sequence,
        &row.decision,
        &row.at,
        &row.tenant,
        &row.vault,
        &row.session,
        &row.agent,
        &row.user,
        &row.labels,
        &row.service,
        &row.credentials,
        &row.method,
        &row.url,
        &row.outcome,
        &row.code,
        &row.source,
    ]
}

/// Stores the completions of a boot.
///
/// # Errors
/// As the database's.
pub async fn completions(tx: &Transaction, boot: Boot, completions: &[Completion]) -> Result<()> {
    if completions.is_empty() {
        return Ok(());
    }
    tx.batch(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_completions (decision uuid, at int8, tenant uuid, status int4, \
         request_bytes int8, response_bytes int8, duration_micros int8, upstream_micros int8, code text, redactions int4) \
         ON COMMIT DELETE ROWS",
    )
    .await?;
    tx.copy(
        "/* audit_completions.copy */ COPY pg_temp.incoming_completions FROM STDIN (FORMAT binary)",
        COMPLETION_TYPES,
        completions.iter().map(completion_values),
    )
    .await?;
    tx.execute(
        &format!("/* audit_completions.insert */ INSERT INTO audit_completions (decision_id, at, tenant_id, status, request_bytes, \
         response_bytes, duration_micros, upstream_micros, code, redactions, gateway_id, boot_id) \
         SELECT decision, {AT}, tenant, status, request_bytes, \
         response_bytes, duration_micros, upstream_micros, code, redactions, $1, $2 FROM pg_temp.incoming_completions"),
        &[&boot.gateway.uuid(), &boot.id.uuid()],
    )
    .await?;
    Ok(())
}

const COMPLETION_TYPES: [Type; 10] = [
    Type::UUID,
    Type::INT8,
    Type::UUID,
    Type::INT4,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::INT4,
];

fn completion_values(row: &Completion) -> [&(dyn ToSql + Sync); 10] {
    [
        &row.decision,
        &row.at,
        &row.tenant,
        &row.status,
        &row.request_bytes,
        &row.response_bytes,
        &row.duration_micros,
        &row.upstream_micros,
        &row.code,
        &row.redactions,
    ]
}

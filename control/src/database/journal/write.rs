//! How records of uses and completions go in: `COPY` into the partition of the day.
//!
//! A time that lies more than five minutes after the arrival, or a month before it, is drawn to that bound: what a node
//! says cannot put its records in front of everybody's for ever.
//!
//! The partition is written to by its own name: `COPY` does not write to a table under row-level security, and copying
//! into a temporary table first costs as much again as all the rest. The rows' day is the default of their column, which
//! is the transaction's day, as is the partition's.

use std::error::Error as StdError;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_util::bytes::BytesMut;
use uuid::Uuid;

use super::Boot;
use crate::database::Transaction;
use crate::error::{Error, Result};

/// What came, and when.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Whose records.
    pub boot: Boot,
    /// The transaction's time, in microseconds since the Unix epoch.
    pub now: i64,
}

/// How far ahead of its arrival a record's time may lie, in microseconds.
const AHEAD_MAX: i64 = 5 * 60 * 1_000_000;
/// How far behind its arrival a record's time may lie, in microseconds.
const BEHIND_MAX: i64 = 31 * 86_400 * 1_000_000;
/// 2000-01-01 in microseconds since the Unix epoch: where PostgreSQL's time begins.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A use, ready to be stored. Each field is the column of its name.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is the column of its name")]
pub struct Use {
    pub lane: i32,
    pub sequence: i64,
    pub decision: Uuid,
    pub at: At,
    pub tenant: Uuid,
    pub vault: Uuid,
    pub session: Uuid,
    pub agent: Uuid,
    pub user: String,
    pub labels: Json,
    pub service: String,
    pub credentials: Json,
    pub method: String,
    pub url: String,
    pub outcome: i16,
    pub code: String,
    pub source: String,
}

/// A completion, ready to be stored. Each field is the column of its name.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is the column of its name")]
pub struct Completion {
    pub decision: Uuid,
    pub at: At,
    pub tenant: Uuid,
    pub status: i32,
    pub request_bytes: i64,
    pub response_bytes: i64,
    pub duration_micros: i64,
    pub upstream_micros: i64,
    pub code: String,
    pub redactions: i32,
}

impl Arrival {
    /// The name of the day's partition of a table.
    fn partition(&self, table: &str) -> Result<String> {
        let now = Timestamp::from_microsecond(self.now).map_err(Error::internal)?;
        let day = now.to_zoned(TimeZone::UTC).strftime("%Y%m%d").to_string();
        Ok(format!("{table}_{day}"))
    }

    /// Draws a record's time to the bounds around the arrival.
    fn bound(&self, at: &mut At) {
        let earliest = self.now.saturating_sub(BEHIND_MAX);
        at.0 = at.0.clamp(earliest, self.now.saturating_add(AHEAD_MAX));
    }
}

/// A `timestamptz`, as microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct At(pub i64);

impl ToSql for At {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.0.saturating_sub(POSTGRES_EPOCH).to_sql(ty, out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

/// A `jsonb`, as text that is JSON.
#[derive(Debug)]
pub struct Json(pub String);

impl ToSql for Json {
    fn to_sql(
        &self,
        _ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        // The version of the format, the only one there is.
        out.extend_from_slice(&[1]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(JSONB);
    to_sql_checked!();
}

/// Stores the uses of a boot.
///
/// # Errors
/// As the database's.
pub async fn uses(tx: &Transaction, arrival: Arrival, uses: &mut [Use]) -> Result<()> {
    if uses.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "/* audit_uses.copy */ COPY {} (lane, sequence, decision_id, at, tenant_id, vault_id, session_id, agent_id, \
         user_name, labels, service, credentials, method, url, outcome, code, source, gateway_id, boot_id) \
         FROM STDIN (FORMAT binary)",
        arrival.partition("audit_uses")?
    );
    uses.iter_mut().for_each(|row| arrival.bound(&mut row.at));
    let node = (arrival.boot.gateway.uuid(), arrival.boot.id.uuid());
    let rows = uses.iter().map(|row| use_values(row, &node));
    tx.copy(&sql, USE_TYPES, rows).await?;
    Ok(())
}

const USE_TYPES: [Type; 19] = [
    Type::INT4,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
    Type::UUID,
    Type::UUID,
    Type::UUID,
    Type::UUID,
    Type::TEXT,
    Type::JSONB,
    Type::TEXT,
    Type::JSONB,
    Type::TEXT,
    Type::TEXT,
    Type::INT2,
    Type::TEXT,
    Type::TEXT,
    Type::UUID,
    Type::UUID,
];

fn use_values<'a>(row: &'a Use, (gateway, boot): &'a (Uuid, Uuid)) -> [&'a (dyn ToSql + Sync); 19] {
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
        gateway,
        boot,
    ]
}

/// Stores the completions of a boot.
///
/// # Errors
/// As the database's.
pub async fn completions(
    tx: &Transaction,
    arrival: Arrival,
    completions: &mut [Completion],
) -> Result<()> {
    if completions.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "/* audit_completions.copy */ COPY {} (decision_id, at, tenant_id, status, request_bytes, response_bytes, \
         duration_micros, upstream_micros, code, redactions, gateway_id, boot_id) FROM STDIN (FORMAT binary)",
        arrival.partition("audit_completions")?
    );
    completions
        .iter_mut()
        .for_each(|row| arrival.bound(&mut row.at));
    let node = (arrival.boot.gateway.uuid(), arrival.boot.id.uuid());
    let rows = completions.iter().map(|row| completion_values(row, &node));
    tx.copy(&sql, COMPLETION_TYPES, rows).await?;
    Ok(())
}

const COMPLETION_TYPES: [Type; 12] = [
    Type::UUID,
    Type::TIMESTAMPTZ,
    Type::UUID,
    Type::INT4,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::INT4,
    Type::UUID,
    Type::UUID,
];

fn completion_values<'a>(
    row: &'a Completion,
    (gateway, boot): &'a (Uuid, Uuid),
) -> [&'a (dyn ToSql + Sync); 12] {
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
        gateway,
        boot,
    ]
}

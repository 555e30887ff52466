//! A stand-in for the ingested journal.

use jiff::Timestamp;
use sortie_proto::id::{SessionId, TenantId, VaultId};
use sortie_proto::wire::v1;
use uuid::Uuid;

use crate::database::Transaction;
use crate::error::Result;

/// Which entries are wanted, newest first.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whose.
    pub tenant: TenantId,
    /// Of this vault only.
    pub vault: Option<VaultId>,
    /// Of this session only.
    pub session: Option<SessionId>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// Behind this entry: its time and id.
    pub before: Option<(Timestamp, Uuid)>,
    /// How many at most.
    pub limit: i64,
}

/// Entries of requests.
///
/// # Errors
/// As the database's.
pub async fn list(tx: &Transaction, filter: &Filter) -> Result<Vec<v1::AuditEntry>> {
    let _row = tx.query_one("SELECT $1::bigint", &[&filter.limit]).await?;
    Ok(Vec::new())
}

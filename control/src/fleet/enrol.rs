//! A stand-in for enrolment.

use std::time::Duration;

use sortie_proto::secret::Secret;

use crate::database::Transaction;
use crate::error::Result;

/// Makes a join string.
///
/// # Errors
/// As the database's.
pub async fn create_join(tx: &Transaction, name: &str, valid: Duration) -> Result<Secret> {
    tx.execute(
        "SELECT $1::text, $2::bigint",
        &[&name, &i64::try_from(valid.as_secs()).unwrap_or(i64::MAX)],
    )
    .await?;
    Ok(Secret::new(b"sortie_join_stand-in".to_vec()))
}

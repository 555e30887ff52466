//! A transaction that owns its connection.

use std::pin::pin;

use deadpool_postgres::Object;
use futures_util::FutureExt;
use prometheus::IntCounterVec;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Statement};

use crate::error::Result;

/// A transaction. Dropped without [`Transaction::commit`] it is rolled back; one that only reads may end so, since then
/// nobody waits for its end.
///
/// Statements are prepared once a connection and kept. A statement that begins with a comment, `/* vaults.get */
/// SELECT …`, is counted under that name; others under `unnamed`.
pub struct Transaction {
    object: Object,
    open: bool,
    statements: IntCounterVec,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) fn begin(
        object: Object,
        statement: &str,
        statements: IntCounterVec,
    ) -> Result<Self> {
        let transaction = Self {
            object,
            open: true,
            statements,
        };
        // The first poll puts the statement on the wire, ahead of what the transaction sends next, and nobody waits for
        // its answer: if it fails, so does what follows, on a closed connection or in a transaction that is aborted.
        match transaction.object.batch_execute(statement).now_or_never() {
            Some(Err(error)) => Err(error.into()),
            Some(Ok(())) | None => Ok(transaction),
        }
    }

    /// All rows of a statement.
    ///
    /// # Errors
    /// As [`Error`](crate::error::Error) maps the database's.
    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let statement = self.prepare(sql).await?;
        Ok(self.object.query(&statement, parameters).await?)
    }

    /// The row of a statement that has at most one.
    ///
    /// # Errors
    /// As [`Error`](crate::error::Error) maps the database's.
    pub async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>> {
        let statement = self.prepare(sql).await?;
        Ok(self.object.query_opt(&statement, parameters).await?)
    }

    /// The row of a statement that has exactly one.
    ///
    /// # Errors
    /// As [`Error`](crate::error::Error) maps the database's.
    pub async fn query_one(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        let statement = self.prepare(sql).await?;
        Ok(self.object.query_one(&statement, parameters).await?)
    }

    /// Runs a statement; answers how many rows it changed.
    ///
    /// # Errors
    /// As [`Error`](crate::error::Error) maps the database's.
    pub async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        let statement = self.prepare(sql).await?;
        Ok(self.object.execute(&statement, parameters).await?)
    }

    /// Streams rows into a `COPY … FROM STDIN (FORMAT binary)`; answers how many went in. Each value must be of the type
    /// at its place in `types`, which are the columns'.
    ///
    /// # Errors
    /// As [`Error`](crate::error::Error) maps the database's.
    pub async fn copy<'a, const N: usize>(
        &self,
        sql: &str,
        types: [Type; N],
        rows: impl Iterator<Item = [&'a (dyn ToSql + Sync); N]> + Send,
    ) -> Result<u64> {
        let statement = self.prepare(sql).await?;
        let sink = self.object.copy_in(&statement).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for row in rows {
            writer.as_mut().write(&row).await?;
        }
        Ok(writer.finish().await?)
    }

    /// Runs statements that take no parameters and are not prepared, such as DDL.
    ///
    /// # Errors
    /// As [`Error`](crate::error::Error) maps the database's.
    pub async fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.object.batch_execute(sql).await?)
    }

    /// Commits.
    ///
    /// # Errors
    /// `unavailable` when the answer did not arrive: whether it was committed is then unknown.
    pub async fn commit(mut self) -> Result<()> {
        let row = self.object.simple_query("COMMIT").await?;
        self.open = false;
        drop(row);
        Ok(())
    }

    async fn prepare(&self, sql: &str) -> Result<Statement> {
        self.statements.with_label_values(&[name_of(sql)]).inc();
        Ok(self.object.prepare_cached(sql).await?)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            // The first poll puts the statement on the wire ahead of whatever the connection's next holder sends;
            // its answer is not needed. This is what `tokio_postgres::Transaction` does.
            let _sent = self.object.batch_execute("ROLLBACK").now_or_never();
        }
    }
}

fn name_of(sql: &str) -> &str {
    sql.strip_prefix("/* ")
        .and_then(|rest| rest.split_once(" */"))
        .map_or("unnamed", |(name, _)| name)
}

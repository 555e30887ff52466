//! Brings the schema up to date: roles first, then the embedded migrations, one replica at a time.
//!
//! Migrations expand before they contract: the version before keeps running against the new schema.

use crate::database::{Connector, ROLE_APP, ROLE_SYSTEM};
use crate::error::{Error, Result};

mod embedded {

    refinery::embed_migrations!("migrations");
}

/// Held while migrating, so that replicas that start together take turns. An arbitrary constant.
const LOCK: i64 = 0x0073_6f72_7469_6501;

/// Creates the roles and applies what is missing.
///
/// # Errors
/// `unavailable` if the database does not answer; `internal` if a migration fails, with the database's reason.
pub async fn run(connector: &Connector) -> Result<()> {
    let (mut client, driver) = connector.connect().await?;
    let work = async {
        client
            .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
            .await?;
        client.batch_execute(&roles()).await?;
        let report = embedded::migrations::runner()
            .run_async(&mut client)
            .await
            .map_err(Error::internal)?;
        for migration in report.applied_migrations() {
            tracing::info!(migration.name = migration.name(), "applied a migration");
        }
        Ok(())
    };
    // The lock ends with the connection, which ends when `client` is dropped.
    tokio::select! {
        done = work => done,
        ended = driver => ended.map_err(Error::from),
    }
}

/// `CREATE ROLE` has no `IF NOT EXISTS`. The grant lets the owner of the URL become either role with `SET ROLE`.
fn roles() -> String {
    let mut sql = String::new();
    for role in [ROLE_APP, ROLE_SYSTEM] {
        sql.push_str("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '");
        sql.push_str(role);
        sql.push_str("') THEN CREATE ROLE ");
        sql.push_str(role);
        sql.push_str(" NOLOGIN; END IF; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; GRANT ");
        sql.push_str(role);
        sql.push_str(" TO CURRENT_USER; GRANT USAGE ON SCHEMA public TO ");
        sql.push_str(role);
        sql.push_str("; ");
    }
    sql
}

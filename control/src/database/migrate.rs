//! Brings the schema up to date: roles first, then the embedded migrations, one replica at a time.
//!
//! Migrations expand before they contract, so that the version before keeps running against the new schema, and can be
//! started against it. What takes something away says so in its name, `V<n>__contract_<version>_<what>`: controls
//! before that version cannot use the database any more, and say so instead of starting.

use refinery::{Migration, Runner};

use crate::database::{Connector, ROLE_APP, ROLE_SYSTEM};
use crate::error::{Error, Result};

mod embedded {

    refinery::embed_migrations!("migrations");
}

/// Held while migrating, so that replicas that start together take turns. An arbitrary constant.
const LOCK: i64 = 0x0073_6f72_7469_6501;
/// What the name of a migration begins with that takes something away.
const CONTRACT: &str = "contract_";

/// Why this version cannot use a database.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Something that it needs has been taken away.
    #[error(
        "the database's migration {0} is for controls of another version than {1}: start a newer one"
    )]
    Contracted(String, Version),
    /// The schema comes from other migrations than this version's.
    #[error(
        "the database has a migration {0}, which this control should know: whose database is it?"
    )]
    Foreign(String),
    /// Something that it needs was never there.
    #[error(
        "the database is beyond the migration {0} without having had it: whose database is it?"
    )]
    Skipped(String),
}

/// A version of control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u16; 3]);

impl Version {
    /// Reads `major`, `minor` and `patch`.
    fn read<'a>(mut parts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut next = || parts.next()?.parse().ok();
        Some(Self([next()?, next()?, next()?]))
    }

    /// This control's.
    fn own() -> Self {
        // Cargo checks that it is one.
        Self::read(env!("CARGO_PKG_VERSION").split('.')).unwrap_or(Self([0; 3]))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Creates the roles and applies what is missing.
///
/// # Errors
/// `unavailable` if the database does not answer; `failed_precondition` if this version cannot use it; `internal` if a
/// migration fails, with the database's reason.
pub async fn run(connector: &Connector) -> Result<()> {
    let (mut client, driver) = connector.connect().await?;
    let work = async {
        client
            .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
            .await?;
        client.batch_execute(&roles()).await?;
        let mut runner = embedded::migrations::runner();
        let applied = if is_new(&client).await? {
            Vec::new()
        } else {
            let applied = runner.get_applied_migrations_async(&mut client).await;
            applied.map_err(Error::internal)?
        };
        let ahead = check(&runner, &applied, Version::own()).map_err(|unusable| {
            Error::new(sortie_proto::code::Code::FailedPrecondition)
                .because("this control cannot use the database")
                .caused_by(unusable)
        })?;
        if ahead > 0 {
            tracing::warn!(
                ahead,
                "the database is ahead of this control, and can be used"
            );
            // refinery would refuse it; everything that it would look for was looked for above.
            runner = runner.set_abort_missing(false);
        }
        let report = runner.run_async(&mut client).await;
        for migration in report.map_err(Error::internal)?.applied_migrations() {
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

/// Whether nothing was ever applied.
async fn is_new(client: &tokio_postgres::Client) -> Result<bool> {
    let row = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NULL", &[])
        .await?;
    Ok(row.try_get(0)?)
}

/// Whether the migrations of a runner can be used with those that were applied. Answers how many of these it does not
/// know.
///
/// # Errors
/// [`Unusable`] says why not.
fn check(runner: &Runner, applied: &[Migration], own: Version) -> Result<usize, Unusable> {
    let known = runner.get_migrations();
    let newest = |migrations: &[Migration]| migrations.iter().map(Migration::version).max();
    let (last_known, last_applied) = (newest(known), newest(applied));
    let is_in = |all: &[Migration], one: &Migration| {
        all.iter().any(|other| other.version() == one.version())
    };
    let skipped = |one: &&Migration| Some(one.version()) < last_applied && !is_in(applied, one);
    if let Some(one) = known.iter().find(skipped) {
        return Err(Unusable::Skipped(one.to_string()));
    }
    let unknown: Vec<_> = applied.iter().filter(|one| !is_in(known, one)).collect();
    for one in &unknown {
        if Some(one.version()) < last_known {
            return Err(Unusable::Foreign(one.to_string()));
        }
        if let Some(rest) = one.name().strip_prefix(CONTRACT)
            // What does not say from when on it is safe never is.
            && Version::read(rest.split('_')).is_none_or(|safe_from| own < safe_from)
        {
            return Err(Unusable::Contracted(one.to_string(), own));
        }
    }
    Ok(unknown.len())
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

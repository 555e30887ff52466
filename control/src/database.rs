//! The database: two pools, and transactions that know whose rows they may see.
//!
//! **Invariants.** A tenant's transaction runs as the role `sortie_app`, whose row-level policies show only rows of the
//! tenant that [`Database::tenant`] set for the transaction: the second wall behind every `WHERE`. Operators, the
//! feed, ingest and upkeep run as `sortie_system`. Both are `NOLOGIN`; a connection logs in as the owner of the URL
//! and drops to its role with `SET ROLE` before anything uses it, so that one URL of a managed PostgreSQL is enough.
//! A transaction that is not committed is rolled back.

pub mod private;
pub mod migrate;
pub mod cluster;
pub mod keys;
pub mod changes;
pub mod tenants;
pub mod vaults;
pub mod credentials;
pub mod services;
pub mod agents;
pub mod grants;
pub mod sessions;
pub mod api_keys;
pub mod acts;
pub mod gateways;
pub mod journal;
mod connect;
mod column;
mod transaction;

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use sortie_proto::id::TenantId;

pub use self::column::Reference;
pub use self::connect::{Connector, InvalidUrl};
pub use self::transaction::Transaction;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// The role of tenants' transactions.
pub const ROLE_APP: &str = "sortie_app";
/// The role of operators, the feed, ingest and upkeep.
pub const ROLE_SYSTEM: &str = "sortie_system";

/// How long a caller waits for a connection before it is told `unavailable`.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The way to the database.
#[derive(Clone)]
pub struct Database {
    app: Pool,
    system: Pool,
    connector: Connector,
    metrics: Metrics,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Makes the pools; nothing is dialled yet. `connections` bounds each pool: callers beyond it wait, at most five
    /// seconds.
    ///
    /// # Errors
    /// `internal` if a pool cannot be made.
    pub fn new(connector: Connector, connections: usize, metrics: Metrics) -> Result<Self> {
        Ok(Self {
            app: pool(&connector, ROLE_APP, connections)?,
            system: pool(&connector, ROLE_SYSTEM, connections)?,
            connector,
            metrics,
        })
    }

    /// Begins a transaction that sees the rows of one tenant.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Transaction> {
        self.begin(&self.app, &scoped("BEGIN", tenant)).await
    }

    /// Begins a transaction that sees the rows of one tenant and changes none.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn read(&self, tenant: TenantId) -> Result<Transaction> {
        self.begin(&self.app, &scoped("BEGIN READ ONLY", tenant))
            .await
    }

    /// Begins a transaction that sees the rows of all tenants: operators, feed, ingest, upkeep.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn system(&self) -> Result<Transaction> {
        self.begin(&self.system, "BEGIN").await
    }

    /// Begins a transaction whose statements all see one state of the database.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn snapshot(&self) -> Result<Transaction> {
        self.begin(
            &self.system,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        )
        .await
    }

    /// Opens connections outside the pools, for `LISTEN` and for migrations.
    #[must_use]
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Closes the pools; later calls answer `unavailable`.
    pub fn close(&self) {
        self.app.close();
        self.system.close();
    }

    async fn begin(&self, pool: &Pool, statement: &str) -> Result<Transaction> {
        let object: Object = pool.get().await?;
        Transaction::begin(object, statement, self.metrics.statements.clone()).await
    }
}

/// `BEGIN` and whose rows it is about, in one round trip. A UUID's text needs no quoting.
fn scoped(begin: &str, tenant: TenantId) -> String {
    format!(
        "{begin}; SELECT set_config('sortie.tenant', '{}', true)",
        tenant.uuid()
    )
}

fn pool(connector: &Connector, role: &'static str, connections: usize) -> Result<Pool> {
    let config = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(connector.config().clone(), connector.tls(), config);
    let become_role = Hook::async_fn(move |client, _| {
        Box::pin(async move {
            client
                .batch_execute(&format!(
                    "SET ROLE {role}; SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning"
                ))
                .await
                .map_err(HookError::Backend)
        })
    });
    Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT_MAX))
        .create_timeout(Some(WAIT_MAX))
        .recycle_timeout(Some(WAIT_MAX))
        .post_create(become_role)
        .build()
        .map_err(Error::internal)
}

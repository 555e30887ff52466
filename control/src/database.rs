//! The database: three pools, and transactions that know whose rows they may see.
//!
//! **Invariants.** A tenant's transaction runs as the role `sortie_app`, whose row-level policies show only rows of the
//! tenant that [`Database::tenant`] set for the transaction: the second wall behind every `WHERE`. Operators, the
//! feed, ingest and upkeep run as `sortie_system`. Both are `NOLOGIN`; a connection logs in as the owner of the URL
//! and drops to its role with `SET ROLE` before anything uses it, so that one URL of a managed PostgreSQL is enough.
//! A transaction that is not committed is rolled back.
//!
//! What leases hang on has a small pool of its own: however many callers wait for the others, beats go on.
//!
//! A database that has gone back behind what was seen of it is refused, see [`floor`].

pub mod private;
pub mod migrate;
pub mod cluster;
pub mod keys;
pub mod changes;
pub mod floor;
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

pub use self::column::{Reference, limits, read_limits};
pub use self::connect::{Connector, InvalidUrl};
pub use self::floor::Floor;
pub use self::transaction::Transaction;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// The role of tenants' transactions.
pub const ROLE_APP: &str = "sortie_app";
/// The role of operators, the feed, ingest and upkeep.
pub const ROLE_SYSTEM: &str = "sortie_system";

/// The connections of the feed's own pool: the beat, the reader, the sequencer, the look for leftovers, what gateways say,
/// and one to spare.
const FEED_CONNECTIONS: usize = 6;

/// How long a caller waits for a connection before it is told `unavailable`.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The way to the database.
#[derive(Clone)]
pub struct Database {
    app: Pool,
    system: Pool,
    feed: Pool,
    connector: Connector,
    floor: Floor,
    metrics: Metrics,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Makes the pools; nothing is dialled yet. `connections` bounds the callers' two pools: callers beyond it wait, at
    /// most five seconds. The feed's pool has six more.
    ///
    /// # Errors
    /// `internal` if a pool cannot be made.
    pub fn new(connector: Connector, connections: usize, metrics: Metrics) -> Result<Self> {
        Ok(Self {
            app: pool(&connector, ROLE_APP, connections)?,
            system: pool(&connector, ROLE_SYSTEM, connections)?,
            feed: pool(&connector, ROLE_SYSTEM, FEED_CONNECTIONS)?,
            connector,
            floor: Floor::default(),
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
        self.begin(&self.system, SNAPSHOT).await
    }

    /// Begins a transaction as [`Database::system`] does, on the feed's own connections: beats, sequencing, what gateways
    /// say.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn feed(&self) -> Result<Transaction> {
        self.begin(&self.feed, "BEGIN").await
    }

    /// Begins a transaction as [`Database::snapshot`] does, on the feed's own connections: the reader of changes.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn feed_snapshot(&self) -> Result<Transaction> {
        self.begin(&self.feed, SNAPSHOT).await
    }

    /// Opens connections outside the pools, for `LISTEN` and for migrations.
    #[must_use]
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How far the database has come, as this process has seen it.
    #[must_use]
    pub const fn floor(&self) -> &Floor {
        &self.floor
    }

    /// Closes the pools; later calls answer `unavailable`.
    pub fn close(&self) {
        self.app.close();
        self.system.close();
        self.feed.close();
    }

    async fn begin(&self, pool: &Pool, statement: &str) -> Result<Transaction> {
        self.floor.hold()?;
        let object: Object = pool.get().await?;
        Transaction::begin(object, statement, self.metrics.statements.clone())
    }
}

/// Begins a transaction whose statements all see one state.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What bounds a connection's waits: a client that froze holds its locks for a minute at most, and nobody waits for a
/// lock or a statement for ever.
const BOUNDS: &str = "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '10s'; \
                      SET statement_timeout = '30s'; SET client_min_messages = warning";

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
                .batch_execute(&format!("SET ROLE {role}; {BOUNDS}"))
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

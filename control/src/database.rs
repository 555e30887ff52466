//! A stand-in: one pool, migrations without bookkeeping.

pub mod changes;
pub mod gateways;
pub mod journal;
pub mod tenants;
pub mod vaults;
pub mod credentials;
pub mod services;
pub mod agents;
pub mod grants;
pub mod sessions;
pub mod api_keys;
pub mod acts;
mod column;
mod transaction;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use sortie_proto::id::TenantId;
use tokio_postgres::NoTls;

pub use self::column::Reference;
pub use self::transaction::Transaction;
use crate::error::{Error, Result};

/// The way to the database.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Connects and makes the tables.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn connect(url: &str) -> Result<Self> {
        let config: tokio_postgres::Config = url.parse()?;
        let manager = Manager::from_config(
            config,
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(8)
            .build()
            .map_err(Error::internal)?;
        let database = Self { pool };
        let client = database.pool.get().await?;
        client
            .batch_execute(include_str!("../migrations/V1__core.sql"))
            .await?;
        client
            .batch_execute(include_str!("../migrations/V2__stand_in.sql"))
            .await?;
        Ok(database)
    }

    /// Begins a transaction that sees the rows of one tenant.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Transaction> {
        let id = tenant.uuid();
        self.begin(&format!(
            "BEGIN; SET LOCAL ROLE sortie_app; SELECT set_config('sortie.tenant', '{id}', true)"
        ))
        .await
    }

    /// Begins a transaction that sees the rows of one tenant and changes none.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn read(&self, tenant: TenantId) -> Result<Transaction> {
        let id = tenant.uuid();
        self.begin(&format!("BEGIN READ ONLY; SET LOCAL ROLE sortie_app; SELECT set_config('sortie.tenant', '{id}', true)")).await
    }

    /// Begins a transaction that sees the rows of all tenants.
    ///
    /// # Errors
    /// `unavailable` when no connection is to be had.
    pub async fn system(&self) -> Result<Transaction> {
        self.begin("BEGIN; SET LOCAL ROLE sortie_system").await
    }

    async fn begin(&self, statement: &str) -> Result<Transaction> {
        Transaction::begin(self.pool.get().await?, statement).await
    }
}

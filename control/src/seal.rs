//! The key hierarchy: root key → tenant key → vault data key → credential. Only control holds anything above a data key.
//!
//! Every level is sealed with AES-256-GCM for its place ([`Place`]), so that a row that is moved does not open. Open
//! tenant and data keys are kept in a bounded cache, which is never asked without the rows: a deleted vault's key is
//! not found, nor is one of another tenant.

pub mod envelope;
pub mod key;
pub mod signing;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use moka::sync::Cache;
use sha2::Sha256;
use sortie_proto::code::Code;
use sortie_proto::id::{KeyId, TenantId, VaultId};
use sortie_proto::sealed::{KeyRef, Place, Purpose, SealingKey};
use sortie_proto::secret::Secret;
use sortie_proto::token::{SigningKey, VerifyingKeys};
use uuid::Uuid;

use crate::authority;
use crate::authority::cluster::ClusterAuthority;
use crate::database::{Database, Transaction, cluster, keys};
use crate::error::{Error, Result};

/// What the canary says. It is not a secret: that it opens is the point.
const CANARY: &[u8] = b"sortie";
/// How many open keys of each kind are kept.
const OPEN_KEYS_MAX: u64 = 20_000;
/// How long an open key is kept without being used.
const OPEN_KEYS_IDLE: Duration = Duration::from_secs(600);

/// Why the keys cannot be used. The process does not start.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The root key's file cannot be used.
    #[error(transparent)]
    RootKey(#[from] key::Error),
    /// The root key is another one.
    #[error(
        "the root key in {0} does not belong to this database: nothing that it holds would open. Put back the \
         root.key that was used with this database"
    )]
    WrongRootKey(std::path::PathBuf),
    /// The database failed.
    #[error("the keys cannot be read from the database")]
    Database(#[from] Error),
}

/// The open keys of this cluster.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    root: SealingKey,
    cluster: Uuid,
    pepper: Secret,
    authority: ClusterAuthority,
    signer: ArcSwap<SigningKey>,
    verifying: ArcSwap<VerifyingKeys>,
    tenants: Cache<TenantId, Arc<SealingKey>>,
    vaults: Cache<VaultId, Arc<SealingKey>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Opens the cluster's keys with the root key in `data_dir`. On the first start of a cluster it makes them, the
    /// root key, and the operators' first key, which is written to `operator.key`.
    ///
    /// # Errors
    /// [`NotOpened`] says which file, and what to do.
    pub async fn open(database: &Database, data_dir: &Path) -> Result<Self, NotOpened> {
        let tx = database.system().await?;
        cluster::lock(&tx).await?;
        let path = data_dir.join("root.key");
        let (row, bytes) = match cluster::load(&tx).await? {
            Some(row) => (row, key::read(&path)?),
            None => {
                let bytes = key::read_or_create(&path)?;
                let making = envelope::create_cluster(&tx, data_dir, &bytes);
                let row = Box::pin(making).await?;
                (row, bytes)
            }
        };
        let root = envelope::root(row.root_key, bytes)?;
        let wrong = |_does_not_open| NotOpened::WrongRootKey(path.clone());
        root.open(envelope::place(Purpose::Canary, &[row.id]), &row.canary)
            .map_err(wrong)?;
        let keys = Self::load(&tx, root, row).await?;
        tx.commit().await?;
        Ok(keys)
    }

    async fn load(tx: &Transaction, root: SealingKey, row: cluster::Cluster) -> Result<Self> {
        let pepper = root.open(envelope::place(Purpose::Pepper, &[row.id]), &row.pepper)?;
        let private = root.open(
            envelope::place(Purpose::ClusterAuthority, &[row.id]),
            &row.authority_key,
        )?;
        let authority =
            ClusterAuthority::load(row.authority_cert, &private).map_err(Error::internal)?;
        let (signer, verifying) = signing::load(tx, &root, row.id).await?;
        Ok(Self(Arc::new(Inner {
            root,
            cluster: row.id,
            pepper,
            authority,
            signer: ArcSwap::from_pointee(signer),
            verifying: ArcSwap::from_pointee(verifying),
            tenants: bounded(),
            vaults: bounded(),
        })))
    }

    /// Makes a tenant's key and its certificate authority. The transaction is the system's or the tenant's own.
    ///
    /// # Errors
    /// As the database's.
    pub async fn create_tenant(&self, tx: &Transaction, tenant: TenantId) -> Result<()> {
        let key = SealingKey::generate();
        let ids = [tenant.uuid()];
        let place = envelope::versioned(Purpose::TenantKey, &ids, &key);
        let sealed = self.0.root.seal(place, key.bytes().expose());
        keys::insert_tenant(tx, tenant, &envelope::sealed_key(&key, sealed)).await?;
        authority::tenant::create(tx, tenant, &key).await
    }

    /// Makes a vault's data key.
    ///
    /// # Errors
    /// As the database's.
    pub async fn create_vault(
        &self,
        tx: &Transaction,
        tenant: TenantId,
        vault: VaultId,
    ) -> Result<()> {
        let above = self.tenant(tx, tenant).await?;
        let key = SealingKey::generate();
        let ids = [tenant.uuid(), vault.uuid()];
        let place = envelope::versioned(Purpose::DataKey, &ids, &key);
        let sealed = above.seal(place, key.bytes().expose());
        keys::insert_vault(tx, tenant, vault, &envelope::sealed_key(&key, sealed)).await
    }

    /// The key that seals a vault's credentials.
    ///
    /// # Errors
    /// `not_found` if the vault has none: it was deleted, or belongs to another tenant.
    pub async fn vault(
        &self,
        tx: &Transaction,
        tenant: TenantId,
        vault: VaultId,
    ) -> Result<Arc<SealingKey>> {
        // The rows are read even when the open key is at hand: a deleted vault's key must not be used any more, and
        // a vault of another tenant must not be found.
        let stored = keys::of_vault(tx, tenant, vault).await?;
        let newest = stored.first().ok_or(Error::new(Code::NotFound))?;
        self.open_vault_key(tx, (tenant, vault), newest).await
    }

    /// Opens the keys that may have sealed a vault's credentials, with the rows that hold them and their tenant's.
    ///
    /// # Errors
    /// `internal` if one does not open.
    pub fn open_vault_keys(
        &self,
        (tenant, vault): (TenantId, VaultId),
        above: &keys::SealedKey,
        stored: &[keys::SealedKey],
    ) -> Result<Vec<Arc<SealingKey>>> {
        let above = match self.0.tenants.get(&tenant) {
            Some(open) if open.reference() == above.reference => open,
            Some(_) | None => self.open_tenant_key(tenant, above)?,
        };
        let open = |stored: &keys::SealedKey| match self.0.vaults.get(&vault) {
            Some(open) if open.reference() == stored.reference => Ok(open),
            Some(_) | None => self.open_with(&above, (tenant, vault), stored),
        };
        stored.iter().map(open).collect()
    }

    async fn open_vault_key(
        &self,
        tx: &Transaction,
        (tenant, vault): (TenantId, VaultId),
        stored: &keys::SealedKey,
    ) -> Result<Arc<SealingKey>> {
        if let Some(open) = self.0.vaults.get(&vault)
            && open.reference() == stored.reference
        {
            return Ok(open);
        }
        let above = self.tenant(tx, tenant).await?;
        self.open_with(&above, (tenant, vault), stored)
    }

    fn open_with(
        &self,
        above: &SealingKey,
        (tenant, vault): (TenantId, VaultId),
        stored: &keys::SealedKey,
    ) -> Result<Arc<SealingKey>> {
        let ids = [tenant.uuid(), vault.uuid()];
        let open = Arc::new(envelope::open(above, Purpose::DataKey, &ids, stored)?);
        self.0.vaults.insert(vault, Arc::clone(&open));
        Ok(open)
    }

    /// A tenant's key.
    pub(crate) async fn tenant(
        &self,
        tx: &Transaction,
        tenant: TenantId,
    ) -> Result<Arc<SealingKey>> {
        if let Some(open) = self.0.tenants.get(&tenant) {
            return Ok(open);
        }
        let stored = keys::of_tenant(tx, tenant).await?;
        let newest = stored.first().ok_or(Error::new(Code::NotFound))?;
        self.open_tenant_key(tenant, newest)
    }

    fn open_tenant_key(
        &self,
        tenant: TenantId,
        stored: &keys::SealedKey,
    ) -> Result<Arc<SealingKey>> {
        let ids = [tenant.uuid()];
        let open = envelope::open(&self.0.root, Purpose::TenantKey, &ids, stored)?;
        let open = Arc::new(open);
        // A key that this very transaction made may be kept: the tenant's id is as new as the key, and is never used
        // again if the transaction is rolled back.
        self.0.tenants.insert(tenant, Arc::clone(&open));
        Ok(open)
    }

    /// The keyed hash (HMAC-SHA-256) under which an API key or a join token is stored.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length.
    #[must_use]
    pub fn hash(&self, key_text: &str) -> [u8; 32] {
        envelope::keyed_hash(&self.0.pepper, key_text)
    }

    /// The key that signs new session tokens.
    ///
    /// # Errors
    /// None today; a key store outside the process may fail.
    #[expect(
        clippy::unused_async,
        reason = "a signer in a key service answers later, or not"
    )]
    pub async fn signer(&self) -> Result<Arc<SigningKey>> {
        Ok(self.0.signer.load_full())
    }

    /// The keys that session tokens are accepted from.
    #[must_use]
    pub fn verifying(&self) -> Arc<VerifyingKeys> {
        self.0.verifying.load_full()
    }

    /// The cluster's own certificate authority.
    #[must_use]
    pub fn authority(&self) -> &ClusterAuthority {
        &self.0.authority
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster(&self) -> Uuid {
        self.0.cluster
    }
}

fn bounded<K: std::hash::Hash + Eq + Send + Sync + 'static>() -> Cache<K, Arc<SealingKey>> {
    Cache::builder()
        .max_capacity(OPEN_KEYS_MAX)
        .time_to_idle(OPEN_KEYS_IDLE)
        .build()
}

#[cfg(test)]
mod tests;

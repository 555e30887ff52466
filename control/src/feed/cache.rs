//! Vaults and tenants as gateways get them: read once for all that want them, encoded once, kept while nothing changes.
//!
//! All that is wanted at one moment is read in one query, one reading at a time: a thousand gateways that come back
//! together cost a handful. **Invariants:** what is kept is given out only while the log says that it is complete up to
//! what streams have sent; nothing leaves here but to [`fleet`](crate::fleet), behind a release; encoded vaults hold
//! data keys, and are zeroed when they go.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;
use parking_lot::Mutex;
use prost::Message;
use prost::bytes::Bytes;
use sortie_proto::change::{EVENT_BYTES_MAX, Snapshot};
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use zeroize::{Zeroize, Zeroizing};

use super::read::{Log, Subject};
use super::snapshot;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::seal::Keys;

/// The most vaults that one query reads.
const BATCH_MAX: usize = 64;

/// The snapshots of one replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    keys: Keys,
    log: Log,
    metrics: Metrics,
    vaults: Cache<VaultId, Arc<Kept<Bytes>>>,
    tenants: Cache<TenantId, Arc<Kept<v1::TenantState>>>,
    /// Asked for and not read yet.
    wanted: Mutex<HashSet<VaultId>>,
    /// Held by whoever reads. Those that wait find here what was read meanwhile.
    reading: tokio::sync::Mutex<()>,
}

/// A vault, ready to be sent.
#[derive(Clone)]
pub struct Encoded {
    /// What it is complete up to, at least.
    pub revision: Revision,
    /// A [`v1::VaultSnapshot`].
    pub bytes: Bytes,
}

/// Its data keys are in the clear.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// Something that was read, and up to where it is known to be complete.
struct Kept<T> {
    tenant: TenantId,
    revision: Revision,
    /// Only ever rises: what is used often stays within what the log remembers.
    complete_to: AtomicU64,
    size: u32,
    content: T,
}

/// As of [`Encoded`]: what was read stays out of logs.
impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("tenant", &self.tenant)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl<T> Kept<T> {
    fn new(tenant: TenantId, revision: Revision, (size, content): (usize, T)) -> Arc<Self> {
        Arc::new(Self {
            tenant,
            revision,
            complete_to: AtomicU64::new(revision.n),
            size: u32::try_from(size).unwrap_or(u32::MAX),
            content,
        })
    }

    /// Whether nothing about it has changed up to the log's end.
    fn is_current(&self, log: &Log, subject: Subject) -> bool {
        let last = log.last();
        let since = Revision {
            n: self.complete_to.load(Ordering::Relaxed),
            ..self.revision
        };
        let current = log.is_unchanged(subject, since) == Some(true);
        if current {
            self.complete_to.fetch_max(last.n, Ordering::Relaxed);
        }
        current
    }
}

fn bounded<K, T>(bytes: u64) -> Cache<K, Arc<Kept<T>>>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(bytes)
        .weigher(|_, kept: &Arc<Kept<T>>| kept.size)
        .build()
}

impl Snapshots {
    /// Keeps at most so many bytes: three quarters for vaults, one for tenants.
    #[must_use]
    pub fn new(database: Database, keys: Keys, log: Log, (bytes, metrics): (u64, Metrics)) -> Self {
        let tenants = bytes / 4;
        Self(Arc::new(Inner {
            database,
            keys,
            log,
            metrics,
            vaults: bounded(bytes.saturating_sub(tenants)),
            tenants: bounded(tenants),
            wanted: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }))
    }

    /// A vault with all that it holds and the keys that open it. The caller has a release for it.
    ///
    /// # Errors
    /// `not_found` if there is none; `resource_exhausted` if it is too large for the feed; `internal` if a row means
    /// nothing: a snapshot that leaves something out is never made; `unavailable` when the database is behind what was
    /// already read from it.
    pub async fn vault(&self, tenant: TenantId, vault: VaultId) -> Result<Encoded> {
        if let Some(kept) = self.kept_vault(tenant, vault) {
            return Ok(kept);
        }
        self.0.wanted.lock().insert(vault);
        let _reading = self.0.reading.lock().await;
        if let Some(kept) = self.kept_vault(tenant, vault) {
            self.0.wanted.lock().remove(&vault);
            return Ok(kept);
        }
        let mut mine = Err(Error::new(Code::NotFound));
        for (id, read) in self.read(&self.take_wanted(vault)).await? {
            let kept = read.and_then(|snapshot| self.keep(&snapshot));
            if id == vault {
                mine = kept;
            } else if let Err(error) = kept {
                // Who wants that one reads it once more, and is told.
                tracing::debug!(vault.id = %id, code = error.code().name(), "a vault was not read with others");
            }
        }
        mine.and_then(|kept| match kept.tenant == tenant {
            true => Ok(encoded(&kept)),
            false => Err(Error::new(Code::NotFound)),
        })
    }

    fn kept_vault(&self, tenant: TenantId, vault: VaultId) -> Option<Encoded> {
        let kept = self.0.vaults.get(&vault)?;
        let usable = kept.tenant == tenant && kept.is_current(&self.0.log, Subject::Vault(vault));
        usable.then(|| {
            self.0.metrics.snapshot_hits.inc();
            encoded(&kept)
        })
    }

    fn take_wanted(&self, mine: VaultId) -> Vec<VaultId> {
        let mut wanted = self.0.wanted.lock();
        wanted.remove(&mine);
        let others: Vec<_> = wanted.iter().copied().take(BATCH_MAX - 1).collect();
        for id in &others {
            wanted.remove(id);
        }
        others.into_iter().chain([mine]).collect()
    }

    async fn read(&self, ids: &[VaultId]) -> Result<Vec<(VaultId, Result<Snapshot>)>> {
        let last = self.0.log.last();
        self.0.metrics.snapshot_queries.inc();
        let read = snapshot::vaults(&self.0.database, &self.0.keys, ids).await?;
        refuse_behind(read.revision, last)?;
        Ok(read.vaults)
    }

    fn keep(&self, snapshot: &Snapshot) -> Result<Arc<Kept<Bytes>>> {
        let mut wire = v1::VaultSnapshot::from(snapshot);
        let size = wire.encoded_len();
        let bytes = Zeroizing::new(wire.encode_to_vec());
        for key in &mut wire.data_keys {
            key.key.zeroize();
        }
        let vault = snapshot.vault.id;
        if size > EVENT_BYTES_MAX {
            tracing::warn!(vault.id = %vault, bytes = size, "a vault is too large for the feed and is refused");
            return Err(Error::new(Code::ResourceExhausted));
        }
        let content = (size, Bytes::from_owner(bytes));
        let kept = Kept::new(snapshot.vault.tenant, snapshot.revision, content);
        self.0.vaults.insert(vault, Arc::clone(&kept));
        Ok(kept)
    }

    /// A tenant with its live revocations.
    ///
    /// # Errors
    /// As [`Snapshots::vault`].
    pub async fn tenant(&self, tenant: TenantId) -> Result<v1::TenantState> {
        if let Some(kept) = self.kept_tenant(tenant) {
            return Ok(kept);
        }
        let _reading = self.0.reading.lock().await;
        if let Some(kept) = self.kept_tenant(tenant) {
            return Ok(kept);
        }
        let last = self.0.log.last();
        self.0.metrics.snapshot_queries.inc();
        let state = snapshot::tenant(&self.0.database, tenant).await?;
        let revision = state.revision.map(Revision::from).unwrap_or_default();
        refuse_behind(revision, last)?;
        let size = state.encoded_len();
        if size > EVENT_BYTES_MAX {
            tracing::warn!(tenant.id = %tenant, bytes = size, "a tenant is too large for the feed and is refused");
            return Err(Error::new(Code::ResourceExhausted));
        }
        let kept = Kept::new(tenant, revision, (size, state.clone()));
        self.0.tenants.insert(tenant, kept);
        Ok(state)
    }

    fn kept_tenant(&self, tenant: TenantId) -> Option<v1::TenantState> {
        let kept = self.0.tenants.get(&tenant)?;
        kept.is_current(&self.0.log, Subject::Tenant(tenant))
            .then(|| {
                self.0.metrics.snapshot_hits.inc();
                kept.content.clone()
            })
    }
}

fn encoded(kept: &Kept<Bytes>) -> Encoded {
    Encoded {
        revision: kept.revision,
        bytes: kept.content.clone(),
    }
}

/// A replica on a database that was left behind sends nothing from it.
fn refuse_behind(read: Revision, last: Revision) -> Result<()> {
    if read < last {
        let why = "the database is behind what was already read from it";
        return Err(Error::new(Code::Unavailable).because(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

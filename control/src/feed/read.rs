//! The changes that this replica has read, in order, shared by all its streams.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message;
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use tokio::sync::watch;

use crate::database::{Database, changes};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// How many changes are read at once.
const PAGE: usize = 1_000;

/// A change with who gets it.
#[derive(Debug)]
pub struct Entry {
    /// Its position.
    pub revision: Revision,
    /// Whose gateways get it; `None` is all.
    pub tenant: Option<TenantId>,
    /// Whose subscribers get it.
    pub vault: Option<VaultId>,
    /// What is sent. Without an object if that means nothing to this version: then it is counted, and gateways, which are
    /// told whom it is about, refuse that.
    pub change: v1::Change,
}

/// What a change is about, and a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A vault and all that is in it.
    Vault(VaultId),
    /// A tenant's own settings and its revocations.
    Tenant(TenantId),
}

impl Entry {
    fn subject(&self) -> Option<Subject> {
        let tenant = self.tenant.map(Subject::Tenant);
        self.vault.map(Subject::Vault).or(tenant)
    }
}

/// The recent changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    recent: Mutex<Recent>,
    last: watch::Sender<Revision>,
    capacity: usize,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Recent {
    /// Consecutive; the last one is at the revision in `last`.
    entries: VecDeque<Arc<Entry>>,
    /// The last of them about each subject.
    latest: HashMap<Subject, Revision>,
}

impl Recent {
    fn keep(&mut self, entries: Vec<Arc<Entry>>, capacity: usize) {
        for entry in &entries {
            if let Some(subject) = entry.subject() {
                self.latest.insert(subject, entry.revision);
            }
        }
        self.entries.extend(entries);
        let surplus = self.entries.len().saturating_sub(capacity);
        for gone in self.entries.drain(..surplus) {
            if let Some(subject) = gone.subject()
                && self.latest.get(&subject) == Some(&gone.revision)
            {
                self.latest.remove(&subject);
            }
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.latest.clear();
    }
}

impl Log {
    /// Begins at the database's head, with the last changes before it: gateways that resume after a restart are then
    /// served from memory. `capacity` bounds what is kept there; older changes are read from the database.
    ///
    /// # Errors
    /// `unavailable` when the database does not answer.
    pub async fn open(database: Database, capacity: usize, metrics: Metrics) -> Result<Self> {
        let tx = database.snapshot().await?;
        let head = changes::head(&tx).await?;
        let kept = u64::try_from(capacity).unwrap_or(u64::MAX);
        let before = Revision {
            n: head.last.n.saturating_sub(kept).max(head.compacted),
            ..head.last
        };
        let limit = i64::try_from(capacity).unwrap_or(i64::MAX);
        let rows = changes::after(&tx, before, limit).await?;
        tx.commit().await?;
        database.floor().rise(head.last);
        let log = Self(Arc::new(Inner {
            database,
            recent: Mutex::default(),
            last: watch::Sender::new(head.last),
            capacity,
            metrics,
        }));
        let entries = log.decode(rows, before)?;
        log.0.recent.lock().keep(entries, capacity);
        Ok(log)
    }

    /// Whether there is no change of a subject behind a revision, up to the last that was read; `None` where what is in
    /// memory does not reach back that far.
    #[must_use]
    pub fn is_unchanged(&self, subject: Subject, since: Revision) -> Option<bool> {
        let recent = self.0.recent.lock();
        let last = self.last();
        let first = recent.entries.front().map(|entry| entry.revision);
        let reaches = since >= last || first.is_some_and(|first| first <= since.next());
        if since.epoch != last.epoch || !reaches {
            return None;
        }
        let latest = recent.latest.get(&subject);
        Some(latest.is_none_or(|latest| *latest <= since))
    }

    /// The last revision that was read.
    #[must_use]
    pub fn last(&self) -> Revision {
        *self.0.last.borrow()
    }

    /// Follows [`Log::last`].
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Revision> {
        self.0.last.subscribe()
    }

    /// Reads on until the database's head. For one caller at a time.
    ///
    /// # Errors
    /// `unavailable` when the database does not answer, or has gone back; `internal` when the order has a hole, which
    /// nothing may pass.
    pub(super) async fn pull(&self) -> Result<()> {
        loop {
            let last = self.last();
            let floor = self.0.database.floor();
            let seen = floor.seen();
            let tx = self.0.database.feed_snapshot().await?;
            let changes::Head {
                last: head,
                compacted,
            } = changes::head(&tx).await?;
            floor.compare(seen, head)?;
            floor.rise(head);
            let gone = head.epoch == last.epoch && compacted > last.n;
            if head.epoch != last.epoch || gone {
                tracing::warn!(%head, %last, "the epoch changed, or changes are gone that were not read: streams start again");
                tx.commit().await?;
                self.0.recent.lock().clear();
                self.0.last.send_replace(head);
                return Ok(());
            }
            if head == last {
                return tx.commit().await;
            }
            let rows = changes::after(&tx, last, i64::try_from(PAGE).unwrap_or(i64::MAX)).await?;
            tx.commit().await?;
            let entries = self.decode(rows, last)?;
            let Some(newest) = entries.last().map(|entry| entry.revision) else {
                return Err(Error::internal("the order's head is ahead of its changes"));
            };
            self.0
                .metrics
                .changes
                .inc_by(u64::try_from(entries.len()).unwrap_or(0));
            self.keep(entries);
            self.0.last.send_replace(newest);
        }
    }

    /// The changes behind a revision, in order: some of them, or none if there are none.
    ///
    /// # Errors
    /// `failed_precondition` when they are no longer kept, or the revision is of another epoch: start again.
    pub async fn after(&self, cursor: Revision) -> Result<Vec<Arc<Entry>>> {
        let gone =
            || Error::new(Code::FailedPrecondition).because("these changes are no longer kept");
        let last = self.last();
        if cursor.epoch != last.epoch {
            return Err(gone());
        }
        if cursor >= last {
            return Ok(Vec::new());
        }
        if let Some(found) = self.in_memory(cursor) {
            return Ok(found);
        }
        let tx = self.0.database.snapshot().await?;
        if changes::head(&tx).await?.compacted > cursor.n {
            return Err(gone());
        }
        let rows = changes::after(&tx, cursor, i64::try_from(PAGE).unwrap_or(i64::MAX)).await?;
        tx.commit().await?;
        // Never past what the reader has passed: `last` is what beats are compared with.
        let mut entries = self.decode(rows, cursor)?;
        entries.retain(|entry| entry.revision <= last);
        Ok(entries)
    }

    fn in_memory(&self, cursor: Revision) -> Option<Vec<Arc<Entry>>> {
        let recent = self.0.recent.lock();
        let first = recent.entries.front()?.revision;
        if first.epoch != cursor.epoch || first > cursor.next() {
            return None;
        }
        let skip = usize::try_from(cursor.next().n.checked_sub(first.n)?).ok()?;
        Some(
            recent
                .entries
                .iter()
                .skip(skip)
                .take(PAGE)
                .cloned()
                .collect(),
        )
    }

    /// Accepts the revision that must come next, and nothing else.
    fn decode(&self, rows: Vec<changes::Row>, after: Revision) -> Result<Vec<Arc<Entry>>> {
        let mut last = after;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            if row.revision != last.next() {
                return Err(Error::internal("the order of changes has a hole"));
            }
            last = row.revision;
            entries.push(Arc::new(self.entry(&row)));
        }
        Ok(entries)
    }

    fn entry(&self, row: &changes::Row) -> Entry {
        let object = v1::Change::decode(row.body.as_slice()).ok();
        let object = object.and_then(|change| change.object);
        if object.is_none() {
            self.0.metrics.undecodable.inc();
            tracing::error!(revision = %row.revision, "a change means nothing to this version; gateways refuse what it is about");
        }
        let change = v1::Change {
            revision: Some(row.revision.into()),
            object,
            tenant_id: row.tenant.map(TenantId::to_bytes).unwrap_or_default(),
            vault_id: row.vault.map(VaultId::to_bytes).unwrap_or_default(),
        };
        Entry {
            revision: row.revision,
            tenant: row.tenant,
            vault: row.vault,
            change,
        }
    }

    fn keep(&self, entries: Vec<Arc<Entry>>) {
        self.0.recent.lock().keep(entries, self.0.capacity);
    }
}

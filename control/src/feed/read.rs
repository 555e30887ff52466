//! The changes that this replica has read, in order, shared by all its streams.

use std::collections::VecDeque;
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
    /// What is sent; `None` if it means nothing to this version. It is skipped and counted, for the order must go on.
    pub change: Option<v1::Change>,
}

/// The recent changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    /// Consecutive; the last one is at the revision in `last`.
    recent: Mutex<VecDeque<Arc<Entry>>>,
    last: watch::Sender<Revision>,
    capacity: usize,
    metrics: Metrics,
}

impl Log {
    /// Begins at the database's head. `capacity` bounds what is kept in memory; older changes are read from the
    /// database.
    ///
    /// # Errors
    /// `unavailable` when the database does not answer.
    pub async fn open(database: Database, capacity: usize, metrics: Metrics) -> Result<Self> {
        let tx = database.snapshot().await?;
        let head = changes::head(&tx).await?;
        tx.commit().await?;
        Ok(Self(Arc::new(Inner {
            database,
            recent: Mutex::new(VecDeque::new()),
            last: watch::Sender::new(head.last),
            capacity,
            metrics,
        })))
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
    /// `unavailable` when the database does not answer; `internal` when the order has a hole, which nothing may pass.
    pub(super) async fn pull(&self) -> Result<()> {
        loop {
            let last = self.last();
            let tx = self.0.database.feed_snapshot().await?;
            let changes::Head {
                last: head,
                compacted,
            } = changes::head(&tx).await?;
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
            if head < last {
                return Err(Error::new(Code::Unavailable)
                    .because("the database is behind what was already read from it"));
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
        let first = recent.front()?.revision;
        if first.epoch != cursor.epoch || first > cursor.next() {
            return None;
        }
        let skip = usize::try_from(cursor.next().n.checked_sub(first.n)?).ok()?;
        Some(recent.iter().skip(skip).take(PAGE).cloned().collect())
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
        let change = match v1::Change::decode(row.body.as_slice()) {
            Ok(change) if change.object.is_some() => Some(v1::Change {
                revision: Some(row.revision.into()),
                ..change
            }),
            Ok(_) | Err(_) => {
                self.0.metrics.undecodable.inc();
                tracing::error!(revision = %row.revision, "a change means nothing to this version and is skipped");
                None
            }
        };
        Entry {
            revision: row.revision,
            tenant: row.tenant,
            vault: row.vault,
            change,
        }
    }

    fn keep(&self, entries: Vec<Arc<Entry>>) {
        let mut recent = self.0.recent.lock();
        recent.extend(entries);
        let surplus = recent.len().saturating_sub(self.0.capacity);
        recent.drain(..surplus);
    }
}

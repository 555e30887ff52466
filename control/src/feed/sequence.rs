//! Gives committed changes their revisions, one writer at a time.

use std::sync::Arc;

use sortie_proto::revision::Revision;
use tokio::sync::Notify;

use crate::database::{Database, changes};
use crate::error::Result;

/// Moves the outbox to the ordered changes.
#[derive(Debug, Clone)]
pub struct Sequencer {
    database: Database,
    wake: Arc<Notify>,
}

impl Sequencer {
    /// Over a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            wake: Arc::default(),
        }
    }

    /// Gives revisions to everything that is committed. Answers the revision up to which everything that committed
    /// before this call is published.
    ///
    /// # Errors
    /// `unavailable` when the database does not answer. What was committed keeps; another replica, or this one's
    /// next poll, publishes it.
    pub async fn committed(&self) -> Result<Revision> {
        let tx = self.database.system().await?;
        let last = changes::sequence(&tx).await?;
        tx.commit().await?;
        self.wake.notify_one();
        Ok(last)
    }

    /// Woken when this replica has published something.
    pub(super) async fn published(&self) {
        self.wake.notified().await;
    }
}

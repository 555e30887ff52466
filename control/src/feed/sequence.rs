//! Gives committed changes their revisions, one writer at a time.
//!
//! Callers share: while one round runs, those that come wait for the next, and one of them does it for all.
//! However many there are, a replica has one transaction that waits for the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sortie_proto::code::Code;
use sortie_proto::revision::Revision;
use tokio::sync::{Mutex, Notify};

use crate::database::{Database, changes};
use crate::error::{Error, Result};

/// Moves the outbox to the ordered changes.
#[derive(Debug, Clone)]
pub struct Sequencer {
    database: Database,
    wake: Arc<Notify>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many calls there were.
    calls: AtomicU64,
    /// Held by the call that does the round. Those that wait get it in the order in which they came.
    round: Mutex<Round>,
}

/// The last round that ended.
#[derive(Debug)]
struct Round {
    /// The calls that it answers: all up to this one were made before it began.
    covers: u64,
    outcome: Result<Revision, Code>,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            covers: 0,
            outcome: Ok(Revision::default()),
        }
    }
}

impl Sequencer {
    /// Over a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            wake: Arc::default(),
            shared: Arc::default(),
        }
    }

    /// Gives revisions to everything that is committed. Answers the revision up to which everything that committed
    /// before this call is published.
    ///
    /// # Errors
    /// `unavailable` when the database does not answer. What was committed keeps; another replica, or this one's
    /// next poll, publishes it.
    pub async fn committed(&self) -> Result<Revision> {
        let call = self.shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let mut round = self.shared.round.lock().await;
        if round.covers >= call {
            let why = "the order could not be written; it was tried for several callers at once";
            return round.outcome.map_err(|code| Error::new(code).because(why));
        }
        // Read before the transaction begins: what these callers committed, it sees.
        let covers = self.shared.calls.load(Ordering::SeqCst);
        let outcome = self.publish().await;
        *round = Round {
            covers,
            outcome: outcome.as_ref().copied().map_err(Error::code),
        };
        outcome
    }

    async fn publish(&self) -> Result<Revision> {
        let tx = self.database.feed().await?;
        let last = changes::sequence(&tx, self.database.floor()).await?;
        tx.commit().await?;
        self.database.floor().rise(last);
        self.wake.notify_one();
        Ok(last)
    }

    /// Woken when this replica has published something.
    pub(super) async fn published(&self) {
        self.wake.notified().await;
    }
}

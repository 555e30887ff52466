//! What replicas tell each other over `NOTIFY`, beside that there are changes: that somebody waits for a revision to be
//! enforced, that gateways have acknowledged one, and that gateways were shut out.
//!
//! A signal only wakes. One that is lost delays what it would have hastened: who waits looks for itself too, and what
//! gateways said is written down on a period, in which locks are read too.

use sortie_proto::revision::Revision;
use tokio::sync::{broadcast, watch};

use crate::database::Transaction;
use crate::error::Result;

/// Somebody waits for the revision in the payload.
const WANTED: &str = "sortie_wanted";
/// Acknowledgements were written down.
const TOLD: &str = "sortie_told";

/// Gateways were shut out, or let in again.
const LOCKED: &str = "sortie_locked";

/// The channels to listen on.
pub(super) const CHANNELS: [&str; 3] = [WANTED, TOLD, LOCKED];

/// How many waits may be made before those that follow them must have looked; older ones are lost.
const WANTED_MAX: usize = 1_024;

/// The signals that reach this replica, its own as well. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signals {
    wanted: broadcast::Sender<Revision>,
    told: watch::Sender<()>,
    locked: watch::Sender<()>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            wanted: broadcast::Sender::new(WANTED_MAX),
            told: watch::Sender::new(()),
            locked: watch::Sender::new(()),
        }
    }
}

impl Signals {
    /// The revisions that somebody, anywhere, begins to wait for.
    #[must_use]
    pub fn wanted(&self) -> broadcast::Receiver<Revision> {
        self.wanted.subscribe()
    }

    /// Changes when acknowledgements were written down, anywhere.
    #[must_use]
    pub fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// Tells all replicas, once the transaction commits, that somebody waits for a revision.
    ///
    /// # Errors
    /// As the database's.
    pub async fn want(tx: &Transaction, revision: Revision) -> Result<()> {
        notify(tx, WANTED, &format!("{} {}", revision.epoch, revision.n)).await
    }

    /// Tells all replicas, once the transaction commits, that acknowledgements were written down.
    ///
    /// # Errors
    /// As the database's.
    pub async fn tell(tx: &Transaction) -> Result<()> {
        notify(tx, TOLD, "").await
    }

    /// Changes when gateways were shut out or let in again, by anybody.
    #[must_use]
    pub fn locks(&self) -> watch::Receiver<()> {
        self.locked.subscribe()
    }

    /// Tells all replicas, once the transaction commits, that gateways were shut out or let in again.
    ///
    /// # Errors
    /// As the database's.
    pub async fn lock(tx: &Transaction) -> Result<()> {
        notify(tx, LOCKED, "").await
    }

    /// Takes what came on one of the [`CHANNELS`]; answers whether it did.
    pub(super) fn take(&self, channel: &str, payload: &str) -> bool {
        match channel {
            WANTED => {
                if let Some(revision) = read(payload) {
                    // Nobody follows while the process starts.
                    let _followers = self.wanted.send(revision);
                }
                true
            }
            TOLD => {
                self.told.send_replace(());
                true
            }
            LOCKED => {
                self.locked.send_replace(());
                true
            }
            _ => false,
        }
    }
}

async fn notify(tx: &Transaction, channel: &str, payload: &str) -> Result<()> {
    tx.execute(
        "/* signals.notify */ SELECT pg_notify($1, $2)",
        &[&channel, &payload],
    )
    .await?;
    Ok(())
}

fn read(payload: &str) -> Option<Revision> {
    let (epoch, n) = payload.split_once(' ')?;
    Some(Revision {
        epoch: epoch.parse().ok()?,
        n: n.parse().ok()?,
    })
}

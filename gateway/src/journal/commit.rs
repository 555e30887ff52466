//! Group commit: one sync to disk serves everybody who waits for one.
//!
//! Syncs come in rounds, one after the other, on the journal's own thread. Who has appended waits, without a thread, for
//! the end of the first round that began behind it. **Invariant:** nobody is told that a record is durable if a round
//! that may have covered it failed: after a failed sync the kernel forgets what it could not write, and the next
//! one succeeds without it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// The longest that anybody waits: a disk that hangs must not hold requests for ever.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Why a record is not known to be durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotDurable {
    /// The sync failed.
    #[error("the record could not be synced to disk")]
    Failed,
    /// The disk takes too long, or the journal's thread has ended.
    #[error("the record was not synced to disk in time")]
    Late,
}

/// The rounds so far.
#[derive(Debug)]
pub(super) struct Commits {
    begun: AtomicU64,
    ended: watch::Sender<Ended>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ended {
    /// The last round that has ended.
    round: u64,
    /// The last one that failed.
    failed: u64,
}

/// What had ended before a record was appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before(u64);

/// A record that was appended and is not known to be durable yet.
#[derive(Debug, Clone, Copy)]
#[must_use = "the record is not durable before it was waited for"]
pub struct Pending {
    /// Rounds behind this one may have covered the record.
    behind: u64,
    /// This one does, at the latest.
    until: u64,
}

impl Commits {
    /// No round has begun.
    pub(super) fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(Ended::default()),
        }
    }

    /// To be called before a record is appended.
    pub(super) fn before(&self) -> Before {
        Before(self.ended.borrow().round)
    }

    /// To be called once it is appended: what to wait for.
    pub(super) fn pending(&self, before: Before) -> Pending {
        Pending {
            behind: before.0,
            until: self.begun.load(Ordering::Acquire).saturating_add(1),
        }
    }

    /// Runs a round. `sync` covers all that was appended before it is called.
    pub(super) fn round(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let round = self.begun.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let outcome = sync();
        self.ended.send_modify(|ended| {
            ended.round = round;
            if outcome.is_err() {
                ended.failed = round;
            }
        });
        outcome
    }

    /// Waits until a record is durable.
    pub(super) async fn wait(&self, pending: Pending) -> Result<(), NotDurable> {
        let mut ended = self.ended.subscribe();
        let covered = ended.wait_for(|ended| ended.round >= pending.until);
        let ended = tokio::time::timeout(WAIT_MAX, covered).await;
        let ended = ended.or(Err(NotDurable::Late))?;
        if ended.or(Err(NotDurable::Late))?.failed > pending.behind {
            return Err(NotDurable::Failed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! How far this process has seen the database come, so that one that goes back under it is noticed.
//!
//! A failover to a standby that lagged, or a restore under a running control, takes back revisions that gateways have
//! seen. Were they given out again, an old word of a gateway would count for a new revocation. **Invariants:** a
//! revision counts as seen once its commit was answered, or it was read. A database that was found behind that is not
//! used again by this process, neither to read nor to write: who is called next would not know which of its rows are
//! lost. A new process asks the [`fence`](crate::fence).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sortie_proto::code::Code;
use sortie_proto::revision::Revision;

use crate::error::{Error, Result};

/// The last revision that was seen, and whether the database went back behind it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Floor(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<Revision>,
    went_back: AtomicBool,
}

impl Floor {
    /// The last revision that was seen. What is compared with it must be read after this.
    #[must_use]
    pub fn seen(&self) -> Revision {
        *self.0.seen.lock()
    }

    /// A revision is committed.
    pub fn rise(&self, to: Revision) {
        let mut seen = self.0.seen.lock();
        *seen = to.max(*seen);
    }

    /// Refuses a database whose order ends before a revision that was [`seen`](Self::seen).
    ///
    /// # Errors
    /// `unavailable`, and from then on for every transaction.
    pub fn compare(&self, seen: Revision, found: Revision) -> Result<()> {
        if found < seen && !self.0.went_back.swap(true, Ordering::AcqRel) {
            tracing::error!(%found, %seen, "the database has gone back: a standby that was behind took over, or a backup \
                was restored. This control does nothing more with it. Put the right database back and start control \
                again, or stop every control and run `sortie-control restore --fence`");
        }
        self.hold()
    }

    /// Refuses a database that has gone back.
    ///
    /// # Errors
    /// `unavailable`.
    pub fn hold(&self) -> Result<()> {
        if self.0.went_back.load(Ordering::Acquire) {
            let why = "the database is behind what was already read from it";
            return Err(Error::new(Code::Unavailable).because(why));
        }
        Ok(())
    }
}

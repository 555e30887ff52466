//! How much a session and a vault may have open at once.
//!
//! **Invariants.** A count is exact: it is the number of live [`Slot`]s. There are at most two counters for each live
//! slot, so the table is bounded by what is open. No lock is held, and nothing waits: at the bound a request is refused.
//!
//! Not here: rates, and limits over several gateways.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sortie_proto::code::Code;
use sortie_proto::id::{SessionId, VaultId};

use crate::error::Result;

/// How many requests may be open at once on this node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Of one session, over all its connections. The next is refused with `too_many`. 256 suits one sandbox.
    pub session_requests_max: NonZeroU32,
    /// Of one vault, over all its sessions. The next is refused with `too_many`. 8,192 leaves room for other vaults.
    pub vault_requests_max: NonZeroU32,
}

/// Counts what is open. Cheap to clone; clones share the counts.
#[derive(Debug, Clone)]
pub struct Limits {
    config: Config,
    open: Arc<Open>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Session(SessionId),
    Vault(VaultId),
}

type Open = papaya::HashMap<Who, Arc<AtomicU32>>;

/// What a counter holds once it has left the table: nobody may enter through it.
const LEFT: u32 = u32::MAX;

impl Limits {
    /// Makes one with nothing open.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            open: Arc::default(),
        }
    }

    /// Takes a place for a request.
    ///
    /// # Errors
    /// `too_many` when the session or the vault has as many open as it may.
    pub fn admit(&self, session: SessionId, vault: VaultId) -> Result<Slot> {
        let session = self.enter(Who::Session(session), self.config.session_requests_max)?;
        let vault = self.enter(Who::Vault(vault), self.config.vault_requests_max)?;
        Ok(Slot {
            _session: session,
            _vault: vault,
        })
    }

    fn enter(&self, who: Who, max: NonZeroU32) -> Result<Place> {
        let open = self.open.pin();
        loop {
            let counter = Arc::clone(open.get_or_insert_with(who, Arc::default));
            let entered = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < max.get() && count < LEFT - 1).then(|| count + 1)
            });
            match entered {
                Ok(_) => {
                    let open = Arc::clone(&self.open);
                    return Ok(Place { open, who, counter });
                }
                // Its last place was given back in this moment: the next turn finds or makes another.
                Err(LEFT) => forget(&self.open, who, &counter),
                Err(_full) => return Err(Code::TooMany.into()),
            }
        }
    }
}

fn forget(open: &Open, who: Who, counter: &Arc<AtomicU32>) {
    let open = open.pin();
    // Another thread may have removed it already, and made a new one, which stays.
    let _removed = open.remove_if(&who, |_, held| Arc::ptr_eq(held, counter));
}

/// A place of a request, given back on drop.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Slot {
    _session: Place,
    _vault: Place,
}

#[derive(Debug)]
struct Place {
    open: Arc<Open>,
    who: Who,
    counter: Arc<AtomicU32>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = self
            .counter
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                Some(if count <= 1 { LEFT } else { count - 1 })
            });
        if left.is_ok_and(|count| count <= 1) {
            forget(&self.open, self.who, &self.counter);
        }
    }
}

#[cfg(test)]
mod tests;

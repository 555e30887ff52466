//! How many gateways are greeted and served a vault at once, and how many hand over their records.
//!
//! A herd that comes back waits here, in the order in which it came, and not for the database's connections, which
//! callers of the API need too, be it to show who they are. Beyond the queue's bound a gateway is told `overloaded`; it
//! comes back after a random wait of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use sortie_proto::code::Code;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, Result};

/// The most gateways that wait until they are greeted or served a vault.
pub(super) const STREAMS_WAITING_MAX: usize = 4_096;
/// The most calls that wait with a gateway's records, up to 16 MiB each.
pub(super) const RECORDS_WAITING_MAX: usize = 256;

/// Turns at the database.
#[derive(Debug)]
pub(super) struct Admission {
    turns: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Admission {
    pub(super) const fn new(turns: usize, waiting_max: usize) -> Self {
        Self {
            turns: Semaphore::const_new(turns),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Waits for a turn, until it is dropped.
    ///
    /// # Errors
    /// `overloaded` when too many wait.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        let waiting = Waiting::join(&self.waiting, self.waiting_max)?;
        let turn = self.turns.acquire().await.map_err(Error::internal);
        drop(waiting);
        turn
    }
}

/// A place in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize, most: usize) -> Result<Self> {
        let place = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= most {
            let why = "too many gateways come at once; come back after a random wait";
            return Err(Error::new(Code::Overloaded).because(why));
        }
        Ok(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Holds an HTTP/2 connection's flushes back while its task has more to write.
//!
//! The h2 crate flushes behind each DATA frame, which would be a call of the kernel for each answer. Whoever drives the
//! connection holds the cork while polling it, and polls once more without it when a flush was held back: h2 ends every
//! poll with a flush. What exceeds the socket's buffer is sent at once, cork or not.

use std::sync::atomic::{AtomicBool, Ordering};

/// The cork of one connection. Its holder and the connection are polled by the same task, one after the other.
#[derive(Debug, Default)]
pub struct Cork {
    held: AtomicBool,
    waiting: AtomicBool,
}

impl Cork {
    /// From here on flushes wait.
    pub fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// From here on flushes flush. True if one has waited: then another is due.
    #[must_use]
    pub fn release(&self) -> bool {
        self.held.store(false, Ordering::Relaxed);
        self.waiting.swap(false, Ordering::Relaxed)
    }

    /// Whether a flush has to wait, which is remembered.
    pub(super) fn holds_back(&self) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        if held {
            self.waiting.store(true, Ordering::Relaxed);
        }
        held
    }
}

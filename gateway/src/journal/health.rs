//! Whether the disk keeps what it is given.
//!
//! A disk that fails still takes what is written, into the system's memory; only a sync tells. Once one has failed no use
//! is appended until the disk has kept a file again, so that a disk that fails for good costs no more than what was
//! written since the sync before. Between two tries is a pause, longer each time that it fails once more soon after.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The bounds of the pause.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What is known of the disk.
#[derive(Debug)]
pub(super) struct Health {
    fails: AtomicBool,
    pause: Mutex<Pause>,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    next: Duration,
}

impl Health {
    /// Of a disk that has not failed yet.
    pub(super) fn good() -> Self {
        Self {
            fails: AtomicBool::new(false),
            pause: Mutex::new(Pause {
                until: Instant::now(),
                next: PAUSE.0,
            }),
        }
    }

    /// Whether it keeps what it is given, as far as is known.
    pub(super) fn is_good(&self) -> bool {
        !self.fails.load(Ordering::Relaxed)
    }

    /// A sync succeeded, with something in it.
    pub(super) fn kept(&self) {
        self.pause.lock().next = PAUSE.0;
    }

    /// A sync failed.
    pub(super) fn failed(&self, error: &io::Error) {
        let mut pause = self.pause.lock();
        pause.until = Instant::now() + pause.next;
        pause.next = pause.next.saturating_mul(2).min(PAUSE.1);
        if !self.fails.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the journal's disk fails: nothing is brokered until it keeps data again");
        }
    }

    /// Tries a disk that failed again, if it is time: with `probe`, which leaves something on it.
    pub(super) fn try_again(&self, probe: impl FnOnce() -> io::Result<()>) {
        if self.is_good() || Instant::now() < self.pause.lock().until {
            return;
        }
        match probe() {
            Ok(()) => {
                self.fails.store(false, Ordering::Relaxed);
                tracing::info!("the journal's disk keeps data again");
            }
            Err(error) => self.failed(&error),
        }
    }
}

#[cfg(test)]
mod tests;

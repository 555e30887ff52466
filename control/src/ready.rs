//! Whether this replica should get traffic: after its start, while its beats are committed and it reads the order of
//! changes, and until it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the admin port answers from.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    started: AtomicBool,
    beating: AtomicBool,
    following: AtomicBool,
}

impl Ready {
    /// Says whether the listeners are up. Set to false first when stopping.
    pub fn set_started(&self, started: bool) {
        self.0.started.store(started, Ordering::Release);
    }

    /// Says whether the last beat was committed.
    pub fn set_beating(&self, beating: bool) {
        self.0.beating.store(beating, Ordering::Release);
    }

    /// Says whether the order of changes could be read last time.
    pub fn set_following(&self, following: bool) {
        self.0.following.store(following, Ordering::Release);
    }

    /// Whether traffic should come here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let flags = [&self.0.started, &self.0.beating, &self.0.following];
        flags.iter().all(|flag| flag.load(Ordering::Acquire))
    }
}

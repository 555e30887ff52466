//! Whether this node should be sent traffic: enrolled, leased once, listening, not stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What must have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// The node has a certificate.
    Enrolled = 1,
    /// Control has confirmed a first lease.
    Leased = 2,
    /// The proxy's ports are open.
    Listening = 4,
}

const ALL: u8 = Step::Enrolled as u8 | Step::Leased as u8 | Step::Listening as u8;
const STOPPING: u8 = 128;

/// Shared by whoever takes a step and whoever asks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicU8>);

impl Ready {
    /// Records a step. Taking one twice is harmless.
    pub fn took(&self, step: Step) {
        let _before = self.0.fetch_or(step as u8, Ordering::AcqRel);
    }

    /// The node will stop: it is not ready from here on.
    pub fn stopping(&self) {
        let _before = self.0.fetch_or(STOPPING, Ordering::AcqRel);
    }

    /// Whether a step was taken.
    #[must_use]
    pub fn has_taken(&self, step: Step) -> bool {
        self.0.load(Ordering::Acquire) & step as u8 != 0
    }

    /// Whether every step was taken and the node is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_after_every_step_and_until_it_stops() {
        let ready = Ready::default();
        ready.took(Step::Enrolled);
        ready.took(Step::Listening);
        assert!(!ready.is_ready());
        ready.took(Step::Leased);
        ready.took(Step::Leased);
        assert!(ready.is_ready());
        ready.stopping();
        assert!(!ready.is_ready());
    }
}

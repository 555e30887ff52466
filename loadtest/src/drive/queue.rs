//! What is due and not yet sent, between the thread that keeps the time and the agents.
//!
//! **Invariants.** Agents take turns: who waits longest gets the next. What no agent takes waits, and its wait counts;
//! past `WAITING_MAX` it is dropped and counted as an error: then there are too few agents for what is asked.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The most that may wait for agents.
const WAITING_MAX: usize = 100_000;

/// A queue of due times.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<VecDeque<Instant>>,
    turns: Semaphore,
    /// Until when something is due whenever it is asked for: agents are then held back by answers alone.
    always_until: Option<Instant>,
}

impl Queue {
    /// One that is filled by [`push`](Self::push).
    #[must_use]
    pub fn paced() -> Self {
        Self {
            waiting: Mutex::default(),
            turns: Semaphore::new(0),
            always_until: None,
        }
    }

    /// One that always has something, for a while.
    #[must_use]
    pub fn always(until: Instant) -> Self {
        Self {
            always_until: Some(until),
            ..Self::paced()
        }
    }

    /// Something is due. Answers whether there was room.
    pub fn push(&self, due: Instant) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            return false;
        }
        waiting.push_back(due);
        drop(waiting);
        self.turns.add_permits(1);
        true
    }

    /// Nothing more comes: these many agents may go once all is taken.
    pub fn end(&self, agents: usize) {
        self.turns.add_permits(agents);
    }

    /// When the next is due; `None` when nothing more comes.
    pub async fn next(&self) -> Option<Instant> {
        if let Some(until) = self.always_until {
            let now = Instant::now();
            return (now < until).then_some(now);
        }
        self.turns.acquire().await.ok()?.forget();
        self.waiting().pop_front()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

//! Completions on their way to the journal: bounded, drained in batches, so that a request that has ended costs its
//! worker no system call.

use parking_lot::{Mutex, MutexGuard};
use sortie_proto::wire::v1::Completion;

/// The queue. A completion that does not fit is handed back: the caller appends it itself.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Vec<Completion>>,
    draining: Mutex<()>,
    max: usize,
}

/// What became of a completion.
#[derive(Debug, PartialEq)]
pub(super) enum Pushed {
    /// It waits.
    Queued,
    /// It waits, and half of the queue is taken: time to drain.
    HalfFull,
    /// It does not fit.
    Full(Completion),
}

impl Queue {
    /// An empty queue.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            waiting: Mutex::new(Vec::new()),
            draining: Mutex::new(()),
            max,
        }
    }

    /// Takes a completion.
    pub(super) fn push(&self, record: Completion) -> Pushed {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= self.max {
            return Pushed::Full(record);
        }
        waiting.push(record);
        // Said once, not for each that follows: the drainer takes all of them.
        if waiting.len() == self.max.div_ceil(2) {
            return Pushed::HalfFull;
        }
        Pushed::Queued
    }

    /// Takes out all that waits. While the guard lives nobody else drains: whoever gets it next knows that what was
    /// pushed before has been dealt with.
    pub(super) fn drain(&self) -> (MutexGuard<'_, ()>, Vec<Completion>) {
        let turn = self.draining.lock();
        let taken = std::mem::take(&mut *self.waiting.lock());
        (turn, taken)
    }

    /// Puts back what could not be appended, in front of what came since.
    pub(super) fn put_back(&self, mut records: Vec<Completion>) {
        let mut waiting = self.waiting.lock();
        records.append(&mut waiting);
        *waiting = records;
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().len()
    }
}

#[cfg(test)]
mod tests;

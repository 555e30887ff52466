//! The one place of this crate that spawns: every task has an owner that ends it.
//!
//! Invariant: a [`Tasks`] that is dropped takes its tasks with it.

use std::future::Future;

use tokio::task::JoinSet;

/// Tasks that end with their owner.
#[derive(Debug, Default)]
pub(crate) struct Tasks(JoinSet<()>);

impl Tasks {
    /// Starts one, and forgets those that are done, so that the set does not grow with the connections served.
    pub(crate) fn start(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        while self.0.try_join_next().is_some() {}
        self.0.spawn(task);
    }

    /// How many run.
    pub(crate) fn running(&mut self) -> usize {
        while self.0.try_join_next().is_some() {}
        self.0.len()
    }
}

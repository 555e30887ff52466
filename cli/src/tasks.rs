//! The one place of this crate that spawns: every task has an owner that ends it, every thread an end.
//!
//! Invariant: a [`Tasks`] that is dropped takes its tasks with it.

use std::future::Future;

use tokio::sync::oneshot;
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

/// Runs something that blocks and cannot be interrupted, on a thread that ends with the program at the latest: nobody
/// has to wait for it. The receiver gets nothing if there is no thread to be had.
pub(crate) fn detached<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new()
        .name("detached".to_owned())
        // Whoever stopped waiting does not want the answer.
        .spawn(move || drop(sender.send(work())));
    drop(started);
    receiver
}
